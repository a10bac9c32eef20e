//! Tests of the training data's stream.

use std::fs;

use image::{Rgb, RgbImage};

use super::*;

fn config() -> BatchConfig {
    BatchConfig { size: 32, batch: 3, seed: 5, ..BatchConfig::default() }
}

/// A picture whose red tells its column, green its row, blue which picture it is.
fn gradient(width: u32, height: u32, blue: u8) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, blue])
    })
}

/// Four readable pictures in two sources, one of them deep and one too small, and three files
/// that are not what they seem.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir_all(path.join("many/deep")).unwrap();
    fs::create_dir_all(path.join("single")).unwrap();
    gradient(100, 80, 10).save(path.join("many/a.png")).unwrap();
    gradient(64, 90, 60).save(path.join("many/b.BMP")).unwrap();
    gradient(20, 24, 110).save(path.join("many/deep/small.png")).unwrap();
    gradient(200, 40, 210).save(path.join("single/wide.tiff")).unwrap();
    fs::write(path.join("many/notes.txt"), "not a picture").unwrap();
    fs::write(path.join("many/broken.jpg"), "not a picture either").unwrap();
    // A good header and half of the pixels.
    let mut half = fs::read(path.join("many/a.png")).unwrap();
    half.truncate(half.len() / 2);
    fs::write(path.join("many/half.png"), half).unwrap();
    folder
}

#[test]
fn stream_is_the_same_for_any_threads_and_resumes() {
    let folder = folder();
    let stream_of = |crops, threads, start_step, cache_bytes| -> Vec<Batch> {
        let config = BatchConfig { crops, threads, start_step, cache_bytes, ..config() };
        Batches::new(folder.path(), config).unwrap().take(10).collect()
    };
    let one = Some(NonZeroU64::MIN);
    let stream =
        |threads, start_step, cache_bytes| stream_of(one, threads, start_step, cache_bytes);
    let reference = stream(1, 0, 1 << 30);
    assert_eq!(reference.iter().map(|batch| batch.step).collect::<Vec<_>>(), Vec::from_iter(0..10));
    assert!(reference == stream(3, 0, 1 << 30), "three threads made another stream");
    // A cache of one byte keeps nothing: every picture is decoded again.
    assert!(reference == stream(2, 0, 1), "without a cache the stream is another");
    let resumed = stream(2, 4, 1 << 30);
    assert!(reference[4..] == resumed[..6], "resumed at step 4, the stream is another");
    assert!(reference[0].pictures != reference[1].pictures);
    let other = BatchConfig { seed: 6, ..config() };
    let other = Batches::new(folder.path(), other).unwrap().next().unwrap();
    assert!(reference[0].pictures != other.pictures && reference[0].masks != other.masks);
    let many = stream_of(NonZeroU64::new(MANY_CROPS), 1, 0, 1 << 30);
    assert!(many == stream_of(None, 3, 0, 1), "what memory does not hold has as many crops");
    assert!(many[4..] == stream_of(None, 2, 4, 1)[..6], "resumed at step 4");
    assert!(reference == stream_of(None, 1, 0, 1 << 30));
}

/// Each place of a batch keeps its picture for four steps, and they do not change all at once.
#[test]
fn several_crops_are_taken_of_a_picture() {
    let folder = folder();
    let config = BatchConfig { crops: NonZeroU64::new(4), ..config() };
    let batches = Batches::new(folder.path(), config).unwrap();
    assert_eq!(batches.crops(), 4);
    let plane = 32 * 32;
    let batches: Vec<Vec<f32>> = batches.take(60).map(|batch| batch.pictures).collect();
    let (mut changes, mut same) = ([0; 4], 0);
    for (step, two) in (1..).zip(batches.windows(2)) {
        for (place, (a, b)) in
            two[0].chunks_exact(3 * plane).zip(two[1].chunks_exact(3 * plane)).enumerate()
        {
            same += usize::from(a == b);
            // Blue tells the picture.
            let [a, b] = [a, b].map(|picture| (255.0 * picture[2 * plane + plane / 2]).round());
            changes[(step + place) % 4] += usize::from(a != b);
        }
    }
    assert!(changes[0] > 15 && changes[1..] == [0; 3], "{changes:?}");
    // All of a small one may be shown twice.
    assert!(same < 40, "{same} of 177");
}

#[test]
fn shapes_ranges_and_the_masks_sense() {
    let folder = folder();
    for masks_per_batch in [1, 3] {
        let config = BatchConfig { masks_per_batch, mask_ratio: 0.1..=0.2, ..config() };
        let batch = Batches::new(folder.path(), config).unwrap().next().unwrap();
        assert_eq!(batch.pictures.len(), 3 * 3 * 32 * 32);
        assert!(batch.pictures.iter().all(|value| (0.0..=1.0).contains(value)));
        assert_eq!(batch.masks.len(), masks_per_batch * 32 * 32);
        for mask in batch.masks.chunks_exact(32 * 32) {
            assert!(mask.iter().all(|&value| value == 0.0 || value == 1.0));
            // The wrong sense would give 0.1 to 0.2 here.
            let known = mask.iter().sum::<f32>() / mask.len() as f32;
            assert!((0.8..=0.9).contains(&known), "{known} is known");
        }
    }
}

/// Step 1 of seed 0 would be step 0 of seed 1, if seed and step were taken together as they are.
#[test]
fn no_seed_draws_anothers_batches_in_another_order() {
    let folder = folder();
    let batches = |seed: u64| {
        let batches = Batches::new(folder.path(), BatchConfig { seed, ..config() }).unwrap();
        batches.take(4).collect::<Vec<_>>()
    };
    let all: Vec<_> = (0..4).flat_map(batches).collect();
    for (at, batch) in all.iter().enumerate() {
        let others = all[..at].iter();
        assert!(others.clone().all(|other| other.pictures != batch.pictures));
        assert!(others.clone().all(|other| other.masks != batch.masks));
    }
}

/// Red tells the column and green the row, so orientation, mirroring and the crop's size can be
/// read back from the crop. Planes and not pixels are stored, or blue would vary.
#[test]
fn crops_are_upright_and_of_every_scale() {
    let picture = gradient(400, 300, 10);
    let picture = Picture { width: 400, height: 300, pixels: picture.into_raw() };
    let (size, plane) = (32, 32 * 32);
    let (mut mirrored, mut whole, mut detail) = (0, 0, 0);
    for index in 0..400 {
        let mut rng = random::generator(1, 2, index);
        let mut out = vec![-1.0; 3 * plane];
        crop(&picture, (size, false), &mut rng, &mut Resizer::new(), &mut out);
        assert!(out[2 * plane..].iter().all(|&blue| blue == 10.0 / 255.0));
        let (red, green) = (&out[..plane], &out[plane..2 * plane]);
        assert!(green[0] < green[(size - 1) * size], "upside down");
        let across = red[size - 1] - red[0];
        mirrored += usize::from(across < 0.0);
        // Red spans crop side / 400 of the range, give or take a column at each end.
        let side = across.abs() * 400.0;
        whole += usize::from(side > 270.0);
        detail += usize::from(side < 60.0);
    }
    assert!((150..250).contains(&mirrored), "{mirrored} of 400 mirrored");
    // A quarter on purpose, and 5 % of the rest by chance.
    assert!((80..150).contains(&whole), "{whole} of 400 are whole scenes");
    // ln(60 / 32) / ln(300 / 32) of three quarters is 21 %.
    assert!((50..130).contains(&detail), "{detail} of 400 are details");
}

/// The square root: three good pictures (and a broken one) against one give 2 to 1, not 4 to 1.
#[test]
fn sources_are_weighted() {
    let folder = folder();
    let mut batches =
        Batches::new(folder.path(), BatchConfig { batch: 64, threads: 2, ..config() }).unwrap();
    let sources = &batches.pool.sources;
    // In the order of their names: "many", "single".
    assert_eq!(sources.iter().map(|source| source.files.len()).collect::<Vec<_>>(), [4, 1]);
    assert!((sources[0].upto - 2.0 / 3.0).abs() < 1e-6, "{}", sources[0].upto);
    let mut seen = BTreeMap::new();
    for batch in batches.by_ref().take(20) {
        for picture in batch.pictures.chunks_exact(3 * 32 * 32) {
            let blue = (picture[2 * 32 * 32] * 255.0).round() as u8;
            *seen.entry(blue).or_insert(0) += 1;
        }
    }
    // The unreadable picture's quarter of `many` is drawn again: 1/3 of 1/6 more for `single`.
    let expected = 1280.0 * (1.0 / 3.0) / (1.0 - 1.0 / 6.0);
    assert!((f64::from(seen[&210]) - expected).abs() < 75.0, "{seen:?}, expected {expected}");
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [10, 60, 110, 210]);
    assert_eq!(batches.pool.cache().bytes, 3 * (100 * 80 + 64 * 90 + 20 * 24 + 200 * 40));
}

/// Neither a run below the pictures' folder nor one in that very folder.
#[test]
fn samples_of_a_run_are_not_trained_on() {
    let folder = folder();
    for run in [folder.path().join("many/run"), folder.path().to_owned()] {
        fs::create_dir_all(run.join("samples")).unwrap();
        gradient(96, 64, 250).save(run.join("samples/0000000.png")).unwrap();
        let found = |expected| {
            let batches = Batches::new(folder.path(), config()).unwrap();
            assert_eq!(batches.picture_count(), expected, "{}", run.display());
        };
        // A folder of this name without a run around it holds pictures like any other.
        found(6);
        fs::write(run.join("config.json"), "{}").unwrap();
        fs::write(run.join("log.csv"), "step\n").unwrap();
        found(5);
    }
}

#[test]
fn files_that_are_named_are_drawn_and_no_others() {
    let folder = folder();
    let files = ["many/a.png", "many/b.BMP"].map(|name| folder.path().join(name));
    let config = BatchConfig { files: Some(files.to_vec()), ..config() };
    let mut batches = Batches::new(folder.path(), config).unwrap();
    assert_eq!(batches.picture_count(), 2);
    for batch in batches.by_ref().take(8) {
        // Blue tells the picture.
        let plane = 32 * 32;
        for picture in batch.pictures.chunks_exact(3 * plane) {
            let blue = (255.0 * picture[2 * plane + plane / 2]).round();
            assert!(blue == 10.0 || blue == 60.0, "{blue}");
        }
    }
}

#[test]
fn large_pictures_are_kept_small() {
    let folder = tempfile::tempdir().unwrap();
    gradient(2600, 1300, 0).save(folder.path().join("a.png")).unwrap();
    let picture = decode(&folder.path().join("a.png"), CACHED_SIDE).unwrap();
    assert_eq!((picture.width, picture.height), (2048, 1024));
    assert_eq!(picture.pixels.len(), 3 * 2048 * 1024);
}

/// A slow producer shows as waiting, a slow consumer does not.
#[test]
fn waiting_is_counted() {
    let folder = folder();
    let mut batches = Batches::new(folder.path(), config()).unwrap();
    batches.next().unwrap();
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(15));
        batches.next().unwrap();
    }
    assert!(batches.wait_share() < 0.3, "{}", batches.wait_share());
    let mut batches = Batches::new(folder.path(), BatchConfig { batch: 256, ..config() }).unwrap();
    batches.by_ref().take(20).for_each(drop);
    assert!(batches.wait_share() > 0.5, "{}", batches.wait_share());
}

#[test]
fn pictures_that_are_away_for_a_moment_are_waited_for() {
    let folder = folder();
    let (images, away) = (folder.path().join("images"), folder.path().join("away"));
    fs::create_dir(&images).unwrap();
    for name in ["many", "single"] {
        fs::rename(folder.path().join(name), images.join(name)).unwrap();
    }
    let take = |batches: &mut Batches| batches.take(6).collect::<Vec<_>>();
    let config = BatchConfig { ready: 1, cache_bytes: 0, ..config() };
    let expected = take(&mut Batches::new(&images, config.clone()).unwrap());
    let mut batches = Batches::new(&images, config).unwrap();
    fs::rename(&images, &away).unwrap();
    let back = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        fs::rename(&away, &images).unwrap();
    });
    assert!(take(&mut batches) == expected, "others were drawn");
    back.join().unwrap();
}

#[test]
fn clear_errors() {
    let fails = |path: &Path, config: BatchConfig| {
        Batches::new(path, config).err().expect("an error").to_string()
    };
    let empty = tempfile::tempdir().unwrap();
    assert!(fails(&empty.path().join("nowhere"), config()).contains("nowhere"));
    assert!(fails(empty.path(), config()).starts_with("no readable picture"));
    fs::write(empty.path().join("a.jpg"), "no").unwrap();
    assert!(fails(empty.path(), config()).contains("1 files could not be read"));
    // A header that reads, pixels that do not.
    let mut half = Vec::new();
    gradient(90, 90, 1).write_to(&mut io::Cursor::new(&mut half), image::ImageFormat::Png).unwrap();
    fs::write(empty.path().join("half.png"), &half[..half.len() / 2]).unwrap();
    assert!(fails(empty.path(), config()).contains("2 files could not be read"));

    let good = folder();
    let two = BatchConfig { masks_per_batch: 2, ..config() };
    assert!(fails(good.path(), two).contains("2 masks cannot be shared evenly by a batch of 3"));
    let ratio = BatchConfig { mask_ratio: 0.5..=1.5, ..config() };
    assert!(fails(good.path(), ratio).contains("1.5"));
    assert!(fails(good.path(), BatchConfig { threads: 0, ..config() }).contains("threads"));
}
