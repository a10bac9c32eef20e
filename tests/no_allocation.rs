//! The integer network takes no memory for a frame once it has a mask.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lbam::file::Model;
use lbam::runtime::{Session, set_threads};

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

const SIDE: usize = 256;
/// Frames in a row that took no memory, after which all is set up; and how many that may take.
const QUIET: usize = 50;
const MOST_WARM_UP: usize = 2000;

#[test]
fn frames_take_no_memory() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/small-int8.lbam");
    let model = Arc::new(Model::open(&path).expect("the shipped model"));
    for threads in [1, 2] {
        set_threads(threads);
        let mut session = Session::new(&model, SIDE, SIDE).expect("a session");
        let hole = |at: usize| if (at % SIDE).abs_diff(100) < 40 { 255 } else { 0 };
        session.set_mask(&(0..SIDE * SIDE).map(hole).collect::<Vec<u8>>()).expect("a mask");
        let (mut picture, mut output) = (vec![0_u8; 3 * SIDE * SIDE], vec![0; 3 * SIDE * SIDE]);
        // A thread that starts takes memory, on a busy machine some frames later.
        let (mut before, mut quiet) = (0, 0);
        for _ in 0..MOST_WARM_UP {
            session.run(&picture, &mut output).expect("a warm-up");
            std::thread::sleep(Duration::from_millis(1));
            let now = ALLOCATIONS.load(Ordering::Relaxed);
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
            if quiet == QUIET {
                break;
            }
        }
        assert_eq!(quiet, QUIET, "frames go on taking memory on {threads} threads");
        for level in 0..20 {
            picture.fill(10 * level);
            session.run(&picture, &mut output).expect("a frame");
        }
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "on {threads} threads");
    }
}
