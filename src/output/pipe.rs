//! y4m into a pipe, or into whatever else standard output is.
//!
//! Whoever reads sets the pace, and may pause for good. A program that is asked to end must not wait for
//! that: it has files to complete. So nothing is written that the pipe has no room for.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::y4m::{BUFFER, Fault, Y4mWriter};
use super::{OutputError, Sink};
use crate::picture::{Frame, StreamInfo};
use crate::process::Stop;

/// How often whoever waits for a reader looks whether to end.
const TICK: Duration = Duration::from_millis(100);
/// Asked to end, a reader that takes nothing for so long is not waited with.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a pipe that has any room takes without waiting (PIPE_BUF, pipe(7)).
const ATOMIC: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// Frames as y4m, each as soon as it is there.
pub(super) struct Pipe {
    /// `None`: standard output.
    path: Option<PathBuf>,
    name: String,
    writer: Y4mWriter<BufWriter<Endable>>,
}

impl Pipe {
    pub fn stdout(stop: &Stop) -> Result<Self, OutputError> {
        let to = std::io::stdout().as_fd().try_clone_to_owned();
        Ok(Self::new(None, to.map_err(|source| OutputError::Stdout { source })?, stop))
    }

    /// A named pipe is waited with until somebody reads it.
    pub fn open(path: &Path, stop: &Stop) -> Result<Self, OutputError> {
        let failed = |source| OutputError::Write { path: path.into(), source };
        let is_pipe = path.metadata().map_err(failed)?.file_type().is_fifo();
        // Without a reader a pipe is not opened so, and what is open never holds up.
        let mut options = File::options();
        options.write(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        loop {
            match options.open(path) {
                Ok(file) => return Ok(Self::new(Some(path.into()), file.into(), stop)),
                Err(error)
                    if is_pipe && error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) =>
                {
                    if stop.is_set() {
                        return Err(OutputError::Closed);
                    }
                    std::thread::sleep(TICK);
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn new(path: Option<PathBuf>, to: OwnedFd, stop: &Stop) -> Self {
        let name = path.as_ref().map(|path| path.display().to_string());
        let name = name.unwrap_or_else(|| "y4m on standard output".into());
        let to = File::from(to);
        // What was opened here takes what fits, and a file takes all.
        let never_waits = path.is_some() || to.metadata().is_ok_and(|about| about.is_file());
        let most = if never_waits { usize::MAX } else { ATOMIC };
        let to = Endable { to, most, stop: stop.clone(), given_up: false };
        Self { path, name, writer: Y4mWriter::new(BufWriter::with_capacity(BUFFER, to)) }
    }

    fn fail(&self, fault: Fault) -> OutputError {
        match (fault, self.path.clone()) {
            (Fault::Io(error), _) if error.kind() == ErrorKind::TimedOut => {
                OutputError::Unread { name: self.name.clone() }
            }
            // A service that has this output is to be started again.
            (Fault::Io(source), Some(path)) => OutputError::Write { path, source },
            (Fault::Io(error), None) if error.kind() == ErrorKind::BrokenPipe => {
                OutputError::Closed
            }
            (Fault::Io(source), None) => OutputError::Stdout { source },
            (Fault::Other(error), _) => error,
        }
    }

    fn flush(&mut self) -> Result<(), OutputError> {
        self.writer.writer.flush().map_err(|error| self.fail(error.into()))
    }
}

impl Sink for Pipe {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn start(&mut self, stream: &StreamInfo) {
        self.writer.stream = stream.clone();
    }

    fn write(&mut self, frame: &Frame) -> Result<(), OutputError> {
        self.writer.write(frame, &self.name).map_err(|fault| self.fail(fault))?;
        // A viewer at the other end wants this frame now and not when the buffer is full.
        self.flush()
    }

    fn finish(mut self: Box<Self>) -> Result<(), OutputError> {
        match self.flush() {
            Err(OutputError::Closed) => Ok(()),
            other => other,
        }
    }
}

/// Writes what there is room for, and waits for more until asked to end.
struct Endable {
    to: File,
    /// Bytes at a time.
    most: usize,
    stop: Stop,
    given_up: bool,
}

impl Endable {
    /// # Errors
    /// [`ErrorKind::TimedOut`], from then on at once, where nothing is taken and the end is asked for.
    fn wait_for_room(&mut self) -> std::io::Result<()> {
        let mut asked: Option<Instant> = None;
        while !self.given_up {
            if has_room(&self.to)? {
                return Ok(());
            }
            if self.stop.is_set() {
                self.given_up = asked.get_or_insert_with(Instant::now).elapsed() >= PATIENCE;
            }
        }
        Err(ErrorKind::TimedOut.into())
    }
}

impl Write for Endable {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        loop {
            self.wait_for_room()?;
            match self.to.write(&bytes[..bytes.len().min(self.most)]) {
                // Another program writes into the same pipe.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether something can be written, or turns out at once to be wrong; after a while it is not.
fn has_room(to: &File) -> std::io::Result<bool> {
    let mut fds = [PollFd::new(to, PollFlags::OUT)];
    let tick = Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos() as _ };
    match poll(&mut fds, Some(&tick)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::picture::{ColourRange, PixelFormat};

    const SIDE: usize = 512;

    fn frame() -> Frame {
        Frame::flat(SIDE, SIDE, PixelFormat::Grey8, ColourRange::Full, 90).unwrap()
    }

    fn named_pipe(folder: &Path) -> PathBuf {
        let path = folder.join("pipe.y4m");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    }

    /// A named pipe has each frame at once. Where its reader goes away a service is started again.
    #[test]
    fn a_named_pipe_is_written_as_standard_output() {
        let folder = tempfile::tempdir().unwrap();
        let path = named_pipe(folder.path());
        let reader = {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut bytes = vec![0; SIDE * SIDE];
                File::open(path).unwrap().read_exact(&mut bytes).unwrap();
                bytes
            })
        };
        let mut sink = Box::new(Pipe::open(&path, &Stop::default()).unwrap());
        let ended = sink.write(&frame()).and_then(|()| sink.write(&frame()));
        // Only what was flushed comes here, and the reader goes with it.
        assert!(reader.join().unwrap().starts_with(b"YUV4MPEG2 W512 H512"));
        assert!(matches!(ended, Err(OutputError::Write { .. })), "{ended:?}");
    }

    /// A reader that pauses is waited with, and one that takes nothing does not keep the program from its
    /// end; nor does one that never comes.
    #[test]
    fn a_reader_that_takes_nothing_does_not_hold_up_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = named_pipe(folder.path());
        let stop = Stop::default();
        let asks = |stop: &Stop| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                std::thread::sleep(3 * TICK);
                stop.set();
            })
        };
        asks(&stop).join().unwrap();
        assert!(matches!(Pipe::open(&path, &stop), Err(OutputError::Closed)));
        let stop = Stop::default();
        let reads = File::options().read(true).write(true).open(&path).unwrap();
        let mut sink = Box::new(Pipe::open(&path, &stop).unwrap());
        let asking = asks(&stop);
        let ended = sink.write(&frame());
        assert!(matches!(ended, Err(OutputError::Unread { .. })), "{ended:?}");
        asking.join().unwrap();
        // It has been waited with once.
        let begun = Instant::now();
        assert!(matches!(sink.write(&frame()), Err(OutputError::Unread { .. })));
        let _ = sink.finish();
        assert!(begun.elapsed() < PATIENCE);
        drop(reads);
    }
}
