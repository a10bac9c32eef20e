//! rten, timed on request, as `contender.py` does for runtimes with a Python binding:
//!
//! ```text
//! rten-contender MODEL THREADS WORK
//! ```

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rten::ModelOptions;
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

/// Runs in one answer at least.
const LEAST_RUNS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, threads, work] = &arguments[..] else {
        return Err("usage: rten-contender MODEL THREADS WORK".into());
    };
    let work = Path::new(work);
    // SAFETY: no other thread runs yet. rten reads it when its pool is first used.
    unsafe { std::env::set_var("RTEN_NUM_THREADS", threads) };

    let begun = Instant::now();
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(model)?;
    let created = begun.elapsed();
    let picture = tensor(&work.join("picture.npy"), 3)?;
    let mask = tensor(&work.join("mask.npy"), 1)?;
    let (picture_id, mask_id) = (model.node_id("picture")?, model.node_id("mask")?);
    let output_id = model.node_id("output")?;
    let run = || -> Result<Vec<f32>, Box<dyn Error>> {
        let inputs = vec![(picture_id, picture.view().into()), (mask_id, mask.view().into())];
        let [output] = model.run_n(inputs, [output_id], None)?;
        let output: NdTensor<f32, 4> = output.try_into()?;
        Ok(output.into_data())
    };
    let first = Instant::now();
    let output = run()?;
    let first = first.elapsed();

    let reference = values(&work.join("reference.npy"))?;
    let errors = output.iter().zip(&reference).map(|(a, b)| f64::from((a - b).abs()));
    let worst = errors.clone().fold(0.0, f64::max);
    let mean_square = errors.map(|error| error * error).sum::<f64>() / reference.len() as f64;
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    println!(
        "{{\"import_ms\": 0, \"create_ms\": {}, \"first_run_ms\": {}, \"rss_mib\": {}, \
         \"worst_error\": {worst}, \"psnr\": {}}}",
        milliseconds(created),
        milliseconds(first),
        peak_memory_mib()?,
        -10.0 * (mean_square + 1e-20).log10(),
    );
    std::io::stdout().flush()?;

    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let seconds: f64 = line.split(' ').nth(1).unwrap_or_default().parse()?;
        // The first run after a pause finds cold caches and sleeping threads.
        run()?;
        let (begun, mut times) = (Instant::now(), Vec::new());
        while begun.elapsed().as_secs_f64() < seconds || times.len() < LEAST_RUNS {
            let start = Instant::now();
            run()?;
            times.push(milliseconds(start.elapsed()));
        }
        println!("{times:?}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Of 256x256, with so many channels.
fn tensor(path: &Path, channels: usize) -> Result<NdTensor<f32, 4>, Box<dyn Error>> {
    Ok(NdTensor::from_data([1, channels, 256, 256], values(path)?))
}

/// The numbers of a `.npy` file of 32-bit floats: magic, version, a header's length and the
/// header come first.
fn values(path: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let values = bytes[10 + header..].as_chunks::<4>().0;
    Ok(values.iter().map(|&value| f32::from_le_bytes(value)).collect())
}

fn peak_memory_mib() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}
