//! The portable definition of each kernel.

use super::clear_upper_registers;
use crate::net::{Attention, LEAKY_SLOPE};

/// `gA` and `gM` of one layer's features in one pass: `maps` gets the attention, `updated` the
/// mask for the next layer. All slices have one length.
pub fn attend_and_update(
    features: &[f32],
    attention: &Attention,
    maps: &mut [f32],
    updated: &mut [f32],
) {
    debug_assert!(features.len() == maps.len() && features.len() == updated.len());
    clear_upper_registers();
    for ((&feature, map), update) in features.iter().zip(maps).zip(updated) {
        *map = attention.attend(feature);
        *update = Attention::update(feature);
    }
}

fn leaky(value: f32) -> f32 {
    if value > 0.0 { value } else { LEAKY_SLOPE * value }
}

/// `leaky(features * maps)` in place.
pub fn modulate(features: &mut [f32], maps: &[f32]) {
    debug_assert_eq!(features.len(), maps.len());
    clear_upper_registers();
    for (feature, map) in features.iter_mut().zip(maps) {
        *feature = leaky(*feature * map);
    }
}

/// Joins the phases of a transposed convolution and modulates the result.
///
/// `phases[2 * py + px]` is `[channels, height, width]` and holds the outputs at rows `2i + py`,
/// columns `2j + px`; `skips` holds the share of the skip features likewise, or is empty. `maps`
/// and `output` are `[channels, 2 * height, 2 * width]`.
pub fn join_phases(
    deep: &[&[f32]; 4],
    skips: &[&[f32]],
    width: usize,
    maps: &[f32],
    output: &mut [f32],
) {
    debug_assert!(maps.len() == output.len());
    join(deep, skips, width, output, |value, index| leaky(value * maps[index]));
}

/// The same for the last layer, which ends in `(tanh + 1) / 2` and has no maps.
pub fn join_phases_to_picture(
    deep: &[&[f32]; 4],
    skips: &[&[f32]],
    width: usize,
    output: &mut [f32],
) {
    clear_upper_registers();
    join(deep, skips, width, output, |value, _| (value.tanh() + 1.0) / 2.0);
}

fn join(
    deep: &[&[f32]; 4],
    skips: &[&[f32]],
    width: usize,
    output: &mut [f32],
    finish: impl Fn(f32, usize) -> f32,
) {
    debug_assert!(skips.is_empty() || skips.len() == 4);
    debug_assert!(deep.iter().all(|phase| phase.len() * 4 == output.len()));
    let doubled = 2 * width;
    for (row, line) in output.chunks_exact_mut(doubled).enumerate() {
        let phase = 2 * (row % 2);
        let source = row / 2 * width..(row / 2 + 1) * width;
        let at = row * doubled;
        let pair = line.as_chunks_mut::<2>().0.iter_mut().enumerate();
        let (even, odd) = (&deep[phase][source.clone()], &deep[phase + 1][source.clone()]);
        if skips.is_empty() {
            for (column, [first, second]) in pair {
                *first = finish(even[column], at + 2 * column);
                *second = finish(odd[column], at + 2 * column + 1);
            }
        } else {
            let (skip_even, skip_odd) = (&skips[phase][source.clone()], &skips[phase + 1][source]);
            for (column, [first, second]) in pair {
                *first = finish(even[column] + skip_even[column], at + 2 * column);
                *second = finish(odd[column] + skip_odd[column], at + 2 * column + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_land_where_they_belong() {
        // One channel of 1x2 inputs; phase p holds the numbers 10p and 10p + 1.
        let phases: Vec<[f32; 2]> =
            (0..4).map(|p| [10.0 * p as f32, 10.0 * p as f32 + 1.0]).collect();
        let deep: [&[f32]; 4] = std::array::from_fn(|p| phases[p].as_slice());
        let mut output = [0.0; 8];
        join_phases(&deep, &[], 2, &[1.0; 8], &mut output);
        assert_eq!(output, [0.0, 10.0, 1.0, 11.0, 20.0, 30.0, 21.0, 31.0]);
        join_phases(&deep, &deep, 2, &[-1.0; 8], &mut output);
        assert_eq!(output[1], -20.0 * LEAKY_SLOPE);
    }

    #[test]
    fn attention_and_update_are_the_definitions() {
        let attention = Attention::FORWARD_START;
        let features = [-1.0, 0.0, 0.3, 2.0, 5.0];
        let (mut maps, mut updated) = ([0.0; 5], [0.0; 5]);
        attend_and_update(&features, &attention, &mut maps, &mut updated);
        for index in 0..5 {
            assert_eq!(maps[index], attention.attend(features[index]));
            assert_eq!(updated[index], Attention::update(features[index]));
        }
    }
}
