//! The room's errors and their exit codes.

use super::FillError;
use crate::camera::{CameraError, MaskSourceError};
use crate::file::FileError;
use crate::output::OutputError;
use crate::picture::PictureError;

/// Why the work ended.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Camera(#[from] CameraError),
    #[error(transparent)]
    Mask(#[from] MaskSourceError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error(transparent)]
    Fill(#[from] FillError),
    #[error(transparent)]
    Model(#[from] FileError),
    #[error("{0}")]
    Configuration(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}: the mask hides nothing, and the picture would be as it is; white means fill")]
    HidesNothing(String),
    #[error("{0} problem(s) found; the report names the mend of each")]
    Unwell(usize),
    #[error("the system refused what lbam needs ({0})")]
    System(#[from] std::io::Error),
}

impl ServiceError {
    /// The program's exit code: 1 failed, 2 wrong usage, 75 try again later, 78 wrong
    /// configuration or model.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Camera(error) if error.may_pass() => 75,
            Self::Usage(_) => 2,
            Self::Model(_) | Self::Configuration(_) => 78,
            _ => 1,
        }
    }
}
