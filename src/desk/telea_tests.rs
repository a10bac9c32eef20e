//! Telea's filler against OpenCV's, whose outputs lie in `tests/data`.

use super::*;
use crate::desk::filler_cases::{self, keeps_the_rules, opencv};

/// From one colour: its gradient's share and its rounding move a pixel by up to 2 levels, and what is
/// painted from that by more. So many were seen.
const LEVELS: u8 = 4;

#[test]
fn equals_opencv() {
    filler_cases::equals_opencv(&telea, |name| opencv(name).2);
}

#[test]
fn rules() {
    keeps_the_rules(&telea, LEVELS);
}

#[test]
fn mean_is_of_known_pixels() {
    let picture = RgbPicture::new(3, 1, vec![10, 20, 30, 13, 0, 255, 200, 200, 200]).unwrap();
    let mask = Mask::from_grey(3, 1, &[0, 0, 255]).unwrap();
    let filled = mean_colour(&picture, &mask).unwrap();
    assert_eq!(filled.data, [10, 20, 30, 13, 0, 255, 12, 10, 143]);
}

#[test]
fn where_nothing_is_known_the_mean_is_grey() {
    let picture = RgbPicture::new(2, 1, vec![90; 6]).unwrap();
    let filled = |mask: &Mask| mean_colour(&picture, mask).unwrap();
    assert_eq!(filled(&Mask::from_grey(2, 1, &[255; 2]).unwrap()).data, [128; 6]);
    assert!(filled(&Mask::empty(2, 1).unwrap()) == picture);
    assert!(mean_colour(&picture, &Mask::empty(1, 2).unwrap()).is_err());
}
