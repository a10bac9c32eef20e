//! Pixels of attention maps that are all alike.
//!
//! Most of a mask is far from any hole's edge: there a map depends on nothing but whether all is
//! known or all is hole, and has one value for each. One pixel of each kind is computed and
//! repeated; to the bit, since equal inputs give equal sums.

use std::ops::Range;

use crate::net::window;

/// Everything that a pixel of a level sees is known.
const KNOWN: u8 = 1;
/// Everything that it sees is hole.
const HOLE: u8 = 2;
/// It sees what lies outside the picture.
const OUTSIDE: u8 = 4;

/// What the pixels of a level see, as bits: [`KNOWN`], [`HOLE`], [`OUTSIDE`].
#[derive(Debug)]
pub(super) struct Sight {
    width: usize,
    seen: Vec<u8>,
}

/// Pixels of a row that are like another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alike {
    /// Row and column of the pixel that is computed.
    pub first: (usize, usize),
    pub row: usize,
    pub columns: Range<usize>,
}

impl Sight {
    /// Of a mask itself: one byte a pixel, 0 = known.
    pub fn new(holes: &[u8], width: usize) -> Self {
        let seen = holes.iter().map(|&hole| if hole == 0 { KNOWN } else { HOLE }).collect();
        Self { width, seen }
    }

    /// A convolution further down: what is seen through windows of 4x4 pixels, two apart, from one
    /// pixel outside on.
    pub fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.seen.len() / self.width / 2);
        let row = |y: usize| &self.seen[y * self.width..(y + 1) * self.width];
        let mut seen = vec![0; width * height];
        // A column outside on each side.
        let mut column = vec![0; self.width + 2];
        for (y, seen) in seen.chunks_exact_mut(width).enumerate() {
            let inside = window(y, 2 * height);
            let beyond = if inside.len() < 4 { OUTSIDE } else { 0 };
            column.fill(beyond);
            for y in inside {
                column[1..=self.width].iter_mut().zip(row(y)).for_each(|(all, seen)| *all |= seen);
            }
            (column[0], column[self.width + 1]) = (OUTSIDE, OUTSIDE);
            let pairs = column.as_chunks::<2>().0;
            for (seen, pairs) in seen.iter_mut().zip(pairs.windows(2)) {
                *seen = pairs.as_flattened().iter().fold(0, |all, seen| all | seen);
            }
        }
        Self { width, seen }
    }

    /// The pixels to compute, and those like one of them.
    pub fn split(&self) -> (Vec<(usize, usize)>, Vec<Alike>) {
        let (mut computed, mut alike) = (Vec::new(), Vec::<Alike>::new());
        let mut first = [None; 3];
        for (row, seen) in self.seen.chunks_exact(self.width).enumerate() {
            let mut column = 0;
            for run in seen.chunk_by(|a, b| a == b) {
                let mut columns = column..column + run.len();
                column = columns.end;
                match first.get_mut(usize::from(run[0])) {
                    None => computed.extend(columns.map(|column| (row, column))),
                    Some(first) => {
                        let first = *first.get_or_insert_with(|| {
                            computed.push((row, columns.start));
                            columns.start += 1;
                            (row, columns.start - 1)
                        });
                        if !columns.is_empty() {
                            alike.push(Alike { first, row, columns });
                        }
                    }
                }
            }
        }
        (computed, alike)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_walked_to_the_edge_and_no_further() {
        // A hole in the right half of 8x8 pixels, but for the lowest row.
        let holes: Vec<u8> = (0..64).map(|at| u8::from(at % 8 >= 4 && at < 56)).collect();
        let sight = Sight::new(&holes, 8).halved();
        let (edge, both) = (OUTSIDE, KNOWN | HOLE);
        let wanted = [
            [edge | KNOWN, edge | both, edge | both, edge | HOLE],
            [edge | KNOWN, both, both, edge | HOLE],
            [edge | KNOWN, both, both, edge | HOLE],
            [edge | KNOWN, edge | both, edge | both, edge | both],
        ];
        assert_eq!(sight.seen.as_chunks::<4>().0, wanted);
    }

    #[test]
    fn every_pixel_is_computed_or_like_one_that_is() {
        let (width, height) = (64, 32);
        let hole = |at: usize| at % width > 20 && at % width < 50 && at / width > 6;
        let holes: Vec<u8> = (0..width * height).map(|at| u8::from(hole(at))).collect();
        let sight = Sight::new(&holes, width).halved();
        let (computed, alike) = sight.split();
        let mut times = vec![0; width * height / 4];
        let at = |(row, column): (usize, usize)| row * width / 2 + column;
        computed.iter().for_each(|&place| times[at(place)] += 1);
        for Alike { first, row, columns } in &alike {
            assert!(computed.contains(first));
            for column in columns.clone() {
                times[at((*row, column))] += 1;
                assert_eq!(sight.seen[at((*row, column))], sight.seen[at(*first)]);
                assert!([KNOWN, HOLE].contains(&sight.seen[at(*first)]));
            }
        }
        assert!(times.iter().all(|&times| times == 1));
        assert!(computed.len() < times.len() / 2, "{} of {}", computed.len(), times.len());
    }
}
