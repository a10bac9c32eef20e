//! The desktop companion: training, import, export and evaluation.
pub mod data;
mod error;
mod import;
pub mod masks;
pub mod model;
mod onnx;
mod train;

pub use error::DeskError;
pub use import::import;
pub use onnx::write_onnx;
pub use train::{RunConfig, Start, steps_in, train};
