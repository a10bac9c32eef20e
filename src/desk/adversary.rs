//! The adversarial loss (WGAN-GP, Gulrajani et al. 2017): a discriminator in training beside the
//! network, and what it makes of the network's pictures.
//!
//! Each step the discriminator moves first, on the same batch: it wants originals scored high,
//! the network's pictures low, and the length of its slope between the two at 1. Then the
//! network's loss is minus the score of its pictures. (The authors' code adds the originals' score
//! to the discriminator's loss with the wrong sign; here it has WGAN's.)
//!
//! What is judged is the network's whole picture, as in the authors' code, and not the composite:
//! so the known surroundings are held to look like photographs too, and no seam around the hole
//! tells a composite.

use std::path::Path;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};

use super::adam::{AdamSettings, adam};
use super::discriminator::Discriminator;
use super::read::number;
use super::run_config::{ADAM_EPSILON, RunConfig};
use super::{DeskError, gradients, random};
use crate::file::write_atomically;

/// Adam's decay rates for the discriminator in the paper.
const BETAS: (f32, f32) = (0.0, 0.9);
/// Weight of the penalty on slopes.
const PENALTY: f64 = 10.0;
/// In checkpoints.
const WEIGHTS_NAME: &str = "adversary.safetensors";
const OPTIMISER_NAME: &str = "adversary.bpk";

/// A discriminator with its optimiser.
pub(super) struct Adversary {
    discriminator: Discriminator,
    optimiser: ModuleOptimizer,
    learning_rate: f64,
    clip_gradient: Option<f64>,
    seed: u64,
}

/// What the discriminator makes of a step's output.
pub(super) struct Verdict {
    /// The network's loss: minus the mean score, to be differentiated.
    pub loss: Tensor<1>,
    /// Mean score of outputs less that of originals, before the discriminator's step: the more
    /// below 0, the better it tells them apart.
    pub critic: f32,
    /// The penalty on slopes, not weighted.
    pub penalty: f32,
}

impl Adversary {
    /// A fresh one, or the checkpoint's, where that has one.
    ///
    /// # Errors
    /// [`DeskError::Run`] where the checkpoint's is damaged or of another size.
    pub fn new(
        config: &RunConfig,
        checkpoint: Option<&Path>,
        device: &Device,
    ) -> Result<Self, DeskError> {
        let (side, seed) = (config.size, config.seed);
        let base = config.adversary_channels.unwrap_or(config.base_channels);
        let mut optimiser = adam(AdamSettings { betas: BETAS, epsilon: ADAM_EPSILON });
        let saved =
            checkpoint.map(|folder| (folder.join(WEIGHTS_NAME), folder.join(OPTIMISER_NAME)));
        let discriminator = match saved {
            Some((weights, state)) if weights.exists() || state.exists() => {
                optimiser = optimiser.load(&state).map_err(|error| DeskError::Run {
                    path: state,
                    reason: format!("the adversary's optimiser's state is damaged: {error}"),
                })?;
                Discriminator::read(&weights, side, base, device)?
            }
            _ => Discriminator::initialise(side, base, seed, device),
        };
        Ok(Self { optimiser, ..Self::with(discriminator, config) })
    }

    /// Of this discriminator.
    pub fn with(discriminator: Discriminator, config: &RunConfig) -> Self {
        Self {
            discriminator,
            optimiser: adam(AdamSettings { betas: BETAS, epsilon: ADAM_EPSILON }),
            learning_rate: config.adversary_learning_rate,
            clip_gradient: config.clip_gradient,
            seed: config.seed,
        }
    }

    /// Trains the discriminator a step on `output` and the original `pictures`, `[N, 3, H, W]`,
    /// with masks `[K, 1, H, W]`, and judges `output` by what it then is.
    ///
    /// # Errors
    /// [`DeskError::Diverged`] where its loss or gradient is not finite, [`DeskError::Gpu`] where the
    /// device could not compute them.
    pub fn judge(
        &mut self,
        step: u64,
        output: Tensor<4>,
        pictures: Tensor<4>,
        masks: Tensor<4>,
    ) -> Result<Verdict, DeskError> {
        // Without its past: the network is not trained by the discriminator's loss.
        let fake = output.clone().inner().autodiff();
        let real = pictures.clone();
        let [count, ..] = fake.dims();
        // One pass for both.
        let both = Tensor::cat(vec![fake.clone(), real.clone()], 0);
        let [own, ..] = masks.dims();
        let twice = if own == 1 { masks.clone() } else { masks.clone().repeat_dim(0, 2) };
        let scores = self.discriminator.scores(both, twice);
        let critic =
            scores.clone().narrow(0, 0, count).mean() - scores.narrow(0, count, count).mean();
        let share = self.mixture(step, count, &fake.device());
        let between = real * share.clone() + fake * (share.neg() + 1.0);
        let penalty = self.discriminator.penalty(between, masks.clone());
        let loss = critic.clone() + penalty.clone() * PENALTY;
        let value = number(loss.clone())?;
        if !value.is_finite() {
            let what = format!("the adversary's loss is {value}");
            return Err(DeskError::Diverged { step, what });
        }
        let found = GradientsParams::from_grads(loss.backward(), &self.discriminator);
        let whose = (step, "the adversary");
        let (found, _) = gradients::bounded(&self.discriminator, found, self.clip_gradient, whose)?;
        self.discriminator =
            self.optimiser.step(self.learning_rate, self.discriminator.clone(), found);
        // Its weights are constants to the network.
        let fixed = self.discriminator.clone().no_grad();
        Ok(Verdict {
            loss: fixed.scores(output, masks).mean().neg(),
            critic: number(critic)?,
            penalty: number(penalty)?,
        })
    }

    /// For each picture the share of the original in a mixture with the output, `[N, 1, 1, 1]`.
    fn mixture(&self, step: u64, count: usize, device: &Device) -> Tensor<4> {
        let mut rng = random::generator(random::apart(self.seed), step, random::MIXTURE_INDEX);
        let shares: Vec<f32> = (0..count).map(|_| random::unit(&mut rng)).collect();
        Tensor::from_data(TensorData::new(shares, [count, 1, 1, 1]), device)
    }

    /// The discriminator's weights as they go into a checkpoint.
    ///
    /// # Errors
    /// [`DeskError::Diverged`] where one is not finite, [`DeskError::Gpu`] where the device could not
    /// compute it.
    pub fn weights(&self, step: u64) -> Result<Vec<u8>, DeskError> {
        let what = "a weight of the adversary is not finite";
        self.discriminator.to_bytes()?.ok_or(DeskError::Diverged { step, what: what.into() })
    }

    /// Writes `weights` and the optimiser into a checkpoint.
    ///
    /// # Errors
    /// [`DeskError`] where they cannot be written.
    pub fn save(&self, weights: &[u8], checkpoint: &Path) -> Result<(), DeskError> {
        write_atomically(&checkpoint.join(WEIGHTS_NAME), weights)?;
        let path = checkpoint.join(OPTIMISER_NAME);
        self.optimiser.save(&path).map_err(|error| DeskError::Run {
            path,
            reason: format!("the adversary's optimiser's state cannot be written: {error}"),
        })
    }
}
