//! What a step's output is worth: the weighted sum of all losses, and each of them alone.
//!
//! It knows nothing of how the output came about, only that it is a tensor gradients are wanted
//! of: the network may have computed it in any way.

use std::collections::VecDeque;
use std::path::Path;

use burn::tensor::{Device, Tensor};

use super::DeskError;
use super::adversary::Adversary;
use super::features::Features;
use super::losses::dissimilarity;
use super::read::floats;
use super::run_config::RunConfig;

/// All losses of a run with their weights.
pub(super) struct Objective {
    terms: Terms,
    adversary: Option<Adversary>,
    adversarial_weight: f64,
    adversary_from: u64,
}

/// Those that are the same function of output and original at all steps.
#[derive(Clone)]
pub(super) struct Terms {
    hole_weight: f64,
    valid_weight: f64,
    ssim_weight: f64,
    features: Option<Features>,
    perceptual_weight: f64,
    style_weight: f64,
}

/// A step's losses as numbers, none weighted except in `total`; 0 where a loss takes no part.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Losses {
    /// What is minimised: the weighted sum.
    pub total: f32,
    pub hole: f32,
    pub valid: f32,
    /// One minus the composite's structural similarity.
    pub ssim: f32,
    /// As the feature losses give them.
    pub perceptual: f32,
    pub style: f32,
    /// Minus the discriminator's score of the output.
    pub adversarial: f32,
    /// The discriminator's own: score of outputs less that of originals, and the penalty.
    pub critic: f32,
    pub penalty: f32,
}

/// Losses that the device may still be computing: to read a number waits for all that went
/// before, so all are read at once, when the step's work lies with the device.
#[derive(Clone, Default)]
pub(super) struct Awaited {
    /// What is known already; 0 for the rest.
    known: Losses,
    /// Numbers to come, and beside each where it goes.
    parts: Vec<Tensor<1>>,
    setters: Vec<fn(&mut Losses, f32)>,
}

impl Awaited {
    fn add(&mut self, part: &Tensor<1>, set: fn(&mut Losses, f32)) {
        self.parts.push(part.clone().inner());
        self.setters.push(set);
    }

    /// Waits for the losses, and for `other`, a number of the same device; 0 without.
    ///
    /// # Errors
    /// [`DeskError::Diverged`] where the total at `step` is not finite, [`DeskError::Gpu`] where the
    /// device could not compute it.
    pub fn read(self, step: u64, other: Option<Tensor<1>>) -> Result<(Losses, f32), DeskError> {
        let Self { known: mut losses, mut parts, setters } = self;
        parts.extend(other);
        let mut values = floats(Tensor::cat(parts, 0))?.into_iter();
        for (set, value) in setters.into_iter().zip(&mut values) {
            set(&mut losses, value);
        }
        match losses.total.is_finite() {
            true => Ok((losses, values.next().unwrap_or(0.0))),
            false => {
                Err(DeskError::Diverged { step, what: format!("the loss is {}", losses.total) })
            }
        }
    }
}

impl Losses {
    /// Names in the order of [`Self::values`].
    pub const NAMES: [&str; 9] = [
        "total",
        "hole",
        "valid",
        "ssim",
        "perceptual",
        "style",
        "adversarial",
        "critic",
        "penalty",
    ];

    /// The mean of some steps'; of none, nothing.
    pub fn mean(all: &VecDeque<Self>) -> Self {
        let mut mean = [0.0; 9];
        for losses in all {
            for (mean, value) in mean.iter_mut().zip(losses.values()) {
                *mean += value / all.len() as f32;
            }
        }
        let [total, hole, valid, ssim, perceptual, style, adversarial, critic, penalty] = mean;
        Self { total, hole, valid, ssim, perceptual, style, adversarial, critic, penalty }
    }

    pub fn values(&self) -> [f32; 9] {
        let Self { total, hole, valid, ssim, perceptual, style, adversarial, critic, penalty } =
            *self;
        [total, hole, valid, ssim, perceptual, style, adversarial, critic, penalty]
    }
}

impl Objective {
    /// The losses that have a weight, with the files they need, and what a checkpoint holds of
    /// them.
    ///
    /// # Errors
    /// [`DeskError`] where feature weights or the checkpoint cannot be read.
    pub fn new(
        config: &RunConfig,
        checkpoint: Option<&Path>,
        device: &Device,
    ) -> Result<Self, DeskError> {
        let wanted = config.perceptual_weight > 0.0 || config.style_weight > 0.0;
        let features = match &config.vgg {
            Some(path) if wanted => Some(Features::read(path, device)?),
            _ => None,
        };
        let adversary = match config.adversarial_weight > 0.0 {
            true => Some(Adversary::new(config, checkpoint, device)?),
            false => None,
        };
        let terms = Terms {
            hole_weight: config.hole_weight,
            valid_weight: config.valid_weight,
            ssim_weight: config.ssim_weight,
            features,
            perceptual_weight: config.perceptual_weight,
            style_weight: config.style_weight,
        };
        let (adversarial_weight, adversary_from) =
            (config.adversarial_weight, config.adversary_from);
        Ok(Self { terms, adversary, adversarial_weight, adversary_from })
    }

    /// All there are, if they are the same at all steps.
    pub fn constant(&self) -> Option<&Terms> {
        self.adversary.is_none().then_some(&self.terms)
    }

    /// Whether a discriminator takes part in a step.
    pub fn is_adversarial(&self, step: u64) -> bool {
        self.adversary.is_some() && step >= self.adversary_from
    }

    /// The loss of `output` `[N, 3, H, W]` at a step, to be differentiated, and all numbers, for the
    /// original `pictures` and `masks` `[K, 1, H, W]` (1 = known; `K` is `N`, or 1 for all). A
    /// discriminator is trained by the way.
    ///
    /// # Errors
    /// As [`Awaited::read`], of the discriminator's loss.
    pub fn judge(
        &mut self,
        step: u64,
        output: Tensor<4>,
        pictures: Tensor<4>,
        masks: Tensor<4>,
    ) -> Result<(Tensor<1>, Awaited), DeskError> {
        let (total, mut losses) = self.terms.judge(output.clone(), pictures.clone(), masks.clone());
        let takes_part = self.is_adversarial(step);
        let Some(adversary) = self.adversary.as_mut().filter(|_| takes_part) else {
            return Ok((total, losses));
        };
        let verdict = adversary.judge(step, output, pictures, masks)?;
        let total = total + verdict.loss.clone() * self.adversarial_weight;
        losses.add(&verdict.loss, |losses, value| losses.adversarial = value);
        losses.known.critic = verdict.critic;
        losses.known.penalty = verdict.penalty;
        // The later of two totals counts.
        losses.add(&total, |losses, value| losses.total = value);
        Ok((total, losses))
    }

    /// The weights of what is trained beside the network, if anything is.
    ///
    /// # Errors
    /// [`DeskError::Diverged`] where one is not finite, [`DeskError::Gpu`] where the device could not
    /// compute it.
    pub fn weights(&self, step: u64) -> Result<Option<Vec<u8>>, DeskError> {
        self.adversary.as_ref().map(|adversary| adversary.weights(step)).transpose()
    }

    /// Writes `weights` and what belongs to them into a checkpoint.
    ///
    /// # Errors
    /// [`DeskError`] where they cannot be written.
    pub fn save(&self, weights: Option<&[u8]>, checkpoint: &Path) -> Result<(), DeskError> {
        match (&self.adversary, weights) {
            (Some(adversary), Some(weights)) => adversary.save(weights, checkpoint),
            _ => Ok(()),
        }
    }
}

impl Terms {
    /// As [`Objective::judge`].
    pub fn judge(
        &self,
        output: Tensor<4>,
        pictures: Tensor<4>,
        masks: Tensor<4>,
    ) -> (Tensor<1>, Awaited) {
        let mut losses = Awaited::default();
        let holes = masks.clone().neg() + 1.0;
        let difference = (output.clone() - pictures.clone()).abs();
        let valid = (difference.clone() * masks.clone()).mean();
        let hole = (difference * holes.clone()).mean();
        let mut total = hole.clone() * self.hole_weight + valid.clone() * self.valid_weight;
        losses.add(&hole, |losses, value| losses.hole = value);
        losses.add(&valid, |losses, value| losses.valid = value);
        let composite = output.clone() * holes + pictures.clone() * masks;
        if self.ssim_weight > 0.0 {
            let ssim = dissimilarity(composite.clone(), pictures.clone());
            total = total + ssim.clone() * self.ssim_weight;
            losses.add(&ssim, |losses, value| losses.ssim = value);
        }
        if let Some(features) = &self.features {
            let found = features.losses(output, composite, pictures);
            total = total
                + found.perceptual.clone() * self.perceptual_weight
                + found.style.clone() * self.style_weight;
            losses.add(&found.perceptual, |losses, value| losses.perceptual = value);
            losses.add(&found.style, |losses, value| losses.style = value);
        }
        losses.add(&total, |losses, value| losses.total = value);
        (total, losses)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    /// Of one pixel of four in a hole, by hand: means over all pixels, as the authors have them.
    #[test]
    fn absolute_errors_are_means_over_the_picture_inside_and_outside() {
        let device = Device::flex().autodiff();
        let tensor = |values: &[f32], channels: usize| {
            let data = TensorData::new(values.to_vec(), [1, channels, 2, 2]);
            Tensor::<4>::from_data(data, &device)
        };
        let pictures = tensor(&[0.5; 12], 3);
        // Off by 0.4 in the hole, and by 0.1 in each other pixel.
        let output = tensor(&[0.9, 0.6, 0.4, 0.6, 0.1, 0.4, 0.6, 0.4, 0.9, 0.6, 0.6, 0.4], 3);
        let masks = tensor(&[0.0, 1.0, 1.0, 1.0], 1);
        let config = RunConfig {
            hole_weight: 6.0,
            valid_weight: 2.0,
            ssim_weight: 0.0,
            adversarial_weight: 0.0,
            ..RunConfig::default()
        };
        let mut objective = Objective::new(&config, None, &device).expect("no files");
        let output = output.require_grad();
        let (total, losses) =
            objective.judge(0, output.clone(), pictures, masks).expect("no adversary");
        let slopes = output.grad(&total.backward()).expect("a slope").into_data();
        let (losses, _) = losses.read(0, None).expect("finite");
        let close = |found: f32, wanted: f32| assert!((found - wanted).abs() < 1e-6, "{found}");
        close(losses.hole, 0.4 / 4.0);
        close(losses.valid, 3.0 * 0.1 / 4.0);
        close(losses.total, 6.0 * 0.1 + 2.0 * 0.075);
        let slopes = slopes.try_to_vec::<f32>().expect("32-bit floats");
        close(slopes[0], 6.0 / 12.0);
        close(slopes[2], -2.0 / 12.0);
    }
}
