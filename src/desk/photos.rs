//! Photographs on disk: found below a folder, read upright, cut out and scaled.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::ImageReader;

use super::data::DataError;
use crate::file::{is_hidden, is_special};
use crate::picture::{PictureError, RgbPicture, is_picture_name, read_rgb};

/// A decoded picture: RGB bytes, rows from top to bottom, short side at most the cached one.
pub(super) struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

/// `region` (left, top, width, height) of a picture at `size` (width, height), Lanczos.
pub(super) fn resized(
    picture: &Picture,
    (left, top, width, height): (usize, usize, usize, usize),
    size: (usize, usize),
    resizer: &mut Resizer,
) -> Vec<u8> {
    if (width, height) == size {
        let rows = picture.pixels.chunks_exact(3 * picture.width).skip(top).take(height);
        return rows.flat_map(|row| &row[3 * left..3 * (left + width)]).copied().collect();
    }
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(left as f64, top as f64, width as f64, height as f64);
    let (wide, high) = (picture.width as u32, picture.height as u32);
    let from = ImageRef::new(wide, high, &picture.pixels, PixelType::U8x3)
        .expect("a picture holds width x height x 3 bytes");
    let mut to = Image::new(size.0 as u32, size.1 as u32, PixelType::U8x3);
    resizer.resize(&from, &mut to, &options).expect("both are U8x3 and the region lies inside");
    to.into_vec()
}

/// Reads a picture upright (EXIF orientation) and scales it to a short side of at most `side`.
///
/// # Errors
/// [`PictureError`] where it cannot be read, is damaged, cut off or too large.
pub(super) fn decode(path: &Path, side: usize) -> Result<Picture, PictureError> {
    let RgbPicture { width, height, data: pixels, .. } = read_rgb(path)?;
    let picture = Picture { width, height, pixels };
    let short = width.min(height);
    if short <= side {
        return Ok(picture);
    }
    let scaled = |length: usize| (length * side + short / 2) / short;
    let size = (scaled(width), scaled(height));
    let pixels = resized(&picture, (0, 0, width, height), size, &mut Resizer::new());
    Ok(Picture { width: size.0, height: size.1, pixels })
}

/// The subfolder of `folder` that `path` lies in, or "." for the folder itself.
pub(super) fn source_name(folder: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(folder).unwrap_or(path);
    let mut parts = inside.iter();
    match (parts.next(), parts.next()) {
        (Some(first), Some(_)) => first.to_string_lossy().into_owned(),
        _ => ".".to_owned(),
    }
}

/// All files below `folder` named like pictures, in the order of their paths, each folder once
/// however many links lead to it. What is hidden is left out, since it is mostly copies: thumbnails, a
/// trash. Sample strips of training runs are left out: a run whose folder lies
/// among the pictures would learn from its own output. So is `lost+found`, which is the system's.
pub(super) fn list(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), DataError> {
    list_within(folder, &mut BTreeSet::new(), into)
}

/// As [`list`]; `seen` are the folders that were entered, links resolved.
fn list_within(
    folder: &Path,
    seen: &mut BTreeSet<PathBuf>,
    into: &mut Vec<PathBuf>,
) -> Result<(), DataError> {
    let failed = |source| DataError::Folder { path: folder.to_owned(), source };
    let place = folder.canonicalize().map_err(failed)?;
    if place.ends_with("samples") && place.parent().is_some_and(is_run) {
        log::warn!("{} is skipped: it holds a training run's samples", folder.display());
        return Ok(());
    }
    if place.ends_with("lost+found") || !seen.insert(place) {
        return Ok(());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if !is_hidden(&path) {
                list_within(&path, seen, into)?;
            }
        } else if is_sheet(&path) {
            log::warn!("{} is skipped: it is of an evaluation's report", path.display());
        } else if is_picture_name(&path) && !is_special(&path) {
            into.push(path);
        }
    }
    Ok(())
}

/// Whether a file is the contact sheet of a report.
fn is_sheet(path: &Path) -> bool {
    let beside = ["report.json", "report.html"].map(|name| path.with_file_name(name).is_file());
    path.ends_with("sheet.png") && beside == [true; 2]
}

/// Whether none of these files, which were found before, is there any more: as where a share or a disk
/// is away. Of many some are looked at, since a share that does not answer takes its time for each.
pub(super) fn are_away(files: &[PathBuf]) -> bool {
    const SOME: usize = 64;
    !files.iter().step_by(files.len().div_ceil(SOME).max(1)).any(|file| file.exists())
}

/// Whether a training run writes into `folder`. One that has just begun has no log yet, but no
/// samples either.
fn is_run(folder: &Path) -> bool {
    ["config.json", "log.csv"].iter().all(|name| folder.join(name).is_file())
}

/// Whether a file is a picture, by its header: a second for hundreds of files, where their
/// pixels would take a minute.
pub(super) fn has_pixels(path: &Path) -> Result<(), image::ImageError> {
    ImageReader::open(path)?.with_guessed_format()?.into_dimensions().map(drop)
}

/// The central square of a picture file at `side x side`, packed RGB, and whether it was scaled up for
/// that. A picture of that size comes back as it is.
pub(super) fn central_square(path: &Path, side: usize) -> Result<(Vec<u8>, bool), PictureError> {
    let picture = decode(path, usize::MAX)?;
    let short = picture.width.min(picture.height);
    let region = ((picture.width - short) / 2, (picture.height - short) / 2, short, short);
    Ok((resized(&picture, region, (side, side), &mut Resizer::new()), short < side))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_to_pictures_and_not_round_in_a_circle() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("elsewhere/deep")).unwrap();
        fs::create_dir_all(at("photos/.thumbnails")).unwrap();
        for name in [
            "photos/own.jpg",
            "photos/notes.txt",
            "photos/.hidden.jpg",
            "photos/.thumbnails/own.jpg",
            "elsewhere/one.png",
            "elsewhere/deep/two.png",
        ] {
            fs::write(at(name), "").unwrap();
        }
        symlink(at("elsewhere"), at("photos/linked")).unwrap();
        symlink(at("elsewhere/deep"), at("photos/twice")).unwrap();
        symlink(at("photos"), at("elsewhere/deep/round")).unwrap();
        symlink(at("nowhere"), at("photos/broken")).unwrap();
        fs::create_dir_all(at("run/samples")).unwrap();
        for name in ["config.json", "log.csv", "samples/1.png"] {
            fs::write(at("run").join(name), "").unwrap();
        }
        symlink(at("run/samples"), at("photos/strips")).unwrap();
        let mut found = Vec::new();
        list(&at("photos"), &mut found).unwrap();
        assert_eq!(
            found,
            ["linked/deep/two.png", "linked/one.png", "own.jpg"]
                .map(|name| at("photos").join(name))
        );
        assert_eq!(source_name(&at("photos"), &found[0]), "linked");
        assert!(list(&at("nowhere"), &mut found).is_err());
        // Hidden, and named.
        list(&at("photos/.thumbnails"), &mut found).unwrap();
        assert_eq!(found.len(), 4);
    }
}
