//! Receptive fields along one axis.

use std::ops::Range;

/// The inputs that output `at` of a 4-wide stride-2 convolution with padding 1 reads, `2 * at - 1 ..=
/// 2 * at + 2`, cut to an input of `size`.
pub fn window(at: usize, size: usize) -> Range<usize> {
    (2 * at).saturating_sub(1)..(2 * at + 3).min(size)
}

#[cfg(test)]
mod tests {
    use super::window;
    use crate::net::KERNEL;

    #[test]
    fn a_window_is_what_taps_reach() {
        for size in [2, 4, 16] {
            for at in 0..size / 2 {
                let reached = |input: &usize| (0..KERNEL).any(|tap| input + 1 == 2 * at + tap);
                let inputs: Vec<_> = (0..size).filter(reached).collect();
                assert_eq!(window(at, size).collect::<Vec<_>>(), inputs, "{at} of {size}");
            }
        }
    }
}
