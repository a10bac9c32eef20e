//! Values that change where they lie in a GPU's memory, so that what was recorded
//! ([`super::recording`]) finds them there.
//!
//! Burn's tensors are values: an operation takes memory of its own for what it computes, and whoever
//! holds the old tensor sees old values. These do not. Who holds a tensor that is given here sees the
//! new values, and nobody else may be about to read the old ones. (`to_data` may be: it copies when its
//! values are first looked at.)

#[cfg(all(feature = "gpu", not(feature = "autotune")))]
mod kernels;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

/// What a step of Adam does to each value.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdamStep {
    /// Decay rates of the averages.
    pub betas: (f32, f32),
    /// Learning rate over the first average's correction.
    pub rate: f32,
    /// Square root of the second average's correction.
    pub root: f32,
    /// Keeps the step finite.
    pub epsilon: f32,
}

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
        return kernels::overwritten(old, new);
    }
    drop(old);
    new
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
        return kernels::stepped(parameter, gradient, [first, second], step);
    }
    let (keep_first, keep_second) = step.betas;
    let squares = gradient.clone().square() * (1.0 - keep_second);
    let first = first * keep_first + gradient * (1.0 - keep_first);
    let second = second * keep_second + squares;
    let below = second.clone().sqrt() / step.root + step.epsilon;
    (parameter - first.clone() * step.rate / below, [first, second])
}
