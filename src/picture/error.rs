//! The room's errors. Each names what was wrong, where, and the mend.

use std::path::PathBuf;

/// A frame that cannot be built from what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error(
        "a frame of {width}x{height} pixels: each side must be 1 to {max}; choose another camera size",
        max = super::MAX_SIDE
    )]
    Side { width: usize, height: usize },
    #[error(
        "the {format} frame of {width}x{height} pixels needs {needed} bytes but has {found}; the \
         source sent a cut frame or the stride is wrong"
    )]
    Short { format: &'static str, width: usize, height: usize, needed: usize, found: usize },
    #[error(
        "a {format} line of {width} pixels needs {needed} bytes but the source states a stride of \
         {stride}; the source (or its driver) is at fault"
    )]
    Stride { format: &'static str, width: usize, needed: usize, stride: usize },
    #[error("the camera's driver marks the frame as damaged; it is skipped")]
    Marked,
    #[error("the JPEG frame cannot be decoded ({reason}); the frame is skipped")]
    Jpeg { reason: String },
}

/// A mask that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    #[error(
        "the mask is {mask_width}x{mask_height} but the frame is {frame_width}x{frame_height}; \
         scale the mask picture to {frame_width}x{frame_height}, or give the hole in percent \
         (rect:10%,10%,20%,5%)"
    )]
    Size { mask_width: usize, mask_height: usize, frame_width: usize, frame_height: usize },
    #[error("a mask of {width}x{height} pixels: each side must be 1 to {max}", max = super::MAX_SIDE)]
    Side { width: usize, height: usize },
    #[error(
        "the mask of {width}x{height} pixels needs {needed} bytes but has {found}; the sender of \
         the mask is at fault"
    )]
    Short { width: usize, height: usize, needed: usize, found: usize },
    #[error(
        "the mask has no white (its brightest level is {brightest} of 255) and would hide nothing; \
         white means fill: multiply labels of 0 and 1 by 255, or save it all black if nothing is \
         to be hidden"
    )]
    Dark { brightest: u8, width: usize, height: usize },
    #[error(
        "`{text}` is not a rectangle ({reason}); write rect:x,y,w,h, each in pixels or percent"
    )]
    Rect { text: String, reason: String },
    #[error(
        "`{text}` covers no pixel of the {width}x{height} frame; move it inside the frame or make \
         it larger"
    )]
    Empty { text: String, width: usize, height: usize },
    #[error(
        "the plan was made for a {plan_width}x{plan_height} frame but this one is \
         {frame_width}x{frame_height}; plan again when the size changes"
    )]
    Plan { plan_width: usize, plan_height: usize, frame_width: usize, frame_height: usize },
    #[error("the network's fill has {found} bytes but the region needs {needed}")]
    Fill { needed: usize, found: usize },
}

/// Anything that goes wrong in this room, pictures on disk included.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Mask(#[from] MaskError),
    #[error("{path}: {source}", path = path.display())]
    MaskFile { path: PathBuf, source: MaskError },
    #[error("{path}: there is no such file; check the path", path = path.display())]
    Absent { path: PathBuf },
    #[error("{path}: cannot be read ({source}); check permissions", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}: is not a picture lbam reads ({reason}); give PNG, JPEG, WebP, BMP, GIF, TIFF or PNM",
        path = path.display()
    )]
    NotAPicture { path: PathBuf, reason: String },
    #[error(
        "{path}: is cut off or damaged ({reason}); fetch or write the file again",
        path = path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "{path}: is larger than lbam decodes ({max} pixels a side, {all} million in all, {memory} \
         MiB); scale it down, and save it with 8 bits a channel if it has more",
        path = path.display(),
        max = super::MAX_SIDE,
        all = super::MAX_DECODE_BYTES / super::DECODE_PIXEL / 1_000_000,
        memory = super::MAX_DECODE_BYTES >> 20
    )]
    TooLarge { path: PathBuf },
    #[error(
        "{path}: pictures are written as .png, .jpg or .jpeg; change the output's extension",
        path = path.display()
    )]
    Extension { path: PathBuf },
    #[error(
        "{path}: cannot be written ({reason}); check that the folder exists, is writable and has room",
        path = path.display()
    )]
    Write { path: PathBuf, reason: String },
    #[error("a picture of {width}x{height} pixels needs {needed} bytes but has {found}")]
    Short { width: usize, height: usize, needed: usize, found: usize },
    #[error(
        "the two pictures differ in size: {width}x{height} needs {needed} bytes in each, found \
         {first} and {second}"
    )]
    Compare { width: usize, height: usize, needed: usize, first: usize, second: usize },
    #[error("a picture of {width}x{height} pixels is too small to compare; SSIM needs 11x11")]
    TooSmall { width: usize, height: usize },
}
