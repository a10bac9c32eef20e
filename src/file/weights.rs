//! Training weights: safetensors in the authors' names and layouts, 32-bit floats.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::FileError;
use super::atomic::write_atomically;
use crate::net::{Attention, Conv, KERNEL, MapActivation, MaskRule, Network, Variant};

/// Metadata key that names the kind of network.
pub(super) const ARCHITECTURE_KEY: &str = "architecture";
/// Its only value so far.
const ARCHITECTURE: &str = "lbam";
/// Metadata key of the base channels.
const BASE_KEY: &str = "base_channels";
/// Metadata keys of the variant's parts. Absent: the paper's, which is never written.
const ATTENTION_KEY: &str = "attention";
const MASKS_KEY: &str = "attention_masks";

/// Key and value of provenance that say more than whence: the weights were trained without an
/// adversary, so that what they fill in is smooth.
pub const FILLS: &str = "fills";
pub const SMOOTH: &str = "smooth";

/// The weights of one network: for each entry of [`Network::parameters`] its values, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    network: Network,
    variant: Variant,
    tensors: BTreeMap<String, Vec<f32>>,
    /// Where the weights come from, in free words: data, command, steps. Travels with the files.
    pub provenance: BTreeMap<String, String>,
}

impl Weights {
    /// Moves every value a share of the way to `other`'s, which belongs to a network alike.
    pub fn approach(&mut self, other: &Self, share: f32) {
        for (name, values) in &mut self.tensors {
            for (value, other) in values.iter_mut().zip(other.values(name)) {
                *value += share * (other - *value);
            }
        }
    }

    /// From named tensors with their shapes, of the paper's variant. The width is read off the
    /// first encoder kernel; attention scalars are brought into their ranges.
    ///
    /// # Errors
    /// [`FileError::Tensor`] names the first tensor that is missing, is not known to the network,
    /// has another shape, or holds a value that is not finite.
    pub fn from_tensors(
        tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
        provenance: BTreeMap<String, String>,
    ) -> Result<Self, FileError> {
        let first = Network::new(1)?.encoder()[0].weight.clone();
        let base = match tensors.get(&first) {
            Some((shape, _)) if shape.len() == 4 => shape[0],
            Some((shape, _)) => {
                return Err(FileError::tensor(first, format!("has shape {shape:?}, not 4-D")));
            }
            None => return Err(FileError::tensor(first, "is missing; is this an LBAM network?")),
        };
        let network = Network::new(base)?;
        let mut tensors = tensors;
        let mut checked = BTreeMap::new();
        for parameter in network.parameters() {
            let Some((shape, values)) = tensors.remove(&parameter.name) else {
                return Err(FileError::tensor(parameter.name, "is missing"));
            };
            // Scalars may come as 0-D, which is how PyTorch saves them.
            let scalar = parameter.shape == [1] && shape.is_empty();
            if (shape != parameter.shape && !scalar)
                || values.len() != parameter.shape.iter().product::<usize>()
            {
                let wanted = parameter.shape;
                let reason = format!("has shape {shape:?} where the network has {wanted:?}");
                return Err(FileError::tensor(parameter.name, reason));
            }
            if values.iter().any(|value| !value.is_finite()) {
                return Err(FileError::tensor(parameter.name, "holds a value that is not finite"));
            }
            checked.insert(parameter.name, values);
        }
        if let Some((name, _)) = tensors.pop_first() {
            return Err(FileError::tensor(name, "is not part of this network"));
        }
        let mut weights = Self { network, variant: Variant::PAPER, tensors: checked, provenance };
        weights.clamp();
        Ok(weights)
    }

    fn clamp(&mut self) {
        for conv in [self.network.forward(), self.network.reverse()].concat() {
            let Some(prefix) = conv.attention else { continue };
            let scalars = self.attention(&prefix).scalars();
            for (clamp, value) in crate::net::CLAMPS.iter().zip(scalars) {
                self.tensors.insert(format!("{prefix}.{}", clamp.name), vec![value]);
            }
        }
    }

    /// Whether no value is infinite or no number.
    pub fn is_finite(&self) -> bool {
        self.tensors.values().flatten().all(|value| value.is_finite())
    }

    /// The network these weights belong to.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The variant of it that they were trained for.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// The same numbers as those of a variant.
    pub fn with_variant(self, variant: Variant) -> Self {
        Self { variant, ..self }
    }

    /// Refuses what no device can run.
    ///
    /// # Errors
    /// [`FileError::Variant`] for every variant but the paper's.
    pub fn for_devices(&self) -> Result<(), FileError> {
        match self.variant == Variant::PAPER {
            true => Ok(()),
            false => Err(FileError::Variant(self.variant)),
        }
    }

    /// The values of a parameter, row-major.
    ///
    /// # Panics
    /// If `name` is not a parameter of the network.
    pub fn values(&self, name: &str) -> &[f32] {
        &self.tensors[name]
    }

    /// The kernel of a convolution as it is run, `[output, applied inputs, 4, 4]`: summed over inputs that
    /// are all equal.
    ///
    /// # Panics
    /// If it is none of the network.
    pub fn applied(&self, conv: &Conv) -> Cow<'_, [f32]> {
        let values = self.values(&conv.weight);
        if conv.applied_inputs() == conv.input {
            return values.into();
        }
        let taps = KERNEL * KERNEL;
        let mut sums = vec![0.0; conv.output * taps];
        for (index, value) in values.iter().enumerate() {
            sums[index / (conv.input * taps) * taps + index % taps] += value;
        }
        sums.into()
    }

    /// The attention activation whose scalars have this prefix, in range.
    ///
    /// # Panics
    /// If `prefix` is not an attention layer of the network.
    pub fn attention(&self, prefix: &str) -> Attention {
        Attention::clamped(
            crate::net::CLAMPS.map(|clamp| self.values(&format!("{prefix}.{}", clamp.name))[0]),
        )
    }

    /// Reads a `.safetensors` file.
    ///
    /// # Errors
    /// [`FileError`] that names the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let bytes = std::fs::read(path).map_err(|source| FileError::read(path, source))?;
        Self::parse(&bytes).map_err(|error| error.in_file(path))
    }

    /// Reads a `.safetensors` file of a network that devices run.
    ///
    /// # Errors
    /// [`FileError`] that names the file and what is wrong with it, or that it is an ablation.
    pub fn read_for_devices(path: &Path) -> Result<Self, FileError> {
        let weights = Self::read(path)?;
        weights.for_devices().map_err(|error| error.in_file(path))?;
        Ok(weights)
    }

    fn parse(bytes: &[u8]) -> Result<Self, FileError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        if metadata.get("format").is_some_and(|format| format == "lbam") {
            return Err(FileError::Model);
        }
        if metadata.get(ARCHITECTURE_KEY).is_some_and(|name| name != ARCHITECTURE) {
            return Err(FileError::Architecture(metadata[ARCHITECTURE_KEY].clone()));
        }
        let part = |key: &str, otherwise: &'static str| -> String {
            metadata.get(key).cloned().unwrap_or_else(|| otherwise.to_owned())
        };
        let variant = Variant::named(
            &part(ATTENTION_KEY, MapActivation::default().name()),
            &part(MASKS_KEY, MaskRule::default().name()),
        )?;
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(bytes)?.iter() {
            if view.dtype() != Dtype::F32 {
                let reason = format!("is stored as {:?}; training weights are F32", view.dtype());
                return Err(FileError::tensor(name, reason));
            }
            let values = view.data().as_chunks::<4>().0;
            let values = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            tensors.insert(name.to_owned(), (view.shape().to_vec(), values));
        }
        let own = [ARCHITECTURE_KEY, BASE_KEY, ATTENTION_KEY, MASKS_KEY, "format"];
        let provenance =
            metadata.into_iter().filter(|(key, _)| !own.contains(&key.as_str())).collect();
        Ok(Self::from_tensors(tensors, provenance)?.with_variant(variant))
    }

    /// Writes a `.safetensors` file: aside, then renamed, so that a reader never sees half of it.
    ///
    /// # Errors
    /// [`FileError::Write`] where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let parameters = self.network.parameters();
        let views: Vec<(&str, TensorView)> = parameters
            .iter()
            .map(|parameter| {
                let data = bytemuck::cast_slice(self.values(&parameter.name));
                let view = TensorView::new(Dtype::F32, parameter.shape.clone(), data)?;
                Ok((parameter.name.as_str(), view))
            })
            .collect::<Result<_, FileError>>()?;
        let mut metadata: std::collections::HashMap<_, _> =
            self.provenance.clone().into_iter().collect();
        metadata.insert("format".into(), "pt".into());
        metadata.insert(ARCHITECTURE_KEY.into(), ARCHITECTURE.into());
        metadata.insert(BASE_KEY.into(), self.network.base().to_string());
        if self.variant != Variant::PAPER {
            metadata.insert(ATTENTION_KEY.into(), self.variant.attention().name().into());
            metadata.insert(MASKS_KEY.into(), self.variant.masks().name().into());
        }
        let bytes = safetensors::serialize(views, Some(metadata))?;
        write_atomically(path, &bytes)
    }
}
