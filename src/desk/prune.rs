//! Pruning: weights that are held at zero while the rest is trained on, in the groups that an int8
//! file leaves out and its kernels skip.
//!
//! A kernel here is what the paper's pruning calls one, for a bundle of channels: the 4x4 taps from
//! [`GROUP`] input channels to two blocks of [`LANES`] output channels. Connectivity pruning takes
//! whole kernels, those of the least Euclidean length in their layer; pattern pruning takes taps out
//! of each kernel that remains. Layers of the picture are pruned, all but the first and the last,
//! which are small and see colours; mask branches run once a mask and are left alone.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use crate::file::Weights;
use crate::net::{GROUP, KERNEL, LANES, Network, PAIR, Parameter};

/// Output channels that share what they read.
const OUTPUTS: usize = PAIR * LANES;
/// Taps of a kernel.
pub(super) const TAPS: usize = KERNEL * KERNEL;

/// Which weights are held at zero: by tensor, `true` where one is gone, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pruning(BTreeMap<String, Vec<bool>>);

/// A tensor whose weights may go.
struct Prunable {
    name: String,
    /// Input channels of each source, and of all.
    inputs: usize,
    outputs: usize,
    /// Whether inputs are its first axis, as in transposed convolutions.
    inputs_first: bool,
}

impl Prunable {
    fn all(network: Network) -> Vec<Self> {
        let encoder = network.encoder().into_iter().filter(|conv| conv.level > 1);
        let encoder = encoder.map(|conv| Self {
            name: conv.weight,
            inputs: conv.input,
            outputs: conv.output,
            inputs_first: false,
        });
        let decoder = network.decoder().into_iter().filter(|deconv| deconv.level > 0);
        let decoder = decoder.map(|deconv| Self {
            name: deconv.weight,
            inputs: deconv.skip + deconv.deep,
            outputs: deconv.output,
            inputs_first: true,
        });
        encoder.chain(decoder).collect()
    }

    /// Kernels: first input and first output channel of each.
    fn kernels(&self) -> impl Iterator<Item = (usize, usize)> {
        let outputs = (0..self.outputs).step_by(OUTPUTS);
        outputs.flat_map(|output| (0..self.inputs).step_by(GROUP).map(move |input| (input, output)))
    }

    /// Places of one tap of a kernel in the tensor.
    fn places(&self, (input, output): (usize, usize), tap: usize) -> impl Iterator<Item = usize> {
        let inputs = input..(input + GROUP).min(self.inputs);
        let outputs = output..(output + OUTPUTS).min(self.outputs);
        inputs.flat_map(move |input| {
            outputs.clone().map(move |output| {
                let pair = match self.inputs_first {
                    true => input * self.outputs + output,
                    false => output * self.inputs + input,
                };
                pair * TAPS + tap
            })
        })
    }
}

impl Pruning {
    /// The least `kernels` of all kernels of each layer, `0.0..1.0`, and of each that remains all but
    /// its `taps` greatest taps, 1 to 16.
    pub fn least(weights: &Weights, kernels: f64, taps: usize) -> Self {
        Self::of(weights, |layer, values, gone| {
            let square = |kernel, tap| -> f64 {
                layer.places(kernel, tap).map(|at| f64::from(values[at]).powi(2)).sum()
            };
            let squares =
                |kernel| -> [f64; TAPS] { std::array::from_fn(|tap| square(kernel, tap)) };
            let mut all: Vec<_> = layer.kernels().map(|kernel| (kernel, squares(kernel))).collect();
            let whole = |squares: &[f64; TAPS]| squares.iter().sum::<f64>();
            all.sort_by(|(_, a), (_, b)| whole(a).total_cmp(&whole(b)));
            let count = (all.len() as f64 * kernels).round() as usize;
            for (index, (kernel, squares)) in all.into_iter().enumerate() {
                let mut order: Vec<usize> = (0..TAPS).collect();
                order.sort_by(|&a, &b| squares[a].total_cmp(&squares[b]));
                let least = if index < count { TAPS } else { TAPS - taps };
                for &tap in &order[..least] {
                    layer.places(kernel, tap).for_each(|at| gone[at] = true);
                }
            }
        })
    }

    /// What is zero already: taps of kernels without a weight.
    pub fn of_zeros(weights: &Weights) -> Self {
        Self::of(weights, |layer, values, gone| {
            for kernel in layer.kernels() {
                for tap in 0..TAPS {
                    if layer.places(kernel, tap).all(|at| values[at] == 0.0) {
                        layer.places(kernel, tap).for_each(|at| gone[at] = true);
                    }
                }
            }
        })
    }

    fn of(weights: &Weights, mut mark: impl FnMut(&Prunable, &[f32], &mut [bool])) -> Self {
        let layers = Prunable::all(weights.network()).into_iter();
        let marked = layers.map(|layer| {
            let values = weights.values(&layer.name);
            let mut gone = vec![false; values.len()];
            mark(&layer, values, &mut gone);
            (layer.name, gone)
        });
        Self(marked.collect())
    }

    /// This one and another, of the same network.
    pub fn and(mut self, other: &Self) -> Self {
        for (gone, others) in self.0.values_mut().zip(other.0.values()) {
            gone.iter_mut().zip(others).for_each(|(gone, other)| *gone |= other);
        }
        self
    }

    /// The tensors that are pruned.
    pub fn tensors(&self) -> &BTreeMap<String, Vec<bool>> {
        &self.0
    }

    /// By tensor, 0 for weights that are held at zero, else 1.
    pub fn kept(&self, network: Network, device: &Device) -> BTreeMap<String, Tensor<4>> {
        let kept = |parameter: Parameter| {
            let gone = self.0.get(&parameter.name)?;
            let factors = gone.iter().map(|&gone| if gone { 0.0 } else { 1.0 });
            let data = TensorData::new(factors.collect::<Vec<f32>>(), parameter.shape);
            Some((parameter.name, Tensor::<4>::from_data(data, device).inner()))
        };
        network.parameters().into_iter().filter_map(kept).collect()
    }

    /// The share of weights that is left in these tensors.
    pub fn left(&self) -> f64 {
        let (mut left, mut all) = (0, 0);
        for gone in self.0.values() {
            all += gone.len();
            left += gone.iter().filter(|gone| !**gone).count();
        }
        left as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::desk::model::Lbam;
    use crate::net::Preset;

    fn weights(network: Network) -> Weights {
        let model = Lbam::initialise(network, 4, &Device::flex());
        model.weights(BTreeMap::new()).expect("finite")
    }

    #[test]
    fn the_least_kernels_go_and_the_least_taps_of_the_others() {
        let weights = weights(Preset::Small.into());
        let pruning = Pruning::least(&weights, 0.25, 12);
        assert!((pruning.left() - 0.75 * 12.0 / 16.0).abs() < 0.01, "{}", pruning.left());
        let tensors = pruning.tensors();
        assert_eq!(tensors.len(), 6 + 6);
        for layer in Prunable::all(weights.network()) {
            let (values, gone) = (weights.values(&layer.name), &tensors[&layer.name]);
            let mut lengths: [Vec<f64>; 2] = Default::default();
            for kernel in layer.kernels() {
                let mut squares: [Vec<f64>; 2] = Default::default();
                for tap in 0..TAPS {
                    let places: Vec<usize> = layer.places(kernel, tap).collect();
                    let is_gone = gone[places[0]];
                    assert!(places.iter().all(|&at| gone[at] == is_gone), "taps go whole");
                    let square = places.iter().map(|&at| f64::from(values[at]).powi(2)).sum();
                    squares[usize::from(is_gone)].push(square);
                }
                let [left, taken] = &squares;
                let whole = left.iter().chain(taken).sum::<f64>();
                lengths[usize::from(left.is_empty())].push(whole);
                if !left.is_empty() {
                    assert_eq!(left.len(), 12);
                    let least = left.iter().copied().fold(f64::INFINITY, f64::min);
                    assert!(taken.iter().all(|&square| square <= least));
                }
            }
            let [left, taken] = &lengths;
            assert_eq!(taken.len(), ((left.len() + taken.len()) as f64 * 0.25).round() as usize);
            let least = left.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(taken.iter().all(|&length| length <= least), "{}", layer.name);
        }
    }

    #[test]
    fn zeros_are_found_again() {
        let whole = weights(Preset::Nano.into());
        assert_eq!(Pruning::of_zeros(&whole).left(), 1.0);
        let pruning = Pruning::least(&whole, 0.5, 9);
        let tensors = whole.network().parameters().into_iter().map(|parameter| {
            let mut values = whole.values(&parameter.name).to_vec();
            if let Some(gone) = pruning.tensors().get(&parameter.name) {
                let pairs = values.iter_mut().zip(gone);
                pairs.filter(|(_, gone)| **gone).for_each(|(value, _)| *value = 0.0);
            }
            (parameter.name, (parameter.shape, values))
        });
        let pruned = Weights::from_tensors(tensors.collect(), BTreeMap::new()).expect("finite");
        assert_eq!(Pruning::of_zeros(&pruned), pruning);
    }
}
