//! Scaling pictures of bytes, with everything that depends on the sizes alone kept from call to
//! call: frames of a camera are scaled to the same sizes again and again.
//!
//! Libraries for this either compute the weights anew for every picture, with an allocation for
//! each line and column of it, or (pic-scale 0.7) leave out the last tap of most kernels, which
//! makes their bilinear filter a nearest neighbour in places. The loops below are plain Rust in a
//! form that compilers make vectors of; on x86-64 they are compiled a second time for AVX2.

use std::ops::Range;

use super::workers;

/// A weight of 1.
const ONE: i32 = 1 << 14;

/// A kernel that is placed on a pixel and falls off on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// A triangle over one pixel on each side.
    Bilinear,
    /// The cubic through its points, over two pixels on each side.
    CatmullRom,
}

impl Filter {
    /// How far it reaches, pixels.
    fn reach(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::CatmullRom => 2.0,
        }
    }

    fn at(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::CatmullRom if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::CatmullRom if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::CatmullRom => 0.0,
        }
    }
}

/// For each target pixel along one axis: the first source pixel that counts, and weights from it
/// on. All have the same number of weights; those that are not needed are zero.
#[derive(Debug)]
struct Axis {
    taps: usize,
    starts: Vec<usize>,
    weights: Vec<i16>,
}

impl Axis {
    fn new(source: usize, target: usize, filter: Filter) -> Self {
        let scale = source as f64 / target as f64;
        // Shrinking widens the kernel, so that every source pixel counts.
        let stretch = scale.max(1.0);
        let reach = filter.reach() * stretch;
        let taps = (2.0 * reach).ceil() as usize + 1;
        let taps = taps.min(source);
        let (mut starts, mut weights) = (Vec::with_capacity(target), Vec::new());
        let mut exact = vec![0.0; taps];
        for place in 0..target {
            let centre = (place as f64 + 0.5) * scale - 0.5;
            let start = ((centre - reach).ceil().max(0.0) as usize).min(source - taps);
            for (tap, weight) in exact.iter_mut().enumerate() {
                *weight = filter.at(((start + tap) as f64 - centre) / stretch);
            }
            let sum: f64 = exact.iter().sum();
            let first = weights.len();
            let whole = exact.iter().map(|weight| (weight / sum * f64::from(ONE)).round() as i16);
            weights.extend(whole);
            // A flat picture stays as it is: what rounding has left goes to the largest weight.
            let weights = &mut weights[first..];
            let rest = ONE - weights.iter().map(|&weight| i32::from(weight)).sum::<i32>();
            if let Some(largest) = weights.iter_mut().max_by_key(|weight| **weight) {
                *largest += rest as i16;
            }
            starts.push(start);
        }
        Self { taps, starts, weights }
    }

    fn places(&self) -> impl Iterator<Item = (usize, &[i16])> {
        self.starts.iter().copied().zip(self.weights.chunks_exact(self.taps))
    }
}

/// Rows that are scaled along both axes before the next: they stay in a core's cache.
const ROWS: usize = 32;
/// Bytes of a row whose sums stay in registers; and of a line of [`ROWS`] pixels, which is three times that
/// long or four.
const CHUNK: usize = 64;
const SHORT_CHUNK: usize = 32;
/// Pixels of the target from which on two threads share them.
const SHARED: usize = 64 * 64;
/// Fraction bits of a sum.
const SUM_BITS: u32 = 6;

/// Scales pictures of one size, interleaved with `CHANNELS` bytes a pixel, to another.
///
/// Rows are summed up first, which is what vectors are good at; then some of them are turned by a
/// quarter, summed up likewise, and turned back.
#[derive(Debug)]
pub struct Resampler<const CHANNELS: usize> {
    source: (usize, usize),
    target: (usize, usize),
    filter: Filter,
    across: Axis,
    down: Axis,
    /// Of the upper half of what is scaled, and of the lower.
    strips: [Strip; 2],
}

/// What one strip takes.
#[derive(Debug)]
struct Strip {
    /// [`ROWS`] rows of the target's, still as wide as the source.
    rows: Vec<u8>,
    /// The same turned: a line holds one place of each of these rows.
    turned: Vec<u8>,
    /// The same scaled along the other axis.
    scaled: Vec<u8>,
}

impl<const CHANNELS: usize> Resampler<CHANNELS> {
    /// For pictures of `source` width and height.
    ///
    /// # Panics
    /// If a side is zero.
    pub fn new(source: (usize, usize), target: (usize, usize), filter: Filter) -> Self {
        assert!([source.0, source.1, target.0, target.1].iter().all(|&side| side > 0));
        Self {
            source,
            target,
            filter,
            across: Axis::new(source.0, target.0, filter),
            down: Axis::new(source.1, target.1, filter),
            strips: [(); 2].map(|()| Strip {
                rows: vec![0; ROWS * source.0 * CHANNELS],
                turned: vec![0; ROWS * source.0 * CHANNELS],
                scaled: vec![0; ROWS * target.0 * CHANNELS],
            }),
        }
    }

    /// Whether it was made for these.
    pub fn is_for(&self, source: (usize, usize), target: (usize, usize), filter: Filter) -> bool {
        (self.source, self.target, self.filter) == (source, target, filter)
    }

    /// Scales `from` into `to`.
    ///
    /// # Panics
    /// If their lengths are not those of the sizes.
    pub fn run(&mut self, from: &[u8], to: &mut [u8]) {
        self.run_within(from, to, 0..self.target.0, 0..self.target.1);
    }

    /// As [`run`](Self::run), of these pixels of the target alone; others keep what they hold.
    ///
    /// # Panics
    /// If there are none, or they are not all in the target.
    pub fn run_within(
        &mut self,
        from: &[u8],
        to: &mut [u8],
        columns: Range<usize>,
        rows: Range<usize>,
    ) {
        assert_eq!(from.len(), self.source.0 * self.source.1 * CHANNELS);
        assert_eq!(to.len(), self.target.0 * self.target.1 * CHANNELS);
        assert!(!columns.is_empty() && columns.end <= self.target.0);
        assert!(!rows.is_empty() && rows.end <= self.target.1);
        let Self { source, target, across, down, strips: [first, second], .. } = self;
        let scale = Scale { source_row: source.0 * CHANNELS, columns, across, down };
        let target_row = target.0 * CHANNELS;
        let half = rows.start + rows.len() / 2;
        let (upper, lower) = to[rows.start * target_row..rows.end * target_row]
            .split_at_mut(rows.len() / 2 * target_row);
        let pixels = scale.columns.len() * rows.len();
        let work =
            |strip: &mut Strip, to: &mut [u8], rows| scale.run::<CHANNELS>(strip, from, to, rows);
        if pixels < SHARED {
            work(first, upper, rows.start..half);
            work(second, lower, half..rows.end);
        } else {
            workers::join(
                || work(first, upper, rows.start..half),
                || work(second, lower, half..rows.end),
            );
        }
    }
}

/// What is scaled how: columns of the target, from rows of so many bytes.
struct Scale<'a> {
    source_row: usize,
    columns: Range<usize>,
    across: &'a Axis,
    down: &'a Axis,
}

impl Scale<'_> {
    /// Writes these rows of the target to `to`, which begins with the first of them.
    fn run<const CHANNELS: usize>(
        &self,
        strip: &mut Strip,
        from: &[u8],
        to: &mut [u8],
        rows: Range<usize>,
    ) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { self.run_avx2::<CHANNELS>(strip, from, to, rows) };
        }
        self.run_here::<CHANNELS>(strip, from, to, rows);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn run_avx2<const CHANNELS: usize>(
        &self,
        strip: &mut Strip,
        from: &[u8],
        to: &mut [u8],
        rows: Range<usize>,
    ) {
        self.run_here::<CHANNELS>(strip, from, to, rows);
    }

    #[inline(always)]
    fn run_here<const CHANNELS: usize>(
        &self,
        strip: &mut Strip,
        from: &[u8],
        to: &mut [u8],
        rows: Range<usize>,
    ) {
        let Self { source_row, columns, across, down } = self;
        let target_row = across.starts.len() * CHANNELS;
        let line_bytes = ROWS * CHANNELS;
        // The columns of the source that count.
        let first = across.starts[columns.start];
        let width = across.starts[columns.end - 1] + across.taps - first;
        for (top, to) in rows.clone().step_by(ROWS).zip(to.chunks_mut(ROWS * target_row)) {
            let height = ROWS.min(rows.end - top);
            let lines = strip.rows.chunks_exact_mut(width * CHANNELS);
            let places = down.places().skip(top).take(height);
            for (line, (start, weights)) in lines.zip(places) {
                let from = &from[start * source_row + first * CHANNELS..];
                sum_rows::<CHUNK>(from, *source_row, weights, line);
            }
            let lines = &strip.rows[..ROWS * width * CHANNELS];
            turn::<CHANNELS>(lines, width, &mut strip.turned, ROWS, 0);
            let lines = strip.scaled.chunks_exact_mut(line_bytes);
            let places = across.places().skip(columns.start).take(columns.len());
            for (line, (start, weights)) in lines.zip(places) {
                let from = &strip.turned[(start - first) * line_bytes..];
                sum_rows::<SHORT_CHUNK>(from, line_bytes, weights, line);
            }
            let lines = &strip.scaled[..columns.len() * line_bytes];
            turn::<CHANNELS>(lines, ROWS, to, across.starts.len(), columns.start);
        }
    }
}

/// Turns lines of `width` pixels into columns from `first` on: line by line, `height` pixels each. As
/// many lines as there is room for.
#[inline(always)]
fn turn<const CHANNELS: usize>(
    from: &[u8],
    width: usize,
    to: &mut [u8],
    height: usize,
    first: usize,
) {
    let from = from.as_chunks::<CHANNELS>().0;
    let (to, _) = to.as_chunks_mut::<CHANNELS>();
    let wanted = width.min(to.len() / height);
    /// Pixels of both sides of what is turned at once: whole lines of the cache on both sides.
    const BLOCK: usize = 16;
    for left in (0..wanted).step_by(BLOCK) {
        for (row, from) in (first..).zip(from.chunks_exact(width)) {
            let pixels = &from[left..(left + BLOCK).min(wanted)];
            let columns = to[left * height..].chunks_exact_mut(height);
            for (column, pixel) in columns.zip(pixels) {
                column[row] = *pixel;
            }
        }
    }
}

/// A byte as what is summed up: around zero, so that it fills 16 bits.
#[inline(always)]
fn centred(byte: u8) -> i16 {
    (i16::from(byte) - 128) << 8
}

/// A weight's share of a centred value: the upper half of a product is one instruction.
#[inline(always)]
fn share(value: i16, weight: i16) -> i16 {
    ((i32::from(value) * i32::from(weight)) >> 16) as i16
}

#[inline(always)]
fn byte(sum: i16) -> u8 {
    (sum >> SUM_BITS).clamp(-128, 127) as i8 as u8 ^ 128
}

/// So many that what is lost by rounding each share would show.
const MANY: usize = 32;

/// As [`sum_rows`], of products in 32 bits that are rounded once.
#[inline(always)]
fn sum_many_rows<const CHUNK: usize>(
    from: &[u8],
    row_bytes: usize,
    weights: &[i16],
    to: &mut [u8],
) {
    for (index, chunk) in to.chunks_mut(CHUNK).enumerate() {
        let mut sums = [1 << (SUM_BITS + 15); CHUNK];
        for (row, &weight) in weights.iter().enumerate() {
            let bytes = &from[row * row_bytes + index * CHUNK..][..chunk.len()];
            for (sum, &byte) in sums.iter_mut().zip(bytes) {
                *sum += i32::from(centred(byte)) * i32::from(weight);
            }
        }
        for (to, sum) in chunk.iter_mut().zip(sums) {
            *to = (sum >> (SUM_BITS + 16)).clamp(-128, 127) as i8 as u8 ^ 128;
        }
    }
}

/// The sum of rows that are `row_bytes` apart, each with its weight. `from` begins with the first of
/// them.
#[inline(always)]
fn sum_rows<const CHUNK: usize>(from: &[u8], row_bytes: usize, weights: &[i16], to: &mut [u8]) {
    if weights.len() >= MANY {
        return sum_many_rows::<CHUNK>(from, row_bytes, weights, to);
    }
    // A half, to round; and half of the last bit of each share, which are rounded down.
    let begin = (1 << (SUM_BITS - 1)) + (weights.len() / 2) as i16;
    let Some(last) = to.len().checked_sub(CHUNK) else {
        for (at, to) in to.iter_mut().enumerate() {
            let bytes = weights.iter().zip((at..).step_by(row_bytes));
            let shares = bytes.map(|(&weight, at)| share(centred(from[at]), weight));
            *to = byte(begin + shares.sum::<i16>());
        }
        return;
    };
    for at in (0..to.len()).step_by(CHUNK) {
        // The last chunk reaches back into the one before.
        let at = at.min(last);
        let mut sums = [begin; CHUNK];
        for (row, &weight) in weights.iter().enumerate() {
            let bytes = &from[row * row_bytes + at..][..CHUNK];
            for (sum, &byte) in sums.iter_mut().zip(bytes) {
                *sum += share(centred(byte), weight);
            }
        }
        to[at..][..CHUNK].iter_mut().zip(sums).for_each(|(to, sum)| *to = byte(sum));
    }
}

#[cfg(test)]
mod tests {
    use fast_image_resize::images::{Image, ImageRef};
    use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::noise;

    /// Both round to whole levels between the two directions; ours also keeps fewer bits.
    const LEVELS: u8 = 2;

    fn by_library<const CHANNELS: usize>(
        from: &[u8],
        source: (usize, usize),
        target: (usize, usize),
        filter: Filter,
    ) -> Vec<u8> {
        let kind = if CHANNELS == 4 { PixelType::U8x4 } else { PixelType::U8x3 };
        let filter = match filter {
            Filter::Bilinear => FilterType::Bilinear,
            Filter::CatmullRom => FilterType::CatmullRom,
        };
        let mut to = vec![0; target.0 * target.1 * CHANNELS];
        let from = ImageRef::new(source.0 as u32, source.1 as u32, from, kind).unwrap();
        let mut into =
            Image::from_slice_u8(target.0 as u32, target.1 as u32, &mut to, kind).unwrap();
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
        Resizer::new().resize(&from, &mut into, &options.use_alpha(false)).unwrap();
        to
    }

    fn worst<const CHANNELS: usize>(
        source: (usize, usize),
        target: (usize, usize),
        filter: Filter,
        seed: u32,
    ) -> u8 {
        let from = noise(source.0 * source.1 * CHANNELS, seed);
        let expected = by_library::<CHANNELS>(&from, source, target, filter);
        let mut resampler = Resampler::<CHANNELS>::new(source, target, filter);
        let (mut found, mut portable) = (vec![7; expected.len()], vec![9; expected.len()]);
        resampler.run(&from, &mut found);
        let Resampler { across, down, strips: [strip, _], .. } = &mut resampler;
        let scale = Scale { source_row: source.0 * CHANNELS, columns: 0..target.0, across, down };
        scale.run_here::<CHANNELS>(strip, &from, &mut portable, 0..target.1);
        assert!(found == portable, "instruction sets or halves differ");
        expected.iter().zip(&found).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn noise_is_scaled_as_a_library_scales_it(
            source in (1_usize..150, 1_usize..150),
            target in (20_usize..150, 20_usize..150),
            cubic in any::<bool>(),
            seed in any::<u32>(),
        ) {
            let filter = if cubic { Filter::CatmullRom } else { Filter::Bilinear };
            prop_assert!(worst::<3>(source, target, filter, seed) <= LEVELS);
            prop_assert!(worst::<4>(source, target, filter, seed) <= LEVELS);
        }
    }

    #[test]
    fn a_part_is_what_it_is_in_the_whole() {
        let source = (61, 47);
        let from = noise(source.0 * source.1 * 3, 3);
        for target in [(190, 171), (40, 33)] {
            let mut resampler = Resampler::<3>::new(source, target, Filter::CatmullRom);
            let mut whole = vec![7; target.0 * target.1 * 3];
            resampler.run(&from, &mut whole);
            let (width, height) = target;
            for (columns, rows) in [
                (0..width, 0..height),
                (0..1, 0..1),
                (width - 1..width, height - 1..height),
                (11..width - 9, 5..height),
                (3..width, 7..height - 2),
            ] {
                let mut part = vec![9; whole.len()];
                resampler.run_within(&from, &mut part, columns.clone(), rows.clone());
                for (at, (part, whole)) in part.iter().zip(&whole).enumerate() {
                    let (x, y) = (at / 3 % width, at / 3 / width);
                    let inside = columns.contains(&x) && rows.contains(&y);
                    assert_eq!(*part, if inside { *whole } else { 9 }, "{x} {y} {target:?}");
                }
            }
        }
    }

    #[test]
    fn much_smaller_is_what_a_library_makes() {
        for filter in [Filter::Bilinear, Filter::CatmullRom] {
            for (source, target) in
                [((150, 150), (4, 4)), ((40, 997), (37, 9)), ((700, 33), (11, 30))]
            {
                assert!(worst::<3>(source, target, filter, 5) <= LEVELS);
                assert!(worst::<4>(source, target, filter, 6) <= LEVELS);
            }
        }
    }

    #[test]
    fn a_flat_picture_stays_as_it_is() {
        for filter in [Filter::Bilinear, Filter::CatmullRom] {
            for (source, target) in [
                ((37, 90), (128, 256)),
                ((300, 211), (64, 50)),
                ((8192, 64), (128, 64)),
                ((64, 2000), (64, 20)),
            ] {
                let mut resampler = Resampler::<3>::new(source, target, filter);
                for level in [0, 1, 127, 128, 254, 255] {
                    let mut to = vec![0; target.0 * target.1 * 3];
                    resampler.run(&vec![level; source.0 * source.1 * 3], &mut to);
                    assert!(to.iter().all(|&byte| byte == level), "{filter:?} {level}");
                }
            }
        }
    }
}
