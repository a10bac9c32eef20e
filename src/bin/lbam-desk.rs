//! `lbam-desk`: arguments in, one call, exit code out.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use lbam::desk::evaluate::{self, ModelFile, filler_names, read_masks, read_samples};
use lbam::desk::fillers::{self, BASELINES, USUAL_BASELINES};
use lbam::desk::{self, RunConfig, Start};
use lbam::file::{Precision, Weights, write_model};
use lbam::net::{Network, Preset};
use lbam::service::Stop;

/// Trains, imports, evaluates and exports LBAM inpainting networks for lbam-edge.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: lbam-desk train --images photos --output run --preset nano"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(Box<Train>),
    Import(Import),
    Export(Export),
    Calibrate(Calibrate),
    Eval(Eval),
    Masks(MasksArguments),
    Completions(Completions),
}

/// Train a network on a folder of pictures
#[derive(Args)]
#[command(after_help = "Examples:
  lbam-desk train --images photos --output run --preset nano --steps 2000
  lbam-desk train --resume run --steps 4000")]
struct Train {
    /// Folder of pictures, searched in depth
    #[arg(long, required_unless_present = "resume")]
    images: Option<PathBuf>,
    /// Folder for the run: log, samples, checkpoint, weights
    #[arg(long, required_unless_present = "resume", conflicts_with = "resume")]
    output: Option<PathBuf>,
    /// Width of the network [default: small]
    #[arg(long, value_enum)]
    preset: Option<PresetName>,
    /// Side of the training crops in pixels, a multiple of 128 [default: 256]
    #[arg(long)]
    size: Option<usize>,
    /// Pictures a step [default: 4]
    #[arg(long)]
    batch: Option<usize>,
    /// Steps in all [default: 10000]
    #[arg(long, conflicts_with = "epochs")]
    steps: Option<u64>,
    /// The same in passes over the pictures
    #[arg(long)]
    epochs: Option<u64>,
    /// Everything random follows from it [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Top of the learning rate [default: 1e-4, as the authors']
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Weight of the mean absolute error in holes [default: 6, as the authors']
    #[arg(long)]
    hole_weight: Option<f64>,
    /// Weight of the mean absolute error elsewhere [default: 1, as the authors']
    #[arg(long)]
    valid_weight: Option<f64>,
    /// Weight of one minus the composite's structural similarity [default: 0; the authors have none]
    #[arg(long)]
    ssim_weight: Option<f64>,
    /// Feature weights for perceptual and style losses: torchvision's vgg16 (.pth), or a
    /// .safetensors file with its names (models/features/fetch.sh makes one)
    #[arg(long, value_name = "FILE")]
    vgg: Option<PathBuf>,
    /// Weight of the difference of features [default: with --vgg 0.01, as the authors']
    #[arg(long)]
    perceptual_weight: Option<f64>,
    /// Weight of the difference of their Gram matrices [default: with --vgg 120, as the authors']
    #[arg(long)]
    style_weight: Option<f64>,
    /// Give each picture of a batch a mask of its own (slower: the mask branches run for each)
    #[arg(long)]
    own_masks: bool,
    /// cpu, or a GPU backend this program was built with (wgpu, vulkan, cuda)
    #[arg(long)]
    backend: Option<String>,
    /// Steps between sample strips [default: 500]
    #[arg(long)]
    sample_every: Option<u64>,
    /// Steps between checkpoints [default: 500]
    #[arg(long)]
    checkpoint_every: Option<u64>,
    /// Weights to begin with
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "resume")]
    init: Option<PathBuf>,
    /// Go on with an earlier run, in its folder
    #[arg(long, value_name = "RUN_DIR")]
    resume: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PresetName {
    Nano,
    Small,
    Base,
    Paper,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Nano => Self::Nano,
            PresetName::Small => Self::Small,
            PresetName::Base => Self::Base,
            PresetName::Paper => Self::Paper,
        }
    }
}

/// Convert a checkpoint of the authors' PyTorch code to safetensors
#[derive(Args)]
#[command(after_help = "Example: lbam-desk import official.pth --output official.safetensors")]
struct Import {
    /// A state_dict as torch.save writes it (PyTorch 1.6 or later)
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
    /// Folder of pictures, searched in depth; the central square of each is used, one in four only
    /// to measure what was lost
    #[arg(long)]
    images: PathBuf,
    /// Where the model file goes
    #[arg(long)]
    output: PathBuf,
    /// Where what was used, chosen and measured goes as JSON; the model file holds it too
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
    /// Side of the pictures compared, pixels
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// Folder of masks (white: fill), in turn
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
    #[arg(long, default_value = "0.1-0.5")]
    ratio: String,
    /// Width and height in pixels
    #[arg(long, default_value = "256x256")]
    size: String,
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
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let result = match Cli::parse().command {
        Command::Train(arguments) => train(*arguments),
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
            eprintln!("lbam-desk: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn train(a: Train) -> anyhow::Result<()> {
    let (mut config, folder, start) = match (a.resume, a.output) {
        (Some(folder), _) => (RunConfig::read(&folder)?, folder, Start::Resume),
        (None, output) => {
            let folder = output.context("--output is missing")?;
            let start = match &a.init {
                Some(path) => Start::From(Box::new(Weights::read(path)?)),
                None => Start::Fresh,
            };
            let base_channels = match &start {
                Start::From(weights) if a.preset.is_none() => weights.network().base(),
                _ => Network::from(a.preset.map_or(Preset::Small, Preset::from)).base(),
            };
            let init = match &a.init {
                Some(path) => {
                    let hash = blake3::hash(&std::fs::read(path)?);
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    Some(format!("{name}, blake3:{hash}"))
                }
                None => None,
            };
            let config = RunConfig {
                images: PathBuf::new(),
                init,
                base_channels,
                size: 256,
                batch: 4,
                steps: 10_000,
                seed: 0,
                learning_rate: 1e-4,
                hole_weight: 6.0,
                valid_weight: 1.0,
                ssim_weight: 0.0,
                vgg: None,
                perceptual_weight: 0.0,
                style_weight: 0.0,
                own_masks: a.own_masks,
                backend: "cpu".into(),
                sample_every: 500,
                checkpoint_every: 500,
            };
            (config, folder, start)
        }
    };
    if let Some(images) = a.images {
        config.images = images;
    }
    config.size = a.size.unwrap_or(config.size);
    config.batch = a.batch.unwrap_or(config.batch);
    config.seed = a.seed.unwrap_or(config.seed);
    config.learning_rate = a.learning_rate.unwrap_or(config.learning_rate);
    config.hole_weight = a.hole_weight.unwrap_or(config.hole_weight);
    config.valid_weight = a.valid_weight.unwrap_or(config.valid_weight);
    config.ssim_weight = a.ssim_weight.unwrap_or(config.ssim_weight);
    if a.vgg.is_some() {
        config.vgg = a.vgg;
        config.perceptual_weight = 0.01;
        config.style_weight = 120.0;
    }
    config.perceptual_weight = a.perceptual_weight.unwrap_or(config.perceptual_weight);
    config.style_weight = a.style_weight.unwrap_or(config.style_weight);
    if config.vgg.is_none() && (config.perceptual_weight > 0.0 || config.style_weight > 0.0) {
        bail!(
            "perceptual and style losses need feature weights: --vgg with torchvision's vgg16 \
             (.pth), or with the file that models/features/fetch.sh makes"
        );
    }
    config.backend = a.backend.unwrap_or(config.backend);
    config.sample_every = a.sample_every.unwrap_or(config.sample_every).max(1);
    config.checkpoint_every = a.checkpoint_every.unwrap_or(config.checkpoint_every).max(1);
    config.steps = a.steps.unwrap_or(config.steps);
    Network::check_size(config.size, config.size)?;
    if let Some(epochs) = a.epochs {
        config.steps = desk::steps_in(&config, epochs)?;
    }
    desk::train(&config, &folder, start, &Stop::on_signals()?)?;
    println!("{}", folder.join("weights.safetensors").display());
    Ok(())
}

fn import(arguments: &Import) -> anyhow::Result<()> {
    let weights = desk::import(&arguments.checkpoint)?;
    weights.write(&arguments.output)?;
    let network = weights.network();
    eprintln!("{} base channels, {} parameters", network.base(), network.parameter_count());
    Ok(())
}

fn export(arguments: &Export) -> anyhow::Result<()> {
    let weights = Weights::read(&arguments.weights)?;
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
    eprintln!(
        "{}: {} bytes",
        arguments.output.display(),
        std::fs::metadata(&arguments.output)?.len()
    );
    Ok(())
}

fn calibrate(a: &Calibrate) -> anyhow::Result<()> {
    let weights = Weights::read(&a.weights)?;
    let bar = indicatif::ProgressBar::new(0);
    let calibrated = desk::calibrate(&weights, &a.images, &mut |done, all| {
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
    eprintln!(
        "{}: {} bytes; on {} pictures held back it differs from the float network by {:.2} dB \
         and loses {:.3} dB PSNR and {:.4} SSIM",
        a.output.display(),
        std::fs::metadata(&a.output)?.len(),
        cost["count"],
        figure("psnr_to_float"),
        figure("psnr_lost"),
        figure("ssim_lost"),
    );
    Ok(())
}

fn eval(a: &Eval) -> anyhow::Result<()> {
    let names = filler_names(&a.model, &a.baseline)?;
    let (mut fillers, mut models) = (Vec::new(), Vec::new());
    for (name, path) in names.iter().zip(&a.model) {
        models.push(ModelFile::read(name, path)?);
        fillers.push((name.as_str(), fillers::model(path, a.size)?));
    }
    for name in &a.baseline {
        let filler = fillers::baseline(name).with_context(|| {
            format!("no baseline \"{name}\"; there are {}", BASELINES.join(", "))
        })?;
        fillers.push((name.as_str(), filler));
    }
    let samples = read_samples(&a.images, a.size)?;
    let masks = match &a.masks {
        Some(folder) => read_masks(folder)?,
        None => evaluate::Masks::Seed(a.seed),
    };
    let mut fillers: Vec<(&str, &mut evaluate::Filler)> =
        fillers.iter_mut().map(|(name, filler)| (*name, filler.as_mut())).collect();
    let bar = indicatif::ProgressBar::new(0);
    let mut report =
        evaluate::evaluate(&samples, &masks, &mut fillers, a.examples, &mut |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        })?;
    bar.finish_and_clear();
    report.models = models;
    if let Some(folder) = &a.report {
        report.write(folder)?;
    }
    match a.json {
        true => println!("{}", report.to_json()),
        false => print!("{}", report.to_markdown()),
    }
    Ok(())
}

fn masks(a: &MasksArguments) -> anyhow::Result<()> {
    let ratio = desk::masks::parse_ratio(&a.ratio)?;
    let size = desk::masks::parse_size(&a.size)?;
    let style = desk::masks::Style::Brush;
    let ratios = desk::masks::write_set(&a.output, a.count, size, ratio, style, a.seed)?;
    let mean = ratios.iter().sum::<f32>() / ratios.len().max(1) as f32;
    eprintln!("{} masks in {}, mean hole {:.3}", ratios.len(), a.output.display(), mean);
    Ok(())
}

fn completions(a: &Completions) -> anyhow::Result<()> {
    let mut command = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(a.shell, &mut command, "lbam-desk", &mut std::io::stdout());
    Ok(())
}
