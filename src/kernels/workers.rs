//! A few threads that share one piece of arithmetic after another, and sleep in between.
//!
//! A layer of the network takes some tens of microseconds: what matters is how soon the others
//! take part, and that nobody waits for one that does not. So the caller works too, and a thread
//! that has nothing to do looks for work a moment longer (`PATIENCE`) before it sleeps. Each
//! thread has its own run of the pieces, the same from layer to layer, so that it finds in its
//! core's cache what it wrote there, and takes others' when it has done its own. rayon, which did
//! this before, hands the caller's work to another thread, takes memory for that now and then,
//! and was slower (`docs/performance.md`, "Threads").
//!
//! Hazard: a job lives on the stack of the thread that shares it. That is sound because
//! `Workers::share` returns only when every piece that was taken is done, panic or not.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread looks for its next piece before it sleeps: longer than what lies between two
/// layers or stages, and a small part of the time between two frames of a camera.
const PATIENCE: Duration = Duration::from_micros(100);
/// How long the caller looks whether the pieces that others have taken are done: longer than any
/// takes, so that it sleeps where another is held up.
const PATIENCE_AT_WORK: Duration = Duration::from_millis(1);
/// Looks between two looks at the clock.
const LOOKS: usize = 16;

static WORKERS: RwLock<Option<Arc<Workers>>> = RwLock::new(None);

/// Sets how many threads share arithmetic from now on, the calling one counted; 1 at the start.
/// Each new thread calls `begin` first.
pub fn set_threads(threads: usize, begin: impl Fn() + Clone + Send + 'static) {
    let workers = (threads > 1).then(|| Arc::new(Workers::new(threads - 1, begin)));
    let before = std::mem::replace(&mut *write(), workers);
    // Ends its threads, and waits for them: not while others wait for the lock.
    drop(before);
}

fn write() -> std::sync::RwLockWriteGuard<'static, Option<Arc<Workers>>> {
    WORKERS.write().unwrap_or_else(PoisonError::into_inner)
}

fn workers() -> Option<Arc<Workers>> {
    WORKERS.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// How many threads there are, the calling one counted.
pub fn threads() -> usize {
    workers().map_or(1, |workers| workers.helpers.len() + 1)
}

/// Does all pieces from 0 up to `pieces`, on all threads that are free.
///
/// # Panics
/// If a piece does.
pub(super) fn share(pieces: usize, work: &(dyn Fn(usize) + Sync)) {
    match workers() {
        Some(workers) => workers.share(pieces, work),
        None => (0..pieces).for_each(work),
    }
}

/// Does both, at the same time if a thread is free. Neither may share work itself.
///
/// # Panics
/// If one does.
pub fn join(first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
    let (first, second) = (Mutex::new(Some(first)), Mutex::new(Some(second)));
    // Each piece is done once, so its lock is free and its work there.
    let first = || first.lock().ok().and_then(|mut work| work.take()).map(|work| work());
    let second = || second.lock().ok().and_then(|mut work| work.take()).map(|work| work());
    share(2, &|piece| {
        match piece {
            0 => first(),
            _ => second(),
        };
    });
}

struct Workers {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    /// Held by the thread whose job it is.
    busy: Mutex<()>,
}

struct Job<'a> {
    work: &'a (dyn Fn(usize) + Sync),
    pieces: usize,
}

/// A thread's run of pieces: of which job, which is the next that nobody has taken, and where
/// they end.
#[derive(Clone, Copy)]
struct Ticket(u64);

impl Ticket {
    /// A job has fewer pieces.
    const MOST: usize = 1 << 16;

    fn new(job: u64, pieces: Range<usize>) -> Self {
        Self((job << 32) | ((pieces.end as u64) << 16) | pieces.start as u64)
    }

    fn job(self) -> u64 {
        self.0 >> 32
    }

    fn end(self) -> usize {
        (self.0 >> 16) as usize % Self::MOST
    }

    fn piece(self) -> usize {
        self.0 as usize % Self::MOST
    }

    fn is_open(self) -> bool {
        self.piece() < self.end()
    }
}

/// A ticket in cache lines of its own (processors fetch two at a time): its thread alone writes
/// it until another has nothing to do.
#[derive(Default)]
#[repr(align(128))]
struct Place(AtomicU64);

#[derive(Default)]
struct Shared {
    /// Each thread's, the caller's first.
    tickets: Box<[Place]>,
    /// Valid while a piece of the tickets' job is not done.
    job: AtomicPtr<Job<'static>>,
    done: AtomicUsize,
    panicked: AtomicBool,
    ending: AtomicBool,
    sleeping: AtomicUsize,
    /// The caller sleeps until all pieces are done.
    waiting: AtomicBool,
    /// Held to go to sleep, and to wake: between looking and sleeping nothing is missed.
    sleep: Mutex<()>,
    wake: Condvar,
    finished: Condvar,
}

impl Workers {
    fn new(helpers: usize, begin: impl Fn() + Clone + Send + 'static) -> Self {
        let tickets = (0..=helpers).map(|_| Place::default()).collect();
        let shared = Arc::new(Shared { tickets, ..Shared::default() });
        // A thread that cannot be had is missed by nobody: others take its pieces.
        let spawn = |index| {
            let (shared, begin) = (Arc::clone(&shared), begin.clone());
            let thread = std::thread::Builder::new().name("worker".into());
            let body = move || {
                begin();
                shared.help(index);
            };
            thread.spawn(body).ok()
        };
        let helpers = (1..=helpers).filter_map(spawn).collect();
        Self { shared, helpers, busy: Mutex::new(()) }
    }

    fn share(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        assert!(pieces < Ticket::MOST);
        let _busy = match self.busy.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread's job (a mask being prepared): both get on faster than in turns.
            Err(TryLockError::WouldBlock) => return (0..pieces).for_each(work),
        };
        let shared = &*self.shared;
        let job = Job { work, pieces };
        shared.done.store(0, Ordering::Relaxed);
        shared.job.store(ptr::from_ref(&job).cast_mut().cast(), Ordering::Relaxed);
        let threads = shared.tickets.len();
        let number = Ticket(shared.tickets[0].0.load(Ordering::Relaxed)).job() + 1;
        // SeqCst here and where threads go to sleep: either they see this, or this sees them.
        for (index, ticket) in shared.tickets.iter().enumerate() {
            let run = index * pieces / threads..(index + 1) * pieces / threads;
            ticket.0.store(Ticket::new(number, run).0, Ordering::SeqCst);
        }
        if shared.sleeping.load(Ordering::SeqCst) > 0 {
            let _sleep = shared.lock();
            shared.wake.notify_all();
        }
        shared.take_part(0);
        shared.wait_for(pieces);
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("a thread that shared this work panicked");
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        drop(self.shared.lock());
        self.shared.wake.notify_all();
        for helper in self.helpers.drain(..) {
            let _ = helper.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread of this index does until the end.
    fn help(&self, index: usize) {
        while !self.ending.load(Ordering::SeqCst) {
            self.take_part(index);
            let is_open = |place: &Place| Ticket(place.0.load(Ordering::SeqCst)).is_open();
            let open = || self.tickets.iter().any(is_open);
            if look_for(open, PATIENCE) {
                continue;
            }
            let mut sleep = self.lock();
            self.sleeping.fetch_add(1, Ordering::SeqCst);
            while !open() && !self.ending.load(Ordering::SeqCst) {
                sleep = self.wake.wait(sleep).unwrap_or_else(PoisonError::into_inner);
            }
            self.sleeping.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Takes and does pieces until none is left, those of this index first.
    fn take_part(&self, index: usize) {
        let (before, from) = self.tickets.split_at(index);
        for Place(place) in from.iter().chain(before) {
            let mut ticket = Ticket(place.load(Ordering::Acquire));
            while ticket.is_open() {
                let (found, taken) = (Ordering::Acquire, Ordering::AcqRel);
                match place.compare_exchange_weak(ticket.0, ticket.0 + 1, taken, found) {
                    Ok(_) => {
                        self.work(ticket.piece());
                        ticket = Ticket(place.load(Ordering::Acquire));
                    }
                    Err(now) => ticket = Ticket(now),
                }
            }
        }
    }

    fn work(&self, piece: usize) {
        // SAFETY: this thread has taken a piece of the job and has not yet counted it as done, so
        // that `share`, on whose stack the job lies, has not returned. The pointer was stored
        // before the tickets.
        let job = unsafe { &*self.job.load(Ordering::Relaxed) };
        let pieces = job.pieces;
        if catch_unwind(AssertUnwindSafe(|| (job.work)(piece))).is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
        // From here on the job may be gone.
        let done = self.done.fetch_add(1, Ordering::SeqCst) + 1;
        if done == pieces && self.waiting.load(Ordering::SeqCst) {
            let _sleep = self.lock();
            self.finished.notify_all();
        }
    }

    fn wait_for(&self, pieces: usize) {
        let done = || self.done.load(Ordering::SeqCst) == pieces;
        if look_for(done, PATIENCE_AT_WORK) {
            return;
        }
        let mut sleep = self.lock();
        self.waiting.store(true, Ordering::SeqCst);
        while !done() {
            sleep = self.finished.wait(sleep).unwrap_or_else(PoisonError::into_inner);
        }
        self.waiting.store(false, Ordering::SeqCst);
    }
}

/// Whether it comes true before patience ends.
fn look_for(there: impl Fn() -> bool, patience: Duration) -> bool {
    if there() {
        return true;
    }
    let begun = Instant::now();
    while begun.elapsed() < patience {
        for _ in 0..LOOKS {
            std::hint::spin_loop();
            if there() {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than there are cores here, so that threads also wait for each other.
    const HELPERS: usize = 5;

    fn counted(workers: &Workers, pieces: usize) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
        workers.share(pieces, &|piece| {
            counts[piece].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_piece_is_done_once() {
        let workers = Workers::new(HELPERS, || {});
        for round in 0..2000 {
            let pieces = round % 23;
            assert_eq!(counted(&workers, pieces), vec![1; pieces], "round {round}");
            if round % 200 == 0 {
                // Long enough for all to sleep.
                std::thread::sleep(4 * PATIENCE);
            }
        }
    }

    #[test]
    fn pieces_are_shared_while_they_last() {
        let workers = Workers::new(1, || {});
        // Neither can end before the other has begun: both threads must take part.
        let meeting = std::sync::Barrier::new(2);
        workers.share(2, &|_| {
            meeting.wait();
        });
    }

    #[test]
    fn a_panic_is_told_after_all_pieces_and_the_threads_live_on() {
        let workers = Workers::new(HELPERS, || {});
        let done = AtomicUsize::new(0);
        let shared = catch_unwind(AssertUnwindSafe(|| {
            workers.share(8, &|piece| {
                assert!(piece != 3, "no mood for this one");
                done.fetch_add(1, Ordering::Relaxed);
            });
        }));
        assert!(shared.is_err());
        assert_eq!(done.into_inner(), 7);
        assert_eq!(counted(&workers, 9), vec![1; 9]);
    }

    #[test]
    fn both_are_done_once_whoever_helps() {
        for threads in [1, 2] {
            set_threads(threads, || {});
            let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
            let count = |at: usize| counts[at].fetch_add(1, Ordering::Relaxed);
            join(
                || {
                    count(0);
                },
                || {
                    count(1);
                },
            );
            assert_eq!(counts.map(AtomicUsize::into_inner), [1, 1], "{threads} threads");
        }
        set_threads(1, || {});
    }

    #[test]
    fn two_callers_do_not_wait_for_each_other() {
        let workers = Workers::new(1, || {});
        let meeting = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                // Each caller is held up by the other's last piece, not by its job.
                scope.spawn(|| {
                    workers.share(1, &|_| {
                        meeting.wait();
                    });
                });
            }
        });
    }

    /// Milliseconds of processor time that this process has used.
    #[cfg(target_os = "linux")]
    fn used(thread: &str) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"));
        let stat = stat.expect("the scheduler's figures");
        let first = stat.split_whitespace().next().expect("a figure");
        first.parse::<u64>().expect("nanoseconds") / 1_000_000
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn threads_without_work_use_no_processor() {
        let (sender, ids) = std::sync::mpsc::channel();
        let workers = Workers::new(2, move || {
            let link = std::fs::read_link("/proc/thread-self").expect("this thread");
            let id = link.file_name().expect("its number").to_string_lossy().into_owned();
            sender.send(id).expect("the test listens");
        });
        let ids: Vec<String> = ids.iter().take(2).collect();
        counted(&workers, 8);
        std::thread::sleep(Duration::from_millis(50));
        let before: u64 = ids.iter().map(|id| used(id)).sum();
        std::thread::sleep(Duration::from_millis(300));
        let after: u64 = ids.iter().map(|id| used(id)).sum();
        assert!(after - before < 3, "{} ms of 300", after - before);
    }
}
