//! All gradients of a module taken together, as one long vector.
//!
//! Burn clips each tensor's gradient alone, which turns the step's direction; shortened as a
//! whole, it keeps it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::DeskError;
use super::read::number;

/// The gradients of `module`, shortened to a length of `most` where they are longer, and the
/// length they had. `whose` names the module in messages.
///
/// # Errors
/// [`DeskError::Diverged`] where the length is not finite: then some gradient is not, or its
/// square is not, which would spoil the optimiser's averages. [`DeskError::Gpu`] where the device
/// could not compute it.
pub(super) fn bounded<M: Module>(
    module: &M,
    gradients: GradientsParams,
    most: Option<f64>,
    (step, whose): (u64, &str),
) -> Result<(GradientsParams, f32), DeskError> {
    let length = squared(module, &gradients).map_or(Ok(0.0), number)?.sqrt();
    finite(length, step, whose)?;
    Ok((shortened(module, gradients, most, length), length))
}

/// The square of the gradients' length; `None` where there are none.
pub(super) fn squared<M: Module>(module: &M, gradients: &GradientsParams) -> Option<Tensor<1>> {
    let mut squares = Squares { gradients, sum: None };
    module.visit(&mut squares);
    squares.sum
}

/// The gradients, shortened to a length of `most` where `length`, which they have, is more.
pub(super) fn shortened<M: Module>(
    module: &M,
    gradients: GradientsParams,
    most: Option<f64>,
    length: f32,
) -> GradientsParams {
    match most.filter(|&most| f64::from(length) > most) {
        Some(most) => scaled(module, gradients, most / f64::from(length)),
        None => gradients,
    }
}

/// The gradients times a factor.
pub(super) fn scaled<M: Module>(
    module: &M,
    mut gradients: GradientsParams,
    factor: f64,
) -> GradientsParams {
    module.visit(&mut Scaled { gradients: &mut gradients, factor });
    gradients
}

/// The same gradients once more.
pub(super) fn copied<M: Module>(module: &M, gradients: &GradientsParams) -> GradientsParams {
    let mut copies = Copies { gradients, copies: GradientsParams::new() };
    module.visit(&mut copies);
    copies.copies
}

/// Refuses a length that is not finite.
///
/// # Errors
/// [`DeskError::Diverged`] then.
pub(super) fn finite(length: f32, step: u64, whose: &str) -> Result<(), DeskError> {
    match length.is_finite() {
        true => Ok(()),
        false => Err(DeskError::Diverged { step, what: format!("{whose}'s gradient is {length}") }),
    }
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(parameter.id) {
            // One dimension after the other: a GPU adds up a whole tensor in no fixed order.
            let squares = (0..D).fold(gradient.square(), |sum, dimension| sum.sum_dim(dimension));
            let squares = squares.reshape([1]);
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + squares,
                None => squares,
            });
        }
    }
}

struct Scaled<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scaled<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(parameter.id) {
            self.gradients.register(parameter.id, gradient * self.factor);
        }
    }
}

struct Copies<'a> {
    gradients: &'a GradientsParams,
    copies: GradientsParams,
}

impl ModuleVisitor for Copies<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(parameter.id) {
            self.copies.register(parameter.id, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ParamId;
    use burn::tensor::Device;

    use super::*;

    #[derive(Module, Debug)]
    struct Two {
        plane: Param<Tensor<2>>,
        line: Param<Tensor<1>>,
    }

    /// A module whose gradients are the given ones.
    fn module(plane: f32, line: f32) -> (Two, GradientsParams) {
        let device = Device::flex().autodiff();
        let plane_values = Tensor::<2>::zeros([2, 2], &device).require_grad();
        let line_values = Tensor::<1>::zeros([5], &device).require_grad();
        let two = Two {
            plane: Param::initialized(ParamId::from(1), plane_values),
            line: Param::initialized(ParamId::from(2), line_values),
        };
        let loss = (two.plane.val() * plane).sum() + (two.line.val() * line).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &two);
        (two, gradients)
    }

    fn values(gradients: &GradientsParams) -> (f32, f32) {
        let plane: Tensor<2> = gradients.get(ParamId::from(1)).unwrap();
        let line: Tensor<1> = gradients.get(ParamId::from(2)).unwrap();
        (plane.slice([0..1, 0..1]).into_scalar(), line.narrow(0, 0, 1).into_scalar())
    }

    #[test]
    fn all_are_shortened_alike_and_only_if_long() {
        // 4 times 2^2 and 5 times 2^2: 36.
        let (two, gradients) = module(2.0, -2.0);
        let (gradients, length) = bounded(&two, gradients, Some(3.0), (0, "it")).unwrap();
        assert_eq!(length, 6.0);
        assert_eq!(values(&gradients), (1.0, -1.0));
        let (gradients, length) = bounded(&two, gradients, Some(3.0), (0, "it")).unwrap();
        assert_eq!((length, values(&gradients)), (3.0, (1.0, -1.0)));
        let (gradients, _) = bounded(&two, gradients, None, (0, "it")).unwrap();
        assert_eq!(values(&gradients), (1.0, -1.0));
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for wrong in [f32::NAN, f32::INFINITY, 1e30] {
            let (two, gradients) = module(1.0, wrong);
            let error = bounded(&two, gradients, Some(1.0), (7, "the network")).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("step 7") && error.contains("the network"), "{error}");
        }
    }
}
