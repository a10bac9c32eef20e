//! Detail: a fill that is coarser than the frame gets the fine structure of known patches of the
//! same picture.
//!
//! A network that sees a large region scaled down says nothing of what is finer than its pixels. What is
//! there is most often more of what lies around it. So each 8x8 patch that reaches into a hole looks
//! for the known patch that is most like it, in colours and in luma ([`Matches`]). The picture's coarse
//! band, which is what is left of it at half of the network's size, stays that of the fill; the fine
//! band is that of the matches, blended where patches overlap.
//!
//! Matches are kept from frame to frame and changed only for clearly better ones: detail does not
//! flicker, and a frame costs one short search. Where the next mask has holes too they are taken
//! over: texture stays with the scene under a mask that moves. All is integers: the same frames give
//! the same bytes everywhere.
//!
//! What a hole hides is not seen: patches are taken from known pixels alone.

use std::ops::Range;

use super::matches::{
    Alike, BACK, Corners, FOLLOWED, FORTH, KEPT, Matches, Part, Pass, ROW, SIDE, Search, Target,
    corners, place_in, place_of, reached, surroundings,
};
use super::{KNOWN, PixelBox, Region};
use crate::kernels::patches::{apart, bytes_apart};
use crate::kernels::resample::{Filter, Resampler};
use crate::kernels::workers;

/// From patch to patch that is matched: four lie over each pixel.
const STEP: usize = SIDE / 2;
/// What a neighbour counts whose match lies elsewhere.
const APART: u32 = 4;
/// What the picture is shrunk by to get its coarse band, where the network sees it as it is.
const COARSE: usize = 2;
/// The share of rows or columns of a patch in the blend, from its edge to its middle.
const SHARES: [i16; SIDE] = [1, 2, 3, 4, 4, 3, 2, 1];
/// What a level of the coarse band weighs against one of luma, of which there are more.
const COARSE_WEIGHT: u32 = 4;
/// A match whose colours in the coarse band are so far off in sum of levels counts whole, and one
/// that is so far not at all: four levels in the mean, and 33.
const TRUSTED: u32 = 50;
const DISTRUSTED: u32 = 400;
const TRUST_BITS: u32 = 4;
const FULL_TRUST: i16 = 1 << TRUST_BITS;
/// Fraction bits of the reciprocal of a pixel's shares.
const RECIPROCAL_BITS: u32 = 22;

/// Adds detail to the fills of one region, frame after frame.
#[derive(Debug)]
pub struct Detail {
    search: Search,
    /// What is looked at of the region, and the region's width. Planes are of that area, unless they
    /// are of the part that patches over holes take.
    area: PixelBox,
    stride: usize,
    reached: PixelBox,
    /// To the coarse band and back.
    shrink: Resampler<3>,
    grow: Resampler<3>,
    matches: Matches,
    /// Of each pixel that patches reach, the reciprocal of all shares of those over it.
    reciprocals: Vec<i32>,
    /// Pixels in a row: holes; those of them that the region owns; and all but those.
    holes: Vec<Range<usize>>,
    owned: Vec<Range<usize>>,
    others: Vec<Range<usize>>,
    /// The picture in RGB, filled; its coarse band, small and in full size.
    picture: Vec<u8>,
    small: Vec<u8>,
    coarse: Vec<u8>,
    /// Luma, with detail in the holes.
    luma: Vec<u8>,
    /// Of each pixel that patches reach, the fine band of the matches, by their shares.
    sums: Vec<i16>,
    /// Whether there are matches of a frame before.
    begun: bool,
}

impl Detail {
    /// For fills of this region, and its holes: takes all memory that it needs, some 8 bytes for each
    /// pixel around the holes, and 13 for each of theirs. `None` where there is nothing to fill, or no
    /// patch to take.
    pub fn new(region: &Region, search: Search) -> Option<Self> {
        let area = surroundings(&region.owned)?;
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
        let origin = (region.x + area.x, region.y + area.y);
        let matches = Matches::new(&holes, &owned, origin, STEP, APART)?;
        let reached = reached(&owned)?;
        Some(Self {
            search,
            area,
            stride: region.width,
            shrink: Resampler::new((width, height), small, Filter::Bilinear),
            grow: Resampler::new(small, (width, height), Filter::Bilinear),
            reciprocals: reciprocals(&matches, width, &reached),
            matches,
            sums: vec![0; 3 * reached.width * reached.height],
            reached,
            holes: holes.runs(|pixel| pixel != KNOWN),
            owned: owned.runs(|pixel| pixel != KNOWN),
            others: owned.runs(|pixel| pixel == KNOWN),
            picture: vec![0; width * height * 3],
            small: vec![0; small.0 * small.1 * 3],
            coarse: vec![0; width * height * 3],
            luma: vec![0; width * height],
            begun: false,
        })
    }

    /// Goes on from matches of another mask in the same frames, where both have holes.
    pub fn follow(&mut self, before: &Self) {
        if before.begun {
            self.matches.follow(&before.matches);
        }
    }

    /// Adds detail to `fill` where the region owns it. `known` and `fill` are packed RGB of the
    /// region's size; of `known` only known pixels are read, of `fill` only holes.
    ///
    /// # Panics
    /// If their lengths are others.
    pub fn add(&mut self, known: &[u8], fill: &mut [u8]) {
        self.take(known, fill);
        if std::mem::replace(&mut self.begun, true) {
            self.improve(true, &KEPT);
        } else if !self.matches.are_new() {
            self.matches.draw();
            // For its luma.
            self.lay(fill);
            self.improve(true, &FOLLOWED);
        } else {
            self.matches.draw();
            let rounds = match self.search {
                Search::Thorough => 4,
                Search::Live => 2,
            };
            for round in 0..rounds {
                // The fill's own luma is smooth, and would find smooth patches.
                let by_luma = round > 0;
                self.improve(by_luma, &FORTH);
                self.improve(by_luma, &BACK);
                if round + 1 < rounds {
                    self.lay(fill);
                }
            }
        }
        self.lay(fill);
    }

    /// Where in the region a pixel of the area is.
    fn place(&self, at: usize) -> usize {
        place_of(&self.area, at, self.stride)
    }

    /// Sets the picture and its coarse band, and luma where it does not hold detail of the frame
    /// before.
    fn take(&mut self, known: &[u8], fill: &[u8]) {
        let bytes = 3 * self.area.width;
        for y in 0..self.area.height {
            let known = &known[3 * self.place(y * self.area.width)..][..bytes];
            self.picture[y * bytes..][..bytes].copy_from_slice(known);
        }
        for run in &self.holes {
            let fill = &fill[3 * self.place(run.start)..][..3 * run.len()];
            self.picture[3 * run.start..3 * run.end].copy_from_slice(fill);
        }
        for run in &self.others {
            let pixels = &self.picture.as_chunks().0[run.clone()];
            let luma = self.luma[run.clone()].iter_mut().zip(pixels);
            luma.for_each(|(luma, pixel)| *luma = luma_of(pixel));
        }
        self.shrink.run(&self.picture, &mut self.small);
        self.grow.run(&self.small, &mut self.coarse);
    }

    fn improve(&mut self, by_luma: bool, pass: &Pass) {
        let luma = by_luma.then_some(&*self.luma);
        let look = Look { coarse: &self.coarse, luma, width: self.area.width };
        self.matches.improve(&look, pass);
    }

    /// Lays the matches' fine band over the coarse one, in the fill and in luma. Two threads share it, the
    /// upper half and the lower.
    fn lay(&mut self, fill: &mut [u8]) {
        let (width, reached, half) = (self.area.width, self.reached, self.reached.height / 2);
        let first = (reached.y + half) * width;
        let fills = fill.as_chunks_mut::<3>().0.split_at_mut(self.place(first));
        let Self { matches, picture, coarse, luma, sums, reciprocals, owned, area, stride, .. } =
            self;
        let (matches, picture, coarse, reciprocals) =
            (&*matches, &*picture, &*coarse, &*reciprocals);
        let lay = |sums: &mut [i16], rows: Range<usize>| {
            sums.fill(0);
            for Part { target, rows, to, from } in matches.parts(&reached, rows) {
                let trust = trust(&matches.targets[target], coarse, width);
                for (row, down) in SHARES[rows].iter().enumerate() {
                    let (to, from) = (to + row * reached.width, from + row * width);
                    let shares: [i16; ROW] = std::array::from_fn(|byte| down * SHARES[byte / 3]);
                    let sums = &mut sums[3 * to..][..ROW];
                    let picture = &picture[3 * from..][..ROW];
                    let coarse = &coarse[3 * from..][..ROW];
                    for (sum, ((picture, coarse), share)) in
                        sums.iter_mut().zip(picture.iter().zip(coarse).zip(shares))
                    {
                        let fine = i16::from(*picture) - i16::from(*coarse);
                        *sum += ((fine * trust + FULL_TRUST / 2) >> TRUST_BITS) * share;
                    }
                }
            }
        };
        // Those of a half: its sums, and what of the area, of the fill and of the reached box lies before.
        let take = |runs: &[Range<usize>],
                    (sums, luma, fill): (&[i16], &mut [u8], &mut [[u8; 3]]),
                    [in_area, in_fill, in_reached]: [usize; 3]| {
            for run in runs {
                let to = place_of(area, run.start, *stride);
                let from = place_in(&reached, run.start, width);
                let bands = coarse.as_chunks::<3>().0[run.clone()].iter();
                let bands = bands.zip(&sums.as_chunks::<3>().0[from - in_reached..]);
                let bands = bands.zip(&reciprocals[from..]);
                let fill = fill[to - in_fill..].iter_mut();
                let pixels = fill.zip(&mut luma[run.start - in_area..run.end - in_area]);
                for ((fill, luma), ((coarse, sums), &reciprocal)) in pixels.zip(bands) {
                    let level = |channel: usize| {
                        let fine = rounded(sums[channel], reciprocal);
                        (i32::from(coarse[channel]) + fine).clamp(0, 255) as u8
                    };
                    let pixel = [level(0), level(1), level(2)];
                    (*fill, *luma) = (pixel, luma_of(&pixel));
                }
            }
        };
        let runs = owned.split_at(owned.partition_point(|run| run.start < first));
        let before = [first, fills.0.len(), half * reached.width];
        let sums = sums.split_at_mut(3 * before[2]);
        let lumas = luma.split_at_mut(first);
        workers::join(
            || {
                lay(sums.0, 0..half);
                take(runs.0, (sums.0, lumas.0, fills.0), [0; 3]);
            },
            || {
                lay(sums.1, half..reached.height);
                take(runs.1, (sums.1, lumas.1, fills.1), before);
            },
        );
    }
}

/// How much of its match's fine band a target takes: a match for want of a better one would bring what is
/// not like anything around. Up to [`FULL_TRUST`].
fn trust(target: &Target, coarse: &[u8], width: usize) -> i16 {
    let corners = |at: u32| corners::<3>(coarse, width, at as usize);
    let [mine, found] = [target.at, target.found].map(corners);
    let left = DISTRUSTED.saturating_sub(bytes_apart(&mine, &found));
    (left * FULL_TRUST as u32 / (DISTRUSTED - TRUSTED)).min(FULL_TRUST as u32) as i16
}

/// What is compared: the coarse band, and luma unless it is `None`.
struct Look<'a> {
    coarse: &'a [u8],
    luma: Option<&'a [u8]>,
    width: usize,
}

struct Patch {
    coarse: Corners,
    luma: [[u8; SIDE]; SIDE],
}

impl Alike for Look<'_> {
    type Patch = Patch;

    fn patch(&self, at: usize) -> Patch {
        let mut luma = [[0; SIDE]; SIDE];
        if let Some(plane) = self.luma {
            for (row, luma) in luma.iter_mut().enumerate() {
                luma.copy_from_slice(&plane[at + row * self.width..][..SIDE]);
            }
        }
        Patch { coarse: corners::<3>(self.coarse, self.width, at), luma }
    }

    /// The sum of differences.
    fn cost(&self, mine: &Patch, other: usize, limit: u32) -> u32 {
        let mut cost = COARSE_WEIGHT
            * bytes_apart(&mine.coarse, &corners::<3>(self.coarse, self.width, other));
        if let Some(plane) = self.luma {
            for (half, rows) in mine.luma.chunks(SIDE / 2).enumerate() {
                if cost >= limit {
                    break;
                }
                cost += apart(rows, &plane[other + half * SIDE / 2 * self.width..], self.width);
            }
        }
        cost
    }
}

/// Luma (BT.601) of a pixel in RGB. Written out: a loop here takes as long as all the rest.
pub(super) fn luma_of(&[red, green, blue]: &[u8; 3]) -> u8 {
    let [red, green, blue] = [red, green, blue].map(u16::from);
    ((77 * red + 150 * green + 29 * blue + 128) >> 8) as u8
}

/// `sum / shares`, to the nearest but for halves. A sum is at most 255 times its shares on both sides
/// of zero, and so the product below that of [`RECIPROCAL_BITS`] and a byte.
fn rounded(sum: i16, reciprocal: i32) -> i32 {
    (i32::from(sum) * reciprocal + (1 << (RECIPROCAL_BITS - 1))) >> RECIPROCAL_BITS
}

/// Of each pixel of the box that patches reach, what to multiply by in place of dividing by all shares
/// of those over it.
fn reciprocals(matches: &Matches, width: usize, reached: &PixelBox) -> Vec<i32> {
    let mut shares = vec![0_i16; reached.width * reached.height];
    for target in &matches.targets {
        let first = place_in(reached, target.at as usize, width);
        for (row, down) in SHARES.into_iter().enumerate() {
            let shares = &mut shares[first + row * reached.width..][..SIDE];
            shares.iter_mut().zip(SHARES).for_each(|(sum, across)| *sum += down * across);
        }
    }
    let reciprocal = |shares: i16| {
        let shares = i32::from(shares.max(1));
        ((1 << RECIPROCAL_BITS) + shares / 2) / shares
    };
    shares.into_iter().map(reciprocal).collect()
}

#[cfg(test)]
#[path = "detail_tests.rs"]
pub(super) mod tests;
