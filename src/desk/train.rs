//! The training loop.
//!
//! A run is a folder: `config.json` (everything it was started with), `log.csv`, `samples/`
//! (strips of input, output, original), `checkpoint/` (the newest whole checkpoint) and, at the
//! end, `weights.safetensors`. Batch `k` depends on the seed and `k` alone and parameters are
//! numbered in a fixed order, so a resumed run goes on to the same losses.

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::DeskError;
use super::data::{Batch, BatchConfig, Batches};
use super::events::Events;
use super::generator::{Generator, Planar, floats};
use super::masks::Style;
use super::model::Lbam;
use super::objective::{Losses, Objective};
use super::sheet::{GAP, contact_sheet, from_planes};
use crate::file::{Weights, write_atomically};
use crate::net::Network;
use crate::picture::{PictureError, write_png};
use crate::service::Stop;

/// Steps over which the learning rate rises from nothing, so that Adam's averages settle first.
const WARM_UP_STEPS: u64 = 100;
/// The learning rate at the end of the cosine, as a share of its top.
const FINAL_SHARE: f64 = 0.01;
/// Most pictures in a sample strip.
const SAMPLE_ROWS: usize = 4;
/// Steps between updates of the weights' running average.
const AVERAGE_EVERY: u64 = 10;
/// Share that an update takes from the newest weights at least: an average over some thousand
/// steps. Early on it is more, so that the start is forgotten.
const AVERAGE_SHARE: f32 = 0.01;
/// Grey that stands for the hole in sample strips.
const HOLE_GREY: f32 = 0.5;
/// How often a line is printed where there is no terminal for a bar.
const LINE_EVERY: Duration = Duration::from_secs(30);

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
    /// Whether each picture has a mask of its own; else a batch shares one, and the mask
    /// branches run once a step.
    pub own_masks: bool,
    /// `cpu`: written out for the processor; `cpu-burn`: the same in Burn; or a GPU backend the
    /// program was built with.
    pub backend: String,
    /// Steps between sample strips.
    pub sample_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

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
}

impl RunConfig {
    /// The configuration of the run in `folder`.
    ///
    /// # Errors
    /// [`DeskError::Run`] where there is none, or it is damaged.
    pub fn read(folder: &Path) -> Result<Self, DeskError> {
        read_json(&folder.join("config.json"))
    }

    fn learning_rate_at(&self, step: u64) -> f64 {
        let warm = ((step + 1) as f64 / WARM_UP_STEPS as f64).min(1.0);
        let share = (step as f64 / self.steps.max(1) as f64).min(1.0);
        let cosine = (1.0 + (PI * share).cos()) / 2.0;
        self.learning_rate * warm * (FINAL_SHARE + (1.0 - FINAL_SHARE) * cosine)
    }
}

/// The device of a backend's name.
///
/// # Errors
/// [`DeskError::Backend`] for a backend this program was built without.
fn device(backend: &str) -> Result<Device, DeskError> {
    match backend {
        "cpu" | "cpu-burn" => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(0)),
        name => {
            let has = [
                ("cpu", true),
                ("cpu-burn", true),
                ("wgpu", cfg!(feature = "wgpu")),
                ("vulkan", cfg!(feature = "vulkan")),
                ("cuda", cfg!(feature = "cuda")),
            ];
            let has: Vec<_> = has.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
            Err(DeskError::Backend { name: name.to_owned(), has: has.join(", ") })
        }
    }
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
    let device = device(&config.backend)?.autodiff();
    let trainer = Trainer::new(config, folder, start, device)?;
    let batches = Batches::new(
        &config.images,
        BatchConfig {
            size: config.size,
            batch: config.batch,
            seed: config.seed,
            start_step: trainer.progress.step,
            masks_per_batch: if config.own_masks { config.batch } else { 1 },
            mask_style: Style::Mixed,
            ..BatchConfig::default()
        },
    )?;
    eprintln!(
        "{} pictures from {}, {} parameters, steps {} to {}",
        batches.picture_count(),
        config.images.display(),
        trainer.network.parameter_count(),
        trainer.progress.step,
        config.steps,
    );
    trainer.run(batches, stop)
}

/// Steps that show every picture of the run's folder `epochs` times on average.
///
/// # Errors
/// [`DeskError::Data`] where there are no pictures.
pub fn steps_in(config: &RunConfig, epochs: u64) -> Result<u64, DeskError> {
    let batches = Batches::new(&config.images, BatchConfig::default())?;
    Ok((batches.picture_count() as u64 * epochs).div_ceil(config.batch as u64))
}

struct Trainer<'a> {
    config: &'a RunConfig,
    folder: &'a Path,
    device: Device,
    network: Network,
    generator: Generator,
    objective: Objective,
    progress: Progress,
    average: Option<Weights>,
}

impl<'a> Trainer<'a> {
    fn new(
        config: &'a RunConfig,
        folder: &'a Path,
        start: Start,
        device: Device,
    ) -> Result<Self, DeskError> {
        let network = Network::new(config.base_channels).map_err(crate::file::FileError::from)?;
        let objective = Objective::new(config, &device)?;
        let mut progress = Progress { step: 0, seconds: 0.0 };
        let mut average = None;
        let written_out = config.backend == "cpu";
        let generator = match start {
            Start::Fresh => {
                let model = Lbam::initialise(network, config.seed, &Device::flex());
                Generator::new(&model.weights(BTreeMap::new())?, written_out, &device)
            }
            Start::From(weights) => {
                if weights.network() != network {
                    return Err(DeskError::Run {
                        path: folder.to_owned(),
                        reason: format!(
                            "the initial weights have {} base channels, the run {}; \
                             leave --preset out",
                            weights.network().base(),
                            network.base()
                        ),
                    });
                }
                Generator::new(&weights, written_out, &device)
            }
            Start::Resume => {
                let checkpoint = folder.join("checkpoint");
                progress = read_json(&checkpoint.join("progress.json"))?;
                let weights = Weights::read(&checkpoint.join("weights.safetensors"))?;
                let path = checkpoint.join("average.safetensors");
                if path.exists() {
                    average = Some(Weights::read(&path)?);
                }
                let mut generator = Generator::new(&weights, written_out, &device);
                generator.load_optimiser(&checkpoint)?;
                generator
            }
        };
        make_folder(&folder.join("samples"))?;
        let json = serde_json::to_vec_pretty(config).expect("plain data");
        write_atomically(&folder.join("config.json"), &json)?;
        Ok(Self { config, folder, device, network, generator, objective, progress, average })
    }

    fn run(mut self, mut batches: Batches, stop: &Stop) -> Result<Weights, DeskError> {
        let mut log = Log::open(self.folder, self.progress.step)?;
        let bar = progress_bar(self.config.steps, self.progress.step);
        let (begun, before) = (Instant::now(), self.progress.seconds);
        let (first, mut last_line) = (self.progress.step, Instant::now());
        while self.progress.step < self.config.steps {
            let batch = batches.next().ok_or_else(|| DeskError::Run {
                path: self.config.images.clone(),
                reason: "the thread that reads pictures died".into(),
            })?;
            let sample = self.progress.step.is_multiple_of(self.config.sample_every);
            let rate = self.config.learning_rate_at(self.progress.step);
            let losses = self.step(&batch, rate, sample)?;
            self.progress.step += 1;
            let elapsed = begun.elapsed().as_secs_f64();
            self.progress.seconds = before + elapsed;
            let done = (self.progress.step - first) * self.config.batch as u64;
            let speed = done as f64 / elapsed;
            log.line(&self.progress, losses, rate, speed)?;
            let message = format!(
                "loss {:.4} (hole {:.4}, valid {:.4}), {speed:.1} pictures/s",
                losses.total, losses.hole, losses.valid
            );
            if bar.is_hidden() && last_line.elapsed() > LINE_EVERY {
                eprintln!("step {} of {}: {message}", self.progress.step, self.config.steps);
                last_line = Instant::now();
            }
            bar.set_message(message);
            bar.set_position(self.progress.step);
            if self.progress.step.is_multiple_of(AVERAGE_EVERY) {
                self.average_weights()?;
            }
            if self.progress.step.is_multiple_of(self.config.checkpoint_every) {
                self.save_checkpoint()?;
            }
            if stop.is_set() && self.progress.step < self.config.steps {
                bar.abandon();
                self.save_checkpoint()?;
                let (step, folder) = (self.progress.step, self.folder.to_owned());
                return Err(DeskError::Stopped { step, folder });
            }
        }
        bar.finish();
        self.save_checkpoint()?;
        let newest = self.weights()?;
        let mut weights = self.average.take().unwrap_or_else(|| newest.clone());
        weights.provenance = newest.provenance;
        weights.write(&self.folder.join("weights.safetensors"))?;
        eprintln!("waited for data {:.1} % of the time", 100.0 * batches.wait_share());
        Ok(weights)
    }

    fn step(&mut self, batch: &Batch, rate: f64, sample: bool) -> Result<Losses, DeskError> {
        let size = self.config.size;
        let pictures = Planar { values: &batch.pictures, channels: 3, size };
        let masks = Planar { values: &batch.masks, channels: 1, size };
        let output = self.generator.forward(&pictures, &masks, &self.device);
        let (originals, known) = (pictures.tensor(&self.device), masks.tensor(&self.device));
        let (total, losses) =
            self.objective.judge(self.progress.step, output.clone(), originals, known)?;
        if sample {
            self.save_sample(batch, &floats(output.clone().inner()))?;
        }
        self.generator.update(total, &output, rate);
        Ok(losses)
    }

    fn average_weights(&mut self) -> Result<(), DeskError> {
        let newest = self.generator.weights(BTreeMap::new())?;
        let updates = (self.progress.step / AVERAGE_EVERY) as f32;
        match &mut self.average {
            Some(average) => average.approach(&newest, AVERAGE_SHARE.max(9.0 / (10.0 + updates))),
            None => self.average = Some(newest),
        }
        Ok(())
    }

    /// A strip: a row a picture, each input, output (composite), original.
    fn save_sample(&self, batch: &Batch, output: &[f32]) -> Result<(), DeskError> {
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
        let name = format!("samples/{:07}.png", self.progress.step);
        Ok(write_png(&self.folder.join(name), &contact_sheet(&rows, GAP)?)?)
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
        if let Some(init) = &c.init {
            provenance.insert("training_init".to_owned(), init.clone());
        }
        Ok(self.generator.weights(provenance)?)
    }

    /// Writes a whole checkpoint aside, then puts it in the old one's place.
    fn save_checkpoint(&mut self) -> Result<(), DeskError> {
        let (new, old, place) = (
            self.folder.join("checkpoint.new"),
            self.folder.join("checkpoint.old"),
            self.folder.join("checkpoint"),
        );
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DeskError::Io { path, source }
        };
        for left_over in [&new, &old] {
            if left_over.exists() {
                fs::remove_dir_all(left_over).map_err(io(left_over))?;
            }
        }
        make_folder(&new)?;
        self.weights()?.write(&new.join("weights.safetensors"))?;
        if let Some(average) = &self.average {
            average.write(&new.join("average.safetensors"))?;
        }
        self.generator.save_optimiser(&new)?;
        let json = serde_json::to_vec(&self.progress).expect("plain data");
        write_atomically(&new.join("progress.json"), &json)?;
        if place.exists() {
            fs::rename(&place, &old).map_err(io(&place))?;
        }
        fs::rename(&new, &place).map_err(io(&new))?;
        if old.exists() {
            fs::remove_dir_all(&old).map_err(io(&old))?;
        }
        Ok(())
    }
}

/// `log.csv`, a line a step, and the same for TensorBoard.
struct Log {
    file: fs::File,
    path: PathBuf,
    events: Events,
}

impl Log {
    /// Opens the log, cut to the steps that were done.
    fn open(folder: &Path, step: u64) -> Result<Self, DeskError> {
        let path = folder.join("log.csv");
        let head = "step,seconds,loss,hole,valid,ssim,perceptual,style,learning_rate,\
                    pictures_per_second\n";
        let old =
            if step > 0 { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        let kept = old.lines().skip(1).take(step as usize);
        let text = kept.fold(head.to_owned(), |text, line| text + line + "\n");
        write_atomically(&path, text.as_bytes())?;
        let file = fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(|source| DeskError::Io { path: path.clone(), source })?;
        Ok(Self { file, path, events: Events::create(folder)? })
    }

    fn line(
        &mut self,
        progress: &Progress,
        losses: Losses,
        rate: f64,
        speed: f64,
    ) -> Result<(), DeskError> {
        let (step, seconds) = (progress.step, progress.seconds);
        let Losses { total, hole, valid, ssim, perceptual, style } = losses;
        let line = format!(
            "{step},{seconds:.1},{total},{hole},{valid},{ssim},{perceptual},{style},{rate:.3e},\
             {speed:.2}\n"
        );
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|source| DeskError::Io { path: self.path.clone(), source })?;
        let figures = [
            ("loss/total", total),
            ("loss/hole", hole),
            ("loss/valid", valid),
            ("loss/ssim", ssim),
            ("loss/perceptual", perceptual),
            ("loss/style", style),
            ("learning rate", rate as f32),
            ("pictures per second", speed as f32),
        ];
        self.events.add(step, &figures)
    }
}

fn progress_bar(steps: u64, at: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{bar:30} {pos}/{len} [{elapsed} < {eta}] {msg}";
    let style = ProgressStyle::with_template(style).expect("a fixed template");
    let bar = ProgressBar::new(steps).with_style(style).with_position(at);
    bar.reset_eta();
    bar
}

fn make_folder(path: &Path) -> Result<(), DeskError> {
    fs::create_dir_all(path).map_err(|source| DeskError::Io { path: path.to_owned(), source })
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, DeskError> {
    let run = |reason| DeskError::Run { path: path.to_owned(), reason };
    let bytes = fs::read(path)
        .map_err(|error| run(format!("{error}; is this the folder of an earlier run?")))?;
    serde_json::from_slice(&bytes).map_err(|error| run(format!("damaged: {error}")))
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
