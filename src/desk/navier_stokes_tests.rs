//! The Navier-Stokes filler against OpenCV's, whose outputs lie in `tests/data`.

use super::*;
use crate::desk::filler_cases::{self, keeps_the_rules};
use crate::picture::read_rgb;

#[test]
fn equals_opencv() {
    filler_cases::equals_opencv(&navier_stokes, |name| {
        // OpenCV 5.0's `inpaint(picture, mask, 3, INPAINT_NS)`, holes black beforehand.
        let path = format!("{}/tests/data/navier_stokes_{name}.png", env!("CARGO_MANIFEST_DIR"));
        read_rgb(path.as_ref()).unwrap()
    });
}

#[test]
fn rules() {
    keeps_the_rules(&navier_stokes, 0);
}
