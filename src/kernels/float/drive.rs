//! The two loops, over any instruction set.

use rayon::prelude::*;

use super::vector::{Portable, Vector};
#[cfg(target_arch = "x86_64")]
use super::vector::{has_avx2, has_avx512};
use super::{LANES, Planes};

/// Places of a tile: pixels in [`convolve`], inputs in [`gather`]. With two vectors each and what
/// they are made of they fill a third to all of the registers, depending on the processor.
const TILE: usize = 8;
/// Pixels that one thread takes at a time.
const CHUNK: usize = 512;
/// Values of the gradient that stay in a core's cache while all weights pass over them.
const CACHED: usize = 16 << 10;
/// Fewest products worth waking another thread for.
const LEAST_PRODUCTS: usize = if cfg!(test) { 1 } else { 1 << 19 };

/// A run of inputs that belongs to each output pixel, and its weights.
#[derive(Debug, Clone, Copy)]
pub struct Tap<'a> {
    /// Where inputs lie.
    pub source: &'a Planes,
    /// Rows from the walk's place down to the input's first pixel; may reach into the border.
    pub down: isize,
    /// Columns likewise.
    pub right: isize,
    /// Values from there on.
    pub run: usize,
    /// `[run, output channels]`; nothing is read of it by [`gather`].
    pub weights: &'a [f32],
}

/// Which output pixels are made, and at which input pixels their taps begin.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    /// Rows of places.
    pub height: usize,
    /// Columns of places.
    pub width: usize,
    /// Input pixels from one place to the next.
    pub stride: usize,
    /// Output pixels from one place to the next.
    pub output_stride: usize,
    /// Row of the first place's output pixel.
    pub output_down: usize,
    /// Column likewise.
    pub output_right: usize,
}

impl Walk {
    /// Over all pixels of an output.
    pub fn over(height: usize, width: usize, stride: usize) -> Self {
        Self { height, width, stride, output_stride: 1, output_down: 0, output_right: 0 }
    }

    /// Over every other pixel of an output of twice the input's size: rows from `down`, columns
    /// from `right` on, each 0 or 1.
    pub fn phase(height: usize, width: usize, down: usize, right: usize) -> Self {
        let (output_down, output_right) = (down, right);
        Self { height, width, stride: 1, output_stride: 2, output_down, output_right }
    }
}

/// A tap as the loops use it. Planes do not move while it lives.
#[derive(Clone, Copy)]
struct RawTap {
    /// Input of the first place in the first plane.
    first: *const f32,
    plane: usize,
    row: usize,
    pixel: usize,
    run: usize,
    weights: *const f32,
}

/// What all threads know.
struct Job {
    taps: Vec<RawTap>,
    count: usize,
    height: usize,
    width: usize,
    /// Output pixel of the first place in the first plane.
    output: *mut f32,
    plane: usize,
    row: usize,
    pixel: usize,
    channels: usize,
    add: bool,
}

// SAFETY: inputs are only read; each output belongs to one place and one block of channels, and
// whoever shares a job among threads gives no two of them the same.
unsafe impl Sync for Job {}

/// A place on a walk.
#[derive(Clone, Copy)]
struct Place {
    plane: usize,
    y: usize,
    x: usize,
}

impl Job {
    /// # Panics
    /// If a tap or an output pixel lies outside its planes: the caller's mistake.
    fn new(taps: &[Tap], walk: Walk, output: &Planes, place: *mut f32, add: bool) -> Self {
        let (count, channels) = (output.count(), output.channels());
        assert!(channels.is_multiple_of(LANES), "{channels} output channels");
        let last = |length: usize, stride: usize| length.saturating_sub(1) * stride;
        // Two places with one output would have two writers.
        assert!(walk.output_stride > 0, "no stride");
        assert!(
            last(walk.height, walk.output_stride) + walk.output_down < output.height()
                && last(walk.width, walk.output_stride) + walk.output_right < output.width(),
            "outputs beyond the planes"
        );
        let raw = |tap: &Tap| {
            let (source, pixel) = (tap.source, tap.source.channels());
            assert_eq!(source.count(), count, "planes");
            let (top, left) = (tap.down + 1, tap.right + 1);
            assert!(top >= 0 && left >= 0, "a tap above or left of the border");
            let (top, left) = (top as usize, left as usize);
            let right = last(walk.width, walk.stride) + left;
            assert!(
                last(walk.height, walk.stride) + top < source.height() + 2
                    && right * pixel + tap.run <= (source.width() + 2) * pixel,
                "a tap beyond the border"
            );
            let first = top * source.row_step() + left * pixel;
            RawTap {
                first: source.values()[first..].as_ptr(),
                plane: source.plane_step(),
                row: walk.stride * source.row_step(),
                pixel: walk.stride * pixel,
                run: tap.run,
                weights: tap.weights.as_ptr(),
            }
        };
        let first = (1 + walk.output_down) * output.row_step() + (1 + walk.output_right) * channels;
        Self {
            taps: taps.iter().map(raw).collect(),
            count,
            height: walk.height,
            width: walk.width,
            output: place.wrapping_add(first),
            plane: output.plane_step(),
            row: walk.output_stride * output.row_step(),
            pixel: walk.output_stride * channels,
            channels,
            add,
        }
    }

    fn places(&self) -> usize {
        self.count * self.height * self.width
    }

    fn products(&self) -> usize {
        self.places() * self.channels * self.taps.iter().map(|tap| tap.run).sum::<usize>()
    }

    fn place(&self, index: usize) -> Place {
        let (row, x) = (index / self.width, index % self.width);
        Place { plane: row / self.height, y: row % self.height, x }
    }

    fn output_of(&self, place: Place) -> usize {
        place.plane * self.plane + place.y * self.row + place.x * self.pixel
    }
}

impl RawTap {
    fn input_of(&self, place: Place) -> usize {
        place.plane * self.plane + place.y * self.row + place.x * self.pixel
    }
}

/// At every place of `walk` the sums over all taps of inputs times weights, for all channels of
/// `output`; added to what is there if `add`, else in its stead.
///
/// # Panics
/// If taps, walk, weights and planes do not fit together: the caller's mistake.
pub fn convolve(taps: &[Tap], walk: Walk, output: &mut Planes, add: bool) {
    let place = output.values_mut().as_mut_ptr();
    let job = Job::new(taps, walk, output, place, add);
    for tap in taps {
        assert_eq!(tap.weights.len(), tap.run * job.channels, "weights");
    }
    let chunks = job.places().div_ceil(CHUNK);
    let blocks = job.channels.div_ceil(2 * LANES);
    let shared = rayon::current_num_threads() > 1 && job.products() >= LEAST_PRODUCTS;
    // With few pixels threads share the channels.
    let size = match shared {
        true if chunks * blocks < 4 => job.places().div_ceil(4).next_multiple_of(TILE),
        _ => CHUNK,
    };
    let chunks = job.places().div_ceil(size);
    let work = |share: usize| {
        let (block, chunk) = (share / chunks, share % chunks);
        let places = chunk * size..((chunk + 1) * size).min(job.places());
        // SAFETY: `Job::new` checked the farthest place of every tap and of the output; each share
        // is another block of channels or other places.
        unsafe { convolve_on_this_processor(&job, 2 * LANES * block, places) };
    };
    match shared {
        true => (0..blocks * chunks).into_par_iter().for_each(work),
        false => (0..blocks * chunks).for_each(work),
    }
}

/// For every tap the gradients of its weights, `[run, output channels]` one after the other in
/// `weights`: sums over all places of the tap's inputs times `gradient`, the gradient of what
/// [`convolve`] would have made. Added to what is there.
///
/// # Panics
/// If taps, walk, weights and planes do not fit together: the caller's mistake.
pub fn gather(taps: &[Tap], walk: Walk, gradient: &Planes, weights: &mut [&mut [f32]]) {
    let place = gradient.values().as_ptr().cast_mut();
    let job = Job::new(taps, walk, gradient, place, true);
    assert_eq!(taps.len(), weights.len(), "a slice of weights for each tap");
    let mut tiles = Vec::new();
    for (tap, weights) in job.taps.iter().zip(weights) {
        assert_eq!(weights.len(), tap.run * job.channels, "weights");
        for input in (0..tap.run).step_by(TILE) {
            for channel in (0..job.channels).step_by(2 * LANES) {
                let place = weights[input * job.channels + channel..].as_mut_ptr();
                tiles.push(WeightTile { tap: *tap, input, channel, place });
            }
        }
    }
    let threads = match job.products() >= LEAST_PRODUCTS {
        true => rayon::current_num_threads(),
        false => 1,
    };
    let share = tiles.len().div_ceil(threads).max(1);
    // SAFETY: `Job::new` checked the farthest place of every tap and of the gradient; each tile is
    // another part of the weights.
    let work = |tiles: &[WeightTile]| unsafe { gather_on_this_processor(&job, tiles) };
    match threads > 1 {
        true => tiles.par_chunks(share).for_each(work),
        false => work(&tiles),
    }
}

/// Some weights of a tap: [`TILE`] inputs by up to two vectors of channels.
struct WeightTile {
    tap: RawTap,
    input: usize,
    channel: usize,
    place: *mut f32,
}

// SAFETY: see `Job`; the weights of a tile are nobody else's.
unsafe impl Sync for WeightTile {}

/// # Safety
/// * All `places`, and 16 channels from `channel` on, must lie inside the job.
/// * Nobody else may touch those outputs meanwhile.
unsafe fn convolve_on_this_processor(job: &Job, channel: usize, places: std::ops::Range<usize>) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn avx512(job: &Job, channel: usize, places: std::ops::Range<usize>) {
            // SAFETY: the outer function's promise; the instructions are enabled.
            unsafe { convolve_places::<std::arch::x86_64::__m512>(job, channel, places) }
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(job: &Job, channel: usize, places: std::ops::Range<usize>) {
            // SAFETY: the outer function's promise; the instructions are enabled.
            unsafe { convolve_places::<[std::arch::x86_64::__m256; 2]>(job, channel, places) }
        }
        if has_avx512() {
            // SAFETY: the processor has it.
            return unsafe { avx512(job, channel, places) };
        }
        if has_avx2() {
            // SAFETY: the processor has it.
            return unsafe { avx2(job, channel, places) };
        }
    }
    // SAFETY: the caller's promise.
    unsafe { convolve_places::<Portable>(job, channel, places) }
}

/// # Safety
/// As [`convolve_on_this_processor`], and the instructions of `V` must be there.
#[inline(always)]
unsafe fn convolve_places<V: Vector>(job: &Job, channel: usize, places: std::ops::Range<usize>) {
    for begin in places.clone().step_by(TILE) {
        let valid = TILE.min(places.end - begin);
        // The last place again where a tile is not full; it is not stored twice.
        let tile = std::array::from_fn(|at| job.place(begin + at.min(valid - 1)));
        // SAFETY: the caller's promise.
        unsafe {
            match job.channels - channel {
                LANES => convolve_tile::<V, 1>(job, channel, &tile, valid),
                _ => convolve_tile::<V, 2>(job, channel, &tile, valid),
            }
        }
    }
}

/// # Safety
/// As [`convolve_places`].
#[inline(always)]
unsafe fn convolve_tile<V: Vector, const BLOCKS: usize>(
    job: &Job,
    channel: usize,
    tile: &[Place; TILE],
    valid: usize,
) {
    // SAFETY: all places of a job were checked: inputs up to `run` values on, and outputs.
    unsafe {
        let mut totals = [[V::zero(); BLOCKS]; TILE];
        for tap in &job.taps {
            let mut inputs = [tap.first; TILE];
            for (input, place) in inputs.iter_mut().zip(tile) {
                *input = input.add(tap.input_of(*place));
            }
            let mut weights = tap.weights.add(channel);
            for at in 0..tap.run {
                let mut row = [V::zero(); BLOCKS];
                for (block, row) in row.iter_mut().enumerate() {
                    *row = V::load(weights.add(block * LANES));
                }
                for (totals, input) in totals.iter_mut().zip(inputs) {
                    let input = V::splat(*input.add(at));
                    for (total, weights) in totals.iter_mut().zip(row) {
                        *total = total.multiply_add(input, weights);
                    }
                }
                weights = weights.wrapping_add(job.channels);
            }
        }
        for (totals, place) in totals[..valid].iter().zip(tile) {
            let output = job.output.add(job.output_of(*place) + channel);
            for (block, total) in totals.iter().enumerate() {
                let output = output.add(block * LANES);
                let total = if job.add { total.add(V::load(output)) } else { *total };
                total.store(output);
            }
        }
    }
}

/// # Safety
/// * All places of the job and all `tiles` must be right.
/// * Nobody else may touch the tiles' weights meanwhile.
unsafe fn gather_on_this_processor(job: &Job, tiles: &[WeightTile]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn avx512(job: &Job, tiles: &[WeightTile]) {
            // SAFETY: the outer function's promise; the instructions are enabled.
            unsafe { gather_tiles::<std::arch::x86_64::__m512>(job, tiles) }
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(job: &Job, tiles: &[WeightTile]) {
            // SAFETY: the outer function's promise; the instructions are enabled.
            unsafe { gather_tiles::<[std::arch::x86_64::__m256; 2]>(job, tiles) }
        }
        if has_avx512() {
            // SAFETY: the processor has it.
            return unsafe { avx512(job, tiles) };
        }
        if has_avx2() {
            // SAFETY: the processor has it.
            return unsafe { avx2(job, tiles) };
        }
    }
    // SAFETY: the caller's promise.
    unsafe { gather_tiles::<Portable>(job, tiles) }
}

/// # Safety
/// As [`gather_on_this_processor`], and the instructions of `V` must be there.
#[inline(always)]
unsafe fn gather_tiles<V: Vector>(job: &Job, tiles: &[WeightTile]) {
    let rows = job.count * job.height;
    let chunk = (CACHED / (job.width * job.channels)).max(1);
    for begin in (0..rows).step_by(chunk) {
        let rows = begin..(begin + chunk).min(rows);
        for tile in tiles {
            let inputs = tile.tap.run - tile.input;
            let one = job.channels - tile.channel == LANES;
            // SAFETY: the caller's promise.
            unsafe {
                match (inputs >= TILE, one) {
                    (true, false) => gather_tile::<V, TILE, 2>(job, tile, rows.clone()),
                    (true, true) => gather_tile::<V, TILE, 1>(job, tile, rows.clone()),
                    (false, _) => {
                        for input in 0..inputs {
                            let tile = WeightTile {
                                input: tile.input + input,
                                place: tile.place.add(input * job.channels),
                                ..*tile
                            };
                            match one {
                                false => gather_tile::<V, 1, 2>(job, &tile, rows.clone()),
                                true => gather_tile::<V, 1, 1>(job, &tile, rows.clone()),
                            }
                        }
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`gather_tiles`]; the tap has `INPUTS` inputs from the tile's on.
#[inline(always)]
unsafe fn gather_tile<V: Vector, const INPUTS: usize, const BLOCKS: usize>(
    job: &Job,
    tile: &WeightTile,
    rows: std::ops::Range<usize>,
) {
    // SAFETY: all places of a job were checked: inputs up to `run` values on, and gradients.
    unsafe {
        let mut totals = [[V::zero(); BLOCKS]; INPUTS];
        for row in rows {
            let place = job.place(row * job.width);
            let mut input = tile.tap.first.add(tile.tap.input_of(place) + tile.input);
            let mut gradient = job.output.cast_const().add(job.output_of(place) + tile.channel);
            for _ in 0..job.width {
                let mut slopes = [V::zero(); BLOCKS];
                for (block, slope) in slopes.iter_mut().enumerate() {
                    *slope = V::load(gradient.add(block * LANES));
                }
                for (at, totals) in totals.iter_mut().enumerate() {
                    let value = V::splat(*input.add(at));
                    for (total, slope) in totals.iter_mut().zip(slopes) {
                        *total = total.multiply_add(value, slope);
                    }
                }
                input = input.wrapping_add(tile.tap.pixel);
                gradient = gradient.wrapping_add(job.pixel);
            }
        }
        for (at, totals) in totals.iter().enumerate() {
            for (block, total) in totals.iter().enumerate() {
                let place = tile.place.add(at * job.channels + block * LANES);
                total.add(V::load(place)).store(place);
            }
        }
    }
}

/// Turns each of a number of matrices `[rows, columns]` into `[columns, rows]`.
///
/// # Panics
/// If the slices are not of one length, and that a multiple of `rows * columns`.
pub fn transpose(matrices: &[f32], rows: usize, columns: usize, output: &mut [f32]) {
    assert!(matrices.len() == output.len() && matrices.len().is_multiple_of(rows * columns));
    let size = rows * columns;
    let pairs = matrices.par_chunks_exact(size).zip(output.par_chunks_exact_mut(size));
    pairs.for_each(|(matrix, output)| {
        // In squares of which each side is one line of the cache.
        for top in (0..rows).step_by(LANES) {
            for left in (0..columns).step_by(LANES) {
                for row in top..(top + LANES).min(rows) {
                    for column in left..(left + LANES).min(columns) {
                        output[column * rows + row] = matrix[row * columns + column];
                    }
                }
            }
        }
    });
}
