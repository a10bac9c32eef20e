//! The step across a picture that brings what lies around its holes onto something like it.

use super::continuation::pixels;
use super::detail::luma_of;
use super::{KNOWN, Mask};

/// Down, and to the right.
pub(super) type Step = (isize, isize);

/// Known pixels that are compared: steps from a hole.
const RING: u16 = 8;
/// No step is so short along both axes: it would bring any picture onto itself.
const SHORTEST: usize = 7;
/// Pixels of the ring that all steps are tried with, and of the holes. Squares of the ring's differences
/// are summed up below their count.
const RING_SAMPLES: usize = 192;
const HOLE_SAMPLES: usize = 64;
const COUNT_BITS: u32 = 24;
/// Of the steps to each square of this side the best is tried with all of the ring, of the best few.
const SQUARE: usize = 16;
const TRIED: usize = 8;
/// A step leads from half of the ring to known pixels, and from three quarters of the holes.
const RING_KNOWN: (usize, usize) = (1, 2);
const HOLES_KNOWN: (usize, usize) = (3, 4);
/// A step is taken that leaves no more of the ring's difference than this times what a blur would
/// ([`Steps::roughness`]), and stays until it leaves much more.
const TAKEN: f32 = 1.15;
const KEPT: f32 = 1.25;
/// All of the ring may be lighter or darker by so much of that: more is a likeness by chance.
const SHIFTED: f32 = 0.3;
/// How far around a pixel a blur reaches, and which pixels of the ring are asked.
const BLUR: usize = 5;
const ASKED: usize = 8;
/// In place of the best step where there is none.
const NO_STEP: (f32, Step) = (f32::INFINITY, (0, 0));
/// Frames until a step is looked for again where none was found. Each does its share of the search: all of
/// it takes as long as a frame.
const WAIT: u32 = 30;

/// Looks for the step, frame after frame.
#[derive(Debug)]
pub(super) struct Steps {
    width: usize,
    height: usize,
    /// Of each pixel, whether it is known.
    known: Vec<bool>,
    ring: Vec<u32>,
    /// Some of it, and of the holes.
    ring_samples: Vec<u32>,
    hole_samples: Vec<u32>,
    step: Option<Step>,
    wait: u32,
    /// How many lines of steps were tried, with the picture that was there at the first.
    tried: usize,
    /// For a search: the picture's luma; the squares of differences of all steps so far down, above them
    /// how many are known, and how many of the holes; and the best of each square of steps.
    luma: Vec<u8>,
    costs: Vec<u32>,
    covers: Vec<u8>,
    best: Vec<(f32, Step)>,
}

impl Steps {
    /// In pictures with these holes, from which each pixel is so far away. Takes all memory that it needs.
    pub fn new(mask: &Mask, holes: &[u32], away: &[u16]) -> Self {
        let (width, height) = (mask.width(), mask.height());
        let ring = pixels(away.iter().map(|away| (1..=RING).contains(away)));
        let (across, down) = (2 * width - 1, 2 * height - 1);
        Self {
            width,
            height,
            known: mask.data().iter().map(|pixel| *pixel == KNOWN).collect(),
            ring_samples: spread(&ring, RING_SAMPLES),
            hole_samples: spread(holes, HOLE_SAMPLES),
            ring,
            step: None,
            wait: 0,
            tried: 0,
            luma: vec![0; width * height],
            costs: vec![0; across],
            covers: vec![0; across],
            best: vec![NO_STEP; across.div_ceil(SQUARE) * down.div_ceil(SQUARE)],
        }
    }

    /// Goes on from another mask in the same frames.
    pub fn follow(&mut self, before: &Self) {
        self.step = self.step.or(before.step);
        // Where none was found for the mask before, none is looked for at once: masks may change with
        // every frame.
        if self.wait == 0 {
            self.wait = before.wait;
        }
    }

    /// The step in this picture, of which known pixels are read, that leads most of the holes to known
    /// pixels.
    pub fn look(&mut self, picture: &[[u8; 3]]) -> Option<Step> {
        let is_kept = |step: &Step| {
            let difference = self.difference(*step, picture);
            difference.is_some_and(|apart| apart <= KEPT * self.roughness(picture))
        };
        if let Some(step) = self.step {
            self.step = self.step.filter(is_kept);
            // Another scene may repeat otherwise.
            self.wait *= u32::from(self.step == Some(step));
        }
        if self.step.is_none() {
            self.step = self.search(picture);
        }
        self.step
    }

    #[cfg(test)]
    pub fn step(&self) -> Option<Step> {
        self.step
    }

    /// The pixel a step away, if it is known.
    pub fn away(&self, at: u32, (down, across): Step) -> Option<usize> {
        let (x, y) = (at as usize % self.width, at as usize / self.width);
        let x = x.checked_add_signed(across).filter(|x| *x < self.width)?;
        let y = y.checked_add_signed(down).filter(|y| *y < self.height)?;
        let away = y * self.width + x;
        self.known[away].then_some(away)
    }

    /// The ring's pixels, each with what a step leads to, where that is known.
    fn pairs<'a>(
        &self,
        step: Step,
        picture: &'a [[u8; 3]],
    ) -> impl Iterator<Item = (&'a [u8; 3], &'a [u8; 3])> {
        let pair = move |&at: &u32| Some((&picture[at as usize], &picture[self.away(at, step)?]));
        self.ring.iter().filter_map(pair)
    }

    /// By how much the ring is unlike what a step leads to, in levels' mean; `None` if that is hardly known.
    fn difference(&self, step: Step, picture: &[[u8; 3]]) -> Option<f32> {
        let (mut sum, mut count) = (0, 0);
        for (mine, other) in self.pairs(step, picture) {
            let levels = mine.iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b)));
            sum += levels.sum::<u64>();
            count += 1;
        }
        let enough = count * RING_KNOWN.1 >= self.ring.len() * RING_KNOWN.0 && count > 0;
        enough.then(|| sum as f32 / (3 * count) as f32)
    }

    /// By how much all of the ring is lighter or darker than what a step leads to.
    fn shift(&self, step: Step, picture: &[[u8; 3]]) -> f32 {
        let (mut sums, mut count) = ([0_i64; 3], 0);
        for (mine, other) in self.pairs(step, picture) {
            let levels = mine.iter().zip(other).map(|(a, b)| i64::from(*a) - i64::from(*b));
            sums.iter_mut().zip(levels).for_each(|(sum, level)| *sum += level);
            count += 1;
        }
        sums.iter().map(|sum| sum.unsigned_abs()).sum::<u64>() as f32 / (3 * count.max(1)) as f32
    }

    /// By how much the ring is unlike the mean of what is known around each of its pixels.
    fn roughness(&self, picture: &[[u8; 3]]) -> f32 {
        let (mut sum, mut count) = (0.0, 0);
        for at in self.ring.iter().step_by(ASKED).map(|at| *at as usize) {
            let (x, y) = (at % self.width, at / self.width);
            let columns = x.saturating_sub(BLUR)..(x + BLUR + 1).min(self.width);
            let (mut around, mut pixels) = ([0; 3], 0);
            for y in y.saturating_sub(BLUR)..(y + BLUR + 1).min(self.height) {
                let row = y * self.width + columns.start..y * self.width + columns.end;
                let row = picture[row.clone()].iter().zip(&self.known[row]);
                for (pixel, _) in row.filter(|(_, known)| **known) {
                    around.iter_mut().zip(pixel).for_each(|(sum, level)| *sum += u32::from(*level));
                    pixels += 1;
                }
            }
            let mean = around.map(|sum| sum as f32 / pixels as f32);
            let apart = picture[at].iter().zip(mean).map(|(a, b)| (f32::from(*a) - b).abs());
            sum += apart.sum::<f32>();
            count += 3;
        }
        sum / count as f32
    }

    /// Tries some steps while there is time, and all that are left at its end, when the best is found.
    fn search(&mut self, picture: &[[u8; 3]]) -> Option<Step> {
        if self.tried == 0 {
            self.luma.iter_mut().zip(picture).for_each(|(luma, pixel)| *luma = luma_of(pixel));
            self.best.fill(NO_STEP);
        }
        let lines = 2 * self.height - 1;
        let share = if self.wait > 0 { lines.div_ceil(WAIT as usize) } else { lines };
        let end = lines.min(self.tried + share);
        (self.tried..end).for_each(|line| self.try_line(line));
        if let Some(wait) = self.wait.checked_sub(1) {
            (self.tried, self.wait) = (end, wait);
            return None;
        }
        (self.tried, self.wait) = (0, WAIT);
        self.best.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let tried = self.best.iter().take(TRIED).filter(|(cost, _)| cost.is_finite());
        let tried = tried.filter_map(|&(_, step)| Some((self.difference(step, picture)?, step)));
        let (difference, step) = tried.min_by(|a, b| a.0.total_cmp(&b.0))?;
        let rough = self.roughness(picture);
        let is_taken = difference <= TAKEN * rough && self.shift(step, picture) <= SHIFTED * rough;
        is_taken.then_some(step)
    }

    /// Tries all steps that lead so many lines down, from the highest up on.
    fn try_line(&mut self, line: usize) {
        let Self { width, height, known, luma, costs, covers, .. } = self;
        let (width, height) = (*width, *height);
        let down = line as isize + 1 - height as isize;
        covers.fill(0);
        // Of a pixel, the first step to the row it is led to, and that row's pixels.
        let row = |at: u32| {
            let y = (at as usize / width).checked_add_signed(down)?;
            let first = width - 1 - at as usize % width;
            (y < height).then(|| (first, y * width..(y + 1) * width))
        };
        for &at in &self.hole_samples {
            let Some((first, row)) = row(at) else { continue };
            covers[first..]
                .iter_mut()
                .zip(&known[row])
                .for_each(|(sum, known)| *sum += u8::from(*known));
        }
        // Most steps lead from the holes into the holes, or out of the picture.
        let covered = |cover: &u8| {
            usize::from(*cover) * HOLES_KNOWN.1 >= self.hole_samples.len() * HOLES_KNOWN.0
        };
        let Some(begin) = covers.iter().position(covered) else { return };
        let end = covers.iter().rposition(covered).map_or(begin, |last| last + 1);
        costs[begin..end].fill(0);
        for &at in &self.ring_samples {
            let Some((first, row)) = row(at) else { continue };
            let (from, to) = (begin.max(first), end.min(first + width));
            if from >= to {
                continue;
            }
            let mine = luma[at as usize];
            let row = row.start + from - first..row.start + to - first;
            let others = luma[row.clone()].iter().zip(&known[row]);
            for (cost, (other, known)) in costs[from..to].iter_mut().zip(others) {
                let apart = u16::from(mine.abs_diff(*other));
                let counted = u32::from(apart * apart) | (1 << COUNT_BITS);
                *cost += if *known { counted } else { 0 };
            }
        }
        let best = &mut self.best[line / SQUARE * costs.len().div_ceil(SQUARE)..];
        let columns = (begin..end).zip(&costs[begin..end]).zip(&covers[begin..end]);
        for ((column, cost), _) in columns.filter(|(_, cover)| covered(cover)) {
            let count = (*cost >> COUNT_BITS) as usize;
            let step = (down, column as isize + 1 - width as isize);
            let short = step.0.unsigned_abs() < SHORTEST && step.1.unsigned_abs() < SHORTEST;
            let is_known = count * RING_KNOWN.1 >= self.ring_samples.len() * RING_KNOWN.0;
            if short || !is_known || count == 0 {
                continue;
            }
            let mean = (*cost & ((1 << COUNT_BITS) - 1)) as f32 / count as f32;
            let best = &mut best[column / SQUARE];
            if mean < best.0 {
                *best = (mean, step);
            }
        }
    }
}

/// So many of all, spread over them by the golden ratio, by which no rows' length is met.
fn spread(all: &[u32], many: usize) -> Vec<u32> {
    let many = many.min(all.len()) as u32;
    let place = |index: u32| u64::from(index.wrapping_mul(0x9E37_79B9)) * all.len() as u64;
    (0..many).map(|index| all[(place(index) >> 32) as usize]).collect()
}
