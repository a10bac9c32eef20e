//! From float weights and ranges to the integers of an int8 model.
//!
//! Activations are unsigned bytes with a scale and a zero point of their own in every channel: a
//! layer's output scales are part of its multipliers, its input scales part of its weights, so
//! that finer grains cost nothing when the network runs. Weights are symmetric, with one scale
//! for each output. `docs/int8.md` has the arithmetic.

use crate::file::{GeneralForm, Int8Layer, Int8Tensors, Weights};
use crate::net::{Attention, Conv, ENCODER_LAYERS, INPUT_CHANNELS, TABLE};

/// Largest weight; `-128` is left out so that both signs reach equally far.
const WEIGHT_TOP: f32 = 127.0;
/// Largest byte.
pub(super) const BYTE_TOP: f32 = 255.0;
/// Least share of the widest channel's width that any is given: a channel that hardly moves in the
/// pictures that were seen does in others.
pub(super) const LEAST_SHARE: f32 = 0.05;
/// Smallest and largest multiplier written; the file format's limits lie outside.
const MULTIPLIERS: (f32, f32) = (1e-30, 1e5);
/// Where an attention falls below this share of its peak it is taken as 0, and that much above 1
/// as 1: half a step of a byte.
const NEGLIGIBLE: f32 = 1.0 / 512.0;
/// Entries of the picture's table for each unit of the last layer's output: a quarter of a level
/// where tanh is steepest.
const PICTURE_STEPS: f32 = 512.0;

/// How bytes stand for the values of one tensor: `value = (byte - zero) * scale`.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Of each channel.
    pub scales: Vec<f32>,
    /// Of each channel: whole numbers from 0 to 255.
    pub zeros: Vec<f32>,
}

impl Grid {
    /// From the least and greatest value of each channel. With `spread` 1 each channel uses all
    /// bytes (but for those narrower than [`LEAST_SHARE`] of the widest), with 0 all channels share
    /// the widest channel's scale, between the two lie geometric means: channels of unequal scales
    /// make the next layer's weights unequal.
    pub fn new(ranges: &[(f32, f32)], spread: f32) -> Self {
        let widths = ranges.iter().map(|&(low, high)| high.max(0.0) - low.min(0.0));
        let widest = widths.clone().fold(f32::MIN_POSITIVE, f32::max);
        let scales: Vec<f32> = widths
            .map(|width| {
                let share = (width / widest).max(LEAST_SHARE);
                share.powf(spread) * widest / BYTE_TOP
            })
            .collect();
        let zeros = ranges
            .iter()
            .zip(&scales)
            .map(|(&(low, _), scale)| (-low.min(0.0) / scale).round().min(BYTE_TOP))
            .collect();
        Self { scales, zeros }
    }

    /// The network's input, and masks: 0 to 1.
    fn unit(channels: usize) -> Self {
        Self { scales: vec![1.0 / BYTE_TOP; channels], zeros: vec![0.0; channels] }
    }

    /// The least and the greatest value of any channel.
    pub fn ends(&self) -> (f32, f32) {
        let end = |byte| (0..self.scales.len()).map(move |channel| self.value(channel, byte));
        (end(0).fold(0.0, f32::min), end(u8::MAX).fold(0.0, f32::max))
    }

    /// The value that a byte of a channel stands for.
    pub fn value(&self, channel: usize, byte: u8) -> f32 {
        (f32::from(byte) - self.zeros[channel]) * self.scales[channel]
    }
}

/// What a quantised network takes beside its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Grids {
    /// Of `e_1 .. e_7`, then `d_1 .. d_6`.
    pub features: Vec<Grid>,
    /// The greatest sum in each mask layer, forward 1 to 7, then reverse 1 to 6.
    pub mask_tops: Vec<f32>,
}

/// The tables of one mask layer.
struct MaskTables {
    attention: [u8; TABLE],
    update: [u8; TABLE],
    /// What one step of the attention's bytes, and of the update's, is worth.
    attention_scale: f32,
    update_scale: f32,
    /// The table's entry of a sum is `sum * steps + zero`.
    steps: f32,
    zero: f32,
}

impl MaskTables {
    fn new(attention: &Attention, top: f32) -> Self {
        let reach = (-NEGLIGIBLE.ln() / attention.sigma1).sqrt();
        let bottom = (attention.mu - reach).min(0.0);
        let steps = (TABLE - 1) as f32 / (top - bottom);
        let sum = |index: usize| bottom + index as f32 / steps;
        let byte = |value: f32, scale: f32| (value / scale).round().clamp(0.0, BYTE_TOP) as u8;
        let attention_scale = attention.a / BYTE_TOP;
        let update_scale = Attention::update(top) / BYTE_TOP;
        Self {
            attention: std::array::from_fn(|i| byte(attention.attend(sum(i)), attention_scale)),
            update: std::array::from_fn(|i| byte(Attention::update(sum(i)), update_scale)),
            attention_scale,
            update_scale,
            steps,
            zero: -bottom * steps,
        }
    }
}

/// All tensors of the int8 model.
pub fn quantise(weights: &Weights, grids: &Grids) -> Int8Tensors {
    let network = weights.network();
    let mut tensors = Int8Tensors::default();
    let (forward_tops, reverse_tops) = grids.mask_tops.split_at(ENCODER_LAYERS);
    let forward = mask_branch(weights, &network.forward(), forward_tops, &mut tensors);
    let reverse = mask_branch(weights, &network.reverse(), reverse_tops, &mut tensors);
    let (encoded, decoded) = grids.features.split_at(ENCODER_LAYERS);
    let mut below = Grid::unit(INPUT_CHANNELS);
    for ((conv, map_scale), grid) in network.encoder().iter().zip(forward).zip(encoded) {
        let form = GeneralForm::encoder(weights, conv);
        let layer = scaled(&form, &[&below], |output, unit| {
            (unit * map_scale / grid.scales[output], grid.zeros[output])
        });
        tensors.layer(&conv.weight, &form.packing, &layer);
        below = grid.clone();
    }
    for deconv in network.decoder() {
        let form = GeneralForm::decoder(weights, &deconv);
        let deep = decoded.get(deconv.level).unwrap_or(&encoded[ENCODER_LAYERS - 1]);
        let both = [&encoded[deconv.level.min(ENCODER_LAYERS - 1)], deep];
        let inputs = if deconv.skip > 0 { &both[..] } else { &both[1..] };
        let layer = scaled(&form, inputs, |output, unit| match deconv.level.checked_sub(1) {
            Some(index) => {
                let grid = &decoded[index];
                (unit * reverse[index] / grid.scales[output], grid.zeros[output])
            }
            None => (unit * PICTURE_STEPS, (TABLE / 2) as f32),
        });
        tensors.layer(&deconv.weight, &form.packing, &layer);
    }
    tensors.picture(&std::array::from_fn(|index| {
        let value = (index as f32 - (TABLE / 2) as f32) / PICTURE_STEPS;
        ((value.tanh() + 1.0) / 2.0 * BYTE_TOP).round() as u8
    }));
    tensors
}

/// Adds a mask branch; returns what one step of each layer's map is worth.
fn mask_branch(
    weights: &Weights,
    convs: &[Conv],
    tops: &[f32],
    tensors: &mut Int8Tensors,
) -> Vec<f32> {
    let mut below = Grid::unit(1);
    let mut scales = Vec::new();
    for (conv, &top) in convs.iter().zip(tops) {
        let prefix = conv.attention.as_deref().unwrap_or_default();
        let tables = MaskTables::new(&weights.attention(prefix), top);
        let form = GeneralForm::mask(weights, conv);
        let layer = scaled(&form, &[&below], |_, unit| (unit * tables.steps, tables.zero));
        tensors.layer(&conv.weight, &form.packing, &layer);
        tensors.attention(prefix, &tables.attention, &tables.update);
        scales.push(tables.attention_scale);
        below =
            Grid { scales: vec![tables.update_scale; conv.output], zeros: vec![0.0; conv.output] };
    }
    scales
}

/// A layer's integers. `finish` gives an output's multiplier and zero from what one unit of its
/// sums is worth.
fn scaled(
    form: &GeneralForm,
    inputs: &[&Grid],
    finish: impl Fn(usize, f32) -> (f32, f32),
) -> Int8Layer {
    let packing = form.packing;
    let channels = packing.channels;
    let mut layer = Int8Layer {
        weights: Vec::with_capacity(form.values.len()),
        offsets: Vec::new(),
        multipliers: Vec::new(),
        zeros: Vec::new(),
    };
    let taps = packing.side * packing.side * channels;
    for (index, values) in form.values.chunks_exact(packing.sources * taps).enumerate() {
        let grid = |at: usize| (inputs[at / taps], at % channels);
        let worth: Vec<f32> = values
            .iter()
            .enumerate()
            .map(|(at, value)| {
                let (grid, channel) = grid(at);
                value * grid.scales[channel]
            })
            .collect();
        let widest = worth.iter().fold(0.0_f32, |widest, value| widest.max(value.abs()));
        let unit = if widest > 0.0 { widest / WEIGHT_TOP } else { 1.0 };
        let mut offset = 0;
        for (at, value) in worth.iter().enumerate() {
            let weight = (value / unit).round() as i8;
            let (grid, channel) = grid(at);
            offset += i32::from(weight) * grid.zeros[channel] as i32;
            layer.weights.push(weight);
        }
        let (multiplier, zero) = finish(index % packing.outputs, unit);
        layer.offsets.push(offset);
        layer.multipliers.push(multiplier.clamp(MULTIPLIERS.0, MULTIPLIERS.1));
        layer.zeros.push(zero);
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_reaches_its_range_and_holds_zero() {
        let ranges = [(-1.0, 3.0), (0.0, 0.04), (-0.5, -0.1), (0.0, 0.0)];
        for spread in [0.0, 0.5, 1.0] {
            let grid = Grid::new(&ranges, spread);
            for (channel, &(low, high)) in ranges.iter().enumerate() {
                let zero = grid.zeros[channel];
                assert!(zero.fract() == 0.0 && (0.0..=255.0).contains(&zero), "{zero}");
                assert_eq!(grid.value(channel, zero as u8), 0.0);
                // To within the rounding of the zero point.
                let step = grid.scales[channel];
                assert!(grid.value(channel, 0) <= low + step, "channel {channel} at {spread}");
                assert!(grid.value(channel, 255) >= high - step, "channel {channel} at {spread}");
            }
        }
    }

    #[test]
    fn spread_goes_from_one_scale_for_all_to_one_for_each() {
        let ranges = [(0.0, 4.0), (0.0, 1.0)];
        let ratio = |spread: f32| {
            let scales = Grid::new(&ranges, spread).scales;
            scales[0] / scales[1]
        };
        for (spread, wanted) in [(0.0, 1.0), (0.5, 2.0), (1.0, 4.0)] {
            assert!((ratio(spread) - wanted).abs() < 1e-5, "{spread}");
        }
    }

    #[test]
    fn tables_are_the_functions_they_stand_for() {
        let attention = Attention { a: 1.1, mu: 2.0, sigma1: 1.0, sigma2: 0.5 };
        let tables = MaskTables::new(&attention, 6.0);
        for index in (0..TABLE).step_by(37) {
            let sum = (index as f32 - tables.zero) / tables.steps;
            for (byte, scale, exact) in [
                (tables.attention[index], tables.attention_scale, attention.attend(sum)),
                (tables.update[index], tables.update_scale, Attention::update(sum)),
            ] {
                let error = (f32::from(byte) * scale - exact).abs();
                assert!(error <= 0.5 * scale + 1e-5, "entry {index}: off by {error}");
            }
        }
    }
}
