//! From a convolution and its planes to calls of one instruction set.

use std::ops::Range;

#[cfg(target_arch = "aarch64")]
use super::arm;
use super::generic::{self, Portable};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::peak;
use super::plane::Pixel;
#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{
    GROUP, Isa, Kept, LANES, Lanes, MAX_INPUTS, Pixels, Plane, Reads, Scale, Sums, TABLE, TILE,
};
use crate::kernels::workers;
use crate::net::INPUT_CHANNELS;

/// A layer's weights above this many bytes do not stay in a core's cache beside its inputs: they
/// are then read once for all pixels, and the inputs once for each block of weights.
const CACHED_WEIGHTS: usize = 256 << 10;
/// Tiles done with one block of weights before the next, where weights stay in the cache.
const CHUNK: usize = 16;
/// Fewest tiles of a piece; where threads would get fewer, they share the channels.
const LEAST_TILES: usize = 4;
/// Pieces of a layer for each thread: one that comes late or is held up takes fewer.
const PIECES: usize = 4;
/// Fewest products worth waking another thread for: some microseconds of work on any processor.
/// Tests share everything.
const LEAST_PRODUCTS: usize = if cfg!(test) { 1 } else { 2 << 20 };

/// One convolution: sizes, weights as kernels read them, and the constants of its epilogue.
#[derive(Debug, Clone, Copy)]
pub struct Convolution<'a> {
    /// Planes whose sums are added up: 1, or 2 for skip and deep features.
    pub sources: usize,
    /// Kernel rows.
    pub rows: usize,
    /// Kernel columns.
    pub columns: usize,
    /// Bytes of a pixel in each source.
    pub channels: usize,
    /// `[blocks, sources, rows, columns * channels / 4, 16, 4]`, without the groups that are not
    /// kept.
    pub weights: &'a [i8],
    /// Which are; `None`: all.
    pub kept: Option<&'a Kept>,
    /// `[blocks, 16]`: subtracted from the sums (zero points of the inputs times the weights).
    pub offsets: &'a [[i32; LANES]],
    /// `[blocks, 16]`: what [`Kernel::weight_sums`] gives for the weights.
    pub sums: &'a [[i32; LANES]],
    /// `[blocks, 16]`: multiplies them then. Finite and below 1e6, so that nothing overflows.
    pub multipliers: &'a [[f32; LANES]],
    /// `[blocks, 16]`: added at the end. Finite and below 1e6.
    pub zeros: &'a [[f32; LANES]],
}

impl Convolution<'_> {
    fn run(&self) -> usize {
        self.columns * self.channels
    }

    fn block_bytes(&self) -> usize {
        self.sources * self.rows * self.run() * LANES
    }

    fn blocks(&self) -> usize {
        self.offsets.len()
    }

    fn stays_cached(&self) -> bool {
        self.weights.len() <= CACHED_WEIGHTS
    }

    /// Where the weights of a block lie, bytes.
    fn weights_of(&self, block: usize) -> Range<usize> {
        match self.kept {
            Some(kept) => kept.weights(block),
            None => block * self.block_bytes()..(block + 1) * self.block_bytes(),
        }
    }

    /// The byte after the last that is read from a source, counted from a pixel's first input.
    fn end(&self, row_step: usize) -> usize {
        self.kept.map_or((self.rows - 1) * row_step + self.run(), Kept::end)
    }
}

/// Where sums go.
#[derive(Clone, Copy)]
enum Finish<'a> {
    Modulate { map: *const u8, output: *mut u8 },
    Attend { table: &'a [[u8; 2]; TABLE], map: *mut u8, updated: *mut u8 },
    Picture { table: &'a [u8; TABLE], output: *mut u8, row_bytes: usize },
}

/// A convolution with its places: inputs begin `shift` bytes after a pixel's.
#[derive(Clone, Copy)]
struct Part<'a> {
    convolution: Convolution<'a>,
    shift: usize,
    finish: Finish<'a>,
}

// SAFETY: whoever shares a part among threads (`Kernel::start`) gives each other pixels or other
// blocks of them, so that no byte has two writers; planes that are read have none.
unsafe impl Sync for Part<'_> {}

/// A share of a part: some blocks of channels at some tiles.
pub(super) struct Job<'a> {
    reads: Reads,
    convolution: &'a Convolution<'a>,
    pixels: &'a Pixels,
    finish: Finish<'a>,
    /// From this block up to that.
    blocks: (usize, usize),
    /// From this tile up to that.
    tiles: (usize, usize),
}

/// Runs a job. Inlined into a function that enables the instruction set.
#[inline(always)]
pub(super) fn drive<I: Isa>(isa: I, job: &Job) {
    let chunk = if job.convolution.stays_cached() { CHUNK } else { usize::MAX };
    let (mut begin, end) = job.tiles;
    while begin < end {
        let tiles = begin..begin.saturating_add(chunk).min(end);
        begin = tiles.end;
        let (mut block, last) = job.blocks;
        while block + 2 <= last {
            blocks::<I, 2>(isa, job, tiles.clone(), block);
            block += 2;
        }
        if block < last {
            blocks::<I, 1>(isa, job, tiles, block);
        }
    }
}

#[inline(always)]
fn blocks<I: Isa, const B: usize>(isa: I, job: &Job, tiles: Range<usize>, first: usize) {
    let kept = job.convolution.kept.map(|kept| kept.pair(first));
    let mut weights = [job.convolution.weights.as_ptr(); B];
    for (block, weights) in weights.iter_mut().enumerate() {
        *weights = weights.wrapping_add(job.convolution.weights_of(first + block).start);
    }
    let mut offsets = [[0; LANES]; B];
    for (block, offsets) in offsets.iter_mut().enumerate() {
        let wanted = &job.convolution.offsets[first + block];
        let sums = &job.convolution.sums[first + block];
        for lane in 0..LANES {
            let bias = sums[lane].wrapping_mul(I::INPUT_BIAS);
            offsets[lane] = wanted[lane].wrapping_sub(bias);
        }
    }
    let mut sums: Sums = [[Lanes([0; LANES]); 2]; TILE];
    let (count, block_bytes) = (tiles.len(), job.convolution.block_bytes());
    for (turn, tile) in tiles.enumerate() {
        let pixels = job.pixels.tile(tile);
        let mut reads = job.reads;
        if !job.convolution.stays_cached() {
            // Each tile fetches its share of the next weights.
            reads.ahead = B * block_bytes + turn * block_bytes / count;
            reads.pace = (GROUP * LANES).div_ceil(count);
        }
        let mut inputs = [0; TILE];
        for (input, pixel) in inputs.iter_mut().zip(pixels) {
            *input = pixel.input;
        }
        // SAFETY: `Kernel::start` checked the farthest pixel's reads and the weights' length.
        unsafe {
            match kept {
                None => isa.dot::<B>(&reads, weights, &inputs, &mut sums),
                Some(kept) => {
                    isa.dot_kept::<B>(job.reads.sources, kept, weights, &inputs, &mut sums);
                }
            }
        }
        for block in 0..B {
            let channel = first + block;
            let scale = Scale {
                offsets: &offsets[block],
                multipliers: &job.convolution.multipliers[channel],
                zeros: &job.convolution.zeros[channel],
            };
            let shift = channel * LANES;
            // SAFETY: `Kernel::start` checked that the farthest pixel's last block lies in
            // every plane; other jobs write other pixels or blocks.
            unsafe { finish(isa, &sums, block, &scale, job.finish, pixels, shift) };
        }
    }
}

/// The epilogue of one block of a tile's sums, at each pixel's output and `shift`.
///
/// # Safety
/// Each of these places and what the epilogue writes from there on must lie in the planes of
/// `finish`, and nobody else may touch those bytes meanwhile.
#[inline(always)]
unsafe fn finish<I: Isa>(
    isa: I,
    sums: &Sums,
    block: usize,
    scale: &Scale,
    finish: Finish,
    pixels: &[Pixel; TILE],
    shift: usize,
) {
    let places = sums.iter().zip(pixels).map(|(sums, pixel)| (&sums[block], pixel.output as usize));
    // SAFETY: the caller's promise, for every place below.
    unsafe {
        match finish {
            Finish::Modulate { map, output } => {
                let (map, output) = (map.add(shift), output.add(shift));
                for (sums, place) in places {
                    let (map, output) = (map.add(place), output.add(place));
                    isa.modulate(sums, scale, &*map.cast(), &mut *output.cast());
                }
            }
            Finish::Attend { table, map, updated } => {
                let (map, updated) = (map.add(shift), updated.add(shift));
                for (sums, place) in places {
                    let (map, updated) = (map.add(place), updated.add(place));
                    isa.look_up_pairs(sums, scale, table, &mut *map.cast(), &mut *updated.cast());
                }
            }
            Finish::Picture { table, output, row_bytes } => {
                let output = output.add(shift);
                for (sums, place) in places {
                    let mut levels = [0; LANES];
                    isa.look_up(sums, scale, table, &mut levels);
                    for (row, levels) in levels.as_chunks::<6>().0.iter().enumerate() {
                        *output.add(place + row * row_bytes).cast() = *levels;
                    }
                }
            }
        }
    }
}

/// An instruction set that this processor has, and how many threads share a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    choice: Choice,
    threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(x86::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "aarch64")]
    I8mm(arm::I8mm),
    #[cfg(target_arch = "aarch64")]
    Dot(arm::Dot),
    #[cfg(target_arch = "aarch64")]
    Neon(arm::Neon),
}

impl Kernel {
    /// Every kernel this processor can run, the fastest first, the portable one last.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(x86::Avx512::new().map(Choice::Avx512));
            all.extend(x86::AvxVnni::new().map(Choice::AvxVnni));
            all.extend(x86::Avx2::new().map(Choice::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        {
            all.extend(arm::I8mm::new().map(Choice::I8mm));
            all.extend(arm::Dot::new().map(Choice::Dot));
            all.extend(arm::Neon::new().map(Choice::Neon));
        }
        all.push(Choice::Portable);
        all.into_iter().map(|choice| Self { choice, threads: 1 }).collect()
    }

    /// The fastest.
    pub fn best() -> Self {
        Self::all()[0]
    }

    /// The definition.
    pub fn portable() -> Self {
        Self { choice: Choice::Portable, threads: 1 }
    }

    /// The same in as many pieces as there are threads, see [`workers::set_threads`].
    pub fn on_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// The kernel of this name, if this processor can run it.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|kernel| kernel.name() == name)
    }

    /// `{architecture}-{types}-{instructions}`.
    pub fn name(self) -> &'static str {
        match self.choice {
            Choice::Portable => "generic-u8i8-portable",
            #[cfg(target_arch = "x86_64")]
            Choice::Avx512(_) => "x86_64-u8i8-avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Choice::AvxVnni(_) => "x86_64-u8i8-avxvnni",
            #[cfg(target_arch = "x86_64")]
            Choice::Avx2(_) => "x86_64-u8i8-avx2",
            #[cfg(target_arch = "aarch64")]
            Choice::I8mm(_) => "aarch64-u8i8-i8mm",
            #[cfg(target_arch = "aarch64")]
            Choice::Dot(_) => "aarch64-u8i8-dotprod",
            #[cfg(target_arch = "aarch64")]
            Choice::Neon(_) => "aarch64-u8i8-neon",
        }
    }

    /// Multiply-adds a second that one core can do with this kernel's instruction on registers
    /// alone, measured now; `None` where no such loop is written.
    pub fn peak(self) -> Option<f64> {
        match self.choice {
            // SAFETY: a value of this type exists only where the instructions do.
            #[cfg(target_arch = "x86_64")]
            Choice::Avx512(_) => Some(peak::measured(16 * 64, |n| unsafe { peak::avx512_vnni(n) })),
            // SAFETY: likewise.
            #[cfg(target_arch = "aarch64")]
            Choice::I8mm(_) => Some(peak::measured(16 * 32, |n| unsafe { peak::i8mm(n) })),
            // SAFETY: likewise.
            #[cfg(target_arch = "aarch64")]
            Choice::Dot(_) => Some(peak::measured(16 * 16, |n| unsafe { peak::dotprod(n) })),
            _ => None,
        }
    }

    /// The sum of every output's weights, where this kernel needs it (it reads inputs as signed
    /// bytes), else zeros. Costs a pass over the weights: once for a model, not for a frame.
    pub fn weight_sums(
        self,
        weights: &[i8],
        kept: Option<&Kept>,
        blocks: usize,
    ) -> Vec<[i32; LANES]> {
        let mut sums = vec![[0; LANES]; blocks];
        if self.reads_signed() {
            let all = weights.len() / blocks;
            for (block, sums) in sums.iter_mut().enumerate() {
                let place = block * all..(block + 1) * all;
                let weights = &weights[kept.map_or(place, |kept| kept.weights(block))];
                for group in weights.as_chunks::<GROUP>().0.as_chunks::<LANES>().0 {
                    for (sum, weights) in sums.iter_mut().zip(group) {
                        *sum += weights.iter().map(|&weight| i32::from(weight)).sum::<i32>();
                    }
                }
            }
        }
        sums
    }

    fn reads_signed(self) -> bool {
        match self.choice {
            #[cfg(target_arch = "aarch64")]
            Choice::Dot(_) | Choice::Neon(_) => true,
            _ => false,
        }
    }

    /// `leaky(convolution * map)` as bytes, at `pixels`, for each of up to four convolutions that
    /// make different pixels: inputs begin `shift.0` bytes and outputs `shift.1` bytes after the
    /// pixel's place. Map and output are alike.
    ///
    /// # Panics
    /// If a plane, the weights or a pixel do not fit each other.
    pub(crate) fn modulate(
        self,
        convolutions: &[(Convolution, (usize, usize))],
        inputs: &[&Plane],
        map: &Plane,
        output: &mut Plane,
        pixels: &Pixels,
    ) {
        assert!(output.bytes().len() == map.bytes().len());
        let (map, length) = (map.bytes().as_ptr(), map.bytes().len());
        let output = output.bytes_mut().as_mut_ptr();
        let part = |(convolution, shift): &(_, (usize, usize))| {
            assert!(farthest(convolution, pixels, shift.1) <= length);
            let (map, output) = (map.wrapping_add(shift.1), output.wrapping_add(shift.1));
            let finish = Finish::Modulate { map, output };
            Part { convolution: *convolution, shift: shift.0, finish }
        };
        match convolutions {
            [only] => self.start(&[part(only)], inputs, pixels),
            [a, b, c, d] => self.start(&[a, b, c, d].map(part), inputs, pixels),
            _ => panic!("a layer is one convolution or four"),
        }
    }

    /// Attention map and updated mask of one mask layer, at all of `pixels`. `table` holds pairs
    /// of an attention and an update.
    ///
    /// # Panics
    /// If a plane, the weights or a pixel do not fit each other.
    pub(crate) fn attend(
        self,
        convolution: &Convolution,
        input: &Plane,
        table: &[[u8; 2]; TABLE],
        map: &mut Plane,
        updated: &mut Plane,
        pixels: &Pixels,
    ) {
        let place = farthest(convolution, pixels, 0);
        assert!(place <= map.bytes().len() && map.bytes().len() == updated.bytes().len());
        let (map, updated) = (map.bytes_mut().as_mut_ptr(), updated.bytes_mut().as_mut_ptr());
        let finish = Finish::Attend { table, map, updated };
        let part = Part { convolution: *convolution, shift: 0, finish };
        self.start(&[part], &[input], pixels);
    }

    /// The last layer: 12 sums of a pixel, (row, column, colour) of the 2x2 pixels it makes, into
    /// RGB `output` with `row_bytes` to a row.
    ///
    /// # Panics
    /// If a plane, the weights or a pixel do not fit each other.
    pub(crate) fn picture(
        self,
        convolution: &Convolution,
        inputs: &[&Plane],
        table: &[u8; TABLE],
        output: &mut [u8],
        row_bytes: usize,
        pixels: &Pixels,
    ) {
        assert!(convolution.blocks() == 1);
        assert!(pixels.farthest_output() + row_bytes + 6 <= output.len());
        let finish = Finish::Picture { table, output: output.as_mut_ptr(), row_bytes };
        let part = Part { convolution: *convolution, shift: 0, finish };
        self.start(&[part], inputs, pixels);
    }

    /// RGB `pixels` into `inputs`, which have the mask as their last channel (255 = known, 0 =
    /// hole): what is known, and 0 in the holes.
    pub fn copy_known(self, pixels: &[[u8; 3]], inputs: &mut [[u8; INPUT_CHANNELS]]) {
        match self.choice {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: every processor that has one of these has SSSE3.
            Choice::Avx512(_) | Choice::AvxVnni(_) | Choice::Avx2(_) => unsafe {
                x86::copy_known(pixels, inputs);
            },
            _ => generic::copy_known(pixels, inputs),
        }
    }

    /// Checks that all parts stay inside their planes, and shares them among threads.
    fn start(self, parts: &[Part], inputs: &[&Plane], pixels: &Pixels) {
        let (first, count) = (inputs[0], inputs.len());
        let row_step = first.row_bytes();
        let alike = |input: &&Plane| {
            (input.channels(), input.row_bytes(), input.bytes().len())
                == (first.channels(), row_step, first.bytes().len())
        };
        assert!((1..=2).contains(&count) && inputs.iter().all(alike));
        let mut products = 0;
        for Part { convolution, shift, .. } in parts {
            let blocks = convolution.blocks();
            assert!(count == convolution.sources && convolution.channels == first.channels());
            assert!(convolution.run().is_multiple_of(GROUP));
            assert!(convolution.block_bytes() <= MAX_INPUTS * LANES);
            assert!(convolution.weights.len() == convolution.weights_of(blocks - 1).end);
            assert!(convolution.kept.is_none_or(|kept| kept.fits(blocks, count)));
            assert!(convolution.multipliers.len() == blocks);
            assert!(convolution.zeros.len() == blocks && convolution.sums.len() == blocks);
            let end = pixels.farthest_input() + shift + convolution.end(row_step);
            assert!(end <= first.bytes().len(), "a pixel reads outside its plane");
            products += convolution.weights.len() * TILE * pixels.tiles();
        }
        let tiles = pixels.tiles();
        let share = |blocks: (usize, usize), tiles: (usize, usize), part: &Part| {
            let source = |index: usize| inputs[index.min(count - 1)].bytes()[part.shift..].as_ptr();
            let reads = Reads {
                sources: [source(0), source(1)],
                source_count: count,
                rows: part.convolution.rows,
                row_step,
                run: part.convolution.run(),
                ahead: 0,
                pace: 0,
            };
            let (convolution, finish) = (&part.convolution, part.finish);
            self.run(&Job { reads, convolution, pixels, finish, blocks, tiles });
        };
        let threads = self.threads;
        if threads == 1 || products < LEAST_PRODUCTS {
            parts.iter().for_each(|part| share((0, part.convolution.blocks()), (0, tiles), part));
            return;
        }
        let by_tiles = tiles >= threads * LEAST_TILES;
        let pairs = |part: &Part| part.convolution.blocks().div_ceil(2);
        let most =
            if by_tiles { tiles / LEAST_TILES } else { parts.iter().map(pairs).max().unwrap_or(0) };
        let pieces = most.min(threads * PIECES);
        workers::share(pieces, &|piece| {
            let of = |whole: usize| (piece * whole / pieces, (piece + 1) * whole / pieces);
            for part in parts {
                let blocks = part.convolution.blocks();
                if by_tiles {
                    share((0, blocks), of(tiles), part);
                } else {
                    // Pairs of blocks stay together.
                    let (begin, end) = of(pairs(part));
                    share((2 * begin, (2 * end).min(blocks)), (0, tiles), part);
                }
            }
        });
    }

    fn run(self, job: &Job) {
        match self.choice {
            Choice::Portable => drive(Portable, job),
            #[cfg(target_arch = "x86_64")]
            Choice::Avx512(isa) => isa.drive(job),
            #[cfg(target_arch = "x86_64")]
            Choice::AvxVnni(isa) => isa.drive(job),
            #[cfg(target_arch = "x86_64")]
            Choice::Avx2(isa) => isa.drive(job),
            #[cfg(target_arch = "aarch64")]
            Choice::I8mm(isa) => isa.drive(job),
            #[cfg(target_arch = "aarch64")]
            Choice::Dot(isa) => isa.drive(job),
            #[cfg(target_arch = "aarch64")]
            Choice::Neon(isa) => isa.drive(job),
        }
    }
}

/// The byte after the last that a convolution writes.
fn farthest(convolution: &Convolution, pixels: &Pixels, shift: usize) -> usize {
    pixels.farthest_output() + shift + convolution.blocks() * LANES
}
