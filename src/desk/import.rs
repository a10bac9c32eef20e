//! The authors' PyTorch checkpoints.

use std::collections::BTreeMap;
use std::path::Path;

use pytorch_reader::{DType, FileFormat, PytorchReader};

use super::DeskError;
use crate::file::{FileError, Weights};

/// Prefix that PyTorch's `DataParallel` puts before every name.
const DATA_PARALLEL_PREFIX: &str = "module.";

/// Tensors by name: shape and values.
pub(super) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Reads a checkpoint saved by the authors' implementation, of any PyTorch. Its pickle is parsed as
/// data, so that none of its code runs.
///
/// # Errors
/// [`DeskError::Checkpoint`] for anything that is not such a file, or whose tensors do not make an
/// LBAM network.
pub fn import(path: &Path) -> Result<Weights, DeskError> {
    let tensors = tensors(path, |_| true)?;
    let tensors = tensors.into_iter().map(|(name, tensor)| {
        let name = name.strip_prefix(DATA_PARALLEL_PREFIX).unwrap_or(&name).to_owned();
        (name, tensor)
    });
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let provenance = BTreeMap::from([("imported_from".to_owned(), file)]);
    Weights::from_tensors(tensors.collect(), provenance).map_err(|error| match error {
        error @ crate::file::FileError::Tensor { .. } => DeskError::checkpoint(path, error),
        error => error.into(),
    })
}

/// Shapes and values of the tensors in a file of `torch.save` whose names are `wanted`.
///
/// # Errors
/// [`DeskError::Checkpoint`] for anything that is not such a file, or a wanted tensor that is not
/// 32-bit floats.
pub(super) fn tensors(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Tensors, DeskError> {
    std::fs::File::open(path).map_err(|source| FileError::read(path, source))?;
    let refused = |reason: String| DeskError::checkpoint(path, reason);
    let reader = PytorchReader::new(path)
        .map_err(|error| refused(format!("not a PyTorch checkpoint that can be read: {error}")))?;
    if reader.metadata().format_type == FileFormat::Pickle {
        return Err(refused("a bare pickle, which holds no tensors".into()));
    }
    let mut tensors = Tensors::new();
    for (name, tensor) in reader.tensors().iter().filter(|(name, _)| wanted(name)) {
        if tensor.dtype() != DType::F32 {
            let reason = format!("tensor {name} is {:?}, not float32", tensor.dtype());
            return Err(refused(reason));
        }
        let bytes = tensor.read().map_err(|error| refused(format!("tensor {name}: {error}")))?;
        let values = bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        tensors.insert(name.to_owned(), (tensor.shape().to_vec(), values));
    }
    Ok(tensors)
}
