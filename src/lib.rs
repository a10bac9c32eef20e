//! Live image inpainting on small computers with learnable bidirectional attention maps (LBAM).
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(feature = "desk")]
pub mod desk;
pub mod file;
pub mod net;
pub mod picture;
