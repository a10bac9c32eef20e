//! y4m (YUV4MPEG2), from a file or from standard input.
//!
//! Read here and not through a crate: the frame's bytes go straight into the buffer that the
//! network's pixels are pasted into, without a second copy, and a header that lies about its
//! size is refused before anything is allocated for it.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use super::{CameraError, Captured, Source};
use crate::file::is_special;
use crate::picture::{ColourRange, Frame, MAX_SIDE, PixelFormat, Pool, StreamInfo};

/// Longer than any header seen; keeps a file without line ends from being swallowed whole.
const MAX_LINE: usize = 1024;
const BUFFER: usize = 1 << 16;
const NO_HEADER: &str = "it does not begin with YUV4MPEG2; convert it: ffmpeg -i CLIP -pix_fmt yuv420p \
                         -f yuv4mpegpipe - | lbam-edge --camera -";

/// A y4m stream being read.
pub struct Y4mReader {
    name: String,
    is_pipe: bool,
    reader: Box<dyn Read + Send>,
    header: Header,
    frames: u64,
    /// The line read last.
    line: Vec<u8>,
    pool: Pool,
}

#[derive(Debug, PartialEq)]
struct Header {
    width: usize,
    height: usize,
    format: PixelFormat,
    range: ColourRange,
    stream: StreamInfo,
}

impl Y4mReader {
    pub fn open(path: &Path) -> Result<Self, CameraError> {
        let file = File::open(path).map_err(|error| CameraError::read(path.display(), error))?;
        let file = BufReader::with_capacity(BUFFER, file);
        let mut reader = Self::new(path.display().to_string(), Box::new(file))?;
        reader.is_pipe = is_special(path);
        Ok(reader)
    }

    pub fn stdin() -> Result<Self, CameraError> {
        let stdin = BufReader::with_capacity(BUFFER, std::io::stdin());
        let mut reader = Self::new("standard input".into(), Box::new(stdin))?;
        reader.is_pipe = true;
        Ok(reader)
    }

    /// From anything that can be read; `name` is what errors call it.
    pub fn new(name: String, mut reader: Box<dyn Read + Send>) -> Result<Self, CameraError> {
        let wrong = |reason: String| CameraError::Y4m { name: name.clone(), reason };
        let mut line = Vec::new();
        match read_line(&mut reader, &mut line) {
            Ok(true) => {}
            Ok(false) => return Err(wrong("it is empty; check the program that writes it".into())),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(wrong(NO_HEADER.into()));
            }
            Err(error) => return Err(CameraError::read(&name, error)),
        }
        let header = parse_header(&line).map_err(wrong)?;
        let pool = Pool::default();
        Ok(Self { name, is_pipe: false, reader, header, frames: 0, line, pool })
    }

    /// Its writer ended before its first frame.
    fn empty(&self) -> CameraError {
        let reason = "it has no whole frame; check the program that writes it".into();
        CameraError::Y4m { name: self.name.clone(), reason }
    }
}

impl Source for Y4mReader {
    fn describe(&self) -> String {
        let Header { width, height, format, .. } = &self.header;
        format!("{} ({width}x{height} {})", self.name, format.name())
    }

    fn paces_itself(&self) -> bool {
        self.is_pipe
    }

    fn stream(&self) -> StreamInfo {
        self.header.stream.clone()
    }

    fn next(&mut self) -> Result<Option<Captured>, CameraError> {
        match read_line(&mut self.reader, &mut self.line) {
            Ok(true) => {}
            Ok(false) if self.frames == 0 => return Err(self.empty()),
            Ok(false) => return Ok(None),
            Err(error) => return Err(CameraError::read(&self.name, error)),
        }
        if !(self.line == b"FRAME" || self.line.starts_with(b"FRAME ")) {
            return Err(CameraError::Y4m {
                name: self.name.clone(),
                reason: format!(
                    "frame {} does not begin with FRAME; it is damaged",
                    self.frames + 1
                ),
            });
        }
        let Header { width, height, format, range, .. } = self.header;
        let mut frame = Frame::within(&self.pool, width, height, format, range)
            .map_err(|source| CameraError::Frame { name: self.name.clone(), source })?;
        match self.reader.read_exact(frame.data_mut()) {
            Ok(()) => {}
            // The writer was stopped in the middle of a frame: what was whole has been taken.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                if self.frames == 0 {
                    return Err(self.empty());
                }
                log::warn!("{}: frame {} is cut off; left out", self.name, self.frames + 1);
                return Ok(None);
            }
            Err(error) => return Err(CameraError::read(&self.name, error)),
        }
        self.frames += 1;
        Ok(Some(Captured::Frame(frame)))
    }
}

/// Reads a line without its end; `false` at the end of the stream.
fn read_line(reader: &mut impl Read, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let mut one = [0];
    loop {
        match reader.read(&mut one) {
            Ok(0) if line.is_empty() => return Ok(false),
            Ok(0) => return Err(std::io::Error::new(ErrorKind::InvalidData, "a line is cut off")),
            Ok(_) if one[0] == b'\n' => return Ok(true),
            Ok(_) if line.len() >= MAX_LINE => {
                return Err(std::io::Error::new(ErrorKind::InvalidData, "a line is too long"));
            }
            Ok(_) => line.push(one[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn parse_header(line: &[u8]) -> Result<Header, String> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split(' ');
    if words.next() != Some("YUV4MPEG2") {
        return Err(NO_HEADER.into());
    }
    let (mut width, mut height, mut chroma, mut range) = (0, 0, None, None);
    let mut stream = StreamInfo::default();
    for word in words.filter(|word| !word.is_empty()) {
        let Some((name, value)) = word.split_at_checked(1) else { continue };
        let side = || value.parse().map_err(|_| format!("{word} is not a size"));
        match name {
            "W" => width = side()?,
            "H" => height = side()?,
            "F" => stream.rate = ratio(value).unwrap_or(stream.rate),
            "A" => stream.aspect = ratio(value),
            "I" => stream.interlace = value.chars().next(),
            "C" => chroma = Some(value.to_string()),
            "X" if value == "COLORRANGE=FULL" => range = Some(ColourRange::Full),
            "X" if value == "COLORRANGE=LIMITED" => range = Some(ColourRange::Limited),
            _ => {}
        }
    }
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        return Err(format!("its size is {width}x{height}; each side must be 1 to {MAX_SIDE}"));
    }
    let format = match chroma.as_deref() {
        None | Some("420" | "420jpeg" | "420mpeg2" | "420paldv") => PixelFormat::Yuv420,
        Some("422") => PixelFormat::Yuv422,
        Some("444") => PixelFormat::Yuv444,
        Some("mono") => PixelFormat::Grey8,
        Some(other) => {
            return Err(format!(
                "its colour format is {other}; ask the writer for another (ffmpeg -i CLIP \
                 -pix_fmt yuv420p -f yuv4mpegpipe -)"
            ));
        }
    };
    // A colour sample then covers lines of one half picture, between which lie the other's.
    if format == PixelFormat::Yuv420 && matches!(stream.interlace, Some('t' | 'b' | 'm')) {
        return Err(
            "it is interlaced with colours for two lines of a half picture (4:2:0), which \
                    masks do not part; make it progressive (ffmpeg -vf yadif), or give it colours \
                    for every line (ffmpeg -pix_fmt yuv422p)"
                .into(),
        );
    }
    // Unstated: video is limited, grey is full; ffmpeg sees it so too.
    let unstated =
        if format == PixelFormat::Grey8 { ColourRange::Full } else { ColourRange::Limited };
    stream.chroma = chroma;
    Ok(Header { width, height, format, range: range.unwrap_or(unstated), stream })
}

fn ratio(text: &str) -> Option<(u32, u32)> {
    let (over, under) = text.split_once(':')?;
    let (over, under) = (over.parse().ok()?, under.parse().ok()?);
    (over > 0 && under > 0).then_some((over, under))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Y4mReader, CameraError> {
        Y4mReader::new("test".into(), Box::new(std::io::Cursor::new(bytes.to_vec())))
    }

    #[test]
    fn planes_and_header_come_through() {
        let mut bytes =
            b"YUV4MPEG2 W3 H2 F30000:1001 Ip A1:1 C420jpeg XCOLORRANGE=FULL\nFRAME Ixyz\n".to_vec();
        bytes.extend(0..10);
        bytes.extend(b"FRAME\n12");
        let mut reader = read(&bytes).unwrap();
        let stream = reader.stream();
        assert_eq!((stream.rate, stream.aspect), ((30000, 1001), Some((1, 1))));
        assert_eq!(stream.chroma.as_deref(), Some("420jpeg"));
        let frame = reader.next().unwrap().unwrap().decode(&Pool::default()).unwrap();
        assert_eq!(frame.data(), (0..10).collect::<Vec<u8>>());
        assert_eq!(frame.range(), ColourRange::Full);
        assert!(reader.next().unwrap().is_none(), "the cut frame is left out");
    }

    #[test]
    fn lies_are_refused() {
        for header in [
            "",
            "YUV4MPEG",
            "YUV4MPEG2 W3 H2",
            "YUV4MPEG2 W3\n",
            "YUV4MPEG2 W-1 H2\n",
            "YUV4MPEG2 W99999999999 H99999999999\n",
            "YUV4MPEG2 W18446744073709551615 H2\n",
            "YUV4MPEG2 W16 H16 C420p10\n",
            "YUV4MPEG2 W16 H16 C411\n",
            "YUV4MPEG2 W\u{e4} H2\n",
            "YUV4MPEG2 W16 H16 It\n",
            "YUV4MPEG2 W16 H16 Ib C420jpeg\n",
        ] {
            assert!(read(header.as_bytes()).is_err(), "{header}");
        }
        assert!(read(&[b'x'; 5000]).is_err());
        for header in ["YUV4MPEG2 W16 H16 It C422\n", "YUV4MPEG2 W16 H16 I? C420\n"] {
            assert!(read(header.as_bytes()).is_ok(), "{header}");
        }
        assert!(read(b"YUV4MPEG2 W2 H2\nFRAMES\n123456").unwrap().next().is_err());
    }
}
