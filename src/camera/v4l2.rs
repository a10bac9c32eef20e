//! A camera through V4L2, with buffers mapped from the driver.
//!
//! Formats are taken in the order of what they cost: YUYV and NV12 are copied, MJPEG must be
//! decoded, RGB3 is large and GREY has no colour. The size asked for is 640x480. A wish of the
//! user comes first in both; the driver may answer with something else, which is then used.
//!
//! A camera fails in more ways than by going away: it stops sending, sends nothing but damaged
//! frames, or says again and again that there is a frame and then has none. All of these are told
//! by the age of the last good frame, or of one that had to be let go, and all end in
//! [`CameraError::Lost`]: opening it anew is what mends them. Of a JPEG only its end is looked for;
//! whether the rest is good shows when it is decoded.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use v4l::buffer::{Flags, Type};
use v4l::capability::Flags as Capability;
use v4l::format::{Colorspace, FieldOrder, Quantization};
use v4l::io::mmap::Stream;
use v4l::io::traits::CaptureStream;
use v4l::timestamp::Timestamp;
use v4l::video::Capture;
use v4l::{Device, Format, FourCC};

use super::{CameraError, CameraFormat, CameraWish, Captured, Sizes, Source};
use crate::picture::{ColourRange, Frame, FrameError, Pool, StreamInfo, jpeg_is_whole};

/// What v4l2loopback calls itself.
const LOOPBACK: &str = "v4l2 loopback";
/// In order of preference. `JPEG` is what some drivers call their MJPEG.
pub(super) const FORMATS: [&[u8; 4]; 6] = [b"YUYV", b"NV12", b"MJPG", b"JPEG", b"RGB3", b"GREY"];
/// Sizes to ask for until the driver takes one.
const SIZES: [(u32, u32); 4] = [(640, 480), (1280, 720), (320, 240), (160, 120)];
/// Four: one being copied, the others with the driver, so that none is missed meanwhile.
const BUFFERS: u32 = 4;
/// How long one wait for a frame lasts at first.
const PATIENCE: Duration = Duration::from_millis(500);
/// Without a good frame for so long the camera counts as lost. Some take seconds to start or to
/// expose.
const SILENCE: Duration = Duration::from_secs(8);

const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const ENXIO: i32 = 6;
const EIO: i32 = 5;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const EPIPE: i32 = 32;
const ENOLINK: i32 = 67;

pub(super) struct Camera {
    path: PathBuf,
    card: String,
    format: Format,
    rate: (u32, u32),
    stream: Option<Stream<'static>>,
    pool: Pool,
    sizes: Sizes,
    /// How long one wait for a frame lasts.
    patience: Duration,
    /// The driver holds every buffer: a wait ended without a frame.
    waiting: bool,
    /// When the driver says that the last one was taken.
    taken: Option<i128>,
    /// Since when there were only damaged frames, and what was wrong with the first.
    damaged: Option<(Instant, FrameError)>,
    /// When a frame came that had to be let go.
    let_go: Option<Instant>,
    is_loopback: bool,
    /// The driver has begun to send, or at least to wait for frames.
    has_started: bool,
    /// What there is to say of its formats: with the first frame, since a camera that is waited for is
    /// opened again and again.
    remarks: Vec<Remark>,
}

type Remark = (log::Level, String);

impl Camera {
    pub fn open(path: &Path, wish: &CameraWish) -> Result<Self, CameraError> {
        // The v4l crate panics on values of a driver that it has no name for.
        catch_unwind(|| Self::connect(path, wish)).unwrap_or_else(|_| {
            Err(CameraError::Driver {
                path: path.into(),
                reason: "it states a format that the v4l library does not know".into(),
            })
        })
    }

    fn connect(path: &Path, wish: &CameraWish) -> Result<Self, CameraError> {
        let fail = |error| explain(path, error);
        let device = Device::with_path(path).map_err(fail)?;
        let abilities = device.query_caps().map_err(fail)?;
        // Until a program writes to it, this one is no capture device or has no format.
        let is_loopback = abilities.driver == LOOPBACK;
        if !abilities.capabilities.contains(Capability::VIDEO_CAPTURE) {
            if is_loopback {
                return Err(CameraError::Idle { path: path.into() });
            }
            return Err(CameraError::Formats {
                path: path.into(),
                offered: format!("nothing ({} is not a capture device)", abilities.card),
            });
        }
        let mut remarks = Vec::new();
        let format = choose(&device, path, wish, &mut remarks).map_err(|error| match error {
            CameraError::Formats { path, offered } if is_loopback && offered.is_empty() => {
                CameraError::Idle { path }
            }
            error => error,
        })?;
        let rate = device
            .params()
            .ok()
            .map(|params| (params.interval.denominator, params.interval.numerator))
            .filter(|&(over, under)| over > 0 && under > 0)
            .unwrap_or((30, 1));
        let mut stream =
            Stream::with_buffers(&device, Type::VideoCapture, BUFFERS).map_err(fail)?;
        stream.set_timeout(PATIENCE);
        let mut camera = Self::new(path, abilities.card, format, rate);
        camera.stream = Some(stream);
        (camera.is_loopback, camera.remarks) = (is_loopback, remarks);
        Ok(camera)
    }

    /// One that does not send yet.
    fn new(path: &Path, card: String, format: Format, rate: (u32, u32)) -> Self {
        Self {
            path: path.into(),
            card,
            format,
            rate,
            stream: None,
            pool: Pool::default(),
            sizes: Sizes::default(),
            patience: PATIENCE,
            waiting: false,
            taken: None,
            damaged: None,
            let_go: None,
            is_loopback: false,
            has_started: false,
            remarks: Vec::new(),
        }
    }

    /// The bytes of the next frame, copied or unpacked into a frame of our own.
    fn grab(&mut self) -> io::Result<Captured> {
        let Some(stream) = &mut self.stream else {
            return Err(io::Error::from_raw_os_error(ENODEV));
        };
        if self.waiting {
            // `next` would hand back a buffer that the driver already has, which is an error;
            // so wait here, let that frame go, and take the one after it, which may take as long.
            CaptureStream::dequeue(stream)?;
            self.let_go = Some(Instant::now());
            self.patience = (2 * self.patience).min(SILENCE);
            stream.set_timeout(self.patience);
        }
        self.waiting = true;
        let (bytes, meta) = CaptureStream::next(stream)?;
        self.waiting = false;
        self.taken = stated(meta.timestamp);
        let used = match meta.bytesused as usize {
            // Some drivers leave it out.
            0 => bytes.len(),
            used => used.min(bytes.len()),
        };
        if meta.flags.contains(Flags::ERROR) {
            return Ok(Captured::Damaged(FrameError::Marked));
        }
        Ok(match unpack(&self.pool, &self.format, &bytes[..used]) {
            Captured::Jpeg(jpeg) => self.sizes.take(jpeg),
            other => other,
        })
    }

    /// The camera is lost if a frame has been waited for since `begun`, or there have been only
    /// damaged ones, for too long.
    fn check(&self, begun: Instant) -> Result<(), CameraError> {
        let begun = self.let_go.map_or(begun, |let_go| let_go.max(begun));
        let since = self.damaged.as_ref().map_or(begun, |(since, _)| *since);
        if since.elapsed() < SILENCE {
            return Ok(());
        }
        let seconds = SILENCE.as_secs();
        let reason = match &self.damaged {
            None => format!("no frame for {seconds} seconds"),
            Some((_, error)) => format!("no good frame for {seconds} seconds: {error}"),
        };
        Err(CameraError::Lost { path: self.path.clone(), reason })
    }

    /// Why it does not begin to send.
    fn unstarted(&self, error: &io::Error) -> CameraError {
        let path = self.path.clone();
        let mend = match error.raw_os_error() {
            Some(ENODEV | ENXIO) => return CameraError::Absent { path },
            Some(EBUSY) => return CameraError::Busy { path },
            Some(EIO) if self.is_loopback => return CameraError::Idle { path },
            Some(ENOSPC) => {
                "there is no room for it on the USB bus beside others; --camera-format MJPG or a \
                 smaller --camera-size takes less, another socket may be on another bus"
            }
            Some(EPIPE | EINVAL | ENOLINK) => {
                "if it hangs on the board's own connector, it needs libcamera before it \
                 (docs/devices.md)"
            }
            _ => "try another --camera-format or --camera-size",
        };
        CameraError::Unstarted { path, reason: error.to_string(), mend }
    }
}

impl Source for Camera {
    fn describe(&self) -> String {
        let Format { width, height, fourcc, .. } = &self.format;
        format!("camera {} ({}, {width}x{height} {fourcc})", self.path.display(), self.card)
    }

    fn card(&self) -> Option<&str> {
        Some(&self.card)
    }

    fn paces_itself(&self) -> bool {
        true
    }

    fn stream(&self) -> StreamInfo {
        StreamInfo { rate: self.rate, ..StreamInfo::default() }
    }

    fn taken(&self) -> Option<i128> {
        self.taken
    }

    fn next(&mut self) -> Result<Option<Captured>, CameraError> {
        let begun = Instant::now();
        loop {
            let captured = match self.grab() {
                Ok(captured) => captured,
                Err(error) => match error.kind() {
                    // A signal, a frame that another wait took, or none yet: no fault, unless
                    // it goes on.
                    ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        self.has_started = true;
                        self.check(begun)?;
                        continue;
                    }
                    _ if !self.has_started => return Err(self.unstarted(&error)),
                    _ => {
                        let reason = error.to_string();
                        return Err(CameraError::Lost { path: self.path.clone(), reason });
                    }
                },
            };
            self.has_started = true;
            for (level, remark) in self.remarks.drain(..) {
                log::log!(level, "{}: {remark}", self.path.display());
            }
            match &captured {
                Captured::Damaged(error) => {
                    self.damaged.get_or_insert_with(|| (Instant::now(), error.clone()));
                    self.check(begun)?;
                }
                _ => self.damaged = None,
            }
            return Ok(Some(captured));
        }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        // The stream panics when it cannot be stopped, for instance after a bus error.
        let stream = self.stream.take();
        let _ = catch_unwind(AssertUnwindSafe(move || drop(stream)));
    }
}

/// The driver's names for a format.
fn names(format: CameraFormat) -> &'static [&'static [u8; 4]] {
    match format {
        CameraFormat::Yuyv => &[b"YUYV"],
        CameraFormat::Nv12 => &[b"NV12"],
        CameraFormat::Mjpeg => &[b"MJPG", b"JPEG"],
        CameraFormat::Rgb3 => &[b"RGB3"],
        CameraFormat::Grey => &[b"GREY"],
    }
}

fn choose(
    device: &Device,
    path: &Path,
    wish: &CameraWish,
    remarks: &mut Vec<Remark>,
) -> Result<Format, CameraError> {
    let wished = wish.format.map_or(&[][..], names);
    let offered: Vec<FourCC> = device
        .enum_formats()
        .map_err(|error| explain(path, error))?
        .into_iter()
        .map(|description| description.fourcc)
        .collect();
    let mut refusal = None;
    let is_offered = wished.iter().any(|name| offered.contains(&FourCC::new(name)));
    if !is_offered && !wished.is_empty() && !offered.is_empty() {
        let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
        let offered = offered.join(", ");
        let remark =
            format!("does not offer the format asked for, but: {offered}; taking what suits best");
        remarks.push((log::Level::Warn, remark));
    }
    let mut interlaced = false;
    let others = FORMATS.iter().filter(|name| !wished.contains(name));
    for wanted in wished.iter().chain(others).map(|name| FourCC::new(name)) {
        if !offered.contains(&wanted) {
            continue;
        }
        for (width, height) in wish.size.into_iter().chain(SIZES) {
            match device.set_format(&Format::new(width, height, wanted)) {
                // A colour sample of NV12 covers two lines, which in interlaced pictures lie apart.
                Ok(format) if &wanted.repr == b"NV12" && is_interlaced(format.field_order) => {
                    interlaced = true;
                    break;
                }
                Ok(format) if format.fourcc == wanted && format.width > 0 && format.height > 0 => {
                    let given = (format.width, format.height);
                    remarks.extend(size_remark(wish.size, (width, height), given));
                    return Ok(format);
                }
                Ok(_) => break,
                Err(error) => refusal = Some(error),
            }
        }
        let remark = format!("offers {wanted} but not as lbam takes it; another was tried");
        remarks.push((log::Level::Info, remark));
    }
    match refusal {
        Some(error) => Err(explain(path, error)),
        None => {
            let names: Vec<String> = offered.iter().map(ToString::to_string).collect();
            let mut offered = names.join(", ");
            if interlaced {
                offered += " (NV12 interlaced, whose colours masks do not part)";
            }
            Err(CameraError::Formats { path: path.into(), offered })
        }
    }
}

fn is_interlaced(order: FieldOrder) -> bool {
    !matches!(order, FieldOrder::Any | FieldOrder::Progressive)
}

/// What to say where a camera gives another size than was asked of it. If the user asked, that is more
/// than a matter of taste: masks may have been made for that size.
fn size_remark(wished: Option<(u32, u32)>, asked: (u32, u32), given: (u32, u32)) -> Option<Remark> {
    let (width, height) = given;
    match wished {
        Some(wished) if wished != given => {
            let remark = format!(
                "refuses the size asked for, {}x{}, and gives {width}x{height}; a rectangle in \
                 pixels would cover another place of it: give it in percent, or another \
                 --camera-size",
                wished.0, wished.1
            );
            Some((log::Level::Warn, remark))
        }
        None if asked != given => {
            let remark =
                format!("gives {width}x{height} where {}x{} was asked for", asked.0, asked.1);
            Some((log::Level::Info, remark))
        }
        _ => None,
    }
}

/// The driver's time of a picture in microseconds. All zero means that it keeps none.
fn stated(time: Timestamp) -> Option<i128> {
    let microseconds = i128::from(time.sec) * 1_000_000 + i128::from(time.usec);
    (microseconds != 0).then_some(microseconds)
}

fn unpack(pool: &Pool, format: &Format, bytes: &[u8]) -> Captured {
    let (width, height) = (format.width as usize, format.height as usize);
    let full = match format.quantization {
        Quantization::FullRange => true,
        Quantization::LimitedRange => false,
        Quantization::Default => matches!(format.colorspace, Colorspace::JPEG),
    };
    let range = if full { ColourRange::Full } else { ColourRange::Limited };
    // Drivers may leave the stride out where lines are packed.
    let stride = |packed: usize| match format.stride as usize {
        0 => packed,
        stride => stride,
    };
    let frame = match &format.fourcc.repr {
        b"YUYV" => {
            Frame::from_yuyv(pool, width, height, stride(width.div_ceil(2) * 4), bytes, range)
        }
        b"NV12" => Frame::from_nv12(pool, width, height, stride(width), bytes, range),
        b"RGB3" => Frame::from_rgb3(pool, width, height, stride(width * 3), bytes),
        b"GREY" => Frame::from_grey(pool, width, height, stride(width), bytes, ColourRange::Full),
        // Looked at here, so that a camera that sends nothing but cut ones counts as lost.
        _ if !jpeg_is_whole(bytes) => Err(FrameError::Jpeg { reason: "its end is missing".into() }),
        _ => {
            let mut jpeg = pool.bytes(bytes.len());
            jpeg.write().copy_from_slice(bytes);
            return Captured::Jpeg(jpeg);
        }
    };
    frame.map_or_else(Captured::Damaged, Captured::Frame)
}

pub(super) fn explain(path: &Path, error: io::Error) -> CameraError {
    let path = path.to_path_buf();
    match (error.kind(), error.raw_os_error()) {
        (ErrorKind::NotFound, _) | (_, Some(ENODEV | ENXIO)) => CameraError::Absent { path },
        (ErrorKind::PermissionDenied, _) => CameraError::Forbidden { path },
        (_, Some(EBUSY)) => CameraError::Busy { path },
        _ => CameraError::Driver { path, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_camera_may_come_back() {
        let error = Camera::open(Path::new("/dev/video987"), &CameraWish::default())
            .err()
            .expect("no such camera");
        assert!(matches!(error, CameraError::Absent { .. }) && error.may_pass());
    }

    #[test]
    fn what_is_no_camera_is_told_apart() {
        let error =
            Camera::open(Path::new("/dev/null"), &CameraWish::default()).err().expect("no camera");
        assert!(!error.may_pass(), "{error}");
    }

    fn silent() -> Camera {
        let format = Format::new(64, 48, FourCC::new(b"YUYV"));
        Camera::new(Path::new("/dev/video7"), "Eye".into(), format, (30, 1))
    }

    #[test]
    fn why_a_camera_does_not_begin_is_told_with_its_mend() {
        let mut camera = silent();
        let told = |camera: &Camera, code| {
            let error = camera.unstarted(&io::Error::from_raw_os_error(code));
            assert!(error.may_pass(), "{error}");
            error.to_string()
        };
        assert!(told(&camera, ENOSPC).contains("--camera-format MJPG"));
        assert!(told(&camera, EPIPE).contains("libcamera"));
        assert!(told(&camera, EIO).contains("--camera-size"));
        camera.is_loopback = true;
        assert!(told(&camera, EIO).contains("start the program that does"));
        assert!(told(&camera, EBUSY).contains("another program"));
    }

    #[test]
    fn a_frame_that_is_let_go_ends_the_silence() {
        let mut camera = silent();
        let begun = Instant::now().checked_sub(SILENCE).expect("up for so long");
        assert!(camera.check(begun).is_err());
        camera.let_go = Some(Instant::now());
        assert!(camera.check(begun).is_ok());
        camera.let_go = Some(begun);
        assert!(camera.check(begun).is_err());
    }

    #[test]
    fn of_sizes_only_another_than_wanted_is_told() {
        let vga = (640, 480);
        assert_eq!(size_remark(Some(vga), vga, vga), None);
        assert_eq!(size_remark(None, vga, vga), None);
        let (level, remark) = size_remark(Some((800, 600)), (800, 600), vga).expect("a remark");
        assert!(level == log::Level::Warn && remark.contains("800x600"), "{remark}");
        let (level, remark) = size_remark(None, vga, (320, 240)).expect("a remark");
        assert!(level == log::Level::Info && remark.contains("320x240"), "{remark}");
    }

    #[test]
    fn short_frames_are_damaged_and_not_padded() {
        let format = Format::new(64, 48, FourCC::new(b"YUYV"));
        let pool = Pool::default();
        assert!(matches!(unpack(&pool, &format, &[0; 100]), Captured::Damaged(_)));
        assert!(matches!(unpack(&pool, &format, &[0; 64 * 48 * 2]), Captured::Frame(_)));
    }

    #[test]
    fn cut_jpegs_are_damaged_before_anybody_decodes_them() {
        let (format, pool) = (Format::new(64, 48, FourCC::new(b"MJPG")), Pool::default());
        let whole: [u8; 9] = [0xff, 0xd8, 0xff, 0xda, 0, 2, 7, 0xff, 0xd9];
        assert!(matches!(unpack(&pool, &format, &whole), Captured::Jpeg(_)));
        for cut in [&whole[..7], &whole[..2], &whole[..0]] {
            assert!(matches!(unpack(&pool, &format, cut), Captured::Damaged(_)));
        }
    }

    #[test]
    fn the_time_of_a_picture_is_the_driver_s_if_it_keeps_one() {
        assert_eq!(stated(Timestamp::new(5, 7)), Some(5_000_007));
        assert_eq!(stated(Timestamp::new(0, 0)), None);
    }
}
