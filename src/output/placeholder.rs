//! A picture made of words, for when there is none to show.

use std::convert::Infallible;

use embedded_graphics::mono_font::{MonoTextStyle, ascii::FONT_10X20};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};

use crate::picture::{ColourRange, Frame, FrameError, PixelFormat};

/// Levels of ground and letters.
const GROUND: u8 = 40;
const LETTERS: u8 = 220;
/// Letters are larger on pictures that are so many times as wide: those are looked at scaled down.
const WIDTH: usize = 640;
/// Free on the left and on the right, pixels.
const MARGIN: usize = 20;

/// `words` in the middle of a grey picture, broken into lines that fit.
///
/// # Errors
/// [`FrameError`] for a size that no frame may have.
pub fn placeholder(width: usize, height: usize, words: &str) -> Result<Frame, FrameError> {
    let mut frame = Frame::flat(width, height, PixelFormat::Grey8, ColourRange::Full, GROUND)?;
    let (whole, letter) = (frame.width(), FONT_10X20.character_size);
    let scale = (whole / WIDTH).max(1);
    let (width, height) = (width / scale, height / scale);
    let columns = (width.saturating_sub(2 * MARGIN) / letter.width as usize).max(1);
    let lines = lines(words, columns);
    let top = (height as i32 - (lines.len() as u32 * letter.height) as i32) / 2;
    let layout = TextStyleBuilder::new().alignment(Alignment::Center).baseline(Baseline::Top);
    let text = Text::with_text_style(
        &lines.join("\n"),
        Point::new(width as i32 / 2, top.max(0)),
        MonoTextStyle::new(&FONT_10X20, BinaryColor::On),
        layout.build(),
    )
    .draw(&mut Canvas { width, height, scale, whole, data: frame.data_mut() });
    match text {
        Ok(_) => Ok(frame),
        Err(never) => match never {},
    }
}

/// Words of a line stay together where they fit; a longer word is cut.
fn lines(words: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in words.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let letters: Vec<char> = word.chars().collect();
            for piece in letters.chunks(columns) {
                let used = line.chars().count();
                if used > 0 && used + 1 + piece.len() > columns {
                    lines.push(std::mem::take(&mut line));
                } else if used > 0 {
                    line.push(' ');
                }
                line.extend(piece);
            }
        }
        lines.push(line);
    }
    lines
}

struct Canvas<'a> {
    /// In pixels of letters, each a square of `scale` by `scale` of a picture `whole` pixels wide.
    width: usize,
    height: usize,
    scale: usize,
    whole: usize,
    data: &'a mut [u8],
}

impl OriginDimensions for Canvas<'_> {
    fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }
}

impl DrawTarget for Canvas<'_> {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(point, colour) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(point.x), usize::try_from(point.y)) else {
                continue;
            };
            if x < self.width && y < self.height && colour.is_on() {
                for line in
                    self.data.chunks_exact_mut(self.whole).skip(y * self.scale).take(self.scale)
                {
                    line[x * self.scale..][..self.scale].fill(LETTERS);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_the_middle_and_fit() {
        let frame = placeholder(320, 200, "Waiting for the camera\n\n/dev/video0: it is gone");
        let frame = frame.unwrap();
        let lit =
            |y: usize| frame.data()[y * 320..][..320].iter().filter(|&&v| v == LETTERS).count();
        let rows: Vec<usize> = (0..200).filter(|&y| lit(y) > 0).collect();
        assert!(*rows.first().unwrap() >= 70 && *rows.last().unwrap() < 130, "{rows:?}");
        assert!((0..200).map(lit).sum::<usize>() > 500);
        // Larger on a larger picture.
        let large = placeholder(1920, 1080, "words").unwrap();
        let small = placeholder(640, 360, "words").unwrap();
        for (at, level) in large.data().iter().enumerate() {
            let (x, y) = (at % 1920 / 3, at / 1920 / 3);
            assert_eq!(*level, small.data()[y * 640 + x], "{x},{y}");
        }
        // The smallest frame there is takes it without a panic, however little is seen.
        placeholder(1, 1, "words").unwrap();
    }

    #[test]
    fn lines_break_between_words_and_within_long_ones() {
        assert_eq!(lines("one two three\n\nfour", 7), ["one two", "three", "", "four"]);
        assert_eq!(lines("a longerword", 5), ["a", "longe", "rword"]);
    }
}
