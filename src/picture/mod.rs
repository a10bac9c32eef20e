#![forbid(unsafe_code)]

mod convert;
mod error;
mod frame;
mod io;
mod mask;

pub use error::{FrameError, MaskError, PictureError};
pub use frame::{ColourRange, Frame, MAX_SIDE, PixelFormat};
pub use io::{RgbPicture, read_rgb, write_jpeg, write_picture, write_png};
pub use mask::{HOLE, KNOWN, Length, Mask, PixelBox, Rect, WHITE};

/// The most memory a single picture may take while it is decoded.
pub const MAX_DECODE_BYTES: u64 = 1 << 30;
