//! How rough a picture is, place by place, and how rough it should be where holes are.
//!
//! A network that fills smoothly says nothing of texture: by colours alone its fill is most like what is
//! smooth in the picture, and a hole in boards or grass with some plain wall near it would be filled
//! with that. What is rough around a hole is most often rough in it.

use std::collections::VecDeque;

use super::Mask;

/// What a level of roughness, which is the mean difference from a cell's own level, counts in levels of
/// colour.
const WEIGHT: u32 = 2;
/// Times that roughness is averaged with that of the cells around.
const SWEEPS: usize = 2;

/// Roughness in square cells of a picture.
#[derive(Debug)]
pub(super) struct Texture {
    /// Side of a cell, pixels.
    side: usize,
    /// Width and height of the picture, and cells along these.
    size: (usize, usize),
    cells: (usize, usize),
    /// For each cell the nearest without a hole: itself, if it has none. Beyond all where there is none.
    nearest: Vec<usize>,
    levels: Vec<u8>,
    means: Vec<u8>,
    band: Vec<u8>,
}

impl Texture {
    /// For pictures with these `holes`, in cells of `side` pixels; those at the right and lower edge may
    /// be smaller.
    pub fn new(holes: &Mask, side: usize) -> Self {
        let size = (holes.width(), holes.height());
        let cells = (size.0.div_ceil(side), size.1.div_ceil(side));
        let count = cells.0 * cells.1;
        let mut nearest: Vec<usize> = (0..count).collect();
        for y in 0..size.1 {
            for x in (0..size.0).filter(|x| holes.is_hole(*x, y)) {
                nearest[y / side * cells.0 + x / side] = usize::MAX;
            }
        }
        let mut open: VecDeque<usize> = (0..count).filter(|at| nearest[*at] == *at).collect();
        while let Some(at) = open.pop_front() {
            let (x, y) = (at % cells.0, at / cells.0);
            let beside = [
                (x > 0).then(|| at - 1),
                (x + 1 < cells.0).then_some(at + 1),
                (y > 0).then(|| at - cells.0),
                (y + 1 < cells.1).then_some(at + cells.0),
            ];
            for next in beside.into_iter().flatten() {
                if nearest[next] == usize::MAX {
                    nearest[next] = nearest[at];
                    open.push_back(next);
                }
            }
        }
        let (levels, means) = (vec![0; count], vec![0; count]);
        Self { side, size, cells, nearest, levels, means, band: vec![0; 4 * count] }
    }

    /// Four bytes for each cell: its colour, of `colours` with three bytes a cell, and the roughness of the
    /// packed RGB `picture` there, or in and near holes that of what is known around. Of pixels in holes
    /// nothing counts.
    ///
    /// # Panics
    /// If their lengths are others than that of the mask and of its cells.
    pub fn beside(&mut self, colours: &[u8], picture: &[u8]) -> &[u8] {
        let pixels = picture.as_chunks::<3>().0;
        for at in 0..self.levels.len() {
            if self.nearest[at] == at {
                self.levels[at] = self.roughness(at, pixels);
            }
        }
        for at in 0..self.levels.len() {
            self.levels[at] = self.levels.get(self.nearest[at]).copied().unwrap_or(0);
        }
        for _ in 0..SWEEPS {
            self.average();
        }
        let colours = colours.as_chunks::<3>().0;
        let band = self.band.as_chunks_mut::<4>().0;
        assert_eq!(colours.len(), band.len());
        for ((cell, &[red, green, blue]), &level) in band.iter_mut().zip(colours).zip(&self.levels)
        {
            *cell = [red, green, blue, level];
        }
        &self.band
    }

    /// The mean difference of a cell's green, which is most of luma, from its mean, in its weight. Every
    /// second row is enough: cells are averaged.
    fn roughness(&self, at: usize, pixels: &[[u8; 3]]) -> u8 {
        let (x, y) = (at % self.cells.0 * self.side, at / self.cells.0 * self.side);
        let width = self.side.min(self.size.0 - x);
        let rows = || {
            let rows = (y..(y + self.side).min(self.size.1)).step_by(2);
            rows.map(|y| &pixels[y * self.size.0 + x..][..width])
        };
        let (mut count, mut sum, mut apart) = (0, 0, 0);
        for row in rows() {
            count += width as u32;
            row.iter().for_each(|pixel| sum += u32::from(pixel[1]));
        }
        let mean = sum / count;
        for row in rows() {
            row.iter().for_each(|pixel| apart += u32::from(pixel[1]).abs_diff(mean));
        }
        (WEIGHT * apart / count).min(255) as u8
    }

    /// Gives each cell the mean of those around it and itself.
    fn average(&mut self) {
        let (across, down) = self.cells;
        for (row, means) in self.levels.chunks(across).zip(self.means.chunks_mut(across)) {
            for (x, mean) in means.iter_mut().enumerate() {
                *mean = mean_of(row[x.saturating_sub(1)..(x + 2).min(across)].iter());
            }
        }
        for y in 0..down {
            let rows = y.saturating_sub(1)..(y + 2).min(down);
            for x in 0..across {
                let column = rows.clone().map(|y| &self.means[y * across + x]);
                self.levels[y * across + x] = mean_of(column);
            }
        }
    }
}

fn mean_of<'a>(levels: impl ExactSizeIterator<Item = &'a u8>) -> u8 {
    let count = levels.len() as u16;
    ((levels.map(|level| u16::from(*level)).sum::<u16>() + count / 2) / count) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::PixelBox;
    use crate::picture::detail::tests::noise;

    const SIDE: usize = 64;

    /// Noise of +-32 on the left of a plain grey.
    fn half_rough(hidden: u8, holes: &Mask) -> Vec<u8> {
        let noise = noise(SIDE * SIDE, 1);
        let pixel = |at: usize| match at % SIDE {
            _ if holes.data()[at] != 0 => [hidden; 3],
            ..32 => [96 + noise[at] / 4; 3],
            _ => [128; 3],
        };
        (0..SIDE * SIDE).flat_map(pixel).collect()
    }

    #[test]
    fn holes_are_as_rough_as_what_is_around_them() {
        let mut holes = Mask::empty(SIDE, SIDE).unwrap();
        holes.fill_box(&PixelBox { x: 5, y: 20, width: 12, height: 22 });
        holes.fill_box(&PixelBox { x: 45, y: 20, width: 12, height: 22 });
        let mut texture = Texture::new(&holes, 4);
        let colours = noise(3 * 256, 2);
        let band = texture.beside(&colours, &half_rough(0, &holes)).to_vec();
        let level = |x: usize, y: usize| band[4 * (y / 4 * 16 + x / 4) + 3];
        // 16 levels in the mean, twice.
        assert!((24..40).contains(&level(10, 30)), "{}", level(10, 30));
        assert!(level(10, 30).abs_diff(level(26, 30)) < 8);
        assert_eq!((level(50, 30), level(62, 8)), (0, 0));
        assert!(
            band.as_chunks::<4>()
                .0
                .iter()
                .zip(colours.as_chunks::<3>().0)
                .all(|(cell, colour)| cell[..3] == colour[..])
        );
        let again = texture.beside(&colours, &half_rough(200, &holes));
        assert!(again == band, "what is hidden counts for nothing");
    }

    #[test]
    fn odd_sides_and_holes_everywhere_are_no_trouble() {
        let full = Mask::full(13, 7).unwrap();
        let picture = noise(3 * 13 * 7, 3);
        let band = Texture::new(&full, 4).beside(&[9; 3 * 8], &picture).to_vec();
        assert_eq!(band, [9, 9, 9, 0].repeat(8));
        let mut texture = Texture::new(&Mask::empty(13, 7).unwrap(), 6);
        assert_eq!(texture.beside(&[9; 3 * 6], &picture).len(), 24);
    }
}
