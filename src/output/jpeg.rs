//! JPEG for the page, straight from the planes.
//!
//! JPEG stores full-range YCbCr, which is what a YUV frame holds but for its range: a table a
//! plane turns one into the other, and the way through RGB and back is spared.

use jpeg_encoder::{ColorType, Encoder, ImageBuffer, JpegColorType, SamplingFactor};

use super::OutputError;
use crate::picture::{ColourRange, Frame, NEUTRAL_CHROMA, PixelFormat};

/// Good on a screen, a third of the bytes of the quality used for files.
const QUALITY: u8 = 80;

pub(super) fn encode(frame: &Frame) -> Result<Vec<u8>, OutputError> {
    let fail = |reason: String| OutputError::Jpeg { reason };
    let side = |side: usize| u16::try_from(side).map_err(|error| fail(error.to_string()));
    let (width, height) = (side(frame.width())?, side(frame.height())?);
    let mut jpeg = Vec::with_capacity(frame.data().len() / 6);
    let mut encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let encoded = if frame.format() == PixelFormat::Rgb8 {
        encoder.encode(frame.data(), width, height, ColorType::Rgb)
    } else {
        encoder.encode_image(Planes::new(frame, width, height))
    };
    encoded.map_err(|error| fail(error.to_string()))?;
    Ok(jpeg)
}

struct Planes<'a> {
    frame: &'a Frame,
    width: u16,
    height: u16,
    luma: [u8; 256],
    chroma: [u8; 256],
}

impl<'a> Planes<'a> {
    fn new(frame: &'a Frame, width: u16, height: u16) -> Self {
        let full = frame.range() == ColourRange::Full;
        let stretch = |value: usize, from: i32, middle: i32, span: i32| -> u8 {
            if full {
                return value as u8;
            }
            let scaled = (value as i32 - from) * 255;
            let rounded = (scaled as f32 / span as f32).round() as i32 + middle;
            rounded.clamp(0, 255) as u8
        };
        Self {
            frame,
            width,
            height,
            luma: std::array::from_fn(|value| stretch(value, 16, 0, 219)),
            chroma: std::array::from_fn(|value| stretch(value, 128, 128, 224)),
        }
    }
}

impl ImageBuffer for Planes<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        // Also of greys: who records a stream keeps to what its first picture was, which may be words.
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (y, width) = (usize::from(y), usize::from(self.width));
        let luma = &self.frame.plane(0)[y * width..][..width];
        buffers[0].extend(luma.iter().map(|&value| self.luma[usize::from(value)]));
        let (chroma_width, _) = self.frame.chroma_size();
        if chroma_width == 0 {
            for buffer in &mut buffers[1..3] {
                buffer.resize(buffer.len() + width, NEUTRAL_CHROMA);
            }
            return;
        }
        let (across, down) = self.frame.format().chroma_block();
        for (plane, buffer) in [1, 2].into_iter().zip(&mut buffers[1..3]) {
            let line = &self.frame.plane(plane)[y / down * chroma_width..][..chroma_width];
            let values = line.iter().map(|&value| self.chroma[usize::from(value)]);
            if across == 1 {
                buffer.extend(values);
            } else {
                buffer.extend(values.flat_map(|value| [value, value]).take(width));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Pool;

    /// Quantising at [`QUALITY`] moves a flat colour by a few levels.
    const LOSS: u8 = 6;

    #[test]
    fn colours_agree_with_the_conversion_to_rgb() {
        for format in [
            PixelFormat::Rgb8,
            PixelFormat::Yuv420,
            PixelFormat::Yuv422,
            PixelFormat::Yuv444,
            PixelFormat::Grey8,
        ] {
            for range in [ColourRange::Limited, ColourRange::Full] {
                if format == PixelFormat::Rgb8 && range == ColourRange::Limited {
                    continue;
                }
                let mut frame = Frame::flat(37, 23, format, range, 100).unwrap();
                let (_, u, v) = frame.planes_mut();
                u.fill(100);
                v.fill(160);
                let (mut expected, mut seen) = (Vec::new(), Vec::new());
                frame.to_rgb(&mut expected);
                let jpeg = encode(&frame).unwrap();
                let header = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
                assert_eq!(jpeg[header + 9], 3, "components of {format:?}");
                Frame::from_jpeg(&Pool::default(), &jpeg).unwrap().to_rgb(&mut seen);
                let worst = expected.iter().zip(&seen).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(worst <= Some(LOSS), "{format:?} {range:?}: {worst:?}");
            }
        }
    }
}
