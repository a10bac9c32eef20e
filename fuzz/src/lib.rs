//! The rooms under test, and what the targets share.
//!
//! `net` and `file` are compiled from their sources here, not through the package `lbam`: a room
//! imports only rooms above it, so the two stand alone, and a fuzzer builds in a minute instead
//! of compiling tract with a sanitizer first.

// Rooms that this crate does not have use the rest.
#[allow(dead_code)]
#[path = "../../src/net/mod.rs"]
pub mod net;

#[allow(dead_code, unused_imports)]
#[path = "../../src/file/mod.rs"]
pub mod file;

use std::collections::BTreeMap;

use file::{FileError, Int8Layer, Int8Tensors, Model, Precision, Weights};
use net::{Network, Packing, TABLE};

/// Reads everything that an open model file gives, and checks what opening it promises.
pub fn read_everything(model: &Model) {
    assert!(model.bytes() > 0 && model.checksum().starts_with("blake3:"));
    match model.precision() {
        Precision::Int8 => read_integers(model),
        Precision::F32 | Precision::F16 => read_floats(model),
    }
}

fn read_floats(model: &Model) {
    let network = model.network();
    for conv in [network.forward(), network.reverse()].concat() {
        let scalars = model.attention(&conv.attention.expect("mask layers attend")).scalars();
        assert!(scalars.iter().all(|scalar| scalar.is_finite()), "{scalars:?}");
        assert!(!model.values(&conv.weight).widen().is_empty());
    }
    for conv in network.encoder() {
        let kernel = model.values(&conv.weight).widen();
        assert_eq!(kernel.len(), conv.input * conv.output * 16);
    }
    for deconv in network.decoder() {
        let kernel = model.values(&deconv.weight).widen();
        assert_eq!(kernel.len(), (deconv.skip + deconv.deep) * deconv.output * 16);
    }
}

fn read_integers(model: &Model) {
    let network = model.network();
    for (name, packing) in layers(network) {
        for part in 0..packing.parts {
            let place = model.int8_place(&name, &packing, part);
            let part = model.int8_part(&place);
            let whole_blocks = [part.offsets.len(), part.multipliers.len(), part.zeros.len()];
            assert_eq!(whole_blocks, [packing.blocks(); 3]);
            // Flags may keep nothing of a part.
            assert!(!part.weights.is_empty() || part.kept.is_some());
            let multipliers = part.multipliers.as_flattened();
            assert!(multipliers.iter().all(|value| value.is_finite() && *value > 0.0));
            assert!(part.zeros.as_flattened().iter().all(|value| value.is_finite()));
        }
    }
    for conv in [network.forward(), network.reverse()].concat() {
        model.attention_table(&conv.attention.expect("mask layers attend"));
    }
    model.picture_table();
}

/// Every layer of an int8 file.
fn layers(network: Network) -> Vec<(String, Packing)> {
    let masks = [network.forward(), network.reverse()].concat();
    let masks = masks.iter().map(|conv| (conv.weight.clone(), Packing::mask(conv)));
    let encoder = network.encoder();
    let encoder = encoder.iter().map(|conv| (conv.weight.clone(), Packing::encoder(conv)));
    let decoder = network.decoder();
    let decoder = decoder.iter().map(|conv| (conv.weight.clone(), Packing::decoder(conv)));
    masks.chain(encoder).chain(decoder).collect()
}

/// A network in integers; what they are does not matter to the file.
pub fn integers(network: Network) -> Int8Tensors {
    let mut tensors = Int8Tensors::default();
    for (name, packing) in layers(network) {
        let outputs = packing.parts * packing.outputs;
        let inputs = packing.sources * packing.side * packing.side * packing.channels;
        let layer = Int8Layer {
            weights: vec![1; outputs * inputs],
            offsets: vec![2; outputs],
            multipliers: vec![0.5; outputs],
            zeros: vec![3.0; outputs],
        };
        tensors.layer(&name, &packing, &layer);
    }
    for conv in [network.forward(), network.reverse()].concat() {
        tensors.attention(&conv.attention.expect("mask layers attend"), &[4; TABLE], &[5; TABLE]);
    }
    tensors.picture(&[6; TABLE]);
    tensors
}

/// Weights of a narrow network, whose values come from `next` and may be refused.
pub fn weights(
    base: usize,
    provenance: BTreeMap<String, String>,
    mut next: impl FnMut() -> f32,
) -> Result<Weights, FileError> {
    let network = Network::new(base)?;
    let tensors = network.parameters().into_iter().map(|parameter| {
        let count = parameter.shape.iter().product();
        let values = std::iter::repeat_with(&mut next).take(count).collect();
        (parameter.name, (parameter.shape, values))
    });
    Weights::from_tensors(tensors.collect(), provenance)
}
