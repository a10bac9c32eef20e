//! The authors' PyTorch checkpoints.

use std::collections::BTreeMap;
use std::path::Path;

use pytorch_reader::{DType, FileFormat, PytorchReader};

use super::DeskError;
use crate::file::Weights;

/// Prefix that PyTorch's `DataParallel` puts before every name.
const DATA_PARALLEL_PREFIX: &str = "module.";

/// Reads a checkpoint saved by the authors' implementation: a torch zip file whose pickle is
/// parsed as data, so that none of its code runs.
///
/// # Errors
/// [`DeskError::Checkpoint`] for anything that is not such a file (the older tar and stream
/// formats too), [`DeskError::File`] where its tensors do not make an LBAM network.
pub fn import(path: &Path) -> Result<Weights, DeskError> {
    let refuse = |reason: String| DeskError::Checkpoint { path: path.to_owned(), reason };
    std::fs::File::open(path).map_err(|source| DeskError::Io { path: path.to_owned(), source })?;
    let reader = PytorchReader::new(path)
        .map_err(|error| refuse(format!("not a PyTorch checkpoint that can be read: {error}")))?;
    let format = &reader.metadata().format_type;
    if *format != FileFormat::Zip {
        return Err(refuse(format!(
            "a legacy PyTorch file ({format:?}); load it in PyTorch 1.6 or later, then \
             torch.save(model.state_dict(), \"new.pth\") and import that"
        )));
    }
    let mut tensors = BTreeMap::new();
    for (name, tensor) in reader.tensors() {
        if tensor.dtype() != DType::F32 {
            return Err(refuse(format!("tensor {name} is {:?}, not float32", tensor.dtype())));
        }
        let bytes = tensor.read().map_err(|error| refuse(format!("tensor {name}: {error}")))?;
        let values = bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        let name = name.strip_prefix(DATA_PARALLEL_PREFIX).unwrap_or(name);
        tensors.insert(name.to_owned(), (tensor.shape().to_vec(), values));
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let provenance = BTreeMap::from([("imported_from".to_owned(), file)]);
    Weights::from_tensors(tensors, provenance).map_err(|error| match error {
        error @ crate::file::FileError::Tensor { .. } => refuse(error.to_string()),
        error => error.into(),
    })
}
