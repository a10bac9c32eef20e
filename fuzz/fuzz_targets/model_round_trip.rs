//! What is written opens and holds what was written, whatever the weights and their provenance;
//! and the same weights make the same bytes.
#![no_main]

use std::collections::BTreeMap;

use lbam_fuzz::file::{Model, Precision, Weights, write_model};
use lbam_fuzz::{read_everything, weights};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, BTreeMap<String, String>, Vec<u8>)| {
    let (base, provenance, bytes) = input;
    // The bytes as numbers, over and over: most are finite, some do not fit 16 bits.
    let mut numbers =
        bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).cycle();
    let next = || numbers.next().unwrap_or(0.5);
    let Ok(weights) = weights(1 + usize::from(base % 3), provenance, next) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (path, again) = (folder.path().join("a"), folder.path().join("b"));

    for precision in [Precision::F32, Precision::F16] {
        if write_model(&weights, precision, &path).is_err() {
            assert_eq!(precision, Precision::F16, "only 16 bits can be too narrow");
            continue;
        }
        let model = Model::open(&path).expect("what was written opens");
        read_everything(&model);
        assert_eq!((model.network(), model.precision()), (weights.network(), precision));
        assert_eq!(model.provenance(), &weights.provenance);
        for conv in weights.network().encoder() {
            let (stored, given) =
                (model.values(&conv.weight).widen(), weights.values(&conv.weight));
            let narrowed = |value: f32| match precision {
                Precision::F16 => half::f16::from_f32(value).to_f32(),
                _ => value,
            };
            assert!(stored.iter().zip(given).all(|(&stored, &given)| stored == narrowed(given)));
        }
        for conv in [weights.network().forward(), weights.network().reverse()].concat() {
            let prefix = conv.attention.expect("mask layers attend");
            assert_eq!(model.attention(&prefix), weights.attention(&prefix));
        }
        write_model(&weights, precision, &again).expect("as before");
        assert_eq!(std::fs::read(&path).expect("there"), std::fs::read(&again).expect("there"));
    }

    weights.write(&path).expect("32 bits hold every value");
    // Provenance under these keys is read as the variant, and hardly a word names one.
    if ["attention", "attention_masks"].iter().any(|&key| weights.provenance.contains_key(key)) {
        return;
    }
    let read = Weights::read(&path).expect("what was written is read");
    assert_eq!(read.network(), weights.network());
    for parameter in weights.network().parameters() {
        assert_eq!(read.values(&parameter.name), weights.values(&parameter.name));
    }
});
