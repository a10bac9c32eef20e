//! Sixteen lanes on each instruction set.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::LANES;

/// [`LANES`] numbers that are multiplied and added together.
///
/// # Safety
/// A value may exist only on a processor that has the instructions; the functions may be called
/// only there.
pub(super) unsafe trait Vector: Copy {
    /// # Safety
    /// The processor must have the instructions.
    unsafe fn zero() -> Self;

    /// # Safety
    /// [`LANES`] numbers can be read at `place`.
    unsafe fn load(place: *const f32) -> Self;

    /// # Safety
    /// The processor must have the instructions.
    unsafe fn splat(value: f32) -> Self;

    /// `self + a * b`, lane by lane.
    ///
    /// # Safety
    /// The processor must have the instructions.
    unsafe fn multiply_add(self, a: Self, b: Self) -> Self;

    /// # Safety
    /// The processor must have the instructions.
    unsafe fn add(self, other: Self) -> Self;

    /// # Safety
    /// [`LANES`] numbers can be written at `place`.
    unsafe fn store(self, place: *mut f32);
}

#[cfg(target_arch = "x86_64")]
// SAFETY: used in functions that enable AVX-512 alone.
unsafe impl Vector for __m512 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise, here and below.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(place: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(place) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn store(self, place: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(place, self) }
    }
}

#[cfg(target_arch = "x86_64")]
// SAFETY: used in functions that enable AVX2 and FMA alone.
unsafe impl Vector for [__m256; 2] {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise, here and below.
        unsafe { [_mm256_setzero_ps(); 2] }
    }

    #[inline(always)]
    unsafe fn load(place: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { [_mm256_loadu_ps(place), _mm256_loadu_ps(place.add(8))] }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], self[0]), _mm256_fmadd_ps(a[1], b[1], self[1])] }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { [_mm256_add_ps(self[0], other[0]), _mm256_add_ps(self[1], other[1])] }
    }

    #[inline(always)]
    unsafe fn store(self, place: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            _mm256_storeu_ps(place, self[0]);
            _mm256_storeu_ps(place.add(8), self[1]);
        }
    }
}

/// The compiler's own vectors: whatever the target has.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; LANES]);

// SAFETY: nothing is asked of the processor.
unsafe impl Vector for Portable {
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; LANES])
    }

    #[inline(always)]
    unsafe fn load(place: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { place.cast::<[f32; LANES]>().read() })
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn multiply_add(mut self, a: Self, b: Self) -> Self {
        for lane in 0..LANES {
            // Without instructions for it, `mul_add` is a function call.
            self.0[lane] = match cfg!(target_arch = "aarch64") {
                true => a.0[lane].mul_add(b.0[lane], self.0[lane]),
                false => a.0[lane] * b.0[lane] + self.0[lane],
            };
        }
        self
    }

    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for lane in 0..LANES {
            self.0[lane] += other.0[lane];
        }
        self
    }

    #[inline(always)]
    unsafe fn store(self, place: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { place.cast::<[f32; LANES]>().write(self.0) }
    }
}

/// See [`super::widest`].
#[inline]
pub(super) fn widest<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
        fn avx512<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        if has_avx512() {
            // SAFETY: the processor has it.
            return unsafe { avx512(work) };
        }
        if has_avx2() {
            // SAFETY: the processor has it.
            return unsafe { avx2(work) };
        }
    }
    work()
}

#[cfg(target_arch = "x86_64")]
pub(super) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && has_avx2()
}

#[cfg(target_arch = "x86_64")]
pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}
