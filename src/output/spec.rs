//! What the user typed after `--output`, understood but not yet opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::file::{is_special, is_video_device};

/// Where pictures go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkSpec {
    /// A page in the browser, `http:`.
    Http,
    /// A V4L2 output device, `/dev/video9`.
    Device(PathBuf),
    /// y4m on standard output, `-`.
    Stdout,
    /// A `.y4m` file.
    Y4m(PathBuf),
    /// Numbered pictures in a folder: `out` (PNG), `out/%.jpg`, `out/%.png`.
    Folder { path: PathBuf, kind: PictureKind },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    Png,
    Jpeg,
}

impl PictureKind {
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
        }
    }
}

impl FromStr for SinkSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => return Err("no output given; try http: or out.y4m".into()),
            "http:" => return Ok(Self::Http),
            "-" => return Ok(Self::Stdout),
            _ => {}
        }
        if is_video_device(text) {
            return Ok(Self::Device(text.into()));
        }
        if text.starts_with("http") && text.contains(':') {
            return Err("the page is http: alone; its address goes into --http ADDR:PORT".into());
        }
        let path = Path::new(text);
        match path.file_name().and_then(|name| name.to_str()) {
            Some("%.png") => return Ok(Self::folder(path.parent(), PictureKind::Png)),
            Some("%.jpg" | "%.jpeg") => {
                return Ok(Self::folder(path.parent(), PictureKind::Jpeg));
            }
            _ => {}
        }
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            _ if path.is_dir() || text.ends_with('/') => {
                Ok(Self::folder(Some(path), PictureKind::Png))
            }
            Some("y4m") => Ok(Self::Y4m(path.into())),
            // A pipe, or /dev/null.
            _ if is_special(path) => Ok(Self::Y4m(path.into())),
            Some("png" | "jpg" | "jpeg") => Err(format!(
                "{text} is one picture; for numbered ones write FOLDER/%.png or FOLDER/%.jpg"
            )),
            Some("mp4" | "mkv" | "avi" | "webm" | "mov" | "mpg" | "mjpeg" | "gif") => Err(format!(
                "{text}: lbam-edge writes .y4m; for this: lbam-edge ... --output - | ffmpeg -i - {text}"
            )),
            _ => Ok(Self::folder(Some(path), PictureKind::Png)),
        }
    }
}

impl SinkSpec {
    /// Whether pictures are looked at as they come, and kept nowhere.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Http | Self::Device(_))
    }

    fn folder(path: Option<&Path>, kind: PictureKind) -> Self {
        let path = path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::Folder { path: path.into(), kind }
    }
}

impl fmt::Display for SinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http => f.write_str("http:"),
            Self::Stdout => f.write_str("-"),
            Self::Device(path) | Self::Y4m(path) => write!(f, "{}", path.display()),
            Self::Folder { path, kind } => write!(f, "{}/%.{}", path.display(), kind.extension()),
        }
    }
}

/// A name of this machine by which the page may be asked for, such as a proxy hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_letter) {
            return Err(format!(
                "{text} is not a host name; give it alone, without http:// and port: \
                 camera.example.org"
            ));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_are_told_apart() {
        assert_eq!("http:".parse(), Ok(SinkSpec::Http));
        assert_eq!("-".parse(), Ok(SinkSpec::Stdout));
        assert_eq!("a.y4m".parse(), Ok(SinkSpec::Y4m("a.y4m".into())));
        let folder = |path: &str, kind| Ok(SinkSpec::Folder { path: path.into(), kind });
        assert_eq!("out".parse(), folder("out", PictureKind::Png));
        assert_eq!("out.d".parse(), folder("out.d", PictureKind::Png));
        assert_eq!("out/%.jpg".parse(), folder("out", PictureKind::Jpeg));
        assert_eq!("%.png".parse(), folder(".", PictureKind::Png));
        assert_eq!("/dev/video3".parse(), Ok(SinkSpec::Device("/dev/video3".into())));
        for wrong in ["", "a.mp4", "a.png", "http://x:1/"] {
            assert!(wrong.parse::<SinkSpec>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn host_names_stand_alone() {
        let name: HostName = "Camera.Example.org".parse().unwrap();
        assert_eq!(name.to_string(), "camera.example.org");
        for wrong in ["", "http://camera.example.org", "camera:8080", "a b", "*.example.org"] {
            assert!(wrong.parse::<HostName>().is_err(), "{wrong}");
        }
    }
}
