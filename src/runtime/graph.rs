//! The two graphs, built from the layer table and a mapped model.

use tract_core::internal::*;
use tract_core::ops::cnn::{Conv as ConvOp, KernelFormat, PaddingSpec, PoolSpec};
use tract_core::ops::nn::DataFormat;

use super::ops::{AttendAndUpdate, JoinPhases, Modulate};
use crate::file::{Model, Values};
use crate::net::{Conv, Deconv, KERNEL, REVERSE_LAYERS};

/// A graph and the names of its outputs, in order.
pub(super) struct Stage {
    pub graph: TypedModel,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look outputs up by name"))]
    pub outputs: Vec<String>,
}

/// Mask `[1, 1, H, W]` (1 = known) to the maps `A_1 .. A_7`, `R_1 .. R_6`; with `inspect` also to
/// the updated masks `v_1 .. v_6`.
pub(super) fn mask_stage(
    model: &Model,
    width: usize,
    height: usize,
    inspect: bool,
) -> TractResult<Stage> {
    let mut stage = Builder::new(model);
    let known = stage.source("mask", [1, 1, height, width])?;
    let one = stage.graph.add_const("one", tensor4(&[[[[1_f32]]]]))?;
    let hole = stage.graph.wire_node("hole", tract_core::ops::math::sub(), &[one, known])?[0];
    let (maps, _) = stage.mask_branch(&model.network().forward(), known)?;
    stage.expose("ec{}.attention", &maps)?;
    let (maps, updates) = stage.mask_branch(&model.network().reverse(), hole)?;
    stage.expose("reverseConv{}.attention", &maps)?;
    if inspect {
        stage.expose("reverseConv{}.features", &updates)?;
    }
    stage.finish()
}

/// Network input `[1, 4, H, W]` and the 13 maps to the picture `[1, 3, H, W]` in `[0, 1]`; with
/// `inspect` every layer's features come before it.
pub(super) fn frame_stage(
    model: &Model,
    width: usize,
    height: usize,
    inspect: bool,
) -> TractResult<Stage> {
    let network = model.network();
    let mut stage = Builder::new(model);
    let mut below = stage.source("input", [1, 4, height, width])?;
    let map = |stage: &mut Builder, prefix: &str, conv: &Conv| {
        let shape = [1, conv.output, height >> conv.level, width >> conv.level];
        stage.source(&format!("{prefix}{}", conv.level), shape)
    };
    let (encoder, reverse) = (network.encoder(), network.reverse());
    let forward_maps =
        encoder.iter().map(|conv| map(&mut stage, "A", conv)).collect::<TractResult<Vec<_>>>()?;
    let reverse_maps =
        reverse.iter().map(|conv| map(&mut stage, "R", conv)).collect::<TractResult<Vec<_>>>()?;
    let mut skips = Vec::with_capacity(encoder.len());
    for (conv, map) in encoder.iter().zip(forward_maps) {
        let features = stage.conv(conv, below)?;
        let name = format!("{}.modulated", conv.weight);
        below = stage.graph.wire_node(name, Modulate, &[features, map])?[0];
        skips.push(below);
    }
    if inspect {
        stage.expose("ec{}.features", &skips)?;
    }
    let mut decoded = Vec::new();
    for deconv in network.decoder() {
        let map = deconv.level.checked_sub(1).map(|index| reverse_maps[index]);
        let skip = (deconv.level < REVERSE_LAYERS).then(|| skips[deconv.level]);
        below = stage.deconv(&deconv, skip, below, map)?;
        decoded.push(below);
    }
    let picture = decoded.pop().into_iter().collect::<Vec<_>>();
    if inspect {
        stage.expose("dc{}.features", &decoded)?;
    }
    stage.expose("output{}", &picture)?;
    stage.finish()
}

struct Builder<'a> {
    model: &'a Model,
    graph: TypedModel,
    outputs: Vec<(String, OutletId)>,
}

impl<'a> Builder<'a> {
    fn new(model: &'a Model) -> Self {
        Self { model, graph: TypedModel::default(), outputs: Vec::new() }
    }

    fn source(&mut self, name: &str, shape: [usize; 4]) -> TractResult<OutletId> {
        self.graph.add_source(name, f32::fact(shape))
    }

    fn expose(&mut self, name: &str, outlets: &[OutletId]) -> TractResult<()> {
        for (index, outlet) in outlets.iter().enumerate() {
            self.outputs.push((name.replace("{}", &(index + 1).to_string()), *outlet));
        }
        Ok(())
    }

    fn finish(mut self) -> TractResult<Stage> {
        let (outputs, outlets): (Vec<_>, Vec<_>) = self.outputs.into_iter().unzip();
        self.graph.select_output_outlets(&outlets)?;
        Ok(Stage { graph: self.graph.into_optimized()?, outputs })
    }

    fn mask_branch(
        &mut self,
        convs: &[Conv],
        start: OutletId,
    ) -> TractResult<(Vec<OutletId>, Vec<OutletId>)> {
        let (mut below, mut maps, mut updates) = (start, Vec::new(), Vec::new());
        for conv in convs {
            let features = self.conv(conv, below)?;
            let prefix = conv.attention.as_deref().context("mask layers have attention")?;
            let op = AttendAndUpdate(self.model.attention(prefix));
            let outlets = self.graph.wire_node(prefix, op, &[features])?;
            maps.push(outlets[0]);
            updates.push(outlets[1]);
            below = outlets[1];
        }
        Ok((maps, updates))
    }

    fn conv(&mut self, conv: &Conv, below: OutletId) -> TractResult<OutletId> {
        let shape = [conv.output, conv.applied_inputs(), KERNEL, KERNEL];
        let kernel = tensor(self.model.values(&conv.weight), &shape)?;
        let padding = PaddingSpec::Explicit(tvec!(1, 1), tvec!(1, 1));
        self.wire_conv(&conv.weight, kernel, padding, 2, below)
    }

    /// A transposed convolution of the skip's channels and the deep channels, modulated by `map`
    /// or, without one, ended as the picture.
    fn deconv(
        &mut self,
        deconv: &Deconv,
        skip: Option<OutletId>,
        deep: OutletId,
        map: Option<OutletId>,
    ) -> TractResult<OutletId> {
        let inputs = deconv.skip + deconv.deep;
        let kernels = tensor(self.model.values(&deconv.weight), &[4, deconv.output, inputs, 2, 2])?;
        let mut outlets = tvec!();
        let parts = [Some((deep, deconv.skip..inputs)), skip.map(|skip| (skip, 0..deconv.skip))];
        for (part, (below, channels)) in parts.into_iter().flatten().enumerate() {
            for phase in 0..4 {
                let kernel = kernels.slice(0, phase, phase + 1)?;
                let kernel = kernel.slice(2, channels.start, channels.end)?;
                let kernel = kernel.into_shape(&[deconv.output, channels.len(), 2, 2])?;
                // An even output reads the input before it too, an odd one the input after.
                let (row, column) = (phase / 2, phase % 2);
                let before = tvec!(1 - row, 1 - column);
                let padding = PaddingSpec::Explicit(before, tvec!(row, column));
                let name = format!("{}.{part}.{phase}", deconv.weight);
                outlets.push(self.wire_conv(&name, kernel, padding, 1, below)?);
            }
        }
        outlets.extend(map);
        let op = JoinPhases { skip: skip.is_some(), picture: map.is_none() };
        Ok(self.graph.wire_node(format!("{}.joined", deconv.weight), op, &outlets)?[0])
    }

    fn wire_conv(
        &mut self,
        name: &str,
        kernel: Tensor,
        padding: PaddingSpec,
        stride: usize,
        below: OutletId,
    ) -> TractResult<OutletId> {
        let shape = kernel.shape();
        let pool_spec = PoolSpec {
            data_format: DataFormat::NCHW,
            kernel_shape: tvec!(shape[2], shape[3]),
            padding,
            dilations: None,
            strides: Some(tvec!(stride, stride)),
            input_channels: shape[1],
            output_channels: shape[0],
        };
        let op = ConvOp { pool_spec, kernel_fmt: KernelFormat::OIHW, group: 1, q_params: None };
        let kernel = self.graph.add_const(format!("{name}.kernel"), kernel)?;
        let bias = self.graph.add_const(format!("{name}.bias"), tensor0(0_f32))?;
        Ok(self.graph.wire_node(name, op, &[below, kernel, bias])?[0])
    }
}

/// A float copy of a mapped tensor: what tract's float convolutions need. It is dropped when the
/// graph is optimised, after tract has packed it.
fn tensor(values: Values, shape: &[usize]) -> TractResult<Tensor> {
    match values {
        Values::F32(values) => Tensor::from_shape(shape, values),
        other => Tensor::from_shape(shape, &other.widen()),
    }
}
