//! Weights of classifiers of photographs, by which pictures are compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};

use super::DeskError;
use super::import::{Tensors, tensors};
use crate::file::FileError;

/// The tensors of a file.
pub struct FeatureFile {
    path: PathBuf,
    network: &'static str,
    tensors: Tensors,
}

/// One convolution with its biases.
#[derive(Clone, Debug)]
pub struct Convolution {
    kernel: Tensor<4>,
    bias: Tensor<1>,
}

impl FeatureFile {
    /// Reads a torch zip file (`.pth`) or a `.safetensors` file; `network` is what it should hold,
    /// for errors. A classifier's own layers are left out.
    ///
    /// # Errors
    /// [`DeskError`] where the file is not read, or a tensor is not 32-bit.
    pub fn read(path: &Path, network: &'static str) -> Result<Self, DeskError> {
        let wanted = |name: &str| name.starts_with("features.") || name.starts_with("lin");
        let tensors = if path.extension().is_some_and(|extension| extension == "safetensors") {
            let bytes = std::fs::read(path).map_err(|source| FileError::read(path, source))?;
            from_safetensors(&bytes, wanted)
                .map_err(|reason| DeskError::checkpoint(path, reason))?
        } else {
            tensors(path, wanted)?
        };
        Ok(Self { path: path.to_owned(), network, tensors })
    }

    /// Side of the first convolution's kernel, pixels; `None` where there is no such convolution.
    pub fn first_side(&self) -> Option<usize> {
        self.tensors.get(&names(0)[0]).and_then(|(shape, _)| shape.last().copied())
    }

    /// Takes a tensor out.
    ///
    /// # Errors
    /// [`DeskError::Checkpoint`] where it is absent or not finite.
    pub fn take(&mut self, name: &str) -> Result<(Vec<usize>, Vec<f32>), DeskError> {
        let (shape, values) = self
            .tensors
            .remove(name)
            .ok_or_else(|| self.refused(format!("has no {name}; this is not {}", self.network)))?;
        match values.iter().all(|value| value.is_finite()) {
            true => Ok((shape, values)),
            false => Err(self.refused(format!("{name} is not finite"))),
        }
    }

    /// Takes the convolution at a place of torchvision's `features` out: `inputs` channels, kernels
    /// of `side` x `side`.
    ///
    /// # Errors
    /// [`DeskError::Checkpoint`] where it is absent, of another shape or not finite.
    pub fn convolution(
        &mut self,
        place: usize,
        inputs: usize,
        side: usize,
        device: &Device,
    ) -> Result<Convolution, DeskError> {
        let [weight, bias] = names(place);
        let ((shape, kernel), (bias_shape, bias)) = (self.take(&weight)?, self.take(&bias)?);
        let outputs = shape.first().copied().unwrap_or_default();
        if shape != [outputs, inputs, side, side] || bias_shape != [outputs] {
            return Err(self.refused(format!(
                "{weight} is {shape:?} with a bias of {bias_shape:?}; \
                 wanted [N, {inputs}, {side}, {side}] and [N]"
            )));
        }
        Ok(Convolution {
            kernel: Tensor::from_data(TensorData::new(kernel, shape), device),
            bias: Tensor::from_data(TensorData::new(bias, bias_shape), device),
        })
    }

    /// The error that names this file.
    pub fn refused(&self, reason: String) -> DeskError {
        DeskError::checkpoint(&self.path, reason)
    }
}

impl Convolution {
    /// Channels that it gives.
    pub fn outputs(&self) -> usize {
        self.bias.dims()[0]
    }

    /// Of features `[N, inputs, H, W]`.
    pub fn apply(&self, features: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
        conv2d(features, self.kernel.clone(), Some(self.bias.clone()), options)
    }
}

/// The names of a convolution's kernel and bias.
fn names(place: usize) -> [String; 2] {
    ["weight", "bias"].map(|kind| format!("features.{place}.{kind}"))
}

fn from_safetensors(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Tensors, String> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("not a safetensors file that can be read: {error}"))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter().filter(|(name, _)| wanted(name)) {
        if view.dtype() != Dtype::F32 {
            return Err(format!("{name} is {:?}, not F32", view.dtype()));
        }
        let values = view.data().as_chunks::<4>().0;
        let values = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        tensors.insert(name.to_owned(), (view.shape().to_vec(), values));
    }
    Ok(tensors)
}

#[cfg(test)]
pub(super) mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    /// A network with made-up weights; `tests/references` has the same numbers.
    #[derive(Default)]
    pub struct MadeUp {
        tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
        /// Convolutions so far, and what the last one gives.
        layers: usize,
        channels: Option<usize>,
    }

    impl MadeUp {
        /// The next convolution, of what the one before it gives.
        pub fn convolution(&mut self, place: usize, outputs: usize, side: usize) {
            let inputs = self.channels.replace(outputs).unwrap_or(3);
            let (count, layer) = (inputs * side * side, self.layers as f64);
            let spread = (2.0 / count as f64).sqrt() * 1.4;
            let kernel = (0..outputs * count)
                .map(|i| (spread * (0.37 * i as f64 + layer).sin()) as f32)
                .collect();
            let bias = (0..outputs).map(|i| (0.1 * (i as f64).cos()) as f32).collect();
            let [weight_name, bias_name] = names(place);
            self.push(weight_name, vec![outputs, inputs, side, side], kernel);
            self.push(bias_name, vec![outputs], bias);
            self.layers += 1;
        }

        pub fn push(&mut self, name: String, shape: Vec<usize>, values: Vec<f32>) {
            self.tensors.push((name, shape, values));
        }

        pub fn write(&self, path: &Path) {
            let views = self.tensors.iter().map(|(name, shape, values)| {
                let bytes = bytemuck::cast_slice(values);
                (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
            });
            std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
        }
    }

    /// The file with the first `from` in it replaced by `to`, which is as long.
    pub fn renamed(whole: &[u8], from: &str, to: &str) -> Vec<u8> {
        let at = whole.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bytes = whole.to_vec();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    }
}
