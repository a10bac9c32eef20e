//! The layers in the general form of the integer path: sizes, and how they are padded.
//!
//! Model file and kernels must agree on these; neither knows the other.

use super::{Conv, Deconv, KERNEL};

/// Output channels computed together, and the multiple to which channels are padded.
pub const LANES: usize = 16;
/// Inputs that one step of an integer product takes.
pub const GROUP: usize = 4;
/// Blocks of lanes that read the same inputs, where some inputs have no weights.
pub const PAIR: usize = 2;
/// Entries of an attention table, a mask-update table and the picture's table.
pub const TABLE: usize = 4096;
/// Channels of the network's input: red, green, blue, known.
pub const INPUT_CHANNELS: usize = 4;

/// `channels` rounded up to whole lanes.
pub fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// A layer as one or four convolutions over padded channels: an encoder or mask layer is one of
/// 4x4, a decoder layer four phases of 2x2 over skip and deep features, the last layer one of 3x3
/// whose twelve outputs are the 2x2 pixels (row, column, colour) that each input pixel makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Convolutions: 4 for the phases of a decoder layer, else 1.
    pub parts: usize,
    /// Outputs of each: 12 in the last layer.
    pub outputs: usize,
    /// Planes read: skip and deep, or one.
    pub sources: usize,
    /// Kernel rows, and columns.
    pub side: usize,
    /// Channels of a source that the network has.
    pub channels: usize,
    /// Channels of a source in memory.
    pub stored_channels: usize,
}

impl Packing {
    /// Of an encoder layer.
    pub fn encoder(conv: &Conv) -> Self {
        let stored = if conv.level == 1 { INPUT_CHANNELS } else { padded(conv.input) };
        Self::halving(conv, conv.input, stored)
    }

    /// Of a mask layer. The first reads a plane of one channel: four columns are one group.
    pub fn mask(conv: &Conv) -> Self {
        match conv.applied_inputs() {
            1 => Self::halving(conv, 1, 1),
            inputs => Self::halving(conv, inputs, padded(inputs)),
        }
    }

    fn halving(conv: &Conv, channels: usize, stored_channels: usize) -> Self {
        let outputs = conv.output;
        Self { parts: 1, outputs, sources: 1, side: KERNEL, channels, stored_channels }
    }

    /// Of a decoder layer.
    pub fn decoder(deconv: &Deconv) -> Self {
        let last = deconv.level == 0;
        let (parts, outputs, side) = if last { (1, 12, 3) } else { (4, deconv.output, 2) };
        let sources = if deconv.skip > 0 { 2 } else { 1 };
        let (channels, stored_channels) = (deconv.deep, padded(deconv.deep));
        Self { parts, outputs, sources, side, channels, stored_channels }
    }

    /// Groups of inputs in a kernel row of a source.
    pub fn groups(&self) -> usize {
        self.side * self.stored_channels / GROUP
    }

    /// Blocks of lanes of each part.
    pub fn blocks(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }
}
