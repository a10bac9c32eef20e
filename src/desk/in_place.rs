//! Values that change where they lie in a GPU's memory, so that what was recorded
//! ([`super::recording`]) finds them there.
//!
//! Burn's tensors are values: an operation takes memory of its own for what it computes, and whoever
//! holds the old tensor sees old values. These do not. Who holds a tensor that is given here sees the
//! new values, and nobody else may be about to read the old ones. (`to_data` may be: it copies when its
//! values are first looked at.)

#[cfg(all(feature = "gpu", not(feature = "autotune")))]
mod kernels;

#[cfg(all(feature = "gpu", not(feature = "autotune")))]
use burn::backend::Dispatch;
use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

#[cfg(all(feature = "gpu", not(feature = "autotune")))]
use self::kernels::InPlace;
use super::adam::{AdamSettings, AdamStep};

/// Whether values on a device can change in place: on a GPU, in a program without fusion, which
/// may read old values later than it is told to.
pub(super) fn possible(device: &Device) -> bool {
    let device = device.as_dispatch().clone().inner();
    cfg!(not(feature = "autotune")) && !matches!(device, DispatchDevice::Flex(_))
}

/// The values of `new`, in the memory of `old` where that is [`possible`]. Both have one shape, and no
/// past that gradients would flow to.
pub(super) fn overwritten<const D: usize>(old: Tensor<D>, new: Tensor<D>) -> Tensor<D> {
    #[cfg(all(feature = "gpu", not(feature = "autotune")))]
    if possible(&old.device()) {
        let (old, new) = (old.into_dispatch(), new.into_dispatch());
        return Tensor::from_dispatch(Dispatch::overwritten(old, new));
    }
    drop(old);
    new
}

/// Values between the least and the most that each may be, in their own memory where that is
/// [`possible`]. What is no number stays none.
pub(super) fn clamped<const D: usize>(
    values: Tensor<D>,
    [least, most]: &[Tensor<D>; 2],
) -> Tensor<D> {
    #[cfg(all(feature = "gpu", not(feature = "autotune")))]
    if possible(&values.device()) {
        let [values, least, most] =
            [values, least.clone(), most.clone()].map(Tensor::into_dispatch);
        return Tensor::from_dispatch(Dispatch::clamped(values, least, most));
    }
    values.max_pair(least.clone()).min_pair(most.clone())
}

/// One step of Adam along a gradient, in the memory of the parameter and of its two averages where that
/// is [`possible`]. None has a past that gradients would flow to.
pub(super) fn stepped<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
    step: AdamStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    #[cfg(all(feature = "gpu", not(feature = "autotune")))]
    if possible(&parameter.device()) {
        let [parameter, gradient, first, second] =
            [parameter, gradient, first, second].map(Tensor::into_dispatch);
        let (parameter, first, second) =
            Dispatch::stepped(parameter, gradient, first, second, step);
        return (Tensor::from_dispatch(parameter), [first, second].map(Tensor::from_dispatch));
    }
    let AdamStep { settings: AdamSettings { betas, epsilon }, rate, root } = step;
    let (keep_first, keep_second) = betas;
    let squares = gradient.clone().square() * (1.0 - keep_second);
    let first = first * keep_first + gradient * (1.0 - keep_first);
    let second = second * keep_second + squares;
    let below = second.clone().sqrt() / root + epsilon;
    (parameter - first.clone() * rate / below, [first, second])
}
