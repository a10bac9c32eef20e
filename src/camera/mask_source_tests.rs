//! Masks that are united, replaced, cannot be read, or are for pictures of another size.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::picture::{RgbPicture, write_png};

fn paint(path: &Path, width: usize, height: usize, holes: &[usize]) {
    let mut data = vec![0; width * height * 3];
    holes.iter().for_each(|&hole| data[hole * 3..][..3].fill(255));
    write_png(path, &RgbPicture::new(width, height, data).unwrap()).unwrap();
}

fn open(specs: &[String]) -> Result<Masks, MaskSourceError> {
    let specs: Vec<MaskSpec> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
    Masks::open(&specs, None)
}

#[test]
fn masks_are_united_and_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.png");
    paint(&path, 4, 2, &[7]);
    let mut masks = open(&[path.display().to_string(), "rect:0,0,1,1".into()]).unwrap();
    let mask = masks.next(4, 2, 0).unwrap().unwrap();
    assert_eq!(mask.hole_pixels(), 2);
    assert!(masks.next(4, 2, 1).unwrap().is_none());
}

#[test]
fn a_bad_replacement_leaves_the_mask_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.png");
    paint(&path, 4, 2, &[7]);
    let mut masks = open(&[path.display().to_string()]).unwrap();
    assert!(masks.next(4, 2, 0).unwrap().is_some());
    std::fs::write(&path, b"half a picture").unwrap();
    assert!(masks.next(4, 2, 1).unwrap().is_none());
    paint(&path, 9, 9, &[]);
    assert!(masks.next(4, 2, 2).unwrap().is_none());
    std::fs::remove_file(&path).unwrap();
    assert!(masks.next(4, 2, 3).unwrap().is_none());
    paint(&path, 4, 2, &[1, 2, 3]);
    assert_eq!(masks.next(4, 2, 4).unwrap().unwrap().hole_pixels(), 3);
}

#[test]
fn another_size_names_both_and_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.png");
    paint(&path, 4, 2, &[7]);
    let error = open(&[path.display().to_string()]).unwrap().next(8, 6, 0).unwrap_err();
    let text = error.to_string();
    for part in ["m.png", "4x2", "8x6", "scale"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_folder_goes_by_the_frames_number_and_never_holds_its_last() {
    let folder = tempfile::tempdir().unwrap();
    for number in [1, 2, 10] {
        paint(&folder.path().join(format!("{number}.png")), 12, 1, &[number]);
    }
    let mut masks = open(&[folder.path().display().to_string()]).unwrap();
    for (frame, hole) in [(0, 1), (2, 10)] {
        assert!(masks.next(12, 1, frame).unwrap().unwrap().is_hole(hole, 0));
    }
    assert!(matches!(masks.next(12, 1, 3), Err(MaskSourceError::TooFew { count: 3, .. })));
}

#[test]
fn the_page_has_no_mask_until_one_is_painted_and_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    assert!(matches!(Masks::open(&[MaskSpec::Page], None), Err(MaskSourceError::NowhereToKeep)));
    let mut masks = Masks::open(&[MaskSpec::Page], Some(&path)).unwrap();
    assert!(masks.next(4, 2, 0).unwrap().is_none());
    assert!(masks.is_empty());
    paint(&path, 4, 2, &[7]);
    assert_eq!(masks.next(4, 2, 1).unwrap().unwrap().hole_pixels(), 1);
    assert!(masks.next(4, 2, 2).unwrap().is_none());
    assert!(!masks.is_empty());
    // The camera came back with larger pictures.
    assert_eq!(masks.next(8, 4, 3).unwrap().unwrap().hole_pixels(), 4);
    std::fs::remove_file(&path).unwrap();
    assert!(masks.next(8, 4, 4).unwrap().is_none());
    assert!(!masks.is_empty());
    std::fs::write(&path, b"half a picture").unwrap();
    assert!(masks.next(8, 4, 5).unwrap().is_none());
    assert!(Masks::open(&[MaskSpec::Page], Some(&path)).is_err());
    paint(&path, 4, 2, &[0, 1]);
    let masks = Masks::open(&[MaskSpec::Page], Some(&path)).unwrap();
    assert!(!masks.is_empty());
}

#[test]
fn the_page_adds_to_what_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    let specs = [MaskSpec::Page, "rect:0,0,1,1".parse().unwrap()];
    let mut masks = Masks::open(&specs, Some(&path)).unwrap();
    assert_eq!(masks.next(4, 2, 0).unwrap().unwrap().hole_pixels(), 1);
    assert!(!masks.is_empty(), "what is not yet painted does not outweigh the rectangle");
    paint(&path, 4, 2, &[7]);
    assert_eq!(masks.next(4, 2, 1).unwrap().unwrap().hole_pixels(), 2);
    paint(&path, 4, 2, &[]);
    assert_eq!(masks.next(4, 2, 2).unwrap().unwrap().hole_pixels(), 1);
}

#[test]
fn sources_that_stay_go_on_and_those_that_go_no_longer_hide() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.png");
    paint(&path, 4, 2, &[7]);
    let (picture, rect) = (MaskSpec::Path(path.clone()), "rect:0,0,1,1".parse().unwrap());
    let mut masks = Masks::open(&[picture.clone(), rect], None).unwrap();
    assert_eq!(masks.next(4, 2, 0).unwrap().unwrap().hole_pixels(), 2);
    // It need not be read again.
    std::fs::remove_file(&path).unwrap();
    let specs = [picture, "rect:0,0,2,2".parse().unwrap()];
    masks.change_to(&specs, None, None).unwrap();
    assert_eq!(masks.next(4, 2, 1).unwrap().unwrap().hole_pixels(), 5);
    let wrong = [specs[1].clone(), "absent.png".parse().unwrap()];
    assert!(masks.change_to(&wrong, None, None).is_err());
    assert!(masks.next(4, 2, 2).unwrap().is_none());
    masks.change_to(&specs[1..], None, None).unwrap();
    assert_eq!(masks.next(4, 2, 3).unwrap().unwrap().hole_pixels(), 4);
    masks.change_to(&[], None, None).unwrap();
    assert!(masks.next(4, 2, 4).unwrap().is_none());
    assert!(masks.is_empty());
}

#[test]
fn no_picture_no_start() {
    assert!(open(&["/nonexistent/mask.png".into()]).is_err());
    let folder = tempfile::tempdir().unwrap();
    assert!(open(&[folder.path().display().to_string()]).is_err());
}

#[test]
fn a_camera_of_another_size_hides_all_where_a_rectangle_is_in_pixels() {
    let holes = |masks: &mut Masks, width, height| {
        masks.next(width, height, 0).unwrap().map(|mask| mask.hole_pixels())
    };
    let specs = |rects: &[&str]| -> Vec<MaskSpec> {
        rects.iter().map(|rect| rect.parse().unwrap()).collect()
    };
    let pixels = specs(&["rect:0,0,50%,50%", "rect:2,1,1,1"]);
    let mut masks = Masks::open_for_camera(&pixels, None, None).unwrap();
    assert_eq!(holes(&mut masks, 4, 2), Some(3));
    assert_eq!(holes(&mut masks, 8, 4), Some(32));
    assert_eq!(holes(&mut masks, 8, 4), None);
    assert_eq!(holes(&mut masks, 4, 2), Some(3), "it came back as it was");
    // One that is given while the camera has the other size is for that.
    assert_eq!(holes(&mut masks, 8, 4), Some(32));
    masks.change_to(&specs(&["rect:3,1,1,1"]), None, Some((8, 4, 1))).unwrap();
    assert_eq!(holes(&mut masks, 8, 4), Some(1));
    // Percent fit all sizes, and nothing is nothing in any.
    let mut masks = Masks::open_for_camera(&specs(&["rect:0,0,50%,50%"]), None, None).unwrap();
    assert_eq!((holes(&mut masks, 4, 2), holes(&mut masks, 8, 4)), (Some(2), Some(8)));
    // Pictures of a folder have their own sizes.
    let mut masks = Masks::open(&pixels, None).unwrap();
    assert_eq!((holes(&mut masks, 4, 2), holes(&mut masks, 8, 4)), (Some(3), Some(8)));
}

#[test]
fn a_rectangle_in_pixels_is_for_the_size_that_was_asked_for() {
    let holes = |masks: &mut Masks, width, height| {
        masks.next(width, height, 0).unwrap().map(|mask| mask.hole_pixels())
    };
    let rect = ["rect:2,1,1,1".parse().unwrap()];
    let open = |asked| Masks::open_for_camera(&rect, None, asked).unwrap();
    assert_eq!(holes(&mut open(Some((4, 2))), 8, 4), Some(32), "also after a restart");
    assert_eq!(holes(&mut open(Some((4, 2))), 4, 2), Some(1));
    assert_eq!(holes(&mut open(None), 8, 4), Some(1));
}

#[test]
fn another_camera_under_the_same_name_hides_all() {
    let holes = |masks: &mut Masks| masks.next(4, 2, 0).unwrap().map(|mask| mask.hole_pixels());
    let rect = |text: &str| -> MaskSpec { text.parse().unwrap() };
    let specs = [rect("rect:0,0,50%,50%")];
    let mut masks = Masks::open_for_camera(&specs, None, None).unwrap();
    for (camera, hidden) in [("A", 2), ("B", 8), ("A", 2), ("C", 8)] {
        masks.come_from(camera);
        assert_eq!(holes(&mut masks), Some(hidden), "{camera}");
    }
    assert_eq!(holes(&mut masks), None, "told once");
    assert_eq!(masks.next(2, 2, 1).unwrap().unwrap().hole_pixels(), 4, "of another size too");
    // Whoever reloads says that masks are for this one.
    let specs = [specs[0].clone(), rect("rect:0,50%,25%,50%")];
    masks.change_to(&specs, None, Some((4, 2, 2))).unwrap();
    assert_eq!(holes(&mut masks), Some(3));
    masks.come_from("A");
    assert_eq!(holes(&mut masks), Some(8));

    // What is painted first is painted over the camera that is there then.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.png");
    let mut page = Masks::open_for_camera(&[MaskSpec::Page], Some(&path), None).unwrap();
    ["A", "B"].iter().for_each(|camera| page.come_from(camera));
    paint(&path, 4, 2, &[7]);
    assert_eq!(holes(&mut page), Some(1));
    page.come_from("A");
    assert_eq!(holes(&mut page), Some(8));

    // A restart that nobody asked for is no word that masks suit another.
    let kept = folder.path().join("painted/m.camera");
    let after_restart = || {
        let mut masks = Masks::open_for_camera(&specs, None, None).unwrap();
        masks.remember_camera(kept.clone());
        masks
    };
    for (camera, hidden) in [("A ", 3), ("B", 8), ("A ", 3)] {
        let mut masks = after_restart();
        masks.come_from(camera);
        assert_eq!(holes(&mut masks), Some(hidden), "{camera}");
    }
    let mut masks = after_restart();
    masks.come_from("B");
    masks.change_to(&specs, None, None).unwrap();
    assert_eq!(holes(&mut masks), Some(3), "a reload is");
    let mut masks = after_restart();
    masks.come_from("B");
    assert_eq!(holes(&mut masks), Some(3));

    let mut none = Masks::open_for_camera(&[], None, None).unwrap();
    ["A", "B"].iter().for_each(|camera| none.come_from(camera));
    assert!(holes(&mut none).is_none() && none.is_empty(), "nothing is to be hidden");
}

/// The time of a file whose clock has gone on since.
fn let_settle() {
    std::thread::sleep(3 * TICK);
}

/// Two changes within a step of the file system's clock have one time.
#[test]
fn a_picture_that_was_just_written_is_looked_at_once_more() {
    let stamp = |seconds, nanoseconds| Stamp {
        changed: SystemTime::UNIX_EPOCH,
        touched: (seconds, nanoseconds),
        size: 1,
        inode: 1,
    };
    let now = Duration::new(100, 5_000_000);
    let is_fresh = |stamp: Stamp| stamp.is_fresh(now, 2 * TICK);
    assert!(is_fresh(stamp(100, 5_000_000)) && is_fresh(stamp(99, 990_000_000)));
    assert!(!is_fresh(stamp(99, 980_000_000)), "it is old");
    assert!(!is_fresh(stamp(100, 6_000_000)), "it is of the future");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.png");
    paint(&path, 4, 2, &[7]);
    let bytes = std::fs::read(&path).unwrap();
    // More than once: a busy machine may take longer than a tick from one to the other.
    let mut written = (0..100).map(|_| {
        std::fs::write(&path, &bytes).unwrap();
        PictureMask::open(&path, usize::MAX).unwrap()
    });
    let picture = written.find(|picture| picture.seen.is_none());
    let mut picture = picture.expect("what was just written may change within this tick");
    let_settle();
    picture.next(4, 2, 0).unwrap();
    assert!(picture.seen.is_some() && picture.next(4, 2, 1).unwrap().is_none());
}

/// Some file systems keep times in steps of seconds: two changes within one have one time.
#[test]
fn a_picture_that_was_written_lately_is_looked_at_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.png");
    paint(&path, 4, 2, &[7]);
    let_settle();
    let mut picture = PictureMask::open(&path, usize::MAX).unwrap();
    picture.next(4, 2, 0).unwrap();
    paint(&path, 4, 2, &[1, 2]);
    // As it would be there.
    picture.seen = Stamp::of(&path);
    assert!(picture.next(4, 2, 1).unwrap().is_none());
    picture.again = picture.again.map(|at| at - LOOK_AGAIN);
    assert_eq!(picture.next(4, 2, 2).unwrap().unwrap().hole_pixels(), 2);
    assert!(picture.again.is_some(), "and once more, until it is older");
    let later = now() + COARSE;
    assert!(!Stamp::of(&path).unwrap().is_fresh(later, COARSE));
}

#[test]
fn a_picture_that_could_not_be_read_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.png");
    paint(&path, 4, 2, &[7]);
    let mut picture = PictureMask::open(&path, usize::MAX).unwrap();
    assert_eq!(picture.retry, Duration::from_secs(1));
    let next =
        |picture: &mut PictureMask| picture.next(4, 2, 0).unwrap().map(|mask| mask.hole_pixels());
    assert_eq!(next(&mut picture), Some(1));
    // It cannot be read for a while, though the file stays as it is.
    paint(&path, 4, 2, &[1, 2]);
    let_settle();
    (picture.most, picture.retry) = (0, Duration::MAX);
    assert_eq!(next(&mut picture), None);
    picture.most = usize::MAX;
    assert_eq!(next(&mut picture), None, "not thirty times a second");
    picture.retry = Duration::ZERO;
    assert_eq!(next(&mut picture), Some(2));
    assert_eq!(next(&mut picture), None);
    // The user says when.
    paint(&path, 4, 2, &[1, 2, 3]);
    let_settle();
    (picture.most, picture.retry) = (0, Duration::MAX);
    assert_eq!(next(&mut picture), None);
    picture.most = usize::MAX;
    picture.look_again();
    assert_eq!(next(&mut picture), Some(3));
}

#[test]
fn folders_out_of_step_are_refused() {
    let check = |frames: &[&str], masks: &[&str], most| {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for (folder, names) in folders.iter().zip([frames, masks]) {
            names.iter().for_each(|name| std::fs::write(folder.path().join(name), "").unwrap());
        }
        check_in_step(folders[0].path(), folders[1].path(), most).map_err(|error| error.to_string())
    };
    let three = ["1.png", "2.png", "3.png"];
    assert_eq!(check(&three, &["a7.png", "a8.png", "a9.png"], usize::MAX), Ok(()));
    assert_eq!(check(&["p2.png", "p5.png"], &["m2.png", "m5.png"], usize::MAX), Ok(()));
    assert_eq!(check(&["p2.png", "p5.png"], &["m0.png", "m1.png"], usize::MAX), Ok(()));
    assert_eq!(check(&["sky.png", "sea.png"], &["1.png", "5.png"], usize::MAX), Ok(()));
    assert_eq!(check(&three, &["1.png", "2.png"], 2), Ok(()), "no more are wanted");
    for masks in [&["1.png", "2.png"][..], &["0.png", "1.png", "2.png", "3.png"]] {
        assert!(check(&three, masks, usize::MAX).unwrap_err().contains("3 pictures"));
    }
    let error = check(&three, &["1.png", "3.png", "4.png"], usize::MAX).unwrap_err();
    assert!(error.contains("3.png") && error.contains("2.png"), "{error}");
}

#[test]
fn a_clip_s_masks_with_one_left_out_are_refused() {
    let check = |names: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| std::fs::write(folder.path().join(name), "").unwrap());
        check_steps(folder.path(), 6).map_err(|error| error.to_string())
    };
    for even in [&["1.png"][..], &["0.png", "1.png", "2.png"], &["f5.png", "f10.png", "f15.png"]] {
        assert_eq!(check(even), Ok(()));
    }
    assert_eq!(check(&["sky.png", "sea.png", "7.png"]), Ok(()));
    assert_eq!(check(&["day1_7.png", "day1_8.png", "day2_1.png"]), Ok(()), "other numbers count");
    assert_eq!(check(&["1_v2.png", "2_v2.png", "3_v2.png"]), Ok(()));
    let error = check(&["1.png", "2.png", "4.png", "5.png"]).unwrap_err();
    assert!(error.contains("2.png") && error.contains("4.png"), "{error}");
    assert!(check(&["1.png", "2.png", "2_overlay.png", "3.png"]).is_err());
    assert!(check(&["0033.png", "0033_overlay.png", "0067.png"]).is_err());
    // Milliseconds of 30 frames a second, and what lies behind all that is wanted.
    assert_eq!(check(&["0000.png", "0033.png", "0067.png", "0100.png"]), Ok(()));
    assert_eq!(check(&["1.png", "2.png", "3.png", "4.png", "5.png", "6.png", "9.png"]), Ok(()));
    // One too many of those counted by tens, and masks of frames that had something to hide.
    assert!(check(&["10.png", "20.png", "30.png", "35.png", "40.png", "50.png"]).is_err());
    assert!(check(&["03.png", "17.png", "18.png", "40.png", "77.png"]).is_err());
}

#[test]
fn a_picture_that_is_no_file_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    paint(&folder.path().join("1.png"), 4, 2, &[1]);
    std::os::unix::fs::symlink("nowhere.png", folder.path().join("2.png")).unwrap();
    let error = FolderMask::open(folder.path()).err().expect("no mask").to_string();
    assert!(error.contains("2.png"), "{error}");
}

/// Says when it was asked to look again.
struct Looking(Arc<AtomicBool>);

impl MaskSource for Looking {
    fn describe(&self) -> String {
        "looking".into()
    }

    fn next(&mut self, _: usize, _: usize, _: u64) -> Result<Option<Mask>, MaskSourceError> {
        Ok(None)
    }

    fn look_again(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn sources_that_stay_look_again_when_all_is_well() {
    let looked = Arc::new(AtomicBool::new(false));
    let spec: MaskSpec = "m.png".parse().unwrap();
    let source = Box::new(Looking(Arc::clone(&looked)));
    let mut masks = Masks::default();
    masks.sources.push(Entry { spec: spec.clone(), source, held: None });
    let wrong = [spec.clone(), "/nonexistent/mask.png".parse().unwrap()];
    assert!(masks.change_to(&wrong, None, None).is_err());
    assert!(!looked.load(Ordering::SeqCst));
    masks.change_to(&[spec], None, None).unwrap();
    assert!(looked.load(Ordering::SeqCst));
}

#[test]
#[cfg(unix)]
fn permissions_that_change_are_a_change_of_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    let before = Stamp::of(file.path());
    // The clock of the file system is coarse.
    assert!((0..5000).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o640)).unwrap();
        Stamp::of(file.path()) != before
    }));
}

#[test]
fn a_painted_mask_is_far_smaller_than_a_picture_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    // All but its header is not there.
    std::fs::write(&path, "P5 5000 5000 255\n").unwrap();
    let opened = Masks::open(&[MaskSpec::Page], Some(&path));
    assert!(matches!(opened, Err(MaskSourceError::TooLarge { width: 5000, height: 5000, .. })));
}

/// Labels hide nothing of what they were to hide; beside white ones a dark mask has nothing to hide.
#[test]
fn dark_masks_of_a_folder_count_beside_one_with_white() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, level: u8| {
        let picture = crate::picture::RgbPicture::new(8, 6, vec![level; 3 * 48]).unwrap();
        crate::picture::write_png(&folder.path().join(name), &picture).unwrap();
    };
    write("0.png", 1);
    write("1.png", 1);
    let mut masks = FolderMask::open(folder.path()).unwrap();
    let error = masks.next(8, 6, 0).unwrap_err().to_string();
    assert!(error.contains("0.png") && error.contains("no white"), "{error}");
    write("1.png", 255);
    let mut masks = FolderMask::open(folder.path()).unwrap();
    assert!(masks.next(8, 6, 0).unwrap().unwrap().is_empty());
    assert!(masks.next(8, 6, 1).unwrap().unwrap().is_full());
}
