//! aarch64: `usmmla` where the processor has it (its own file), else `sdot`, else widening
//! multiplies.
//!
//! The latter two multiply signed bytes by signed bytes: inputs are read with their top bit flipped, which
//! takes 128 off each, and [`Isa::INPUT_BIAS`] says so to whoever adds it up.

mod i8mm;

use core::arch::aarch64::*;
use core::arch::asm;

use super::drive::{Job, drive};
use super::{GROUP, Isa, KeptPair, LANES, Lanes, Reads, Scale, Sums, TABLE, TILE};
use crate::net::LEAKY_SLOPE;

pub(super) use i8mm::I8mm;

/// Registers of four sums for [`LANES`] sums.
const QUARTERS: usize = LANES / 4;
/// Inputs in a register.
const REGISTER: usize = 16;

/// `sdot`: four products of four lanes in one instruction (Cortex-A55, A75 and later).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dot(());

impl Dot {
    pub fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("dotprod").then_some(Self(()))
    }

    /// [`drive`] compiled for this instruction set.
    pub fn drive(self, job: &Job) {
        #[target_feature(enable = "neon,dotprod")]
        fn enabled(isa: Dot, job: &Job) {
            drive(isa, job);
        }
        // SAFETY: a value of this type exists only where the instructions do.
        unsafe { enabled(self, job) }
    }
}

/// Any aarch64 processor (Cortex-A53, A72).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neon(());

impl Neon {
    pub fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    /// [`drive`] compiled for this instruction set.
    pub fn drive(self, job: &Job) {
        #[target_feature(enable = "neon")]
        fn enabled(isa: Neon, job: &Job) {
            drive(isa, job);
        }
        // SAFETY: a value of this type exists only where the instructions do.
        unsafe { enabled(self, job) }
    }
}

// SAFETY: made by `new` alone, which asks the processor.
unsafe impl Isa for Dot {
    const INPUT_BIAS: i32 = 128;

    #[inline(always)]
    unsafe fn dot<const B: usize>(
        self,
        reads: &Reads,
        weights: [*const i8; B],
        pixels: &[u32; TILE],
        sums: &mut Sums,
    ) {
        for (pixels, sums) in
            pixels.as_chunks::<PIXELS>().0.iter().zip(sums.as_chunks_mut::<PIXELS>().0)
        {
            for (block, &weights) in weights.iter().enumerate() {
                // SAFETY: the caller promises that all places read are readable; the instructions
                // are there, as `self` is.
                unsafe {
                    let flip = vdupq_n_u8(0x80);
                    let mut totals = [[vdupq_n_s32(0); QUARTERS]; PIXELS];
                    let mut weights = weights;
                    for source in 0..reads.source_count {
                        let mut places = [reads.sources[source]; PIXELS];
                        for pixel in 0..PIXELS {
                            places[pixel] = places[pixel].add(pixels[pixel] as usize);
                        }
                        for _ in 0..reads.rows {
                            let mut at = 0;
                            for _ in 0..reads.run / REGISTER {
                                let mut inputs = [vdupq_n_s8(0); PIXELS];
                                for pixel in 0..PIXELS {
                                    let bytes = veorq_u8(vld1q_u8(places[pixel].add(at)), flip);
                                    inputs[pixel] = vreinterpretq_s8_u8(bytes);
                                }
                                step::<0>(&mut totals, &mut weights, &inputs);
                                step::<1>(&mut totals, &mut weights, &inputs);
                                step::<2>(&mut totals, &mut weights, &inputs);
                                step::<3>(&mut totals, &mut weights, &inputs);
                                at += REGISTER;
                            }
                            while at < reads.run {
                                step::<0>(&mut totals, &mut weights, &group(&places, at));
                                at += GROUP;
                            }
                            for place in &mut places {
                                *place = place.wrapping_add(reads.row_step);
                            }
                        }
                    }
                    store(&totals, block, sums);
                }
            }
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
        for (pixels, sums) in
            pixels.as_chunks::<PIXELS>().0.iter().zip(sums.as_chunks_mut::<PIXELS>().0)
        {
            for (block, &weights) in weights.iter().enumerate() {
                // SAFETY: the caller promises that all places read are readable; the instructions
                // are there, as `self` is.
                unsafe {
                    let mut totals = [[vdupq_n_s32(0); QUARTERS]; PIXELS];
                    let mut weights = weights;
                    for (source, bytes) in sources.into_iter().enumerate() {
                        let places = pixels.map(|pixel| bytes.add(pixel as usize));
                        for &place in kept.of(source) {
                            let inputs = group(&places, place as usize);
                            step::<0>(&mut totals, &mut weights, &inputs);
                        }
                    }
                    store(&totals, block, sums);
                }
            }
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

/// Pixels that [`Dot`] does at a time: 16 registers of sums, 4 of weights, 4 of inputs.
const PIXELS: usize = 4;

/// A group of inputs of each pixel, signed.
///
/// # Safety
/// It must be readable, and the processor must have NEON.
#[inline(always)]
unsafe fn group(places: &[*const u8; PIXELS], at: usize) -> [int8x16_t; PIXELS] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut inputs = [vdupq_n_s8(0); PIXELS];
        for pixel in 0..PIXELS {
            let four = places[pixel].add(at).cast::<u32>();
            let bytes = vreinterpretq_u8_u32(vdupq_n_u32(four.read_unaligned()));
            inputs[pixel] = vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)));
        }
        inputs
    }
}

/// Puts the sums of one block where they belong.
///
/// # Safety
/// The processor must have NEON.
#[inline(always)]
unsafe fn store(
    totals: &[[int32x4_t; QUARTERS]; PIXELS],
    block: usize,
    sums: &mut [[Lanes; 2]; PIXELS],
) {
    for pixel in 0..PIXELS {
        let sums = &mut sums[pixel][block].0;
        for quarter in 0..QUARTERS {
            // SAFETY: a quarter is four sums; the caller promises the instruction.
            unsafe { vst1q_s32(sums[4 * quarter..].as_mut_ptr(), totals[pixel][quarter]) };
        }
    }
}

/// One group of inputs of [`PIXELS`] pixels against sixteen outputs; `weights` go on by as much.
///
/// # Safety
/// The processor must have `dotprod`, and 64 bytes of weights must be readable.
#[inline(always)]
unsafe fn step<const LANE: usize>(
    totals: &mut [[int32x4_t; QUARTERS]; PIXELS],
    weights: &mut *const i8,
    inputs: &[int8x16_t; PIXELS],
) {
    // In one piece: left to the compiler, the load is three instructions, or registers are moved.
    // The standard library's own product is not stable yet.
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ld1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [{weights}], #64",
            "sdot {t00:v}.4s, v24.16b, {i0:v}.4b[{lane}]",
            "sdot {t10:v}.4s, v24.16b, {i1:v}.4b[{lane}]",
            "sdot {t20:v}.4s, v24.16b, {i2:v}.4b[{lane}]",
            "sdot {t30:v}.4s, v24.16b, {i3:v}.4b[{lane}]",
            "sdot {t01:v}.4s, v25.16b, {i0:v}.4b[{lane}]",
            "sdot {t11:v}.4s, v25.16b, {i1:v}.4b[{lane}]",
            "sdot {t21:v}.4s, v25.16b, {i2:v}.4b[{lane}]",
            "sdot {t31:v}.4s, v25.16b, {i3:v}.4b[{lane}]",
            "sdot {t02:v}.4s, v26.16b, {i0:v}.4b[{lane}]",
            "sdot {t12:v}.4s, v26.16b, {i1:v}.4b[{lane}]",
            "sdot {t22:v}.4s, v26.16b, {i2:v}.4b[{lane}]",
            "sdot {t32:v}.4s, v26.16b, {i3:v}.4b[{lane}]",
            "sdot {t03:v}.4s, v27.16b, {i0:v}.4b[{lane}]",
            "sdot {t13:v}.4s, v27.16b, {i1:v}.4b[{lane}]",
            "sdot {t23:v}.4s, v27.16b, {i2:v}.4b[{lane}]",
            "sdot {t33:v}.4s, v27.16b, {i3:v}.4b[{lane}]",
            weights = inout(reg) *weights,
            lane = const LANE,
            i0 = in(vreg) inputs[0],
            i1 = in(vreg) inputs[1],
            i2 = in(vreg) inputs[2],
            i3 = in(vreg) inputs[3],
            t00 = inout(vreg) totals[0][0],
            t01 = inout(vreg) totals[0][1],
            t02 = inout(vreg) totals[0][2],
            t03 = inout(vreg) totals[0][3],
            t10 = inout(vreg) totals[1][0],
            t11 = inout(vreg) totals[1][1],
            t12 = inout(vreg) totals[1][2],
            t13 = inout(vreg) totals[1][3],
            t20 = inout(vreg) totals[2][0],
            t21 = inout(vreg) totals[2][1],
            t22 = inout(vreg) totals[2][2],
            t23 = inout(vreg) totals[2][3],
            t30 = inout(vreg) totals[3][0],
            t31 = inout(vreg) totals[3][1],
            t32 = inout(vreg) totals[3][2],
            t33 = inout(vreg) totals[3][3],
            out("v24") _,
            out("v25") _,
            out("v26") _,
            out("v27") _,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
}

// SAFETY: made by `new` alone, which asks the processor.
unsafe impl Isa for Neon {
    const INPUT_BIAS: i32 = 128;

    #[inline(always)]
    unsafe fn dot<const B: usize>(
        self,
        reads: &Reads,
        weights: [*const i8; B],
        pixels: &[u32; TILE],
        sums: &mut Sums,
    ) {
        /// Pixels at a time: 16 registers of sums, two for each four outputs.
        const PIXELS: usize = 2;
        for (pixels, sums) in
            pixels.as_chunks::<PIXELS>().0.iter().zip(sums.as_chunks_mut::<PIXELS>().0)
        {
            for (block, &weights) in weights.iter().enumerate() {
                // SAFETY: the caller promises that all places read are readable; NEON is there,
                // as `self` is.
                unsafe {
                    let flip = vdupq_n_u8(0x80);
                    let mut totals = [[vdupq_n_s32(0); 2 * QUARTERS]; PIXELS];
                    let mut weights = weights;
                    for source in 0..reads.source_count {
                        let mut places = [reads.sources[source]; PIXELS];
                        for pixel in 0..PIXELS {
                            places[pixel] = places[pixel].add(pixels[pixel] as usize);
                        }
                        for _ in 0..reads.rows {
                            let mut at = 0;
                            while at + REGISTER <= reads.run {
                                let mut inputs = [vdupq_n_s32(0); PIXELS];
                                for pixel in 0..PIXELS {
                                    let bytes = veorq_u8(vld1q_u8(places[pixel].add(at)), flip);
                                    inputs[pixel] = vreinterpretq_s32_u8(bytes);
                                }
                                widening_step::<0>(&mut totals, weights, &inputs);
                                let weight = |group: usize| weights.add(group * GROUP * LANES);
                                widening_step::<1>(&mut totals, weight(1), &inputs);
                                widening_step::<2>(&mut totals, weight(2), &inputs);
                                widening_step::<3>(&mut totals, weight(3), &inputs);
                                weights = weights.wrapping_add(REGISTER * LANES);
                                at += REGISTER;
                            }
                            while at < reads.run {
                                let mut inputs = [vdupq_n_s32(0); PIXELS];
                                for pixel in 0..PIXELS {
                                    let four = places[pixel].add(at).cast::<u32>();
                                    let bytes = vdupq_n_u32(four.read_unaligned());
                                    let bytes = veorq_u8(vreinterpretq_u8_u32(bytes), flip);
                                    inputs[pixel] = vreinterpretq_s32_u8(bytes);
                                }
                                widening_step::<0>(&mut totals, weights, &inputs);
                                weights = weights.wrapping_add(GROUP * LANES);
                                at += GROUP;
                            }
                            for place in &mut places {
                                *place = place.wrapping_add(reads.row_step);
                            }
                        }
                    }
                    for pixel in 0..PIXELS {
                        let sums = &mut sums[pixel][block].0;
                        for quarter in 0..QUARTERS {
                            let total = vpaddq_s32(
                                totals[pixel][2 * quarter],
                                totals[pixel][2 * quarter + 1],
                            );
                            vst1q_s32(sums[4 * quarter..].as_mut_ptr(), total);
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn modulate(self, sums: &Lanes, scale: &Scale, map: &[u8; LANES], output: &mut [u8; LANES]) {
        // SAFETY: NEON is there, as `self` is.
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

/// One group of inputs of two pixels against sixteen outputs, each output's sum in two lanes.
///
/// # Safety
/// The processor must have NEON, and 64 bytes of weights must be readable.
#[inline(always)]
unsafe fn widening_step<const LANE: i32>(
    totals: &mut [[int32x4_t; 2 * QUARTERS]; 2],
    weights: *const i8,
    inputs: &[int32x4_t; 2],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut groups = [vdupq_n_s8(0); 2];
        for pixel in 0..2 {
            groups[pixel] = vreinterpretq_s8_s32(vdupq_laneq_s32::<LANE>(inputs[pixel]));
        }
        for quarter in 0..QUARTERS {
            let loaded = vld1q_s8(weights.add(REGISTER * quarter));
            for pixel in 0..2 {
                let low = vmull_s8(vget_low_s8(loaded), vget_low_s8(groups[pixel]));
                let high = vmull_high_s8(loaded, groups[pixel]);
                let [first, second] = [2 * quarter, 2 * quarter + 1];
                totals[pixel][first] = vpadalq_s16(totals[pixel][first], low);
                totals[pixel][second] = vpadalq_s16(totals[pixel][second], high);
            }
        }
    }
}

/// `(sum - offset) * multiplier` of four lanes from `lane` on.
#[inline]
#[target_feature(enable = "neon")]
fn scaled(sums: &Lanes, scale: &Scale, lane: usize) -> float32x4_t {
    // SAFETY: all three are arrays of 16 lanes, and slicing checks that four are left.
    let (sums, offsets, multipliers) = unsafe {
        (
            vld1q_s32(sums.0[lane..lane + 4].as_ptr()),
            vld1q_s32(scale.offsets[lane..lane + 4].as_ptr()),
            vld1q_f32(scale.multipliers[lane..lane + 4].as_ptr()),
        )
    };
    vmulq_f32(vcvtq_f32_s32(vsubq_s32(sums, offsets)), multipliers)
}

/// See [`Isa::modulate`]. Rounding before clamping gives the same: the ends are whole numbers.
#[inline]
#[target_feature(enable = "neon")]
fn modulate(sums: &Lanes, scale: &Scale, map: &[u8; LANES], output: &mut [u8; LANES]) {
    // SAFETY: `map` has 16 bytes.
    let map = unsafe { vld1q_u8(map.as_ptr()) };
    let (low, high) = (vmovl_u8(vget_low_u8(map)), vmovl_high_u8(map));
    let maps = [
        vmovl_u16(vget_low_u16(low)),
        vmovl_high_u16(low),
        vmovl_u16(vget_low_u16(high)),
        vmovl_high_u16(high),
    ];
    let mut rounded = [vdup_n_u16(0); QUARTERS];
    for quarter in 0..QUARTERS {
        let modulated = vmulq_f32(scaled(sums, scale, 4 * quarter), vcvtq_f32_u32(maps[quarter]));
        let leaky = vmaxq_f32(modulated, vmulq_n_f32(modulated, LEAKY_SLOPE));
        // SAFETY: 16 zeros, of which four are left.
        let zeros = unsafe { vld1q_f32(scale.zeros[4 * quarter..4 * quarter + 4].as_ptr()) };
        rounded[quarter] = vqmovun_s32(vcvtnq_s32_f32(vaddq_f32(leaky, zeros)));
    }
    let low = vqmovn_u16(vcombine_u16(rounded[0], rounded[1]));
    let high = vqmovn_u16(vcombine_u16(rounded[2], rounded[3]));
    // SAFETY: `output` has 16 bytes.
    unsafe { vst1q_u8(output.as_mut_ptr(), vcombine_u8(low, high)) }
}

/// What [`Isa::index`] gives. Rounding before clamping gives the same: the ends are whole numbers.
#[inline]
#[target_feature(enable = "neon")]
fn indices(sums: &Lanes, scale: &Scale) -> [uint16x8_t; 2] {
    let mut rounded = [vdup_n_u16(0); QUARTERS];
    for quarter in 0..QUARTERS {
        // SAFETY: 16 zeros, of which four are left.
        let zeros = unsafe { vld1q_f32(scale.zeros[4 * quarter..4 * quarter + 4].as_ptr()) };
        let value = vaddq_f32(scaled(sums, scale, 4 * quarter), zeros);
        rounded[quarter] = vqmovun_s32(vcvtnq_s32_f32(value));
    }
    let top = vdupq_n_u16((TABLE - 1) as u16);
    [
        vminq_u16(vcombine_u16(rounded[0], rounded[1]), top),
        vminq_u16(vcombine_u16(rounded[2], rounded[3]), top),
    ]
}

/// See [`Isa::index`].
#[inline]
#[target_feature(enable = "neon")]
fn index(sums: &Lanes, scale: &Scale, output: &mut [i32; LANES]) {
    let [low, high] = indices(sums, scale);
    let wide = [
        vmovl_u16(vget_low_u16(low)),
        vmovl_high_u16(low),
        vmovl_u16(vget_low_u16(high)),
        vmovl_high_u16(high),
    ];
    for (output, wide) in output.as_chunks_mut::<4>().0.iter_mut().zip(wide) {
        // SAFETY: four indices.
        unsafe { vst1q_s32(output.as_mut_ptr(), vreinterpretq_s32_u32(wide)) }
    }
}

/// See [`Isa::look_up_pairs`].
#[inline]
#[target_feature(enable = "neon")]
fn look_up_pairs(
    sums: &Lanes,
    scale: &Scale,
    table: &[[u8; 2]; TABLE],
    first: &mut [u8; LANES],
    second: &mut [u8; LANES],
) {
    let indices = indices(sums, scale);
    let mut pairs = [[0; 2]; LANES];
    // SAFETY: 16 indices, all of them below the table's size; 16 pairs; 16 bytes each to write.
    unsafe {
        let mut places = [0_u16; LANES];
        vst1q_u16(places.as_mut_ptr(), indices[0]);
        vst1q_u16(places[LANES / 2..].as_mut_ptr(), indices[1]);
        for (pair, place) in pairs.iter_mut().zip(places) {
            *pair = *table.get_unchecked(usize::from(place));
        }
        let pairs: *const u8 = pairs.as_ptr().cast();
        let (low, high) = (vld1q_u8(pairs), vld1q_u8(pairs.add(LANES)));
        vst1q_u8(first.as_mut_ptr(), vuzp1q_u8(low, high));
        vst1q_u8(second.as_mut_ptr(), vuzp2q_u8(low, high));
    }
}
