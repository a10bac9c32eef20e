//! Maps of the ablations: other activations than the Gaussian, and Partial Convolution's rule.

use rayon::prelude::*;

use super::activations::features_of;
use super::{Level, MaskLevel};
use crate::kernels::float::{Planes, exponential, power, widest};
use crate::net::{
    LEAKY_SLOPE, MASK_UPDATE_POWER, MapActivation, partial_map, partial_update, window,
};

/// The map of some features by an activation without scalars, and the next level's mask.
///
/// # Panics
/// For the Gaussian, which [`super::attend`] makes: the caller's mistake.
pub fn attend_plainly(
    features: &Planes,
    activation: MapActivation,
    map: &mut Planes,
    updated: &mut Planes,
) {
    let output = (map, updated);
    match activation {
        MapActivation::Gaussian => panic!("the Gaussian has scalars"),
        MapActivation::Sigmoid => attend_by(features, output, sigmoid),
        MapActivation::LeakyRelu => attend_by(features, output, |x| x.max(LEAKY_SLOPE * x)),
        MapActivation::Relu => attend_by(features, output, |x| x.max(0.0)),
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exponential(-x))
}

fn attend_by(
    features: &Planes,
    (map, updated): (&mut Planes, &mut Planes),
    activation: impl Fn(f32) -> f32 + Sync,
) {
    map.rows_mut().zip(updated.rows_mut()).for_each(|((plane, y, map), (_, _, updated))| {
        let features = features_of(features, plane, y, map.len());
        widest(
            #[inline(always)]
            || {
                for ((&feature, map), updated) in features.iter().zip(map).zip(updated) {
                    *map = activation(feature);
                    *updated = power(feature, MASK_UPDATE_POWER);
                }
            },
        );
    });
}

/// Backward through [`attend_plainly`]: turns the gradient of the map, with that of the updated
/// mask, into that of the features.
///
/// # Panics
/// As there.
pub fn attend_plainly_slopes(level: &mut MaskLevel, activation: MapActivation) {
    match activation {
        MapActivation::Gaussian => panic!("the Gaussian has scalars"),
        MapActivation::Sigmoid => slopes_by(level, |_, map| map * (1.0 - map)),
        MapActivation::LeakyRelu => {
            slopes_by(level, |x, _| if x > 0.0 { 1.0 } else { LEAKY_SLOPE })
        }
        MapActivation::Relu => slopes_by(level, |x, _| if x > 0.0 { 1.0 } else { 0.0 }),
    }
}

/// `slope` is the activation's, of a feature and its map.
fn slopes_by(level: &mut MaskLevel, slope: impl Fn(f32, f32) -> f32 + Sync) {
    let MaskLevel { level: Level { features, output, gradient }, updated, updated_gradient } =
        level;
    gradient.rows_mut().for_each(|(plane, y, slopes)| {
        let [features, map, updated, updated_slopes] =
            [&*features, &*output, &*updated, &*updated_gradient]
                .map(|planes| features_of(planes, plane, y, slopes.len()));
        let inputs = features.iter().zip(map).zip(updated.iter().zip(updated_slopes));
        widest(
            #[inline(always)]
            || {
                for (own, ((&feature, &map), (updated, updated_slope))) in
                    slopes.iter_mut().zip(inputs)
                {
                    // The power's slope is infinite at 0, where features are taken as hidden.
                    let divisor = if feature > 0.0 { feature } else { 1.0 };
                    let update = MASK_UPDATE_POWER * updated / divisor;
                    *own = *own * slope(feature, map) + updated_slope * update;
                }
            },
        );
    });
}

/// Fills the maps of all levels by Partial Convolution's rule, for masks of one channel.
pub fn partial_maps(known: &Planes, levels: &mut [MaskLevel]) {
    for plane in 0..known.count() {
        let mut mask: Vec<f32> =
            (0..known.height()).flat_map(|y| known.row(plane, y).iter().copied()).collect();
        let mut width = known.width();
        for MaskLevel { level, .. } in &mut *levels {
            let map = &mut level.output;
            let channels = map.channels();
            let sums = window_sums(&mask, width);
            width /= 2;
            for (y, sums) in sums.chunks_exact(width).enumerate() {
                let pixels = map.row_mut(plane, y).chunks_exact_mut(channels);
                pixels.zip(sums).for_each(|(pixel, &sum)| pixel.fill(partial_map(sum)));
            }
            mask = sums.into_iter().map(partial_update).collect();
        }
    }
}

/// Sums of what lies under a kernel at each of its places, within zeros.
fn window_sums(mask: &[f32], width: usize) -> Vec<f32> {
    let height = mask.len() / width;
    let sum = |y: usize, x: usize| -> f32 {
        let rows = window(y, height).map(|row| &mask[row * width..][..width]);
        rows.map(|row| row[window(x, width)].iter().sum::<f32>()).sum()
    };
    (0..height / 2)
        .flat_map(|y| (0..width / 2).map(move |x| (y, x)))
        .map(|(y, x)| sum(y, x))
        .collect()
}
