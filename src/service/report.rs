//! What `info` and `bench` measure and say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{BenchArgs, FillError, ServiceError};
use crate::camera::test_frame;
use crate::file::{Check, Model};
use crate::picture::{Finish, Mask, PixelBox, Search, plan_whole};
use crate::runtime::{Session, int8_peak, kernel_name};

/// Pictures and masks in a benchmark vary with the frame, so that nothing can be kept.
const NOISE: u32 = 2_654_435_761;

/// What a model file holds.
pub(super) fn describe(model: &Model) -> Result<Value, ServiceError> {
    let network = model.network();
    Ok(json!({
        "file": model.path().display().to_string(),
        "bytes": model.bytes(),
        "checksum": model.checksum(),
        "precision": model.precision().name(),
        "preset": network.preset().map(crate::net::Preset::name),
        "base_channels": network.base(),
        "parameters": network.parameter_count(),
        "macs_frame_256": network.macs_frame(256, 256),
        "macs_mask_256": network.macs_mask(256, 256),
        "kernel": kernel_name(model.precision()).map_err(FillError::from)?,
        "provenance": model.provenance(),
        "receipt": model.receipt().and_then(|receipt| serde_json::from_str::<Value>(receipt).ok()),
    }))
}

/// The same for people.
pub(super) fn describe_in_words(model: &Model) -> Result<String, ServiceError> {
    let network = model.network();
    let preset = network.preset().map_or("of its own width", crate::net::Preset::name);
    let giga = |macs: u64| macs as f64 / 1e9;
    let mut text = format!(
        "{}\n  network    LBAM, {preset}: {} base channels, {:.2} million parameters\n  \
         precision  {}, {:.2} MiB\n  checksum   {} (verified)\n  \
         work       {:.3} G multiply-adds a frame at 256x256, {:.3} G a mask\n  \
         kernel     {}\n",
        model.path().display(),
        network.base(),
        network.parameter_count() as f64 / 1e6,
        model.precision().name(),
        model.bytes() as f64 / f64::from(1 << 20),
        model.checksum(),
        giga(network.macs_frame(256, 256)),
        giga(network.macs_mask(256, 256)),
        kernel_name(model.precision()).map_err(FillError::from)?,
    );
    for (key, value) in model.provenance() {
        text.push_str(&format!("  {key:<10} {value}\n"));
    }
    if let Some(receipt) = model.receipt() {
        text.push_str(&receipt_in_words(receipt));
    }
    Ok(text)
}

/// What calibration says it did, as far as people want it at a glance; `--json` has all of it.
fn receipt_in_words(receipt: &str) -> String {
    let receipt: Value = serde_json::from_str(receipt).unwrap_or_default();
    let mut text = String::new();
    // Very many are not listed.
    let pictures = match &receipt["pictures"] {
        Value::Array(list) => list.len() as u64,
        brief => brief["count"].as_u64().unwrap_or(0),
    };
    let loss = &receipt["held_back"];
    if let (Some(decibels), Some(count)) = (loss["psnr_to_float"].as_f64(), loss["count"].as_u64())
    {
        text.push_str(&format!(
            "  calibrated on {pictures} pictures; {decibels:.2} dB to the float network on {count} others\n"
        ));
    }
    for layer in receipt["layers"].as_array().into_iter().flatten() {
        if let (Some(name), Some(decibels)) = (layer["name"].as_str(), layer["snr"].as_f64()) {
            text.push_str(&format!("    {name:<36} {decibels:6.1} dB signal to noise\n"));
        }
    }
    text
}

/// Times a model on this machine, `started` being when the program was; how long it takes to open it
/// and check all of it is timed on its own, afterwards.
pub(super) fn bench(
    args: &BenchArgs,
    (model, check): (Arc<Model>, Check),
    threads: usize,
    started: Instant,
) -> Result<Value, ServiceError> {
    let (width, height) = (args.size.width, args.size.height);
    let mask = match &args.mask {
        Some(path) => {
            let mask = Mask::read(path)?;
            let (own_width, own_height) = (mask.width(), mask.height());
            if (own_width, own_height) != (width, height) {
                let reason = format!(
                    "{}: the mask is {own_width}x{own_height}, and pictures are {width}x{height}; \
                     scale it, give another --size, or --hole in its place",
                    path.display()
                );
                return Err(ServiceError::Usage(reason));
            }
            mask
        }
        None => middle_hole(width, height, args.hole)?,
    };
    let mut session = Session::new(&model, width, height).map_err(FillError::from)?;
    let mut output = vec![0; width * height * 3];
    let (mut check, mut first_frame) = (Some(check), None);
    let (mut mask_times, mut frame_times) = (Vec::new(), Vec::new());
    // Made before: threads that have to wait for a picture fall asleep.
    let pictures: Vec<Vec<u8>> = (0..args.frames.min(2))
        .map(|frame| {
            let noise = |index: u32| ((index ^ frame).wrapping_mul(NOISE) >> 24) as u8;
            (0..output.len() as u32).map(noise).collect()
        })
        .collect();
    for picture in pictures.iter().cycle().take(args.frames as usize) {
        let begun = Instant::now();
        session.set_mask(mask.data()).map_err(FillError::from)?;
        let masked = Instant::now();
        session.run(picture, &mut output).map_err(FillError::from)?;
        mask_times.push(masked - begun);
        frame_times.push(masked.elapsed());
        if let Some(check) = check.take() {
            check.wait()?;
        }
        first_frame.get_or_insert_with(|| started.elapsed());
    }
    let mut full: Vec<Duration> =
        mask_times.iter().zip(&frame_times).map(|(a, b)| *a + *b).collect();
    let network = model.network();
    // Before the model is mapped once more.
    let memory = peak_memory_mib();
    let begun = Instant::now();
    Model::open(model.path())?;
    let load = begun.elapsed();
    let mut detail_times = detail_times(&mask, &mut session, args.frames)?;
    let profile = match args.profile {
        true => profile(&mut session, mask.data(), args.frames, threads)?,
        false => Value::Null,
    };
    Ok(json!({
        "model": model.path().display().to_string(),
        "precision": model.precision().name(),
        "size": format!("{width}x{height}"),
        "threads": threads,
        "kernel": kernel_name(model.precision()).map_err(FillError::from)?,
        "hole_ratio": mask.hole_ratio(),
        "mask_stage_ms": quantiles(&mut mask_times),
        "frame_stage_ms": quantiles(&mut frame_times),
        "frame_full_ms": quantiles(&mut full)["median"],
        "detail_ms": (!detail_times.is_empty()).then(|| quantiles(&mut detail_times)),
        "load_ms": milliseconds(load),
        "first_frame_ms": milliseconds(first_frame.unwrap_or_default()),
        "rss_mib": memory,
        "owned_weight_bytes": session.owned_weight_bytes(),
        "macs_frame": network.macs_frame(width, height),
        "macs_mask": network.macs_mask(width, height),
        "profile": profile,
    }))
}

/// What detail takes beside the network, frame after frame of a scene that stands still; nothing for
/// pictures larger than are filled whole, or all hole.
fn detail_times(
    mask: &Mask,
    session: &mut Session,
    frames: u32,
) -> Result<Vec<Duration>, ServiceError> {
    let Some(region) = plan_whole(mask).map_err(FillError::from)? else { return Ok(Vec::new()) };
    let mut finish = Finish::new(&region, Search::Live);
    if finish.is_empty() {
        return Ok(Vec::new());
    }
    // What detail takes hangs on the picture.
    let mut scene = Vec::new();
    test_frame(mask.width(), mask.height(), 0).map_err(FillError::from)?.to_rgb(&mut scene);
    let mut smooth = vec![0; scene.len()];
    session.run(&scene, &mut smooth).map_err(FillError::from)?;
    let mut fill = smooth.clone();
    let times = (0..frames).map(|_| {
        fill.copy_from_slice(&smooth);
        let begun = Instant::now();
        finish.add(&scene, &mut fill);
        begun.elapsed()
    });
    Ok(times.collect())
}

/// Every step's median time, what it multiplied, and its share of what the cores could do.
fn profile(
    session: &mut Session,
    holes: &[u8],
    frames: u32,
    threads: usize,
) -> Result<Value, ServiceError> {
    let picture: Vec<u8> =
        (0..3 * holes.len() as u32).map(|index| (index.wrapping_mul(NOISE) >> 24) as u8).collect();
    let mut output = vec![0; picture.len()];
    // Before the runs: benches/instructions counts what comes last.
    let peak = int8_peak().map_err(FillError::from)?;
    let mut runs = Vec::new();
    for _ in 0..frames {
        runs.push(session.profile(holes, &picture, &mut output).map_err(FillError::from)?);
    }
    let steps = runs[0].clone();
    if steps.is_empty() {
        let reason = "--profile is for int8 models; lbam-desk calibrate makes one";
        return Err(ServiceError::Usage(reason.into()));
    }
    let layers: Vec<Value> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let mut times: Vec<Duration> = runs.iter().map(|run| run[index].time).collect();
            times.sort();
            let time = times[times.len() / 2];
            let rate = step.products as f64 / time.as_secs_f64().max(1e-9);
            let share = peak.map(|peak| rate / (peak * threads as f64));
            json!({
                "stage": step.stage, "name": step.name, "ms": milliseconds(time),
                "multiply_adds": step.products, "peak_share": share.filter(|_| step.products > 0),
            })
        })
        .collect();
    Ok(json!({"peak_gops": peak.map(|peak| 2.0 * peak / 1e9), "steps": layers}))
}

/// The benchmark for people.
pub(super) fn bench_in_words(result: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let stage = |name: &str| match &result[name] {
        Value::Null => format!("{:>8}", "-"),
        stage => format!("{:8.2} ms (p99 {:.2})", number(&stage["median"]), number(&stage["p99"])),
    };
    let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
    let mut words = format!(
        "{} {}, {}, {} thread(s), {}, hole {:.0} %\n  \
         frame stage   {}  when the mask stands\n  \
         mask stage    {}  when it changes\n  \
         detail        {}  of smooth fills\n  \
         load          {:8.2} ms\n  first frame   {:8.2} ms\n  memory        {:8.1} MiB\n",
        text("model"),
        text("precision"),
        text("size"),
        result["threads"],
        text("kernel"),
        100.0 * number(&result["hole_ratio"]),
        stage("frame_stage_ms"),
        stage("mask_stage_ms"),
        stage("detail_ms"),
        number(&result["load_ms"]),
        number(&result["first_frame_ms"]),
        number(&result["rss_mib"]),
    );
    if let Some(peak) = result["profile"]["peak_gops"].as_f64() {
        words += &format!("\nA core does {peak:.0} G int8 operations a second at most.\n");
    }
    for step in result["profile"]["steps"].as_array().into_iter().flatten() {
        let share = step["peak_share"].as_f64();
        words += &format!(
            "  {:<6} {:<18} {:8.3} ms {:8.2} M multiply-adds  {}\n",
            step["stage"].as_str().unwrap_or_default(),
            step["name"].as_str().unwrap_or_default(),
            number(&step["ms"]),
            number(&step["multiply_adds"]) / 1e6,
            share.map_or(String::new(), |share| format!("{:5.1} % of that", 100.0 * share)),
        );
    }
    words
}

/// One hole in the middle, of the picture's own proportions.
fn middle_hole(width: usize, height: usize, ratio: f64) -> Result<Mask, ServiceError> {
    let side = |whole: usize| ((whole as f64 * ratio.sqrt()).round() as usize).clamp(1, whole);
    let (hole_width, hole_height) = (side(width), side(height));
    let mut mask = Mask::empty(width, height).map_err(FillError::from)?;
    mask.fill_box(&PixelBox {
        x: (width - hole_width) / 2,
        y: (height - hole_height) / 2,
        width: hole_width,
        height: hole_height,
    });
    Ok(mask)
}

fn quantiles(times: &mut [Duration]) -> Value {
    times.sort();
    let at = |share: f64| milliseconds(times[((times.len() - 1) as f64 * share).round() as usize]);
    json!({"median": at(0.5), "p99": at(0.99)})
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The most memory this process has used, where the system says so.
fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib / 1024.0 * 10.0).round() / 10.0)
}
