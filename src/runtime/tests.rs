//! Parity of every activation with the authors' numbers (`tests/data/parity`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pytorch_reader::PytorchReader;
use safetensors::SafeTensors;
use tract_core::internal::*;

use super::Session;
use super::graph::{frame_stage, mask_stage};
use crate::file::{Model, Precision, Weights, write_model};
use crate::net::Network;

/// Sums of up to 2048 products in another order than PyTorch's differ by this in 32 bits.
const F32_TOLERANCE: f32 = 1e-4;
/// Storing kernels in 16 bits rounds each to 11 significant bits.
const F16_TOLERANCE: f32 = 5e-3;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parity").join(name)
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).expect("test data");
    let tensors = SafeTensors::deserialize(&bytes).expect("test data");
    let entry =
        |view: safetensors::tensor::TensorView| (view.shape().into(), floats_of(view.data()));
    tensors.iter().map(|(name, view)| (name.into(), entry(view))).collect()
}

fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn reference_model(precision: Precision) -> Model {
    let reader = PytorchReader::new(data("official_width_8.pth")).expect("the checkpoint");
    let tensors = reader.tensors().iter().map(|(name, tensor)| {
        let values = floats_of(&tensor.read().expect("readable"));
        (name.clone(), (tensor.shape().to_vec(), values))
    });
    let weights = Weights::from_tensors(tensors.collect(), BTreeMap::new());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.lbam");
    write_model(&weights.expect("whole weights"), precision, &path).expect("written");
    Model::open(&path).expect("a good file")
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    // NaN is larger than nothing.
    assert!(found.iter().all(|value| value.is_finite()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn floats(value: &TValue) -> Vec<f32> {
    value
        .try_as_plain_ram()
        .and_then(|plain| Ok(plain.as_slice::<f32>()?.to_vec()))
        .expect("floats")
}

/// Every activation's worst difference from the reference, by name.
fn differences(precision: Precision) -> Vec<(String, f32)> {
    let model = reference_model(precision);
    let reference = read(&data("activations.safetensors"));
    let tensor = |name: &str, channels: usize| {
        let (shape, values) = &reference[name];
        let count = channels * shape[2] * shape[3];
        Tensor::from_shape(&[1, channels, shape[2], shape[3]], &values[..count]).expect("a tensor")
    };
    let mask = mask_stage(&model, 128, 128, true).expect("a graph");
    let maps =
        mask.graph.into_runnable().and_then(|graph| graph.run(tvec!(tensor("mask", 1).into())));
    let maps = maps.expect("it runs");
    let frame = frame_stage(&model, 128, 128, true).expect("a graph");
    let mut inputs: TVec<TValue> = tvec!(tensor("input", 4).into());
    inputs.extend(maps[..13].iter().cloned());
    let features =
        frame.graph.into_runnable().and_then(|graph| graph.run(inputs)).expect("it runs");
    let names = mask.outputs.into_iter().chain(frame.outputs);
    let found = maps.iter().chain(features.iter()).map(floats);
    names
        .zip(found)
        .map(|(name, found)| {
            let name = if name == "output1" { "output".to_owned() } else { name };
            let expected = &reference[&name].1;
            // The reference keeps decoder features behind their skip.
            let expected = match name.starts_with("dc") {
                true => &expected[expected.len() - found.len()..],
                false => expected,
            };
            let difference = worst(&found, expected);
            (name, difference)
        })
        .collect()
}

#[test]
fn every_activation_agrees_in_f32() {
    let differences = differences(Precision::F32);
    assert_eq!(differences.len(), 7 + 6 + 6 + 7 + 6 + 1);
    for (name, difference) in differences {
        assert!(difference < F32_TOLERANCE, "{name} differs by {difference}");
    }
}

#[test]
fn the_output_agrees_in_f16() {
    let differences = differences(Precision::F16);
    let (_, difference) = differences.last().expect("an output");
    assert!(*difference < F16_TOLERANCE, "output differs by {difference}");
}

#[test]
fn hidden_pixels_do_not_reach_the_network() {
    let model = Arc::new(reference_model(Precision::F16));
    let mut session = Session::new(&model, 256, 128).expect("a session");
    let holes: Vec<u8> = (0..256 * 128).map(|i| if i % 256 < 90 { 255 } else { 0 }).collect();
    session.set_mask(&holes).expect("a mask");
    let fill = |session: &mut Session, hidden: u8| {
        let pixel = |i: usize| if holes[i / 3] == 0 { (i % 251) as u8 } else { hidden };
        let picture: Vec<u8> = (0..3 * 256 * 128).map(pixel).collect();
        let mut output = vec![0; picture.len()];
        session.run(&picture, &mut output).expect("it runs");
        output
    };
    assert_eq!(fill(&mut session, 0), fill(&mut session, 255));
}

#[test]
fn wrong_sizes_and_missing_masks_are_refused() {
    let model = Arc::new(reference_model(Precision::F16));
    assert!(Session::new(&model, 100, 128).is_err());
    let mut session = Session::new(&model, 128, 128).expect("a session");
    let (picture, mut output) = (vec![0; 3 * 128 * 128], vec![0; 3 * 128 * 128]);
    assert!(session.run(&picture, &mut output).is_err(), "no mask yet");
    session.set_mask(&[0; 128 * 128]).expect("a mask");
    assert!(session.run(&picture, &mut output).is_ok());
    assert!(session.set_mask(&[0; 5]).is_err());
    assert!(session.run(&picture, &mut output).is_err(), "a refused mask leaves none");
    assert_eq!(model.network(), Network::new(8).expect("a supported width"));
}
