//! Convolutions of which some weights are gone: pruned to zero, and left out of the file.
//!
//! What is left out is a group of [`GROUP`] inputs at one place of the kernel, for all channels of
//! two blocks, which are computed together. Zeros add nothing to a sum, so that the sums are those
//! of the whole convolution, to the bit.

use super::{GROUP, Isa, LANES, Lanes, Reads, Sums, TILE};
use crate::net::PAIR;

/// Inputs of a pixel that are copied at a time: 8 KiB for a tile.
const COPIED: usize = 1024;

/// The inputs that have weights, for each pair of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pairs: Vec<KeptPair>,
}

/// Those of one pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptPair {
    /// Where the weights of its first block begin, bytes.
    pub weights: usize,
    /// Weights of each of its blocks, bytes.
    pub block_bytes: usize,
    /// Where groups lie after a pixel's first input, bytes: those of the first source, then those of
    /// the second.
    pub places: Vec<u32>,
    /// How many are of the first source.
    pub of_first: usize,
}

impl KeptPair {
    /// The places of a source's groups.
    #[inline(always)]
    pub fn of(&self, source: usize) -> &[u32] {
        let (first, second) = self.places.split_at(self.of_first);
        if source == 0 { first } else { second }
    }
}

impl Kept {
    /// From `flags`, `[pairs, sources, rows, groups]`: 0 where a group is gone. `blocks` are those of
    /// the convolution, of which an odd last one is a pair of its own; `row_bytes` lie between two
    /// kernel rows of its inputs.
    ///
    /// # Panics
    /// If there are fewer flags than that.
    pub fn new(
        flags: &[u8],
        blocks: usize,
        (sources, rows, groups): (usize, usize, usize),
        row_bytes: usize,
    ) -> Self {
        let of_pair = sources * rows * groups;
        let mut weights = 0;
        let pair = |pair: usize| {
            let flags = &flags[pair * of_pair..(pair + 1) * of_pair];
            let set = (0..of_pair).filter(|&at| flags[at] != 0);
            let place = |at: usize| (at / groups % rows * row_bytes + at % groups * GROUP) as u32;
            let of_first = set.clone().filter(|at| at / (rows * groups) == 0).count();
            let places: Vec<u32> = set.map(place).collect();
            let (begin, block_bytes) = (weights, places.len() * GROUP * LANES);
            weights += block_bytes * (blocks - pair * PAIR).min(PAIR);
            KeptPair { weights: begin, block_bytes, places, of_first }
        };
        Self { pairs: (0..blocks.div_ceil(PAIR)).map(pair).collect() }
    }

    /// What is kept of the inputs of a block of channels and the next.
    pub(super) fn pair(&self, block: usize) -> &KeptPair {
        &self.pairs[block / PAIR]
    }

    /// Where the weights of a block of channels lie, bytes.
    pub(super) fn weights(&self, block: usize) -> std::ops::Range<usize> {
        let pair = self.pair(block);
        let begin = pair.weights + block % PAIR * pair.block_bytes;
        begin..begin + pair.block_bytes
    }

    /// The byte after the last that is read from a source, counted from a pixel's first input.
    pub(super) fn end(&self) -> usize {
        let last = self.pairs.iter().flat_map(|pair| &pair.places).max();
        last.map_or(0, |&place| place as usize + GROUP)
    }

    /// Whether these are of so many blocks of a convolution of so many sources.
    pub(super) fn fits(&self, blocks: usize, sources: usize) -> bool {
        let within = |pair: &KeptPair| sources > 1 || pair.of_first == pair.places.len();
        self.pairs.len() == blocks.div_ceil(PAIR) && self.pairs.iter().all(within)
    }
}

/// [`Isa::dot_kept`] by [`Isa::dot`], with the inputs copied side by side.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn dot_copied<I: Isa, const B: usize>(
    isa: I,
    sources: [*const u8; 2],
    kept: &KeptPair,
    weights: [*const i8; B],
    pixels: &[u32; TILE],
    sums: &mut Sums,
) {
    let mut copied = [[0; COPIED]; TILE];
    let places: [u32; TILE] = std::array::from_fn(|pixel| (pixel * COPIED) as u32);
    let mut part: Sums = [[Lanes([0; LANES]); 2]; TILE];
    *sums = part;
    let mut weights = weights;
    for (source, bytes) in sources.into_iter().enumerate() {
        for groups in kept.of(source).chunks(COPIED / GROUP) {
            for (copied, &pixel) in copied.iter_mut().zip(pixels) {
                let to = copied.as_chunks_mut::<GROUP>().0;
                for (to, &place) in to.iter_mut().zip(groups) {
                    // SAFETY: the caller promises that these are readable.
                    *to = unsafe {
                        bytes.add(pixel as usize + place as usize).cast::<[u8; GROUP]>().read()
                    };
                }
            }
            let run = groups.len() * GROUP;
            let copied = copied.as_ptr().cast();
            let sources = [copied; 2];
            let reads =
                Reads { sources, source_count: 1, rows: 1, row_step: 0, run, ahead: 0, pace: 0 };
            // SAFETY: `run` inputs of each pixel were copied, and the caller promises their weights.
            unsafe { isa.dot(&reads, weights, &places, &mut part) };
            for (sums, part) in sums.iter_mut().zip(&part) {
                for (sums, part) in sums.iter_mut().zip(part).take(B) {
                    sums.0.iter_mut().zip(part.0).for_each(|(sum, part)| *sum += part);
                }
            }
            weights = weights.map(|weights| weights.wrapping_add(run * LANES));
        }
    }
}
