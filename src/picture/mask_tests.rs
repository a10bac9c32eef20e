use super::*;
use proptest::prelude::*;

fn rect(text: &str) -> Rect {
    text.parse().unwrap()
}

#[test]
fn white_is_hole_from_the_middle_up() {
    let mask = Mask::from_grey(4, 1, &[0, 127, 128, 255]).unwrap();
    assert_eq!(mask.data(), [KNOWN, KNOWN, HOLE, HOLE]);
    assert_eq!(mask.hole_ratio(), 0.5);
    assert!(Mask::from_grey(4, 2, &[0; 7]).is_err());
}

#[test]
fn what_is_written_or_sent_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.png");
    let mask = Mask::from_grey(3, 2, &[0, 255, 0, 0, 0, 255]).unwrap();
    mask.write(&path).unwrap();
    assert_eq!(Mask::read(&path).unwrap(), mask);
    let mut bytes = std::fs::read(&path).unwrap();
    assert_eq!(Mask::decode(&bytes, Path::new("sent")).unwrap(), mask);
    bytes.truncate(40);
    let error = Mask::decode(&bytes, Path::new("sent")).unwrap_err().to_string();
    assert!(error.starts_with("sent: "), "{error}");
}

/// Grey files are taken as they are: no level becomes another.
#[test]
fn every_grey_of_a_file_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.png");
    let levels: Vec<u8> = (0..=255).collect();
    crate::picture::io::write_grey_png(&path, 16, 16, &levels).unwrap();
    let mask = Mask::read(&path).unwrap();
    assert_eq!(mask, Mask::from_grey(16, 16, &levels).unwrap());
    let rgba: Vec<u8> = levels.iter().flat_map(|&level| [level, level, level, 255]).collect();
    assert_eq!(mask, Mask::from_rgba(16, 16, &rgba).unwrap());
}

#[test]
fn a_clone_is_written_apart() {
    let mask = Mask::empty(4, 3).unwrap();
    let mut other = mask.clone();
    other.set(1, 1, true);
    assert!(mask.is_empty() && !other.is_empty());
}

#[test]
fn stretching_brings_nothing_to_light() {
    let mask = Mask::from_grey(4, 2, &[0, 0, 0, 255, 0, 0, 0, 0]).unwrap();
    assert_eq!(mask.stretched(4, 2).unwrap(), mask);
    assert_eq!(mask.stretched(8, 4).unwrap().hole_pixels(), 4);
    // Three columns over four: the last covers a third of the column before the hole, too.
    assert_eq!(mask.stretched(3, 1).unwrap().data(), [KNOWN, KNOWN, HOLE]);
    assert_eq!(mask.stretched(1, 1).unwrap().data(), [HOLE]);
}

#[test]
fn pixels_and_percent() {
    let area = |x, y, width, height| PixelBox { x, y, width, height };
    assert_eq!(rect("rect:10,20,30,40").resolve(640, 480).unwrap(), area(10, 20, 30, 40));
    assert_eq!(rect("rect:10%,10%,20%,5%").resolve(1920, 1080).unwrap(), area(192, 108, 384, 54));
    assert_eq!(rect("rect:50%, 4, 50%, 6").resolve(100, 50).unwrap(), area(50, 4, 50, 6));
    // Percent edges go outwards: 10 % of 25 is 2.5.
    assert_eq!(rect("rect:10%,0,10%,1").resolve(25, 25).unwrap(), area(2, 0, 3, 1));
    assert_eq!(rect("rect:0,0,10%,1").resolve(25, 25).unwrap(), area(0, 0, 3, 1));
    // Cut to the frame.
    assert_eq!(rect("rect:630,470,100,100").resolve(640, 480).unwrap(), area(630, 470, 10, 10));
}

#[test]
fn rectangles_unite_and_empty_ones_are_refused() {
    let mask = Mask::from_rects(10, 10, &[rect("rect:0,0,4,4"), rect("rect:2,2,4,4")]).unwrap();
    assert_eq!(mask.hole_pixels(), 16 + 16 - 4);
    assert_eq!(mask.bounds(), Some(PixelBox { x: 0, y: 0, width: 6, height: 6 }));
    let error = Mask::from_rects(10, 10, &[rect("rect:10,0,4,4")]).unwrap_err();
    assert!(error.to_string().contains("rect:10,0,4,4"), "{error}");
    assert!(error.to_string().contains("10x10"), "{error}");
}

#[test]
fn wrong_rectangles_say_what_is_wrong() {
    for text in [
        "rect:",
        "rect:1,2,3",
        "rect:1,2,3,4,5",
        "rect:-1,2,3,4",
        "rect:a,2,3,4",
        "rect:1,2,0,4",
        "rect:1,2,3,0%",
        "rect:101%,2,3,4",
        "rect:NaN%,2,3,4",
        "rect:1.5,2,3,4",
        "",
    ] {
        let error = text.parse::<Rect>().unwrap_err();
        assert!(error.to_string().contains("rect:x,y,w,h"), "{text}: {error}");
    }
}

#[test]
fn a_mask_of_another_size_names_both() {
    let text = Mask::empty(64, 48).unwrap().fits(640, 480).unwrap_err().to_string();
    assert!(text.contains("64x48") && text.contains("640x480"), "{text}");
}

#[test]
fn alpha_counts_only_when_colour_says_nothing() {
    let mask = |pixels: &[[u8; 4]]| {
        let mask = Mask::from_rgba(pixels.len(), 1, pixels.as_flattened()).unwrap();
        mask.data().to_vec()
    };
    let [black, white] = [[0, 0, 0, 255], [255; 4]];
    let [clear_black, clear_white] = [[0; 4], [255, 255, 255, 0]];
    // Black and white are seen: the colours are the mask, whatever alpha is.
    let found = mask(&[black, white, clear_white, clear_black, [255, 255, 255, 9]]);
    assert_eq!(found, [KNOWN, HOLE, HOLE, KNOWN, HOLE]);
    // One shape is seen: it is the mask, whatever its colour is and what lies under nothing.
    for shape in [black, white, [255, 0, 0, 255], [255, 255, 0, 255], [0, 0, 0, 30]] {
        for clear in [clear_black, clear_white, [90, 200, 7, 0]] {
            assert_eq!(mask(&[shape, clear]), [HOLE, KNOWN], "{shape:?} on {clear:?}");
        }
    }
    // Two dark brushes, and the faint rim of one, whose colour was rounded to a light one.
    let found = mask(&[[255, 0, 0, 255], [0, 0, 255, 255], [255, 255, 255, 2], clear_black]);
    assert_eq!(found, [HOLE, HOLE, HOLE, KNOWN]);
    // Alpha is the same everywhere: the colours again.
    assert_eq!(mask(&[white, white]), [HOLE, HOLE]);
    assert_eq!(mask(&[black, black]), [KNOWN, KNOWN]);
    assert_eq!(mask(&[clear_black, clear_black]), [KNOWN, KNOWN]);
}

proptest! {
    #[test]
    fn any_text_parses_or_errs(text in "(rect:)?[-0-9%,. a-z]{0,24}") {
        if let Ok(rect) = text.parse::<Rect>() {
            prop_assert_eq!(rect.to_string().parse::<Rect>().unwrap(), rect);
            if let Ok(area) = rect.resolve(320, 240) {
                prop_assert!(area.right() <= 320 && area.bottom() <= 240 && area.area() > 0);
            }
        }
    }
}

#[test]
fn depths_are_steps_to_known_pixels() {
    let mask = Mask::from_grey(4, 2, &[0, 255, 255, 255, 255, 255, 255, 255]).unwrap();
    assert_eq!(mask.depths(), [0, 1, 2, 3, 1, 2, 3, 4]);
}

#[test]
fn labels_are_no_mask() {
    for (shades, brightest) in [([0, 1, 0, 0], 1), ([127, 3, 0, 0], 127)] {
        let dark = MaskError::Dark { brightest, width: 2, height: 2 };
        assert_eq!(Mask::from_shades(2, 2, &shades), Err(dark));
    }
    assert!(Mask::from_shades(2, 2, &[0; 4]).unwrap().is_empty());
    // A few labels beside white.
    assert_eq!(Mask::from_shades(2, 2, &[0, 1, 255, 2]).unwrap().hole_pixels(), 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.png");
    let picture = crate::picture::RgbPicture::new(2, 2, vec![1; 12]).unwrap();
    crate::picture::write_png(&path, &picture).unwrap();
    let error = Mask::read(&path).unwrap_err().to_string();
    assert!(error.contains("labels.png") && error.contains("level is 1 of 255"), "{error}");
    // What is black only once it is rounded.
    type Rgb = image::ImageBuffer<image::Rgb<u8>, Vec<u8>>;
    type Grey16 = image::ImageBuffer<image::Luma<u16>, Vec<u16>>;
    type GreyAlpha16 = image::ImageBuffer<image::LumaA<u16>, Vec<u16>>;
    let labels = |label: u16| -> [DynamicImage; 3] {
        let colours = [0, 0, label as u8, 0, 0, 0].into();
        [
            Rgb::from_vec(2, 1, colours).unwrap().into(),
            Grey16::from_vec(2, 1, vec![label, 0]).unwrap().into(),
            GreyAlpha16::from_vec(2, 1, vec![label, 65535, 0, 65535]).unwrap().into(),
        ]
    };
    for (labels, black) in labels(1).into_iter().zip(labels(0)) {
        labels.save(&path).unwrap();
        let error = Mask::read(&path).unwrap_err().to_string();
        assert!(error.contains("no white"), "{error}");
        black.save(&path).unwrap();
        assert!(Mask::read(&path).unwrap().is_empty());
    }
}
