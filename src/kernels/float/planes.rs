//! Features in memory.

use rayon::prelude::*;

/// Features of a batch: `[count, height + 2, width + 2, channels]`, of which the outermost ring of
/// pixels stays zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Planes {
    count: usize,
    height: usize,
    width: usize,
    channels: usize,
    values: Vec<f32>,
}

impl Planes {
    /// Zeros.
    pub fn new(count: usize, height: usize, width: usize, channels: usize) -> Self {
        let values = vec![0.0; count * (height + 2) * (width + 2) * channels];
        Self { count, height, width, channels, values }
    }

    /// Planes in the batch.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Height in pixels, without the border.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width in pixels, without the border.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Values of a pixel.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Everything, border included.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Everything, border included.
    pub(super) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Values from one row to the next.
    pub(super) fn row_step(&self) -> usize {
        (self.width + 2) * self.channels
    }

    /// Values from one plane to the next.
    pub(super) fn plane_step(&self) -> usize {
        (self.height + 2) * self.row_step()
    }

    fn begin(&self, plane: usize, y: usize) -> usize {
        plane * self.plane_step() + (y + 1) * self.row_step() + self.channels
    }

    /// Row `y` of a plane without its border, `width * channels` values.
    pub fn row(&self, plane: usize, y: usize) -> &[f32] {
        let begin = self.begin(plane, y);
        &self.values[begin..begin + self.width * self.channels]
    }

    /// Row `y` of a plane without its border, `width * channels` values.
    pub fn row_mut(&mut self, plane: usize, y: usize) -> &mut [f32] {
        let begin = self.begin(plane, y);
        let end = begin + self.width * self.channels;
        &mut self.values[begin..end]
    }

    /// All rows without their borders, each with its plane and `y`, among all threads.
    pub fn rows_mut(&mut self) -> impl IndexedParallelIterator<Item = (usize, usize, &mut [f32])> {
        let (height, channels, row_step) = (self.height, self.channels, self.row_step());
        let inside = channels..row_step - channels;
        // The rows of the border come along, empty, so that all planes alike can be zipped.
        self.values.par_chunks_exact_mut(row_step).enumerate().map(move |(index, row)| {
            let (plane, y) = (index / (height + 2), index % (height + 2));
            match (1..=height).contains(&y) {
                true => (plane, y - 1, &mut row[inside.clone()]),
                false => (plane, 0, &mut row[..0]),
            }
        })
    }
}
