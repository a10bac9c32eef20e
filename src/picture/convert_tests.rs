use super::*;
use crate::kernels::noise;

/// Two roundings (RGB to YUV, YUV to RGB), each at most 1 in YUV, worth up to 2 in a channel.
const ROUND_TRIP: u8 = 3;

#[test]
fn rgb_survives_full_chroma() {
    let rgb = noise(37 * 21 * 3, 5);
    for range in [ColourRange::Limited, ColourRange::Full] {
        let frame = Frame::from_rgb(37, 21, &rgb, PixelFormat::Yuv444, range).unwrap();
        let mut back = Vec::new();
        frame.to_rgb(&mut back);
        let worst = rgb.iter().zip(&back).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= ROUND_TRIP, "{range:?}: {worst}");
    }
}

#[test]
fn black_and_white_land_where_the_range_says() {
    for (range, black, white) in [(ColourRange::Limited, 16, 235), (ColourRange::Full, 0, 255)] {
        for format in [PixelFormat::Yuv420, PixelFormat::Yuv422, PixelFormat::Yuv444] {
            let frame = Frame::from_rgb(5, 3, &[0; 45], format, range).unwrap();
            assert!(frame.plane(0).iter().all(|&y| y == black), "{format:?} {range:?}");
            assert!(frame.plane(1).iter().chain(frame.plane(2)).all(|&c| c == 128));
            let frame = Frame::from_rgb(5, 3, &[255; 45], format, range).unwrap();
            assert!(frame.plane(0).iter().all(|&y| y == white), "{format:?} {range:?}");
        }
    }
}

#[test]
fn pure_red_is_red_and_not_blue() {
    let red = [255, 0, 0].repeat(16);
    let frame = Frame::from_rgb(4, 4, &red, PixelFormat::Yuv420, ColourRange::Limited).unwrap();
    // BT.601 limited: (81, 90, 240).
    assert!(frame.plane(0)[0].abs_diff(81) <= 1);
    assert!(frame.plane(1)[0].abs_diff(90) <= 1);
    assert!(frame.plane(2)[0].abs_diff(240) <= 1);
}

#[test]
fn full_range_grey_is_untouched() {
    let ramp: Vec<u8> = (0..=255).collect();
    let frame = Frame::from_grey(&Pool::default(), 64, 4, 64, &ramp, ColourRange::Full).unwrap();
    let mut rgb = Vec::new();
    frame.to_rgb(&mut rgb);
    for (index, pixel) in rgb.chunks(3).enumerate() {
        assert_eq!(pixel, [index as u8; 3]);
    }
}

#[test]
fn yuyv_with_stride_and_odd_width() {
    // Width 3 needs two quads of four bytes; stride 10 leaves two bytes of padding.
    let raw = [
        1, 50, 2, 60, 3, 51, 99, 61, 255, 255, //
        4, 52, 5, 62, 6, 53, 99, 63,
    ];
    let frame = Frame::from_yuyv(&Pool::default(), 3, 2, 10, &raw, ColourRange::Limited).unwrap();
    assert_eq!(frame.plane(0), [1, 2, 3, 4, 5, 6]);
    assert_eq!(frame.plane(1), [50, 51, 52, 53]);
    assert_eq!(frame.plane(2), [60, 61, 62, 63]);
    let error =
        Frame::from_yuyv(&Pool::default(), 3, 2, 10, &raw[..17], ColourRange::Limited).unwrap_err();
    assert!(matches!(error, FrameError::Short { needed: 18, found: 17, .. }), "{error}");
    let error =
        Frame::from_yuyv(&Pool::default(), 3, 2, 6, &raw, ColourRange::Limited).unwrap_err();
    assert!(matches!(error, FrameError::Stride { needed: 8, stride: 6, .. }), "{error}");
}

#[test]
fn uyvy_is_yuyv_in_another_order() {
    let yuyv = noise(2 * 12, 3);
    let swapped: Vec<u8> = yuyv.as_chunks::<2>().0.iter().flat_map(|[a, b]| [*b, *a]).collect();
    let pool = Pool::default();
    let mine = Frame::from_uyvy(&pool, 5, 2, 12, &swapped, ColourRange::Limited).unwrap();
    let other = Frame::from_yuyv(&pool, 5, 2, 12, &yuyv, ColourRange::Limited).unwrap();
    assert_eq!(mine.data(), other.data());
}

#[test]
fn yu12_with_stride_and_odd_sides() {
    let raw = [
        1, 2, 3, 0, 0, //
        4, 5, 6, 0, 0, //
        7, 8, 9, 0, 0, //
        50, 51, 0, //
        52, 53, 0, //
        60, 61, 0, //
        62, 63,
    ];
    let frame = Frame::from_yu12(&Pool::default(), 3, 3, 5, &raw, ColourRange::Limited).unwrap();
    assert_eq!(frame.plane(0), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(frame.plane(1), [50, 51, 52, 53]);
    assert_eq!(frame.plane(2), [60, 61, 62, 63]);
    for cut in [0, 10, 15, 20, 25] {
        let error = Frame::from_yu12(&Pool::default(), 3, 3, 5, &raw[..cut], ColourRange::Limited)
            .unwrap_err();
        assert!(matches!(error, FrameError::Short { needed: 26, .. }), "{cut}: {error}");
    }
    let error =
        Frame::from_yu12(&Pool::default(), 3, 3, 2, &raw, ColourRange::Limited).unwrap_err();
    assert!(matches!(error, FrameError::Stride { .. }), "{error}");
}

#[test]
fn nv12_with_stride_and_odd_sides() {
    let raw = [
        1, 2, 3, 0, 0, //
        4, 5, 6, 0, 0, //
        7, 8, 9, 0, 0, //
        50, 60, 51, 61, 0, //
        52, 62, 53, 63,
    ];
    let frame = Frame::from_nv12(&Pool::default(), 3, 3, 5, &raw, ColourRange::Limited).unwrap();
    assert_eq!(frame.plane(0), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(frame.plane(1), [50, 51, 52, 53]);
    assert_eq!(frame.plane(2), [60, 61, 62, 63]);
    for cut in [0, 10, 15, 23] {
        let error = Frame::from_nv12(&Pool::default(), 3, 3, 5, &raw[..cut], ColourRange::Limited)
            .unwrap_err();
        assert!(matches!(error, FrameError::Short { .. }), "{cut}: {error}");
    }
}

#[test]
fn nv12_of_an_odd_width_without_gaps() {
    let raw = [1, 2, 3, 4, 5, 6, 50, 60, 51, 61];
    let frame = Frame::from_nv12(&Pool::default(), 3, 2, 3, &raw, ColourRange::Limited).unwrap();
    assert_eq!(frame.plane(0), [1, 2, 3, 4, 5, 6]);
    assert_eq!((frame.plane(1), frame.plane(2)), (&[50, 51][..], &[60, 61][..]));
    let cut = Frame::from_nv12(&Pool::default(), 3, 2, 3, &raw[..9], ColourRange::Limited);
    assert!(matches!(cut.unwrap_err(), FrameError::Short { .. }));
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 3) as u8, (y * 3) as u8, 90])
    });
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Jpeg).unwrap();
    bytes
}

#[test]
fn jpeg_whole_cut_and_broken() {
    let bytes = jpeg(64, 48);
    let frame = Frame::from_jpeg(&Pool::default(), &bytes).unwrap();
    assert_eq!((frame.width(), frame.height()), (64, 48));
    assert!(frame.data()[2].abs_diff(90) < 12);
    for cut in 0..bytes.len() {
        assert!(Frame::from_jpeg(&Pool::default(), &bytes[..cut]).is_err(), "cut at {cut}");
    }
    // A camera pads its buffer: bytes after the end do no harm.
    let mut padded = bytes.clone();
    padded.resize(bytes.len() + 500, 0);
    assert_eq!(Frame::from_jpeg(&Pool::default(), &padded).unwrap().data(), frame.data());
    // Any single flipped byte may spoil the picture but must not panic.
    for at in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 0x5a;
        let _ = Frame::from_jpeg(&Pool::default(), &broken);
    }
}

/// The decoder leaves out what it does not find.
#[test]
fn a_jpeg_that_ends_too_early_is_refused() {
    let bytes = jpeg(64, 48);
    let scan = 20 + bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    for at in (scan..bytes.len() - 2).filter(|at| bytes[at - 1] != 0xff) {
        // An empty comment, and the end.
        let broken = [&bytes[..at], &[0xff, 0xfe, 0, 2, 0xff, 0xd9]].concat();
        assert!(Frame::from_jpeg(&Pool::default(), &broken).is_err(), "cut at {at}");
    }
}

/// Phones append a video to a picture ("motion photo"); any bytes may stand in it.
#[test]
fn what_follows_the_end_of_a_jpeg_does_not_matter() {
    let bytes = jpeg(64, 48);
    let mut tail = noise(3000, 9);
    // The last start of a scan without an end after it, as in a picture that is cut.
    tail[1000..1002].copy_from_slice(&[0xff, 0xd9]);
    tail[2000..2002].copy_from_slice(&[0xff, 0xda]);
    assert!(tail[2000..].windows(2).all(|pair| pair != [0xff, 0xd9]));
    let long = [bytes.as_slice(), &tail].concat();
    let frame = Frame::from_jpeg(&Pool::default(), &long).unwrap();
    assert_eq!(frame.data(), Frame::from_jpeg(&Pool::default(), &bytes).unwrap().data());
}

#[test]
fn mjpeg_without_huffman_tables_is_read() {
    let bytes = jpeg(32, 32);
    // Drop every DHT segment (marker FFC4); the encoder writes the standard tables.
    let mut bare = bytes[..2].to_vec();
    let mut at = 2;
    while bytes[at + 1] != 0xda {
        let length = u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]) as usize + 2;
        if bytes[at + 1] != 0xc4 {
            bare.extend_from_slice(&bytes[at..at + length]);
        }
        at += length;
    }
    bare.extend_from_slice(&bytes[at..]);
    assert!(bare.len() < bytes.len());
    let frame = Frame::from_jpeg(&Pool::default(), &bare).unwrap();
    assert_eq!(frame.data(), Frame::from_jpeg(&Pool::default(), &bytes).unwrap().data());
}
