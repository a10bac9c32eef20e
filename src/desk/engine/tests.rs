//! Against the same network in Burn, which is tested against the authors' numbers.

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::desk::adam::adam;
use crate::desk::model::Lbam;
use crate::desk::prune::Pruning;
use crate::desk::{masks, random};

/// Of outputs, whose sums of up to some thousand products are made in another order.
const TOLERANCE: f32 = 1e-5;
/// Of gradients, as a share of the largest of their tensor: they pass through up to 13 layers.
const GRADIENT_TOLERANCE: f32 = 2e-4;

const SIDE: usize = 128;
const ADAM: AdamSettings = AdamSettings { betas: (0.5, 0.9), epsilon: 1e-5 };

/// Numbers from 0 to 1.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = random::generator(seed, 0, 0);
    (0..count).map(|_| random::unit(&mut rng)).collect()
}

fn tensor(values: &[f32], channels: usize, device: &Device) -> Tensor<4> {
    let count = values.len() / (channels * SIDE * SIDE);
    Tensor::from_data(TensorData::new(values.to_vec(), [count, channels, SIDE, SIDE]), device)
}

/// Fresh kernels, for the paper's network those of mask branches enlarged: so that both sides of
/// every attention are in use. Ablations have no Gaussian to hold features then, and the larger
/// these, the likelier is one within rounding of LeakyReLU's bend, where slopes differ fivefold.
fn weights_of(base: usize, variant: Variant) -> Weights {
    let enlarged = variant == Variant::PAPER;
    let network = Network::new(base).expect("a width");
    let fresh = Lbam::initialise(network, 5, &Device::flex()).weights(BTreeMap::new());
    let fresh = fresh.expect("finite");
    let tensors = network.parameters().into_iter().map(|parameter| {
        let factor = match enlarged && parameter.name.to_lowercase().contains("mask") {
            true if parameter.name.contains('1') => 6.0,
            true => 3.0,
            false => 1.0,
        };
        let values = fresh.values(&parameter.name).iter().map(|value| value * factor).collect();
        (parameter.name, (parameter.shape, values))
    });
    let weights = Weights::from_tensors(tensors.collect(), BTreeMap::new());
    weights.expect("finite").with_variant(variant)
}

fn weights(base: usize) -> Weights {
    weights_of(base, Variant::PAPER)
}

fn masks_of(count: usize) -> Vec<f32> {
    let mut rng = random::generator(9, 0, 0);
    let style = masks::Style::Mixed;
    let holes = (0..count).flat_map(|_| masks::draw(&mut rng, SIDE, SIDE, 0.2..=0.5, style));
    holes.map(|hole| if hole == 0 { 1.0 } else { 0.0 }).collect()
}

#[test]
fn outputs_gradients_and_steps_are_those_of_burn() {
    // 6 channels fill no vector, 16 one; masks shared by all, by half and not. Last the tensors
    // without gradient:
    // of 52 scalars in what is not the Gaussian, of 30 in the reverse branch and 35 in the forward
    // one (whose features, with kernels as they begin, stay below the Gaussian's peak: 7 more).
    let cases = [
        (6, 2, 1, "gaussian", "both", 0),
        (6, 2, 2, "gaussian", "both", 0),
        (6, 4, 2, "gaussian", "both", 0),
        (16, 1, 1, "gaussian", "both", 0),
        (6, 2, 1, "sigmoid", "both", 52),
        (6, 2, 2, "leaky-relu", "both", 52),
        (16, 1, 1, "relu", "both", 52),
        (6, 2, 1, "gaussian", "forward", 37),
        (6, 1, 1, "sigmoid", "forward", 58),
        (6, 2, 1, "gaussian", "pconv", 65),
        (16, 2, 2, "gaussian", "pconv", 65),
    ];
    for (base, pictures, mask_count, attention, masks, without_part) in cases {
        let case = format!("{base} base channels, {pictures} pictures, {mask_count} masks");
        let variant = Variant::named(attention, masks).expect("a variant");
        let case = format!("{case}, {variant}");
        let weights = weights_of(base, variant);
        let plane = SIDE * SIDE;
        let (photographs, masks) = (numbers(1, pictures * 3 * plane), masks_of(mask_count));
        let factors = numbers(2, pictures * 3 * plane);
        let mut engine = Engine::new(&weights, ADAM);
        let output = engine.forward(&photographs, &masks, SIDE);

        let device = Device::flex().autodiff();
        let model = Lbam::from_weights(&weights, &device);
        let (known, originals) = (tensor(&masks, 1, &device), tensor(&photographs, 3, &device));
        let wanted = model.forward(originals, known);
        let values = wanted.clone().inner().to_data().try_to_vec::<f32>().expect("floats");
        for (at, (found, wanted)) in output.iter().zip(&values).enumerate() {
            assert!((found - wanted).abs() < TOLERANCE, "{case}: {at}: {found}, {wanted}");
        }

        engine.backward(&factors);
        let loss = (wanted * tensor(&factors, 3, &device)).sum();
        let slopes = GradientsParams::from_grads(loss.backward(), &model);
        let names = weights.network().parameters().into_iter().map(|parameter| parameter.name);
        let expected = model.gradients(&slopes);
        let found = engine.gradients();
        let (mut squares, mut idle) = (0.0, 0);
        for name in names {
            let (found, expected) = (&found[&name], &expected[&name]);
            assert_eq!(found.len(), expected.len(), "{case}: {name}");
            let largest = expected.iter().fold(0.0_f32, |largest, slope| largest.max(slope.abs()));
            if largest == 0.0 {
                assert!(found.iter().all(|&slope| slope == 0.0), "{case}: {name} has a gradient");
                idle += 1;
                continue;
            }
            for (found, expected) in found.iter().zip(expected) {
                let apart = (found - expected).abs() / largest;
                assert!(apart < GRADIENT_TOLERANCE, "{case}: {name}: {found}, {expected}");
            }
            squares += expected.iter().map(|slope| f64::from(*slope).powi(2)).sum::<f64>();
        }
        assert_eq!(idle, without_part, "{case}");
        let norm = engine.gradient_norm();
        assert!((norm / squares.sqrt() - 1.0).abs() < 1e-4, "{case}: {norm}, {}", squares.sqrt());

        let stepped = adam(ADAM).step(1e-3, model, slopes).clamped(&Lbam::ranges(&device));
        engine.update(1e-3, 1.0);
        let found = engine.weights(BTreeMap::new()).expect("finite");
        let expected = stepped.weights(BTreeMap::new()).expect("finite");
        assert_eq!((found.variant(), expected.variant()), (variant, variant), "{case}");
        for parameter in weights.network().parameters() {
            let name = parameter.name;
            let pairs = found.values(&name).iter().zip(expected.values(&name));
            // A step is as long as the rate, whatever the gradient, unless that is near nothing.
            let far = pairs.filter(|(found, wanted)| (*found - *wanted).abs() > 1e-4).count();
            assert!(far * 100 <= found.values(&name).len(), "{case}: {name}: {far} differ");
        }
    }
}

#[test]
fn threads_and_repetition_change_nothing() {
    let weights = weights(16);
    let plane = SIDE * SIDE;
    let (photographs, masks) = (numbers(3, 2 * 3 * plane), masks_of(1));
    let trained = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let mut engine = Engine::new(&weights, ADAM);
            for _ in 0..2 {
                let output = engine.forward(&photographs, &masks, SIDE);
                engine.backward(&output);
                engine.update(1e-3, 1.0);
            }
            engine.weights(BTreeMap::new()).expect("finite")
        })
    };
    let one = trained(1);
    assert_eq!(one, trained(2));
    assert_eq!(one, trained(3));
    assert_ne!(one, weights);
}

/// Nor do they in Burn.
#[test]
fn slopes_of_weights_held_at_zero_do_not_count() {
    let weights = weights(8);
    let (device, plane) = (Device::flex().autodiff(), SIDE * SIDE);
    let (photographs, masks) = (numbers(6, 3 * plane), masks_of(1));
    let pruning = Pruning::least(&weights, 0.5, 8);
    let mut engine = Engine::new(&weights, ADAM);
    engine.prune(&pruning);
    let output = engine.forward(&photographs, &masks, SIDE);
    engine.backward(&output);
    let whole: f64 = engine.gradients().values().flatten().map(|s| f64::from(*s).powi(2)).sum();
    let left = engine.gradient_norm();
    assert!(left < whole.sqrt(), "{left} of {}", whole.sqrt());
    let found = engine.gradients();
    let all: f64 = found.values().flatten().map(|slope| f64::from(*slope).powi(2)).sum();
    assert!((all.sqrt() / left - 1.0).abs() < 1e-6, "{all}, {left}");
    for (name, gone) in pruning.tensors() {
        let held = found[name].iter().zip(gone).filter(|(_, gone)| **gone);
        assert!(held.clone().count() > 0 && held.clone().all(|(slope, _)| *slope == 0.0), "{name}");
    }

    let kept = pruning.kept(weights.network(), &device);
    let model = Lbam::from_weights(&weights, &device).multiplied(&kept);
    let picture = model.forward(tensor(&photographs, 3, &device), tensor(&masks, 1, &device));
    let slopes = GradientsParams::from_grads(picture.square().sum().backward(), &model);
    let slopes = model.multiplied_gradients(slopes, &kept);
    let found = model.gradients(&slopes);
    for (name, gone) in pruning.tensors() {
        let mut pairs = found[name].iter().zip(gone);
        assert!(pairs.all(|(slope, gone)| !gone || *slope == 0.0), "{name}");
        assert!(found[name].iter().any(|slope| *slope != 0.0), "{name}");
    }
}

#[test]
fn weights_and_optimiser_come_back() {
    let weights = weights(6);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("optimiser.safetensors");
    let plane = SIDE * SIDE;
    let (photographs, masks) = (numbers(4, 3 * plane), masks_of(1));
    let step = |engine: &mut Engine| {
        let output = engine.forward(&photographs, &masks, SIDE);
        engine.backward(&output);
        engine.update(1e-3, 1.0);
    };
    let mut engine = Engine::new(&weights, ADAM);
    assert_eq!(engine.weights(BTreeMap::new()).expect("finite"), weights);
    step(&mut engine);
    engine.save_optimiser(&path).expect("saved");
    let mut again = Engine::new(&engine.weights(BTreeMap::new()).expect("finite"), ADAM);
    again.load_optimiser(&path).expect("read");
    step(&mut engine);
    step(&mut again);
    let finite = |engine: &Engine| engine.weights(BTreeMap::new()).expect("finite");
    assert_eq!(finite(&engine), finite(&again));
    // Another network's, half a file, none.
    let mut other = Engine::new(&self::weights(16), ADAM);
    let refused = |engine: &mut Engine| engine.load_optimiser(&path).unwrap_err().to_string();
    assert!(refused(&mut other).contains("another network"));
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    assert!(refused(&mut again).contains("optimiser.safetensors"));
    std::fs::remove_file(&path).expect("removed");
    assert!(refused(&mut again).contains("optimiser.safetensors"));
}
