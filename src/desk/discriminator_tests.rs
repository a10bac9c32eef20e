//! Scores and penalties beside another implementation's, and gradients beside Burn's own.

use burn::optim::GradientsParams;

use super::*;
use crate::desk::adversary::Adversary;
use crate::desk::run_config::RunConfig;

/// How far single-precision sums may be from the reference's double ones, as a share of the number
/// (or of 1, where it is smaller): some hundred roundings of 6e-8 add up to less.
const TOLERANCE: f64 = 1e-4;

/// What `tests/references/adversary.py` prints for one size.
struct Case {
    side: usize,
    base: usize,
    scores: [f64; 2],
    penalty: f64,
    penalty_gradients: &'static [f64],
    loss: f64,
    loss_gradients: &'static [f64],
}

const CASES: [Case; 2] = [
    Case {
        side: 32,
        base: 2,
        scores: [0.02039142, -0.08927379],
        penalty: 0.88470354,
        penalty_gradients: &[
            -1.056427e-01,
            0.0,
            9.064697e-01,
            0.0,
            2.598799e+00,
            0.0,
            5.945770e-03,
            0.0,
            6.197774e-03,
            0.0,
            -4.724674e-01,
            0.0,
            -1.796611e+01,
        ],
        loss: 12.42932915,
        loss_gradients: &[
            -4.110754e+00,
            -1.284028e-01,
            2.027682e+01,
            1.346744e-01,
            2.399287e+01,
            -1.916181e-01,
            4.041072e-01,
            -4.354067e-01,
            9.589453e-02,
            3.887844e-01,
            2.427492e+00,
            5.268050e-02,
            -1.440673e+02,
        ],
    },
    // Three by three places for the last kernel.
    Case {
        side: 24,
        base: 3,
        scores: [0.34255256, 0.26754229],
        penalty: 0.23488307,
        penalty_gradients: &[
            1.008696e-01,
            0.0,
            8.245500e-02,
            0.0,
            -1.948432e-03,
            0.0,
            9.092138e-02,
            0.0,
            5.952169e-02,
        ],
        loss: 2.20331074,
        loss_gradients: &[
            1.604797e+00,
            1.906977e-01,
            1.344313e+00,
            -1.855561e-01,
            -5.001859e-02,
            -4.335278e-01,
            -2.245203e+00,
            -8.603114e-02,
            5.344446e+00,
        ],
    },
];

fn device() -> Device {
    Device::flex().autodiff()
}

/// The weights of the reference.
fn network(side: usize, base: usize) -> Discriminator {
    let mut values = BTreeMap::new();
    for (number, (name, shape)) in parameters(side, base).into_iter().enumerate() {
        let spread = shape.get(1).map(|inputs| (2.0 / (16 * inputs) as f64).sqrt() * 1.4);
        let value = |i: usize| match spread {
            Some(spread) => spread * (0.37 * i as f64 + number as f64).sin(),
            None => 0.1 * (i as f64 + number as f64).cos(),
        };
        values.insert(name, (0..shape.iter().product()).map(|i| value(i) as f32).collect());
    }
    Discriminator::build(side, base, values, &device())
}

fn picture(shift: f64, side: usize) -> Tensor<4> {
    let values: Vec<f32> = (0..2 * 3 * side * side)
        .map(|i| (0.5 + 0.5 * (0.05 * i as f64 * (1.0 + shift) + shift).sin()) as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, [2, 3, side, side]), &device())
}

fn masks(side: usize) -> Tensor<4> {
    let known = |i: usize| {
        let (k, y, x) = (i / (side * side), i / side % side, i % side);
        if (x / 3 * 7 + y / 2 * 3 + 5 * k) % 11 >= 4 { 1.0 } else { 0.0 }
    };
    let values: Vec<f32> = (0..2 * side * side).map(known).collect();
    Tensor::from_data(TensorData::new(values, [2, 1, side, side]), &device())
}

fn close(found: f32, wanted: f64, what: &str) {
    let apart = (f64::from(found) - wanted).abs();
    assert!(apart <= TOLERANCE * wanted.abs().max(1.0), "{what}: {found} is not {wanted}");
}

/// One number for each parameter's gradient that depends on all of its values and their places.
fn projected(loss: &Tensor<1>, network: &Discriminator) -> Vec<f32> {
    let gradients = GradientsParams::from_grads(loss.backward(), network);
    let projection = |values: Vec<f32>| -> f32 {
        let place = |(i, value): (usize, &f32)| f64::from(*value) * (0.7 * i as f64 + 1.0).sin();
        values.iter().enumerate().map(place).sum::<f64>() as f32
    };
    let mut found = Vec::new();
    for layer in network.known.iter().chain(&network.hole) {
        let weight: Tensor<4> = gradients.get(layer.weight.id).expect("a gradient");
        found.push(projection(weight.into_data().try_to_vec().expect("32-bit floats")));
        // The penalty does not depend on biases.
        found.push(
            gradients.get::<1>(layer.bias.id).map_or(0.0, |bias| {
                projection(bias.into_data().try_to_vec().expect("32-bit floats"))
            }),
        );
    }
    let fusion: Tensor<4> = gradients.get(network.fusion.id).expect("a gradient");
    found.push(projection(fusion.into_data().try_to_vec().expect("32-bit floats")));
    found
}

#[test]
fn scores_penalty_and_gradients_are_those_of_another_implementation() {
    for case in CASES {
        let network = network(case.side, case.base);
        let (real, fake) = (picture(0.0, case.side), picture(0.1, case.side));
        let masks = masks(case.side);
        let scores = network.scores(real.clone(), masks.clone()).into_data();
        let scores = scores.try_to_vec::<f32>().expect("32-bit floats");
        for (found, wanted) in scores.into_iter().zip(case.scores) {
            close(found, wanted, "score");
        }
        let penalty = network.penalty(real.clone(), masks.clone());
        close(penalty.clone().into_scalar(), case.penalty, "penalty");
        let found = projected(&penalty, &network);
        assert_eq!(found.len(), case.penalty_gradients.len());
        for (at, (found, &wanted)) in found.into_iter().zip(case.penalty_gradients).enumerate() {
            close(found, wanted, &format!("penalty's gradient of parameter {at}"));
        }
        let shares = TensorData::new(vec![0.3_f32, 0.8], [2, 1, 1, 1]);
        let shares = Tensor::<4>::from_data(shares, &device());
        let between = real.clone() * shares.clone() + fake.clone() * (shares.neg() + 1.0);
        let critic =
            network.scores(fake, masks.clone()).mean() - network.scores(real, masks.clone()).mean();
        let loss = critic + network.penalty(between, masks) * 10.0;
        close(loss.clone().into_scalar(), case.loss, "loss");
        let found = projected(&loss, &network);
        for (at, (found, &wanted)) in found.into_iter().zip(case.loss_gradients).enumerate() {
            close(found, wanted, &format!("loss's gradient of parameter {at}"));
        }
    }
}

/// What the network and the discriminator are told: the reference's scores with WGAN's signs.
#[test]
fn the_network_is_to_score_high_and_the_discriminator_to_tell() {
    let case = &CASES[0];
    let network = network(case.side, case.base);
    let (real, fake) = (picture(0.0, case.side), picture(0.1, case.side));
    let masks = masks(case.side);
    let mean = |pictures: Tensor<4>| -> f64 {
        network.scores(pictures, masks.clone()).mean().into_scalar::<f32>().into()
    };
    let (of_real, of_fake) = (mean(real.clone()), mean(fake.clone()));
    close(of_real as f32, case.scores.iter().sum::<f64>() / 2.0, "reference");
    let config = RunConfig {
        size: case.side,
        adversary_channels: Some(case.base),
        adversary_learning_rate: 0.0,
        ..RunConfig::default()
    };
    let mut adversary = Adversary::with(network.clone(), &config);
    let verdict = adversary.judge(0, fake, real, masks).expect("finite");
    close(verdict.critic, of_fake - of_real, "the discriminator's loss");
    close(verdict.loss.into_scalar(), -of_fake, "the network's loss");
}

#[test]
fn the_chain_is_the_gradient_at_every_size() {
    for (side, layers, places) in [(128, 5, 1), (256, 6, 1), (384, 6, 3), (640, 7, 2)] {
        assert_eq!(depth(side), layers, "{side}");
        assert_eq!((side >> layers) - KERNEL + 1, places, "{side}");
    }
    for side in [128, 384] {
        let network = Discriminator::initialise(side, 2, 3, &device());
        let values: Vec<f32> =
            (0..3 * side * side).map(|i| (0.5 + 0.5 * (0.01 * i as f64).sin()) as f32).collect();
        let picture: Tensor<4> =
            Tensor::from_data(TensorData::new(values, [1, 3, side, side]), &device());
        let picture = picture.require_grad();
        let masks = masks(side).narrow(0, 1, 1);
        let scores = network.scores(picture.clone(), masks.clone());
        let wanted = picture.grad(&scores.sum().backward()).expect("a gradient");
        let found = network.input_gradient(picture, masks).inner();
        let apart: f32 = (found.clone() - wanted).abs().max().into_scalar();
        let largest: f32 = found.clone().abs().max().into_scalar();
        assert!(f64::from(apart) <= TOLERANCE * f64::from(largest), "{apart} of {largest}");
        // Initial weights keep lengths: the slope begins near 1 at any width.
        let length: f32 = found.square().sum().sqrt().into_scalar();
        assert!((0.3..1.5).contains(&length), "the slope's length is {length}");
    }
}

#[test]
fn what_is_written_reads_back_and_what_is_damaged_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adversary.safetensors");
    let network = Discriminator::initialise(128, 2, 3, &device());
    let bytes = network.to_bytes().unwrap().expect("finite");
    std::fs::write(&path, &bytes).unwrap();
    let read = Discriminator::read(&path, 128, 2, &device()).unwrap();
    assert_eq!(read.values().unwrap(), network.values().unwrap());
    let refused =
        |side, base| Discriminator::read(&path, side, base, &device()).unwrap_err().to_string();
    assert!(refused(128, 3).contains("--adversary-channels"));
    assert!(refused(256, 2).contains("--size"));
    // A deeper one has all that is wanted, and more.
    let deeper =
        Discriminator::initialise(256, 2, 3, &device()).to_bytes().unwrap().expect("finite");
    std::fs::write(&path, &deeper).unwrap();
    assert!(refused(128, 2).contains("--size"));
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refused(128, 2).contains("adversary.safetensors: damaged"));
    let mut infinite = bytes;
    let end = infinite.len();
    infinite[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    std::fs::write(&path, &infinite).unwrap();
    assert!(refused(128, 2).contains("not finite"));
    let weights = network.fusion.map(|weight| (weight.inner() / 0.0).autodiff().require_grad());
    assert!(Discriminator { fusion: weights, ..network }.to_bytes().unwrap().is_none());
}
