//! Frames from a source, taken in a thread of their own, and decoded in another.
//!
//! A JPEG is decoded while the network works on the frame before. Where there is only one core
//! that would gain nothing, and cost the decoding of frames that are then dropped: the loop
//! decodes there, what it is going to look at.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::hand_over::{HandOver, Kind, Message, Pace, TICK};
use super::statistics::Tally;
use crate::camera::{self, CameraError, CameraWish, Captured, SILENCE, Source, SourceSpec};
use crate::picture::{FrameError, Pool, StreamInfo};
use crate::process::Stop;

/// How often to look for a camera that is away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What to capture, and how.
#[derive(Clone)]
pub(super) struct Order {
    pub source: SourceSpec,
    pub wish: CameraWish,
    pub pace: Pace,
    /// Wait for a camera that is away.
    pub wait: bool,
    /// Decode in a thread of its own.
    pub overlap: bool,
}

pub(super) struct Item {
    /// Counts all frames of the source, dropped ones too, so that masks stay in step.
    pub number: u64,
    pub at: Instant,
    pub captured: Captured,
}

/// What the loop is told.
pub(super) enum News {
    /// The source is open and gives frames: what it is, and what it says about its stream.
    Opened {
        name: String,
        card: Option<String>,
        stream: StreamInfo,
    },
    /// The camera is away: why.
    Waiting(String),
    Frame(Item),
    /// The last of all.
    Ended(Result<(), CameraError>),
}

impl Message for News {
    fn kind(&self) -> Kind {
        match self {
            Self::Frame(Item { captured: Captured::Damaged(_), .. }) => Kind::Damaged,
            Self::Frame(_) => Kind::Frame,
            _ => Kind::Word,
        }
    }
}

/// Since when there were only damaged frames, and what was wrong with the first.
#[derive(Default)]
struct Damage(Mutex<Option<(Instant, FrameError)>>);

impl Damage {
    fn note(&self, error: Option<&FrameError>) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => drop(since.get_or_insert_with(|| (Instant::now(), error.clone()))),
            None => *since = None,
        }
    }

    /// Why the camera counts as lost by now, if it does.
    fn is_too_much(&self) -> Option<String> {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, error) = since.as_ref().filter(|(since, _)| since.elapsed() >= SILENCE)?;
        Some(format!("no good frame for {} seconds: {error}", SILENCE.as_secs()))
    }
}

/// The loop's end of a running capture. Dropping it ends the threads, as soon as the source
/// returns from what it is waiting for.
pub(super) struct Capture {
    news: Arc<HandOver<News>>,
    /// Where the thread that has the source leaves what it takes.
    taken: Arc<HandOver<News>>,
    damage: Arc<Damage>,
}

impl Capture {
    pub fn start(order: Order, tally: &Arc<Tally>, stop: &Stop) -> std::io::Result<Self> {
        let place = || Arc::new(HandOver::new(order.pace, Arc::clone(tally), stop.clone()));
        let taken = place();
        let jpegs = matches!(order.source, SourceSpec::Device(_) | SourceSpec::Mjpeg(_));
        let news = if order.overlap && jpegs {
            let (from, to) = (Arc::clone(&taken), place());
            let news = Arc::clone(&to);
            let ends = EndsWith(Arc::clone(&to), None);
            std::thread::Builder::new()
                .name("decode".into())
                .spawn(move || decode(&from, &to, ends))?;
            news
        } else {
            Arc::clone(&taken)
        };
        let ends = EndsWith(Arc::clone(&taken), None);
        let tally = Arc::clone(tally);
        let damage = Arc::default();
        let mut worker = Worker {
            news: Arc::clone(&taken),
            order,
            tally,
            damage: Arc::clone(&damage),
            stop: stop.clone(),
            number: 0,
        };
        std::thread::Builder::new().name("capture".into()).spawn(move || worker.run(ends))?;
        Ok(Self { news, taken, damage })
    }

    /// To be told of each frame whether it was good, or what was wrong: a camera that sends nothing but
    /// damaged ones is opened anew.
    pub fn note(&self, error: Option<&FrameError>) {
        self.damage.note(error);
    }

    /// What comes next; nothing, if nothing comes for a while.
    pub fn next(&self) -> Option<News> {
        self.news.take()
    }

    /// When the source was last opened or read, or that was begun.
    pub fn heard(&self) -> Instant {
        self.taken.heard()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.news.close();
    }
}

/// Says that the source has ended even if its code panics: the loop must not wait for ever.
struct EndsWith(Arc<HandOver<News>>, Option<Result<(), CameraError>>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        let end = self.1.take().unwrap_or_else(|| {
            let source = std::io::Error::other("reading it panicked; please report it");
            Err(CameraError::Read { name: "the source".into(), source })
        });
        self.0.tell(News::Ended(end));
    }
}

/// Hands news on with their frames decoded.
fn decode(from: &HandOver<News>, to: &HandOver<News>, mut ends: EndsWith) {
    let pool = Pool::default();
    while !to.is_closed() {
        match from.take() {
            Some(News::Frame(Item { number, at, captured })) => {
                let captured =
                    captured.decode(&pool).map_or_else(Captured::Damaged, Captured::Frame);
                to.put(News::Frame(Item { number, at, captured }));
            }
            Some(News::Ended(end)) => {
                ends.1 = Some(end);
                return;
            }
            Some(word) => to.tell(word),
            None => {}
        }
    }
    from.close();
    ends.1 = Some(Ok(()));
}

/// Whether a camera may come, or come back. One that was plugged in belongs to root alone until udev
/// has given it to its group, and with a loose cable anything fails, so after a wait that is no fault
/// yet.
fn passes(error: &CameraError, waited: bool) -> bool {
    let mended_by_waiting =
        || matches!(error, CameraError::Forbidden { .. } | CameraError::Driver { .. });
    error.may_pass() || waited && mended_by_waiting()
}

struct Worker {
    news: Arc<HandOver<News>>,
    order: Order,
    tally: Arc<Tally>,
    damage: Arc<Damage>,
    stop: Stop,
    number: u64,
}

impl Worker {
    fn run(&mut self, mut ends: EndsWith) {
        ends.1 = Some(self.work());
    }

    fn work(&mut self) -> Result<(), CameraError> {
        // Not told again while nothing changes: a camera that is away is looked for often.
        let mut told: Option<String> = None;
        let mut waited = false;
        while !self.is_over() {
            self.news.hear();
            self.damage.note(None);
            let away = match camera::open_with(&self.order.source, &self.order.wish) {
                Ok(mut source) => match self.capture(source.as_mut(), &mut told) {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if !(self.order.wait && passes(&away, waited)) {
                return Err(away);
            }
            waited = true;
            let why = away.to_string();
            if told.as_ref() != Some(&why) {
                self.news.tell(News::Waiting(why.clone()));
                told = Some(why);
            }
            self.sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// `told` is the trouble that was told last; a good frame ends it.
    fn capture(
        &mut self,
        source: &mut dyn Source,
        told: &mut Option<String>,
    ) -> Result<(), CameraError> {
        // A camera may open and then send nothing of use; it is only back when a good frame comes, and
        // whether a JPEG is good shows when it is decoded.
        let (mut opened, pool) = (false, Pool::default());
        let (over, under) = source.stream().rate;
        let interval = Duration::from_secs_f64(f64::from(under) / f64::from(over));
        let held_back = self.order.pace == Pace::Newest && !source.paces_itself();
        let mut due = Instant::now();
        while !self.is_over() {
            if held_back {
                self.sleep(due.saturating_duration_since(Instant::now()));
                // After a long stop go on from here, and do not rush to catch up.
                due = (due + interval).max(Instant::now());
            }
            self.news.hear();
            let mut captured = source.next()?;
            if let SourceSpec::Device(path) = &self.order.source
                && let Some(reason) = self.damage.is_too_much()
            {
                return Err(CameraError::Lost { path: path.clone(), reason });
            }
            if !opened {
                captured = captured.map(|captured| {
                    captured.decode(&pool).map_or_else(Captured::Damaged, Captured::Frame)
                });
            }
            if !opened && !matches!(captured, Some(Captured::Damaged(_))) {
                (opened, *told) = (true, None);
                let card = source.card().map(Into::into);
                let (name, stream) = (source.describe(), source.stream());
                self.news.tell(News::Opened { name, card, stream });
            }
            let Some(captured) = captured else { return Ok(()) };
            let item = Item { number: self.number, at: Instant::now(), captured };
            self.number += 1;
            self.tally.captured.add(1);
            self.news.put(News::Frame(item));
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.stop.is_set() || self.news.is_closed()
    }

    fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(rest) = end.checked_duration_since(Instant::now()) {
            if rest.is_zero() || self.is_over() {
                return;
            }
            std::thread::sleep(rest.min(TICK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{ColourRange, Frame, PixelFormat, RgbPicture, write_picture};

    fn start(order: Order) -> (Capture, Arc<Tally>) {
        let tally = Arc::default();
        (Capture::start(order, &tally, &Stop::default()).unwrap(), tally)
    }

    #[test]
    fn a_camera_that_comes_may_be_forbidden_for_a_moment() {
        let path = std::path::PathBuf::from("/dev/video0");
        let forbidden = CameraError::Forbidden { path: path.clone() };
        assert!(passes(&forbidden, true) && !passes(&forbidden, false));
        let shaken = CameraError::Driver { path: path.clone(), reason: "EIO".into() };
        assert!(passes(&shaken, true) && !passes(&shaken, false));
        let absent = CameraError::Absent { path: path.clone() };
        assert!(passes(&absent, true) && passes(&absent, false));
        assert!(!passes(&CameraError::EmptyFolder { path }, true));
    }

    fn order(source: &str, pace: Pace) -> Order {
        let (source, wish) = (source.parse().unwrap(), CameraWish::default());
        Order { source, wish, pace, wait: false, overlap: true }
    }

    fn numbers(capture: &Capture, count: usize, pause: Duration) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            if let Some(News::Frame(item)) = capture.next() {
                numbers.push(item.number);
                std::thread::sleep(pause);
            }
        }
        numbers
    }

    #[test]
    fn every_frame_comes_in_order() {
        let (capture, tally) = start(order("test:16x16", Pace::Every));
        assert_eq!(numbers(&capture, 50, Duration::ZERO), (0..50).collect::<Vec<_>>());
        assert_eq!(tally.dropped.count(), 0);
    }

    #[test]
    fn the_newest_frame_wins() {
        let (capture, tally) = start(order("test:16x16", Pace::Newest));
        let numbers = numbers(&capture, 3, Duration::from_millis(250));
        assert!(numbers[2] - numbers[1] > 2, "{numbers:?}");
        assert!(tally.dropped.count() > 0);
    }

    /// A bare stream of so many JPEGs, one of them damaged.
    fn stream(folder: &std::path::Path, count: usize, damaged: usize) -> String {
        let grey = Frame::flat(32, 16, PixelFormat::Rgb8, ColourRange::Full, 90).unwrap();
        let picture = folder.join("one.jpg");
        write_picture(&picture, &RgbPicture::from_frame(&grey).unwrap()).unwrap();
        let whole = std::fs::read(picture).unwrap();
        // A frame header that is none.
        let mut broken = whole.clone();
        let at = whole.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        broken[at + 4] = 77;
        let one = |number| if number == damaged { &broken } else { &whole };
        let bytes: Vec<u8> = (0..count).flat_map(one).copied().collect();
        let path = folder.join("stream.mjpeg");
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    #[test]
    fn frames_are_decoded_ahead_and_damaged_ones_keep_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let source = stream(folder.path(), 6, 2);
        for overlap in [true, false] {
            let order = Order { overlap, ..order(&source, Pace::Every) };
            let (capture, tally) = start(order);
            let mut frames = Vec::new();
            loop {
                match capture.next() {
                    Some(News::Frame(item)) => {
                        // The first is what tells whether the source is good for anything.
                        let is_ahead = overlap || item.number == 0;
                        assert_eq!(matches!(item.captured, Captured::Jpeg(_)), !is_ahead);
                        let whole = item.captured.decode(&Pool::default()).is_ok();
                        frames.push((item.number, whole));
                    }
                    Some(News::Ended(end)) => break end.unwrap(),
                    _ => {}
                }
            }
            let expected: Vec<_> = (0..6).map(|number| (number, number != 2)).collect();
            assert_eq!(frames, expected);
            assert_eq!((tally.captured.count(), tally.dropped.count()), (6, 0));
        }
    }

    /// JPEGs whose ends are there, and which no decoder takes, until one that is good.
    struct Broken(u64, u64);

    impl Source for Broken {
        fn describe(&self) -> String {
            "a bad cable".into()
        }

        fn stream(&self) -> StreamInfo {
            StreamInfo::default()
        }

        fn next(&mut self) -> Result<Option<Captured>, CameraError> {
            self.0 += 1;
            if self.0 > self.1 {
                let grey = Frame::flat(16, 16, PixelFormat::Rgb8, ColourRange::Full, 90).unwrap();
                return Ok((self.0 == self.1 + 1).then_some(Captured::Frame(grey)));
            }
            let mut jpeg = Pool::default().empty();
            jpeg.vector().clear();
            jpeg.vector().extend([0xff, 0xd8, 0xff, 0xda, 0, 2, 7, 0xff, 0xd9]);
            Ok(Some(Captured::Jpeg(jpeg)))
        }
    }

    #[test]
    fn a_camera_is_back_with_a_good_frame_and_lost_without_one() {
        let tally: Arc<Tally> = Arc::default();
        let worker = || {
            let (tally, stop) = (Arc::clone(&tally), Stop::default());
            let news = Arc::new(HandOver::new(Pace::Newest, Arc::clone(&tally), stop.clone()));
            let order = order("/dev/video987", Pace::Newest);
            Worker { news, order, tally, damage: Arc::default(), stop, number: 0 }
        };
        let mut waiting = Some("away".to_owned());
        let mut good = worker();
        good.capture(&mut Broken(0, 2), &mut waiting).unwrap();
        assert_eq!(waiting, None);
        let words = |worker: &Worker| {
            let news = std::iter::from_fn(|| worker.news.take());
            news.filter(|news| matches!(news, News::Opened { .. })).count()
        };
        assert_eq!(words(&good), 1);
        // The loop found nothing good for too long.
        let mut bad = worker();
        let begun = Instant::now().checked_sub(SILENCE).expect("up for so long");
        *bad.damage.0.lock().unwrap() = Some((begun, FrameError::Marked));
        let error = bad.capture(&mut Broken(0, u64::MAX), &mut waiting).unwrap_err();
        assert!(error.may_pass() && error.to_string().contains("no good frame"), "{error}");
        assert_eq!(words(&bad), 0);
        // One good frame is enough.
        bad.damage.note(None);
        bad.capture(&mut Broken(0, 1), &mut waiting).unwrap();
    }

    #[test]
    fn a_thread_that_hangs_in_a_source_is_not_heard_of() {
        let folder = tempfile::tempdir().unwrap();
        // Opening it waits for whoever writes there.
        let pipe = folder.path().join("pipe.y4m");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (source, hangs) in [("/dev/video987", false), (pipe.to_str().unwrap(), true)] {
            for overlap in [true, false] {
                let order = Order { wait: true, overlap, ..order(source, Pace::Newest) };
                let (capture, _) = start(order);
                std::thread::sleep(LOOK_EVERY / 2);
                let before = capture.heard();
                let moved = (0..200).any(|_| {
                    std::thread::sleep(LOOK_EVERY / 100);
                    capture.heard() > before
                });
                assert_eq!(moved, !hangs, "{source}");
            }
        }
        // Lets the threads go.
        let _ = std::fs::File::options().read(true).write(true).open(&pipe);
    }

    #[test]
    fn an_absent_camera_is_said_or_waited_for() {
        for (wait, overlap) in [(false, false), (true, false), (false, true), (true, true)] {
            let order = Order { wait, overlap, ..order("/dev/video987", Pace::Newest) };
            let (capture, _) = start(order);
            match std::iter::from_fn(|| Some(capture.next())).flatten().next() {
                Some(News::Waiting(_)) => assert!(wait),
                Some(News::Ended(Err(error))) => assert!(!wait && error.may_pass()),
                _ => panic!("something else"),
            }
        }
    }
}
