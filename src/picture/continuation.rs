//! What is plain around a hole goes on in it: a smooth surface, or a picture that repeats. There a
//! short rule says more than a network does, whose colours are off by some levels, which in a sky is a
//! patch, and which blurs what it cannot place to the pixel.
//!
//! The rule takes the place of the network's fill before [patches](super::patches) are laid over it:
//!
//! * **Smooth.** A polynomial of the second degree that comes near all of the rim. What stands out of
//!   the rest, as a roof's tip does in a sky, is left out ([`Continuation::refit`]): beside it the
//!   network's fill stays.
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
/// The same for a surface through the rest of a rim, some of which stands out: what is rough all over is
/// not made smooth by leaving out its worst.
const REST_SMOOTH: f64 = 3.0;
const REST_ROUGH: f64 = 4.0;
/// With so much of the rim in the rest such a surface is taken, with no more than the other it is not.
const MOST_LEFT: f64 = 0.85;
const LEAST_LEFT: f64 = 0.75;
/// It is squares of this side that stand out: single pixels may by their noise.
const CELL: usize = 8;
/// How often the surface is laid anew, through what was near the one before.
const ROUNDS: usize = 4;
/// Pixels from one place to the next at which it is found how much of the rim nearby is in the rest.
/// With so much the surface is laid there, with no more than the other it is not.
const PLACE: usize = 16;
const MOST_NEAR: f64 = 0.9;
const LEAST_NEAR: f64 = 0.5;
/// Terms of a polynomial of the second degree.
const TERMS: usize = 6;

type Terms = [f64; TERMS];
type Surface = [[f64; 3]; TERMS];

/// Goes on with what is plain around the holes of one region, frame after frame.
#[derive(Debug)]
pub struct Continuation {
    width: usize,
    height: usize,
    /// Pixels of the network's picture: of the holes, and of their rim.
    holes: Vec<u32>,
    rim: Part,
    /// What the rim's sums are multiplied by to get the surface's terms.
    solution: [Terms; TERMS],
    /// The rim in squares of [`CELL`] pixels.
    cells: Vec<Part>,
    /// Of each [`PLACE`], row by row, the share of a surface through the rest; and which places holes need.
    shares: Vec<f64>,
    places: Vec<u32>,
    steps: Steps,
}

/// Pixels of the rim, and what is known of a frame there.
#[derive(Debug)]
struct Part {
    pixels: Vec<u32>,
    /// Column and row.
    centre: [f64; 2],
    sums: Sums,
    least: [u8; 3],
    most: [u8; 3],
    /// How much it belongs to the rest: 0 for what stands out, up to 1.
    weight: f64,
}

/// The normal equations of some pixels, by their weights: the matrix's first number is how many pixels
/// there are.
#[derive(Debug, Default)]
struct Sums {
    matrix: [Terms; TERMS],
    levels: Surface,
    squares: f64,
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
        let cells = cells(&rim, width, height);
        let rim = Part::new(rim, width, height);
        let solution = inverse(rim.sums.matrix)?;
        let across = places(width);
        let mut around = vec![false; across * places(height)];
        for at in holes.iter().map(|at| *at as usize) {
            let first = at / width / PLACE * across + at % width / PLACE;
            for next in [0, 1, across, across + 1] {
                around[first + next] = true;
            }
        }
        let (shares, places) = (vec![0.0; around.len()], pixels(around.into_iter()));
        let steps = Steps::new(mask, &holes, &away);
        Some(Self { width, height, holes, rim, solution, cells, shares, places, steps })
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
        self.rim.look(known, self.width, self.height);
        let Sums { matrix, levels, squares } = &self.rim.sums;
        let surface = self.solution.map(|row| sum_of(&row, levels));
        // Of the least squares' solution: what is left is what the surface does not take off.
        let taken = surface.iter().flatten().zip(levels.iter().flatten()).map(|(a, b)| a * b);
        let left = (squares - taken.sum::<f64>()).max(0.0);
        let off = (left / (3.0 * matrix[0][0])).sqrt();
        let share = fade(off, ROUGH, SMOOTH);
        if share == 0.0
            && let Some(step) = self.steps.look(known)
        {
            return self.repeat(step, known, fill);
        }
        if share < 1.0
            && let Some((rest, most)) = self.refit(known, surface, off)
        {
            // What it has more of than the surface that comes over it.
            let more = |at| (most * self.share(at) - share).max(0.0) / (1.0 - share);
            self.lay(&rest, more, fill);
        }
        if share > 0.0 {
            self.lay(&surface, |_| share, fill);
        }
    }

    /// The surface through the rest of a rim from which some stands out, and the share of a fill that it
    /// has away from that; `None` where it has none. `surface` goes through all of the rim, and is so many
    /// levels off.
    ///
    /// All weights and shares fade: what stands out now more, now less makes no fill flicker.
    fn refit(
        &mut self,
        known: &[[u8; 3]],
        mut surface: Surface,
        mut off: f64,
    ) -> Option<(Surface, f64)> {
        self.cells.iter_mut().for_each(|cell| cell.look(known, self.width, self.height));
        let mut left = 0.0;
        for _ in 0..ROUNDS {
            let limit = off.max(ROUGH);
            let mut rest = Sums::default();
            for cell in &mut self.cells {
                cell.weight = fade(cell.sums.off(&surface), 2.0 * limit, limit);
                rest.add(&cell.sums, cell.weight);
            }
            surface = inverse(rest.matrix)?.map(|row| sum_of(&row, &rest.levels));
            off = rest.off(&surface);
            left = rest.matrix[0][0] / self.rim.sums.matrix[0][0];
        }
        let share = fade(off, REST_ROUGH, REST_SMOOTH) * fade(left, LEAST_LEFT, MOST_LEFT);
        if share == 0.0 {
            return None;
        }
        let across = places(self.width);
        for &place in &self.places {
            let (x, y) = (place as usize % across * PLACE, place as usize / across * PLACE);
            let (mut rest, mut all) = (0.0, 0.0);
            for Part { sums, centre, weight, .. } in &self.cells {
                let (x, y) = (x as f64 - centre[0], y as f64 - centre[1]);
                let apart = x * x + y * y + (CELL * CELL) as f64;
                let near = sums.matrix[0][0] / (apart * apart);
                rest += weight * near;
                all += near;
            }
            self.shares[place as usize] = fade(rest / all, LEAST_NEAR, MOST_NEAR);
        }
        Some((surface, share))
    }

    /// Of a surface through the rest, how much is laid in a hole's pixel, by the places around.
    fn share(&self, at: u32) -> f64 {
        let (x, y) = (at as usize % self.width, at as usize / self.width);
        let across = places(self.width);
        let [right, down] = [x, y].map(|along| (along % PLACE) as f64 / PLACE as f64);
        let between = |a: f64, b: f64, share: f64| a * (1.0 - share) + b * share;
        let line = |first: usize| between(self.shares[first], self.shares[first + 1], right);
        let first = y / PLACE * across + x / PLACE;
        between(line(first), line(first + across), down)
    }

    /// Lays a surface into the holes, with its share of each pixel.
    fn lay(&self, surface: &Surface, share: impl Fn(u32) -> f64, fill: &mut [[u8; 3]]) {
        let Part { least, most, .. } = &self.rim;
        for &at in &self.holes {
            let share = share(at);
            let levels = sum_of(&terms(at, self.width, self.height), surface);
            for (channel, fill) in fill[at as usize].iter_mut().enumerate() {
                // Nothing is lighter or darker than all that is known.
                let level = levels[channel].clamp(least[channel].into(), most[channel].into());
                *fill = (f64::from(*fill) * (1.0 - share) + level * share).round() as u8;
            }
        }
    }

    /// Copies what lies a step away, where that is known.
    fn repeat(&self, step: Step, known: &[[u8; 3]], fill: &mut [[u8; 3]]) {
        for &at in &self.holes {
            if let Some(from) = self.steps.away(at, step) {
                fill[at as usize] = known[from];
            }
        }
    }
}

impl Part {
    fn new(pixels: Vec<u32>, width: usize, height: usize) -> Self {
        let mut sums = Sums::default();
        let mut centre = [0.0; 2];
        for &at in &pixels {
            let terms = terms(at, width, height);
            for (row, term) in sums.matrix.iter_mut().zip(terms) {
                row.iter_mut().zip(terms).for_each(|(sum, other)| *sum += term * other);
            }
            centre[0] += (at as usize % width) as f64 / pixels.len() as f64;
            centre[1] += (at as usize / width) as f64 / pixels.len() as f64;
        }
        Self { pixels, centre, sums, least: [0; 3], most: [0; 3], weight: 1.0 }
    }

    /// Takes a frame's sums.
    fn look(&mut self, known: &[[u8; 3]], width: usize, height: usize) {
        let (mut sums, mut squares) = ([[0.0; 3]; TERMS], 0.0);
        let (mut least, mut most) = ([u8::MAX; 3], [u8::MIN; 3]);
        for &at in &self.pixels {
            let pixel = known[at as usize];
            let levels = pixel.map(f64::from);
            for (sums, term) in sums.iter_mut().zip(terms(at, width, height)) {
                sums.iter_mut().zip(levels).for_each(|(sum, level)| *sum += term * level);
            }
            squares += levels.map(|level| level * level).iter().sum::<f64>();
            least.iter_mut().zip(pixel).for_each(|(least, level)| *least = level.min(*least));
            most.iter_mut().zip(pixel).for_each(|(most, level)| *most = level.max(*most));
        }
        (self.sums.levels, self.sums.squares) = (sums, squares);
        (self.least, self.most) = (least, most);
    }
}

impl Sums {
    fn add(&mut self, other: &Self, weight: f64) {
        let add = |sums: &mut [f64], others: &[f64]| {
            sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += weight * other);
        };
        add(self.matrix.as_flattened_mut(), other.matrix.as_flattened());
        add(self.levels.as_flattened_mut(), other.levels.as_flattened());
        self.squares += weight * other.squares;
    }

    /// How far a surface is from the levels, in the root mean square.
    fn off(&self, surface: &Surface) -> f64 {
        let own = self.matrix.map(|row| sum_of(&row, surface));
        let products = own.as_flattened().iter().zip(self.levels.as_flattened());
        let terms = surface.as_flattened().iter().zip(products);
        let left: f64 = terms.map(|(term, (own, level))| term * (own - 2.0 * level)).sum();
        ((self.squares + left).max(0.0) / (3.0 * self.matrix[0][0])).sqrt()
    }
}

/// The rim in the squares of a grid.
fn cells(rim: &[u32], width: usize, height: usize) -> Vec<Part> {
    let across = width.div_ceil(CELL);
    let mut cells = vec![Vec::new(); across * height.div_ceil(CELL)];
    for &at in rim {
        cells[at as usize / width / CELL * across + at as usize % width / CELL].push(at);
    }
    let cells = cells.into_iter().filter(|pixels| !pixels.is_empty());
    cells.map(|pixels| Part::new(pixels, width, height)).collect()
}

/// How many [`PLACE`]s there are along so many pixels, the first and the last around them.
fn places(length: usize) -> usize {
    length.div_ceil(PLACE) + 1
}

/// From 0 at one value to 1 at another.
fn fade(value: f64, none: f64, all: f64) -> f64 {
    ((value - none) / (all - none)).clamp(0.0, 1.0)
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

/// The inverse of the normal equations' matrix for some pixels, by Gauss and Jordan; `None` if they
/// lie so that no surface is told from another. Such a matrix needs no pivots.
fn inverse(mut left: [Terms; TERMS]) -> Option<[Terms; TERMS]> {
    let least = 1e-9 * left[0][0];
    let mut right: [Terms; TERMS] =
        std::array::from_fn(|row| std::array::from_fn(|column| f64::from(row == column)));
    for pivot in 0..TERMS {
        let by = left[pivot][pivot];
        if by <= least {
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
