//! Variants of the network: the ablations of the paper, as data.
//!
//! A variant changes what the attention maps are, and no size: all have the tensors of
//! [`super::Network::parameters`], so that files, optimisers and kernels are the same for all.
//! Parameters that a variant does not use stay as they began. The paper's network is
//! [`Variant::PAPER`]; devices run no other.
//!
//! ```
//! use lbam::net::Variant;
//!
//! let forward_only = Variant::named("gaussian", "forward").unwrap();
//! assert!(forward_only.learns_forward() && !forward_only.has_reverse());
//! assert_eq!(Variant::named("gaussian", "both"), Ok(Variant::PAPER));
//! assert!(Variant::named("gaussian", "backward").is_err());
//! ```

use std::fmt;

use super::{Attention, KERNEL, LEAKY_SLOPE, NetError};

/// What makes an attention map of a mask branch's features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MapActivation {
    /// The paper's asymmetric Gaussian with four learned scalars a layer, [`Attention`].
    #[default]
    Gaussian,
    /// `1 / (1 + e^-x)`. This and the next two have no scalars.
    Sigmoid,
    /// `x`, and below zero [`LEAKY_SLOPE`] times that.
    LeakyRelu,
    /// `x`, and zero below zero.
    Relu,
}

impl MapActivation {
    /// All of them, the paper's first.
    pub const ALL: [Self; 4] = [Self::Gaussian, Self::Sigmoid, Self::LeakyRelu, Self::Relu];

    /// The name as typed at the command line and written into files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Sigmoid => "sigmoid",
            Self::LeakyRelu => "leaky-relu",
            Self::Relu => "relu",
        }
    }

    /// The map's value: the definition, which every faster form is tested against. The scalars
    /// are the Gaussian's.
    pub fn attend(self, x: f32, scalars: &Attention) -> f32 {
        match self {
            Self::Gaussian => scalars.attend(x),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::LeakyRelu => x.max(LEAKY_SLOPE * x),
            Self::Relu => x.max(0.0),
        }
    }
}

/// Where attention maps come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MaskRule {
    /// Both branches learned: the paper's network.
    #[default]
    Both,
    /// The forward branch alone: the decoder's maps are 1 everywhere.
    Forward,
    /// Nothing learned: the hand-made rule of Partial Convolution (Liu et al. 2018) in the
    /// encoder, and maps of 1 in the decoder. One plane serves all channels: with `s` the sum of
    /// the mask under the kernel, within zeros, the map is [`partial_map`]`(s)`, the next
    /// layer's mask [`partial_update`]`(s)`. The rule wants its features without what is hidden:
    /// the network's input is, and after it features are 0 wherever the mask is, since the map is.
    PartialConvolution,
}

impl MaskRule {
    /// All of them, the paper's first.
    pub const ALL: [Self; 3] = [Self::Both, Self::Forward, Self::PartialConvolution];

    /// The name as typed at the command line and written into files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Forward => "forward",
            Self::PartialConvolution => "pconv",
        }
    }
}

/// Pixels under a kernel.
const WINDOW: f32 = (KERNEL * KERNEL) as f32;

/// The map of Partial Convolution where `known` pixels lie under the kernel: what makes up for
/// those that are hidden; 0 where all are.
pub fn partial_map(known: f32) -> f32 {
    if known > 0.0 { WINDOW / known } else { 0.0 }
}

/// The next layer's mask there: known as soon as one pixel is.
pub fn partial_update(known: f32) -> f32 {
    if known > 0.0 { 1.0 } else { 0.0 }
}

/// A variant of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Variant {
    attention: MapActivation,
    masks: MaskRule,
}

impl Variant {
    /// The paper's network.
    pub const PAPER: Self = Self { attention: MapActivation::Gaussian, masks: MaskRule::Both };

    /// With this activation and these masks.
    ///
    /// # Errors
    /// [`NetError::Variant`] for an activation beside the rule that has none.
    pub fn new(attention: MapActivation, masks: MaskRule) -> Result<Self, NetError> {
        if masks == MaskRule::PartialConvolution && attention != MapActivation::default() {
            let (masks, attention) = (masks.name(), attention.name());
            return Err(NetError::Variant(format!(
                "masks \"{masks}\" learn no attention, so that there is no \"{attention}\" of it"
            )));
        }
        Ok(Self { attention, masks })
    }

    /// By the names of its parts.
    ///
    /// # Errors
    /// [`NetError::Variant`] for a name that is none, or parts that do not go together.
    pub fn named(attention: &str, masks: &str) -> Result<Self, NetError> {
        let activation = MapActivation::ALL.into_iter().find(|one| one.name() == attention);
        let rule = MaskRule::ALL.into_iter().find(|one| one.name() == masks);
        match (activation, rule) {
            (Some(activation), Some(rule)) => Self::new(activation, rule),
            (None, _) => Err(NetError::Variant(format!(
                "attention \"{attention}\" is not known (there are {})",
                MapActivation::ALL.map(MapActivation::name).join(", ")
            ))),
            (_, None) => Err(NetError::Variant(format!(
                "attention masks \"{masks}\" are not known (there are {})",
                MaskRule::ALL.map(MaskRule::name).join(", ")
            ))),
        }
    }

    /// What makes a map of a branch's features.
    pub fn attention(&self) -> MapActivation {
        self.attention
    }

    /// Where maps come from.
    pub fn masks(&self) -> MaskRule {
        self.masks
    }

    /// Whether the encoder's maps are learned.
    pub fn learns_forward(&self) -> bool {
        self.masks != MaskRule::PartialConvolution
    }

    /// Whether the decoder has maps.
    pub fn has_reverse(&self) -> bool {
        self.masks == MaskRule::Both
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "attention {}, masks {}", self.attention.name(), self.masks.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for attention in MapActivation::ALL {
            for masks in MaskRule::ALL {
                let read = Variant::named(attention.name(), masks.name());
                assert_eq!(read, Variant::new(attention, masks));
                let learned = masks != MaskRule::PartialConvolution;
                assert_eq!(read.is_ok(), learned || attention == MapActivation::Gaussian);
            }
        }
        assert_eq!(Variant::default(), Variant::PAPER);
        for (attention, masks) in [("tanh", "both"), ("relu", "Both"), ("", "forward")] {
            let error = Variant::named(attention, masks).expect_err("no such").to_string();
            assert!(error.contains("there are"), "{error}");
        }
    }

    #[test]
    fn partial_convolution_makes_up_for_what_is_hidden() {
        // A constant under the kernel has the same sum however much of it is known.
        for known in 1..=16 {
            assert_eq!(known as f32 * partial_map(known as f32), 16.0);
            assert_eq!(partial_update(known as f32), 1.0);
        }
        assert_eq!((partial_map(0.0), partial_update(0.0)), (0.0, 0.0));
    }

    #[test]
    fn activations_are_what_they_are_called() {
        let scalars = Attention::FORWARD_START;
        let at = |activation: MapActivation, x: f32| activation.attend(x, &scalars);
        assert_eq!(at(MapActivation::Gaussian, 2.0), 1.1);
        assert_eq!(at(MapActivation::Sigmoid, 0.0), 0.5);
        assert_eq!(
            (at(MapActivation::LeakyRelu, -1.0), at(MapActivation::Relu, -1.0)),
            (-0.2, 0.0)
        );
        assert_eq!((at(MapActivation::LeakyRelu, 3.0), at(MapActivation::Relu, 3.0)), (3.0, 3.0));
    }
}
