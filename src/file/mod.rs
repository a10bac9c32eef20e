//! Files of weights: what training writes, and the `.lbam` model file that devices map.
//!
//! Both are safetensors, so that anyone can look inside with Python's `safetensors`. They differ
//! in what the tensors are: [`Weights`] holds the authors' names and layouts in 32 bits, for
//! training and exchange; [`Model`] holds what the runtime reads, in its order and precision,
//! aligned, checksummed, and used where it lies in the map. A format of our own would have saved
//! the padding tensors and cost every other tool.
//!
//! Hazard: a mapped file must never be cut short by a writer; see [`Model`].

mod atomic;
mod error;
pub(crate) mod int8;
mod layout;
mod model;
#[cfg(test)]
mod tests;
mod weights;

pub(crate) use atomic::{aside, is_hidden, is_video_device, place};
pub use atomic::{check_place, is_same, is_special, write_atomically};
pub use error::FileError;
pub use int8::{GeneralForm, Int8Layer, Int8Part, Int8Place, Int8Tensors};
pub use model::{
    ALIGNMENT, Check, Model, Precision, VERSION, Values, write_int8_model, write_model,
};
pub use weights::{FILLS, SMOOTH, Weights};
