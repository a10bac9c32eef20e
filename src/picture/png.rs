//! Whether a PNG is undamaged, before it is decoded, and what of it is worth decoding.
//!
//! Its decoder leaves chunks out whose checksum is wrong unless they are critical. But those say what is
//! transparent, which may be all that a mask consists of, and which way a picture lies: so every checksum
//! is compared first (PNG, 5.3). And it inflates a colour profile, which a few bytes may make huge.

/// What a PNG begins with has so many bytes.
const SIGNATURE: usize = 8;
/// Of [`checksum`], its bits turned round (PNG, 5.5).
const POLYNOMIAL: u32 = 0xedb8_8320;
/// What a byte becomes that so many others follow.
static TABLES: [[u32; 256]; 8] = tables();

/// Compares all checksums up to the end.
///
/// # Errors
/// What is wrong with it.
pub(super) fn look_through(bytes: &[u8]) -> Result<(), &'static str> {
    walk(bytes, |_, _| {})
}

/// As [`look_through`]; the same PNG with nothing in it but pixels, transparency and which way it lies.
pub(super) fn pixels_alone(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut kept = bytes[..bytes.len().min(SIGNATURE)].to_vec();
    walk(bytes, |kind, chunk| {
        let is_critical = kind[0].is_ascii_uppercase();
        if is_critical || matches!(kind, b"tRNS" | b"eXIf") {
            kept.extend_from_slice(chunk);
        }
    })?;
    Ok(kept)
}

/// Width and height that the header states; `None` where there is none.
pub(super) fn stated_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let (kind, header) = bytes.get(SIGNATURE + 4..)?.split_first_chunk::<4>()?;
    let (&width, header) = header.split_first_chunk::<4>()?;
    let (&height, _) = header.split_first_chunk::<4>()?;
    (kind == b"IHDR").then_some((u32::from_be_bytes(width), u32::from_be_bytes(height)))
}

/// Shows `visit` the kind of one sound chunk after the other, and all of it.
fn walk(bytes: &[u8], mut visit: impl FnMut(&[u8; 4], &[u8])) -> Result<(), &'static str> {
    let mut rest = bytes.get(SIGNATURE..).unwrap_or(&[]);
    loop {
        let (checked, stated, after) = split(rest).ok_or("its end is missing")?;
        if checksum(checked) != stated {
            return Err("a checksum in it is wrong");
        }
        let (kind, _) = checked.split_first_chunk().ok_or("its end is missing")?;
        visit(kind, &rest[..rest.len() - after.len()]);
        if kind == b"IEND" {
            return Ok(());
        }
        rest = after;
    }
}

/// Of the first chunk its kind and content, and the checksum of both; and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let (&length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let (checked, rest) = rest.split_at_checked(length.checked_add(4)?)?;
    let (&stated, after) = rest.split_first_chunk::<4>()?;
    Some((checked, u32::from_be_bytes(stated), after))
}

/// CRC-32 (PNG, annex D), eight bytes at a time.
fn checksum(bytes: &[u8]) -> u32 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let step = |crc: u32, eight: &[u8; 8]| {
        let mixed = (u64::from_le_bytes(*eight) ^ u64::from(crc)).to_le_bytes();
        let places = mixed.iter().zip(TABLES.iter().rev());
        places.fold(0, |crc, (&byte, table)| crc ^ table[usize::from(byte)])
    };
    let last = |crc: u32, &byte: &u8| (crc >> 8) ^ TABLES[0][usize::from(crc as u8 ^ byte)];
    !rest.iter().fold(eights.iter().fold(u32::MAX, step), last)
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut at = 256;
    while at < 8 * 256 {
        let before = tables[at / 256 - 1][at % 256];
        tables[at / 256][at % 256] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
        at += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::picture::{Mask, PictureError, read_rgb};

    type Chunk = (&'static [u8; 4], &'static [u8]);

    const HEADER: Chunk = (b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 8, 3, 0, 0, 0]);
    /// A colour profile that is no profile, and a text.
    const ASIDES: [Chunk; 2] = [(b"iCCP", b"x\0\0y"), (b"tEXt", b"x\0y")];
    /// Two colours, both black.
    const PALETTE: Chunk = (b"PLTE", &[0; 6]);
    /// The first of them is not seen.
    const CLEAR: Chunk = (b"tRNS", &[0, 255]);
    /// To be turned by 90 degrees clockwise.
    const TURNED: Chunk =
        (b"eXIf", b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0");
    /// The second colour, and beside it the first.
    const PIXELS: Chunk = (b"IDAT", &[0x78, 1, 1, 3, 0, 0xfc, 0xff, 0, 1, 0, 0, 5, 0, 2]);
    const END: Chunk = (b"IEND", &[]);

    fn png(chunks: &[Chunk]) -> Vec<u8> {
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, content) in chunks {
            let checked = [kind.as_slice(), content].concat();
            png.extend((content.len() as u32).to_be_bytes());
            png.extend(&checked);
            png.extend(checksum(&checked).to_be_bytes());
        }
        png
    }

    #[test]
    fn checksums_are_as_published() {
        for (bytes, crc) in [
            (b"".as_slice(), 0),
            (b"IEND", 0xae42_6082),
            (b"123456789", 0xcbf4_3926),
            (&[0xff; 32], 0xff6c_ab0b),
            (&std::array::from_fn::<u8, 256, _>(|at| at as u8), 0x2905_8c73),
        ] {
            assert_eq!(checksum(bytes), crc, "{bytes:?}");
        }
    }

    /// Without its transparency or its turn it would be another mask.
    #[test]
    fn every_flipped_bit_is_found() {
        let whole = png(&[HEADER, PALETTE, CLEAR, TURNED, PIXELS, END]);
        let decode = |bytes: &[u8]| Mask::decode(bytes, Path::new("it"));
        assert_eq!(decode(&whole).unwrap(), Mask::from_grey(1, 2, &[255, 0]).unwrap());
        for at in 0..8 * whole.len() {
            let mut flipped = whole.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(decode(&flipped).is_err(), "bit {} of byte {}", at % 8, at / 8);
        }
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length} bytes");
        }
        // What follows the end is not looked at.
        assert!(decode(&[whole, vec![7; 9]].concat()).is_ok());
    }

    #[test]
    fn a_damaged_picture_is_refused_with_the_mend() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut picture = png(&[HEADER, PALETTE, TURNED, PIXELS, END]);
        std::fs::write(file.path(), &picture).unwrap();
        let upright = read_rgb(file.path()).unwrap();
        assert_eq!((upright.width, upright.height), (1, 2));
        let at = picture.windows(4).position(|kind| kind == b"eXIf").unwrap();
        picture[at + 4] ^= 1;
        std::fs::write(file.path(), &picture).unwrap();
        let error = read_rgb(file.path()).unwrap_err();
        assert!(matches!(error, PictureError::Damaged { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains("checksum") && error.contains("; fetch or write"), "{error}");
    }

    #[test]
    fn a_mask_is_decoded_without_profile_and_text() {
        let [profile, text] = ASIDES;
        let whole = png(&[HEADER, profile, PALETTE, CLEAR, text, TURNED, PIXELS, text, END]);
        let plain = png(&[HEADER, PALETTE, CLEAR, TURNED, PIXELS, END]);
        assert!(pixels_alone(&whole).unwrap() == plain);
        assert_eq!(stated_size(&whole[..24]), Some((2, 1)));
        assert_eq!(stated_size(&whole[..23]), None);
        assert_eq!(stated_size(&png(&[PALETTE, HEADER])), None);
    }
}
