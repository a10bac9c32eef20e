//! `exp` and `x^p` without branches or calls, so that loops over them are vectorised.

/// `ln 2` in two parts, the first exact in few bits.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Adding it rounds a small number to a whole one, in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// `e^x`, within 2 units in the last place; 0 below -87.
///
/// After Cephes' `expf` (Moshier): `x = n ln 2 + r`, a polynomial of `r`, and `n` as an exponent.
#[inline(always)]
pub fn exponential(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut sum = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        sum = sum * r + coefficient;
    }
    let value = sum * r * r + r + 1.0;
    let exponent = (shifted.to_bits() << 23).wrapping_add(0x3f80_0000);
    value * f32::from_bits(exponent)
}

/// `x^p` for `x > 0`; 0 for others.
#[inline(always)]
pub fn power(x: f32, p: f32) -> f32 {
    let value = exponential(p * logarithm(x.max(f32::MIN_POSITIVE)));
    if x > 0.0 { value } else { 0.0 }
}

/// `ln x` for normal `x > 0`, after Cephes' `logf`: mantissa from 0.7 to 1.4, then a polynomial.
#[inline(always)]
fn logarithm(x: f32) -> f32 {
    // So that the mantissa's range is centred at 1.
    let bits = x.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (bits as i32 >> 23) as f32;
    let r = f32::from_bits((bits & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let mut sum = 7.037_683_6e-2;
    for coefficient in [
        -0.115_146_1,
        0.116_769_98,
        -0.124_201_41,
        0.142_493_22,
        -0.166_680_57,
        0.200_007_15,
        -0.249_999_94,
        0.333_333_3,
    ] {
        sum = sum * r + coefficient;
    }
    let squared = r * r;
    let tail = sum * r * squared + exponent * LN2_LOW - 0.5 * squared;
    r + tail + exponent * LN2_HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few units in the last place.
    const RELATIVE: f64 = 4e-7;

    #[test]
    fn they_are_the_standard_librarys() {
        for step in -87_000..88_000 {
            let x = step as f32 / 1000.0;
            let (found, wanted) = (f64::from(exponential(x)), f64::from(x).exp());
            assert!((found / wanted - 1.0).abs() < RELATIVE, "exp({x}) = {found}, not {wanted}");
        }
        assert!(exponential(-200.0) < 2e-38);
        for step in 1..200_000 {
            let x = (step as f32 / 1000.0 - 100.0).exp2().min(1e9);
            let (found, wanted) = (f64::from(power(x, 0.8)), f64::from(x).powf(0.8));
            // The logarithm's rounding counts as often as the power has digits.
            let limit = RELATIVE * (1.0 + 0.8 * f64::from(x).ln().abs());
            assert!((found / wanted - 1.0).abs() < limit, "{x}^0.8 = {found}, not {wanted}");
        }
        assert_eq!((power(0.0, 0.8), power(-1.0, 0.8)), (0.0, 0.0));
    }
}
