//! The room's errors. Each names the source, says who is probably at fault and what to do.

use std::path::{Path, PathBuf};

use crate::picture::{FrameError, MOST_PAINTED_PIXELS, MaskError, PictureError};

/// A source of frames that cannot be opened or went wrong.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    #[error(
        "{path}: there is no camera; plug it in, or choose another (ls /dev/video*), or try \
         --camera test:",
        path = path.display()
    )]
    Absent { path: PathBuf },
    #[error("{path}: the camera is in use by another program; close that one", path = path.display())]
    Busy { path: PathBuf },
    #[error(
        "{path}: nothing is written to this loopback device; start the program that does",
        path = path.display()
    )]
    Idle { path: PathBuf },
    #[error("{path}: the camera does not begin to send ({reason}); {mend}", path = path.display())]
    Unstarted { path: PathBuf, reason: String, mend: &'static str },
    #[error("{path}: the camera stopped sending ({reason}); check its cable", path = path.display())]
    Lost { path: PathBuf, reason: String },
    #[error(
        "{path}: may not be opened; add your user to its group (sudo usermod -aG video $USER) and \
         log in again",
        path = path.display()
    )]
    Forbidden { path: PathBuf },
    #[error(
        "{path}: takes no pictures in a format lbam reads (YUYV, UYVY, NV12, YU12, MJPG, RGB3, \
         GREY); it \
         offers: {offered}",
        path = path.display()
    )]
    Formats { path: PathBuf, offered: String },
    #[error(
        "{path}: gives pictures in several planes, which lbam does not read; let GStreamer hand \
         them over: {}",
        planes_mend(path)
    )]
    Planes { path: PathBuf },
    #[error("{path}: the camera's driver failed ({reason})", path = path.display())]
    Driver { path: PathBuf, reason: String },
    #[error("{name}: cannot be read ({source}); check the path and its permissions")]
    Read { name: String, source: std::io::Error },
    #[error(
        "{path}: is {what}; convert it: ffmpeg -i {path} -pix_fmt yuv420p -f yuv4mpegpipe - | \
         lbam-edge --camera -",
        path = path.display()
    )]
    NotVideo { path: PathBuf, what: &'static str },
    #[error("{name}: is not y4m that lbam reads: {reason}")]
    Y4m { name: String, reason: String },
    #[error("{path}: holds no pictures; put PNG or JPEG files into it", path = path.display())]
    EmptyFolder { path: PathBuf },
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error("{name}: {source}")]
    Frame { name: String, source: FrameError },
}

/// What reads pictures in several planes for us.
pub(crate) fn planes_mend(path: &Path) -> String {
    format!(
        "gst-launch-1.0 -q v4l2src device={} ! videoconvert ! y4menc ! fdsink | lbam-edge --camera -",
        path.display()
    )
}

impl CameraError {
    pub(super) fn read(name: impl ToString, source: std::io::Error) -> Self {
        Self::Read { name: name.to_string(), source }
    }

    /// Whether waiting may mend it: a camera that is away, in use, beside others that take all of the
    /// bus or was unplugged, or a loopback device before its writer.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Absent { .. }
                | Self::Busy { .. }
                | Self::Idle { .. }
                | Self::Unstarted { .. }
                | Self::Lost { .. }
        )
    }
}

/// A mask that cannot be had. No frame may be shown on account of one.
#[derive(Debug, thiserror::Error)]
pub enum MaskSourceError {
    #[error("masks: {0}")]
    Device(#[from] CameraError),
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error("{name}: {source}")]
    Mask { name: String, source: MaskError },
    #[error("{path}: cannot be read ({source}); check the path and its permissions", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "http: there is no folder to keep a painted mask in; set XDG_STATE_HOME or HOME (for a \
         service, StateDirectory=)"
    )]
    NowhereToKeep,
    #[error(
        "{path}: masks cannot be taken there ({source}); name another socket, in a folder that you \
         may write to",
        path = path.display()
    )]
    Socket { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}: what was painted on the page cannot be read ({}); remove it and paint it anew",
        source.to_string().split("; ").next().unwrap_or_default(),
        path = path.display()
    )]
    Painted { path: PathBuf, source: Box<PictureError> },
    #[error(
        "{path}: a painted mask of {width}x{height} pixels is too large (at most {most} million in \
         all); remove it and paint it anew",
        path = path.display(), most = MOST_PAINTED_PIXELS / 1_000_000
    )]
    TooLarge { path: PathBuf, width: usize, height: usize },
    #[error("{path}: holds no mask pictures; put one PNG a frame into it", path = path.display())]
    EmptyFolder { path: PathBuf },
    #[error(
        "{path}: holds {count} masks, but frame {frame} came; give one mask a frame, or a single \
         mask picture for all",
        path = path.display(), frame = frame + 1
    )]
    TooFew { path: PathBuf, count: usize, frame: u64 },
    #[error(
        "{path}: the masks are out of step: {reason}; give each picture the mask that comes at its \
         place",
        path = path.display()
    )]
    OutOfStep { path: PathBuf, reason: String },
}

impl MaskSourceError {
    pub(super) fn mask(name: impl ToString, source: MaskError) -> Self {
        Self::Mask { name: name.to_string(), source }
    }
}
