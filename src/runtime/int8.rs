//! The network in integers: a fixed sequence of convolutions over planes that are allocated once.
//!
//! Not a tract graph: tract allocates a tensor a node for every frame, and computes all of it;
//! here the decoder computes only the pixels that a hole's pixels need, in place, from weights
//! that lie in the map as the kernels read them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::alike::{Alike, Sight};
use crate::file::{Int8Place, Model};
use crate::kernels::int8::{Convolution, Kept, Kernel, Pixels, Plane};
use crate::kernels::workers;
use crate::net::{Conv, INPUT_CHANNELS, LANES, Packing, REVERSE_LAYERS, padded, window};

/// How far around a hole known pixels of the output are computed too, unless asked for otherwise:
/// those that share a chroma sample with a hole's.
pub const RIM: usize = 2;

/// What one step of the network took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepTime {
    /// Mask or frame stage.
    pub stage: &'static str,
    /// The layer, or what else is done.
    pub name: String,
    /// Multiply-adds that were done, padding included.
    pub products: usize,
    /// How long it took.
    pub time: Duration,
}

/// A layer: its form, and where its parts lie in the file.
#[derive(Debug)]
struct Layer {
    packing: Packing,
    parts: Vec<Int8Place>,
    /// Of each part, where weights are gone.
    kept: Vec<Option<Kept>>,
    /// Of each part, see [`Kernel::weight_sums`].
    sums: Vec<Vec<[i32; LANES]>>,
}

impl Layer {
    /// `width` is that of its inputs, pixels.
    fn new(model: &Model, name: &str, packing: Packing, kernel: Kernel, width: usize) -> Self {
        let parts: Vec<Int8Place> =
            (0..packing.parts).map(|part| model.int8_place(name, &packing, part)).collect();
        let row_bytes = (width + 2) * packing.stored_channels;
        let kept = |place: &Int8Place| {
            let flags = model.int8_part(place).kept?;
            let form = (packing.sources, packing.side, packing.groups());
            Some(Kept::new(flags, packing.blocks(), form, row_bytes))
        };
        let kept: Vec<Option<Kept>> = parts.iter().map(kept).collect();
        let sums = |(place, kept): (&Int8Place, &Option<Kept>)| {
            let weights = model.int8_part(place).weights;
            kernel.weight_sums(weights, kept.as_ref(), packing.blocks())
        };
        let sums = parts.iter().zip(&kept).map(sums).collect();
        Self { packing, parts, kept, sums }
    }

    /// Multiply-adds at so many pixels.
    fn products(&self, model: &Model, pixels: &Pixels) -> usize {
        let weights = self.parts.iter().map(|part| model.int8_part(part).weights.len());
        weights.sum::<usize>() * pixels.count()
    }

    fn convolution<'a>(&'a self, model: &'a Model, part: usize) -> Convolution<'a> {
        let (sums, kept) = (&self.sums[part], self.kept[part].as_ref());
        let part = model.int8_part(&self.parts[part]);
        Convolution {
            sums,
            sources: self.packing.sources,
            rows: self.packing.side,
            columns: self.packing.side,
            channels: self.packing.stored_channels,
            weights: part.weights,
            kept,
            offsets: part.offsets,
            multipliers: part.multipliers,
            zeros: part.zeros,
        }
    }

    /// What stands for 0 in a pixel of this layer's features.
    fn zero(&self, model: &Model) -> Vec<u8> {
        let zeros = model.int8_part(&self.parts[0]).zeros.as_flattened();
        // Whole numbers from 0 to 255, as was checked when the file was opened.
        zeros.iter().map(|&zero| zero as u8).collect()
    }

    /// A plane for this layer's features.
    fn plane(&self, model: &Model, height: usize, width: usize) -> Plane {
        Plane::new(height, width, &self.zero(model))
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

impl Branch {
    /// With planes for updated masks, level by level, which only this reads.
    fn run(
        &mut self,
        updates: &mut [Plane],
        model: &Model,
        kernel: Kernel,
        masking: &[(Pixels, Vec<Alike>)],
        laps: &mut Option<Vec<Instant>>,
    ) {
        for plane in &mut *updates {
            plane.set_border(&vec![0; plane.channels()]);
        }
        let levels = self.layers.iter().zip(&mut self.maps).zip(masking);
        for (index, (((layer, attention), map), (pixels, alike))) in levels.enumerate() {
            let (below, from) = updates.split_at_mut(index);
            let input = below.last().unwrap_or(&self.start);
            let convolution = layer.convolution(model, 0);
            let table = model.attention_table(attention);
            kernel.attend(&convolution, input, table, map, &mut from[0], pixels);
            for Alike { first, row, columns } in alike {
                map.repeat(*first, *row, columns.clone());
                from[0].repeat(*first, *row, columns.clone());
            }
            lap(laps);
        }
    }
}

/// Both stages of one network at one size.
#[derive(Debug)]
pub(super) struct Int8Session {
    model: Arc<Model>,
    kernel: Kernel,
    width: usize,
    forward: Branch,
    reverse: Branch,
    input: Plane,
    encoder: Vec<Layer>,
    decoder: Vec<(Layer, usize)>,
    /// `e_1 .. e_7`.
    encoded: Vec<Plane>,
    /// `d_1 .. d_6`.
    decoded: Vec<Plane>,
    /// All pixels of each level, 1 first, read by stride 2.
    halving: Vec<Pixels>,
    /// Pixels of each encoder layer that a hole needs; `None`: all. In small pictures every hole
    /// needs all, since the deepest layer sees everything.
    encoding: Vec<Option<Pixels>>,
    /// How far around holes known pixels are computed; `None`: all are, whatever the mask.
    pub rim: Option<usize>,
    /// Pixels of each level of both mask branches to compute, and those like one of them.
    masking: Vec<(Pixels, Vec<Alike>)>,
    /// Pixels of each decoder layer to compute, in its inputs' resolution, the picture's first.
    doubling: Vec<Pixels>,
    /// When each step ended, while somebody wants to know.
    laps: Option<Vec<Instant>>,
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
                    let (packing, width) = (Packing::mask(&conv), width >> (conv.level - 1));
                    let layer = Layer::new(model, &conv.weight, packing, kernel, width);
                    (layer, conv.attention.unwrap_or_default())
                })
                .collect(),
        };
        let encoder: Vec<Layer> = network
            .encoder()
            .iter()
            .map(|conv| {
                let (packing, width) = (Packing::encoder(conv), width >> (conv.level - 1));
                Layer::new(model, &conv.weight, packing, kernel, width)
            })
            .collect();
        let decoder: Vec<(Layer, usize)> = network
            .decoder()
            .iter()
            .map(|deconv| {
                let (packing, width) = (Packing::decoder(deconv), width >> (deconv.level + 1));
                (Layer::new(model, &deconv.weight, packing, kernel, width), deconv.level)
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
        Self {
            model: Arc::clone(model),
            kernel,
            width,
            forward: branch(network.forward()),
            reverse: branch(network.reverse()),
            input: Plane::new(height, width, &[0; INPUT_CHANNELS]),
            halving: network
                .encoder()
                .iter()
                .map(|conv| {
                    let channels = Packing::encoder(conv).stored_channels;
                    let (height, width) = at(conv.level);
                    let all = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
                    halving(all, width, channels, padded(conv.output))
                })
                .collect(),
            encoding: Vec::new(),
            rim: Some(RIM),
            masking: Vec::new(),
            doubling: Vec::new(),
            laps: None,
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
    ///
    /// Its updated masks have the shapes of the features, and lie in their planes: the frame stage reads
    /// only what it computed itself, and the borders, which are set again.
    pub fn set_mask(&mut self, holes: &[u8], threads: usize) {
        let (width, rim) = (self.width, self.rim);
        let kernel = self.kernel.on_threads(threads);
        let Self { model, forward, reverse, input, encoded, decoded, laps, .. } = self;
        let (masking, encoding, doubling) =
            (&mut self.masking, &mut self.encoding, &mut self.doubling);
        let mut spread = |laps: &mut _| {
            let starts = (&mut forward.start, &mut reverse.start);
            spread_mask(holes, width, starts, input);
            *masking = find_alike(holes, width, rim.is_none(), encoded);
            lap(laps);
        };
        let mut plan = |laps: &mut _| {
            let needed = holes.iter().map(|&hole| u8::from(hole != 0 || rim.is_none())).collect();
            let reads;
            (*doubling, reads) = plan_decoder(needed, rim.unwrap_or(0), encoded, decoded);
            *encoding = plan_encoder(reads, encoded);
            lap(laps);
        };
        if threads > 1 && laps.is_none() {
            workers::join(|| spread(&mut None), || plan(&mut None));
        } else {
            spread(laps);
            plan(laps);
        }
        let masking = &self.masking;
        if threads == 2 && laps.is_none() {
            // A branch each: their layers are too small to be handed over one by one.
            workers::join(
                || forward.run(encoded, model, self.kernel, masking, &mut None),
                || reverse.run(decoded, model, self.kernel, masking, &mut None),
            );
        } else {
            forward.run(encoded, model, kernel, masking, laps);
            reverse.run(decoded, model, kernel, masking, laps);
        }
        for (plane, layer) in encoded.iter_mut().zip(&self.encoder) {
            plane.set_border(&layer.zero(model));
        }
        for (layer, level) in self.decoder.iter().filter(|(_, level)| *level > 0) {
            decoded[level - 1].set_border(&layer.zero(model));
        }
    }

    fn encoder_pixels(&self, index: usize) -> &Pixels {
        self.encoding[index].as_ref().unwrap_or(&self.halving[index])
    }

    /// Runs the frame stage on RGB `picture`; of `output`, the pixels of the holes and of their
    /// rim are written, and what lies in the same 2x2.
    pub fn run(&mut self, picture: &[u8], output: &mut [u8], threads: usize) {
        let kernel = self.kernel.on_threads(threads);
        let (half, row_bytes, width) =
            (self.input.height() / 2, self.input.row_bytes(), self.width);
        let (upper, lower) = picture.split_at(half * 3 * width);
        let (above, below) = self.input.bytes_mut().split_at_mut((1 + half) * row_bytes);
        let copy = |rows: &mut [u8], picture: &[u8]| {
            let rows = rows.chunks_exact_mut(row_bytes);
            for (row, pixels) in rows.zip(picture.chunks_exact(3 * width)) {
                let inputs = row[INPUT_CHANNELS..].as_chunks_mut::<INPUT_CHANNELS>().0;
                kernel.copy_known(pixels.as_chunks::<3>().0, &mut inputs[..width]);
            }
        };
        // With one thread, one after the other.
        workers::join(|| copy(&mut above[row_bytes..], upper), || copy(below, lower));
        lap(&mut self.laps);
        let model = &self.model;
        for (index, layer) in self.encoder.iter().enumerate() {
            let (below, from) = self.encoded.split_at_mut(index);
            let input = below.last().unwrap_or(&self.input);
            let convolution = layer.convolution(model, 0);
            let pixels = self.encoding[index].as_ref().unwrap_or(&self.halving[index]);
            let map = &self.forward.maps[index];
            kernel.modulate(&[(convolution, (0, 0))], &[input], map, &mut from[0], pixels);
            lap(&mut self.laps);
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
                lap(&mut self.laps);
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
            lap(&mut self.laps);
        }
    }

    /// Both stages, with a clock at every step.
    pub fn profile(
        &mut self,
        holes: &[u8],
        picture: &[u8],
        output: &mut [u8],
        threads: usize,
    ) -> Vec<StepTime> {
        self.laps = Some(vec![Instant::now()]);
        self.set_mask(holes, threads);
        self.run(picture, output, threads);
        let laps = self.laps.take().unwrap_or_default();
        let mut steps = vec![
            ("mask", "spread the mask".to_owned(), 0),
            ("mask", "plan the decoder".to_owned(), 0),
        ];
        for (branch, title) in [(&self.forward, "forward"), (&self.reverse, "reverse")] {
            for (level, (layer, _)) in branch.layers.iter().enumerate() {
                let products = layer.products(&self.model, &self.masking[level].0);
                steps.push(("mask", format!("{title} {}", level + 1), products));
            }
        }
        steps.push(("frame", "copy the picture".to_owned(), 0));
        for (level, layer) in self.encoder.iter().enumerate() {
            let products = layer.products(&self.model, self.encoder_pixels(level));
            steps.push(("frame", format!("encoder {}", level + 1), products));
        }
        for (layer, level) in &self.decoder {
            let products = layer.products(&self.model, &self.doubling[*level]);
            steps.push(("frame", format!("decoder {level}"), products));
        }
        let times = laps.windows(2).map(|pair| pair[1] - pair[0]);
        let steps = steps.into_iter().zip(times);
        steps
            .map(|((stage, name, products), time)| StepTime { stage, name, products, time })
            .collect()
    }
}

/// Puts a mask where it is read: at the start of both branches, and into the frame stage's input.
fn spread_mask(holes: &[u8], width: usize, starts: (&mut Plane, &mut Plane), input: &mut Plane) {
    let known = |&hole: &u8| if hole == 0 { u8::MAX } else { 0 };
    for (y, holes) in holes.chunks_exact(width).enumerate() {
        let row = starts.0.row_mut(y).iter_mut().zip(holes);
        row.for_each(|(pixel, hole)| *pixel = known(hole));
        let row = starts.1.row_mut(y).iter_mut().zip(holes);
        row.for_each(|(pixel, hole)| *pixel = !known(hole));
        let inputs = input.row_mut(y).as_chunks_mut::<INPUT_CHANNELS>().0;
        inputs.iter_mut().zip(holes).for_each(|(pixel, hole)| *pixel = [0, 0, 0, known(hole)]);
    }
}

/// Which pixels of the mask branches' levels, whose planes are `levels`, are to be computed:
/// `everything`, or what is not like another.
fn find_alike(
    holes: &[u8],
    width: usize,
    everything: bool,
    levels: &[Plane],
) -> Vec<(Pixels, Vec<Alike>)> {
    let mut masking = Vec::with_capacity(levels.len());
    let mut sight = Sight::new(holes, width);
    // The mask itself has one channel.
    let mut channels = 1;
    for level in levels {
        let width = level.width();
        sight = sight.halved();
        let (computed, alike) = match everything {
            true => {
                let rows = 0..level.height();
                (rows.flat_map(|y| (0..width).map(move |x| (y, x))).collect(), Vec::new())
            }
            false => sight.split(),
        };
        masking.push((halving(computed, width, channels, level.channels()), alike));
        channels = level.channels();
    }
    masking
}

/// Which pixels of each decoder layer reach one that is `needed` (1) or within `rim` of one, the
/// picture's first; and what those read of each level of the encoder and decoder, 1 first.
fn plan_decoder(
    mut needed: Vec<u8>,
    rim: usize,
    encoded: &[Plane],
    decoded: &[Plane],
) -> (Vec<Pixels>, Vec<Vec<u8>>) {
    let (mut doubling, mut reads) = (Vec::new(), Vec::new());
    for (level, input) in encoded.iter().enumerate() {
        let width = input.width();
        needed = halved(&needed, 2 * width);
        if level == 0 {
            // Whole 2x2 pixels are computed.
            needed = dilated(&needed, width, rim.div_ceil(2));
        }
        let rows = needed.chunks_exact(width).enumerate();
        let places = rows.flat_map(|(y, row)| {
            let set = row.iter().enumerate().filter(|(_, needed)| **needed != 0);
            set.map(move |(x, _)| (y, x))
        });
        let (row_bytes, channels) = (input.row_bytes(), input.channels());
        let read = |y: usize, x: usize| y * row_bytes + x * channels;
        doubling.push(match level.checked_sub(1) {
            None => Pixels::new(places, read, |y, x| 6 * (y * 2 * width + x)),
            Some(index) => {
                let output = &decoded[index];
                let (row_bytes, channels) = (output.row_bytes(), output.channels());
                Pixels::new(places, read, |y, x| (2 * y + 1) * row_bytes + (2 * x + 1) * channels)
            }
        });
        needed = dilated(&needed, width, 1);
        reads.push(needed.clone());
    }
    (doubling, reads)
}

/// Which pixels of each encoder layer the decoder needs, from what it reads of each level, 1 first;
/// `None`: all.
fn plan_encoder(mut reads: Vec<Vec<u8>>, encoded: &[Plane]) -> Vec<Option<Pixels>> {
    let mut encoding: Vec<Option<Pixels>> = encoded.iter().map(|_| None).collect();
    for index in (0..reads.len()).rev() {
        // What all of a level needs is all of those below.
        if !reads[index].contains(&0) {
            break;
        }
        let output = &encoded[index];
        let (height, width) = (output.height(), output.width());
        let set = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let set: Vec<_> = set.filter(|(y, x)| reads[index][y * width + x] != 0).collect();
        if let Some(below) = index.checked_sub(1) {
            for &(y, x) in &set {
                for row in window(y, 2 * height) {
                    reads[below][row * 2 * width..][window(x, 2 * width)].fill(1);
                }
            }
        }
        let channels = index.checked_sub(1).map_or(INPUT_CHANNELS, |at| encoded[at].channels());
        encoding[index] = Some(halving(set, width, channels, output.channels()));
    }
    encoding
}

fn lap(laps: &mut Option<Vec<Instant>>) {
    if let Some(laps) = laps {
        laps.push(Instant::now());
    }
}

/// Pixels (row, column) of a level `width` pixels wide, read by stride 2 from the level below, which
/// has `channels`.
fn halving(
    places: impl IntoIterator<Item = (usize, usize)>,
    width: usize,
    channels: usize,
    output_channels: usize,
) -> Pixels {
    let (row_bytes, output_row) = ((2 * width + 2) * channels, (width + 2) * output_channels);
    Pixels::new(
        places,
        |y, x| 2 * (y * row_bytes + x * channels),
        |y, x| (y + 1) * output_row + (x + 1) * output_channels,
    )
}

/// Of each 2x2 pixels, whether any is set (1) or none (0).
fn halved(set: &[u8], width: usize) -> Vec<u8> {
    let pairs = set.chunks_exact(2 * width).map(|rows| rows.split_at(width));
    pairs
        .flat_map(|(above, below)| {
            let both = above.as_chunks::<2>().0.iter().zip(below.as_chunks::<2>().0);
            both.map(|(a, b)| a[0] | a[1] | b[0] | b[1])
        })
        .collect()
}

/// Every pixel within `reach` of one that is set, along both axes. Whole rows at a time, since
/// this runs for every mask and would otherwise cost as much as the network.
fn dilated(set: &[u8], width: usize, reach: usize) -> Vec<u8> {
    let unite = |into: &mut [u8], from: &[u8]| {
        into.iter_mut().zip(from).for_each(|(into, from)| *into |= from);
    };
    let mut across = set.to_vec();
    for (row, wide) in set.chunks_exact(width).zip(across.chunks_exact_mut(width)) {
        for shift in 1..=reach.min(width - 1) {
            unite(&mut wide[shift..], &row[..width - shift]);
            unite(&mut wide[..width - shift], &row[shift..]);
        }
    }
    let mut both = across.clone();
    for bytes in (1..=reach).map(|rows| rows * width).take_while(|&bytes| bytes < across.len()) {
        unite(&mut both[bytes..], &across[..across.len() - bytes]);
        unite(&mut both[..across.len() - bytes], &across[bytes..]);
    }
    both
}

#[cfg(test)]
#[path = "int8_tests.rs"]
mod tests;
