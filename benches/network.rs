//! Kernels, stages and whole frames: `cargo bench --bench network`. Names go on as filters:
//! `cargo bench --bench network -- frame_stage`.
//!
//! Absolute times, for a look at what a change does on one machine; how lbam compares with others
//! is for `benches/peers`.

use std::path::Path;
use std::sync::Arc;

use divan::{Bencher, black_box};
use lbam::camera::test_frame;
use lbam::file::Model;
use lbam::picture::{Frame, Mask, PixelBox};
use lbam::runtime::Session;
use lbam::service::{Fill, Filler, NETWORK_SIDE};

/// Shares of the picture that are a hole, percent.
const HOLES: [usize; 3] = [5, 20, 100];

fn main() {
    divan::main();
}

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/small-int8.lbam");
    Model::open(&path).expect("the shipped model")
}

/// One hole in the middle.
fn mask(width: usize, height: usize, percent: usize) -> Mask {
    let side = |whole: usize| (whole as f64 * (percent as f64 / 100.0).sqrt()) as usize;
    let (hole_width, hole_height) = (side(width), side(height));
    let mut mask = Mask::empty(width, height).expect("a size");
    let (x, y) = ((width - hole_width) / 2, (height - hole_height) / 2);
    mask.fill_box(&PixelBox { x, y, width: hole_width, height: hole_height });
    mask
}

fn session() -> Session {
    Session::new(&Arc::new(model()), NETWORK_SIDE, NETWORK_SIDE).expect("a session")
}

fn picture() -> Vec<u8> {
    (0..3 * NETWORK_SIDE * NETWORK_SIDE).map(|at| (at * 7919 / 256) as u8).collect()
}

/// What a frame costs while the mask stands.
#[divan::bench(args = HOLES)]
fn frame_stage(bencher: Bencher, percent: usize) {
    let (mut session, picture) = (session(), picture());
    let mut output = vec![0; picture.len()];
    session.set_mask(mask(NETWORK_SIDE, NETWORK_SIDE, percent).data()).expect("a mask");
    bencher.bench_local(|| session.run(black_box(&picture), &mut output).expect("a frame"));
}

/// What a change of the mask costs.
#[divan::bench(args = HOLES)]
fn mask_stage(bencher: Bencher, percent: usize) {
    let (mut session, mask) = (session(), mask(NETWORK_SIDE, NETWORK_SIDE, percent));
    bencher.bench_local(|| session.set_mask(black_box(mask.data())).expect("a mask"));
}

/// Open, map and check the shipped model.
#[divan::bench]
fn open_model() -> Model {
    model()
}

const FRAMES: [(usize, usize); 2] = [(640, 480), (1920, 1080)];

/// A camera's frame from colour conversion to the pasted fill.
#[divan::bench(args = FRAMES)]
fn whole_frame(bencher: Bencher, size: (usize, usize)) {
    fill(bencher, size, true);
}

/// The same, the network's fill as it is.
#[divan::bench(args = FRAMES)]
fn whole_frame_without_detail(bencher: Bencher, size: (usize, usize)) {
    fill(bencher, size, false);
}

fn fill(bencher: Bencher, (width, height): (usize, usize), detailed: bool) {
    let mut filler = Filler::for_frames(model()).detailed(detailed);
    filler.set_mask(&mask(width, height, 5)).expect("a mask");
    let frame = test_frame(width, height, 0).expect("a frame");
    bencher
        .with_inputs(|| frame.clone())
        .bench_local_refs(|frame: &mut Frame| filler.fill(frame).expect("a fill"));
}
