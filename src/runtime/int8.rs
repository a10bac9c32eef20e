//! The network in integers: a fixed sequence of convolutions over planes that are allocated once.
//!
//! Not a tract graph: tract allocates a tensor a node for every frame, and computes all of it;
//! here the decoder computes only the pixels that a hole's pixels need, in place, from weights
//! that lie in the map as the kernels read them.

use std::sync::Arc;

use crate::file::{Int8Place, Model};
use crate::kernels::int8::{Convolution, Kernel, Pixels, Plane};
use crate::net::{Conv, ENCODER_LAYERS, INPUT_CHANNELS, LANES, Packing, REVERSE_LAYERS, padded};

/// How far around a hole known pixels of the output are computed too: the soft seam looks at two
/// pixels, and scaling the picture up to a region at two more on each side of those.
pub const RIM: usize = 6;

/// A layer: its form, and where its parts lie in the file.
#[derive(Debug)]
struct Layer {
    packing: Packing,
    parts: Vec<Int8Place>,
    /// Of each part, see [`Kernel::weight_sums`].
    sums: Vec<Vec<[i32; LANES]>>,
}

impl Layer {
    fn new(model: &Model, name: &str, packing: Packing, kernel: Kernel) -> Self {
        let parts: Vec<Int8Place> =
            (0..packing.parts).map(|part| model.int8_place(name, &packing, part)).collect();
        let weights = parts.iter().map(|part| model.int8_part(part).weights);
        let sums = weights.map(|weights| kernel.weight_sums(weights, packing.blocks())).collect();
        Self { packing, parts, sums }
    }

    fn convolution<'a>(&'a self, model: &'a Model, part: usize) -> Convolution<'a> {
        let sums = &self.sums[part];
        let part = model.int8_part(&self.parts[part]);
        Convolution {
            sums,
            sources: self.packing.sources,
            rows: self.packing.side,
            columns: self.packing.side,
            channels: self.packing.stored_channels,
            weights: part.weights,
            offsets: part.offsets,
            multipliers: part.multipliers,
            zeros: part.zeros,
        }
    }

    /// A plane for this layer's features: what stands for 0 everywhere.
    fn plane(&self, model: &Model, height: usize, width: usize) -> Plane {
        let zeros = model.int8_part(&self.parts[0]).zeros.as_flattened();
        // Whole numbers from 0 to 255, as was checked when the file was opened.
        let pixel: Vec<u8> = zeros.iter().map(|&zero| zero as u8).collect();
        Plane::new(height, width, &pixel)
    }
}

/// One branch of the mask stage.
#[derive(Debug)]
struct Branch {
    /// The mask at full size, one byte a pixel: 255 where the branch's mask is 1.
    start: Plane,
    layers: Vec<(Layer, String)>,
    /// Attention, level by level.
    maps: Vec<Plane>,
}

/// Both stages of one network at one size.
#[derive(Debug)]
pub(super) struct Int8Session {
    model: Arc<Model>,
    kernel: Kernel,
    width: usize,
    height: usize,
    forward: Branch,
    reverse: Branch,
    /// Updated masks, level by level; the branches take turns.
    updates: Vec<Plane>,
    input: Plane,
    encoder: Vec<Layer>,
    decoder: Vec<(Layer, usize)>,
    /// `e_1 .. e_7`.
    encoded: Vec<Plane>,
    /// `d_1 .. d_6`.
    decoded: Vec<Plane>,
    /// All pixels of level 1, read by stride 2 from a plane of one channel.
    mask_halving: Pixels,
    /// All pixels of each level, 1 first, read by stride 2.
    halving: Vec<Pixels>,
    /// Whether the decoder computes all pixels, whatever the mask.
    pub everything: bool,
    /// Pixels of each decoder layer to compute, in its inputs' resolution, the picture's first.
    doubling: Vec<Pixels>,
}

impl Int8Session {
    pub fn new(model: &Arc<Model>, width: usize, height: usize, kernel: Kernel) -> Self {
        let network = model.network();
        let at = |level: usize| (height >> level, width >> level);
        let blank = |level: usize, channels: usize| {
            let (height, width) = at(level);
            Plane::new(height, width, &vec![0; padded(channels)])
        };
        let branch = |convs: Vec<Conv>| Branch {
            start: Plane::new(height, width, &[0]),
            maps: convs.iter().map(|conv| blank(conv.level, conv.output)).collect(),
            layers: convs
                .into_iter()
                .map(|conv| {
                    let layer = Layer::new(model, &conv.weight, Packing::mask(&conv), kernel);
                    (layer, conv.attention.unwrap_or_default())
                })
                .collect(),
        };
        let encoder: Vec<Layer> = network
            .encoder()
            .iter()
            .map(|conv| Layer::new(model, &conv.weight, Packing::encoder(conv), kernel))
            .collect();
        let decoder: Vec<(Layer, usize)> = network
            .decoder()
            .iter()
            .map(|deconv| {
                let packing = Packing::decoder(deconv);
                (Layer::new(model, &deconv.weight, packing, kernel), deconv.level)
            })
            .collect();
        let encoded: Vec<Plane> = (1..)
            .zip(&encoder)
            .map(|(level, layer)| layer.plane(model, height >> level, width >> level))
            .collect();
        let mut decoded: Vec<Plane> = decoder
            .iter()
            .filter(|(_, level)| *level > 0)
            .map(|(layer, level)| layer.plane(model, height >> level, width >> level))
            .collect();
        decoded.reverse();
        let updates = network.encoder().iter().map(|c| blank(c.level, c.output)).collect();
        Self {
            model: Arc::clone(model),
            kernel,
            width,
            height,
            forward: branch(network.forward()),
            reverse: branch(network.reverse()),
            updates,
            input: Plane::new(height, width, &[0; INPUT_CHANNELS]),
            mask_halving: halving(1, 1, width, height, padded(network.base())),
            halving: network
                .encoder()
                .iter()
                .map(|conv| {
                    let channels = Packing::encoder(conv).stored_channels;
                    halving(conv.level, channels, width, height, padded(conv.output))
                })
                .collect(),
            everything: false,
            doubling: Vec::new(),
            encoder,
            decoder,
            encoded,
            decoded,
        }
    }

    /// `e_1 .. e_7`, then `d_1 .. d_6`.
    pub fn features(&self) -> impl Iterator<Item = &Plane> {
        self.encoded.iter().chain(&self.decoded)
    }

    /// Runs the mask stage: `holes` is one byte a pixel, 0 = known.
    pub fn set_mask(&mut self, holes: &[u8], threads: usize) {
        let kernel = self.kernel.on_threads(threads);
        for (y, holes) in holes.chunks_exact(self.width).enumerate() {
            let rows = [self.forward.start.row_mut(y), self.reverse.start.row_mut(y)];
            let [known_row, hole_row] = rows;
            let input = self.input.row_mut(y).as_chunks_mut::<INPUT_CHANNELS>().0;
            for (x, &hole) in holes.iter().enumerate() {
                let known = if hole == 0 { 255 } else { 0 };
                (known_row[x], hole_row[x], input[x]) = (known, 255 - known, [0, 0, 0, known]);
            }
        }
        let model = &self.model;
        for branch in [&mut self.forward, &mut self.reverse] {
            for (index, ((layer, attention), map)) in
                branch.layers.iter().zip(&mut branch.maps).enumerate()
            {
                let (below, from) = self.updates.split_at_mut(index);
                let input = below.last().unwrap_or(&branch.start);
                let convolution = layer.convolution(model, 0);
                let tables = model.attention_tables(attention);
                let pixels = match index {
                    0 => &self.mask_halving,
                    _ => &self.halving[index],
                };
                kernel.attend(&convolution, input, tables, map, &mut from[0], pixels);
            }
        }
        self.plan(holes);
    }

    /// Which pixels of each decoder layer reach a hole's pixel or its rim.
    fn plan(&mut self, holes: &[u8]) {
        let holes: Vec<bool> = holes.iter().map(|&hole| hole != 0 || self.everything).collect();
        let mut needed = dilated(&holes, self.width, RIM);
        self.doubling.clear();
        for level in 0..ENCODER_LAYERS {
            let (height, width) = (self.height >> (level + 1), self.width >> (level + 1));
            let mut halved = vec![false; height * width];
            for (index, &needed) in needed.iter().enumerate() {
                let (y, x) = (index / (2 * width), index % (2 * width));
                halved[y / 2 * width + x / 2] |= needed;
            }
            let places = (0..height * width)
                .filter(|&index| halved[index])
                .map(|index| (index / width, index % width));
            let input = &self.encoded[level];
            let (row_bytes, channels) = (input.row_bytes(), input.channels());
            let read = |y: usize, x: usize| y * row_bytes + x * channels;
            let picture_row = 3 * self.width;
            let pixels = match level.checked_sub(1) {
                None => Pixels::new(places, read, |y, x| 2 * y * picture_row + 6 * x),
                Some(index) => {
                    let output = &self.decoded[index];
                    let (row_bytes, channels) = (output.row_bytes(), output.channels());
                    Pixels::new(places, read, |y, x| {
                        (2 * y + 1) * row_bytes + (2 * x + 1) * channels
                    })
                }
            };
            self.doubling.push(pixels);
            needed = dilated(&halved, width, 1);
        }
    }

    /// Runs the frame stage on RGB `picture`; of `output`, the pixels of the holes and of their
    /// rim are written, and what lies in the same 2x2.
    pub fn run(&mut self, picture: &[u8], output: &mut [u8], threads: usize) {
        let kernel = self.kernel.on_threads(threads);
        for (y, pixels) in picture.chunks_exact(3 * self.width).enumerate() {
            let input = self.input.row_mut(y).as_chunks_mut::<INPUT_CHANNELS>().0;
            for (input, pixel) in input.iter_mut().zip(pixels.as_chunks::<3>().0) {
                let known = input[3];
                *input = [pixel[0] & known, pixel[1] & known, pixel[2] & known, known];
            }
        }
        let model = &self.model;
        for (index, layer) in self.encoder.iter().enumerate() {
            let (below, from) = self.encoded.split_at_mut(index);
            let input = below.last().unwrap_or(&self.input);
            let convolution = layer.convolution(model, 0);
            let (map, pixels) = (&self.forward.maps[index], &self.halving[index]);
            kernel.modulate(&[(convolution, (0, 0))], &[input], map, &mut from[0], pixels);
        }
        for (layer, level) in &self.decoder {
            let pixels = &self.doubling[*level];
            let (below, from) = self.decoded.split_at_mut(*level);
            let deepest = *level == REVERSE_LAYERS;
            let deep = if deepest { &self.encoded[*level] } else { &from[0] };
            let both = [&self.encoded[*level], deep];
            let inputs = if deepest { &both[..1] } else { &both[..] };
            let part = |part: usize| layer.convolution(model, part);
            let Some(target) = below.last_mut() else {
                let table = model.picture_table();
                kernel.picture(&part(0), inputs, table, output, 3 * self.width, pixels);
                continue;
            };
            let map = &self.reverse.maps[*level - 1];
            let phases: [_; 4] = std::array::from_fn(|phase| {
                // Phase (row, column) reads from that row and column on, and writes to it.
                let (row, column) = (phase / 2, phase % 2);
                let shift = |plane: &Plane| row * plane.row_bytes() + column * plane.channels();
                (part(phase), (shift(inputs[0]), shift(target)))
            });
            kernel.modulate(&phases, inputs, map, target, pixels);
        }
    }
}

/// All pixels of a level, read by stride 2 from the level below, which has `channels`.
fn halving(
    level: usize,
    channels: usize,
    width: usize,
    height: usize,
    output_channels: usize,
) -> Pixels {
    let (height, width) = (height >> level, width >> level);
    let (row_bytes, output_row) = ((2 * width + 2) * channels, (width + 2) * output_channels);
    Pixels::new(
        (0..height).flat_map(|y| (0..width).map(move |x| (y, x))),
        |y, x| 2 * (y * row_bytes + x * channels),
        |y, x| (y + 1) * output_row + (x + 1) * output_channels,
    )
}

/// Every pixel within `reach` of one that is set, along both axes.
fn dilated(set: &[bool], width: usize, reach: usize) -> Vec<bool> {
    let height = set.len() / width;
    let mut across = vec![false; set.len()];
    let mut both = vec![false; set.len()];
    for (y, row) in set.chunks_exact(width).enumerate() {
        for x in (0..width).filter(|&x| row[x]) {
            let (begin, end) = (x.saturating_sub(reach), (x + reach + 1).min(width));
            across[y * width + begin..y * width + end].fill(true);
        }
    }
    for y in 0..height {
        for near in y.saturating_sub(reach)..(y + reach + 1).min(height) {
            for x in 0..width {
                both[y * width + x] |= across[near * width + x];
            }
        }
    }
    both
}

#[cfg(test)]
#[path = "int8_tests.rs"]
mod tests;
