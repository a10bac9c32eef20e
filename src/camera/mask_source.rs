//! Where masks come from: pictures, folders of them, rectangles, the page, other processes, V4L2
//! devices. Several are united.
//!
//! The rule of this file: not knowing what to hide is never the same as having nothing to hide.
//! At the start a mask that cannot be had is an error. Later, when a mask picture is replaced
//! by one that cannot be read (half written, deleted, of another size), the mask that was in
//! force stays in force, and a line in the log says so, until a good one comes. The page alone may
//! have no mask, until something is painted there for the first time.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[cfg(unix)]
use super::mask_socket::SocketMask;
use super::natural::pictures_in;
use super::{MaskSourceError, MaskSpec, mask_device};
use crate::picture::{Mask, MaskError, Rect};

/// Gives the mask that belongs to a frame.
pub trait MaskSource: Send {
    fn describe(&self) -> String;

    /// The mask for a frame of this size and number, or `None` if it is the one given last.
    fn next(
        &mut self,
        width: usize,
        height: usize,
        number: u64,
    ) -> Result<Option<Mask>, MaskSourceError>;

    /// Whether every frame has a mask of its own, so that no mask is worth preparing ahead.
    fn change_with_every_frame(&self) -> bool {
        false
    }

    /// Whether there is no mask so far, and that is no fault.
    fn is_blank(&self) -> bool {
        false
    }
}

/// All masks of the command line, united.
#[derive(Default)]
pub struct Masks {
    sources: Vec<Entry>,
    /// There are other sources than when masks were given last.
    changed: bool,
}

struct Entry {
    /// What was typed, unless it was [added](Masks::add).
    spec: Option<MaskSpec>,
    source: Box<dyn MaskSource>,
    /// The mask that it gave last.
    held: Option<Mask>,
}

impl Masks {
    /// `painted` is the file that holds what was painted on the page.
    pub fn open(specs: &[MaskSpec], painted: Option<&Path>) -> Result<Self, MaskSourceError> {
        let mut masks = Self::default();
        masks.change_to(specs, painted, None)?;
        Ok(masks)
    }

    /// Goes over to other sources. Those that stay go on as they are. After an error, also where a
    /// new one has no mask for the frame that comes next (its width, height and number), all is as
    /// before.
    pub fn change_to(
        &mut self,
        specs: &[MaskSpec],
        painted: Option<&Path>,
        next: Option<(usize, usize, u64)>,
    ) -> Result<(), MaskSourceError> {
        let mut fresh = Vec::new();
        for spec in specs.iter().filter(|spec| !self.sources.iter().any(|entry| entry.has(spec))) {
            let mut source = open(spec, painted)?;
            let held = match next {
                Some((width, height, number)) => source.next(width, height, number)?,
                None => None,
            };
            fresh.push(Entry { spec: Some(spec.clone()), source, held });
        }
        self.sources.retain(|entry| specs.iter().any(|spec| entry.has(spec)));
        self.sources.append(&mut fresh);
        self.changed = true;
        Ok(())
    }

    pub fn add(&mut self, source: Box<dyn MaskSource>) {
        self.sources.push(Entry { spec: None, source, held: None });
    }

    /// Whether there is nothing to hide so far: no source, or a page on which nothing was painted.
    pub fn is_empty(&self) -> bool {
        self.sources.iter().all(|entry| entry.held.is_none() && entry.source.is_blank())
    }
}

impl Entry {
    fn has(&self, spec: &MaskSpec) -> bool {
        self.spec.as_ref() == Some(spec)
    }
}

fn open(spec: &MaskSpec, painted: Option<&Path>) -> Result<Box<dyn MaskSource>, MaskSourceError> {
    Ok(match spec {
        MaskSpec::Rect(rect) => Box::new(RectMask { rect: *rect, size: None }),
        MaskSpec::Path(path) if path.is_dir() => Box::new(FolderMask::open(path)?),
        MaskSpec::Path(path) => Box::new(PictureMask::open(path)?),
        MaskSpec::Page => Box::new(PageMask::open(painted.ok_or(MaskSourceError::NowhereToKeep)?)?),
        MaskSpec::Device(path) => Box::new(mask_device::open(path)?),
        #[cfg(unix)]
        MaskSpec::Socket(path) => Box::new(SocketMask::open(path)?),
        #[cfg(not(unix))]
        MaskSpec::Socket(path) => {
            let source = std::io::ErrorKind::Unsupported.into();
            return Err(MaskSourceError::Socket { path: path.clone(), source });
        }
    })
}

impl MaskSource for Masks {
    fn describe(&self) -> String {
        let names: Vec<String> = self.sources.iter().map(|entry| entry.source.describe()).collect();
        if names.is_empty() { "none".into() } else { names.join(" and ") }
    }

    fn next(
        &mut self,
        width: usize,
        height: usize,
        number: u64,
    ) -> Result<Option<Mask>, MaskSourceError> {
        for entry in &mut self.sources {
            if let Some(mask) = entry.source.next(width, height, number)? {
                entry.held = Some(mask);
                self.changed = true;
            }
        }
        if !std::mem::take(&mut self.changed) {
            return Ok(None);
        }
        let mut union: Option<Mask> = None;
        for entry in &self.sources {
            let Some(mask) = &entry.held else { continue };
            let fail = |error| MaskSourceError::mask(entry.source.describe(), error);
            match &mut union {
                None => {
                    mask.fits(width, height).map_err(fail)?;
                    union = Some(mask.clone());
                }
                Some(union) => union.unite(mask).map_err(fail)?,
            }
        }
        Ok(union)
    }

    fn change_with_every_frame(&self) -> bool {
        self.sources.iter().any(|entry| entry.source.change_with_every_frame())
    }
}

struct RectMask {
    rect: Rect,
    size: Option<(usize, usize)>,
}

impl MaskSource for RectMask {
    fn describe(&self) -> String {
        self.rect.to_string()
    }

    fn next(
        &mut self,
        width: usize,
        height: usize,
        _number: u64,
    ) -> Result<Option<Mask>, MaskSourceError> {
        if self.size == Some((width, height)) {
            return Ok(None);
        }
        let mask = Mask::from_rects(width, height, &[self.rect])
            .map_err(|source| MaskSourceError::mask(self.rect, source))?;
        self.size = Some((width, height));
        Ok(Some(mask))
    }
}

/// What tells that a file was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// Clocks of file systems are coarse: two changes may have the same time.
    changed: SystemTime,
    size: u64,
    /// Another one for each file that is renamed over the one before.
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let data = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&data);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Self { changed: data.modified().ok()?, size: data.len(), inode })
    }
}

struct PictureMask {
    path: PathBuf,
    mask: Mask,
    /// The state of the file that was last looked at, good or bad: a bad one is not read, and
    /// complained about, thirty times a second.
    seen: Option<Stamp>,
    given: bool,
}

impl PictureMask {
    fn open(path: &Path) -> Result<Self, MaskSourceError> {
        let seen = Stamp::of(path);
        Ok(Self { path: path.into(), mask: Mask::read(path)?, seen, given: false })
    }

    /// Takes a picture that replaced the one before, unless `check` refuses it; whether it did.
    fn refresh(&mut self, check: impl FnOnce(&Mask) -> Result<(), MaskError>) -> bool {
        let now = Stamp::of(&self.path);
        if now == self.seen {
            return false;
        }
        self.seen = now;
        let name = self.path.display();
        match Mask::read(&self.path) {
            // Still being written: look again at the next frame.
            Ok(_) if Stamp::of(&self.path) != now => self.seen = None,
            Ok(mask) => match check(&mask) {
                Ok(()) => {
                    log::info!(
                        "{name}: the mask changed ({:.1} % hidden)",
                        mask.hole_ratio() * 100.0
                    );
                    self.mask = mask;
                    return true;
                }
                Err(error) => log::warn!("{name}: {error}; the mask before stays in force"),
            },
            Err(error) => log::warn!("{error}; the mask before stays in force"),
        }
        false
    }
}

impl MaskSource for PictureMask {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn next(
        &mut self,
        width: usize,
        height: usize,
        _number: u64,
    ) -> Result<Option<Mask>, MaskSourceError> {
        let changed = self.refresh(|mask| mask.fits(width, height));
        fits(&self.mask, width, height, &self.path)?;
        if std::mem::replace(&mut self.given, true) && !changed {
            return Ok(None);
        }
        Ok(Some(self.mask.clone()))
    }
}

/// What was painted on the page, in the file that the page writes. It is stretched over frames of
/// another size: it was painted on what the camera gave then.
struct PageMask {
    path: PathBuf,
    picture: Option<PictureMask>,
    /// Of the frames that it was stretched for.
    size: Option<(usize, usize)>,
}

impl PageMask {
    fn open(path: &Path) -> Result<Self, MaskSourceError> {
        let mut page = Self { path: path.into(), picture: None, size: None };
        page.look()?;
        Ok(page)
    }

    /// Whether anything was painted. A file that is there and cannot be read is an error: nobody
    /// knows what it was to hide.
    fn look(&mut self) -> Result<(), MaskSourceError> {
        if self.picture.is_some() {
            return Ok(());
        }
        let path = &self.path;
        let failed = |source| MaskSourceError::Read { path: path.clone(), source };
        if path.try_exists().map_err(failed)? {
            self.picture = Some(PictureMask::open(path)?);
        }
        Ok(())
    }
}

impl MaskSource for PageMask {
    fn describe(&self) -> String {
        format!("the page ({})", self.path.display())
    }

    fn next(
        &mut self,
        width: usize,
        height: usize,
        _number: u64,
    ) -> Result<Option<Mask>, MaskSourceError> {
        self.look()?;
        let Some(picture) = &mut self.picture else { return Ok(None) };
        let changed = picture.refresh(|_| Ok(()));
        if self.size.replace((width, height)) == Some((width, height)) && !changed {
            return Ok(None);
        }
        let stretched = picture.mask.stretched(width, height);
        stretched.map(Some).map_err(|source| MaskSourceError::mask(self.path.display(), source))
    }

    fn is_blank(&self) -> bool {
        self.picture.is_none()
    }
}

/// One mask a frame. When there are too few, that is an error and the last one is not held:
/// what is to be hidden has moved on.
struct FolderMask {
    path: PathBuf,
    pictures: Vec<PathBuf>,
    given: Option<u64>,
}

impl FolderMask {
    fn open(path: &Path) -> Result<Self, MaskSourceError> {
        let pictures = pictures_in(path)
            .map_err(|source| MaskSourceError::Read { path: path.into(), source })?;
        if pictures.is_empty() {
            return Err(MaskSourceError::EmptyFolder { path: path.into() });
        }
        Ok(Self { path: path.into(), pictures, given: None })
    }
}

impl MaskSource for FolderMask {
    fn describe(&self) -> String {
        format!("folder {} ({} masks)", self.path.display(), self.pictures.len())
    }

    fn next(
        &mut self,
        width: usize,
        height: usize,
        number: u64,
    ) -> Result<Option<Mask>, MaskSourceError> {
        if self.given == Some(number) {
            return Ok(None);
        }
        let picture = usize::try_from(number).ok().and_then(|number| self.pictures.get(number));
        let Some(picture) = picture else {
            let (path, count) = (self.path.clone(), self.pictures.len());
            return Err(MaskSourceError::TooFew { path, count, frame: number });
        };
        let mask = Mask::read(picture)?;
        fits(&mask, width, height, picture)?;
        self.given = Some(number);
        Ok(Some(mask))
    }

    fn change_with_every_frame(&self) -> bool {
        true
    }
}

fn fits(mask: &Mask, width: usize, height: usize, path: &Path) -> Result<(), MaskSourceError> {
    mask.fits(width, height).map_err(|source| MaskSourceError::mask(path.display(), source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{RgbPicture, write_png};

    fn paint(path: &Path, width: usize, height: usize, holes: &[usize]) {
        let mut data = vec![0; width * height * 3];
        holes.iter().for_each(|&hole| data[hole * 3..][..3].fill(255));
        write_png(path, &RgbPicture::new(width, height, data).unwrap()).unwrap();
    }

    fn open(specs: &[String]) -> Result<Masks, MaskSourceError> {
        let specs: Vec<MaskSpec> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
        Masks::open(&specs, None)
    }

    #[test]
    fn masks_are_united_and_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        paint(&path, 4, 2, &[7]);
        let mut masks = open(&[path.display().to_string(), "rect:0,0,1,1".into()]).unwrap();
        let mask = masks.next(4, 2, 0).unwrap().unwrap();
        assert_eq!(mask.hole_pixels(), 2);
        assert!(masks.next(4, 2, 1).unwrap().is_none());
    }

    #[test]
    fn a_bad_replacement_leaves_the_mask_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        paint(&path, 4, 2, &[7]);
        let mut masks = open(&[path.display().to_string()]).unwrap();
        assert!(masks.next(4, 2, 0).unwrap().is_some());
        std::fs::write(&path, b"half a picture").unwrap();
        assert!(masks.next(4, 2, 1).unwrap().is_none());
        paint(&path, 9, 9, &[]);
        assert!(masks.next(4, 2, 2).unwrap().is_none());
        std::fs::remove_file(&path).unwrap();
        assert!(masks.next(4, 2, 3).unwrap().is_none());
        paint(&path, 4, 2, &[1, 2, 3]);
        assert_eq!(masks.next(4, 2, 4).unwrap().unwrap().hole_pixels(), 3);
    }

    #[test]
    fn another_size_names_both_and_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        paint(&path, 4, 2, &[7]);
        let error = open(&[path.display().to_string()]).unwrap().next(8, 6, 0).unwrap_err();
        let text = error.to_string();
        for part in ["m.png", "4x2", "8x6", "scale"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_folder_goes_by_the_frames_number_and_never_holds_its_last() {
        let folder = tempfile::tempdir().unwrap();
        for number in [1, 2, 10] {
            paint(&folder.path().join(format!("{number}.png")), 12, 1, &[number]);
        }
        let mut masks = open(&[folder.path().display().to_string()]).unwrap();
        for (frame, hole) in [(0, 1), (2, 10)] {
            assert!(masks.next(12, 1, frame).unwrap().unwrap().is_hole(hole, 0));
        }
        assert!(matches!(masks.next(12, 1, 3), Err(MaskSourceError::TooFew { count: 3, .. })));
    }

    #[test]
    fn the_page_has_no_mask_until_one_is_painted_and_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        assert!(matches!(
            Masks::open(&[MaskSpec::Page], None),
            Err(MaskSourceError::NowhereToKeep)
        ));
        let mut masks = Masks::open(&[MaskSpec::Page], Some(&path)).unwrap();
        assert!(masks.next(4, 2, 0).unwrap().is_none());
        assert!(masks.is_empty());
        paint(&path, 4, 2, &[7]);
        assert_eq!(masks.next(4, 2, 1).unwrap().unwrap().hole_pixels(), 1);
        assert!(masks.next(4, 2, 2).unwrap().is_none());
        assert!(!masks.is_empty());
        // The camera came back with larger pictures.
        assert_eq!(masks.next(8, 4, 3).unwrap().unwrap().hole_pixels(), 4);
        std::fs::remove_file(&path).unwrap();
        assert!(masks.next(8, 4, 4).unwrap().is_none());
        assert!(!masks.is_empty());
        std::fs::write(&path, b"half a picture").unwrap();
        assert!(masks.next(8, 4, 5).unwrap().is_none());
        assert!(Masks::open(&[MaskSpec::Page], Some(&path)).is_err());
        paint(&path, 4, 2, &[0, 1]);
        let masks = Masks::open(&[MaskSpec::Page], Some(&path)).unwrap();
        assert!(!masks.is_empty());
    }

    #[test]
    fn the_page_adds_to_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        let specs = [MaskSpec::Page, "rect:0,0,1,1".parse().unwrap()];
        let mut masks = Masks::open(&specs, Some(&path)).unwrap();
        assert_eq!(masks.next(4, 2, 0).unwrap().unwrap().hole_pixels(), 1);
        paint(&path, 4, 2, &[7]);
        assert_eq!(masks.next(4, 2, 1).unwrap().unwrap().hole_pixels(), 2);
        paint(&path, 4, 2, &[]);
        assert_eq!(masks.next(4, 2, 2).unwrap().unwrap().hole_pixels(), 1);
    }

    #[test]
    fn sources_that_stay_go_on_and_those_that_go_no_longer_hide() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        paint(&path, 4, 2, &[7]);
        let (picture, rect) = (MaskSpec::Path(path.clone()), "rect:0,0,1,1".parse().unwrap());
        let mut masks = Masks::open(&[picture.clone(), rect], None).unwrap();
        assert_eq!(masks.next(4, 2, 0).unwrap().unwrap().hole_pixels(), 2);
        // It need not be read again.
        std::fs::remove_file(&path).unwrap();
        let specs = [picture, "rect:0,0,2,2".parse().unwrap()];
        masks.change_to(&specs, None, None).unwrap();
        assert_eq!(masks.next(4, 2, 1).unwrap().unwrap().hole_pixels(), 5);
        let wrong = [specs[1].clone(), "absent.png".parse().unwrap()];
        assert!(masks.change_to(&wrong, None, None).is_err());
        assert!(masks.next(4, 2, 2).unwrap().is_none());
        masks.change_to(&specs[1..], None, None).unwrap();
        assert_eq!(masks.next(4, 2, 3).unwrap().unwrap().hole_pixels(), 4);
        masks.change_to(&[], None, None).unwrap();
        assert!(masks.next(4, 2, 4).unwrap().is_none());
        assert!(masks.is_empty());
    }

    #[test]
    fn no_picture_no_start() {
        assert!(open(&["/nonexistent/mask.png".into()]).is_err());
        let folder = tempfile::tempdir().unwrap();
        assert!(open(&[folder.path().display().to_string()]).is_err());
    }
}
