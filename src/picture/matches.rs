//! Which known patch each patch over a hole is most like, as PatchMatch finds it (Barnes, Shechtman,
//! Finkelstein and Goldman, "PatchMatch: A Randomized Correspondence Algorithm for Structural Image
//! Editing", 2009): by the matches of its neighbours, and by random ones nearer and nearer.
//!
//! What "like" means is for the caller to say ([`Alike`]). The random numbers have a fixed seed: the
//! same pictures give the same matches everywhere.

use std::ops::Range;

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

use super::{Mask, PixelBox};
pub(super) use crate::kernels::patches::{ROW, SIDE};

/// How far around the holes patches are taken from: a quarter of their longer side, but so many
/// pixels at least.
const SURROUNDINGS: usize = 64;
/// A match that is to stay goes only for one that is better by one part in so many.
const STAYS: u32 = 8;
/// Where two patches are compared in a coarse band, along each axis.
const CORNERS: [usize; 2] = [1, SIDE - 2];
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

/// Compares patches. A patch is named by the place of its first pixel.
pub(super) trait Alike {
    /// What is compared of a target.
    type Patch;

    fn patch(&self, at: usize) -> Self::Patch;

    /// How unlike the patch at `other` is; once it reaches `limit`, anything from there.
    fn cost(&self, patch: &Self::Patch, other: usize, limit: u32) -> u32;
}

/// Four pixels of a patch in a coarse band, three or four bytes each.
pub(super) type Corners = [u32; CORNERS.len() * CORNERS.len()];

/// Those of the patch at `at`, in a picture `width` pixels wide with so many bytes each.
#[inline(always)]
pub(super) fn corners<const BYTES: usize>(coarse: &[u8], width: usize, at: usize) -> Corners {
    const { assert!(BYTES == 3 || BYTES == 4) };
    std::array::from_fn(|index| {
        let pixel = at + CORNERS[index / 2] * width + CORNERS[index % 2];
        // With a byte of the next pixel, where there are three: that is one load, and a patch has a
        // pixel behind each corner.
        let bytes = *coarse[BYTES * pixel..].first_chunk().expect("a corner within its patch");
        u32::from_le_bytes(bytes) & (u32::MAX >> (32 - 8 * BYTES))
    })
}

/// How matches are looked for in one walk over all targets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    /// From the last target to the first.
    pub back: bool,
    /// Random matches that are tried for a target: one in all of the picture, then always nearer
    /// to the best one so far, by how many halves.
    pub tries: usize,
    pub halves: u32,
    /// A match stays unless another is clearly better.
    pub stays: bool,
    /// Only the targets of one quarter, one in each square of four.
    pub quarter: Option<u32>,
}

pub(super) const FORTH: Pass =
    Pass { back: false, tries: 8, halves: 1, stays: false, quarter: None };
pub(super) const BACK: Pass = Pass { back: true, ..FORTH };
/// With matches of the frame before.
pub(super) const KEPT: Pass = Pass { tries: 3, halves: 2, stays: true, ..FORTH };
/// With some matches of another mask.
pub(super) const FOLLOWED: Pass = Pass { stays: true, ..FORTH };

/// A patch that reaches into a hole, and the source it resembles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// Its place among columns and rows.
    column: u32,
    row: u32,
    /// Its first pixel, and its match's.
    pub at: u32,
    pub found: u32,
    pub cost: u32,
}

impl Target {
    /// Whether it has no match so far: itself is none.
    fn is_new(&self) -> bool {
        self.found == self.at
    }
}

/// Some rows of a target's patch.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The target's number.
    pub target: usize,
    pub rows: Range<usize>,
    /// Their first pixel, in what they lie in, and that of the match.
    pub to: usize,
    pub from: usize,
}

/// The matches in one picture.
#[derive(Debug)]
pub(super) struct Matches {
    width: usize,
    height: usize,
    /// Where the picture begins in what [`Matches::follow`] has in common.
    origin: (usize, usize),
    /// From patch to patch that is matched, pixels.
    step: usize,
    /// For each pixel, whether the patch that begins there has no hole; false where none fits.
    whole: Vec<bool>,
    /// Of each patch that may be a target, so many in a row, its number among them, or [`NONE`].
    grid: Vec<u32>,
    columns: usize,
    /// In the order of their places.
    pub targets: Vec<Target>,
    /// A match counts as so much less like its target, one part in so many, for each neighbour whose
    /// match is not beside it: matches that lie together are one piece of the picture, with its texture,
    /// and where they do not there is a seam, or a blur of all that lie over one another.
    apart: u32,
    random: Pcg32,
}

impl Matches {
    /// For a picture with these `holes`, of which patches over `owned` get matches. `None` where there
    /// is no patch to take.
    pub fn new(
        holes: &Mask,
        owned: &Mask,
        origin: (usize, usize),
        step: usize,
        apart: u32,
    ) -> Option<Self> {
        let (width, height) = (owned.width(), owned.height());
        let whole = holes.whole_patches(SIDE);
        if !whole.contains(&true) {
            return None;
        }
        let known = owned.whole_patches(SIDE);
        let (columns, rows) = (starts(width, step), starts(height, step));
        let mut grid = vec![NONE; columns.len() * rows.len()];
        let mut targets = Vec::new();
        for (row, &y) in rows.iter().enumerate() {
            for (column, &x) in columns.iter().enumerate() {
                let at = y * width + x;
                if !known[at] {
                    grid[row * columns.len() + column] = targets.len() as u32;
                    let (column, row, at) = (column as u32, row as u32, at as u32);
                    targets.push(Target { column, row, at, found: at, cost: u32::MAX });
                }
            }
        }
        let columns = columns.len();
        let random = Pcg32::new(SEED, 0);
        Some(Self { width, height, origin, step, whole, grid, columns, targets, apart, random })
    }

    /// What of the targets' patches lies in `rows` of `reached`, which holds all of them.
    pub fn parts(&self, reached: &PixelBox, rows: Range<usize>) -> impl Iterator<Item = Part> {
        let (reached, width) = (*reached, self.width);
        let before = |row: usize| {
            self.targets.partition_point(|target| (target.at as usize) < (reached.y + row) * width)
        };
        let reaching = before((rows.start + 1).saturating_sub(SIDE))..before(rows.end);
        reaching.map(move |target| {
            let Target { at, found, .. } = self.targets[target];
            let (at, found) = (at as usize, found as usize);
            let (x, y) = (at % width - reached.x, at / width - reached.y);
            let (begin, end) = (rows.start.max(y), rows.end.min(y + SIDE));
            let to = (begin - rows.start) * reached.width + x;
            Part { target, rows: begin - y..end - y, to, from: found + (begin - y) * width }
        })
    }

    /// Whether no target has a match so far.
    pub fn are_new(&self) -> bool {
        self.targets.iter().all(Target::is_new)
    }

    /// Goes on from matches in the same scene, where both have holes.
    pub fn follow(&mut self, before: &Self) {
        for number in 0..self.targets.len() {
            let target = self.targets[number];
            let found = before.found(self.place(target.at)).and_then(|((x, y), cost)| {
                let (x, y) = (x.checked_sub(self.origin.0)?, y.checked_sub(self.origin.1)?);
                let at = y * self.width + x;
                (x < self.width && self.whole.get(at) == Some(&true)).then_some((at, cost))
            });
            if let Some((found, cost)) = found.filter(|_| target.is_new()) {
                // Until it is looked at again it counts what it counted.
                (self.targets[number].found, self.targets[number].cost) = (found as u32, cost);
            }
        }
    }

    /// What the patch at a place of the scene resembles, by the target that lies over its corner, and that
    /// one's cost.
    fn found(&self, (x, y): (usize, usize)) -> Option<((usize, usize), u32)> {
        let (column, row) =
            (x.checked_sub(self.origin.0)? / self.step, y.checked_sub(self.origin.1)? / self.step);
        let target = self.target(column, row)?;
        let (at, found) = (self.place(target.at), self.place(target.found));
        let found = ((x + found.0).checked_sub(at.0)?, (y + found.1).checked_sub(at.1)?);
        Some((found, target.cost))
    }

    /// Where in the scene a pixel is.
    fn place(&self, at: u32) -> (usize, usize) {
        let at = at as usize;
        (self.origin.0 + at % self.width, self.origin.1 + at / self.width)
    }

    /// The target at a place of the grid.
    fn target(&self, column: usize, row: usize) -> Option<Target> {
        if column >= self.columns {
            return None;
        }
        let number = *self.grid.get(row * self.columns + column)?;
        self.targets.get(number as usize).copied()
    }

    /// Gives targets that have no match one at random. Whether there were such.
    pub fn draw(&mut self) -> bool {
        if !self.targets.iter().any(Target::is_new) {
            return false;
        }
        // Sources that lie in a row: how many there are up to its end, and that end.
        let (mut runs, mut count, mut end) = (Vec::new(), 0, 0);
        for run in self.whole.chunk_by(|a, b| a == b) {
            end += run.len();
            if run[0] {
                count += run.len();
                runs.push((count, end));
            }
        }
        for target in self.targets.iter_mut().filter(|target| target.is_new()) {
            let number = below(&mut self.random, count);
            let run = runs.partition_point(|(count, _)| *count <= number);
            let (count, end) = runs[run];
            target.found = (end + number - count) as u32;
        }
        true
    }

    /// Looks for better matches.
    pub fn improve(&mut self, alike: &impl Alike, pass: &Pass) {
        let is_its_turn = |Target { column, row, .. }: &Target| {
            pass.quarter.is_none_or(|quarter| quarter == column % 2 + 2 * (row % 2))
        };
        self.improve_some(alike, pass, is_its_turn);
    }

    /// The same for those targets that are `wanted`.
    pub fn improve_some(
        &mut self,
        alike: &impl Alike,
        pass: &Pass,
        wanted: impl Fn(&Target) -> bool,
    ) {
        for count in 0..self.targets.len() {
            let number = if pass.back { self.targets.len() - 1 - count } else { count };
            if wanted(&self.targets[number]) {
                self.improve_one(number, alike, pass);
            }
        }
    }

    fn improve_one<A: Alike>(&mut self, number: usize, alike: &A, pass: &Pass) {
        let mut target = self.targets[number];
        let mine = alike.patch(target.at as usize);
        // Pictures changed since.
        target.cost = alike.cost(&mine, target.found as usize, u32::MAX);
        let beside = [(1, 0), (0, 1)].map(|(across, down)| {
            let neighbour = self.neighbour(&target, across, down, pass.back)?;
            // The neighbour's step to here, from its match.
            Some((neighbour.found + target.at).wrapping_sub(neighbour.at))
        });
        for &candidate in beside.iter().flatten() {
            self.consider(&mut target, candidate, &beside, alike, &mine, pass);
        }
        let mut reach = self.width.max(self.height);
        for _ in 0..pass.tries {
            let (x, y) = (target.found % self.width as u32, target.found / self.width as u32);
            let mut near = |centre: usize, length: usize| {
                let (from, to) =
                    (centre.saturating_sub(reach), (centre + reach).min(length - SIDE));
                from + below(&mut self.random, to - from + 1)
            };
            let candidate =
                near(y as usize, self.height) * self.width + near(x as usize, self.width);
            self.consider(&mut target, candidate as u32, &beside, alike, &mine, pass);
            reach >>= pass.halves;
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

    /// Takes a candidate as the target's match if it is a source and enough better. `beside` are the
    /// places beside its neighbours' matches.
    fn consider<A: Alike>(
        &self,
        target: &mut Target,
        candidate: u32,
        beside: &[Option<u32>; 2],
        alike: &A,
        mine: &A::Patch,
        pass: &Pass,
    ) {
        // Neighbours mostly agree.
        if candidate == target.found || self.whole.get(candidate as usize) != Some(&true) {
            return;
        }
        let apart = |found: u32| {
            let neighbours = beside.iter().flatten().filter(|beside| **beside != found);
            neighbours.count() as u32 * (target.cost / self.apart)
        };
        let stays = if pass.stays { target.cost / STAYS } else { 0 };
        let limit = (target.cost + apart(target.found)).saturating_sub(apart(candidate) + stays);
        let cost = alike.cost(mine, candidate as usize, limit);
        if cost < limit {
            (target.found, target.cost) = (candidate, cost);
        }
    }
}

/// The part of a picture with these holes and what is around them; `None` if there are none, or no room
/// for a patch.
pub(super) fn surroundings(holes: &Mask) -> Option<PixelBox> {
    let (width, height, holes) = (holes.width(), holes.height(), holes.bounds()?);
    let margin = (holes.width.max(holes.height) / 4).max(SURROUNDINGS);
    let area = around(&holes, margin, width, height);
    (area.width >= SIDE && area.height >= SIDE).then_some(area)
}

/// The part of a picture that patches take which lie over holes; `None` if there are none.
pub(super) fn reached(holes: &Mask) -> Option<PixelBox> {
    Some(around(&holes.bounds()?, SIDE - 1, holes.width(), holes.height()))
}

/// The number, in a box, of the pixel that is `at` in a picture of this width.
pub(super) fn place_in(within: &PixelBox, at: usize, width: usize) -> usize {
    (at / width - within.y) * within.width + at % width - within.x
}

/// The number, in a picture of this width, of the pixel that is `at` in a box of it.
pub(super) fn place_of(within: &PixelBox, at: usize, width: usize) -> usize {
    (within.y + at / within.width) * width + within.x + at % within.width
}

/// A box and so much around it, as far as the picture reaches.
fn around(area: &PixelBox, margin: usize, width: usize, height: usize) -> PixelBox {
    let (x, y) = (area.x.saturating_sub(margin), area.y.saturating_sub(margin));
    let (right, bottom) =
        ((area.right() + margin).min(width), (area.bottom() + margin).min(height));
    PixelBox { x, y, width: right - x, height: bottom - y }
}

/// Where patches begin along an axis, so that they cover it: the last ends where it does.
fn starts(length: usize, step: usize) -> Vec<usize> {
    let Some(last) = length.checked_sub(SIDE) else { return Vec::new() };
    let mut starts: Vec<usize> = (0..last).step_by(step).collect();
    starts.push(last);
    starts
}

fn below(random: &mut Pcg32, end: usize) -> usize {
    ((u64::from(random.next_u32()) * end as u64) >> 32) as usize
}
