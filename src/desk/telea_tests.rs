//! Telea's filler against OpenCV's, whose outputs lie in `tests/data`.

use super::*;
use crate::desk::filler_cases::opencv as case;

/// OpenCV sums in its compiler's order: a value that lies on a half may round the other way.
const ROUNDING: u8 = 1;
/// How many may: 1 of 2244 was seen.
const MAY_DIFFER: f32 = 0.01;

#[test]
fn equals_opencv() {
    for name in ["smooth", "noise", "photo", "border"] {
        let (picture, mask, expected) = case(name);
        let filled = telea(&picture, &mask).unwrap();
        let apart: Vec<u8> =
            filled.data.iter().zip(&expected.data).map(|(a, b)| a.abs_diff(*b)).collect();
        let worst = apart.iter().max().copied().unwrap_or(0);
        assert!(worst <= ROUNDING, "{name}: {worst} levels apart");
        let differing = apart.iter().filter(|&&levels| levels > 0).count();
        let share = differing as f32 / (3 * mask.hole_pixels()) as f32;
        assert!(share <= MAY_DIFFER, "{name}: {differing} values differ");
        // The comparison means something: the fill is not the input.
        assert!(filled.data != picture.data, "{name}");
    }
}

#[test]
fn known_pixels_stay_and_hidden_ones_do_not_matter() {
    for name in ["border", "noise"] {
        let (picture, mask, _) = case(name);
        let filled = telea(&picture, &mask).unwrap();
        let mut other = picture.clone();
        for (index, &hole) in mask.data().iter().enumerate() {
            let at = 3 * index..3 * index + 3;
            if hole == 0 {
                assert_eq!(filled.data[at.clone()], picture.data[at]);
            } else {
                other.data[at].fill(77);
            }
        }
        assert!(telea(&other, &mask).unwrap() == filled, "{name}");
        let mean = mean_colour(&picture, &mask).unwrap();
        assert!(mean_colour(&other, &mask).unwrap() == mean, "{name}");
    }
}

#[test]
fn odd_shapes() {
    for (width, height) in [(1, 1), (1, 9), (9, 1), (2, 2), (3, 5)] {
        let picture = RgbPicture::new(width, height, vec![90; 3 * width * height]).unwrap();
        for holes in [0, 1, width * height / 2, width * height] {
            let grey: Vec<u8> =
                (0..width * height).map(|at| if at < holes { 255 } else { 0 }).collect();
            let mask = Mask::from_grey(width, height, &grey).unwrap();
            let filled = telea(&picture, &mask).unwrap();
            assert_eq!(filled.data.len(), picture.data.len());
            if holes == 0 {
                assert!(filled == picture);
            }
            if holes == width * height {
                assert!(filled.data.iter().all(|&value| value == 0));
                let grey = mean_colour(&picture, &mask).unwrap();
                assert!(grey.data.iter().all(|&value| value == 128));
            }
        }
    }
    let picture = RgbPicture::new(4, 4, vec![0; 48]).unwrap();
    let wrong = Mask::empty(4, 5).unwrap();
    assert!(telea(&picture, &wrong).is_err() && mean_colour(&picture, &wrong).is_err());
}

#[test]
fn mean_is_of_known_pixels() {
    let picture = RgbPicture::new(3, 1, vec![10, 20, 30, 13, 0, 255, 200, 200, 200]).unwrap();
    let mask = Mask::from_grey(3, 1, &[0, 0, 255]).unwrap();
    let filled = mean_colour(&picture, &mask).unwrap();
    assert_eq!(filled.data, [10, 20, 30, 13, 0, 255, 12, 10, 143]);
}
