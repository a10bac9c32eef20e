//! Telea's filler against OpenCV's, whose outputs lie in `tests/data`.

use std::path::Path;

use super::*;
use crate::picture::read_rgb;

/// Input, mask and OpenCV 5.0's `inpaint(picture, mask, 3, INPAINT_TELEA)` lie side by side.
fn case(name: &str) -> (RgbPicture, Mask, RgbPicture) {
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

#[test]
fn equals_opencv() {
    for name in ["smooth", "noise", "photo", "border"] {
        let (picture, mask, expected) = case(name);
        let filled = telea(&picture, &mask, USUAL_RADIUS).unwrap();
        let mut worst = 0;
        let mut differing = 0;
        if name == "border" || name=="noise" { for (i,(a,b)) in filled.data.iter().zip(&expected.data).enumerate() { if a!=b && i%3==0 { println!("differ x{} y{} {a} {b}", i/3%filled.width, i/3/filled.width); } } }
        for (&ours, &theirs) in filled.data.iter().zip(&expected.data) {
            worst = worst.max(ours.abs_diff(theirs));
            differing += usize::from(ours != theirs);
        }
        println!("{name}: worst {worst}, {differing} differ of {}", 3 * mask.hole_pixels());
    }
    panic!();
}
