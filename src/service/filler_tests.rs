//! Of the network's picture, only what the integer decoder computed may reach a frame.

use super::*;
use crate::file::int8::tests::write_sample;
use crate::net::Network;
use crate::picture::{ColourRange, PixelFormat};

fn filler() -> Filler {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.lbam");
    write_sample(Network::new(3).expect("a supported width"), &path).expect("written");
    let filler = Filler::for_frames(Model::open(&path).expect("a good file"));
    assert!(!filler.detailed, "a network that does not say that its fills are smooth");
    filler
}

/// A frame filled with the network's picture buffer full of `stale` bytes before.
fn filled(width: usize, height: usize, hole: &str, stale: u8, detailed: bool) -> Frame {
    let mut filler = filler().detailed(detailed);
    let mask = Mask::from_rects(width, height, &[hole.parse().expect("a rectangle")]);
    filler.set_mask(&mask.expect("a mask")).expect("a plan");
    let mut frame = Frame::flat(width, height, PixelFormat::Yuv420, ColourRange::Limited, 90);
    let frame = frame.as_mut().expect("a frame");
    filler.runner.output = vec![stale; 3 * 1024 * 1024];
    filler.fill(frame).expect("a fill");
    frame.clone()
}

#[test]
fn stale_pixels_never_reach_a_frame() {
    // Scaled up to its region, native, scaled down to its region, and at a frame's corner.
    let cases = [
        (640, 480, "rect:20%,20%,50%,50%"),
        (640, 480, "rect:300,200,40,40"),
        (256, 256, "rect:100,100,31,31"),
        (100, 80, "rect:30,30,20,20"),
        (640, 480, "rect:0,0,90,30"),
    ];
    let both = |case| [false, true].map(|detailed| (case, detailed));
    for ((width, height, hole), detailed) in cases.into_iter().flat_map(both) {
        let [first, second] = [0, 255].map(|stale| filled(width, height, hole, stale, detailed));
        assert!(
            first.data() == second.data(),
            "{hole} of {width}x{height} shows pixels nobody computed"
        );
    }
}

/// A mask that is painted on in another place, as on the page: what was filled before stays.
#[test]
fn the_next_filler_goes_on_from_the_one_before() {
    let (width, height) = (256, 256);
    let levels = (0_u32..3 * 256 * 256).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8);
    let frame = Frame::new(width, height, PixelFormat::Rgb8, ColourRange::Full, levels.collect());
    let frame = frame.expect("a frame");
    let mask = |holes: &[&str]| {
        let holes: Vec<_> = holes.iter().map(|hole| hole.parse().expect("a rectangle")).collect();
        Mask::from_rects(width, height, &holes).expect("a mask")
    };
    let fill = |filler: &mut dyn Fill| {
        let mut frame = frame.clone();
        filler.fill(&mut frame).expect("a fill");
        frame
    };
    let mut first = filler().detailed(true);
    first.set_mask(&mask(&["rect:40,40,60,60"])).expect("a plan");
    let before = (0..4).map(|_| fill(&mut first)).last().expect("frames");
    let changes = |filler: &mut dyn Fill| -> u64 {
        let now = fill(filler);
        let rows = (40..100).map(|y| 3 * (y * width + 40)..3 * (y * width + 100));
        let bytes = rows.flat_map(|row| now.data()[row.clone()].iter().zip(&before.data()[row]));
        bytes.map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
    };
    let next = || {
        let mut next = first.another().expect("another");
        next.set_mask(&mask(&["rect:40,40,60,60", "rect:180,180,30,30"])).expect("a plan");
        next
    };
    let (mut follows, mut anew) = (next(), next());
    follows.follow(Box::new(first));
    let (follows, anew) = (changes(&mut *follows), changes(&mut *anew));
    assert!(2 * follows < anew, "{follows}, {anew} anew");
}
