//! The project's own tract operators: kernels of `crate::kernels` as graph nodes.

use tract_core::internal::*;

use crate::kernels;
use crate::net::Attention;

/// Features of a mask layer to its attention map and the next layer's mask, both like the input.
#[derive(Debug, Clone)]
pub(super) struct AttendAndUpdate(pub Attention);

/// Encoder features and a map of one shape to `leaky(features * map)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Modulate;

/// The phases of a transposed convolution, `[1, C, h, w]` each, to `[1, C, 2h, 2w]`. Inputs: the
/// four phases of the deep features; the four of the skip, if `skip`; the map, unless `picture`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct JoinPhases {
    pub skip: bool,
    pub picture: bool,
}

impl PartialEq for AttendAndUpdate {
    fn eq(&self, other: &Self) -> bool {
        self.0.scalars().map(f32::to_bits) == other.0.scalars().map(f32::to_bits)
    }
}

impl Eq for AttendAndUpdate {}

impl Op for AttendAndUpdate {
    fn name(&self) -> StaticName {
        "LbamAttendAndUpdate".into()
    }
    op_as_typed_op!();
}

impl EvalOp for AttendAndUpdate {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let features = args_1!(inputs);
        let shape = features.shape().to_vec();
        let mut maps = Tensor::zero::<f32>(&shape)?;
        let mut updated = Tensor::zero::<f32>(&shape)?;
        kernels::attend_and_update(
            features.try_as_plain_ram()?.as_slice::<f32>()?,
            &self.0,
            maps.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?,
            updated.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?,
        );
        Ok(tvec!(maps.into_tvalue(), updated.into_tvalue()))
    }
}

impl TypedOp for AttendAndUpdate {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let fact = inputs[0].without_value();
        Ok(tvec!(fact.clone(), fact))
    }
}

impl Op for Modulate {
    fn name(&self) -> StaticName {
        "LbamModulate".into()
    }
    op_as_typed_op!();
}

impl EvalOp for Modulate {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (features, maps) = args_2!(inputs);
        // In place where this node is the features' only reader, which it is.
        let mut features = features.into_tensor();
        kernels::modulate(
            features.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?,
            maps.try_as_plain_ram()?.as_slice::<f32>()?,
        );
        Ok(tvec!(features.into_tvalue()))
    }
}

impl TypedOp for Modulate {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == 2 && inputs[0].shape == inputs[1].shape);
        Ok(tvec!(inputs[0].without_value()))
    }
}

impl Op for JoinPhases {
    fn name(&self) -> StaticName {
        "LbamJoinPhases".into()
    }
    op_as_typed_op!();
}

impl EvalOp for JoinPhases {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let slices = inputs
            .iter()
            .map(|input| input.try_as_plain_ram()?.as_slice::<f32>())
            .collect::<TractResult<TVec<&[f32]>>>()?;
        let shape = inputs[0].shape();
        let width = shape[3];
        let mut output = Tensor::zero::<f32>(&[1, shape[1], 2 * shape[2], 2 * width])?;
        let mut plain = output.try_as_plain_ram_mut()?;
        let joined = plain.as_slice_mut::<f32>()?;
        let deep: &[&[f32]; 4] = slices.first_chunk().context("four phases")?;
        let skips = if self.skip { &slices[4..8] } else { &[] };
        match slices.last() {
            Some(maps) if !self.picture => kernels::join_phases(deep, skips, width, maps, joined),
            _ => kernels::join_phases_to_picture(deep, skips, width, joined),
        }
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for JoinPhases {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let phases = if self.skip { 8 } else { 4 };
        ensure!(inputs.len() == phases + usize::from(!self.picture));
        ensure!(inputs[..phases].iter().all(|input| input.shape == inputs[0].shape));
        let mut fact = inputs[0].without_value();
        for axis in [2, 3] {
            fact.shape.set(axis, inputs[0].shape[axis].clone() * 2);
        }
        if !self.picture {
            ensure!(inputs[phases].shape == fact.shape);
        }
        Ok(tvec!(fact))
    }
}
