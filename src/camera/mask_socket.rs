//! Masks that another process sends: whatever finds what is to be hidden need not be a part of
//! this program.
//!
//! A sender connects and writes binary PGM pictures one after another (`P5`, width, height, 255,
//! then a byte a pixel, white to be filled). Anything else that comes is no mask.
//!
//! One sender is listened to at a time. It may pause for as long as it likes, unless another comes: to
//! that one it gives way once its masks no longer count.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use image::codecs::pnm::{PnmDecoder, PnmSubtype, SampleEncoding};
use image::{ColorType, ImageDecoder};

use super::mask_feed::{FedMask, Feeder, STALE_AFTER, now};
use super::mask_source::MaskSource;
use super::{MaskSourceError, MaskSpec, seldom};
use crate::picture::{MAX_SIDE, Mask, MaskError};
use crate::process::Seldom;

/// How often the thread looks whether masks are still wanted, and whether a sender has come.
const TICK: Duration = Duration::from_millis(100);
/// How long to wait for another try when a sender cannot be taken, as when files run out.
const RETRY: Duration = Duration::from_secs(1);
/// So many senders are taken in at most while another is listened to.
const MOST_WAITING: usize = 16;

pub(super) struct SocketMask {
    masks: FedMask,
    _socket: Socket,
}

struct Socket(PathBuf);

impl SocketMask {
    /// Listens at `path`. A socket that a program which ended left there is replaced.
    pub fn open(path: &Path) -> Result<Self, MaskSourceError> {
        let failed = |source| MaskSourceError::Socket { path: path.into(), source };
        let left = std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
        if left {
            // By a socket of another kind: one that listens there is found, and not reached, where it
            // would take this for a sender.
            match UnixDatagram::unbound().and_then(|asker| asker.connect(path)) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(failed)?;
                }
                _ => return Err(failed(ErrorKind::AddrInUse.into())),
            }
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        // So that its thread ends by itself: nobody has to wake it.
        listener.set_nonblocking(true).map_err(failed)?;
        let (masks, feeder) = FedMask::new(MaskSpec::Socket(path.into()).to_string());
        let name = path.display().to_string();
        std::thread::Builder::new()
            .name("masks".into())
            .spawn(move || listen(Senders::new(&listener), &feeder, &name, STALE_AFTER))
            .map_err(failed)?;
        Ok(Self { masks, _socket: Socket(path.into()) })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Those who have come to send, and wait behind one who is listened to.
struct Senders<'a> {
    listener: &'a UnixListener,
    /// Each with a time before which it had not come.
    waiting: VecDeque<(UnixStream, Duration)>,
    /// When all who had come were taken in last.
    looked: Duration,
}

impl<'a> Senders<'a> {
    fn new(listener: &'a UnixListener) -> Self {
        Self { listener, waiting: VecDeque::new(), looked: now() }
    }

    /// Takes in who has come since. More than [`MOST_WAITING`] wait in the system's own queue, and are
    /// taken for as old as the look before.
    fn take_in(&mut self) -> io::Result<()> {
        let begun = now();
        while self.waiting.len() < MOST_WAITING {
            match self.listener.accept() {
                Ok((stream, _)) => self.waiting.push_back((stream, self.looked)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.looked = begun;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Takes one sender after another, until nobody wants masks any more. One that is silent for longer
/// than `patience` gives way to the next.
fn listen(mut senders: Senders, feeder: &Feeder, name: &str, patience: Duration) {
    // Some senders come once for each mask.
    let mut trouble = seldom();
    while feeder.is_wanted() {
        let failed = senders.take_in().err();
        let Some((stream, since)) = senders.waiting.pop_front() else {
            if let Some(error) = &failed {
                trouble.warn(format_args!("{name}: {error}"));
            }
            std::thread::sleep(if failed.is_some() { RETRY } else { TICK });
            continue;
        };
        log::debug!("{name}: a sender of masks has come");
        let ended = hear((stream, since), &mut senders, feeder, (name, patience), &mut trouble);
        if !feeder.is_wanted() {
            return;
        }
        match ended {
            Ok(()) => log::debug!("{name}: the sender of masks has gone"),
            Err(why) => {
                trouble.warn(format_args!("{name}: {why}"));
                feeder.lose();
            }
        }
    }
}

/// Takes masks from a sender who has come `since` then; then says why it ended.
fn hear(
    (stream, since): (UnixStream, Duration),
    senders: &mut Senders,
    feeder: &Feeder,
    (name, patience): (&str, Duration),
    trouble: &mut Seldom,
) -> Result<(), String> {
    // Some systems hand the listener's own way on. Without either the thread would wait for ever.
    let set = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(TICK)));
    set.map_err(|error| error.to_string())?;
    let mut sender = Sender {
        stream,
        senders,
        feeder,
        turn: since,
        taken: 0,
        old: None,
        patience,
        heard: Instant::now(),
    };
    sender.take_turn();
    let mut sender = BufReader::new(sender);
    while feeder.is_wanted() {
        let begins = sender.get_ref().taken - sender.buffer().len() as u64;
        let received = receive(&mut sender)?;
        let mask = match received {
            Received::End => break,
            Received::Mask(mask) => Ok(mask),
            Received::Dark(error) => Err(error),
        };
        let Sender { turn: at, old, .. } = *sender.get_ref();
        if old.is_some_and(|old| begins <= old) {
            continue;
        }
        if let Err(error) = feeder.give(mask, at) {
            trouble
                .warn(format_args!("{name}: {error}; all is hidden until a mask with white comes"));
        }
    }
    Ok(())
}

/// What a sender sends. Ends when nobody wants masks any more.
struct Sender<'a, 'b> {
    stream: UnixStream,
    senders: &'a mut Senders<'b>,
    feeder: &'a Feeder,
    /// When it was looked at last.
    turn: Duration,
    /// Bytes that were read.
    taken: u64,
    /// A mask that begins no later than with this byte may be of before: it waited while nobody looked,
    /// because another was listened to or the program or the machine was stopped. Nothing in it says so.
    old: Option<u64>,
    /// How long it may be silent while another one waits.
    patience: Duration,
    heard: Instant,
}

impl Sender<'_, '_> {
    fn take_turn(&mut self) {
        let before = std::mem::replace(&mut self.turn, now());
        if self.turn.saturating_sub(before) >= STALE_AFTER {
            self.old = Some(self.taken + waiting(&self.stream));
        }
    }
}

impl Read for Sender<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.stream.read(bytes);
            self.taken += *read.as_ref().unwrap_or(&0) as u64;
            self.take_turn();
            if self.turn.saturating_sub(self.senders.looked) >= TICK {
                // What fails here fails again when one is wanted.
                let _ = self.senders.take_in();
            }
            match read {
                Ok(count) => {
                    self.heard = Instant::now();
                    return Ok(count);
                }
                Err(error) => match error.kind() {
                    // Nothing came for a while, or a signal did.
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
            if !self.feeder.is_wanted() {
                return Ok(0);
            }
            if self.heard.elapsed() >= self.patience && !self.senders.waiting.is_empty() {
                return Err(io::Error::other("the sender is silent, and another has come"));
            }
        }
    }
}

/// Bytes that were sent and not read.
fn waiting(stream: &UnixStream) -> u64 {
    rustix::io::ioctl_fionread(stream).unwrap_or(0)
}

/// What a sender sent.
#[derive(Debug)]
enum Received {
    Mask(Mask),
    /// Neither white anywhere nor black everywhere.
    Dark(MaskError),
    /// The sender has gone.
    End,
}

/// The next mask.
fn receive(sender: &mut impl BufRead) -> Result<Received, String> {
    if sender.fill_buf().map_err(|error| error.to_string())?.is_empty() {
        return Ok(Received::End);
    }
    let wrong = |error: image::ImageError| format!("what was sent is no mask ({error})");
    let picture = PnmDecoder::new(sender).map_err(wrong)?;
    let (width, height) = picture.dimensions();
    if picture.subtype() != PnmSubtype::Graymap(SampleEncoding::Binary)
        || picture.color_type() != ColorType::L8
    {
        return Err("what was sent is no mask (send binary PGM, P5, of 8 bits)".into());
    }
    if width as usize > MAX_SIDE || height as usize > MAX_SIDE {
        return Err(format!("a mask of {width}x{height} is too large (sides up to {MAX_SIDE})"));
    }
    let mut grey = vec![0; width as usize * height as usize];
    picture.read_image(&mut grey).map_err(wrong)?;
    match Mask::from_shades(width as usize, height as usize, &grey) {
        Ok(mask) => Ok(Received::Mask(mask)),
        Err(dark @ MaskError::Dark { .. }) => Ok(Received::Dark(dark)),
        Err(error) => Err(error.to_string()),
    }
}

impl MaskSource for SocketMask {
    fn describe(&self) -> String {
        self.masks.describe()
    }

    fn next(
        &mut self,
        width: usize,
        height: usize,
        number: u64,
    ) -> Result<Option<Mask>, MaskSourceError> {
        self.masks.next(width, height, number)
    }

    fn change_with_every_frame(&self) -> bool {
        self.masks.change_with_every_frame()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::mask_feed::next_hidden as hidden;
    use super::*;

    fn pgm(width: usize, height: usize, data: &[u8]) -> Vec<u8> {
        [format!("P5\n{width} {height}\n255\n").as_bytes(), data].concat()
    }

    fn bound(path: &Path) -> UnixListener {
        let listener = UnixListener::bind(path).expect("bound");
        listener.set_nonblocking(true).expect("set");
        listener
    }

    /// Masks of a socket at `path`, and a sender, who says nothing so far.
    fn opened(path: &Path) -> (SocketMask, UnixStream) {
        let mut source = SocketMask::open(path).expect("opened");
        source.masks.stale_after = Duration::MAX;
        assert_eq!(hidden(&mut source), 8);
        (source, UnixStream::connect(path).expect("connected"))
    }

    #[test]
    fn senders_say_what_is_hidden() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("masks");
        let (mut source, mut sender) = opened(&path);
        // Two at once, the second in two pieces.
        let second = pgm(4, 2, &[0, 0, 127, 128, 255, 0, 0, 0]);
        sender.write_all(&[&pgm(4, 2, &[0; 8]), &second[..7]].concat()).expect("sent");
        assert_eq!(hidden(&mut source), 0);
        sender.write_all(&second[7..]).expect("sent");
        assert_eq!(hidden(&mut source), 2);
        // One of half the size is stretched.
        sender.write_all(&pgm(2, 1, &[255, 0])).expect("sent");
        assert_eq!(hidden(&mut source), 4);
        sender.write_all(b"no picture").expect("sent");
        assert_eq!(hidden(&mut source), 8);
        drop(sender);
        let mut sender = UnixStream::connect(&path).expect("connected");
        sender.write_all(&pgm(4, 2, &[255, 0, 0, 0, 0, 0, 0, 0])).expect("sent");
        assert_eq!(hidden(&mut source), 1);
    }

    /// Labels hide nothing they were to hide; a sender of shades may have nothing to hide.
    #[test]
    fn dark_masks_count_once_one_had_white() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut source, mut sender) = opened(&folder.path().join("masks"));
        sender.write_all(&pgm(4, 2, &[0; 8])).expect("sent");
        assert_eq!(hidden(&mut source), 0);
        let dark = pgm(4, 2, &[0, 1, 1, 0, 0, 0, 0, 0]);
        sender.write_all(&dark).expect("sent");
        assert_eq!(hidden(&mut source), 8);
        sender.write_all(&pgm(4, 2, &[0, 0, 200, 0, 0, 0, 0, 0])).expect("sent");
        assert_eq!(hidden(&mut source), 1);
        sender.write_all(&dark).expect("sent");
        assert_eq!(hidden(&mut source), 0);
    }

    #[test]
    fn a_silent_sender_gives_way_to_one_that_comes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("masks");
        let listener = bound(&path);
        let (mut masks, feeder) = FedMask::new("masks".into());
        masks.stale_after = Duration::MAX;
        let thread = std::thread::spawn(move || {
            listen(Senders::new(&listener), &feeder, "masks", Duration::ZERO)
        });
        assert_eq!(hidden(&mut masks), 8);
        // One says nothing, and one stops in the middle of a mask.
        let silent = UnixStream::connect(&path).expect("connected");
        let mut stopped = UnixStream::connect(&path).expect("connected");
        stopped.write_all(&pgm(4, 2, &[0; 8])[..14]).expect("sent");
        let mut sender = UnixStream::connect(&path).expect("connected");
        sender.write_all(&pgm(4, 2, &[255, 0, 0, 0, 0, 0, 0, 0])).expect("sent");
        assert_eq!(hidden(&mut masks), 1);
        // The thread ends although a sender is there and says nothing.
        drop(masks);
        thread.join().expect("it ends when nobody wants masks");
        drop((silent, stopped, sender));
    }

    /// As after the machine was suspended, or for those who waited behind another.
    #[test]
    fn what_waited_while_nobody_could_look_does_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("masks");
        let listener = bound(&path);
        let mask = |holes: usize| pgm(4, 2, &[[255; 8], [0; 8]].concat()[8 - holes..][..8]);
        for late in [false, true] {
            let (mut masks, feeder) = FedMask::new("masks".into());
            masks.stale_after = Duration::MAX;
            assert_eq!(hidden(&mut masks), 8);
            let mut senders = Senders::new(&listener);
            if late {
                senders.looked = now().saturating_sub(STALE_AFTER);
                for holes in [4, 5] {
                    let mut sender = UnixStream::connect(&path).expect("connected");
                    sender.write_all(&mask(holes)).expect("sent");
                }
            }
            let mut sender = UnixStream::connect(&path).expect("connected");
            // The second is still on its way.
            let second = mask(2);
            sender.write_all(&[&mask(1), &second[..5]].concat()).expect("sent");
            std::thread::scope(|scope| {
                scope.spawn(move || listen(senders, &feeder, "masks", Duration::MAX));
                if !late {
                    assert_eq!(hidden(&mut masks), 1);
                }
                sender.write_all(&second[5..]).expect("sent");
                if !late {
                    assert_eq!(hidden(&mut masks), 2);
                }
                // Until it is sent after all that waited.
                let mut masks = masks;
                let new = (0..500).find_map(|_| {
                    sender.write_all(&mask(3)).expect("sent");
                    std::thread::sleep(Duration::from_millis(10));
                    masks.next(4, 2, 0).expect("a mask")
                });
                assert_eq!(new.expect("a new one").hole_pixels(), 3);
            });
        }
    }

    #[test]
    fn what_is_no_mask_is_refused() {
        let (mut here, there) = UnixStream::pair().expect("a pair");
        let mut there = BufReader::new(there);
        for wrong in [&b"P6\n1 1\n255\nabc"[..], b"P5\n9999999 1\n255\n", b"P5\n1 1\n65535\nab"] {
            here.write_all(wrong).expect("sent");
            receive(&mut there).expect_err("no mask");
            // What is left of it.
            let (new_here, new_there) = UnixStream::pair().expect("a pair");
            (here, there) = (new_here, BufReader::new(new_there));
        }
        drop(here);
        assert!(matches!(receive(&mut there), Ok(Received::End)));
    }

    #[test]
    fn a_socket_in_use_is_left_alone_and_one_that_was_left_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("masks");
        let first = SocketMask::open(&path).expect("opened");
        let Err(error) = SocketMask::open(&path) else { panic!("taken") };
        assert!(error.to_string().contains("in use"), "{error}");
        drop(first);
        assert!(!path.exists());
        // Nor is it taken there for a sender that has gone.
        let listener = bound(&path);
        assert!(SocketMask::open(&path).is_err());
        let nobody = listener.accept().expect_err("nobody came");
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
        drop(listener);
        std::fs::remove_file(&path).expect("removed");
        drop(UnixListener::bind(&path).expect("bound"));
        SocketMask::open(&path).expect("opened");
        std::fs::write(&path, "a file").expect("written");
        assert!(SocketMask::open(&path).is_err());
        assert!(path.exists());
    }
}
