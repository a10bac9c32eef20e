//! LBAM for training, in Burn.

use std::cell::RefCell;
use std::collections::BTreeMap;

use burn::module::{Module, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::activation::{leaky_relu, relu, sigmoid};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use super::convolutions::{double, halve};
use super::in_place::{clamped, overwritten};
use super::read::floats;
use super::{DeskError, random};
use crate::file::Weights;
use crate::net::{
    Attention, CLAMPS, Conv, ENCODER_LAYERS, KERNEL, LEAKY_SLOPE, MASK_UPDATE_POWER, MapActivation,
    Network, REVERSE_LAYERS, Variant,
};

/// Standard deviation of initial weights at the paper's width; narrower layers, which add up
/// fewer products, get it divided by the square root of their share of that width.
const INITIAL_DEVIATION: f32 = 0.02;
/// Base channels at which [`INITIAL_DEVIATION`] holds as it is.
const PAPER_BASE: f32 = 64.0;

/// One layer of a mask branch: kernel and the scalars of its attention.
#[derive(Module, Debug)]
pub struct MaskLayer {
    weight: Param<Tensor<4>>,
    /// `a, mu, sigma1, sigma2`, as one `[4]`: a GPU takes as long for one number as for four.
    scalars: Param<Tensor<1>>,
}

/// The network with trainable weights, and its wiring.
#[derive(Module, Debug)]
pub struct Lbam {
    encoder: Vec<Param<Tensor<4>>>,
    forward: Vec<MaskLayer>,
    reverse: Vec<MaskLayer>,
    decoder: Vec<Param<Tensor<4>>>,
    #[module(skip)]
    variant: Variant,
    #[module(skip)]
    mixed: bool,
}

/// Attention maps of every layer, computed from masks alone. Ablations have maps with a side of 1
/// where all values along it are equal, and no masks of a branch that is not learned.
#[derive(Debug, Clone)]
pub struct Maps {
    /// `A_1 .. A_7`, each `[K, C_l, H / 2^l, W / 2^l]`.
    pub forward: Vec<Tensor<4>>,
    /// `R_1 .. R_6`, likewise.
    pub reverse: Vec<Tensor<4>>,
    /// `u_1 .. u_7`, the updated forward masks.
    pub known: Vec<Tensor<4>>,
    /// `v_1 .. v_6`, the updated reverse masks.
    pub updated: Vec<Tensor<4>>,
}

/// What every layer computed, for comparison with other implementations.
#[derive(Debug, Clone)]
pub struct Activations {
    /// `e_1 .. e_7`.
    pub encoder: Vec<Tensor<4>>,
    /// `d_6 .. d_1`, each beside its skip, then the picture.
    pub decoder: Vec<Tensor<4>>,
}

impl Lbam {
    /// Fresh weights of the paper's variant. They are drawn here and not by the device, whose
    /// random numbers differ from backend to backend and are shared by all threads: a seed is one
    /// start everywhere.
    pub fn initialise(network: Network, seed: u64, device: &Device) -> Self {
        let deviation = INITIAL_DEVIATION * (PAPER_BASE / network.base() as f32).sqrt();
        let rng = RefCell::new(random::generator(seed, 0, random::WEIGHTS_INDEX));
        let normal = || random::normal(&mut rng.borrow_mut());
        let kernel = |_: &str, shape: [usize; 4]| {
            let values: Vec<f32> =
                (0..shape.iter().product()).map(|_| deviation * normal()).collect();
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        Self::build((network, Variant::PAPER), device, kernel, |conv| {
            let reverse = network.reverse().contains(conv);
            if reverse { Attention::REVERSE_START } else { Attention::FORWARD_START }
        })
    }

    /// A network with these weights.
    pub fn from_weights(weights: &Weights, device: &Device) -> Self {
        let kernel = |name: &str, shape: [usize; 4]| {
            Tensor::from_data(TensorData::new(weights.values(name).to_vec(), shape), device)
        };
        Self::build((weights.network(), weights.variant()), device, kernel, |conv| {
            weights.attention(conv.attention.as_deref().expect("mask layers have attention"))
        })
    }

    /// Parameters are numbered in the order of the table, so that an optimiser's saved state
    /// finds them again in another process.
    fn build(
        (network, variant): (Network, Variant),
        device: &Device,
        kernel: impl Fn(&str, [usize; 4]) -> Tensor<4>,
        attention: impl Fn(&Conv) -> Attention,
    ) -> Self {
        let numbers = std::cell::Cell::new(0_u64);
        let number = || ParamId::from(numbers.replace(numbers.get() + 1));
        let trained = device.is_autodiff();
        let parameter =
            |name: &str, shape: [usize; 4]| parameter_of(number(), kernel(name, shape), trained);
        let conv = |c: &Conv| parameter(&c.weight, [c.output, c.input, KERNEL, KERNEL]);
        let mask_layer = |c: &Conv| MaskLayer {
            weight: conv(c),
            scalars: parameter_of(
                number(),
                Tensor::from_floats(attention(c).scalars(), device),
                trained,
            ),
        };
        Self {
            encoder: network.encoder().iter().map(conv).collect(),
            forward: network.forward().iter().map(mask_layer).collect(),
            reverse: network.reverse().iter().map(mask_layer).collect(),
            decoder: network
                .decoder()
                .iter()
                .map(|d| parameter(&d.weight, [d.skip + d.deep, d.output, KERNEL, KERNEL]))
                .collect(),
            variant,
            mixed: false,
        }
    }

    /// The maps of `masks`, `[K, 1, H, W]`, 1 = known, 0 = hole. The first layers' kernels, made
    /// for three equal channels, are summed over them: the same sums at a third of the work.
    pub fn maps(&self, masks: Tensor<4>) -> Maps {
        let branch = |layers: &[MaskLayer], start: Tensor<4>| {
            let mut updated = start;
            let mut maps = Vec::with_capacity(layers.len());
            let mut updates = Vec::with_capacity(layers.len());
            for (index, layer) in layers.iter().enumerate() {
                let weight = layer.weight.val();
                let weight = if index == 0 { weight.sum_dim(1) } else { weight };
                let features = self.halve(updated, weight);
                maps.push(self.attend(layer, features.clone()));
                updated = update(features);
                updates.push(updated.clone());
            }
            (maps, updates)
        };
        let (reverse, updated) = match self.variant.has_reverse() {
            true => branch(&self.reverse, masks.ones_like() - masks.clone()),
            false => (vec![Tensor::ones([1, 1, 1, 1], &masks.device()); REVERSE_LAYERS], vec![]),
        };
        let (forward, known) = match self.variant.learns_forward() {
            true => branch(&self.forward, masks),
            false => (partial_maps(masks), vec![]),
        };
        Maps { forward, reverse, known, updated }
    }

    /// The same network with its convolutions in bfloat16 and all else in 32 bits.
    pub fn in_mixed_precision(self) -> Self {
        Self { mixed: true, ..self }
    }

    fn halve(&self, input: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
        self.multiplied_by(input, weight, halve)
    }

    fn double(&self, input: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
        self.multiplied_by(input, weight, double)
    }

    fn multiplied_by(
        &self,
        input: Tensor<4>,
        weight: Tensor<4>,
        convolve: fn(Tensor<4>, Tensor<4>) -> Tensor<4>,
    ) -> Tensor<4> {
        if !self.mixed {
            return convolve(input, weight);
        }
        let narrow = |tensor: Tensor<4>| tensor.cast(FloatDType::BF16);
        convolve(narrow(input), narrow(weight)).cast(FloatDType::F32)
    }

    fn attend(&self, layer: &MaskLayer, features: Tensor<4>) -> Tensor<4> {
        match self.variant.attention() {
            MapActivation::Gaussian => layer.attend(features),
            MapActivation::Sigmoid => sigmoid(features),
            MapActivation::LeakyRelu => leaky_relu(features, f64::from(LEAKY_SLOPE)),
            MapActivation::Relu => relu(features),
        }
    }

    /// The network's picture `[N, 3, H, W]` in `[0, 1]`, for pictures `[N, 3, H, W]` and masks
    /// `[K, 1, H, W]`, of which picture `n` has mask `n % K`.
    pub fn forward(&self, pictures: Tensor<4>, masks: Tensor<4>) -> Tensor<4> {
        let maps = self.maps(masks.clone());
        let mut activations = self.activations(network_input(pictures, masks), &maps);
        activations.decoder.pop().expect("the decoder has layers")
    }

    /// Every layer's features for a network input `[N, 4, H, W]` under the maps of `K` masks, of
    /// which input `n` has those of mask `n % K`.
    pub fn activations(&self, input: Tensor<4>, maps: &Maps) -> Activations {
        self.activations_through(input, maps, |_, features| features)
    }

    /// The same where every layer sees what `through` makes of the features `e_1 .. e_7` (0 to 6),
    /// then `d_1 .. d_6`, of the layers before.
    pub fn activations_through(
        &self,
        input: Tensor<4>,
        maps: &Maps,
        through: impl Fn(usize, Tensor<4>) -> Tensor<4>,
    ) -> Activations {
        let slope = f64::from(LEAKY_SLOPE);
        let mut encoder: Vec<Tensor<4>> = Vec::with_capacity(self.encoder.len());
        for (weight, map) in self.encoder.iter().zip(&maps.forward) {
            let below = encoder.last().cloned().unwrap_or_else(|| input.clone());
            let features = self.halve(below, weight.val());
            let features = leaky_relu(under(features, map), slope);
            encoder.push(through(encoder.len(), features));
        }
        let mut features = encoder.last().cloned().expect("the encoder has layers");
        let mut decoder = Vec::with_capacity(self.decoder.len());
        for (index, weight) in self.decoder.iter().enumerate() {
            let doubled = self.double(features, weight.val());
            features = match REVERSE_LAYERS.checked_sub(index + 1) {
                Some(level) => {
                    let deep = leaky_relu(under(doubled, &maps.reverse[level]), slope);
                    let deep = through(ENCODER_LAYERS + level, deep);
                    Tensor::cat(vec![encoder[level].clone(), deep], 1)
                }
                None => (doubled.tanh() + 1.0) / 2.0,
            };
            decoder.push(features.clone());
        }
        Activations { encoder, decoder }
    }

    /// The least and the most that the attention scalars may be, in their order.
    pub fn ranges(device: &Device) -> [Tensor<1>; 2] {
        let ends = [CLAMPS.map(|clamp| clamp.min), CLAMPS.map(|clamp| clamp.max)];
        ends.map(|ends| Tensor::from_floats(ends, device).inner())
    }

    /// The same network with the attention scalars back in their [ranges](Lbam::ranges), as after
    /// every optimiser step.
    pub fn clamped(mut self, ranges: &[Tensor<1>; 2]) -> Self {
        for layer in self.forward.iter_mut().chain(&mut self.reverse) {
            // On the inner tensor: clamping is no part of what is differentiated.
            layer.scalars = layer
                .scalars
                .clone()
                .map(|value| clamped(value.inner(), ranges).autodiff().require_grad());
        }
        self
    }

    /// The same network with the weights of pictures' layers times the factors of their names.
    pub fn multiplied(mut self, factors: &BTreeMap<String, Tensor<4>>) -> Self {
        let names = self.names_of_pictures_layers();
        for (name, kernel) in names.zip(self.encoder.iter_mut().chain(&mut self.decoder)) {
            if let Some(factors) = factors.get(&name) {
                *kernel = kernel.clone().map(|value| {
                    let value = value.inner();
                    let product = value.clone() * factors.clone();
                    overwritten(value, product).autodiff().require_grad()
                });
            }
        }
        self
    }

    /// The same of its gradients.
    pub fn multiplied_gradients(
        &self,
        mut gradients: GradientsParams,
        factors: &BTreeMap<String, Tensor<4>>,
    ) -> GradientsParams {
        let names = self.names_of_pictures_layers();
        for (name, kernel) in names.zip(self.encoder.iter().chain(&self.decoder)) {
            if let Some(factors) = factors.get(&name)
                && let Some(gradient) = gradients.remove::<4>(kernel.id)
            {
                gradients.register(kernel.id, gradient * factors.clone());
            }
        }
        gradients
    }

    /// Of the encoder's weights, then the decoder's.
    fn names_of_pictures_layers(&self) -> impl Iterator<Item = String> + use<> {
        let network = self.network();
        let encoder = network.encoder().into_iter().map(|conv| conv.weight);
        encoder.chain(network.decoder().into_iter().map(|deconv| deconv.weight))
    }

    fn named(&self, network: Network) -> Vec<(String, Named<'_>)> {
        let mut named = Vec::new();
        for (conv, weight) in network.encoder().into_iter().zip(&self.encoder) {
            named.push((conv.weight, Named::Kernel(weight)));
        }
        let branches = [(network.forward(), &self.forward), (network.reverse(), &self.reverse)];
        for (convs, layers) in branches {
            for (conv, layer) in convs.into_iter().zip(layers) {
                named.push((conv.weight, Named::Kernel(&layer.weight)));
                let prefix = conv.attention.unwrap_or_default();
                named.push((prefix, Named::Scalars(&layer.scalars)));
            }
        }
        for (deconv, weight) in network.decoder().into_iter().zip(&self.decoder) {
            named.push((deconv.weight, Named::Kernel(weight)));
        }
        named
    }

    /// The network these weights belong to.
    pub fn network(&self) -> Network {
        let base = self.encoder[0].val().dims()[0];
        Network::new(base).expect("made from a network")
    }

    /// Copies the weights out.
    ///
    /// # Errors
    /// [`DeskError::File`] if a weight is not finite, [`DeskError::Gpu`] if the device could not
    /// compute it.
    pub fn weights(&self, provenance: BTreeMap<String, String>) -> Result<Weights, DeskError> {
        let mut tensors = BTreeMap::new();
        for (name, parameter) in self.named(self.network()) {
            match parameter {
                Named::Kernel(kernel) => {
                    let kernel = kernel.val();
                    tensors.insert(name, (kernel.dims().to_vec(), floats(kernel)?));
                }
                Named::Scalars(scalars) => {
                    for (name, value) in scalar_names(&name).zip(floats(scalars.val())?) {
                        tensors.insert(name, (vec![1], vec![value]));
                    }
                }
            }
        }
        Ok(Weights::from_tensors(tensors, provenance)?.with_variant(self.variant))
    }
}

#[cfg(test)]
impl Lbam {
    /// Gradients by name; zeros of what has no part in the variant.
    pub fn gradients(&self, gradients: &GradientsParams) -> BTreeMap<String, Vec<f32>> {
        let values = |data: TensorData| data.try_to_vec::<f32>().expect("32-bit floats");
        let mut found = BTreeMap::new();
        for (name, parameter) in self.named(self.network()) {
            match parameter {
                Named::Kernel(p) => {
                    let length = p.val().dims().iter().product();
                    let gradient = gradients.get::<4>(p.id).map(|gradient| gradient.to_data());
                    found.insert(name, gradient.map_or(vec![0.0; length], values));
                }
                Named::Scalars(p) => {
                    let gradient = gradients.get::<1>(p.id).map(|gradient| gradient.to_data());
                    let gradient = gradient.map_or(vec![0.0; CLAMPS.len()], values);
                    found.extend(scalar_names(&name).zip(gradient.into_iter().map(|s| vec![s])));
                }
            }
        }
        found
    }
}

/// A parameter under a fixed number. Only on a training device can gradients be asked for.
fn parameter_of<const D: usize>(id: ParamId, value: Tensor<D>, trained: bool) -> Param<Tensor<D>> {
    Param::initialized(id, if trained { value.require_grad() } else { value })
}

enum Named<'a> {
    Kernel(&'a Param<Tensor<4>>),
    /// By the name of the attention they belong to.
    Scalars(&'a Param<Tensor<1>>),
}

/// Names of an attention's scalars, in their order.
fn scalar_names(attention: &str) -> impl Iterator<Item = String> {
    CLAMPS.iter().map(move |clamp| format!("{attention}.{}", clamp.name))
}

impl MaskLayer {
    /// `gA`, with one exponential for both sides: with `e` the Gaussian of the side that holds,
    /// it is `a * e` below the peak and `a * e + (1 - e)` above.
    fn attend(&self, features: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = features.dims();
        // Over a plane in steps: a GPU sums gradients by one thread for each number that stays.
        let scalars = self.scalars.val().reshape([4, 1, 1, 1]);
        let planes = scalars.expand([4, 1, 1, width]).expand([4, 1, height, width]);
        let [a, mu, sigma1, sigma2] = [0, 1, 2, 3].map(|index| planes.clone().narrow(0, index, 1));
        let distance = features - mu;
        let above = distance.clone().greater_equal_elem(0.0).float();
        let sigma = above.clone() * (sigma2 - sigma1.clone()) + sigma1;
        let gaussian = (distance.clone() * distance * sigma).neg().exp();
        a * gaussian.clone() + above * (gaussian.neg() + 1.0)
    }
}

/// Masks `[K, 1, H, W]` as one for each of `count` pictures: picture `n` has mask `n % K`.
pub(super) fn shared(masks: Tensor<4>, count: usize) -> Tensor<4> {
    let [known, ..] = masks.dims();
    masks.repeat_dim(0, count / known)
}

/// What the network reads: pictures `[N, 3, H, W]` without what is hidden, and masks `[K, 1, H, W]` as a
/// fourth channel.
pub(super) fn network_input(pictures: Tensor<4>, masks: Tensor<4>) -> Tensor<4> {
    let known = shared(masks, pictures.dims()[0]);
    Tensor::cat(vec![pictures * known.clone(), known], 1)
}

/// Features `[N, C, H, W]` times maps `[K, C, H, W]`, where features `n` have map `n % K`. Maps of
/// ablations may have sides of 1.
fn under(features: Tensor<4>, map: &Tensor<4>) -> Tensor<4> {
    let [count, channels, height, width] = features.dims();
    let [maps, map_channels, map_height, map_width] = map.dims();
    if maps == 1 || maps == count {
        return features * map.clone();
    }
    let features = features.reshape([count / maps, maps, channels, height, width]);
    let map = map.clone().reshape([1, maps, map_channels, map_height, map_width]);
    (features * map).reshape([count, channels, height, width])
}

/// `gM(x) = relu(x)^0.8`. The power's slope at 0 is infinite, and backends disagree on what that
/// makes of the gradient: no element at or below 0 reaches the power.
fn update(features: Tensor<4>) -> Tensor<4> {
    let hidden = features.clone().lower_equal_elem(0.0);
    features.mask_fill(hidden.clone(), 1.0).powf_scalar(MASK_UPDATE_POWER).mask_fill(hidden, 0.0)
}

/// Partial Convolution's maps of all layers, one plane each.
fn partial_maps(masks: Tensor<4>) -> Vec<Tensor<4>> {
    let window = Tensor::ones([1, 1, KERNEL, KERNEL], &masks.device());
    let mut mask = masks;
    let mut maps = Vec::with_capacity(ENCODER_LAYERS);
    for _ in 0..ENCODER_LAYERS {
        let known = halve(mask, window.clone());
        let hidden = known.clone().lower_equal_elem(0.0);
        let share = known.mask_fill(hidden.clone(), 1.0) / (KERNEL * KERNEL) as f64;
        maps.push(share.recip().mask_fill(hidden.clone(), 0.0));
        mask = hidden.bool_not().float();
    }
    maps
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
