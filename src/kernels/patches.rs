//! Patches of pictures: how far they are apart, and what they say of the pixels they lie over.
//!
//! Sums of integers, so that every processor's are the same.

/// What a patch says: each of its pixels the level of another patch's, with a weight.
#[derive(Debug, Clone, Copy)]
pub struct Vote {
    /// Number of the pixel in what is voted on where the patch begins.
    pub to: usize,
    /// Number of the picture's pixel where the other patch begins.
    pub from: usize,
    /// Of the patch only so many rows, from the first on.
    pub rows: usize,
    pub weight: u16,
}

/// The sum of differences of rows of bytes: of `mine`, and of those that begin at every `stride` bytes
/// of `other`. At most 255 for each byte, in all no more than 32 bits.
///
/// # Panics
/// If `other` is too short.
#[inline]
pub fn apart<const N: usize>(mine: &[[u8; N]], other: &[u8], stride: usize) -> u32 {
    // SAFETY: SSE2 is part of x86-64.
    #[cfg(target_arch = "x86_64")]
    return unsafe { sse2::apart(mine, other, stride) };
    #[cfg(not(target_arch = "x86_64"))]
    apart_here(mine, other, stride)
}

/// The sum of differences of the bytes of four words.
#[inline]
pub fn bytes_apart(mine: &[u32; 4], other: &[u32; 4]) -> u32 {
    // SAFETY: SSE2 is part of x86-64.
    #[cfg(target_arch = "x86_64")]
    return unsafe { sse2::bytes_apart(mine, other) };
    #[cfg(target_arch = "aarch64")]
    return neon::bytes_apart(mine, other);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    bytes_apart_here(mine, other)
}

#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[inline]
fn bytes_apart_here(mine: &[u32; 4], other: &[u32; 4]) -> u32 {
    let [mine, other] = [mine, other].map(|words| words.map(u32::to_ne_bytes));
    let pairs = mine.as_flattened().iter().zip(other.as_flattened());
    pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
}

/// By lanes of a register, whose 16 bits hold the differences of 257 bytes.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline]
fn apart_here<const N: usize>(mine: &[[u8; N]], other: &[u8], stride: usize) -> u32 {
    const { assert!(N.is_multiple_of(8)) };
    let mut whole = 0;
    for (group, mine) in mine.chunks(8 * 257 / N).enumerate() {
        let mut sums = [0_u16; 8];
        for (row, mine) in mine.iter().enumerate() {
            let other = row_of::<N>(other, (group * (8 * 257 / N) + row) * stride);
            for (mine, other) in mine.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0) {
                for (sum, (a, b)) in sums.iter_mut().zip(mine.iter().zip(other)) {
                    *sum += u16::from(a.abs_diff(*b));
                }
            }
        }
        whole += sums.iter().map(|&sum| u32::from(sum)).sum::<u32>();
    }
    whole
}

#[inline(always)]
fn row_of<const N: usize>(picture: &[u8], at: usize) -> &[u8; N] {
    let row = picture.get(at..at + N).and_then(|row| row.first_chunk());
    row.expect("a picture that holds the patch")
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use core::arch::x86_64::*;

    use super::row_of;

    /// There is an instruction for it.
    ///
    /// # Safety
    /// * The processor has SSE2.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn apart<const N: usize>(mine: &[[u8; N]], other: &[u8], stride: usize) -> u32 {
        const { assert!(N.is_multiple_of(8)) };
        let mut sums = _mm_setzero_si128();
        for (row, mine) in mine.iter().enumerate() {
            let other = row_of::<N>(other, row * stride);
            let ((mine, mine_left), (other, other_left)) =
                (mine.as_chunks::<16>(), other.as_chunks::<16>());
            for (mine, other) in mine.iter().zip(other) {
                sums = _mm_add_epi64(sums, _mm_sad_epu8(load(mine), load(other)));
            }
            if let (Some(mine), Some(other)) = (mine_left.first_chunk(), other_left.first_chunk()) {
                sums = _mm_add_epi64(sums, _mm_sad_epu8(load_half(mine), load_half(other)));
            }
        }
        halves(sums)
    }

    /// # Safety
    /// * The processor has SSE2.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn bytes_apart(mine: &[u32; 4], other: &[u32; 4]) -> u32 {
        halves(_mm_sad_epu8(words(mine), words(other)))
    }

    /// From registers: words that were just stored one by one are waited for when they are loaded
    /// together.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn words(&[a, b, c, d]: &[u32; 4]) -> __m128i {
        _mm_set_epi32(a.cast_signed(), b.cast_signed(), c.cast_signed(), d.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn halves(sums: __m128i) -> u32 {
        let sums = _mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums));
        _mm_cvtsi128_si32(sums).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: 16 bytes that may be read, which need not be aligned.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load_half(bytes: &[u8; 8]) -> __m128i {
        // SAFETY: 8 bytes that may be read, which need not be aligned.
        unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) }
    }
}

/// A patch's side, pixels.
pub const SIDE: usize = 8;
/// Bytes of its row in packed RGB.
pub const ROW: usize = 3 * SIDE;

/// Adds up what patches of 8x8 pixels, or their upper rows, say: to `sums` levels by weights, three a
/// pixel, and to `weights` the weights. Both are `width` pixels wide, the `picture` (packed RGB) is
/// `stride` pixels wide. Sums wrap around at 32 bits.
///
/// # Panics
/// If a patch does not lie within.
pub fn vote(
    sums: (&mut [u32], &mut [u32], usize),
    picture: (&[u8], usize),
    votes: impl Iterator<Item = Vote>,
) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::vote(sums, picture, votes) };
    }
    #[cfg(target_arch = "aarch64")]
    return vote_by_rows(sums, picture, votes, neon::add_row);
    #[cfg(not(target_arch = "aarch64"))]
    vote_by_rows(sums, picture, votes, add_row);
}

/// With a way to add a row's levels by a weight.
#[inline(always)]
fn vote_by_rows(
    (sums, weights, width): (&mut [u32], &mut [u32], usize),
    (picture, stride): (&[u8], usize),
    votes: impl Iterator<Item = Vote>,
    add_row: impl Fn(&mut [u32; ROW], &[u8; ROW], u16),
) {
    let within = |begin: usize, rows: usize, width: usize, pixels: usize| {
        let last = rows.saturating_sub(1).checked_mul(width);
        let end = last.and_then(|last| last.checked_add(begin + SIDE));
        begin <= pixels && end.is_some_and(|end| end <= pixels)
    };
    let (voted, pixels) = (weights.len().min(sums.len() / 3), picture.len() / 3);
    for Vote { to, from, rows, weight } in votes {
        assert!(within(to, rows, width, voted), "a patch within what is voted on");
        assert!(within(from, rows, stride, pixels), "a patch within the picture");
        for row in 0..rows {
            let (to, from) = (to + row * width, from + row * stride);
            // SAFETY: the patch's last pixel lies within, as just asked, and so do all.
            let (weights, sums, says) = unsafe {
                (
                    &mut *weights.as_mut_ptr().add(to).cast::<[u32; SIDE]>(),
                    &mut *sums.as_mut_ptr().add(3 * to).cast::<[u32; ROW]>(),
                    &*picture.as_ptr().add(3 * from).cast::<[u8; ROW]>(),
                )
            };
            weights.iter_mut().for_each(|sum| *sum = sum.wrapping_add(weight.into()));
            add_row(sums, says, weight);
        }
    }
}

#[cfg(any(test, not(target_arch = "aarch64")))]
#[inline(always)]
fn add_row(sums: &mut [u32; ROW], levels: &[u8; ROW], weight: u16) {
    for (sum, level) in sums.iter_mut().zip(levels) {
        *sum = sum.wrapping_add(u32::from(weight) * u32::from(*level));
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use core::arch::x86_64::*;

    use super::{ROW, Vote, vote_by_rows};

    /// # Safety
    /// * The processor has AVX2.
    #[target_feature(enable = "avx2")]
    pub fn vote(
        sums: (&mut [u32], &mut [u32], usize),
        picture: (&[u8], usize),
        votes: impl Iterator<Item = Vote>,
    ) {
        // No plain `add_row`: what has the instructions cannot be called from just anywhere.
        vote_by_rows(sums, picture, votes, |sums, levels, weight| add_row(sums, levels, weight));
    }

    /// Eight levels at a time.
    ///
    /// # Safety
    /// * The processor has AVX2.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add_row(sums: &mut [u32; ROW], levels: &[u8; ROW], weight: u16) {
        let weight = _mm256_set1_epi32(weight.into());
        for (sums, levels) in sums.as_chunks_mut::<8>().0.iter_mut().zip(levels.as_chunks::<8>().0)
        {
            let sums: *mut __m256i = sums.as_mut_ptr().cast();
            // SAFETY: there are eight levels and eight sums, which need not be aligned.
            unsafe {
                let levels = _mm256_cvtepu8_epi32(_mm_loadl_epi64(levels.as_ptr().cast()));
                let says = _mm256_mullo_epi32(weight, levels);
                _mm256_storeu_si256(sums, _mm256_add_epi32(_mm256_loadu_si256(sums), says));
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use core::arch::aarch64::*;

    use super::ROW;

    #[inline(always)]
    pub fn bytes_apart(mine: &[u32; 4], other: &[u32; 4]) -> u32 {
        // SAFETY: NEON is part of 64-bit Arm.
        unsafe { vaddlvq_u8(vabdq_u8(words(mine), words(other))).into() }
    }

    /// From registers: words that were just stored one by one are waited for when they are loaded
    /// together.
    #[inline(always)]
    fn words(&[a, b, c, d]: &[u32; 4]) -> uint8x16_t {
        let pair = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
        // SAFETY: NEON is part of 64-bit Arm.
        unsafe { vcombine_u8(vcreate_u8(pair(a, b)), vcreate_u8(pair(c, d))) }
    }

    /// Eight levels at a time, multiplied and added in one.
    #[inline(always)]
    pub fn add_row(sums: &mut [u32; ROW], levels: &[u8; ROW], weight: u16) {
        for (sums, levels) in sums.as_chunks_mut::<8>().0.iter_mut().zip(levels.as_chunks::<8>().0)
        {
            let sums = sums.as_mut_ptr();
            // SAFETY: NEON is part of 64-bit Arm; there are eight levels and eight sums.
            unsafe {
                let levels = vmovl_u8(vld1_u8(levels.as_ptr()));
                let low = vmlal_n_u16(vld1q_u32(sums), vget_low_u16(levels), weight);
                let high = vmlal_high_n_u16(vld1q_u32(sums.add(4)), levels, weight);
                vst1q_u32(sums, low);
                vst1q_u32(sums.add(4), high);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::noise;

    #[test]
    fn differences_add_up() {
        fn check<const N: usize>(rows: usize) {
            let (mine, other) = (noise(N * rows, 1), noise(40 * rows, 2));
            let mine = mine.as_chunks::<N>().0;
            let pairs = mine.iter().zip(other.chunks(40)).flat_map(|(a, b)| a.iter().zip(b));
            let expected: u32 = pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
            assert_eq!(apart(mine, &other, 40), expected);
            assert_eq!(apart_here(mine, &other, 40), expected);
        }
        for rows in [0, 1, 4, 8, 999] {
            check::<8>(rows);
            check::<16>(rows);
            check::<24>(rows);
        }
        let [mine, other] = [1, 2].map(|seed| {
            let bytes = noise(16, seed);
            (*bytes.first_chunk::<16>().unwrap(), *bytes.as_chunks::<4>().0.first_chunk().unwrap())
        });
        let words = |bytes: [[u8; 4]; 4]| bytes.map(u32::from_le_bytes);
        let found = bytes_apart(&words(mine.1), &words(other.1));
        assert_eq!(found, apart(&[mine.0], &other.0, 16));
        assert_eq!(found, bytes_apart_here(&words(mine.1), &words(other.1)));
        // The most.
        let (least, most) = ([[0; 24]; 500], [255; 24 * 500]);
        assert_eq!(apart(&least, &most, 24), 255 * 24 * 500);
        assert_eq!(apart_here(&least, &most, 24), 255 * 24 * 500);
    }

    #[test]
    fn a_patch_that_lies_outside_is_refused() {
        let picture = noise(3 * 10 * 9, 3);
        let refused = |to: usize, from: usize, width: usize| {
            let (mut sums, mut weights) = (vec![0; 3 * 100], vec![0; 100]);
            let votes = std::iter::once(Vote { to, from, rows: SIDE, weight: 1 });
            let run = || vote((&mut sums, &mut weights, width), (&picture, 10), votes);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
        };
        assert!(!refused(22, 12, 10));
        for (to, from, width) in [
            (23, 0, 10),
            (0, 13, 10),
            (usize::MAX, 0, 10),
            (0, usize::MAX, 10),
            (0, 0, usize::MAX / 7),
            (0, 0, usize::MAX),
        ] {
            assert!(refused(to, from, width), "{to} {from} {width}");
        }
    }

    #[test]
    fn every_pixel_of_a_patch_has_its_say() {
        let (width, stride, height) = (19, 23, 21);
        let picture = noise(3 * stride * height, 3);
        let last = (19 * 13 + 11, 23 * 13 + 15);
        let votes = [
            (0, 0, 8, 7),
            (5, 14, 8, 65535),
            (1, 2, 8, 1),
            (last.0, last.1, 8, 300),
            (7, 3, 0, 2),
            (last.0 + 19 * 5, last.1 + 23 * 5, 3, 5),
        ]
        .map(|(to, from, rows, weight)| Vote { to, from, rows, weight });
        let (mut sums, mut weights) = (vec![1; 3 * width * height], vec![2; width * height]);
        vote((&mut sums, &mut weights, width), (&picture, stride), votes.into_iter());
        let (mut more, mut heavier) = (vec![1; 3 * width * height], vec![2; width * height]);
        let plain = (&mut *more, &mut *heavier, width);
        vote_by_rows(plain, (&picture, stride), votes.into_iter(), add_row);
        assert_eq!((&sums, &weights), (&more, &heavier));
        for at in 0..width * height {
            let mut expected = [1, 1, 1, 2];
            for Vote { to, from, rows, weight } in votes {
                let Some(beyond) = at.checked_sub(to) else { continue };
                let (x, y) = (beyond % width, beyond / width);
                if x < 8 && y < rows {
                    let says = &picture[3 * (from + y * stride + x)..][..3];
                    let weight = u32::from(weight);
                    (0..3).for_each(|at| expected[at] += weight * u32::from(says[at]));
                    expected[3] += weight;
                }
            }
            assert_eq!([&sums[3 * at..][..3], &weights[at..][..1]].concat(), expected, "{at}");
        }
    }
}
