//! Short real runs of the narrowest network.

use std::path::Path;

use super::*;
use crate::desk::features;
use crate::picture::{RgbPicture, write_png};

/// A folder of pictures with gradients and edges: something that can be learnt.
fn pictures(folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    for picture in 0..4_usize {
        let pixel = |index: usize| {
            let (x, y) = (index % 160, index / 160);
            let stripe = if (x / 20 + picture).is_multiple_of(2) { 60 } else { 0 };
            [(x + stripe) as u8, (y + 10 * picture) as u8, 80 + stripe as u8]
        };
        let data = (0..160 * 160).flat_map(pixel).collect();
        let picture_file = RgbPicture::new(160, 160, data).expect("a picture");
        write_png(&folder.join(format!("{picture}.png")), &picture_file).expect("written");
    }
}

fn config(images: &Path, steps: u64) -> RunConfig {
    RunConfig {
        images: images.to_owned(),
        init: None,
        base_channels: 4,
        size: 128,
        batch: 2,
        steps,
        seed: 7,
        learning_rate: 2e-3,
        hole_weight: 6.0,
        valid_weight: 1.0,
        ssim_weight: 0.0,
        vgg: None,
        perceptual_weight: 0.0,
        style_weight: 0.0,
        own_masks: false,
        backend: "cpu".into(),
        sample_every: 3,
        checkpoint_every: 3,
    }
}

/// The losses in a run's log, as written.
fn losses(run: &Path) -> Vec<String> {
    let log = fs::read_to_string(run.join("log.csv")).expect("a log");
    let column = |line: &str| line.split(',').nth(2).expect("a loss").to_owned();
    log.lines().skip(1).map(column).collect()
}

#[test]
fn a_resumed_run_goes_on_to_the_same_losses() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let (whole, halves) = (folder.path().join("whole"), folder.path().join("halves"));
    let config = config(&images, 6);
    train(&config, &whole, Start::Fresh, &Stop::default()).expect("trained");
    // The same run, cut off after its checkpoint at step 3.
    let device = device("cpu").expect("there").autodiff();
    let mut stopped = Trainer::new(&config, &halves, Start::Fresh, device).expect("a trainer");
    let data = BatchConfig {
        size: 128,
        batch: 2,
        seed: 7,
        mask_style: Style::Mixed,
        ..Default::default()
    };
    let mut batches = Batches::new(&images, data).expect("pictures");
    for step in 0..3 {
        let batch = batches.next().expect("endless");
        stopped.step(&batch, config.learning_rate_at(step), false).expect("a step");
        stopped.progress.step += 1;
    }
    stopped.save_checkpoint().expect("saved");
    let resumed = train(&config, &halves, Start::Resume, &Stop::default()).expect("resumed");
    assert_eq!(losses(&whole)[3..], losses(&halves)[..]);
    let first = Weights::read(&whole.join("weights.safetensors")).expect("weights");
    assert_eq!(first.values("dc7.weight"), resumed.values("dc7.weight"));
    // Two rows of input, output and original with gaps between and around.
    let strip = image::open(whole.join("samples/0000003.png")).expect("a sample strip");
    let gap = GAP as u32;
    assert_eq!((strip.width(), strip.height()), (3 * 128 + 4 * gap, 2 * 128 + 3 * gap));
}

#[test]
fn training_learns() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let run = folder.path().join("run");
    train(&config(&images, 150), &run, Start::Fresh, &Stop::default()).expect("trained");
    let losses: Vec<f32> =
        losses(&run).iter().map(|loss| loss.parse().expect("a number")).collect();
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let (begun, ended) = (mean(&losses[..30]), mean(&losses[120..]));
    assert!(ended < 0.9 * begun, "from {begun} to {ended}");
}

#[test]
fn feature_losses_alone_train() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let vgg = folder.path().join("small.safetensors");
    features::tests::write_small(&vgg);
    let config = RunConfig {
        hole_weight: 0.0,
        valid_weight: 0.0,
        vgg: Some(vgg),
        perceptual_weight: 1.0,
        style_weight: 10.0,
        ..config(&images, 80)
    };
    let run = folder.path().join("run");
    train(&config, &run, Start::Fresh, &Stop::default()).expect("trained");
    let losses: Vec<f32> =
        losses(&run).iter().map(|loss| loss.parse().expect("a number")).collect();
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let (begun, ended) = (mean(&losses[..20]), mean(&losses[60..]));
    assert!(ended < 0.92 * begun, "from {begun} to {ended}");
}

#[test]
fn a_stopped_run_is_saved_and_averages_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let config = RunConfig { ssim_weight: 0.5, ..config(&images, 12) };
    let (whole, run) = (folder.path().join("whole"), folder.path().join("run"));
    let expected = train(&config, &whole, Start::Fresh, &Stop::default()).expect("trained");
    let stop = Stop::default();
    stop.set();
    let mut start = Start::Fresh;
    for step in 1..12 {
        // Stopped after every step: before the first average, at it and after it.
        let error = train(&config, &run, start, &stop).expect_err("stopped").to_string();
        assert!(error.contains(&format!("after step {step}")), "{error}");
        assert!(error.contains("--resume"), "{error}");
        start = Start::Resume;
    }
    let resumed = train(&config, &run, Start::Resume, &Stop::default()).expect("trained");
    assert_eq!(losses(&whole), losses(&run));
    assert_eq!(expected.values("dc7.weight"), resumed.values("dc7.weight"));
    // What comes out is the average, and not the last step's weights.
    let last = Weights::read(&run.join("checkpoint/weights.safetensors")).expect("weights");
    assert_ne!(last.values("dc7.weight"), resumed.values("dc7.weight"));
}

#[test]
fn what_cannot_be_trained_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let config = config(folder.path(), 1);
    assert!(train(&config, &run, Start::Fresh, &Stop::default()).is_err(), "there are no pictures");
    let backend = RunConfig { backend: "abacus".into(), ..config.clone() };
    let error = train(&backend, &run, Start::Fresh, &Stop::default())
        .expect_err("no such backend")
        .to_string();
    assert!(error.contains("abacus") && error.contains("cpu"), "{error}");
    let error = train(&config, &folder.path().join("absent"), Start::Resume, &Stop::default());
    assert!(error.expect_err("no run there").to_string().contains("progress.json"));
    let error = RunConfig::read(&folder.path().join("absent")).expect_err("no run there");
    assert!(error.to_string().contains("config.json"));
}
