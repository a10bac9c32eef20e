//! LPIPS: how unlike two pictures look, as people judge it (Zhang et al. 2018, version 0.1).
//!
//! Both pictures go through a classifier of photographs. Each pixel's features have unit length;
//! the squares of their differences are weighted by channel, with weights fitted to people's
//! judgments, and averaged over the picture. PSNR prefers a blur to texture in the wrong place;
//! this does not.

use std::path::Path;

use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor, TensorData};

use super::DeskError;
use super::feature_file::{Convolution, FeatureFile};
use crate::picture::RgbPicture;

/// Means and deviations of ImageNet's red, green and blue, for values from 0 to 1, as LPIPS rounds
/// them (it has them for values from -1 to 1).
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];
/// Keeps features that are all 0 from dividing by nothing.
const EPSILON: f32 = 1e-10;

/// A classifier's layers up to where its features are compared for the last time.
struct Architecture {
    name: &'static str,
    /// Side of the maximum's window between stages, which are 2 apart.
    window: usize,
    /// Each stage's convolutions: place in torchvision's `features`, side of the kernel, stride.
    /// Padding keeps the size where the stride is 1.
    stages: [&'static [(usize, usize, usize)]; 5],
    /// Whether there is a maximum before each stage.
    pooled: [bool; 5],
}

const ALEXNET: Architecture = Architecture {
    name: "alexnet",
    window: 3,
    stages: [&[(0, 11, 4)], &[(3, 5, 1)], &[(6, 3, 1)], &[(8, 3, 1)], &[(10, 3, 1)]],
    pooled: [false, true, true, false, false],
};
const VGG16: Architecture = Architecture {
    name: "vgg16",
    window: 2,
    stages: [
        &[(0, 3, 1), (2, 3, 1)],
        &[(5, 3, 1), (7, 3, 1)],
        &[(10, 3, 1), (12, 3, 1), (14, 3, 1)],
        &[(17, 3, 1), (19, 3, 1), (21, 3, 1)],
        &[(24, 3, 1), (26, 3, 1), (28, 3, 1)],
    ],
    pooled: [false, true, true, true, true],
};

/// A classifier and the weights of its channels.
#[derive(Debug)]
pub struct Lpips {
    name: &'static str,
    stages: Vec<Stage>,
    device: Device,
}

#[derive(Debug)]
struct Stage {
    /// Side of the window of the maximum before it, if there is one.
    window: Option<usize>,
    /// With stride and padding.
    convolutions: Vec<(Convolution, usize, usize)>,
    /// `[1, C, 1, 1]`.
    weights: Tensor<4>,
}

/// What a picture is compared by: features `[1, C, H, W]` of each stage, of unit length or 0.
#[derive(Debug)]
pub struct Look(Vec<Tensor<4>>);

impl Lpips {
    /// Reads torchvision's `features` of `alexnet` or `vgg16` (the first kernel tells which) with
    /// the lpips package's `linN.model.1.weight` beside them, `.pth` or `.safetensors`.
    /// Widths are the file's.
    ///
    /// # Errors
    /// [`DeskError`] where the file is not read, or a tensor is absent, of another shape, not
    /// 32-bit, not finite, or a weight is negative.
    pub fn read(path: &Path) -> Result<Self, DeskError> {
        let device = Device::flex();
        let mut file = FeatureFile::read(path, "alexnet or vgg16 with LPIPS' weights")?;
        let architecture = if file.first_side() == Some(11) { ALEXNET } else { VGG16 };
        let mut channels = 3;
        let mut stages = Vec::new();
        for (index, layers) in architecture.stages.into_iter().enumerate() {
            let mut convolutions = Vec::new();
            for &(place, side, stride) in layers {
                let convolution = file.convolution(place, channels, side, &device)?;
                channels = convolution.outputs();
                convolutions.push((convolution, stride, if stride == 1 { side / 2 } else { 2 }));
            }
            let name = format!("lin{index}.model.1.weight");
            let (shape, weights) = file.take(&name)?;
            if shape != [1, channels, 1, 1] || weights.iter().any(|&weight| weight < 0.0) {
                let reason = format!("{name} {shape:?} is not [1, {channels}, 1, 1] of 0 and more");
                return Err(file.refused(reason));
            }
            stages.push(Stage {
                window: architecture.pooled[index].then_some(architecture.window),
                convolutions,
                weights: Tensor::from_data(TensorData::new(weights, shape), &device),
            });
        }
        Ok(Self { name: architecture.name, stages, device })
    }

    /// The classifier's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What `picture`, 32x32 pixels or larger, is compared by.
    pub fn look(&self, picture: &RgbPicture) -> Look {
        let RgbPicture { width, height, .. } = *picture;
        let value = |(at, &level): (usize, &u8)| {
            (f32::from(level) / 255.0 - MEAN[at % 3]) / DEVIATION[at % 3]
        };
        let values: Vec<f32> = picture.data.iter().enumerate().map(value).collect();
        let values = TensorData::new(values, [1, height, width, 3]);
        let mut features = Tensor::<4>::from_data(values, &self.device).permute([0, 3, 1, 2]);
        let stage = |stage: &Stage| {
            if let Some(side) = stage.window {
                let options = MaxPoolOptions::new([side; 2]).with_stride([2, 2]);
                features = max_pool2d(features.clone(), options);
            }
            for (convolution, stride, padding) in &stage.convolutions {
                features = relu(convolution.apply(features.clone(), *stride, *padding));
            }
            let length = (features.clone() * features.clone()).sum_dim(1).sqrt();
            features.clone() / (length + EPSILON)
        };
        Look(self.stages.iter().map(stage).collect())
    }

    /// How far apart two pictures of one size are: 0 for equal ones, seldom above 1.
    pub fn distance(&self, first: &Look, second: &Look) -> f64 {
        let stages = self.stages.iter().zip(first.0.iter().zip(&second.0));
        stages
            .map(|(stage, (first, second))| {
                let difference = first.clone() - second.clone();
                let weighted = difference.clone() * difference * stage.weights.clone();
                f64::from(weighted.sum_dim(1).mean().into_scalar::<f32>())
            })
            .sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::desk::feature_file::tests::{MadeUp, renamed};

    /// Writes a network of few channels; `tests/references/lpips.py` has the same numbers.
    pub fn write_small(path: &Path, architecture: &str) {
        let architecture = if architecture == "alexnet" { ALEXNET } else { VGG16 };
        let mut file = MadeUp::default();
        for (stage, layers) in architecture.stages.into_iter().enumerate() {
            let outputs = 4 + stage;
            for &(place, side, _) in layers {
                file.convolution(place, outputs, side);
            }
            let weights = (0..outputs).map(|i| 0.1 + 0.05 * i as f32).collect();
            file.push(format!("lin{stage}.model.1.weight"), vec![1, outputs, 1, 1], weights);
        }
        file.write(path);
    }

    fn picture(shift: f64) -> RgbPicture {
        let level = |i: usize| 128.0 + 127.0 * (0.05 * i as f64 * (1.0 + shift) + shift).sin();
        let data = (0..3 * 48 * 64).map(|i| level(i).round() as u8).collect();
        RgbPicture::new(64, 48, data).unwrap()
    }

    #[test]
    fn distances_are_those_of_another_implementation() {
        let folder = tempfile::tempdir().unwrap();
        // Printed by tests/references/lpips.py.
        for (name, wanted) in [("alexnet", ALEXNET_DISTANCE), ("vgg16", VGG16_DISTANCE)] {
            let path = folder.path().join(name).with_extension("safetensors");
            write_small(&path, name);
            let lpips = Lpips::read(&path).unwrap();
            assert_eq!(lpips.name(), name);
            let [a, b] = [0.0, 0.1].map(|shift| lpips.look(&picture(shift)));
            let found = lpips.distance(&a, &b);
            assert!((found / wanted - 1.0).abs() < 1e-4, "{name}: {found} is not {wanted}");
            assert_eq!(lpips.distance(&a, &a), 0.0);
        }
    }

    const ALEXNET_DISTANCE: f64 = 0.445_364_58;
    const VGG16_DISTANCE: f64 = 0.583_814_39;

    #[test]
    fn files_without_the_weights_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.safetensors");
        write_small(&path, "alexnet");
        let whole = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Lpips::read(&path).unwrap_err().to_string()
        };
        let absent = refused(&renamed(&whole, "lin3.model", "lin9.model"));
        assert!(
            absent.contains("lin3.model.1.weight") && absent.contains("small.safe"),
            "{absent}"
        );
        let shape = refused(&renamed(&whole, "[1,6,1,1]", "[6,1,1,1]"));
        assert!(shape.contains("lin2.model.1.weight"), "{shape}");
        let mut negative = whole.clone();
        let end = negative.len();
        negative[end - 4..].copy_from_slice(&(-1.0_f32).to_le_bytes());
        assert!(refused(&negative).contains("0 and more"));
        // A feature network without LPIPS' own weights.
        crate::desk::features::tests::write_small(&path);
        let features = Lpips::read(&path).unwrap_err().to_string();
        assert!(features.contains("has no lin0.model.1.weight"), "{features}");
    }
}
