//! Sizes, the layer table and parameter names.

use super::activation::CLAMPS;

/// Side of every kernel; stride is 2 and padding 1 throughout, and there is no bias.
pub const KERNEL: usize = 4;
/// Encoder layers, and attention layers of the forward branch.
pub const ENCODER_LAYERS: usize = 7;
/// Attention layers of the reverse branch, and decoder layers that have a skip.
pub const REVERSE_LAYERS: usize = ENCODER_LAYERS - 1;
/// Height and width must be multiples of this: seven halvings.
pub const SIDE_MULTIPLE: usize = 1 << ENCODER_LAYERS;

/// Channels of encoder layers 1..7 as multiples of the base channels.
const CHANNEL_MULTIPLES: [usize; ENCODER_LAYERS] = [1, 2, 4, 8, 8, 8, 8];
/// Most base channels accepted: four times the paper's, beyond which a file is surely wrong.
const MAX_BASE: usize = 256;
/// Longest side accepted, in pixels.
const MAX_SIDE: usize = 16_384;

/// What is wrong with a description of a network or of its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// Base channels outside what the project supports.
    #[error("a network of {0} base channels is not supported (1 to {MAX_BASE})")]
    Base(usize),
    /// A picture size the network cannot halve seven times.
    #[error(
        "{width}x{height} does not suit the network: both sides must be multiples of \
         {SIDE_MULTIPLE}, from {SIDE_MULTIPLE} to {MAX_SIDE}"
    )]
    Size {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// A variant that is not known, or whose parts do not go together.
    #[error("{0}")]
    Variant(String),
}

/// The named widths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// 8 base channels.
    Nano,
    /// 16 base channels.
    Small,
    /// 32 base channels.
    Base,
    /// 64 base channels, as in the paper.
    Paper,
}

impl Preset {
    /// Every preset, narrowest first.
    pub const ALL: [Self; 4] = [Self::Nano, Self::Small, Self::Base, Self::Paper];

    /// The name as typed at the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nano => "nano",
            Self::Small => "small",
            Self::Base => "base",
            Self::Paper => "paper",
        }
    }

    /// Channels of the first layer.
    pub fn base_channels(self) -> usize {
        match self {
            Self::Nano => 8,
            Self::Small => 16,
            Self::Base => 32,
            Self::Paper => 64,
        }
    }
}

impl From<Preset> for Network {
    fn from(preset: Preset) -> Self {
        Self { base: preset.base_channels() }
    }
}

/// One convolution of the encoder, or of a mask branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    /// Layer number, from 1; the output's side is the input picture's divided by `2^level`.
    pub level: usize,
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub output: usize,
    /// Name of the weight, `[output, input, 4, 4]`.
    pub weight: String,
    /// Prefix of the attention's scalars (`{prefix}.a` and so on); none in the encoder.
    pub attention: Option<String>,
}

impl Conv {
    /// Channels that it is run on. A mask branch begins with three that are all equal: there it is
    /// one, and the kernel summed over them.
    pub fn applied_inputs(&self) -> usize {
        if self.level == 1 && self.attention.is_some() { 1 } else { self.input }
    }

    fn macs(&self, width: usize, height: usize) -> u64 {
        let pixels = (width >> self.level) as u64 * (height >> self.level) as u64;
        pixels * (KERNEL * KERNEL * self.applied_inputs() * self.output) as u64
    }
}

/// One transposed convolution of the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deconv {
    /// The level whose features it makes: 6 is the deepest, 0 is the picture.
    pub level: usize,
    /// Channels in that come from the skip (`e_{level + 1}`); none for the deepest.
    pub skip: usize,
    /// Channels in that come from the decoder layer below.
    pub deep: usize,
    /// Channels out.
    pub output: usize,
    /// Name of the weight, `[skip + deep, output, 4, 4]`, skip channels first.
    pub weight: String,
}

/// Name and shape of one stored tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Name as in the authors' checkpoints.
    pub name: String,
    /// Shape; `[1]` for a scalar.
    pub shape: Vec<usize>,
}

/// A network, given by its base channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    base: usize,
}

impl Network {
    /// A network of `base` channels in the first layer.
    ///
    /// # Errors
    /// [`NetError::Base`] outside 1..=256.
    pub fn new(base: usize) -> Result<Self, NetError> {
        if (1..=MAX_BASE).contains(&base) { Ok(Self { base }) } else { Err(NetError::Base(base)) }
    }

    /// Channels of the first layer.
    pub fn base(&self) -> usize {
        self.base
    }

    /// The preset's name, where the width has one.
    pub fn preset(&self) -> Option<Preset> {
        Preset::ALL.into_iter().find(|preset| preset.base_channels() == self.base)
    }

    /// Channels of encoder layers 1..7.
    pub fn channels(&self) -> [usize; ENCODER_LAYERS] {
        CHANNEL_MULTIPLES.map(|multiple| multiple * self.base)
    }

    /// Encoder layers, the first first.
    pub fn encoder(&self) -> Vec<Conv> {
        self.convs(ENCODER_LAYERS, 4, |l| (format!("ec{l}.conv.conv.weight"), None))
    }

    /// Forward attention layers, the first first.
    pub fn forward(&self) -> Vec<Conv> {
        self.convs(ENCODER_LAYERS, 3, |l| {
            let attention = format!("ec{l}.conv.activationFuncG_A");
            (format!("ec{l}.conv.maskConv.weight"), Some(attention))
        })
    }

    /// Reverse attention layers, the first first.
    pub fn reverse(&self) -> Vec<Conv> {
        self.convs(REVERSE_LAYERS, 3, |l| {
            let attention = format!("reverseConv{l}.activationFuncG_A");
            (format!("reverseConv{l}.reverseMaskConv.weight"), Some(attention))
        })
    }

    fn convs(
        &self,
        layers: usize,
        first_input: usize,
        name: impl Fn(usize) -> (String, Option<String>),
    ) -> Vec<Conv> {
        let channels = self.channels();
        (1..=layers)
            .map(|level| {
                let (weight, attention) = name(level);
                let input = if level == 1 { first_input } else { channels[level - 2] };
                Conv { level, input, output: channels[level - 1], weight, attention }
            })
            .collect()
    }

    /// Decoder layers in the order in which they run, the deepest (level 6) first.
    pub fn decoder(&self) -> Vec<Deconv> {
        let channels = self.channels();
        (0..ENCODER_LAYERS)
            .rev()
            .map(|level| {
                let deepest = level == REVERSE_LAYERS;
                let weight = if level == 0 {
                    "dc7.weight".to_owned()
                } else {
                    format!("dc{}.conv.weight", ENCODER_LAYERS - level)
                };
                Deconv {
                    level,
                    skip: if deepest { 0 } else { channels[level] },
                    deep: channels[level],
                    output: if level == 0 { 3 } else { channels[level - 1] },
                    weight,
                }
            })
            .collect()
    }

    /// Every stored tensor, in a fixed order.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        for conv in [self.encoder(), self.forward(), self.reverse()].concat() {
            let shape = vec![conv.output, conv.input, KERNEL, KERNEL];
            parameters.push(Parameter { name: conv.weight, shape });
            if let Some(prefix) = conv.attention {
                parameters.extend(CLAMPS.iter().map(|clamp| Parameter {
                    name: format!("{prefix}.{}", clamp.name),
                    shape: vec![1],
                }));
            }
        }
        parameters.extend(self.decoder().into_iter().map(|deconv| Parameter {
            shape: vec![deconv.skip + deconv.deep, deconv.output, KERNEL, KERNEL],
            name: deconv.weight,
        }));
        parameters
    }

    /// Numbers stored in all.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|p| p.shape.iter().product::<usize>()).sum()
    }

    /// Checks that a picture of this size can run.
    ///
    /// # Errors
    /// [`NetError::Size`] where a side is not a multiple of 128, is zero or absurdly long.
    pub fn check_size(width: usize, height: usize) -> Result<(), NetError> {
        let suits =
            |side: usize| side.is_multiple_of(SIDE_MULTIPLE) && (1..=MAX_SIDE).contains(&side);
        if suits(width) && suits(height) { Ok(()) } else { Err(NetError::Size { width, height }) }
    }

    /// Multiply-adds of the frame stage (encoder and decoder) at a picture size.
    pub fn macs_frame(&self, width: usize, height: usize) -> u64 {
        let encoder: u64 = self.encoder().iter().map(|conv| conv.macs(width, height)).sum();
        // Each output pixel of a transposed convolution has 2x2 taps.
        let decoder: u64 = self
            .decoder()
            .iter()
            .map(|d| {
                let pixels = (width >> d.level) as u64 * (height >> d.level) as u64;
                pixels * 4 * (d.skip + d.deep) as u64 * d.output as u64
            })
            .sum();
        encoder + decoder
    }

    /// Multiply-adds of the mask stage at a picture size, the first layers on one channel.
    pub fn macs_mask(&self, width: usize, height: usize) -> u64 {
        let layers = [self.forward(), self.reverse()].concat();
        layers.iter().map(|conv| conv.macs(width, height)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paper_width_has_the_published_size() {
        let paper = Network::from(Preset::Paper);
        assert_eq!(paper.channels(), [64, 128, 256, 512, 512, 512, 512]);
        // 68.3 million, counted on the authors' implementation.
        assert_eq!(paper.parameter_count() / 100_000, 683);
        let deepest = &paper.decoder()[0];
        assert_eq!(
            (deepest.weight.as_str(), deepest.skip, deepest.deep),
            ("dc1.conv.weight", 0, 512)
        );
        assert_eq!(
            paper.decoder().iter().map(|d| d.output).collect::<Vec<_>>(),
            [512, 512, 512, 256, 128, 64, 3]
        );
    }

    #[test]
    fn multiply_adds_match_the_counts_of_the_reference() {
        let paper = Network::from(Preset::Paper);
        let giga = |macs: u64| macs as f64 / 1e9;
        assert!((giga(paper.macs_frame(256, 256)) - 6.04).abs() < 0.005);
        // The reference counts 4.01 with three input channels in both first layers, here one.
        let spared = 2 * (128 * 128) * (2 * 16 * 64);
        assert!((giga(paper.macs_mask(256, 256) + spared) - 4.01).abs() < 0.005);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> =
            Network::from(Preset::Nano).parameters().into_iter().map(|p| p.name).collect();
        let count = names.len();
        assert_eq!(count, 7 + 7 * 5 + 6 * 5 + 7);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn sizes_are_checked() {
        assert!(Network::check_size(384, 128).is_ok());
        for (width, height) in [(0, 128), (130, 128), (128, 16_512)] {
            assert_eq!(Network::check_size(width, height), Err(NetError::Size { width, height }));
        }
        assert_eq!(Network::new(0), Err(NetError::Base(0)));
    }
}
