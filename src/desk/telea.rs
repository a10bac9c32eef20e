//! Classical fillers to compare the network with: Telea's fast marching, and the mean colour.
//!
//! A. Telea, "An Image Inpainting Technique Based on the Fast Marching Method", 2004: the hole is
//! filled from its rim inwards, in the order of the distance from the rim, each pixel with a
//! weighted mean of what is known around it. It is the filler everybody has (OpenCV's
//! `INPAINT_TELEA`) and so the first bar to clear. This is a port of the method as OpenCV
//! behaves, habits beyond the paper included, because published figures are OpenCV's:
//!
//! - the weights' direction factor takes the distance's gradient unnormalised, and a floor of
//!   `SMALL_DIRECTION` below `ACROSS`;
//! - the picture's gradient enters through its sum over both axes divided by its length, which
//!   moves a pixel by 1.41 levels at most: nearly a plain weighted mean;
//! - at the first row and column, gradients are read one pixel further in;
//! - the result is rounded up twice, half a level too bright.
//!
//! Equal to OpenCV 4.10 to 5.0 within one level; before 4.10 OpenCV left holes in the
//! first row and column unfilled.
//!
//! Hazard: the third habit can read pixels that are hole still. They are black here, whatever the
//! picture held there, so that a filler that is measured never sees what it should find. So is a
//! picture of which nothing is known.

use super::marching::{ACROSS, March, Near, SMALL_DIRECTION, Sample, TINY};
use crate::picture::{Mask, MaskError, RgbPicture};

/// Fills the holes of `picture` from what is within 3 pixels.
pub fn telea(picture: &RgbPicture, mask: &Mask) -> Result<RgbPicture, MaskError> {
    mask.fits(picture.width, picture.height)?;
    let mut march = March::new(picture, mask);
    march.measure_outside();
    march.fill(paint);
    Ok(RgbPicture { width: picture.width, height: picture.height, data: march.pixels })
}

/// Fills the holes of `picture` with the mean of its known pixels (grey where nothing is known).
pub fn mean_colour(picture: &RgbPicture, mask: &Mask) -> Result<RgbPicture, MaskError> {
    mask.fits(picture.width, picture.height)?;
    let (mut sums, mut count) = ([0_u64; 3], 0_u64);
    for (pixel, &hole) in picture.data.chunks_exact(3).zip(mask.data()) {
        if hole == 0 {
            count += 1;
            sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += u64::from(value));
        }
    }
    let mean = sums.map(|sum| (sum + count / 2).checked_div(count).unwrap_or(128) as u8);
    let mut filled = picture.clone();
    for (pixel, &hole) in filled.data.chunks_exact_mut(3).zip(mask.data()) {
        if hole != 0 {
            pixel.copy_from_slice(&mean);
        }
    }
    Ok(filled)
}

/// Colours the pixel `at` from all pixels within [`RADIUS`](super::marching::RADIUS) that are not inside.
fn paint(march: &mut March, at: usize) {
    let slope = [distance_slope(march, at, 1), distance_slope(march, at, march.wide)];
    let mut weights = TINY;
    let (mut colour, mut pull) = ([0.0_f32; 3], [[0.0_f32; 2]; 3]);
    march.around(at, |near| {
        let &Near { way, squared, .. } = near;
        let closeness = (1.0 / (f64::from(squared) * f64::from(squared).sqrt())) as f32;
        let apart = (march.distances[near.at] - march.distances[at]).abs();
        let level = (1.0 / (1.0 + f64::from(apart))) as f32;
        let along = way[0] * slope[0] + way[1] * slope[1];
        let along = if along.abs() <= ACROSS { SMALL_DIRECTION } else { along };
        let weight = (closeness * level * along).abs();
        weights += weight;
        for channel in 0..3 {
            let (value, gradient) = look(march, near, channel);
            colour[channel] += weight * value;
            for axis in 0..2 {
                pull[channel][axis] -= weight * gradient[axis] * way[axis];
            }
        }
    });
    let out = march.packed(at);
    for channel in 0..3 {
        let [across, down] = pull[channel];
        let length = (across * across + down * down).sqrt() + TINY;
        let value = colour[channel] / weights + (across + down) / length;
        // OpenCV adds a half and then rounds to nearest.
        march.pixels[out + channel] = (value + 0.5).round_ties_even() as u8;
    }
}

/// The slope of the distance along one axis, from neighbours that are not inside.
fn distance_slope(march: &March, at: usize, step: usize) -> f32 {
    let (before, after) = (at - step, at + step);
    match (!march.is_inside(before), !march.is_inside(after)) {
        (true, true) => (march.distances[after] - march.distances[before]) * 0.5,
        (false, true) => march.distances[after] - march.distances[at],
        (true, false) => march.distances[at] - march.distances[before],
        (false, false) => 0.0,
    }
}

/// A channel's value and gradient (x, y) at a pixel that is not inside.
fn look(march: &March, near: &Near, channel: usize) -> (f32, [f32; 2]) {
    let (at, wide) = (near.at, march.wide);
    let known = |at: usize| !march.is_inside(at);
    let value = |x: usize, y: usize| march.value(x, y, channel);
    let &Sample { x_low, x_high, y_low, y_high } = &near.sample;
    let right = || value((x_high + 1).min(wide - 3), y_low);
    let left = || value(x_low.saturating_sub(1), y_low);
    let below = || value(x_low, (y_high + 1).min(march.high - 3));
    let above = || value(x_low, y_low.saturating_sub(1));
    let centre = value(x_low, y_low);
    let across = match (known(at - 1), known(at + 1)) {
        (true, true) => (right() - left()) * 2.0,
        (false, true) => right() - centre,
        (true, false) => value(x_high, y_low) - left(),
        (false, false) => 0.0,
    };
    let down = match (known(at - wide), known(at + wide)) {
        (true, true) => (below() - above()) * 2.0,
        (false, true) => below() - centre,
        (true, false) => value(x_low, y_high) - above(),
        (false, false) => 0.0,
    };
    (f32::from(march.pixels[near.packed + channel]), [across, down])
}

#[cfg(test)]
#[path = "telea_tests.rs"]
mod tests;
