//! One function for each thing the user may ask for. They print, and end in an exit code.

use std::io::IsTerminal;
use std::time::Instant;

use super::config::unread_variables;
use super::doctor::{Diagnosis, System};
use super::filler::{Filler, open_model, open_model_ahead};
use super::{
    BenchArgs, Cli, CompletionsArgs, DetailArgs, Fill, FillError, ImageArgs, InfoArgs, LiveArgs,
    ManArgs, Reload, Reloaded, ServiceError, report, run_reloading,
};
use crate::camera::{MaskSource, MaskSpec, Masks};
use crate::file::is_same;
use crate::output::SinkSpec;
use crate::picture::{
    PictureError, PictureFile, RgbPicture, check_picture_place, read_picture,
    write_picture_with_profile,
};
use crate::process::{Stop, terminal};

/// Pixels of a picture that takes so long that a word is due.
const LARGE: usize = 8_000_000;

/// The main job.
pub fn live(args: &LiveArgs) -> Result<(), ServiceError> {
    let options = args.options();
    if args.json && options.outputs.contains(&SinkSpec::Stdout) {
        let reason = "--json and --output - both want standard output; give one of them";
        return Err(ServiceError::Usage(reason.into()));
    }
    for name in unread_variables() {
        log::warn!("{name}: there is no such setting; --help has them all");
    }
    let (stop, reload) = (Stop::on_signals()?, reload(args)?);
    if reload.is_none() {
        stop.on_hangup()?;
    }
    use_threads(args.threads);
    let statistics = run_reloading(&options, filler(args)?, &stop, reload)?;
    if args.json {
        print_json(&serde_json::json!(statistics))?;
    }
    Ok(())
}

fn filler(args: &LiveArgs) -> Result<Box<dyn Fill>, ServiceError> {
    let filler = Filler::for_frames(open_model(args.model.as_deref())?);
    Ok(Box::new(told(filler, &args.detail)))
}

fn told(filler: Filler, detail: &DetailArgs) -> Filler {
    match detail.wanted() {
        Some(detailed) => filler.detailed(detailed),
        None => filler,
    }
}

/// A service reads its file again at SIGHUP. In a terminal that signal says that the terminal was
/// closed, and ends the program.
fn reload(args: &LiveArgs) -> Result<Option<Reload>, ServiceError> {
    if args.config.is_none() || std::io::stderr().is_terminal() {
        return Ok(None);
    }
    let reload = Reload::by(|| {
        let args = Cli::read_again(std::env::args_os())?.live;
        Ok(Reloaded { options: args.options(), fill: filler(&args)? })
    });
    Ok(Some(reload.on_hangup()?))
}

/// Fills one picture.
pub fn image(args: &ImageArgs) -> Result<(), ServiceError> {
    use_threads(args.threads);
    check_picture_place(&args.output)?;
    for mask in &args.masks {
        let wrong = match mask {
            MaskSpec::Path(path) if path.is_dir() => "is a folder of masks, one for each frame",
            MaskSpec::Path(path) if is_same(path, &args.output) => {
                let reason = format!("--output {mask} is the mask; name another file");
                return Err(ServiceError::Usage(reason));
            }
            mask if mask.is_live() => "is for live pictures",
            _ => continue,
        };
        let reason = format!("--mask {mask} {wrong}; give a picture or rect:x,y,w,h");
        return Err(ServiceError::Usage(reason));
    }
    let PictureFile { picture, profile, lost } = read_picture(&args.input)?;
    if let Some(lost) = lost {
        log::warn!("{}: the filled picture is without {lost}", args.input.display());
    }
    let mut frame = picture.into_frame().map_err(PictureError::from)?;
    let (width, height) = (frame.width(), frame.height());
    let mut masks = Masks::open(&args.masks, None)?;
    let Some(mask) = masks.next(width, height, 0)? else {
        return Err(ServiceError::Usage("--mask gives no mask".into()));
    };
    mask.fits(width, height).map_err(FillError::from)?;
    if mask.is_empty() {
        return Err(ServiceError::HidesNothing(masks.describe()));
    }
    let (model, check) = open_model_ahead(args.model.as_deref())?;
    if width * height > LARGE {
        log::info!("filling {width}x{height} pixels; that may take a minute");
    }
    let mut filler = told(Filler::for_pictures(model), &args.detail);
    let filled = filler.set_mask(&mask).and_then(|()| filler.fill(&mut frame));
    check.wait()?;
    filled?;
    Ok(write_picture_with_profile(&args.output, &RgbPicture::from_frame(&frame)?, profile)?)
}

/// Measures how fast a model runs here.
pub fn bench(args: &BenchArgs) -> Result<(), ServiceError> {
    let started = Instant::now();
    let threads = use_threads(args.threads);
    let opened = open_model_ahead(args.model.as_deref())?;
    let result = report::bench(args, opened, threads, started)?;
    if args.json { print_json(&result) } else { print(&report::bench_in_words(&result)) }
}

/// Says what a model file holds.
pub fn info(args: &InfoArgs) -> Result<(), ServiceError> {
    let model = open_model(Some(&args.model))?;
    if args.json {
        print_json(&report::describe(&model)?)
    } else {
        print(&report::describe_in_words(&model)?)
    }
}

/// Says what is wrong with what the main job would use.
pub fn doctor(args: &LiveArgs) -> Result<(), ServiceError> {
    let diagnosis = Diagnosis::of(args, &System::default());
    if args.json {
        print_json(&diagnosis.json())?
    } else {
        print(&diagnosis.in_words())?
    }
    match diagnosis.problems() {
        0 => Ok(()),
        problems => Err(ServiceError::Unwell(problems)),
    }
}

fn use_threads(asked: Option<usize>) -> usize {
    let threads = asked.unwrap_or_else(crate::runtime::cores::default_threads);
    crate::runtime::set_threads(threads);
    threads
}

/// Prints a shell's completion script.
pub fn completions(args: &CompletionsArgs) -> Result<(), ServiceError> {
    let mut script = Vec::new();
    let mut command = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(args.shell, &mut command, "lbam-edge", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Writes the manual pages, one for each command.
pub fn man(args: &ManArgs) -> Result<(), ServiceError> {
    std::fs::create_dir_all(&args.folder)?;
    Ok(clap_mangen::generate_to(<Cli as clap::CommandFactory>::command(), &args.folder)?)
}

/// One object on standard output.
pub fn print_json(object: &serde_json::Value) -> Result<(), ServiceError> {
    print(&format!("{object}\n"))
}

/// Text on standard output.
fn print(text: &str) -> Result<(), ServiceError> {
    Ok(terminal::print(text)?)
}
