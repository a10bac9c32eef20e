use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::*;
use crate::picture::Pool;

const WIDTH: usize = 160;
const HEIGHT: usize = 96;
/// Within the picture: where a pattern is, columns and rows.
const OBJECT: (std::ops::Range<usize>, std::ops::Range<usize>) = (48..96, 32..64);
/// Levels between neighbours where there is a pattern.
const STEEP: u8 = 100;

fn flaw(bytes: &[u8]) -> Option<&'static str> {
    look_through(bytes).err()
}

/// A grey picture with a pattern in it.
fn object() -> Vec<u8> {
    let mut pixels = vec![[120; 3]; WIDTH * HEIGHT];
    for y in OBJECT.1 {
        for x in OBJECT.0 {
            pixels[y * WIDTH + x] = [if (x / 3 + y / 3) % 2 == 0 { 10 } else { 245 }; 3];
        }
    }
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 80);
    let (width, height) = (WIDTH as u32, HEIGHT as u32);
    encoder
        .write_image(pixels.as_flattened(), width, height, ExtendedColorType::Rgb8)
        .expect("encoded");
    bytes
}

fn jpeg(width: usize, height: usize) -> Vec<u8> {
    let pixels: Vec<u8> = (0..3 * width * height).map(|at| (at * at / 7 + at) as u8).collect();
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    encoder
        .write_image(&pixels, width as u32, height as u32, ExtendedColorType::Rgb8)
        .expect("encoded");
    bytes
}

/// Where its scan's data begins.
fn data_of(bytes: &[u8]) -> usize {
    let at = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).expect("a scan");
    at + 2 + u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]) as usize
}

/// Pixels of a pattern that are beside the object and the blocks around it.
fn astray(bytes: &[u8]) -> usize {
    let frame = crate::picture::Frame::from_jpeg(&Pool::default(), bytes).expect("it passed");
    let within = |range: &std::ops::Range<usize>, at: usize| {
        (range.start - 16..range.end + 16).contains(&at)
    };
    let red = |x: usize, y: usize| frame.data()[3 * (y * WIDTH + x)];
    let steep = |x: usize, y: usize| red(x, y).abs_diff(red(x + 3, y)) > STEEP;
    let places = (0..HEIGHT).flat_map(|y| (0..WIDTH - 3).map(move |x| (x, y)));
    places.filter(|&(x, y)| !(within(&OBJECT.0, x) && within(&OBJECT.1, y)) && steep(x, y)).count()
}

/// A decoder would show the pattern elsewhere, beside any mask.
#[test]
fn no_damage_that_moves_blocks_passes() {
    let whole = object();
    assert_eq!(flaw(&whole), None);
    assert_eq!(astray(&whole), 0);
    let (begin, end) = (data_of(&whole), whole.len() - 2);
    let (mut refused, mut passed) = (0, 0);
    let mut look = |damaged: Vec<u8>| match flaw(&damaged) {
        Some(_) => refused += 1,
        None => {
            passed += 1;
            // The damaged block itself, of 16 by 16 pixels, may be any.
            assert!(astray(&damaged) <= 256, "{} pixels", astray(&damaged));
        }
    };
    for at in begin..end {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            // A marker more is another story.
            if damaged[at] != 0xff && damaged[at - 1] != 0xff {
                look(damaged);
            }
        }
        for missing in [1, 2, 5, 64] {
            if at + missing <= end {
                look([&whole[..at], &whole[at + missing..]].concat());
            }
        }
    }
    assert!(refused > 2 * passed && passed > 0, "{refused} refused, {passed} passed");
}

#[test]
fn sizes_that_blocks_do_not_divide_pass() {
    for (width, height) in [(1, 1), (8, 8), (17, 9), (33, 64), (640, 3)] {
        let bytes = jpeg(width, height);
        assert_eq!(flaw(&bytes), None, "{width}x{height}");
        let (begin, end) = (data_of(&bytes), bytes.len() - 2);
        // A byte that could only fill up, and one that could not.
        let (first, last) = bytes.split_at(end);
        assert!(flaw(&[first, &[0x5a], last].concat()).is_some(), "{width}x{height}");
        assert!(flaw(&[&bytes[..begin], last].concat()).is_some(), "{width}x{height}");
    }
}

/// Restart markers of other numbers, or lost ones, are lost rows.
#[test]
fn restarts_are_in_order() {
    // Four runs of one block each, of first values 0 and nothing else, under K.3 and K.5: 00 1010.
    let start = [
        &[0xff, 0xd8][..],
        STANDARD_TABLES,
        &[&[0xff, 0xdb, 0, 67, 0][..], &[1; 64]].concat(),
        &[0xff, 0xdd, 0, 4, 0, 1, 0xff, 0xc0, 0, 11, 8, 0, 8, 0, 32, 1, 1, 0x11, 0],
        &[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0],
    ]
    .concat();
    const RUN: u8 = 0b0010_1011;
    let picture = |data: &[u8]| [&start, data, &[0xff, 0xd9]].concat();
    let sound = [RUN, 0xff, 0xd0, RUN, 0xff, 0xd1, RUN, 0xff, 0xff, 0xd2, RUN];
    assert_eq!(flaw(&picture(&sound)), None);
    for wrong in [
        &[RUN, 0xff, 0xd0, RUN, 0xff, 0xd2, RUN, 0xff, 0xd2, RUN][..],
        &[RUN, 0xff, 0xd0, RUN, 0xff, 0xd1, RUN],
        &[RUN, RUN, 0xff, 0xd0, RUN, 0xff, 0xd1, RUN, 0xff, 0xd2, RUN],
        &[RUN, 0xff, 0xd0, RUN, 0xff, 0xd1, RUN, 0xff, 0xd2, RUN, 0xff, 0xd3, RUN],
        &[RUN, 0xff, 0xd0, RUN, 0xff, 0xd1, RUN, 0xff, 0xd2, RUN, 0xff, 0xd4],
        &[RUN, 0xff, 0xd0, 0xff, 0xd1, RUN, 0xff, 0xd2, RUN],
    ] {
        assert!(flaw(&picture(wrong)).is_some(), "{wrong:x?}");
    }
    // Encoders that fill up to more than a byte.
    for filler in [&[0xff, 0x00, 0xff, 0x00][..], &[0xff, 0], &[0, 0], &[0xff, 0xd3]] {
        assert_eq!(flaw(&picture(&[&sound[..], filler].concat())), None);
    }
}

/// A first value that leaves the range is that of another block.
#[test]
fn means_stay_within_what_pixels_can_have() {
    let start = [&[0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 8, 0, 16, 1, 1, 0x11, 0][..]].concat();
    let picture = |quantiser: u8, data: &[u8]| {
        let table = [&[0xff, 0xdb, 0, 67, 0][..], &[quantiser; 64]].concat();
        let scan = &[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0];
        [&start[..], &table, STANDARD_TABLES, scan, data, &[0xff, 0xd9]].concat()
    };
    // Twice K.3's 110 for five bits, 10000 for 16, and 1010: 1101 0000 1010, 1101 0000 1010.
    let data = [0b1101_0000, 0b1010_1101, 0b0000_1010];
    assert_eq!(flaw(&picture(32, &data)), None, "16 and 32 times 32 are in range");
    assert!(flaw(&picture(34, &data)).is_some(), "32 times 34 is not");
}

#[test]
fn what_is_coded_otherwise_is_left_to_the_decoder() {
    let whole = object();
    let at = whole.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame");
    assert_eq!(look_through(&whole), Ok(Coding::Sequential));
    for (place, value) in [(1, 0xc2), (1, 0xc3), (1, 0xc9), (4, 12)] {
        let mut other = whole.clone();
        other[at + place] = value;
        assert_eq!(look_through(&other), Ok(Coding::Other), "{value}");
        assert!(crate::picture::Frame::from_jpeg(&Pool::default(), &other).is_err());
    }
    // Cameras leave the standard tables out.
    let mut without = whole.clone();
    while let Some(at) = without.windows(2).position(|pair| pair == [0xff, 0xc4]) {
        let length = u16::from_be_bytes([without[at + 2], without[at + 3]]) as usize;
        without.drain(at..at + 2 + length);
    }
    assert!(!has_tables(&without) && flaw(&without).is_none());
}

#[test]
fn any_bytes_are_judged() {
    let whole = object();
    for at in 0..data_of(&whole) {
        for value in [0, 1, 0x7f, 0xd9, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = flaw(&damaged);
        }
        assert!(flaw(&whole[..at]).is_some());
    }
}

#[test]
fn the_end_of_a_thumbnail_is_not_the_end_of_its_jpeg() {
    let (bytes, thumbnail) = (jpeg(64, 48), jpeg(16, 16));
    let mut whole = vec![0xff, 0xd8, 0xff, 0xe1];
    whole.extend_from_slice(&(thumbnail.len() as u16 + 2).to_be_bytes());
    whole.extend_from_slice(&thumbnail);
    whole.extend_from_slice(&bytes[2..]);
    assert!(is_whole(&whole));
    for cut in 0..whole.len() {
        assert!(!is_whole(&whole[..cut]), "cut at {cut}");
    }
}

#[test]
fn scans_are_searched_for_markers_alone() {
    // Two scans, the second behind a table; in the first a stuffed zero, a restart and a fill byte.
    let scans = [
        0xff, 0xd8, 0xff, 0xda, 0, 3, 0xd9, 5, 0xff, 0, 0xd9, 0xff, 0xd0, 7, 0xff, 0xff, 0xc4, 0,
        4, 0xff, 0xd9, 0xff, 0xda, 0, 2, 8, 0xff, 0xff, 0xd9,
    ];
    assert!(is_whole(&scans));
    assert!((0..scans.len()).all(|cut| !is_whole(&scans[..cut])));
    let cut = &scans[..10];
    assert!(!is_whole(&[cut, &scans].concat()), "cut off by the next picture");
    assert!(!is_whole(&[0xff, 0xd8, 0xff, 0xd9]), "no scan");
}
