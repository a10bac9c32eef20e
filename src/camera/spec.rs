//! What the user typed after `--camera` or `--mask`, understood but not yet opened.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::file::is_video_device;
use crate::picture::{MAX_SIDE, MaskError, Rect, parse_size};

/// Sides of the picture that `test:` makes when no size is given.
const TEST_SIZE: (usize, usize) = (640, 480);

/// Where frames come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSpec {
    /// A V4L2 capture device, `/dev/video0`.
    Device(PathBuf),
    /// y4m on standard input, `-`.
    Stdin,
    /// A `.y4m` file.
    Y4m(PathBuf),
    /// A folder of pictures, in natural order.
    Folder(PathBuf),
    /// An `.mjpeg` stream or an `.avi` that holds MJPEG.
    Mjpeg(PathBuf),
    /// A moving pattern made by the program, `test:` or `test:320x240`.
    Test { width: usize, height: usize },
}

impl FromStr for SourceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("no source given; try /dev/video0 or test:".into());
        }
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if let Some(size) = text.strip_prefix("test:") {
            let (width, height) = if size.is_empty() {
                TEST_SIZE
            } else {
                test_size(size).map_err(|e| e + "; try test:640x480")?
            };
            return Ok(Self::Test { width, height });
        }
        if is_video_device(text) {
            return Ok(Self::Device(text.into()));
        }
        if text.contains("://") {
            return Err(format!(
                "{text}: a camera in the network comes through ffmpeg: ffmpeg -i ADDRESS -pix_fmt \
                 yuv420p -f yuv4mpegpipe - | lbam-edge --camera - ..."
            ));
        }
        let path = PathBuf::from(text);
        let number = text.strip_prefix("video").unwrap_or(text);
        if number.parse::<u8>().is_ok() && !path.exists() {
            return Err(format!("{text} is not a source; did you mean /dev/video{number}?"));
        }
        let extension =
            path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        if path.is_dir() {
            return Ok(Self::Folder(path));
        }
        match extension.as_str() {
            "y4m" => Ok(Self::Y4m(path)),
            "mjpeg" | "mjpg" | "avi" => Ok(Self::Mjpeg(path)),
            "" => Ok(Self::Folder(path)),
            _ => Err(format!(
                "{text} is not a source; give /dev/videoN, a .y4m, .mjpeg or MJPEG .avi file, a \
                 folder of pictures, - or test: (any other clip: ffmpeg -i {text} -pix_fmt \
                 yuv420p -f yuv4mpegpipe - | lbam-edge --camera - ...)"
            )),
        }
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) | Self::Y4m(path) | Self::Folder(path) | Self::Mjpeg(path) => {
                write!(f, "{}", path.display())
            }
            Self::Stdin => f.write_str("standard input"),
            Self::Test { width, height } => write!(f, "test:{width}x{height}"),
        }
    }
}

/// A pixel format of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraFormat {
    /// YUV 4:2:2, interleaved: most USB cameras.
    Yuyv,
    /// The same in another order: bridges from HDMI.
    Uyvy,
    /// YUV 4:2:0 in two planes: most cameras on a board's own connector.
    Nv12,
    /// The same in three planes: what programs write to v4l2loopback.
    Yu12,
    /// A JPEG a frame: what USB cameras send when the picture is large.
    Mjpeg,
    Rgb3,
    Grey,
}

impl CameraFormat {
    const NAMES: [(&str, Self); 8] = [
        ("YUYV", Self::Yuyv),
        ("UYVY", Self::Uyvy),
        ("NV12", Self::Nv12),
        ("YU12", Self::Yu12),
        ("MJPG", Self::Mjpeg),
        ("RGB3", Self::Rgb3),
        ("GREY", Self::Grey),
        ("MJPEG", Self::Mjpeg),
    ];
}

impl FromStr for CameraFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|&(_, format)| format).ok_or_else(|| {
            format!(
                "{text} is not a format lbam reads; give YUYV, UYVY, NV12, YU12, MJPG, RGB3 or GREY"
            )
        })
    }
}

/// What to ask of a camera. One that cannot do it gives what it has, and the log says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CameraWish {
    pub format: Option<CameraFormat>,
    /// Width and height, pixels.
    pub size: Option<(u32, u32)>,
}

/// Where masks come from. Several are united: a pixel hidden by one is hidden.
#[derive(Clone, Debug, PartialEq)]
pub enum MaskSpec {
    /// A rectangle, `rect:x,y,w,h`, each in pixels or in percent of the frame.
    Rect(Rect),
    /// A picture (white: fill), or a folder of them, one a frame.
    Path(PathBuf),
    /// Painted on the page, `http:`.
    Page,
    /// Pictures of a V4L2 device, `/dev/video1` (white: fill).
    Device(PathBuf),
    /// Sent by another process to a Unix socket, `unix:PATH`.
    Socket(PathBuf),
}

impl MaskSpec {
    /// Whether masks come at their own time, so that one picture has none of its own.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Page | Self::Device(_) | Self::Socket(_))
    }
}

impl FromStr for MaskSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("no mask given; try rect:30%,30%,20%,20%".into());
        }
        if text.starts_with("rect:") {
            return text.parse().map(Self::Rect).map_err(|error: MaskError| error.to_string());
        }
        if text == "http:" {
            return Ok(Self::Page);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("unix: names no socket; try unix:/run/user/1000/masks".into()),
                _ => Ok(Self::Socket(path.into())),
            };
        }
        if is_video_device(text) {
            return Ok(Self::Device(text.into()));
        }
        Ok(Self::Path(text.into()))
    }
}

impl fmt::Display for MaskSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rect(rect) => write!(f, "{rect}"),
            Self::Path(path) | Self::Device(path) => write!(f, "{}", path.display()),
            Self::Page => f.write_str("http:"),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn test_size(text: &str) -> Result<(usize, usize), String> {
    match parse_size(text) {
        Some((width, height))
            if (2..=MAX_SIDE).contains(&width) && (2..=MAX_SIDE).contains(&height) =>
        {
            Ok((width, height))
        }
        _ => Err(format!("{text} is not a size such as 640x480 (sides 2 to {MAX_SIDE})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        assert_eq!("-".parse(), Ok(SourceSpec::Stdin));
        assert_eq!("test:".parse(), Ok(SourceSpec::Test { width: 640, height: 480 }));
        assert_eq!("test:33x21".parse(), Ok(SourceSpec::Test { width: 33, height: 21 }));
        assert_eq!("/dev/video2".parse(), Ok(SourceSpec::Device("/dev/video2".into())));
        assert_eq!("a/b.y4m".parse(), Ok(SourceSpec::Y4m("a/b.y4m".into())));
        assert_eq!("a/b.AVI".parse(), Ok(SourceSpec::Mjpeg("a/b.AVI".into())));
        assert_eq!("/".parse(), Ok(SourceSpec::Folder("/".into())));
        for wrong in ["", "clip.mp4", "test:1x1", "test:x", "test:99999x2", "test:-3x5"] {
            assert!(wrong.parse::<SourceSpec>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn formats_have_names() {
        assert_eq!("nv12".parse(), Ok(CameraFormat::Nv12));
        assert_eq!("MJPG".parse(), "mjpeg".parse::<CameraFormat>());
        assert!("H264".parse::<CameraFormat>().is_err());
    }

    #[test]
    fn rectangles_are_checked() {
        assert!(matches!("rect:10%,0,20.5%,7".parse(), Ok(MaskSpec::Rect(_))));
        assert_eq!("a.png".parse(), Ok(MaskSpec::Path("a.png".into())));
        for wrong in [
            "rect:",
            "rect:1,2,3",
            "rect:1,2,3,4,5",
            "rect:1,2,0,4",
            "rect:1,2,101%,4",
            "rect:nan%,0,1,1",
            "rect:-1,0,1,1",
            "",
        ] {
            assert!(wrong.parse::<MaskSpec>().is_err(), "{wrong}");
        }
        assert_eq!("http:".parse(), Ok(MaskSpec::Page));
        assert_eq!("unix:/run/x".parse(), Ok(MaskSpec::Socket("/run/x".into())));
        assert!("unix:".parse::<MaskSpec>().is_err());
        assert_eq!("/dev/video1".parse(), Ok(MaskSpec::Device("/dev/video1".into())));
    }
}
