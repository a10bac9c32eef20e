//! What can be wrong with a file of weights.

use std::path::{Path, PathBuf};

use crate::net::{NetError, Variant};

/// Why a model or weights file was refused, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system would not give the file.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The operating system would not take the file.
    #[error("cannot write {}: {source}; is there room, and may you write there?", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The header breaks a rule of the container format.
    #[error("not a safetensors file, or a damaged one ({0}); fetch or export it again")]
    Container(#[from] safetensors::SafeTensorError),
    /// The file is for another kind of network.
    #[error("holds a network of kind \"{0}\", not an LBAM network")]
    Architecture(String),
    /// Training weights, where a model file is wanted.
    #[error("holds training weights; lbam-desk calibrate or export makes a model file of them")]
    Weights,
    /// A model file, where training weights are wanted.
    #[error(
        "is a model file for devices; name the training weights (.safetensors) that it was made of"
    )]
    Model,
    /// A tensor does not fit the network.
    #[error("tensor {name} {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file ends too soon.
    #[error("is cut short: {length} bytes where at least {needed} are needed; copy it again")]
    Truncated {
        /// Bytes there are.
        length: u64,
        /// Bytes there must be.
        needed: u64,
    },
    /// What is to be written needs a header that no reader would take.
    #[error("the model's provenance and receipt need a header of {0} bytes, and 1 MiB is the most")]
    HeaderTooLong(usize),
    /// The header claims an absurd size.
    #[error("is not a model file: it claims a header of {0} bytes; copy or export it again")]
    Header(u64),
    /// A part does not begin where the format has it begin.
    #[error("{what} begins at byte {at}, which is not a multiple of 64; export the file again")]
    Alignment {
        /// The part.
        what: String,
        /// Where it begins.
        at: usize,
    },
    /// A metadata entry is missing or wrong.
    #[error("metadata entry \"{key}\" {reason}")]
    Metadata {
        /// The entry.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A version this program does not read.
    #[error("is a model file of version {0}; this program reads version 1. Update lbam-edge")]
    Version(String),
    /// The content is not what was written.
    #[error("is damaged: its content is {found} where the header says {stated}; copy it again")]
    Checksum {
        /// What the header says.
        stated: String,
        /// What the content gives.
        found: String,
    },
    /// The network described is not supported.
    #[error(transparent)]
    Network(#[from] NetError),
    /// The weights are an ablation's, and were to go onto a device.
    #[error(
        "holds an ablation ({0}); only the paper's network runs on devices. Take weights that were \
         trained without --attention and --attention-masks"
    )]
    Variant(Variant),
    /// Any of these, in a known file.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<FileError>,
    },
}

impl FileError {
    pub(crate) fn tensor(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Tensor { name: name.into(), reason: reason.into() }
    }

    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self::InFile { path: path.to_owned(), source: Box::new(self) }
    }
}
