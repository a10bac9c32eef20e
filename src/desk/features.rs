//! Perceptual and style losses: how alike two pictures are to a classifier of photographs.
//!
//! The classifier is VGG-16 (Simonyan and Zisserman 2015) up to its third pooling; its features
//! after each pooling are compared (Johnson et al. 2016), and their Gram matrices, which know what
//! texture there is and not where (Gatys et al. 2016). As in the authors' code pictures go in as
//! they are, from 0 to 1, without the mean and deviation of ImageNet.

use std::path::Path;

use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};

use super::DeskError;
use super::feature_file::{Convolution, FeatureFile};

/// Positions of the convolutions in torchvision's `vgg16().features`, in blocks that each end in a
/// pooling.
const BLOCKS: [&[usize]; 3] = [&[0, 2], &[5, 7], &[10, 12, 14]];
/// Side of the kernels.
const KERNEL: usize = 3;

/// A feature network that is not trained itself.
#[derive(Clone, Debug)]
pub struct Features {
    blocks: Vec<Vec<Convolution>>,
}

/// What the comparison of an output and its composite with the original gives; none is weighted.
#[derive(Debug)]
pub struct FeatureLosses {
    /// Mean absolute differences of features, summed over poolings and both pictures.
    pub perceptual: Tensor<1>,
    /// The same of Gram matrices, which are divided by channels and pixels.
    pub style: Tensor<1>,
}

impl Features {
    /// Reads `features.N.weight` and `.bias` from torchvision's `vgg16` (`.pth`) or from a
    /// `.safetensors` file with the same names. Widths are the file's.
    ///
    /// # Errors
    /// [`DeskError`] where the file is not read, or a tensor is absent, of another shape, not
    /// 32-bit or not finite.
    pub fn read(path: &Path, device: &Device) -> Result<Self, DeskError> {
        let mut file = FeatureFile::read(path, "torchvision's vgg16")?;
        let mut channels = 3;
        let mut convolution = |place: &usize| {
            let found = file.convolution(*place, channels, KERNEL, device)?;
            channels = found.outputs();
            Ok(found)
        };
        let blocks = BLOCKS
            .iter()
            .map(|block| block.iter().map(&mut convolution).collect())
            .collect::<Result<_, DeskError>>()?;
        Ok(Self { blocks })
    }

    /// Compares `output` and `composite` with `original`, all `[N, 3, H, W]` in `0.0..=1.0`.
    pub fn losses(
        &self,
        output: Tensor<4>,
        composite: Tensor<4>,
        original: Tensor<4>,
    ) -> FeatureLosses {
        let device = original.device();
        let nothing = Tensor::<1>::zeros([1], &device);
        let wanted = self.pooled(original);
        let mut losses = FeatureLosses { perceptual: nothing.clone(), style: nothing };
        for picture in [output, composite] {
            for (features, wanted) in self.pooled(picture).into_iter().zip(&wanted) {
                let difference = (features.clone() - wanted.clone()).abs().mean();
                losses.perceptual = losses.perceptual + difference;
                losses.style = losses.style + (gram(features) - gram(wanted.clone())).abs().mean();
            }
        }
        losses
    }

    /// The features after each pooling.
    fn pooled(&self, picture: Tensor<4>) -> Vec<Tensor<4>> {
        let mut features = picture;
        let block = |convolutions: &Vec<Convolution>| {
            for convolution in convolutions {
                features = relu(convolution.apply(features.clone(), 1, 1));
            }
            features = max_pool2d(features.clone(), MaxPoolOptions::new([2, 2]));
            features.clone()
        };
        self.blocks.iter().map(block).collect()
    }
}

/// Inner products of all channels `[N, C, C]`, divided by channels and pixels.
fn gram(features: Tensor<4>) -> Tensor<3> {
    let [count, channels, height, width] = features.dims();
    let rows = features.reshape([count, channels, height * width]);
    rows.clone().matmul(rows.swap_dims(1, 2)) / (channels * height * width) as f32
}

#[cfg(test)]
pub(super) mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::desk::feature_file::tests::{MadeUp, renamed};

    /// Widths of the seven convolutions of a feature network small enough for tests.
    const WIDTHS: [usize; 7] = [4, 4, 6, 6, 8, 8, 8];

    /// Writes that network; `tests/references/features.py` has the same numbers.
    pub fn write_small(path: &Path) {
        let mut file = MadeUp::default();
        for (place, outputs) in BLOCKS.concat().into_iter().zip(WIDTHS) {
            file.convolution(place, outputs, KERNEL);
        }
        file.write(path);
    }

    fn picture(shift: f64, device: &Device) -> Tensor<4> {
        let values: Vec<f32> = (0..2 * 3 * 16 * 24)
            .map(|i| (0.5 + 0.5 * (0.05 * i as f64 * (1.0 + shift) + shift).sin()) as f32)
            .collect();
        Tensor::from_data(TensorData::new(values, [2, 3, 16, 24]), device)
    }

    #[test]
    fn the_losses_are_those_of_another_implementation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.safetensors");
        write_small(&path);
        let device = Device::flex();
        let features = Features::read(&path, &device).unwrap();
        let [output, composite, original] = [0.1, 0.2, 0.0].map(|shift| picture(shift, &device));
        let losses = features.losses(output, composite, original.clone());
        // Printed by tests/references/features.py.
        let close = |found: f32, wanted: f32| {
            assert!((found / wanted - 1.0).abs() < 1e-4, "{found} is not {wanted}");
        };
        close(losses.perceptual.into_scalar(), PERCEPTUAL);
        close(losses.style.into_scalar(), STYLE);
        let same = features.losses(original.clone(), original.clone(), original);
        assert_eq!(same.perceptual.into_scalar::<f32>(), 0.0);
        assert_eq!(same.style.into_scalar::<f32>(), 0.0);
    }

    const PERCEPTUAL: f32 = 3.446_465;
    const STYLE: f32 = 1.642_888;

    #[test]
    fn files_that_are_no_feature_network_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.safetensors");
        write_small(&path);
        let device = Device::flex();
        let whole = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8], name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Features::read(&path, &device).unwrap_err().to_string()
        };
        let absent =
            refused(&renamed(&whole, "features.5.bias", "features.6.bias"), "a.safetensors");
        assert!(absent.contains("features.5.bias"), "{absent}");
        let shape = refused(&renamed(&whole, "[6,4,3,3]", "[4,6,3,3]"), "b.safetensors");
        assert!(shape.contains("features.5.weight"), "{shape}");
        let mut nan = whole.clone();
        let end = nan.len();
        nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(refused(&nan, "c.safetensors").contains("not finite"));
        assert!(refused(&whole[..100], "d.safetensors").contains("d.safetensors"));
        assert!(refused(b"no checkpoint", "e.pth").contains("e.pth"));
    }
}
