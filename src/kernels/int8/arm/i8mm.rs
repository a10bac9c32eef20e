//! `usmmla`: two rows of eight unsigned bytes by two of eight signed ones, thirty-two products in
//! one instruction (Cortex-A510, A715, Neoverse N2, Apple M2 and later).
//!
//! Its eight bytes are two of the model file's groups, so groups are interleaved first: the
//! weights' in registers, shared by the pixels of a tile, and the inputs' in a copy of the tile's
//! inputs, shared by all channels. With the copy the multiplying loop reads from front to back
//! whatever the convolution's shape is. Inputs are unsigned here and need no bias.

use core::arch::aarch64::*;
use core::arch::asm;
use core::mem::MaybeUninit;

use super::super::drive::{Job, drive};
use super::super::{GROUP, Isa, KeptPair, LANES, Lanes, Reads, Scale, Sums, TABLE, TILE};
use super::{REGISTER, index, look_up_pairs, modulate};

/// Inputs of a row of the instruction's operands.
const UNIT: usize = 2 * GROUP;
/// Inputs of a pixel that are copied before they are multiplied: 16 KiB for a tile, half of the
/// smallest first-level cache.
const COPIED: usize = 2048;
/// Channels multiplied at a time: with a tile of pixels, sixteen registers of sums.
const CHANNELS: usize = 8;

/// The inputs of a tile, `[COPIED / UNIT, TILE, UNIT]`.
#[repr(C, align(64))]
struct Copied([MaybeUninit<u8>; COPIED * TILE]);

/// Sums of pairs of pixels, and in them of pairs of channels: the four of a register are pixel by
/// channel.
type Totals = [[int32x4_t; CHANNELS / 2]; TILE / 2];

/// `usmmla`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct I8mm(());

impl I8mm {
    pub fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("i8mm").then_some(Self(()))
    }

    /// [`drive`] compiled for this instruction set.
    pub fn drive(self, job: &Job) {
        #[target_feature(enable = "neon,i8mm")]
        fn enabled(isa: I8mm, job: &Job) {
            drive(isa, job);
        }
        // SAFETY: a value of this type exists only where the instructions do.
        unsafe { enabled(self, job) }
    }
}

// SAFETY: made by `new` alone, which asks the processor.
unsafe impl Isa for I8mm {
    const INPUT_BIAS: i32 = 0;

    #[inline(always)]
    unsafe fn dot<const B: usize>(
        self,
        reads: &Reads,
        weights: [*const i8; B],
        pixels: &[u32; TILE],
        sums: &mut Sums,
    ) {
        let mut copied = Copied([MaybeUninit::uninit(); COPIED * TILE]);
        let mut weights = weights;
        let mut inputs = 0;
        let mut first = true;
        for &source in &reads.sources[..reads.source_count] {
            let (mut row, mut at) = (0, 0);
            while row < reads.rows {
                let begin = source.wrapping_add(row * reads.row_step + at);
                let places = pixels.map(|pixel| begin.wrapping_add(pixel as usize));
                let room = COPIED - inputs;
                // Whole rows if one fits, else what fits of one.
                let (rows, count) = if at == 0 && reads.run <= room {
                    ((room / reads.run).min(reads.rows - row), reads.run)
                } else {
                    (1, room.min(reads.run - at))
                };
                // SAFETY: the caller promises that the inputs are readable and the weights are
                // there for them; `rows` and `count` were cut to the room that is left.
                unsafe {
                    copy(&mut copied, inputs, places, (rows, reads.row_step), count);
                    inputs += rows * count;
                    if inputs == COPIED {
                        multiply::<B>(&copied, inputs, weights, sums, first);
                        weights = weights.map(|weights| weights.wrapping_add(COPIED * LANES));
                        (inputs, first) = (0, false);
                    }
                }
                at += count;
                if at == reads.run {
                    (row, at) = (row + rows, 0);
                }
            }
        }
        if inputs > 0 || first {
            // SAFETY: as above.
            unsafe { multiply::<B>(&copied, inputs, weights, sums, first) };
        }
    }

    #[inline(always)]
    unsafe fn dot_kept<const B: usize>(
        self,
        sources: [*const u8; 2],
        kept: &KeptPair,
        weights: [*const i8; B],
        pixels: &[u32; TILE],
        sums: &mut Sums,
    ) {
        let mut copied = Copied([MaybeUninit::uninit(); COPIED * TILE]);
        let mut weights = weights;
        let mut inputs = 0;
        let mut first = true;
        for (source, bytes) in sources.into_iter().enumerate() {
            for &place in kept.of(source) {
                let places =
                    pixels.map(|pixel| bytes.wrapping_add(pixel as usize + place as usize));
                // SAFETY: the caller promises that the inputs are readable and the weights are
                // there for them; a group fits, since what is full is multiplied.
                unsafe {
                    copy(&mut copied, inputs, places, (1, 0), GROUP);
                    inputs += GROUP;
                    if inputs == COPIED {
                        multiply::<B>(&copied, inputs, weights, sums, first);
                        weights = weights.map(|weights| weights.wrapping_add(COPIED * LANES));
                        (inputs, first) = (0, false);
                    }
                }
            }
        }
        if inputs > 0 || first {
            // SAFETY: as above.
            unsafe { multiply::<B>(&copied, inputs, weights, sums, first) };
        }
    }

    #[inline(always)]
    fn modulate(self, sums: &Lanes, scale: &Scale, map: &[u8; LANES], output: &mut [u8; LANES]) {
        // SAFETY: every aarch64 processor that runs this has NEON, as `self` shows.
        unsafe { modulate(sums, scale, map, output) }
    }

    #[inline(always)]
    fn index(self, sums: &Lanes, scale: &Scale, indices: &mut [i32; LANES]) {
        // SAFETY: NEON is there, as `self` is.
        unsafe { index(sums, scale, indices) }
    }

    #[inline(always)]
    fn look_up_pairs(
        self,
        sums: &Lanes,
        scale: &Scale,
        table: &[[u8; 2]; TABLE],
        first: &mut [u8; LANES],
        second: &mut [u8; LANES],
    ) {
        // SAFETY: likewise.
        unsafe { look_up_pairs(sums, scale, table, first, second) }
    }
}

/// Copies `count` inputs of each of `rows` of every pixel, rows being a step apart, behind the
/// `inputs` that are there. Zeros follow the last group where it is the first of a unit.
///
/// # Safety
/// * `count` inputs are readable at every place and in every row, a multiple of [`GROUP`].
/// * `inputs + rows * count` is at most [`COPIED`].
#[inline(always)]
unsafe fn copy(
    copied: &mut Copied,
    inputs: usize,
    mut places: [*const u8; TILE],
    (rows, row_step): (usize, usize),
    count: usize,
) {
    debug_assert!(count.is_multiple_of(GROUP) && inputs + rows * count <= COPIED);
    let target = copied.0.as_mut_ptr().cast::<u8>();
    // SAFETY: the caller's promise; a pixel's place in a unit is below the unit's end.
    unsafe {
        if inputs.is_multiple_of(UNIT) && count.is_multiple_of(2 * UNIT) {
            let mut target = target.add(inputs * TILE);
            for _ in 0..rows {
                for _ in 0..count / (2 * UNIT) {
                    copy_units::<0>(target, &mut places);
                    copy_units::<2>(target, &mut places);
                    copy_units::<4>(target, &mut places);
                    copy_units::<6>(target, &mut places);
                    target = target.add(2 * UNIT * TILE);
                }
                places = places.map(|place| place.wrapping_add(row_step).wrapping_sub(count));
            }
        } else {
            for row in 0..rows {
                for at in (0..count).step_by(GROUP) {
                    let input = inputs + row * count + at;
                    let unit = target.add(input / UNIT * UNIT * TILE);
                    for (pixel, &place) in places.iter().enumerate() {
                        let place = place.wrapping_add(row * row_step + at);
                        let group = unit.add(pixel * UNIT + input % UNIT).cast::<u32>();
                        group.write(place.cast::<u32>().read_unaligned());
                        if input.is_multiple_of(UNIT) {
                            group.add(1).write(0);
                        }
                    }
                }
            }
        }
    }
}

/// Copies two units of `PIXEL` and of the next, and moves their places on.
///
/// # Safety
/// Two units must be readable at either place, and two units of a tile writable at `target`.
#[inline(always)]
unsafe fn copy_units<const PIXEL: usize>(target: *mut u8, places: &mut [*const u8; TILE]) {
    let (mut place, mut next) = (places[PIXEL], places[PIXEL + 1]);
    // SAFETY: the caller's promise. Assembly, since the compiler does not pair these.
    unsafe {
        asm!(
            "ldp {a}, {b}, [{place}], #16",
            "ldp {c}, {d}, [{next}], #16",
            "stp {a}, {c}, [{target}, #{near}]",
            "stp {b}, {d}, [{target}, #{far}]",
            a = out(reg) _,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
            place = inout(reg) place,
            next = inout(reg) next,
            target = in(reg) target,
            near = const PIXEL * UNIT,
            far = const (TILE + PIXEL) * UNIT,
            options(nostack, preserves_flags),
        );
    }
    (places[PIXEL], places[PIXEL + 1]) = (place, next);
}

/// Multiplies what is copied; the products are the sums if they are the first, else are added.
///
/// # Safety
/// * The processor must have `i8mm`.
/// * `inputs` of every pixel are copied, and as many times [`LANES`] weights are readable.
#[inline(always)]
unsafe fn multiply<const B: usize>(
    copied: &Copied,
    inputs: usize,
    weights: [*const i8; B],
    sums: &mut Sums,
    first: bool,
) {
    for (block, &weights) in weights.iter().enumerate() {
        for channel in (0..LANES).step_by(CHANNELS) {
            // SAFETY: the caller's promise; weights of a group are `LANES * GROUP` bytes, of
            // which this reads those of `CHANNELS` channels.
            unsafe {
                let mut totals: Totals = [[vdupq_n_s32(0); CHANNELS / 2]; TILE / 2];
                let mut copied = copied.0.as_ptr().cast::<u8>();
                let mut weights = weights.add(channel * GROUP);
                for _ in 0..inputs / (2 * UNIT) {
                    step(&mut totals, copied, load(weights), load(weights.add(LANES * GROUP)));
                    let later = weights.add(LANES * UNIT);
                    let copied_later = copied.add(TILE * UNIT);
                    step(&mut totals, copied_later, load(later), load(later.add(LANES * GROUP)));
                    weights = weights.wrapping_add(2 * LANES * UNIT);
                    copied = copied.add(2 * TILE * UNIT);
                }
                let left = inputs % (2 * UNIT);
                if left >= UNIT {
                    step(&mut totals, copied, load(weights), load(weights.add(LANES * GROUP)));
                    weights = weights.wrapping_add(LANES * UNIT);
                    copied = copied.add(TILE * UNIT);
                }
                if left % UNIT != 0 {
                    step(&mut totals, copied, load(weights), [vdupq_n_s32(0); 2]);
                }
                store(&totals, block, channel, sums, first);
            }
        }
    }
}

/// One group's weights of [`CHANNELS`] channels.
///
/// # Safety
/// They must be readable, and the processor must have NEON.
#[inline(always)]
unsafe fn load(weights: *const i8) -> [int32x4_t; 2] {
    // SAFETY: the caller's promise.
    unsafe { [vld1q_s32(weights.cast()), vld1q_s32(weights.add(REGISTER).cast())] }
}

/// One unit of inputs of a tile's pixels against [`CHANNELS`] channels, of which `even` and `odd`
/// are the weights of its two groups.
///
/// # Safety
/// The processor must have `i8mm`, and a unit of every pixel must be readable.
#[inline(always)]
unsafe fn step(totals: &mut Totals, copied: *const u8, even: [int32x4_t; 2], odd: [int32x4_t; 2]) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut inputs = [vdupq_n_u8(0); TILE / 2];
        for pixels in 0..TILE / 2 {
            inputs[pixels] = vld1q_u8(copied.add(REGISTER * pixels));
        }
        for four in 0..2 {
            let pairs = [vzip1q_s32(even[four], odd[four]), vzip2q_s32(even[four], odd[four])];
            for pair in 0..2 {
                let weights = vreinterpretq_s8_s32(pairs[pair]);
                for pixels in 0..TILE / 2 {
                    let total = &mut totals[pixels][2 * four + pair];
                    *total = multiply_matrices(*total, inputs[pixels], weights);
                }
            }
        }
    }
}

/// `sum[2 i + j] += inputs[8 i ..][..8] . weights[8 j ..][..8]`. The standard library's own is
/// not stable yet.
///
/// # Safety
/// The processor must have `i8mm`.
#[inline(always)]
unsafe fn multiply_matrices(sum: int32x4_t, inputs: uint8x16_t, weights: int8x16_t) -> int32x4_t {
    let mut total = sum;
    // SAFETY: the caller promises the instruction; it touches registers alone.
    unsafe {
        asm!(
            "usmmla {total:v}.4s, {inputs:v}.16b, {weights:v}.16b",
            total = inout(vreg) total,
            inputs = in(vreg) inputs,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    total
}

/// Puts sums where they belong: every pixel's channels side by side.
///
/// # Safety
/// The processor must have NEON.
#[inline(always)]
unsafe fn store(totals: &Totals, block: usize, channel: usize, sums: &mut Sums, first: bool) {
    // SAFETY: the caller's promise; slicing checks that four sums are there.
    unsafe {
        for (pair, totals) in totals.iter().enumerate() {
            for four in 0..2 {
                let low = vreinterpretq_s64_s32(totals[2 * four]);
                let high = vreinterpretq_s64_s32(totals[2 * four + 1]);
                let pixels = [vzip1q_s64(low, high), vzip2q_s64(low, high)];
                for (pixel, totals) in pixels.into_iter().enumerate() {
                    let sums = &mut sums[2 * pair + pixel][block].0[channel + 4 * four..][..4];
                    let mut total = vreinterpretq_s32_s64(totals);
                    if !first {
                        total = vaddq_s32(total, vld1q_s32(sums.as_ptr()));
                    }
                    vst1q_s32(sums.as_mut_ptr(), total);
                }
            }
        }
    }
}
