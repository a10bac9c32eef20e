//! One network at one size, ready to fill.

use std::sync::Arc;

use tract_core::internal::*;
use tract_linalg::mmm::Query;

use super::cores;
use super::float::FloatSession;
use super::int8::{Int8Session, StepTime};
use crate::file::{Model, Precision};
use crate::kernels::int8::{Kernel, Plane};
use crate::kernels::workers;
use crate::net::{NetError, Network, padded};

/// Environment variable that forces an integer kernel by its name.
const KERNEL_VARIABLE: &str = "LBAM_KERNEL";

/// Why the runtime could not run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The size does not suit the network.
    #[error(transparent)]
    Size(#[from] NetError),
    /// A picture too large for the integer network's planes, in which places have 32 bits.
    #[error(
        "{width}x{height} is too large for a network of {base} base channels in integers: its \
         features would take 4 GiB a layer; take a smaller size or a narrower model"
    )]
    Planes {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// The network's base channels.
        base: usize,
    },
    /// A buffer of another length than the session's size asks for: the caller's fault.
    #[error("{what} has {found} bytes where the session's size asks for {needed}")]
    Buffer {
        /// The buffer.
        what: &'static str,
        /// Bytes it has.
        found: usize,
        /// Bytes it should have.
        needed: usize,
    },
    /// A frame was given before a mask.
    #[error("no mask was set")]
    NoMask,
    /// `LBAM_KERNEL` asks for a kernel that is not here: the user's fault.
    #[error(
        "{KERNEL_VARIABLE} is \"{name}\", which is no kernel of this processor; unset it, or give {known}"
    )]
    Kernel {
        /// What it says.
        name: String,
        /// What it could say.
        known: String,
    },
    /// A buffer could not be viewed as a picture: a fault in this program.
    #[error(transparent)]
    Shape(#[from] ndarray::ShapeError),
    /// tract refused a graph or a run: a fault in this program.
    #[error("the network could not run: {0:#}")]
    Tract(TractError),
}

impl From<TractError> for RuntimeError {
    fn from(error: TractError) -> Self {
        Self::Tract(error)
    }
}

/// Sets how many threads the arithmetic of every session uses from now on, the calling one
/// counted; 1 at the start. The others keep to the biggest cores ([`cores`]).
pub fn set_threads(threads: usize) {
    let keep = move || cores::keep_to_biggest(threads);
    let executor = match threads {
        0 | 1 => multithread::Executor::SingleThread,
        // Without a pool the caller's thread does the work alone: slower, and as right.
        _ => rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .start_handler(move |_| keep())
            .build()
            .map_or_else(
                |_| multithread::Executor::SingleThread,
                |pool| multithread::Executor::MultiThread(Arc::new(pool)),
            ),
    };
    multithread::set_default_executor(executor);
    workers::set_threads(threads, keep);
}

/// The integer kernel in use: the fastest, or the one that the environment's `LBAM_KERNEL` names.
fn int8_kernel() -> Result<Kernel, RuntimeError> {
    match std::env::var(KERNEL_VARIABLE) {
        Ok(name) if !name.is_empty() => Kernel::named(&name).ok_or_else(|| RuntimeError::Kernel {
            name,
            known: Kernel::all().iter().map(|k| k.name()).collect::<Vec<_>>().join(", "),
        }),
        _ => Ok(Kernel::best()),
    }
}

/// Name of the kernel that does this processor's multiplications at a precision.
///
/// # Errors
/// [`RuntimeError::Kernel`] if `LBAM_KERNEL` names none.
pub fn kernel_name(precision: Precision) -> Result<String, RuntimeError> {
    if precision == Precision::Int8 {
        return Ok(int8_kernel()?.name().to_owned());
    }
    let query = Query::plain(f32::datum_type(), Some(128), Some(128), Some(128));
    let picked = tract_linalg::MmmDispatch::native().pick(&query);
    Ok(picked.map_or_else(|| "none".to_owned(), |(kernel, _, _)| kernel.name().to_owned()))
}

/// Multiply-adds a second that one core can do in 8-bit integers at most, measured now; `None`
/// for kernels without such a measurement.
///
/// # Errors
/// [`RuntimeError::Kernel`] if `LBAM_KERNEL` names none.
pub fn int8_peak() -> Result<Option<f64>, RuntimeError> {
    Ok(int8_kernel()?.peak())
}

/// A network at one picture size. The mask stage runs in [`Session::set_mask`], its maps are kept,
/// and [`Session::run`] runs the frame stage alone.
#[derive(Debug)]
pub struct Session {
    width: usize,
    height: usize,
    stages: Stages,
    masked: bool,
}

#[derive(Debug)]
enum Stages {
    Float(FloatSession),
    Int8(Box<Int8Session>),
}

impl Session {
    /// Builds both stages for pictures of `width` x `height` pixels.
    ///
    /// # Errors
    /// [`RuntimeError::Size`] unless both are multiples of 128, [`RuntimeError::Planes`] where an
    /// integer network is too wide for so large a picture.
    pub fn new(model: &Arc<Model>, width: usize, height: usize) -> Result<Self, RuntimeError> {
        Network::check_size(width, height)?;
        let stages = match model.precision() {
            Precision::Int8 => {
                check_planes(model.network(), width, height)?;
                let kernel = int8_kernel()?;
                Stages::Int8(Box::new(Int8Session::new(model, width, height, kernel)))
            }
            _ => Stages::Float(FloatSession::new(model, width, height)?),
        };
        Ok(Self { width, height, stages, masked: false })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Bytes of weights held privately beside the map: none in integers.
    pub fn owned_weight_bytes(&self) -> usize {
        match &self.stages {
            Stages::Float(stages) => stages.owned_weight_bytes,
            Stages::Int8(..) => 0,
        }
    }

    /// How far around holes known pixels are computed too, by the integer frame stage; `None`: the
    /// whole picture. [`super::RIM`] at the start. Takes effect with the next mask. In floats
    /// everything is computed anyway.
    pub fn set_rim(&mut self, rim: Option<usize>) {
        if let Stages::Int8(stages) = &mut self.stages {
            stages.rim = rim;
        }
        self.masked = false;
    }

    /// The features of the last frame in integers, for inspection: `e_1 .. e_7`, then
    /// `d_1 .. d_6`; nothing in floats.
    pub fn features(&self) -> impl Iterator<Item = &Plane> {
        let stages = match &self.stages {
            Stages::Float(_) => None,
            Stages::Int8(stages) => Some(stages),
        };
        stages.into_iter().flat_map(|stages| stages.features())
    }

    /// Runs the mask stage and keeps its maps. `holes` is `height * width` bytes, 0 = known,
    /// anything else = hole. If it fails, no frame runs until a mask is set.
    ///
    /// # Errors
    /// [`RuntimeError::Buffer`] for a mask of another size.
    pub fn set_mask(&mut self, holes: &[u8]) -> Result<(), RuntimeError> {
        self.masked = false;
        check("the mask", holes.len(), self.width * self.height)?;
        match &mut self.stages {
            Stages::Float(stages) => stages.set_mask(holes)?,
            Stages::Int8(stages) => {
                stages.set_mask(holes, workers::threads());
            }
        }
        self.masked = true;
        Ok(())
    }

    /// Runs the frame stage. `picture` and `output` are `height * width * 3` bytes of RGB; what
    /// `picture` holds under the mask is not looked at. The network's own picture is written to
    /// `output` in the holes and around them, see [`Self::set_rim`]; what is elsewhere is no picture.
    ///
    /// # Errors
    /// [`RuntimeError::NoMask`] before the first mask, [`RuntimeError::Buffer`] for a picture of
    /// another size.
    pub fn run(&mut self, picture: &[u8], output: &mut [u8]) -> Result<(), RuntimeError> {
        let plane = self.width * self.height;
        check("the picture", picture.len(), 3 * plane)?;
        check("the output", output.len(), 3 * plane)?;
        if !self.masked {
            return Err(RuntimeError::NoMask);
        }
        match &mut self.stages {
            Stages::Float(stages) => stages.run(picture, output),
            Stages::Int8(stages) => {
                stages.run(picture, output, workers::threads());
                Ok(())
            }
        }
    }
}

impl Session {
    /// Both stages as [`Session::set_mask`] and [`Session::run`] run them, with a clock at every
    /// step; nothing in floats.
    ///
    /// # Errors
    /// Theirs.
    pub fn profile(
        &mut self,
        holes: &[u8],
        picture: &[u8],
        output: &mut [u8],
    ) -> Result<Vec<StepTime>, RuntimeError> {
        // Checks what is given, and leaves all warm.
        self.set_mask(holes)?;
        self.run(picture, output)?;
        let mut steps = Vec::new();
        if let Stages::Int8(stages) = &mut self.stages {
            steps = stages.profile(holes, picture, output, workers::threads());
        }
        Ok(steps)
    }
}

fn check(what: &'static str, found: usize, needed: usize) -> Result<(), RuntimeError> {
    if found == needed { Ok(()) } else { Err(RuntimeError::Buffer { what, found, needed }) }
}

/// Checks that the largest plane, that of the first layer's features, stays below 4 GiB.
fn check_planes(network: Network, width: usize, height: usize) -> Result<(), RuntimeError> {
    let base = network.base();
    // The border is one pixel on each side.
    let [wide, high] = [width, height].map(|side| side as u64 / 2 + 2);
    if wide * high * padded(base) as u64 > u64::from(u32::MAX) {
        return Err(RuntimeError::Planes { width, height, base });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Preset;

    #[test]
    fn planes_of_4_gib_are_refused() {
        let fits = |preset: Preset, height| check_planes(preset.into(), 16_384, height);
        assert!(fits(Preset::Base, 16_384).is_ok());
        assert!(fits(Preset::Paper, 16_256).is_ok());
        let error = fits(Preset::Paper, 16_384).expect_err("4 GiB").to_string();
        assert!(error.contains("16384x16384") && error.contains("64 base channels"), "{error}");
    }
}
