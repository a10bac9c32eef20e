//! Where to fill: one byte a pixel, 255 a hole, 0 known.

use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use image::DynamicImage;

use super::frame::check_side;
use super::{Frame, MaskError, PictureError};

/// A mask byte that says: fill this pixel.
pub const HOLE: u8 = 255;
/// A mask byte that says: this pixel stays.
pub const KNOWN: u8 = 0;
/// Luma from which a mask picture's pixel counts as white.
const WHITE: u8 = 128;
/// Alpha from which the colour of a mask picture's pixel says something.
const SOLID: u8 = 128;

/// The holes of a frame, in the user's sense: 255 = fill, 0 = leave alone. (The network's own
/// sense is the other way round: the runtime turns it, and the desk for training and its like.) A clone shares the data; whoever
/// writes into one of them gets a copy first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    height: usize,
    data: Arc<Vec<u8>>,
}

/// A box of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelBox {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

impl PixelBox {
    pub fn right(&self) -> usize {
        self.x + self.width
    }

    pub fn bottom(&self) -> usize {
        self.y + self.height
    }

    pub fn area(&self) -> usize {
        self.width * self.height
    }

    /// The smallest box around both.
    pub fn around(&self, other: &PixelBox) -> PixelBox {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        PixelBox {
            x,
            y,
            width: self.right().max(other.right()) - x,
            height: self.bottom().max(other.bottom()) - y,
        }
    }

    /// The area both share.
    pub fn shared(&self, other: &PixelBox) -> usize {
        let width = self.right().min(other.right()).saturating_sub(self.x.max(other.x));
        let height = self.bottom().min(other.bottom()).saturating_sub(self.y.max(other.y));
        width * height
    }
}

impl Mask {
    /// A mask without holes.
    pub fn empty(width: usize, height: usize) -> Result<Mask, MaskError> {
        check(width, height)?;
        Ok(Mask { width, height, data: vec![KNOWN; width * height].into() })
    }

    /// `[height, width]`: whether the `side x side` patch that begins there lies in the picture and
    /// holds no hole.
    pub(crate) fn whole_patches(&self, side: usize) -> Vec<bool> {
        let mut whole = vec![false; self.data.len()];
        // Of each column, known pixels in a row up to this one.
        let mut above = vec![0; self.width];
        for y in 0..self.height {
            let mut beside = 0;
            for (x, (&hole, above)) in self.row(y).iter().zip(&mut above).enumerate() {
                *above = if hole == KNOWN { *above + 1 } else { 0 };
                beside = if *above >= side { beside + 1 } else { 0 };
                if beside >= side {
                    whole[(y + 1 - side) * self.width + x + 1 - side] = true;
                }
            }
        }
        whole
    }

    /// Of each pixel, the steps along rows and columns to the nearest known one: 0 if it is known itself,
    /// [`u16::MAX`] where none is.
    pub(crate) fn depths(&self) -> Vec<u16> {
        let hole = |&hole: &u8| if hole == KNOWN { 0 } else { u16::MAX };
        let mut depths: Vec<u16> = self.data.iter().map(hole).collect();
        let nearer = |depths: &mut [u16], at: usize, beside: Option<usize>| {
            if let Some(&depth) = beside.and_then(|beside| depths.get(beside)) {
                depths[at] = depths[at].min(depth.saturating_add(1));
            }
        };
        for at in 0..depths.len() {
            nearer(&mut depths, at, (at % self.width > 0).then(|| at - 1));
            nearer(&mut depths, at, at.checked_sub(self.width));
        }
        for at in (0..depths.len()).rev() {
            nearer(&mut depths, at, ((at + 1) % self.width > 0).then_some(at + 1));
            nearer(&mut depths, at, Some(at + self.width));
        }
        depths
    }

    /// Pixels in a row that are alike, row by row.
    pub(crate) fn runs(&self, wanted: impl Fn(u8) -> bool) -> Vec<Range<usize>> {
        let mut end = 0;
        let rows = self.data.chunks_exact(self.width);
        let alike = rows.flat_map(|row| row.chunk_by(|a, b| wanted(*a) == wanted(*b)));
        let runs = alike.map(|run| {
            end += run.len();
            (wanted(run[0]), end - run.len()..end)
        });
        runs.filter_map(|(wanted, run)| wanted.then_some(run)).collect()
    }

    /// A mask that is one hole.
    pub fn full(width: usize, height: usize) -> Result<Mask, MaskError> {
        check(width, height)?;
        Ok(Mask { width, height, data: vec![HOLE; width * height].into() })
    }

    /// From one grey byte a pixel, in whatever shade: 128 and above is a hole.
    pub fn from_grey(width: usize, height: usize, grey: &[u8]) -> Result<Mask, MaskError> {
        check(width, height)?;
        let needed = width * height;
        let grey = grey.get(..needed).ok_or(MaskError::Short {
            width,
            height,
            needed,
            found: grey.len(),
        })?;
        let data: Vec<u8> = grey.iter().map(|&luma| sense(luma)).collect();
        Ok(Mask { width, height, data: data.into() })
    }

    /// As [`from_grey`](Self::from_grey), of what somebody drew or computed: what is neither white
    /// anywhere nor black everywhere is an error, such as a map of labels (0 and 1), which would hide
    /// nothing.
    pub fn from_shades(width: usize, height: usize, grey: &[u8]) -> Result<Mask, MaskError> {
        match grey.iter().max() {
            Some(&brightest) if (1..WHITE).contains(&brightest) => {
                Err(MaskError::Dark { brightest, width, height })
            }
            _ => Mask::from_grey(width, height, grey),
        }
    }

    /// From a frame of a mask camera: its luma, as [`from_shades`](Self::from_shades). In limited range
    /// the middle is 126 (between 16 and 235), near enough to 128 for a black and white picture, and
    /// black is 16: a picture that is all of this level hides nothing in either range.
    pub fn from_frame(frame: &Frame) -> Result<Mask, MaskError> {
        /// Black in limited range.
        const BLACK: u8 = 16;
        let (width, height) = (frame.width(), frame.height());
        if frame.format() == super::PixelFormat::Rgb8 {
            let grey: Vec<u8> = frame.data().as_chunks::<3>().0.iter().map(luma).collect();
            return Mask::from_shades(width, height, &grey);
        }
        match frame.plane(0) {
            luma if luma.iter().all(|luma| *luma == BLACK) => Mask::empty(width, height),
            luma => Mask::from_shades(width, height, luma),
        }
    }

    /// From a picture file: white (luma 128 and above) is a hole.
    ///
    /// Alpha is left out of account when the colours say something: some white and some not. When
    /// they say nothing (as when somebody erases the background in a paint program and saves only
    /// the shape, in whatever colour) and alpha varies, then alpha is the mask: what is seen, however
    /// faintly, is a hole, because what is painted is what the user painted.
    pub fn read(path: &Path) -> Result<Mask, PictureError> {
        Mask::from_picture(super::io::read_any(path)?, path)
    }

    /// As [`read`](Self::read), of what somebody sends, of 16 million pixels at most (of less with more
    /// than 8 bits a channel); errors call it `name`.
    pub fn decode(bytes: &[u8], name: &Path) -> Result<Mask, PictureError> {
        Mask::from_picture(super::io::decode_any(bytes, name)?, name)
    }

    fn from_picture(picture: DynamicImage, path: &Path) -> Result<Mask, PictureError> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let black = is_black(&picture);
        let mask = match picture {
            // Its shades are lumas: as RGBA they would be converted there and back.
            DynamicImage::ImageLuma8(grey) => Mask::from_shades(width, height, &grey),
            picture => Mask::from_rgba(width, height, &picture.into_rgba8()),
        };
        let mask = mask.and_then(|mask| match mask.is_empty() && !black {
            // Labels in 16 bits, or in one colour.
            true => Err(MaskError::Dark { brightest: 1, width, height }),
            false => Ok(mask),
        });
        mask.map_err(|source| PictureError::MaskFile { path: path.to_owned(), source })
    }

    /// Writes a PNG, white on black, atomically.
    pub fn write(&self, path: &Path) -> Result<(), PictureError> {
        super::io::write_grey_png(path, self.width, self.height, &self.data)
    }

    pub(crate) fn from_rgba(width: usize, height: usize, rgba: &[u8]) -> Result<Mask, MaskError> {
        let (pixels, _) = rgba.as_chunks::<4>();
        let shade = |&[r, g, b, _]: &[u8; 4]| luma(&[r, g, b]);
        let alpha_varies = pixels.windows(2).any(|pair| pair[0][3] != pair[1][3]);
        // Paint programs keep stray colours under transparent pixels, and those of faint ones are
        // rounded to anything where colours are kept multiplied by alpha.
        let solid = pixels.iter().filter(|pixel| pixel[3] >= SOLID);
        let mut senses = solid.map(|pixel| sense(shade(pixel)));
        let first = senses.next();
        let all_alike = senses.all(|sense| Some(sense) == first);
        let grey: Vec<u8> = if all_alike && alpha_varies {
            pixels.iter().map(|pixel| if pixel[3] > 0 { HOLE } else { KNOWN }).collect()
        } else {
            pixels.iter().map(shade).collect()
        };
        Mask::from_shades(width, height, &grey)
    }

    /// The union of rectangles, cut to the frame. Each must cover at least one pixel: one that
    /// covers nothing is a mistake which would otherwise show what was meant to be hidden.
    pub fn from_rects(width: usize, height: usize, rects: &[Rect]) -> Result<Mask, MaskError> {
        let mut mask = Mask::empty(width, height)?;
        for rect in rects {
            let area = rect.resolve(width, height)?;
            mask.fill_box(&area);
        }
        Ok(mask)
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    /// One byte a pixel, [`HOLE`] or [`KNOWN`].
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    fn data_mut(&mut self) -> &mut [u8] {
        Arc::make_mut(&mut self.data).as_mut_slice()
    }

    pub fn is_hole(&self, x: usize, y: usize) -> bool {
        self.data[y * self.width + x] != KNOWN
    }

    pub fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width..][..self.width]
    }

    /// Makes every pixel of the box a hole; what lies outside the mask is left out.
    pub fn fill_box(&mut self, area: &PixelBox) {
        let width = self.width;
        fill(self.data_mut(), width, area);
    }

    pub fn set(&mut self, x: usize, y: usize, hole: bool) {
        let at = y * self.width + x;
        self.data_mut()[at] = if hole { HOLE } else { KNOWN };
    }

    /// Whether it hides everything.
    pub fn is_full(&self) -> bool {
        !self.data.contains(&KNOWN)
    }

    pub fn hole_pixels(&self) -> usize {
        self.data.iter().filter(|&&byte| byte != KNOWN).count()
    }

    /// The share of hole pixels, 0 to 1.
    pub fn hole_ratio(&self) -> f64 {
        self.hole_pixels() as f64 / self.data.len() as f64
    }

    pub fn is_empty(&self) -> bool {
        !self.data.contains(&HOLE)
    }

    /// The smallest box around all holes.
    pub fn bounds(&self) -> Option<PixelBox> {
        let mut found: Option<PixelBox> = None;
        for y in 0..self.height {
            let row = self.row(y);
            let (Some(first), Some(last)) =
                (row.iter().position(|&b| b != KNOWN), row.iter().rposition(|&b| b != KNOWN))
            else {
                continue;
            };
            let line = PixelBox { x: first, y, width: last - first + 1, height: 1 };
            found = Some(found.map_or(line, |all| all.around(&line)));
        }
        found
    }

    /// Adds the holes of another mask of the same size.
    pub fn unite(&mut self, other: &Mask) -> Result<(), MaskError> {
        other.fits(self.width, self.height)?;
        self.data_mut().iter_mut().zip(other.data()).for_each(|(mine, theirs)| *mine |= theirs);
        Ok(())
    }

    /// Takes the holes of another mask of the same size away.
    pub fn subtract(&mut self, other: &Mask) -> Result<(), MaskError> {
        other.fits(self.width, self.height)?;
        self.data_mut().iter_mut().zip(other.data()).for_each(|(mine, theirs)| *mine &= !theirs);
        Ok(())
    }

    /// The mask of a part of the frame.
    pub fn cut(&self, area: &PixelBox) -> Result<Mask, MaskError> {
        check(area.width, area.height)?;
        if area.right() > self.width || area.bottom() > self.height {
            return Err(MaskError::Plan {
                plan_width: area.right(),
                plan_height: area.bottom(),
                frame_width: self.width,
                frame_height: self.height,
            });
        }
        let mut data = Vec::with_capacity(area.area());
        for y in area.y..area.bottom() {
            data.extend_from_slice(&self.row(y)[area.x..area.right()]);
        }
        Ok(Mask { width: area.width, height: area.height, data: data.into() })
    }

    /// The mask stretched over a frame of another size. A pixel that lies on a hole in part is a
    /// hole, so that nothing comes to light.
    pub fn stretched(&self, width: usize, height: usize) -> Result<Mask, MaskError> {
        if self.fits(width, height).is_ok() {
            return Ok(self.clone());
        }
        let mut stretched = Mask::empty(width, height)?;
        let data = stretched.data_mut();
        for y in 0..self.height {
            for (x, _) in self.row(y).iter().enumerate().filter(|(_, byte)| **byte != KNOWN) {
                let (left, right) = touched(x, self.width, width);
                let (top, bottom) = touched(y, self.height, height);
                let (across, down) = (right - left, bottom - top);
                fill(data, width, &PixelBox { x: left, y: top, width: across, height: down });
            }
        }
        Ok(stretched)
    }

    /// An error that names both sizes unless the mask is `width` x `height`.
    pub fn fits(&self, width: usize, height: usize) -> Result<(), MaskError> {
        if (self.width, self.height) == (width, height) {
            return Ok(());
        }
        Err(MaskError::Size {
            mask_width: self.width,
            mask_height: self.height,
            frame_width: width,
            frame_height: height,
        })
    }
}

/// Makes a box of a mask so wide holes, as far as it lies inside.
fn fill(data: &mut [u8], width: usize, area: &PixelBox) {
    let (left, right) = (area.x.min(width), area.right().min(width));
    let lines = data.chunks_exact_mut(width).skip(area.y).take(area.height);
    lines.for_each(|line| line[left..right].fill(HOLE));
}

/// Hole pixels in a row, of a line of a mask.
pub(super) fn hole_runs(line: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    line.chunk_by(|a, b| a == b).filter_map(move |run| {
        end += run.len();
        (run[0] != KNOWN).then_some(end - run.len()..end)
    })
}

/// Whether all colours are zero as they are in the file: in 8 bits, or as luma, others may become so.
fn is_black(picture: &DynamicImage) -> bool {
    let kind = picture.color();
    let (pixel, channels) = (kind.bytes_per_pixel().into(), usize::from(kind.channel_count()));
    let colours = pixel / channels * (channels - usize::from(kind.has_alpha()));
    let mut pixels = picture.as_bytes().chunks_exact(pixel);
    pixels.all(|pixel| pixel[..colours].iter().all(|byte| *byte == 0))
}

fn sense(luma: u8) -> u8 {
    if luma >= WHITE { HOLE } else { KNOWN }
}

/// BT.601 luma in thousandths, so that pure white is 255.
fn luma(&[r, g, b]: &[u8; 3]) -> u8 {
    ((299 * r as u32 + 587 * g as u32 + 114 * b as u32 + 500) / 1000) as u8
}

/// The pixels of a line of `target` whose area touches pixel `at` of one of `source`:
/// `[at, at + 1) * target / source`.
fn touched(at: usize, source: usize, target: usize) -> (usize, usize) {
    (at * target / source, ((at + 1) * target).div_ceil(source))
}

fn check(width: usize, height: usize) -> Result<(), MaskError> {
    check_side(width, height).map_err(|_| MaskError::Side { width, height })
}

/// One of the four numbers of a [`Rect`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    Pixels(usize),
    /// 0 to 100 of the frame's side.
    Percent(f64),
}

/// `rect:x,y,w,h`, each number in pixels or in percent of the frame.
///
/// Pixels are resolved against a frame only when its size is known; edges in percent are
/// rounded outwards, so that a rectangle never hides less than was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    pub x: Length,
    pub y: Length,
    pub width: Length,
    pub height: Length,
}

impl Rect {
    /// The pixels the rectangle covers, cut to the frame.
    pub fn resolve(&self, width: usize, height: usize) -> Result<PixelBox, MaskError> {
        let (x, right) = edges(self.x, self.width, width);
        let (y, bottom) = edges(self.y, self.height, height);
        if right <= x || bottom <= y {
            return Err(MaskError::Empty { text: self.to_string(), width, height });
        }
        Ok(PixelBox { x, y, width: right - x, height: bottom - y })
    }
}

fn edges(from: Length, length: Length, side: usize) -> (usize, usize) {
    // A hair off each edge, so that 10 % of 1920 is 192 and not 193 by rounding error.
    const HAIR: f64 = 1e-6;
    let exact = |length| match length {
        Length::Pixels(pixels) => pixels as f64,
        Length::Percent(percent) => percent / 100.0 * side as f64,
    };
    let start = exact(from);
    let extent = exact(length);
    if extent <= 0.0 {
        return (0, 0);
    }
    let first = (start + HAIR).floor().min(side as f64) as usize;
    let last = (start + extent - HAIR).ceil().min(side as f64) as usize;
    (first, last)
}

impl FromStr for Rect {
    type Err = MaskError;

    fn from_str(text: &str) -> Result<Rect, MaskError> {
        let wrong = |reason: &str| MaskError::Rect { text: text.into(), reason: reason.into() };
        let numbers = text.strip_prefix("rect:").unwrap_or(text);
        let parts: Vec<&str> = numbers.split(',').map(str::trim).collect();
        let [x, y, width, height] = parts[..] else {
            return Err(wrong("it needs four numbers"));
        };
        let length = |part: &str| -> Result<Length, MaskError> {
            if let Some(percent) = part.strip_suffix('%') {
                let value: f64 =
                    percent.trim().parse().map_err(|_| wrong("a percentage is not a number"))?;
                if !(0.0..=100.0).contains(&value) {
                    return Err(wrong("a percentage is not between 0 and 100"));
                }
                return Ok(Length::Percent(value));
            }
            part.parse().map(Length::Pixels).map_err(|_| wrong("pixels are whole numbers from 0"))
        };
        let rect =
            Rect { x: length(x)?, y: length(y)?, width: length(width)?, height: length(height)? };
        let nothing = |length| matches!(length, Length::Pixels(0) | Length::Percent(0.0));
        if nothing(rect.width) || nothing(rect.height) {
            return Err(wrong("its width or height is 0"));
        }
        Ok(rect)
    }
}

impl std::fmt::Display for Length {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Length::Pixels(pixels) => write!(out, "{pixels}"),
            Length::Percent(percent) => write!(out, "{percent}%"),
        }
    }
}

impl std::fmt::Display for Rect {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "rect:{},{},{},{}", self.x, self.y, self.width, self.height)
    }
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
