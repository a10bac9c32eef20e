//! What lies between convolutions, forward and backward, in one pass each.

use rayon::prelude::*;

use super::{Level, MaskLevel};
use crate::kernels::float::{LANES, Planes, exponential, power, widest};
use crate::net::{Attention, LEAKY_SLOPE, MASK_UPDATE_POWER};

/// The attention map `gA` and the next level's mask `gM` of some features.
pub fn attend(features: &Planes, attention: &Attention, map: &mut Planes, updated: &mut Planes) {
    map.rows_mut().zip(updated.rows_mut()).for_each(|((plane, y, map), (_, _, updated))| {
        let features = features_of(features, plane, y, map.len());
        widest(
            #[inline(always)]
            || {
                for ((&feature, map), updated) in features.iter().zip(map).zip(updated) {
                    let distance = feature - attention.mu;
                    let below = distance < 0.0;
                    let sigma = if below { attention.sigma1 } else { attention.sigma2 };
                    let gaussian = exponential(-sigma * distance * distance);
                    let rest = if below { 0.0 } else { 1.0 - gaussian };
                    *map = attention.a * gaussian + rest;
                    *updated = power(feature, MASK_UPDATE_POWER);
                }
            },
        );
    });
}

/// A row of planes, or nothing beside a border's row.
pub(super) fn features_of(planes: &Planes, plane: usize, y: usize, length: usize) -> &[f32] {
    if length == 0 { &[] } else { planes.row(plane, y) }
}

/// `leaky(features * map)`; a batch may share its maps.
pub fn modulate(features: &Planes, map: &Planes, output: &mut Planes) {
    output.rows_mut().for_each(|(plane, y, output)| {
        let features = features_of(features, plane, y, output.len());
        let map = features_of(map, plane % map.count(), y, output.len());
        widest(
            #[inline(always)]
            || {
                for ((feature, map), output) in features.iter().zip(map).zip(output) {
                    let value = feature * map;
                    *output = value.max(LEAKY_SLOPE * value);
                }
            },
        );
    });
}

/// Backward through [`modulate`]: turns `level.gradient` from that of the output into that of the
/// features, and writes the map's gradient, summed over the pictures that share the map.
pub fn modulate_slopes(level: &mut Level, map: &mut Level) {
    let (shared, maps) = (map.output.count(), &map.output);
    let Level { features, output, gradient } = level;
    map.gradient.rows_mut().for_each(|(plane, y, sums)| {
        if sums.is_empty() {
            return;
        }
        sums.fill(0.0);
        for picture in (plane..features.count()).step_by(shared) {
            let (features, output) = (features.row(picture, y), output.row(picture, y));
            let slopes = gradient.row(picture, y);
            widest(
                #[inline(always)]
                || {
                    for (((sum, feature), output), slope) in
                        sums.iter_mut().zip(features).zip(output).zip(slopes)
                    {
                        *sum += slope * leaky_slope(*output) * feature;
                    }
                },
            );
        }
    });
    gradient.rows_mut().for_each(|(plane, y, slopes)| {
        let output = features_of(output, plane, y, slopes.len());
        let map = features_of(maps, plane % shared, y, slopes.len());
        widest(
            #[inline(always)]
            || {
                for ((slope, output), map) in slopes.iter_mut().zip(output).zip(map) {
                    *slope *= leaky_slope(*output) * map;
                }
            },
        );
    });
}

/// LeakyReLU keeps the sign, so its output tells on which side the input was.
#[inline(always)]
fn leaky_slope(output: f32) -> f32 {
    if output > 0.0 { 1.0 } else { LEAKY_SLOPE }
}

/// Backward through [`attend`]: turns the gradient of the map, with that of the updated mask, into
/// that of the features, and returns those of `a, mu, sigma1, sigma2`.
pub fn attend_slopes(level: &mut MaskLevel, attention: &Attention) -> [f32; 4] {
    let MaskLevel { level: Level { features, gradient, .. }, updated, updated_gradient } = level;
    let (features, updated, updated_gradient) = (&*features, &*updated, &*updated_gradient);
    let Attention { a, mu, sigma1, sigma2 } = *attention;
    let rows: Vec<[f64; 4]> = gradient
        .rows_mut()
        .map(|(plane, y, slopes)| {
            let length = slopes.len();
            let slopes = slopes.as_chunks_mut::<LANES>().0;
            let [features, updated, updated_slopes] = [features, updated, updated_gradient]
                .map(|planes| features_of(planes, plane, y, length).as_chunks::<LANES>().0);
            let sums = widest(
                #[inline(always)]
                || {
                    let mut sums = [[0.0_f32; LANES]; 4];
                    for (((slopes, features), updated), updated_slopes) in
                        slopes.iter_mut().zip(features).zip(updated).zip(updated_slopes)
                    {
                        for lane in 0..LANES {
                            let distance = features[lane] - mu;
                            let below = distance < 0.0;
                            let sigma = if below { sigma1 } else { sigma2 };
                            let height = if below { a } else { a - 1.0 };
                            let gaussian = exponential(-sigma * distance * distance);
                            let slope = slopes[lane];
                            let by_height = slope * gaussian;
                            let by_sigma = -by_height * height * distance * distance;
                            let by_mu = 2.0 * by_height * height * sigma * distance;
                            sums[0][lane] += by_height;
                            sums[1][lane] += by_mu;
                            sums[2][lane] += if below { by_sigma } else { 0.0 };
                            sums[3][lane] += if below { 0.0 } else { by_sigma };
                            // The power's slope is infinite at 0, where features are taken as hidden.
                            let feature = features[lane];
                            let visible = feature > 0.0;
                            let divisor = if visible { feature } else { 1.0 };
                            let update = MASK_UPDATE_POWER * updated[lane] / divisor;
                            slopes[lane] = updated_slopes[lane] * update - by_mu;
                        }
                    }
                    sums
                },
            );
            sums.map(|lanes| lanes.iter().map(|&sum| f64::from(sum)).sum())
        })
        .collect();
    std::array::from_fn(|scalar| rows.iter().map(|row| row[scalar]).sum::<f64>() as f32)
}

/// The last layer's sums into `(tanh + 1) / 2`, in place and as `[N, 3, 2 height, 2 width]`.
pub fn to_picture(sums: &mut Planes) -> Vec<f32> {
    sums.rows_mut().for_each(|(_, _, row)| {
        widest(
            #[inline(always)]
            || row.iter_mut().for_each(|sum| *sum = 1.0 / (1.0 + exponential(-2.0 * *sum))),
        );
    });
    let mut output = vec![0.0; sums.count() * 12 * sums.height() * sums.width()];
    each_value(sums, |plane, y, at, place| output[place] = sums.row(plane, y)[at]);
    output
}

/// Backward through [`to_picture`], of which `values` is the outcome.
pub fn from_picture(gradient: &[f32], values: &Planes, slopes: &mut Planes) {
    assert_eq!(gradient.len(), values.count() * 12 * values.height() * values.width());
    each_value(values, |plane, y, at, place| {
        let value = values.row(plane, y)[at];
        slopes.row_mut(plane, y)[at] = gradient[place] * 2.0 * value * (1.0 - value);
    });
}

/// Calls `each` with plane, row, place in the row and place in `[N, 3, 2 height, 2 width]`.
fn each_value(planes: &Planes, mut each: impl FnMut(usize, usize, usize, usize)) {
    let (height, width) = (2 * planes.height(), 2 * planes.width());
    for plane in 0..planes.count() {
        for y in 0..height {
            for channel in 0..3 {
                let begin = ((plane * 3 + channel) * height + y) * width;
                for x in 0..width {
                    let lane = (2 * (y % 2) + x % 2) * 3 + channel;
                    each(plane, y / 2, x / 2 * LANES + lane, begin + x);
                }
            }
        }
    }
}
