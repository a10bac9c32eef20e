//! y4m (YUV4MPEG2) to a file or to standard output.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Stdout, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{OutputError, Sink};
use crate::file::aside;
use crate::picture::{ColourRange, Frame, PixelFormat, StreamInfo};

const BUFFER: usize = 1 << 20;
/// What each frame begins with.
const FRAME: &[u8] = b"FRAME\n";

/// Writes frames as y4m. Planes go out as they are; RGB, which y4m does not know, as 4:4:4.
struct Y4mWriter<W: Write> {
    writer: W,
    stream: StreamInfo,
    begun: Option<Shape>,
    /// Bytes of the header, and of each frame.
    header: usize,
    frame: usize,
    /// Frames that were written as a whole.
    frames: usize,
    /// What RGB becomes.
    planes: Vec<u8>,
}

/// What must stay the same in one stream.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    width: usize,
    height: usize,
    format: PixelFormat,
    range: ColourRange,
}

/// Why a frame could not be written.
enum Fault {
    Io(std::io::Error),
    Other(OutputError),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl<W: Write> Y4mWriter<W> {
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            stream: StreamInfo::default(),
            begun: None,
            header: 0,
            frame: 0,
            frames: 0,
            planes: Vec::new(),
        }
    }

    fn write(&mut self, frame: &Frame, name: &dyn Display) -> Result<(), Fault> {
        let shape = Shape {
            width: frame.width(),
            height: frame.height(),
            format: frame.format(),
            range: frame.range(),
        };
        match self.begun {
            Some(begun) if begun != shape => {
                return Err(Fault::Other(OutputError::Changed {
                    name: name.to_string(),
                    old_width: begun.width,
                    old_height: begun.height,
                    old_format: begun.format.name(),
                    new_width: shape.width,
                    new_height: shape.height,
                    new_format: shape.format.name(),
                }));
            }
            Some(_) => {}
            None => {
                let header = header(shape, &self.stream);
                self.writer.write_all(header.as_bytes())?;
                (self.begun, self.header) = (Some(shape), header.len());
            }
        }
        self.writer.write_all(FRAME)?;
        let data = if shape.format == PixelFormat::Rgb8 {
            frame
                .to_planes(PixelFormat::Yuv444, ColourRange::Limited, &mut self.planes)
                .map_err(|error| Fault::Other(error.into()))?;
            &self.planes
        } else {
            frame.data()
        };
        self.writer.write_all(data)?;
        self.frame = FRAME.len() + data.len();
        self.frames += 1;
        Ok(())
    }
}

impl Y4mWriter<BufWriter<NamedTempFile>> {
    /// The file with all whole frames and nothing more, if there are any: the last one may be a part,
    /// or not yet be written, when the disk is full. And whether all could be written.
    fn into_whole(self) -> std::io::Result<(Option<NamedTempFile>, std::io::Result<()>)> {
        let Self { writer, header, frame, frames, .. } = self;
        let (mut file, rest) = writer.into_parts();
        let rest = rest.unwrap_or_default();
        let length = |file: &NamedTempFile| {
            Ok::<_, std::io::Error>(file.as_file().metadata()?.len() as usize)
        };
        let missing = (header + frames * frame).saturating_sub(length(&file)?);
        let written = file.write_all(&rest[..missing.min(rest.len())]);
        let frames = frames.min(length(&file)?.saturating_sub(header) / frame.max(1));
        if frames == 0 {
            return Ok((None, written));
        }
        file.as_file().set_len((header + frames * frame) as u64)?;
        Ok((Some(file), written))
    }
}

fn header(shape: Shape, stream: &StreamInfo) -> String {
    let stated = stream.chroma.as_deref().unwrap_or_default();
    let (chroma, range) = match shape.format {
        // Where the source said how its samples sit, say the same; our own sit in the middle.
        PixelFormat::Yuv420 if stated.starts_with("420") => (stated, shape.range),
        PixelFormat::Yuv420 => ("420jpeg", shape.range),
        PixelFormat::Yuv422 => ("422", shape.range),
        PixelFormat::Yuv444 => ("444", shape.range),
        PixelFormat::Grey8 => ("mono", shape.range),
        PixelFormat::Rgb8 => ("444", ColourRange::Limited),
    };
    let range = match range {
        ColourRange::Full => "FULL",
        ColourRange::Limited => "LIMITED",
    };
    let (over, under) = stream.rate;
    let (across, down) = stream.aspect.unwrap_or((1, 1));
    let Shape { width, height, .. } = shape;
    let interlace = stream.interlace.unwrap_or('p');
    format!(
        "YUV4MPEG2 W{width} H{height} F{over}:{under} I{interlace} A{across}:{down} C{chroma} \
         XCOLORRANGE={range}\n"
    )
}

/// y4m on standard output.
pub(super) struct Pipe {
    writer: Y4mWriter<BufWriter<Stdout>>,
}

impl Pipe {
    pub fn stdout() -> Self {
        Self { writer: Y4mWriter::new(BufWriter::with_capacity(BUFFER, std::io::stdout())) }
    }
}

fn stdout_fault(fault: Fault) -> OutputError {
    match fault {
        Fault::Io(error) if error.kind() == ErrorKind::BrokenPipe => OutputError::Closed,
        Fault::Io(source) => OutputError::Stdout { source },
        Fault::Other(error) => error,
    }
}

impl Sink for Pipe {
    fn describe(&self) -> String {
        "y4m on standard output".into()
    }

    fn start(&mut self, stream: &StreamInfo) {
        self.writer.stream = stream.clone();
    }

    fn write(&mut self, frame: &Frame) -> Result<(), OutputError> {
        self.writer.write(frame, &"standard output").map_err(stdout_fault)?;
        // A viewer at the other end wants this frame now and not when the buffer is full.
        self.writer.writer.flush().map_err(|error| stdout_fault(error.into()))
    }

    fn finish(mut self: Box<Self>) -> Result<(), OutputError> {
        match self.writer.writer.flush().map_err(|error| stdout_fault(error.into())) {
            Err(OutputError::Closed) => Ok(()),
            other => other,
        }
    }
}

/// A `.y4m` file.
pub(super) struct Clip {
    path: PathBuf,
    target: Target,
}

enum Target {
    /// Beside the final name until it is finished.
    Aside(Y4mWriter<BufWriter<NamedTempFile>>),
    /// Something that is no plain file (a named pipe): a rename would replace it.
    Direct(Y4mWriter<BufWriter<File>>),
}

impl Clip {
    pub fn open(path: &Path) -> Result<Self, OutputError> {
        let fail = |source| OutputError::Write { path: path.into(), source };
        let is_special = std::fs::metadata(path).is_ok_and(|data| !data.is_file());
        let target = if is_special {
            let file = File::options().write(true).open(path).map_err(fail)?;
            Target::Direct(Y4mWriter::new(BufWriter::with_capacity(BUFFER, file)))
        } else {
            if path.exists() {
                log::warn!("{} is there, and is replaced when this run ends", path.display());
            }
            let file = aside(path).map_err(fail)?;
            Target::Aside(Y4mWriter::new(BufWriter::with_capacity(BUFFER, file)))
        };
        Ok(Self { path: path.into(), target })
    }

    fn fail(&self, fault: Fault) -> OutputError {
        match fault {
            Fault::Io(source) => OutputError::Write { path: self.path.clone(), source },
            Fault::Other(error) => error,
        }
    }
}

impl Sink for Clip {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn start(&mut self, stream: &StreamInfo) {
        match &mut self.target {
            Target::Aside(writer) => writer.stream = stream.clone(),
            Target::Direct(writer) => writer.stream = stream.clone(),
        }
    }

    fn write(&mut self, frame: &Frame) -> Result<(), OutputError> {
        let name = self.path.display();
        let written = match &mut self.target {
            Target::Aside(writer) => writer.write(frame, &name),
            Target::Direct(writer) => writer.write(frame, &name),
        };
        written.map_err(|fault| self.fail(fault))
    }

    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        let Self { path, target } = *self;
        let fail = |source| OutputError::Write { path: path.clone(), source };
        match target {
            Target::Direct(mut writer) => writer.writer.flush().map_err(fail),
            Target::Aside(writer) => {
                let (file, written) = writer.into_whole().map_err(fail)?;
                // If no frame ever came: leave what is there alone.
                let Some(file) = file else { return written.map_err(fail) };
                // Also where the disk says only now that it is full: a recording is not thrown away.
                let synced = file.as_file().sync_all();
                file.persist(&path).map_err(|error| fail(error.error))?;
                written.and(synced).map_err(fail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(format: PixelFormat) -> Frame {
        let data = (0..=255).cycle().take(format.bytes(5, 3)).collect();
        Frame::new(5, 3, format, ColourRange::Full, data).unwrap()
    }

    /// The disk was full within a frame: in the buffer, in the file, or before the buffer went there.
    #[test]
    fn a_clip_that_failed_has_all_whole_frames() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.y4m");
        let frame = frame(PixelFormat::Yuv444);
        let begun = |frames: usize| {
            let mut clip = Clip::open(&path).unwrap();
            (0..frames).for_each(|_| clip.write(&frame).unwrap());
            let Target::Aside(writer) = clip.target else { panic!("not aside") };
            writer
        };
        let finish =
            |writer| Box::new(Clip { path: path.clone(), target: Target::Aside(writer) }).finish();
        finish(begun(3)).unwrap();
        let three = std::fs::read(&path).unwrap();
        for part in [vec![7; 9], vec![7; 2 * BUFFER]] {
            std::fs::write(&path, "before").unwrap();
            let mut writer = begun(3);
            writer.writer.write_all(&part).unwrap();
            finish(writer).unwrap();
            assert!(std::fs::read(&path).unwrap() == three, "{}", part.len());
        }
        // The buffer went there in part: of the fourth frame.
        let mut writer = begun(3);
        writer.writer.write_all(b"FRAME\nhalf").unwrap();
        writer.frames += 1;
        finish(writer).unwrap();
        assert!(std::fs::read(&path).unwrap() == three);
        // Nothing can be written.
        std::fs::write(&path, "before").unwrap();
        let mut writer = begun(0);
        let (file, name) = writer.writer.into_inner().unwrap().into_parts();
        drop(file);
        let read_only = NamedTempFile::from_parts(File::open(&name).unwrap(), name);
        writer.writer = BufWriter::with_capacity(BUFFER, read_only);
        writer.write(&frame, &"it").ok().unwrap();
        assert!(finish(writer).is_err());
        assert!(std::fs::read(&path).unwrap() == b"before");
    }

    #[test]
    fn planes_go_out_as_they_are_under_the_sources_header() {
        let mut writer = Y4mWriter::new(Vec::new());
        writer.stream = StreamInfo {
            rate: (30000, 1001),
            aspect: Some((4, 3)),
            interlace: Some('t'),
            chroma: Some("420paldv".into()),
        };
        let frame = frame(PixelFormat::Yuv420);
        assert!(writer.write(&frame, &"x").is_ok());
        let mut expected =
            b"YUV4MPEG2 W5 H3 F30000:1001 It A4:3 C420paldv XCOLORRANGE=FULL\nFRAME\n".to_vec();
        expected.extend_from_slice(frame.data());
        assert_eq!(writer.writer, expected);
    }

    #[test]
    fn rgb_becomes_444_of_the_right_length() {
        let mut writer = Y4mWriter::new(Vec::new());
        assert!(writer.write(&frame(PixelFormat::Rgb8), &"x").is_ok());
        let end = writer.writer.iter().position(|&byte| byte == b'\n').unwrap();
        assert!(
            String::from_utf8_lossy(&writer.writer[..end]).ends_with("C444 XCOLORRANGE=LIMITED")
        );
        assert_eq!(writer.writer.len(), end + 1 + 6 + 45);
    }

    #[test]
    fn another_size_is_refused() {
        let mut writer = Y4mWriter::new(Vec::new());
        assert!(writer.write(&frame(PixelFormat::Yuv420), &"x").is_ok());
        assert!(matches!(
            writer.write(&frame(PixelFormat::Yuv444), &"x"),
            Err(Fault::Other(OutputError::Changed { .. }))
        ));
    }

    #[test]
    fn a_file_appears_when_finished_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.y4m");
        let mut sink = Box::new(Clip::open(&path).unwrap());
        sink.write(&frame(PixelFormat::Grey8)).unwrap();
        assert!(!path.exists());
        sink.finish().unwrap();
        assert!(path.exists());
        drop(Clip::open(&folder.path().join("p.y4m")).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
    }
}
