//! A classical filler: known patches are copied into the hole, lines first.
//!
//! A. Criminisi, P. Perez and K. Toyama, "Region Filling and Object Removal by Exemplar-Based Image
//! Inpainting", 2004. Again and again, of all patches around a pixel of the fill front, the one is
//! taken whose priority is highest: the confidence term (how much of it is known, and how surely)
//! times the data term (how strongly an isophote runs into the front there). Its hole pixels are
//! copied from the known patch that resembles its known pixels best, and the front moves on.
//!
//! Beyond the paper: the best match is looked for within `REACH` pixels first, and further away
//! only if no known patch lies there, because the search is all of the cost; the data term has a
//! floor, so that flat places still have an order; the isophote of a patch is its steepest known
//! one.
//!
//! Hazard: where no 9x9 patch is known as a whole there is nothing to copy, and the answer is that
//! of Telea's filler.

use std::ops::Range;

use super::telea::telea;
use crate::picture::{KNOWN, Mask, MaskError, RgbPicture};

/// Pixels from a patch's centre to its side ...
const RADIUS: usize = 4;
/// ... and its side.
const SIDE: usize = 2 * RADIUS + 1;
/// A patch's row, packed RGB.
const ROW: usize = 3 * SIDE;
/// How far away a match may lie, pixels along each axis.
const REACH: usize = 64;
/// Floor of the data term.
const LEAST_DATA: f32 = 1e-3;
/// Priority of what is not on the front.
const NOT_ON_FRONT: f32 = -1.0;

/// Fills the holes of `picture`.
pub fn exemplar(picture: &RgbPicture, mask: &Mask) -> Result<RgbPicture, MaskError> {
    mask.fits(picture.width, picture.height)?;
    let whole = mask.whole_patches(SIDE);
    if !whole.contains(&true) {
        return telea(picture, mask);
    }
    let mut filling = Filling::new(picture, mask, whole);
    while let Some(at) = filling.most_urgent() {
        filling.fill(at);
    }
    Ok(RgbPicture { data: filling.pixels, ..*picture })
}

/// All planes are `[height, width]`; pixels are numbered in reading order.
struct Filling {
    width: usize,
    height: usize,
    /// Packed RGB.
    pixels: Vec<u8>,
    known: Vec<bool>,
    /// `0.0..=1.0`: 1 what was known at first, 0 what is not known yet.
    confidence: Vec<f32>,
    priority: Vec<f32>,
    /// Whether the patch whose top left pixel this is was known at first.
    whole: Vec<bool>,
}

/// What a match is looked for: a patch's pixels, and 1 for each value that is known.
struct Wanted {
    values: [[u8; ROW]; SIDE],
    known: [[u8; ROW]; SIDE],
}

impl Filling {
    fn new(picture: &RgbPicture, mask: &Mask, whole: Vec<bool>) -> Self {
        let (width, height) = (picture.width, picture.height);
        let known: Vec<bool> = mask.data().iter().map(|&hole| hole == KNOWN).collect();
        let confidence = known.iter().map(|&known| if known { 1.0 } else { 0.0 }).collect();
        let priority = vec![NOT_ON_FRONT; width * height];
        let pixels = picture.data.clone();
        let mut filling = Self { width, height, pixels, known, confidence, priority, whole };
        filling.set_priorities(0..width, 0..height);
        filling
    }

    /// The pixel of the front with the highest priority, of equal ones the first.
    fn most_urgent(&self) -> Option<usize> {
        let mut urgent = (None, NOT_ON_FRONT);
        for (at, &priority) in self.priority.iter().enumerate() {
            if priority > urgent.1 {
                urgent = (Some(at), priority);
            }
        }
        urgent.0
    }

    /// Fills what is unknown in the patch around `at`.
    fn fill(&mut self, at: usize) {
        let (x, y) = (at % self.width, at / self.width);
        let source = self.best_match(x, y);
        let confidence = self.confidence_around(x, y);
        for row in rows(y, RADIUS, self.height) {
            for column in rows(x, RADIUS, self.width) {
                let to = row * self.width + column;
                if !self.known[to] {
                    // The source is the top left pixel of its patch.
                    let from = source + (row + RADIUS - y) * self.width + column + RADIUS - x;
                    self.pixels.copy_within(3 * from..3 * from + 3, 3 * to);
                    self.known[to] = true;
                    self.confidence[to] = confidence;
                }
            }
        }
        // Patches over what was filled; their gradients reach one pixel further.
        let changed = 2 * RADIUS + 1;
        self.set_priorities(rows(x, changed, self.width), rows(y, changed, self.height));
    }

    /// The top left pixel of the known patch that resembles the patch around (`x`, `y`) best, of
    /// equal ones the first.
    fn best_match(&self, x: usize, y: usize) -> usize {
        let wanted = self.wanted(x, y);
        let mut reach = REACH;
        loop {
            let (mut best, mut least) = (None, u32::MAX);
            for row in rows(y.saturating_sub(RADIUS), reach, self.height) {
                for column in rows(x.saturating_sub(RADIUS), reach, self.width) {
                    let source = row * self.width + column;
                    if self.whole[source] {
                        let cost = self.cost(&wanted, source, least);
                        if cost < least {
                            (best, least) = (Some(source), cost);
                        }
                    }
                }
            }
            if let Some(source) = best {
                return source;
            }
            // Some patch is known: a wide enough reach has it.
            reach *= 2;
        }
    }

    fn wanted(&self, x: usize, y: usize) -> Wanted {
        let mut wanted = Wanted { values: [[0; ROW]; SIDE], known: [[0; ROW]; SIDE] };
        for row in rows(y, RADIUS, self.height) {
            for column in rows(x, RADIUS, self.width) {
                let at = row * self.width + column;
                if self.known[at] {
                    let (row, to) = (row + RADIUS - y, 3 * (column + RADIUS - x));
                    let pixel = &self.pixels[3 * at..3 * at + 3];
                    wanted.values[row][to..to + 3].copy_from_slice(pixel);
                    wanted.known[row][to..to + 3].fill(1);
                }
            }
        }
        wanted
    }

    /// The squared difference over known pixels and channels; once it reaches `limit`, anything
    /// from there.
    fn cost(&self, wanted: &Wanted, source: usize, limit: u32) -> u32 {
        let mut cost = 0;
        for (row, (values, known)) in wanted.values.iter().zip(&wanted.known).enumerate() {
            let found = &self.pixels[3 * (source + row * self.width)..][..ROW];
            for ((&value, &known), &found) in values.iter().zip(known).zip(found) {
                let apart = u32::from(value.abs_diff(found) * known);
                cost += apart * apart;
            }
            if cost >= limit {
                break;
            }
        }
        cost
    }

    fn set_priorities(&mut self, columns: Range<usize>, rows: Range<usize>) {
        for y in rows {
            for x in columns.clone() {
                self.priority[y * self.width + x] = if self.is_front(x, y) {
                    self.confidence_around(x, y) * self.data_term(x, y).max(LEAST_DATA)
                } else {
                    NOT_ON_FRONT
                };
            }
        }
    }

    /// Whether a pixel is unknown and touches a known one.
    fn is_front(&self, x: usize, y: usize) -> bool {
        let at = y * self.width + x;
        !self.known[at]
            && ((x > 0 && self.known[at - 1])
                || (y > 0 && self.known[at - self.width])
                || (x + 1 < self.width && self.known[at + 1])
                || (y + 1 < self.height && self.known[at + self.width]))
    }

    /// The confidence term of the patch around a pixel.
    fn confidence_around(&self, x: usize, y: usize) -> f32 {
        let columns = rows(x, RADIUS, self.width);
        let (mut sum, mut count) = (0.0, 0);
        for row in rows(y, RADIUS, self.height) {
            let line = &self.confidence[row * self.width..][columns.clone()];
            sum += line.iter().sum::<f32>();
            count += line.len();
        }
        sum / count as f32
    }

    /// The data term, `0.0..=1.0`: the steepest gradient in the patch around a pixel, turned by a
    /// right angle (that is its isophote), along the front's normal.
    fn data_term(&self, x: usize, y: usize) -> f32 {
        let (mut steepest, mut isophote) = (0.0, [0.0; 2]);
        for row in rows(y, RADIUS, self.height) {
            for column in rows(x, RADIUS, self.width) {
                let [across, down] = self.gradient(column, row).unwrap_or_default();
                let squared = across * across + down * down;
                if squared > steepest {
                    (steepest, isophote) = (squared, [-down, across]);
                }
            }
        }
        let [across, down] = self.normal(x, y);
        (isophote[0] * across + isophote[1] * down).abs()
    }

    /// The gradient (x, y) of the picture's mean of channels in `0.0..=1.0`; `None` where it is
    /// not known.
    fn gradient(&self, x: usize, y: usize) -> Option<[f32; 2]> {
        let (left, right) = (x.saturating_sub(1), (x + 1).min(self.width - 1));
        let (above, below) = (y.saturating_sub(1), (y + 1).min(self.height - 1));
        let level = |x: usize, y: usize| {
            let at = y * self.width + x;
            let sum =
                || self.pixels[3 * at..3 * at + 3].iter().map(|&value| f32::from(value)).sum();
            self.known[at].then(sum).map(|sum: f32| sum / (3.0 * 255.0))
        };
        level(x, y)?;
        Some([
            (level(right, y)? - level(left, y)?) / 2.0,
            (level(x, below)? - level(x, above)?) / 2.0,
        ])
    }

    /// The front's unit normal (x, y); zero where it has none.
    fn normal(&self, x: usize, y: usize) -> [f32; 2] {
        let mut normal = [0.0_f32; 2];
        for row in rows(y, 1, self.height) {
            for column in rows(x, 1, self.width) {
                if self.known[row * self.width + column] {
                    // Sobel's kernel: the middle of each side counts twice.
                    let (across, down) = (column as f32 - x as f32, row as f32 - y as f32);
                    normal[0] += across * (2.0 - down.abs());
                    normal[1] += down * (2.0 - across.abs());
                }
            }
        }
        let length = normal[0].hypot(normal[1]);
        if length > 0.0 { normal.map(|part| part / length) } else { [0.0; 2] }
    }
}

/// The rows (or columns) within `reach` of `centre`, of `length` in all.
fn rows(centre: usize, reach: usize, length: usize) -> Range<usize> {
    centre.saturating_sub(reach)..(centre + reach + 1).min(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::filler_cases::{keeps_the_rules, psnr_of_stripes};

    /// Nearly exact: less than half a level wrong in the mean.
    const STRIPES: f64 = 50.0;

    #[test]
    fn rules() {
        keeps_the_rules(&exemplar, 0);
    }

    #[test]
    fn stripes_go_on() {
        let psnr = psnr_of_stripes(&exemplar);
        assert!(psnr >= STRIPES, "{psnr} dB");
    }
}
