//! What a step's output is worth: the weighted sum of all losses, and each of them alone.
//!
//! It knows nothing of how the output came about, only that it is a tensor gradients are wanted
//! of: the network may have computed it in any way.

use burn::tensor::{Device, Tensor};

use super::DeskError;
use super::features::Features;
use super::losses::dissimilarity;
use super::train::RunConfig;

/// All losses of a run with their weights.
#[derive(Debug)]
pub(super) struct Objective {
    hole_weight: f64,
    valid_weight: f64,
    ssim_weight: f64,
    features: Option<Features>,
    perceptual_weight: f64,
    style_weight: f64,
}

/// A step's losses as numbers, none weighted except in `total`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Losses {
    /// What is minimised: the weighted sum.
    pub total: f32,
    pub hole: f32,
    pub valid: f32,
    /// One minus the composite's structural similarity; 0 if it has no weight.
    pub ssim: f32,
    /// As the feature losses give them; 0 without.
    pub perceptual: f32,
    pub style: f32,
}

impl Objective {
    /// The losses that have a weight, with the files they need.
    ///
    /// # Errors
    /// [`DeskError`] where feature weights cannot be read.
    pub fn new(config: &RunConfig, device: &Device) -> Result<Self, DeskError> {
        let wanted = config.perceptual_weight > 0.0 || config.style_weight > 0.0;
        let features = match &config.vgg {
            Some(path) if wanted => Some(Features::read(path, device)?),
            _ => None,
        };
        Ok(Self {
            hole_weight: config.hole_weight,
            valid_weight: config.valid_weight,
            ssim_weight: config.ssim_weight,
            features,
            perceptual_weight: config.perceptual_weight,
            style_weight: config.style_weight,
        })
    }

    /// The loss of `output` `[N, 3, H, W]` at a step, to be differentiated, and its parts, for the
    /// original `pictures` and `masks` `[K, 1, H, W]` (1 = known; `K` is `N`, or 1 for all).
    ///
    /// # Errors
    /// [`DeskError::Diverged`] where the loss is not finite.
    pub fn judge(
        &mut self,
        step: u64,
        output: Tensor<4>,
        pictures: Tensor<4>,
        masks: Tensor<4>,
    ) -> Result<(Tensor<1>, Losses), DeskError> {
        let mut losses = Losses::default();
        let holes = masks.clone().neg() + 1.0;
        let difference = (output.clone() - pictures.clone()).abs();
        let valid = (difference.clone() * masks.clone()).mean();
        let hole = (difference * holes.clone()).mean();
        let mut total = hole.clone() * self.hole_weight + valid.clone() * self.valid_weight;
        losses.hole = hole.into_scalar();
        losses.valid = valid.into_scalar();
        let composite = output.clone() * holes + pictures.clone() * masks;
        if self.ssim_weight > 0.0 {
            let ssim = dissimilarity(composite.clone(), pictures.clone());
            total = total + ssim.clone() * self.ssim_weight;
            losses.ssim = ssim.into_scalar();
        }
        if let Some(features) = &self.features {
            let found = features.losses(output, composite, pictures);
            total = total
                + found.perceptual.clone() * self.perceptual_weight
                + found.style.clone() * self.style_weight;
            losses.perceptual = found.perceptual.into_scalar();
            losses.style = found.style.into_scalar();
        }
        losses.total = total.clone().into_scalar();
        if !losses.total.is_finite() {
            return Err(DeskError::Diverged { step, loss: losses.total });
        }
        Ok((total, losses))
    }
}
