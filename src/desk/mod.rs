//! The desktop companion: training, import, export and evaluation.
//!
//! Training is a loop of our own over Burn's tensors and optimiser, not Burn's learner: a run
//! must go on after a stop to the very same losses, and adversarial training wants two
//! optimisers. Weights leave as safetensors in the authors' names ([`crate::file::Weights`]),
//! from which the model file and ONNX are written.
//!
//! Hazard: Burn's powers and comparisons differ between backends at 0; `model.rs` keeps zeros
//! away from them.

// But for one call, in `recording.rs`.
#![deny(unsafe_code)]

mod adam;
mod adversary;
mod calibrate;
mod colours;
mod convolutions;
mod dashboard;
mod data;
mod devices;
mod discriminator;
mod engine;
mod error;
pub mod evaluate;
mod events;
mod exemplar;
mod feature_file;
mod features;
#[cfg(test)]
mod filler_cases;
pub mod fillers;
mod generator;
mod gradients;
mod html;
mod import;
mod in_place;
mod losses;
pub mod lpips;
mod marching;
mod mask_folder;
pub mod masks;
mod model;
mod navier_stokes;
mod objective;
mod onnx;
mod patchmatch;
mod photos;
mod prune;
mod quantise;
mod random;
mod read;
mod recording;
mod report;
mod run_config;
mod run_log;
mod sheet;
mod telea;
mod train;
mod variants;

pub use calibrate::{Calibrated, calibrate};
pub use error::DeskError;
pub use import::import;
pub use onnx::write_onnx;
pub use run_config::RunConfig;
pub use train::{Start, steps_in, train};
