//! Random hole masks: brush strokes, rectangles, or both, with a wanted share of hole.
//!
//! The strokes follow the free-form inpainting literature: random polylines drawn with a round
//! brush, mostly turning the same way, several strokes to a mask, half of the masks kept off the
//! border. A stroke is laid down one piece at a time and the hole is counted after each, so that
//! any ratio can be aimed at; what a piece cannot hit (a range narrower than a piece) is settled
//! pixel by pixel at the hole's edge.
//!
//! The same generator state gives the same mask on every machine: no sine, power or logarithm is
//! used, only operations that IEEE 754 rounds exactly.
//!
//! Hazard: here, as in every mask *picture*, 255 means hole. The network's mask tensor is the
//! other way round (1 = known): `data.rs` turns training masks over, `known_plane` in `sheet.rs` all
//! others.

use std::{fs, ops::RangeInclusive, path::Path};

use clap::ValueEnum;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::DeskError;
use super::random::{below, generator, unit};
use crate::picture::{self, MAX_SIDE, read_rgb, write_grey_png};

/// What a mask's holes look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// Brush strokes.
    #[default]
    Brush,
    /// Upright rectangles.
    Rect,
    /// One mask in two is strokes, one in four rectangles, one in four both.
    Mixed,
}

/// Whether brush strokes may run over the border.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Border {
    /// In one mask of two.
    #[default]
    Half,
    /// In none that leaves room for it: strokes end some pixels before the border.
    Clear,
    /// In every mask.
    Any,
}

/// Reads a hole ratio as users write it, `0.1-0.5`, or `0.3` for exactly that.
pub fn parse_ratio(text: &str) -> Result<RangeInclusive<f32>, String> {
    let wrong = || {
        format!(
            "\"{text}\" is no hole ratio: write two shares between 0 and 1, as in 0.1-0.5, or one"
        )
    };
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let low: f32 = low.trim().parse().map_err(|_| wrong())?;
    let high: f32 = high.trim().parse().map_err(|_| wrong())?;
    // Written so that NaN is refused too.
    if !(0.0 <= low && low <= high && high <= 1.0) {
        return Err(wrong());
    }
    Ok(low..=high)
}

/// Reads the size of masks as users write it, `256x256` (width first).
pub fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let fits = |side: &usize| (1..=MAX_SIDE).contains(side);
    picture::parse_size(text).filter(|(width, height)| fits(width) && fits(height)).ok_or_else(|| {
        format!(
            "\"{text}\" is no size: write width x height in pixels, as in 256x256, each 1 to {MAX_SIDE}"
        )
    })
}

/// Draws one mask of `width x height` bytes, 255 = hole, 0 = known, half of them clear of the
/// border.
///
/// The share of hole lies in `ratio` whenever some whole number of pixels does; else it is the
/// nearest that does not exceed the range's end.
pub fn draw(
    rng: &mut Pcg64,
    width: usize,
    height: usize,
    ratio: RangeInclusive<f32>,
    style: Style,
) -> Vec<u8> {
    draw_with(rng, width, height, ratio, style, Border::default())
}

/// The same with a wish about the border.
pub fn draw_with(
    rng: &mut Pcg64,
    width: usize,
    height: usize,
    ratio: RangeInclusive<f32>,
    style: Style,
    border: Border,
) -> Vec<u8> {
    let total = width * height;
    // Widened first: 0.3_f32 * total is not what the caller's comparison in f32 sees.
    let most = (f64::from(ratio.end().clamp(0.0, 1.0)) * total as f64).floor() as usize;
    let least = (f64::from(ratio.start().clamp(0.0, 1.0)) * total as f64).ceil() as usize;
    let least = least.min(most);
    let wanted = least + ((most - least) as f32 * unit(rng)) as usize;

    let (strokes, rectangles) = match style {
        Style::Brush => (true, false),
        Style::Rect => (false, true),
        Style::Mixed => match below(rng, 4) {
            0 | 1 => (true, false),
            2 => (false, true),
            _ => (true, true),
        },
    };
    let mut canvas = Canvas { width, height, pixels: vec![0; total], holes: 0, most, wanted };
    if rectangles {
        // With strokes to follow, the rectangles take about half.
        let share = if strokes { wanted / 2 } else { wanted };
        draw_rectangles(rng, &mut canvas, share);
    }
    if strokes {
        draw_strokes(rng, &mut canvas, border);
    }
    canvas.settle(least);
    canvas.pixels
}

/// The share of hole in a mask picture.
pub fn hole_ratio(mask: &[u8]) -> f32 {
    mask.iter().filter(|&&value| value >= 128).count() as f32 / mask.len().max(1) as f32
}

/// Writes `count` brush masks as `00000.png` ... into `folder` (made if need be) and returns their
/// hole ratios. Mask `i` depends on `seed` and `i` alone: a larger count adds masks and changes
/// none.
pub fn write_set(
    folder: &Path,
    count: usize,
    (width, height): (usize, usize),
    ratio: RangeInclusive<f32>,
    seed: u64,
) -> Result<Vec<f32>, DeskError> {
    fs::create_dir_all(folder).map_err(DeskError::io(folder))?;
    let mut ratios = Vec::new();
    for index in 0..count {
        let mut rng = generator(seed, 0, index as u64);
        let mask = draw(&mut rng, width, height, ratio.clone(), Style::Brush);
        let path = folder.join(format!("{index:05}.png"));
        if path.exists() && !is_mask(&path) {
            return Err(DeskError::run(&path, "is there and no mask; give another --output"));
        }
        write_grey_png(&path, width, height, &mask)?;
        ratios.push(hole_ratio(&mask));
    }
    Ok(ratios)
}

/// Whether a file is a picture in black and white, such as a mask of before.
fn is_mask(path: &Path) -> bool {
    read_rgb(path).is_ok_and(|picture| {
        let mut pixels = picture.data.as_chunks::<3>().0.iter();
        pixels.all(|pixel| matches!(pixel, [0, 0, 0] | [255, 255, 255]))
    })
}

/// A mask being drawn, and how far it may go.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    /// Hole pixels so far.
    holes: usize,
    /// Never more hole pixels than this.
    most: usize,
    /// Enough at this many.
    wanted: usize,
}

impl Canvas {
    /// Makes the pixels of the box `columns x rows` that `inside` accepts a hole; takes it all
    /// back and returns false if that would be too many.
    fn stamp(
        &mut self,
        columns: RangeInclusive<usize>,
        rows: RangeInclusive<usize>,
        inside: impl Fn(usize, usize) -> bool,
    ) -> bool {
        let mut added = Vec::new();
        for y in rows {
            for x in columns.clone() {
                let at = y * self.width + x;
                if self.pixels[at] == 0 && inside(x, y) {
                    added.push(at);
                }
            }
        }
        if self.holes + added.len() > self.most {
            return false;
        }
        self.holes += added.len();
        for at in added {
            self.pixels[at] = 255;
        }
        true
    }

    /// One piece of a stroke: every pixel whose centre lies within `radius` of the line from
    /// `a` to `b`, and not within `margin` pixels of the border.
    fn stamp_piece(&mut self, a: [f32; 2], b: [f32; 2], radius: f32, margin: usize) -> bool {
        let (across, down) = (self.width - 1 - margin, self.height - 1 - margin);
        let span = |from: f32, to: f32, last: usize| {
            let low = (from.min(to) - radius).floor().max(margin as f32) as usize;
            let high = (from.max(to) + radius).ceil().clamp(0.0, last as f32) as usize;
            low..=high
        };
        let along = [b[0] - a[0], b[1] - a[1]];
        let squared = along[0] * along[0] + along[1] * along[1];
        self.stamp(span(a[0], b[0], across), span(a[1], b[1], down), |x, y| {
            let from = [x as f32 - a[0], y as f32 - a[1]];
            let part = if squared > 0.0 {
                ((from[0] * along[0] + from[1] * along[1]) / squared).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let off = [from[0] - part * along[0], from[1] - part * along[1]];
            off[0] * off[0] + off[1] * off[1] <= radius * radius
        })
    }

    /// Adds pixels at the hole's edge until there are `least`. What is left after the strokes
    /// is less than one piece of one, so a few rings at most.
    fn settle(&mut self, least: usize) {
        if self.holes == 0 && least > 0 {
            let middle = (self.height / 2) * self.width + self.width / 2;
            self.pixels[middle] = 255;
            self.holes = 1;
        }
        while self.holes < least {
            let before = self.pixels.clone();
            for at in 0..before.len() {
                let (x, y) = (at % self.width, at / self.width);
                let beside = (x > 0 && before[at - 1] != 0)
                    || (x + 1 < self.width && before[at + 1] != 0)
                    || (y > 0 && before[at - self.width] != 0)
                    || (y + 1 < self.height && before[at + self.width] != 0);
                if before[at] == 0 && beside {
                    self.pixels[at] = 255;
                    self.holes += 1;
                    if self.holes == least {
                        return;
                    }
                }
            }
        }
    }
}

/// A mask that needs more tries than this is settled at its edge instead: only ranges narrower
/// than one thin piece of stroke come here.
const TRIES: usize = 400;

/// Brush radius as a share of the mask's shorter side, and how far one piece reaches. From
/// 256x256: brushes 6 to 44 pixels wide, pieces of 5 to 64 pixels.
const RADIUS: RangeInclusive<f32> = 0.012..=0.086;
const PIECE: RangeInclusive<f32> = 0.02..=0.25;
/// Pieces in one stroke.
const PIECES: RangeInclusive<usize> = 3..=14;
/// Above this share of hole a mask is not kept off the border: there is no room to be.
const LARGEST_WITH_MARGIN: f32 = 0.45;

fn draw_strokes(rng: &mut Pcg64, canvas: &mut Canvas, border: Border) {
    let side = canvas.width.min(canvas.height) as f32;
    let share = canvas.wanted as f32 / (canvas.width * canvas.height).max(1) as f32;
    // Drawn whatever the wish is, so that it moves nothing else.
    let drawn = unit(rng) < 0.5;
    let wanted = match border {
        Border::Half => drawn,
        Border::Clear => true,
        Border::Any => false,
    };
    let keep_off = wanted && share <= LARGEST_WITH_MARGIN;
    let margin = if keep_off { (side * (0.03 + 0.05 * unit(rng))) as usize } else { 0 };
    // Masks differ in their brush as well as strokes do, so that all-thin and all-wide ones occur.
    let widest = RADIUS.start() + (RADIUS.end() - RADIUS.start()) * (0.15 + 0.85 * unit(rng));
    let mut slimming = 1.0;
    let mut tries = 0;
    while canvas.holes < canvas.wanted && tries < TRIES {
        let thickness = unit(rng);
        let radius = side * (RADIUS.start() + (widest - RADIUS.start()) * thickness);
        let mut at = [unit(rng) * canvas.width as f32, unit(rng) * canvas.height as f32];
        let mut heading = direction(rng);
        let hand = if unit(rng) < 0.5 { 1.0 } else { -1.0 };
        let pieces = PIECES.start() + below(rng, PIECES.end() - PIECES.start() + 1);
        for _ in 0..pieces {
            tries += 1;
            let reach = PIECE.start() + (PIECE.end() - PIECE.start()) * unit(rng);
            // Strokes mostly curl one way, and turn back now and then.
            let sense = if unit(rng) < 0.8 { hand } else { -hand };
            heading = turned(rng, heading, sense);
            let length = side * reach * slimming;
            let to = [
                (at[0] + heading[0] * length).clamp(0.0, canvas.width as f32),
                (at[1] + heading[1] * length).clamp(0.0, canvas.height as f32),
            ];
            // The brush is pressed more here and less there.
            let pressed = radius * (0.8 + 0.4 * unit(rng)) * slimming;
            if canvas.stamp_piece(at, to, pressed.max(0.5), margin) {
                at = to;
            } else {
                // Too much for what may still be added: finish with shorter and thinner pieces.
                slimming *= 0.8;
            }
            if canvas.holes >= canvas.wanted {
                return;
            }
        }
    }
}

/// A unit vector, every direction as likely: a point of the unit disc, thrown until one is
/// inside, pushed to its rim.
fn direction(rng: &mut Pcg64) -> [f32; 2] {
    loop {
        let point = [2.0 * unit(rng) - 1.0, 2.0 * unit(rng) - 1.0];
        let squared = point[0] * point[0] + point[1] * point[1];
        if (0.01..=1.0).contains(&squared) {
            let length = squared.sqrt();
            return [point[0] / length, point[1] / length];
        }
    }
}

/// `heading` turned left or right by about 25 to 95 degrees.
fn turned(rng: &mut Pcg64, heading: [f32; 2], sense: f32) -> [f32; 2] {
    loop {
        let [cosine, sine] = direction(rng);
        if (-0.1..=0.9).contains(&cosine) {
            let sine = sine.abs() * sense;
            return [
                heading[0] * cosine - heading[1] * sine,
                heading[0] * sine + heading[1] * cosine,
            ];
        }
    }
}

/// Rectangles until `share` pixels are hole.
fn draw_rectangles(rng: &mut Pcg64, canvas: &mut Canvas, share: usize) {
    let mut tries = 0;
    while canvas.holes < share && tries < TRIES {
        tries += 1;
        let missing = (share - canvas.holes) as f32;
        // One in two takes all that is missing, so that single large holes are common.
        let part = if unit(rng) < 0.5 { 1.0 } else { 0.2 + 0.6 * unit(rng) };
        let area = (missing * part).max(1.0);
        let stretch = 0.4 + 0.6 * unit(rng);
        let upright = unit(rng) < 0.5;
        let long = (area / stretch).sqrt();
        let (wide, tall) = if upright { (long * stretch, long) } else { (long, long * stretch) };
        let wide = (wide.round() as usize).clamp(1, canvas.width);
        // Whatever width was cut at the border is made up in height.
        let tall = tall.max(area / wide as f32);
        let tall = (tall.round() as usize).clamp(1, canvas.height);
        let (x, y) = (below(rng, canvas.width - wide + 1), below(rng, canvas.height - tall + 1));
        canvas.stamp(x..=x + wide - 1, y..=y + tall - 1, |_, _| true);
    }
}

#[cfg(test)]
#[path = "masks_tests.rs"]
mod tests;
