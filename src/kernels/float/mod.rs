//! Convolutions in 32-bit floats for training on the processor, forward and backward.
//!
//! Everything a training step multiplies is one of two loops. [`convolve`]: at each output pixel,
//! sums over a few runs of inputs ([`Tap`]), for 16 or 32 output channels at a time. [`gather`]:
//! the sums over all pixels of an input times an output's gradient, which are the gradients of the
//! taps' weights. A 4x4 convolution of stride 2 is four taps of four pixels each; a transposed one
//! is four [`Walk`]s over its phases, of four taps of one pixel; and the gradient of each with
//! respect to its input is the other one, with transposed weights.
//!
//! Why not a matrix library over unfolded inputs (im2col): unfolding writes and reads each input
//! 4 to 16 times, which takes longer than the sums, and transposed convolutions scatter. Here
//! inputs are read where they lie: pixel after pixel with all channels together ([`Planes`]), so
//! that a tap is one contiguous run, within a border of zeros, so that no loop knows an edge.
//!
//! ```
//! use lbam::kernels::float::{Planes, Tap, Walk, convolve};
//!
//! // A 1x1 convolution that doubles the first channel.
//! let mut input = Planes::new(1, 1, 3, 16);
//! input.row_mut(0, 0)[16] = 4.0;
//! let mut output = Planes::new(1, 1, 3, 16);
//! let mut weights = vec![0.0; 16 * 16];
//! weights[0] = 2.0;
//! let tap = Tap { source: &input, down: 0, right: 0, run: 16, weights: &weights };
//! convolve(&[tap], Walk::over(1, 3, 1), &mut output, false);
//! assert_eq!(output.row(0, 0)[16], 8.0);
//! ```
//!
//! Results do not depend on the number of threads: each sum is made by one of them, in a fixed
//! order. They do depend on the instruction set, by rounding.
//!
//! Hazard: whoever writes into a border changes what every convolution reads as padding;
//! [`Planes`] hands out rows without it.

mod drive;
mod exponential;
mod planes;
#[cfg(test)]
mod tests;
mod vector;

pub use drive::{Tap, Walk, convolve, gather, transpose};
pub use exponential::{exponential, power};
pub use planes::Planes;

/// Output channels are stored in multiples of this.
pub const LANES: usize = 16;

/// Calls `work`, compiled for the widest vectors this processor has: for loops over slices that
/// the compiler vectorises by itself.
#[inline]
pub fn widest<R>(work: impl FnOnce() -> R) -> R {
    vector::widest(work)
}
