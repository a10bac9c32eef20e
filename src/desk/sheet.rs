//! Contact sheets: rows of pictures side by side, as one picture.
//!
//! A row is usually the input with its hole shown, what each filler made of it, and the original.
//! There are no captions (no font is carried for them): whoever shows a sheet names its columns.

use crate::picture::{KNOWN, Mask, MaskError, PictureError, RgbPicture};

/// Holes are shown in this colour, which photographs hardly have.
pub const HOLE_COLOUR: [u8; 3] = [255, 0, 200];
/// Between pictures and around the sheet.
const BACKGROUND: [u8; 3] = [255, 255, 255];
/// Usual width of the gaps, pixels.
pub const GAP: usize = 4;

/// `picture` with its holes in `colour`.
pub fn painted(
    picture: &RgbPicture,
    mask: &Mask,
    colour: [u8; 3],
) -> Result<RgbPicture, MaskError> {
    mask.fits(picture.width, picture.height)?;
    let mut shown = picture.clone();
    for (pixel, &hole) in shown.data.chunks_exact_mut(3).zip(mask.data()) {
        if hole != KNOWN {
            pixel.copy_from_slice(&colour);
        }
    }
    Ok(shown)
}

/// A picture from `[3, height, width]` planes in `0.0..=1.0` (what is outside is clamped, NaN
/// becomes black): one item of a training batch.
pub fn from_planes(
    planes: &[f32],
    width: usize,
    height: usize,
) -> Result<RgbPicture, PictureError> {
    let plane = width * height;
    let mut data = Vec::with_capacity(3 * plane);
    // Too few values give too few bytes, which `new` refuses with their number.
    if planes.len() >= 3 * plane {
        for at in 0..plane {
            for channel in 0..3 {
                data.push((planes[channel * plane + at].clamp(0.0, 1.0) * 255.0).round() as u8);
            }
        }
    }
    RgbPicture::new(width, height, data)
}

/// The reverse: `[3, height, width]` planes in `0.0..=1.0`.
pub fn to_planes(picture: &RgbPicture) -> Vec<f32> {
    let channel = |channel: usize| {
        picture.data.chunks_exact(3).map(move |pixel| f32::from(pixel[channel]) / 255.0)
    };
    (0..3).flat_map(channel).collect()
}

/// A mask as a plane: 1 where the picture is known, 0 in holes.
pub fn known_plane(mask: &Mask) -> Vec<f32> {
    mask.data().iter().map(|&hole| f32::from(u8::from(hole == KNOWN))).collect()
}

/// Gives `filled` the known pixels of `original`: the composite that is judged. All three have
/// the same size.
pub fn keep_known(filled: &mut RgbPicture, original: &RgbPicture, mask: &Mask) {
    let originals = original.data.chunks_exact(3);
    for ((pixel, original), &hole) in
        filled.data.chunks_exact_mut(3).zip(originals).zip(mask.data())
    {
        if hole == KNOWN {
            pixel.copy_from_slice(original);
        }
    }
}

/// Lays out `rows` with `gap` pixels between and around pictures. Pictures of different sizes
/// are centred in cells as large as the largest. No picture at all is an error.
pub fn contact_sheet(rows: &[Vec<RgbPicture>], gap: usize) -> Result<RgbPicture, PictureError> {
    let all = || rows.iter().flatten();
    let cell_width = all().map(|picture| picture.width).max().unwrap_or(0);
    let cell_height = all().map(|picture| picture.height).max().unwrap_or(0);
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    if columns == 0 {
        return RgbPicture::new(0, 0, Vec::new());
    }
    let width = gap + columns * (cell_width + gap);
    let height = gap + rows.len() * (cell_height + gap);
    let data = BACKGROUND.repeat(width * height);
    let mut sheet = RgbPicture::new(width, height, data)?;
    for (down, row) in rows.iter().enumerate() {
        for (across, picture) in row.iter().enumerate() {
            let left = gap + across * (cell_width + gap) + (cell_width - picture.width) / 2;
            let top = gap + down * (cell_height + gap) + (cell_height - picture.height) / 2;
            for (y, line) in picture.data.chunks_exact(3 * picture.width).enumerate() {
                let at = 3 * ((top + y) * width + left);
                sheet.data[at..at + line.len()].copy_from_slice(line);
            }
        }
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(width: usize, height: usize, value: u8) -> RgbPicture {
        RgbPicture::new(width, height, vec![value; 3 * width * height]).unwrap()
    }

    #[test]
    fn pictures_lie_in_their_cells() {
        let rows = [vec![flat(4, 2, 10), flat(2, 2, 20)], vec![flat(4, 2, 30)]];
        let sheet = contact_sheet(&rows, 1).unwrap();
        assert_eq!((sheet.width, sheet.height), (11, 7));
        let red = |y: usize| -> Vec<u8> {
            sheet.data.chunks_exact(3).skip(11 * y).take(11).map(|pixel| pixel[0]).collect()
        };
        let gap = vec![255; 11];
        assert_eq!([red(0), red(3), red(6)], [gap.clone(), gap.clone(), gap]);
        // The narrow picture is centred in its cell of four.
        assert_eq!(red(1), [255, 10, 10, 10, 10, 255, 255, 20, 20, 255, 255]);
        assert_eq!(red(2), red(1));
        assert_eq!(red(4), [255, 30, 30, 30, 30, 255, 255, 255, 255, 255, 255]);
        assert!(contact_sheet(&[], 1).is_err() && contact_sheet(&[vec![]], 1).is_err());
    }

    #[test]
    fn holes_are_painted() {
        let mask = Mask::from_grey(2, 1, &[0, 255]).unwrap();
        let shown = painted(&flat(2, 1, 9), &mask, HOLE_COLOUR).unwrap();
        assert_eq!(shown.data, [9, 9, 9, 255, 0, 200]);
        assert!(painted(&flat(1, 2, 9), &mask, HOLE_COLOUR).is_err());
    }

    #[test]
    fn composites_keep_what_is_known() {
        let mask = Mask::from_grey(2, 1, &[0, 255]).unwrap();
        let mut filled = flat(2, 1, 7);
        keep_known(&mut filled, &flat(2, 1, 9), &mask);
        assert_eq!(filled.data, [9, 9, 9, 7, 7, 7]);
        assert_eq!(known_plane(&mask), [1.0, 0.0]);
    }

    #[test]
    fn planes_become_pixels() {
        let planes = [0.0, 1.0, 0.5, 2.0, -1.0, f32::NAN];
        assert_eq!(from_planes(&planes, 2, 1).unwrap().data, [0, 128, 0, 255, 255, 0]);
        assert!(from_planes(&planes, 2, 2).is_err());
        let picture = RgbPicture::new(2, 1, vec![0, 51, 102, 153, 204, 255]).unwrap();
        assert_eq!(to_planes(&picture), [0.0, 0.6, 0.2, 0.8, 0.4, 1.0]);
        assert_eq!(from_planes(&to_planes(&picture), 2, 1).unwrap().data, picture.data);
    }
}
