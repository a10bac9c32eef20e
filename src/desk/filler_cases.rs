//! What every classical filler must do, and pictures to try it on.

use std::path::Path;

use crate::picture::{Mask, MaskError, RgbPicture, metrics, read_rgb};

/// OpenCV sums in its compiler's order: a value that lies on a half may round the other way.
const ROUNDING: u8 = 1;
/// How many may: 1 of 2244 was seen.
const MAY_DIFFER: f32 = 0.01;

type Fill<'a> = &'a dyn Fn(&RgbPicture, &Mask) -> Result<RgbPicture, MaskError>;

/// Input, mask and OpenCV 5.0's `inpaint(picture, mask, 3, INPAINT_TELEA)` lie side by side.
pub fn opencv(name: &str) -> (RgbPicture, Mask, RgbPicture) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/telea_{name}.png"));
    let all = read_rgb(&path).unwrap();
    let width = all.width / 3;
    let part = |index: usize| {
        let rows = all.data.chunks_exact(3 * all.width);
        let data = rows.flat_map(|row| &row[3 * width * index..3 * width * (index + 1)]).copied();
        RgbPicture::new(width, all.height, data.collect()).unwrap()
    };
    let grey: Vec<u8> = part(1).data.chunks_exact(3).map(|pixel| pixel[0]).collect();
    (part(0), Mask::from_grey(width, all.height, &grey).unwrap(), part(2))
}

/// The filler's answers are OpenCV's, `expected` of each picture's name.
pub fn equals_opencv(fill: Fill, expected: impl Fn(&str) -> RgbPicture) {
    for name in ["smooth", "noise", "photo", "border"] {
        let (picture, mask, _) = opencv(name);
        let (filled, expected) = (fill(&picture, &mask).unwrap(), expected(name));
        let apart = || filled.data.iter().zip(&expected.data).map(|(a, b)| a.abs_diff(*b));
        let worst = apart().max().unwrap_or(0);
        assert!(worst <= ROUNDING, "{name}: {worst} levels apart");
        let differing = apart().filter(|&levels| levels > 0).count();
        let share = differing as f32 / (3 * mask.hole_pixels()) as f32;
        assert!(share <= MAY_DIFFER, "{name}: {differing} values differ");
        // The comparison means something: the fill is not the input.
        assert!(filled.data != picture.data, "{name}");
    }
}

/// Known pixels stay, hidden ones do not matter, the answer is always the same, a picture of one
/// colour is filled with it, give or take `levels`, and no hole, nothing but hole and odd shapes are
/// dealt with.
pub fn keeps_the_rules(fill: Fill, levels: u8) {
    for name in ["border", "noise", "photo"] {
        let (picture, mask, _) = opencv(name);
        let filled = fill(&picture, &mask).unwrap();
        let mut other = picture.clone();
        for (index, &hole) in mask.data().iter().enumerate() {
            let at = 3 * index..3 * index + 3;
            if hole == 0 {
                assert_eq!(filled.data[at.clone()], picture.data[at], "{name}");
            } else {
                other.data[at].fill(77);
            }
        }
        assert!(fill(&other, &mask).unwrap() == filled, "{name}");

        let mut plain = picture;
        plain.data.as_chunks_mut::<3>().0.fill([10, 130, 250]);
        assert!(within(&fill(&plain, &mask).unwrap(), &plain, levels), "{name}");
    }
    for (width, height) in [(1, 1), (1, 9), (9, 1), (2, 2), (3, 5), (7, 9), (10, 9), (40, 12)] {
        let picture = RgbPicture::new(width, height, vec![90; 3 * width * height]).unwrap();
        for holes in [0, 1, width * height / 2, width * height] {
            let grey: Vec<u8> =
                (0..width * height).map(|at| if at < holes { 255 } else { 0 }).collect();
            let mask = Mask::from_grey(width, height, &grey).unwrap();
            let filled = fill(&picture, &mask).unwrap();
            assert_eq!(filled.data.len(), picture.data.len());
            if holes == 0 {
                assert!(filled == picture);
            }
            if holes == width * height {
                assert!(filled.data.iter().all(|&value| value == 0));
            }
        }
    }
    let picture = RgbPicture::new(4, 4, vec![0; 48]).unwrap();
    assert!(fill(&picture, &Mask::empty(4, 5).unwrap()).is_err());
}

fn within(first: &RgbPicture, second: &RgbPicture, levels: u8) -> bool {
    first.data.iter().zip(&second.data).all(|(a, b)| a.abs_diff(*b) <= levels)
}

/// Vertical stripes, 8 pixels from one to the next, with a square hole, 30 pixels a side: PSNR
/// over the hole, dB.
pub fn psnr_of_stripes(fill: Fill) -> f64 {
    let (side, hole) = (96, 33..63);
    let mut picture = RgbPicture::new(side, side, vec![0; 3 * side * side]).unwrap();
    let mut grey = vec![0; side * side];
    for (index, pixel) in picture.data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = (index % side, index / side);
        *pixel = if x % 8 < 4 { [220, 180, 40] } else { [30, 60, 90] };
        if hole.contains(&x) && hole.contains(&y) {
            grey[index] = 255;
        }
    }
    let mask = Mask::from_grey(side, side, &grey).unwrap();
    let filled = fill(&picture, &mask).unwrap();
    metrics::psnr_in_hole(&picture.data, &filled.data, &mask).unwrap().unwrap()
}
