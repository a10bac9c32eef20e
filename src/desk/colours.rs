//! Pictures in other colours, so that few photographs teach more than their own.
//!
//! What fills a hole well depends on shapes and on colours beside each other, hardly on which
//! colours they are: exchanged channels and another exposure make another photograph of one.

use rand_pcg::Pcg64;

use super::random::{below, unit};

/// Share of pictures whose channels are exchanged.
const EXCHANGED: f32 = 0.5;
/// Powers of two between which the exposure's curve lies.
const CURVE: (f32, f32) = (-0.5, 0.5);
/// Contrast around the middle.
const CONTRAST: (f32, f32) = (0.75, 1.1);

/// What becomes of a picture's bytes.
pub(super) struct Colours {
    /// Where each channel comes from.
    pub from: [usize; 3],
    /// Of each channel and byte, the value in `0.0..=1.0`.
    pub values: [[f32; 256]; 3],
}

impl Colours {
    /// As they are.
    pub fn unchanged() -> Self {
        Self { from: [0, 1, 2], values: [std::array::from_fn(|byte| byte as f32 / 255.0); 3] }
    }

    /// Other ones.
    pub fn varied(rng: &mut Pcg64) -> Self {
        let mut colours = Self::unchanged();
        if unit(rng) < EXCHANGED {
            colours.from.swap(0, below(rng, 3));
            colours.from.swap(1, 1 + below(rng, 2));
        }
        let mut between = |(low, high): (f32, f32)| low + (high - low) * unit(rng);
        let (power, contrast) = (between(CURVE).exp2(), between(CONTRAST));
        for channel in &mut colours.values {
            // Channels differ a little, as under other light.
            let own = power * between((-0.1, 0.1)).exp2();
            for value in channel {
                *value = ((value.powf(own) - 0.5) * contrast + 0.5).clamp(0.0, 1.0);
            }
        }
        colours
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::random::generator;

    #[test]
    fn colours_vary_in_bounds_and_keep_their_order() {
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let colours = Colours::varied(&mut generator(seed, 0, 0));
            orders.insert(colours.from);
            for channel in colours.values {
                assert!(channel.iter().all(|value| (0.0..=1.0).contains(value)));
                assert!(channel.windows(2).all(|pair| pair[0] <= pair[1]));
                assert!(channel[255] - channel[0] > 0.7);
            }
        }
        assert_eq!(orders.len(), 6, "{orders:?}");
    }
}
