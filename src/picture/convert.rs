//! Into and out of [`Frame`]: RGB, the raw layouts V4L2 cameras send, and JPEG.

use std::io::Cursor;
use std::ops::Range;

use image::ImageDecoder;

use super::frame::{check_side, short};
use super::{ColourRange, Frame, FrameError, PixelFormat, Pool, jpeg};
use crate::kernels::colour::{self, Levels};

/// Grey, or no colour.
const MIDDLE: u8 = 128;

impl ColourRange {
    fn levels(self) -> Levels {
        match self {
            ColourRange::Limited => colour::LIMITED,
            ColourRange::Full => colour::FULL,
        }
    }
}

/// Planes borrowed from a frame or from scratch, line after line without gaps.
pub(crate) struct Planes<'a> {
    pub format: PixelFormat,
    pub range: ColourRange,
    pub width: usize,
    /// Luma, or grey.
    pub luma: &'a [u8],
    pub u: &'a [u8],
    pub v: &'a [u8],
}

impl Planes<'_> {
    /// The upper half and the lower, as far as chroma samples can be parted.
    pub(crate) fn halves(&self) -> [Self; 2] {
        let Self { format, range, width, luma, u, v } = *self;
        let (across, down) = format.chroma_block();
        let blocks = luma.len() / width / 2 / down;
        let (luma, luma_below) = luma.split_at(blocks * down * width);
        // Grey has none.
        let samples = blocks * width.div_ceil(across);
        let [(u, u_below), (v, v_below)] =
            [u, v].map(|plane| plane.split_at(samples.min(plane.len())));
        [
            Self { format, range, width, luma, u, v },
            Self { format, range, width, luma: luma_below, u: u_below, v: v_below },
        ]
    }

    /// Chroma is taken from the pixel's own sample, never blended with a neighbour's: what a
    /// known pixel looks like must not depend on a hole's chroma further on.
    ///
    /// # Panics
    /// If a plane or `rgb` has another size.
    pub(crate) fn to_rgb(&self, rgb: &mut [u8]) {
        let levels = self.range.levels();
        if self.format == PixelFormat::Grey8 {
            return levels.grey_to_rgb(self.luma, rgb);
        }
        levels.to_rgb(self.luma, [self.u, self.v], self.width, self.format.chroma_block(), rgb);
    }
}

/// Writes packed planes of `format` from packed RGB. `data` has the frame's length.
pub(crate) fn rgb_to_planes(
    rgb: &[u8],
    width: usize,
    height: usize,
    format: PixelFormat,
    range: ColourRange,
    data: &mut [u8],
) -> Result<(), FrameError> {
    let area = width * height;
    let rgb =
        rgb.get(..3 * area).ok_or_else(|| short("RGB", width, height, 3 * area, rgb.len()))?;
    let levels = range.levels();
    match format {
        PixelFormat::Rgb8 => data.copy_from_slice(rgb),
        PixelFormat::Grey8 => levels.to_grey(rgb, data),
        PixelFormat::Yuv444 => {
            let (luma, chroma) = data.split_at_mut(area);
            let (u, v) = chroma.split_at_mut(area);
            levels.to_planes(rgb, [luma, u, v]);
        }
        PixelFormat::Yuv420 | PixelFormat::Yuv422 => {
            let mut full = vec![0; 2 * area];
            let (full_u, full_v) = full.split_at_mut(area);
            let (luma, chroma) = data.split_at_mut(area);
            levels.to_planes(rgb, [luma, full_u, full_v]);
            let (u, v) = chroma.split_at_mut(chroma.len() / 2);
            for (full, shared) in [(full_u, u), (full_v, v)] {
                share(full, width, format.chroma_block(), shared);
            }
        }
    }
    Ok(())
}

/// A plane whose samples are the means of `across` by `down` of another.
fn share(full: &[u8], width: usize, (across, down): (usize, usize), shared: &mut [u8]) {
    let (samples, height) = (width.div_ceil(across), full.len() / width);
    for (y, shared) in shared.chunks_exact_mut(samples).enumerate() {
        let rows = down * y..(down * (y + 1)).min(height);
        for (x, sample) in shared.iter_mut().enumerate() {
            let columns = across * x..(across * (x + 1)).min(width);
            *sample = mean(full, width, rows.clone(), columns);
        }
    }
}

/// The rounded mean of a part of a plane.
fn mean(plane: &[u8], width: usize, rows: Range<usize>, columns: Range<usize>) -> u8 {
    let count = (rows.len() * columns.len()) as u32;
    let levels = rows.flat_map(|y| &plane[y * width..][columns.clone()]);
    let sum: u32 = levels.map(|&level| u32::from(level)).sum();
    ((sum + count / 2) / count) as u8
}

/// Copies `height` lines of `bytes` bytes each out of a buffer whose lines are `stride` apart.
/// The last line may end at its last pixel: drivers differ in whether they pad it.
fn packed_lines(
    format: &'static str,
    (width, height): (usize, usize),
    bytes: usize,
    stride: usize,
    raw: &[u8],
    mut line: impl FnMut(usize, &[u8]),
) -> Result<(), FrameError> {
    check_side(width, height)?;
    if stride < bytes {
        return Err(FrameError::Stride { format, width, needed: bytes, stride });
    }
    let needed = stride
        .checked_mul(height - 1)
        .and_then(|all| all.checked_add(bytes))
        .ok_or(FrameError::Stride { format, width, needed: bytes, stride })?;
    if raw.len() < needed {
        return Err(short(format, width, height, needed, raw.len()));
    }
    for y in 0..height {
        line(y, &raw[y * stride..y * stride + bytes]);
    }
    Ok(())
}

/// Two pixels in four bytes, luma at the `LUMA`th and the one after the next, to planes.
fn interleaved<const LUMA: usize>(
    name: &'static str,
    pool: &Pool,
    (width, height): (usize, usize),
    stride: usize,
    raw: &[u8],
    range: ColourRange,
) -> Result<Frame, FrameError> {
    let pairs = width.div_ceil(2);
    let mut frame = Frame::within(pool, width, height, PixelFormat::Yuv422, range)?;
    let (luma, u, v) = frame.planes_mut();
    packed_lines(name, (width, height), pairs * 4, stride, raw, |y, line| {
        let luma = &mut luma[y * width..][..width];
        let (u, v) = (&mut u[y * pairs..][..pairs], &mut v[y * pairs..][..pairs]);
        let (quads, _) = line.as_chunks::<4>();
        for ((quad, u), v) in quads.iter().zip(u).zip(v) {
            *u = quad[1 - LUMA];
            *v = quad[3 - LUMA];
        }
        for (pixels, quad) in luma.chunks_mut(2).zip(quads) {
            pixels[0] = quad[LUMA];
            if let Some(second) = pixels.get_mut(1) {
                *second = quad[LUMA + 2];
            }
        }
    })?;
    Ok(frame)
}

impl Frame {
    /// Writes the frame as packed RGB into `rgb`, whose memory is reused from call to call.
    pub fn to_rgb(&self, rgb: &mut Vec<u8>) {
        let (width, height) = (self.width(), self.height());
        rgb.resize(width * height * 3, 0);
        if self.format() == PixelFormat::Rgb8 {
            rgb.copy_from_slice(self.data());
            return;
        }
        Planes {
            format: self.format(),
            range: self.range(),
            width,
            luma: self.plane(0),
            u: self.plane(1),
            v: self.plane(2),
        }
        .to_rgb(rgb);
    }

    /// Writes an RGB frame as planes of `format` into `planes`, whose memory is reused from call to
    /// call.
    pub(crate) fn to_planes(
        &self,
        format: PixelFormat,
        range: ColourRange,
        planes: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        debug_assert_eq!(self.format(), PixelFormat::Rgb8);
        let (width, height) = (self.width(), self.height());
        planes.resize(format.bytes(width, height), 0);
        rgb_to_planes(self.data(), width, height, format, range, planes)
    }

    /// A frame of any format from packed RGB.
    pub fn from_rgb(
        width: usize,
        height: usize,
        rgb: &[u8],
        format: PixelFormat,
        range: ColourRange,
    ) -> Result<Frame, FrameError> {
        check_side(width, height)?;
        let mut data = vec![0; format.bytes(width, height)];
        rgb_to_planes(rgb, width, height, format, range, &mut data)?;
        Frame::new(width, height, format, range, data)
    }

    /// V4L2 `YUYV`: two pixels in four bytes (Y U Y V). Becomes [`PixelFormat::Yuv422`], the
    /// luma bytes unchanged.
    pub fn from_yuyv(
        pool: &Pool,
        width: usize,
        height: usize,
        stride: usize,
        raw: &[u8],
        range: ColourRange,
    ) -> Result<Frame, FrameError> {
        interleaved::<0>("YUYV", pool, (width, height), stride, raw, range)
    }

    /// V4L2 `UYVY`: the same in another order (U Y V Y).
    pub fn from_uyvy(
        pool: &Pool,
        width: usize,
        height: usize,
        stride: usize,
        raw: &[u8],
        range: ColourRange,
    ) -> Result<Frame, FrameError> {
        interleaved::<1>("UYVY", pool, (width, height), stride, raw, range)
    }

    /// V4L2 `YU12`: a luma plane, then U and V at half size and half the stride. Becomes
    /// [`PixelFormat::Yuv420`].
    pub fn from_yu12(
        pool: &Pool,
        width: usize,
        height: usize,
        stride: usize,
        raw: &[u8],
        range: ColourRange,
    ) -> Result<Frame, FrameError> {
        let mut frame = Frame::within(pool, width, height, PixelFormat::Yuv420, range)?;
        let (across, down) = frame.chroma_size();
        let (luma, u, v) = frame.planes_mut();
        let shared = stride.div_ceil(2);
        let first = stride.saturating_mul(height);
        let second = first.saturating_add(shared.saturating_mul(down));
        let whole = second.saturating_add(shared.saturating_mul(down - 1)).saturating_add(across);
        if raw.len() < whole {
            return Err(short("YU12", width, height, whole, raw.len()));
        }
        for (plane, (columns, rows), stride, from) in [
            (luma, (width, height), stride, 0),
            (u, (across, down), shared, first),
            (v, (across, down), shared, second),
        ] {
            packed_lines("YU12", (columns, rows), columns, stride, &raw[from..], |y, line| {
                plane[y * columns..][..columns].copy_from_slice(line);
            })?;
        }
        Ok(frame)
    }

    /// V4L2 `NV12`: a luma plane, then U and V interleaved at half size, both of the same stride (but
    /// for what an odd width takes more). Becomes [`PixelFormat::Yuv420`].
    pub fn from_nv12(
        pool: &Pool,
        width: usize,
        height: usize,
        stride: usize,
        raw: &[u8],
        range: ColourRange,
    ) -> Result<Frame, FrameError> {
        let mut frame = Frame::within(pool, width, height, PixelFormat::Yuv420, range)?;
        let (across, down) = frame.chroma_size();
        let (luma, u, v) = frame.planes_mut();
        packed_lines("NV12", (width, height), width, stride, raw, |y, line| {
            luma[y * width..][..width].copy_from_slice(line);
        })?;
        let from = stride.saturating_mul(height);
        // Of an odd width its lines are longer than luma's without gaps.
        let stride = stride.max(across * 2);
        let whole = from.saturating_add(stride.saturating_mul(down - 1)).saturating_add(across * 2);
        let interleaved =
            raw.get(from..).ok_or_else(|| short("NV12", width, height, whole, raw.len()))?;
        packed_lines("NV12", (across, down), across * 2, stride, interleaved, |y, line| {
            let (u, v) = (&mut u[y * across..][..across], &mut v[y * across..][..across]);
            for ((pair, u), v) in line.as_chunks::<2>().0.iter().zip(u).zip(v) {
                *u = pair[0];
                *v = pair[1];
            }
        })
        .map_err(|error| match error {
            FrameError::Short { .. } => short("NV12", width, height, whole, raw.len()),
            other => other,
        })?;
        Ok(frame)
    }

    /// V4L2 `RGB3`: three bytes a pixel.
    pub fn from_rgb3(
        pool: &Pool,
        width: usize,
        height: usize,
        stride: usize,
        raw: &[u8],
    ) -> Result<Frame, FrameError> {
        let (format, range) = (PixelFormat::Rgb8, ColourRange::Full);
        let mut frame = Frame::within(pool, width, height, format, range)?;
        let data = frame.data_mut();
        packed_lines("RGB", (width, height), width * 3, stride, raw, |y, line| {
            data[y * line.len()..][..line.len()].copy_from_slice(line);
        })?;
        Ok(frame)
    }

    /// V4L2 `GREY`: one byte a pixel.
    pub fn from_grey(
        pool: &Pool,
        width: usize,
        height: usize,
        stride: usize,
        raw: &[u8],
        range: ColourRange,
    ) -> Result<Frame, FrameError> {
        let mut frame = Frame::within(pool, width, height, PixelFormat::Grey8, range)?;
        let data = frame.data_mut();
        packed_lines("grey", (width, height), width, stride, raw, |y, line| {
            data[y * line.len()..][..line.len()].copy_from_slice(line);
        })?;
        Ok(frame)
    }

    /// One JPEG, as MJPEG cameras send them (the Huffman tables may be left out), to RGB.
    pub fn from_jpeg(pool: &Pool, bytes: &[u8]) -> Result<Frame, FrameError> {
        let fail = |reason: String| FrameError::Jpeg { reason };
        let fault = |error: image::ImageError| fail(error.to_string());
        let mut completed;
        let bytes = match bytes.split_at_checked(2) {
            Some((start, rest)) if !jpeg::has_tables(bytes) => {
                completed = pool.empty();
                completed.vector().clear();
                let parts = [start, &jpeg::STANDARD_TABLES[..], rest];
                parts.into_iter().for_each(|part| completed.vector().extend_from_slice(part));
                &completed
            }
            _ => bytes,
        };
        if jpeg::look_through(bytes).map_err(|flaw| fail(flaw.into()))? == jpeg::Coding::Other {
            let reason = "it is no baseline one, and damage is not found in others";
            return Err(fail(reason.into()));
        }
        let mut decoder =
            image::codecs::jpeg::JpegDecoder::new(Cursor::new(bytes)).map_err(fault)?;
        let (width, height) = decoder.dimensions();
        let (width, height) = (width as usize, height as usize);
        check_side(width, height)?;
        decoder.set_limits(super::io::limits()).map_err(fault)?;
        let (format, range) = (PixelFormat::Rgb8, ColourRange::Full);
        if decoder.color_type() == image::ColorType::Rgb8 {
            let mut frame = Frame::within(pool, width, height, format, range)?;
            // Should the decoder leave lines as they are, they are not to be those of an earlier
            // picture, with what was to be hidden there.
            frame.data_mut().fill(MIDDLE);
            decoder.read_image(frame.data_mut()).map_err(fault)?;
            return Ok(frame);
        }
        // Grey ones are rare enough to go a longer way.
        let picture = image::DynamicImage::from_decoder(decoder).map_err(fault)?.into_rgb8();
        Frame::new(width, height, format, range, picture.into_raw())
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
