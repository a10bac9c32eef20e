//! The network in training, with its optimiser, in one of two forms.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};

use super::adam::{AdamSettings, adam};
use super::data::Batch;
use super::engine::Engine;
use super::model::{Lbam, shared};
use super::objective::{Awaited, Losses, Terms};
use super::prune::Pruning;
use super::read::floats;
use super::recording::{Found, Recording};
use super::{DeskError, gradients, in_place};
use crate::file::Weights;

/// What messages call it.
const NETWORK: &str = "the network";
/// The optimiser's state in a checkpoint, in each form.
const ENGINE_STATE: &str = "optimiser.safetensors";
const BURN_STATE: &str = "optimiser.bpk";

/// The network and its optimiser: written out for the processor, or Burn's for any device.
pub(super) enum Generator {
    Engine(Box<Engine>),
    Burn(Box<BurnGenerator>),
}

/// What Burn keeps.
pub(super) struct BurnGenerator {
    model: Lbam,
    optimiser: ModuleOptimizer,
    /// Where it is updated.
    device: Device,
    /// 0 for weights that are held at zero, else 1, by tensor.
    kept: BTreeMap<String, Tensor<4>>,
    /// Of attention scalars.
    ranges: [Tensor<1>; 2],
    recording: Option<Recording>,
}

impl Generator {
    /// Of these weights: written out, or on `device`.
    pub fn new(
        weights: &Weights,
        settings: AdamSettings,
        written_out: bool,
        device: &Device,
    ) -> Self {
        if written_out {
            return Self::Engine(Box::new(Engine::new(weights, settings)));
        }
        Self::Burn(Box::new(BurnGenerator {
            model: Lbam::from_weights(weights, device),
            optimiser: adam(settings),
            device: device.clone(),
            kept: BTreeMap::new(),
            ranges: Lbam::ranges(device),
            recording: None,
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
                burn.kept = pruning.kept(burn.model.network(), device);
                burn.model = burn.model.clone().multiplied(&burn.kept);
            }
        }
    }

    /// The network's pictures for a batch of pictures of this size, or a device's part of it. The
    /// network is at home on the first device, and copied to others.
    pub fn forward(
        &mut self,
        batch: Batch,
        size: usize,
        (at, device): (usize, &Device),
    ) -> Forward {
        let Batch { pictures, masks, .. } = batch;
        let tensor =
            |values, channels| Tensor::<4>::from_data(planes(values, channels, size), device);
        match self {
            Self::Engine(engine) => {
                let output = tensor(engine.forward(&pictures, &masks, size), 3).require_grad();
                let (pictures, masks) = (tensor(pictures, 3), tensor(masks, 1));
                let masks = shared(masks, output.dims()[0]);
                Forward { output, pictures, masks, model: None }
            }
            Self::Burn(burn) => {
                let (pictures, masks) = (tensor(pictures, 3), tensor(masks, 1));
                let model = match at {
                    0 => burn.model.clone(),
                    _ => burn.model.clone().fork(device),
                };
                let output = model.forward(pictures.clone(), masks.clone());
                let masks = shared(masks, output.dims()[0]);
                Forward { output, pictures, masks, model: Some(model) }
            }
        }
    }

    /// Whether a pass can be recorded and replayed: on GPUs.
    pub fn replays(&self) -> bool {
        matches!(self, Self::Burn(burn) if in_place::possible(&burn.device))
    }

    /// Forward and back for a batch under these losses, which are the same at all steps.
    ///
    /// # Panics
    /// Where nothing [`Generator::replays`]: the caller's mistake.
    pub fn replay(&mut self, pictures: Tensor<4>, masks: Tensor<4>, terms: &Terms) -> Found {
        match self {
            Self::Engine(_) => unreachable!("only Burn's is replayed"),
            Self::Burn(burn) => burn.replay(pictures, masks, terms),
        }
    }

    /// [`Generator::update`] after [`Generator::replay`].
    ///
    /// # Errors
    /// As there.
    pub fn update_replayed(
        &mut self,
        replayed: Found,
        rate: f64,
        most: Option<f64>,
        step: u64,
    ) -> Result<(Losses, f32), DeskError> {
        match self {
            Self::Engine(_) => unreachable!("only Burn's is replayed"),
            Self::Burn(burn) => {
                let Found { losses, gradients, squared, .. } = replayed;
                burn.descend(gradients, squared, vec![losses], rate, most, step)
            }
        }
    }

    /// One step of the optimiser that makes the loss of all passes smaller, which are parts of the
    /// batch alike in size; a gradient longer than `most` is shortened to it. Returns the mean of
    /// their losses, and the gradient's length.
    ///
    /// # Errors
    /// [`DeskError::Diverged`] where a loss or the length is not finite, [`DeskError::Gpu`] where the
    /// device could not compute them; nothing is changed then.
    pub fn update(
        &mut self,
        mut passes: Vec<Pass>,
        rate: f64,
        most: Option<f64>,
        step: u64,
    ) -> Result<(Losses, f32), DeskError> {
        match self {
            Self::Engine(engine) => {
                let Pass { forward, loss, awaited } = passes.pop().expect("the processor's");
                let slopes = loss.backward();
                let (losses, _) = awaited.read(step, None)?;
                let Some(slope) = forward.output.grad(&slopes) else { return Ok((losses, 0.0)) };
                engine.backward(&floats(slope)?);
                let length = engine.gradient_norm();
                gradients::finite(length as f32, step, NETWORK)?;
                let scale = most.map_or(1.0, |most| (most / length).min(1.0));
                engine.update(rate, scale as f32);
                Ok((losses, length as f32))
            }
            Self::Burn(burn) => burn.update(passes, rate, most, step),
        }
    }

    /// Copies the weights out.
    ///
    /// # Errors
    /// [`DeskError::File`] if a weight is not finite, [`DeskError::Gpu`] if the device could not
    /// compute it.
    pub fn weights(&self, provenance: BTreeMap<String, String>) -> Result<Weights, DeskError> {
        match self {
            Self::Engine(engine) => Ok(engine.weights(provenance)?),
            Self::Burn(burn) => burn.model.weights(provenance),
        }
    }

    /// Writes the optimiser's state into a folder.
    ///
    /// # Errors
    /// [`DeskError`] if it cannot be written.
    pub fn save_optimiser(&mut self, folder: &Path) -> Result<(), DeskError> {
        match self {
            Self::Engine(engine) => engine.save_optimiser(&folder.join(ENGINE_STATE)),
            Self::Burn(burn) => {
                let path = folder.join(BURN_STATE);
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
        let (own, other, backend) = match self {
            Self::Engine(_) => (ENGINE_STATE, BURN_STATE, "that it began with, which was not cpu"),
            Self::Burn(_) => (BURN_STATE, ENGINE_STATE, "cpu, that it began with"),
        };
        if !folder.join(own).exists() && folder.join(other).exists() {
            let reason = format!(
                "another backend's optimiser: the run can only go on with the --backend {backend}"
            );
            return Err(DeskError::Run { path: folder.join(other), reason });
        }
        match self {
            Self::Engine(engine) => engine.load_optimiser(&folder.join(ENGINE_STATE)),
            Self::Burn(burn) => {
                let path = folder.join(BURN_STATE);
                burn.optimiser = burn.optimiser.clone().load(&path).map_err(|error| {
                    let reason = format!("the optimiser's state is absent or damaged: {error}");
                    DeskError::Run { path, reason }
                })?;
                Ok(())
            }
        }
    }
}

impl BurnGenerator {
    /// Of [`Generator::update`].
    fn update(
        &mut self,
        passes: Vec<Pass>,
        rate: f64,
        most: Option<f64>,
        step: u64,
    ) -> Result<(Losses, f32), DeskError> {
        let (mut sum, mut awaited) =
            (GradientsAccumulator::new(), Vec::with_capacity(passes.len()));
        for Pass { forward, loss, awaited: losses } in passes {
            let model = forward.model.expect("made by Burn");
            let found = GradientsParams::from_grads(loss.backward(), &model);
            sum.accumulate(&self.model, found.to_device(&self.device, &self.model));
            awaited.push(losses);
        }
        let mut found = sum.grads();
        if awaited.len() > 1 {
            found = gradients::scaled(&self.model, found, 1.0 / awaited.len() as f64);
        }
        let found = self.model.multiplied_gradients(found, &self.kept);
        let squared = gradients::squared(&self.model, &found);
        self.descend(found, squared, awaited, rate, most, step)
    }

    /// The end of a step: along gradients, of which the length's square is given.
    fn descend(
        &mut self,
        found: GradientsParams,
        squared: Option<Tensor<1>>,
        awaited: Vec<Awaited>,
        rate: f64,
        most: Option<f64>,
        step: u64,
    ) -> Result<(Losses, f32), DeskError> {
        // Nothing is waited for before all work lies with the devices.
        let mut awaited = awaited.into_iter();
        let (first, squared) = awaited.next().expect("a pass").read(step, squared)?;
        let length = squared.sqrt();
        gradients::finite(length, step, NETWORK)?;
        let mut losses = VecDeque::from([first]);
        for other in awaited {
            losses.push_back(other.read(step, None)?.0);
        }
        let found = gradients::shortened(&self.model, found, most, length);
        let stepped = self.optimiser.step(rate, self.model.clone(), found);
        self.model = stepped.clamped(&self.ranges).multiplied(&self.kept);
        Ok((Losses::mean(&losses), length))
    }

    /// Of [`Generator::replay`].
    fn replay(&mut self, pictures: Tensor<4>, masks: Tensor<4>, terms: &Terms) -> Found {
        let recording = self.recording.get_or_insert_with(|| {
            let (model, terms, kept) = (self.model.clone(), terms.clone(), self.kept.clone());
            let pass = move |pictures: Tensor<4>, masks: Tensor<4>| {
                let output = model.forward(pictures.clone(), masks.clone());
                let masks = shared(masks, output.dims()[0]);
                let (loss, losses) = terms.judge(output.clone(), pictures, masks);
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                let gradients = model.multiplied_gradients(gradients, &kept);
                let squared = gradients::squared(&model, &gradients);
                Found { output: output.inner(), losses, gradients, squared }
            };
            Recording::new(&self.device, pictures.clone(), masks.clone(), pass)
        });
        let found = recording.replay(pictures, masks);
        Found {
            output: found.output.clone(),
            losses: found.losses.clone(),
            gradients: gradients::copied(&self.model, &found.gradients),
            squared: found.squared.clone(),
        }
    }
}

/// A batch's tensors.
pub(super) struct Forward {
    /// The network's pictures, of which gradients are wanted, `[N, 3, size, size]`.
    pub output: Tensor<4>,
    /// The originals, likewise.
    pub pictures: Tensor<4>,
    /// 1 = known, `[N, 1, size, size]`.
    pub masks: Tensor<4>,
    /// The network on this device, in Burn.
    model: Option<Lbam>,
}

/// A batch, or a device's part of it, that was judged.
pub(super) struct Pass {
    pub forward: Forward,
    /// To be made smaller.
    pub loss: Tensor<1>,
    pub awaited: Awaited,
}

/// Square planes `[N, channels, size, size]`.
fn planes(values: Vec<f32>, channels: usize, size: usize) -> TensorData {
    let count = values.len() / (channels * size * size);
    TensorData::new(values, [count, channels, size, size])
}

/// A batch's pictures and masks on a device, which need not wait for them: they come from memory that
/// it reads by itself.
pub(super) fn uploaded(batch: Batch, size: usize, device: &Device) -> (Tensor<4>, Tensor<4>) {
    let mut data = [planes(batch.pictures, 3, size), planes(batch.masks, 1, size)];
    device.staging(data.iter_mut());
    let [pictures, masks] = data.map(|data| Tensor::from_data(data, device));
    (pictures, masks)
}
