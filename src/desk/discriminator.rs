//! The discriminator that the network is trained against, and the slope of its judgement.
//!
//! Two columns of convolutions look at a picture: one at what was known, the other at what was a
//! hole. A last convolution makes one score of both. It is the paper's, with what its text leaves
//! open decided so:
//!
//! - No sigmoid at the end, where the authors' code has one. A Wasserstein critic must be free to
//!   score two pictures as far apart as they are, and its slope is held at 1; a number between 0
//!   and 1 can do neither.
//! - No batch norm, which the authors' code has in all layers but the first: the penalty is on the
//!   slope of each picture's score, which batch norm makes depend on all others' (Gulrajani et al.
//!   2017, who leave it out for that reason).
//! - No bias in the last layer: it cancels in the difference of scores.
//! - As many halvings as leave a side of at least 4, the last kernel's: six at 256, five at 128.
//!   At sides that are no powers of two more than 4 is left, and the mean over the places is taken.
//!
//! The penalty on the slope differentiates a gradient, and Burn's autodiff is of first order. But
//! the gradient of this network is itself a short chain of linear layers: the score's slope goes
//! back through each convolution's transpose, times 1 or 0.2 where LeakyReLU stood. Written out as
//! tensors it can be differentiated like anything else, exactly: what decides between 1 and 0.2
//! does not move, and without a sigmoid nothing else of the forward pass is in the chain.
//!
//! Hazard: this holds for piecewise linear activations only. A smooth one would enter the chain
//! with its second derivative.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, Param, ParamId};
use burn::tensor::activation::leaky_relu;
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::convolutions::{double, halve};
use super::read::floats;
use super::{DeskError, random};
use crate::net::{KERNEL, LEAKY_SLOPE};

/// Most channels, as a multiple of the first layer's: 512 in the paper.
const WIDEST: usize = 8;
/// Name of the last layer's weight.
const FUSION: &str = "fusion.weight";
/// Added under the root of a gradient's squared length, which has no slope at 0.
const LENGTH_FLOOR: f32 = 1e-12;

/// A convolution with LeakyReLU after it.
#[derive(Module, Debug)]
pub struct Layer {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

/// Two columns and the convolution that makes one score of them.
#[derive(Module, Debug)]
pub struct Discriminator {
    known: Vec<Layer>,
    hole: Vec<Layer>,
    fusion: Param<Tensor<4>>,
}

/// Layers in a column for pictures of a side: halvings that leave the last kernel its place.
fn depth(side: usize) -> usize {
    let halves = |&depth: &usize| side.is_multiple_of(1 << depth) && side >> depth >= KERNEL;
    (1..usize::BITS as usize).take_while(halves).count()
}

/// Names and shapes of all parameters, in their order.
fn parameters(side: usize, base: usize) -> Vec<(String, Vec<usize>)> {
    let width = |layer: usize| base * (1 << layer).min(WIDEST);
    let depth = depth(side);
    let mut parameters = Vec::new();
    for column in ["known", "hole"] {
        for layer in 0..depth {
            let input = if layer == 0 { 3 } else { width(layer - 1) };
            let output = width(layer);
            parameters
                .push((format!("{column}.{layer}.weight"), vec![output, input, KERNEL, KERNEL]));
            parameters.push((format!("{column}.{layer}.bias"), vec![output]));
        }
    }
    let features = 2 * width(depth - 1);
    parameters.push((FUSION.into(), vec![1, features, KERNEL, KERNEL]));
    parameters
}

impl Discriminator {
    /// Fresh weights for pictures of a side, `base` channels in the first layer (the paper: 64).
    ///
    /// They are as large as keeps the length of a gradient on its way back: 2 / (1 + 0.2²) over
    /// the products in a sum, so that at any width the slope begins near the 1 it is held at.
    pub fn initialise(side: usize, base: usize, seed: u64, device: &Device) -> Self {
        let rng = RefCell::new(random::generator(seed, 0, random::ADVERSARY_INDEX));
        let normal = || random::normal(&mut rng.borrow_mut());
        let left = (side >> depth(side)) - KERNEL + 1;
        let fill = |name: &str, shape: &[usize]| {
            let count = shape.iter().product();
            let &[_, input, height, width] = shape else { return vec![0.0; count] };
            // A mean over places shortens the gradient by the root of their number.
            let gain = match name {
                FUSION => (left * left) as f32,
                _ => 2.0 / (1.0 + LEAKY_SLOPE * LEAKY_SLOPE),
            };
            let deviation = (gain / (input * height * width) as f32).sqrt();
            (0..count).map(|_| deviation * normal()).collect()
        };
        let values = parameters(side, base)
            .into_iter()
            .map(|(name, shape)| {
                let values = fill(&name, &shape);
                (name, values)
            })
            .collect();
        Self::build(side, base, values, device)
    }

    /// From values for each of [`parameters`]. Parameters are numbered in that order, so that an
    /// optimiser's saved state finds them again in another process.
    fn build(
        side: usize,
        base: usize,
        mut values: BTreeMap<String, Vec<f32>>,
        device: &Device,
    ) -> Self {
        let (mut kernels, mut biases) = (Vec::new(), Vec::new());
        for (number, (name, shape)) in (1_u64..).zip(parameters(side, base)) {
            let values = values.remove(&name).expect("there is a value for each parameter");
            let (id, data) = (ParamId::from(number), TensorData::new(values, shape.clone()));
            match shape.len() {
                4 => kernels.push(Param::initialized(id, trained(Tensor::from_data(data, device)))),
                _ => biases.push(Param::initialized(id, trained(Tensor::from_data(data, device)))),
            }
        }
        let fusion = kernels.pop().expect("the last parameter");
        let mut known: Vec<Layer> =
            kernels.into_iter().zip(biases).map(|(weight, bias)| Layer { weight, bias }).collect();
        let hole = known.split_off(known.len() / 2);
        Self { known, hole, fusion }
    }

    /// The scores `[N]` of pictures `[N, 3, H, W]`, higher where they look real, for masks
    /// `[K, 1, H, W]` (1 = known) where `K` is `N`, or 1 for a mask that all pictures share.
    pub fn scores(&self, pictures: Tensor<4>, masks: Tensor<4>) -> Tensor<1> {
        let column = |layers: &[Layer], view: Tensor<4>| {
            layers.iter().fold(view, |features, layer| {
                leaky_relu(layer.convolve(features), f64::from(LEAKY_SLOPE))
            })
        };
        let [known, hole] = views(pictures, masks);
        let features = Tensor::cat(vec![column(&self.known, known), column(&self.hole, hole)], 1);
        let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        let scores = conv2d(features, self.fusion.val(), None, options);
        scores.mean_dims(&[1, 2, 3]).flatten(0, 3)
    }

    /// The mean over pictures of `(|slope| - 1)^2`, where a slope is the gradient of a picture's
    /// score with respect to all its pixels.
    pub fn penalty(&self, pictures: Tensor<4>, masks: Tensor<4>) -> Tensor<1> {
        let slopes = self.input_gradient(pictures, masks);
        let lengths = (slopes.square().sum_dims(&[1, 2, 3]) + LENGTH_FLOOR).sqrt();
        (lengths - 1.0).square().mean()
    }

    /// The gradient `[N, 3, H, W]` of each picture's score, as operations that are themselves
    /// differentiable with respect to the weights.
    fn input_gradient(&self, pictures: Tensor<4>, masks: Tensor<4>) -> Tensor<4> {
        let device = pictures.device();
        // Where each LeakyReLU stands is all that is wanted of the forward pass.
        let fixed = self.clone().no_grad();
        let [known, hole] = views(pictures, masks.clone());
        let columns =
            [(&self.known, slopes(&fixed.known, known)), (&self.hole, slopes(&fixed.hole, hole))];
        let [_, _, height, width] = columns[0].1.last().expect("a column has layers").dims();
        let places = [height - KERNEL + 1, width - KERNEL + 1];
        let share = 1.0 / (places[0] * places[1]) as f32;
        let start = Tensor::full([1, 1, places[0], places[1]], share, &device);
        let options = ConvTransposeOptions::new([1, 1], [0, 0], [0, 0], [1, 1], 1);
        let fused = conv_transpose2d(start, self.fusion.val(), None, options).chunk(2, 1);
        let holes = masks.clone().neg() + 1.0;
        let mut sum = None;
        for (((layers, slopes), gradient), seen) in
            columns.into_iter().zip(fused).zip([masks, holes])
        {
            let back = |gradient: Tensor<4>, (layer, slope): (&Layer, Tensor<4>)| {
                double(gradient * slope, layer.weight.val())
            };
            let part = layers.iter().zip(slopes).rev().fold(gradient, back) * seen;
            sum = Some(match sum {
                Some(other) => part + other,
                None => part,
            });
        }
        sum.expect("there are two columns")
    }

    /// All values by name, with their shapes.
    ///
    /// # Errors
    /// [`DeskError::Gpu`] where the device could not compute them.
    fn values(&self) -> Result<Vec<Named>, DeskError> {
        let mut values = Vec::new();
        for (column, layers) in [("known", &self.known), ("hole", &self.hole)] {
            for (number, layer) in layers.iter().enumerate() {
                values.push(named(format!("{column}.{number}.weight"), layer.weight.val())?);
                values.push(named(format!("{column}.{number}.bias"), layer.bias.val())?);
            }
        }
        values.push(named(FUSION.into(), self.fusion.val())?);
        Ok(values)
    }

    /// A `.safetensors` file's bytes; `None` where a value is not finite.
    ///
    /// # Errors
    /// As [`Self::values`].
    pub fn to_bytes(&self) -> Result<Option<Vec<u8>>, DeskError> {
        let values = self.values()?;
        if values.iter().any(|(_, _, values)| values.iter().any(|value| !value.is_finite())) {
            return Ok(None);
        }
        let views = values.iter().map(|(name, shape, values)| {
            let bytes = bytemuck::cast_slice(values);
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (name, view.expect("a value for each place of the shape"))
        });
        Ok(Some(safetensors::serialize(views, None).expect("names are unique")))
    }

    /// Reads what [`Self::to_bytes`] made.
    ///
    /// # Errors
    /// [`DeskError::Run`] where the file is not read, is another discriminator's or damaged.
    pub fn read(path: &Path, side: usize, base: usize, device: &Device) -> Result<Self, DeskError> {
        let refuse = |reason: String| DeskError::run(path, reason);
        let bytes = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|error| refuse(format!("damaged: {error}")))?;
        let parameters = parameters(side, base);
        let all = file.len() == parameters.len();
        let mut values = BTreeMap::new();
        for (name, shape) in parameters {
            let view = file.tensor(&name).ok();
            let fits = |view: &TensorView| view.dtype() == Dtype::F32 && view.shape() == shape;
            let Some(view) = view.filter(|view| all && fits(view)) else {
                return Err(refuse(format!(
                    "is not of an adversary for pictures of {side} pixels with {base} channels; \
                     resume with the run's own --size and --adversary-channels"
                )));
            };
            let numbers = view.data().as_chunks::<4>().0.iter();
            let numbers: Vec<f32> = numbers.map(|&bytes| f32::from_le_bytes(bytes)).collect();
            if numbers.iter().any(|value| !value.is_finite()) {
                return Err(refuse(format!("damaged: {name} is not finite")));
            }
            values.insert(name, numbers);
        }
        Ok(Self::build(side, base, values, device))
    }
}

impl Layer {
    fn convolve(&self, features: Tensor<4>) -> Tensor<4> {
        halve(features, self.weight.val()) + self.bias.val().reshape([1, -1, 1, 1])
    }
}

/// What each column sees.
fn views(pictures: Tensor<4>, masks: Tensor<4>) -> [Tensor<4>; 2] {
    let known = pictures.clone() * masks.clone();
    [known, pictures * (masks.neg() + 1.0)]
}

/// The slopes of a column's LeakyReLUs, 1 or 0.2, layer by layer.
fn slopes(layers: &[Layer], view: Tensor<4>) -> Vec<Tensor<4>> {
    let mut features = view;
    let slope = |layer: &Layer| {
        let sums = layer.convolve(features.clone());
        let slope = sums.clone().lower_elem(0.0).float() * (LEAKY_SLOPE - 1.0) + 1.0;
        features = sums * slope.clone();
        slope
    };
    layers.iter().map(slope).collect()
}

/// Only on a training device can gradients be asked for.
fn trained<const D: usize>(value: Tensor<D>) -> Tensor<D> {
    if value.is_autodiff() { value.require_grad() } else { value }
}

/// A parameter's name, shape and values.
type Named = (String, Vec<usize>, Vec<f32>);

fn named<const D: usize>(name: String, parameter: Tensor<D>) -> Result<Named, DeskError> {
    Ok((name, parameter.dims().to_vec(), floats(parameter)?))
}

#[cfg(test)]
#[path = "discriminator_tests.rs"]
mod tests;
