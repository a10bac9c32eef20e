//! From one thread to the next, without a queue: one frame waits at most, since a frame that waits
//! grows old.
//!
//! Two paces. *Newest*: a new frame takes the place of the one nobody came for. *Every*: whoever
//! brings a frame waits until there is room. What is said beside frames keeps its place between
//! them: a frame from before the camera went is not shown after its going.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::statistics::Tally;
use crate::process::Stop;

/// How often waiting threads look whether they should stop.
pub(super) const TICK: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Newest,
    Every,
}

/// What a message is to those who make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Frame,
    /// A frame that cannot be shown: it must not take the place of a good one.
    Damaged,
    /// Anything else. It is neither dropped nor waited with.
    Word,
}

pub(super) trait Message {
    fn kind(&self) -> Kind;
}

struct State<T> {
    /// Oldest first.
    messages: VecDeque<T>,
    /// Nobody takes anything any more.
    closed: bool,
    /// When whoever brings messages was heard of last.
    heard: Instant,
}

impl<T: Message> State<T> {
    fn count(&self, kind: Kind) -> u64 {
        self.messages.iter().filter(|message| message.kind() == kind).count() as u64
    }

    fn has_frame(&self) -> bool {
        self.messages.iter().any(|message| message.kind() != Kind::Word)
    }
}

/// The place between two threads.
pub(super) struct HandOver<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    pace: Pace,
    tally: Arc<Tally>,
    stop: Stop,
}

impl<T: Message> HandOver<T> {
    pub fn new(pace: Pace, tally: Arc<Tally>, stop: Stop) -> Self {
        let state = State { messages: VecDeque::new(), closed: false, heard: Instant::now() };
        Self { state: Mutex::new(state), changed: Condvar::new(), pace, tally, stop }
    }

    /// Hands on a frame. Returns how many went lost for it, counted in the tally.
    pub fn put(&self, frame: T) -> u64 {
        self.put_meanwhile(frame, || {})
    }

    /// The same; whoever waits for room does `meanwhile` again and again.
    pub fn put_meanwhile(&self, frame: T, mut meanwhile: impl FnMut()) -> u64 {
        let mut state = self.lock();
        let mut dropped = 0;
        match self.pace {
            Pace::Newest => {
                if frame.kind() == Kind::Damaged && state.count(Kind::Frame) > 0 {
                    self.tally.damaged.add(1);
                    return 0;
                }
                dropped = state.count(Kind::Frame);
                self.tally.dropped.add(dropped);
                self.tally.damaged.add(state.count(Kind::Damaged));
                state.messages.retain(|message| message.kind() == Kind::Word);
            }
            Pace::Every => {
                while state.has_frame() && !state.closed && !self.stop.is_set() {
                    state = self.wait(state);
                    if state.has_frame() {
                        drop(state);
                        meanwhile();
                        state = self.lock();
                    }
                }
            }
        }
        state.messages.push_back(frame);
        self.changed.notify_all();
        dropped
    }

    /// Says something after what is there already.
    pub fn tell(&self, word: T) {
        self.lock().messages.push_back(word);
        self.changed.notify_all();
    }

    /// Says something that is not worth saying after anything else.
    pub fn tell_if_idle(&self, word: T) {
        let mut state = self.lock();
        if state.messages.is_empty() {
            state.messages.push_back(word);
            self.changed.notify_all();
        }
    }

    /// Says that whoever brings messages is at work.
    pub fn hear(&self) {
        self.lock().heard = Instant::now();
    }

    pub fn heard(&self) -> Instant {
        self.lock().heard
    }

    /// What comes next; nothing, if nothing comes for a while.
    pub fn take(&self) -> Option<T> {
        let mut state = self.lock();
        if state.messages.is_empty() && !state.closed {
            state = self.wait(state);
        }
        let message = state.messages.pop_front();
        self.changed.notify_all();
        message
    }

    /// From now on nobody waits for room, and nothing is taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Numbered(Kind, u64);

    impl Message for Numbered {
        fn kind(&self) -> Kind {
            self.0
        }
    }

    fn place(pace: Pace) -> (HandOver<Numbered>, Arc<Tally>) {
        let tally = Arc::new(Tally::default());
        (HandOver::new(pace, Arc::clone(&tally), Stop::default()), tally)
    }

    #[test]
    fn the_newest_frame_takes_the_place_of_the_one_before_and_words_stay() {
        let (place, tally) = place(Pace::Newest);
        place.put(Numbered(Kind::Frame, 1));
        place.tell(Numbered(Kind::Word, 2));
        assert_eq!(place.put(Numbered(Kind::Frame, 3)), 1);
        place.put(Numbered(Kind::Damaged, 4));
        place.tell_if_idle(Numbered(Kind::Word, 5));
        assert_eq!(place.take(), Some(Numbered(Kind::Word, 2)));
        assert_eq!(place.take(), Some(Numbered(Kind::Frame, 3)));
        assert_eq!(place.take(), None);
        assert_eq!((tally.dropped.count(), tally.damaged.count()), (1, 1));
        // A damaged one may wait where no other does, and goes for a good one.
        place.put(Numbered(Kind::Damaged, 6));
        place.put(Numbered(Kind::Frame, 7));
        place.tell(Numbered(Kind::Word, 8));
        assert_eq!(place.take(), Some(Numbered(Kind::Frame, 7)));
        assert_eq!(place.take(), Some(Numbered(Kind::Word, 8)));
        assert_eq!((tally.dropped.count(), tally.damaged.count()), (1, 2));
    }

    #[test]
    fn every_frame_waits_for_room_until_nobody_comes() {
        let (place, tally) = place(Pace::Every);
        let taking = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                place.put(Numbered(Kind::Frame, 1));
                place.put(Numbered(Kind::Frame, 2));
                assert!(taking.load(Ordering::SeqCst), "it did not wait");
                place.put(Numbered(Kind::Frame, 3));
                place.put(Numbered(Kind::Frame, 4));
            });
            std::thread::sleep(Duration::from_millis(50));
            taking.store(true, Ordering::SeqCst);
            // Each look gives up after a while, and the other thread may be slow.
            let mut taken = std::iter::repeat_with(|| place.take()).take(1000).flatten();
            let taken = [taken.next(), taken.next()];
            place.close();
            assert_eq!(taken, [1, 2].map(|number| Some(Numbered(Kind::Frame, number))));
        });
        assert_eq!(tally.dropped.count(), 0);
    }
}
