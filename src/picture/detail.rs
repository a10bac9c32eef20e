//! Detail: a fill that is right in colour and light, and smooth, gets the fine structure of known
//! patches of the same picture.
//!
//! A small network fills a wide hole with the mean of what could be there, which is a blur. What is
//! there is most often more of what lies around it. So each 8x8 patch that reaches into a hole looks
//! for the known patch that is most like it, in colours and in luma, as PatchMatch does (Barnes et
//! al. 2009: matches of neighbours, and random ones nearer and nearer). The picture's coarse
//! band, which is what is left of it at a quarter of its size, stays the network's; the fine band is
//! that of the matches, blended where patches overlap.
//!
//! Matches are kept from frame to frame and changed only for clearly better ones: detail does not
//! flicker, and a frame costs one short search. Where the next mask has holes too they are taken
//! over: texture stays with the scene under a mask that moves. All is integers and the random
//! numbers have a fixed seed: the same frames give the same bytes everywhere.
//!
//! What a hole hides is not seen: patches are taken from known pixels alone.

use std::ops::Range;

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

use super::{KNOWN, Mask, PixelBox, Region};
use crate::kernels::resample::{Filter, Resampler};

/// A patch's side, pixels.
const SIDE: usize = 8;
/// From patch to patch that is matched: four lie over each pixel.
const STEP: usize = SIDE / 2;
/// What the picture is shrunk by to get its coarse band, where the network sees it as it is.
const COARSE: usize = 4;
/// The share of rows or columns of a patch in the blend, from its edge to its middle.
const SHARES: [i16; SIDE] = [1, 2, 3, 4, 4, 3, 2, 1];
/// Bytes of a patch's row.
const ROW: usize = 3 * SIDE;
/// Where two patches are compared in the coarse band, along each axis.
const CORNERS: [usize; 2] = [1, SIDE - 2];
/// What a level there weighs against one of luma, of which there are more.
const COARSE_WEIGHT: u32 = 4;
/// A match whose colours in the coarse band are so far off in sum of levels counts whole, and one
/// that is so far not at all: four levels in the mean, and 33.
const TRUSTED: u32 = 50;
const DISTRUSTED: u32 = 400;
const TRUST_BITS: u32 = 4;
const FULL_TRUST: i16 = 1 << TRUST_BITS;
/// How far around the holes patches are taken from: a quarter of their longer side, but so many
/// pixels at least.
const SURROUNDINGS: usize = 64;
/// Fraction bits of the reciprocal of a pixel's shares.
const RECIPROCAL_BITS: u32 = 22;
/// No target, in the grid of patches.
const NONE: u32 = u32::MAX;
const SEED: u64 = 1;

/// How long the first search takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Until it finds little more, for a picture.
    Thorough,
    /// Quickly: the frames that follow go on with it.
    Live,
}

impl Search {
    fn rounds(self) -> usize {
        match self {
            Self::Thorough => 4,
            Self::Live => 2,
        }
    }
}

/// Adds detail to the fills of one region, frame after frame.
#[derive(Debug)]
pub struct Detail {
    search: Search,
    /// What is looked at of the region, and the region's width. All planes are of that area.
    area: PixelBox,
    stride: usize,
    /// Where the area begins in the frame.
    origin: (usize, usize),
    /// To the coarse band and back.
    shrink: Resampler<3>,
    grow: Resampler<3>,
    /// For each pixel, whether the patch that begins there has no hole; false where none fits.
    whole: Vec<bool>,
    /// Of each patch that may be a target, so many in a row, its number among them, or [`NONE`].
    grid: Vec<u32>,
    columns: usize,
    targets: Vec<Target>,
    /// Of each pixel, the reciprocal of all shares of the patches over it.
    reciprocals: Vec<i32>,
    /// Pixels in a row: holes; those of them that the region owns; and all but those.
    holes: Vec<Range<usize>>,
    owned: Vec<Range<usize>>,
    others: Vec<Range<usize>>,
    /// The fill, which gets detail.
    fill: Vec<u8>,
    /// The picture in RGB, filled; its coarse band, small and in full size.
    picture: Vec<u8>,
    small: Vec<u8>,
    coarse: Vec<u8>,
    /// Luma, with detail in the holes.
    luma: Vec<u8>,
    /// The fine band of the matches, by their shares.
    sums: Vec<i16>,
    /// Whether there are matches of a frame before.
    begun: bool,
    random: Pcg32,
}

/// A patch that reaches into a hole this region fills, and the source it resembles.
#[derive(Debug, Clone, Copy)]
struct Target {
    /// Its place among columns and rows.
    column: u32,
    row: u32,
    /// Its first pixel, and its match's.
    at: u32,
    found: u32,
    cost: u32,
}

impl Target {
    /// Whether it has no match so far: itself is none.
    fn is_new(&self) -> bool {
        self.found == self.at
    }
}

impl Detail {
    /// For fills of this region, and its holes: takes all memory that it needs, some 20 bytes for each
    /// pixel around the holes. `None` where there is nothing to fill, or no patch to take.
    pub fn new(region: &Region, search: Search) -> Option<Self> {
        let area = surroundings(region)?;
        let (width, height) = (area.width, area.height);
        let [holes, owned] = [&region.holes, &region.owned].map(|mask| mask.cut(&area).ok());
        let (holes, owned) = (holes?, owned?);
        // As coarse as what the network saw.
        let small = |side: usize, whole: usize, network: usize| {
            (side * network.min(whole)).div_ceil(whole * COARSE)
        };
        let small = (
            small(width, region.width, region.network_width),
            small(height, region.height, region.network_height),
        );
        let mut detail = Self {
            search,
            area,
            stride: region.width,
            origin: (region.x + area.x, region.y + area.y),
            shrink: Resampler::new((width, height), small, Filter::Bilinear),
            grow: Resampler::new(small, (width, height), Filter::Bilinear),
            whole: holes.whole_patches(SIDE),
            grid: Vec::new(),
            columns: 0,
            targets: Vec::new(),
            reciprocals: Vec::new(),
            holes: runs(&holes, |pixel| pixel != KNOWN),
            owned: runs(&owned, |pixel| pixel != KNOWN),
            others: runs(&owned, |pixel| pixel == KNOWN),
            fill: vec![0; width * height * 3],
            picture: vec![0; width * height * 3],
            small: vec![0; small.0 * small.1 * 3],
            coarse: vec![0; width * height * 3],
            luma: vec![0; width * height],
            sums: vec![0; width * height * 3],
            begun: false,
            random: Pcg32::new(SEED, 0),
        };
        detail.find_targets(&owned);
        detail.whole.contains(&true).then_some(detail)
    }

    fn find_targets(&mut self, owned: &Mask) {
        let (columns, rows) = (starts(owned.width()), starts(owned.height()));
        self.columns = columns.len();
        self.grid = vec![NONE; columns.len() * rows.len()];
        let mut shares = vec![0; self.whole.len()];
        for (row, &y) in rows.iter().enumerate() {
            for (column, &x) in columns.iter().enumerate() {
                let mut rows = (y..y + SIDE).map(|y| &owned.row(y)[x..x + SIDE]);
                if !rows.any(|row| row.iter().any(|&hole| hole != KNOWN)) {
                    continue;
                }
                self.grid[row * self.columns + column] = self.targets.len() as u32;
                let at = (y * self.area.width + x) as u32;
                let (column, row) = (column as u32, row as u32);
                self.targets.push(Target { column, row, at, found: at, cost: u32::MAX });
                for (y, down) in (y..).zip(SHARES) {
                    let shares = &mut shares[y * self.area.width + x..][..SIDE];
                    shares.iter_mut().zip(SHARES).for_each(|(sum, across)| *sum += down * across);
                }
            }
        }
        self.reciprocals = shares.into_iter().map(reciprocal).collect();
    }

    /// Goes on from matches of another mask in the same frames, where both have holes.
    pub fn follow(&mut self, before: &Self) {
        if !before.begun {
            return;
        }
        for number in 0..self.targets.len() {
            let target = self.targets[number];
            let found = before.found(self.place(target.at)).and_then(|(x, y)| {
                let (x, y) = (x.checked_sub(self.origin.0)?, y.checked_sub(self.origin.1)?);
                let at = y * self.area.width + x;
                (x < self.area.width && self.whole.get(at) == Some(&true)).then_some(at)
            });
            if let Some(found) = found.filter(|_| target.is_new()) {
                self.targets[number].found = found as u32;
            }
        }
    }

    /// What the patch at a place of the frame resembles, by the target that lies over its corner.
    fn found(&self, (x, y): (usize, usize)) -> Option<(usize, usize)> {
        let (column, row) =
            (x.checked_sub(self.origin.0)? / STEP, y.checked_sub(self.origin.1)? / STEP);
        let target = self.target(column, row)?;
        let (at, found) = (self.place(target.at), self.place(target.found));
        Some(((x + found.0).checked_sub(at.0)?, (y + found.1).checked_sub(at.1)?))
    }

    /// Where in the frame a pixel is.
    fn place(&self, at: u32) -> (usize, usize) {
        let at = at as usize;
        (self.origin.0 + at % self.area.width, self.origin.1 + at / self.area.width)
    }

    /// The target at a place of the grid.
    fn target(&self, column: usize, row: usize) -> Option<Target> {
        if column >= self.columns {
            return None;
        }
        let number = *self.grid.get(row * self.columns + column)?;
        self.targets.get(number as usize).copied()
    }

    /// Adds detail to `fill` where the region owns it. `known` and `fill` are packed RGB of the
    /// region's size; of `known` only known pixels are read, of `fill` only holes.
    ///
    /// # Panics
    /// If their lengths are others.
    pub fn add(&mut self, known: &[u8], fill: &mut [u8]) {
        self.take(known, fill);
        if std::mem::replace(&mut self.begun, true) {
            self.improve(&KEPT);
        } else if !self.targets.iter().all(Target::is_new) {
            self.draw();
            // For its luma.
            self.lay();
            self.improve(&FOLLOWED);
        } else {
            self.draw();
            for round in 0..self.search.rounds() {
                // The fill's own luma is smooth, and would find smooth patches.
                let by_luma = round > 0;
                self.improve(&Pass { by_luma, ..FORTH });
                self.improve(&Pass { by_luma, ..BACK });
                if round + 1 < self.search.rounds() {
                    self.lay();
                }
            }
        }
        self.lay();
        for (row, line) in self.lines() {
            fill[line].copy_from_slice(&self.fill[row]);
        }
    }

    /// Bytes of each row of the area: in planes here, and in the region's.
    fn lines(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let (area, stride, bytes) = (self.area, self.stride, 3 * self.area.width);
        (0..area.height).map(move |y| {
            let (row, line) = (y * bytes, 3 * ((area.y + y) * stride + area.x));
            (row..row + bytes, line..line + bytes)
        })
    }

    /// Sets the picture and its coarse band, and luma where it does not hold detail of the frame
    /// before.
    fn take(&mut self, known: &[u8], fill: &[u8]) {
        for (row, line) in self.lines() {
            self.picture[row.clone()].copy_from_slice(&known[line.clone()]);
            self.fill[row].copy_from_slice(&fill[line]);
        }
        for run in &self.holes {
            let bytes = 3 * run.start..3 * run.end;
            self.picture[bytes.clone()].copy_from_slice(&self.fill[bytes]);
        }
        for run in &self.others {
            let pixels = &self.picture.as_chunks().0[run.clone()];
            let luma = self.luma[run.clone()].iter_mut().zip(pixels);
            luma.for_each(|(luma, pixel)| *luma = luma_of(pixel));
        }
        self.shrink.run(&self.picture, &mut self.small);
        self.grow.run(&self.small, &mut self.coarse);
    }

    /// Begins with matches at random.
    fn draw(&mut self) {
        let begins = self.whole.iter().enumerate().filter(|(_, whole)| **whole);
        let sources: Vec<u32> = begins.map(|(at, _)| at as u32).collect();
        for target in self.targets.iter_mut().filter(|target| target.is_new()) {
            target.found = sources[below(&mut self.random, sources.len())];
        }
    }

    /// Looks for better matches: those of the neighbours visited before, and random ones.
    fn improve(&mut self, pass: &Pass) {
        // Pictures changed since.
        for number in 0..self.targets.len() {
            let Target { at, found, .. } = self.targets[number];
            let mine = self.patch(at as usize);
            self.targets[number].cost = self.cost(&mine, found as usize, u32::MAX, pass.by_luma);
        }
        for count in 0..self.targets.len() {
            let number = if pass.back { self.targets.len() - 1 - count } else { count };
            self.improve_one(number, pass);
        }
    }

    fn improve_one(&mut self, number: usize, pass: &Pass) {
        let mut target = self.targets[number];
        let mine = self.patch(target.at as usize);
        for (across, down) in [(1, 0), (0, 1)] {
            let Some(neighbour) = self.neighbour(&target, across, down, pass.back) else {
                continue;
            };
            // The neighbour's step to here, from its match.
            let candidate = (neighbour.found + target.at).wrapping_sub(neighbour.at);
            self.consider(&mut target, &mine, candidate as usize, pass);
        }
        let height = self.area.height;
        let mut reach = self.area.width.max(height);
        for _ in 0..pass.tries {
            let (x, y) =
                (target.found as usize % self.area.width, target.found as usize / self.area.width);
            let mut near = |centre: usize, length: usize| {
                let (from, to) =
                    (centre.saturating_sub(reach), (centre + reach).min(length - SIDE));
                from + below(&mut self.random, to - from + 1)
            };
            let candidate = near(y, height) * self.area.width + near(x, self.area.width);
            self.consider(&mut target, &mine, candidate, pass);
            reach /= pass.nearer;
        }
        self.targets[number] = target;
    }

    /// The target a place before in the grid, or with `back` a place after.
    fn neighbour(&self, target: &Target, across: u32, down: u32, back: bool) -> Option<Target> {
        let (column, row) = if back {
            (target.column + across, target.row + down)
        } else {
            (target.column.checked_sub(across)?, target.row.checked_sub(down)?)
        };
        self.target(column as usize, row as usize)
    }

    /// Takes a candidate as the target's match if it is a source and enough better.
    fn consider(&self, target: &mut Target, mine: &Patch, candidate: usize, pass: &Pass) {
        if !self.whole.get(candidate).is_some_and(|&whole| whole) {
            return;
        }
        let limit = target.cost - if pass.stays { target.cost / STAYS } else { 0 };
        let cost = self.cost(mine, candidate, limit, pass.by_luma);
        if cost < limit {
            (target.found, target.cost) = (candidate as u32, cost);
        }
    }

    fn patch(&self, at: usize) -> Patch {
        let mut luma = [[0; SIDE]; SIDE];
        for (row, luma) in luma.iter_mut().enumerate() {
            luma.copy_from_slice(&self.luma[at + row * self.area.width..][..SIDE]);
        }
        Patch { coarse: self.corners(at), luma }
    }

    fn corners(&self, at: usize) -> Corners {
        let pixels = self.coarse.as_chunks::<3>().0;
        let corner =
            |index: usize| pixels[at + CORNERS[index / 2] * self.area.width + CORNERS[index % 2]];
        std::array::from_fn(corner)
    }

    /// The sum of differences between a patch and that which begins at `other`; once it reaches
    /// `limit`, anything from there.
    fn cost(&self, mine: &Patch, other: usize, limit: u32, by_luma: bool) -> u32 {
        let mut cost = COARSE_WEIGHT * apart(&mine.coarse, &self.corners(other));
        if by_luma {
            for (row, mine) in mine.luma.iter().enumerate() {
                if cost >= limit {
                    break;
                }
                let other = &self.luma[other + row * self.area.width..][..SIDE];
                let apart = mine.iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(*b)));
                cost += apart.sum::<u32>();
            }
        }
        cost
    }

    /// How much of its match's fine band a target takes: a match for want of a better one would
    /// bring what is not like anything around. Up to [`FULL_TRUST`].
    fn trust(&self, target: &Target) -> i16 {
        let [mine, found] = [target.at, target.found].map(|at| self.corners(at as usize));
        let left = DISTRUSTED.saturating_sub(apart(&mine, &found));
        (left * FULL_TRUST as u32 / (DISTRUSTED - TRUSTED)).min(FULL_TRUST as u32) as i16
    }

    /// Lays the matches' fine band over the coarse one, in the fill and in luma.
    fn lay(&mut self) {
        self.sums.fill(0);
        for target in &self.targets {
            let trust = self.trust(target);
            for (row, down) in SHARES.into_iter().enumerate() {
                let line = row * self.area.width;
                let (to, from) = (target.at as usize + line, target.found as usize + line);
                let shares: [i16; ROW] = std::array::from_fn(|byte| down * SHARES[byte / 3]);
                let sums = &mut self.sums[3 * to..][..ROW];
                let picture = &self.picture[3 * from..][..ROW];
                let coarse = &self.coarse[3 * from..][..ROW];
                for (sum, ((picture, coarse), share)) in
                    sums.iter_mut().zip(picture.iter().zip(coarse).zip(shares))
                {
                    let fine = i16::from(*picture) - i16::from(*coarse);
                    *sum += ((fine * trust + FULL_TRUST / 2) >> TRUST_BITS) * share;
                }
            }
        }
        let (fill, coarse) = (self.fill.as_chunks_mut::<3>().0, self.coarse.as_chunks::<3>().0);
        let sums = self.sums.as_chunks::<3>().0;
        for run in self.owned.iter().cloned() {
            let bands = coarse[run.clone()].iter().zip(&sums[run.clone()]);
            let bands = bands.zip(&self.reciprocals[run.clone()]);
            let pixels = fill[run.clone()].iter_mut().zip(&mut self.luma[run]);
            for ((fill, luma), ((coarse, sums), &reciprocal)) in pixels.zip(bands) {
                let level = |channel: usize| {
                    let fine = rounded(sums[channel], reciprocal);
                    (i32::from(coarse[channel]) + fine).clamp(0, 255) as u8
                };
                let pixel = [level(0), level(1), level(2)];
                (*fill, *luma) = (pixel, luma_of(&pixel));
            }
        }
    }
}

/// How matches are looked for in one walk over all targets.
struct Pass {
    /// By luma too, not by the coarse band alone.
    by_luma: bool,
    /// From the last target to the first.
    back: bool,
    /// Random matches that are tried for a target: one in all of the picture, then always nearer
    /// to the best one so far.
    tries: usize,
    nearer: usize,
    /// A match stays unless another is better by one part in [`STAYS`].
    stays: bool,
}

const FORTH: Pass = Pass { by_luma: false, back: false, tries: 8, nearer: 2, stays: false };
const BACK: Pass = Pass { back: true, ..FORTH };
/// With matches of the frame before.
const KEPT: Pass = Pass { by_luma: true, back: false, tries: 3, nearer: 4, stays: true };
/// With some matches of another mask.
const FOLLOWED: Pass = Pass { by_luma: true, stays: true, ..FORTH };
/// See [`Pass::stays`].
const STAYS: u32 = 8;

/// What is compared of a patch.
struct Patch {
    coarse: Corners,
    luma: [[u8; SIDE]; SIDE],
}

/// Colours of four pixels of its coarse band.
type Corners = [[u8; 3]; CORNERS.len() * CORNERS.len()];

/// The sum of differences.
fn apart(first: &Corners, second: &Corners) -> u32 {
    let pairs = first.as_flattened().iter().zip(second.as_flattened());
    pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
}

/// The part of the region with the holes that it owns and what is around them; `None` if it owns none
/// or is too small for a patch.
fn surroundings(region: &Region) -> Option<PixelBox> {
    let holes = region.owned.bounds()?;
    let margin = (holes.width.max(holes.height) / 4).max(SURROUNDINGS);
    let (x, y) = (holes.x.saturating_sub(margin), holes.y.saturating_sub(margin));
    let right = (holes.right() + margin).min(region.width);
    let bottom = (holes.bottom() + margin).min(region.height);
    let area = PixelBox { x, y, width: right - x, height: bottom - y };
    (area.width >= SIDE && area.height >= SIDE).then_some(area)
}

/// Where patches begin along an axis, so that they cover it: the last ends where it does.
fn starts(length: usize) -> Vec<usize> {
    let Some(last) = length.checked_sub(SIDE) else { return Vec::new() };
    let mut starts: Vec<usize> = (0..last).step_by(STEP).collect();
    starts.push(last);
    starts
}

/// Luma (BT.601) of a pixel in RGB. Written out: a loop here takes as long as all the rest.
fn luma_of(&[red, green, blue]: &[u8; 3]) -> u8 {
    let [red, green, blue] = [red, green, blue].map(u16::from);
    ((77 * red + 150 * green + 29 * blue + 128) >> 8) as u8
}

/// `sum / shares`, to the nearest but for halves. A sum is at most 255 times its shares on both sides
/// of zero, and so the product below that of [`RECIPROCAL_BITS`] and a byte.
fn rounded(sum: i16, reciprocal: i32) -> i32 {
    (i32::from(sum) * reciprocal + (1 << (RECIPROCAL_BITS - 1))) >> RECIPROCAL_BITS
}

/// What to multiply by in place of dividing by `shares`.
fn reciprocal(shares: i16) -> i32 {
    let shares = i32::from(shares.max(1));
    ((1 << RECIPROCAL_BITS) + shares / 2) / shares
}

/// Pixels of a mask in a row that are alike, in reading order.
fn runs(mask: &Mask, wanted: impl Fn(u8) -> bool) -> Vec<Range<usize>> {
    let mut end = 0;
    let alike = mask.data().chunk_by(|a, b| wanted(*a) == wanted(*b));
    let runs = alike.map(|run| {
        end += run.len();
        (wanted(run[0]), end - run.len()..end)
    });
    runs.filter_map(|(wanted, run)| wanted.then_some(run)).collect()
}

fn below(random: &mut Pcg32, end: usize) -> usize {
    ((u64::from(random.next_u32()) * end as u64) >> 32) as usize
}

#[cfg(test)]
#[path = "detail_tests.rs"]
mod tests;
