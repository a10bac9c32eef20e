//! The Navier-Stokes filler against OpenCV's, whose outputs lie in `tests/data`.

use super::*;
use crate::desk::filler_cases::{keeps_the_rules, opencv};
use crate::picture::read_rgb;

/// OpenCV sums in its compiler's order: a value that lies on a half may round the other way.
const ROUNDING: u8 = 1;
/// How many may.
const MAY_DIFFER: f32 = 0.01;

#[test]
fn equals_opencv() {
    for name in ["smooth", "noise", "photo", "border"] {
        // OpenCV 5.0's `inpaint(picture, mask, 3, INPAINT_NS)`, holes black beforehand.
        let (picture, mask, _) = opencv(name);
        let path = format!("{}/tests/data/navier_stokes_{name}.png", env!("CARGO_MANIFEST_DIR"));
        let expected = read_rgb(path.as_ref()).unwrap();
        let filled = navier_stokes(&picture, &mask).unwrap();
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

#[test]
fn rules() {
    keeps_the_rules(&|picture, mask| navier_stokes(picture, mask));
}
