//! One picture from a camera, in the layout it came in.

use super::{Bytes, FrameError, Pool};

/// The longest side of a frame, mask or picture. Keeps `width * height * 3` far from overflow
/// on 32-bit boards, and beyond any camera.
pub const MAX_SIDE: usize = 16_384;

/// Width and height as people write them, `640x480`.
pub fn parse_size(text: &str) -> Option<(usize, usize)> {
    let (width, height) = text.split_once(['x', 'X', '×'])?;
    Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
}

/// How the bytes of a [`Frame`] are laid out. The YUV formats are planar: Y, then U, then V.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    Rgb8,
    /// One chroma sample for 2x2 pixels; odd sides round the chroma side up.
    Yuv420,
    /// One chroma sample for 2x1 pixels.
    Yuv422,
    Yuv444,
    Grey8,
}

impl PixelFormat {
    pub fn name(self) -> &'static str {
        match self {
            PixelFormat::Rgb8 => "RGB",
            PixelFormat::Yuv420 => "YUV 4:2:0",
            PixelFormat::Yuv422 => "YUV 4:2:2",
            PixelFormat::Yuv444 => "YUV 4:4:4",
            PixelFormat::Grey8 => "grey",
        }
    }

    pub fn is_yuv(self) -> bool {
        matches!(self, PixelFormat::Yuv420 | PixelFormat::Yuv422 | PixelFormat::Yuv444)
    }

    /// Pixels that share a chroma sample, across and down (1, 1 where none do).
    pub fn chroma_block(self) -> (usize, usize) {
        match self {
            PixelFormat::Yuv420 => (2, 2),
            PixelFormat::Yuv422 => (2, 1),
            PixelFormat::Rgb8 | PixelFormat::Yuv444 | PixelFormat::Grey8 => (1, 1),
        }
    }

    /// Width and height of the chroma planes; (0, 0) for formats without.
    pub fn chroma_size(self, width: usize, height: usize) -> (usize, usize) {
        if !self.is_yuv() {
            return (0, 0);
        }
        let (across, down) = self.chroma_block();
        (width.div_ceil(across), height.div_ceil(down))
    }

    /// Bytes of a whole frame.
    pub fn bytes(self, width: usize, height: usize) -> usize {
        match self {
            PixelFormat::Rgb8 => width * height * 3,
            _ => {
                let (across, down) = self.chroma_size(width, height);
                width * height + 2 * across * down
            }
        }
    }
}

/// Which byte values mean black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColourRange {
    /// Luma 16..=235, chroma 16..=240: cameras' YUV.
    Limited,
    /// 0..=255: JPEG, RGB, most grey cameras.
    Full,
}

/// One picture: its planes tightly packed one after another.
///
/// The data always has the length that size and format ask for ([`Frame::new`] and `Frame::within` see
/// to it, and `data_mut` hands out a slice, never the vector), so nobody downstream checks again.
/// A clone shares the data; whoever writes into one of them gets a copy first.
#[derive(Debug, Clone)]
pub struct Frame {
    width: usize,
    height: usize,
    format: PixelFormat,
    range: ColourRange,
    data: Bytes,
    /// Which of its source's frames it is, from 0; a gap tells of dropped ones.
    pub sequence: u64,
}

impl Frame {
    /// Takes packed planes. Bytes beyond the frame's end are cut off.
    pub fn new(
        width: usize,
        height: usize,
        format: PixelFormat,
        range: ColourRange,
        mut data: Vec<u8>,
    ) -> Result<Frame, FrameError> {
        check_side(width, height)?;
        let needed = format.bytes(width, height);
        if data.len() < needed {
            return Err(short(format.name(), width, height, needed, data.len()));
        }
        data.truncate(needed);
        let data = data.into();
        Ok(Frame { width, height, format, range, data, sequence: 0 })
    }

    /// A frame in memory of `pool`. It holds whatever was there before: the caller writes every
    /// byte, or drops it.
    pub(crate) fn within(
        pool: &Pool,
        width: usize,
        height: usize,
        format: PixelFormat,
        range: ColourRange,
    ) -> Result<Frame, FrameError> {
        check_side(width, height)?;
        let data = pool.bytes(format.bytes(width, height));
        Ok(Frame { width, height, format, range, data, sequence: 0 })
    }

    /// A frame of one value in every byte of luma or RGB, neutral in chroma.
    pub fn flat(
        width: usize,
        height: usize,
        format: PixelFormat,
        range: ColourRange,
        value: u8,
    ) -> Result<Frame, FrameError> {
        check_side(width, height)?;
        let mut data = vec![value; format.bytes(width, height)];
        if format.is_yuv() {
            data[width * height..].fill(NEUTRAL_CHROMA);
        }
        Frame::new(width, height, format, range, data)
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    pub fn format(&self) -> PixelFormat {
        self.format
    }

    pub fn range(&self) -> ColourRange {
        self.range
    }

    pub fn data(&self) -> &[u8] {
        &self.data
    }

    pub fn data_mut(&mut self) -> &mut [u8] {
        self.data.write()
    }

    /// Plane 0 is luma, grey or the whole RGB; 1 and 2 are U and V, empty where there are none.
    pub fn plane(&self, index: usize) -> &[u8] {
        let [first, second] = self.cuts();
        match index {
            0 => &self.data[..first],
            1 => &self.data[first..second],
            2 => &self.data[second..],
            _ => &[],
        }
    }

    /// All three planes at once; U and V are empty where there are none.
    pub fn planes_mut(&mut self) -> (&mut [u8], &mut [u8], &mut [u8]) {
        let [first, second] = self.cuts();
        let (luma, chroma) = self.data.write().split_at_mut(first);
        let (u, v) = chroma.split_at_mut(second - first);
        (luma, u, v)
    }

    /// Width and height of the chroma planes; (0, 0) for formats without.
    pub fn chroma_size(&self) -> (usize, usize) {
        self.format.chroma_size(self.width, self.height)
    }

    fn cuts(&self) -> [usize; 2] {
        let first = match self.format {
            PixelFormat::Rgb8 => self.data.len(),
            _ => self.width * self.height,
        };
        let (across, down) = self.chroma_size();
        [first, first + across * down]
    }
}

/// What a stream says about itself beside its frames, to be written on unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Frames per second as a fraction.
    pub rate: (u32, u32),
    /// Shape of a pixel, if stated.
    pub aspect: Option<(u32, u32)>,
    /// y4m's letter for interlacing, if stated.
    pub interlace: Option<char>,
    /// y4m's name of the chroma layout, if stated: it tells where the samples sit.
    pub chroma: Option<String>,
}

impl Default for StreamInfo {
    fn default() -> Self {
        Self { rate: (25, 1), aspect: None, interlace: None, chroma: None }
    }
}

/// Chroma of every grey.
pub(crate) const NEUTRAL_CHROMA: u8 = 128;

pub(crate) fn check_side(width: usize, height: usize) -> Result<(), FrameError> {
    if (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height) {
        Ok(())
    } else {
        Err(FrameError::Side { width, height })
    }
}

pub(crate) fn short(
    format: &'static str,
    width: usize,
    height: usize,
    needed: usize,
    found: usize,
) -> FrameError {
    FrameError::Short { format, width, height, needed, found }
}
