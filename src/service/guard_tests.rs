//! A mask that changes while frames come.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::*;
use crate::camera::{MaskSourceError, MaskSpec};
use crate::picture::{ColourRange, FLAT_GREY, PixelFormat, Rect};

const SIDE: usize = 16;
/// Luma of frames: what must never be seen in a hole.
const SECRET: u8 = 77;
/// Luma of fills.
const FILL: u8 = 200;

/// Gives what the test has put there.
struct Given(Arc<Mutex<Option<Mask>>>);

impl MaskSource for Given {
    fn describe(&self) -> String {
        "given".into()
    }

    fn next(&mut self, _: usize, _: usize, _: u64) -> Result<Option<Mask>, MaskSourceError> {
        Ok(self.0.lock().expect("unpoisoned").take())
    }
}

/// Fills with one level. The next of its kind takes its mask when the test says so, or fails.
struct Slow {
    mask: Option<Mask>,
    gate: Option<Receiver<bool>>,
    gates: Arc<Mutex<Vec<Receiver<bool>>>>,
    /// Hidden luma that reached the network.
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Fill for Slow {
    fn set_mask(&mut self, mask: &Mask) -> Result<(), FillError> {
        if let Some(gate) = self.gate.take()
            && !gate.recv().expect("the test holds the other end")
        {
            return Err(FillError::Network("it will not".into()));
        }
        self.mask = Some(mask.clone());
        Ok(())
    }

    fn fill(&mut self, frame: &mut Frame) -> Result<(), FillError> {
        let mask = self.mask.as_ref().ok_or(FillError::NotReady)?;
        let luma = &mut frame.data_mut()[..SIDE * SIDE];
        for (pixel, hole) in luma.iter_mut().zip(mask.data()) {
            match hole {
                0 => self.seen.lock().expect("unpoisoned").push(*pixel),
                _ => *pixel = FILL,
            }
        }
        Ok(())
    }

    fn another(&self) -> Option<Box<dyn Fill>> {
        let gate = self.gates.lock().expect("unpoisoned").pop()?;
        let (gates, seen) = (Arc::clone(&self.gates), Arc::clone(&self.seen));
        Some(Box::new(Self { mask: None, gate: Some(gate), gates, seen }))
    }
}

struct Scene {
    guard: Guard,
    mask: Arc<Mutex<Option<Mask>>>,
    seen: Arc<Mutex<Vec<u8>>>,
    /// Opens the gates of the second, third, ... network.
    openers: Vec<Sender<bool>>,
}

impl Scene {
    fn new() -> Self {
        let mask = Arc::default();
        let mut masks = Masks::default();
        masks.add(Box::new(Given(Arc::clone(&mask))));
        Self::with(masks, mask, false)
    }

    fn with(masks: Masks, mask: Arc<Mutex<Option<Mask>>>, fail_closed: bool) -> Self {
        let (openers, mut gates): (Vec<_>, Vec<_>) = (0..3).map(|_| channel()).unzip();
        gates.reverse();
        let seen = Arc::default();
        let gates = Arc::new(Mutex::new(gates));
        let fill = Slow { mask: None, gate: None, gates, seen: Arc::clone(&seen) };
        Self { guard: Guard::new(Box::new(fill), masks, fail_closed), mask, seen, openers }
    }

    fn put(&self, rect: &str) {
        let mask = Mask::from_rects(SIDE, SIDE, &[rect.parse().expect("a rectangle")]);
        *self.mask.lock().expect("unpoisoned") = Some(mask.expect("a mask"));
    }

    /// How a frame came out, and its luma at (2, 2) and (10, 10).
    fn frame(&mut self) -> (How, u8, u8) {
        self.frame_if_any().expect("a mask is there")
    }

    fn frame_if_any(&mut self) -> Option<(How, u8, u8)> {
        let format = PixelFormat::Yuv420;
        let frame = Frame::flat(SIDE, SIDE, format, ColourRange::Limited, SECRET);
        let cleared = self.guard.clear(frame.expect("a frame")).expect("no error")?;
        let luma = |x: usize, y: usize| cleared.frame().data()[y * SIDE + x];
        Some((cleared.how, luma(2, 2), luma(10, 10)))
    }

    /// Frames until the change is over.
    fn settle(&mut self) -> (How, u8, u8) {
        for _ in 0..2000 {
            if self.guard.change.as_ref().is_none_or(|change| change.worker.is_finished()) {
                return self.frame();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("the mask is never ready");
    }
}

#[test]
fn what_is_painted_on_the_page_is_hidden_from_then_on() {
    for fail_closed in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mask.png");
        let masks = Masks::open(&[MaskSpec::Page], Some(&file)).expect("a page");
        let mut scene = Scene::with(masks, Arc::default(), fail_closed);
        let shown = (How::Unchanged, SECRET, SECRET);
        assert_eq!(scene.frame_if_any(), (!fail_closed).then_some(shown));
        let paint = |rects: &[Rect]| {
            let mask = Mask::from_rects(SIDE, SIDE, rects).expect("a mask");
            mask.write(&file).expect("written");
        };
        paint(&["rect:0,0,4,4".parse().expect("a rectangle")]);
        assert_eq!(scene.frame(), (How::Filled, FILL, SECRET));
        // To paint nothing is to hide nothing: somebody decided it.
        paint(&[]);
        assert_eq!(scene.frame(), shown);
    }
}

#[test]
fn a_growing_mask_is_honoured_at_once_and_filled_when_ready() {
    let mut scene = Scene::new();
    scene.put("rect:0,0,4,4");
    assert_eq!(scene.frame(), (How::Filled, FILL, SECRET));
    scene.seen.lock().expect("unpoisoned").clear();
    scene.put("rect:0,0,12,12");
    for _ in 0..3 {
        assert_eq!(scene.frame(), (How::Flat, FILL, FLAT_GREY));
    }
    // While the second is prepared, a third: nothing of it passes either.
    scene.put("rect:0,0,16,16");
    assert_eq!(scene.frame(), (How::Flat, FILL, FLAT_GREY));
    let seen = std::mem::take(&mut *scene.seen.lock().expect("unpoisoned"));
    // Of 256 pixels 16 were holes before and 144 are then: the rest is known.
    assert_eq!(seen.iter().filter(|&&luma| luma == FLAT_GREY).count(), 3 * 128 + 240);
    assert_eq!(seen.iter().filter(|&&luma| luma == SECRET).count(), 3 * 112);
    scene.openers[0].send(true).expect("waited for");
    scene.settle();
    scene.openers[1].send(true).expect("waited for");
    assert_eq!(scene.settle(), (How::Filled, FILL, FILL));
    assert!(scene.guard.change.is_none());
}

/// Where no frame comes, the one that is looked at is from before the mask.
#[test]
fn a_mask_that_hides_more_is_known_before_the_next_frame() {
    let mut scene = Scene::new();
    let shows = |scene: &mut Scene| scene.guard.shows_hidden().expect("no error");
    assert!(!shows(&mut scene));
    scene.put("rect:0,0,8,8");
    scene.frame();
    assert!(!shows(&mut scene));
    for (rect, hides_more) in [
        ("rect:0,0,8,8", false),
        ("rect:0,0,4,4", false),
        ("rect:0,0,4,5", true),
        ("rect:8,8,8,8", true),
        ("rect:9,9,2,2", false),
    ] {
        scene.put(rect);
        assert_eq!(shows(&mut scene), hides_more, "{rect}");
        assert!(!shows(&mut scene), "once");
    }
    scene.put("rect:0,0,16,16");
    scene.frame();
    assert!(!shows(&mut scene), "the frame was hidden by it");
}

/// Masks from a program or a device move with what they hide; that none comes any more hides all.
#[test]
fn a_picture_stays_until_masks_for_each_frame_cease() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("masks");
    let painted = folder.path().join("mask.png");
    let specs = [MaskSpec::Socket(socket.clone()), MaskSpec::Page];
    let masks = Masks::open(&specs, Some(&painted)).expect("a socket and a page");
    let mut scene = Scene::with(masks, Arc::default(), true);
    let mut program = std::os::unix::net::UnixStream::connect(&socket).expect("connected");
    let mut send = |hidden: usize| {
        let grey: Vec<u8> = (0..SIDE * SIDE).map(|at| if at < hidden { 255 } else { 0 }).collect();
        program.write_all(b"P5 16 16 255\n").expect("sent");
        program.write_all(&grey).expect("sent");
    };
    // All is hidden before the first has come.
    send(16);
    while scene.frame().2 != SECRET {
        std::thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..20 {
        send(32);
        std::thread::sleep(Duration::from_millis(10));
        assert!(!scene.guard.shows_hidden().expect("no error"));
    }
    // What is painted beside them is a judgement.
    let rect = "rect:0,8,16,2".parse().expect("a rectangle");
    Mask::from_rects(SIDE, SIDE, &[rect]).expect("a mask").write(&painted).expect("written");
    let begun = Instant::now();
    while !scene.guard.shows_hidden().expect("no error") {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is said");
        send(16);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!scene.guard.mask.as_ref().expect("a mask").is_full());
    // Two seconds after the last.
    while !scene.guard.shows_hidden().expect("no error") {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is said");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!scene.guard.shows_hidden().expect("no error"), "once");
}

/// Sources that give one with every frame often give the same.
#[test]
fn the_same_mask_once_more_is_no_change() {
    let mut scene = Scene::new();
    scene.put("rect:0,0,4,4");
    scene.settle();
    for _ in 0..3 {
        scene.put("rect:0,0,4,4");
        assert_eq!(scene.frame().0, How::Filled);
        assert!(scene.guard.change.is_none());
    }
}

#[test]
fn a_mask_that_cannot_be_prepared_leaves_the_holes_flat() {
    let mut scene = Scene::new();
    scene.put("rect:0,0,4,4");
    scene.frame();
    scene.put("rect:0,0,12,12");
    scene.frame();
    scene.openers[0].send(false).expect("waited for");
    assert_eq!(scene.settle(), (How::Flat, FLAT_GREY, FLAT_GREY));
    // The old network takes the mask itself after a pause, which the same mask does not end.
    scene.put("rect:0,0,12,12");
    assert_eq!(scene.frame().0, How::Flat);
    std::thread::sleep(RETRY_AFTER);
    assert_eq!(scene.frame(), (How::Filled, FILL, FILL));
}

#[test]
fn a_shrinking_mask_and_an_empty_one_reveal_only_what_they_should() {
    let mut scene = Scene::new();
    scene.put("rect:0,0,12,12");
    assert_eq!(scene.frame(), (How::Filled, FILL, FILL));
    scene.put("rect:0,0,4,4");
    assert_eq!(scene.frame(), (How::Filled, FILL, FILL));
    scene.openers[0].send(true).expect("waited for");
    assert_eq!(scene.settle(), (How::Filled, FILL, SECRET));
    *scene.mask.lock().expect("unpoisoned") = Some(Mask::empty(SIDE, SIDE).expect("a mask"));
    assert_eq!(scene.frame(), (How::Unchanged, SECRET, SECRET));
    scene.put("rect:0,0,4,4");
    assert_eq!(scene.frame(), (How::Filled, FILL, SECRET));
}
