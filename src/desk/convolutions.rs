//! The network's two convolutions, by 4x4 with stride 2, as operations of their own in Burn.
//!
//! Each is the other's gradient with respect to its input, and one sum over positions is both their
//! weights' gradient. So three operations are all that training needs, and GPUs get a kernel for each
//! (`kernels.rs`); Burn without `autotune` takes that sum for a convolution by a kernel as large as the
//! picture. In bfloat16 they are Burn's.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
#[cfg(feature = "autotune")]
use burn::tensor::Shape;
use burn::tensor::Tensor;
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};

#[cfg(feature = "gpu")]
mod kernels;

/// The convolutions on a backend's tensors. What is fine has twice the sides of what is coarse;
/// weights are `[A, B, 4, 4]`, `A` the channels of what is coarse and `B` of what is fine.
#[backend_extension(
    Flex,
    Cube: cfg(feature = "gpu"),
    Autodiff,
    Fusion: cfg(feature = "autotune"),
)]
pub trait Convolutions: Backend {
    /// Fine to coarse.
    #[fusion(dtype = fine, shape = halved_shape(fine, weight))]
    fn halved(fine: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        burns_halved::<Self>(fine, weight)
    }

    /// Coarse to fine.
    #[fusion(dtype = coarse, shape = doubled_shape(coarse, weight))]
    fn doubled(coarse: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        burns_doubled::<Self>(coarse, weight)
    }

    /// The gradient of `weight`, of which the shape counts, for what is on either side of it: the sum
    /// over all positions of the products of what is coarse and of each of its taps.
    #[fusion(dtype = weight, shape = weight)]
    fn correlated(
        fine: FloatTensor<Self>,
        coarse: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        burns_correlated::<Self>(fine, coarse, weight)
    }
}

#[cfg(feature = "autotune")]
fn halved_shape(fine: &Shape, weight: &Shape) -> Shape {
    Shape::new([fine[0], weight[0], fine[2] / 2, fine[3] / 2])
}

#[cfg(feature = "autotune")]
fn doubled_shape(coarse: &Shape, weight: &Shape) -> Shape {
    Shape::new([coarse[0], weight[1], 2 * coarse[2], 2 * coarse[3]])
}

fn options() -> ConvOptions<2> {
    ConvOptions::new([2, 2], [1, 1], [1, 1], 1)
}

fn burns_halved<B: Backend>(fine: FloatTensor<B>, weight: FloatTensor<B>) -> FloatTensor<B> {
    B::conv2d(fine, weight, None, options())
}

fn burns_doubled<B: Backend>(coarse: FloatTensor<B>, weight: FloatTensor<B>) -> FloatTensor<B> {
    let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
    B::conv_transpose2d(coarse, weight, None, options)
}

fn burns_correlated<B: Backend>(
    fine: FloatTensor<B>,
    coarse: FloatTensor<B>,
    weight: FloatTensor<B>,
) -> FloatTensor<B> {
    B::conv2d_weight_backward(fine, weight, coarse, options())
}

impl Convolutions for Flex {}

/// Either convolution, as a step of the gradient's way back.
#[derive(Debug)]
struct Step {
    doubles: bool,
}

impl<B: Convolutions> Backward<B, 2> for Step {
    type State = (NodeId, NodeId);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let ([input_node, weight_node], gradient) = (ops.parents, grads.consume::<B>(&ops.node));
        let input: FloatTensor<B> = checkpointer.retrieve_node_output(ops.state.0);
        let weight: FloatTensor<B> = checkpointer.retrieve_node_output(ops.state.1);
        if let Some(node) = input_node {
            let back = if self.doubles { B::halved } else { B::doubled };
            grads.register::<B>(node.id, back(gradient.clone(), weight.clone()));
        }
        if let Some(node) = weight_node {
            let (fine, coarse) = if self.doubles { (gradient, input) } else { (input, gradient) };
            grads.register::<B>(node.id, B::correlated(fine, coarse, weight));
        }
    }
}

impl Step {
    fn take<B: Convolutions, C: CheckpointStrategy>(
        self,
        input: FloatTensor<Autodiff<B, C>>,
        weight: FloatTensor<Autodiff<B, C>>,
    ) -> FloatTensor<Autodiff<B, C>> {
        let convolve = if self.doubles { B::doubled } else { B::halved };
        match self.prepare::<C>([input.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&input), prep.checkpoint(&weight));
                prep.finish(state, convolve(input.into_primitive(), weight.into_primitive()))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(convolve(input.into_primitive(), weight.into_primitive()))
            }
        }
    }
}

impl<B: Convolutions, C: CheckpointStrategy> Convolutions for Autodiff<B, C> {
    fn halved(fine: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Step { doubles: false }.take::<B, C>(fine, weight)
    }

    fn doubled(coarse: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Step { doubles: true }.take::<B, C>(coarse, weight)
    }
}

/// `[N, C, 2H, 2W]` and weights `[O, C, 4, 4]` to `[N, O, H, W]`.
pub fn halve(fine: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::halved(fine.into_dispatch(), weight.into_dispatch()))
}

/// `[N, C, H, W]` and weights `[C, O, 4, 4]` to `[N, O, 2H, 2W]`.
pub fn double(coarse: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::doubled(coarse.into_dispatch(), weight.into_dispatch()))
}

#[cfg(test)]
#[path = "convolutions_tests.rs"]
mod tests;
