//! The promise of the loop: whatever the network does, no hidden pixel comes out.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::camera::{Source, Y4mReader, test_frame};
use crate::picture::{Frame, Mask, PixelFormat, Pool, RgbPicture, write_png};
use crate::service::FillError;

const WIDTH: usize = 64;
const HEIGHT: usize = 48;
const RECT: &str = "rect:25%,25%,50%,50%";

/// Misbehaves in a different way on each call.
#[derive(Default)]
struct Moody {
    mask: Option<Mask>,
    masks: usize,
    calls: usize,
}

impl Fill for Moody {
    fn set_mask(&mut self, mask: &Mask) -> Result<(), FillError> {
        self.masks += 1;
        match self.masks % 3 {
            1 => panic!("no mood for masks"),
            _ => {
                self.mask = Some(mask.clone());
                Ok(())
            }
        }
    }

    fn fill(&mut self, frame: &mut Frame) -> Result<(), FillError> {
        self.calls += 1;
        match self.calls % 5 {
            0 => panic!("no mood for frames"),
            1 => Err(FillError::NotReady),
            2 => {
                // Half the work done, then a fault: the worst case for a leak.
                let half = frame.data().len() / 2;
                frame.data_mut()[..half].fill(1);
                Err(FillError::Network("lost the thread".into()))
            }
            _ => {
                crate::picture::paint_flat(frame, self.mask.as_ref().ok_or(FillError::NotReady)?)?;
                Ok(())
            }
        }
    }
}

/// Fills nothing well, and never fails.
#[derive(Default)]
struct Flat(Option<Mask>);

impl Fill for Flat {
    fn set_mask(&mut self, mask: &Mask) -> Result<(), FillError> {
        self.0 = Some(mask.clone());
        Ok(())
    }

    fn fill(&mut self, frame: &mut Frame) -> Result<(), FillError> {
        crate::picture::paint_flat(frame, self.0.as_ref().ok_or(FillError::NotReady)?)?;
        Ok(())
    }
}

fn options(output: &Path, frames: u64) -> LiveOptions {
    LiveOptions {
        camera: SourceSpec::Test { width: WIDTH, height: HEIGHT },
        masks: vec![RECT.parse().unwrap()],
        outputs: vec![output.display().to_string().parse().unwrap()],
        frames: Some(frames),
        ..LiveOptions::default()
    }
}

fn frames_of(path: &Path) -> Vec<Frame> {
    let mut reader = Y4mReader::open(path).unwrap();
    std::iter::from_fn(|| {
        reader.next().unwrap().map(|captured| captured.decode(&Pool::default()).unwrap())
    })
    .collect()
}

/// Luma and chroma within the hole are all of one value: nothing of the picture is left.
fn assert_hole_is_flat(frame: &Frame) {
    for (plane, scale) in [(0, 1), (1, 2), (2, 2)] {
        let width = WIDTH / scale;
        let (left, top) = (WIDTH / 4 / scale, HEIGHT / 4 / scale);
        let first = frame.plane(plane)[top * width + left];
        for y in top..top + HEIGHT / 2 / scale {
            let line = &frame.plane(plane)[y * width + left..][..WIDTH / 2 / scale];
            assert!(line.iter().all(|&value| value == first), "plane {plane}, line {y}");
        }
    }
}

#[test]
fn no_hidden_pixel_passes_whatever_the_network_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o.y4m");
    // The retry pause of the guard would otherwise hide most of the moods behind flat frames.
    let mut options = options(&path, 60);
    options.realtime = Some(true);
    let statistics = run(&options, Box::new(Moody::default()), &Stop::default()).unwrap();
    assert_eq!((statistics.shown, statistics.filled + statistics.flat), (60, 60));
    assert!(statistics.filled > 0 && statistics.flat > 0, "{statistics:?}");
    let frames = frames_of(&path);
    assert_eq!(frames.len(), 60);
    frames.iter().for_each(assert_hole_is_flat);
}

#[test]
fn known_pixels_stay_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o.y4m");
    run(&options(&path, 5), Box::new(Flat::default()), &Stop::default()).unwrap();
    for (number, frame) in frames_of(&path).iter().enumerate() {
        let original = test_frame(WIDTH, HEIGHT, number as u64).unwrap();
        assert_eq!(frame.format(), PixelFormat::Yuv420);
        let mask = Mask::from_rects(WIDTH, HEIGHT, &[RECT.parse().unwrap()]).unwrap();
        for (at, (new, old)) in frame.plane(0).iter().zip(original.plane(0)).enumerate() {
            assert!(new == old || mask.is_hole(at % WIDTH, at / WIDTH), "frame {number}, {at}");
        }
        assert_hole_is_flat(frame);
    }
}

#[test]
fn without_a_mask_frames_pass_or_are_kept_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o.y4m");
    let mut options = options(&path, 3);
    options.masks.clear();
    let statistics = run(&options, Box::new(Moody::default()), &Stop::default()).unwrap();
    assert_eq!(statistics.unchanged, 3);
    assert_eq!(frames_of(&path)[2].data(), test_frame(WIDTH, HEIGHT, 2).unwrap().data());

    std::fs::remove_file(&path).unwrap();
    options.camera = clip(folder.path(), 4);
    options.fail_closed = true;
    let statistics = run(&options, Box::new(Moody::default()), &Stop::default()).unwrap();
    assert_eq!((statistics.shown, statistics.withheld), (0, 3), "frames kept back count");
    assert!(!path.exists(), "not even a header");
}

fn clip(folder: &Path, frames: u64) -> SourceSpec {
    let path = folder.join("clip.y4m");
    let mut options = options(&path, frames);
    options.masks.clear();
    run(&options, Box::new(Flat::default()), &Stop::default()).unwrap();
    SourceSpec::Y4m(path)
}

#[test]
fn too_few_masks_end_the_run_before_the_frame_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let masks = folder.path().join("masks");
    std::fs::create_dir(&masks).unwrap();
    let white = vec![255; WIDTH * HEIGHT * 3];
    let picture = crate::picture::RgbPicture::new(WIDTH, HEIGHT, white).unwrap();
    for name in ["1.png", "2.png"] {
        crate::picture::write_png(&masks.join(name), &picture).unwrap();
    }
    let path = folder.path().join("o.y4m");
    let mut options = options(&path, 9);
    options.masks = vec![MaskSpec::Path(masks)];
    let error = run(&options, Box::new(Flat::default()), &Stop::default()).unwrap_err();
    assert!(error.to_string().contains("holds 2 masks"), "{error}");
    assert_eq!(frames_of(&path).len(), 2, "what was good is kept, and no more");
}

#[test]
fn a_mask_of_another_size_shows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mask = folder.path().join("m.png");
    let picture = crate::picture::RgbPicture::new(9, 9, vec![0; 243]).unwrap();
    crate::picture::write_png(&mask, &picture).unwrap();
    let path = folder.path().join("o.y4m");
    let mut options = options(&path, 9);
    options.masks = vec![MaskSpec::Path(mask)];
    let error = run(&options, Box::new(Flat::default()), &Stop::default()).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(!path.exists());
}

#[test]
fn a_mask_that_cannot_be_painted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o.y4m");
    let painted = Some(folder.path().join("mask.png"));
    let page = LiveOptions { masks: vec![MaskSpec::Page], painted, ..options(&path, 9) };
    let error = run(&page, Box::new(Flat::default()), &Stop::default()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--output http:"), "{error}");
    assert!(!path.exists());
    let with_page = LiveOptions { outputs: vec![SinkSpec::Http], ..page.clone() };
    with_page.check().unwrap();
    assert!(with_page.has_canvas() && !page.has_canvas());
    // What was painted before is in force without a page, too: nobody asked for one.
    LiveOptions { masks: Vec::new(), ..page }.check().unwrap();
}

#[test]
fn an_absent_camera_is_75_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder.path().join("o.y4m"), 1);
    options.camera = SourceSpec::Device("/dev/video987".into());
    options.wait = false;
    let error = run(&options, Box::new(Flat::default()), &Stop::default()).unwrap_err();
    assert_eq!(error.exit_code(), 75);
}

/// Flat, and tells at each fill how many there were.
struct Counted<F> {
    flat: Flat,
    fills: u64,
    tell: F,
}

impl<F: FnMut(u64) + Send + 'static> Counted<F> {
    fn telling(tell: F) -> Box<dyn Fill> {
        Box::new(Self { flat: Flat::default(), fills: 0, tell })
    }
}

impl<F: FnMut(u64) + Send + 'static> Fill for Counted<F> {
    fn set_mask(&mut self, mask: &Mask) -> Result<(), FillError> {
        self.flat.set_mask(mask)
    }

    fn fill(&mut self, frame: &mut Frame) -> Result<(), FillError> {
        self.fills += 1;
        (self.tell)(self.fills);
        self.flat.fill(frame)
    }
}

#[test]
fn stopping_completes_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o.y4m");
    let mut options = options(&path, u64::MAX);
    options.realtime = Some(true);
    let stop = Stop::default();
    let other = stop.clone();
    let fill = Counted::telling(move |fills| {
        if fills == 3 {
            other.set();
        }
    });
    let statistics = run(&options, fill, &stop).unwrap();
    assert_eq!(frames_of(&path).len() as u64, statistics.shown);
    assert!(statistics.shown > 0);
}

/// Whether frames are flat at the left, and in the middle; among them there is a reload by `read`.
fn flat_left_and_middle(
    read: impl Fn(LiveOptions) -> Result<Reloaded, ServiceError> + Send + Sync + 'static,
) -> (Vec<bool>, Vec<bool>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o.y4m");
    let options = LiveOptions { overlap: false, ..options(&path, 1000) };
    let before = options.clone();
    let reload = Reload::by(move || read(before.clone()));
    let ask = reload.ask();
    let fill = Counted::telling(move |fills| {
        if fills == 3 {
            ask.store(true, Ordering::SeqCst);
        }
        // So that the thread that reads has its turn.
        std::thread::sleep(Duration::from_millis(1));
    });
    let statistics = run_reloading(&options, fill, &Stop::default(), Some(reload)).unwrap();
    // A network without a mask would have had its frames painted flat instead.
    assert_eq!((statistics.filled, statistics.flat), (1000, 0));
    let is_flat = |frame: &Frame, x: usize| {
        let at = |y: usize| frame.plane(0)[y * WIDTH + x];
        (13..35).all(|y| at(y) == at(13))
    };
    let frames = frames_of(&path);
    (
        frames.iter().map(|frame| is_flat(frame, 2)).collect(),
        frames.iter().map(|frame| is_flat(frame, WIDTH / 2)).collect(),
    )
}

#[test]
fn another_mask_comes_between_two_frames() {
    let (left, middle) = flat_left_and_middle(|options| {
        let masks = vec!["rect:0,0,10%,100%".parse().unwrap()];
        let options = LiveOptions { masks, ..options };
        Ok(Reloaded { options, fill: Box::new(Flat::default()) })
    });
    assert!(!left[0] && middle[0]);
    assert!(left[left.len() - 1] && !middle[middle.len() - 1]);
    // No frame showed both places, or hid neither because of the change.
    assert!(left.iter().zip(&middle).all(|(left, middle)| left != middle));
}

#[test]
fn another_network_takes_over_unless_its_masks_cannot_be_had() {
    for masks in [RECT, "/absent.png"] {
        let used = Arc::new(AtomicBool::new(false));
        let tells = Arc::clone(&used);
        flat_left_and_middle(move |options| {
            let options = LiveOptions { masks: vec![masks.parse().unwrap()], ..options };
            let tells = Arc::clone(&tells);
            let fill = Counted::telling(move |_| tells.store(true, Ordering::SeqCst));
            Ok(Reloaded { options, fill })
        });
        assert_eq!(used.load(Ordering::SeqCst), masks == RECT, "{masks}");
    }
}

#[test]
fn what_cannot_be_read_again_changes_nothing() {
    let wrong = |_| Err(ServiceError::Configuration("wrong".into()));
    let absent = |options| {
        let options = LiveOptions { masks: vec!["/absent.png".parse().unwrap()], ..options };
        Ok(Reloaded { options, fill: Box::new(Flat::default()) })
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.png");
    write_png(&path, &RgbPicture::new(2, 2, vec![255; 12]).unwrap()).unwrap();
    let small = move |options| {
        let options = LiveOptions { masks: vec![MaskSpec::Path(path.clone())], ..options };
        Ok(Reloaded { options, fill: Box::new(Flat::default()) })
    };
    let masks = || vec!["rect:0,0,10%,100%".parse().unwrap()];
    let camera = move |options| {
        let camera = SourceSpec::Test { width: 2 * WIDTH, height: 2 * HEIGHT };
        let options = LiveOptions { camera, masks: masks(), ..options };
        Ok(Reloaded { options, fill: Box::new(Flat::default()) })
    };
    let wish = move |options: LiveOptions| {
        let wish = CameraWish { size: Some((32, 32)), ..options.wish };
        let options = LiveOptions { wish, masks: masks(), ..options };
        Ok(Reloaded { options, fill: Box::new(Flat::default()) })
    };
    // As of a file that is half saved.
    let nothing = |options| {
        let options = LiveOptions { masks: Vec::new(), ..options };
        Ok(Reloaded { options, fill: Box::new(Flat::default()) })
    };
    // What was painted once hides another place than what was named since.
    let painted_once = folder.path().join("painted.png");
    write_png(&painted_once, &RgbPicture::new(2, 2, vec![255; 12]).unwrap()).unwrap();
    let painted = move |options| {
        let painted = Some(painted_once.clone());
        let options = LiveOptions { masks: Vec::new(), painted, ..options };
        Ok(Reloaded { options, fill: Box::new(Flat::default()) })
    };
    for (left, middle) in [
        flat_left_and_middle(nothing),
        flat_left_and_middle(painted),
        flat_left_and_middle(wrong),
        flat_left_and_middle(absent),
        flat_left_and_middle(small),
        flat_left_and_middle(camera),
        flat_left_and_middle(wish),
    ] {
        assert!(middle.iter().all(|flat| *flat) && !left.iter().any(|flat| *flat));
    }
}

#[test]
fn masks_out_of_step_are_not_taken_by_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let [pictures, masks] = ["p", "m"].map(|name| folder.path().join(name));
    const COUNT: usize = 300;
    for path in [&pictures, &masks] {
        std::fs::create_dir(path).unwrap();
    }
    let bright = RgbPicture::new(WIDTH, HEIGHT, vec![200; 3 * WIDTH * HEIGHT]).unwrap();
    write_png(&pictures.join("0.png"), &bright).unwrap();
    for number in 1..COUNT {
        std::fs::hard_link(pictures.join("0.png"), pictures.join(format!("{number}.png"))).unwrap();
    }
    // One too few, and after the one left out each would be the next picture's.
    for number in (0..COUNT).filter(|number| *number != 7) {
        std::fs::hard_link(pictures.join("0.png"), masks.join(format!("{number}.png"))).unwrap();
    }
    let path = folder.path().join("o.y4m");
    let camera = SourceSpec::Folder(pictures);
    let options = LiveOptions { camera, overlap: false, ..options(&path, COUNT as u64) };
    let before = options.clone();
    let asked = Arc::new(AtomicBool::new(false));
    let was_read = Arc::clone(&asked);
    let reload = Reload::by(move || {
        was_read.store(true, Ordering::SeqCst);
        let options = LiveOptions { masks: vec![MaskSpec::Path(masks.clone())], ..before.clone() };
        Ok(Reloaded { options, fill: Box::new(Flat::default()) })
    });
    let ask = reload.ask();
    let fill = Counted::telling(move |fills| {
        if fills == 3 {
            ask.store(true, Ordering::SeqCst);
        }
        std::thread::sleep(Duration::from_millis(1));
    });
    run_reloading(&options, fill, &Stop::default(), Some(reload)).unwrap();
    assert!(asked.load(Ordering::SeqCst));
    let frames = frames_of(&path);
    assert_eq!(frames.len(), COUNT);
    // All white masks would have hidden this too.
    let level = frames[0].plane(0)[0];
    assert!(frames.iter().all(|frame| frame.plane(0)[0] == level));
}

#[test]
fn a_mask_to_paint_is_not_taken_by_a_run_that_has_no_page() {
    let (left, middle) = flat_left_and_middle(|options| {
        let painted = Some("/nonexistent/mask.png".into());
        let options = LiveOptions { masks: vec![MaskSpec::Page], painted, ..options };
        Ok(Reloaded { options, fill: Box::new(Flat::default()) })
    });
    assert!(middle.iter().all(|flat| *flat) && !left.iter().any(|flat| *flat));
}

/// Asks for a reload at its third frame and when words take the place of frames. The second time that
/// they do is the end.
struct Asking {
    ask: Arc<AtomicBool>,
    /// Frames since words were shown.
    frames: u64,
    words: Arc<AtomicU64>,
    stop: Stop,
}

impl Sink for Asking {
    fn describe(&self) -> String {
        "asking".into()
    }

    fn write(&mut self, _: &Frame) -> Result<(), OutputError> {
        self.frames += 1;
        if self.frames == 3 {
            self.ask.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    fn stand_in(&mut self, _: &Frame) {
        self.frames = 0;
        if self.words.fetch_add(1, Ordering::SeqCst) == 0 {
            self.ask.store(true, Ordering::SeqCst);
        } else {
            self.stop.set();
        }
    }

    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        Ok(())
    }
}

#[test]
fn words_take_the_place_of_frames_whenever_these_are_kept_back() {
    let open = LiveOptions {
        masks: Vec::new(),
        overlap: false,
        // Were words shown once only, it would end here.
        frames: Some(100_000),
        ..options(Path::new("o.y4m"), 1)
    };
    // Closed, with a mask, and closed again.
    let (before, closed) = (open.clone(), AtomicBool::new(false));
    let reload = Reload::by(move || {
        let masks = match closed.fetch_xor(true, Ordering::SeqCst) {
            true => vec![RECT.parse().unwrap()],
            false => Vec::new(),
        };
        let options = LiveOptions { masks, fail_closed: true, ..before.clone() };
        Ok(Reloaded { options, fill: Box::new(Flat::default()) })
    });
    let (words, stop) = (Arc::new(AtomicU64::new(0)), Stop::default());
    let sink =
        Asking { ask: reload.ask(), frames: 0, words: Arc::clone(&words), stop: stop.clone() };
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(sink)];
    let fill = Box::new(Flat::default());
    run_to(sinks, &open, fill, Masks::default(), &stop, Some(reload)).unwrap();
    assert_eq!(words.load(Ordering::SeqCst), 2);
}

/// Counts words, and says how many frames came before.
struct Counts {
    frames: Arc<AtomicU64>,
    words: Arc<AtomicU64>,
}

impl Sink for Counts {
    fn describe(&self) -> String {
        "counts".into()
    }

    fn write(&mut self, _: &Frame) -> Result<(), OutputError> {
        self.frames.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn stand_in(&mut self, _: &Frame) {
        self.words.fetch_add(1, Ordering::SeqCst);
    }

    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        Ok(())
    }
}

/// A pipe that pauses: what is looked at meanwhile is from before the mask.
#[test]
fn words_take_the_place_of_a_frame_that_shows_what_is_hidden_now() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, mask) = (folder.path().join("pipe.y4m"), folder.path().join("mask.png"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let paint = |rect: &str| {
        Mask::from_rects(WIDTH, HEIGHT, &[rect.parse().unwrap()]).unwrap().write(&mask).unwrap();
    };
    paint("rect:0,0,2,2");
    let options = LiveOptions {
        camera: SourceSpec::Y4m(pipe.clone()),
        masks: vec![MaskSpec::Path(mask.clone())],
        frames: None,
        ..options(Path::new("o.y4m"), 1)
    };
    let (frames, words) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let sink = Counts { frames: Arc::clone(&frames), words: Arc::clone(&words) };
    let stop = Stop::default();
    let run = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let masks = options.open_masks().unwrap();
            let fill = Box::new(Flat::default());
            run_to(vec![Box::new(sink)], &options, fill, masks, &stop, None).map(|_| ())
        }
    });
    let until = |count: &AtomicU64, wanted: u64| {
        for _ in 0..1000 {
            if count.load(Ordering::SeqCst) == wanted {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} and not {wanted}", count.load(Ordering::SeqCst));
    };
    let mut writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    let luma = vec![90; WIDTH * HEIGHT];
    writeln!(writer, "YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 Cmono").unwrap();
    let mut send = || {
        writer.write_all(b"FRAME\n").unwrap();
        writer.write_all(&luma).unwrap();
    };
    send();
    until(&frames, 1);
    assert_eq!(words.load(Ordering::SeqCst), 0);
    paint("rect:0,0,5,2");
    until(&words, 1);
    send();
    until(&frames, 2);
    drop(writer);
    run.join().unwrap().unwrap();
    assert_eq!(words.load(Ordering::SeqCst), 1);
}

/// Only a camera comes back with another size: where a rectangle in pixels has gone then, nobody knows.
#[test]
fn a_camera_s_masks_know_that_it_is_one() {
    let hidden = |camera: SourceSpec| {
        let masks = vec!["rect:2,1,1,1".parse().unwrap()];
        let options = LiveOptions { camera, masks, ..LiveOptions::default() };
        let mut masks = options.open_masks().unwrap();
        [(4, 2), (8, 4)].map(|(width, height)| {
            let mask = masks.next(width, height, 0).unwrap();
            mask.map(|mask| mask.hole_pixels())
        })
    };
    assert_eq!(hidden(SourceSpec::Device("/dev/video0".into())), [Some(1), Some(32)]);
    assert_eq!(hidden(SourceSpec::Stdin), [Some(1), Some(1)]);
}

#[test]
fn masks_of_cameras_with_other_names_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let painted = folder.path().join("painted/this.png");
    let options = LiveOptions { painted: Some(painted.clone()), ..options(Path::new("o.y4m"), 1) };
    assert_eq!(options.painted_for_others(), None);
    std::fs::create_dir(painted.parent().unwrap()).unwrap();
    assert_eq!(options.painted_for_others(), None);
    std::fs::write(painted.with_file_name("other.png"), "").unwrap();
    assert_eq!(options.painted_for_others(), painted.parent());
    std::fs::write(&painted, "").unwrap();
    assert_eq!(options.painted_for_others(), None);
}

#[test]
fn what_needs_a_restart_is_told_apart() {
    let before = options(Path::new("o.y4m"), 1);
    let masks = vec!["rect:0,0,1,1".parse().unwrap()];
    let other = LiveOptions { masks, fail_closed: true, ..before.clone() };
    assert!(other.can_follow(&before));
    assert!(!LiveOptions { frames: None, ..before.clone() }.can_follow(&before));
}

/// Reloads twice, and keeps what it hears of masks that are painted.
struct Hears {
    ask: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<Option<bool>>>>,
    frames: u64,
    stop: Stop,
}

impl Sink for Hears {
    fn describe(&self) -> String {
        "hears".into()
    }

    fn write(&mut self, _: &Frame) -> Result<(), OutputError> {
        self.frames += 1;
        if self.frames == 2 {
            self.ask.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    fn take_masks(&mut self, painting: Option<Painting>) {
        let mut heard = self.heard.lock().unwrap();
        heard.push(painting.map(|painting| painting.by_others));
        match heard.len() {
            1 => self.ask.store(true, Ordering::SeqCst),
            _ => self.stop.set(),
        }
    }

    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        Ok(())
    }
}

#[test]
fn who_may_paint_changes_with_the_masks() {
    let folder = tempfile::tempdir().unwrap();
    let page = LiveOptions {
        masks: vec![MaskSpec::Page],
        painted: Some(folder.path().join("mask.png")),
        outputs: vec![SinkSpec::Http],
        overlap: false,
        ..options(Path::new("o.y4m"), 100_000)
    };
    // By everyone; then by this machine alone; then the page is no mask any more.
    let (before, second) = (page.clone(), AtomicBool::new(false));
    let reload = Reload::by(move || {
        let masks = match second.fetch_or(true, Ordering::SeqCst) {
            false => Vec::new(),
            true => vec![RECT.parse().unwrap()],
        };
        let options = LiveOptions { masks, ..before.clone() };
        Ok(Reloaded { options, fill: Box::new(Flat::default()) })
    });
    let (heard, stop) = (Arc::default(), Stop::default());
    let sink =
        Hears { ask: reload.ask(), heard: Arc::clone(&heard), frames: 0, stop: stop.clone() };
    let masks = page.open_masks().unwrap();
    let fill = Box::new(Flat::default());
    run_to(vec![Box::new(sink)], &page, fill, masks, &stop, Some(reload)).unwrap();
    assert_eq!(*heard.lock().unwrap(), [Some(false), None]);
}

/// A file that is black hides nothing, which a file that is half saved must not come to.
#[test]
fn a_black_mask_that_was_painted_does_not_count_as_hiding() {
    let folder = tempfile::tempdir().unwrap();
    let painted = folder.path().join("painted.png");
    let options = |masks: Vec<MaskSpec>| LiveOptions {
        masks,
        painted: Some(painted.clone()),
        ..LiveOptions::default()
    };
    assert!(!options(Vec::new()).hides());
    assert!(options(vec![RECT.parse().unwrap()]).hides());
    let mask = Mask::empty(WIDTH, HEIGHT).unwrap();
    mask.write(&painted).unwrap();
    assert!(!options(Vec::new()).hides());
    Mask::full(WIDTH, HEIGHT).unwrap().write(&painted).unwrap();
    assert!(options(Vec::new()).hides());
    std::fs::write(&painted, "no picture").unwrap();
    assert!(options(Vec::new()).hides());
}
