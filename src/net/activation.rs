//! The scalar activations of the attention branches: their constants and definition.

/// Slope of LeakyReLU below zero, in encoder and decoder.
pub const LEAKY_SLOPE: f32 = 0.2;

/// Power of the mask update `gM(x) = relu(x)^0.8`. Its slope at 0 is infinite.
pub const MASK_UPDATE_POWER: f32 = 0.8;

/// Name and range of one learned scalar of the asymmetric Gaussian attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActivationClamp {
    /// The scalar's name in the authors' checkpoints.
    pub name: &'static str,
    /// Smallest value allowed.
    pub min: f32,
    /// Largest value allowed.
    pub max: f32,
}

/// The four scalars of [`Attention`], in the order of its fields.
pub const CLAMPS: [ActivationClamp; 4] = [
    ActivationClamp { name: "a", min: 1.01, max: 6.0 },
    ActivationClamp { name: "mu", min: 0.1, max: 3.0 },
    ActivationClamp { name: "sigma1", min: 0.5, max: 2.0 },
    ActivationClamp { name: "sigma2", min: 0.5, max: 2.0 },
];

/// The asymmetric Gaussian `gA` of one layer:
/// `a * exp(-sigma1 * (x - mu)^2)` below `mu`, else `1 + (a - 1) * exp(-sigma2 * (x - mu)^2)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Height of the peak at `mu`.
    pub a: f32,
    /// Where the peak lies.
    pub mu: f32,
    /// Steepness below the peak.
    pub sigma1: f32,
    /// Steepness above the peak.
    pub sigma2: f32,
}

impl Attention {
    /// Start of training in the forward branch.
    pub const FORWARD_START: Self = Self { a: 1.1, mu: 2.0, sigma1: 1.0, sigma2: 1.0 };
    /// Start of training in the reverse branch.
    pub const REVERSE_START: Self = Self { a: 1.1, mu: 1.0, sigma1: 0.5, sigma2: 0.5 };

    /// From the scalars in the order of [`CLAMPS`], each brought into its range. A value that
    /// is not a number becomes the range's lower end.
    pub fn clamped(scalars: [f32; 4]) -> Self {
        let mut scalars = scalars;
        for (value, clamp) in scalars.iter_mut().zip(CLAMPS) {
            *value = value.max(clamp.min).min(clamp.max);
        }
        let [a, mu, sigma1, sigma2] = scalars;
        Self { a, mu, sigma1, sigma2 }
    }

    /// The scalars in the order of [`CLAMPS`].
    pub fn scalars(&self) -> [f32; 4] {
        [self.a, self.mu, self.sigma1, self.sigma2]
    }

    /// `gA(x)`: the definition, which every faster form is tested against.
    pub fn attend(&self, x: f32) -> f32 {
        let squared = (x - self.mu) * (x - self.mu);
        if x < self.mu {
            self.a * (-self.sigma1 * squared).exp()
        } else {
            1.0 + (self.a - 1.0) * (-self.sigma2 * squared).exp()
        }
    }

    /// `gM(x)`, the mask update: `relu(x)^0.8`.
    pub fn update(x: f32) -> f32 {
        if x > 0.0 { x.powf(MASK_UPDATE_POWER) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clamping_keeps_ranges_and_survives_nan() {
        let clamped = Attention::clamped([9.0, -1.0, f32::NAN, 1.5]);
        assert_eq!(clamped.scalars(), [6.0, 0.1, 0.5, 1.5]);
    }

    #[test]
    fn attention_is_continuous_at_its_peak() {
        let attention = Attention::FORWARD_START;
        let below = attention.attend(attention.mu - 1e-4);
        let above = attention.attend(attention.mu + 1e-4);
        assert!((below - attention.a).abs() < 1e-6 && (above - attention.a).abs() < 1e-6);
    }

    #[test]
    fn the_mask_update_of_nothing_is_nothing() {
        assert_eq!(Attention::update(0.0), 0.0);
        assert_eq!(Attention::update(-3.0), 0.0);
        assert_eq!(Attention::update(1.0), 1.0);
    }
}
