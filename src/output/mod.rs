//! Where pictures go: folders, y4m files and pipes, V4L2 devices, a page in the browser.
//!
//! A [`Sink`] takes one frame after another and is told when it is over. It takes what it is
//! given as it is: what is in a frame was decided before (`service::guard` is the only caller,
//! and hands on nothing that still holds a hidden pixel). Files are written aside and renamed
//! when finished, so that a reader never meets half a clip under the final name.
//!
//! The page encodes JPEG in a thread of its own and only while somebody watches. The other
//! obvious way, encoding in the loop, would let a spectator slow the filling down.
//!
//! ```
//! use lbam::output::{Options, open};
//! use lbam::picture::StreamInfo;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("out.y4m");
//! let mut sink = open(&path.display().to_string().parse()?, &Options::default())?;
//! sink.start(&StreamInfo::default());
//! sink.write(&lbam::camera::test_frame(64, 48, 0)?)?;
//! sink.finish()?;
//! assert!(path.is_file());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Hazard: a sink keeps the newest frame (the page does). It must never hold one from before
//! it was filled, so nothing in here may be called with a raw frame.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod device;
mod error;
mod folder;
mod http;
mod jpeg;
mod listener;
mod pipe;
mod placeholder;
mod spec;
mod y4m;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub use error::OutputError;
pub use placeholder::placeholder;
pub use spec::{HostName, PictureKind, SinkSpec};

use crate::file::is_special;
use crate::picture::{Frame, StreamInfo};
use crate::process::Stop;

/// Takes one frame after another.
pub trait Sink: Send {
    /// For the log: what it is and where it can be seen.
    fn describe(&self) -> String;

    /// Told before the first frame, and again if the source comes back as another.
    fn start(&mut self, _stream: &StreamInfo) {}

    fn write(&mut self, frame: &Frame) -> Result<(), OutputError>;

    /// Whether pictures are looked at as they come, and kept nowhere.
    fn is_live(&self) -> bool {
        false
    }

    /// A picture that says why there is none, made of text alone. Only for those who look at the
    /// stream as it comes: a file must not hold it.
    fn stand_in(&mut self, _placeholder: &Frame) {}

    /// From now on masks are painted in this way, for sinks on which that can be done.
    fn take_masks(&mut self, _painting: Option<Painting>) {}

    /// How the service is doing, for sinks that show it.
    fn report(&mut self, _status: &serde_json::Value) {}

    /// Whether it does anything with reports: else none need be made.
    fn shows_reports(&self) -> bool {
        false
    }

    /// Completes files. Without it they are thrown away.
    fn finish(self: Box<Self>) -> Result<(), OutputError>;
}

/// What sinks need to know beside their name.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the page is served.
    pub http: SocketAddr,
    /// Names that it answers to beside its own.
    pub hosts: Vec<HostName>,
    /// What the page does with masks that are painted on it; it takes none without.
    pub painting: Option<Painting>,
    /// Whether a clip that is there stays, and the new one gets another name.
    pub keep_clips: bool,
    /// Whether a clip's rate is told by the clock, since frames may be left out and cameras send fewer
    /// than they say, and not by the source.
    pub by_clock: bool,
    /// Set when the work is to end: from then on a pipe is not waited with for long.
    pub stop: Stop,
}

/// How the page takes masks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Painting {
    /// Where they are kept, one PNG that is replaced as a whole (white: fill).
    pub file: PathBuf,
    /// Whether others than this machine may paint.
    pub by_others: bool,
}

/// Nobody but this machine, unless the user says otherwise.
pub const DEFAULT_HTTP: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

impl Default for Options {
    fn default() -> Self {
        Self {
            http: DEFAULT_HTTP,
            hosts: Vec::new(),
            painting: None,
            keep_clips: false,
            by_clock: false,
            stop: Stop::default(),
        }
    }
}

/// Opens a sink: makes the folder, takes the port.
pub fn open(spec: &SinkSpec, options: &Options) -> Result<Box<dyn Sink>, OutputError> {
    Ok(match spec {
        SinkSpec::Http => Box::new(http::Page::open(options)?),
        #[cfg(target_os = "linux")]
        SinkSpec::Device(path) => Box::new(device::VideoDevice::open(path)?),
        #[cfg(not(target_os = "linux"))]
        SinkSpec::Device(path) => {
            let reason = "only Linux has V4L2".into();
            return Err(OutputError::Device { path: path.clone(), reason });
        }
        SinkSpec::Stdout => Box::new(pipe::Pipe::stdout(&options.stop)?),
        SinkSpec::Y4m(path) if is_special(path) => Box::new(pipe::Pipe::open(path, &options.stop)?),
        SinkSpec::Y4m(path) => {
            Box::new(y4m::Clip::open(path, options.keep_clips, options.by_clock)?)
        }
        SinkSpec::Folder { path, kind } => Box::new(folder::Folder::open(path, *kind)?),
    })
}
