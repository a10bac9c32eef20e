//! ONNX export, in standard operators that any runtime has.
//!
//! Inputs: `picture` `[1, 3, H, W]`, RGB in 0..1, and `mask` `[1, 1, H, W]`, 1 = known; height and
//! width are free (multiples of 128). Outputs: `output`, the network's picture, and `composite`,
//! with the known pixels kept. The message types are tract's, so what is written here is what
//! tract reads.

use std::path::Path;

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataType, tensor_shape_proto, type_proto,
};

use super::DeskError;
use crate::file::{Weights, write_atomically};
use crate::net::{Conv, Deconv, LEAKY_SLOPE, MASK_UPDATE_POWER};

/// `GreaterOrEqual` and `Where` on floats as used here; read by every current runtime.
const OPSET: i64 = 17;
/// The file format that belongs to [`OPSET`].
const IR_VERSION: i64 = 8;

/// Writes `weights` as an ONNX file.
///
/// # Errors
/// [`DeskError::File`] for an ablation, or where the file cannot be written.
pub fn write_onnx(weights: &Weights, path: &Path) -> Result<(), DeskError> {
    weights.for_devices()?;
    Ok(write_atomically(path, &encode(weights))?)
}

fn encode(weights: &Weights) -> Vec<u8> {
    let mut graph =
        Builder { weights, graph: GraphProto { name: "lbam".into(), ..Default::default() } };
    graph.build();
    let metadata = weights
        .provenance
        .iter()
        .map(|(key, value)| StringStringEntryProto { key: key.clone(), value: value.clone() });
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        producer_name: "lbam-desk".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph.graph),
        metadata_props: metadata.collect(),
        ..Default::default()
    };
    model.encode_to_vec()
}

struct Builder<'a> {
    weights: &'a Weights,
    graph: GraphProto,
}

impl Builder<'_> {
    fn build(&mut self) {
        let network = self.weights.network();
        self.graph.input = vec![value_info("picture", 3), value_info("mask", 1)];
        self.graph.output = vec![value_info("output", 3), value_info("composite", 3)];
        for (name, value) in
            [("one", 1.0), ("zero", 0.0), ("half", 0.5), ("power", MASK_UPDATE_POWER)]
        {
            self.scalar(name, value);
        }
        self.node("Sub", &["one", "mask"], "hole", vec![]);
        let forward = self.mask_branch(&network.forward(), "mask");
        let reverse = self.mask_branch(&network.reverse(), "hole");
        self.node("Mul", &["picture", "mask"], "masked", vec![]);
        self.node("Concat", &["masked", "mask"], "input", vec![integer("axis", 1)]);
        let mut below = "input".to_owned();
        let mut skips = Vec::new();
        for (conv, map) in network.encoder().iter().zip(&forward) {
            let kernel = self.conv_kernel(conv);
            let features = format!("f{}", conv.level);
            self.node("Conv", &[&below, &kernel], &features, conv_attributes());
            below = format!("e{}", conv.level);
            self.modulate(&features, map, &below);
            skips.push(below.clone());
        }
        for deconv in network.decoder() {
            below = self.deconv(&deconv, &below, &skips, &reverse);
        }
        self.node("Tanh", &[&below], "tanh", vec![]);
        self.node("Add", &["tanh", "one"], "shifted", vec![]);
        self.node("Mul", &["shifted", "half"], "output", vec![]);
        self.node("Mul", &["output", "hole"], "filled", vec![]);
        self.node("Add", &["masked", "filled"], "composite", vec![]);
    }

    fn mask_branch(&mut self, convs: &[Conv], start: &str) -> Vec<String> {
        let (mut below, mut maps) = (start.to_owned(), Vec::new());
        for conv in convs {
            let prefix = conv.attention.clone().unwrap_or_default();
            let features = format!("{prefix}.features");
            let kernel = self.conv_kernel(conv);
            self.node("Conv", &[&below, &kernel], &features, conv_attributes());
            maps.push(self.attend(&prefix, &features));
            let (rectified, updated) = (format!("{prefix}.rectified"), format!("{prefix}.updated"));
            self.node("Relu", &[&features], &rectified, vec![]);
            self.node("Pow", &[&rectified, "power"], &updated, vec![]);
            below = updated;
        }
        maps
    }

    /// `gA`: with `e` the Gaussian of the side that holds, `a * e` below the peak and
    /// `a * e + (1 - e)` from it on.
    fn attend(&mut self, prefix: &str, features: &str) -> String {
        let name = |suffix: &str| format!("{prefix}.{suffix}");
        let attention = self.weights.attention(prefix);
        for (clamp, value) in crate::net::CLAMPS.iter().zip(attention.scalars()) {
            self.scalar(&name(clamp.name), value);
        }
        let mut node = |operator: &str, inputs: &[&str], output: &str| {
            let inputs: Vec<String> = inputs
                .iter()
                .map(|input| match *input {
                    shared @ ("one" | "zero") => shared.to_owned(),
                    own => name(own),
                })
                .collect();
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            self.node(operator, &inputs, &name(output), vec![]);
        };
        debug_assert_eq!(features, name("features"));
        node("Sub", &["features", "mu"], "distance");
        node("GreaterOrEqual", &["distance", "zero"], "above");
        node("Where", &["above", "sigma2", "sigma1"], "sigma");
        node("Mul", &["distance", "distance"], "squared");
        node("Mul", &["squared", "sigma"], "scaled");
        node("Neg", &["scaled"], "exponent");
        node("Exp", &["exponent"], "gaussian");
        node("Mul", &["gaussian", "a"], "below_peak");
        node("Sub", &["one", "gaussian"], "rest");
        node("Add", &["below_peak", "rest"], "above_peak");
        node("Where", &["above", "above_peak", "below_peak"], "map");
        name("map")
    }

    fn deconv(
        &mut self,
        deconv: &Deconv,
        below: &str,
        skips: &[String],
        maps: &[String],
    ) -> String {
        let level = deconv.level;
        let shape = [deconv.skip + deconv.deep, deconv.output, 4, 4];
        let kernel = self.kernel(&deconv.weight, &shape);
        let input = if deconv.skip > 0 {
            let joined = format!("joined{level}");
            self.node("Concat", &[&skips[level], below], &joined, vec![integer("axis", 1)]);
            joined
        } else {
            below.to_owned()
        };
        let doubled = format!("doubled{level}");
        self.node("ConvTranspose", &[&input, &kernel], &doubled, conv_attributes());
        let Some(index) = level.checked_sub(1) else { return doubled };
        let output = format!("d{level}");
        self.modulate(&doubled, &maps[index], &output);
        output
    }

    fn modulate(&mut self, features: &str, map: &str, output: &str) {
        let product = format!("{output}.product");
        self.node("Mul", &[features, map], &product, vec![]);
        let slope = AttributeProto {
            name: "alpha".into(),
            r#type: AttributeType::Float as i32,
            f: LEAKY_SLOPE,
            ..Default::default()
        };
        self.node("LeakyRelu", &[&product], output, vec![slope]);
    }

    fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<AttributeProto>,
    ) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: operator.to_owned(),
            attribute,
            ..Default::default()
        });
    }

    fn kernel(&mut self, name: &str, shape: &[usize]) -> String {
        self.constant(name, shape, self.weights.values(name));
        name.to_owned()
    }

    fn conv_kernel(&mut self, conv: &Conv) -> String {
        let shape = [conv.output, conv.applied_inputs(), 4, 4];
        self.constant(&conv.weight, &shape, &self.weights.applied(conv));
        conv.weight.clone()
    }

    fn scalar(&mut self, name: &str, value: f32) {
        self.constant(name, &[], &[value]);
    }

    fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|&side| side as i64).collect(),
            data_type: DataType::Float as i32,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..Default::default()
        });
    }
}

fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..Default::default()
    }
}

fn conv_attributes() -> Vec<AttributeProto> {
    [("kernel_shape", vec![4, 4]), ("strides", vec![2, 2]), ("pads", vec![1, 1, 1, 1])]
        .map(|(name, ints)| AttributeProto {
            name: name.into(),
            r#type: AttributeType::Ints as i32,
            ints,
            ..Default::default()
        })
        .into()
}

fn value_info(name: &str, channels: i64) -> ValueInfoProto {
    use tensor_shape_proto::dimension::Value::{DimParam, DimValue};
    let dim =
        [DimValue(1), DimValue(channels), DimParam("height".into()), DimParam("width".into())].map(
            |value| tensor_shape_proto::Dimension { value: Some(value), ..Default::default() },
        );
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto { dim: dim.into() }),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::import;
    use tract_onnx::prelude::*;

    /// Sums of up to 2048 products in another order differ by this in 32 bits.
    const TOLERANCE: f32 = 1e-4;

    #[test]
    fn tract_computes_the_reference_composite_from_the_export() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parity");
        let weights = import(&data.join("official_width_8.pth")).expect("the checkpoint");
        let bytes = std::fs::read(data.join("activations.safetensors")).expect("reference");
        let reference = safetensors::SafeTensors::deserialize(&bytes).expect("reference");
        let values = |name: &str| -> Vec<f32> {
            let data = reference.tensor(name).expect("there").data();
            data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
        };
        let plane = 128 * 128;
        let (input, mask) = (values("input"), values("mask"));
        let tensor = |values: &[f32]| {
            Tensor::from_shape(&[1, values.len() / plane, 128, 128], values).expect("a tensor")
        };
        let onnx = encode(&weights);
        let model = tract_onnx::onnx()
            .model_for_read(&mut onnx.as_slice())
            .and_then(|model| model.with_input_fact(0, f32::fact([1, 3, 128, 128]).into()))
            .and_then(|model| model.with_input_fact(1, f32::fact([1, 1, 128, 128]).into()))
            .and_then(|model| model.into_optimized()?.into_runnable())
            .expect("tract reads it");
        let inputs = tvec!(tensor(&input[..3 * plane]).into(), tensor(&mask[..plane]).into());
        let outputs = model.run(inputs).expect("tract runs it");
        assert_eq!(outputs.len(), 2);
        for (output, name) in outputs.iter().zip(["output", "composite"]) {
            let found =
                output.try_as_plain_ram().expect("plain").as_slice::<f32>().expect("f32").to_vec();
            // The input's picture is black in the hole, as is the composite's known part there.
            let wanted = values(name);
            assert_eq!(found.len(), wanted.len(), "{name}");
            // Not the largest difference: NaN is larger than none.
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!((found - wanted).abs() < TOLERANCE, "{name}: {found}, not {wanted}");
            }
        }
    }
}
