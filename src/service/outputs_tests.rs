//! The watchdog, while outputs work in a thread of their own.

use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::camera::Masks;
use crate::picture::{ColourRange, Frame, Mask, PixelFormat};
use crate::service::guard::Guard;
use crate::service::{Fill, FillError};

const PATIENCE: Duration = Duration::from_millis(40);

struct Nothing;

impl Fill for Nothing {
    fn set_mask(&mut self, _: &Mask) -> Result<(), FillError> {
        Ok(())
    }

    fn fill(&mut self, _: &mut Frame) -> Result<(), FillError> {
        Ok(())
    }
}

/// Ends a write when the test says so.
struct Hanging(Receiver<()>);

impl Sink for Hanging {
    fn describe(&self) -> String {
        "a test".into()
    }

    fn write(&mut self, _: &Frame) -> Result<(), OutputError> {
        self.0.recv().map_err(|_| OutputError::Closed)
    }

    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        Ok(())
    }
}

fn frame_order() -> Order {
    let frame = Frame::flat(8, 8, PixelFormat::Grey8, ColourRange::Full, 9).unwrap();
    let cleared = Guard::new(Box::new(Nothing), Masks::default(), false).clear(frame).unwrap();
    Order::Show { frame: cleared.unwrap(), at: Instant::now(), fill: Duration::ZERO }
}

#[test]
fn an_output_that_hangs_starves_the_watchdog_whatever_the_loop_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut bytes = [0; 256];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let manager = Manager::at(path.to_str().unwrap(), Some(PATIENCE));
    let (goes_on, gate) = channel();
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(Hanging(gate))];
    let tally = Arc::default();
    let worker = Worker::new(sinks, "source".into(), "mask".into(), &tally, manager);
    let mut outputs = Outputs::beside(worker, Pace::Newest, &Stop::default()).unwrap();
    outputs.show(frame_order(), || {});
    // The network goes on, and what it fills is dropped.
    for _ in 0..10 {
        std::thread::sleep(PATIENCE / 4);
        outputs.show(frame_order(), || {});
        outputs.alive();
    }
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 9]).is_err(), "nothing has gone out");
    assert!(tally.dropped.count() > 0);
    socket.set_nonblocking(false).unwrap();
    goes_on.send(()).unwrap();
    assert_eq!([told(), told()], ["READY=1", "WATCHDOG=1"]);
    goes_on.send(()).unwrap();
    let (statistics, ended) = outputs.finish();
    assert_eq!(statistics.shown, 2, "what waits at the end is still shown");
    ended.unwrap();
}

/// A file on a disk that is full from its second frame on, or something live that hears of it.
struct Full {
    is_live: bool,
    written: usize,
    heard: Arc<Mutex<Vec<serde_json::Value>>>,
}

impl Sink for Full {
    fn describe(&self) -> String {
        "a test".into()
    }

    fn write(&mut self, _: &Frame) -> Result<(), OutputError> {
        self.written += 1;
        match self.is_live || self.written < 2 {
            true => Ok(()),
            false => {
                let source = std::io::ErrorKind::StorageFull.into();
                Err(OutputError::Write { path: "day.y4m".into(), source })
            }
        }
    }

    fn is_live(&self) -> bool {
        self.is_live
    }

    fn report(&mut self, status: &serde_json::Value) {
        if self.is_live {
            self.heard.lock().unwrap().push(status.clone());
        }
    }

    fn shows_reports(&self) -> bool {
        self.is_live
    }

    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        self.heard.lock().unwrap().push(json!({"finished": self.written}));
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_what_is_live_only_at_the_end() {
    for has_live in [true, false] {
        let heard = [false, true].map(|_| Arc::default());
        let sink = |is_live: bool| -> Box<dyn Sink> {
            let heard = Arc::clone(&heard[usize::from(is_live)]);
            Box::new(Full { is_live, written: 0, heard })
        };
        let sinks = if has_live { vec![sink(false), sink(true)] } else { vec![sink(false)] };
        let (tally, manager) = (Arc::default(), Manager::default());
        let worker = Worker::new(sinks, "source".into(), "mask".into(), &tally, manager);
        let mut outputs = Outputs::here(worker);
        for _ in 0..3 {
            outputs.show(frame_order(), || {});
            outputs.report();
        }
        assert_eq!(outputs.have_ended(), !has_live);
        let [file, live] = &heard;
        if has_live {
            assert_eq!(*file.lock().unwrap(), [json!({"finished": 2})], "at once");
            let status = live.lock().unwrap().last().unwrap().clone();
            assert!(status["failed"][0].as_str().unwrap().contains("day.y4m"), "{status}");
        }
        let (statistics, ended) = outputs.finish();
        assert_eq!(statistics.shown, if has_live { 3 } else { 1 });
        assert!(ended.is_err_and(|error| error.to_string().contains("has room")));
        assert_eq!(file.lock().unwrap().len(), 1);
    }
}

#[test]
fn what_is_hidden_is_said() {
    let heard = Arc::default();
    let sinks: Vec<Box<dyn Sink>> =
        vec![Box::new(Full { is_live: true, written: 0, heard: Arc::clone(&heard) })];
    let (tally, manager) = (Arc::default(), Manager::default());
    let mut worker = Worker::new(sinks, "source".into(), "mask".into(), &tally, manager);
    let mut hidden = |order| {
        worker.follow(order);
        worker.reported = None;
        worker.report();
        heard.lock().unwrap().last().unwrap()["hidden"].clone()
    };
    assert_eq!(hidden(Order::Alive), serde_json::Value::Null);
    let masks = Masks::open(&["rect:0,0,2,8".parse().unwrap()], None).unwrap();
    let grey = Frame::flat(8, 8, PixelFormat::Grey8, ColourRange::Full, 9).unwrap();
    let frame = Guard::new(Box::new(Nothing), masks, false).clear(grey).unwrap().unwrap();
    let show = Order::Show { frame, at: Instant::now(), fill: Duration::ZERO };
    assert_eq!(hidden(show), 0.25);
    assert_eq!(hidden(frame_order()), 0.0);
    assert_eq!(hidden(Order::StandIn("words", Some((4, 2)))), serde_json::Value::Null);
    assert!(worker.figures(&Statistics::default()).find("hidden").is_none());
    assert_eq!(worker.size, (4, 2), "words are as large as pictures");
}

#[test]
fn a_journal_is_not_filled_with_what_its_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    assert_eq!(log_every(&Manager::at(path.to_str().unwrap(), None)), JOURNAL_EVERY);
    assert_eq!(log_every(&Manager::default()), LOG_EVERY);
}
