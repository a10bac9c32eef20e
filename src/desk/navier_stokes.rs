//! A classical filler: isophotes carried on into the hole, known as "Navier-Stokes".
//!
//! M. Bertalmio, A. L. Bertozzi and G. Sapiro, "Navier-Stokes, Fluid Dynamics, and Image and Video
//! Inpainting", 2001: the picture is a fluid's stream function, so that lines of equal level
//! (isophotes) flow on into the hole. This is OpenCV's `INPAINT_NS`, which solves no equation:
//! it marches inwards as [`telea`](super::telea) does and gives each pixel a mean of what is known
//! around it, weighted by how far the way there follows the isophote. Its habits are kept, because
//! published figures are OpenCV's:
//!
//! - gradients enter as sums of absolute differences, so that every isophote is taken to run from
//!   the upper right to the lower left: those of the other diagonal are mirrored;
//! - each channel has its own isophotes and weights;
//! - a neighbour's weight falls with the fourth power of its distance.
//!
//! Equal to OpenCV 5.0 within one level. Hazard: a picture of which nothing is known is filled
//! with black, as Telea's filler does.

use super::marching::{ACROSS, March, Near, SMALL_DIRECTION, Sample, TINY};
use crate::picture::{Mask, MaskError, RgbPicture};

/// Fills the holes of `picture` from what is within 3 pixels.
pub fn navier_stokes(picture: &RgbPicture, mask: &Mask) -> Result<RgbPicture, MaskError> {
    mask.fits(picture.width, picture.height)?;
    let mut march = March::new(picture, mask);
    march.fill(paint);
    Ok(RgbPicture { width: picture.width, height: picture.height, data: march.pixels })
}

/// Colours the pixel `at` from all pixels within [`RADIUS`](super::marching::RADIUS) that are not inside.
fn paint(march: &mut March, at: usize) {
    let (mut weights, mut colour) = ([TINY; 3], [0.0_f32; 3]);
    march.around(at, |near| {
        let closeness = 1.0 / (near.squared * near.squared + 1.0);
        for channel in 0..3 {
            let [across, down] = steepness(march, near, channel);
            // Across the gradient, that is along the isophote.
            let along = near.way[1] * across - near.way[0] * down;
            let direction = if along.abs() <= ACROSS {
                SMALL_DIRECTION
            } else {
                (along / (near.squared * (across * across + down * down)).sqrt()).abs()
            };
            let weight = closeness * direction;
            colour[channel] += weight * f32::from(march.pixels[near.packed + channel]);
            weights[channel] += weight;
        }
    });
    let out = march.packed(at);
    for channel in 0..3 {
        let value = f64::from(colour[channel]) / f64::from(weights[channel]);
        march.pixels[out + channel] = value.round_ties_even() as u8;
    }
}

/// How much a channel changes along x and along y at a pixel that is not inside: absolute
/// differences to both neighbours, or twice that to the one that is known.
fn steepness(march: &March, near: &Near, channel: usize) -> [f32; 2] {
    let (at, wide) = (near.at, march.wide);
    let known = |at: usize| !march.is_inside(at);
    let value = |x: usize, y: usize| march.value(x, y, channel);
    let &Sample { x_low, x_high, y_low, y_high } = &near.sample;
    let sum = |before: Option<f32>, after: Option<f32>| match (before, after) {
        (Some(before), Some(after)) => before + after,
        (Some(one), None) | (None, Some(one)) => 2.0 * one,
        (None, None) => 0.0,
    };
    let centre = value(x_low, y_low);
    let right = || (value((x_high + 1).min(wide - 3), y_low) - centre).abs();
    let left = || (centre - value(x_low.saturating_sub(1), y_low)).abs();
    // OpenCV's two axes differ in where they read the pixel itself.
    let centre = value(x_low, y_high);
    let below = || (value(x_low, (y_high + 1).min(march.high - 3)) - centre).abs();
    let above = || (centre - value(x_low, y_low.saturating_sub(1))).abs();
    [
        sum(known(at - 1).then(left), known(at + 1).then(right)),
        sum(known(at - wide).then(above), known(at + wide).then(below)),
    ]
}

#[cfg(test)]
#[path = "navier_stokes_tests.rs"]
mod tests;
