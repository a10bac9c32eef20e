//! Ranges learned by gradient descent.
//!
//! A grid too wide rounds coarsely and one too narrow clips. Which of the two costs more differs from
//! channel to channel and shows only in the picture. So the features of the float network are put on
//! their grids on the way, and both ends of every channel's grid go down the gradient of what that
//! changes in the holes, on random crops and with a new mask at every step. Learned step sizes are
//! by Esser et al. 2020 (LSQ), with two ends to each range by Bhalgat et al. 2020 (LSQ+). Weights and
//! maps are not rounded here: they make a twentieth of what integers lose.
//!
//! Ranges are learned of the levels next to the picture alone. The channels below those tell scenes
//! apart: most pictures leave most of them quiet, and one that does not reaches ten or twenty times
//! what was seen. It would lose its whole fill, and no gradient tells of pictures that are not there.
//! Those levels are coarse, and what their rounding changes is little.

use std::path::Path;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::SIDE;
use crate::desk::DeskError;
use crate::desk::adam::{AdamSettings, adam};
use crate::desk::data::{Batches, DataError};
use crate::desk::generator::uploaded;
use crate::desk::model::{Lbam, network_input};
use crate::desk::quantise::{BYTE_TOP, Grid, LEAST_SHARE};
use crate::desk::random;
use crate::desk::read::{floats, number};
use crate::file::Weights;
use crate::net::ENCODER_LAYERS;

/// Levels of encoder and decoder whose ranges are learned.
const LEARNED: usize = 3;
/// Learning rate of the ranges' logarithms: about 3 % a step.
const RATE: f64 = 0.03;
/// Steps over which it rises.
const WARM_UP: f64 = 30.0;
/// Squares of gradients are averaged over a thousand steps: what clips is rare, and a step scaled by
/// the last few gradients would not know of it.
const ADAM: AdamSettings = AdamSettings { betas: (0.9, 0.999), epsilon: 1e-8 };
/// Steps of a grid that stand for no distance from zero, which has no logarithm; they round to none.
const HARDLY: f32 = 0.4;
/// Of a step's pictures so many are made unlike photographs.
const UNLIKE: usize = 2;
/// Most times that contrast is raised by.
const CONTRAST: f32 = 4.0;

/// What is learned: how far each channel's grid reaches below zero, and above, as logarithms, `[C]`.
/// Tensors of the encoder, then of the decoder.
#[derive(Module, Debug)]
struct Ranges {
    below: Vec<Param<Tensor<1>>>,
    above: Vec<Param<Tensor<1>>>,
}

/// Where [`Ranges`] have a tensor of `e_1 .. e_7, d_1 .. d_6`, if it is learned.
fn place(tensor: usize) -> Option<usize> {
    let (half, level) = (tensor / ENCODER_LAYERS, tensor % ENCODER_LAYERS);
    (level < LEARNED).then_some(half * LEARNED + level)
}

impl Ranges {
    fn new(grids: &[Grid], device: &Device) -> Self {
        let reaches = |byte: u8| {
            let tensor = |grid: &Grid| {
                let reach = |channel: usize| {
                    let least = HARDLY * grid.scales[channel];
                    grid.value(channel, byte).abs().max(least).ln()
                };
                let reaches: Vec<f32> = (0..grid.scales.len()).map(reach).collect();
                Param::from_tensor(Tensor::from_floats(&*reaches, device))
            };
            let learned = grids.iter().enumerate().filter(|(at, _)| place(*at).is_some());
            learned.map(|(_, grid)| tensor(grid)).collect()
        };
        Self { below: reaches(0), above: reaches(u8::MAX) }
    }

    /// A tensor's features `[N, C, H, W]` on its grid, if that is learned. Rounding has a slope of 1.
    fn rounded(&self, tensor: usize, features: Tensor<4>) -> Tensor<4> {
        let Some(at) = place(tensor) else { return features };
        let [below, above] = [&self.below, &self.above].map(|reaches| reaches[at].val().exp());
        let scales = (below.clone() + above) / BYTE_TOP;
        let least = scales.clone().detach().max() * LEAST_SHARE;
        let scales = scales.max_pair(least);
        let zeros = round((below / scales.clone()).clamp(0.0, BYTE_TOP));
        let channels = zeros.dims()[0];
        let [scales, zeros] = [scales, zeros].map(|values| values.reshape([1, channels, 1, 1]));
        let bytes = (features / scales.clone() + zeros.clone()).clamp(0.0, BYTE_TOP);
        (round(bytes) - zeros) * scales
    }

    /// The grids, those that are not learned as in `start`.
    fn grids(&self, start: &[Grid]) -> Result<Vec<Grid>, DeskError> {
        let grid = |(tensor, start): (usize, &Grid)| {
            let Some(at) = place(tensor) else { return Ok(start.clone()) };
            let reaches = |reaches: &[Param<Tensor<1>>]| floats(reaches[at].val().exp());
            let below = reaches(&self.below)?.into_iter().map(|reach| -reach);
            let ranges: Vec<(f32, f32)> = below.zip(reaches(&self.above)?).collect();
            Ok(Grid::new(&ranges, 1.0))
        };
        start.iter().enumerate().map(grid).collect()
    }
}

/// To whole numbers, with the slope of what is not rounded.
fn round<const D: usize>(values: Tensor<D>) -> Tensor<D> {
    values.clone() + (values.clone().round() - values).detach()
}

/// Grids for all feature tensors: those next to the picture learned from `start` in so many steps, after
/// each of which `step` is called, the others as they are there.
///
/// # Errors
/// [`DeskError::Run`] of `images` where the pictures went away, or where fills leave the finite numbers;
/// [`DeskError::Data`] where the thread that reads them died.
pub(super) fn learn(
    weights: &Weights,
    start: &[Grid],
    (images, batches, steps): (&Path, &mut Batches, u64),
    step: &mut dyn FnMut(),
) -> Result<Vec<Grid>, DeskError> {
    let failed = |reason: &str| DeskError::run(images, reason);
    let device = Device::flex().autodiff();
    let model = Lbam::from_weights(weights, &device).no_grad();
    let mut ranges = Ranges::new(start, &device);
    let mut optimiser = adam(ADAM);
    for at in 0..steps {
        let batch = batches.next().ok_or_else(|| match batches.fault() {
            DataError::Away { .. } => failed(
                "the pictures are away; nothing was written, run it again when they are back",
            ),
            fault => fault.into(),
        })?;
        let (pictures, masks) = uploaded(batch, SIDE, &device);
        let pictures = some_unlike_photographs(pictures, at);
        let maps = model.maps(masks.clone());
        let input = network_input(pictures, masks.clone());
        let fills = |through: &dyn Fn(usize, Tensor<4>) -> Tensor<4>| {
            let mut activations = model.activations_through(input.clone(), &maps, through);
            activations.decoder.pop().expect("the decoder has layers")
        };
        let wanted = fills(&|_, features| features);
        let found = fills(&|tensor, features| ranges.rounded(tensor, features));
        let holes = masks.neg() + 1.0;
        let loss = ((found - wanted).abs() * holes.clone()).mean() / holes.mean();
        let value = number(loss.clone())?;
        if !value.is_finite() {
            let reason = "the network's fills of them are not finite; are its weights trained?";
            return Err(failed(reason));
        }
        let slopes = GradientsParams::from_grads(loss.backward(), &ranges);
        ranges = optimiser.step(rate(at, steps), ranges, slopes);
        step();
    }
    ranges.grids(start)
}

/// Rises over the first steps, and falls along a cosine.
fn rate(step: u64, steps: u64) -> f64 {
    let turn = std::f64::consts::PI * step as f64 / steps as f64;
    RATE * ((step + 1) as f64 / WARM_UP).min(1.0) * (1.0 + turn.cos()) / 2.0
}

/// Pictures `[N, 3, S, S]`, of which the first get more contrast and repeat a part of themselves, as
/// walls, fences and drawings do: such pictures go further than most photographs.
fn some_unlike_photographs(pictures: Tensor<4>, step: u64) -> Tensor<4> {
    let [count, _, side, _] = pictures.dims();
    let mut rng = random::generator(0, step, random::UNLIKE_INDEX);
    let repeats = 1 << random::below(&mut rng, 4);
    let contrast = 1.0 + (CONTRAST - 1.0) * random::unit(&mut rng);
    let part = side / repeats;
    let parts = pictures.clone().slice([0..UNLIKE, 0..3, 0..part, 0..part]);
    let mean = parts.clone().mean_dim(2).mean_dim(3);
    let parts = ((parts - mean.clone()) * contrast + mean).clamp(0.0, 1.0);
    let whole = parts.repeat_dim(2, repeats).repeat_dim(3, repeats);
    Tensor::cat(vec![whole, pictures.narrow(0, UNLIKE, count - UNLIKE)], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grids of a network with two channels in every tensor, each wider than the one before.
    fn grids() -> Vec<Grid> {
        let reach = |tensor: usize| 1.0 + tensor as f32;
        let ranges = |tensor| [(-0.5 * reach(tensor), reach(tensor)), (0.0, 0.5 * reach(tensor))];
        (0..2 * ENCODER_LAYERS - 1).map(|tensor| Grid::new(&ranges(tensor), 1.0)).collect()
    }

    #[test]
    fn features_are_put_on_the_grids_that_come_out() {
        let device = Device::flex().autodiff();
        let start = grids();
        let ranges = Ranges::new(&start, &device);
        let found = ranges.grids(&start).expect("grids");
        let values = [-9.0, -0.3, 0.0, 0.013, 0.71, 99.0];
        for (tensor, (grid, start)) in found.iter().zip(&start).enumerate() {
            let learned = place(tensor).is_some();
            for channel in 0..2 {
                let scales = [grid, start].map(|grid| grid.scales[channel]);
                assert!((scales[0] / scales[1] - 1.0).abs() < 0.01, "{tensor}: {scales:?}");
                assert_eq!(grid.zeros[channel], start.zeros[channel], "{tensor}");
            }
            let features = [values, values].concat();
            let features = Tensor::<1>::from_floats(&*features, &device).reshape([1, 2, 1, 6]);
            let rounded = floats(ranges.rounded(tensor, features)).expect("numbers");
            for (at, &rounded) in rounded.iter().enumerate() {
                let (channel, value) = (at / values.len(), values[at % values.len()]);
                let byte = (value / grid.scales[channel] + grid.zeros[channel]).round();
                let wanted = match learned {
                    true => grid.value(channel, byte.clamp(0.0, 255.0) as u8),
                    false => value,
                };
                assert!((rounded - wanted).abs() < 1e-5, "{tensor}: {value} became {rounded}");
            }
        }
        let learned: Vec<usize> = (0..start.len()).filter(|&at| place(at).is_some()).collect();
        assert_eq!(learned, [0, 1, 2, 7, 8, 9]);
    }

    #[test]
    fn gradients_widen_what_clips_and_narrow_what_rounds() {
        let device = Device::flex().autodiff();
        // Clipped beyond 1, or on a grid ten times as wide as all values.
        let start = vec![Grid::new(&[(0.0, 1.0), (0.0, 15.0)], 1.0)];
        let ranges = Ranges::new(&start, &device);
        let values: Vec<f32> = (0..64).map(|at| (at as f32 * 0.37) % 1.5).collect();
        let features = Tensor::<1>::from_floats(&*[&values[..], &values].concat(), &device);
        let features = features.reshape([1, 2, 8, 8]);
        let difference = (ranges.rounded(0, features.clone()) - features).square().sum();
        let slopes = GradientsParams::from_grads(difference.backward(), &ranges);
        let slopes = floats(slopes.get::<1>(ranges.above[0].id).expect("learned")).expect("there");
        assert!(slopes[0] < 0.0 && slopes[1] > 0.0, "{slopes:?}");
    }

    #[test]
    fn some_pictures_repeat_and_the_others_stay() {
        let device = Device::flex();
        let changed = UNLIKE * 3 * 64;
        let values: Vec<f32> =
            (0..changed + 3 * 64).map(|at| (at * 7919 % 256) as f32 / 255.0).collect();
        let pictures = Tensor::<1>::from_floats(&*values, &device).reshape([UNLIKE + 1, 3, 8, 8]);
        let mut repeated = false;
        for step in 0..8 {
            let found = floats(some_unlike_photographs(pictures.clone(), step)).expect("numbers");
            assert!(found.iter().all(|value| (0.0..=1.0).contains(value)));
            assert_eq!(found[changed..], values[changed..]);
            assert_ne!(found[..changed], values[..changed]);
            let mut halves = found[..changed].chunks_exact(8).map(|row| row.split_at(4));
            repeated |= halves.all(|(left, right)| left == right);
        }
        assert!(repeated, "no step repeats");
    }
}
