//! Numbered pictures in a folder.

use std::path::{Path, PathBuf};

use super::{OutputError, PictureKind, Sink};
use crate::picture::{Frame, RgbPicture, write_picture};

pub(super) struct Folder {
    path: PathBuf,
    kind: PictureKind,
    /// The number of the last one.
    written: u64,
    /// The picture written last, for its memory.
    rgb: Vec<u8>,
}

impl Folder {
    /// Goes on behind the pictures that are there: a service that starts again loses none of them.
    pub fn open(path: &Path, kind: PictureKind) -> Result<Self, OutputError> {
        let fail = |source| OutputError::Write { path: path.into(), source };
        std::fs::create_dir_all(path).map_err(fail)?;
        let mut written = 0;
        for entry in std::fs::read_dir(path).map_err(fail)? {
            written = written.max(number_of(&entry.map_err(fail)?.path(), kind).unwrap_or(0));
        }
        if written > 0 {
            log::warn!(
                "{}: holds pictures up to number {written}; these go on behind them (for numbers \
                 from 1 empty it first)",
                path.display()
            );
        }
        Ok(Self { path: path.into(), kind, written, rgb: Vec::new() })
    }
}

/// That of a picture as they are numbered here.
fn number_of(path: &Path, kind: PictureKind) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(kind.extension())?.strip_suffix('.')?;
    let is_number = name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| name.parse().ok())?
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
        // The next run's come behind them, whatever else lies there.
        for name in ["000007.jpg", "12.png", "a00009.png", "000009.png.part", "999999"] {
            std::fs::write(path.join(name), "").unwrap();
        }
        let mut sink = Folder::open(&path, PictureKind::Png).unwrap();
        let frame = Frame::flat(5, 3, PixelFormat::Rgb8, ColourRange::Full, 30).unwrap();
        sink.write(&frame).unwrap();
        assert_eq!(read_rgb(&path.join("000002.png")).unwrap().data, [20; 45]);
        assert_eq!(read_rgb(&path.join("000003.png")).unwrap().data, [30; 45]);
        assert_eq!(Folder::open(&path, PictureKind::Jpeg).unwrap().written, 7);
    }
}
