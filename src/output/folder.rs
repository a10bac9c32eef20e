//! Numbered pictures in a folder.

use std::path::{Path, PathBuf};

use super::{OutputError, PictureKind, Sink};
use crate::picture::{Frame, RgbPicture, write_picture};

pub(super) struct Folder {
    path: PathBuf,
    kind: PictureKind,
    written: u64,
    /// The picture written last, for its memory.
    rgb: Vec<u8>,
}

impl Folder {
    pub fn open(path: &Path, kind: PictureKind) -> Result<Self, OutputError> {
        std::fs::create_dir_all(path)
            .map_err(|source| OutputError::Write { path: path.into(), source })?;
        Ok(Self { path: path.into(), kind, written: 0, rgb: Vec::new() })
    }
}

impl Sink for Folder {
    fn describe(&self) -> String {
        format!("{} pictures in {}", self.kind.extension().to_uppercase(), self.path.display())
    }

    fn write(&mut self, frame: &Frame) -> Result<(), OutputError> {
        // Counted from 1 and padded, so that ffmpeg's `%06d` and any file manager take the order.
        let name = format!("{:06}.{}", self.written + 1, self.kind.extension());
        frame.to_rgb(&mut self.rgb);
        let rgb = std::mem::take(&mut self.rgb);
        let picture = RgbPicture::new(frame.width(), frame.height(), rgb)?;
        write_picture(&self.path.join(name), &picture)?;
        self.rgb = picture.data;
        self.written += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{ColourRange, PixelFormat, read_rgb};

    #[test]
    fn pictures_are_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let mut sink = Box::new(Folder::open(&path, PictureKind::Png).unwrap());
        for value in [10, 20] {
            let frame = Frame::flat(5, 3, PixelFormat::Rgb8, ColourRange::Full, value).unwrap();
            sink.write(&frame).unwrap();
        }
        sink.finish().unwrap();
        assert_eq!(read_rgb(&path.join("000002.png")).unwrap().data, [20; 45]);
    }
}
