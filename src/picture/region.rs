//! The plan for a frame larger than the network: a few regions around the holes, each with
//! enough context, each sent to the network on its own.
//!
//! One region a hole group and never a tiling of one hole: two tiles filled apart would meet
//! in a seam in the middle of the hole. A hole too wide for a square gets an oblong region. Only of what
//! is thin, as scratches, wires and dust, are the parts of a *picture* run apart, unscaled
//! ([`PicturePlan`]): there no seam is seen, and a network that sees a long one scaled down sees
//! nothing of what lies beside it.

use super::{Mask, MaskError, PixelBox};
use crate::net::SIDE_MULTIPLE;

/// A frame up to this many pixels, both sides multiples of [`SIDE_MULTIPLE`], may go to the
/// network whole ([`plan_whole`]). Beyond it a small computer takes seconds a frame.
const WHOLE_PIXELS: usize = 1024 * 1024;
/// A region's side, as a multiple of its hole's longer side: as much known picture as hole.
const CONTEXT: usize = 2;
/// A square whose hole takes more of its side than 3/4 has too little context; the region
/// then becomes oblong where the frame has room.
const SQUARE_FILL: (usize, usize) = (3, 4);
/// Longest to shortest side of an oblong region, where the frame allows.
const LONGEST_ASPECT: usize = 2;
/// The network's longer side for an oblong region, in network sizes.
const LONGEST_NETWORK: usize = 4;
/// Regions sharing half of the smaller one cost two runs for about one run's pixels.
const MERGE_OVERLAP: (usize, usize) = (1, 2);
/// Runs of the network a frame may cost. More groups than this are merged, nearest first.
pub const MOST_REGIONS: usize = 8;
/// Holes nearer than a cell or two form one group.
const CELL: usize = 16;
/// Holes are thin where it is no more than so many steps to a known pixel: upright strokes up to 64 pixels
/// wide. (8, 16 and 32 were tried on 1 to 20 megapixels; more was always better.)
const THIN: u16 = 32;
/// Groups the pairwise merge is given; a noisier mask is grouped by coarser cells.
const MOST_GROUPS: usize = 128;

/// One part of the frame that goes to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
    /// The size the network sees it at: multiples of [`SIDE_MULTIPLE`].
    pub network_width: usize,
    pub network_height: usize,
    /// Every hole pixel of the frame within the region, this region's or not: none is shown to
    /// the network.
    pub holes: Mask,
    /// The hole pixels this region fills. Each hole pixel of the frame is owned by exactly one
    /// region.
    pub owned: Mask,
    /// `holes` at the network's size; a network pixel that touches a hole pixel is a hole.
    pub network_holes: Mask,
    /// The smallest boxes around `holes` and `owned`, unless nothing is owned.
    pub(super) bounds: Option<(PixelBox, PixelBox)>,
    /// The frame the plan was made for.
    pub frame_width: usize,
    pub frame_height: usize,
}

impl Region {
    fn new(
        area: PixelBox,
        (network_width, network_height): (usize, usize),
        mask: &Mask,
        owned: Mask,
    ) -> Result<Region, MaskError> {
        let holes = mask.cut(&area)?;
        let network_holes = holes.stretched(network_width, network_height)?;
        let bounds = holes.bounds().zip(owned.bounds());
        Ok(Region {
            x: area.x,
            y: area.y,
            width: area.width,
            height: area.height,
            network_width,
            network_height,
            holes,
            owned,
            network_holes,
            bounds,
            frame_width: mask.width(),
            frame_height: mask.height(),
        })
    }

    pub fn area(&self) -> PixelBox {
        PixelBox { x: self.x, y: self.y, width: self.width, height: self.height }
    }

    /// Whether the network sees the frame's own pixels, unscaled.
    pub fn is_native(&self) -> bool {
        (self.width, self.height) == (self.network_width, self.network_height)
    }

    /// Bytes of RGB at the network's size.
    pub fn network_bytes(&self) -> usize {
        self.network_width * self.network_height * 3
    }
}

/// Regions for all holes of the mask, for a network of `network` x `network` pixels (oblong
/// regions take a multiple of it). No holes, no regions.
///
/// A hole that nearly fills the frame is planned too; what the network makes of so little
/// context is another matter.
pub fn plan(mask: &Mask, network: usize) -> Result<Vec<Region>, MaskError> {
    plan_of(mask, mask, network)
}

/// As [`plan`], for a picture, where time counts less: thin holes are run in squares of the network's size,
/// unscaled, each of which owns what lies in its middle half, if by [`plan`] some region would be scaled
/// down.
#[derive(Debug)]
pub struct PicturePlan {
    mask: Mask,
    network: usize,
    regions: Vec<Region>,
    /// What is run unscaled, and the squares' middle halves that have some of it.
    thin: Mask,
    parts: Vec<PixelBox>,
}

impl PicturePlan {
    /// For a network of `network` x `network` pixels.
    pub fn new(mask: &Mask, network: usize) -> Result<Self, MaskError> {
        let regions = plan(mask, network)?;
        let network = network.max(1).next_multiple_of(SIDE_MULTIPLE);
        let (width, height) = (mask.width(), mask.height());
        let is_scaled = |region: &Region| region.network_width < region.width;
        if width.min(height) < network || !regions.iter().any(is_scaled) {
            let thin = Mask::empty(1, 1)?;
            return Ok(Self { mask: mask.clone(), network, regions, thin, parts: Vec::new() });
        }
        drop(regions);
        let (thick, thin) = by_width(mask)?;
        let regions = plan_of(mask, &thick, network)?;
        let cell = network / 2;
        let mut parts = Vec::new();
        for y in (0..height).step_by(cell) {
            for x in (0..width).step_by(cell) {
                let (width, height) = (cell.min(width - x), cell.min(height - y));
                let part = PixelBox { x, y, width, height };
                if !thin.cut(&part)?.is_empty() {
                    parts.push(part);
                }
            }
        }
        Ok(Self { mask: mask.clone(), network, regions, thin, parts })
    }

    /// How many regions there are.
    pub fn count(&self) -> usize {
        self.regions.len() + self.parts.len()
    }

    /// All of them, of which those of thin holes, which may be thousands, are made when it is their turn.
    pub fn regions(&self) -> impl Iterator<Item = Result<Region, MaskError>> {
        let parts = self.parts.iter().map(|part| self.square_around(part));
        self.regions.iter().cloned().map(Ok).chain(parts)
    }

    fn square_around(&self, part: &PixelBox) -> Result<Region, MaskError> {
        let Self { mask, network, thin, .. } = self;
        let (x, width) = place(part.x, part.width, *network, mask.width());
        let (y, height) = place(part.y, part.height, *network, mask.height());
        let area = PixelBox { x, y, width, height };
        let mut owned = thin.cut(&area)?;
        for row in 0..area.height {
            for column in 0..area.width {
                let (x, y) = (area.x + column, area.y + row);
                let is_mine =
                    (part.x..part.right()).contains(&x) && (part.y..part.bottom()).contains(&y);
                if !is_mine {
                    owned.set(column, row, false);
                }
            }
        }
        Region::new(area, network_size(&area, *network), mask, owned)
    }
}

/// The holes in two parts: what is more than [`THIN`] deep with what is near that, and the rest.
fn by_width(mask: &Mask) -> Result<(Mask, Mask), MaskError> {
    let width = mask.width();
    let mut shallow = Mask::full(width, mask.height())?;
    for (at, depth) in mask.depths().into_iter().enumerate() {
        shallow.set(at % width, at / width, depth <= THIN);
    }
    let (mut thick, mut thin) = (mask.clone(), mask.clone());
    for (at, away) in shallow.depths().into_iter().enumerate() {
        // Twice as far, so that corners of what is thick belong to it.
        let other = if away > 2 * THIN + 2 { &mut thick } else { &mut thin };
        other.set(at % width, at / width, false);
    }
    Ok((thick, thin))
}

/// Regions for the holes of `wanted`, which are some of the mask's, or all.
fn plan_of(mask: &Mask, wanted: &Mask, network: usize) -> Result<Vec<Region>, MaskError> {
    let network = network.max(1).next_multiple_of(SIDE_MULTIPLE);
    let frame = (mask.width(), mask.height());
    let Some(groups) = Groups::of(wanted) else { return Ok(Vec::new()) };
    let mut merged: Vec<(PixelBox, Vec<usize>)> =
        groups.boxes.iter().enumerate().map(|(label, area)| (*area, vec![label])).collect();
    while let Some((a, b)) = next_merge(&merged, frame, network) {
        let (area, labels) = merged.swap_remove(b);
        merged[a].0 = merged[a].0.around(&area);
        merged[a].1.extend(labels);
    }
    let mut owner = vec![0; groups.boxes.len()];
    for (index, (_, labels)) in merged.iter().enumerate() {
        labels.iter().for_each(|&label| owner[label] = index);
    }
    let mut regions = Vec::with_capacity(merged.len());
    for (index, (holes, _)) in merged.iter().enumerate() {
        let area = context(holes, frame, network);
        let mut owned = wanted.cut(&area)?;
        for y in 0..area.height {
            for x in 0..area.width {
                if owned.is_hole(x, y) && owner[groups.label(area.x + x, area.y + y)] != index {
                    owned.set(x, y, false);
                }
            }
        }
        regions.push(Region::new(area, network_size(&area, network), mask, owned)?);
    }
    // From top to bottom, so that a plan does not depend on the order of merging.
    regions.sort_by_key(|region| (region.y, region.x));
    Ok(regions)
}

/// The frame as a single region at its own size, without any scaling: where both sides are
/// multiples of [`SIDE_MULTIPLE`] and the frame has at most a megapixel. `None` for
/// other frames.
pub fn plan_whole(mask: &Mask) -> Result<Option<Region>, MaskError> {
    let (width, height) = (mask.width(), mask.height());
    let fits = width.is_multiple_of(SIDE_MULTIPLE) && height.is_multiple_of(SIDE_MULTIPLE);
    if !fits || width * height > WHOLE_PIXELS {
        return Ok(None);
    }
    let area = PixelBox { x: 0, y: 0, width, height };
    Region::new(area, (width, height), mask, mask.clone()).map(Some)
}

/// Hole pixels grouped by cells: a grid coarser than pixels joins near holes and bounds the
/// work for a mask of noise.
struct Groups {
    cell: usize,
    cells_across: usize,
    labels: Vec<usize>,
    boxes: Vec<PixelBox>,
}

const UNLABELLED: usize = usize::MAX;

impl Groups {
    fn of(mask: &Mask) -> Option<Groups> {
        let mut cell = CELL;
        loop {
            let groups = Groups::with_cell(mask, cell);
            if groups.boxes.is_empty() {
                return None;
            }
            if groups.boxes.len() <= MOST_GROUPS {
                return Some(groups);
            }
            cell *= 2;
        }
    }

    fn with_cell(mask: &Mask, cell: usize) -> Groups {
        let (across, down) = (mask.width().div_ceil(cell), mask.height().div_ceil(cell));
        // The tight box of the hole pixels in each cell, where there are any.
        let mut tight: Vec<Option<PixelBox>> = vec![None; across * down];
        for y in 0..mask.height() {
            for (column, bytes) in mask.row(y).chunks(cell).enumerate() {
                let hole = |&byte: &u8| byte != super::KNOWN;
                let Some(first) = bytes.iter().position(hole) else { continue };
                let last = bytes.iter().rposition(hole).unwrap_or(first);
                let line =
                    PixelBox { x: column * cell + first, y, width: last - first + 1, height: 1 };
                let slot = &mut tight[y / cell * across + column];
                *slot = Some(slot.map_or(line, |all| all.around(&line)));
            }
        }
        let mut labels = vec![UNLABELLED; tight.len()];
        let mut boxes = Vec::new();
        let mut open = Vec::new();
        for start in 0..tight.len() {
            let Some(first) = tight[start] else { continue };
            if labels[start] != UNLABELLED {
                continue;
            }
            let label = boxes.len();
            let mut all = first;
            labels[start] = label;
            open.push(start);
            while let Some(at) = open.pop() {
                let (row, column) = (at / across, at % across);
                for next_row in row.saturating_sub(1)..(row + 2).min(down) {
                    for next_column in column.saturating_sub(1)..(column + 2).min(across) {
                        let next = next_row * across + next_column;
                        if let (Some(area), UNLABELLED) = (tight[next], labels[next]) {
                            labels[next] = label;
                            all = all.around(&area);
                            open.push(next);
                        }
                    }
                }
            }
            boxes.push(all);
        }
        Groups { cell, cells_across: across, labels, boxes }
    }

    /// The group of a hole pixel.
    fn label(&self, x: usize, y: usize) -> usize {
        self.labels[y / self.cell * self.cells_across + x / self.cell]
    }
}

/// The first pair of groups whose regions overlap heavily; failing that, while there are too
/// many, the pair whose common box is smallest.
fn next_merge(
    groups: &[(PixelBox, Vec<usize>)],
    frame: (usize, usize),
    network: usize,
) -> Option<(usize, usize)> {
    let regions: Vec<PixelBox> =
        groups.iter().map(|(holes, _)| context(holes, frame, network)).collect();
    let pairs = || (0..groups.len()).flat_map(|a| (a + 1..groups.len()).map(move |b| (a, b)));
    let overlap = |&(a, b): &(usize, usize)| {
        let smaller = regions[a].area().min(regions[b].area());
        regions[a].shared(&regions[b]) * MERGE_OVERLAP.1 >= smaller * MERGE_OVERLAP.0
    };
    pairs().find(overlap).or_else(|| {
        let crowded = groups.len() > MOST_REGIONS;
        crowded.then(|| pairs().min_by_key(|&(a, b)| groups[a].0.around(&groups[b].0).area()))?
    })
}

/// The part of the frame a hole's region takes: a square where one can hold the hole with
/// context, else an oblong.
fn context(holes: &PixelBox, frame: (usize, usize), network: usize) -> PixelBox {
    let shorter = frame.0.min(frame.1);
    let longer_hole = holes.width.max(holes.height);
    let side = (CONTEXT * longer_hole).max(network).min(shorter);
    let (width, height) = if longer_hole * SQUARE_FILL.1 <= side * SQUARE_FILL.0 {
        (side, side)
    } else {
        let width = (CONTEXT * holes.width).max(network).min(frame.0);
        let height = (CONTEXT * holes.height).max(network).min(frame.1);
        // The shorter side follows the longer one, so that the network's picture is not
        // squeezed more in one direction than in the other.
        (
            width.max(height / LONGEST_ASPECT).min(frame.0),
            height.max(width / LONGEST_ASPECT).min(frame.1),
        )
    };
    let (x, width) = place(holes.x, holes.width, width, frame.0);
    let (y, height) = place(holes.y, holes.height, height, frame.1);
    PixelBox { x, y, width, height }
}

/// Centres `length` on the hole and shifts it into the frame. Starts on an even pixel and ends
/// on one (or at the frame's end), if need be a pixel or two longer: no chroma sample is then
/// shared between a region and what lies outside, where its holes are not known.
fn place(hole: usize, hole_length: usize, length: usize, frame: usize) -> (usize, usize) {
    let start = (hole + hole_length / 2).saturating_sub(length / 2).min(frame - length) & !1;
    let end = (start + length).max(hole + hole_length).next_multiple_of(2).min(frame);
    (start, end - start)
}

/// Multiples of [`SIDE_MULTIPLE`] of about the area's shape, the shorter side `network`.
fn network_size(area: &PixelBox, network: usize) -> (usize, usize) {
    let shorter = area.width.min(area.height);
    let scaled = |side: usize| {
        let exact = side * network;
        let steps = (exact + shorter * SIDE_MULTIPLE / 2) / (shorter * SIDE_MULTIPLE);
        (steps * SIDE_MULTIPLE).clamp(network, LONGEST_NETWORK * network)
    };
    (scaled(area.width), scaled(area.height))
}

#[cfg(test)]
#[path = "region_tests.rs"]
mod tests;
