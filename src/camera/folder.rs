//! A folder of pictures as a source, in natural order.

use std::path::{Path, PathBuf};

use super::natural::pictures_in;
use super::{CameraError, Captured, Source};
use crate::picture::{StreamInfo, read_rgb};

pub(super) struct Folder {
    path: PathBuf,
    pictures: std::vec::IntoIter<PathBuf>,
    count: usize,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Self, CameraError> {
        let pictures =
            pictures_in(path).map_err(|error| CameraError::read(path.display(), error))?;
        if pictures.is_empty() {
            return Err(CameraError::EmptyFolder { path: path.into() });
        }
        let count = pictures.len();
        Ok(Self { path: path.into(), pictures: pictures.into_iter(), count })
    }
}

impl Source for Folder {
    fn describe(&self) -> String {
        format!("folder {} ({} pictures)", self.path.display(), self.count)
    }

    fn stream(&self) -> StreamInfo {
        StreamInfo::default()
    }

    /// An unreadable picture is an error and not skipped: pictures and masks are matched by
    /// their number, and the user counts on getting as many out as went in.
    fn next(&mut self) -> Result<Option<Captured>, CameraError> {
        let Some(path) = self.pictures.next() else { return Ok(None) };
        let frame = read_rgb(&path)?
            .into_frame()
            .map_err(|source| CameraError::Frame { name: path.display().to_string(), source })?;
        Ok(Some(Captured::Frame(frame)))
    }
}
