//! What is plain around a hole goes on in it: a smooth surface, or a picture that repeats. There a
//! short rule says more than a network does, whose colours are off by some levels, which in a sky is a
//! patch, and which blurs what it cannot place to the pixel.
//!
//! The rule takes the place of the network's fill before [patches](super::patches) are laid over it:
//!
//! * **Smooth.** A polynomial of the second degree that comes near all of the rim.
//! * **Repeating.** One step across the picture that brings the rim onto something like it: the best
//!   one of the offsets that He and Sun fill with ("Statistics of Patch Offsets for Image Completion",
//!   2012). What it leads to is copied ([`Steps`]).
//!
//! Where neither holds the network's fill stays. Known pixels alone are read. Sums are in fixed order:
//! the same frames give the same bytes everywhere.

use super::repeats::{Step, Steps};
use super::{Mask, Region};

/// The rim that a surface is laid through: steps from a hole.
const RIM: u16 = 16;
/// With no more of its levels off in the root mean square, noise included, the surface is taken as it
/// is; with [`ROUGH`] not at all.
const SMOOTH: f64 = 4.0;
const ROUGH: f64 = 6.0;
/// Terms of a polynomial of the second degree.
const TERMS: usize = 6;

type Terms = [f64; TERMS];

/// Goes on with what is plain around the holes of one region, frame after frame.
#[derive(Debug)]
pub struct Continuation {
    width: usize,
    height: usize,
    /// Pixels of the network's picture: of the holes, and of their rim.
    holes: Vec<u32>,
    rim: Vec<u32>,
    /// What the rim's sums are multiplied by to get the surface's terms.
    solution: [Terms; TERMS],
    steps: Steps,
}

impl Continuation {
    /// For fills of this region, at the network's size. `None` where there is nothing to fill, or to go
    /// on from.
    pub fn new(region: &Region) -> Option<Self> {
        let mask = &region.network_holes;
        let (width, height) = (mask.width(), mask.height());
        // Of each pixel, how far it is from a hole.
        let swapped: Vec<u8> = mask.data().iter().map(|pixel| !pixel).collect();
        let away = Mask::from_grey(width, height, &swapped).ok()?.depths();
        let known = |reach: u16| away.iter().map(move |away| (1..=reach).contains(away));
        let [holes, rim] = [pixels(away.iter().map(|away| *away == 0)), pixels(known(RIM))];
        if holes.is_empty() || rim.len() < TERMS {
            return None;
        }
        let solution = inverse(&rim, width, height)?;
        let steps = Steps::new(mask, &holes, &away);
        Some(Self { width, height, holes, rim, solution, steps })
    }

    /// Goes on from another mask in the same frames.
    pub fn follow(&mut self, before: &Self) {
        self.steps.follow(&before.steps);
    }

    /// Puts what is around the holes into `fill`, where that is plain. `known` and `fill` are packed RGB of
    /// the network's size; of `known` only known pixels are read, of `fill` only holes.
    ///
    /// # Panics
    /// If their lengths are others.
    pub fn add(&mut self, known: &[u8], fill: &mut [u8]) {
        let (known, fill) = (known.as_chunks::<3>().0, fill.as_chunks_mut::<3>().0);
        if self.smooth(known, fill) {
            return;
        }
        if let Some(step) = self.steps.look(known) {
            self.repeat(step, known, fill);
        }
    }

    /// Lays a surface through the rim and into the holes, as far as it comes near the rim; whether it does
    /// at all.
    fn smooth(&self, known: &[[u8; 3]], fill: &mut [[u8; 3]]) -> bool {
        let (mut sums, mut squares) = ([[0.0; 3]; TERMS], 0.0);
        let (mut least, mut most) = ([u8::MAX; 3], [u8::MIN; 3]);
        for &at in &self.rim {
            let pixel = known[at as usize];
            let levels = pixel.map(f64::from);
            for (sums, term) in sums.iter_mut().zip(self.terms(at)) {
                sums.iter_mut().zip(levels).for_each(|(sum, level)| *sum += term * level);
            }
            squares += levels.map(|level| level * level).iter().sum::<f64>();
            least.iter_mut().zip(pixel).for_each(|(least, level)| *least = level.min(*least));
            most.iter_mut().zip(pixel).for_each(|(most, level)| *most = level.max(*most));
        }
        let surface = self.solution.map(|row| sum_of(&row, &sums));
        // Of the least squares' solution: what is left is what the surface does not take off.
        let taken = surface.iter().flatten().zip(sums.iter().flatten()).map(|(a, b)| a * b);
        let left = (squares - taken.sum::<f64>()).max(0.0);
        let off = (left / (3 * self.rim.len()) as f64).sqrt();
        let share = ((ROUGH - off) / (ROUGH - SMOOTH)).clamp(0.0, 1.0);
        if share == 0.0 {
            return false;
        }
        for &at in &self.holes {
            let levels = sum_of(&self.terms(at), &surface);
            for (channel, fill) in fill[at as usize].iter_mut().enumerate() {
                // Nothing is lighter or darker than all that is known.
                let level = levels[channel].clamp(least[channel].into(), most[channel].into());
                *fill = (f64::from(*fill) * (1.0 - share) + level * share).round() as u8;
            }
        }
        true
    }

    /// Copies what lies a step away, where that is known.
    fn repeat(&self, step: Step, known: &[[u8; 3]], fill: &mut [[u8; 3]]) {
        for &at in &self.holes {
            if let Some(from) = self.steps.away(at, step) {
                fill[at as usize] = known[from];
            }
        }
    }

    fn terms(&self, at: u32) -> Terms {
        terms(at, self.width, self.height)
    }
}

/// The numbers of those that are wanted.
pub(super) fn pixels(wanted: impl Iterator<Item = bool>) -> Vec<u32> {
    let pixels = (0..).zip(wanted);
    pixels.filter_map(|(at, wanted)| wanted.then_some(at)).collect()
}

/// The terms of a polynomial at a pixel, whose picture goes from -1 to 1.
fn terms(at: u32, width: usize, height: usize) -> Terms {
    let place = |at: usize, length: usize| (2 * at + 1) as f64 / length as f64 - 1.0;
    let (x, y) = (place(at as usize % width, width), place(at as usize / width, height));
    [1.0, x, y, x * x, x * y, y * y]
}

fn sum_of(row: &Terms, columns: &[[f64; 3]; TERMS]) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for (term, column) in row.iter().zip(columns) {
        sums.iter_mut().zip(column).for_each(|(sum, value)| *sum += term * value);
    }
    sums
}

/// The inverse of the normal equations' matrix for these pixels, by Gauss and Jordan; `None` if they
/// lie so that no surface is told from another. Such a matrix needs no pivots.
fn inverse(pixels: &[u32], width: usize, height: usize) -> Option<[Terms; TERMS]> {
    let mut left = [[0.0; TERMS]; TERMS];
    for &at in pixels {
        let terms = terms(at, width, height);
        for (row, term) in left.iter_mut().zip(terms) {
            row.iter_mut().zip(terms).for_each(|(sum, other)| *sum += term * other);
        }
    }
    let mut right: [Terms; TERMS] =
        std::array::from_fn(|row| std::array::from_fn(|column| f64::from(row == column)));
    for pivot in 0..TERMS {
        let by = left[pivot][pivot];
        if by < 1e-9 * pixels.len() as f64 {
            return None;
        }
        for half in [&mut left, &mut right] {
            half[pivot].iter_mut().for_each(|value| *value /= by);
        }
        for row in (0..TERMS).filter(|row| *row != pivot) {
            let factor = left[row][pivot];
            for half in [&mut left, &mut right] {
                let pivot = half[pivot];
                half[row].iter_mut().zip(pivot).for_each(|(value, by)| *value -= factor * by);
            }
        }
    }
    Some(right)
}

#[cfg(test)]
#[path = "continuation_tests.rs"]
mod tests;
