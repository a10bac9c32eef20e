//! CubeCL kernels of the convolutions: products of matrices whose right one is gathered from the
//! picture as it is needed, in tiles that a work group keeps in shared memory.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{Convolutions, burns_correlated, burns_doubled, burns_halved};

/// Threads of a work group.
const THREADS: usize = 256;
/// Products that a tile takes into shared memory at once; also the taps of a kernel.
const DEPTH: usize = 16;
/// Channels of which the threads of a work group bring all those at once.
const ABREAST: usize = THREADS / DEPTH;
/// Work groups that have a large GPU busy: what an H200's 132 multiprocessors hold of the largest tile.
const GROUPS: usize = 396;
/// Most work groups along x, below what every GPU takes; more lie along z.
const MOST_ALONG: usize = 1 << 15;
/// Of what is fine: rows and columns that are even or odd.
const PHASES: u32 = 4;
/// The offset of what is not there.
const NOWHERE: usize = u32::MAX as usize;
/// Bytes of the four numbers that are read from shared memory at once.
const FOUR: usize = 16;

/// What a work group computes: `rows` channels at `columns` positions, of which a thread has
/// `high` times `wide` that lie together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Tile {
    rows: usize,
    columns: usize,
    high: usize,
    wide: usize,
}

impl Tile {
    /// From one step of the left factors to the next in shared memory: four more than there are, so
    /// that threads that write a channel's steps do not all meet in a bank.
    const fn left_pitch(self) -> usize {
        self.rows + 4
    }

    /// The same of the right factors.
    const fn right_pitch(self) -> usize {
        self.columns + 4
    }

    /// For so many channels and positions: the more products of what a thread has read, the better,
    /// as long as there is work for all.
    fn of(channels: usize, positions: usize) -> Self {
        let tile = |rows, columns, high, wide| Self { rows, columns, high, wide };
        let are_enough =
            |columns: usize| channels.div_ceil(64) * positions.div_ceil(columns) >= GROUPS / 2;
        match channels {
            0..=4 => tile(4, 256, 4, 1),
            5..=16 => tile(16, 128, 2, 4),
            _ if !are_enough(64) => tile(32, 32, 2, 2),
            17..=32 => tile(32, 128, 4, 4),
            _ if !are_enough(128) => tile(64, 64, 4, 4),
            _ => tile(64, 128, 8, 4),
        }
    }
}

/// Picture, row and column of a position.
#[cube]
fn place(position: usize, rows: usize, columns: usize) -> (usize, usize, usize) {
    (position / (rows * columns), position / columns % rows, position % columns)
}

/// Where in its plane a pixel is, or [`NOWHERE`] around it and where none is `there`. Rows and columns
/// count from 1, so that none is below 0.
#[cube]
fn offset(tensor: &Tensor<f32>, row: usize, column: usize, there: bool) -> usize {
    let mut offset = NOWHERE.runtime();
    if there && row > 0 && row <= tensor.shape(2) && column > 0 && column <= tensor.shape(3) {
        offset = (row - 1) * tensor.stride(2) + column - 1;
    }
    offset
}

/// What is at an offset from `from`; 0 if that is [`NOWHERE`].
#[cube]
fn value(tensor: &Tensor<f32>, from: usize, offset: usize) -> f32 {
    let mut value = 0.0f32;
    if offset != NOWHERE {
        value = tensor[from + offset];
    }
    value
}

/// A thread's sums, before there is any.
#[cube]
fn zeros(#[comptime] tile: Tile) -> Array<f32> {
    let mut sums = Array::<f32>::new(comptime!(tile.high * tile.wide));
    #[unroll]
    for at in 0..tile.high * tile.wide {
        sums[at] = 0.0f32;
    }
    sums
}

/// Puts left factors that a thread has brought, of each sixteenth row from its first on, into shared
/// memory. All are brought before: a thread that puts each at once waits for one after the other.
#[allow(clippy::if_same_then_else)]
#[cube]
fn put(
    factors: &Array<f32>,
    left: &mut Shared<[f32]>,
    from: usize,
    first_row: usize,
    #[comptime] tile: Tile,
) {
    #[unroll]
    for part in 0..tile.rows.div_ceil(ABREAST) {
        let row = first_row + part * ABREAST;
        // Where every thread has a row none is asked.
        if comptime!(tile.rows.is_multiple_of(ABREAST)) {
            left[from + row] = factors[part];
        } else if row < tile.rows {
            left[from + row] = factors[part];
        }
    }
}

/// Adds a tile's next [`DEPTH`] products to each of a thread's sums.
#[cube]
fn multiply(
    left: &Shared<[f32]>,
    right: &Shared<[f32]>,
    sums: &mut Array<f32>,
    first_row: usize,
    first_column: usize,
    #[comptime] tile: Tile,
) {
    let (left_pitch, right_pitch) = comptime!((tile.left_pitch(), tile.right_pitch()));
    let mut factors = Array::<f32>::new(tile.wide);
    #[unroll]
    for depth in 0..DEPTH {
        #[unroll]
        for j in 0..tile.wide {
            factors[j] = right[depth * right_pitch + first_column + j];
        }
        #[unroll]
        for i in 0..tile.high {
            let factor = left[depth * left_pitch + first_row + i];
            #[unroll]
            for j in 0..tile.wide {
                sums[i * tile.wide + j] += factor * factors[j];
            }
        }
    }
}

#[cube(launch)]
fn halve_kernel(
    fine: &Tensor<f32>,
    weight: &Tensor<f32>,
    coarse: &mut Tensor<f32>,
    #[comptime] tile: Tile,
) {
    let (channels, outputs) = (fine.shape(1), coarse.shape(1));
    let (rows, columns) = (coarse.shape(2), coarse.shape(3));
    let positions = coarse.shape(0) * rows * columns;
    let unit = UNIT_POS as usize;
    let first = (CUBE_POS_X + CUBE_POS_Z * CUBE_COUNT_X) as usize * tile.columns;
    let first_output = CUBE_POS_Y as usize * tile.rows;
    let across = comptime!(tile.columns / tile.wide);
    let (first_row, first_column) = (unit / across * tile.high, unit % across * tile.wide);
    let (left_pitch, right_pitch) = comptime!((tile.left_pitch(), tile.right_pitch()));

    // Of the left factors this thread brings a tap of each sixteenth output.
    let (left_tap, left_output) = (unit % DEPTH, unit / DEPTH);
    // Of the right ones some taps of a position.
    let parts = comptime!(DEPTH * tile.columns / THREADS);
    let bring = unit % tile.columns;
    let first_tap = unit / tile.columns;
    let position = first + bring;
    let (picture, y, x) = place(position, rows, columns);
    let mut offsets = Array::<usize>::new(parts);
    #[unroll]
    for part in 0..parts {
        let tap = first_tap + part * (THREADS / tile.columns);
        offsets[part] = offset(fine, 2 * y + tap / 4, 2 * x + tap % 4, position < positions);
    }

    let mut left = Shared::<[f32]>::new_aligned_slice(comptime!(DEPTH * tile.left_pitch()), FOUR);
    let mut right = Shared::<[f32]>::new_aligned_slice(comptime!(DEPTH * tile.right_pitch()), FOUR);
    let mut sums = zeros(tile);
    let mut factors = Array::<f32>::new(comptime!(tile.rows.div_ceil(ABREAST)));
    for channel in 0..channels {
        #[unroll]
        for part in 0..tile.rows.div_ceil(ABREAST) {
            let from = first_output + left_output + part * ABREAST;
            let mut factor = 0.0f32;
            if from < outputs {
                factor = weight[(from * channels + channel) * DEPTH + left_tap];
            }
            factors[part] = factor;
        }
        put(&factors, &mut left, left_tap * left_pitch, left_output, tile);
        let plane = picture * fine.stride(0) + channel * fine.stride(1);
        #[unroll]
        for part in 0..parts {
            let tap = first_tap + part * (THREADS / tile.columns);
            right[tap * right_pitch + bring] = value(fine, plane, offsets[part]);
        }
        sync_cube();
        multiply(&left, &right, &mut sums, first_row, first_column, tile);
        sync_cube();
    }
    #[unroll]
    for j in 0..tile.wide {
        let position = first + first_column + j;
        if position < positions {
            let (picture, y, x) = place(position, rows, columns);
            #[unroll]
            for i in 0..tile.high {
                let output = first_output + first_row + i;
                if output < outputs {
                    coarse[((picture * outputs + output) * rows + y) * columns + x] =
                        sums[i * tile.wide + j];
                }
            }
        }
    }
}

/// One of the [`PHASES`] a work group, which follow each other along z.
#[cube(launch)]
fn double_kernel(
    coarse: &Tensor<f32>,
    weight: &Tensor<f32>,
    fine: &mut Tensor<f32>,
    #[comptime] tile: Tile,
) {
    let (channels, outputs) = (coarse.shape(1), fine.shape(1));
    let (rows, columns) = (coarse.shape(2), coarse.shape(3));
    let positions = coarse.shape(0) * rows * columns;
    let unit = UNIT_POS as usize;
    let first = (CUBE_POS_X + CUBE_POS_Z / PHASES * CUBE_COUNT_X) as usize * tile.columns;
    let first_output = CUBE_POS_Y as usize * tile.rows;
    let (odd_row, odd_column) = (CUBE_POS_Z as usize / 2 % 2, CUBE_POS_Z as usize % 2);
    let across = comptime!(tile.columns / tile.wide);
    let (first_row, first_column) = (unit / across * tile.high, unit % across * tile.wide);
    let (left_pitch, right_pitch) = comptime!((tile.left_pitch(), tile.right_pitch()));

    // Four channels at a time, of each the two by two taps that meet the phase: of an even row
    // those at 1 (of the pixel itself) and 3 (of the one above), of an odd row 2 and 0 (below).
    let (left_depth, left_output) = (unit % DEPTH, unit / DEPTH);
    let (second_row, second_column) = (left_depth / 2 % 2, left_depth % 2);
    let tap_row = 1 + odd_row + 2 * second_row - 4 * odd_row * second_row;
    let tap_column = 1 + odd_column + 2 * second_column - 4 * odd_column * second_column;
    let left_tap = 4 * tap_row + tap_column;

    let parts = comptime!(DEPTH * tile.columns / THREADS);
    let bring = unit % tile.columns;
    let first_depth = unit / tile.columns;
    let position = first + bring;
    let (picture, y, x) = place(position, rows, columns);
    let mut offsets = Array::<usize>::new(parts);
    #[unroll]
    for part in 0..parts {
        let depth = first_depth + part * (THREADS / tile.columns);
        let (second_row, second_column) = (depth / 2 % 2, depth % 2);
        let row = y + 1 + 2 * odd_row * second_row - second_row;
        let column = x + 1 + 2 * odd_column * second_column - second_column;
        offsets[part] = offset(coarse, row, column, position < positions);
    }

    let mut left = Shared::<[f32]>::new_aligned_slice(comptime!(DEPTH * tile.left_pitch()), FOUR);
    let mut right = Shared::<[f32]>::new_aligned_slice(comptime!(DEPTH * tile.right_pitch()), FOUR);
    let mut sums = zeros(tile);
    let mut factors = Array::<f32>::new(comptime!(tile.rows.div_ceil(ABREAST)));
    for part_of_channels in 0..channels.div_ceil(4) {
        let channel = 4 * part_of_channels + left_depth / 4;
        #[unroll]
        for part in 0..tile.rows.div_ceil(ABREAST) {
            let from = first_output + left_output + part * ABREAST;
            let mut factor = 0.0f32;
            if channel < channels && from < outputs {
                factor = weight[(channel * outputs + from) * 16 + left_tap];
            }
            factors[part] = factor;
        }
        put(&factors, &mut left, left_depth * left_pitch, left_output, tile);
        #[unroll]
        for part in 0..parts {
            let depth = first_depth + part * (THREADS / tile.columns);
            let channel = 4 * part_of_channels + depth / 4;
            let plane = picture * coarse.stride(0) + channel * coarse.stride(1);
            let mut factor = 0.0f32;
            if channel < channels {
                factor = value(coarse, plane, offsets[part]);
            }
            right[depth * right_pitch + bring] = factor;
        }
        sync_cube();
        multiply(&left, &right, &mut sums, first_row, first_column, tile);
        sync_cube();
    }
    #[unroll]
    for j in 0..tile.wide {
        let position = first + first_column + j;
        if position < positions {
            let (picture, y, x) = place(position, rows, columns);
            let (y, x) = (2 * y + odd_row, 2 * x + odd_column);
            #[unroll]
            for i in 0..tile.high {
                let output = first_output + first_row + i;
                if output < outputs {
                    fine[((picture * outputs + output) * 2 * rows + y) * 2 * columns + x] =
                        sums[i * tile.wide + j];
                }
            }
        }
    }
}

/// The weights' gradient, of `span` runs of [`DEPTH`] positions for each work group along z: their
/// sums come apart, `[Z, A, B, 16]`, and are added up after. A tile's columns are the taps of one
/// channel after the other.
#[cube(launch)]
fn correlate_kernel(
    fine: &Tensor<f32>,
    coarse: &Tensor<f32>,
    parts: &mut Tensor<f32>,
    span: usize,
    #[comptime] tile: Tile,
) {
    let (inner, outer) = (fine.shape(1), coarse.shape(1));
    let (rows, columns) = (coarse.shape(2), coarse.shape(3));
    let place_count = rows * columns;
    let runs = place_count.div_ceil(DEPTH);
    let unit = UNIT_POS as usize;
    let first_inner = CUBE_POS_X as usize * comptime!(tile.columns / DEPTH);
    let first_outer = CUBE_POS_Y as usize * tile.rows;
    let across = comptime!(tile.columns / tile.wide);
    let (first_row, first_column) = (unit / across * tile.high, unit % across * tile.wide);
    let (left_pitch, right_pitch) = comptime!((tile.left_pitch(), tile.right_pitch()));

    // This thread brings one position of each run: of what is coarse each sixteenth channel, of what
    // is fine a tap of each channel.
    let (depth, bring) = (unit % DEPTH, unit / DEPTH);

    let mut left = Shared::<[f32]>::new_aligned_slice(comptime!(DEPTH * tile.left_pitch()), FOUR);
    let mut right = Shared::<[f32]>::new_aligned_slice(comptime!(DEPTH * tile.right_pitch()), FOUR);
    let mut sums = zeros(tile);
    let mut factors = Array::<f32>::new(comptime!(tile.rows.div_ceil(ABREAST)));
    let mut taps = Array::<f32>::new(comptime!(tile.columns / DEPTH));
    let (coarse_picture, coarse_plane) = (coarse.stride(0), coarse.stride(1));
    let (fine_picture, fine_plane) = (fine.stride(0), fine.stride(1));
    let begin = CUBE_POS_Z as usize * span;
    let end = clamp_max(begin + span, coarse.shape(0) * runs);
    let mut picture = begin / runs;
    let mut first = begin % runs * DEPTH;
    for _run in begin..end {
        let place = first + depth;
        let there = place < place_count;
        let (y, x) = (place / columns, place % columns);
        let coarse_offset = offset(coarse, y + 1, x + 1, there);
        #[unroll]
        for part in 0..tile.rows.div_ceil(ABREAST) {
            let from = first_outer + bring + part * ABREAST;
            let at = select(from < outer, coarse_offset, NOWHERE.runtime());
            factors[part] = value(coarse, picture * coarse_picture + from * coarse_plane, at);
        }
        put(&factors, &mut left, depth * left_pitch, bring, tile);
        let fine_offset = offset(fine, 2 * y + bring / 4, 2 * x + bring % 4, there);
        #[unroll]
        for part in 0..tile.columns / DEPTH {
            let from = first_inner + part;
            let at = select(from < inner, fine_offset, NOWHERE.runtime());
            taps[part] = value(fine, picture * fine_picture + from * fine_plane, at);
        }
        #[unroll]
        for part in 0..tile.columns / DEPTH {
            right[depth * right_pitch + part * DEPTH + bring] = taps[part];
        }
        sync_cube();
        multiply(&left, &right, &mut sums, first_row, first_column, tile);
        sync_cube();
        first += DEPTH;
        if first >= place_count {
            first = 0;
            picture += 1;
        }
    }
    #[unroll]
    for j in 0..tile.wide {
        let at = first_column + j;
        let (b, tap) = (first_inner + at / 16, at % 16);
        #[unroll]
        for i in 0..tile.high {
            let a = first_outer + first_row + i;
            if a < outer && b < inner {
                parts[((CUBE_POS_Z as usize * outer + a) * inner + b) * 16 + tap] =
                    sums[i * tile.wide + j];
            }
        }
    }
}

/// A tensor beside another, its values one after the other: what a GPU's driver prefers may have
/// gaps between rows, which the kernels heed in what they read alone.
fn beside(tensor: &CubeTensor, shape: [usize; 4]) -> CubeTensor {
    let (client, shape) = (tensor.client.clone(), Shape::new(shape));
    let handle = client.empty(shape.num_elements() * size_of::<f32>());
    CubeTensor::new_contiguous(client, tensor.device.clone(), shape, handle, DType::F32)
}

/// With the values of a row one after the other.
fn in_rows(tensor: CubeTensor) -> CubeTensor {
    if tensor.meta.strides()[3] == 1 { tensor } else { into_contiguous(tensor) }
}

/// Work groups for all positions and channels, as often as there are phases.
fn groups(tile: Tile, positions: usize, channels: usize, phases: u32) -> CubeCount {
    let across = positions.div_ceil(tile.columns);
    let along = across.min(MOST_ALONG);
    let layers = across.div_ceil(along) as u32;
    CubeCount::Static(along as u32, channels.div_ceil(tile.rows) as u32, phases * layers)
}

impl Convolutions for CubeBackend {
    fn halved(fine: CubeTensor, weight: CubeTensor) -> CubeTensor {
        if fine.dtype != DType::F32 {
            return burns_halved::<Self>(fine, weight);
        }
        let (fine, weight) = (in_rows(fine), into_contiguous(weight));
        let [count, _, height, width] = fine.shape().dims();
        let [outputs, ..] = weight.shape().dims::<4>();
        let coarse = beside(&fine, [count, outputs, height / 2, width / 2]);
        let positions = count * height * width / 4;
        let tile = Tile::of(outputs, positions);
        let client = fine.client.clone();
        halve_kernel::launch(
            &client,
            groups(tile, positions, outputs, 1),
            CubeDim::new_1d(THREADS as u32),
            fine.into_tensor_arg(),
            weight.into_tensor_arg(),
            coarse.clone().into_tensor_arg(),
            tile,
        );
        coarse
    }

    fn doubled(coarse: CubeTensor, weight: CubeTensor) -> CubeTensor {
        if coarse.dtype != DType::F32 {
            return burns_doubled::<Self>(coarse, weight);
        }
        let (coarse, weight) = (in_rows(coarse), into_contiguous(weight));
        let [count, _, height, width] = coarse.shape().dims();
        let [_, outputs, ..] = weight.shape().dims::<4>();
        let fine = beside(&coarse, [count, outputs, 2 * height, 2 * width]);
        let positions = count * height * width;
        let tile = Tile::of(outputs, PHASES as usize * positions);
        let client = coarse.client.clone();
        double_kernel::launch(
            &client,
            groups(tile, positions, outputs, PHASES),
            CubeDim::new_1d(THREADS as u32),
            coarse.into_tensor_arg(),
            weight.into_tensor_arg(),
            fine.clone().into_tensor_arg(),
            tile,
        );
        fine
    }

    fn correlated(fine: CubeTensor, coarse: CubeTensor, weight: CubeTensor) -> CubeTensor {
        if fine.dtype != DType::F32 {
            return burns_correlated::<Self>(fine, coarse, weight);
        }
        let (fine, coarse) = (in_rows(fine), in_rows(coarse));
        let [outer, inner, ..] = weight.shape().dims::<4>();
        let [count, _, height, width] = coarse.shape().dims();
        let tile = match outer {
            0..=16 => Tile { rows: 16, columns: 4 * DEPTH, high: 1, wide: 4 },
            17..=32 => Tile { rows: 32, columns: 4 * DEPTH, high: 2, wide: 4 },
            _ => Tile { rows: 64, columns: 8 * DEPTH, high: 8, wide: 4 },
        };
        let across = inner.div_ceil(tile.columns / DEPTH);
        let down = outer.div_ceil(tile.rows);
        let runs = count * (height * width).div_ceil(DEPTH);
        let span = runs.div_ceil((GROUPS / (across * down)).max(1));
        let shares = runs.div_ceil(span);
        let parts = beside(&fine, [shares, outer, inner, 16]);
        let client = fine.client.clone();
        correlate_kernel::launch(
            &client,
            CubeCount::Static(across as u32, down as u32, shares as u32),
            CubeDim::new_1d(THREADS as u32),
            fine.into_tensor_arg(),
            coarse.into_tensor_arg(),
            parts.clone().into_tensor_arg(),
            span,
            tile,
        );
        let whole = if shares > 1 { Self::float_sum_dim(parts, 0) } else { parts };
        Self::float_reshape(whole, Shape::new([outer, inner, 4, 4]))
    }
}
