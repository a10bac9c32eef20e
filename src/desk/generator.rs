//! The network in training, with its optimiser, in one of two forms.

use std::collections::BTreeMap;
use std::path::Path;

use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};

use super::engine::Engine;
use super::model::Lbam;
use super::prune::Pruning;
use super::{DeskError, gradients};
use crate::file::{FileError, Weights};
use crate::net::Parameter;

/// What messages call it.
const NETWORK: &str = "the network";

/// The network and its optimiser: written out for the processor, or Burn's for any device.
pub(super) enum Generator {
    Engine(Box<Engine>),
    Burn(Box<BurnGenerator>),
}

/// What Burn keeps.
pub(super) struct BurnGenerator {
    model: Lbam,
    optimiser: ModuleOptimizer,
    /// 0 for weights that are held at zero, else 1, by tensor.
    kept: BTreeMap<String, Tensor<4>>,
}

impl Generator {
    /// Of these weights, with Adam's decay rates: written out, or on `device`.
    pub fn new(weights: &Weights, betas: (f32, f32), written_out: bool, device: &Device) -> Self {
        if written_out {
            return Self::Engine(Box::new(Engine::new(weights, betas)));
        }
        let optimiser = AdamConfig::new().with_beta_1(betas.0).with_beta_2(betas.1).init();
        Self::Burn(Box::new(BurnGenerator {
            model: Lbam::from_weights(weights, device),
            optimiser,
            kept: BTreeMap::new(),
        }))
    }

    /// Convolutions in bfloat16 from now on, where Burn does them.
    pub fn mix_precision(&mut self) {
        if let Self::Burn(burn) = self {
            burn.model = burn.model.clone().in_mixed_precision();
        }
    }

    /// Holds weights at zero from now on.
    pub fn prune(&mut self, pruning: &Pruning, device: &Device) {
        match self {
            Self::Engine(engine) => engine.prune(pruning),
            Self::Burn(burn) => {
                let network = burn.model.network();
                let kept = |parameter: Parameter| {
                    let gone = pruning.tensors().get(&parameter.name)?;
                    let factors = gone.iter().map(|&gone| if gone { 0.0 } else { 1.0 });
                    let data = TensorData::new(factors.collect::<Vec<f32>>(), parameter.shape);
                    Some((parameter.name, Tensor::<4>::from_data(data, device).inner()))
                };
                burn.kept = network.parameters().into_iter().filter_map(kept).collect();
                burn.model = burn.model.clone().multiplied(&burn.kept);
            }
        }
    }

    /// The network's pictures `[N, 3, size, size]`, of which gradients are wanted, for pictures and
    /// masks `[K, 1, size, size]` (1 = known; `K` is `N`, or 1 for all).
    pub fn forward(&mut self, pictures: &Planar, masks: &Planar, device: &Device) -> Tensor<4> {
        match self {
            Self::Engine(engine) => {
                let output = engine.forward(pictures.values, masks.values, pictures.size);
                Planar { values: &output, ..*pictures }.tensor(device).require_grad()
            }
            Self::Burn(burn) => burn.model.forward(pictures.tensor(device), masks.tensor(device)),
        }
    }

    /// One step of the optimiser that makes `loss` of `output`, which [`Generator::forward`] gave,
    /// smaller; a gradient longer than `most` is shortened to it. Returns the length it had.
    ///
    /// # Errors
    /// [`DeskError::Diverged`] where the length is not finite; nothing is changed then.
    pub fn update(
        &mut self,
        loss: Tensor<1>,
        output: &Tensor<4>,
        rate: f64,
        most: Option<f64>,
        step: u64,
    ) -> Result<f32, DeskError> {
        let gradients = loss.backward();
        match self {
            Self::Engine(engine) => {
                let Some(gradient) = output.grad(&gradients) else { return Ok(0.0) };
                engine.backward(&floats(gradient));
                let length = engine.gradient_norm();
                gradients::finite(length as f32, step, NETWORK)?;
                let scale = most.map_or(1.0, |most| (most / length).min(1.0));
                engine.update(rate, scale as f32);
                Ok(length as f32)
            }
            Self::Burn(burn) => {
                let found = GradientsParams::from_grads(gradients, &burn.model);
                let (found, length) =
                    gradients::bounded(&burn.model, found, most, (step, NETWORK))?;
                let stepped = burn.optimiser.step(rate, burn.model.clone(), found);
                burn.model = stepped.clamped().multiplied(&burn.kept);
                Ok(length)
            }
        }
    }

    /// Copies the weights out.
    ///
    /// # Errors
    /// [`FileError::Tensor`] if a weight is not finite.
    pub fn weights(&self, provenance: BTreeMap<String, String>) -> Result<Weights, FileError> {
        match self {
            Self::Engine(engine) => engine.weights(provenance),
            Self::Burn(burn) => burn.model.weights(provenance),
        }
    }

    /// Writes the optimiser's state into a folder.
    ///
    /// # Errors
    /// [`DeskError`] if it cannot be written.
    pub fn save_optimiser(&mut self, folder: &Path) -> Result<(), DeskError> {
        match self {
            Self::Engine(engine) => engine.save_optimiser(&folder.join("optimiser.safetensors")),
            Self::Burn(burn) => {
                let path = folder.join("optimiser.bpk");
                burn.optimiser.save(&path).map_err(|error| DeskError::Run {
                    path,
                    reason: format!("the optimiser's state cannot be written: {error}"),
                })
            }
        }
    }

    /// Takes over what [`Generator::save_optimiser`] wrote.
    ///
    /// # Errors
    /// [`DeskError`] if it is absent, damaged, another network's or of another backend.
    pub fn load_optimiser(&mut self, folder: &Path) -> Result<(), DeskError> {
        match self {
            Self::Engine(engine) => engine.load_optimiser(&folder.join("optimiser.safetensors")),
            Self::Burn(burn) => {
                let path = folder.join("optimiser.bpk");
                burn.optimiser = burn.optimiser.clone().load(&path).map_err(|error| {
                    let reason = format!("the optimiser's state is absent or damaged: {error}");
                    DeskError::Run { path, reason }
                })?;
                Ok(())
            }
        }
    }
}

/// A batch of square planes, `[count, channels, size, size]`.
#[derive(Clone, Copy)]
pub(super) struct Planar<'a> {
    pub values: &'a [f32],
    pub channels: usize,
    pub size: usize,
}

impl Planar<'_> {
    /// As a tensor.
    pub fn tensor(&self, device: &Device) -> Tensor<4> {
        let count = self.values.len() / (self.channels * self.size * self.size);
        let shape = [count, self.channels, self.size, self.size];
        Tensor::from_data(TensorData::new(self.values.to_vec(), shape), device)
    }
}

/// A tensor's values.
pub(super) fn floats(tensor: Tensor<4>) -> Vec<f32> {
    tensor.to_data().try_to_vec().expect("training is in 32-bit floats")
}
