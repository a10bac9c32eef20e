//! Training masks from a folder of pictures, white = fill.
//!
//! A mask is a random square of a random picture, between half and all of its short side, brought
//! to the training size without grey and mirrored at random both ways: a few hundred pictures are
//! then as many masks as are wanted. Like a sample it depends on its own generator alone.
//!
//! Pictures are decoded each time: a mask takes some milliseconds beside a training step's seconds,
//! and a folder of ten thousand would fill the memory.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rand_pcg::Pcg64;

use super::data::DataError;
use super::masks::hole_ratio;
use super::photos::{has_pixels, list};
use super::random;
use crate::picture::Mask;

/// Squares tried for one whose share of hole is in range; then comes the middle of a file that is known
/// to have such a one.
const TRIES: usize = 64;
/// So many of those are enough.
const ENOUGH: usize = 64;
/// Where only one file in so many has one, it is said that they are few, and no more are looked for.
const FEW: usize = 20;
/// One square in so many is the picture's whole short side.
const WHOLE: f32 = 0.5;

/// The masks of a folder.
pub(super) struct MaskFolder {
    files: Vec<PathBuf>,
    size: usize,
    ratio: RangeInclusive<f32>,
    /// Files whose middle square has a share of hole in range, and that square of the first.
    good: Vec<usize>,
    first: Vec<u8>,
    /// Files that turned out to be unreadable, each named once.
    unreadable: Mutex<BTreeSet<usize>>,
}

impl MaskFolder {
    /// Lists `folder` and makes sure that a mask of it can be used: for squares of `size` pixels,
    /// with a share of hole in `ratio`.
    ///
    /// # Errors
    /// [`DataError`] where it cannot be listed or no mask in it can be used.
    pub fn open(folder: &Path, size: usize, ratio: RangeInclusive<f32>) -> Result<Self, DataError> {
        let mut candidates = Vec::new();
        list(folder, &mut candidates)?;
        let (mut files, mut unreadable) = (Vec::new(), 0);
        for path in candidates {
            match has_pixels(&path) {
                Ok(()) => files.push(path),
                Err(error) => {
                    unreadable += 1;
                    log::warn!("{} is skipped: {error}", path.display());
                }
            }
        }
        let mut masks = Self {
            files,
            size,
            ratio,
            good: Vec::new(),
            first: Vec::new(),
            unreadable: Mutex::default(),
        };
        let (mut count, mut least, mut most) = (0, 1.0_f32, 0.0_f32);
        for index in 0..masks.files.len() {
            let Some(square) = masks.middle(index, [false; 2]) else { continue };
            let share = hole_ratio(&square);
            (count, least, most) = (count + 1, least.min(share), most.max(share));
            if masks.fits(&square) {
                if masks.good.is_empty() {
                    masks.first = square;
                }
                masks.good.push(index);
                if masks.good.len() == ENOUGH {
                    return Ok(masks);
                }
            }
            if !masks.good.is_empty() && count >= ENOUGH * FEW {
                break;
            }
        }
        let path = folder.to_owned();
        if !masks.good.is_empty() {
            if masks.good.len() * FEW < count {
                let good = masks.good.len();
                log::warn!(
                    "{}: of {count} masks {good} have such a hole; these come again and again",
                    path.display()
                );
            }
            return Ok(masks);
        }
        if count == 0 {
            return Err(DataError::NoMasks { path, unreadable: unreadable + masks.files.len() });
        }
        let wanted = (*masks.ratio.start(), *masks.ratio.end());
        Err(DataError::NoSuchMask { path, count, wanted, found: (least, most) })
    }

    /// Masks that are drawn from (those found unreadable later still count).
    #[cfg(test)]
    fn count(&self) -> usize {
        self.files.len()
    }

    /// A mask of `size * size` bytes, 255 = hole, 0 = known.
    pub fn draw(&self, rng: &mut Pcg64) -> Vec<u8> {
        for _ in 0..TRIES {
            let Some(mask) = self.read(random::below(rng, self.files.len())) else { continue };
            let short = mask.width().min(mask.height());
            let (whole, scale) = (random::unit(rng) < WHOLE, random::unit(rng));
            let side = (short as f32 * (0.5 + 0.5 * scale)).round() as usize;
            let side = if whole { short } else { side.clamp(1, short) };
            let rooms = [mask.width() - side, mask.height() - side];
            let corner = rooms.map(|room| random::below(rng, room + 1));
            let mirrored = [random::unit(rng) < 0.5, random::unit(rng) < 0.5];
            let square = square(&mask, corner, side, self.size, mirrored);
            if self.fits(&square) {
                return square;
            }
        }
        let index = self.good[random::below(rng, self.good.len())];
        let mirrored = [random::unit(rng) < 0.5, random::unit(rng) < 0.5];
        self.middle(index, mirrored).unwrap_or_else(|| self.first.clone())
    }

    /// The middle square of a file.
    fn middle(&self, index: usize, mirrored: [bool; 2]) -> Option<Vec<u8>> {
        let mask = self.read(index)?;
        let side = mask.width().min(mask.height());
        let corner = [(mask.width() - side) / 2, (mask.height() - side) / 2];
        Some(square(&mask, corner, side, self.size, mirrored))
    }

    /// A mask without a hole teaches nothing.
    fn fits(&self, square: &[u8]) -> bool {
        let share = hole_ratio(square);
        share > 0.0 && self.ratio.contains(&share)
    }

    fn read(&self, index: usize) -> Option<Mask> {
        let path = &self.files[index];
        let error = match Mask::read(path) {
            Ok(mask) => return Some(mask),
            Err(error) => error,
        };
        // The set is whole between statements: another thread's panic does not spoil it.
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if unreadable.insert(index) {
            log::warn!("{} is skipped from here on: {error}", path.display());
        }
        None
    }
}

/// The square of a mask from `corner` (left, top), `side` pixels wide, brought to `size`, mirrored
/// left to right and top to bottom. The nearest pixel is taken: a mask stays black and white.
fn square(
    mask: &Mask,
    corner: [usize; 2],
    side: usize,
    size: usize,
    mirrored: [bool; 2],
) -> Vec<u8> {
    let place = |at: usize, axis: usize| {
        let at = if mirrored[axis] { size - 1 - at } else { at };
        corner[axis] + (2 * at + 1) * side / (2 * size)
    };
    let row = |y: usize| {
        let line = place(y, 1) * mask.width();
        (0..size).map(move |x| mask.data()[line + place(x, 0)])
    };
    (0..size).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::{GrayImage, Luma};

    use super::*;
    use crate::desk::random::generator;

    /// A mask whose left `hole` columns are white.
    fn mask(width: u32, height: u32, hole: u32) -> GrayImage {
        GrayImage::from_fn(width, height, |x, _| Luma([if x < hole { 255 } else { 0 }]))
    }

    fn fails(folder: &Path, ratio: RangeInclusive<f32>) -> String {
        MaskFolder::open(folder, 32, ratio).err().expect("an error").to_string()
    }

    #[test]
    fn masks_vary_and_follow_from_their_generator() {
        let folder = tempfile::tempdir().unwrap();
        mask(64, 48, 30).save(folder.path().join("a.png")).unwrap();
        mask(20, 30, 5).save(folder.path().join("b.png")).unwrap();
        mask(16, 16, 0).save(folder.path().join("no hole.png")).unwrap();
        fs::write(folder.path().join("broken.png"), "not a picture").unwrap();
        let masks = MaskFolder::open(folder.path(), 32, 0.0..=1.0).unwrap();
        assert_eq!(masks.count(), 3);
        let draw = |index| masks.draw(&mut generator(3, 1, index));
        let drawn: Vec<Vec<u8>> = (0..60).map(draw).collect();
        assert!(drawn == (0..60).map(draw).collect::<Vec<_>>(), "the same again");
        let different: BTreeSet<&Vec<u8>> = drawn.iter().collect();
        assert!(different.len() > 20, "{} different masks", different.len());
        let (mut left, mut right) = (0, 0);
        for mask in &drawn {
            assert_eq!(mask.len(), 32 * 32);
            assert!(mask.iter().all(|&value| value == 0 || value == 255));
            assert!(hole_ratio(mask) > 0.0, "one without a hole");
            // Columns stay columns, on either side.
            assert!(mask.chunks_exact(32).all(|row| row == &mask[..32]));
            left += usize::from(mask[0] == 255 && mask[31] == 0);
            right += usize::from(mask[0] == 0 && mask[31] == 255);
        }
        assert!(left > 10 && right > 10, "{left} left, {right} right");
    }

    #[test]
    fn squares_are_scaled_and_mirrored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corner.png");
        // White in the upper left 4 by 2 pixels.
        let white = |x, y| Luma([if x < 4 && y < 2 { 200 } else { 90 }]);
        GrayImage::from_fn(10, 8, white).save(&path).unwrap();
        let mask = Mask::read(&path).unwrap();
        let holes = |square: Vec<u8>, size: usize| -> Vec<(usize, usize)> {
            let at = |&i: &usize| square[i] == 255;
            (0..size * size).filter(at).map(|i| (i % size, i / size)).collect()
        };
        assert_eq!(holes(square(&mask, [0, 0], 8, 4, [false; 2]), 4), [(0, 0), (1, 0)]);
        assert_eq!(holes(square(&mask, [0, 0], 8, 4, [true, false]), 4), [(2, 0), (3, 0)]);
        assert_eq!(holes(square(&mask, [0, 0], 8, 4, [false, true]), 4), [(0, 3), (1, 3)]);
        assert_eq!(holes(square(&mask, [2, 0], 8, 8, [false; 2]), 8).len(), 4);
        // Scaled up.
        assert_eq!(holes(square(&mask, [2, 1], 4, 8, [false; 2]), 8).len(), 8);
    }

    #[test]
    fn shares_of_hole_are_kept_to() {
        let folder = tempfile::tempdir().unwrap();
        for hole in [0, 3, 10, 16, 32] {
            mask(32, 32, hole).save(folder.path().join(format!("{hole}.png"))).unwrap();
        }
        let masks = MaskFolder::open(folder.path(), 32, 0.2..=0.4).unwrap();
        for index in 0..40 {
            let share = hole_ratio(&masks.draw(&mut generator(0, 0, index)));
            assert!((0.2..=0.4).contains(&share), "{share}");
        }
        // Where few have such a hole, those come in turns.
        for hole in 100..160 {
            mask(32, 32, 1).save(folder.path().join(format!("{hole}.png"))).unwrap();
        }
        for hole in [11, 12, 13] {
            mask(32, 32, hole).save(folder.path().join(format!("{hole}.png"))).unwrap();
        }
        let masks = MaskFolder::open(folder.path(), 32, 0.34..=0.41).unwrap();
        let mut drawn: Vec<_> =
            (0..60).map(|index| masks.draw(&mut generator(0, 0, index))).collect();
        assert!(drawn.iter().all(|mask| (0.34..=0.41).contains(&hole_ratio(mask))));
        drawn.sort();
        // Three files, each on both sides.
        assert!(drawn.chunk_by(|a, b| a == b).all(|alike| alike.len() < 30));
        drawn.dedup();
        assert!(drawn.len() >= 6, "{}", drawn.len());
        let error = fails(folder.path(), 0.6..=0.7);
        assert!(error.contains("68 masks") && error.contains("0.6 to 0.7"), "{error}");
        assert!(error.contains("--mask-ratio") && error.contains("0 to 1"), "{error}");
    }

    #[test]
    fn bad_folders_are_said() {
        let folder = tempfile::tempdir().unwrap();
        assert!(fails(&folder.path().join("nowhere"), 0.0..=1.0).contains("nowhere"));
        assert!(fails(folder.path(), 0.0..=1.0).starts_with("no readable mask"));
        fs::write(folder.path().join("a.png"), "not a picture").unwrap();
        assert!(fails(folder.path(), 0.0..=1.0).contains("1 files could not be read"));
        // A good header and half of the pixels.
        let path = folder.path().join("half.png");
        let noise = GrayImage::from_fn(90, 90, |x, y| Luma([(x * 31 + y * 17 + x * y) as u8]));
        noise.save(&path).unwrap();
        let half = fs::read(&path).unwrap();
        fs::write(&path, &half[..half.len() / 2]).unwrap();
        assert!(fails(folder.path(), 0.0..=1.0).contains("2 files could not be read"));
        mask(32, 32, 0).save(folder.path().join("no hole.png")).unwrap();
        assert!(fails(folder.path(), 0.0..=1.0).contains("none of 1 masks"));
    }
}
