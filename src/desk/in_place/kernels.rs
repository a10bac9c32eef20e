//! Kernels that write into their inputs.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use cubecl::std::tensor::layout::linear::{LinearView, LinearViewMut};

use crate::desk::adam::{AdamSettings, AdamStep};

/// [`super::overwritten`], [`super::clamped`] and [`super::stepped`], on tensors that gradients are not wanted of.
#[backend_extension(Cube)]
pub(super) trait InPlace: Backend {
    fn overwritten(old: FloatTensor<Self>, new: FloatTensor<Self>) -> FloatTensor<Self>;

    fn clamped(
        values: FloatTensor<Self>,
        least: FloatTensor<Self>,
        most: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    fn stepped(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

#[cube(launch)]
fn overwrite_kernel(mut old: LinearViewMut<'_, f32>, new: LinearView<'_, f32>) {
    if old.is_in_bounds(ABSOLUTE_POS) {
        old.write(ABSOLUTE_POS, new.read(ABSOLUTE_POS));
    }
}

#[cube(launch)]
fn clamp_kernel(
    mut values: LinearViewMut<'_, f32>,
    least: LinearView<'_, f32>,
    most: LinearView<'_, f32>,
) {
    let at = ABSOLUTE_POS;
    if values.is_in_bounds(at) {
        let value = values.read(at);
        // Comparisons, which are false of what is no number.
        let raised = select(value < least.read(at), least.read(at), value);
        values.write(at, select(raised > most.read(at), most.read(at), raised));
    }
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn adam_kernel(
    mut parameter: LinearViewMut<'_, f32>,
    gradient: LinearView<'_, f32>,
    mut first: LinearViewMut<'_, f32>,
    mut second: LinearViewMut<'_, f32>,
    keep_first: f32,
    keep_second: f32,
    rate: f32,
    root: f32,
    epsilon: f32,
) {
    let at = ABSOLUTE_POS;
    if parameter.is_in_bounds(at) {
        let slope = gradient.read(at);
        let mean = keep_first * first.read(at) + (1.0f32 - keep_first) * slope;
        let square = keep_second * second.read(at) + (1.0f32 - keep_second) * slope * slope;
        first.write(at, mean);
        second.write(at, square);
        let value = parameter.read(at) - rate * mean / (square.sqrt() / root + epsilon);
        parameter.write(at, value);
    }
}

/// Work groups and threads for one thread a value.
fn one_each(tensor: &CubeTensor) -> (CubeCount, CubeDim) {
    let values = tensor.meta.num_elements();
    let threads = CubeDim::new(&tensor.client, values);
    (calculate_cube_count_elemwise(&tensor.client, values, threads), threads)
}

impl InPlace for CubeBackend {
    fn overwritten(old: CubeTensor, new: CubeTensor) -> CubeTensor {
        let (groups, threads) = one_each(&old);
        overwrite_kernel::launch(
            &old.client,
            groups,
            threads,
            old.clone().into_linear_view(),
            new.into_linear_view(),
        );
        old
    }

    fn clamped(values: CubeTensor, least: CubeTensor, most: CubeTensor) -> CubeTensor {
        let (groups, threads) = one_each(&values);
        clamp_kernel::launch(
            &values.client,
            groups,
            threads,
            values.clone().into_linear_view(),
            least.into_linear_view(),
            most.into_linear_view(),
        );
        values
    }

    fn stepped(
        parameter: CubeTensor,
        gradient: CubeTensor,
        first: CubeTensor,
        second: CubeTensor,
        step: AdamStep,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let (groups, threads) = one_each(&parameter);
        let AdamStep { settings: AdamSettings { betas, epsilon }, rate, root } = step;
        adam_kernel::launch(
            &parameter.client,
            groups,
            threads,
            parameter.clone().into_linear_view(),
            gradient.into_linear_view(),
            first.clone().into_linear_view(),
            second.clone().into_linear_view(),
            betas.0,
            betas.1,
            rate,
            root,
            epsilon,
        );
        (parameter, first, second)
    }
}
