//! Runs the network from a mapped model file: floats with tract, integers with our own kernels.
//!
//! The network is two stages, because attention depends on the mask alone: the **mask stage**
//! (mask to 13 maps, 40 % of the multiply-adds) runs when the mask changes, the **frame stage**
//! (picture and maps to picture) for every frame. [`Session`] is the one type others use.
//!
//! In floats both are tract graphs, built from the layer table and the map, not loaded from ONNX:
//! no parser on the device, transposed convolutions as four phase convolutions, and skips that
//! are never concatenated: `deconv(e, d) = deconv(e) + deconv(d)`. In integers they are a fixed
//! sequence of the project's own kernels over planes allocated once, and not tract operators: a
//! tract graph allocates a tensor a node for every frame and computes all of each, where a camera
//! with a small hole needs a tenth of the decoder and no allocation at all.
//!
//! ```no_run
//! use lbam::{file::Model, runtime::Session};
//!
//! let model = Model::open("models/small-int8.lbam".as_ref())?.into();
//! let mut session = Session::new(&model, 256, 256)?;
//! session.set_mask(&vec![0; 256 * 256])?;
//! let mut filled = vec![0; 256 * 256 * 3];
//! session.run(&vec![128; 256 * 256 * 3], &mut filled)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Hazard: tract packs float kernels into an order of its own when a graph is optimised, so a
//! float session holds a private copy of the weights ([`Session::owned_weight_bytes`]); the map is
//! read once, layer by layer. An integer session owns none: it multiplies with the map.

#![forbid(unsafe_code)]

mod alike;
pub mod cores;
mod float;
mod graph;
mod int8;
mod ops;
mod session;

#[cfg(test)]
mod tests;

pub use int8::{RIM, StepTime};
pub use session::{RuntimeError, Session, int8_peak, kernel_name, set_threads};
