//! What can go wrong on the desk.

use std::io;
use std::path::{Path, PathBuf};

use super::data::DataError;
use super::evaluate::EvaluateError;
use crate::file::FileError;
use crate::picture::PictureError;

/// Why a desk command stopped.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// A file of weights.
    #[error(transparent)]
    File(#[from] FileError),
    /// The training pictures.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An evaluation.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A picture read or written.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A PyTorch checkpoint, an ONNX file or a file of feature weights that cannot be used.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the mend.
        reason: String,
    },
    /// A file or folder that cannot be used, such as a run's.
    #[error("{}: {reason}", path.display())]
    Run {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and the mend.
        reason: String,
    },
    /// The system refused a file operation.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Training left the finite numbers.
    #[error(
        "training diverged at step {step}: {what}; nothing of it was saved, and a checkpoint from \
         before is as it was. Go on from that (--resume), or begin again, with a smaller \
         --learning-rate or --adversary-learning-rate, or with --clip-gradient"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// What is not finite.
        what: String,
    },
    /// The user stopped a run; a checkpoint was saved.
    #[error(
        "stopped after step {step}; what was reached is {}; go on with: lbam-desk train --resume {}",
        folder.join("weights.safetensors").display(), folder.display()
    )]
    Stopped {
        /// Steps done.
        step: u64,
        /// The run.
        folder: PathBuf,
    },
    /// A backend this program was built without.
    #[error(
        "backend \"{name}\" is not in this build (it has: {has}); wgpu, vulkan and cuda come with the \
         features of that name (cargo install --features ...)"
    )]
    Backend {
        /// The name asked for.
        name: String,
        /// What there is.
        has: String,
    },
    /// Fewer GPUs than asked for: none is there, its driver is not installed, or `--gpus` is too
    /// large.
    #[error("backend \"{backend}\" finds {found} of {wanted} GPUs; {}", match backend.as_str() {
        "cuda" => "is the driver installed (nvidia-smi shows it)?",
        "cpu" | "cpu-burn" => "it trains on the processor: leave --gpus out",
        _ => "is a driver installed (vulkaninfo shows it)?",
    })]
    Gpus {
        /// The backend's name.
        backend: String,
        /// How many there are.
        found: usize,
        /// How many were asked for.
        wanted: usize,
    },
    /// A GPU that stopped computing.
    #[error(
        "the GPU could not go on ({reason}){}; a checkpoint from before is as it was",
        if reason.contains("memory") { ": a smaller --batch or --size needs less memory" } else { "" }
    )]
    Gpu {
        /// What its driver says.
        reason: String,
    },
    /// A GPU that does not compute, because its kernels cannot be compiled for one.
    #[error("backend \"{backend}\" finds a GPU that computes nothing ({reason}); {}", match backend.as_str() {
        "cuda" => "NVIDIA's CUDA toolkit compiles its kernels: install it, and set CUDA_PATH to its \
            folder where that is not /usr/local/cuda",
        _ => "is its driver whole (vulkaninfo shows it)?",
    })]
    Idle {
        /// The backend's name.
        backend: String,
        /// What is wrong, as far as it is known.
        reason: String,
    },
}

impl DeskError {
    /// A [`DeskError::Run`].
    pub(crate) fn run(path: &Path, reason: impl ToString) -> Self {
        Self::Run { path: path.to_owned(), reason: reason.to_string() }
    }

    /// A [`DeskError::Checkpoint`].
    pub(crate) fn checkpoint(path: &Path, reason: impl ToString) -> Self {
        Self::Checkpoint { path: path.to_owned(), reason: reason.to_string() }
    }

    /// What makes a [`DeskError::Io`] of the system's reason.
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
