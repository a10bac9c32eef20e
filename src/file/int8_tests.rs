//! Int8 files: round trip, the order of packed weights, and lies about constants.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Int8Layer, Int8Part, Int8Tensors, groups_of_pair, pack, weights_shape};
use crate::file::{FileError, GeneralForm, Model, Values, write_int8_model};
use crate::net::{Conv, GROUP, LANES, Network, Packing, TABLE, padded};

/// Numbers that look random, the same on every machine.
fn noise() -> impl FnMut() -> u32 {
    let mut state = 1_u32;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    }
}

/// Writes a network of made-up integers whose features use most of their range: what tests run
/// where no calibrated file is at hand.
pub(crate) fn write_sample(network: Network, path: &Path) -> Result<(), FileError> {
    let mut noise = noise();
    let mut layer = |packing: &Packing, spread: f32, zero: f32| {
        let outputs = packing.parts * packing.outputs;
        let inputs = packing.sources * packing.side * packing.side * packing.channels;
        let weights: Vec<i8> = (0..outputs * inputs).map(|_| (noise() % 255) as i8).collect();
        let sums = weights.chunks(inputs).map(|w| w.iter().map(|&w| i32::from(w)).sum::<i32>());
        Int8Layer {
            // About what is added by inputs in the middle of their range.
            offsets: sums.map(|sum| 100 * sum).collect(),
            multipliers: vec![spread / (inputs as f32).sqrt(); outputs],
            zeros: vec![zero; outputs],
            weights,
        }
    };
    let mut tensors = Int8Tensors::default();
    for conv in [network.forward(), network.reverse()].concat() {
        let packing = Packing::mask(&conv);
        tensors.layer(&conv.weight, &packing, &layer(&packing, 0.15, 1500.0));
        let attention: [u8; TABLE] = std::array::from_fn(|index| (index % 1500 / 6) as u8);
        let update: [u8; TABLE] = std::array::from_fn(|index| (index / 16) as u8);
        tensors.attention(&conv.attention.unwrap_or_default(), &attention, &update);
    }
    for conv in network.encoder() {
        let packing = Packing::encoder(&conv);
        tensors.layer(&conv.weight, &packing, &layer(&packing, 1e-4, 60.0));
    }
    for deconv in network.decoder() {
        let packing = Packing::decoder(&deconv);
        let (spread, zero) = if deconv.level > 0 { (1e-4, 60.0) } else { (0.2, 2048.0) };
        tensors.layer(&deconv.weight, &packing, &layer(&packing, spread, zero));
    }
    tensors.picture(&std::array::from_fn(|index| (index / 16) as u8));
    let provenance = BTreeMap::from([("program".to_owned(), "a test".to_owned())]);
    write_int8_model(network, &tensors, &provenance, "{\"pictures\":[]}", path)
}

fn sample() -> (tempfile::TempDir, Model) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.lbam");
    // A width that is no multiple of the lanes.
    write_sample(Network::new(3).expect("a supported width"), &path).expect("written");
    let model = Model::open(&path).expect("a good file");
    (folder, model)
}

/// The weights of one part with zeros where they were left out.
fn unpruned(packing: &Packing, part: &Int8Part) -> Vec<i8> {
    let (of_pair, group_bytes) = (groups_of_pair(packing), LANES * GROUP);
    let Some(kept) = part.kept else { return part.weights.to_vec() };
    let mut left = part.weights.chunks_exact(group_bytes);
    let mut all = Vec::new();
    for at in 0..packing.blocks() * of_pair {
        match kept[at / of_pair / 2 * of_pair + at % of_pair] {
            0 => all.extend([0; LANES * GROUP]),
            _ => all.extend_from_slice(left.next().expect("a group for each flag")),
        }
    }
    assert_eq!(left.len(), 0);
    all
}

/// Opens the file with some bytes changed and the checksum made right, so that they themselves are
/// what is refused.
fn refusal(model: &Model, place: usize, new: &[u8]) -> String {
    let mut bytes = std::fs::read(model.path()).expect("readable");
    bytes[place..place + new.len()].copy_from_slice(new);
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let old = model.checksum().as_bytes();
    let at = bytes.windows(old.len()).position(|window| window == old).expect("stated");
    let new = format!("blake3:{}", blake3::hash(&bytes[header..]).to_hex());
    bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
    let path = model.path().with_extension("changed");
    std::fs::write(&path, bytes).expect("writable");
    Model::open(&path).expect_err("must be refused").to_string()
}

#[test]
fn integers_come_back_in_the_kernels_order() {
    let (_folder, model) = sample();
    let conv: Conv = model.network().encoder()[1].clone();
    let packing = Packing::encoder(&conv);
    assert_eq!((packing.channels, packing.stored_channels, packing.outputs), (3, 16, 6));
    let part = model.int8_part(&model.int8_place(&conv.weight, &packing, 0));
    // Of the 16 channels that each tap reads, the first four have weights.
    assert_eq!(part.weights.len(), 4 * 4 * 4 * LANES);
    let weights = unpruned(&packing, &part);
    assert_eq!(weights.len(), 4 * 4 * 16 * LANES);
    assert_eq!((part.offsets.len(), part.zeros), (1, &[[60.0; LANES]][..]));
    // Padded inputs and outputs weigh nothing.
    let weight = |output: usize, row: usize, column: usize, channel: usize| {
        let at = column * 16 + channel;
        weights[((row * 16 + at / 4) * LANES + output) * 4 + at % 4]
    };
    assert_eq!((weight(0, 1, 2, 3), weight(6, 1, 2, 0)), (0, 0));
    let sum: i32 = (0..48).map(|i| i32::from(weight(2, i / 12, i / 3 % 4, i % 3))).sum();
    assert_eq!(100 * sum, part.offsets[0][2]);
    assert_eq!(model.picture_table()[TABLE - 1], 255);
    assert_eq!(model.receipt(), Some("{\"pictures\":[]}"));
}

#[test]
fn packing_keeps_every_weight_once() {
    for deconv in Network::new(3).expect("a supported width").decoder() {
        let packing = Packing::decoder(&deconv);
        let taps = packing.sources * packing.side * packing.side * packing.channels;
        let count = packing.parts * packing.outputs * taps;
        let weights: Vec<i8> = (0..count).map(|index| (index % 127 + 1) as i8).collect();
        let packed = pack(&packing, &weights);
        assert_eq!(packed.len(), weights_shape(&packing).iter().product::<usize>());
        let histogram = |weights: &[i8]| {
            let mut counts = [0; 128];
            weights.iter().for_each(|&weight| counts[weight as usize] += 1);
            counts[1..].to_vec()
        };
        assert_eq!(histogram(&packed), histogram(&weights));
    }
}

/// The last layer as one 3x3 convolution of twelve outputs is the transposed convolution.
#[test]
fn the_last_layer_is_the_transposed_convolution() {
    let network = Network::new(2).expect("a supported width");
    let mut noise = noise();
    let tensors = network.parameters().into_iter().map(|parameter| {
        let count = parameter.shape.iter().product::<usize>();
        let values = (0..count).map(|_| (noise() % 100) as f32 / 50.0 - 1.0).collect();
        (parameter.name, (parameter.shape, values))
    });
    let weights = crate::file::Weights::from_tensors(tensors.collect(), BTreeMap::new());
    let weights = weights.expect("whole weights");
    let last = network.decoder().pop().expect("the decoder has layers");
    let form = GeneralForm::decoder(&weights, &last);
    let kernel = weights.values(&last.weight);
    // One input pixel at a time: input (source, channel) 1 at the centre of 3x3, at the output
    // pixels that it reaches.
    for source in 0..2 {
        for channel in 0..2 {
            for (row, column, colour) in
                (0..4).flat_map(|r| (0..4).flat_map(move |c| (0..3).map(move |k| (r, c, k))))
            {
                // The transposed convolution adds tap (row, column) to output 2i - 1 + row.
                let input = source * 2 + channel;
                let wanted = kernel[((input * 3 + colour) * 4 + row) * 4 + column];
                // That output belongs to input pixel (y, x) of 2x2, which sees ours at (3x3).
                let (y, x) = (row as isize - 1, column as isize - 1);
                let (cell_y, cell_x) = (y.div_euclid(2), x.div_euclid(2));
                let phase = (y.rem_euclid(2) * 2 + x.rem_euclid(2)) as usize;
                let (tap_y, tap_x) = ((1 - cell_y) as usize, (1 - cell_x) as usize);
                let output = phase * 3 + colour;
                let at = (((output * 2 + source) * 3 + tap_y) * 3 + tap_x) * 2 + channel;
                assert_eq!(form.values[at], wanted, "tap {row},{column}");
            }
        }
    }
}

#[test]
fn constants_that_could_overflow_are_refused() {
    let (_folder, model) = sample();
    let network = model.network();
    let decoder = network.decoder().into_iter().find(|deconv| deconv.level > 0);
    for name in [&network.encoder()[0].weight, &decoder.expect("a layer").weight] {
        let refusal = |kind: &str, value: f32| {
            let place = model.place(&format!("{name}.{kind}")).start;
            super::tests::refusal(&model, place, &value.to_le_bytes())
        };
        for value in [0.0, -1.0, 1e7, f32::INFINITY, f32::NAN] {
            assert!(refusal("multipliers", value).contains("multiplier"), "{name}: {value}");
        }
        for value in [0.5, -1.0, 256.0] {
            assert!(refusal("zeros", value).contains("whole number"), "{name}: {value}");
        }
        assert!(refusal("zeros", f32::NAN).contains("not finite"), "{name}");
    }
}

#[test]
fn groups_without_weights_are_left_out() {
    let packing = Packing {
        parts: 4,
        outputs: 75,
        sources: 2,
        side: 2,
        channels: 20,
        stored_channels: padded(20),
    };
    let (taps, inputs) = (2 * 2 * 2, 2 * 2 * 2 * 20);
    // A group of channels at a tap is gone for all outputs of a pair of blocks, here and there.
    let gone = |part: usize, output: usize, tap: usize, channel: usize| {
        (part * 7 + output / (2 * LANES) * 5 + tap * 3 + channel / GROUP).is_multiple_of(3)
    };
    let weights: Vec<i8> = (0..4 * 75 * inputs)
        .map(|at| {
            let (part, output) = (at / (75 * inputs), at / inputs % 75);
            let gone = gone(part, output, at / 20 % taps, at % 20);
            if gone { 0 } else { (at % 127 + 1) as i8 }
        })
        .collect();
    let packed = pack(&packing, &weights);
    let (left, flags) = super::prune(&packing, &packed).expect("something is gone");
    assert!(left.len() < packed.len() / 2 && left.iter().any(|&weight| weight != 0));
    let mut rest = &left[..];
    for (part, kept) in flags.chunks_exact(flags.len() / 4).enumerate() {
        let weights;
        (weights, rest) = rest.split_at(super::kept_groups(&packing, kept) * LANES * GROUP);
        let constants = (&[][..], &[][..], &[][..]);
        let (offsets, multipliers, zeros) = constants;
        let found = Int8Part { weights, kept: Some(kept), offsets, multipliers, zeros };
        let length = packed.len() / 4;
        assert_eq!(unpruned(&packing, &found), packed[part * length..][..length]);
    }
    assert!(rest.is_empty());
    // Where nothing is zero nothing is flagged.
    let whole = Packing { outputs: 64, channels: 32, stored_channels: 32, ..packing };
    assert!(super::prune(&whole, &pack(&whole, &vec![1; 4 * 64 * 8 * 32])).is_none());
}

#[test]
fn flags_that_lie_are_refused() {
    let (_folder, model) = sample();
    let name = model.network().encoder()[1].weight.clone();
    let place = model.place(&super::kept_name(&name)).start;
    assert!(refusal(&model, place, &[2]).contains("neither 0 nor 1"));
    assert!(refusal(&model, place, &[0]).contains("groups of weights"));
}

#[test]
fn tensors_have_their_types() {
    let (_folder, model) = sample();
    let name = &model.network().decoder()[0].weight;
    assert!(matches!(model.values(name), Values::I8(_)));
    assert!(matches!(model.values(&format!("{name}.offsets")), Values::I32(_)));
    assert!(matches!(model.values(&format!("{name}.zeros")), Values::F32(_)));
    assert_eq!(padded(3), LANES);
}
