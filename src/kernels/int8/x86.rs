//! x86-64: AVX-512 VNNI, AVX-VNNI, and AVX2 for processors without either.

use core::arch::x86_64::*;

use super::drive::{Job, drive};
use super::generic;
use super::{GROUP, Isa, KeptPair, LANES, Lanes, Reads, Scale, Sums, TABLE, TILE};
use crate::net::{INPUT_CHANNELS, LEAKY_SLOPE};

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
        // Sums wait for their last product: eight of them would not keep two multipliers busy.
        const CHAINS: usize = 2;
        // SAFETY: the caller promises that all places read are readable; the instructions are
        // there, as `self` is.
        unsafe {
            let mut totals = [[_mm512_setzero_si512(); CHAINS]; TILE];
            let mut weights = weights;
            let mut next = weights.map(|weights| weights.wrapping_add(reads.ahead));
            for source in 0..reads.source_count {
                let mut places = pixels.map(|pixel| reads.sources[source].add(pixel as usize));
                for _ in 0..reads.rows {
                    let mut at = 0;
                    while at < reads.run {
                        for next in &mut next {
                            _mm_prefetch::<_MM_HINT_T1>(*next);
                            *next = next.wrapping_add(reads.pace);
                        }
                        // Two blocks have a chain each, one block has both in turns.
                        let groups = if B == 1 && at + GROUP < reads.run { CHAINS } else { 1 };
                        for group in 0..groups {
                            let at = at + group * GROUP;
                            let mut loaded = [_mm512_setzero_si512(); B];
                            for block in 0..B {
                                loaded[block] =
                                    _mm512_loadu_si512(weights[block].add(at * LANES).cast());
                            }
                            for pixel in 0..TILE {
                                let inputs = places[pixel].add(at).cast::<i32>().read_unaligned();
                                let inputs = _mm512_set1_epi32(inputs);
                                for block in 0..B {
                                    let total = &mut totals[pixel][block + group];
                                    *total = _mm512_dpbusd_epi32(*total, inputs, loaded[block]);
                                }
                            }
                        }
                        at += groups * GROUP;
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
                if B == 1 {
                    let [first, second] = totals[pixel];
                    totals[pixel][0] = _mm512_add_epi32(first, second);
                }
                for block in 0..B {
                    _mm512_store_si512((&raw mut sums[pixel][block]).cast(), totals[pixel][block]);
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
        // SAFETY: the caller promises that all places read are readable; the instructions are
        // there, as `self` is.
        unsafe {
            let mut totals = [[_mm512_setzero_si512(); B]; TILE];
            let mut at = 0;
            for (source, bytes) in sources.into_iter().enumerate() {
                let places = pixels.map(|pixel| bytes.add(pixel as usize));
                for &place in kept.of(source) {
                    let mut loaded = [_mm512_setzero_si512(); B];
                    for block in 0..B {
                        loaded[block] = _mm512_loadu_si512(weights[block].add(at).cast());
                    }
                    for pixel in 0..TILE {
                        let inputs = places[pixel].add(place as usize).cast::<i32>();
                        let inputs = _mm512_set1_epi32(inputs.read_unaligned());
                        for block in 0..B {
                            let total = &mut totals[pixel][block];
                            *total = _mm512_dpbusd_epi32(*total, inputs, loaded[block]);
                        }
                    }
                    at += GROUP * LANES;
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
        // SAFETY: `indices` is a whole array; the instructions are there, as `self` is.
        unsafe { _mm512_storeu_si512(indices.as_mut_ptr().cast(), index_512(sums, scale)) }
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
        // SAFETY: indices are below the table's size, and so are the four bytes that lie at the
        // even index; all other places are whole arrays; the instructions are there.
        unsafe {
            let index = index_512(sums, scale);
            let even = _mm512_srli_epi32::<1>(index);
            let four = _mm512_i32gather_epi32::<4>(even, table.as_ptr().cast());
            let odd = _mm512_and_si512(index, _mm512_set1_epi32(1));
            let pair = _mm512_srlv_epi32(four, _mm512_slli_epi32::<4>(odd));
            _mm_storeu_si128(first.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(pair));
            let pair = _mm512_srli_epi32::<8>(pair);
            _mm_storeu_si128(second.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(pair));
        }
    }

    #[inline(always)]
    fn look_up(self, sums: &Lanes, scale: &Scale, table: &[u8; TABLE], levels: &mut [u8; LANES]) {
        // SAFETY: indices are below the table's size, and so are the four bytes around each; all
        // other places are whole arrays; the instructions are there.
        unsafe {
            let index = index_512(sums, scale);
            let quarter = _mm512_srli_epi32::<2>(index);
            let four = _mm512_i32gather_epi32::<4>(quarter, table.as_ptr().cast());
            let rest = _mm512_and_si512(index, _mm512_set1_epi32(3));
            let level = _mm512_srlv_epi32(four, _mm512_slli_epi32::<3>(rest));
            _mm_storeu_si128(levels.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(level));
        }
    }
}

/// See [`Isa::index`].
#[inline]
#[target_feature(enable = "avx512f")]
fn index_512(sums: &Lanes, scale: &Scale) -> __m512i {
    // SAFETY: 16 zeros.
    let zeros = unsafe { _mm512_loadu_ps(scale.zeros.as_ptr()) };
    let value = _mm512_max_ps(_mm512_add_ps(scaled(sums, scale), zeros), _mm512_setzero_ps());
    _mm512_cvtps_epi32(_mm512_min_ps(value, _mm512_set1_ps((TABLE - 1) as f32)))
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

/// 256-bit registers with VNNI (Alder Lake, Zen 5 and later).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AvxVnni(());

impl AvxVnni {
    pub fn new() -> Option<Self> {
        let there = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni");
        there.then_some(Self(()))
    }

    /// [`drive`] compiled for this instruction set.
    pub fn drive(self, job: &Job) {
        #[target_feature(enable = "avx2,avxvnni")]
        fn enabled(isa: AvxVnni, job: &Job) {
            drive(isa, job);
        }
        // SAFETY: a value of this type exists only where the instructions do.
        unsafe { enabled(self, job) }
    }
}

/// 256-bit registers (any x86-64 processor since about 2013).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Avx2 {
    pub fn new() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// [`drive`] compiled for this instruction set.
    pub fn drive(self, job: &Job) {
        #[target_feature(enable = "avx2")]
        fn enabled(isa: Avx2, job: &Job) {
            drive(isa, job);
        }
        // SAFETY: a value of this type exists only where the instructions do.
        unsafe { enabled(self, job) }
    }
}

// SAFETY: made by `new` alone, which asks the processor.
unsafe impl Isa for AvxVnni {
    const INPUT_BIAS: i32 = 0;

    #[inline(always)]
    unsafe fn dot<const B: usize>(
        self,
        reads: &Reads,
        weights: [*const i8; B],
        pixels: &[u32; TILE],
        sums: &mut Sums,
    ) {
        /// Pixels at a time: 8 registers of sums, 2 of weights, 1 of inputs, of 16.
        const PIXELS: usize = 4;
        for (pixels, sums) in
            pixels.as_chunks::<PIXELS>().0.iter().zip(sums.as_chunks_mut::<PIXELS>().0)
        {
            for (block, &weights) in weights.iter().enumerate() {
                // SAFETY: the caller promises that all places read are readable; the instructions
                // are there, as `self` is.
                unsafe {
                    let mut totals = [[_mm256_setzero_si256(); 2]; PIXELS];
                    let mut weights = weights;
                    for source in 0..reads.source_count {
                        let mut places =
                            pixels.map(|pixel| reads.sources[source].add(pixel as usize));
                        for _ in 0..reads.rows {
                            for at in (0..reads.run).step_by(GROUP) {
                                let low = _mm256_loadu_si256(weights.cast());
                                let high = _mm256_loadu_si256(weights.add(32).cast());
                                for pixel in 0..PIXELS {
                                    let four = places[pixel].add(at).cast::<i32>();
                                    let inputs = _mm256_set1_epi32(four.read_unaligned());
                                    let [a, b] = &mut totals[pixel];
                                    *a = _mm256_dpbusd_avx_epi32(*a, inputs, low);
                                    *b = _mm256_dpbusd_avx_epi32(*b, inputs, high);
                                }
                                weights = weights.wrapping_add(GROUP * LANES);
                            }
                            for place in &mut places {
                                *place = place.wrapping_add(reads.row_step);
                            }
                        }
                    }
                    for pixel in 0..PIXELS {
                        let sums = (&raw mut sums[pixel][block]).cast::<__m256i>();
                        _mm256_storeu_si256(sums, totals[pixel][0]);
                        _mm256_storeu_si256(sums.add(1), totals[pixel][1]);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn modulate(self, sums: &Lanes, scale: &Scale, map: &[u8; LANES], output: &mut [u8; LANES]) {
        // SAFETY: AVX2 is there, as `self` is.
        unsafe { modulate_256(sums, scale, map, output) }
    }

    #[inline(always)]
    fn index(self, sums: &Lanes, scale: &Scale, indices: &mut [i32; LANES]) {
        // SAFETY: AVX2 is there, as `self` is.
        unsafe { index_256(sums, scale, indices) }
    }
}

// SAFETY: made by `new` alone, which asks the processor.
unsafe impl Isa for Avx2 {
    const INPUT_BIAS: i32 = 0;

    /// Both sides widened to 16 bits: the 8-bit multiply-add of AVX2 saturates. Of a lane's four
    /// bytes the even ones are taken together and the odd ones, which shifts within the lane do.
    #[inline(always)]
    unsafe fn dot<const B: usize>(
        self,
        reads: &Reads,
        weights: [*const i8; B],
        pixels: &[u32; TILE],
        sums: &mut Sums,
    ) {
        /// Pixels at a time: 8 registers of sums, 4 of weights, 2 of inputs, of 16.
        const PIXELS: usize = 4;
        for (pixels, sums) in
            pixels.as_chunks::<PIXELS>().0.iter().zip(sums.as_chunks_mut::<PIXELS>().0)
        {
            for (block, &weights) in weights.iter().enumerate() {
                // SAFETY: the caller promises that all places read are readable; AVX2 is there,
                // as `self` is.
                unsafe {
                    let mut totals = [[_mm256_setzero_si256(); 2]; PIXELS];
                    let mut weights = weights;
                    for source in 0..reads.source_count {
                        let mut places =
                            pixels.map(|pixel| reads.sources[source].add(pixel as usize));
                        for _ in 0..reads.rows {
                            for at in (0..reads.run).step_by(GROUP) {
                                let mut loaded = [[_mm256_setzero_si256(); 2]; 2];
                                for half in 0..2 {
                                    let bytes = weights.add(32 * half).cast();
                                    let bytes = _mm256_loadu_si256(bytes);
                                    let even = _mm256_slli_epi16::<8>(bytes);
                                    loaded[half][0] = _mm256_srai_epi16::<8>(even);
                                    loaded[half][1] = _mm256_srai_epi16::<8>(bytes);
                                }
                                for pixel in 0..PIXELS {
                                    let four = places[pixel].add(at).cast::<i32>();
                                    let inputs = _mm256_set1_epi32(four.read_unaligned());
                                    let even = _mm256_and_si256(inputs, _mm256_set1_epi16(0xff));
                                    let odd = _mm256_srli_epi16::<8>(inputs);
                                    for half in 0..2 {
                                        let [a, b] = loaded[half];
                                        let products = _mm256_add_epi32(
                                            _mm256_madd_epi16(even, a),
                                            _mm256_madd_epi16(odd, b),
                                        );
                                        let total = &mut totals[pixel][half];
                                        *total = _mm256_add_epi32(*total, products);
                                    }
                                }
                                weights = weights.wrapping_add(GROUP * LANES);
                            }
                            for place in &mut places {
                                *place = place.wrapping_add(reads.row_step);
                            }
                        }
                    }
                    for pixel in 0..PIXELS {
                        let sums = (&raw mut sums[pixel][block]).cast::<__m256i>();
                        _mm256_storeu_si256(sums, totals[pixel][0]);
                        _mm256_storeu_si256(sums.add(1), totals[pixel][1]);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn modulate(self, sums: &Lanes, scale: &Scale, map: &[u8; LANES], output: &mut [u8; LANES]) {
        // SAFETY: AVX2 is there, as `self` is.
        unsafe { modulate_256(sums, scale, map, output) }
    }

    #[inline(always)]
    fn index(self, sums: &Lanes, scale: &Scale, indices: &mut [i32; LANES]) {
        // SAFETY: AVX2 is there, as `self` is.
        unsafe { index_256(sums, scale, indices) }
    }
}

/// `(sum - offset) * multiplier` of eight lanes from `lane` on.
#[inline]
#[target_feature(enable = "avx2")]
fn scaled_256(sums: &Lanes, scale: &Scale, lane: usize) -> __m256 {
    // SAFETY: all three are arrays of 16 lanes, and slicing checks that eight are left.
    let (sums, offsets, multipliers) = unsafe {
        (
            _mm256_loadu_si256(sums.0[lane..lane + 8].as_ptr().cast()),
            _mm256_loadu_si256(scale.offsets[lane..lane + 8].as_ptr().cast()),
            _mm256_loadu_ps(scale.multipliers[lane..lane + 8].as_ptr()),
        )
    };
    _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(sums, offsets)), multipliers)
}

/// `clamp(value + zero, 0, top)` of eight lanes from `lane` on, rounded to even.
#[inline]
#[target_feature(enable = "avx2")]
fn rounded_256(value: __m256, scale: &Scale, lane: usize, top: f32) -> __m256i {
    // SAFETY: 16 zeros, of which eight are left.
    let zeros = unsafe { _mm256_loadu_ps(scale.zeros[lane..lane + 8].as_ptr()) };
    let value = _mm256_max_ps(_mm256_add_ps(value, zeros), _mm256_setzero_ps());
    _mm256_cvtps_epi32(_mm256_min_ps(value, _mm256_set1_ps(top)))
}

/// See [`Isa::modulate`].
#[inline]
#[target_feature(enable = "avx2")]
fn modulate_256(sums: &Lanes, scale: &Scale, map: &[u8; LANES], output: &mut [u8; LANES]) {
    let mut halves = [_mm256_setzero_si256(); 2];
    for (half, rounded) in halves.iter_mut().enumerate() {
        // SAFETY: `map` has eight bytes from there on.
        let map = unsafe { _mm_loadl_epi64(map[8 * half..8 * half + 8].as_ptr().cast()) };
        let map = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(map));
        let modulated = _mm256_mul_ps(scaled_256(sums, scale, 8 * half), map);
        let small = _mm256_mul_ps(modulated, _mm256_set1_ps(LEAKY_SLOPE));
        *rounded = rounded_256(_mm256_max_ps(modulated, small), scale, 8 * half, 255.0);
    }
    let words = _mm256_packus_epi32(halves[0], halves[1]);
    let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
    let bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
    // SAFETY: `output` has 16 bytes.
    unsafe { _mm_storeu_si128(output.as_mut_ptr().cast(), bytes) }
}

/// See [`Isa::index`].
#[inline]
#[target_feature(enable = "avx2")]
fn index_256(sums: &Lanes, scale: &Scale, indices: &mut [i32; LANES]) {
    for lane in [0, 8] {
        let value = scaled_256(sums, scale, lane);
        let rounded = rounded_256(value, scale, lane, (TABLE - 1) as f32);
        // SAFETY: `indices` has eight left.
        unsafe { _mm256_storeu_si256(indices[lane..lane + 8].as_mut_ptr().cast(), rounded) }
    }
}

/// See [`super::Kernel::copy_known`].
#[target_feature(enable = "ssse3")]
pub(super) fn copy_known(pixels: &[[u8; 3]], inputs: &mut [[u8; INPUT_CHANNELS]]) {
    /// Pixels in a register, and pixels that are read with them.
    const PIXELS: usize = 4;
    const READ: usize = 6;
    let count = pixels.len().min(inputs.len());
    let mut at = 0;
    // The last byte of each pixel is taken from nowhere: 0.
    let spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    let mask = _mm_set1_epi32(0xff << 24);
    while at + READ <= count {
        // SAFETY: 16 bytes of six pixels, and four inputs, are there.
        unsafe {
            let levels = _mm_shuffle_epi8(_mm_loadu_si128(pixels[at..].as_ptr().cast()), spread);
            let input = inputs[at..].as_mut_ptr().cast();
            let known = _mm_srai_epi32::<31>(_mm_loadu_si128(input));
            _mm_storeu_si128(input, _mm_and_si128(_mm_or_si128(levels, mask), known));
        }
        at += PIXELS;
    }
    generic::copy_known(&pixels[at..count], &mut inputs[at..count]);
}
