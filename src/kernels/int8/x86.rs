//! x86-64: AVX-512 VNNI, and AVX2 for processors without it.

use core::arch::x86_64::*;

use super::drive::{Job, drive};
use super::{GROUP, Isa, LANES, Lanes, Reads, Scale, Sums, TABLE, TILE};
use crate::net::LEAKY_SLOPE;

/// 512-bit registers: one holds the weights of all lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx512(());

impl Avx512 {
    pub fn new() -> Option<Self> {
        let there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        there.then_some(Self(()))
    }

    /// [`drive`] compiled for this instruction set.
    pub fn drive(self, job: &Job) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        fn enabled(isa: Avx512, job: &Job) {
            drive(isa, job);
        }
        // SAFETY: a value of this type exists only where the instructions do.
        unsafe { enabled(self, job) }
    }
}

// SAFETY: made by `new` alone, which asks the processor.
unsafe impl Isa for Avx512 {
    const INPUT_BIAS: i32 = 0;

    #[inline(always)]
    unsafe fn dot<const B: usize>(
        self,
        reads: &Reads,
        weights: [*const i8; B],
        pixels: &[u32; TILE],
        sums: &mut Sums,
    ) {
        // SAFETY: the caller promises that all places read are readable; the instructions are
        // there, as `self` is.
        unsafe {
            let mut totals = [[_mm512_setzero_si512(); B]; TILE];
            let mut weights = weights;
            for source in 0..reads.source_count {
                let mut places = pixels.map(|pixel| reads.sources[source].add(pixel as usize));
                for _ in 0..reads.rows {
                    let mut at = 0;
                    while at < reads.run {
                        let mut loaded = [_mm512_setzero_si512(); B];
                        for block in 0..B {
                            loaded[block] =
                                _mm512_loadu_si512(weights[block].add(at * LANES).cast());
                        }
                        for pixel in 0..TILE {
                            let inputs = places[pixel].add(at).cast::<i32>().read_unaligned();
                            let inputs = _mm512_set1_epi32(inputs);
                            for block in 0..B {
                                totals[pixel][block] = _mm512_dpbusd_epi32(
                                    totals[pixel][block],
                                    inputs,
                                    loaded[block],
                                );
                            }
                        }
                        at += GROUP;
                    }
                    for block in 0..B {
                        weights[block] = weights[block].wrapping_add(reads.run * LANES);
                    }
                    for pixel in 0..TILE {
                        places[pixel] = places[pixel].wrapping_add(reads.row_step);
                    }
                }
            }
            for pixel in 0..TILE {
                for block in 0..B {
                    _mm512_store_si512((&raw mut sums[pixel][block]).cast(), totals[pixel][block]);
                }
            }
        }
    }

    #[inline(always)]
    fn modulate(self, sums: &Lanes, scale: &Scale, map: &[u8; LANES], output: &mut [u8; LANES]) {
        // SAFETY: all places are whole arrays; the instructions are there, as `self` is.
        unsafe {
            let scaled = scaled(sums, scale);
            let map = _mm512_cvtepu8_epi32(_mm_loadu_si128(map.as_ptr().cast()));
            let modulated = _mm512_mul_ps(scaled, _mm512_cvtepi32_ps(map));
            let leaky =
                _mm512_max_ps(modulated, _mm512_mul_ps(modulated, _mm512_set1_ps(LEAKY_SLOPE)));
            let value = _mm512_add_ps(leaky, _mm512_loadu_ps(scale.zeros.as_ptr()));
            let value =
                _mm512_min_ps(_mm512_max_ps(value, _mm512_setzero_ps()), _mm512_set1_ps(255.0));
            let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(value));
            _mm_storeu_si128(output.as_mut_ptr().cast(), bytes);
        }
    }

    #[inline(always)]
    fn index(self, sums: &Lanes, scale: &Scale, indices: &mut [i32; LANES]) {
        // SAFETY: all places are whole arrays; the instructions are there, as `self` is.
        unsafe {
            let value = _mm512_add_ps(scaled(sums, scale), _mm512_loadu_ps(scale.zeros.as_ptr()));
            let top = _mm512_set1_ps((TABLE - 1) as f32);
            let value = _mm512_min_ps(_mm512_max_ps(value, _mm512_setzero_ps()), top);
            _mm512_storeu_si512(indices.as_mut_ptr().cast(), _mm512_cvtps_epi32(value));
        }
    }
}

/// `(sum - offset) * multiplier`.
#[inline]
#[target_feature(enable = "avx512f")]
fn scaled(sums: &Lanes, scale: &Scale) -> __m512 {
    // SAFETY: all three are whole arrays of 16 lanes.
    let (sums, offsets, multipliers) = unsafe {
        (
            _mm512_load_si512(sums.0.as_ptr().cast()),
            _mm512_loadu_si512(scale.offsets.as_ptr().cast()),
            _mm512_loadu_ps(scale.multipliers.as_ptr()),
        )
    };
    _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sums, offsets)), multipliers)
}
