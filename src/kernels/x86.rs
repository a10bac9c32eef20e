//! What only x86-64 needs.

/// Ends the penalty that 256- and 512-bit code leaves on the scalar code after it. Does nothing
/// on other processors.
pub fn clear_upper_registers() {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX, as just asked; the instruction changes only the upper
        // halves of vector registers, which no Rust value occupies across this call.
        unsafe { clear() }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn clear() {
    core::arch::x86_64::_mm256_zeroupper();
}
