//! Where frames and masks come from: cameras, clips, folders, and a pattern of our own.
//!
//! A [`Source`] gives one picture after another and nothing else. It does not know about real
//! time, dropping or waiting: whether each frame or only the newest counts is the service's
//! choice, made once for all sources (see `service::capture`). The other obvious way, a source
//! that drops by itself, would need the same logic in each of them.
//!
//! What a source gives lies in memory that is used again when nobody looks at it any more (see
//! [`Pool`]). It is [`Captured`]: a JPEG from a camera is decoded only when somebody is
//! going to look at it, so that frames that get dropped cost next to nothing.
//!
//! ```no_run
//! let mut source = lbam::camera::open(&"test:320x240".parse()?)?;
//! let pool = lbam::picture::Pool::default();
//! while let Some(captured) = source.next()? {
//!     let frame = captured.decode(&pool)?;
//!     println!("{}x{}", frame.width(), frame.height());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Hazard: every byte that comes in here is somebody else's. Headers may lie, cables may be
//! pulled, JPEGs may be cut, a mask file may be half written. A frame that cannot be decoded is
//! dropped and counted; a mask that cannot be had never means "nothing to hide".
#![forbid(unsafe_code)]

mod error;
mod folder;
mod mask_device;
mod mask_feed;
#[cfg(unix)]
mod mask_socket;
mod mask_source;
mod mjpeg;
mod natural;
mod pattern;
mod probe;
mod spec;
#[cfg(target_os = "linux")]
mod v4l2;
mod y4m;

pub use error::{CameraError, MaskSourceError};
pub use mask_source::{MaskSource, Masks, check_in_step, check_steps};
pub use pattern::test_frame;
#[cfg(target_os = "linux")]
pub(crate) use probe::abilities;
pub use probe::{Probe, probe};
pub use spec::{CameraFormat, CameraWish, MaskSpec, SourceSpec};
pub use y4m::Y4mReader;

use std::time::Duration;

use crate::picture::{Bytes, Frame, FrameError, Pool, StreamInfo, jpeg_size};
use crate::process::Seldom;

/// Without a good frame for so long a camera counts as lost. Some take seconds to start or to expose.
pub(crate) const SILENCE: Duration = Duration::from_secs(8);

/// How often the log tells of masks what may come many times a second.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How much of it is told before that: who tries things out wants to hear of each.
const TELL_AT_ONCE: u32 = 10;

/// Tells of masks no more often than so.
fn seldom() -> Seldom {
    Seldom::every(TELL_EVERY).at_once(TELL_AT_ONCE)
}

/// Gives one picture after another.
pub trait Source: Send {
    /// For the log: what it is and in which format.
    fn describe(&self) -> String;

    /// What a device calls itself; `None` of what is none.
    fn card(&self) -> Option<&str> {
        None
    }

    /// The next picture; `None` at the end of a file. Blocks until there is one.
    fn next(&mut self) -> Result<Option<Captured>, CameraError>;

    /// Whether frames come at their own time (cameras, pipes). Other sources must be held back
    /// to their frame rate when they are to play in real time.
    fn paces_itself(&self) -> bool {
        false
    }

    /// What an output file should say about the stream.
    fn stream(&self) -> StreamInfo;

    /// When the picture given last was taken, as the driver says: microseconds of a clock of its
    /// own. `None` where it does not say.
    fn taken(&self) -> Option<i128> {
        None
    }
}

/// A picture as it came.
#[derive(Debug)]
pub enum Captured {
    Frame(Frame),
    /// A whole JPEG, decoded when wanted.
    Jpeg(Bytes),
    /// The camera sent something that is no frame.
    Damaged(FrameError),
}

impl Captured {
    /// The frame; one that must be decoded is put into memory of `pool`.
    pub fn decode(self, pool: &Pool) -> Result<Frame, FrameError> {
        match self {
            Self::Frame(frame) => Ok(frame),
            Self::Jpeg(bytes) => Frame::from_jpeg(pool, &bytes),
            Self::Damaged(error) => Err(error),
        }
    }
}

/// Tells a JPEG of another size from one whose header is damaged: the next one has that size, too. Masks
/// would not fit it, and the stream go on to an output as another.
#[derive(Debug, Default)]
struct Sizes {
    before: Option<(u16, u16)>,
    /// What the frame before stated, if it was another.
    other: Option<(u16, u16)>,
}

impl Sizes {
    /// The frame that comes next, or that it is damaged.
    fn take(&mut self, jpeg: Bytes) -> Captured {
        // Without a size it is decoded for what else is wrong.
        let Some(size) = jpeg_size(&jpeg) else { return Captured::Jpeg(jpeg) };
        let before = *self.before.get_or_insert(size);
        if size == before || self.other == Some(size) {
            (self.before, self.other) = (Some(size), None);
            return Captured::Jpeg(jpeg);
        }
        self.other = Some(size);
        let ((width, height), (from, to)) = (size, before);
        let reason = format!("it states {width}x{height}, and the frames before {from}x{to}");
        Captured::Damaged(FrameError::Jpeg { reason })
    }
}

/// Opens a source. A camera that is away is an error that
/// [may pass](CameraError::may_pass): the caller decides whether to wait.
pub fn open(spec: &SourceSpec) -> Result<Box<dyn Source>, CameraError> {
    open_with(spec, &CameraWish::default())
}

/// As [`open`]. The wish is for cameras; other sources give what they hold.
pub fn open_with(spec: &SourceSpec, wish: &CameraWish) -> Result<Box<dyn Source>, CameraError> {
    #[cfg(not(target_os = "linux"))]
    let _ = wish;
    Ok(match spec {
        #[cfg(target_os = "linux")]
        SourceSpec::Device(path) => Box::new(v4l2::Camera::open(path, wish)?),
        #[cfg(not(target_os = "linux"))]
        SourceSpec::Device(path) => {
            return Err(CameraError::Driver {
                path: path.clone(),
                reason: "cameras are read through V4L2, which only Linux has".into(),
            });
        }
        SourceSpec::Stdin => Box::new(Y4mReader::stdin()?),
        SourceSpec::Y4m(path) => Box::new(Y4mReader::open(path)?),
        SourceSpec::Folder(path) => Box::new(folder::Folder::open(path)?),
        SourceSpec::Mjpeg(path) => Box::new(mjpeg::MjpegFile::open(path)?),
        SourceSpec::Test { width, height } => Box::new(pattern::Pattern::new(*width, *height)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_of_another_size_is_damaged_and_two_are_another_size() {
        let pool = Pool::default();
        let jpeg = |height: u8, width: u8| {
            let mut bytes = pool.empty();
            bytes.vector().clear();
            let table = [0xff, 0xd8, 0xff, 0xdb, 0, 3, 0];
            let header = [0xff, 0xc0, 0, 11, 8, 0, height, 0, width, 1, 1, 0x11, 0];
            bytes.vector().extend([&table[..], &header].concat());
            bytes
        };
        let mut sizes = Sizes::default();
        let mut whole = |jpeg| matches!(sizes.take(jpeg), Captured::Jpeg(_));
        assert!(whole(jpeg(48, 64)) && whole(jpeg(48, 64)));
        assert!(!whole(jpeg(49, 64)) && whole(jpeg(48, 64)));
        assert!(!whole(jpeg(48, 65)) && !whole(jpeg(49, 64)) && whole(jpeg(48, 64)));
        assert!(!whole(jpeg(24, 32)) && whole(jpeg(24, 32)) && whole(jpeg(24, 32)));
        assert!(!whole(jpeg(48, 64)));
        assert!(whole(pool.empty()), "what states none is looked at where it is decoded");
    }
}
