//! The training loop.
//!
//! A run is a folder: `config.json` (everything it was started with), `log.csv`, `samples/`
//! (strips of input, output, original), `checkpoint/` (the newest whole checkpoint) and, at the
//! end or a stop, `weights.safetensors`. Batch `k` depends on the seed and `k` alone and parameters are
//! numbered in a fixed order, so a resumed run goes on to the same losses.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::iter::successors;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::DeskError;
use super::dashboard::Dashboard;
use super::data::{Batch, BatchConfig, Batches, DataError, divides};
use super::devices::{data_threads, devices};
use super::generator::{Generator, Pass, uploaded};
use super::model::Lbam;
use super::objective::{Losses, Objective};
use super::prune::Pruning;
use super::read::floats;
use super::run_config::{RunConfig, read_json};
use super::run_log::{Figures, Log};
use super::sheet::{GAP, contact_sheet, from_planes};
use super::variants;
use crate::file::{FILLS, SMOOTH, Weights, write_atomically};
use crate::net::Network;
use crate::picture::{PictureError, write_png};
use crate::process::terminal::say;
use crate::process::{Seldom, Stop};

/// Most pictures in a sample strip.
const SAMPLE_ROWS: usize = 4;
/// A checkpoint is written after so long, if it is not due by its steps before: on a slow processor
/// those take an hour.
const SAVE_AFTER: Duration = Duration::from_secs(300);
/// Steps between updates of the weights' running average.
const AVERAGE_EVERY: u64 = 10;
/// Share that an update takes from the newest weights at least: an average over some thousand
/// steps. Early on it is more, so that the start is forgotten.
const AVERAGE_SHARE: f32 = 0.01;
/// Where less of the pruned layers' weights is not 0, they were pruned.
const MOSTLY_THERE: f64 = 0.99;
/// In a run's folder: the newest whole checkpoint; the next one while it is written; and the last
/// one while the two change places.
const WEIGHTS: &str = "weights.safetensors";
const CHECKPOINT: &str = "checkpoint";
const NEW_CHECKPOINT: &str = "checkpoint.new";
const OLD_CHECKPOINT: &str = "checkpoint.old";
/// Grey that stands for the hole in sample strips.
const HOLE_GREY: f32 = 0.5;
/// How often to look for room on a full disk, and to tell of it.
const LOOK_EVERY: Duration = Duration::from_secs(3);
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Where a run begins.
#[derive(Debug)]
pub enum Start {
    /// Random weights.
    Fresh,
    /// Weights of another run or model.
    From(Box<Weights>),
    /// The newest checkpoint in the run's folder.
    Resume,
}

/// What is saved beside weights and optimiser.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    step: u64,
    seconds: f64,
    /// Whether a discriminator took part in any step, or may have in those of the weights it began with.
    #[serde(default)]
    adversarial: bool,
}

/// Trains into `folder` and returns the final weights, which are also written there: a running
/// average over the last steps, which is smoother than any of them. `stop` saves a checkpoint and
/// ends the run after the step in progress.
///
/// # Errors
/// [`DeskError`] where pictures cannot be read, files cannot be written, a checkpoint is damaged
/// or the loss leaves the finite numbers; [`DeskError::Stopped`] where `stop` was set.
pub fn train(
    config: &RunConfig,
    folder: &Path,
    start: Start,
    stop: &Stop,
) -> Result<Weights, DeskError> {
    let lock = folder.is_dir().then(|| lock(folder)).transpose()?;
    match start {
        Start::Resume => finish_swap(folder)?,
        _ => without_a_run(folder)?,
    }
    let devices = devices(&config.backend, config.gpus)?;
    let devices = devices.into_iter().map(Device::autodiff).collect();
    let trainer = Trainer { lock, ..Trainer::new(config, folder, start, devices)? };
    let batches = Batches::new(
        &config.images,
        BatchConfig {
            size: config.size,
            batch: config.batch,
            seed: config.seed,
            start_step: trainer.progress.step,
            masks_per_batch: config.masks_per_batch(),
            threads: data_threads(&config.backend),
            mask_ratio: config.mask_ratio(),
            mask_folder: config.masks.clone(),
            mask_style: config.mask_style,
            mask_border: config.mask_border,
            vary_colours: config.vary_colours,
            crops: config.crops,
            ..BatchConfig::default()
        },
    )?;
    say(format_args!(
        "{} pictures from {}, {} parameters, steps {} to {}",
        batches.picture_count(),
        config.images.display(),
        trainer.network.parameter_count(),
        trainer.progress.step,
        config.steps,
    ));
    if batches.crops() > 1 {
        say(format_args!("{} crops of a picture before another is drawn", batches.crops()));
    }
    say(format_args!("losses: {}", config.losses()));
    trainer.run(batches, stop)
}

/// Holds a run's folder: another program that trains there would mix its files with ours. The system
/// lets it go when the program ends, however that is.
fn lock(folder: &Path) -> Result<File, DeskError> {
    let file = File::open(folder).map_err(DeskError::io(folder))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let reason = "another training is at work in this folder; give another --output";
            Err(DeskError::run(folder, reason))
        }
        // Some shares know no locks.
        _ => Ok(file),
    }
}

/// Steps that show every picture of the run's folder `epochs` times on average.
///
/// # Errors
/// [`DeskError::Data`] where there are no pictures.
pub fn steps_in(config: &RunConfig, epochs: u64) -> Result<u64, DeskError> {
    let batches = Batches::new(&config.images, BatchConfig::default())?;
    Ok((batches.picture_count() as u64).saturating_mul(epochs).div_ceil(config.batch.max(1) as u64))
}

/// Refuses a folder where another run would be lost.
fn without_a_run(folder: &Path) -> Result<(), DeskError> {
    let has = |name: &str| folder.join(name).exists();
    let reason = if has(CHECKPOINT) || has(OLD_CHECKPOINT) {
        "a run is in this folder; go on with it (--resume), or give another --output".into()
    } else if has(WEIGHTS) {
        format!("{WEIGHTS} is in this folder and would be replaced; give another --output")
    } else {
        return Ok(());
    };
    Err(DeskError::run(folder, reason))
}

/// Brings a checkpoint into its place where a power cut came between the old one's way out and the
/// new one's way in.
fn finish_swap(folder: &Path) -> Result<(), DeskError> {
    let place = folder.join(CHECKPOINT);
    // The new one is whole if the old one was moved.
    if place.exists() || !folder.join(OLD_CHECKPOINT).exists() {
        return Ok(());
    }
    let whole = [NEW_CHECKPOINT, OLD_CHECKPOINT].map(|name| folder.join(name));
    let whole = whole.into_iter().find(|path| path.exists()).unwrap_or_default();
    fs::rename(&whole, &place).map_err(DeskError::io(&place))
}

/// Refuses what several devices cannot share.
fn shareable(config: &RunConfig, devices: usize, folder: &Path) -> Result<(), DeskError> {
    let refuse = |reason: String| Err(DeskError::run(folder, reason));
    let (batch, masks) = (config.batch, config.masks_per_batch());
    if devices == 1 {
        Ok(())
    } else if config.adversarial_weight > 0.0 {
        refuse("the discriminator trains on one GPU: leave --gpus out".into())
    } else if !divides(batch, masks, devices) {
        refuse(format!(
            "{batch} pictures with {masks} masks cannot be shared evenly by {devices} GPUs: \
             --batch"
        ))
    } else {
        Ok(())
    }
}

/// A batch where its step begins.
enum Ready {
    Host(Batch),
    Device(Box<Uploaded>),
}

/// A batch on a GPU; and on the host, if it is to be shown.
struct Uploaded {
    pictures: Tensor<4>,
    masks: Tensor<4>,
    shown: Option<Batch>,
}

struct Trainer<'a> {
    config: &'a RunConfig,
    folder: &'a Path,
    /// Each takes an equal part of a batch; the network is updated on the first.
    devices: Vec<Device>,
    network: Network,
    generator: Generator,
    /// One for each device.
    objectives: Vec<Objective>,
    progress: Progress,
    average: Option<Weights>,
    /// The folder, held. `None` while there is none.
    lock: Option<File>,
}

impl<'a> Trainer<'a> {
    fn new(
        config: &'a RunConfig,
        folder: &'a Path,
        start: Start,
        devices: Vec<Device>,
    ) -> Result<Self, DeskError> {
        let network = Network::new(config.base_channels).map_err(crate::file::FileError::from)?;
        let checkpoint = folder.join(CHECKPOINT);
        let resumed = matches!(start, Start::Resume).then_some(&*checkpoint);
        shareable(config, devices.len(), folder)?;
        let objectives = devices
            .iter()
            .map(|device| Objective::new(config, resumed, device))
            .collect::<Result<Vec<_>, _>>()?;
        let device = devices[0].clone();
        let mut progress = Progress { step: 0, seconds: 0.0, adversarial: false };
        let mut average = None;
        let written_out = config.backend == "cpu";
        if config.mixed_precision && (written_out || !device.supports_dtype(DType::BF16)) {
            let reason = format!(
                "--mixed-precision needs bfloat16, which backend {} does not have here",
                config.backend
            );
            return Err(DeskError::run(folder, reason));
        }
        let mut pruning = None;
        let mut generator = match start {
            Start::Fresh if config.prunes() => {
                let reason = "--prune-kernels and --kernel-taps take what weighs least of weights \
                              that are trained: give --init";
                return Err(DeskError::run(folder, reason));
            }
            Start::Fresh => {
                let model = Lbam::initialise(network, config.seed, &Device::flex());
                let weights = model.weights(BTreeMap::new())?.with_variant(config.variant);
                Generator::new(&weights, config.adam(), written_out, &device)
            }
            Start::From(weights) => {
                if weights.network() != network {
                    let reason = format!(
                        "the initial weights have {} base channels, the run {}; leave --preset out",
                        weights.network().base(),
                        network.base()
                    );
                    return Err(DeskError::run(folder, reason));
                }
                variants::same(config, &weights, folder)?;
                let fills = weights.provenance.get(FILLS);
                progress.adversarial = fills.is_none_or(|fills| fills != SMOOTH);
                let zeros = Pruning::of_zeros(&weights);
                if config.prunes() {
                    // What was pruned before stays so.
                    let least = Pruning::least(&weights, config.prune_kernels, config.kernel_taps);
                    pruning = Some(least.and(&zeros));
                } else {
                    let left = zeros.left();
                    if left < MOSTLY_THERE {
                        log::warn!(
                            "the initial weights are pruned ({:.1} % left), and this run fills \
                             them up again; --prune-kernels and --kernel-taps keep them so",
                            100.0 * left
                        );
                    }
                }
                Generator::new(&weights, config.adam(), written_out, &device)
            }
            Start::Resume => {
                progress = read_json(&checkpoint.join("progress.json"))?;
                if config.steps < progress.step {
                    let done = progress.step;
                    let reason = format!("the run has done {done} steps; --steps is all of them");
                    return Err(DeskError::run(folder, reason));
                }
                let weights = Weights::read(&checkpoint.join(WEIGHTS))?;
                if weights.network() != network {
                    let reason = "it is of another network than config.json";
                    return Err(DeskError::run(&checkpoint, reason));
                }
                variants::same(config, &weights, &checkpoint)?;
                pruning = config.prunes().then(|| Pruning::of_zeros(&weights));
                // From then on every checkpoint has one.
                if progress.step >= AVERAGE_EVERY {
                    average = Some(Weights::read(&checkpoint.join("average.safetensors"))?);
                }
                let mut generator = Generator::new(&weights, config.adam(), written_out, &device);
                generator.load_optimiser(&checkpoint)?;
                generator
            }
        };
        if config.mixed_precision {
            generator.mix_precision();
        }
        if let Some(pruning) = pruning {
            let left = 100.0 * pruning.left();
            say(format_args!("pruned to {left:.1} % of the pruned layers' weights"));
            generator.prune(&pruning, &device);
        }
        Ok(Self {
            config,
            folder,
            devices,
            network,
            generator,
            objectives,
            progress,
            average,
            lock: None,
        })
    }

    /// Everything was looked at before: what a run cannot do leaves its folder as it was.
    fn run(mut self, mut batches: Batches, stop: &Stop) -> Result<Weights, DeskError> {
        let path = self.folder.join("config.json");
        let json = serde_json::to_vec_pretty(self.config).map_err(|error| {
            DeskError::run(&path, format!("{error}; names of folders and files must be UTF-8"))
        })?;
        make_folder(self.folder)?;
        if self.lock.is_none() {
            self.lock = Some(lock(self.folder)?);
            without_a_run(self.folder)?;
        }
        write_atomically(&path, &json)?;
        let mut log = Log::open(self.folder, self.progress.step)?;
        let done = self.steps(&mut batches, &mut log, stop);
        if matches!(done, Err(DeskError::Data(DataError::Away { .. }))) && self.progress.step > 0 {
            self.save_checkpoint()?;
        }
        done?;
        with_room(stop, || self.save_checkpoint())?;
        let weights = with_room(stop, || self.write_weights())?;
        say(format_args!("waited for data {:.1} % of the time", 100.0 * batches.wait_share()));
        Ok(weights)
    }

    /// All steps that are left.
    fn steps(
        &mut self,
        batches: &mut Batches,
        log: &mut Log,
        stop: &Stop,
    ) -> Result<(), DeskError> {
        let mut dashboard = Dashboard::new(self.config.steps, self.progress.step);
        let (begun, before) = (Instant::now(), self.progress.seconds);
        let first = self.progress.step;
        let (mut ahead, mut saved) = (None, Instant::now());
        while self.progress.step < self.config.steps {
            let ready = match ahead.take() {
                Some(ready) => ready,
                None => self.ready(next(batches)?),
            };
            let rate = self.config.learning_rate_at(self.progress.step);
            let another = self.progress.step + 1 < self.config.steps;
            let (losses, gradient) = self.step(ready, rate, |trainer| {
                if another {
                    ahead = Some(trainer.ready(next(batches)?));
                }
                Ok(())
            })?;
            self.progress.adversarial |= self.objectives[0].is_adversarial(self.progress.step);
            self.progress.step += 1;
            let elapsed = begun.elapsed().as_secs_f64();
            self.progress.seconds = before + elapsed;
            let done = (self.progress.step - first) * self.config.batch as u64;
            let speed = done as f64 / elapsed;
            let figures = Figures {
                step: self.progress.step,
                seconds: self.progress.seconds,
                losses,
                gradient,
                learning_rate: rate,
                pictures_per_second: speed,
            };
            with_room(stop, || log.line(figures))?;
            dashboard.show(&figures, batches.wait_share());
            if self.progress.step.is_multiple_of(AVERAGE_EVERY) {
                self.average_weights()?;
            }
            if self.progress.step.is_multiple_of(self.config.checkpoint_every)
                || saved.elapsed() >= SAVE_AFTER
            {
                with_room(stop, || self.save_checkpoint())?;
                saved = Instant::now();
            }
            if stop.is_set() && self.progress.step < self.config.steps {
                dashboard.end();
                self.save_checkpoint()?;
                self.write_weights()?;
                let (step, folder) = (self.progress.step, self.folder.to_owned());
                return Err(DeskError::Stopped { step, folder });
            }
        }
        dashboard.end();
        Ok(())
    }

    /// Writes the run's weights: the running average, or before there is one the newest.
    fn write_weights(&self) -> Result<Weights, DeskError> {
        let newest = self.weights()?;
        let mut weights = self.average.clone().unwrap_or_else(|| newest.clone());
        weights.provenance = newest.provenance;
        weights.write(&self.folder.join(WEIGHTS))?;
        Ok(weights)
    }

    /// Whether a step's passes are recorded once and replayed.
    fn replays(&self) -> bool {
        self.devices.len() == 1
            && self.objectives[0].constant().is_some()
            && self.generator.replays()
    }

    /// A batch once more, if its step leaves a sample.
    fn shown(&self, batch: &Batch) -> Option<Batch> {
        batch.step.is_multiple_of(self.config.sample_every).then(|| batch.clone())
    }

    /// Takes a batch to where its step begins.
    fn ready(&self, batch: Batch) -> Ready {
        if !self.replays() {
            return Ready::Host(batch);
        }
        let shown = self.shown(&batch);
        let (pictures, masks) = uploaded(batch, self.config.size, &self.devices[0]);
        Ready::Device(Box::new(Uploaded { pictures, masks, shown }))
    }

    /// One step; its losses, and the length of the network's gradient. What is done `meanwhile` is
    /// done while a GPU computes.
    fn step(
        &mut self,
        ready: Ready,
        rate: f64,
        meanwhile: impl FnOnce(&Self) -> Result<(), DeskError>,
    ) -> Result<(Losses, f32), DeskError> {
        let (clip, step, size) = (self.config.clip_gradient, self.progress.step, self.config.size);
        let batch = match ready {
            Ready::Host(batch) => batch,
            Ready::Device(uploaded) => {
                let Uploaded { pictures, masks, shown } = *uploaded;
                let terms = self.objectives[0].constant().expect("or nothing is replayed");
                let found = self.generator.replay(pictures, masks, terms);
                meanwhile(self)?;
                if let Some(batch) = shown {
                    self.save_sample(&batch, &floats(found.output.clone())?)?;
                }
                return self.generator.update_replayed(found, rate, clip, step);
            }
        };
        let shown = self.shown(&batch);
        let mut passes = Vec::with_capacity(self.devices.len());
        let shares = batch.divided(self.devices.len(), size).into_iter();
        let devices = self.devices.iter().enumerate();
        for ((share, device), objective) in shares.zip(devices).zip(&mut self.objectives) {
            let forward = self.generator.forward(share, size, device);
            let (output, pictures) = (forward.output.clone(), forward.pictures.clone());
            let (loss, awaited) = objective.judge(step, output, pictures, forward.masks.clone())?;
            passes.push(Pass { forward, loss, awaited });
        }
        if let Some(batch) = shown {
            self.save_sample(&batch, &floats(passes[0].forward.output.clone().inner())?)?;
        }
        self.generator.update(passes, rate, clip, step)
    }

    fn average_weights(&mut self) -> Result<(), DeskError> {
        let newest = self.finite(self.generator.weights(BTreeMap::new()))?;
        let updates = (self.progress.step / AVERAGE_EVERY) as f32;
        match &mut self.average {
            Some(average) => average.approach(&newest, AVERAGE_SHARE.max(9.0 / (10.0 + updates))),
            None => self.average = Some(newest),
        }
        Ok(())
    }

    /// A strip: a row a picture, each input, output (composite), original. A full disk has none.
    fn save_sample(&self, batch: &Batch, output: &[f32]) -> Result<(), DeskError> {
        match self.write_sample(batch, output) {
            Err(error) if is_full(&error) => {
                log::warn!("{error}; there is no sample of this step");
                Ok(())
            }
            other => other,
        }
    }

    fn write_sample(&self, batch: &Batch, output: &[f32]) -> Result<(), DeskError> {
        let (size, plane) = (self.config.size, self.config.size * self.config.size);
        let pictures = batch.pictures.chunks_exact(3 * plane).zip(output.chunks_exact(3 * plane));
        // A mask that the batch shares is every picture's.
        let masks = batch.masks.chunks_exact(plane).cycle();
        let rows = pictures.zip(masks).take(SAMPLE_ROWS).map(|((picture, output), known)| {
            let with_hole = |fill: &dyn Fn(usize) -> f32| {
                let values = picture
                    .iter()
                    .enumerate()
                    .map(|(at, &value)| if known[at % plane] > 0.5 { value } else { fill(at) });
                from_planes(&values.collect::<Vec<_>>(), size, size)
            };
            let input = with_hole(&|_| HOLE_GREY)?;
            Ok(vec![input, with_hole(&|at| output[at])?, from_planes(picture, size, size)?])
        });
        let rows = rows.collect::<Result<Vec<_>, PictureError>>()?;
        let samples = self.folder.join("samples");
        make_folder(&samples)?;
        let path = samples.join(format!("{:07}.png", batch.step));
        Ok(write_png(&path, &contact_sheet(&rows, GAP)?)?)
    }

    fn weights(&self) -> Result<Weights, DeskError> {
        let c = self.config;
        let data = c.images.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut provenance = BTreeMap::from([
            ("program".to_owned(), format!("lbam-desk {}", env!("CARGO_PKG_VERSION"))),
            ("training_data".to_owned(), data),
            ("training_steps".to_owned(), self.progress.step.to_string()),
            ("training_batch".to_owned(), c.batch.to_string()),
            ("training_size".to_owned(), c.size.to_string()),
            ("training_seed".to_owned(), c.seed.to_string()),
            ("training_learning_rate".to_owned(), c.learning_rate.to_string()),
            ("training_seconds".to_owned(), format!("{:.0}", self.progress.seconds)),
        ]);
        if !self.progress.adversarial {
            provenance.insert(FILLS.to_owned(), SMOOTH.to_owned());
        }
        if let Some(init) = &c.init {
            provenance.insert("training_init".to_owned(), init.clone());
        }
        self.finite(self.generator.weights(provenance))
    }

    /// A file refuses weights for one reason: a value is not finite.
    fn finite(&self, weights: Result<Weights, DeskError>) -> Result<Weights, DeskError> {
        let step = self.progress.step;
        weights.map_err(|error| match error {
            DeskError::File(error) => DeskError::Diverged { step, what: error.to_string() },
            other => other,
        })
    }

    /// Writes a whole checkpoint aside, then puts it in the old one's place. Nothing is written
    /// where a weight is not finite. (The optimisers' averages are: gradients are looked at before
    /// they see them.)
    fn save_checkpoint(&mut self) -> Result<(), DeskError> {
        // Of a time before that found no room.
        finish_swap(self.folder)?;
        let written = self.write_checkpoint();
        let new = self.folder.join(NEW_CHECKPOINT);
        if written.is_err() && self.folder.join(CHECKPOINT).exists() && new.exists() {
            // Others may want the room meanwhile.
            fs::remove_dir_all(&new).map_err(DeskError::io(&new))?;
        }
        written
    }

    fn write_checkpoint(&mut self) -> Result<(), DeskError> {
        let weights = self.weights()?;
        let adversary = self.objectives[0].weights(self.progress.step)?;
        if self.average.as_ref().is_some_and(|average| !average.is_finite()) {
            let what = "the average of the weights is not finite".into();
            return Err(DeskError::Diverged { step: self.progress.step, what });
        }
        let (new, old, place) = (
            self.folder.join(NEW_CHECKPOINT),
            self.folder.join(OLD_CHECKPOINT),
            self.folder.join(CHECKPOINT),
        );
        for left_over in [&new, &old] {
            if left_over.exists() {
                fs::remove_dir_all(left_over).map_err(DeskError::io(left_over))?;
            }
        }
        make_folder(&new)?;
        weights.write(&new.join(WEIGHTS))?;
        self.objectives[0].save(adversary.as_deref(), &new)?;
        if let Some(average) = &self.average {
            average.write(&new.join("average.safetensors"))?;
        }
        self.generator.save_optimiser(&new)?;
        let json = serde_json::to_vec(&self.progress).expect("plain data");
        write_atomically(&new.join("progress.json"), &json)?;
        if place.exists() {
            fs::rename(&place, &old).map_err(DeskError::io(&place))?;
        }
        fs::rename(&new, &place).map_err(DeskError::io(&new))?;
        if old.exists() {
            fs::remove_dir_all(&old).map_err(DeskError::io(&old))?;
        }
        Ok(())
    }
}

/// Writes; where the disk is full waits for room, until a stop is asked for. `write` leaves what was there
/// before where it fails.
fn with_room<T>(
    stop: &Stop,
    mut write: impl FnMut() -> Result<T, DeskError>,
) -> Result<T, DeskError> {
    let mut trouble = Seldom::every(TELL_EVERY);
    loop {
        match write() {
            Err(error) if is_full(&error) && !stop.is_set() => {
                trouble.warn(format_args!("{error}; the run waits for room"));
                std::thread::sleep(LOOK_EVERY);
            }
            other => return other,
        }
    }
}

/// Whether it is for want of room on the disk.
fn is_full(error: &DeskError) -> bool {
    let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
    let error: &dyn Error = error;
    let mut causes = successors(Some(error), |&error| error.source());
    causes.any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| kinds.contains(&error.kind()))
    })
}

fn next(batches: &mut Batches) -> Result<Batch, DeskError> {
    batches.next().ok_or_else(|| batches.fault().into())
}

fn make_folder(path: &Path) -> Result<(), DeskError> {
    fs::create_dir_all(path).map_err(DeskError::io(path))
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
