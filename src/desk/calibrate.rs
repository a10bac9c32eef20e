//! Post-training quantisation: ranges learned from pictures, and a receipt.
//!
//! The float network runs over the calibration pictures with brush masks and every feature
//! tensor's range is taken, channel by channel. Grids reach twice as far, but for those of the levels
//! next to the picture, which are learned from there ([`learn`]), on random crops of the same pictures.
//! One picture in four takes no part: on those the receipt states what integers cost.
//!
//! Hazard: figures on the held-back pictures hold for pictures and masks like them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Value, json};

use super::DeskError;
use super::data::{BatchConfig, Batches};
use super::evaluate::PSNR_CEILING;
use super::masks::{self, Style};
use super::model::{Lbam, network_input};
use super::quantise::{Grid, Grids, quantise};
use super::{photos, random, sheet};
use crate::file::{Int8Tensors, Model, Weights, write_int8_model};
use crate::net::{ENCODER_LAYERS, MASK_UPDATE_POWER};
use crate::picture::{Mask, RgbPicture, metrics};
use crate::runtime::Session;

mod learn;
mod report;

/// Side of calibration pictures, pixels.
const SIDE: usize = 256;
/// One picture in so many is held back.
const HELD_BACK: usize = 4;
/// Values of each channel kept for histograms, of all pictures alike.
const SAMPLES: usize = 8192;
/// Most of them from one picture.
const PLACES: usize = 199;
/// So few pictures give as many as that each.
const FEW: usize = SAMPLES / PLACES;
/// Pictures that a model file names: several thousand would not fit into its header.
const MOST_LISTED: usize = 1000;
/// Pictures that tensors' signal-to-noise ratios are taken on.
const TRIALS: usize = 8;
/// Shares of hole that masks have.
const HOLES: (f32, f32) = (0.1, 0.5);
/// The greatest sum of a mask layer seen is exceeded by masks not seen; a little more fits.
const MASK_MARGIN: f32 = 1.02;
/// Grids reach so many times as far as what was seen: other pictures go further. Of what is learned
/// this is where learning begins.
const REACH: f32 = 2.0;
/// And their scales are nearly the same for all channels, see [`Grid::new`].
const SPREAD: f32 = 0.25;
/// Crops in a step of learning; they share a mask.
const BATCH: usize = 4;

/// What was seen of one channel.
#[derive(Debug, Clone, Default)]
struct Channel {
    low: f32,
    high: f32,
    sample: Vec<f32>,
}

/// A picture, its mask, and the float network's composite of them.
struct Trial {
    picture: RgbPicture,
    mask: Mask,
    filled: RgbPicture,
}

struct Used {
    name: String,
    hash: String,
    /// Of those that are looked at again.
    trial: Option<Trial>,
    held_back: bool,
}

/// A held-back picture: what the float and the integer network make of it.
struct Compared {
    name: String,
    picture: RgbPicture,
    mask: Mask,
    float: RgbPicture,
    int8: RgbPicture,
    /// Of one composite to the other, dB.
    psnr: f64,
}

/// How often a tensor's sampled values become which bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Histogram {
    /// Values that are clipped to 0.
    below: u64,
    /// Of four neighbouring bytes each.
    bins: [u64; 64],
    /// Values that are clipped to 255.
    above: u64,
}

impl Histogram {
    fn new(channels: &[Channel], grid: &Grid) -> Self {
        let mut histogram = Self { below: 0, bins: [0; 64], above: 0 };
        for (index, channel) in channels.iter().enumerate() {
            for value in &channel.sample {
                let byte = (value / grid.scales[index] + grid.zeros[index]).round();
                match byte {
                    ..0.0 => histogram.below += 1,
                    0.0..256.0 => histogram.bins[byte as usize / 4] += 1,
                    _ => histogram.above += 1,
                }
            }
        }
        histogram
    }

    /// Share of values that are clipped.
    fn clipped(&self) -> f64 {
        let clipped = self.below + self.above;
        let all = clipped + self.bins.iter().sum::<u64>();
        clipped as f64 / all.max(1) as f64
    }
}

/// A calibrated network.
pub struct Calibrated {
    tensors: Int8Tensors,
    /// What was used, learned and measured.
    pub receipt: Value,
    weights: Weights,
    /// Of `e_1 .. e_7`, then `d_1 .. d_6`.
    histograms: Vec<Histogram>,
    compared: Vec<Compared>,
}

impl Calibrated {
    /// Writes the model file, with the receipt in its metadata; a long list of pictures is its hash there.
    ///
    /// # Errors
    /// [`DeskError::File`] where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), DeskError> {
        let (network, provenance) = (self.weights.network(), &self.weights.provenance);
        let receipt = brief(&self.receipt).to_string();
        Ok(write_int8_model(network, &self.tensors, provenance, &receipt, path)?)
    }
}

/// A receipt that fits a model file's header.
fn brief(receipt: &Value) -> Value {
    let mut brief = receipt.clone();
    for name in ["pictures", "held_back_pictures"] {
        let list = &mut brief[name];
        if let Some(count) = list.as_array().map(Vec::len).filter(|&count| count > MOST_LISTED) {
            let hash = blake3::hash(list.to_string().as_bytes()).to_hex().to_string();
            *list = json!({ "count": count, "blake3": hash });
        }
    }
    brief
}

/// Calibrates `weights` on the pictures below `images`, with so many steps of learning; `progress` is
/// told the steps done and in all.
///
/// # Errors
/// [`DeskError`] for an ablation, where fewer than four pictures can be read or they go away, where
/// the network's fills are not finite, or a temporary file cannot be written.
pub fn calibrate(
    weights: &Weights,
    images: &Path,
    learning_steps: u64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Calibrated, DeskError> {
    weights.for_devices()?;
    let mut paths = Vec::new();
    photos::list(images, &mut paths)?;
    let steps = paths.len() + learning_steps as usize + 1;
    let mut done = 0;
    let mut step = || {
        done += 1;
        progress(done.min(steps), steps);
    };
    let model = Lbam::from_weights(weights, &Device::flex());
    let held_back = paths.len() / HELD_BACK;
    let places = (SAMPLES / (paths.len() - held_back).max(1)).clamp(1, PLACES);
    let mut seen = Seen { places, ..Seen::default() };
    let mut used: Vec<Used> = Vec::new();
    let mut drawn_from = Vec::new();
    for path in &paths {
        let index = used.len();
        match read(path, images, index) {
            Ok((name, hash, picture, mask)) => {
                let held_back = index % HELD_BACK == HELD_BACK - 1;
                let filled = seen.look(&model, &picture, &mask, !held_back)?;
                let again = held_back || seen.looked_at <= TRIALS;
                let trial = again.then_some(Trial { picture, mask, filled });
                used.push(Used { name, hash, trial, held_back });
                if !held_back {
                    drawn_from.push(path.clone());
                }
            }
            Err(error) => log::warn!("{} is skipped: {error}", path.display()),
        }
        step();
    }
    if !used.iter().any(|used| used.held_back) {
        let reason = format!(
            "{} readable pictures, and at least {HELD_BACK} are needed to calibrate",
            used.len()
        );
        return Err(DeskError::run(images, reason));
    }
    let batches = BatchConfig {
        size: SIDE,
        batch: BATCH,
        files: Some(drawn_from),
        mask_ratio: HOLES.0..=HOLES.1,
        ..BatchConfig::default()
    };
    let mut batches = Batches::new(images, batches)?;
    let features =
        learn::learn(weights, &seen.start(), (images, &mut batches, learning_steps), &mut step)?;
    drop(batches);
    let grids = Grids { features, mask_tops: seen.mask_tops.clone() };

    let bench = Bench::new(weights)?;
    let trials: Vec<&Trial> =
        used.iter().filter(|used| !used.held_back).filter_map(|used| used.trial.as_ref()).collect();
    let int8 = quantise(weights, &grids);
    let layers = bench.layers(&int8, &grids, &model, &trials)?;
    let histograms: Vec<Histogram> = seen
        .features
        .iter()
        .zip(&grids.features)
        .map(|(c, grid)| Histogram::new(c, grid))
        .collect();
    let listed = |held_back: bool| -> Vec<Value> {
        let listed = used.iter().filter(|used| used.held_back == held_back);
        listed.map(|used| json!({"name": used.name, "blake3": used.hash})).collect()
    };
    let (pictures, held_back_pictures) = (listed(false), listed(true));
    let layers: Vec<Value> = layers
        .into_iter()
        .zip(&grids.features)
        .zip(&seen.features)
        .zip(&histograms)
        .map(|((((name, snr), grid), channels), histogram)| {
            let (low, high) = grid.ends();
            let seen_low = channels.iter().map(|c| c.low).fold(0.0, f32::min);
            let seen_high = channels.iter().map(|c| c.high).fold(0.0, f32::max);
            json!({
                "name": name, "snr": snr, "low": low, "high": high, "seen_low": seen_low,
                "seen_high": seen_high, "clipped": histogram.clipped(),
            })
        })
        .collect();
    let held_back = used.into_iter().filter(|used| used.held_back);
    let compared = bench.compare(&int8, held_back)?;
    let receipt = json!({
        "size": SIDE,
        "masks": format!("brush, {} to {} of the picture, seed 0", HOLES.0, HOLES.1),
        "pictures": pictures,
        "held_back_pictures": held_back_pictures,
        "learning_steps": learning_steps,
        "held_back": cost(&compared)?,
        "layers": layers,
    });
    step();
    Ok(Calibrated { tensors: int8, receipt, weights: weights.clone(), histograms, compared })
}

type Read = (String, String, RgbPicture, Mask);

fn read(path: &Path, images: &Path, index: usize) -> Result<Read, DeskError> {
    let bytes = std::fs::read(path).map_err(DeskError::io(path))?;
    let hash = blake3::hash(&bytes).to_hex().to_string();
    let (pixels, _) = photos::central_square(path, SIDE)?;
    let mut rng = random::generator(0, index as u64, 0);
    let grey = masks::draw(&mut rng, SIDE, SIDE, HOLES.0..=HOLES.1, Style::Brush);
    let mask = Mask::from_grey(SIDE, SIDE, &grey).map_err(super::evaluate::EvaluateError::from)?;
    let name = path.strip_prefix(images).unwrap_or(path).display().to_string();
    Ok((name, hash, RgbPicture::new(SIDE, SIDE, pixels)?, mask))
}

/// What the float network's tensors held.
#[derive(Default)]
struct Seen {
    /// Values to take of each channel of a picture, about.
    places: usize,
    /// Pictures that ranges were taken from.
    looked_at: usize,
    /// Of `e_1 .. e_7`, then `d_1 .. d_6`: every channel.
    features: Vec<Vec<Channel>>,
    mask_tops: Vec<f32>,
}

impl Seen {
    /// Runs the float network; takes its ranges if `note`.
    fn look(
        &mut self,
        model: &Lbam,
        picture: &RgbPicture,
        mask: &Mask,
        note: bool,
    ) -> Result<RgbPicture, DeskError> {
        let (input, known) = tensors(picture, mask);
        let maps = model.maps(known);
        let (features, mut filled) = features(model, input, &maps);
        sheet::keep_known(&mut filled, picture, mask);
        if note {
            let masks = maps.known.iter().chain(&maps.updated);
            let tops: Vec<f32> = masks
                .map(|mask| {
                    let top = mask.clone().max().into_scalar::<f32>();
                    MASK_MARGIN * top.max(f32::MIN_POSITIVE).powf(1.0 / MASK_UPDATE_POWER)
                })
                .collect();
            self.mask_tops.resize(tops.len(), 0.0);
            for (most, top) in self.mask_tops.iter_mut().zip(tops) {
                *most = most.max(top);
            }
            self.features.resize_with(features.len(), Vec::new);
            for (channels, tensor) in self.features.iter_mut().zip(features) {
                let [_, count, height, width] = tensor.dims();
                channels.resize_with(count, Channel::default);
                let values = values(tensor);
                for (channel, plane) in channels.iter_mut().zip(values.chunks(height * width)) {
                    channel.low = plane.iter().copied().fold(channel.low, f32::min);
                    channel.high = plane.iter().copied().fold(channel.high, f32::max);
                    // A step prime to rows' lengths, so that all columns are seen.
                    let step = (plane.len() / self.places).max(1) | 1;
                    // Few of one picture lie elsewhere in others.
                    let first = self.looked_at / FEW * 7919 % step;
                    channel.sample.extend(plane.iter().skip(first).step_by(step));
                }
            }
            self.looked_at += 1;
        }
        Ok(filled)
    }

    /// The grids that learning begins with.
    fn start(&self) -> Vec<Grid> {
        let grid = |channels: &Vec<Channel>| {
            let ranges: Vec<_> = channels.iter().map(|c| (REACH * c.low, REACH * c.high)).collect();
            Grid::new(&ranges, SPREAD)
        };
        self.features.iter().map(grid).collect()
    }
}

fn values(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("features are 32-bit floats")
}

/// The network's input and the mask as tensors, 1 = known.
fn tensors(picture: &RgbPicture, mask: &Mask) -> (Tensor<4>, Tensor<4>) {
    let tensor = |values: Vec<f32>, channels| {
        Tensor::from_data(TensorData::new(values, [1, channels, SIDE, SIDE]), &Device::flex())
    };
    let known = tensor(sheet::known_plane(mask), 1);
    (network_input(tensor(sheet::to_planes(picture), 3), known.clone()), known)
}

/// `e_1 .. e_7`, `d_1 .. d_6`, and the picture.
fn features(
    model: &Lbam,
    input: Tensor<4>,
    maps: &super::model::Maps,
) -> (Vec<Tensor<4>>, RgbPicture) {
    let mut activations = model.activations(input, maps);
    let filled = values(activations.decoder.pop().expect("the decoder has layers"));
    let picture = sheet::from_planes(&filled, SIDE, SIDE);
    let mut features = activations.encoder;
    // Behind their skips, the deepest first.
    for (level, joined) in (0..activations.decoder.len()).zip(activations.decoder.iter().rev()) {
        let skip = features[level].dims()[1];
        let all = joined.dims()[1];
        features.push(joined.clone().slice([0..1, skip..all]));
    }
    (features, picture.expect("three bytes a pixel"))
}

/// Where the integer network runs.
struct Bench {
    weights: Weights,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(weights: &Weights) -> Result<Self, DeskError> {
        let folder = tempfile::tempdir().map_err(DeskError::io(&std::env::temp_dir()))?;
        Ok(Self { weights: weights.clone(), folder })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("int8.lbam")
    }

    fn session(&self, int8: &Int8Tensors) -> Result<Session, DeskError> {
        let (path, network) = (self.path(), self.weights.network());
        write_int8_model(network, int8, &self.weights.provenance, "{}", &path)?;
        Session::new(&Arc::new(Model::open(&path)?), SIDE, SIDE).map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &crate::runtime::RuntimeError) -> DeskError {
        DeskError::run(&self.path(), error)
    }

    /// The integer network's composite.
    fn fill(&self, session: &mut Session, trial: &Trial) -> Result<RgbPicture, DeskError> {
        let mut output = vec![0; 3 * SIDE * SIDE];
        session
            .set_mask(trial.mask.data())
            .and_then(|()| session.run(&trial.picture.data, &mut output))
            .map_err(|error| self.failed(&error))?;
        let mut filled = RgbPicture::new(SIDE, SIDE, output)?;
        sheet::keep_known(&mut filled, &trial.picture, &trial.mask);
        Ok(filled)
    }

    /// Each feature tensor's name and signal-to-noise ratio, dB.
    fn layers(
        &self,
        int8: &Int8Tensors,
        grids: &Grids,
        model: &Lbam,
        trials: &[&Trial],
    ) -> Result<Vec<(String, f64)>, DeskError> {
        let mut session = self.session(int8)?;
        session.set_rim(None);
        let mut powers = vec![(0.0_f64, 0.0_f64); grids.features.len()];
        for trial in trials {
            self.fill(&mut session, trial)?;
            let (input, known) = tensors(&trial.picture, &trial.mask);
            let (expected, _) = features(model, input, &model.maps(known));
            for (((signal, noise), grid), (plane, tensor)) in
                powers.iter_mut().zip(&grids.features).zip(session.features().zip(expected))
            {
                let (expected, area) = (values(tensor), plane.height() * plane.width());
                for (index, pixel) in (0..plane.height())
                    .flat_map(|y| plane.row(y).chunks_exact(plane.channels()))
                    .enumerate()
                {
                    for channel in 0..grid.scales.len() {
                        let value = expected[channel * area + index];
                        *signal += f64::from(value).powi(2);
                        *noise += f64::from(value - grid.value(channel, pixel[channel])).powi(2);
                    }
                }
            }
        }
        let names = (1..=ENCODER_LAYERS)
            .map(|level| format!("encoder {level}"))
            .chain((1..ENCODER_LAYERS).map(|level| format!("decoder {level}")));
        let ratio = |(signal, noise): (f64, f64)| 10.0 * (signal / noise.max(1e-30)).log10();
        Ok(names.zip(powers.into_iter().map(ratio)).collect())
    }

    /// Both networks on pictures that took no part.
    fn compare(
        &self,
        int8: &Int8Tensors,
        held_back: impl Iterator<Item = Used>,
    ) -> Result<Vec<Compared>, DeskError> {
        let mut session = self.session(int8)?;
        held_back
            .filter_map(|Used { name, trial, .. }| Some((name, trial?)))
            .map(|(name, trial)| {
                let int8 = self.fill(&mut session, &trial)?;
                let Trial { picture, mask, filled: float } = trial;
                // Equal pictures have no finite ratio.
                let psnr = metrics::psnr(&float.data, &int8.data, SIDE, SIDE)?.min(PSNR_CEILING);
                Ok(Compared { name, picture, mask, float, int8, psnr })
            })
            .collect()
    }
}

/// What integers cost: means over the pictures.
fn cost(compared: &[Compared]) -> Result<Value, DeskError> {
    let mut sums = [0.0; 5];
    for Compared { picture, float, int8, psnr, .. } in compared {
        let psnr_of = |filled: &RgbPicture| {
            metrics::psnr(&picture.data, &filled.data, SIDE, SIDE)
                .map(|psnr| psnr.min(PSNR_CEILING))
        };
        let ssim_of = |filled: &RgbPicture| metrics::ssim(&picture.data, &filled.data, SIDE, SIDE);
        let figures = [*psnr, psnr_of(float)?, psnr_of(int8)?, ssim_of(float)?, ssim_of(int8)?];
        sums.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
    }
    let [to_float, psnr_float, psnr_int8, ssim_float, ssim_int8] =
        sums.map(|sum| sum / compared.len() as f64);
    Ok(json!({
        "count": compared.len(), "psnr_to_float": to_float,
        "psnr_float": psnr_float, "psnr_int8": psnr_int8, "psnr_lost": psnr_float - psnr_int8,
        "ssim_float": ssim_float, "ssim_int8": ssim_int8, "ssim_lost": ssim_float - ssim_int8,
    }))
}

#[cfg(test)]
mod tests;
