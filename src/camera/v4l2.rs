//! A camera through V4L2, with buffers mapped from the driver.
//!
//! Formats are taken in the order of what they cost: YUYV, UYVY, NV12 and YU12 are copied, MJPEG must
//! be decoded, RGB3 is large and GREY has no colour. The size asked for is 640x480. A wish of the
//! user comes first in both, and a size before that order; the driver may answer with something else,
//! which is then used.
//!
//! A camera fails in more ways than by going away: it stops sending, or says again and again that
//! there is a frame and then has none. Both are told by the age of the last frame, or of one that had
//! to be let go, and both end in [`CameraError::Lost`]: opening it anew is what mends them. (So does one
//! that sends nothing but damaged frames, which shows when they are decoded: `service::capture`.) Of a
//! JPEG only its end is looked for here.

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

use super::probe::abilities;
use super::{CameraError, CameraFormat, CameraWish, Captured, SILENCE, Sizes, Source};
use crate::picture::{ColourRange, Frame, FrameError, Pool, StreamInfo, jpeg_is_whole};

/// What v4l2loopback calls itself.
const LOOPBACK: &str = "v4l2 loopback";
/// In order of preference. `JPEG` is what some drivers call their MJPEG.
pub(super) const FORMATS: [&[u8; 4]; 8] =
    [b"YUYV", b"UYVY", b"NV12", b"YU12", b"MJPG", b"JPEG", b"RGB3", b"GREY"];
/// Sizes to ask for until the driver takes one.
const SIZES: [(u32, u32); 4] = [(640, 480), (1280, 720), (320, 240), (160, 120)];
/// Four: one being copied, the others with the driver, so that none is missed meanwhile.
const BUFFERS: u32 = 4;
/// How long one wait for a frame lasts at first.
const PATIENCE: Duration = Duration::from_millis(500);

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
        let abilities = abilities(&device, path).map_err(fail)?;
        // Until a program writes to it, this one is no capture device or has no format.
        let is_loopback = abilities.driver == LOOPBACK;
        if !abilities.capabilities.contains(Capability::VIDEO_CAPTURE) {
            if is_loopback {
                return Err(CameraError::Idle { path: path.into() });
            }
            if abilities.capabilities.contains(Capability::VIDEO_CAPTURE_MPLANE) {
                return Err(CameraError::Planes { path: path.into() });
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
        remarks.extend(rate_remark(&format, rate));
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
        let used = used(&self.format, meta.bytesused as usize, bytes.len(), self.is_loopback);
        if meta.flags.contains(Flags::ERROR) {
            return Ok(Captured::Damaged(FrameError::Marked));
        }
        Ok(match unpack(&self.pool, &self.format, &bytes[..used]) {
            Captured::Jpeg(jpeg) => self.sizes.take(jpeg),
            other => other,
        })
    }

    /// The camera is lost if a frame has been waited for since `begun`, for too long.
    fn check(&self, begun: Instant) -> Result<(), CameraError> {
        let begun = self.let_go.map_or(begun, |let_go| let_go.max(begun));
        if begun.elapsed() < SILENCE {
            return Ok(());
        }
        let reason = format!("no frame for {} seconds", SILENCE.as_secs());
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
        CameraFormat::Uyvy => &[b"UYVY"],
        CameraFormat::Nv12 => &[b"NV12"],
        CameraFormat::Yu12 => &[b"YU12"],
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
    let is_offered = wished.iter().any(|name| offered.contains(&FourCC::new(name)));
    if !is_offered && !wished.is_empty() && !offered.is_empty() {
        let offered = names_of(&offered);
        let remark =
            format!("does not offer the format asked for, but: {offered}; taking what suits best");
        remarks.push((log::Level::Warn, remark));
    }
    let others = FORMATS.iter().filter(|name| !wished.contains(name));
    let order = wished.iter().chain(others).map(|name| FourCC::new(name));
    let order: Vec<FourCC> = order.filter(|wanted| offered.contains(wanted)).collect();
    let (mut refusal, mut fault) = (None, None);
    // `None` if another format comes.
    let mut ask = |wanted: FourCC, (width, height)| match device
        .set_format(&Format::new(width, height, wanted))
    {
        Ok(format) if format.fourcc != wanted || format.width == 0 || format.height == 0 => None,
        Ok(format) => match unmaskable(&format) {
            None => Some(format),
            Some(why) => {
                fault = Some(format!(" ({wanted} {why})"));
                None
            }
        },
        Err(error) => {
            refusal = Some(error);
            None
        }
    };
    // Many cameras have large pictures as JPEG alone.
    if let Some(size) = wish.size.filter(|_| !is_offered) {
        let exact = |format: &Format| (format.width, format.height) == size;
        let mut formats = order.iter().filter_map(|wanted| ask(*wanted, size));
        if let Some(format) = formats.find(exact) {
            return Ok(format);
        }
    }
    for wanted in order {
        for asked in wish.size.into_iter().chain(SIZES) {
            if let Some(format) = ask(wanted, asked) {
                remarks.extend(size_remark(wish.size, asked, (format.width, format.height)));
                return Ok(format);
            }
        }
        let remark = format!("offers {wanted} but not as lbam takes it; another was tried");
        remarks.push((log::Level::Info, remark));
    }
    match refusal {
        Some(error) => Err(explain(path, error)),
        None => Err(CameraError::Formats {
            path: path.into(),
            offered: names_of(&offered) + &fault.unwrap_or_default(),
        }),
    }
}

fn names_of(formats: &[FourCC]) -> String {
    formats.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Why masks would not hide in such pictures what they cover, if they would not.
fn unmaskable(format: &Format) -> Option<&'static str> {
    match (format.field_order, &format.fourcc.repr) {
        (FieldOrder::SequentialTB | FieldOrder::SequentialBT, _) => {
            Some("one field below the other, of which masks know nothing")
        }
        (FieldOrder::Any | FieldOrder::Progressive, _) => None,
        // A colour sample covers two lines, which in interlaced pictures lie apart.
        (_, b"NV12" | b"YU12") => Some("interlaced, whose colours masks do not part"),
        _ => None,
    }
}

/// Bytes of a buffer that are a picture, where the driver says that `stated` are. If it says none, what
/// lies there is a picture of before, for which masks of now are not meant; but v4l2loopback hands on
/// what its writers say, some of which leave it out.
fn used(format: &Format, stated: usize, length: usize, is_loopback: bool) -> usize {
    let is_coded = matches!(&format.fourcc.repr, b"MJPG" | b"JPEG");
    if stated == 0 && is_loopback && !is_coded { length } else { stated.min(length) }
}

/// What to say of a rate at which little is seen of what moves.
fn rate_remark(format: &Format, (over, under): (u32, u32)) -> Option<Remark> {
    let is_coded = matches!(&format.fourcc.repr, b"MJPG" | b"JPEG");
    (over < 10 * under && !is_coded).then(|| {
        let rate = f64::from(over) / f64::from(under);
        let remark = format!(
            "gives {rate:.1} frames/s in this format and size; --camera-format MJPG or a smaller \
             --camera-size may give more"
        );
        (log::Level::Info, remark)
    })
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
                 --camera-size or --camera-format",
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
        b"UYVY" => {
            Frame::from_uyvy(pool, width, height, stride(width.div_ceil(2) * 4), bytes, range)
        }
        b"YU12" => Frame::from_yu12(pool, width, height, stride(width), bytes, range),
        b"NV12" => Frame::from_nv12(pool, width, height, stride(width), bytes, range),
        b"RGB3" => Frame::from_rgb3(pool, width, height, stride(width * 3), bytes),
        b"GREY" => Frame::from_grey(pool, width, height, stride(width), bytes, ColourRange::Full),
        // Before it is copied.
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
    fn what_masks_would_not_hide_in_is_refused() {
        let refused = |name, order| {
            let format = Format { field_order: order, ..Format::new(64, 48, FourCC::new(name)) };
            unmaskable(&format).is_some()
        };
        for name in [b"YUYV", b"NV12", b"YU12", b"GREY"] {
            assert!(refused(name, FieldOrder::SequentialTB));
            assert!(refused(name, FieldOrder::SequentialBT));
            assert!(!refused(name, FieldOrder::Progressive));
            let is_shared = matches!(name, b"NV12" | b"YU12");
            assert_eq!(refused(name, FieldOrder::Interlaced), is_shared);
        }
    }

    #[test]
    fn a_buffer_that_is_said_to_be_empty_holds_no_picture() {
        let [yuyv, jpeg] = [b"YUYV", b"MJPG"].map(|name| Format::new(64, 48, FourCC::new(name)));
        assert_eq!(used(&yuyv, 0, 6144, false), 0);
        assert_eq!(used(&yuyv, 0, 6144, true), 6144);
        assert_eq!(used(&jpeg, 0, 6144, true), 0);
        assert_eq!([7, 9999].map(|stated| used(&yuyv, stated, 6144, false)), [7, 6144]);
    }

    #[test]
    fn a_slow_rate_is_told_where_another_format_may_be_faster() {
        let [yuyv, jpeg] = [b"YUYV", b"MJPG"].map(|name| Format::new(64, 48, FourCC::new(name)));
        let (_, remark) = rate_remark(&yuyv, (15, 2)).expect("a remark");
        assert!(remark.contains("7.5 frames/s"), "{remark}");
        assert_eq!(rate_remark(&yuyv, (10, 1)), None);
        assert_eq!(rate_remark(&jpeg, (5, 1)), None);
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
