//! Frames from a source, taken in a thread of their own.
//!
//! Two paces. *Newest*: one place, and a new frame takes the place of the one nobody came for.
//! *Every*: a short queue in order, and the source waits when it is full.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Stop;
use crate::camera::{self, CameraError, CameraWish, Captured, Source, SourceSpec, StreamInfo};

/// Enough to read ahead of the network while it works; each is a whole frame of memory.
const QUEUE: usize = 4;
/// How often to look for a camera that is away.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often waiting threads look whether they should stop.
const TICK: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Newest,
    Every,
}

/// What to capture, and how.
#[derive(Clone)]
pub(super) struct Order {
    pub source: SourceSpec,
    pub wish: CameraWish,
    pub pace: Pace,
    /// Wait for a camera that is away.
    pub wait: bool,
}

pub(super) struct Item {
    /// Counts all frames of the source, dropped ones too, so that masks stay in step.
    pub number: u64,
    pub at: Instant,
    pub captured: Captured,
}

impl Item {
    fn is_damaged(&self) -> bool {
        matches!(self.captured, Captured::Damaged(_))
    }
}

/// What the loop is told.
pub(super) enum News {
    /// The source is open and gives frames: what it is, and what it says about its stream.
    Opened(String, StreamInfo),
    /// The camera is away: why.
    Waiting(String),
    Frame(Item),
    /// Nothing for a while.
    Quiet,
    Ended(Result<(), CameraError>),
}

#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub captured: u64,
    /// Frames that a newer one took the place of.
    pub dropped: u64,
    /// Damaged ones that were not handed on.
    pub damaged: u64,
}

#[derive(Default)]
struct State {
    /// What there is to tell, oldest first: a frame from before the camera went is not told
    /// after its going.
    news: VecDeque<News>,
    ended: Option<Result<(), CameraError>>,
    counts: Counts,
    /// Nobody listens any more.
    closed: bool,
}

impl State {
    fn frames(&self) -> impl Iterator<Item = &Item> {
        self.news.iter().filter_map(|news| match news {
            News::Frame(item) => Some(item),
            _ => None,
        })
    }

    /// Takes the frames that nobody came for out of the queue, and counts them.
    fn drop_frames(&mut self) {
        let damaged = self.frames().filter(|item| item.is_damaged()).count() as u64;
        self.counts.damaged += damaged;
        self.counts.dropped += self.frames().count() as u64 - damaged;
        self.news.retain(|news| !matches!(news, News::Frame(_)));
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The loop's end of a running capture. Dropping it ends the thread, as soon as the source
/// returns from what it is waiting for.
pub(super) struct Capture {
    shared: Arc<Shared>,
}

impl Capture {
    pub fn start(order: Order, stop: Stop) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let worker = Worker { shared: shared.clone(), order, stop, number: 0 };
        std::thread::Builder::new().name("capture".into()).spawn(move || worker.run())?;
        Ok(Self { shared })
    }

    pub fn next(&self) -> News {
        let mut state = self.shared.lock();
        for _ in 0..2 {
            if let Some(news) = state.news.pop_front() {
                self.shared.changed.notify_all();
                return news;
            }
            if let Some(end) = state.ended.take() {
                return News::Ended(end);
            }
            state = self.shared.wait(state);
        }
        News::Quiet
    }

    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

struct Worker {
    shared: Arc<Shared>,
    order: Order,
    stop: Stop,
    number: u64,
}

/// Says that the source has ended even if its code panics: the loop must not wait for ever.
struct EndsWith<'a>(&'a Shared, Option<Result<(), CameraError>>);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        let end = self.1.take().unwrap_or_else(|| {
            let source = std::io::Error::other("reading it panicked; please report it");
            Err(CameraError::Read { name: "the source".into(), source })
        });
        self.0.lock().ended = Some(end);
        self.0.changed.notify_all();
    }
}

impl Worker {
    fn run(mut self) {
        let shared = self.shared.clone();
        let mut ends = EndsWith(&shared, None);
        ends.1 = Some(self.work());
    }

    fn work(&mut self) -> Result<(), CameraError> {
        // Not told again while nothing changes: a camera that is away is looked for often.
        let mut told: Option<String> = None;
        while !self.is_over() {
            let away = match camera::open_with(&self.order.source, &self.order.wish) {
                Ok(mut source) => match self.capture(source.as_mut(), &mut told) {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if !(away.may_pass() && self.order.wait) {
                return Err(away);
            }
            let why = away.to_string();
            if told.as_ref() != Some(&why) {
                self.tell(News::Waiting(why.clone()));
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
        // A camera may open and then send nothing of use; it is only back when a frame comes.
        let mut opened = false;
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
            let captured = source.next()?;
            if !opened && !matches!(captured, Some(Captured::Damaged(_))) {
                (opened, *told) = (true, None);
                self.tell(News::Opened(source.describe(), source.stream()));
            }
            let Some(captured) = captured else { return Ok(()) };
            let item = Item { number: self.number, at: Instant::now(), captured };
            self.number += 1;
            self.put(item);
        }
        Ok(())
    }

    fn put(&self, item: Item) {
        let mut state = self.shared.lock();
        state.counts.captured += 1;
        match self.order.pace {
            Pace::Newest => {
                if item.is_damaged() && state.frames().next().is_some() {
                    // It must not take the place of a good one.
                    state.counts.damaged += 1;
                    return;
                }
                state.drop_frames();
            }
            Pace::Every => {
                while state.frames().count() >= QUEUE && !state.closed && !self.stop.is_set() {
                    state = self.shared.wait(state);
                }
            }
        }
        state.news.push_back(News::Frame(item));
        self.shared.changed.notify_all();
    }

    fn tell(&self, news: News) {
        self.shared.lock().news.push_back(news);
        self.shared.changed.notify_all();
    }

    fn is_over(&self) -> bool {
        self.stop.is_set() || self.shared.lock().closed
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
    use crate::picture::FrameError;

    fn start(pace: Pace) -> Capture {
        let source = "test:16x16".parse().unwrap();
        let wish = CameraWish::default();
        Capture::start(Order { source, wish, pace, wait: false }, Stop::default()).unwrap()
    }

    fn numbers(capture: &Capture, count: usize, pause: Duration) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            if let News::Frame(item) = capture.next() {
                numbers.push(item.number);
                std::thread::sleep(pause);
            }
        }
        numbers
    }

    #[test]
    fn every_frame_comes_in_order() {
        let capture = start(Pace::Every);
        assert_eq!(numbers(&capture, 50, Duration::ZERO), (0..50).collect::<Vec<_>>());
        assert_eq!(capture.counts().dropped, 0);
    }

    #[test]
    fn the_newest_frame_wins() {
        let capture = start(Pace::Newest);
        let numbers = numbers(&capture, 3, Duration::from_millis(250));
        assert!(numbers[2] - numbers[1] > 2, "{numbers:?}");
        assert!(capture.counts().dropped > 0);
    }

    #[test]
    fn a_damaged_frame_takes_no_good_ones_place() {
        let order = Order {
            source: "test:16x16".parse().unwrap(),
            wish: CameraWish::default(),
            pace: Pace::Newest,
            wait: false,
        };
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let worker = Worker { shared: shared.clone(), order, stop: Stop::default(), number: 0 };
        let put = |number, captured| worker.put(Item { number, at: Instant::now(), captured });
        let damaged = || Captured::Damaged(FrameError::Marked);
        put(0, damaged());
        put(1, Captured::Jpeg(Vec::new()));
        put(2, Captured::Jpeg(Vec::new()));
        put(3, damaged());
        let state = shared.lock();
        assert_eq!(state.frames().map(|item| item.number).collect::<Vec<_>>(), [2]);
        let Counts { captured, dropped, damaged } = state.counts;
        assert_eq!((captured, dropped, damaged), (4, 1, 2));
        drop(state);
        // What is told comes in the order in which it happened.
        worker.tell(News::Waiting("unplugged".into()));
        put(4, Captured::Jpeg(Vec::new()));
        let capture = Capture { shared };
        assert!(matches!(capture.next(), News::Waiting(_)));
        assert!(matches!(capture.next(), News::Frame(Item { number: 4, .. })));
        put(5, Captured::Jpeg(Vec::new()));
        worker.tell(News::Waiting("unplugged".into()));
        assert!(matches!(capture.next(), News::Frame(Item { number: 5, .. })));
        assert!(matches!(capture.next(), News::Waiting(_)));
    }

    #[test]
    fn an_absent_camera_is_said_or_waited_for() {
        for wait in [false, true] {
            let source = "/dev/video987".parse().unwrap();
            let wish = CameraWish::default();
            let order = Order { source, wish, pace: Pace::Newest, wait };
            let capture = Capture::start(order, Stop::default()).unwrap();
            let news = std::iter::from_fn(|| Some(capture.next()))
                .find(|news| !matches!(news, News::Quiet));
            match news {
                Some(News::Waiting(_)) => assert!(wait),
                Some(News::Ended(Err(error))) => assert!(!wait && error.may_pass()),
                _ => panic!("something else"),
            }
        }
    }
}
