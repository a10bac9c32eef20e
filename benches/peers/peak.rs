//! What one core of this processor can do at most in 8-bit integers, in G operations a second (a
//! multiply-add is two), printed as one number. No dependency: `rustc -O peak.rs`.
//!
//! `vpdpbusd` on 512-bit registers, sixteen sums that never leave them: enough for the
//! instruction's latency at two a cycle. Assembly, because a compiler that spills one sum halves
//! the result.

#[cfg(target_arch = "x86_64")]
fn main() {
    use std::time::Instant;

    /// Rounds of sixteen instructions in one measurement: some milliseconds.
    const ROUNDS: u64 = 1 << 20;
    /// The best of so many counts: what interrupts a measurement only makes it slower.
    const MEASUREMENTS: usize = 15;
    /// Multiplications and additions of one instruction.
    const OPERATIONS: u64 = 128;

    if !is_x86_feature_detected!("avx512vnni") || !is_x86_feature_detected!("avx512f") {
        eprintln!("peak: this processor has no AVX-512 VNNI; its peak is not measured");
        std::process::exit(1);
    }
    let mut best = f64::INFINITY;
    for _ in 0..MEASUREMENTS {
        let begun = Instant::now();
        // SAFETY: the features were detected; only registers named here are touched.
        unsafe { sixteen_sums(ROUNDS) };
        best = best.min(begun.elapsed().as_secs_f64());
    }
    println!("{:.1}", (ROUNDS * 16 * OPERATIONS) as f64 / best / 1e9);
}

/// # Safety
/// The processor must have AVX-512 F and VNNI.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn sixteen_sums(rounds: u64) {
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

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    eprintln!("peak: only for x86-64 with AVX-512 VNNI so far");
    std::process::exit(1);
}
