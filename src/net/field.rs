//! Receptive fields: which inputs a run of outputs needs, along one axis.

use std::ops::Range;

/// A run of rows or columns.
pub type Span = Range<usize>;

/// The inputs that outputs `outputs` of a 4-wide stride-2 convolution with padding 1 read, cut
/// to an input of `input_size`: output `i` reads `2i - 1 ..= 2i + 2`.
pub fn conv_needs(outputs: Span, input_size: usize) -> Span {
    if outputs.is_empty() {
        return 0..0;
    }
    let start = (2 * outputs.start).saturating_sub(1);
    start..(2 * (outputs.end - 1) + 3).min(input_size)
}

/// The inputs that outputs `outputs` of a 4-wide stride-2 transposed convolution with padding 1
/// read, cut to an input of `input_size`: output `2p` reads `p - 1, p`; `2p + 1` reads `p, p + 1`.
pub fn deconv_needs(outputs: Span, input_size: usize) -> Span {
    if outputs.is_empty() {
        return 0..0;
    }
    let start = outputs.start.div_ceil(2).saturating_sub(1);
    let last = outputs.end.div_ceil(2);
    start.min(input_size)
        ..last.saturating_add(usize::from(outputs.end.is_multiple_of(2))).min(input_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by walking every tap of the operation's definition.
    fn by_taps(outputs: Span, input_size: usize, reads: impl Fn(isize, isize) -> bool) -> Span {
        let needed: Vec<usize> = (0..input_size)
            .filter(|&i| outputs.clone().any(|o| reads(o as isize, i as isize)))
            .collect();
        match (needed.first(), needed.last()) {
            (Some(&first), Some(&last)) => first..last + 1,
            _ => 0..0,
        }
    }

    #[test]
    fn spans_are_exact() {
        for size in [1_usize, 2, 3, 8] {
            for start in 0..2 * size {
                for end in start + 1..=2 * size {
                    let expected =
                        by_taps(start..end, size, |o, i| (0..4).any(|tap| o == 2 * i - 1 + tap));
                    assert_eq!(deconv_needs(start..end, size), expected, "deconv {start}..{end}");
                }
            }
            for start in 0..size {
                for end in start + 1..=size {
                    let expected = by_taps(start..end, 2 * size, |o, i| {
                        (0..4).any(|tap| i == 2 * o - 1 + tap)
                    });
                    assert_eq!(conv_needs(start..end, 2 * size), expected, "conv {start}..{end}");
                }
            }
        }
    }
}
