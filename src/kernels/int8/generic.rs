//! The portable definition, which every other instruction set equals byte for byte.

use super::{GROUP, Isa, LANES, Lanes, Reads, Scale, Sums, TABLE, TILE};
use crate::net::{INPUT_CHANNELS, LEAKY_SLOPE};

/// Plain Rust: any processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

// SAFETY: no instructions beyond the compiler's own.
unsafe impl Isa for Portable {
    const INPUT_BIAS: i32 = 0;

    #[inline(always)]
    unsafe fn dot<const B: usize>(
        self,
        reads: &Reads,
        weights: [*const i8; B],
        pixels: &[u32; TILE],
        sums: &mut Sums,
    ) {
        for (&pixel, sums) in pixels.iter().zip(sums) {
            for (weights, sums) in weights.iter().zip(sums) {
                sums.0 = [0; LANES];
                let mut weight = *weights;
                for source in &reads.sources[..reads.source_count] {
                    for row in 0..reads.rows {
                        for at in (0..reads.run).step_by(GROUP) {
                            // SAFETY: the caller's promise covers this place and this weight.
                            let (inputs, group) = unsafe {
                                let place = pixel as usize + row * reads.row_step + at;
                                let inputs = source.add(place).cast::<[u8; GROUP]>().read();
                                (inputs, &*weight.cast::<[[i8; GROUP]; LANES]>())
                            };
                            for (sum, weights) in sums.0.iter_mut().zip(group) {
                                for (&input, &weight) in inputs.iter().zip(weights) {
                                    *sum += i32::from(input) * i32::from(weight);
                                }
                            }
                            weight = weight.wrapping_add(GROUP * LANES);
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn modulate(self, sums: &Lanes, scale: &Scale, map: &[u8; LANES], output: &mut [u8; LANES]) {
        for lane in 0..LANES {
            let scaled =
                sums.0[lane].wrapping_sub(scale.offsets[lane]) as f32 * scale.multipliers[lane];
            let modulated = scaled * f32::from(map[lane]);
            let leaky = modulated.max(modulated * LEAKY_SLOPE);
            let value = (leaky + scale.zeros[lane]).clamp(0.0, 255.0);
            output[lane] = value.round_ties_even() as u8;
        }
    }

    #[inline(always)]
    fn index(self, sums: &Lanes, scale: &Scale, indices: &mut [i32; LANES]) {
        for lane in 0..LANES {
            let scaled =
                sums.0[lane].wrapping_sub(scale.offsets[lane]) as f32 * scale.multipliers[lane];
            let value = (scaled + scale.zeros[lane]).clamp(0.0, (TABLE - 1) as f32);
            indices[lane] = value.round_ties_even() as i32;
        }
    }
}

/// See [`super::Kernel::copy_known`].
pub(super) fn copy_known(pixels: &[[u8; 3]], inputs: &mut [[u8; INPUT_CHANNELS]]) {
    for (input, pixel) in inputs.iter_mut().zip(pixels) {
        let known = input[3];
        *input = [pixel[0] & known, pixel[1] & known, pixel[2] & known, known];
    }
}
