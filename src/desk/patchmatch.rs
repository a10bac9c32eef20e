//! A classical filler: every patch that touches the hole is made to look like a known one.
//!
//! C. Barnes, E. Shechtman, A. Finkelstein and D. B. Goldman, "PatchMatch: A Randomized
//! Correspondence Algorithm for Structural Image Editing", 2009, finds the alike patches;
//! Y. Wexler, E. Shechtman and M. Irani, "Space-Time Completion of Video", 2007, makes pictures of
//! them. From the coarsest level of a pyramid to the finest, two steps take turns: each 7x7 patch
//! that holds hole pixels looks for its best match among the patches without any, and each hole
//! pixel becomes the mean of what the matches of all patches over it say, weighted by how well they
//! match and by how near to the rim they lie.
//!
//! A coarse pixel is the mean of its known fine ones, and hole only where none is: holes shrink
//! from level to level until they vanish. The coarsest is painted with Telea's filler to begin
//! with. The random numbers have a fixed seed, so that the same input gives the same output.
//!
//! Hazard: where no 7x7 patch is known as a whole there is nothing to copy, and the answer is that
//! of Telea's filler.

use rand_pcg::Pcg64;

use super::random::{below, generator};
use super::sheet;
use super::telea::telea;
use crate::picture::{Mask, MaskError, RgbPicture};

/// A patch's side, pixels.
const SIDE: usize = 7;
const SEED: u64 = 1;
/// Searches and votes at the finest level ...
const ROUNDS: usize = 2;
/// ... and how many more at each coarser one, where they cost a quarter and decide what goes where.
const MORE_ROUNDS: usize = 2;
/// Passes over all patches in a search, in reading order and back.
const PASSES: usize = 2;
/// A level with fewer known patches has too little to choose from, and what it gets wrong stays
/// wrong: it is left out.
const FEWEST_SOURCES: usize = 1000;
/// What a vote loses with each pixel further from the rim (Wexler's gamma).
const TRUST_FALLS: f64 = 1.3;
/// Keeps a pixel's votes above zero in sum.
const SMALLEST_VOTE: f64 = 1e-10;

/// Fills the holes of `picture`.
pub fn patchmatch(picture: &RgbPicture, mask: &Mask) -> Result<RgbPicture, MaskError> {
    let blank = sheet::painted(picture, mask, [0; 3])?;
    let mut levels = vec![Level::new(blank, mask.clone())];
    if levels[0].sources.is_empty() || levels[0].targets.is_empty() {
        return telea(picture, mask);
    }
    while let Some(coarser) = levels.last().map(Level::halved).transpose()? {
        if coarser.sources.len() < FEWEST_SOURCES || coarser.targets.is_empty() {
            break;
        }
        levels.push(coarser);
    }
    let mut rng = generator(SEED, 0, 0);
    let mut done: Option<Level> = None;
    for (depth, mut level) in levels.into_iter().enumerate().rev() {
        match &done {
            Some(coarser) => level.continue_from(coarser, &mut rng),
            None => level.start(&mut rng)?,
        }
        for _ in 0..ROUNDS + MORE_ROUNDS * depth {
            level.search(&mut rng);
            level.vote();
        }
        done = Some(level);
    }
    Ok(done.map_or_else(|| picture.clone(), |level| level.picture))
}

/// One level of the pyramid. All planes are `[height, width]`.
struct Level {
    picture: RgbPicture,
    mask: Mask,
    /// Whether a patch holds no hole; false where none fits.
    whole: Vec<bool>,
    /// Patches without a hole, in reading order.
    sources: Vec<usize>,
    /// Patches with hole pixels, in reading order.
    targets: Vec<usize>,
    /// The source each target resembles; every other pixel's own number, which is nobody's match.
    matches: Vec<usize>,
    /// Each target's squared difference from its match.
    costs: Vec<u32>,
}

impl Level {
    fn new(picture: RgbPicture, mask: Mask) -> Self {
        let (width, height) = (picture.width, picture.height);
        let whole = mask.whole_patches(SIDE);
        let fits = |at: usize| at % width + SIDE <= width && at / width + SIDE <= height;
        let (sources, targets) =
            (0..width * height).filter(|&at| fits(at)).partition(|&at| whole[at]);
        let matches = (0..width * height).collect();
        let costs = vec![0; width * height];
        Self { picture, mask, whole, sources, targets, matches, costs }
    }

    /// The next coarser level, of half the size.
    fn halved(&self) -> Result<Self, MaskError> {
        let RgbPicture { width, height, data } = &self.picture;
        let (wide, high) = (width.div_ceil(2), height.div_ceil(2));
        let mut pixels = Vec::with_capacity(3 * wide * high);
        let mut grey = Vec::with_capacity(wide * high);
        for (y, x) in (0..high).flat_map(|y| (0..wide).map(move |x| (y, x))) {
            let (mut sums, mut count) = ([0_u32; 3], 0);
            for y in 2 * y..(2 * y + 2).min(*height) {
                for x in (2 * x..(2 * x + 2).min(*width)).filter(|&x| !self.mask.is_hole(x, y)) {
                    let pixel = &data[3 * (y * width + x)..][..3];
                    sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += u32::from(value));
                    count += 1;
                }
            }
            pixels.extend(sums.map(|sum| (sum + count / 2).checked_div(count).unwrap_or(0) as u8));
            grey.push(if count == 0 { 255 } else { 0 });
        }
        let picture = RgbPicture { width: wide, height: high, data: pixels };
        Ok(Self::new(picture, Mask::from_grey(wide, high, &grey)?))
    }

    /// At the coarsest level: smooth colours, and matches at random.
    fn start(&mut self, rng: &mut Pcg64) -> Result<(), MaskError> {
        self.picture = telea(&self.picture, &self.mask)?;
        for &target in &self.targets {
            self.matches[target] = self.sources[below(rng, self.sources.len())];
        }
        Ok(())
    }

    /// Takes over the matches of the next coarser level, and colours from them. A patch that had
    /// none there, or whose match is no source here, gets one at random.
    fn continue_from(&mut self, coarser: &Level, rng: &mut Pcg64) {
        let (width, wide) = (self.picture.width, coarser.picture.width);
        for (at, pixel) in self.picture.data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (x, y) = (at % width, at / width);
            if self.mask.is_hole(x, y) {
                pixel.copy_from_slice(&coarser.picture.data[3 * (y / 2 * wide + x / 2)..][..3]);
            }
        }
        for &target in &self.targets {
            let (x, y) = (target % width, target / width);
            let found = coarser.matches[y / 2 * wide + x / 2];
            let scaled = (2 * (found / wide) + y % 2) * width + 2 * (found % wide) + x % 2;
            let usable = self.whole.get(scaled).is_some_and(|&whole| whole);
            let random = self.sources[below(rng, self.sources.len())];
            self.matches[target] = if usable { scaled } else { random };
        }
    }

    /// Finds better matches: those of neighbours, shifted alike, and some at random around the
    /// best so far, nearer and nearer.
    fn search(&mut self, rng: &mut Pcg64) {
        // The last vote changed the targets.
        for &target in &self.targets {
            self.costs[target] = self.cost(target, self.matches[target], u32::MAX);
        }
        let targets = std::mem::take(&mut self.targets);
        for pass in 0..PASSES {
            if pass % 2 == 0 {
                targets.iter().for_each(|&target| self.improve(target, usize::wrapping_sub, rng));
            } else {
                let back = targets.iter().rev();
                back.for_each(|&target| self.improve(target, usize::wrapping_add, rng));
            }
        }
        self.targets = targets;
    }

    /// Improves one target's match; `back` steps to the neighbours that were visited before.
    fn improve(&mut self, target: usize, back: fn(usize, usize) -> usize, rng: &mut Pcg64) {
        let RgbPicture { width, height, .. } = self.picture;
        for step in [1, width] {
            // The neighbour's step from the target, undone in the neighbour's match.
            let neighbour = back(target, step);
            if let Some(&found) = self.matches.get(neighbour) {
                self.consider(target, found.wrapping_add(target.wrapping_sub(neighbour)));
            }
        }
        let mut reach = width.max(height);
        while reach > 0 {
            let best = self.matches[target];
            let mut near = |centre: usize, length: usize| {
                let (from, to) =
                    (centre.saturating_sub(reach), (centre + reach).min(length - SIDE));
                from + below(rng, to - from + 1)
            };
            let (x, y) = (near(best % width, width), near(best / width, height));
            self.consider(target, y * width + x);
            reach /= 2;
        }
    }

    /// Takes `candidate` as the target's match if it is a source and better.
    fn consider(&mut self, target: usize, candidate: usize) {
        if self.whole.get(candidate).is_some_and(|&whole| whole) {
            let cost = self.cost(target, candidate, self.costs[target]);
            if cost < self.costs[target] {
                self.costs[target] = cost;
                self.matches[target] = candidate;
            }
        }
    }

    /// The squared difference of two patches, summed over pixels and channels; once it reaches
    /// `limit`, anything from there.
    fn cost(&self, first: usize, second: usize, limit: u32) -> u32 {
        let mut cost = 0;
        for row in 0..SIDE {
            let pixels = |patch: usize| {
                &self.picture.data[3 * (patch + row * self.picture.width)..][..3 * SIDE]
            };
            let squares = pixels(first).iter().zip(pixels(second)).map(|(&a, &b)| {
                let apart = u32::from(a.abs_diff(b));
                apart * apart
            });
            cost += squares.sum::<u32>();
            if cost >= limit {
                break;
            }
        }
        cost
    }

    /// Colours every hole pixel from the matches of all patches over it.
    fn vote(&mut self) {
        let RgbPicture { width, height, .. } = self.picture;
        let votes = self.votes();
        let mut voted = self.picture.data.clone();
        for (at, pixel) in voted.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (x, y) = (at % width, at / width);
            if !self.mask.is_hole(x, y) {
                continue;
            }
            let (mut colour, mut sum) = ([0.0; 3], 0.0);
            for top in (y + 1).saturating_sub(SIDE)..=y.min(height - SIDE) {
                for left in (x + 1).saturating_sub(SIDE)..=x.min(width - SIDE) {
                    let patch = top * width + left;
                    let says = &self.picture.data[3 * (self.matches[patch] + at - patch)..][..3];
                    for (colour, &value) in colour.iter_mut().zip(says) {
                        *colour += votes[patch] * f64::from(value);
                    }
                    sum += votes[patch];
                }
            }
            *pixel = colour.map(|colour| (colour / sum).round() as u8);
        }
        self.picture.data = voted;
    }

    /// The weight of each target's vote. (In 32 bits they would be nothing deep in a large hole.)
    fn votes(&self) -> Vec<f64> {
        let mut costs: Vec<u32> = self.targets.iter().map(|&target| self.costs[target]).collect();
        // Wexler's choice: three quarters of all matches count as good ones.
        let quarter = costs.len() * 3 / 4;
        let (_, &mut good, _) = costs.select_nth_unstable(quarter);
        let depths = self.mask.depths();
        let centre = SIDE / 2 * (self.picture.width + 1);
        let mut votes = vec![0.0; self.matches.len()];
        for &target in &self.targets {
            let alike = (-f64::from(self.costs[target]) / (2.0 * (f64::from(good) + 1.0))).exp();
            let trust = TRUST_FALLS.powi(-i32::from(depths[target + centre]));
            votes[target] = alike.max(SMALLEST_VOTE) * trust;
        }
        votes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::filler_cases::{keeps_the_rules, psnr_of_stripes};

    /// Nearly exact: less than half a level wrong in the mean.
    const STRIPES: f64 = 50.0;

    #[test]
    fn rules() {
        keeps_the_rules(&patchmatch, 0);
    }

    #[test]
    fn stripes_go_on() {
        let psnr = psnr_of_stripes(&patchmatch);
        assert!(psnr >= STRIPES, "{psnr} dB");
    }
}
