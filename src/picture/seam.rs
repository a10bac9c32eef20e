//! The soft seam: the fill's shift in brightness and colour, seen along the rim of the hole,
//! is carried smoothly into the hole and taken off.
//!
//! The network repaints known pixels too, so the rim shows by how much its picture is off. The
//! differences are spread as a membrane fixed at the rim (the interpolation behind Poisson
//! cloning, Perez et al. 2003), by pull-push: averaged down a pyramid, brought up again with
//! two relaxations a level. That costs a few passes over the hole, where solving the membrane
//! exactly would cost hundreds. The membrane is smooth, so a large hole's is spread over cells of
//! several pixels and read between their centres.

use super::mask::hole_runs;
use super::{KNOWN, Mask, PixelBox};

/// The most a channel is moved. A larger difference is an edge the network missed, not a
/// shift; spreading it would paint a smear.
const SEAM_LIMIT: f32 = 40.0;
/// The correction halves this deep in the hole, or at the hole's deepest point where that is
/// deeper: far from the rim the network's own picture counts.
const SEAM_REACH: f32 = 32.0;
/// Relaxations a level; more is smoother than an eye can tell.
const SWEEPS: usize = 2;
/// Cells along the longer side of what is worked on, at most, unless they grow too large.
const MOST_CELLS: usize = 128;
/// Longest side of a cell, pixels.
const LARGEST_CELL: usize = 8;
/// Distance to a diagonal neighbour.
const DIAGONAL: f32 = std::f32::consts::SQRT_2;

#[derive(Debug, Default)]
struct Level {
    width: usize,
    height: usize,
    value: Vec<[f32; 3]>,
    fixed: Vec<bool>,
}

/// Buffers kept from frame to frame.
#[derive(Debug, Default)]
pub(super) struct SeamScratch {
    /// Side of a cell of level 0, pixels.
    cell: usize,
    levels: Vec<Level>,
    /// Rim pixels of each cell of level 0.
    count: Vec<u32>,
    /// Whether a cell of level 0 has an owned pixel.
    owned: Vec<bool>,
    depth: Vec<f32>,
    /// For each column: the cells it lies between, and the share of the second.
    between: Vec<(usize, usize, f32)>,
    /// The two rows of cells a line of pixels lies between, read for each of its pixels.
    rows: [Vec<[f32; 3]>; 2],
    /// A line of the fill, all of it corrected.
    line: Vec<u8>,
}

impl SeamScratch {
    /// Corrects `fill` in place inside `work`, on the owned pixels and on the rim (whose chroma
    /// the paste may need). `known` and `fill` are packed RGB of the region's size; `known` is
    /// read at known pixels only.
    pub(super) fn soften(
        &mut self,
        work: &PixelBox,
        holes: &Mask,
        owned: &Mask,
        known: &[u8],
        fill: &mut [u8],
    ) {
        let longest = work.width.max(work.height);
        self.cell = longest.div_ceil(MOST_CELLS).next_power_of_two().min(LARGEST_CELL);
        if !self.take_rim(work, holes, owned, known, fill) {
            return;
        }
        self.spread();
        self.fade();
        self.correct(work, owned, fill);
    }

    /// Adds level 0 to the fill.
    fn correct(&mut self, work: &PixelBox, owned: &Mask, fill: &mut [u8]) {
        let Self { cell, levels, between: columns, rows: [upper, under], line, .. } = self;
        let (cell, level) = (*cell, &levels[0]);
        let values = |row: usize| &level.value[row * level.width..][..level.width];
        columns.clear();
        columns.extend((0..work.width).map(|x| between(x, cell, level.width)));
        upper.resize(work.width, [0.0; 3]);
        under.resize(work.width, [0.0; 3]);
        line.resize(work.width * 3, 0);
        let mut next = 0;
        stretch(values(next), columns, under);
        for y in 0..work.height {
            let (above, below, lower) = between(y, cell, level.height);
            if above == next {
                // What was below is above from here on.
                std::mem::swap(upper, under);
                stretch(values(below), columns, under);
                next += 1;
            }
            let start = ((work.y + y) * owned.width() + work.x) * 3;
            let fill = &mut fill[start..][..work.width * 3];
            shift(upper, under, lower, fill, line);
            let fixed = level.fixed[y / cell * level.width..][..level.width].iter().enumerate();
            let fixed = fixed.filter(|(_, fixed)| **fixed);
            let cells = fixed.map(|(at, _)| at * cell..((at + 1) * cell).min(work.width));
            let mine = hole_runs(&owned.row(work.y + y)[work.x..work.right()]);
            for pixels in cells.chain(mine) {
                let bytes = pixels.start * 3..pixels.end * 3;
                fill[bytes.clone()].copy_from_slice(&line[bytes]);
            }
        }
    }

    /// Sets level 0: in each cell with known pixels beside owned ones, by how much the fill is too
    /// low there. Says whether there was any.
    fn take_rim(
        &mut self,
        work: &PixelBox,
        holes: &Mask,
        owned: &Mask,
        known: &[u8],
        fill: &[u8],
    ) -> bool {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let level = &mut self.levels[0];
        level.shape(work.width.div_ceil(self.cell), work.height.div_ceil(self.cell));
        self.count.clear();
        self.count.resize(level.value.len(), 0);
        self.owned.clear();
        self.owned.resize(level.value.len(), false);
        let stride = owned.width();
        for y in 0..work.height {
            let py = work.y + y;
            let cells = y / self.cell * level.width;
            let [all, mine] = [holes, owned].map(|mask| &mask.row(py)[work.x..work.right()]);
            for run in hole_runs(mine) {
                let (first, last) = (run.start / self.cell, (run.end - 1) / self.cell);
                self.owned[cells + first..=cells + last].fill(true);
            }
            for (x, _) in all.iter().enumerate().filter(|(_, hole)| **hole == KNOWN) {
                let (px, at) = (work.x + x, cells + x / self.cell);
                let (left, right) = (px.saturating_sub(1), (px + 2).min(stride));
                let (top, bottom) = (py.saturating_sub(1), (py + 2).min(owned.height()));
                let beside =
                    (top..bottom).any(|v| owned.row(v)[left..right].iter().any(|&b| b != 0));
                if !beside {
                    continue;
                }
                // The mean over the known pixels around: noise and texture are not a shift.
                let (mut sum, mut count) = ([0i32; 3], 0);
                for v in top..bottom {
                    for u in (left..right).filter(|&u| !holes.is_hole(u, v)) {
                        let pixel = (v * stride + u) * 3;
                        for (channel, sum) in sum.iter_mut().enumerate() {
                            *sum += i32::from(known[pixel + channel])
                                - i32::from(fill[pixel + channel]);
                        }
                        count += 1;
                    }
                }
                let shift = sum.map(|s| (s as f32 / count as f32).clamp(-SEAM_LIMIT, SEAM_LIMIT));
                add(&mut level.value[at], shift, 1.0);
                self.count[at] += 1;
            }
        }
        let mut any = false;
        for ((value, fixed), &count) in
            level.value.iter_mut().zip(&mut level.fixed).zip(&self.count)
        {
            if count > 0 {
                *value = value.map(|sum| sum / count as f32);
                (*fixed, any) = (true, true);
            }
        }
        any
    }

    /// Takes the correction back with the depth of a cell.
    fn fade(&mut self) {
        let reach = (self.measure_depth() * self.cell as f32).max(SEAM_REACH);
        let share = self.cell as f32 / reach;
        for (value, depth) in self.levels[0].value.iter_mut().zip(&self.depth) {
            let fade = 1.0 / (1.0 + (depth * share).powi(2));
            *value = value.map(|shift| shift * fade);
        }
    }

    fn spread(&mut self) {
        let mut top = 0;
        while self.levels[top].width > 1 || self.levels[top].height > 1 {
            if self.levels.len() == top + 1 {
                self.levels.push(Level::default());
            }
            let (fine, coarse) = self.levels.split_at_mut(top + 1);
            coarse[0].pull(&fine[top]);
            top += 1;
        }
        for at in (0..top).rev() {
            let (fine, coarse) = self.levels.split_at_mut(at + 1);
            fine[at].push(&coarse[0]);
            (0..SWEEPS).for_each(|_| fine[at].relax());
        }
    }

    /// Fills `depth` with the distance to the rim in cells (chamfer); returns the deepest owned
    /// cell's.
    fn measure_depth(&mut self) -> f32 {
        let Level { width, height, fixed, .. } = &self.levels[0];
        let (width, height) = (*width, *height);
        self.depth.clear();
        self.depth.extend(fixed.iter().map(|&rim| if rim { 0.0 } else { f32::INFINITY }));
        let depth = &mut self.depth;
        for y in 0..height {
            for x in 0..width {
                let at = y * width + x;
                let mut best = depth[at];
                if x > 0 {
                    best = best.min(depth[at - 1] + 1.0);
                }
                if y > 0 {
                    best = best.min(depth[at - width] + 1.0);
                    if x > 0 {
                        best = best.min(depth[at - width - 1] + DIAGONAL);
                    }
                    if x + 1 < width {
                        best = best.min(depth[at - width + 1] + DIAGONAL);
                    }
                }
                depth[at] = best;
            }
        }
        let mut deepest = 0.0f32;
        for y in (0..height).rev() {
            for x in (0..width).rev() {
                let at = y * width + x;
                let mut best = depth[at];
                if x + 1 < width {
                    best = best.min(depth[at + 1] + 1.0);
                }
                if y + 1 < height {
                    best = best.min(depth[at + width] + 1.0);
                    if x + 1 < width {
                        best = best.min(depth[at + width + 1] + DIAGONAL);
                    }
                    if x > 0 {
                        best = best.min(depth[at + width - 1] + DIAGONAL);
                    }
                }
                depth[at] = best;
                if self.owned[at] {
                    deepest = deepest.max(best);
                }
            }
        }
        deepest
    }
}

impl Level {
    fn shape(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        self.value.clear();
        self.value.resize(width * height, [0.0; 3]);
        self.fixed.clear();
        self.fixed.resize(width * height, false);
    }

    /// Each cell the mean of the fixed ones among its four children.
    fn pull(&mut self, fine: &Level) {
        self.shape(fine.width.div_ceil(2), fine.height.div_ceil(2));
        for y in 0..self.height {
            for x in 0..self.width {
                let (mut sum, mut count) = ([0.0; 3], 0.0);
                for v in 2 * y..(2 * y + 2).min(fine.height) {
                    for u in 2 * x..(2 * x + 2).min(fine.width) {
                        let child = v * fine.width + u;
                        if fine.fixed[child] {
                            add(&mut sum, fine.value[child], 1.0);
                            count += 1.0;
                        }
                    }
                }
                if count > 0.0 {
                    self.value[y * self.width + x] = sum.map(|s: f32| s / count);
                    self.fixed[y * self.width + x] = true;
                }
            }
        }
    }

    /// Each cell that is not fixed from the coarser level, between its cells' centres.
    fn push(&mut self, coarse: &Level) {
        for y in 0..self.height {
            let (near_y, far_y) = parents(y, coarse.height);
            for x in 0..self.width {
                let at = y * self.width + x;
                if self.fixed[at] {
                    continue;
                }
                let (near_x, far_x) = parents(x, coarse.width);
                let mut sum = [0.0; 3];
                add(&mut sum, coarse.value[near_y * coarse.width + near_x], 9.0 / 16.0);
                add(&mut sum, coarse.value[near_y * coarse.width + far_x], 3.0 / 16.0);
                add(&mut sum, coarse.value[far_y * coarse.width + near_x], 3.0 / 16.0);
                add(&mut sum, coarse.value[far_y * coarse.width + far_x], 1.0 / 16.0);
                self.value[at] = sum;
            }
        }
    }

    /// Each cell that is not fixed becomes the mean of its neighbours.
    fn relax(&mut self) {
        let (width, height) = (self.width, self.height);
        for y in 0..height {
            for x in 0..width {
                let at = y * width + x;
                if self.fixed[at] {
                    continue;
                }
                let (mut sum, mut count) = ([0.0; 3], 0.0);
                let mut take = |neighbour: usize| {
                    add(&mut sum, self.value[neighbour], 1.0);
                    count += 1.0;
                };
                if x > 0 {
                    take(at - 1);
                }
                if x + 1 < width {
                    take(at + 1);
                }
                if y > 0 {
                    take(at - width);
                }
                if y + 1 < height {
                    take(at + width);
                }
                self.value[at] = sum.map(|s| s / count);
            }
        }
    }
}

/// The two cells, of so many, between whose centres a pixel lies, and the share of the second.
fn between(pixel: usize, cell: usize, cells: usize) -> (usize, usize, f32) {
    let place = ((pixel as f32 + 0.5) / cell as f32 - 0.5).max(0.0);
    let first = place as usize;
    (first, (first + 1).min(cells - 1), place - first as f32)
}

/// Reads a row of cells between the centres of each two.
fn stretch(cells: &[[f32; 3]], between: &[(usize, usize, f32)], row: &mut [[f32; 3]]) {
    for (value, &(left, right, further)) in row.iter_mut().zip(between) {
        let (near, far) = (cells[left], cells[right]);
        *value = std::array::from_fn(|at| near[at] + (far[at] - near[at]) * further);
    }
}

/// Moves a line of bytes by what lies between two rows, `lower` being the second one's share.
fn shift(upper: &[[f32; 3]], under: &[[f32; 3]], lower: f32, from: &[u8], to: &mut [u8]) {
    let rows = upper.as_flattened().iter().zip(under.as_flattened());
    for ((to, from), (upper, under)) in to.iter_mut().zip(from).zip(rows) {
        let shift = upper + (under - upper) * lower;
        *to = (f32::from(*from) + shift + 0.5).clamp(0.0, 255.0) as u8;
    }
}

/// The coarse cell a fine cell lies in, and the next nearest.
fn parents(fine: usize, coarse: usize) -> (usize, usize) {
    let near = fine / 2;
    let far = if fine.is_multiple_of(2) { near.saturating_sub(1) } else { near + 1 };
    (near, far.min(coarse - 1))
}

fn add(sum: &mut [f32; 3], value: [f32; 3], weight: f32) {
    sum.iter_mut().zip(value).for_each(|(sum, value)| *sum += value * weight);
}
