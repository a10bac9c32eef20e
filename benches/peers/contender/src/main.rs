//! A runtime written in Rust, run on request, as `contender.py` does for those with a Python
//! binding:
//!
//! ```text
//! contender RUNTIME MODEL THREADS WORK
//! ```
//!
//! Runtimes are `rten`, `tract` and `tract-f16`, as far as they were compiled in. One JSON line
//! comes when the first output is there, then one for each line of standard input: the times of
//! the runs that fit into some seconds for `run SECONDS`, that of a single run for `once`.

#[cfg(feature = "rten")]
mod rten;
#[cfg(feature = "tract")]
mod tract;

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Side of picture and mask.
const SIDE: usize = 256;
/// Runs in one answer to `run` at least.
const LEAST_RUNS: usize = 5;

/// A network with its inputs, ready to run.
type Run = Box<dyn FnMut() -> Result<Vec<f32>, Box<dyn Error>>>;

/// `[1, channels, SIDE, SIDE]`, by the name that the network has for it.
struct Input {
    name: &'static str,
    channels: usize,
    values: Vec<f32>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, model, threads, work] = &arguments[..] else {
        return Err("usage: contender RUNTIME MODEL THREADS WORK".into());
    };
    let (model, work) = (Path::new(model), Path::new(work));
    let inputs = [
        Input { name: "picture", channels: 3, values: values(&work.join("picture.npy"))? },
        Input { name: "mask", channels: 1, values: values(&work.join("mask.npy"))? },
    ];

    let begun = Instant::now();
    let mut run = prepare(runtime, model, threads.parse()?, inputs)?;
    let created = begun.elapsed();
    let first = Instant::now();
    let output = run()?;
    let first = first.elapsed();

    let reference = values(&work.join("reference.npy"))?;
    let errors = output.iter().zip(&reference).map(|(a, b)| f64::from((a - b).abs()));
    let worst = errors.clone().fold(0.0, f64::max);
    let mean_square = errors.map(|error| error * error).sum::<f64>() / reference.len() as f64;
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
        let mut times = Vec::new();
        if line == "once" {
            times.push(timed(&mut run)?);
        } else {
            let seconds: f64 = line.split(' ').nth(1).unwrap_or_default().parse()?;
            // The first run after a pause finds cold caches and sleeping threads.
            run()?;
            let begun = Instant::now();
            while begun.elapsed().as_secs_f64() < seconds || times.len() < LEAST_RUNS {
                times.push(timed(&mut run)?);
            }
        }
        println!("{times:?}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn prepare(
    runtime: &str,
    model: &Path,
    threads: usize,
    inputs: [Input; 2],
) -> Result<Run, Box<dyn Error>> {
    match (runtime, threads) {
        #[cfg(feature = "rten")]
        ("rten", _) => rten::prepare(model, threads, inputs),
        #[cfg(feature = "tract")]
        ("tract", 1) => tract::prepare(model, inputs, false),
        #[cfg(feature = "tract")]
        ("tract-f16", 1) => tract::prepare(model, inputs, true),
        _ => Err(format!("{runtime} on {threads} threads is not compiled in").into()),
    }
}

fn timed(run: &mut Run) -> Result<f64, Box<dyn Error>> {
    mark();
    let begun = Instant::now();
    run()?;
    let took = begun.elapsed();
    mark();
    Ok(milliseconds(took))
}

/// Tells whoever counts instructions (`benches/instructions`) where the program is: by a call of the
/// system that nothing else makes.
fn mark() {
    let _ = std::os::unix::process::parent_id();
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
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
