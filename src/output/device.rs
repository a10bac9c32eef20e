//! A V4L2 output device: through v4l2loopback, what goes in there is a camera to other programs.
//!
//! Pictures are written, not queued in mapped buffers: v4l2loopback takes both, and of the two only
//! writing hands on a picture as soon as it is there through the v4l library.
//!
//! Frames go out in the layout in which they are, if the device takes it: not a bit of a known pixel
//! changes then. RGB and 4:4:4 go out as YUYV first, since few programs read them from a camera.

use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use v4l::buffer::Type;
use v4l::capability::Flags as Capability;
use v4l::format::{Colorspace, FieldOrder};
use v4l::io::mmap;
use v4l::io::traits::Stream as _;
use v4l::video::Output;
use v4l::video::output::Parameters;
use v4l::{Device, Format, FourCC, Fraction};

use super::{OutputError, Sink};
use crate::camera::abilities;
use crate::picture::{ColourRange, Frame, PixelFormat, StreamInfo};

/// How long the device may have no room for a frame.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(2);
const EBUSY: i32 = 16;

/// How the bytes of a picture lie in the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Yuyv,
    Yu12,
    Nv12,
    Rgb3,
    Grey,
}

impl Layout {
    /// What to try for frames of a format, best first.
    fn of(format: PixelFormat) -> &'static [Self] {
        match format {
            PixelFormat::Yuv422 => &[Self::Yuyv, Self::Yu12, Self::Nv12],
            PixelFormat::Yuv420 => &[Self::Yu12, Self::Nv12, Self::Yuyv],
            PixelFormat::Yuv444 | PixelFormat::Rgb8 => {
                &[Self::Yuyv, Self::Yu12, Self::Nv12, Self::Rgb3]
            }
            PixelFormat::Grey8 => &[Self::Grey, Self::Yuyv, Self::Yu12, Self::Nv12],
        }
    }

    fn name(self) -> FourCC {
        FourCC::new(match self {
            Self::Yuyv => b"YUYV",
            Self::Yu12 => b"YU12",
            Self::Nv12 => b"NV12",
            Self::Rgb3 => b"RGB3",
            Self::Grey => b"GREY",
        })
    }

    fn format(self) -> PixelFormat {
        match self {
            Self::Yuyv => PixelFormat::Yuv422,
            Self::Yu12 | Self::Nv12 => PixelFormat::Yuv420,
            Self::Rgb3 => PixelFormat::Rgb8,
            Self::Grey => PixelFormat::Grey8,
        }
    }

    fn is_yuv(self) -> bool {
        matches!(self, Self::Yuyv | Self::Yu12 | Self::Nv12)
    }

    /// What frames are in that have to be converted: what programs expect of a camera.
    fn range(self) -> ColourRange {
        if self.is_yuv() { ColourRange::Limited } else { ColourRange::Full }
    }

    /// Bytes of a line of the first plane without gaps.
    fn line(self, width: usize) -> usize {
        match self {
            Self::Yuyv => width.div_ceil(2) * 4,
            Self::Yu12 | Self::Nv12 | Self::Grey => width,
            Self::Rgb3 => width * 3,
        }
    }

    /// Bytes of a picture as large as `frame`, lines of the first plane `stride` bytes apart.
    fn bytes(self, frame: &Frame, stride: usize) -> usize {
        let (height, across, down) =
            (frame.height(), frame.width().div_ceil(2), frame.height().div_ceil(2));
        let chroma = match self {
            Self::Yu12 => 2 * stride.div_ceil(2),
            Self::Nv12 => stride.max(2 * across),
            Self::Yuyv | Self::Rgb3 | Self::Grey => 0,
        };
        stride * height + chroma * down
    }

    /// Puts a frame of [`Layout::format`] after what is in `bytes`, lines of the first plane
    /// `stride` bytes apart.
    fn pack(self, frame: &Frame, stride: usize, bytes: &mut Vec<u8>) {
        let (width, (across, _)) = (frame.width(), frame.chroma_size());
        let mut line = |parts: &mut dyn Iterator<Item = u8>, stride: usize| {
            let end = bytes.len() + stride;
            bytes.extend(parts);
            bytes.resize(end, 0);
        };
        let [first, u, v] = [0, 1, 2].map(|plane| frame.plane(plane));
        match self {
            Self::Yuyv => {
                let chroma = u.chunks_exact(across).zip(v.chunks_exact(across));
                for (luma, (u, v)) in first.chunks_exact(width).zip(chroma) {
                    let pairs = luma.chunks(2).zip(u.iter().zip(v));
                    let four = |(y, (&u, &v)): (&[u8], (&u8, &u8))| [y[0], u, y[y.len() - 1], v];
                    line(&mut pairs.flat_map(four), stride);
                }
            }
            Self::Yu12 => {
                first.chunks_exact(width).for_each(|y| line(&mut y.iter().copied(), stride));
                for plane in [u, v] {
                    let lines = plane.chunks_exact(across);
                    lines
                        .for_each(|line_of| line(&mut line_of.iter().copied(), stride.div_ceil(2)));
                }
            }
            Self::Nv12 => {
                first.chunks_exact(width).for_each(|y| line(&mut y.iter().copied(), stride));
                for (u, v) in u.chunks_exact(across).zip(v.chunks_exact(across)) {
                    // Of an odd width it is longer than luma without gaps.
                    let stride = stride.max(2 * across);
                    line(&mut u.iter().zip(v).flat_map(|(&u, &v)| [u, v]), stride);
                }
            }
            Self::Rgb3 | Self::Grey => {
                let lines = first.chunks_exact(self.line(width));
                lines.for_each(|packed| line(&mut packed.iter().copied(), stride));
            }
        }
    }
}

pub(super) struct VideoDevice {
    path: PathBuf,
    card: String,
    rate: (u32, u32),
    /// The device, before it is told a format.
    fresh: Option<Device>,
    stream: Option<Stream>,
    /// Whether to [claim](Claim) it.
    claims: bool,
    rgb: Vec<u8>,
    bytes: Vec<u8>,
}

/// A device that was told what comes.
struct Stream {
    _claim: Option<Claim>,
    device: Device,
    /// Of the frames for which it was.
    width: usize,
    height: usize,
    format: PixelFormat,
    layout: Layout,
    /// Bytes from line to line, and of a picture.
    stride: usize,
    size: usize,
}

/// Streaming that was begun and is not used. A device of v4l2loopback before 0.12.8 that was only
/// written to is no output device to the next program.
struct Claim(Option<mmap::Stream<'static>>);

impl Claim {
    fn of(device: &Device) -> Option<Self> {
        let mut stream = mmap::Stream::with_buffers(device, Type::VideoOutput, 2).ok()?;
        let started = stream.start();
        let claim = Self(Some(stream));
        started.ok().map(|()| claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The stream panics when it cannot be stopped.
        let stream = self.0.take();
        let _ = catch_unwind(AssertUnwindSafe(move || drop(stream)));
    }
}

impl VideoDevice {
    pub fn open(path: &Path) -> Result<Self, OutputError> {
        let (device, card) = connect(path)?;
        Ok(Self {
            path: path.into(),
            card,
            rate: StreamInfo::default().rate,
            fresh: Some(device),
            stream: None,
            claims: true,
            rgb: Vec::new(),
            bytes: Vec::new(),
        })
    }

    /// Tells the device what comes.
    fn begin(&mut self, frame: &Frame) -> Result<(), OutputError> {
        // One that has had frames is opened anew: it takes another format only so.
        self.stream = None;
        let device = match self.fresh.take() {
            Some(device) => device,
            None => connect(&self.path)?.0,
        };
        let (width, height) = (frame.width(), frame.height());
        for &layout in Layout::of(frame.format()) {
            // The v4l crate panics on values of a driver that it has no name for.
            let Ok(Ok(taken)) = catch_unwind(|| device_takes(&device, layout, frame)) else {
                continue;
            };
            let stride = (taken.stride as usize).max(layout.line(width));
            let has_room = (taken.stride == 0 || taken.stride as usize == stride)
                && (taken.size == 0 || room(taken.size) >= layout.bytes(frame, stride));
            if !has_room
                || (taken.width, taken.height, taken.fourcc)
                    != (width as u32, height as u32, layout.name())
            {
                continue;
            }
            log::info!("{}: {width}x{height} {}", self.path.display(), taken.fourcc);
            let (over, under) = self.rate;
            // Not all devices want to know.
            let _ = device.set_params(&Parameters::new(Fraction::new(under, over)));
            let (format, size) = (frame.format(), taken.size as usize);
            let _claim = if self.claims { Claim::of(&device) } else { None };
            self.stream =
                Some(Stream { _claim, device, width, height, format, layout, stride, size });
            return Ok(());
        }
        let reason =
            format!("it does not take {width}x{height}; programs may be reading another size");
        Err(OutputError::Device { path: self.path.clone(), reason })
    }

    /// Puts the frame into `bytes` as the device wants it.
    fn pack(&mut self, frame: &Frame) -> Result<(), OutputError> {
        let Some(Stream { layout, stride, size, .. }) = self.stream else { return Ok(()) };
        self.bytes.clear();
        if frame.format() == layout.format() {
            layout.pack(frame, stride, &mut self.bytes);
        } else {
            frame.to_rgb(&mut self.rgb);
            let (width, height) = (frame.width(), frame.height());
            let (format, range) = (layout.format(), layout.range());
            let other = Frame::from_rgb(width, height, &self.rgb, format, range)?;
            layout.pack(&other, stride, &mut self.bytes);
        }
        self.bytes.resize(size.max(self.bytes.len()), 0);
        Ok(())
    }

    fn send(&mut self) -> std::io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        write_whole(&mut stream.device, &self.bytes)
    }
}

impl Sink for VideoDevice {
    fn describe(&self) -> String {
        format!("{} ({})", self.path.display(), self.card)
    }

    fn start(&mut self, stream: &StreamInfo) {
        if stream.rate.0 > 0 && stream.rate.1 > 0 {
            self.rate = stream.rate;
        }
    }

    fn write(&mut self, frame: &Frame) -> Result<(), OutputError> {
        let comes = (frame.width(), frame.height(), frame.format());
        let told = self.stream.as_ref().map(|told| (told.width, told.height, told.format));
        if told != Some(comes) {
            self.begin(frame)?;
        }
        self.pack(frame)?;
        let mut sent = self.send();
        let busy = sent.as_ref().is_err_and(|error| error.raw_os_error() == Some(EBUSY));
        if busy && std::mem::take(&mut self.claims) {
            // Later versions tell the two ways apart.
            self.begin(frame)?;
            self.pack(frame)?;
            sent = self.send();
        }
        sent.map_err(|error| explain(&self.path, &error))
    }

    fn is_live(&self) -> bool {
        true
    }

    fn stand_in(&mut self, placeholder: &Frame) {
        let (width, height) = (placeholder.width(), placeholder.height());
        let suits = |told: &Stream| (told.width, told.height) == (width, height);
        // Before the first frame nobody knows what the device is to be told.
        if !self.stream.as_ref().is_some_and(suits) {
            return;
        }
        if let Err(error) = self.pack(placeholder) {
            log::warn!("{error}");
        } else if let Err(error) = self.send() {
            log::warn!("{}", explain(&self.path, &error));
        }
    }

    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        Ok(())
    }
}

fn connect(path: &Path) -> Result<(Device, String), OutputError> {
    let device = Device::with_path(path).map_err(|error| explain(path, &error))?;
    let abilities = abilities(&device, path).map_err(|error| explain(path, &error))?;
    if !abilities.capabilities.contains(Capability::VIDEO_OUTPUT | Capability::READ_WRITE) {
        let reason =
            format!("{} is no output device, or another program writes to it", abilities.card);
        return Err(OutputError::Device { path: path.into(), reason });
    }
    Ok((device, abilities.card))
}

/// Bytes of a buffer for pictures of a stated size: whole pages. (v4l2loopback states fewer than it needs
/// for odd sides.)
fn room(size: u32) -> usize {
    (size as usize).next_multiple_of(4096)
}

fn device_takes(device: &Device, layout: Layout, frame: &Frame) -> std::io::Result<Format> {
    let mut wanted = Format::new(frame.width() as u32, frame.height() as u32, layout.name());
    let range = match frame.format() == layout.format() {
        true => frame.range(),
        false => layout.range(),
    };
    wanted.field_order = FieldOrder::Progressive;
    // Which says the range too: a quantization of its own the kernel takes no notice of, as the v4l
    // library hands it over.
    wanted.colorspace = match range {
        ColourRange::Full if layout.is_yuv() => Colorspace::JPEG,
        ColourRange::Full | ColourRange::Limited => Colorspace::SRGB,
    };
    device.set_format(&wanted)
}

/// A picture at once: what is left of one would be the beginning of the next.
fn write_whole(device: &mut Device, bytes: &[u8]) -> std::io::Result<()> {
    let begun = Instant::now();
    loop {
        match device.write(bytes) {
            Ok(count) if count < bytes.len() => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => return Ok(()),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                _ => return Err(error),
            },
        }
    }
}

fn explain(path: &Path, error: &std::io::Error) -> OutputError {
    let reason = match error.kind() {
        ErrorKind::NotFound => "there is no such device".into(),
        ErrorKind::PermissionDenied => {
            "it may not be opened; add your user to its group: sudo usermod -aG video $USER".into()
        }
        ErrorKind::WouldBlock => "it takes no more pictures".into(),
        _ => error.to_string(),
    };
    OutputError::Device { path: path.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 3x2 frame whose every byte has its own value.
    fn frame(format: PixelFormat) -> Frame {
        let data = (1..).take(format.bytes(3, 2)).collect();
        Frame::new(3, 2, format, ColourRange::Limited, data).expect("a frame")
    }

    fn packed(layout: Layout, stride: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let frame = frame(layout.format());
        layout.pack(&frame, stride, &mut bytes);
        assert_eq!(bytes.len(), layout.bytes(&frame, stride), "{stride}");
        bytes
    }

    #[test]
    fn planes_lie_as_their_layout_says() {
        // Luma 1 to 6, then U and V: two each of 4:2:0, four each of 4:2:2.
        assert_eq!(
            packed(Layout::Yuyv, 9),
            [1, 7, 2, 11, 3, 8, 3, 12, 0, 4, 9, 5, 13, 6, 10, 6, 14, 0]
        );
        assert_eq!(packed(Layout::Yu12, 4), [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 10]);
        assert_eq!(packed(Layout::Nv12, 4), [1, 2, 3, 0, 4, 5, 6, 0, 7, 9, 8, 10]);
        // Without gaps: the samples of an odd width reach beyond half a line.
        assert_eq!(packed(Layout::Yu12, 3), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(packed(Layout::Nv12, 3), [1, 2, 3, 4, 5, 6, 7, 9, 8, 10]);
        assert_eq!(packed(Layout::Grey, 3), [1, 2, 3, 4, 5, 6]);
        assert_eq!(packed(Layout::Rgb3, 9), (1..=18).collect::<Vec<u8>>());
    }

    #[test]
    fn what_comes_back_from_a_camera_of_the_same_layout_is_the_same() {
        let pool = crate::picture::Pool::default();
        let yuyv = packed(Layout::Yuyv, 8);
        let back = Frame::from_yuyv(&pool, 3, 2, 8, &yuyv, ColourRange::Limited).expect("a frame");
        assert_eq!(back.data(), frame(PixelFormat::Yuv422).data());
        let nv12 = packed(Layout::Nv12, 4);
        let back = Frame::from_nv12(&pool, 3, 2, 4, &nv12, ColourRange::Limited).expect("a frame");
        assert_eq!(back.data(), frame(PixelFormat::Yuv420).data());
    }

    #[test]
    fn a_layout_without_conversion_comes_first() {
        for format in [PixelFormat::Yuv422, PixelFormat::Yuv420, PixelFormat::Grey8] {
            assert_eq!(Layout::of(format)[0].format(), format);
        }
    }

    #[test]
    fn what_is_no_output_device_is_refused_with_the_mend() {
        for (path, why) in [("/dev/video987", "no such device"), ("/dev/null", "")] {
            let error = VideoDevice::open(Path::new(path)).err().expect("no device").to_string();
            assert!(error.contains(path) && error.contains("modprobe v4l2loopback"), "{error}");
            assert!(error.contains(why), "{error}");
        }
    }
}
