//! The integer network: the same bytes whatever computes them, and however much of it.

use std::sync::Arc;

use super::{Int8Session, RIM};
use crate::file::Model;
use crate::file::int8::tests::write_sample;
use crate::kernels::int8::Kernel;
use crate::net::Network;

const WIDTH: usize = 256;
const HEIGHT: usize = 128;
/// BLAKE3 of the made-up network's pictures: what every processor must give.
const PICTURES: &str = "5e660c98f5db49bb1ba287cf46cefbdcd5fdf1a76ac2dec276561c04c54dd2a1";

fn model(base: usize) -> Arc<Model> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.lbam");
    write_sample(Network::new(base).expect("a supported width"), &path).expect("written");
    Arc::new(Model::open(&path).expect("a good file"))
}

/// Holes of different shapes: a blob, a stroke across the border, single pixels, everything.
fn masks() -> Vec<Vec<u8>> {
    let mask = |inside: &dyn Fn(i32, i32) -> bool| -> Vec<u8> {
        let pixel = |at: usize| inside((at % WIDTH) as i32, (at / WIDTH) as i32);
        (0..WIDTH * HEIGHT).map(|at| if pixel(at) { 255 } else { 0 }).collect()
    };
    vec![
        mask(&|x, y| (x - 90).pow(2) + (y - 60).pow(2) < 900),
        mask(&|x, y| (x - 2 * y).abs() < 7),
        mask(&|x, y| (x, y) == (0, 0) || (x, y) == (255, 127) || (x, y) == (131, 64)),
        mask(&|_, _| true),
    ]
}

fn picture(seed: u32) -> Vec<u8> {
    let noise = |index: u32| ((index ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8;
    (0..(3 * WIDTH * HEIGHT) as u32).map(noise).collect()
}

/// Every mask's picture, by one kernel on so many threads.
fn pictures(model: &Arc<Model>, kernel: Kernel, threads: usize, everything: bool) -> Vec<Vec<u8>> {
    let mut session = Int8Session::new(model, WIDTH, HEIGHT, kernel);
    session.rim = if everything { None } else { Some(RIM) };
    masks()
        .iter()
        .zip(0..)
        .map(|(mask, seed)| {
            let mut output = vec![0; 3 * WIDTH * HEIGHT];
            session.set_mask(mask, threads);
            session.run(&picture(seed), &mut output, threads);
            output
        })
        .collect()
}

#[test]
fn every_kernel_and_thread_count_gives_the_same_pictures() {
    let model = model(3);
    let expected = pictures(&model, Kernel::portable(), 1, true);
    let levels: std::collections::BTreeSet<u8> = expected.iter().flatten().copied().collect();
    assert!(levels.len() > 200, "the made-up network paints with {} levels", levels.len());
    for kernel in Kernel::all() {
        for threads in [1, 2, 3] {
            let found = pictures(&model, kernel, threads, true);
            assert!(found == expected, "{} on {threads} threads differs", kernel.name());
        }
    }
    let hash = blake3::hash(&expected.concat()).to_hex().to_string();
    assert_eq!(hash, PICTURES, "another processor gave other bytes");
}

#[test]
fn holes_alone_are_decoded_to_the_same_pixels() {
    let model = model(16);
    let kernel = Kernel::best();
    let whole = pictures(&model, kernel, 1, true);
    let part = pictures(&model, kernel, 2, false);
    for ((mask, whole), part) in masks().iter().zip(&whole).zip(&part) {
        let mut compared = 0;
        for at in 0..WIDTH * HEIGHT {
            let near = |hole: &(usize, &u8)| {
                let (x, y) = (hole.0 % WIDTH, hole.0 / WIDTH);
                *hole.1 != 0 && x.abs_diff(at % WIDTH) <= RIM && y.abs_diff(at / WIDTH) <= RIM
            };
            let rows = (at / WIDTH).saturating_sub(RIM)..(at / WIDTH + RIM + 1).min(HEIGHT);
            let window = mask.iter().enumerate();
            let window = window.skip(rows.start * WIDTH).take(rows.len() * WIDTH);
            if mask[at] != 0 || window.into_iter().any(|hole| near(&hole)) {
                assert_eq!(part[3 * at..3 * at + 3], whole[3 * at..3 * at + 3], "pixel {at}");
                compared += 1;
            }
        }
        assert!(compared >= mask.iter().filter(|&&hole| hole != 0).count());
    }
}

#[test]
fn a_wide_picture_is_encoded_where_holes_need_it() {
    let model = model(3);
    let (width, height) = (2048, 128);
    let picture: Vec<u8> = (0..3 * width * height)
        .map(|at| ((at as u32).wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let hole = |at: usize| (at % width).abs_diff(300) < 9 && (at / width).abs_diff(60) < 9;
    let mask: Vec<u8> = (0..width * height).map(|at| u8::from(hole(at))).collect();
    let mut encoded = Vec::new();
    let outputs = [true, false].map(|everything| {
        let mut session = Int8Session::new(&model, width, height, Kernel::best());
        session.rim = if everything { None } else { Some(RIM) };
        let mut output = vec![0; picture.len()];
        // Elsewhere first, so that what is not computed is not right by chance.
        session.set_mask(&mask.iter().rev().copied().collect::<Vec<u8>>(), 1);
        session.run(&picture, &mut output, 1);
        session.set_mask(&mask, 1);
        session.run(&picture, &mut output, 1);
        encoded.push((0..7).map(|level| session.encoder_pixels(level).count()).sum::<usize>());
        output
    });
    for at in (0..width * height).filter(|&at| hole(at)) {
        assert_eq!(outputs[0][3 * at..3 * at + 3], outputs[1][3 * at..3 * at + 3], "pixel {at}");
    }
    assert!(encoded[1] * 2 < encoded[0], "{encoded:?}");
}

#[test]
fn maps_of_few_pixels_are_those_of_all() {
    let model = model(3);
    let mut maps = [true, false].map(|everything| {
        let mut session = Int8Session::new(&model, WIDTH, HEIGHT, Kernel::best());
        session.rim = if everything { None } else { Some(RIM) };
        let mut computed = Vec::new();
        // One session for all: what another mask left behind must not show.
        let maps = masks().into_iter().map(|mask| {
            session.set_mask(&mask, 1);
            computed.push(session.masking.iter().map(|(pixels, _)| pixels.count()).sum::<usize>());
            [session.forward.maps.clone(), session.reverse.maps.clone()].concat()
        });
        (maps.collect::<Vec<_>>(), computed)
    });
    let [(all, every), (few, some)] = &mut maps;
    assert!(all == few);
    // A whole hole is alike but for what lies at the edges.
    assert!(some.iter().zip(every.iter()).all(|(some, every)| some < every), "{some:?} {every:?}");
    assert!(some[3] * 4 < every[3], "{} of {}", some[3], every[3]);
}

#[test]
fn hidden_pixels_do_not_reach_the_network() {
    let model = model(3);
    let mut session = Int8Session::new(&model, WIDTH, HEIGHT, Kernel::best());
    let mask = &masks()[0];
    session.set_mask(mask, 1);
    let mut fill = |hidden: u8| {
        let mut picture = picture(1);
        for (pixel, &hole) in picture.chunks_exact_mut(3).zip(mask) {
            if hole != 0 {
                pixel.fill(hidden);
            }
        }
        let mut output = vec![0; picture.len()];
        session.run(&picture, &mut output, 1);
        output
    };
    assert_eq!(fill(0), fill(255));
}
