//! `lbam-desk`: arguments in, one call, exit code out.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use lbam::desk::evaluate::{self, ModelFile, filler_names, read_masks, read_samples};
use lbam::desk::fillers::{self, BASELINES, USUAL_BASELINES};
use lbam::desk::lpips::Lpips;
use lbam::desk::{self, DeskError};
use lbam::file::{FileError, Precision, Weights, check_place, is_same, write_model};
use lbam::net::Network;
use lbam::picture::{Search, is_picture_name};
use lbam::process::terminal::{print, say};

// A folder of its own: a file beside this one would become a program.
#[path = "lbam-desk/train.rs"]
mod train;

/// The exit code where a model file cannot be used, as lbam-edge's.
const UNUSABLE: u8 = 78;
/// Frames of a scene that stands still until its detail has settled.
const LIVE_FRAMES: usize = 12;
/// What is logged without `RUST_LOG`. A GPU's runtime warns of every kernel that it cannot run for want of
/// another, thousands of times; what began it comes as an error.
const LOG: &str = "warn,cubecl_runtime=error,cubecl_server=error";

/// Trains, imports, evaluates and exports LBAM inpainting networks for lbam-edge.
#[derive(Parser)]
#[command(
    name = "lbam-desk",
    version,
    after_help = "Example: lbam-desk train --images photos --output run --preset nano"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(Box<train::Train>),
    Import(Import),
    Export(Export),
    Calibrate(Calibrate),
    Eval(Eval),
    Masks(MasksArguments),
    Completions(Completions),
}

/// Convert a checkpoint of the authors' PyTorch code to safetensors
#[derive(Args)]
#[command(after_help = "Example: lbam-desk import official.pth --output official.safetensors")]
struct Import {
    /// A state_dict as torch.save writes it
    checkpoint: PathBuf,
    /// Where the weights go
    #[arg(long)]
    output: PathBuf,
}

/// Write weights as a model file for lbam-edge, or as ONNX
#[derive(Args)]
#[command(
    after_help = "Example: lbam-desk export weights.safetensors --format lbam --output small.lbam"
)]
struct Export {
    /// Weights, as train and import write them
    weights: PathBuf,
    #[arg(long, value_enum)]
    format: Format,
    /// How kernels are stored in a .lbam file; ONNX is always f32
    #[arg(long, value_enum, default_value = "f16")]
    precision: PrecisionName,
    /// Where it goes
    #[arg(long)]
    output: PathBuf,
}

/// Write weights as an int8 model file for lbam-edge, calibrated on pictures
#[derive(Args)]
#[command(
    after_help = "Example: lbam-desk calibrate small.safetensors --images photos --output small-int8.lbam --report report.html"
)]
struct Calibrate {
    /// Weights, as train and import write them
    weights: PathBuf,
    /// Folder of pictures, searched in depth; one in four serves only to measure what was lost
    #[arg(long)]
    images: PathBuf,
    /// Where the model file goes
    #[arg(long)]
    output: PathBuf,
    /// Steps that ranges are learned in, on random crops
    #[arg(long, default_value_t = 300)]
    steps: u64,
    /// Where what was used, learned and measured goes as JSON; the model file holds it too
    #[arg(long)]
    receipt: Option<PathBuf>,
    /// Where the same goes as an HTML page, with histograms and pictures side by side
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// Score models beside baselines, by share of hole
#[derive(Args)]
#[command(after_help = "Examples:
  lbam-desk eval --model small-f16.lbam --images photos --report report
  lbam-desk eval --model mine.lbam --model small-f16.lbam --images photos --seed 2 --json")]
struct Eval {
    /// .lbam, .safetensors or .onnx; again for each further model
    #[arg(long, required = true, value_name = "FILE")]
    model: Vec<PathBuf>,
    /// Folder of pictures, searched in depth; the central square of each is used
    #[arg(long)]
    images: PathBuf,
    /// Side of the pictures compared in pixels, a multiple of 128
    #[arg(long, default_value_t = 256, value_parser = side)]
    size: usize,
    /// Folder of masks (white: fill): each picture's own where they are called alike, else in turn
    #[arg(long, conflicts_with = "seed")]
    masks: Option<PathBuf>,
    /// Seed of brush masks, one in each bucket for every picture
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Baselines to compare with, separated by commas; no name: none
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        num_args = 0..=1,
        value_parser = PossibleValuesParser::new(BASELINES),
        default_values = USUAL_BASELINES
    )]
    baseline: Vec<String>,
    /// Score each model's fills with the detail that lbam-edge gives to pictures too
    #[arg(long)]
    detail: bool,
    /// Score each model's fills with the detail that lbam-edge gives to a camera's frames too: the
    /// twelfth frame of a scene that stands still
    #[arg(long)]
    live: bool,
    /// Measure LPIPS too: torchvision's alexnet or vgg16 with LPIPS' weights, as
    /// models/features/fetch.sh makes them
    #[arg(long, value_name = "FILE")]
    lpips: Option<PathBuf>,
    /// Folder for report.html, report.md, report.json and a contact sheet
    #[arg(long)]
    report: Option<PathBuf>,
    /// Rows of the contact sheet
    #[arg(long, default_value_t = 24)]
    examples: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Draw random masks as pictures
#[derive(Args)]
#[command(
    after_help = "Example: lbam-desk masks --ratio 0.1-0.5 --size 256x256 --count 100 --seed 1 --output masks"
)]
struct MasksArguments {
    /// Share of hole
    #[arg(long, value_name = "LOW-HIGH", default_value = "0.1-0.5", value_parser = desk::masks::parse_ratio)]
    ratio: RangeInclusive<f32>,
    /// Width and height in pixels
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "256x256", value_parser = desk::masks::parse_size)]
    size: (usize, usize),
    /// How many
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Mask i depends on the seed and i alone
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder, made if need be
    #[arg(long)]
    output: PathBuf,
}

/// Print a shell's completion script
#[derive(Args)]
#[command(
    after_help = "Example: lbam-desk completions bash > ~/.local/share/bash-completion/completions/lbam-desk"
)]
struct Completions {
    shell: clap_complete::Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Lbam,
    Onnx,
}

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionName {
    F32,
    F16,
}

fn main() -> ExitCode {
    // Where Burn puts the state of an optimiser that it loads, before it goes to the device of its weights;
    // else that is any GPU that this program was built for, whether there is one or not.
    // SAFETY: no other thread runs yet.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var("BURN_DEVICE", "flex");
    }
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(LOG)).init();
    let result = match Cli::parse().command {
        Command::Train(arguments) => {
            flush_subnormals();
            train::train(*arguments)
        }
        Command::Import(arguments) => import(&arguments),
        Command::Export(arguments) => export(&arguments),
        Command::Calibrate(arguments) => calibrate(&arguments),
        Command::Eval(arguments) => eval(&arguments),
        Command::Masks(arguments) => masks(&arguments),
        Command::Completions(arguments) => completions(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("lbam-desk: {}", told(&error)));
            let unusable = error.chain().any(|cause| match cause.downcast_ref() {
                Some(DeskError::File(error)) => is_unusable(error),
                Some(DeskError::Checkpoint { .. }) => true,
                _ => cause.downcast_ref().is_some_and(is_unusable),
            });
            match unusable {
                true => ExitCode::from(UNUSABLE),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// Has this thread, and those that it starts, take numbers below 1e-38 for zero. Averages of gradients
/// that are zero fall among them, and on many processors each costs as much as a hundred others: steps
/// of a run took three to nine times as long for them.
#[allow(unsafe_code)]
fn flush_subnormals() {
    #[cfg(target_arch = "x86_64")]
    {
        /// Results, and what is read.
        const ZEROED: u32 = 1 << 15 | 1 << 6;
        let mut state = 0_u32;
        // SAFETY: two instructions of SSE, which is part of x86-64, and memory of our own. What the
        // compiler makes of floats is right whether such numbers are zero or not.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut state, options(nostack));
            state |= ZEROED;
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const state, options(nostack, readonly));
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        const ZEROED: u64 = 1 << 24;
        let mut state: u64;
        // SAFETY: a register that programs may read and write; else as above.
        unsafe {
            std::arch::asm!("mrs {}, fpcr", out(reg) state, options(nomem, nostack));
            state |= ZEROED;
            std::arch::asm!("msr fpcr, {}", in(reg) state, options(nomem, nostack));
        }
    }
}

/// An error with its causes, without those that its own words hold.
fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |told, cause| {
        let cause = cause.to_string();
        if told.contains(&cause) { told } else { format!("{told}: {cause}") }
    })
}

/// Refuses an output that is read, or that another takes the place of.
fn all_apart(read: &Path, written: &[&Path]) -> anyhow::Result<()> {
    let misused = |told: &str| misused(<Cli as clap::CommandFactory>::command(), told);
    for (at, path) in written.iter().enumerate() {
        if is_same(path, read) {
            misused(&format!("{} is what is read; write to another file", path.display()));
        }
        if written[..at].iter().any(|other| is_same(path, other)) {
            misused(&format!("{} is written to twice; name another file", path.display()));
        }
        check_place(path)?;
    }
    Ok(())
}

/// Ends the program as one that was called wrongly.
fn misused(mut command: clap::Command, told: &str) -> ! {
    command.error(clap::error::ErrorKind::ValueValidation, told).exit()
}

/// Whether a file of weights is at fault, and not that one could not be written.
fn is_unusable(error: &FileError) -> bool {
    match error {
        FileError::InFile { source, .. } => is_unusable(source),
        FileError::Write { .. } | FileError::HeaderTooLong(_) => false,
        _ => true,
    }
}

fn import(arguments: &Import) -> anyhow::Result<()> {
    all_apart(&arguments.checkpoint, &[&arguments.output])?;
    let weights = desk::import(&arguments.checkpoint)?;
    weights.write(&arguments.output)?;
    let network = weights.network();
    let (base, parameters) = (network.base(), network.parameter_count());
    say(format_args!("{base} base channels, {parameters} parameters"));
    Ok(())
}

/// A side of pictures that networks take.
fn side(text: &str) -> Result<usize, String> {
    let side = text.parse().map_err(|_| "a number of pixels is wanted")?;
    Network::check_size(side, side).map_err(|error| error.to_string())?;
    Ok(side)
}

fn export(arguments: &Export) -> anyhow::Result<()> {
    all_apart(&arguments.weights, &[&arguments.output])?;
    let weights = Weights::read_for_devices(&arguments.weights)?;
    match arguments.format {
        Format::Lbam => {
            let precision = match arguments.precision {
                PrecisionName::F32 => Precision::F32,
                PrecisionName::F16 => Precision::F16,
            };
            write_model(&weights, precision, &arguments.output)?;
        }
        Format::Onnx => desk::write_onnx(&weights, &arguments.output)?,
    }
    let bytes = std::fs::metadata(&arguments.output)?.len();
    say(format_args!("{}: {bytes} bytes", arguments.output.display()));
    Ok(())
}

fn calibrate(a: &Calibrate) -> anyhow::Result<()> {
    let outputs = [Some(&a.output), a.receipt.as_ref(), a.report.as_ref()];
    let outputs: Vec<&Path> = outputs.into_iter().flatten().map(PathBuf::as_path).collect();
    all_apart(&a.weights, &outputs)?;
    let is_picture = |path: &&&Path| {
        let place = path.canonicalize().ok().zip(a.images.canonicalize().ok());
        is_picture_name(path) && place.is_some_and(|(path, images)| path.starts_with(images))
    };
    if let Some(path) = outputs.iter().find(is_picture) {
        let told = format!("{} is one of the pictures; name another file", path.display());
        misused(<Cli as clap::CommandFactory>::command(), &told);
    }
    let weights = Weights::read_for_devices(&a.weights)?;
    let bar = indicatif::ProgressBar::new(0);
    let calibrated = desk::calibrate(&weights, &a.images, a.steps, &mut |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    calibrated.write(&a.output)?;
    if let Some(path) = &a.receipt {
        let text = serde_json::to_string_pretty(&calibrated.receipt)? + "\n";
        lbam::file::write_atomically(path, text.as_bytes())?;
    }
    if let Some(path) = &a.report {
        lbam::file::write_atomically(path, calibrated.to_html()?.as_bytes())?;
    }
    let cost = &calibrated.receipt["held_back"];
    let figure = |name: &str| cost[name].as_f64().unwrap_or(f64::NAN);
    say(format_args!(
        "{}: {} bytes; on {} pictures held back it differs from the float network by {:.2} dB \
         and loses {:.3} dB PSNR and {:.4} SSIM",
        a.output.display(),
        std::fs::metadata(&a.output)?.len(),
        cost["count"],
        figure("psnr_to_float"),
        figure("psnr_lost"),
        figure("ssim_lost"),
    ));
    Ok(())
}

fn eval(a: &Eval) -> anyhow::Result<()> {
    let names = filler_names(&a.model, &a.baseline)?;
    // Of each model's fills, what the device makes of them.
    let details: Vec<(&str, Search, usize)> = [
        (a.detail, ("detail", Search::Thorough, 1)),
        (a.live, ("live", Search::Live, LIVE_FRAMES)),
    ]
    .into_iter()
    .filter_map(|(wanted, detail)| wanted.then_some(detail))
    .collect();
    let (mut fillers, mut models) = (Vec::new(), Vec::new());
    for (name, path) in names.iter().zip(&a.model) {
        models.push(ModelFile::read(name, path)?);
        fillers.push((name.clone(), fillers::model(path, a.size)?));
        for (detail, search, frames) in &details {
            let filler = fillers::with_detail(fillers::model(path, a.size)?, *search, *frames);
            fillers.push((format!("{name} + {detail}"), filler));
        }
    }
    for name in &a.baseline {
        let filler = fillers::baseline(name).with_context(|| {
            format!("no baseline \"{name}\"; there are {}", BASELINES.join(", "))
        })?;
        fillers.push((name.clone(), filler));
    }
    // What cannot be written is told before an hour of work.
    if let Some(folder) = &a.report {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))?;
        check_place(&folder.join("report.html"))?;
    }
    let lpips = a.lpips.as_deref().map(Lpips::read).transpose()?;
    let samples = read_samples(&a.images, a.size)?;
    let masks = match &a.masks {
        Some(folder) => read_masks(folder, &samples)?,
        None => evaluate::Masks::Seed(a.seed),
    };
    let mut fillers: Vec<(&str, &mut evaluate::Filler)> =
        fillers.iter_mut().map(|(name, filler)| (name.as_str(), filler.as_mut())).collect();
    let bar = indicatif::ProgressBar::new(0);
    let mut report = evaluate::evaluate(
        &samples,
        &masks,
        &mut fillers,
        lpips.as_ref(),
        a.examples,
        &mut |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        },
    )?;
    bar.finish_and_clear();
    report.models = models;
    // Each of the two where the other fails.
    let written = a.report.as_deref().map_or(Ok(()), |folder| report.write(folder));
    match a.json {
        true => print(&format!("{}\n", report.to_json()))?,
        false => print(&report.to_markdown())?,
    }
    Ok(written?)
}

fn masks(a: &MasksArguments) -> anyhow::Result<()> {
    let (ratio, size) = (a.ratio.clone(), a.size);
    let ratios = desk::masks::write_set(&a.output, a.count, size, ratio, a.seed)?;
    let mean = ratios.iter().sum::<f32>() / ratios.len().max(1) as f32;
    let (count, folder) = (ratios.len(), a.output.display());
    say(format_args!("{count} masks in {folder}, mean hole {mean:.3}"));
    Ok(())
}

fn completions(a: &Completions) -> anyhow::Result<()> {
    let mut command = <Cli as clap::CommandFactory>::command();
    let mut script = Vec::new();
    clap_complete::generate(a.shell, &mut command, "lbam-desk", &mut script);
    Ok(print(&String::from_utf8_lossy(&script))?)
}
