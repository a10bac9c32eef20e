//! The integer path: 8-bit convolutions with one fused epilogue, the same bytes everywhere.
//!
//! One primitive carries the whole network: sums of products of unsigned 8-bit inputs and signed
//! 8-bit weights in 32 bits, for [`TILE`] output pixels and [`LANES`] output channels at a time.
//! Encoder and mask layers are 4x4 convolutions of stride 2, a transposed convolution is four 2x2
//! convolutions, the last layer one 3x3 convolution whose outputs are the 2x2 pixels of each
//! input pixel; to the primitive they differ in a few numbers ([`Convolution`]). What follows a
//! sum is one of three epilogues: modulation by the attention map, attention and mask update by
//! table, the picture by table. `docs/int8.md` defines every step to the bit.
//!
//! Why lanes are channels and not pixels: the deep layers have hundreds of channels and only a
//! few pixels, and any set of pixels can then be computed, so that a hole's decoder is a list of
//! pixels ([`Pixels`]). Why planes carry a border ([`Plane`]): a convolution reads its padding
//! where it lies, and no kernel knows what an edge is. Weights lie as kernels read them,
//! [`LANES`] channels of four inputs: one 512-bit register for VNNI, four 128-bit ones for
//! `sdot`.
//!
//! Bit-exactness: integer sums cannot depend on order (a layer's shape keeps them within 32
//! bits, see [`MAX_INPUTS`]). Epilogues use single IEEE 754 operations on 32-bit floats, each
//! rounded to nearest even, never fused. The portable [`Kernel`] is the definition.
//!
//! ```
//! use lbam::kernels::int8::Kernel;
//!
//! let kernel = Kernel::best();
//! assert!(Kernel::all().contains(&kernel));
//! println!("{}", kernel.name());
//! ```
//!
//! Hazard: the unsafe code trusts [`Pixels`] to name only places inside the planes, and each once;
//! every method of a kernel checks the farthest place against the planes it is given before it starts,
//! and those that write are for the crate alone.

#![allow(clippy::needless_range_loop, reason = "a lane or pixel indexes several arrays at once")]

#[cfg(target_arch = "aarch64")]
mod arm;
mod drive;
mod generic;
mod kept;
mod peak;
mod plane;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use drive::{Convolution, Kernel};
pub use kept::Kept;
pub use plane::{Pixels, Plane};

use crate::net::{GROUP, LANES, TABLE};
use kept::KeptPair;

/// Output pixels computed together.
pub const TILE: usize = 8;
/// Most inputs of one sum: `65_536 * 255 * 128` is below `2^31`.
pub const MAX_INPUTS: usize = 1 << 16;

/// [`LANES`] sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
struct Lanes([i32; LANES]);

/// The sums of a tile: of each pixel, up to two blocks of lanes.
type Sums = [[Lanes; 2]; TILE];

/// Where the inputs of a tile lie, already checked to be inside their planes.
#[derive(Debug, Clone, Copy)]
struct Reads {
    /// First byte of each source at pixel offset 0.
    sources: [*const u8; 2],
    /// 1 or 2 of them.
    source_count: usize,
    /// Kernel rows.
    rows: usize,
    /// Bytes from one kernel row to the next.
    row_step: usize,
    /// Bytes read in a kernel row, a multiple of [`GROUP`].
    run: usize,
    /// From the first weights to what may be fetched into the cache meanwhile, bytes. Any place.
    ahead: usize,
    /// How far that place moves with each [`GROUP`], bytes.
    pace: usize,
}

/// What turns sums into values: of each of [`LANES`] channels.
#[derive(Debug, Clone, Copy)]
struct Scale<'a> {
    /// Subtracted from the sum.
    offsets: &'a [i32; LANES],
    /// Multiplies it then.
    multipliers: &'a [f32; LANES],
    /// Added last.
    zeros: &'a [f32; LANES],
}

/// One instruction set: the primitive and the arithmetic of the epilogues.
///
/// # Safety
/// A value may exist only on a processor that has the instructions.
unsafe trait Isa: Copy {
    /// What [`Isa::dot`] takes off every input: 128 where the processor multiplies signed bytes.
    const INPUT_BIAS: i32;

    /// `sums[p][b] = sum over k of (inputs(pixels[p])[k] - INPUT_BIAS) * weights[b][k]`, `B`
    /// being 1 or 2.
    ///
    /// # Safety
    /// * Every `reads.sources[s] + pixels[p] + row * row_step + i`, `i < run`, is readable.
    /// * `weights[b]` has `source_count * rows * run * LANES` readable bytes.
    unsafe fn dot<const B: usize>(
        self,
        reads: &Reads,
        weights: [*const i8; B],
        pixels: &[u32; TILE],
        sums: &mut Sums,
    );

    /// The same over the inputs that are kept alone. By default they are copied side by side for
    /// [`Isa::dot`], which costs little where an instruction does few products.
    ///
    /// # Safety
    /// * Every `sources[s] + pixels[p] + place + i`, `i < GROUP`, is readable, `place` being one
    ///   of those kept of source `s`.
    /// * `weights[b]` has [`LANES`] times as many readable bytes as inputs are kept.
    #[inline(always)]
    unsafe fn dot_kept<const B: usize>(
        self,
        sources: [*const u8; 2],
        kept: &KeptPair,
        weights: [*const i8; B],
        pixels: &[u32; TILE],
        sums: &mut Sums,
    ) {
        // SAFETY: the caller's promise is this one's.
        unsafe { kept::dot_copied(self, sources, kept, weights, pixels, sums) }
    }

    /// `clamp(leaky((sum - offset) * multiplier * map) + zero, 0, 255)`, rounded to even.
    fn modulate(self, sums: &Lanes, scale: &Scale, map: &[u8; LANES], output: &mut [u8; LANES]);

    /// `clamp((sum - offset) * multiplier + zero, 0, TABLE - 1)`, rounded to even.
    fn index(self, sums: &Lanes, scale: &Scale, indices: &mut [i32; LANES]);

    /// `first, second = table[index]`.
    #[inline(always)]
    fn look_up_pairs(
        self,
        sums: &Lanes,
        scale: &Scale,
        table: &[[u8; 2]; TABLE],
        first: &mut [u8; LANES],
        second: &mut [u8; LANES],
    ) {
        let mut indices = [0; LANES];
        self.index(sums, scale, &mut indices);
        for lane in 0..LANES {
            // `index` keeps them below the table's size; the remainder tells the compiler.
            [first[lane], second[lane]] = table[indices[lane] as usize % TABLE];
        }
    }

    /// `levels = table[index]`.
    #[inline(always)]
    fn look_up(self, sums: &Lanes, scale: &Scale, table: &[u8; TABLE], levels: &mut [u8; LANES]) {
        let mut indices = [0; LANES];
        self.index(sums, scale, &mut indices);
        for lane in 0..LANES {
            levels[lane] = table[indices[lane] as usize % TABLE];
        }
    }
}
