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

use file::{FileError, Model, Weights};
use net::{ENCODER_LAYERS, Network};

/// Reads everything that an open model file gives, and checks what opening it promises.
pub fn read_everything(model: &Model) {
    let network = model.network();
    assert!(model.bytes() > 0 && model.checksum().starts_with("blake3:"));
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
    assert_eq!(network.encoder().len(), ENCODER_LAYERS);
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
