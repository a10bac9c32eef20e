//! LBAM trained on the processor: forward and backward written out.
//!
//! Burn differentiates any network on any backend, and is what GPUs use. On the processor its
//! convolutions unfold their inputs, and every activation is a pass of its own over memory; this
//! network is known, so that here each layer is two sweeps of [`crate::kernels::float`] and one
//! fused pass each way. The losses stay in Burn: they see the output as a leaf, and hand back its
//! gradient.
//!
//! Weights lie in the kernels' order, `[tap, input, output]` ([`parameters`]), and Adam's averages
//! beside them. Features of a batch lie in [`Planes`] that are made once for a size.
//!
//! Hazard: [`Engine::backward`] uses the features of the last [`Engine::forward`], in place; the
//! two must alternate.

mod activations;
mod layers;
mod parameters;
#[cfg(test)]
mod tests;
mod variants;

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use self::activations::{
    attend, attend_slopes, from_picture, modulate, modulate_slopes, to_picture,
};
use self::layers::{Joined, double, double_gradient, halve, halve_gradient};
use self::parameters::{Kernel, Scalars, Step};
use self::variants::{attend_plainly, attend_plainly_slopes, partial_maps};
use super::DeskError;
use super::adam::AdamSettings;
use super::prune::Pruning;
use crate::file::{FileError, Weights};
use crate::kernels::float::{LANES, Planes};
use crate::net::{Conv, ENCODER_LAYERS, MapActivation, Network, REVERSE_LAYERS, Variant};

/// A layer of a mask branch.
#[derive(Debug)]
struct MaskLayer {
    kernel: Kernel,
    scalars: Scalars,
}

/// A decoder layer; the deepest has no skip.
#[derive(Debug)]
struct DecoderLayer {
    skip: Option<Kernel>,
    deep: Kernel,
}

/// A network in training, with its optimiser.
#[derive(Debug)]
pub struct Engine {
    network: Network,
    variant: Variant,
    encoder: Vec<Kernel>,
    forward: Vec<MaskLayer>,
    reverse: Vec<MaskLayer>,
    /// The deepest first; the last makes the picture.
    decoder: Vec<DecoderLayer>,
    adam: AdamSettings,
    /// Steps done.
    steps: u64,
    batch: Option<Batch>,
}

/// A layer's features and what became of them, with gradients beside them.
#[derive(Debug)]
struct Level {
    /// Sums of the convolution.
    features: Planes,
    /// Modulated and leaky in encoder and decoder; the attention map in mask branches.
    output: Planes,
    /// Of `output`, then of `features`.
    gradient: Planes,
}

impl Level {
    fn new(count: usize, side: usize, channels: usize) -> Self {
        let planes = || Planes::new(count, side, side, channels.next_multiple_of(LANES));
        Self { features: planes(), output: planes(), gradient: planes() }
    }
}

/// A level of a mask branch.
#[derive(Debug)]
struct MaskLevel {
    level: Level,
    /// The mask for the next level, and its gradient.
    updated: Planes,
    updated_gradient: Planes,
}

/// Features of one batch.
#[derive(Debug)]
struct Batch {
    pictures: usize,
    masks: usize,
    size: usize,
    known: Planes,
    hidden: Planes,
    input: Planes,
    forward: Vec<MaskLevel>,
    reverse: Vec<MaskLevel>,
    encoder: Vec<Level>,
    /// Levels 6 to 1.
    decoder: Vec<Level>,
    /// The last layer's 2x2 pixels of 3 channels, then that between 0 and 1.
    picture: Planes,
    picture_gradient: Planes,
}

impl Batch {
    fn new(
        (network, variant): (Network, Variant),
        (pictures, masks): (usize, usize),
        size: usize,
    ) -> Self {
        let side = |conv: &Conv| size >> conv.level;
        let branch = |convs: Vec<Conv>| {
            let level = |conv: &Conv| {
                let level = Level::new(masks, side(conv), conv.output);
                let (updated, updated_gradient) = (level.features.clone(), level.features.clone());
                MaskLevel { level, updated, updated_gradient }
            };
            convs.iter().map(level).collect()
        };
        let decoder = network.decoder();
        let mut reverse: Vec<MaskLevel> = branch(network.reverse());
        if !variant.has_reverse() {
            for MaskLevel { level, .. } in &mut reverse {
                level.output.rows_mut().for_each(|(_, _, row)| row.fill(1.0));
            }
        }
        Self {
            pictures,
            masks,
            size,
            known: Planes::new(masks, size, size, 1),
            hidden: Planes::new(masks, size, size, 1),
            input: Planes::new(pictures, size, size, 4),
            forward: branch(network.forward()),
            reverse,
            encoder: network
                .encoder()
                .iter()
                .map(|conv| Level::new(pictures, side(conv), conv.output))
                .collect(),
            decoder: decoder[..REVERSE_LAYERS]
                .iter()
                .map(|deconv| Level::new(pictures, size >> deconv.level, deconv.output))
                .collect(),
            picture: Planes::new(pictures, size / 2, size / 2, LANES),
            picture_gradient: Planes::new(pictures, size / 2, size / 2, LANES),
        }
    }

    /// Pictures as `[pictures, 3, size, size]` and masks as `[masks, 1, size, size]`.
    fn fill(&mut self, pictures: &[f32], masks: &[f32]) {
        let size = self.size;
        let plane = size * size;
        for (value, planes) in [(1.0, &mut self.known), (0.0, &mut self.hidden)] {
            for mask in 0..self.masks {
                for y in 0..size {
                    let known = &masks[mask * plane + y * size..][..size];
                    for (to, known) in planes.row_mut(mask, y).iter_mut().zip(known) {
                        *to = if value == 1.0 { *known } else { 1.0 - *known };
                    }
                }
            }
        }
        for picture in 0..self.pictures {
            let known = &masks[(picture % self.masks) * plane..][..plane];
            let colours = &pictures[picture * 3 * plane..][..3 * plane];
            for y in 0..size {
                let row = self.input.row_mut(picture, y).as_chunks_mut::<4>().0;
                for (x, pixel) in row.iter_mut().enumerate() {
                    let at = y * size + x;
                    let known = known[at];
                    let colour = |channel: usize| colours[channel * plane + at] * known;
                    *pixel = [colour(0), colour(1), colour(2), known];
                }
            }
        }
    }
}

impl Engine {
    /// Of these weights, with an optimiser that has seen nothing.
    pub fn new(weights: &Weights, settings: AdamSettings) -> Self {
        let network = weights.network();
        let mask_layer = |conv: &Conv| MaskLayer {
            kernel: Kernel::convolution(weights, conv),
            scalars: Scalars::new(weights, conv.attention.as_deref().unwrap_or_default()),
        };
        Self {
            network,
            variant: weights.variant(),
            encoder: network
                .encoder()
                .iter()
                .map(|conv| Kernel::convolution(weights, conv))
                .collect(),
            forward: network.forward().iter().map(mask_layer).collect(),
            reverse: network.reverse().iter().map(mask_layer).collect(),
            decoder: network
                .decoder()
                .iter()
                .map(|d| {
                    let part = |from: usize, count: usize| {
                        Kernel::transposed(weights, &d.weight, from, count, d.output, d.level == 0)
                    };
                    let skip = (d.skip > 0).then(|| part(0, d.skip));
                    DecoderLayer { skip, deep: part(d.skip, d.deep) }
                })
                .collect(),
            adam: settings,
            steps: 0,
            batch: None,
        }
    }

    /// The network's pictures `[N, 3, size, size]` in `0.0..=1.0`, for pictures alike and masks
    /// `[K, 1, size, size]`, 1 = known, 0 = hole, where picture `n` has mask `n % K`.
    ///
    /// # Panics
    /// If the slices are of other lengths: the caller's mistake.
    pub fn forward(&mut self, pictures: &[f32], masks: &[f32], size: usize) -> Vec<f32> {
        let plane = size * size;
        let (count, mask_count) = (pictures.len() / (3 * plane), masks.len() / plane);
        assert!(count.is_multiple_of(mask_count), "{mask_count} masks, {count} pictures");
        let fits =
            |batch: &Batch| (batch.pictures, batch.masks, batch.size) == (count, mask_count, size);
        let mut batch = match self.batch.take() {
            Some(batch) if fits(&batch) => batch,
            _ => Batch::new((self.network, self.variant), (count, mask_count), size),
        };
        batch.fill(pictures, masks);
        let variant = self.variant;
        let branches = [
            (variant.learns_forward(), &self.forward, &batch.known, &mut batch.forward),
            (variant.has_reverse(), &self.reverse, &batch.hidden, &mut batch.reverse),
        ];
        for (_, layers, start, levels) in branches.into_iter().filter(|branch| branch.0) {
            for (at, layer) in layers.iter().enumerate() {
                let (above, levels) = levels.split_at_mut(at);
                let MaskLevel { level, updated, .. } = &mut levels[0];
                let source = above.last().map_or(start, |above| &above.updated);
                halve(source, &layer.kernel.applied(), &mut level.features, false);
                let (features, map) = (&level.features, &mut level.output);
                match variant.attention() {
                    MapActivation::Gaussian => {
                        attend(features, &layer.scalars.attention(), map, updated);
                    }
                    plain => attend_plainly(features, plain, map, updated),
                }
            }
        }
        if !variant.learns_forward() {
            partial_maps(&batch.known, &mut batch.forward);
        }
        for (at, kernel) in self.encoder.iter().enumerate() {
            let (above, levels) = batch.encoder.split_at_mut(at);
            let level = &mut levels[0];
            let source = above.last().map_or(&batch.input, |above| &above.output);
            halve(source, kernel.values(), &mut level.features, false);
            modulate(&level.features, &batch.forward[at].level.output, &mut level.output);
        }
        let deepest = ENCODER_LAYERS - 1;
        for at in 0..REVERSE_LAYERS {
            let layer = &self.decoder[at];
            let (above, levels) = batch.decoder.split_at_mut(at);
            let level = &mut levels[0];
            let deep = above.last().map_or(&batch.encoder[deepest].output, |above| &above.output);
            let skip = layer
                .skip
                .as_ref()
                .map(|skip| (&batch.encoder[deepest - at].output, skip.values()));
            double(skip, (deep, layer.deep.values()), &mut level.features);
            let map = &batch.reverse[REVERSE_LAYERS - 1 - at].level.output;
            modulate(&level.features, map, &mut level.output);
        }
        let last = &self.decoder[REVERSE_LAYERS];
        let deep = &batch.decoder[REVERSE_LAYERS - 1].output;
        let joined = Joined::of(last.skip.as_ref(), &last.deep);
        joined.convolve(&batch.encoder[0].output, deep, &mut batch.picture);
        let output = to_picture(&mut batch.picture);
        self.batch = Some(batch);
        output
    }

    /// Gradients of all parameters, for that of the last [`Engine::forward`]'s output.
    ///
    /// # Panics
    /// If there was none, or the gradient is of another length: the caller's mistake.
    pub fn backward(&mut self, output_gradient: &[f32]) {
        let mut batch = self.batch.take().expect("forward comes first");
        from_picture(output_gradient, &batch.picture, &mut batch.picture_gradient);
        let last = &mut self.decoder[REVERSE_LAYERS];
        let joined = Joined::of(last.skip.as_ref(), &last.deep);
        let (skip, deep) = (&mut batch.encoder[0], &mut batch.decoder[REVERSE_LAYERS - 1]);
        joined.backward(
            last.skip.as_mut(),
            &mut last.deep,
            &batch.picture_gradient,
            (&skip.output, &deep.output),
            (&mut skip.gradient, &mut deep.gradient),
        );
        let deepest = ENCODER_LAYERS - 1;
        for at in (0..REVERSE_LAYERS).rev() {
            let layer = &mut self.decoder[at];
            let (above, levels) = batch.decoder.split_at_mut(at);
            let level = &mut levels[0];
            let map = &mut batch.reverse[REVERSE_LAYERS - 1 - at].level;
            modulate_slopes(level, map);
            if let Some(skip) = &mut layer.skip {
                let encoded = &mut batch.encoder[deepest - at];
                double_gradient(&encoded.output, &level.gradient, skip);
                halve(&level.gradient, skip.turned(), &mut encoded.gradient, false);
            }
            let deep = above.last_mut().unwrap_or(&mut batch.encoder[deepest]);
            double_gradient(&deep.output, &level.gradient, &mut layer.deep);
            halve(&level.gradient, layer.deep.turned(), &mut deep.gradient, false);
        }
        for at in (0..ENCODER_LAYERS).rev() {
            let kernel = &mut self.encoder[at];
            let (above, levels) = batch.encoder.split_at_mut(at);
            let level = &mut levels[0];
            modulate_slopes(level, &mut batch.forward[at].level);
            match above.last_mut() {
                None => halve_gradient(&batch.input, &level.gradient, kernel),
                Some(above) => {
                    halve_gradient(&above.output, &level.gradient, kernel);
                    let turned = kernel.turned();
                    layers::halve_input(&level.gradient, turned, &mut above.gradient, true);
                }
            }
        }
        let variant = self.variant;
        let branches = [
            (variant.learns_forward(), &mut self.forward, &batch.known, &mut batch.forward),
            (variant.has_reverse(), &mut self.reverse, &batch.hidden, &mut batch.reverse),
        ];
        // The gradients of a branch without part were zeros from the start.
        for (_, layers, start, levels) in branches.into_iter().filter(|branch| branch.0) {
            for (at, layer) in layers.iter_mut().enumerate().rev() {
                let (above, levels) = levels.split_at_mut(at);
                let level = &mut levels[0];
                match variant.attention() {
                    MapActivation::Gaussian => {
                        let attention = layer.scalars.attention();
                        layer.scalars.gradient = attend_slopes(level, &attention);
                    }
                    plain => attend_plainly_slopes(level, plain),
                }
                let gradient = &level.level.gradient;
                match above.last_mut() {
                    None => halve_gradient(start, gradient, &mut layer.kernel),
                    Some(above) => {
                        halve_gradient(&above.updated, gradient, &mut layer.kernel);
                        let turned = layer.kernel.turned();
                        let input = &mut above.updated_gradient;
                        layers::halve_input(gradient, turned, input, false);
                    }
                }
            }
        }
        self.batch = Some(batch);
    }

    fn kernels_mut(&mut self) -> impl Iterator<Item = &mut Kernel> {
        let masks = self.forward.iter_mut().chain(&mut self.reverse).map(|layer| &mut layer.kernel);
        let decoder = self.decoder.iter_mut();
        let decoder = decoder.flat_map(|layer| layer.skip.iter_mut().chain([&mut layer.deep]));
        self.encoder.iter_mut().chain(masks).chain(decoder)
    }

    fn scalars_mut(&mut self) -> impl Iterator<Item = &mut Scalars> {
        self.forward.iter_mut().chain(&mut self.reverse).map(|layer| &mut layer.scalars)
    }

    /// Euclidean length of all gradients together.
    pub fn gradient_norm(&mut self) -> f64 {
        let kernels: f64 = self.kernels_mut().map(|kernel| kernel.squared_gradient()).sum();
        let scalars: f64 = self
            .scalars_mut()
            .flat_map(|scalars| scalars.gradient)
            .map(|slope| f64::from(slope).powi(2))
            .sum();
        (kernels + scalars).sqrt()
    }

    /// One step of Adam with the gradients of the last [`Engine::backward`] times `scale`; the
    /// scalars stay in their ranges.
    pub fn update(&mut self, learning_rate: f64, scale: f32) {
        self.steps += 1;
        let step = Step { adam: self.adam.step(learning_rate, self.steps), scale };
        self.kernels_mut().for_each(|kernel| kernel.update(step));
        self.scalars_mut().for_each(|scalars| scalars.update(step));
    }

    /// Holds weights at zero from now on.
    pub fn prune(&mut self, pruning: &Pruning) {
        for kernel in self.kernels_mut() {
            if let Some(gone) = pruning.tensors().get(kernel.name()) {
                kernel.prune(gone);
            }
        }
    }

    /// Copies the weights out.
    ///
    /// # Errors
    /// [`FileError::Tensor`] if a weight is not finite.
    pub fn weights(&self, provenance: BTreeMap<String, String>) -> Result<Weights, FileError> {
        let mut tensors = BTreeMap::new();
        let masks = self.forward.iter().chain(&self.reverse);
        for parameter in self.network.parameters() {
            let values = vec![0.0; parameter.shape.iter().product()];
            tensors.insert(parameter.name, (parameter.shape, values));
        }
        let decoder = self.decoder.iter().flat_map(|layer| layer.skip.iter().chain([&layer.deep]));
        let kernels = self.encoder.iter().chain(masks.clone().map(|layer| &layer.kernel));
        for kernel in kernels.chain(decoder) {
            kernel.store(&mut tensors);
        }
        masks.for_each(|layer| layer.scalars.store(&mut tensors));
        Ok(Weights::from_tensors(tensors, provenance)?.with_variant(self.variant))
    }

    /// Gradients by name.
    #[cfg(test)]
    fn gradients(&mut self) -> BTreeMap<String, Vec<f32>> {
        let mut tensors = BTreeMap::new();
        for parameter in self.network.parameters() {
            let values = vec![0.0; parameter.shape.iter().product()];
            tensors.insert(parameter.name, (parameter.shape, values));
        }
        self.kernels_mut().for_each(|kernel| kernel.store_gradient(&mut tensors));
        self.scalars_mut().for_each(|scalars| scalars.store_gradient(&mut tensors));
        tensors.into_iter().map(|(name, (_, values))| (name, values)).collect()
    }

    /// Writes the optimiser's state.
    ///
    /// # Errors
    /// [`DeskError`] if the file cannot be written.
    pub fn save_optimiser(&mut self, path: &Path) -> Result<(), DeskError> {
        let steps = self.steps;
        let moments: Vec<_> = self.moments_mut().map(|(name, moments)| (name, &*moments)).collect();
        parameters::write_moments(path, steps, &moments)
    }

    /// Reads what [`Engine::save_optimiser`] wrote.
    ///
    /// # Errors
    /// [`DeskError::Run`] if the file is damaged or another network's.
    pub fn load_optimiser(&mut self, path: &Path) -> Result<(), DeskError> {
        self.steps = parameters::read_moments(path, self.moments_mut())?;
        Ok(())
    }

    /// Adam's averages, by name.
    fn moments_mut(&mut self) -> impl Iterator<Item = (String, &mut Vec<f32>)> {
        let masks = self
            .forward
            .iter_mut()
            .chain(&mut self.reverse)
            .flat_map(|layer| layer.kernel.moments_mut().chain(layer.scalars.moments_mut()));
        let encoder = self.encoder.iter_mut().flat_map(Kernel::moments_mut);
        let decoder = self.decoder.iter_mut().flat_map(|layer| {
            let skip = layer.skip.iter_mut().flat_map(Kernel::moments_mut);
            skip.chain(layer.deep.moments_mut())
        });
        encoder.chain(masks).chain(decoder)
    }
}
