//! tract by itself on one thread: the whole network through its own ONNX reader, its own
//! optimiser and its own operators.

use std::error::Error;
use std::path::Path;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::floats::FloatPrecisionTranslator;
use tract_onnx::tract_core::transform::ModelTransform;

use super::{Input, Run, SIDE};

/// `half`: everything in 16-bit floats, inputs and output as well.
pub fn prepare(model: &Path, inputs: [Input; 2], half: bool) -> Result<Run, Box<dyn Error>> {
    let mut model = tract_onnx::onnx().model_for_path(model)?.into_typed()?.into_decluttered()?;
    if half {
        FloatPrecisionTranslator::new(f32::datum_type(), f16::datum_type())
            .transform(&mut model)?;
    }
    let mut given = tvec!();
    for outlet in model.input_outlets()? {
        let name = &model.node(outlet.node).name;
        let input = inputs.iter().find(|input| input.name == name).ok_or("an unknown input")?;
        let tensor = Tensor::from_shape(&[1, input.channels, SIDE, SIDE], &input.values)?;
        let wanted = model.outlet_fact(*outlet)?.datum_type;
        given.push(tensor.cast_to_dt(wanted)?.into_owned().into_tvalue());
    }
    let mut state = model.into_optimized()?.into_runnable()?.spawn()?;
    Ok(Box::new(move || {
        let outputs = state.run(given.clone())?;
        let output = outputs[0].cast_to::<f32>()?;
        Ok(output.to_plain_array_view::<f32>()?.iter().copied().collect())
    }))
}
