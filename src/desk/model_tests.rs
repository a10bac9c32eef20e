//! The training network against the authors' numbers, and the health of its gradients.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use safetensors::SafeTensors;

use super::Lbam;
use crate::desk::{DeskError, import};
use crate::file::FileError;
use crate::net::{
    Attention, CLAMPS, ENCODER_LAYERS, MapActivation, MaskRule, Network, Preset, REVERSE_LAYERS,
    Variant, partial_map,
};

/// Sums of up to 2048 products in another order than PyTorch's differ by this in 32 bits.
const TOLERANCE: f32 = 1e-4;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn floats(tensor: Tensor<4>) -> Vec<f32> {
    tensor.to_data().try_to_vec::<f32>().expect("floats")
}

#[test]
fn every_activation_agrees_with_the_authors() {
    let device = Device::flex();
    let bytes = std::fs::read(data("parity/activations.safetensors")).expect("reference");
    let reference = SafeTensors::deserialize(&bytes).expect("reference");
    let expected = |name: &str| -> Tensor<4> {
        let view = reference.tensor(name).expect("there");
        let values = view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b));
        let data = TensorData::new(values.collect::<Vec<f32>>(), view.shape().to_vec());
        Tensor::from_data(data, &device)
    };
    let weights = import(&data("parity/official_width_8.pth")).expect("the checkpoint");
    let model = Lbam::from_weights(&weights, &device);
    let maps = model.maps(expected("mask").slice([0..1, 0..1]));
    let activations = model.activations(expected("input"), &maps);
    let mut compared = 0;
    let groups = [
        ("ec{}.attention", &maps.forward),
        ("reverseConv{}.attention", &maps.reverse),
        ("reverseConv{}.features", &maps.updated),
        ("ec{}.features", &activations.encoder),
        ("dc{}.features", &activations.decoder[..6].to_vec()),
        // The reference's dc7.features are before the tanh.
        ("output", &activations.decoder[6..].to_vec()),
    ];
    for (pattern, tensors) in groups {
        for (index, tensor) in tensors.iter().enumerate() {
            let name = pattern.replace("{}", &(index + 1).to_string());
            let difference = (tensor.clone() - expected(&name)).abs().max().into_scalar::<f32>();
            assert!(difference < TOLERANCE, "{name} differs by {difference}");
            compared += 1;
        }
    }
    assert_eq!(compared, 7 + 6 + 6 + 7 + 7);
}

#[test]
fn weights_come_back_from_the_network() {
    let device = Device::flex();
    let weights = import(&data("parity/official_width_8.pth")).expect("the checkpoint");
    let again = Lbam::from_weights(&weights, &device).weights(weights.provenance.clone());
    assert_eq!(again.expect("finite"), weights);
}

/// Collects whether every gradient is there and finite.
struct Gradients<'a> {
    gradients: &'a burn::optim::GradientsParams,
    seen: usize,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let gradient = self.gradients.get::<D>(parameter.id).expect("every parameter has one");
        let values = gradient.to_data().try_to_vec::<f32>().expect("floats");
        assert!(values.iter().all(|value| value.is_finite()), "a gradient is not finite");
        self.seen += 1;
    }
}

#[test]
fn no_gradient_is_nan_or_infinite() {
    let device = Device::flex().autodiff();
    device.seed(1);
    let network = Network::from(Preset::Nano);
    let model = Lbam::initialise(network, 1, &device);
    let pictures: Tensor<4> =
        Tensor::random([2, 3, 128, 128], Distribution::Uniform(0.0, 1.0), &device);
    let noise: Tensor<4> =
        Tensor::random([1, 1, 128, 128], Distribution::Uniform(0.0, 1.0), &device);
    // All known and all hole put whole maps at 0, where the mask update's slope is infinite.
    for masks in [noise.clone().greater_elem(0.5).float(), noise.ones_like(), noise.zeros_like()] {
        let loss = (model.forward(pictures.clone(), masks) - pictures.clone()).abs().mean();
        let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &model);
        let mut visitor = Gradients { gradients: &gradients, seen: 0 };
        model.visit(&mut visitor);
        // Four scalars are one parameter.
        let scalars = CLAMPS.len() * (ENCODER_LAYERS + REVERSE_LAYERS);
        assert_eq!(visitor.seen, network.parameters().len() - scalars * 3 / 4);
    }
}

fn clamps(device: &Device) {
    let ranges = Lbam::ranges(device);
    for (by, wanted) in [
        (50.0, CLAMPS.map(|clamp| clamp.max)),
        (-50.0, CLAMPS.map(|clamp| clamp.min)),
        (f32::NAN, [f32::NAN; 4]),
    ] {
        let mut model = Lbam::initialise(Network::from(Preset::Nano), 1, device);
        for layer in model.forward.iter_mut().chain(&mut model.reverse) {
            layer.scalars =
                layer.scalars.clone().map(|value| (value.inner() + by).autodiff().require_grad());
        }
        let model = model.clamped(&ranges);
        for layer in model.forward.iter().chain(&model.reverse) {
            let scalars = layer.scalars.val().to_data().try_to_vec::<f32>().expect("floats");
            let alike = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
            assert!(scalars.iter().zip(&wanted).all(alike), "{scalars:?}, not {wanted:?}");
        }
    }
}

#[test]
fn clamping_brings_every_scalar_into_its_range() {
    clamps(&Device::flex().autodiff());
}

/// On whatever Vulkan device there is, Mesa's software one too.
#[cfg(feature = "wgpu")]
#[test]
fn wgpus_kernel_clamps() {
    clamps(&Device::wgpu(burn::tensor::DeviceKind::DefaultDevice).autodiff());
}

#[test]
fn a_shared_mask_equals_the_same_mask_for_each_picture() {
    let device = Device::flex();
    device.seed(2);
    let model = Lbam::initialise(Network::from(Preset::Nano), 2, &device);
    let uniform = Distribution::Uniform(0.0, 1.0);
    let pictures: Tensor<4> = Tensor::random([2, 3, 128, 128], uniform, &device);
    let mask: Tensor<4> = Tensor::random([1, 1, 128, 128], uniform, &device);
    let mask = mask.greater_elem(0.5).float();
    let shared = floats(model.forward(pictures.clone(), mask.clone()));
    let own = floats(model.forward(pictures, Tensor::cat(vec![mask.clone(), mask], 0)));
    assert_eq!(shared.len(), own.len());
    assert!(shared.iter().zip(&own).all(|(shared, own)| (shared - own).abs() < TOLERANCE));
}

/// A fresh network of a variant.
fn variant(attention: MapActivation, masks: MaskRule) -> Lbam {
    let device = Device::flex();
    let weights =
        Lbam::initialise(Network::from(Preset::Nano), 3, &device).weights(BTreeMap::new());
    let variant = Variant::new(attention, masks).expect("a variant");
    Lbam::from_weights(&weights.expect("finite").with_variant(variant), &device)
}

#[test]
fn activations_are_their_definitions() {
    let features: Vec<f32> = (-600..600).map(|step| step as f32 / 100.0).collect();
    for activation in MapActivation::ALL {
        let model = variant(activation, MaskRule::Both);
        let data = TensorData::new(features.clone(), [1, 1, 30, 40]);
        let input: Tensor<4> = Tensor::from_data(data, &Device::flex());
        let maps = floats(model.attend(&model.forward[0], input));
        for (map, &x) in maps.iter().zip(&features) {
            let wanted = activation.attend(x, &Attention::FORWARD_START);
            assert!((map - wanted).abs() < TOLERANCE, "{activation:?} of {x}: {map}, {wanted}");
        }
    }
}

#[test]
fn partial_convolution_counts_what_is_known() {
    const SIDE: usize = 128;
    let device = Device::flex();
    let model = variant(MapActivation::Gaussian, MaskRule::PartialConvolution);
    let known = |y: usize, x: usize| (y * x).is_multiple_of(7) && (y < 40 || x > 100);
    let values: Vec<f32> =
        (0..SIDE * SIDE).map(|at| if known(at / SIDE, at % SIDE) { 1.0 } else { 0.0 }).collect();
    let mask: Tensor<4> = Tensor::from_data(TensorData::new(values, [1, 1, SIDE, SIDE]), &device);
    let maps = model.maps(mask);
    assert!(maps.reverse.iter().all(|map| floats(map.clone()) == [1.0]));
    assert_eq!(maps.forward.len(), ENCODER_LAYERS);
    let mut below = vec![vec![false; SIDE]; SIDE];
    for (y, row) in below.iter_mut().enumerate() {
        row.iter_mut().enumerate().for_each(|(x, pixel)| *pixel = known(y, x));
    }
    for map in maps.forward {
        let side = below.len() / 2;
        assert_eq!(map.dims(), [1, 1, side, side]);
        let at = |y: isize, x: isize| {
            let pixel = usize::try_from(y).ok().and_then(|y| below.get(y));
            pixel.zip(usize::try_from(x).ok()).is_some_and(|(row, x)| row.get(x) == Some(&true))
        };
        let mut above = vec![vec![false; side]; side];
        for (index, found) in floats(map).into_iter().enumerate() {
            let (y, x) = (index / side, index % side);
            let taps = (0..16).map(|tap| (tap / 4 - 1, tap % 4 - 1));
            let count =
                taps.filter(|(down, right)| at(2 * y as isize + down, 2 * x as isize + right));
            let count = count.count() as f32;
            let wanted = partial_map(count);
            assert!((found - wanted).abs() < TOLERANCE, "{y}, {x}: {found}, {wanted}");
            above[y][x] = count > 0.0;
        }
        below = above;
    }
}

#[test]
fn scalars_outside_their_clamp_are_clamped_on_import() {
    let weights = import(&data("parity/official_width_8.pth")).expect("the checkpoint");
    assert_eq!(weights.network(), Network::from(Preset::Nano));
    for conv in [weights.network().forward(), weights.network().reverse()].concat() {
        for clamp in CLAMPS {
            let name = format!("{}.{}", conv.attention.clone().unwrap_or_default(), clamp.name);
            let value = weights.values(&name)[0];
            assert!((clamp.min..=clamp.max).contains(&value), "{name} is {value}");
        }
    }
}

#[test]
fn files_of_old_pytorch_are_read() {
    let tensors = import::tensors(&data("import/legacy_stream.pth"), |_| true).expect("read");
    let plain: Vec<f32> = (0..12_u8).map(f32::from).collect();
    assert_eq!(tensors["plain.weight"], (vec![3, 4], plain));
    let turned = [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11_u8].map(f32::from).to_vec();
    assert_eq!(tensors["turned.weight"], (vec![4, 3], turned));
}

#[test]
fn foreign_and_hostile_checkpoints_are_refused() {
    for (name, said) in [
        ("legacy_tar", "legacy_tar.pth"),
        ("legacy_stream", "ec1.conv.conv.weight is missing"),
        ("evil", "evil.pth"),
    ] {
        let path = data(&format!("import/{name}.pth"));
        match import(&path) {
            Err(DeskError::Checkpoint { .. }) => {}
            other => panic!("{name}: {other:?}"),
        }
        let message = import(&path).expect_err("refused").to_string();
        assert!(message.contains(said) && message.contains(".pth"), "{message}");
    }
    assert!(!Path::new("/tmp/lbam-was-pwned-").exists(), "the pickle's code ran");
    assert!(import(&data("parity/picture.png")).is_err());
    assert!(matches!(import(&data("absent.pth")), Err(DeskError::File(FileError::Read { .. }))));
}
