//! Frames, masks, colour, the plan for large frames, and the way back into the frame.
//!
//! A camera's frame is large and in YUV; the network wants 256x256 RGB with zeros in the
//! holes. This room goes there and back without ever showing, or depending on, what a hole
//! hides:
//!
//! ```text
//! Frame + Mask -> plan -> Region(s) -> Paster::network_input -> (network)
//!                   -> Finish::add -> Cut::paste
//! ```
//!
//! [`Finish`] makes smooth fills sharp: what is plain around a hole goes on in it (`continuation`), and
//! the rest is made of known patches that are like it (`patches`). [`Detail`], in [`Cut::paste`], gives
//! it structure finer than the network's pixels.
//!
//! Why regions and not the whole frame scaled down: a 1080p frame squeezed to 256x256 loses
//! nine tenths of its detail, and the fill comes back blurred beside sharp surroundings. A
//! square of twice the hole's size keeps the detail where it is looked at. Why frames stay in
//! YUV: the known pixels of the output are then the camera's own bytes, and nine tenths of a
//! frame are never converted at all.
//!
//! ```
//! use lbam::picture::{ColourRange, Frame, Mask, Paster, PixelFormat, Seam, plan};
//!
//! let mut frame = Frame::flat(640, 480, PixelFormat::Yuv420, ColourRange::Limited, 90)?;
//! let mask = Mask::from_rects(640, 480, &["rect:10%,10%,20%,5%".parse()?])?;
//! let mut paster = Paster::new();
//! let mut input = Vec::new();
//! for region in plan(&mask, 256)? {
//!     let cut = paster.network_input(&mut frame, &region, &mut input)?;
//!     let fill = input.clone(); // the network's answer would be this size
//!     cut.paste(&fill, Seam::Soft, None)?;
//! }
//! # Ok::<(), lbam::picture::PictureError>(())
//! ```
//!
//! Hazard: in subsampled YUV a chroma sample belongs to several pixels. A known pixel beside a
//! hole carries the hole's hidden colour in it, so such samples are neither read (the network
//! sees its clean neighbours' colour) nor left in the output. Whoever reads a frame's chroma
//! outside [`Paster`] must think of it. And masks here are 255 = fill; the network's own mask,
//! 1 = known, is made in the runtime and, for training and its like, in `desk`.

#![forbid(unsafe_code)]

mod continuation;
mod convert;
mod detail;
mod error;
mod finish;
mod frame;
mod io;
mod jpeg;
mod mask;
mod matches;
pub mod metrics;
mod paste;
mod patches;
mod png;
mod pool;
mod region;
mod repeats;
mod seam;
mod texture;

pub use detail::Detail;
pub use error::{FrameError, MaskError, PictureError};
pub use finish::Finish;
pub(crate) use frame::NEUTRAL_CHROMA;
pub use frame::{ColourRange, Frame, MAX_SIDE, PixelFormat, StreamInfo, parse_size};
#[cfg(feature = "desk")]
pub(crate) use io::write_grey_png;
pub(crate) use io::{MOST_PAINTED_PIXELS, decode_size, read_size};
pub use io::{
    PictureFile, RgbPicture, check_picture_place, is_picture_name, read_picture, read_rgb,
    write_picture, write_picture_with_profile, write_png,
};
#[cfg(target_os = "linux")]
pub(crate) use jpeg::is_whole as jpeg_is_whole;
pub(crate) use jpeg::stated_size as jpeg_size;
pub use mask::{HOLE, KNOWN, Length, Mask, PixelBox, Rect};
pub use matches::Search;
pub use paste::{Cut, FLAT_GREY, Paster, Seam, paint_flat};
pub use pool::{Bytes, Pool};
pub use region::{MOST_REGIONS, PicturePlan, Region, plan, plan_whole};

/// The most memory the pixels of a single picture may take while it is read.
pub const MAX_DECODE_BYTES: u64 = 1 << 30;
/// Bytes of a pixel meanwhile, where a channel has 8 bits: as it was decoded, and beside that turned
/// upright, as RGBA or as a mask.
const DECODE_PIXEL: u64 = 8;
