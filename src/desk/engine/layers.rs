//! Convolutions of the network as walks and taps.

use super::parameters::Kernel;
use crate::kernels::float::{LANES, Planes, Tap, Walk, convolve, gather};
use crate::net::KERNEL;

/// Features and the weights `[tap, input, output]` that multiply them.
pub type Source<'a> = (&'a Planes, &'a [f32]);

/// Phases of a transposed convolution: even and odd rows and columns.
const PHASES: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];
/// Pixels beside each other that the last layer reads.
const WINDOW: usize = 3;

/// The kernel row that joins an output row of a phase with the input row `down` below it.
fn kernel_row(phase: usize, down: isize) -> Option<usize> {
    let row = phase as isize + 1 - 2 * down;
    (0..KERNEL as isize).contains(&row).then_some(row as usize)
}

/// A tap for each of the `size` rows of a kernel of `size` columns, which begins a pixel above and
/// left of its place.
fn row_taps<'a>((source, weights): Source<'a>, size: usize, outputs: usize) -> Vec<Tap<'a>> {
    let run = size * source.channels();
    let row = |row: usize| Tap {
        source,
        down: row as isize - 1,
        right: -1,
        run,
        weights: weights.get(row * run * outputs..(row + 1) * run * outputs).unwrap_or_default(),
    };
    (0..size).map(row).collect()
}

/// Each tap with its place among the kernel's.
fn doubling_taps<'a>(
    (source, weights): Source<'a>,
    outputs: usize,
    (down, right): (usize, usize),
) -> Vec<(usize, Tap<'a>)> {
    let run = source.channels();
    let mut taps = Vec::with_capacity(4);
    for (y, x) in PHASES {
        let (y, x) = (down as isize - 1 + y as isize, right as isize - 1 + x as isize);
        let (Some(row), Some(column)) = (kernel_row(down, y), kernel_row(right, x)) else {
            continue;
        };
        let at = row * KERNEL + column;
        let weights = weights.get(at * run * outputs..(at + 1) * run * outputs).unwrap_or_default();
        taps.push((at, Tap { source, down: y, right: x, run, weights }));
    }
    taps
}

/// A convolution of stride 2.
pub fn halve(source: &Planes, weights: &[f32], output: &mut Planes, add: bool) {
    let taps = row_taps((source, weights), KERNEL, output.channels());
    convolve(&taps, Walk::over(output.height(), output.width(), 2), output, add);
}

/// The gradient of [`halve`]'s weights.
pub fn halve_gradient(source: &Planes, gradient: &Planes, kernel: &mut Kernel) {
    let taps = row_taps((source, &[]), KERNEL, gradient.channels());
    let walk = Walk::over(gradient.height(), gradient.width(), 2);
    let size = KERNEL * source.channels() * gradient.channels();
    kernel.with_gradient(|slopes| {
        gather(&taps, walk, gradient, &mut slopes.chunks_exact_mut(size).collect::<Vec<_>>());
    });
}

/// The gradient of [`halve`]'s input, for its weights with inputs and outputs exchanged.
pub fn halve_input(gradient: &Planes, turned: &[f32], input: &mut Planes, add: bool) {
    double_into(&[(gradient, turned)], input, add);
}

/// A transposed convolution of stride 2 of skip and deep features together.
pub fn double(skip: Option<Source>, deep: Source, output: &mut Planes) {
    let sources: Vec<Source> = skip.into_iter().chain([deep]).collect();
    double_into(&sources, output, false);
}

fn double_into(sources: &[Source], output: &mut Planes, add: bool) {
    let (height, width) = (output.height() / 2, output.width() / 2);
    for (down, right) in PHASES {
        let (channels, phase) = (output.channels(), (down, right));
        let taps = sources.iter().flat_map(|source| doubling_taps(*source, channels, phase));
        let taps: Vec<Tap> = taps.map(|(_, tap)| tap).collect();
        convolve(&taps, Walk::phase(height, width, down, right), output, add);
    }
}

/// The gradient of [`double`]'s weights for one of its sources. (That of the source is [`halve`]
/// with inputs and outputs of the weights exchanged.)
pub fn double_gradient(source: &Planes, gradient: &Planes, kernel: &mut Kernel) {
    let size = source.channels() * gradient.channels();
    kernel.with_gradient(|slopes| {
        let mut slopes: Vec<_> = slopes.chunks_exact_mut(size).map(Some).collect();
        for (down, right) in PHASES {
            let taps = doubling_taps((source, &[]), gradient.channels(), (down, right));
            let mut own: Vec<&mut [f32]> =
                taps.iter().filter_map(|(at, _)| slopes[*at].take()).collect();
            let taps: Vec<Tap> = taps.into_iter().map(|(_, tap)| tap).collect();
            let walk = Walk::phase(source.height(), source.width(), down, right);
            gather(&taps, walk, gradient, &mut own);
        }
    });
}

/// The last transposed convolution as one 3x3 convolution that makes the 2x2 pixels of 3 channels
/// which belong to each of its inputs: `[tap, input, LANES]`, lane `(2 row + column) * 3 + channel`.
/// As four phases, 13 of 16 lanes would be idle.
pub struct Joined {
    skip: Vec<f32>,
    deep: Vec<f32>,
}

/// Calls `each` with the place in a joined kernel and that in the kernel, of every weight.
fn joined_places(inputs: usize, mut each: impl FnMut(usize, usize)) {
    for (down, right) in PHASES {
        for (y, x) in (0..WINDOW).flat_map(|y| (0..WINDOW).map(move |x| (y, x))) {
            let (row, column) =
                (kernel_row(down, y as isize - 1), kernel_row(right, x as isize - 1));
            let (Some(row), Some(column)) = (row, column) else { continue };
            for input in 0..inputs {
                for channel in 0..3 {
                    let lane = (2 * down + right) * 3 + channel;
                    let joined = ((y * WINDOW + x) * inputs + input) * LANES + lane;
                    each(joined, ((row * KERNEL + column) * inputs + input) * 3 + channel);
                }
            }
        }
    }
}

impl Joined {
    /// Of the last layer's kernels.
    pub fn of(skip: Option<&Kernel>, deep: &Kernel) -> Self {
        let joined = |kernel: &Kernel| {
            let inputs = kernel.inputs();
            let mut joined = vec![0.0; WINDOW * WINDOW * inputs * LANES];
            joined_places(inputs, |to, from| joined[to] = kernel.values()[from]);
            joined
        };
        Self { skip: skip.map(joined).unwrap_or_default(), deep: joined(deep) }
    }

    /// Makes `output` of skip and deep features.
    pub fn convolve(&self, skip: &Planes, deep: &Planes, output: &mut Planes) {
        let mut taps = row_taps((deep, &self.deep), WINDOW, LANES);
        if !self.skip.is_empty() {
            taps.extend(row_taps((skip, &self.skip), WINDOW, LANES));
        }
        convolve(&taps, Walk::over(output.height(), output.width(), 1), output, false);
    }

    /// Gradients of both kernels and of both features.
    pub fn backward(
        &self,
        skip_kernel: Option<&mut Kernel>,
        deep_kernel: &mut Kernel,
        gradient: &Planes,
        (skip, deep): (&Planes, &Planes),
        (skip_gradient, deep_gradient): (&mut Planes, &mut Planes),
    ) {
        let parts = [
            (skip_kernel, skip, &self.skip, skip_gradient),
            (Some(deep_kernel), deep, &self.deep, deep_gradient),
        ];
        for (kernel, source, weights, input_gradient) in parts {
            let Some(kernel) = kernel else { continue };
            let walk = Walk::over(gradient.height(), gradient.width(), 1);
            let inputs = source.channels();
            let mut slopes = vec![0.0; weights.len()];
            let rows = slopes.chunks_exact_mut(WINDOW * inputs * LANES);
            gather(
                &row_taps((source, &[]), WINDOW, LANES),
                walk,
                gradient,
                &mut rows.collect::<Vec<_>>(),
            );
            kernel.with_gradient(|own| joined_places(inputs, |from, to| own[to] += slopes[from]));
            // Backward each tap reaches the other way.
            let mut turned = vec![0.0; weights.len()];
            let size = inputs * LANES;
            let taps = weights.chunks_exact(size).rev();
            for (tap, turned) in taps.zip(turned.chunks_exact_mut(size)) {
                crate::kernels::float::transpose(tap, inputs, LANES, turned);
            }
            convolve(&row_taps((gradient, &turned), WINDOW, inputs), walk, input_gradient, false);
        }
    }
}
