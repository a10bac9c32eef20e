//! The arithmetic: what lies between convolutions of floats, on plain slices; convolutions of
//! integers ([`int8`]); colours ([`colour`]) and scaling ([`resample`]) of pictures, comparing and blending their [`patches`]; the threads that
//! share it ([`workers`]); and, for training, convolutions of floats forth and back (`float`).
//!
//! tract multiplies the matrices; what lies between two of its convolutions is fused here into
//! one pass each: attention and mask update of one map, modulation by a map, and the joining of
//! a transposed convolution's four phases. As separate graph nodes (sub, mul, exp, where, pow,
//! concat, transpose) they took most of the network's time.
//!
//! ```
//! use lbam::kernels::modulate;
//!
//! let mut features = [1.0, -1.0];
//! modulate(&mut features, &[0.5, 0.5]);
//! assert_eq!(features, [0.5, -0.1]);
//! ```
//!
//! Hazard: tract's x86-64 kernels leave the upper halves of the vector registers dirty, after
//! which scalar code (`exp`, `powf`) runs up to sixteen times slower. Each kernel begins with
//! [`clear_upper_registers`].

#![deny(clippy::undocumented_unsafe_blocks)]

pub mod colour;
// Only training runs it; its tests run everywhere.
#[cfg(any(test, feature = "desk"))]
pub mod float;
mod generic;
pub mod int8;
pub mod patches;
pub mod resample;
pub mod workers;
mod x86;

pub use generic::{attend_and_update, join_phases, join_phases_to_picture, modulate};
pub use x86::clear_upper_registers;

/// The same bytes for a seed, everywhere.
#[cfg(test)]
pub(crate) fn noise(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(step).collect()
}
