//! The watchdog, while outputs work in a thread of their own.

use std::os::unix::net::UnixDatagram;
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

fn frame() -> Order {
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
    outputs.show(frame(), || {});
    // The network goes on, and what it fills is dropped.
    for _ in 0..10 {
        std::thread::sleep(PATIENCE / 4);
        outputs.show(frame(), || {});
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

#[test]
fn a_journal_is_not_filled_with_what_its_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    assert_eq!(log_every(&Manager::at(path.to_str().unwrap(), None)), JOURNAL_EVERY);
    assert_eq!(log_every(&Manager::default()), LOG_EVERY);
}
