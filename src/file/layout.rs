//! How weights lie in a model file: the runtime's order, made once by the exporter.
//!
//! * Convolutions as they are, `[out, in, 4, 4]`.
//! * The first layer of each mask branch summed over its three equal input channels,
//!   `[out, 1, 4, 4]`.
//! * Transposed convolutions as four 2x2 convolutions, one for each output phase,
//!   `[4, out, in, 2, 2]`; phase `2 * py + px` makes output rows `2i + py` and columns `2j + px`.
//! * The four scalars of an attention as one tensor `[4]`, always in 32 bits.
//!
//! Int8 files hold the same layers as the integer kernels read them; see [`super::int8`].

use safetensors::tensor::Dtype;

use super::{Precision, Weights, int8};
use crate::net::{Deconv, KERNEL, Network};

/// Kernel taps that an even (0) or odd (1) output reads, for the earlier and the later of the
/// two inputs it touches: output `2i` reads inputs `i - 1, i`, output `2i + 1` reads `i, i + 1`.
const PHASE_TAPS: [[usize; 2]; 2] = [[3, 1], [2, 0]];

/// One tensor of a model file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The tensor's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its type.
    pub dtype: Dtype,
}

impl Stored {
    /// Bytes of the tensor.
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Every tensor of a network's model file, in the order of the data section: the order in which
/// the runtime reads them. `pruned` says of an int8 layer how many bytes of weights are left where
/// some are gone.
pub fn stored(
    network: Network,
    precision: Precision,
    pruned: &dyn Fn(&str) -> Option<usize>,
) -> Vec<Stored> {
    let dtype = match precision {
        Precision::F32 => Dtype::F32,
        Precision::F16 => Dtype::F16,
        Precision::Int8 => return int8::stored(network, pruned),
    };
    let kernel = |name: String, shape: Vec<usize>| Stored { name, shape, dtype };
    let mut all = Vec::new();
    for conv in [network.forward(), network.reverse()].concat() {
        let shape = vec![conv.output, conv.applied_inputs(), KERNEL, KERNEL];
        all.push(kernel(conv.weight, shape));
        let name = conv.attention.unwrap_or_default();
        all.push(Stored { name, shape: vec![4], dtype: Dtype::F32 });
    }
    for conv in network.encoder() {
        all.push(kernel(conv.weight, vec![conv.output, conv.input, KERNEL, KERNEL]));
    }
    for deconv in network.decoder() {
        let shape = vec![4, deconv.output, deconv.skip + deconv.deep, 2, 2];
        all.push(kernel(deconv.weight, shape));
    }
    all
}

/// The values of every tensor of [`stored`] in a float file, in its order.
pub fn arrange(weights: &Weights) -> Vec<Vec<f32>> {
    let network = weights.network();
    let mut all = Vec::new();
    for conv in [network.forward(), network.reverse()].concat() {
        all.push(weights.applied(&conv).into_owned());
        let prefix = conv.attention.unwrap_or_default();
        all.push(weights.attention(&prefix).scalars().to_vec());
    }
    all.extend(network.encoder().iter().map(|conv| weights.values(&conv.weight).to_vec()));
    all.extend(network.decoder().iter().map(|d| phases(weights.values(&d.weight), d)));
    all
}

/// `[in, out, 4, 4]` of a transposed convolution as `[4, out, in, 2, 2]`.
pub fn phases(values: &[f32], deconv: &Deconv) -> Vec<f32> {
    let (inputs, outputs) = (deconv.skip + deconv.deep, deconv.output);
    let mut arranged = Vec::with_capacity(values.len());
    for phase in 0..4 {
        for output in 0..outputs {
            for input in 0..inputs {
                for row in PHASE_TAPS[phase / 2] {
                    for column in PHASE_TAPS[phase % 2] {
                        let kernel = (input * outputs + output) * KERNEL + row;
                        arranged.push(values[kernel * KERNEL + column]);
                    }
                }
            }
        }
    }
    arranged
}
