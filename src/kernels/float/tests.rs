//! Against sums written out.

use proptest::prelude::*;

use super::*;

/// Of sums of up to some thousand products of numbers below 1, in another order.
const TOLERANCE: f32 = 1e-4;

fn numbers(seed: usize) -> impl FnMut() -> f32 {
    let mut state = seed as u32 * 2 + 1;
    move || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn filled(count: usize, height: usize, width: usize, channels: usize, seed: usize) -> Planes {
    let mut planes = Planes::new(count, height, width, channels);
    let mut next = numbers(seed);
    for plane in 0..count {
        for y in 0..height {
            planes.row_mut(plane, y).fill_with(&mut next);
        }
    }
    planes
}

/// A value, or 0 outside.
fn at(planes: &Planes, plane: usize, y: isize, x: isize, channel: usize) -> f32 {
    let inside =
        (0..planes.height() as isize).contains(&y) && (0..planes.width() as isize).contains(&x);
    match inside {
        true => planes.row(plane, y as usize)[x as usize * planes.channels() + channel],
        false => 0.0,
    }
}

fn close(found: f32, wanted: f32, what: &str) {
    assert!((found - wanted).abs() < TOLERANCE * (1.0 + wanted.abs()), "{what}: {found}, {wanted}");
}

/// A convolution as a walk with taps of some rows and columns each.
#[derive(Debug, Clone, Copy)]
struct Case {
    count: usize,
    size: (usize, usize),
    inputs: usize,
    outputs: usize,
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Halve,
    Double(usize, usize),
    Keep,
}

impl Case {
    fn walk(&self) -> Walk {
        let (height, width) = self.size;
        match self.form {
            Form::Halve => Walk::over(height / 2, width / 2, 2),
            Form::Double(down, right) => Walk::phase(height, width, down, right),
            Form::Keep => Walk::over(height, width, 1),
        }
    }

    fn output(&self) -> Planes {
        let (height, width) = self.size;
        let (height, width) = match self.form {
            Form::Halve => (height / 2, width / 2),
            Form::Double(..) => (2 * height, 2 * width),
            Form::Keep => (height, width),
        };
        filled(self.count, height, width, self.outputs, 7)
    }

    /// Row, column and columns of each tap.
    fn taps(&self) -> Vec<(isize, isize, usize)> {
        match self.form {
            Form::Halve => (-1..3).map(|down| (down, -1, 4)).collect(),
            Form::Keep => (-1..2).map(|down| (down, -1, 3)).collect(),
            Form::Double(down, right) => {
                let pair = |phase: usize| [phase as isize - 1, phase as isize];
                pair(down).into_iter().flat_map(|y| pair(right).map(|x| (y, x, 1))).collect()
            }
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let form = prop_oneof![
        Just(Form::Halve),
        (0..2_usize, 0..2_usize).prop_map(|(down, right)| Form::Double(down, right)),
        Just(Form::Keep),
    ];
    let inputs = prop_oneof![Just(1), Just(4), Just(16), Just(20)];
    (1..4_usize, (1..7_usize, 1..11_usize), inputs, 1..5_usize, form).prop_map(
        |(count, (height, width), inputs, blocks, form)| {
            let size = (2 * height, 2 * width);
            Case { count, size, inputs, outputs: LANES * blocks, form }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 16 } else { 128 }))]
    #[test]
    fn sums_and_gradients_are_those_written_out(case in cases(), add: bool) {
        let (height, width) = case.size;
        let source = filled(case.count, height, width, case.inputs, 1);
        let taps = case.taps();
        let mut next = numbers(3);
        let weights: Vec<Vec<f32>> = taps
            .iter()
            .map(|tap| (0..tap.2 * case.inputs * case.outputs).map(|_| next()).collect())
            .collect();
        let taps: Vec<Tap> = taps
            .iter()
            .zip(&weights)
            .map(|(&(down, right, columns), weights)| {
                Tap { source: &source, down, right, run: columns * case.inputs, weights }
            })
            .collect();
        let walk = case.walk();
        let before = case.output();
        let mut output = before.clone();
        convolve(&taps, walk, &mut output, add);
        let mut gradients: Vec<Vec<f32>> =
            weights.iter().map(|weights| vec![0.5; weights.len()]).collect();
        let mut wanted = gradients.clone();
        let mut slices: Vec<&mut [f32]> = gradients.iter_mut().map(Vec::as_mut_slice).collect();
        gather(&taps, walk, &before, &mut slices);
        let mut expected = before.clone();
        for plane in 0..case.count {
            for y in 0..walk.height {
                for x in 0..walk.width {
                    for channel in 0..case.outputs {
                        let place = (walk.output_right + walk.output_stride * x) * case.outputs + channel;
                        let row = walk.output_down + walk.output_stride * y;
                        let slope = before.row(plane, row)[place];
                        let mut sum = if add { slope } else { 0.0 };
                        for (tap, wanted) in taps.iter().zip(&mut wanted) {
                            for i in 0..tap.run {
                                let (column, input) = (i / case.inputs, i % case.inputs);
                                let y = (walk.stride * y) as isize + tap.down;
                                let x = (walk.stride * x + column) as isize + tap.right;
                                let value = at(&source, plane, y, x, input);
                                sum += value * tap.weights[i * case.outputs + channel];
                                wanted[i * case.outputs + channel] += value * slope;
                            }
                        }
                        expected.row_mut(plane, row)[place] = sum;
                    }
                }
            }
        }
        // Borders included: nobody writes there.
        for (found, wanted) in output.values().iter().zip(expected.values()) {
            close(*found, *wanted, "a sum");
        }
        for (found, wanted) in gradients.concat().iter().zip(wanted.concat()) {
            close(*found, wanted, "a gradient");
        }
    }
}

#[test]
fn matrices_are_turned() {
    let mut turned = [0.0; 12];
    transpose(&std::array::from_fn::<f32, 12, _>(|i| i as f32), 2, 3, &mut turned);
    assert_eq!(turned, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
}

#[test]
#[should_panic(expected = "a tap beyond the border")]
fn taps_beyond_the_border_are_refused() {
    let source = Planes::new(1, 4, 4, 4);
    let weights = [0.0; 20 * LANES];
    let tap = Tap { source: &source, down: 0, right: 0, run: 20, weights: &weights };
    convolve(&[tap], Walk::over(4, 4, 1), &mut Planes::new(1, 4, 4, LANES), false);
}
