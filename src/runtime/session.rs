//! One network at one size, ready to fill.

use std::sync::Arc;

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut3, Axis, Ix4, Zip};
use tract_core::internal::*;
use tract_linalg::mmm::Query;

use super::graph::{frame_stage, mask_stage};
use crate::file::Model;
use crate::net::{NetError, Network};

/// Why the runtime could not run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The size does not suit the network.
    #[error(transparent)]
    Size(#[from] NetError),
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

/// Sets how many threads the matrix kernels of every session use.
pub fn set_threads(threads: usize) {
    let executor = match threads {
        0 | 1 => multithread::Executor::SingleThread,
        threads => multithread::Executor::multithread(threads),
    };
    multithread::set_default_executor(executor);
}

/// Name of the matrix kernel that tract picked for this processor.
pub fn kernel_name() -> String {
    let query = Query::plain(f32::datum_type(), Some(128), Some(128), Some(128));
    tract_linalg::MmmDispatch::native()
        .pick(&query)
        .map_or_else(|| "none".to_owned(), |(kernel, _, _)| kernel.name().to_owned())
}

/// A network at one picture size. The mask stage runs in [`Session::set_mask`], its maps are kept,
/// and [`Session::run`] runs the frame stage alone.
#[derive(Debug)]
pub struct Session {
    width: usize,
    height: usize,
    mask_stage: Arc<TypedRunnableModel>,
    frame_stage: Arc<TypedRunnableModel>,
    /// `A_1 .. A_7`, `R_1 .. R_6`; none before the first mask.
    maps: Option<TVec<TValue>>,
    /// 1 = known, 0 = hole.
    known: Vec<f32>,
    owned_weight_bytes: usize,
}

impl Session {
    /// Builds both stages for pictures of `width` x `height` pixels.
    ///
    /// # Errors
    /// [`RuntimeError::Size`] unless both are multiples of 128.
    pub fn new(model: &Model, width: usize, height: usize) -> Result<Self, RuntimeError> {
        Network::check_size(width, height)?;
        let mask_stage = mask_stage(model, width, height, false)?.graph.into_runnable()?;
        let frame_stage = frame_stage(model, width, height, false)?.graph.into_runnable()?;
        let owned_weight_bytes = 4 * model.network().parameter_count();
        let known = Vec::new();
        Ok(Self { width, height, mask_stage, frame_stage, maps: None, known, owned_weight_bytes })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Bytes of float weights that tract holds privately beside the map.
    pub fn owned_weight_bytes(&self) -> usize {
        self.owned_weight_bytes
    }

    /// Runs the mask stage and keeps its maps. `holes` is `height * width` bytes, 0 = known,
    /// anything else = hole. If it fails, no frame runs until a mask is set.
    ///
    /// # Errors
    /// [`RuntimeError::Buffer`] for a mask of another size.
    pub fn set_mask(&mut self, holes: &[u8]) -> Result<(), RuntimeError> {
        self.maps = None;
        check("the mask", holes.len(), self.width * self.height)?;
        self.known.clear();
        self.known.extend(holes.iter().map(|&hole| f32::from(hole == 0)));
        let mask = Tensor::from_shape(&[1, 1, self.height, self.width], &self.known)?;
        self.maps = Some(self.mask_stage.run(tvec!(mask.into_tvalue()))?);
        Ok(())
    }

    /// Runs the frame stage. `picture` and `output` are `height * width * 3` bytes of RGB; what
    /// `picture` holds under the mask is not looked at. `output` is the network's own picture, in
    /// known places too.
    ///
    /// # Errors
    /// [`RuntimeError::NoMask`] before the first mask, [`RuntimeError::Buffer`] for a picture of
    /// another size.
    pub fn run(&mut self, picture: &[u8], output: &mut [u8]) -> Result<(), RuntimeError> {
        let plane = self.width * self.height;
        check("the picture", picture.len(), 3 * plane)?;
        check("the output", output.len(), 3 * plane)?;
        let Some(maps) = &self.maps else { return Err(RuntimeError::NoMask) };
        let (height, width) = (self.height, self.width);
        let mut input = Tensor::zero::<f32>(&[1, 4, height, width])?;
        {
            let planes = input.to_plain_array_view_mut::<f32>()?.into_dimensionality::<Ix4>()?;
            let mut input = planes.index_axis_move(Axis(0), 0);
            let known = ArrayView2::from_shape((height, width), &self.known)?;
            let pixels = ArrayView3::from_shape((height, width, 3), picture)?;
            for (channel, levels) in pixels.axis_iter(Axis(2)).enumerate() {
                Zip::from(input.index_axis_mut(Axis(0), channel))
                    .and(levels)
                    .and(known)
                    .for_each(|value, &level, &known| *value = known * f32::from(level) / 255.0);
            }
            input.index_axis_mut(Axis(0), 3).assign(&known);
        }
        let mut inputs = tvec!(input.into_tvalue());
        inputs.extend(maps.iter().cloned());
        let outputs = self.frame_stage.run(inputs)?;
        let filled = outputs[0].to_plain_array_view::<f32>()?.into_dimensionality::<Ix4>()?;
        let filled = filled.index_axis_move(Axis(0), 0);
        let mut pixels = ArrayViewMut3::from_shape((height, width, 3), output)?;
        for (channel, values) in filled.axis_iter(Axis(0)).enumerate() {
            // In 0..=1 by the last layer's tanh; `as` saturates.
            Zip::from(pixels.index_axis_mut(Axis(2), channel))
                .and(values)
                .for_each(|level, &value| *level = (value * 255.0).round() as u8);
        }
        Ok(())
    }
}

fn check(what: &'static str, found: usize, needed: usize) -> Result<(), RuntimeError> {
    if found == needed { Ok(()) } else { Err(RuntimeError::Buffer { what, found, needed }) }
}
