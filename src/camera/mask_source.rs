//! Where masks come from: pictures, folders of them, rectangles, the page, other processes, V4L2
//! devices. Several are united.
//!
//! The rule of this file: not knowing what to hide is never the same as having nothing to hide.
//! At the start a mask that cannot be had is an error. Later, when a mask picture is replaced
//! by one that cannot be read (half written, deleted, of another size), the mask that was in
//! force stays in force, and a line in the log says so, until a good one comes. The page alone may
//! have no mask, until something is painted there for the first time.
//!
//! A rectangle in pixels says where something is only in pictures of one size. When a camera gives
//! another, nobody knows where that has gone, and all is hidden. So it is when another camera comes
//! under the same name.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

#[cfg(unix)]
use super::mask_socket::SocketMask;
use super::natural::{number_of, pictures_in};
use super::{MaskSourceError, MaskSpec, mask_device, seldom};
use crate::file::write_atomically;
use crate::picture::{Length, MOST_PAINTED_PIXELS, Mask, MaskError, PictureError, Rect, read_size};
use crate::process::Seldom;

/// How long a mask picture is left alone that could not be read.
const RETRY: Duration = Duration::from_secs(1);
/// The longest step of the clocks that file systems take their times from.
const TICK: Duration = Duration::from_millis(10);
/// The longest step in which some of them keep those times (FAT), and a reserve; and how long a picture
/// that is no older is left alone.
const COARSE: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

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

    /// What is to be said at the end, of so many frames: masks that none came for.
    fn left(&self, _frames: u64) -> Option<String> {
        None
    }

    /// Whether there is no mask so far, and that is no fault.
    fn is_blank(&self) -> bool {
        false
    }

    /// The user asks to read again what may have been mended.
    fn look_again(&mut self) {}
}

/// All masks of the command line, united.
#[derive(Default)]
pub struct Masks {
    sources: Vec<Entry>,
    /// There are other sources than when masks were given last.
    changed: bool,
    /// Frames come from a camera.
    camera: bool,
    /// The size that is asked of it: rectangles in pixels are for that.
    asked: Option<(usize, usize)>,
    /// What the camera calls itself for whose pictures masks were given, and the one that is there now.
    meant: Option<String>,
    /// The file in which that outlasts a restart.
    kept: Option<PathBuf>,
    there: Option<String>,
    /// Of the frames that all is hidden of, because it is another.
    covered: Option<(usize, usize)>,
}

struct Entry {
    /// What was typed.
    spec: MaskSpec,
    source: Box<dyn MaskSource>,
    /// The mask that it gave last.
    held: Option<Mask>,
}

impl Masks {
    /// `painted` is the file that holds what was painted on the page.
    pub fn open(specs: &[MaskSpec], painted: Option<&Path>) -> Result<Self, MaskSourceError> {
        Self::default().opened(specs, painted)
    }

    /// As [`open`](Self::open), for frames of a camera, which may give another size than was `asked`, or
    /// come back with another.
    pub fn open_for_camera(
        specs: &[MaskSpec],
        painted: Option<&Path>,
        asked: Option<(usize, usize)>,
    ) -> Result<Self, MaskSourceError> {
        Self { camera: true, asked, ..Self::default() }.opened(specs, painted)
    }

    fn opened(
        mut self,
        specs: &[MaskSpec],
        painted: Option<&Path>,
    ) -> Result<Self, MaskSourceError> {
        self.change_to(specs, painted, None)?;
        Ok(self)
    }

    /// Goes over to other sources. Those that stay go on as they are, and look again at what they
    /// could not read. After an error, also where a new one has no mask for the frame that comes next
    /// (its width, height and number), all is as before.
    pub fn change_to(
        &mut self,
        specs: &[MaskSpec],
        painted: Option<&Path>,
        next: Option<(usize, usize, u64)>,
    ) -> Result<(), MaskSourceError> {
        let mut fresh: Vec<Entry> = Vec::new();
        for spec in specs {
            if self.sources.iter().chain(&fresh).any(|entry| entry.spec == *spec) {
                continue;
            }
            let mut source = open(spec, painted, self.camera, self.asked)?;
            let held = match next {
                Some((width, height, number)) => source.next(width, height, number)?,
                None => None,
            };
            fresh.push(Entry { spec: spec.clone(), source, held });
        }
        self.sources.retain(|entry| specs.contains(&entry.spec));
        self.sources.iter_mut().for_each(|entry| entry.source.look_again());
        self.sources.append(&mut fresh);
        self.changed = true;
        // Whoever gives masks now gives them for the camera that is there.
        if self.there.is_some() {
            self.meant.clone_from(&self.there);
            self.keep_camera();
        }
        Ok(())
    }

    /// Keeps the name of the camera that masks are meant for in this file, and begins with what it holds:
    /// for whom nobody is there when it starts, a restart is no word that they suit another.
    pub fn remember_camera(&mut self, file: PathBuf) {
        match std::fs::read_to_string(&file) {
            Ok(name) => self.meant = Some(name.strip_suffix('\n').unwrap_or(&name).to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("{}: cannot be read ({error})", file.display()),
        }
        self.kept = Some(file);
    }

    fn keep_camera(&self) {
        let (Some(file), Some(name)) = (&self.kept, &self.meant) else { return };
        let line = format!("{name}\n");
        if std::fs::read_to_string(file).is_ok_and(|kept| kept == line) {
            return;
        }
        let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = folder.map_err(|error| error.to_string()).and_then(|()| {
            write_atomically(file, line.as_bytes()).map_err(|error| error.to_string())
        }) {
            log::warn!("{error}; another camera after a restart would not be noticed");
        }
    }

    /// Tells what the camera calls itself that frames come from. If it is another than masks were given
    /// for, all is hidden: it looks elsewhere.
    pub fn come_from(&mut self, camera: &str) {
        if self.is_empty() {
            // None was given so far.
            self.meant = None;
        }
        let meant = self.meant.get_or_insert_with(|| camera.into());
        if meant != camera {
            log::warn!(
                "{camera} came where {meant} was, for which the masks were given; all is hidden: plug \
                 that in again, or reload the configuration if they suit this one too"
            );
        } else {
            self.keep_camera();
        }
        self.there = Some(camera.into());
        self.changed = true;
    }

    fn is_another_camera(&self) -> bool {
        self.meant != self.there && self.there.is_some()
    }

    #[cfg(test)]
    pub fn add(&mut self, source: Box<dyn MaskSource>) {
        self.sources.push(Entry { spec: MaskSpec::Page, source, held: None });
    }

    /// What those hide together that have no other mask for every frame.
    pub fn steady(&self) -> Option<Mask> {
        let steady = self.sources.iter().filter(|entry| !entry.source.change_with_every_frame());
        let mut held = steady.filter_map(|entry| entry.held.as_ref());
        let mut union = held.next()?.clone();
        held.try_for_each(|mask| union.unite(mask)).ok()?;
        Some(union)
    }

    /// Whether there is nothing to hide so far: no source, or a page on which nothing was painted.
    pub fn is_empty(&self) -> bool {
        self.sources.iter().all(|entry| entry.held.is_none() && entry.source.is_blank())
    }
}

fn open(
    spec: &MaskSpec,
    painted: Option<&Path>,
    camera: bool,
    first: Option<(usize, usize)>,
) -> Result<Box<dyn MaskSource>, MaskSourceError> {
    Ok(match spec {
        MaskSpec::Rect(rect) => Box::new(RectMask { rect: *rect, camera, first, size: None }),
        MaskSpec::Path(path) if path.is_dir() => Box::new(FolderMask::open(path)?),
        MaskSpec::Path(path) => Box::new(PictureMask::open(path, usize::MAX)?),
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
        if self.is_another_camera() && !self.is_empty() {
            self.changed = true;
            if self.covered.replace((width, height)) == Some((width, height)) {
                return Ok(None);
            }
            let all = Mask::full(width, height);
            return all.map(Some).map_err(|source| MaskSourceError::mask("the camera", source));
        }
        self.covered = None;
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

    fn left(&self, frames: u64) -> Option<String> {
        self.sources.iter().find_map(|entry| entry.source.left(frames))
    }
}

struct RectMask {
    rect: Rect,
    /// Frames come from a camera.
    camera: bool,
    /// Size of those that are asked for, or of the first.
    first: Option<(usize, usize)>,
    /// Of those that it was given for last.
    size: Option<(usize, usize)>,
}

/// Whether it lies elsewhere in pictures of another size.
fn is_in_pixels(rect: &Rect) -> bool {
    let lengths = [rect.x, rect.y, rect.width, rect.height];
    lengths.iter().any(|length| matches!(length, Length::Pixels(1..)))
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
        let size = (width, height);
        if self.size == Some(size) {
            return Ok(None);
        }
        let first = *self.first.get_or_insert(size);
        let mask = if self.camera && first != size && is_in_pixels(&self.rect) {
            log::warn!(
                "{}: was given for pictures of {}x{}, and the camera's are {width}x{height} now; all \
                 is hidden: give it in percent, or for that size",
                self.rect,
                first.0,
                first.1
            );
            Mask::full(width, height)
        } else {
            Mask::from_rects(width, height, &[self.rect])
        };
        let mask = mask.map_err(|source| MaskSourceError::mask(self.rect, source))?;
        self.size = Some(size);
        Ok(Some(mask))
    }
}

/// What tells that a file was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// Clocks of file systems are coarse: two changes may have the same time.
    changed: SystemTime,
    /// When the file or its permissions changed. Programs that copy set the other time, and none this.
    touched: (i64, i64),
    size: u64,
    /// Another one for each file that is renamed over the one before.
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let data = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let (touched, inode) = {
            use std::os::unix::fs::MetadataExt;
            ((data.ctime(), data.ctime_nsec()), data.ino())
        };
        #[cfg(not(unix))]
        let (touched, inode) = ((0, 0), 0);
        Some(Self { changed: data.modified().ok()?, touched, size: data.len(), inode })
    }

    /// Whether the file may be written again without another stamp; `now` is since 1970. A file of
    /// the future is not looked at for ever.
    fn is_fresh(&self, now: Duration, step: Duration) -> bool {
        let touched =
            Duration::new(self.touched.0.unsigned_abs(), self.touched.1.unsigned_abs() as u32);
        now.checked_sub(touched).is_some_and(|age| age < step)
    }

    /// What was seen, unless it is to be looked at once more.
    fn settled(self) -> Option<Self> {
        Some(self).filter(|stamp| !stamp.is_fresh(now(), 2 * TICK))
    }

    /// When to look once more though nothing seems to have changed.
    fn look_again(self) -> Option<Instant> {
        self.is_fresh(now(), COARSE).then(|| Instant::now() + LOOK_AGAIN)
    }
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Reads a mask picture of so many pixels at most, which its header tells before it is decoded.
fn read(path: &Path, most: usize) -> Result<Mask, MaskSourceError> {
    if most < usize::MAX {
        let (width, height) = read_size(path)?;
        if width.saturating_mul(height) > most {
            return Err(MaskSourceError::TooLarge { path: path.into(), width, height });
        }
    }
    Ok(Mask::read(path)?)
}

struct PictureMask {
    path: PathBuf,
    /// The most pixels it may have.
    most: usize,
    mask: Mask,
    /// The state of the file that was last looked at, good or bad: a bad one is not read, and
    /// complained about, thirty times a second.
    seen: Option<Stamp>,
    /// When it is looked at once more whatever its state.
    again: Option<Instant>,
    /// When it could not be read, and why. That may pass while the file stays as it is.
    failed: Option<(Instant, String)>,
    retry: Duration,
    given: bool,
    /// Tells of changes.
    changes: Seldom,
}

impl PictureMask {
    fn open(path: &Path, most: usize) -> Result<Self, MaskSourceError> {
        let stamp = Stamp::of(path);
        let (seen, again) = (stamp.and_then(Stamp::settled), stamp.and_then(Stamp::look_again));
        let (path, mask) = (path.into(), read(path, most)?);
        let changes = seldom();
        Ok(Self {
            path,
            most,
            mask,
            seen,
            again,
            failed: None,
            retry: RETRY,
            given: false,
            changes,
        })
    }

    /// Takes a picture that replaced the one before, unless `check` refuses it; whether it did.
    fn refresh(&mut self, check: impl FnOnce(&Mask) -> Result<(), MaskError>) -> bool {
        let now = Stamp::of(&self.path);
        let again = self.failed.as_ref().is_some_and(|(at, _)| at.elapsed() >= self.retry)
            || self.again.is_some_and(|at| at <= Instant::now());
        if now == self.seen && !again {
            return false;
        }
        self.seen = now.and_then(Stamp::settled);
        self.again = now.and_then(Stamp::look_again);
        let failed = self.failed.take();
        let name = self.path.display();
        match read(&self.path, self.most) {
            // Still being written: look again at the next frame.
            Ok(_) if Stamp::of(&self.path) != now => self.seen = None,
            Ok(mask) if mask == self.mask => {}
            Ok(mask) => match check(&mask) {
                Ok(()) => {
                    // A program may make a new one many times a second.
                    let level =
                        self.changes.is_due().map_or(log::Level::Debug, |_| log::Level::Info);
                    let hidden = mask.hole_ratio() * 100.0;
                    log::log!(level, "{name}: the mask changed ({hidden:.1} % hidden)");
                    self.mask = mask;
                    return true;
                }
                Err(error) => log::warn!("{name}: {error}; the mask before stays in force"),
            },
            Err(error) => {
                let why = error.to_string();
                if failed.is_none_or(|(_, told)| told != why) {
                    log::warn!("{why}; the mask before stays in force");
                }
                self.failed = Some((Instant::now(), why));
            }
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

    fn look_again(&mut self) {
        (self.seen, self.failed) = (None, None);
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
            let picture = PictureMask::open(path, MOST_PAINTED_PIXELS);
            self.picture = Some(picture.map_err(|error| match error {
                MaskSourceError::Picture(source) => {
                    MaskSourceError::Painted { path: path.clone(), source: source.into() }
                }
                other => other,
            })?);
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

    fn look_again(&mut self) {
        if let Some(picture) = &mut self.picture {
            picture.look_again();
        }
    }
}

/// One mask a frame. When there are too few, that is an error and the last one is not held:
/// what is to be hidden has moved on.
struct FolderMask {
    path: PathBuf,
    pictures: Vec<PathBuf>,
    given: Option<u64>,
    /// One of them has white: a dark one then means that there is nothing to hide.
    has_white: bool,
}

impl FolderMask {
    fn open(path: &Path) -> Result<Self, MaskSourceError> {
        let pictures = pictures_in(path)
            .map_err(|source| MaskSourceError::Read { path: path.into(), source })?;
        if pictures.is_empty() {
            return Err(MaskSourceError::EmptyFolder { path: path.into() });
        }
        Ok(Self { path: path.into(), pictures, given: None, has_white: false })
    }

    fn read(&mut self, picture: &Path) -> Result<Mask, PictureError> {
        let read = Mask::read(picture);
        let Err(PictureError::MaskFile { source: MaskError::Dark { width, height, .. }, .. }) =
            read
        else {
            return read;
        };
        let has_white = |picture: &PathBuf| Mask::read(picture).is_ok_and(|mask| !mask.is_empty());
        self.has_white = self.has_white || self.pictures.iter().any(has_white);
        if self.has_white { Ok(Mask::empty(width, height)?) } else { read }
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
        let Some(picture) = picture.cloned() else {
            let (path, count) = (self.path.clone(), self.pictures.len());
            return Err(MaskSourceError::TooFew { path, count, frame: number });
        };
        let mask = self.read(&picture)?;
        fits(&mask, width, height, &picture)?;
        self.given = Some(number);
        Ok(Some(mask))
    }

    fn change_with_every_frame(&self) -> bool {
        true
    }

    fn left(&self, frames: u64) -> Option<String> {
        let (all, path) = (self.pictures.len(), self.path.display());
        (frames < all as u64).then(|| {
            format!("{path} has {all} masks, and {frames} frames came: had each the one for it?")
        })
    }
}

/// Whether a folder of masks has one for each of a folder of pictures, of which so many are wanted. A
/// mask that is missing would put all behind it in the place of others.
///
/// # Errors
/// [`MaskSourceError::OutOfStep`] if there are more of one than of the other, or if numbers are left out
/// among the masks' names that are not left out among the pictures'.
pub fn check_in_step(frames: &Path, masks: &Path, most: usize) -> Result<(), MaskSourceError> {
    let listed = |path: &Path| {
        let pictures = pictures_in(path);
        let pictures =
            pictures.map_err(|source| MaskSourceError::Read { path: path.into(), source });
        pictures.map(|pictures| pictures.into_iter().take(most).collect::<Vec<_>>())
    };
    let (pictures, holes) = (listed(frames)?, listed(masks)?);
    let refused = |reason| Err(MaskSourceError::OutOfStep { path: masks.into(), reason });
    if pictures.len() != holes.len() {
        return refused(format!(
            "there are {} masks for {} pictures in {}",
            holes.len(),
            pictures.len(),
            frames.display()
        ));
    }
    let steps = |paths: &[PathBuf]| -> Option<Vec<u64>> {
        let numbers = paths.iter().map(|path| number_of(path)).collect::<Option<Vec<_>>>()?;
        numbers.windows(2).map(|two| two[1].checked_sub(two[0]).filter(|step| *step > 0)).collect()
    };
    let (Some(of_pictures), Some(of_holes)) = (steps(&pictures), steps(&holes)) else {
        return Ok(());
    };
    let wrong = of_pictures.iter().zip(&of_holes).position(|(picture, hole)| picture != hole);
    match wrong.filter(|_| of_holes.iter().any(|step| *step != 1)) {
        Some(at) => {
            let name = |paths: &[PathBuf]| paths[at + 1].display().to_string();
            refused(format!("{} would be the mask of {}", name(&holes), name(&pictures)))
        }
        None => Ok(()),
    }
}

/// Whether a folder of masks may belong to a clip or a camera, of which at most so many pictures are
/// wanted: numbers in all of their names are about as far apart. One that is missing, or one too many,
/// would put all behind it in the place of others. (Times in names are now 33 apart, now 34.)
///
/// # Errors
/// [`MaskSourceError::OutOfStep`] if one is missing or one too many.
pub fn check_steps(masks: &Path, most: usize) -> Result<(), MaskSourceError> {
    let read = |source| MaskSourceError::Read { path: masks.into(), source };
    let mut pictures = pictures_in(masks).map_err(read)?;
    pictures.truncate(most);
    let numbers = pictures.iter().map(|path| number_of(path)).collect::<Option<Vec<_>>>();
    let Some(numbers) = numbers else { return Ok(()) };
    let steps = numbers.windows(2).map(|two| two[1].checked_sub(two[0]));
    // Where numbers fall, they are not what counts.
    let Some(steps) = steps.collect::<Option<Vec<_>>>() else { return Ok(()) };
    // By more than half.
    let is_uneven = |two: &[u64]| two[0].abs_diff(two[1]) > two[0].min(two[1]) / 2;
    let uneven = steps.windows(2).position(is_uneven);
    uneven.map_or(Ok(()), |at| {
        let [before, here, next] = [at, at + 1, at + 2].map(|at| pictures[at].display());
        let path = masks.into();
        let reason = format!(
            "from {before} to {here} it is {} and from there to {next} {}, as if one were missing or one \
             too many (numbers that rise evenly pass)",
            steps[at],
            steps[at + 1]
        );
        Err(MaskSourceError::OutOfStep { path, reason })
    })
}

fn fits(mask: &Mask, width: usize, height: usize, path: &Path) -> Result<(), MaskSourceError> {
    mask.fits(width, height).map_err(|source| MaskSourceError::mask(path.display(), source))
}

#[cfg(test)]
#[path = "mask_source_tests.rs"]
mod tests;
