//! Weights in the kernels' order, with gradients and the optimiser's averages beside them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::desk::DeskError;
use crate::desk::adam::{AdamSettings, AdamStep};
use crate::file::{Weights, write_atomically};
use crate::kernels::float::{LANES, transpose, widest};
use crate::net::{Attention, CLAMPS, Conv, KERNEL};

/// Shapes and values by name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

const TAPS: usize = KERNEL * KERNEL;
/// Name of the tensor that holds the number of steps done.
const STEPS: &str = "steps";

/// A step of Adam (Kingma and Ba 2015).
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub adam: AdamStep,
    /// Multiplies gradients.
    pub scale: f32,
}

impl Step {
    fn apply(&self, values: &mut [f32], slopes: &[f32], moments: &mut [Vec<f32>; 2]) {
        let AdamStep { settings: AdamSettings { betas: keep, epsilon }, rate, root } = self.adam;
        let take = (1.0 - keep.0, 1.0 - keep.1);
        let [first, second] = moments;
        const SHARE: usize = 1 << 14;
        let values = values.par_chunks_mut(SHARE).zip(slopes.par_chunks(SHARE));
        let moments = first.par_chunks_mut(SHARE).zip(second.par_chunks_mut(SHARE));
        values.zip(moments).for_each(|((values, slopes), (first, second))| {
            widest(
                #[inline(always)]
                || {
                    for (((value, slope), first), second) in
                        values.iter_mut().zip(slopes).zip(first).zip(second)
                    {
                        let slope = slope * self.scale;
                        *first = keep.0 * *first + take.0 * slope;
                        *second = keep.1 * *second + take.1 * slope * slope;
                        *value -= rate * *first / (second.sqrt() / root + epsilon);
                    }
                },
            );
        });
    }
}

/// The weights of a convolution or of a part of one: `[tap, input, output]`. Inputs and outputs
/// are filled up with zeros where vectors want it, and stay zero.
#[derive(Debug)]
pub struct Kernel {
    name: String,
    /// Inputs and outputs as stored here.
    stored: (usize, usize),
    /// Where each weight of the tensor lies here.
    form: Form,
    /// First and number of the tensor's inputs that are held here.
    inputs: (usize, usize),
    outputs: usize,
    /// Whether all inputs are equal, so that the kernel is applied to one of them, summed.
    summed: bool,
    values: Vec<f32>,
    /// Places of the values that are held at zero.
    gone: Vec<u32>,
    gradient: Vec<f32>,
    moments: [Vec<f32>; 2],
    /// Room for [`Kernel::turned`].
    turned: Vec<f32>,
}

/// The order of a tensor's first two axes.
#[derive(Debug, Clone, Copy)]
enum Form {
    OutputsFirst,
    InputsFirst,
}

impl Kernel {
    /// `[outputs, inputs, 4, 4]`. In a mask branch's first layer all inputs are equal.
    pub fn convolution(weights: &Weights, conv: &Conv) -> Self {
        let first = conv.level == 1;
        let stored_inputs = if first { conv.input } else { conv.input.next_multiple_of(LANES) };
        let stored = (stored_inputs, conv.output.next_multiple_of(LANES));
        let (form, inputs) = (Form::OutputsFirst, (0, conv.input));
        let summed = conv.applied_inputs() < conv.input;
        Self::new(weights, &conv.weight, form, inputs, conv.output, stored, summed)
    }

    /// Inputs `from..from + count` of `[inputs, outputs, 4, 4]`.
    pub fn transposed(
        weights: &Weights,
        name: &str,
        from: usize,
        count: usize,
        outputs: usize,
        last: bool,
    ) -> Self {
        let stored_outputs = if last { outputs } else { outputs.next_multiple_of(LANES) };
        let stored = (count.next_multiple_of(LANES), stored_outputs);
        Self::new(weights, name, Form::InputsFirst, (from, count), outputs, stored, false)
    }

    fn new(
        weights: &Weights,
        name: &str,
        form: Form,
        inputs: (usize, usize),
        outputs: usize,
        stored: (usize, usize),
        summed: bool,
    ) -> Self {
        let zeros = vec![0.0; TAPS * stored.0 * stored.1];
        let mut kernel = Self {
            name: name.to_owned(),
            stored,
            form,
            inputs,
            outputs,
            summed,
            values: zeros.clone(),
            gone: Vec::new(),
            gradient: zeros.clone(),
            moments: [zeros.clone(), zeros],
            turned: Vec::new(),
        };
        let tensor = weights.values(name);
        let all_inputs = tensor.len() / (TAPS * outputs);
        let mut values = std::mem::take(&mut kernel.values);
        kernel.each_place(all_inputs, |own, place| values[own] = tensor[place]);
        kernel.values = values;
        kernel
    }

    /// Calls `each` with every weight's place here and in the tensor.
    fn each_place(&self, all_inputs: usize, mut each: impl FnMut(usize, usize)) {
        let (first, count) = self.inputs;
        for input in 0..count {
            for output in 0..self.outputs {
                let pair = match self.form {
                    Form::OutputsFirst => output * all_inputs + first + input,
                    Form::InputsFirst => (first + input) * self.outputs + output,
                };
                for tap in 0..TAPS {
                    let own = (tap * self.stored.0 + input) * self.stored.1 + output;
                    each(own, pair * TAPS + tap);
                }
            }
        }
    }

    /// Writes the weights into their tensor.
    pub fn store(&self, tensors: &mut Tensors) {
        self.store_values(&self.values, tensors);
    }

    /// Writes the gradient into the weights' tensor.
    #[cfg(test)]
    pub fn store_gradient(&self, tensors: &mut Tensors) {
        self.store_values(&self.gradient, tensors);
    }

    fn store_values(&self, values: &[f32], tensors: &mut Tensors) {
        let Some((_, tensor)) = tensors.get_mut(&self.name) else { return };
        let all_inputs = tensor.len() / (TAPS * self.outputs);
        self.each_place(all_inputs, |own, place| tensor[place] = values[own]);
    }

    /// Inputs as stored.
    pub fn inputs(&self) -> usize {
        self.stored.0
    }

    /// The weights.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The weights as they multiply features: summed over inputs that are all equal.
    pub fn applied(&self) -> Cow<'_, [f32]> {
        if !self.summed {
            return Cow::Borrowed(&self.values);
        }
        let (inputs, outputs) = self.stored;
        let mut sums = vec![0.0; TAPS * outputs];
        for (sums, rows) in
            sums.chunks_exact_mut(outputs).zip(self.values.chunks_exact(inputs * outputs))
        {
            for row in rows.chunks_exact(outputs) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
        }
        Cow::Owned(sums)
    }

    /// Has `fill` add to a gradient of zeros, in the order of [`Kernel::applied`].
    pub fn with_gradient(&mut self, fill: impl FnOnce(&mut [f32])) {
        if !self.summed {
            self.gradient.fill(0.0);
            fill(&mut self.gradient);
            return;
        }
        let (inputs, outputs) = self.stored;
        let mut slopes = vec![0.0; TAPS * outputs];
        fill(&mut slopes);
        // Each of the summed weights has the sum's slope.
        for (own, slopes) in
            self.gradient.chunks_exact_mut(inputs * outputs).zip(slopes.chunks_exact(outputs))
        {
            own.chunks_exact_mut(outputs).for_each(|own| own.copy_from_slice(slopes));
        }
    }

    /// The weights with inputs and outputs exchanged: `[tap, output, input]`.
    pub fn turned(&mut self) -> &[f32] {
        self.turned.resize(self.values.len(), 0.0);
        transpose(&self.values, self.stored.0, self.stored.1, &mut self.turned);
        &self.turned
    }

    /// Sum of the gradient's squares, without those of weights that are held at zero: they go nowhere.
    pub fn squared_gradient(&mut self) -> f64 {
        for &place in &self.gone {
            self.gradient[place as usize] = 0.0;
        }
        // In shares of one length, whatever the number of threads.
        let shares: Vec<f64> = self
            .gradient
            .par_chunks(1 << 14)
            .map(|slopes| slopes.iter().map(|&slope| f64::from(slope * slope)).sum())
            .collect();
        shares.iter().sum()
    }

    /// One step.
    pub fn update(&mut self, step: Step) {
        step.apply(&mut self.values, &self.gradient, &mut self.moments);
        self.clear();
    }

    /// Holds at zero from now on what is `gone` of the tensor, `true` for each such weight.
    pub fn prune(&mut self, gone: &[bool]) {
        let all_inputs = gone.len() / (TAPS * self.outputs);
        let mut places = Vec::new();
        self.each_place(all_inputs, |own, place| {
            if gone[place] {
                places.push(own as u32);
            }
        });
        self.gone = places;
        self.clear();
    }

    fn clear(&mut self) {
        for &place in &self.gone {
            self.values[place as usize] = 0.0;
        }
    }

    /// The tensor's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adam's averages by name.
    pub fn moments_mut(&mut self) -> impl Iterator<Item = (String, &mut Vec<f32>)> {
        let name = format!("{}:{}", self.name, self.inputs.0);
        moments_of(name, &mut self.moments)
    }
}

fn moments_of(
    name: String,
    moments: &mut [Vec<f32>; 2],
) -> impl Iterator<Item = (String, &mut Vec<f32>)> {
    let names = ["first", "second"].map(|kind| format!("{name}:{kind}"));
    names.into_iter().zip(moments.iter_mut())
}

/// The four scalars of an attention.
#[derive(Debug)]
pub struct Scalars {
    prefix: String,
    values: [f32; 4],
    /// Of the values, in the order of [`CLAMPS`].
    pub gradient: [f32; 4],
    moments: [Vec<f32>; 2],
}

impl Scalars {
    /// Those of this prefix.
    pub fn new(weights: &Weights, prefix: &str) -> Self {
        let values = weights.attention(prefix).scalars();
        let moments = [vec![0.0; 4], vec![0.0; 4]];
        Self { prefix: prefix.to_owned(), values, gradient: [0.0; 4], moments }
    }

    /// As an activation.
    pub fn attention(&self) -> Attention {
        Attention::clamped(self.values)
    }

    /// One step, and back into range. What is no number stays none, to be found.
    pub fn update(&mut self, step: Step) {
        step.apply(&mut self.values, &self.gradient, &mut self.moments);
        for (value, clamp) in self.values.iter_mut().zip(CLAMPS) {
            *value = value.clamp(clamp.min, clamp.max);
        }
    }

    /// Writes the values into their tensors.
    pub fn store(&self, tensors: &mut Tensors) {
        self.store_values(self.values, tensors);
    }

    /// Writes the gradient into the values' tensors.
    #[cfg(test)]
    pub fn store_gradient(&self, tensors: &mut Tensors) {
        self.store_values(self.gradient, tensors);
    }

    fn store_values(&self, values: [f32; 4], tensors: &mut Tensors) {
        for (clamp, value) in CLAMPS.iter().zip(values) {
            if let Some((_, tensor)) = tensors.get_mut(&format!("{}.{}", self.prefix, clamp.name)) {
                tensor[0] = value;
            }
        }
    }

    /// Adam's averages by name.
    pub fn moments_mut(&mut self) -> impl Iterator<Item = (String, &mut Vec<f32>)> {
        moments_of(self.prefix.clone(), &mut self.moments)
    }
}

/// Writes Adam's averages.
///
/// # Errors
/// [`DeskError`] if the file cannot be written.
pub fn write_moments(
    path: &Path,
    steps: u64,
    moments: &[(String, &Vec<f32>)],
) -> Result<(), DeskError> {
    let damaged = |error: safetensors::SafeTensorError| DeskError::run(path, error);
    let steps = steps.to_le_bytes();
    let mut views = vec![(STEPS, TensorView::new(Dtype::U64, vec![1], &steps).map_err(damaged)?)];
    for (name, values) in moments {
        let bytes = bytemuck::cast_slice(values);
        let view = TensorView::new(Dtype::F32, vec![values.len()], bytes).map_err(damaged)?;
        views.push((name, view));
    }
    let bytes = safetensors::serialize(views, None).map_err(damaged)?;
    Ok(write_atomically(path, &bytes)?)
}

/// Reads what [`write_moments`] wrote, and returns the number of steps.
///
/// # Errors
/// [`DeskError::Run`] if the file is damaged or another network's.
pub fn read_moments<'a>(
    path: &Path,
    moments: impl Iterator<Item = (String, &'a mut Vec<f32>)>,
) -> Result<u64, DeskError> {
    let bytes = std::fs::read(path).map_err(DeskError::io(path))?;
    let damaged = |reason: String| DeskError::run(path, format!("the optimiser's state: {reason}"));
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let mut tensors: HashMap<_, _> = file.tensors().into_iter().collect();
    let mut take = |name: &str, dtype: Dtype, length: usize| {
        let view = tensors.remove(name).ok_or_else(|| damaged(format!("{name} is missing")))?;
        match view.dtype() == dtype && view.shape() == [length] {
            true => Ok(view),
            false => Err(damaged(format!("{name} is of another network"))),
        }
    };
    let steps = take(STEPS, Dtype::U64, 1)?;
    let steps =
        steps.data().as_chunks::<8>().0.first().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    for (name, values) in moments {
        let view = take(&name, Dtype::F32, values.len())?;
        for (value, bytes) in values.iter_mut().zip(view.data().as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*bytes);
        }
    }
    Ok(steps)
}
