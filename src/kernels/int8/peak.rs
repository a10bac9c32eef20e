//! What one core can do at most: the multiply-add of an instruction set on registers alone.
//!
//! Assembly, because a compiler that spills one sum halves the result. Sixteen sums are enough
//! for the instruction's latency at two a cycle.

use std::time::Instant;

/// Rounds of sixteen instructions in one measurement: some milliseconds.
const ROUNDS: u64 = 1 << 18;
/// The best of so many counts: what interrupts a measurement only makes it slower.
const MEASUREMENTS: usize = 15;

/// Multiply-adds a second of one core, `products` being those of a round of `work`.
pub(super) fn measured(products: u64, work: impl Fn(u64)) -> f64 {
    let seconds = (0..MEASUREMENTS).map(|_| {
        let begun = Instant::now();
        work(ROUNDS);
        begun.elapsed().as_secs_f64()
    });
    (ROUNDS * products) as f64 / seconds.fold(f64::INFINITY, f64::min)
}

/// Rounds of sixteen `vpdpbusd` of 512 bits.
///
/// # Safety
/// The processor must have AVX-512 F and VNNI.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn avx512_vnni(rounds: u64) {
    // SAFETY: the caller's promise; every register written is declared, memory is not touched.
    unsafe {
        std::arch::asm!(
            "vpxord zmm16, zmm16, zmm16",
            "vpxord zmm17, zmm17, zmm17",
            "2:",
            "vpdpbusd zmm0, zmm16, zmm17",
            "vpdpbusd zmm1, zmm16, zmm17",
            "vpdpbusd zmm2, zmm16, zmm17",
            "vpdpbusd zmm3, zmm16, zmm17",
            "vpdpbusd zmm4, zmm16, zmm17",
            "vpdpbusd zmm5, zmm16, zmm17",
            "vpdpbusd zmm6, zmm16, zmm17",
            "vpdpbusd zmm7, zmm16, zmm17",
            "vpdpbusd zmm8, zmm16, zmm17",
            "vpdpbusd zmm9, zmm16, zmm17",
            "vpdpbusd zmm10, zmm16, zmm17",
            "vpdpbusd zmm11, zmm16, zmm17",
            "vpdpbusd zmm12, zmm16, zmm17",
            "vpdpbusd zmm13, zmm16, zmm17",
            "vpdpbusd zmm14, zmm16, zmm17",
            "vpdpbusd zmm15, zmm16, zmm17",
            "dec {rounds}",
            "jnz 2b",
            "vzeroupper",
            rounds = inout(reg) rounds => _,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
            out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
            out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
            out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
            out("zmm16") _, out("zmm17") _,
            options(nomem, nostack),
        );
    }
}

/// A function of rounds of sixteen of an instruction of 128 bits.
#[cfg(target_arch = "aarch64")]
macro_rules! arm_rounds {
    ($name:ident, $features:literal, $instruction:literal) => {
        /// # Safety
        /// The processor must have the features.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(rounds: u64) {
            // SAFETY: the caller's promise; every register written is declared, memory is not
            // touched.
            unsafe {
                std::arch::asm!(
                    "movi v16.16b, #0",
                    "movi v17.16b, #0",
                    "2:",
                    concat!($instruction, " v0.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v1.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v2.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v3.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v4.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v5.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v6.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v7.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v18.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v19.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v20.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v21.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v22.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v23.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v24.4s, v16.16b, v17.16b"),
                    concat!($instruction, " v25.4s, v16.16b, v17.16b"),
                    "subs {rounds}, {rounds}, #1",
                    "b.ne 2b",
                    rounds = inout(reg) rounds => _,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                    out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                    out("v16") _, out("v17") _, out("v18") _, out("v19") _,
                    out("v20") _, out("v21") _, out("v22") _, out("v23") _,
                    out("v24") _, out("v25") _,
                    options(nomem, nostack),
                );
            }
        }
    };
}

#[cfg(target_arch = "aarch64")]
arm_rounds!(dotprod, "neon,dotprod", "sdot");
#[cfg(target_arch = "aarch64")]
arm_rounds!(i8mm, "neon,i8mm", "usmmla");
