//! Decoding, filling and writing side by side: that they are, and that nothing goes wrong by it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::picture::{Frame, Mask, paint_flat};
use crate::service::FillError;

const SIDE: usize = 16;
/// For what must come; a test fails when it is over.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often fills and writes have begun.
#[derive(Default)]
struct Begun {
    fills: AtomicU64,
    writes: AtomicU64,
}

fn wait_for(count: &AtomicU64, least: u64) {
    let begun = Instant::now();
    while count.load(Ordering::SeqCst) < least {
        assert!(begun.elapsed() < PATIENCE, "{least} are waited for in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Paints flat, and ends no fill before the frame before is being written.
#[derive(Default)]
struct Filler {
    mask: Option<Mask>,
    meets: Option<Arc<Begun>>,
}

impl Fill for Filler {
    fn set_mask(&mut self, mask: &Mask) -> Result<(), FillError> {
        self.mask = Some(mask.clone());
        Ok(())
    }

    fn fill(&mut self, frame: &mut Frame) -> Result<(), FillError> {
        if let Some(begun) = &self.meets {
            let before = begun.fills.fetch_add(1, Ordering::SeqCst);
            wait_for(&begun.writes, before);
        }
        paint_flat(frame, self.mask.as_ref().ok_or(FillError::NotReady)?)?;
        Ok(())
    }
}

/// What became of a sink.
#[derive(Debug, Default)]
struct Record {
    /// Numbers of the frames it was given.
    frames: Vec<u64>,
    /// Pictures made of words.
    words: u64,
    finished: bool,
}

type Writing = Box<dyn FnMut(&Frame) -> Result<(), OutputError> + Send>;

struct Recorder {
    record: Arc<Mutex<Record>>,
    write: Writing,
    is_live: bool,
}

impl Sink for Recorder {
    fn describe(&self) -> String {
        "a test".into()
    }

    fn write(&mut self, frame: &Frame) -> Result<(), OutputError> {
        self.record.lock().unwrap().frames.push(frame.sequence);
        (self.write)(frame)
    }

    fn is_live(&self) -> bool {
        self.is_live
    }

    fn stand_in(&mut self, _: &Frame) {
        self.record.lock().unwrap().words += 1;
    }

    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        self.record.lock().unwrap().finished = true;
        Ok(())
    }
}

fn recorder(
    write: impl FnMut(&Frame) -> Result<(), OutputError> + Send + 'static,
) -> (Vec<Box<dyn Sink>>, Arc<Mutex<Record>>) {
    let record = Arc::default();
    let sink = Recorder { record: Arc::clone(&record), write: Box::new(write), is_live: false };
    (vec![Box::new(sink)], record)
}

fn options(frames: u64, realtime: bool, overlap: bool) -> LiveOptions {
    LiveOptions {
        camera: SourceSpec::Test { width: SIDE, height: SIDE },
        masks: vec!["rect:25%,25%,50%,50%".parse().unwrap()],
        frames: Some(frames),
        realtime: Some(realtime),
        overlap,
        ..LiveOptions::default()
    }
}

fn run_with(
    sinks: Vec<Box<dyn Sink>>,
    options: &LiveOptions,
    fill: Filler,
) -> Result<Statistics, ServiceError> {
    let masks = Masks::open(&options.masks, None).unwrap();
    run_to(sinks, options, Box::new(fill), masks, &Stop::default(), None)
}

#[test]
fn a_frame_is_filled_while_the_one_before_is_written() {
    const FRAMES: u64 = 20;
    let begun = Arc::new(Begun::default());
    let meets = Arc::clone(&begun);
    // No write ends before the next frame is being filled, and no fill before the frame before is
    // being written: one after the other they would wait for ever.
    let (sinks, record) = recorder(move |_| {
        let written = meets.writes.fetch_add(1, Ordering::SeqCst) + 1;
        wait_for(&meets.fills, (written + 1).min(FRAMES));
        Ok(())
    });
    let fill = Filler { meets: Some(begun), ..Filler::default() };
    let statistics = run_with(sinks, &options(FRAMES, false, true), fill).unwrap();
    assert_eq!((statistics.shown, statistics.filled, statistics.dropped), (20, 20, 0));
    let record = record.lock().unwrap();
    assert_eq!(record.frames, (0..FRAMES).collect::<Vec<_>>());
    assert!(record.finished);
}

/// An output holds all up while the mask comes to hide everything. What was cleared before is recorded
/// after that, and no more shown.
#[test]
fn a_frame_that_waited_is_not_shown_by_an_older_mask() {
    // Of three the last waits for room meanwhile, and no more come.
    for (frames, overlap) in [(6, true), (6, false), (3, true)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        Mask::empty(SIDE, SIDE).unwrap().write(&path).unwrap();
        let (recorded, written, replaced) =
            (Arc::<Mutex<Record>>::default(), AtomicU64::default(), path.clone());
        let holds_up = Recorder {
            record: Arc::clone(&recorded),
            write: Box::new(move |_| {
                if written.fetch_add(1, Ordering::SeqCst) == 0 {
                    Mask::full(SIDE, SIDE).unwrap().write(&replaced).unwrap();
                    // Far longer than whoever waits takes to look.
                    std::thread::sleep(Duration::from_millis(1500));
                }
                Ok(())
            }),
            is_live: false,
        };
        let open = Arc::<Mutex<Vec<bool>>>::default();
        let (shown, seen) = (Arc::clone(&open), Arc::<Mutex<Record>>::default());
        let live = Recorder {
            record: Arc::clone(&seen),
            write: Box::new(move |frame| {
                let is_flat = frame.plane(0).iter().all(|level| *level == frame.plane(0)[0]);
                shown.lock().unwrap().push(!is_flat);
                Ok(())
            }),
            is_live: true,
        };
        let options = LiveOptions {
            masks: vec![path.display().to_string().parse().unwrap()],
            ..options(frames, false, overlap)
        };
        run_with(vec![Box::new(holds_up), Box::new(live)], &options, Filler::default()).unwrap();
        assert_eq!(recorded.lock().unwrap().frames, (0..frames).collect::<Vec<_>>());
        let open = open.lock().unwrap();
        assert!(open[0] && !open[1..].contains(&true), "{frames}, {overlap}: {open:?}");
        // What was shown does not stay.
        assert!(open.len() > 1 || seen.lock().unwrap().words > 0, "{frames}, {overlap}");
    }
}

#[test]
fn a_slow_output_drops_frames_in_real_time_and_is_waited_for_otherwise() {
    for realtime in [true, false] {
        let (sinks, record) = recorder(|_| {
            std::thread::sleep(Duration::from_millis(120));
            Ok(())
        });
        let statistics = run_with(sinks, &options(5, realtime, true), Filler::default()).unwrap();
        let frames = &record.lock().unwrap().frames;
        assert_eq!((statistics.shown, frames.len()), (5, 5), "as many as asked for, no more");
        assert!(frames.is_sorted());
        assert_eq!(statistics.dropped > 0, realtime);
        let gapless = *frames == (0..5).collect::<Vec<_>>();
        assert_eq!(gapless, !realtime, "{frames:?}");
    }
}

#[test]
fn an_output_that_fails_ends_the_run_with_its_error_and_is_given_nothing_more() {
    for (realtime, overlap) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut written = 0;
        let (mut sinks, record) = recorder(move |_| {
            written += 1;
            let source = std::io::Error::other("no room");
            if written < 3 { Ok(()) } else { Err(OutputError::Stdout { source }) }
        });
        let (other, beside) = recorder(|_| Ok(()));
        sinks.extend(other);
        let error = run_with(sinks, &options(u64::MAX, realtime, overlap), Filler::default());
        let error = error.unwrap_err();
        assert!(error.to_string().contains("no room"), "{error}");
        assert_eq!(error.exit_code(), 1);
        let (record, beside) = (record.lock().unwrap(), beside.lock().unwrap());
        assert_eq!((record.frames.len(), beside.frames.len()), (3, 2));
        assert!(record.finished && beside.finished, "what is good is kept");
    }
}

#[test]
fn a_reader_that_has_enough_is_the_end_and_no_failure() {
    for overlap in [true, false] {
        let (sinks, record) = recorder(|_| Err(OutputError::Closed));
        run_with(sinks, &options(u64::MAX, false, overlap), Filler::default()).unwrap();
        assert_eq!(record.lock().unwrap().frames, [0]);
    }
}

#[test]
fn an_output_that_panics_ends_the_run() {
    let (sinks, _) = recorder(|_| panic!("no mood for frames"));
    let run = || run_with(sinks, &options(u64::MAX, false, true), Filler::default());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
}
