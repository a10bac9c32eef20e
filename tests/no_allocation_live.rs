//! A live run takes no memory for a frame after the first ones: from the source through the network
//! to the file, on all threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lbam::file::Model;
use lbam::output::{self, SinkSpec};
use lbam::picture::{ColourRange, Frame, Mask, PixelFormat, RgbPicture, write_png};
use lbam::process::Stop;
use lbam::runtime::set_threads;
use lbam::service::{Fill, FillError, Filler, LiveOptions, run};

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const WIDTH: usize = 640;
const HEIGHT: usize = 480;
/// Until every thread and every buffer is there.
const FIRST: usize = 20;
const FRAMES: usize = 100;
/// The log has a line so often, which is not for a frame.
const LOG_EVERY: Duration = Duration::from_secs(5);

fn filler() -> Filler {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/small-int8.lbam");
    Filler::for_frames(Model::open(&path).expect("the shipped model"))
}

/// Fills, and notes how many allocations there have been at each frame.
struct Noting {
    filler: Filler,
    noted: Arc<Mutex<Vec<usize>>>,
}

impl Fill for Noting {
    fn set_mask(&mut self, mask: &Mask) -> Result<(), FillError> {
        self.filler.set_mask(mask)
    }

    fn fill(&mut self, frame: &mut Frame) -> Result<(), FillError> {
        let mut noted = self.noted.lock().expect("no panic");
        assert!(noted.len() < noted.capacity());
        noted.push(ALLOCATIONS.load(Ordering::Relaxed));
        self.filler.fill(frame)
    }
}

/// Two holes of odd sizes and places: two regions, scaled both ways.
fn write_mask(path: &Path) {
    let mut data = vec![0; WIDTH * HEIGHT * 3];
    for (at, pixel) in data.chunks_exact_mut(3).enumerate() {
        let (x, y) = (at % WIDTH, at / WIDTH);
        let (dx, dy) = (x.abs_diff(151), y.abs_diff(133));
        if dx * dx + dy * dy < 40 * 40 || (x > 401 && x < 603 && y > 250 && y < 417) {
            pixel.fill(255);
        }
    }
    write_png(path, &RgbPicture::new(WIDTH, HEIGHT, data).expect("a picture")).expect("a mask");
}

fn live(source: &str, folder: &Path, overlap: bool) {
    let noted = Arc::new(Mutex::new(Vec::with_capacity(2 * FRAMES)));
    let options = LiveOptions {
        camera: source.parse().expect("a source"),
        masks: vec![folder.join("mask.png").display().to_string().parse().expect("a mask")],
        outputs: vec![SinkSpec::Y4m(folder.join("out.y4m"))],
        frames: Some((FIRST + FRAMES) as u64),
        realtime: Some(false),
        overlap,
        ..LiveOptions::default()
    };
    let begun = Instant::now();
    let fill = Noting { filler: filler(), noted: Arc::clone(&noted) };
    let statistics = run(&options, Box::new(fill), &Stop::default()).expect("a run");
    assert_eq!(statistics.filled, (FIRST + FRAMES) as u64);
    let lines = begun.elapsed().as_secs() / LOG_EVERY.as_secs();
    let noted = noted.lock().expect("no panic");
    let taken: Vec<usize> = noted[FIRST..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    let with_memory = taken.iter().filter(|count| **count > 0).count() as u64;
    assert!(with_memory <= lines, "{source}, overlap {overlap}: {taken:?}");
}

#[test]
fn frames_take_no_memory_on_their_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write_mask(&folder.join("mask.png"));
    // One that was written lately is read again, once a second.
    std::thread::sleep(Duration::from_secs(4));
    let pattern = format!("test:{WIDTH}x{HEIGHT}");
    for (threads, overlap) in [(1, false), (2, true)] {
        set_threads(threads);
        live(&pattern, folder, overlap);
        std::fs::rename(folder.join("out.y4m"), folder.join("in.y4m")).expect("a clip");
        live(&folder.join("in.y4m").display().to_string(), folder, overlap);
    }

    // RGB comes from cameras and JPEGs alone: the same way, without them.
    let mut filler = filler();
    filler.set_mask(&Mask::read(&folder.join("mask.png")).expect("the mask")).expect("taken");
    let sink = SinkSpec::Y4m(folder.join("rgb.y4m"));
    let mut sink = output::open(&sink, &output::Options::default()).expect("a sink");
    let format = PixelFormat::Rgb8;
    let mut frame = Frame::flat(WIDTH, HEIGHT, format, ColourRange::Full, 90).expect("a frame");
    let mut before = 0;
    for number in 0..FIRST + FRAMES {
        if number == FIRST {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        frame.data_mut().fill(number as u8);
        filler.fill(&mut frame).expect("filled");
        sink.write(&frame).expect("written");
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "in RGB");
    sink.finish().expect("a file");
}
