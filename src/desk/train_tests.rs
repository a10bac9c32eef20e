//! Short real runs of the narrowest network.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::desk::masks::Style;
use crate::desk::{features, masks};
use crate::file::FileError;
use crate::net::Variant;
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
        base_channels: 4,
        size: 128,
        batch: 2,
        steps,
        seed: 7,
        learning_rate: 2e-3,
        sample_every: 3,
        checkpoint_every: 3,
        ..RunConfig::default()
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
    let devices = vec![Device::flex().autodiff()];
    let mut stopped = Trainer::new(&config, &halves, Start::Fresh, devices).expect("a trainer");
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
        stopped
            .step(Ready::Host(batch), config.learning_rate_at(step), |_| Ok(()))
            .expect("a step");
        stopped.progress.step += 1;
    }
    stopped.save_checkpoint().expect("saved");
    let resumed = train(&config, &halves, Start::Resume, &Stop::default()).expect("resumed");
    assert_eq!(losses(&whole)[3..], losses(&halves)[..]);
    let first = Weights::read(&whole.join("weights.safetensors")).expect("weights");
    assert_eq!(first.values("dc7.weight"), resumed.values("dc7.weight"));
    assert_eq!(first.provenance[FILLS], SMOOTH);
    // Two rows of input, output and original with gaps between and around.
    let strip = image::open(whole.join("samples/0000003.png")).expect("a sample strip");
    let gap = GAP as u32;
    assert_eq!((strip.width(), strip.height()), (3 * 128 + 4 * gap, 2 * 128 + 3 * gap));
}

#[test]
fn a_full_disk_is_waited_for() {
    let full = || DeskError::io(Path::new("log.csv"))(ErrorKind::StorageFull.into());
    let tried = |stop: &Stop, mut errors: Vec<DeskError>| {
        with_room(stop, || errors.pop().map_or(Ok(7), Err)).map_err(|error| error.to_string())
    };
    let stop = Stop::default();
    assert_eq!(tried(&stop, vec![full()]), Ok(7));
    let read = FileError::read(Path::new("w"), ErrorKind::PermissionDenied.into());
    assert!(tried(&stop, vec![read.into()]).is_err(), "another error");
    let within = FileError::read(Path::new("w"), ErrorKind::StorageFull.into());
    assert_eq!(tried(&stop, vec![within.into()]), Ok(7));
    stop.set();
    assert!(tried(&stop, vec![full()]).is_err());
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

/// Everything in a run's log that does not depend on the clock.
fn figures(run: &Path) -> Vec<String> {
    let log = fs::read_to_string(run.join("log.csv")).expect("a log");
    let columns = |line: &str| line.split(',').take(13).collect::<Vec<_>>()[2..].join(",");
    log.lines().skip(1).map(columns).collect()
}

/// Column of a run's log by name.
fn column(run: &Path, name: &str) -> Vec<f32> {
    let log = fs::read_to_string(run.join("log.csv")).expect("a log");
    let head = log.lines().next().expect("a head");
    let at = head.split(',').position(|found| found == name).expect("such a column");
    let value = |line: &str| line.split(',').nth(at).expect("a field").parse().expect("a number");
    log.lines().skip(1).map(value).collect()
}

/// Losses and a layer's weights after two steps of Burn's network on so many devices.
fn on_devices(images: &Path, folder: &Path, count: usize, own_masks: bool) -> (Vec<f32>, Vec<f32>) {
    let mut config = config(images, 2);
    config.backend = "cpu-burn".into();
    (config.batch, config.masks_per_step, config.own_masks) = (4, 2, own_masks);
    let devices = vec![Device::flex().autodiff(); count];
    let mut trainer = Trainer::new(&config, folder, Start::Fresh, devices).expect("a trainer");
    let masks_per_batch = config.masks_per_batch();
    let data = BatchConfig { size: 128, batch: 4, seed: 7, masks_per_batch, ..Default::default() };
    let mut batches = Batches::new(images, data).expect("pictures");
    let mut losses = Vec::new();
    for _ in 0..2 {
        let batch = batches.next().expect("endless");
        let (found, gradient) = trainer.step(Ready::Host(batch), 1e-3, |_| Ok(())).expect("a step");
        losses.extend([found.total, found.hole, gradient]);
        trainer.progress.step += 1;
    }
    let weights = trainer.weights().expect("finite");
    (losses, weights.values("dc7.weight").to_vec())
}

#[test]
fn several_devices_are_as_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    for own_masks in [false, true] {
        let (wanted, weights) = on_devices(&images, &folder.path().join("one"), 1, own_masks);
        let (found, shared) = on_devices(&images, &folder.path().join("two"), 2, own_masks);
        for (found, wanted) in found.iter().zip(&wanted) {
            // Sums in another order.
            assert!((found / wanted - 1.0).abs() < 1e-4, "{found}, {wanted}");
        }
        let moved = shared.iter().zip(&weights).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Adam's first steps are of the learning rate's size whatever the gradient's.
        assert!(moved < 1e-4, "{moved}");
    }
    let uneven = RunConfig { batch: 3, ..config(&images, 1) };
    let devices = vec![Device::flex().autodiff(); 2];
    let error = Trainer::new(&uneven, folder.path(), Start::Fresh, devices).err().expect("refused");
    assert!(error.to_string().contains("--batch"), "{error}");
}

#[test]
fn an_adversarial_run_goes_on_to_the_same_losses() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let config = RunConfig {
        adversarial_weight: 0.1,
        adversary_from: 2,
        adversary_learning_rate: 1e-3,
        clip_gradient: Some(0.05),
        own_masks: true,
        ..config(&images, 5)
    };
    let (whole, run) = (folder.path().join("whole"), folder.path().join("run"));
    let expected = train(&config, &whole, Start::Fresh, &Stop::default()).expect("trained");
    let stop = Stop::default();
    stop.set();
    // Stopped before the discriminator's first step, after it, and between later ones.
    let mut start = Start::Fresh;
    for step in 1..5 {
        train(&config, &run, start, &stop).expect_err("stopped");
        start = Start::Resume;
        let reached = Weights::read(&run.join("weights.safetensors")).expect("what was reached");
        assert_eq!(reached.provenance.contains_key(FILLS), step <= 2, "after step {step}");
    }
    let resumed = train(&config, &run, Start::Resume, &Stop::default()).expect("trained");
    assert_eq!(figures(&whole), figures(&run));
    assert_eq!(expected.values("dc7.weight"), resumed.values("dc7.weight"));
    assert!(!expected.provenance.contains_key(FILLS));
    let bytes = |run: &Path| fs::read(run.join("checkpoint/adversary.safetensors")).expect("saved");
    assert!(bytes(&whole) == bytes(&run), "another discriminator");
    let adversarial = column(&run, "adversarial");
    assert!(adversarial[..2].iter().all(|&loss| loss == 0.0), "{adversarial:?}");
    assert!(adversarial[2..].iter().all(|&loss| loss != 0.0), "{adversarial:?}");
    // Of the network's own losses the gradients are longer than the clip.
    assert!(column(&run, "gradient").iter().all(|&length| length > 0.0));
    // What the discriminator has taught is not gone with it, nor where a run begins with it.
    let start = || Start::From(Box::new(expected.clone()));
    let plain = RunConfig { adversarial_weight: 0.0, steps: 1, ..config.clone() };
    let (other, after) = (folder.path().join("other"), folder.path().join("after"));
    let weights = train(&plain, &other, start(), &Stop::default()).expect("trained");
    assert!(!weights.provenance.contains_key(FILLS));
    let mut smooth = expected.clone();
    smooth.provenance.insert(FILLS.to_owned(), SMOOTH.to_owned());
    let start = Start::From(Box::new(smooth));
    let weights = train(&plain, &after, start, &Stop::default()).expect("trained");
    assert_eq!(weights.provenance[FILLS], SMOOTH);
    let without = RunConfig { adversarial_weight: 0.0, steps: 6, ..config };
    let weights = train(&without, &run, Start::Resume, &Stop::default()).expect("trained");
    assert!(!weights.provenance.contains_key(FILLS));
}

#[test]
fn the_discriminator_learns_to_tell() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let config = RunConfig {
        adversarial_weight: 0.1,
        adversary_learning_rate: 1e-3,
        // The network stays nearly as it was.
        learning_rate: 1e-7,
        ..config(&images, 40)
    };
    let run = folder.path().join("run");
    train(&config, &run, Start::Fresh, &Stop::default()).expect("trained");
    let (critic, penalty) = (column(&run, "critic"), column(&run, "penalty"));
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    // Held to a slope of 1, scores can be as far apart as pictures are: some tens.
    assert!(mean(&critic[30..]) < mean(&critic[..5]) - 1.0, "{critic:?}");
    assert!(mean(&penalty[30..]) < 0.5, "{penalty:?}");
}

/// All files of a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
    entries.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

#[test]
fn nothing_that_is_not_finite_is_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let good = RunConfig { adversarial_weight: 0.1, ..config(&images, 2) };
    let run = folder.path().join("run");
    train(&good, &run, Start::Fresh, &Stop::default()).expect("trained");
    let checkpoint = run.join("checkpoint");
    let before = files(&checkpoint);
    let diverges = |config: RunConfig| {
        let config = RunConfig { steps: 20, checkpoint_every: 1000, ..config };
        let error = train(&config, &run, Start::Resume, &Stop::default()).expect_err("diverges");
        assert!(matches!(error, DeskError::Diverged { .. }), "{error}");
        assert!(before == files(&checkpoint), "the checkpoint has changed");
        error.to_string()
    };
    let error = diverges(RunConfig { learning_rate: 1e35, ..good.clone() });
    assert!(error.contains("--clip-gradient"), "{error}");
    let error = diverges(RunConfig { adversary_learning_rate: 1e35, ..good.clone() });
    assert!(error.contains("adversary"), "{error}");

    // Losses and gradients that were finite, weights that are not any more.
    let devices = vec![Device::flex().autodiff()];
    let data = BatchConfig { size: 128, batch: 2, seed: 7, ..Default::default() };
    let batch = Batches::new(&images, data).expect("pictures").next().expect("endless");
    let mut trainer = Trainer::new(&good, &run, Start::Resume, devices).expect("a trainer");
    trainer.step(Ready::Host(batch), f64::NAN, |_| Ok(())).expect("all was finite");
    for result in [trainer.save_checkpoint(), trainer.average_weights()] {
        let error = result.expect_err("refused");
        assert!(matches!(error, DeskError::Diverged { .. }), "{error}");
    }
    assert!(before == files(&checkpoint), "the checkpoint has changed");
}

#[test]
fn runs_of_older_programs_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), 6);
    let mut json = serde_json::to_value(&config).expect("plain data");
    let fields = json.as_object_mut().expect("an object");
    fields.retain(|name, _| !name.starts_with("adversar") && !name.starts_with("mask"));
    fields.remove("clip_gradient");
    for name in ["variant", "prune_kernels", "kernel_taps", "adam_betas", "mixed_precision"] {
        fields.remove(name).expect("a field");
    }
    fs::write(folder.path().join("config.json"), json.to_string()).expect("written");
    let read = RunConfig::read(folder.path()).expect("an older run");
    assert_eq!(format!("{read:?}"), format!("{config:?}"));
}

#[test]
fn mixed_precision_trains_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let run = |backend: &str, mixed_precision: bool| {
        let run = folder.path().join(format!("{backend}-{mixed_precision}"));
        let config = RunConfig { backend: backend.into(), mixed_precision, ..config(&images, 6) };
        train(&config, &run, Start::Fresh, &Stop::default()).map(|_| {
            let losses = losses(&run);
            losses.iter().map(|loss| loss.parse().expect("a number")).collect::<Vec<f32>>()
        })
    };
    let whole = run("cpu-burn", false).expect("trained");
    let mixed = run("cpu-burn", true).expect("trained");
    assert_ne!(whole, mixed);
    for (whole, mixed) in whole.iter().zip(&mixed) {
        // Eight bits of each factor are left.
        assert!((whole - mixed).abs() < 0.02 * whole, "{whole}, {mixed}");
    }
    let error = run("cpu", true).expect_err("the written-out network has none").to_string();
    assert!(error.contains("bfloat16"), "{error}");
}

#[test]
fn what_is_pruned_stays_zero() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let whole = Lbam::initialise(Network::new(4).expect("a width"), 9, &Device::flex());
    let whole = whole.weights(BTreeMap::new()).expect("finite");
    let wanted = Pruning::least(&whole, 0.25, 10);
    for backend in ["cpu", "cpu-burn"] {
        let config = RunConfig {
            backend: backend.into(),
            prune_kernels: 0.25,
            kernel_taps: 10,
            ..config(&images, 12)
        };
        let run = folder.path().join(backend);
        let start = Start::From(Box::new(whole.clone()));
        train(&config, &run, start, &Stop::default()).expect("trained");
        let again = RunConfig { steps: 14, ..RunConfig::read(&run).expect("read") };
        train(&again, &run, Start::Resume, &Stop::default()).expect("resumed");
        // What is left has moved on, and so has what is not pruned at all.
        let average = Weights::read(&run.join("weights.safetensors")).expect("read");
        let newest = Weights::read(&run.join("checkpoint/weights.safetensors")).expect("read");
        for weights in [average, newest] {
            assert_eq!(Pruning::of_zeros(&weights), wanted, "{backend}");
            assert_ne!(weights.values("dc7.weight"), whole.values("dc7.weight"));
            assert_ne!(weights.values("dc5.conv.weight"), whole.values("dc5.conv.weight"));
        }
        // What the next stage takes comes on top.
        let before = Weights::read(&run.join("weights.safetensors")).expect("read");
        let further = RunConfig { prune_kernels: 0.5, kernel_taps: 16, steps: 1, ..config.clone() };
        let next = folder.path().join(format!("{backend}-next"));
        let start = Start::From(Box::new(before.clone()));
        train(&further, &next, start, &Stop::default()).expect("trained");
        let both = Pruning::least(&before, 0.5, 16).and(&wanted);
        let after = Weights::read(&next.join("weights.safetensors")).expect("read");
        assert_eq!(Pruning::of_zeros(&after), both, "{backend}");
        assert!(both.left() < wanted.left().min(0.5));
        let fresh = folder.path().join("fresh");
        let error = train(&config, &fresh, Start::Fresh, &Stop::default()).expect_err("refused");
        assert!(error.to_string().contains("--init"), "{error}");
    }
}

#[test]
fn an_ablation_stays_what_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let variants = [("leaky-relu", "forward"), ("gaussian", "pconv")];
    for ((attention, masks), backend) in variants.into_iter().zip(["cpu", "cpu-burn"]) {
        let variant = Variant::named(attention, masks).expect("a variant");
        let config = RunConfig { variant, backend: backend.into(), ..config(&images, 4) };
        let run = folder.path().join(masks);
        train(&config, &run, Start::Fresh, &Stop::default()).expect("trained");
        // Resumed, it is what its folder says.
        let again = RunConfig { steps: 5, ..RunConfig::read(&run).expect("read") };
        assert_eq!(again.variant, variant);
        train(&again, &run, Start::Resume, &Stop::default()).expect("resumed");
        let weights = Weights::read(&run.join("weights.safetensors")).expect("read");
        assert_eq!(weights.variant(), variant);
        // What has no part in it is as it began.
        let began = Lbam::initialise(weights.network(), config.seed, &Device::flex());
        let began = began.weights(BTreeMap::new()).expect("finite");
        let kernel = "reverseConv3.reverseMaskConv.weight";
        assert_eq!(weights.values(kernel), began.values(kernel));
        assert_ne!(weights.values("dc7.weight"), began.values("dc7.weight"));
        // Nothing else goes on with it.
        let other = RunConfig { variant: Variant::PAPER, ..again };
        let other_run = folder.path().join("other");
        for (run, start) in
            [(&run, Start::Resume), (&other_run, Start::From(Box::new(weights.clone())))]
        {
            let error = train(&other, run, start, &Stop::default()).expect_err("refused");
            assert!(error.to_string().contains("--attention-masks"), "{error}");
        }
    }
}

#[test]
fn masks_come_from_a_folder_where_one_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (images, masks) = (folder.path().join("images"), folder.path().join("masks"));
    pictures(&images);
    masks::write_set(&masks, 3, (200, 150), 0.2..=0.3, 1).expect("written");
    let run = folder.path().join("run");
    let with = RunConfig { masks: Some(masks), batch: 1, ..config(&images, 2) };
    train(&with, &run, Start::Fresh, &Stop::default()).expect("trained");
    assert_eq!(column(&run, "loss").len(), 2);
    let none = RunConfig { masks: Some(folder.path().join("absent")), ..with.clone() };
    let run = folder.path().join("second");
    let error = train(&none, &run, Start::Fresh, &Stop::default()).expect_err("no such folder");
    assert!(error.to_string().contains("absent"), "{error}");
    let narrow = RunConfig { mask_ratio: Some((0.8, 0.9)), ..with };
    let error = train(&narrow, &run, Start::Fresh, &Stop::default()).expect_err("no such mask");
    assert!(error.to_string().contains("--mask-ratio"), "{error}");
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

#[test]
fn gpus_that_are_not_there_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let run = folder.path().join("run");
    let refused = |backend: &str, gpus| {
        let config = RunConfig { backend: backend.into(), gpus, ..config(&images, 1) };
        train(&config, &run, Start::Fresh, &Stop::default()).expect_err("refused").to_string()
    };
    assert!(refused("cpu", 2).contains("leave --gpus out"));
    assert!(refused("quantum", 1).contains("cpu, cpu-burn"));
    assert!(!run.exists());
}

#[test]
fn a_run_is_not_lost_to_another_nor_to_a_slip() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let (run, config) = (folder.path().join("run"), config(&images, 3));
    let stop = Stop::default();
    stop.set();
    let stopped = train(&config, &run, Start::Fresh, &stop).expect_err("stopped").to_string();
    let weights = run.join("weights.safetensors");
    assert!(stopped.contains(&weights.display().to_string()), "{stopped}");
    Weights::read(&weights).expect("what was reached");

    let error = train(&config, &run, Start::Fresh, &stop).expect_err("a run is there");
    assert!(error.to_string().contains("--resume"), "{error}");
    let said = fs::read(run.join("config.json")).expect("a configuration");
    let slip = RunConfig { images: folder.path().join("absent"), ..config.clone() };
    train(&slip, &run, Start::Resume, &stop).expect_err("no such folder");
    let slip = RunConfig { masks_per_step: 3, ..config.clone() };
    train(&slip, &run, Start::Resume, &stop).expect_err("of 2 pictures");
    assert!(fs::read(run.join("config.json")).expect("read") == said, "it was overwritten");
    let other = RunConfig { base_channels: 8, ..config.clone() };
    let error = train(&other, &run, Start::Resume, &stop).expect_err("another width");
    assert!(error.to_string().contains("another network"), "{error}");
    let other = RunConfig { backend: "cpu-burn".into(), ..config.clone() };
    let error = train(&other, &run, Start::Resume, &stop).expect_err("another backend");
    assert!(error.to_string().contains("--backend cpu"), "{error}");

    // Another program trains here.
    let held = lock(&run).expect("free");
    for start in [Start::Resume, Start::Fresh] {
        let error = train(&config, &run, start, &stop).expect_err("held").to_string();
        assert!(error.contains("another training"), "{error}");
    }
    drop(held);

    // A power cut between the old checkpoint's way out and the new one's way in.
    let at = |name: &str| run.join(name);
    fs::rename(at(CHECKPOINT), at(OLD_CHECKPOINT)).expect("moved");
    assert!(train(&config, &run, Start::Fresh, &stop).is_err(), "a run is there");
    train(&config, &run, Start::Resume, &stop).expect_err("stopped again");
    fs::rename(at(CHECKPOINT), at(NEW_CHECKPOINT)).expect("moved");
    fs::create_dir(at(OLD_CHECKPOINT)).expect("made");
    train(&config, &run, Start::Resume, &Stop::default()).expect("the new one was whole");

    // What somebody kept of a run.
    fs::remove_dir_all(at(CHECKPOINT)).expect("removed");
    let error = train(&config, &run, Start::Fresh, &stop).expect_err("weights are there");
    assert!(error.to_string().contains("--output"), "{error}");
}

#[test]
fn pictures_that_go_away_end_a_run_that_can_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let (run, config) = (folder.path().join("run"), config(&images, 40));
    let devices = vec![Device::flex().autodiff()];
    let trainer = Trainer::new(&config, &run, Start::Fresh, devices).expect("a trainer");
    // None is kept in memory.
    let data = BatchConfig {
        size: 128,
        batch: 2,
        seed: 7,
        ready: 3,
        cache_bytes: 0,
        patience: Duration::ZERO,
        ..Default::default()
    };
    let mut batches = Batches::new(&images, data).expect("pictures");
    batches.next().expect("a batch");
    // Until some lie ready, far longer than that takes.
    std::thread::sleep(Duration::from_secs(2));
    let away = folder.path().join("away");
    fs::rename(&images, &away).expect("moved");
    let error = trainer.run(batches, &Stop::default()).expect_err("no pictures").to_string();
    assert!(error.contains("images") && error.contains("--resume"), "{error}");
    let done = losses(&run).len();
    assert!((1..40).contains(&done), "{done}");
    fs::rename(&away, &images).expect("moved back");
    let rest = RunConfig { steps: done as u64 + 1, ..config };
    train(&rest, &run, Start::Resume, &Stop::default()).expect("it goes on");
}

#[test]
fn a_checkpoint_that_is_not_whole_is_not_gone_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images);
    let run = folder.path().join("run");
    let config = RunConfig {
        adversarial_weight: 0.1,
        adversary_channels: Some(4),
        checkpoint_every: 10,
        ..config(&images, 10)
    };
    train(&config, &run, Start::Fresh, &Stop::default()).expect("trained");
    for name in ["adversary.safetensors", "adversary.bpk", "average.safetensors"] {
        let (file, away) = (run.join(CHECKPOINT).join(name), folder.path().join("away"));
        fs::rename(&file, &away).expect("moved");
        let error = train(&config, &run, Start::Resume, &Stop::default()).expect_err("not whole");
        assert!(error.to_string().contains(name), "{name}: {error}");
        fs::rename(&away, &file).expect("moved back");
    }
    // A log that another program saved is kept.
    let log = run.join("log.csv");
    let semicolons = fs::read_to_string(&log).expect("a log").replace(',', ";");
    fs::write(&log, &semicolons).expect("written");
    let longer = RunConfig { steps: 11, ..config };
    train(&longer, &run, Start::Resume, &Stop::default()).expect("resumed");
    assert_eq!(losses(&run).len(), 1);
    assert_eq!(fs::read_to_string(run.join("log.csv.old1")).expect("kept"), semicolons);
}
