//! Fills made of known patches: a fill that is right in shape and colour, and blurred, becomes one of
//! pieces of the same picture that are like it.
//!
//! A small network fills a wide hole with the mean of what could be there, which is a blur. What is
//! there is most often more of what lies around it. So each 8x8 patch that reaches into a hole looks
//! for the known patch that is most like it ([`Matches`]), and each pixel of a hole becomes the mean of
//! what the matches of all patches over it say, weighted by how like they are and by how near to known
//! pixels they lie (Wexler, Shechtman and Irani, "Space-Time Completion of Video", 2007, whose coarse
//! levels the network stands in for). That is done again with the result, into which a share of the
//! network's fill is mixed where holes are not deep: shapes and textures grow sharp.
//!
//! The network says what is where: patches are compared in the coarse band too, which is what is left
//! of the picture at a quarter of its size or, in deep holes, a sixth, and which in a hole stays that of
//! the network's fill. At first they are compared in nothing else: a blur is most like another, and would
//! find what is smooth in place of what has its colour. How rough a place is counts too, and in a hole
//! that is how rough it is around ([`Texture`]).
//!
//! From frame to frame it goes on: one round a frame, with the matches of the frame before, which are
//! left only for clearly better ones. So the fill follows what moves and does not flicker. Where the
//! next mask has holes too, matches and fill are taken over; where the scene is another, or the network
//! has come to say something else, the fill begins anew. All is integers: the same frames give the same
//! bytes everywhere.
//!
//! What a hole hides is not seen: patches are taken from known pixels alone.

use std::ops::{Range, RangeInclusive};

use super::matches::{
    Alike, BACK, Corners, FOLLOWED, FORTH, KEPT, Matches, Part, Pass, ROW, SIDE, Search, Target,
    corners, place_in, place_of, reached, surroundings,
};
use super::texture::Texture;
use super::{KNOWN, PixelBox, Region};
use crate::kernels::patches::{Vote, apart, bytes_apart, vote};
use crate::kernels::resample::{Filter, Resampler};
use crate::kernels::workers;

/// So many steps from known pixels a network of this kind knows little of what is there.
const DEEP: u16 = 32;
/// What the picture is shrunk by to get its coarse band, and what a neighbour counts whose match lies
/// elsewhere; and in live frames' holes that are so deep, where what a network says is a blur that
/// textures must not be tied to, and pieces of them hold together. (In a thorough search, which goes
/// away from what the network says, that makes fills worse.)
const COARSE: [usize; 2] = [4, 6];
const APART: [u32; 2] = [4, 2];
/// What a level there weighs against one of the picture, of which there are more.
const COARSE_WEIGHT: u32 = 16;
/// The network's share in its mix with the round before, beside known pixels, where it sees most; it
/// falls by one for so many pixels' depth.
const SHARES: u16 = 4;
const ALL_SHARES: u16 = 16;
const SHARE_DEPTH: u16 = 4;
/// A match counts half for so many more in cost: three levels in the mean of the picture's, were the
/// coarse band's alike.
const HALVES: u32 = 512;
/// Of more levels' difference in the mean, two frames are of different scenes: noise makes few, and
/// what moves is mostly in a part of the picture.
const CUT: u64 = 16;
/// A cell of so many pixels along each axis whose known ones are so many levels off in the mean, where they
/// were in the frame before, is another thing now, as when somebody walks by: noise makes few. Where that is
/// more than one cell in so many, the camera moves, and matches go along.
const CELL: usize = 8;
const MOVED: u32 = 12;
const FEW: usize = 4;
/// Of more in the mean of a hole's coarse band, beside what all of it changed alike, lighter or darker and
/// with more contrast or less, the network says something else than when the search began: light that
/// changes takes all along, and the matches too.
const DRIFT: u64 = 4;
/// The change of contrast that is light's, at the most, and fraction bits of it.
const CONTRASTS: RangeInclusive<i64> = 1 << (CONTRAST_BITS - 1)..=2 << CONTRAST_BITS;
const CONTRAST_BITS: u32 = 8;
/// Walks of a search, two a round: first by the coarse band alone.
const PASSES: [(bool, Pass); 6] =
    [(false, FORTH), (false, BACK), (true, FORTH), (true, BACK), (true, FORTH), (true, BACK)];

/// Makes the fills of one region of known patches, frame after frame.
#[derive(Debug)]
pub struct Patches {
    search: Search,
    /// What is looked at of the network's picture, and that picture's width. All planes are of that
    /// area.
    area: PixelBox,
    stride: usize,
    /// The region's size and the network's.
    scale: [usize; 4],
    /// Where the area begins in the frame, in the network's pixels.
    origin: (usize, usize),
    matches: Matches,
    /// What each target counts for its place: less with each step from known pixels.
    nearness: Vec<u16>,
    /// Of each pixel, the network's share in what is mixed.
    shares: Vec<u8>,
    /// Pixels in a row.
    holes: Vec<Range<usize>>,
    known: Vec<Range<usize>>,
    /// The picture in RGB, filled.
    picture: Vec<u8>,
    /// What it has in holes while the network's fill stands there.
    held: Vec<u8>,
    /// The coarse band of the latter, small, and in full size with the roughness of what is known; and the ways
    /// there.
    small: Vec<u8>,
    coarse: Vec<u8>,
    shrink: Resampler<3>,
    texture: Texture,
    grow: Resampler<4>,
    /// Of each pixel, whether the picture has a fill of a frame before.
    begun: Vec<bool>,
    /// The part of the area that patches over holes take.
    reached: PixelBox,
    /// Of each pixel of that, what matches say by their weights, and those weights.
    sums: Vec<u32>,
    weights: Vec<u32>,
    /// Of each cell of the area, by how much its known pixels changed in sum, how many there are, and
    /// whether it is another thing now; and cells in a row.
    changes: Vec<(u32, u32)>,
    moved: Vec<bool>,
    across: usize,
    /// Which quarter of the matches was looked at last.
    turn: u32,
    /// The coarse band in the holes when the search began; empty before.
    based: Vec<[u8; 4]>,
    /// Walks since then.
    passes: usize,
}

impl Patches {
    /// For fills of this region, at the network's size: takes all memory that it needs, some 14 bytes
    /// for each pixel around the holes, and 47 for each of theirs. `None` where there is nothing to
    /// fill, or no patch to take.
    pub fn new(region: &Region, search: Search) -> Option<Self> {
        let area = surroundings(&region.network_holes)?;
        let (width, height) = (area.width, area.height);
        let holes = region.network_holes.cut(&area).ok()?;
        let count = holes.hole_pixels();
        let scale = [region.width, region.network_width, region.height, region.network_height];
        let origin = (
            region.x * region.network_width / region.width + area.x,
            region.y * region.network_height / region.height + area.y,
        );
        let (depths, middle) = (holes.depths(), SIDE / 2 * (width + 1));
        let is_deep = search == Search::Live && depths.iter().any(|depth| *depth >= DEEP);
        let deep = usize::from(is_deep);
        let matches = Matches::new(&holes, &holes, origin, 1, APART[deep])?;
        let reached = reached(&holes)?;
        let nearness = |target: &Target| nearness(depths[target.at as usize + middle]);
        let small = (width.div_ceil(COARSE[deep]), height.div_ceil(COARSE[deep]));
        Some(Self {
            search,
            area,
            stride: region.network_width,
            scale,
            origin,
            nearness: matches.targets.iter().map(nearness).collect(),
            shares: depths.iter().map(|depth| shares(*depth)).collect(),
            matches,
            holes: holes.runs(|pixel| pixel != KNOWN),
            known: holes.runs(|pixel| pixel == KNOWN),
            picture: vec![0; 3 * width * height],
            held: Vec::with_capacity(3 * count),
            small: vec![0; 3 * small.0 * small.1],
            coarse: vec![0; 4 * width * height],
            texture: Texture::new(&holes, COARSE[deep]),
            shrink: Resampler::new((width, height), small, Filter::Bilinear),
            grow: Resampler::new(small, (width, height), Filter::Bilinear),
            begun: vec![false; width * height],
            changes: vec![(0, 0); width.div_ceil(CELL) * height.div_ceil(CELL)],
            moved: vec![false; width.div_ceil(CELL) * height.div_ceil(CELL)],
            across: width.div_ceil(CELL),
            sums: vec![0; 3 * reached.width * reached.height],
            weights: vec![0; reached.width * reached.height],
            reached,
            turn: 0,
            based: Vec::with_capacity(count),
            passes: 0,
        })
    }

    /// Goes on from another mask in the same frames, where both have holes. Regions that are scaled
    /// otherwise have nothing in common.
    pub fn follow(&mut self, before: &Self) {
        if before.scale != self.scale {
            return;
        }
        // What both areas have in common, in the scene.
        let common = |origin: fn(&Self) -> usize, length: fn(&Self) -> usize| {
            let ends = [&*self, before].map(|one| origin(one) + length(one));
            origin(self).max(origin(before))..ends[0].min(ends[1])
        };
        let columns = common(|one| one.origin.0, |one| one.area.width);
        let rows = common(|one| one.origin.1, |one| one.area.height);
        if columns.is_empty() || rows.is_empty() {
            return;
        }
        let (is_hole, was_hole) = (self.hole_pixels(), before.hole_pixels());
        let mut both = false;
        for y in rows {
            let row =
                |one: &Self| (y - one.origin.1) * one.area.width + columns.start - one.origin.0;
            let (to, from) = (row(self), row(before));
            for x in 0..columns.len() {
                let (to, from) = (to + x, from + x);
                // Known pixels go along, by which the next frame may turn out to be of another scene;
                // what was known is never shown where a hole is now. Where regions overlap, the first
                // that is followed counts.
                if is_hole[to] == was_hole[from] && before.begun[from] && !self.begun[to] {
                    self.picture[3 * to..][..3].copy_from_slice(&before.picture[3 * from..][..3]);
                    self.begun[to] = true;
                    both |= is_hole[to];
                }
            }
        }
        if both {
            self.matches.follow(&before.matches);
            (self.turn, self.passes) = (before.turn, before.passes);
        }
    }

    /// Makes `fill` of patches in the region's holes, and of known pixels around them. `known` and
    /// `fill` are packed RGB of the network's size; of `known` only known pixels are read, of `fill`
    /// only holes.
    ///
    /// # Panics
    /// If their lengths are others.
    pub fn add(&mut self, known: &[u8], fill: &mut [u8]) {
        let cut = self.take(known);
        self.blur(fill);
        let is_new = self.matches.are_new();
        if cut || self.has_drifted() {
            self.begun.fill(false);
            self.based.clear();
            self.passes = 0;
        }
        if self.based.is_empty() {
            let coarse = self.coarse.as_chunks::<4>().0;
            self.based.extend(self.holes.iter().flat_map(|run| &coarse[run.clone()]));
        }
        self.mix(fill);
        let drawn = self.matches.draw();
        if is_new {
            let rounds = match self.search {
                Search::Thorough => 6,
                Search::Live => 3,
            };
            for round in 0..rounds {
                if round > 0 {
                    self.mix(fill);
                }
                self.improve(round > 0, &FORTH);
                self.improve(round > 0, &BACK);
                self.vote();
            }
            self.passes = PASSES.len();
        } else {
            match PASSES.get(self.passes) {
                // At once what can be had at once.
                _ if cut => self.improve(true, &FOLLOWED),
                // The search takes one walk a frame then: a frame of a scene that moves costs some more.
                Some((by_picture, pass)) => {
                    self.improve(*by_picture, pass);
                    self.passes += 1;
                }
                None if drawn => self.improve(true, &FOLLOWED),
                None => {
                    self.leave_what_moved();
                    // One match in four a frame.
                    self.turn = (self.turn + 1) % 4;
                    self.improve(true, &Pass { quarter: Some(self.turn), ..KEPT });
                }
            }
            self.vote();
        }
        let bytes = 3 * self.area.width;
        for (y, row) in self.picture.chunks_exact(bytes).enumerate() {
            fill[3 * self.place(y * self.area.width)..][..bytes].copy_from_slice(row);
        }
    }

    /// Takes the known pixels. Whether they are those of another scene than the frame before.
    fn take(&mut self, known: &[u8]) -> bool {
        self.changes.fill((0, 0));
        for run in self.known.iter().cloned() {
            let known = &known[3 * self.place(run.start)..][..3 * run.len()];
            let picture = &mut self.picture[3 * run.start..3 * run.end];
            let (row, column) = (run.start / self.area.width, run.start % self.area.width);
            let cells = &mut self.changes[row / CELL * self.across..][..self.across];
            let begun = &self.begun[run];
            let mut at = 0;
            for (cell, (sum, count)) in cells.iter_mut().enumerate().skip(column / CELL) {
                let end = begun.len().min((cell + 1) * CELL - column);
                let levels = picture[3 * at..3 * end].iter().zip(&known[3 * at..3 * end]);
                let levels = levels.map(|(a, b)| u32::from(a.abs_diff(*b)));
                if begun[at..end].contains(&false) {
                    let begun = begun[at..end].iter().flat_map(|begun| [begun; 3]);
                    let levels = levels.zip(begun).filter(|(_, begun)| **begun);
                    levels.for_each(|(level, _)| (*sum, *count) = (*sum + level, *count + 1));
                } else {
                    (*sum, *count) = (*sum + levels.sum::<u32>(), *count + 3 * (end - at) as u32);
                }
                at = end;
                if at == begun.len() {
                    break;
                }
            }
            picture.copy_from_slice(known);
        }
        let (mut apart, mut levels, mut cells, mut moved) = (0, 0, 0, 0);
        for ((sum, count), has_moved) in self.changes.iter().zip(&mut self.moved) {
            *has_moved = *sum > MOVED * count;
            moved += usize::from(*has_moved);
            cells += usize::from(*count > 0);
            (apart, levels) = (apart + u64::from(*sum), levels + u64::from(*count));
        }
        if moved * FEW > cells {
            self.moved.fill(false);
        }
        apart > CUT * levels
    }

    /// Looks for other matches at once in place of those that are another thing now.
    fn leave_what_moved(&mut self) {
        if !self.moved.contains(&true) {
            return;
        }
        let (width, across, moved) = (self.area.width, self.across, &self.moved);
        let has_moved = |target: &Target| {
            let (x, y) = (target.found as usize % width, target.found as usize / width);
            let columns = x / CELL..=(x + SIDE - 1) / CELL;
            let mut rows = y / CELL..=(y + SIDE - 1) / CELL;
            rows.any(|row| moved[row * across..][columns.clone()].contains(&true))
        };
        let look = Look { coarse: &self.coarse, picture: Some(&self.picture), width };
        self.matches.improve_some(&look, &FORTH, has_moved);
    }

    /// For each pixel of the area, whether it is one of a hole.
    fn hole_pixels(&self) -> Vec<bool> {
        let mut holes = vec![false; self.begun.len()];
        self.holes.iter().for_each(|run| holes[run.clone()].fill(true));
        holes
    }

    /// Where in the network's picture a pixel of the area is.
    fn place(&self, at: usize) -> usize {
        place_of(&self.area, at, self.stride)
    }

    /// Makes the coarse band, with the network's fill.
    fn blur(&mut self, fill: &[u8]) {
        self.held.clear();
        for run in self.holes.iter().cloned() {
            let fill = &fill[3 * self.place(run.start)..][..3 * run.len()];
            let picture = &mut self.picture[3 * run.start..3 * run.end];
            self.held.extend_from_slice(picture);
            picture.copy_from_slice(fill);
        }
        self.shrink.run(&self.picture, &mut self.small);
        let band = self.texture.beside(&self.small, &self.picture);
        self.grow.run(band, &mut self.coarse);
        let mut held = &self.held[..];
        for run in &self.holes {
            let picture = &mut self.picture[3 * run.start..3 * run.end];
            let (mine, others) = held.split_at(picture.len());
            picture.copy_from_slice(mine);
            held = others;
        }
    }

    /// Whether the coarse band in the holes is another than when the search began, in another light too.
    fn has_drifted(&self) -> bool {
        if self.based.is_empty() {
            return false;
        }
        let pixels = || {
            let now = self.coarse.as_chunks::<4>().0;
            self.holes.iter().flat_map(|run| &now[run.clone()]).zip(&self.based)
        };
        let count = self.based.len() as i64;
        let mut off = 0;
        for channel in 0..3 {
            let levels =
                pixels().map(|(now, before)| (now[channel].into(), before[channel].into()));
            let (mut sums, mut squares, mut products) = ((0, 0), 0, 0);
            for (now, before) in levels.clone() {
                let (now, before): (i64, i64) = (now, before);
                sums = (sums.0 + now, sums.1 + before);
                (squares, products) = (squares + before * before, products + now * before);
            }
            // The line that comes nearest: of all levels before to those now.
            let variance = count * squares - sums.1 * sums.1;
            let covariance = count * products - sums.0 * sums.1;
            let contrast = (covariance << CONTRAST_BITS) / variance.max(1);
            let contrast = contrast.clamp(*CONTRASTS.start(), *CONTRASTS.end());
            let shift = ((sums.0 << CONTRAST_BITS) - contrast * sums.1) / count;
            let beside = levels.map(|(now, before)| {
                ((now << CONTRAST_BITS) - contrast * before - shift).unsigned_abs()
            });
            off += beside.sum::<u64>();
        }
        off >> CONTRAST_BITS > 3 * DRIFT * count as u64
    }

    /// Mixes the network's fill into that of the round before, in place of which it stands where there
    /// is none.
    fn mix(&mut self, fill: &[u8]) {
        for run in self.holes.iter().cloned() {
            let from = self.place(run.start);
            let pixels = self.picture.as_chunks_mut::<3>().0[run.clone()].iter_mut();
            let fills = fill.as_chunks::<3>().0[from..].iter();
            let shares = self.begun[run.clone()].iter().zip(&self.shares[run]);
            for ((pixel, fill), (begun, share)) in pixels.zip(fills).zip(shares) {
                let share = if *begun { u16::from(*share) } else { ALL_SHARES };
                for (level, fill) in pixel.iter_mut().zip(fill) {
                    let sum = (ALL_SHARES - share) * u16::from(*level) + share * u16::from(*fill);
                    *level = ((sum + ALL_SHARES / 2) / ALL_SHARES) as u8;
                }
            }
        }
    }

    /// Looks for better matches, by the coarse band alone or by the picture too.
    fn improve(&mut self, by_picture: bool, pass: &Pass) {
        let picture = by_picture.then_some(&*self.picture);
        let look = Look { coarse: &self.coarse, picture, width: self.area.width };
        self.matches.improve(&look, pass);
    }

    /// Colours every hole pixel from the matches of all patches over it. Two threads share it, the upper
    /// half and the lower.
    fn vote(&mut self) {
        let (width, reached, half) = (self.area.width, self.reached, self.reached.height / 2);
        let (matches, nearness, picture) = (&self.matches, &self.nearness, &*self.picture);
        let add = |sums: &mut [u32], weights: &mut [u32], rows: Range<usize>| {
            sums.fill(0);
            weights.fill(0);
            let votes = matches.parts(&reached, rows).map(|Part { target, rows, to, from }| {
                let weight = weight(matches.targets[target].cost, nearness[target]);
                Vote { to, from, rows: rows.len(), weight }
            });
            vote((sums, weights, reached.width), (picture, width), votes);
        };
        let pixels = half * reached.width;
        let (upper, lower) = self.sums.split_at_mut(3 * pixels);
        let weights = self.weights.split_at_mut(pixels);
        workers::join(
            || add(upper, weights.0, 0..half),
            || add(lower, weights.1, half..reached.height),
        );
        let (sums, weights) = (self.sums.as_chunks::<3>().0, &self.weights);
        let colour = |holes: &[Range<usize>], picture: &mut [[u8; 3]], first: usize| {
            for run in holes {
                let from = place_in(&reached, run.start, width);
                let pixels = picture[run.start - first..run.end - first].iter_mut();
                for (pixel, (sums, &weight)) in
                    pixels.zip(sums[from..].iter().zip(&weights[from..]))
                {
                    *pixel = sums.map(|sum| ((sum + weight / 2) / weight) as u8);
                }
            }
        };
        let first = (reached.y + half) * width;
        let (upper, lower) = self.picture.as_chunks_mut::<3>().0.split_at_mut(first);
        let holes = self.holes.split_at(self.holes.partition_point(|run| run.start < first));
        workers::join(|| colour(holes.0, upper, 0), || colour(holes.1, lower, first));
        self.begun.fill(true);
    }
}

/// What is compared: colours and roughness of the coarse band, and of the picture unless it is `None`.
struct Look<'a> {
    coarse: &'a [u8],
    picture: Option<&'a [u8]>,
    width: usize,
}

struct Patch {
    coarse: Corners,
    rows: [[u8; ROW]; SIDE],
}

impl Look<'_> {
    fn rows<'a>(&self, picture: &'a [u8], at: usize) -> impl Iterator<Item = &'a [u8; ROW]> {
        let rows = picture[3 * at..].chunks(3 * self.width).take(SIDE);
        rows.filter_map(|row| row.first_chunk())
    }
}

impl Alike for Look<'_> {
    type Patch = Patch;

    fn patch(&self, at: usize) -> Patch {
        let mut rows = [[0; ROW]; SIDE];
        if let Some(picture) = self.picture {
            rows.iter_mut().zip(self.rows(picture, at)).for_each(|(to, from)| *to = *from);
        }
        Patch { coarse: corners::<4>(self.coarse, self.width, at), rows }
    }

    /// The sum of differences.
    fn cost(&self, mine: &Patch, other: usize, limit: u32) -> u32 {
        let mut cost = COARSE_WEIGHT
            * bytes_apart(&mine.coarse, &corners::<4>(self.coarse, self.width, other));
        if let Some(picture) = self.picture {
            let stride = 3 * self.width;
            for (half, rows) in mine.rows.chunks(SIDE / 2).enumerate() {
                if cost >= limit {
                    break;
                }
                cost += apart(rows, &picture[3 * other + half * SIDE / 2 * stride..], stride);
            }
        }
        cost
    }
}

/// What a patch counts whose middle is so many steps from known pixels: it falls with their square.
fn nearness(depth: u16) -> u16 {
    (u64::from(u16::MAX) / (u64::from(depth) + 1).pow(2)) as u16
}

/// The network's share so many steps from known pixels.
fn shares(depth: u16) -> u8 {
    SHARES.saturating_sub(depth / SHARE_DEPTH) as u8
}

/// What a match counts, by its cost, to the base of two, and by its place. With 64 patches over a
/// pixel, 255 times their sum is less than 2^32.
fn weight(cost: u32, nearness: u16) -> u16 {
    let alike = u32::from(u16::MAX).checked_shr(cost / HALVES).unwrap_or(0);
    // Straight from one half to the next.
    let alike = alike - alike * (cost % HALVES) / (2 * HALVES);
    ((alike * u32::from(nearness)) >> u16::BITS).max(1) as u16
}

#[cfg(test)]
#[path = "patches_tests.rs"]
mod tests;
