//! y4m (YUV4MPEG2), and the files of it.

use std::fmt::Display;
use std::io::{BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, PersistError};

use super::{OutputError, Sink};
use crate::file::{aside, place};
use crate::picture::{ColourRange, Frame, PixelFormat, StreamInfo};

pub(super) const BUFFER: usize = 1 << 16;
/// What each frame begins with.
const FRAME: &[u8] = b"FRAME\n";
/// What a rate by the clock is given in fractions of, and its digits, leading zeros included, so that the
/// header has its length before it is known.
const FRACTION: u32 = 1000;
const DIGITS: usize = 9;
/// A rate by the clock is told of so much: the first interval may be short, where the network is still being
/// prepared.
const ENOUGH: Duration = Duration::from_secs(1);
/// Nothing came for so long: the source was away, and a clip does not stand still for it.
const PAUSE: Duration = Duration::from_secs(8);

/// Writes frames as y4m. Planes go out as they are; RGB, which y4m does not know, as 4:4:4.
pub(super) struct Y4mWriter<W: Write> {
    pub(super) writer: W,
    pub(super) stream: StreamInfo,
    /// Digits of the rate, at least.
    digits: usize,
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
pub(super) enum Fault {
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
            digits: 1,
            begun: None,
            header: 0,
            frame: 0,
            frames: 0,
            planes: Vec::new(),
        }
    }

    pub fn write(&mut self, frame: &Frame, name: &dyn Display) -> Result<(), Fault> {
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
                let header = header(shape, &self.stream, self.digits);
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
    /// or not yet be written, when the disk is full. And whether all could be written. `rate` is that
    /// of the clock over [`FRACTION`], if it tells one.
    fn into_whole(
        self,
        rate: Option<u32>,
    ) -> std::io::Result<(Option<NamedTempFile>, std::io::Result<()>)> {
        let Self { writer, header, frame, frames, begun, mut stream, digits, .. } = self;
        let (mut file, rest) = writer.into_parts();
        let rest = rest.unwrap_or_default();
        let length = |file: &NamedTempFile| {
            Ok::<_, std::io::Error>(file.as_file().metadata()?.len() as usize)
        };
        let missing = (header + frames * frame).saturating_sub(length(&file)?);
        let mut written = file.write_all(&rest[..missing.min(rest.len())]);
        let frames = frames.min(length(&file)?.saturating_sub(header) / frame.max(1));
        if frames == 0 {
            return Ok((None, written));
        }
        let whole = header + frames * frame;
        if length(&file)? > whole {
            file.as_file().set_len(whole as u64)?;
        }
        if let (Some(shape), Some(rate)) = (begun, rate) {
            stream.rate = (rate, FRACTION);
            let told = self::header(shape, &stream, digits);
            // The source may have come to say other things of its stream meanwhile.
            if told.len() == header {
                // A full disk may have no place for what is written over, either.
                let start = file.seek(SeekFrom::Start(0));
                written = written.and(start).and_then(|_| file.write_all(told.as_bytes()));
            }
        }
        Ok((Some(file), written))
    }
}

/// So many frames in so many seconds, as a numerator over [`FRACTION`].
fn measured(frames: usize, seconds: f64) -> u32 {
    let rate = f64::from(FRACTION) * frames as f64 / seconds.max(f64::MIN_POSITIVE);
    // Infinity and what has more digits than there are.
    rate.round().clamp(1.0, f64::from(10_u32.pow(DIGITS as u32) - 1)) as u32
}

fn header(shape: Shape, stream: &StreamInfo, digits: usize) -> String {
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
        "YUV4MPEG2 W{width} H{height} F{over:0digits$}:{under} I{interlace} A{across}:{down} C{chroma} \
         XCOLORRANGE={range}\n"
    )
}

/// A `.y4m` file, beside its final name until it is finished.
pub(super) struct Clip {
    path: PathBuf,
    /// What it was to be called, where clips that are there stay.
    asked: Option<PathBuf>,
    writer: Y4mWriter<BufWriter<NamedTempFile>>,
    clock: Option<Clock>,
}

/// Finds the rate at which frames come.
#[derive(Default)]
struct Clock {
    last: Option<Instant>,
    /// Intervals, and their sum.
    intervals: (usize, Duration),
    pauses: (usize, Duration),
}

impl Clock {
    fn tick(&mut self, now: Instant) {
        let Some(last) = self.last.replace(now) else { return };
        let interval = now - last;
        let (count, sum) = if interval < PAUSE { &mut self.intervals } else { &mut self.pauses };
        (*count, *sum) = (*count + 1, *sum + interval);
    }

    /// Over [`FRACTION`]; `None` as long as there is little to tell it from.
    fn rate(&self) -> Option<u32> {
        // A source of nothing but pauses is that slow.
        let (count, sum) = if self.intervals.0 > 0 { self.intervals } else { self.pauses };
        (sum >= ENOUGH).then(|| measured(count, sum.as_secs_f64()))
    }
}

impl Clip {
    /// With `keep` a clip that is there stays, and this one is numbered on: `day-2.y4m`. With `by_clock`
    /// its rate is that at which frames came, so that it lasts as long as they took.
    pub fn open(path: &Path, keep: bool, by_clock: bool) -> Result<Self, OutputError> {
        let asked = keep.then(|| place(path));
        let path = asked.as_deref().map_or_else(|| place(path), free_name);
        if path.exists() {
            log::warn!("{} is there, and is replaced when this run ends", path.display());
        }
        match aside(&path) {
            Ok(file) => {
                let writer = Y4mWriter::new(BufWriter::with_capacity(BUFFER, file));
                Ok(Self { path, asked, writer, clock: by_clock.then(Clock::default) })
            }
            Err(source) => Err(OutputError::Write { path, source }),
        }
    }
}

/// The path, or if there is something, the first with a number that is free.
fn free_name(path: &Path) -> PathBuf {
    let [stem, extension] = [path.file_stem(), path.extension()]
        .map(|part| part.unwrap_or_default().to_string_lossy().into_owned());
    let numbered =
        (2_u64..).map(|number| path.with_file_name(format!("{stem}-{number}.{extension}")));
    let mut names = std::iter::once(path.to_owned()).chain(numbered);
    names.find(|name| !name.exists()).unwrap_or_else(|| path.to_owned())
}

/// As its `persist`, under a name that is free: another may have taken the one that was.
fn persist_beside(mut file: NamedTempFile, path: &Path) -> Result<(), PersistError> {
    loop {
        let error = match file.persist_noclobber(free_name(path)) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if error.error.kind() != ErrorKind::AlreadyExists {
            // Some file systems can only replace.
            return error.file.persist(free_name(path)).map(drop);
        }
        file = error.file;
    }
}

impl Sink for Clip {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn start(&mut self, stream: &StreamInfo) {
        self.writer.stream = stream.clone();
        let (over, under) = stream.rate;
        if self.clock.is_some() && under > 0 {
            let rate = measured(over as usize, f64::from(under));
            (self.writer.stream.rate, self.writer.digits) = ((rate, FRACTION), DIGITS);
        }
    }

    fn write(&mut self, frame: &Frame) -> Result<(), OutputError> {
        if let Some(clock) = &mut self.clock {
            clock.tick(Instant::now());
        }
        self.writer.write(frame, &self.path.display()).map_err(|fault| match fault {
            Fault::Io(source) => OutputError::Write { path: self.path.clone(), source },
            Fault::Other(error) => error,
        })
    }

    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        let Self { path, asked, writer, clock } = *self;
        let rate = clock.and_then(|clock| clock.rate());
        let fail = |source| OutputError::Write { path: path.clone(), source };
        let (file, written) = writer.into_whole(rate).map_err(fail)?;
        // If no frame ever came: leave what is there alone.
        let Some(file) = file else { return written.map_err(fail) };
        // Also where the disk says only now that it is full: a recording is not thrown away.
        let synced = file.as_file().sync_all();
        let persisted = match asked {
            Some(asked) => persist_beside(file, &asked),
            None => file.persist(&path).map(drop),
        };
        persisted.map_err(|error| fail(error.error))?;
        written.and(synced).map_err(fail)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

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
            let mut clip = Clip::open(&path, false, false).unwrap();
            (0..frames).for_each(|_| clip.write(&frame).unwrap());
            clip.writer
        };
        let finish = |writer| {
            Box::new(Clip { path: path.clone(), asked: None, writer, clock: None }).finish()
        };
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
        let mut sink = Box::new(Clip::open(&path, false, false).unwrap());
        sink.write(&frame(PixelFormat::Grey8)).unwrap();
        assert!(!path.exists());
        sink.finish().unwrap();
        assert!(path.exists());
        drop(Clip::open(&folder.path().join("p.y4m"), false, false).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
    }

    /// A camera that says 30 frames a second.
    fn clip_by_clock(path: &Path, clock: Clock) -> Clip {
        let mut clip = Clip::open(path, false, true).unwrap();
        clip.start(&StreamInfo { rate: (30, 1), ..StreamInfo::default() });
        (0..5).for_each(|_| clip.write(&frame(PixelFormat::Grey8)).unwrap());
        clip.clock = Some(clock);
        clip
    }

    /// One frame in 0.1 s, and a night between two of them.
    fn slow_clock(intervals: usize) -> Clock {
        clock_of((0..intervals).map(|number| if number == 2 { 40_000_000 } else { 100 }))
    }

    /// Of intervals in milliseconds.
    fn clock_of(intervals: impl Iterator<Item = u64>) -> Clock {
        let (mut clock, mut now) = (Clock::default(), Instant::now());
        clock.tick(now);
        for interval in intervals {
            now += Duration::from_millis(interval);
            clock.tick(now);
        }
        clock
    }

    #[test]
    fn a_clip_by_the_clock_has_the_rate_at_which_its_frames_came() {
        assert_eq!([0, 10].map(|intervals| slow_clock(intervals).rate()), [None; 2]);
        assert_eq!(slow_clock(11).rate(), Some(10_000));
        assert_eq!(clock_of([10_000; 3].into_iter()).rate(), Some(100));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.y4m");
        let finish = |clock| {
            Box::new(clip_by_clock(&path, clock)).finish().unwrap();
            std::fs::read(&path).unwrap()
        };
        // Of a few frames it is what the camera says.
        assert!(finish(slow_clock(4)).starts_with(b"YUV4MPEG2 W5 H3 F000030000:1000 Ip"));
        let bytes = finish(slow_clock(99));
        assert!(bytes.starts_with(b"YUV4MPEG2 W5 H3 F000010000:1000 Ip"));
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
        assert_eq!(bytes.len(), end + 1 + 5 * (6 + 15));
        assert!(bytes[end + 1..].starts_with(FRAME));
    }

    /// It has its frames all the same.
    #[test]
    fn a_clip_whose_header_cannot_be_written_anew_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.y4m");
        let mut clip = clip_by_clock(&path, slow_clock(99));
        clip.writer.writer.flush().unwrap();
        let (file, name) = clip.writer.writer.into_inner().unwrap().into_parts();
        drop(file);
        let read_only = NamedTempFile::from_parts(File::open(&name).unwrap(), name);
        clip.writer.writer = BufWriter::with_capacity(BUFFER, read_only);
        assert!(Box::new(clip).finish().is_err());
        assert!(std::fs::read(&path).unwrap().starts_with(b"YUV4MPEG2 W5 H3 F000030000:1000 Ip"));
    }

    #[test]
    fn a_measured_rate_has_the_digits_that_there_are() {
        assert_eq!(measured(30000, 1001.0), 29970);
        assert_eq!(measured(1, 1e9), 1);
        assert_eq!([0.0, 1e-300].map(|seconds| measured(7, seconds)), [999_999_999; 2]);
    }

    #[test]
    fn a_clip_that_is_to_be_kept_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.y4m");
        let open = || {
            let mut sink = Box::new(Clip::open(&path, true, false).unwrap());
            sink.write(&frame(PixelFormat::Grey8)).unwrap();
            sink
        };
        open().finish().unwrap();
        // Two at once, of which the second finds its name taken.
        let [first, second] = [open(), open()];
        assert_eq!(first.describe(), folder.path().join("day-2.y4m").display().to_string());
        first.finish().unwrap();
        second.finish().unwrap();
        for name in ["day.y4m", "day-2.y4m", "day-3.y4m"] {
            assert!(folder.path().join(name).exists(), "{name}");
        }
    }
}
