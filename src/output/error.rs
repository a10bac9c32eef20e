//! The room's errors.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::picture::{FrameError, PictureError};

/// A picture that could not be handed on.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error(
        "{path}: cannot be written ({source}); check that the folder exists, is writable and has \
         room",
        path = path.display()
    )]
    Write { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}: pictures cannot go out there ({reason}); name a V4L2 output device, such as \
         v4l2loopback makes: sudo modprobe v4l2loopback video_nr={number} exclusive_caps=1",
        path = path.display(),
        number = number_of(path)
    )]
    Device { path: PathBuf, reason: String },
    #[error("standard output: cannot be written ({source})")]
    Stdout { source: std::io::Error },
    /// Asked to end, with a reader that does not read.
    #[error("{name}: whoever reads it takes nothing, and has not got all of the last frame")]
    Unread { name: String },
    /// The reader of a pipe went away, or the program was asked to end before one came. Not a fault: the
    /// end of the work.
    #[error("the reader of standard output has closed it")]
    Closed,
    #[error(
        "{name}: the frames changed from {old_width}x{old_height} {old_format} to \
         {new_width}x{new_height} {new_format}, which one y4m stream cannot hold; write to a \
         folder instead"
    )]
    Changed {
        name: String,
        old_width: usize,
        old_height: usize,
        old_format: &'static str,
        new_width: usize,
        new_height: usize,
        new_format: &'static str,
    },
    #[error("{address}: the port is taken by another program; choose another: --http {ip}:{next}",
        ip = .address.ip(), next = .address.port().wrapping_add(1).max(1024))]
    PortTaken { address: SocketAddr },
    #[error(
        "{address}: cannot be listened on ({source}); choose an address of this machine and a \
         port above 1023: --http 127.0.0.1:8080"
    )]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the web page cannot be started ({source})")]
    Server { source: std::io::Error },
    #[error("JPEG encoding failed ({reason}); this is a fault of lbam, please report it")]
    Jpeg { reason: String },
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl OutputError {
    /// Whether it is the end of the work, or a new start mends it, beside whatever else goes on.
    pub(crate) fn ends_run(&self) -> bool {
        match self {
            Self::Closed | Self::Changed { .. } => true,
            // The pipe is opened again.
            Self::Write { source, .. } => source.kind() == ErrorKind::BrokenPipe,
            _ => false,
        }
    }
}

/// The number in a device's name, or one that is mostly free.
fn number_of(device: &Path) -> String {
    let name = device.to_string_lossy();
    let number = name.strip_prefix("/dev/video").unwrap_or_default();
    if number.parse::<u8>().is_ok() { number.into() } else { "9".into() }
}
