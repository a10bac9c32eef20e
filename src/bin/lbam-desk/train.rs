//! `lbam-desk train`: what a run is to be, from arguments and from the run that is resumed.

use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use lbam::desk::masks::{Border, Style, parse_ratio};
use lbam::desk::{self, RunConfig, Start};
use lbam::file::Weights;
use lbam::net::{MapActivation, MaskRule, Network, Preset, Variant};
use lbam::process::Stop;
use lbam::process::terminal::print;

/// Train a network on a folder of pictures
#[derive(Args)]
#[command(after_help = "Examples:
  lbam-desk train --images photos --output run --preset nano --steps 2000
  lbam-desk train --resume run --steps 4000
  lbam-desk train --images photos --output run --init first/weights.safetensors \\
      --vgg vgg16.safetensors --adversarial-weight 0.1 --adversary-from 2000 --clip-gradient 1
  lbam-desk train --images photos --output run --masks strokes --mask-ratio 0.1-0.3
  lbam-desk train --images photos --output run --preset nano --attention sigmoid
  lbam-desk train --images photos --output run --preset nano --attention-masks pconv
  lbam-desk train --images photos --output run --backend cuda --batch 64 --masks-per-step 8
  lbam-desk train --images photos --output pruned --init run/weights.safetensors \\
      --prune-kernels 0.25 --kernel-taps 10")]
pub struct Train {
    /// Folder of pictures, searched in depth
    #[arg(long, required_unless_present = "resume")]
    images: Option<PathBuf>,
    /// Folder for the run: log, samples, checkpoint, weights
    #[arg(long, required_unless_present = "resume")]
    output: Option<PathBuf>,
    /// Width of the network [default: small, or that of --init]
    #[arg(long, value_parser = one_of(&Preset::ALL, Preset::name))]
    preset: Option<Preset>,
    /// What makes attention maps; all but the paper's gaussian are ablations, which train and eval
    /// run and devices do not [default: gaussian, or that of --init]
    #[arg(long, value_parser = one_of(&MapActivation::ALL, MapActivation::name))]
    attention: Option<MapActivation>,
    /// Where attention maps come from: learned in encoder and decoder as in the paper; learned in the
    /// encoder and none in the decoder; or Partial Convolution's rule in the encoder, nothing learned.
    /// The last two are ablations [default: both, or that of --init]
    #[arg(long, value_parser = one_of(&MaskRule::ALL, MaskRule::name))]
    attention_masks: Option<MaskRule>,
    /// Hold this share of each layer's kernels at zero, those that weigh least in --init, so that
    /// int8 files and kernels leave them out [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "init", conflicts_with = "resume")]
    prune_kernels: Option<f64>,
    /// Of each kernel hold all but the N weightiest of its 16 taps at zero [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16), requires = "init", conflicts_with = "resume")]
    kernel_taps: Option<u8>,
    /// Side of the training crops in pixels, a multiple of 128 [default: 256]
    #[arg(long, value_parser = super::side)]
    size: Option<usize>,
    /// Pictures a step [default: 4]
    #[arg(long)]
    batch: Option<NonZeroUsize>,
    /// Steps in all [default: 10000]
    #[arg(long, conflicts_with = "epochs")]
    steps: Option<u64>,
    /// The same, as many crops as so many passes over the pictures would take
    #[arg(long)]
    epochs: Option<u64>,
    /// Everything random follows from it [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Top of the learning rate: it rises over 100 steps and falls to a hundredth at the last, along a
    /// cosine [default: with --init the authors' 1e-4; else that for paper, and more the narrower the
    /// network is: small 4e-4, nano 8e-4]
    #[arg(long, value_name = "RATE", value_parser = length)]
    learning_rate: Option<f64>,
    /// Decay rates of Adam's two averages [default: 0.5,0.9, as the authors']
    #[arg(long, value_name = "B1,B2", value_parser = betas)]
    adam_betas: Option<(f32, f32)>,
    /// Weight of the mean absolute error in holes [default: 6, as the authors']
    #[arg(long, value_parser = weight)]
    hole_weight: Option<f64>,
    /// Weight of the mean absolute error elsewhere [default: 1, as the authors']
    #[arg(long, value_parser = weight)]
    valid_weight: Option<f64>,
    /// Weight of one minus the composite's structural similarity [default: 0; the authors have none]
    #[arg(long, value_parser = weight)]
    ssim_weight: Option<f64>,
    /// Feature weights for perceptual and style losses: torchvision's vgg16 (.pth), or a
    /// .safetensors file with its names (models/features/fetch.sh makes one)
    #[arg(long, value_name = "FILE")]
    vgg: Option<PathBuf>,
    /// Weight of the difference of features [default: with --vgg 0.01, as the authors']
    #[arg(long, value_parser = weight)]
    perceptual_weight: Option<f64>,
    /// Weight of the difference of their Gram matrices [default: with --vgg 120, as the authors']
    #[arg(long, value_parser = weight)]
    style_weight: Option<f64>,
    /// Train against a discriminator (WGAN-GP) and give its judgement this weight [default: 0,
    /// none; the authors' is 0.1, beside --vgg]
    #[arg(long, value_name = "WEIGHT", value_parser = weight)]
    adversarial_weight: Option<f64>,
    /// The first step with the discriminator: until then the network learns by itself [default: 0]
    #[arg(long, value_name = "STEP")]
    adversary_from: Option<u64>,
    /// The discriminator's learning rate [default: 1e-5, as the paper's]
    #[arg(long, value_name = "RATE", value_parser = weight)]
    adversary_learning_rate: Option<f64>,
    /// Channels of the discriminator's first layer [default: as many as the network's: 64, the
    /// paper's, for --preset paper]
    #[arg(long, value_name = "N")]
    adversary_channels: Option<NonZeroUsize>,
    /// Shorten the gradient to this length where it is longer, the network's and the
    /// discriminator's each as a whole [default: never; the column gradient of log.csv has the
    /// network's length]
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    clip_gradient: Option<f64>,
    /// Folder of mask pictures (white: fill), searched in depth, to train with squares of
    /// [default: masks are drawn up]
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,
    /// Shares of hole to train with [default: 0.1-0.5; with --masks whatever they have]
    #[arg(long, value_name = "LOW-HIGH", value_parser = parse_ratio)]
    mask_ratio: Option<RangeInclusive<f32>>,
    /// Holes that are drawn up: brush strokes, rectangles, or now these, now those, now both
    /// [default: mixed]
    #[arg(long, value_enum, conflicts_with = "masks")]
    mask_style: Option<Style>,
    /// Whether brush strokes may run over the border [default: half]
    #[arg(long, value_enum, conflicts_with = "masks")]
    mask_border: Option<Border>,
    /// Show pictures in other colours, too, so that few teach more
    #[arg(long)]
    vary_colours: bool,
    /// Crops of a picture, one a step, before another is drawn: decoding it takes longer than a step
    /// [default: 1, or 8 of a folder of more pictures than 3 GiB hold, about 1000]
    #[arg(long, value_name = "COUNT")]
    crops: Option<NonZeroU64>,
    /// Give each picture of a batch a mask of its own (slower: the mask branches run for each)
    #[arg(long)]
    own_masks: bool,
    /// Masks a step, which its pictures share evenly [default: 1]
    #[arg(long, value_name = "MASKS", conflicts_with = "own_masks")]
    masks_per_step: Option<NonZeroUsize>,
    /// cpu (the network written out for processors), cpu-burn (the same in Burn, slower), or a GPU
    /// backend this program was built with (wgpu, vulkan, cuda) [default: cpu]
    #[arg(long)]
    backend: Option<String>,
    /// GPUs that share each step's pictures; the batch is a multiple of them [default: 1]
    #[arg(long, value_name = "COUNT")]
    gpus: Option<NonZeroUsize>,
    /// The network's convolutions in bfloat16, all else in 32 bits: faster on GPUs that have it
    #[arg(long)]
    mixed_precision: bool,
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

/// Reads one of these by its name.
fn one_of<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(|&one| name(one)))
        .map(move |text| *all.iter().find(|&&one| name(one) == text).expect("a possible value"))
}

fn weight(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "a number of 0 or more is wanted".into())
}

fn share(text: &str) -> Result<f64, String> {
    let share = weight(text).ok().filter(|&share| share < 1.0);
    share.ok_or_else(|| "a number from 0 to below 1 is wanted".into())
}

fn betas(text: &str) -> Result<(f32, f32), String> {
    let share = |text: &str| text.parse().ok().filter(|share: &f32| (0.0..1.0).contains(share));
    let pair = text.split_once(',').and_then(|(one, two)| share(one).zip(share(two)));
    pair.ok_or_else(|| "two numbers from 0 to below 1 are wanted, such as 0.9,0.99".into())
}

fn length(text: &str) -> Result<f64, String> {
    weight(text).ok().filter(|&number| number > 0.0).ok_or("a number above 0 is wanted".into())
}

/// Ends the program as one that was called wrongly.
fn misused(told: &str) -> ! {
    super::misused(Train::augment_args(clap::Command::new("lbam-desk train")), told)
}

pub fn train(a: Train) -> anyhow::Result<()> {
    let (mut config, folder, start) = match (a.resume, a.output) {
        (Some(folder), Some(output)) if folder != output => {
            misused("--resume goes on in its own folder: leave --output out")
        }
        (Some(folder), _) => {
            let config = RunConfig::read(&folder)?;
            if a.preset.is_some_and(|preset| Network::from(preset).base() != config.base_channels) {
                misused("--resume goes on with its own network: leave --preset out")
            }
            (config, folder, Start::Resume)
        }
        (None, output) => {
            let folder = output.context("--output is missing")?;
            let start = match &a.init {
                Some(path) => Start::From(Box::new(Weights::read(path)?)),
                None => Start::Fresh,
            };
            let base_channels = match &start {
                Start::From(weights) if a.preset.is_none() => weights.network().base(),
                _ => Network::from(a.preset.unwrap_or(Preset::Small)).base(),
            };
            let of_start = match &start {
                Start::From(weights) => weights.variant(),
                _ => Variant::PAPER,
            };
            let init = match &a.init {
                Some(path) => {
                    let hash = blake3::hash(&std::fs::read(path)?);
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    Some(format!("{name}, blake3:{hash}"))
                }
                None => None,
            };
            let mut config =
                RunConfig { init, base_channels, variant: of_start, ..Default::default() };
            if matches!(start, Start::Fresh) {
                config.learning_rate = RunConfig::first_rate(base_channels);
            }
            config.prune_kernels = a.prune_kernels.unwrap_or(config.prune_kernels);
            config.kernel_taps = a.kernel_taps.map_or(config.kernel_taps, usize::from);
            (config, folder, start)
        }
    };
    if let Some(images) = a.images {
        config.images = images;
    }
    config.variant = Variant::new(
        a.attention.unwrap_or(config.variant.attention()),
        a.attention_masks.unwrap_or(config.variant.masks()),
    )?;
    config.size = a.size.unwrap_or(config.size);
    config.batch = a.batch.map_or(config.batch, NonZeroUsize::get);
    config.seed = a.seed.unwrap_or(config.seed);
    config.learning_rate = a.learning_rate.unwrap_or(config.learning_rate);
    config.adam_betas = a.adam_betas.unwrap_or(config.adam_betas);
    config.hole_weight = a.hole_weight.unwrap_or(config.hole_weight);
    config.valid_weight = a.valid_weight.unwrap_or(config.valid_weight);
    config.ssim_weight = a.ssim_weight.unwrap_or(config.ssim_weight);
    if let Some(vgg) = a.vgg
        && config.vgg.replace(vgg).is_none()
    {
        config.perceptual_weight = 0.01;
        config.style_weight = 120.0;
    }
    config.perceptual_weight = a.perceptual_weight.unwrap_or(config.perceptual_weight);
    config.style_weight = a.style_weight.unwrap_or(config.style_weight);
    if config.vgg.is_none() && (config.perceptual_weight > 0.0 || config.style_weight > 0.0) {
        misused(
            "perceptual and style losses need feature weights: --vgg with torchvision's vgg16 \
             (.pth), or with the file that models/features/fetch.sh makes",
        )
    }
    config.adversarial_weight = a.adversarial_weight.unwrap_or(config.adversarial_weight);
    let of_the_adversary = a.adversary_from.is_some()
        || a.adversary_learning_rate.is_some()
        || a.adversary_channels.is_some();
    if of_the_adversary && config.adversarial_weight == 0.0 {
        misused("there is no discriminator without --adversarial-weight")
    }
    config.adversary_from = a.adversary_from.unwrap_or(config.adversary_from);
    config.adversary_learning_rate =
        a.adversary_learning_rate.unwrap_or(config.adversary_learning_rate);
    config.adversary_channels = a.adversary_channels.map(usize::from).or(config.adversary_channels);
    config.clip_gradient = a.clip_gradient.or(config.clip_gradient);
    if let Some(masks) = a.masks_per_step {
        (config.own_masks, config.masks_per_step) = (false, masks.get());
    }
    config.own_masks |= a.own_masks;
    config.vary_colours |= a.vary_colours;
    config.crops = a.crops.or(config.crops);
    config.mixed_precision |= a.mixed_precision;
    config.masks = a.masks.or(config.masks);
    if let Some(ratio) = &a.mask_ratio {
        config.mask_ratio = Some((*ratio.start(), *ratio.end()));
    }
    if config.masks.is_some() && (a.mask_style.is_some() || a.mask_border.is_some()) {
        misused(
            "--mask-style and --mask-border are for masks that are drawn up; this run has --masks",
        )
    }
    config.mask_style = a.mask_style.unwrap_or(config.mask_style);
    config.mask_border = a.mask_border.unwrap_or(config.mask_border);
    config.backend = a.backend.unwrap_or(config.backend);
    config.gpus = a.gpus.map_or(config.gpus, NonZeroUsize::get);
    config.sample_every = a.sample_every.unwrap_or(config.sample_every).max(1);
    config.checkpoint_every = a.checkpoint_every.unwrap_or(config.checkpoint_every).max(1);
    config.steps = a.steps.unwrap_or(config.steps);
    // That of a configuration may be a slip.
    Network::check_size(config.size, config.size)?;
    if let Some(epochs) = a.epochs {
        config.steps = desk::steps_in(&config, epochs)?;
    }
    let stop = Stop::on_signals()?;
    stop.on_hangup()?;
    desk::train(&config, &folder, start, &stop)?;
    Ok(print(&format!("{}\n", folder.join("weights.safetensors").display()))?)
}
