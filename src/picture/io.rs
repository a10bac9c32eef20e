//! Pictures on disk: read with limits, written whole or not at all.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Cursor, ErrorKind, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::error::{ImageError, LimitErrorKind};
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Rgba,
    RgbaImage,
};

use super::{
    ColourRange, DECODE_PIXEL, Frame, FrameError, MAX_DECODE_BYTES, MAX_SIDE, PictureError,
    PixelFormat, jpeg, png,
};
use crate::file::{FileError, aside, check_place, is_hidden, place, write_atomically};

/// JPEG quality of written pictures: little visible loss, a tenth of a PNG's size.
const JPEG_QUALITY: u8 = 92;
/// Where an ICC profile names the kind of colours it is for.
const PROFILE_SPACE: Range<usize> = 16..20;

/// Far more than a camera's picture has. Whoever reaches the page may paint a mask; a black one of any
/// size is a small file, and takes much memory once it is decoded.
pub(crate) const MOST_PAINTED_PIXELS: usize = 1 << 24;
/// The most memory that a mask takes while it is decoded which somebody sends.
const MOST_SENT_BYTES: u64 = MOST_PAINTED_PIXELS as u64 * DECODE_PIXEL;

/// Whether a file's name is that of a picture that can be read here, and not hidden.
pub fn is_picture_name(path: &Path) -> bool {
    const ENDINGS: [&str; 11] =
        ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "pgm", "ppm", "pnm"];
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    !is_hidden(path) && ENDINGS.contains(&ending.as_str())
}

/// A picture from disk, packed RGB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbPicture {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

impl RgbPicture {
    /// Takes packed RGB of the stated size.
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Result<RgbPicture, PictureError> {
        let picture = RgbPicture { width, height, data };
        picture.check().map(|()| picture)
    }

    pub fn from_frame(frame: &Frame) -> Result<RgbPicture, PictureError> {
        let mut data = Vec::new();
        frame.to_rgb(&mut data);
        RgbPicture::new(frame.width(), frame.height(), data)
    }

    pub fn into_frame(self) -> Result<Frame, FrameError> {
        Frame::new(self.width, self.height, PixelFormat::Rgb8, ColourRange::Full, self.data)
    }

    fn check(&self) -> Result<(), PictureError> {
        let (width, height, found) = (self.width, self.height, self.data.len());
        super::frame::check_side(width, height)?;
        let needed = width * height * 3;
        if found != needed {
            return Err(PictureError::Short { width, height, needed, found });
        }
        Ok(())
    }
}

/// A picture file.
#[derive(Debug)]
pub struct PictureFile {
    pub picture: RgbPicture,
    /// The ICC profile that says which colours the bytes mean, where there is one for RGB: for
    /// [`write_picture_with_profile`].
    pub profile: Option<Vec<u8>>,
    /// What of the file's colours is not in `picture`, for people.
    pub lost: Option<&'static str>,
}

/// Reads any picture format lbam knows, turned upright as its EXIF says. What is transparent is
/// white, as on paper.
pub fn read_rgb(path: &Path) -> Result<RgbPicture, PictureError> {
    Ok(read_picture(path)?.picture)
}

/// As [`read_rgb`], with what a program needs that writes the picture again. Nothing else goes along:
/// in EXIF lies a small copy of the picture, which would show what is to be hidden.
pub fn read_picture(path: &Path) -> Result<PictureFile, PictureError> {
    let (picture, profile) = decode(open_file(path)?, path, MAX_DECODE_BYTES, Use::Picture)?;
    let colour = picture.color();
    let is_deep = colour.bytes_per_pixel() > colour.channel_count();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (data, is_transparent) = match colour.has_alpha() {
        false => (picture.into_rgb8().into_raw(), false),
        true => over_white(&picture.into_rgba8()),
    };
    let lost = match (is_deep, is_transparent) {
        (false, false) => None,
        (true, false) => Some("colours of more than 8 bits"),
        (false, true) => Some("transparency (white stands for it)"),
        (true, true) => Some("colours of more than 8 bits and transparency (white stands for it)"),
    };
    Ok(PictureFile { picture: RgbPicture { width, height, data }, profile, lost })
}

/// A picture on white paper, and whether that shows anywhere. Without the paper, what somebody erased
/// would come back: many programs keep the colours below.
fn over_white(picture: &RgbaImage) -> (Vec<u8>, bool) {
    let mut is_transparent = false;
    let mut data = Vec::with_capacity(picture.len() / 4 * 3);
    for &Rgba([r, g, b, alpha]) in picture.pixels() {
        is_transparent |= alpha < u8::MAX;
        let paper = u32::from(u8::MAX - alpha) * 255;
        data.extend(
            [r, g, b].map(|c| ((u32::from(c) * u32::from(alpha) + paper + 127) / 255) as u8),
        );
    }
    (data, is_transparent)
}

/// A mask picture in the colours it has.
pub(super) fn read_any(path: &Path) -> Result<DynamicImage, PictureError> {
    Ok(decode(open_file(path)?, path, MAX_DECODE_BYTES, Use::Mask)?.0)
}

/// As [`read_any`], of what somebody sends, in less memory; errors call it `name`.
pub(super) fn decode_any(bytes: &[u8], name: &Path) -> Result<DynamicImage, PictureError> {
    Ok(decode(Cursor::new(bytes), name, MOST_SENT_BYTES, Use::Mask)?.0)
}

/// Width and height of a picture on disk as its header states them. It is not decoded.
pub(crate) fn read_size(path: &Path) -> Result<(usize, usize), PictureError> {
    size(open_file(path)?, path)
}

/// As [`read_size`], of what a file would hold; errors call it `name`.
pub(crate) fn decode_size(bytes: &[u8], name: &Path) -> Result<(usize, usize), PictureError> {
    size(Cursor::new(bytes), name)
}

fn size(mut input: impl BufRead + Seek, path: &Path) -> Result<(usize, usize), PictureError> {
    let read = |source| PictureError::Read { path: path.into(), source };
    // A JPEG's decoder reads it whole even for that.
    if input.seek(SeekFrom::End(0)).map_err(read)? > MAX_DECODE_BYTES {
        return Err(PictureError::TooLarge { path: path.into() });
    }
    input.rewind().map_err(read)?;
    let mut reader = ImageReader::new(input).with_guessed_format().map_err(read)?;
    if reader.format() == Some(ImageFormat::Png) {
        // Its decoder inflates a colour profile even for that.
        let mut input = reader.into_inner();
        let stated = png::stated_size(input.fill_buf().map_err(read)?);
        let (width, height) = stated.ok_or_else(|| damaged(path, "its header is missing"))?;
        limits().check_dimensions(width, height).map_err(|error| wrong(path, error))?;
        return Ok((width as usize, height as usize));
    }
    reader.limits(limits());
    let (width, height) = reader.into_dimensions().map_err(|error| wrong(path, error))?;
    Ok((width as usize, height as usize))
}

fn open_file(path: &Path) -> Result<BufReader<File>, PictureError> {
    let read = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => PictureError::Absent { path: path.into() },
        _ => PictureError::Read { path: path.into(), source },
    };
    // Before it is opened: a pipe would have that wait for ever.
    if !path.metadata().map_err(read)?.is_file() {
        return Err(PictureError::NotAPicture {
            path: path.into(),
            reason: "it is not a regular file".into(),
        });
    }
    Ok(BufReader::new(File::open(path).map_err(read)?))
}

pub(super) fn limits() -> image::Limits {
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    limits
}

/// What a picture is decoded for.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Picture,
    /// Colour profiles and texts are of no use to it.
    Mask,
}

/// A picture that takes `most` bytes of memory meanwhile, and its ICC profile if that is one for RGB.
fn decode(
    input: impl BufRead + Seek,
    path: &Path,
    most: u64,
    usage: Use,
) -> Result<(DynamicImage, Option<Vec<u8>>), PictureError> {
    let read = |source| PictureError::Read { path: path.into(), source };
    // The content decides, not the name: cameras and browsers misname.
    let reader = ImageReader::new(input).with_guessed_format().map_err(read)?;
    let Some(format) = reader.format() else {
        return Err(PictureError::NotAPicture {
            path: path.into(),
            reason: "its first bytes belong to no known format".into(),
        });
    };
    let mut input = reader.into_inner();
    let flawed = |flaw| damaged(path, flaw);
    match format {
        ImageFormat::Jpeg => {
            jpeg::look_through(&whole(&mut input, path)?).map_err(flawed)?;
        }
        ImageFormat::Png if usage == Use::Mask => {
            let bytes = png::pixels_alone(&whole(&mut input, path)?).map_err(flawed)?;
            return decode_as(format, Cursor::new(bytes), path, most);
        }
        ImageFormat::Png => png::look_through(&whole(&mut input, path)?).map_err(flawed)?,
        _ => {}
    }
    decode_as(format, input, path, most)
}

/// All of an input, which stands at its beginning again.
fn whole(input: &mut (impl BufRead + Seek), path: &Path) -> Result<Vec<u8>, PictureError> {
    let read = |source| PictureError::Read { path: path.into(), source };
    if input.seek(SeekFrom::End(0)).map_err(read)? > MAX_DECODE_BYTES {
        return Err(PictureError::TooLarge { path: path.into() });
    }
    input.rewind().map_err(read)?;
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(read)?;
    input.rewind().map_err(read)?;
    Ok(bytes)
}

/// As [`decode`], of what was looked through.
fn decode_as(
    format: ImageFormat,
    input: impl BufRead + Seek,
    path: &Path,
    most: u64,
) -> Result<(DynamicImage, Option<Vec<u8>>), PictureError> {
    let mut reader = ImageReader::with_format(input, format);
    let mut limits = limits();
    limits.max_alloc = Some(most);
    reader.limits(limits);
    let wrong = |error: ImageError| wrong(path, error);
    let mut decoder = reader.into_decoder().map_err(wrong)?;
    let (width, height) = decoder.dimensions();
    // Turning it makes a copy, of deep colours too.
    let pixel = DECODE_PIXEL.max(2 * u64::from(decoder.color_type().bytes_per_pixel()));
    let pixels = u64::from(width) * u64::from(height);
    if pixels.saturating_mul(pixel) > most {
        return Err(PictureError::TooLarge { path: path.into() });
    }
    // Not every format has one; a picture without is upright.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    // Grey and CMYK become RGB, which their own profiles do not describe.
    let for_rgb = |icc: &Vec<u8>| icc.get(PROFILE_SPACE) == Some(b"RGB ".as_slice());
    let profile = decoder.icc_profile().ok().flatten().filter(for_rgb);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(wrong)?;
    picture.apply_orientation(orientation);
    if picture.width() == 0 || picture.height() == 0 {
        return Err(damaged(path, "it has no pixels"));
    }
    Ok((picture, profile))
}

fn damaged(path: &Path, flaw: &str) -> PictureError {
    PictureError::Damaged { path: path.into(), reason: flaw.into() }
}

fn wrong(path: &Path, error: ImageError) -> PictureError {
    let path = PathBuf::from(path);
    match error {
        ImageError::Limits(limit)
            if matches!(
                limit.kind(),
                LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory
            ) =>
        {
            PictureError::TooLarge { path }
        }
        ImageError::Unsupported(error) => {
            PictureError::NotAPicture { path, reason: error.to_string() }
        }
        other => PictureError::Damaged { path, reason: other.to_string() },
    }
}

/// That [`write_picture`] can write there: to be asked before the work whose result it takes.
pub fn check_picture_place(path: &Path) -> Result<(), PictureError> {
    kind(path)?;
    check_place(path).map_err(|error| failed(path, &error))
}

/// Whether a path names a JPEG; else it names a PNG.
fn kind(path: &Path) -> Result<ImageFormat, PictureError> {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("png") => Ok(ImageFormat::Png),
        Some("jpg" | "jpeg") => Ok(ImageFormat::Jpeg),
        _ => Err(PictureError::Extension { path: path.into() }),
    }
}

/// A file that cannot be written.
fn failed(path: &Path, error: &FileError) -> PictureError {
    let reason = match error {
        FileError::Write { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    PictureError::Write { path: path.into(), reason }
}

/// Writes PNG or JPEG by the path's extension, atomically.
pub fn write_picture(path: &Path, picture: &RgbPicture) -> Result<(), PictureError> {
    write_picture_with_profile(path, picture, None)
}

/// As [`write_picture`], with the ICC profile that [`read_picture`] gave.
pub fn write_picture_with_profile(
    path: &Path,
    picture: &RgbPicture,
    profile: Option<Vec<u8>>,
) -> Result<(), PictureError> {
    match kind(path)? {
        ImageFormat::Jpeg => write_jpeg_of(path, picture, profile),
        _ => write_png_of(path, picture, profile),
    }
}

/// Writes a PNG atomically.
pub fn write_png(path: &Path, picture: &RgbPicture) -> Result<(), PictureError> {
    write_png_of(path, picture, None)
}

fn write_png_of(
    path: &Path,
    picture: &RgbPicture,
    profile: Option<Vec<u8>>,
) -> Result<(), PictureError> {
    picture.check()?;
    write_whole(path, |file| encode_rgb(PngEncoder::new(file), picture, profile))
}

/// Writes a PNG of one byte a pixel, which must be as many as the size says, so that it outlasts a power
/// cut as soon as this has returned.
pub(crate) fn write_grey_png(
    path: &Path,
    width: usize,
    height: usize,
    data: &[u8],
) -> Result<(), PictureError> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(data, width as u32, height as u32, ExtendedColorType::L8)
        .map_err(|error| PictureError::Write { path: path.into(), reason: error.to_string() })?;
    write_atomically(path, &png).map_err(|error| failed(path, &error))
}

fn write_jpeg_of(
    path: &Path,
    picture: &RgbPicture,
    profile: Option<Vec<u8>>,
) -> Result<(), PictureError> {
    picture.check()?;
    write_whole(path, |file| {
        encode_rgb(JpegEncoder::new_with_quality(file, JPEG_QUALITY), picture, profile)
    })
}

fn encode_rgb(
    mut encoder: impl ImageEncoder,
    picture: &RgbPicture,
    profile: Option<Vec<u8>>,
) -> Result<(), ImageError> {
    if let Some(profile) = profile {
        encoder.set_icc_profile(profile).map_err(ImageError::Unsupported)?;
    }
    let (width, height) = (picture.width as u32, picture.height as u32);
    encoder.write_image(&picture.data, width, height, ExtendedColorType::Rgb8)
}

/// A reader never sees half a picture, and a power cut leaves the old one or the new one.
fn write_whole(
    path: &Path,
    encode: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), ImageError>,
) -> Result<(), PictureError> {
    let failed = |reason: String| PictureError::Write { path: path.into(), reason };
    let place = place(path);
    let mut file = aside(&place).map_err(|e| failed(e.to_string()))?;
    let mut writer = BufWriter::new(file.as_file_mut());
    encode(&mut writer).map_err(|e| failed(e.to_string()))?;
    writer.flush().map_err(|e| failed(e.to_string()))?;
    drop(writer);
    file.as_file().sync_all().map_err(|e| failed(e.to_string()))?;
    file.persist(&place).map_err(|e| failed(e.error.to_string()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> RgbPicture {
        let pixel = |i: usize| [(i % width) as u8, (i / width) as u8, 7];
        RgbPicture::new(width, height, (0..width * height).flat_map(pixel).collect()).unwrap()
    }

    #[test]
    fn png_comes_back_exactly_and_jpeg_nearly() {
        let folder = tempfile::tempdir().unwrap();
        let picture = ramp(33, 17);
        let png = folder.path().join("a.png");
        write_picture(&png, &picture).unwrap();
        assert_eq!(read_rgb(&png).unwrap(), picture);
        let jpeg = folder.path().join("a.JPG");
        write_picture(&jpeg, &picture).unwrap();
        let back = read_rgb(&jpeg).unwrap();
        assert_eq!((back.width, back.height), (33, 17));
        let worst = back.data.iter().zip(&picture.data).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst < Some(30), "{worst:?}");
        // Nothing temporary is left behind.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn each_failure_has_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(matches!(read_rgb(&at("none.png")), Err(PictureError::Absent { .. })));
        std::fs::write(at("text.png"), "not a picture at all").unwrap();
        assert!(matches!(read_rgb(&at("text.png")), Err(PictureError::NotAPicture { .. })));
        assert!(matches!(read_rgb(folder.path()), Err(PictureError::NotAPicture { .. })));
        for name in ["cut.png", "cut.jpg"] {
            write_picture(&at(name), &ramp(64, 64)).unwrap();
            let bytes = std::fs::read(at(name)).unwrap();
            std::fs::write(at(name), &bytes[..bytes.len() - 20]).unwrap();
            let error = read_rgb(&at(name)).unwrap_err();
            assert!(matches!(error, PictureError::Damaged { .. }), "{name}: {error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        let error = write_picture(&at("a.tga"), &ramp(2, 2)).unwrap_err();
        assert!(matches!(error, PictureError::Extension { .. }));
        let error = write_picture(&at("no/such/a.png"), &ramp(2, 2)).unwrap_err();
        assert!(matches!(error, PictureError::Write { .. }));
    }

    #[test]
    fn a_huge_picture_is_refused_before_its_memory_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.pgm");
        std::fs::write(&path, "P5 30000 30000 255\n").unwrap();
        let error = read_rgb(&path).unwrap_err();
        assert!(matches!(error, PictureError::TooLarge { .. }), "{error}");
    }

    /// What is made of the pixels counts, not what they take in the file.
    #[test]
    fn a_flat_picture_of_many_pixels_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flat.pgm");
        for (header, large) in [
            ("P5 16384 16384 255\n", true),
            ("P5 16384 8193 255\n", true),
            ("P5 16384 8192 255\n", false),
            ("P6 16384 8192 65535\n", true),
        ] {
            std::fs::write(&path, header).unwrap();
            let error = read_rgb(&path).unwrap_err();
            assert_eq!(matches!(error, PictureError::TooLarge { .. }), large, "{header}: {error}");
        }
    }

    /// Nothing of either is there but its header.
    #[test]
    fn a_mask_that_is_sent_has_less_memory() {
        let fits = |header: &[u8]| {
            let error = decode_any(header, Path::new("it")).unwrap_err();
            !matches!(error, PictureError::TooLarge { .. })
        };
        assert!(fits(b"P6 4096 4096 255\n"));
        assert!(!fits(b"P6 4096 4096 65535\n"));
        assert!(!fits(b"P6 4096 4097 255\n"));
    }

    #[test]
    fn colour_profiles_of_rgb_come_back() {
        // Longer than a segment of a JPEG.
        let profile = |space: &[u8]| {
            let mut profile = vec![7; 70_000];
            profile[PROFILE_SPACE].copy_from_slice(space);
            profile
        };
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "a.jpg"] {
            let path = folder.path().join(name);
            write_picture(&path, &ramp(33, 17)).unwrap();
            let PictureFile { picture: plain, profile: none, lost } = read_picture(&path).unwrap();
            assert_eq!((none, lost), (None, None), "{name}");
            let rgb = profile(b"RGB ");
            write_picture_with_profile(&path, &plain, Some(rgb.clone())).unwrap();
            let PictureFile { picture, profile: found, .. } = read_picture(&path).unwrap();
            assert!(found == Some(rgb), "{name}");
            if name == "a.png" {
                assert_eq!(picture, plain);
            }
            write_picture_with_profile(&path, &plain, Some(profile(b"CMYK"))).unwrap();
            assert_eq!(read_picture(&path).unwrap().profile, None, "{name}");
        }
    }

    /// What lies below transparent pixels was erased, and stays so.
    #[test]
    fn transparent_pixels_are_white_and_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let read = |picture: DynamicImage| {
            picture.save(&path).unwrap();
            let PictureFile { picture, lost, .. } = read_picture(&path).unwrap();
            (picture.data, lost.unwrap_or_default())
        };
        let pixels = [[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 255, 51], [10, 20, 30, 254]];
        let rgba = RgbaImage::from_raw(2, 2, pixels.concat()).unwrap();
        let (data, lost) = read(rgba.into());
        assert_eq!(data, [10, 20, 30, 255, 255, 255, 204, 224, 255, 11, 21, 31]);
        assert!(lost.starts_with("transparency"), "{lost}");
        let solid = RgbaImage::from_raw(1, 1, vec![10, 20, 30, 255]).unwrap();
        assert_eq!(read(solid.into()), (vec![10, 20, 30], ""));
        let deep = image::ImageBuffer::from_raw(1, 1, vec![0x1234_u16, 0xff00, 0, 0]).unwrap();
        let (data, lost) = read(DynamicImage::ImageRgba16(deep));
        assert_eq!(data, [255; 3]);
        assert!(lost.contains("8 bits and transparency"), "{lost}");
        let deep = image::ImageBuffer::from_raw(1, 1, vec![0x8080_u16]).unwrap();
        let (data, lost) = read(DynamicImage::ImageLuma16(deep));
        assert_eq!((data, lost), (vec![0x80; 3], "colours of more than 8 bits"));
    }

    #[test]
    fn a_header_tells_the_size_of_what_is_not_there() {
        let name = Path::new("it");
        assert_eq!(decode_size(b"P5 5000 4000 255\n", name).unwrap(), (5000, 4000));
        assert!(decode_size(b"no picture", name).is_err());
        let folder = tempfile::tempdir().unwrap();
        let png = folder.path().join("a.png");
        write_picture(&png, &ramp(33, 17)).unwrap();
        assert_eq!(read_size(&png).unwrap(), (33, 17));
        // A profile that may become huge follows here.
        let header = &std::fs::read(&png).unwrap()[..33];
        assert_eq!(decode_size(header, name).unwrap(), (33, 17));
        assert!(matches!(decode_size(&header[..20], name), Err(PictureError::Damaged { .. })));
        assert!(matches!(read_size(folder.path()), Err(PictureError::NotAPicture { .. })));
    }

    /// All of it but its beginning is a gap, which takes no room.
    #[test]
    fn a_huge_jpeg_is_refused_unread() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[0xff, 0xd8, 0xff, 0xe0]).unwrap();
        file.as_file().set_len(2 * MAX_DECODE_BYTES).unwrap();
        let error = read_rgb(file.path()).unwrap_err();
        assert!(matches!(error, PictureError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn exif_orientation_is_honoured() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turned.jpg");
        write_picture(&path, &ramp(40, 24)).unwrap();
        let plain = std::fs::read(&path).unwrap();
        // An EXIF segment with one entry: orientation (0x0112) = 6, turn 90 degrees clockwise.
        let mut tiff = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01".to_vec();
        tiff.extend_from_slice(&[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0]);
        let mut turned = vec![0xff, 0xd8, 0xff, 0xe1];
        turned.extend_from_slice(&((tiff.len() + 2) as u16).to_be_bytes());
        turned.extend_from_slice(&tiff);
        turned.extend_from_slice(&plain[2..]);
        std::fs::write(&path, turned).unwrap();
        let picture = read_rgb(&path).unwrap();
        assert_eq!((picture.width, picture.height), (24, 40));
        // The first pixel shown was the lowest of the left column: red 0, green 23.
        assert!(
            picture.data[0] < 12 && picture.data[1].abs_diff(23) < 12,
            "{:?}",
            &picture.data[..3]
        );
    }

    #[test]
    fn the_old_picture_survives_a_failed_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        write_picture(&path, &ramp(4, 4)).unwrap();
        let broken = RgbPicture { width: 9, height: 9, data: vec![0; 3] };
        assert!(write_png(&path, &broken).is_err());
        assert_eq!(read_rgb(&path).unwrap(), ramp(4, 4));
    }
}
