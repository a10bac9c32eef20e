//! Activations in memory, and the pixels of them to compute.

use super::TILE;

/// Activations of one layer: bytes `[height + 2, width + 2, channels]`, of which the outermost
/// ring is what a convolution reads as padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    height: usize,
    width: usize,
    channels: usize,
    bytes: Vec<u8>,
}

impl Plane {
    /// A plane whose every pixel, border included, is `pixel`, one byte a channel.
    pub fn new(height: usize, width: usize, pixel: &[u8]) -> Self {
        let bytes = pixel.repeat((height + 2) * (width + 2));
        Self { height, width, channels: pixel.len(), bytes }
    }

    /// Height in pixels, without the border.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width in pixels, without the border.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes of a pixel.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Everything, border included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Everything, border included, to write to.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Bytes from one row to the next.
    pub fn row_bytes(&self) -> usize {
        (self.width + 2) * self.channels
    }

    /// Sets what is read as padding to `pixel`, one byte a channel.
    ///
    /// # Panics
    /// If it has another number of channels: the caller's mistake.
    pub fn set_border(&mut self, pixel: &[u8]) {
        let (height, width, channels) = (self.height, self.width, self.channels);
        let mut rows = self.bytes.chunks_exact_mut((width + 2) * channels);
        let mut set = |pixels: &mut [u8]| {
            pixels.chunks_exact_mut(channels).for_each(|to| to.copy_from_slice(pixel));
        };
        rows.next().into_iter().for_each(&mut set);
        for row in rows.by_ref().take(height) {
            let (first, rest) = row.split_at_mut(channels);
            set(first);
            set(&mut rest[width * channels..]);
        }
        rows.for_each(set);
    }

    /// Row `y` without its border, `width * channels` bytes.
    pub fn row_mut(&mut self, y: usize) -> &mut [u8] {
        let begin = (y + 1) * self.row_bytes() + self.channels;
        &mut self.bytes[begin..begin + self.width * self.channels]
    }

    /// Copies pixel `first` (row, column) into columns of row `y`.
    ///
    /// # Panics
    /// If a place lies outside the plane: the caller's mistake.
    pub fn repeat(&mut self, first: (usize, usize), y: usize, columns: std::ops::Range<usize>) {
        assert!(first.0 < self.height && first.1 < self.width && y < self.height);
        assert!(columns.end <= self.width);
        let place = |y: usize, x: usize| (y + 1) * self.row_bytes() + (x + 1) * self.channels;
        let (from, to) = (place(first.0, first.1), place(y, columns.start));
        let all = columns.len() * self.channels;
        let mut done = self.channels.min(all);
        self.bytes.copy_within(from..from + done, to);
        // What is there already is copied on: few long copies in place of many short ones.
        while done < all {
            let more = done.min(all - done);
            self.bytes.copy_within(to..to + more, to + done);
            done += more;
        }
    }

    /// Row `y` without its border, `width * channels` bytes.
    pub fn row(&self, y: usize) -> &[u8] {
        let begin = (y + 1) * self.row_bytes() + self.channels;
        &self.bytes[begin..begin + self.width * self.channels]
    }
}

/// One output pixel: where its inputs begin and where it goes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pixel {
    pub input: u32,
    pub output: u32,
}

/// The pixels of a layer to compute, in the order of memory, filled up to whole tiles by
/// repeating the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    pixels: Vec<Pixel>,
    farthest_input: usize,
    farthest_output: usize,
}

impl Pixels {
    /// The pixels `places` (row, column), where pixel (y, x) reads from `input(y, x)` bytes into
    /// its sources on, and goes to `output(y, x)` bytes into the output.
    ///
    /// # Panics
    /// If a place is 4 GiB or more away.
    pub fn new(
        places: impl IntoIterator<Item = (usize, usize)>,
        input: impl Fn(usize, usize) -> usize,
        output: impl Fn(usize, usize) -> usize,
    ) -> Self {
        let byte = |place: usize| u32::try_from(place).expect("planes are below 4 GiB");
        let mut pixels: Vec<Pixel> = places
            .into_iter()
            .map(|(y, x)| Pixel { input: byte(input(y, x)), output: byte(output(y, x)) })
            .collect();
        if let Some(&last) = pixels.last() {
            pixels.resize(pixels.len().next_multiple_of(TILE), last);
        }
        let farthest = |place: fn(&Pixel) -> u32| pixels.iter().map(place).max().unwrap_or(0);
        let farthest_input = farthest(|pixel| pixel.input) as usize;
        let farthest_output = farthest(|pixel| pixel.output) as usize;
        Self { pixels, farthest_input, farthest_output }
    }

    /// Pixels computed, those that fill up the last tile included.
    pub fn count(&self) -> usize {
        self.pixels.len()
    }

    /// Tiles of the list.
    pub fn tiles(&self) -> usize {
        self.pixels.len() / TILE
    }

    pub(super) fn tile(&self, index: usize) -> &[Pixel; TILE] {
        let begin = index * TILE;
        self.pixels[begin..begin + TILE].try_into().expect("whole tiles")
    }

    pub(super) fn farthest_input(&self) -> usize {
        self.farthest_input
    }

    pub(super) fn farthest_output(&self) -> usize {
        self.farthest_output
    }
}
