//! The layers of an int8 file, as the integer kernels read them.
//!
//! Every layer is one or four convolutions in the kernels' general form ([`Packing`]), its
//! channels padded to whole lanes with zeros. A layer has four tensors: the weights,
//! `NAME.offsets`, `NAME.multipliers` and `NAME.zeros`; a mask layer has its table as well,
//! the network one for its picture. A layer of which groups of weights are all zero, pruned, has
//! `NAME.kept`, which says where weights are, and those alone.

use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::tensor::Dtype;

use super::layout::{Stored, phases};
use super::{FileError, Model, Precision, Values, Weights};
use crate::net::{Conv, Deconv, GROUP, KERNEL, LANES, Network, PAIR, Packing, TABLE, padded};

/// Name of the table that turns the last layer's sums into levels.
const PICTURE_TABLE: &str = "picture.table";
/// Multipliers and zeros must be below this, so that no epilogue overflows.
const LIMIT: f32 = 1e6;

/// Shape of a layer's weights.
fn weights_shape(packing: &Packing) -> Vec<usize> {
    let groups = packing.groups();
    vec![packing.parts, packing.blocks(), packing.sources, packing.side, groups, LANES, GROUP]
}

/// The name of the flags of a layer's weights.
pub(super) fn kept_name(layer: &str) -> String {
    format!("{layer}.kept")
}

/// Groups of inputs of one pair of blocks.
fn groups_of_pair(packing: &Packing) -> usize {
    packing.sources * packing.side * packing.groups()
}

/// Shape of a layer's flags: 1 where a group of inputs has weights for a pair of blocks, else 0.
fn kept_shape(packing: &Packing) -> Vec<usize> {
    let pairs = packing.blocks().div_ceil(PAIR);
    vec![packing.parts, pairs, packing.sources, packing.side, packing.groups()]
}

/// How many blocks of weights each pair of a part is for.
fn blocks_of_pairs(packing: &Packing) -> impl Iterator<Item = usize> {
    let blocks = packing.blocks();
    (0..blocks.div_ceil(PAIR)).map(move |pair| (blocks - pair * PAIR).min(PAIR))
}

/// Groups of weights, [`LANES`] times [`GROUP`] bytes each, that the flags of one part count.
fn kept_groups(packing: &Packing, flags: &[u8]) -> usize {
    let pairs = flags.chunks_exact(groups_of_pair(packing)).zip(blocks_of_pairs(packing));
    pairs.map(|(flags, blocks)| blocks * flags.iter().filter(|&&flag| flag != 0).count()).sum()
}

/// Weights as [`pack`] gives them without the groups that are zero for a pair of blocks, and the
/// flags of those that are left; `None` where that would save nothing.
fn prune(packing: &Packing, packed: &[i8]) -> Option<(Vec<i8>, Vec<u8>)> {
    let (mut left, mut flags) = (Vec::new(), Vec::new());
    let (of_pair, group_bytes) = (groups_of_pair(packing), LANES * GROUP);
    for part in packed.chunks_exact(packed.len() / packing.parts) {
        let mut rest = part;
        for blocks in blocks_of_pairs(packing) {
            let pair;
            (pair, rest) = rest.split_at(blocks * of_pair * group_bytes);
            let group = |block: usize, at: usize| {
                &pair[(block * of_pair + at) * group_bytes..][..group_bytes]
            };
            let kept: Vec<usize> = (0..of_pair)
                .filter(|&at| (0..blocks).any(|block| group(block, at).iter().any(|&w| w != 0)))
                .collect();
            let begin = flags.len();
            flags.resize(begin + of_pair, 0);
            kept.iter().for_each(|at| flags[begin + at] = 1);
            for block in 0..blocks {
                kept.iter().for_each(|&at| left.extend_from_slice(group(block, at)));
            }
        }
    }
    (left.len() + flags.len() < packed.len()).then_some((left, flags))
}

/// Weights `[parts, outputs, sources, side, side, channels]` in the order of the kernels: groups
/// of four inputs of sixteen outputs.
fn pack(packing: &Packing, weights: &[i8]) -> Vec<i8> {
    let groups = packing.groups();
    let inner = packing.sources * packing.side;
    let mut packed = vec![0; weights_shape(packing).iter().product()];
    for (index, &weight) in weights.iter().enumerate() {
        let (rest, channel) = (index / packing.channels, index % packing.channels);
        let (rest, column) = (rest / packing.side, rest % packing.side);
        // What is left is source and row within part and output.
        let (part, output) = (rest / inner / packing.outputs, rest / inner % packing.outputs);
        let block = part * packing.blocks() + output / LANES;
        let at = column * packing.stored_channels + channel;
        let group = (block * inner + rest % inner) * groups + at / GROUP;
        packed[(group * LANES + output % LANES) * GROUP + at % GROUP] = weight;
    }
    packed
}

/// One layer in integers.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Layer {
    /// `[parts, outputs, sources, side, side, channels]`.
    pub weights: Vec<i8>,
    /// `[parts, outputs]`: subtracted from the sums.
    pub offsets: Vec<i32>,
    /// `[parts, outputs]`: multiplies them then.
    pub multipliers: Vec<f32>,
    /// `[parts, outputs]`: added at the end. In encoder and decoder, the value that stands for 0.
    pub zeros: Vec<f32>,
}

/// The tensors of an int8 file, by name.
#[derive(Debug, Clone, Default)]
pub struct Int8Tensors(BTreeMap<String, Vec<u8>>);

impl Int8Tensors {
    /// Adds a layer; `name` is its weight's in the table.
    pub fn layer(&mut self, name: &str, packing: &Packing, layer: &Int8Layer) {
        let mut weights = pack(packing, &layer.weights);
        if let Some((left, flags)) = prune(packing, &weights) {
            weights = left;
            self.0.insert(kept_name(name), flags);
        }
        self.0.insert(name.to_owned(), bytemuck::cast_slice(&weights).to_vec());
        let outputs = packing.outputs;
        self.constants(name, "offsets", outputs, &layer.offsets, i32::to_le_bytes);
        self.constants(name, "multipliers", outputs, &layer.multipliers, f32::to_le_bytes);
        self.constants(name, "zeros", outputs, &layer.zeros, f32::to_le_bytes);
    }

    /// One value an output, each part padded to whole lanes by repeating the part's last: padded
    /// outputs have no weights, and any constant in range serves.
    fn constants<T: Copy>(
        &mut self,
        name: &str,
        kind: &str,
        outputs: usize,
        values: &[T],
        bytes: impl Fn(T) -> [u8; 4],
    ) {
        let mut all = Vec::new();
        for part in values.chunks_exact(outputs) {
            let last = part[outputs - 1];
            let padding = std::iter::repeat_n(last, padded(outputs) - outputs);
            all.extend(part.iter().copied().chain(padding).flat_map(&bytes));
        }
        self.0.insert(format!("{name}.{kind}"), all);
    }

    /// Adds the table of a mask layer: pairs of attention and update.
    pub fn attention(&mut self, prefix: &str, attention: &[u8; TABLE], update: &[u8; TABLE]) {
        let pairs = attention.iter().zip(update).flat_map(|(&a, &u)| [a, u]);
        self.0.insert(table_name(prefix), pairs.collect());
    }

    /// Adds the table from the last layer's sums to levels.
    pub fn picture(&mut self, table: &[u8; TABLE]) {
        self.0.insert(PICTURE_TABLE.to_owned(), table.to_vec());
    }

    /// # Panics
    /// If the tensor was not added.
    pub(super) fn bytes(&self, name: &str) -> &[u8] {
        self.0.get(name).unwrap_or_else(|| panic!("{name} was not calibrated"))
    }

    /// Bytes of a layer's weights where groups of them are gone.
    pub(super) fn pruned(&self, name: &str) -> Option<usize> {
        self.0.contains_key(&kept_name(name)).then(|| self.bytes(name).len())
    }
}

fn table_name(prefix: &str) -> String {
    format!("{prefix}.table")
}

/// Every tensor of an int8 file, in the order in which the runtime reads them. `pruned` says of a
/// layer how many bytes of weights are left where some are gone.
pub(super) fn stored(network: Network, pruned: &dyn Fn(&str) -> Option<usize>) -> Vec<Stored> {
    let mut all = Vec::new();
    for (name, packing) in layers(network) {
        let left = pruned(&name);
        let shape = match left {
            Some(bytes) => vec![bytes / (LANES * GROUP), LANES, GROUP],
            None => weights_shape(&packing),
        };
        all.push(Stored { name: name.clone(), shape, dtype: Dtype::I8 });
        if left.is_some() {
            let (name, shape) = (kept_name(&name), kept_shape(&packing));
            all.push(Stored { name, shape, dtype: Dtype::U8 });
        }
        for (kind, dtype) in
            [("offsets", Dtype::I32), ("multipliers", Dtype::F32), ("zeros", Dtype::F32)]
        {
            let shape = vec![packing.parts, packing.blocks(), LANES];
            all.push(Stored { name: format!("{name}.{kind}"), shape, dtype });
        }
    }
    for conv in [network.forward(), network.reverse()].concat() {
        let name = table_name(&conv.attention.unwrap_or_default());
        all.push(Stored { name, shape: vec![TABLE, 2], dtype: Dtype::U8 });
    }
    let name = PICTURE_TABLE.to_owned();
    all.push(Stored { name, shape: vec![TABLE], dtype: Dtype::U8 });
    all
}

/// The layers by the names of their weights, in the order in which the runtime reads them.
fn layers(network: Network) -> Vec<(String, Packing)> {
    let masks = [network.forward(), network.reverse()].concat().into_iter();
    let masks = masks.map(|conv| (conv.weight.clone(), Packing::mask(&conv)));
    let encoder = network.encoder().into_iter();
    let encoder = encoder.map(|conv| (conv.weight.clone(), Packing::encoder(&conv)));
    let decoder = network.decoder().into_iter();
    let decoder = decoder.map(|deconv| (deconv.weight.clone(), Packing::decoder(&deconv)));
    masks.chain(encoder).chain(decoder).collect()
}

/// Checks that flags are flags, and count the weights that are there.
pub(super) fn check_kept(model: &Model) -> Result<(), FileError> {
    for (name, packing) in layers(model.network()) {
        let Some(flags) = model.kept(&name) else { continue };
        let wrong = |reason: String| Err(FileError::tensor(kept_name(&name), reason));
        if flags.iter().any(|&flag| flag > 1) {
            return wrong("holds a flag that is neither 0 nor 1".into());
        }
        let of_part = flags.len() / packing.parts;
        let parts = flags.chunks_exact(of_part);
        let counted: usize = parts.map(|flags| kept_groups(&packing, flags)).sum();
        let there = model.place(&name).len() / (LANES * GROUP);
        if counted != there {
            return wrong(format!("counts {counted} groups of weights where there are {there}"));
        }
    }
    Ok(())
}

/// Checks that no constant can make an epilogue overflow, and that zeros of encoder and decoder
/// are bytes (planes' borders are made of them).
pub(super) fn check_constants(model: &Model) -> Result<(), FileError> {
    let network = model.network();
    let bytes = [
        network.encoder().into_iter().map(|conv| conv.weight).collect::<Vec<_>>(),
        network.decoder().into_iter().filter(|d| d.level > 0).map(|d| d.weight).collect(),
    ];
    for stored in stored(network, &|name| model.pruned(name)) {
        let values = match model.values(&stored.name) {
            Values::F32(values) => values,
            _ => continue,
        };
        let wrong = |reason: &str| Err(FileError::tensor(&stored.name, reason));
        let layer = stored.name.strip_suffix(".zeros");
        if layer.is_none() && !values.iter().all(|&value| value > 0.0 && value < LIMIT) {
            return wrong("holds a multiplier that is not above 0 and below a million");
        }
        if layer.is_some() && !values.iter().all(|&value| value.abs() < LIMIT) {
            return wrong("holds a value that is not finite and below a million");
        }
        if layer.is_some_and(|layer| bytes.iter().flatten().any(|name| name == layer))
            && values.iter().any(|&value| value.fract() != 0.0 || !(0.0..=255.0).contains(&value))
        {
            return wrong("holds a value that is no whole number from 0 to 255");
        }
    }
    Ok(())
}

/// Where one part of an int8 layer lies in its file: looked up once, sliced for every frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Int8Place {
    weights: Range<usize>,
    kept: Option<Range<usize>>,
    offsets: Range<usize>,
    multipliers: Range<usize>,
    zeros: Range<usize>,
}

/// One part of a mapped layer.
#[derive(Debug, Clone, Copy)]
pub struct Int8Part<'a> {
    /// In the kernels' order.
    pub weights: &'a [i8],
    /// `[pairs, sources, side, groups]` of [`Packing`]: 0 where a group of inputs has no weights for
    /// a pair of blocks. `None`: all have.
    pub kept: Option<&'a [u8]>,
    /// `[blocks, 16]`, as are the others.
    pub offsets: &'a [[i32; LANES]],
    /// Multiplies the sums.
    pub multipliers: &'a [[f32; LANES]],
    /// Added at the end.
    pub zeros: &'a [[f32; LANES]],
}

impl Model {
    /// Where part `part` of an int8 layer lies.
    ///
    /// # Panics
    /// If the file is no int8 one, or has no such layer or part.
    pub fn int8_place(&self, name: &str, packing: &Packing, part: usize) -> Int8Place {
        assert!(self.precision() == Precision::Int8 && part < packing.parts);
        let share = |name: &str| {
            let whole = self.place(name);
            let length = whole.len() / packing.parts;
            whole.start + part * length..whole.start + (part + 1) * length
        };
        let (mut weights, mut kept) = (share(name), None);
        if let Some(flags) = self.kept(name) {
            let of_part = flags.len() / packing.parts;
            let bytes = |flags: &[u8]| kept_groups(packing, flags) * LANES * GROUP;
            let (before, rest) = flags.split_at(part * of_part);
            let before = before.chunks_exact(of_part).map(bytes).sum::<usize>();
            let begin = self.place(name).start + before;
            weights = begin..begin + bytes(&rest[..of_part]);
            kept = Some(share(&kept_name(name)));
        }
        Int8Place {
            weights,
            kept,
            offsets: share(&format!("{name}.offsets")),
            multipliers: share(&format!("{name}.multipliers")),
            zeros: share(&format!("{name}.zeros")),
        }
    }

    /// What lies at a place of this file.
    ///
    /// # Panics
    /// If the place is another file's.
    pub fn int8_part(&self, place: &Int8Place) -> Int8Part<'_> {
        let bytes = |range: &Range<usize>| &self.content()[range.clone()];
        Int8Part {
            weights: bytemuck::cast_slice(bytes(&place.weights)),
            kept: place.kept.as_ref().map(bytes),
            offsets: bytemuck::cast_slice(bytes(&place.offsets)),
            multipliers: bytemuck::cast_slice(bytes(&place.multipliers)),
            zeros: bytemuck::cast_slice(bytes(&place.zeros)),
        }
    }

    /// The flags of a layer, where some of its weights are gone.
    fn kept(&self, name: &str) -> Option<&[u8]> {
        let name = kept_name(name);
        self.has(&name).then(|| self.table(&name))
    }

    /// Bytes of a layer's weights, where some are gone.
    fn pruned(&self, name: &str) -> Option<usize> {
        self.has(&kept_name(name)).then(|| self.place(name).len())
    }

    /// The table of a mask layer of an int8 file: pairs of attention and update.
    ///
    /// # Panics
    /// If the file is no int8 one, or has no such layer.
    pub fn attention_table(&self, prefix: &str) -> &[[u8; 2]; TABLE] {
        &self.table(&table_name(prefix)).as_chunks().0.as_chunks().0[0]
    }

    /// The table from the last layer's sums to levels, of an int8 file.
    ///
    /// # Panics
    /// If the file is no int8 one.
    pub fn picture_table(&self) -> &[u8; TABLE] {
        &self.table(PICTURE_TABLE).as_chunks().0[0]
    }

    fn table(&self, name: &str) -> &[u8] {
        match self.values(name) {
            Values::U8(values) => values,
            other => panic!("{name} is not bytes but {other:?}"),
        }
    }
}

/// The float weights of a layer in the general form,
/// `[parts, outputs, sources, side, side, channels]`.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneralForm {
    /// The sizes.
    pub packing: Packing,
    /// The values.
    pub values: Vec<f32>,
}

impl GeneralForm {
    /// Of an encoder layer.
    pub fn encoder(weights: &Weights, conv: &Conv) -> Self {
        Self::of_conv(Packing::encoder(conv), weights.values(&conv.weight))
    }

    /// Of a mask layer.
    pub fn mask(weights: &Weights, conv: &Conv) -> Self {
        Self::of_conv(Packing::mask(conv), &weights.applied(conv))
    }

    /// From `[out, in, 4, 4]`.
    fn of_conv(packing: Packing, values: &[f32]) -> Self {
        let channels = packing.channels;
        Self::filled(packing, |_, output, _, row, column, channel| {
            values[((output * channels + channel) * KERNEL + row) * KERNEL + column]
        })
    }

    /// Of a decoder layer.
    pub fn decoder(weights: &Weights, deconv: &Deconv) -> Self {
        let packing = Packing::decoder(deconv);
        let values = phases(weights.values(&deconv.weight), deconv);
        let inputs = deconv.skip + deconv.deep;
        let input = |source: usize, channel: usize| source * deconv.skip + channel;
        // [4, out, in, 2, 2]
        let at = |phase: usize, output: usize, input: usize, row: usize, column: usize| {
            values[(((phase * deconv.output + output) * inputs + input) * 2 + row) * 2 + column]
        };
        Self::filled(packing, |part, output, source, row, column, channel| {
            if deconv.level > 0 {
                return at(part, output, input(source, channel), row, column);
            }
            // Output (row, column, colour) of the 2x2; its phase reads two of the three rows and
            // columns, an even one the first two.
            let (phase, colour) = (output / 3, output % 3);
            let (y, x) = (row.checked_sub(phase / 2), column.checked_sub(phase % 2));
            match (y, x) {
                (Some(y @ 0..2), Some(x @ 0..2)) => at(phase, colour, input(source, channel), y, x),
                _ => 0.0,
            }
        })
    }

    fn filled(
        packing: Packing,
        value: impl Fn(usize, usize, usize, usize, usize, usize) -> f32,
    ) -> Self {
        let mut values = Vec::new();
        for part in 0..packing.parts {
            for output in 0..packing.outputs {
                for source in 0..packing.sources {
                    for row in 0..packing.side {
                        for column in 0..packing.side {
                            for channel in 0..packing.channels {
                                values.push(value(part, output, source, row, column, channel));
                            }
                        }
                    }
                }
            }
        }
        Self { packing, values }
    }
}

#[cfg(test)]
#[path = "int8_tests.rs"]
pub(crate) mod tests;
