//! Both stages in floats, by tract.

use std::sync::Arc;

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut3, Axis, Ix4, Zip};
use tract_core::internal::*;

use super::RuntimeError;
use super::graph::{frame_stage, mask_stage};
use crate::file::Model;

/// Both graphs of one network at one size.
#[derive(Debug)]
pub(super) struct FloatSession {
    width: usize,
    height: usize,
    mask_stage: Arc<TypedRunnableModel>,
    frame_stage: Arc<TypedRunnableModel>,
    /// `A_1 .. A_7`, `R_1 .. R_6`; none before the first mask.
    maps: TVec<TValue>,
    /// 1 = known, 0 = hole.
    known: Vec<f32>,
    /// Bytes of float weights that tract holds privately beside the map.
    pub owned_weight_bytes: usize,
}

impl FloatSession {
    pub fn new(model: &Model, width: usize, height: usize) -> Result<Self, RuntimeError> {
        let mask_stage = mask_stage(model, width, height, false)?.graph.into_runnable()?;
        let frame_stage = frame_stage(model, width, height, false)?.graph.into_runnable()?;
        let owned_weight_bytes = 4 * model.network().parameter_count();
        let (maps, known) = (TVec::new(), Vec::new());
        Ok(Self { width, height, mask_stage, frame_stage, maps, known, owned_weight_bytes })
    }

    /// Runs the mask stage and keeps its maps.
    pub fn set_mask(&mut self, holes: &[u8]) -> Result<(), RuntimeError> {
        self.known.clear();
        self.known.extend(holes.iter().map(|&hole| f32::from(hole == 0)));
        let mask = Tensor::from_shape(&[1, 1, self.height, self.width], &self.known)?;
        self.maps = self.mask_stage.run(tvec!(mask.into_tvalue()))?;
        Ok(())
    }

    /// Runs the frame stage: RGB in, RGB out.
    pub fn run(&mut self, picture: &[u8], output: &mut [u8]) -> Result<(), RuntimeError> {
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
        inputs.extend(self.maps.iter().cloned());
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
