//! Stands in for `cubecl-llvm` where `cubecl-cuda` is built.
//!
//! That crate compiles GPU kernels through LLVM, which its build downloads from one address as
//! some hundred megabytes: a build that is offline, or audited, cannot have it. `cubecl-cuda`
//! compiles kernels through the CUDA toolkit's own compiler (NVRTC) as well, chosen with its
//! feature `cpp`, and names these types in either case. Here are the types, and a compiler that
//! refuses.

use cubecl_core::ir::nvidia::SmArch;
use cubecl_runtime::compiler::{CompilationError, Compiler};
use cubecl_runtime::kernel::{BufferIOAttr, KernelDefinition};

/// What kernels would be compiled for.
#[derive(Clone, Copy, Debug)]
pub enum LlvmTarget {
    /// NVIDIA's assembly language.
    Nvptx,
}

/// Compiles nothing.
#[derive(Clone, Debug)]
pub struct PlironCompiler {
    /// Not looked at.
    pub target: LlvmTarget,
}

/// Options of a compilation.
#[derive(Debug, Default)]
pub struct PlironOptions {
    /// Not looked at.
    pub arch: Option<()>,
    /// Not looked at.
    pub sm_arch: Option<SmArch>,
    /// Not looked at.
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    /// Not looked at.
    pub grid_constants: bool,
}

/// A compiled kernel, of which there is never one.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// Assembly.
    pub ptx: Vec<core::ffi::c_char>,
    /// Intermediate representation.
    pub ir: String,
    /// Bytes of shared memory.
    pub shared_memory_size: usize,
    /// What it does with its buffers.
    pub io: Vec<BufferIOAttr>,
}

/// What the compiler would give.
#[derive(Clone)]
#[non_exhaustive]
pub enum PlironArtifact {
    /// A module for NVIDIA's GPUs.
    NvptxCode(NvptxModule),
}

impl core::fmt::Display for PlironArtifact {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self::NvptxCode(module) = self;
        formatter.write_str(&module.ir)
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        _: KernelDefinition,
        _: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason: "built without LLVM; cubecl's feature cuda-cpp takes NVRTC instead".into(),
            backtrace: Default::default(),
        })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "none"
    }
}

/// NVIDIA's assembly language.
pub mod nvptx {
    /// Its versions.
    pub mod ptx_version {
        /// A version.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(i32);

        impl PtxVersion {
            /// None is ever emitted.
            pub fn for_driver(_: i32) -> Option<Self> {
                None
            }
        }

        impl core::fmt::Display for PtxVersion {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(formatter, "{}", self.0)
            }
        }
    }
}

/// What both targets share.
pub mod shared {
    /// What kernels may use.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// What kernels are compiled for.
        #[derive(Clone, Copy, Debug)]
        pub enum GpuTarget {
            /// NVIDIA's GPUs.
            Nvptx,
        }

        /// Called for LLVM alone.
        pub fn restrict_features(_: &mut DeviceProperties, _: GpuTarget) {}
    }
}
