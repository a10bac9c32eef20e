//! What a training run is started with, as `config.json` in its folder has it.

use std::f64::consts::PI;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::adam::AdamSettings;
use super::data::BatchConfig;
use super::masks::{Border, Style};
use super::prune::TAPS;
use super::{DeskError, variants};
use crate::net::{Preset, Variant};

/// Adam's decay rates in the authors' code.
const ADAM_BETAS: (f32, f32) = (0.5, 0.9);
/// Keeps Adam's steps finite: PyTorch's, and so the authors'.
pub(super) const ADAM_EPSILON: f32 = 1e-8;
/// What runs had before it was part of their configuration: Burn's.
const OLD_ADAM_EPSILON: f32 = 1e-5;
/// The learning rate in the paper, of a network of [`Preset::Paper`]'s width.
const AUTHORS_RATE: f64 = 1e-4;
/// The discriminator's learning rate in the paper.
const ADVERSARY_LEARNING_RATE: f64 = 1e-5;
/// Steps over which the learning rate rises from nothing, so that Adam's averages settle first.
const WARM_UP_STEPS: u64 = 100;
/// The learning rate at the end of the cosine, as a share of its top.
const FINAL_SHARE: f64 = 0.01;

/// Everything a run was started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunConfig {
    /// Folder of training pictures.
    pub images: PathBuf,
    /// The weights it began with, by file name and BLAKE3 hash; `None` for random ones.
    #[serde(default)]
    pub init: Option<String>,
    /// Base channels of the network.
    pub base_channels: usize,
    /// The paper's network, which runs had before there was a choice, or an ablation.
    #[serde(default, with = "variants")]
    pub variant: Variant,
    /// Share of each layer's kernels that is pruned away when the run begins
    /// (`src/desk/prune.rs` says what a kernel is).
    #[serde(default)]
    pub prune_kernels: f64,
    /// Taps that each other kernel keeps then, of 16.
    #[serde(default = "all_taps")]
    pub kernel_taps: usize,
    /// Side of the crops, pixels.
    pub size: usize,
    /// Pictures a step.
    pub batch: usize,
    /// Steps in all.
    pub steps: u64,
    /// Everything random follows from it.
    pub seed: u64,
    /// Top of the learning rate; it follows a cosine down to a hundredth.
    pub learning_rate: f64,
    /// Decay rates of Adam's two averages, within `0.0..1.0`.
    #[serde(default = "adam_betas")]
    pub adam_betas: (f32, f32),
    /// Added to the root of the second average.
    #[serde(default = "old_adam_epsilon")]
    pub adam_epsilon: f32,
    /// Weight of the mean absolute error in the hole.
    pub hole_weight: f64,
    /// Weight of the mean absolute error outside.
    pub valid_weight: f64,
    /// Weight of one minus the composite's structural similarity.
    #[serde(default)]
    pub ssim_weight: f64,
    /// Feature weights for the next two: torchvision's `vgg16`.
    #[serde(default)]
    pub vgg: Option<PathBuf>,
    /// Weight of the difference of features.
    #[serde(default)]
    pub perceptual_weight: f64,
    /// Weight of the difference of their Gram matrices.
    #[serde(default)]
    pub style_weight: f64,
    /// Weight of the discriminator's judgement; 0: there is none.
    #[serde(default)]
    pub adversarial_weight: f64,
    /// The first step with it.
    #[serde(default)]
    pub adversary_from: u64,
    /// The discriminator's learning rate, the same in all steps.
    #[serde(default = "adversary_learning_rate")]
    pub adversary_learning_rate: f64,
    /// Channels of its first layer; `None` for as many as the network has.
    #[serde(default)]
    pub adversary_channels: Option<usize>,
    /// The length to which longer gradients are shortened, the network's and the discriminator's
    /// each as a whole.
    #[serde(default)]
    pub clip_gradient: Option<f64>,
    /// Whether each picture has a mask of its own.
    pub own_masks: bool,
    /// Else: masks a step, which its pictures share, so that the mask branches run that often.
    #[serde(default = "one")]
    pub masks_per_step: usize,
    /// Folder of mask pictures (white = fill) to draw from; `None`: masks are drawn up.
    #[serde(default)]
    pub masks: Option<PathBuf>,
    /// Smallest and largest share of hole; `None` for the usual: anything for masks of a folder,
    /// 0.1 to 0.5 for others.
    #[serde(default)]
    pub mask_ratio: Option<(f32, f32)>,
    /// What the holes look like that are drawn up.
    #[serde(default = "mask_style")]
    pub mask_style: Style,
    /// Whether their strokes may run over the border.
    #[serde(default)]
    pub mask_border: Border,
    /// Whether pictures are shown in other colours, too.
    #[serde(default)]
    pub vary_colours: bool,
    /// Crops taken of a picture, one a step, before another is drawn; `None`: one, or more where the folder
    /// has more pictures than memory holds.
    #[serde(default = "one_crop")]
    pub crops: Option<NonZeroU64>,
    /// `cpu`: written out for the processor; `cpu-burn`: the same in Burn; or a GPU backend the
    /// program was built with.
    pub backend: String,
    /// GPUs that share each step's pictures.
    #[serde(default = "one")]
    pub gpus: usize,
    /// Whether convolutions are in bfloat16, on a backend of Burn's that has it.
    #[serde(default)]
    pub mixed_precision: bool,
    /// Steps between sample strips.
    pub sample_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

/// All taps of a 4x4 kernel.
fn all_taps() -> usize {
    TAPS
}

fn one() -> usize {
    1
}

/// What runs had before there was a choice.
fn one_crop() -> Option<NonZeroU64> {
    Some(NonZeroU64::MIN)
}

fn adam_betas() -> (f32, f32) {
    ADAM_BETAS
}

fn old_adam_epsilon() -> f32 {
    OLD_ADAM_EPSILON
}

fn adversary_learning_rate() -> f64 {
    ADVERSARY_LEARNING_RATE
}

/// What runs had before there was a choice.
fn mask_style() -> Style {
    Style::Mixed
}

impl Default for RunConfig {
    /// What a run has where the user says nothing: the authors' values, where they have any. Without a
    /// folder of pictures.
    fn default() -> Self {
        Self {
            images: PathBuf::new(),
            init: None,
            base_channels: Preset::Small.base_channels(),
            variant: Variant::PAPER,
            prune_kernels: 0.0,
            kernel_taps: TAPS,
            size: 256,
            batch: 4,
            steps: 10_000,
            seed: 0,
            learning_rate: AUTHORS_RATE,
            adam_betas: ADAM_BETAS,
            adam_epsilon: ADAM_EPSILON,
            hole_weight: 6.0,
            valid_weight: 1.0,
            ssim_weight: 0.0,
            vgg: None,
            perceptual_weight: 0.0,
            style_weight: 0.0,
            adversarial_weight: 0.0,
            adversary_from: 0,
            adversary_learning_rate: ADVERSARY_LEARNING_RATE,
            adversary_channels: None,
            clip_gradient: None,
            own_masks: false,
            masks_per_step: 1,
            vary_colours: false,
            masks: None,
            mask_ratio: None,
            mask_style: Style::Mixed,
            mask_border: Border::Half,
            crops: None,
            backend: "cpu".into(),
            gpus: 1,
            mixed_precision: false,
            sample_every: 500,
            checkpoint_every: 500,
        }
    }
}

impl RunConfig {
    /// The configuration of the run in `folder`.
    ///
    /// # Errors
    /// [`DeskError::Run`] where there is none, or it is damaged.
    pub fn read(folder: &Path) -> Result<Self, DeskError> {
        read_json(&folder.join("config.json"))
    }

    /// The learning rate for a network that begins with random weights: the authors', and so many times
    /// that as the network is narrower than theirs. (With theirs `nano` is behind the mean colour after
    /// 400 steps.)
    pub fn first_rate(base_channels: usize) -> f64 {
        AUTHORS_RATE * Preset::Paper.base_channels() as f64 / base_channels.max(1) as f64
    }

    /// Losses with their weights, in words, and what would bring more.
    pub(super) fn losses(&self) -> String {
        let weights = [
            ("hole", self.hole_weight),
            ("valid", self.valid_weight),
            ("ssim", self.ssim_weight),
            ("perceptual", self.perceptual_weight),
            ("style", self.style_weight),
            ("adversarial", self.adversarial_weight),
        ];
        let taken = weights.iter().filter(|(_, weight)| *weight > 0.0);
        let taken: Vec<_> = taken.map(|(name, weight)| format!("{name} {weight}")).collect();
        let more = match self.vgg {
            Some(_) => "",
            None => {
                "; perceptual and style ones need --vgg with torchvision's vgg16 (.pth), or with the file \
                 that models/features/fetch.sh makes"
            }
        };
        taken.join(", ") + more
    }

    pub(super) fn adam(&self) -> AdamSettings {
        AdamSettings { betas: self.adam_betas, epsilon: self.adam_epsilon }
    }

    pub(super) fn prunes(&self) -> bool {
        self.prune_kernels > 0.0 || self.kernel_taps < TAPS
    }

    pub(super) fn mask_ratio(&self) -> RangeInclusive<f32> {
        match (self.mask_ratio, &self.masks) {
            (Some((low, high)), _) => low..=high,
            (None, Some(_)) => 0.0..=1.0,
            (None, None) => BatchConfig::default().mask_ratio,
        }
    }

    pub(super) fn masks_per_batch(&self) -> usize {
        if self.own_masks { self.batch } else { self.masks_per_step }
    }

    pub(super) fn learning_rate_at(&self, step: u64) -> f64 {
        let warm = ((step + 1) as f64 / WARM_UP_STEPS as f64).min(1.0);
        let share = (step as f64 / self.steps.max(1) as f64).min(1.0);
        let cosine = (1.0 + (PI * share).cos()) / 2.0;
        self.learning_rate * warm * (FINAL_SHARE + (1.0 - FINAL_SHARE) * cosine)
    }
}

/// What a JSON file of a run holds.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, DeskError> {
    let run = |reason: String| DeskError::run(path, reason);
    let bytes = std::fs::read(path)
        .map_err(|error| run(format!("{error}; is this the folder of an earlier run?")))?;
    serde_json::from_slice(&bytes).map_err(|error| run(format!("damaged: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_and_falls_as_a_cosine() {
        let config = RunConfig { learning_rate: 1.0, steps: 1000, ..RunConfig::default() };
        let expected =
            [(0, 0.01), (49, 0.497_073_29), (99, 0.976_251_2), (500, 0.505), (1000, 0.01)];
        for (step, rate) in expected {
            let found = config.learning_rate_at(step);
            assert!((found - rate).abs() < 1e-6, "step {step}: {found}");
        }
    }
}
