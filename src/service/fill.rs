//! What the loop asks of a network.

use std::any::Any;

use crate::picture::{Frame, FrameError, Mask, MaskError, PictureError};

/// Fills the holes of a frame in place.
///
/// Must never leave a hidden pixel in it, also when it returns an error. (The guard paints the
/// holes flat after an error or a panic all the same.)
pub trait Fill: Any + Send {
    /// Takes the holes of all frames to come, until the next call.
    fn set_mask(&mut self, mask: &Mask) -> Result<(), FillError>;

    fn fill(&mut self, frame: &mut Frame) -> Result<(), FillError>;

    /// Another like this one, without a mask: it takes the next mask while this one serves.
    /// `None`: frames wait for a new mask.
    fn another(&self) -> Option<Box<dyn Fill>> {
        None
    }

    /// Goes on from the one that served until now, so that what both fill looks alike.
    fn follow(&mut self, before: Box<dyn Fill>) {
        drop(before);
    }
}

/// A frame that was not filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    #[error("the mask is still being prepared")]
    NotReady,
    #[error(transparent)]
    Mask(#[from] MaskError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error("the network failed: {0}")]
    Network(String),
    #[error("the network panicked: {0}; this is a fault of lbam, please report it")]
    Panicked(String),
}
