//! rten on a float network.

use std::error::Error;
use std::path::Path;

use rten::ModelOptions;
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

use super::{Input, Run, SIDE};

pub fn prepare(model: &Path, threads: usize, inputs: [Input; 2]) -> Result<Run, Box<dyn Error>> {
    // SAFETY: no other thread runs yet. rten reads it when its pool is first used.
    unsafe { std::env::set_var("RTEN_NUM_THREADS", threads.to_string()) };
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(model)?;
    let mut given = Vec::new();
    for input in inputs {
        let tensor = NdTensor::from_data([1, input.channels, SIDE, SIDE], input.values);
        given.push((model.node_id(input.name)?, tensor));
    }
    let output_id = model.node_id("output")?;
    Ok(Box::new(move || {
        let inputs = given.iter().map(|(id, tensor)| (*id, tensor.view().into())).collect();
        let [output] = model.run_n(inputs, [output_id], None)?;
        let output: NdTensor<f32, 4> = output.try_into()?;
        Ok(output.into_data())
    }))
}
