//! Random numbers, the same on every machine.
//!
//! There is no one stream that everything is drawn from. Whatever is made at random (a sample, a
//! mask, a set of weights) has a generator of its own, named by a seed, a step and an index. So it
//! depends on nothing that was drawn before it: any number of threads makes the same, and a resumed
//! run goes on as if it had never stopped.

use rand_pcg::{Pcg64, rand_core::Rng};

// Indices that tell apart what is drawn for one seed and step. The samples of a batch have 0, 1, 2
// and so on, its masks those from `MASK_INDEX` on, and every other use one index above. No two may
// meet: both would draw the same numbers.

/// The first of a batch's masks.
pub(super) const MASK_INDEX: u64 = 1 << 32;
/// The first of a batch's pictures, where several crops are taken of each.
pub(super) const PICTURE_INDEX: u64 = 1 << 36;
/// Initial weights of the network.
pub(super) const WEIGHTS_INDEX: u64 = 1 << 33;
/// Initial weights of the discriminator.
pub(super) const ADVERSARY_INDEX: u64 = (1 << 33) + 1;
/// Mixtures of original and output.
pub(super) const MIXTURE_INDEX: u64 = 1 << 34;
/// What is made unlike photographs.
pub(super) const UNLIKE_INDEX: u64 = 1 << 35;

/// A generator for one purpose, from numbers that name it. The numbers are mixed well before
/// they become a state, for neighbouring PCG states start with related outputs.
pub(super) fn generator(seed: u64, step: u64, index: u64) -> Pcg64 {
    let mut state = seed;
    let mut absorb = |value: u64| {
        state = split_mix(state ^ value);
        state
    };
    let (first, second) = (absorb(step), absorb(index));
    let third = absorb(!0);
    Pcg64::new((u128::from(first) << 64) | u128::from(second), u128::from(third))
}

/// A seed as [`generator`] wants it where steps count up from 0: it names what it makes by seed and step
/// taken together bit by bit, so that seeds 1 and 2 would draw the same in another order.
pub(super) fn apart(seed: u64) -> u64 {
    split_mix(seed)
}

/// SplitMix64: every bit of the output depends on every bit of the input.
fn split_mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number in `0.0..1.0`, all of 2^24 steps.
pub(super) fn unit(rng: &mut Pcg64) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1 << 24) as f32
}

/// Nearly from a normal distribution: twelve uniform numbers have a sum of mean 6 and variance 1.
pub(super) fn normal(rng: &mut Pcg64) -> f32 {
    (0..12).map(|_| unit(rng)).sum::<f32>() - 6.0
}

/// A whole number in `0..end` (`end` > 0); the bias of the plain product is below `end / 2^64`.
pub(super) fn below(rng: &mut Pcg64, end: usize) -> usize {
    ((u128::from(rng.next_u64()) * end as u128) >> 64) as usize
}
