//! What the user may type. The words are fixed: scripts rely on them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

use super::LiveOptions;
use crate::camera::{CameraFormat, CameraWish, MaskSpec, SourceSpec};
use crate::net::Network;
use crate::output::{HostName, SinkSpec};
use crate::picture::parse_size;

/// Fills holes in live pictures, on this machine.
#[derive(Parser, Debug)]
#[command(
    name = "lbam-edge",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  lbam-edge --camera /dev/video0 --mask rect:30%,30%,20%,20%
      live page at http://127.0.0.1:8080/
  lbam-edge --camera test: --mask rect:30%,30%,20%,20% --frames 100 --no-realtime --output out.y4m
  ffmpeg -i clip.mp4 -pix_fmt yuv420p -f yuv4mpegpipe - \\
      | lbam-edge --camera - --mask logo.png --output - | ffmpeg -i - filled.mp4
  lbam-edge --camera /dev/video0 --mask http:
      paint the mask on the page
  lbam-edge --camera /dev/video0 --output /dev/video9
      a camera for other programs (sudo modprobe v4l2loopback video_nr=9 exclusive_caps=1)
  lbam-edge --config /etc/lbam-edge.toml
      SIGHUP reads mask, model, detail and fail-closed again

A flag goes before its environment variable, that before the file of --config, that before the
default.

LBAM_LOG: what is told, off, error, warn, info (the default), debug or trace. LBAM_KERNEL: the
arithmetic's kernel, one of those that `info` names, for measurements.

Exit codes: 0 done, 1 failed, 2 wrong usage, 75 try again later (camera absent and --no-wait),
78 wrong configuration or model file."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub live: LiveArgs,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Fill one picture
    Image(ImageArgs),
    /// Measure how fast a model runs here
    Bench(BenchArgs),
    /// Say what a model file holds, check it, and name the kernels in use
    Info(InfoArgs),
    /// Look at camera, permissions, model and machine: what is wrong, and the mend
    ///
    /// Takes the options of the main job and looks at what that would use. Ends with 1 if there
    /// is a problem.
    #[command(after_help = "Examples:
  lbam-edge doctor
  sudo lbam-edge doctor --config /etc/lbam-edge.toml --json")]
    Doctor(LiveArgs),
    /// Print a shell's completion script
    Completions(CompletionsArgs),
    /// Write the manual pages
    #[command(hide = true)]
    Man(ManArgs),
}

/// The main job.
#[derive(Args, Debug)]
pub struct LiveArgs {
    /// Where frames come from: /dev/videoN, a .y4m, .mjpeg or MJPEG .avi file, a folder of
    /// pictures, - (y4m on standard input), test: (a moving pattern; test:320x240)
    #[arg(long, value_name = "SOURCE", default_value = "/dev/video0", env = "LBAM_CAMERA")]
    pub camera: SourceSpec,
    /// Pixel format to ask of a camera: YUYV, UYVY, NV12, YU12, MJPG, RGB3, GREY [default: the first
    /// of these that it has, or that has the size asked for]
    #[arg(long, value_name = "FORMAT", env = "LBAM_CAMERA_FORMAT")]
    pub camera_format: Option<CameraFormat>,
    /// Size to ask of a camera [default: 640x480]
    #[arg(long, value_name = "WxH", env = "LBAM_CAMERA_SIZE")]
    pub camera_size: Option<Size>,
    /// What to fill, repeatable: a picture (white: fill; re-read when it changes), a folder of
    /// pictures (one a frame), rect:x,y,w,h in pixels or percent, http: (painted on the page),
    /// /dev/videoN (white: fill), unix:PATH (a socket to which another program sends masks)
    /// [default: what was painted on the page for the camera of this name] [env: LBAM_MASK, several
    /// with ; between]
    #[arg(id = "mask", long = "mask", value_name = "MASK")]
    pub masks: Vec<MaskSpec>,
    /// Where pictures go, repeatable: http: (a page), /dev/videoN (a V4L2 output device, a camera
    /// to other programs), a .y4m file, - (y4m on standard output), a folder (PNG, FOLDER/%.jpg for
    /// JPEG, numbered on behind those that are there) [default: http:] [env: LBAM_OUTPUT, several
    /// with ; between]
    #[arg(id = "output", long = "output", value_name = "SINK")]
    pub outputs: Vec<SinkSpec>,
    /// The model, a .lbam file
    #[arg(long, value_name = "FILE", env = "LBAM_MODEL")]
    pub model: Option<PathBuf>,
    /// Address of the page; 0.0.0.0:8080 shows it to the whole network
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8080",
        env = "LBAM_HTTP",
        value_parser = address
    )]
    pub http: SocketAddr,
    /// A name that the page answers to, repeatable, beside addresses, localhost and this machine's own
    /// name: what a proxy is asked for [env: LBAM_HTTP_HOST, several with ; between]
    #[arg(id = "http_host", long = "http-host", value_name = "NAME")]
    pub http_hosts: Vec<HostName>,
    /// Threads of the network [default: one for each big core]
    #[arg(long, value_name = "N", value_parser = threads, env = "LBAM_THREADS")]
    pub threads: Option<usize>,
    /// A configuration file (TOML) with the same words: camera = "/dev/video0"
    #[arg(long, value_name = "FILE", env = "LBAM_CONFIG")]
    pub config: Option<PathBuf>,
    /// End after N frames
    #[arg(long, value_name = "N", env = "LBAM_FRAMES")]
    pub frames: Option<u64>,
    /// Newest frame first, drop what cannot be kept up with [default for cameras, and for files that
    /// are only shown, on the page or a V4L2 device]
    #[arg(long, overrides_with = "no_realtime", env = "LBAM_REALTIME", value_parser = switch,
        value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub realtime: Option<bool>,
    /// Every frame in order, as fast as possible [default for standard input, and for files that are
    /// written out]
    #[arg(long, overrides_with = "realtime")]
    pub no_realtime: bool,
    /// Print one JSON object with the statistics at the end
    #[arg(long)]
    pub json: bool,
    /// Wait for an absent camera (default)
    #[arg(long, overrides_with = "no_wait", env = "LBAM_WAIT", value_parser = switch,
        value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub wait: Option<bool>,
    /// Do not wait for an absent camera: end with code 75
    #[arg(long, overrides_with = "wait")]
    pub no_wait: bool,
    /// Without a mask, pass nothing
    #[arg(long, overrides_with = "no_fail_closed", env = "LBAM_FAIL_CLOSED", value_parser = switch,
        value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub fail_closed: Option<bool>,
    /// Without a mask, pass frames unchanged (default)
    #[arg(long, overrides_with = "fail_closed")]
    pub no_fail_closed: bool,
    #[command(flatten)]
    pub detail: DetailArgs,
}

/// Whether fills get detail.
#[derive(Args, Debug)]
pub struct DetailArgs {
    /// Give fills the edges and textures of what is around them [default: if the model says that its
    /// fills are smooth, as those of the models that come with the program are]
    #[arg(long, overrides_with = "no_detail", env = "LBAM_DETAIL", value_parser = switch,
        value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub detail: Option<bool>,
    /// Show the network's fills as they are
    #[arg(long, overrides_with = "detail")]
    pub no_detail: bool,
}

impl DetailArgs {
    /// What was said of it.
    pub fn wanted(&self) -> Option<bool> {
        choice(self.detail, self.no_detail)
    }
}

impl LiveArgs {
    pub fn options(&self) -> LiveOptions {
        let outputs =
            if self.outputs.is_empty() { vec![SinkSpec::Http] } else { self.outputs.clone() };
        LiveOptions {
            camera: self.camera.clone(),
            wish: CameraWish {
                format: self.camera_format,
                // The driver answers with the nearest that it has.
                size: self.camera_size.map(|size| {
                    let side = |side| u32::try_from(side).unwrap_or(u32::MAX);
                    (side(size.width), side(size.height))
                }),
            },
            masks: self.masks.clone(),
            painted: painted_mask(&self.camera),
            outputs,
            http: self.http,
            http_hosts: self.http_hosts.clone(),
            frames: self.frames,
            realtime: choice(self.realtime, self.no_realtime),
            wait: choice(self.wait, self.no_wait).unwrap_or(true),
            fail_closed: choice(self.fail_closed, self.no_fail_closed).unwrap_or(false),
            overlap: LiveOptions::default().overlap,
        }
    }
}

/// The file that keeps what is painted on the page over a camera's pictures: in a service's own folder,
/// else in the user's.
fn painted_mask(camera: &SourceSpec) -> Option<PathBuf> {
    Some(painted_within(&state_folder()?, camera))
}

/// That file in a folder of one or the other kind. Each camera has one of its own, by the name under
/// which it is given: what was painted over one would hide another place of another, and to paint
/// over one must not uncover what another hides.
pub(super) fn painted_within(state: &Path, camera: &SourceSpec) -> PathBuf {
    state.join("painted").join(mask_name(camera))
}

fn state_folder() -> Option<PathBuf> {
    let folder = |variable| {
        let folder = PathBuf::from(std::env::var_os(variable)?);
        folder.is_absolute().then_some(folder)
    };
    // systemd names several folders with colons between; the unit has one.
    folder("STATE_DIRECTORY").or_else(|| {
        let users = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
        Some(users?.join("lbam"))
    })
}

fn mask_name(camera: &SourceSpec) -> String {
    let whole = match camera {
        SourceSpec::Device(path)
        | SourceSpec::Y4m(path)
        | SourceSpec::Folder(path)
        | SourceSpec::Mjpeg(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        SourceSpec::Stdin => "standard-input".into(),
        SourceSpec::Test { .. } => "test".into(),
    };
    // The name is for people, the hash tells apart what has one name.
    let name = whole.file_stem().unwrap_or_default().to_string_lossy();
    let hash = blake3::hash(whole.as_os_str().as_encoded_bytes()).to_hex();
    format!("{}-{}.png", name.chars().take(40).collect::<String>(), &hash[..12])
}

/// Of two opposite flags the later one on the command line stays, by `overrides_with`. A no that
/// stands beside a yes thus stands beside one of the environment or the file, which it goes before.
fn choice(yes: Option<bool>, no: bool) -> Option<bool> {
    if no { Some(false) } else { yes }
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  lbam-edge image --model small.lbam --input photo.jpg --mask mask.png --output filled.png")]
pub struct ImageArgs {
    /// The model, a .lbam file
    #[arg(long, value_name = "FILE", env = "LBAM_MODEL")]
    pub model: Option<PathBuf>,
    /// The picture with the holes
    #[arg(long, value_name = "PICTURE")]
    pub input: PathBuf,
    /// What to fill, repeatable: a picture of the same size (white: fill), or rect:x,y,w,h
    #[arg(long = "mask", value_name = "PICTURE", required = true)]
    pub masks: Vec<MaskSpec>,
    /// Where the filled picture goes, .png or .jpg
    #[arg(long, value_name = "PICTURE")]
    pub output: PathBuf,
    #[command(flatten)]
    pub detail: DetailArgs,
    /// Threads of the network [default: one for each big core]
    #[arg(long, value_name = "N", value_parser = threads, env = "LBAM_THREADS")]
    pub threads: Option<usize>,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  lbam-edge bench --model small.lbam --size 256x256 --hole 0.2 --json")]
pub struct BenchArgs {
    /// The model, a .lbam file
    #[arg(long, value_name = "FILE", env = "LBAM_MODEL")]
    pub model: Option<PathBuf>,
    /// Size of the network's picture; sides are multiples of 128
    #[arg(long, value_name = "WxH", default_value = "256x256", value_parser = network_size)]
    pub size: Size,
    /// The holes, a picture of that size (white: fill)
    #[arg(long, value_name = "PICTURE", conflicts_with = "hole")]
    pub mask: Option<PathBuf>,
    /// The holes, as a share of the picture
    #[arg(long, value_name = "RATIO", default_value_t = 0.2, value_parser = ratio)]
    pub hole: f64,
    /// Threads of the network [default: one for each big core]
    #[arg(long, value_name = "N", value_parser = threads, env = "LBAM_THREADS")]
    pub threads: Option<usize>,
    /// Frames to measure
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub frames: u32,
    /// Time every layer of an int8 model beside what a core can do at most
    #[arg(long)]
    pub profile: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  lbam-edge info small.lbam")]
pub struct InfoArgs {
    /// The model, a .lbam file
    #[arg(value_name = "FILE")]
    pub model: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  lbam-edge completions bash > ~/.local/share/bash-completion/completions/lbam-edge")]
pub struct CompletionsArgs {
    pub shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  lbam-edge man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Where the pages go
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// A width and a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parse_size(text) {
            Some((width, height)) if width > 0 && height > 0 => Ok(Self { width, height }),
            _ => Err(format!("{text} is not a size such as 256x256")),
        }
    }
}

/// More threads than any machine this is for has cores.
const MOST_THREADS: usize = 256;

pub(super) fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads) if (1..=MOST_THREADS).contains(&threads) => Ok(threads),
        _ => Err(format!("give 1 to {MOST_THREADS} threads")),
    }
}

/// An address whose error helps more than the standard library's.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text} is not an address such as 127.0.0.1:8080"))
}

fn network_size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    Network::check_size(size.width, size.height).map_err(|error| error.to_string())?;
    Ok(size)
}

fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("give true or false".into()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if ratio > 0.0 && ratio <= 1.0 => Ok(ratio),
        _ => Err("give a share above 0 and up to 1, such as 0.2".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_words_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn later_wins_between_realtime_and_not() {
        let parse = |words: &[&str]| {
            Cli::try_parse_from([&["lbam-edge"], words].concat()).unwrap().live.options().realtime
        };
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&["--realtime", "--no-realtime"]), Some(false));
        assert_eq!(parse(&["--no-realtime", "--realtime"]), Some(true));
        assert_eq!(parse(&["--realtime=false"]), Some(false));
    }

    #[test]
    fn each_camera_has_a_painted_mask_of_its_own() {
        let name = |camera: &str| mask_name(&camera.parse().unwrap());
        assert!(
            name("/dev/video0").starts_with("video0-") && name("/dev/video0").ends_with(".png")
        );
        assert_eq!(name("test:"), name("test:320x240"));
        let here = std::env::current_dir().unwrap().join("clip.y4m");
        assert_eq!(name("clip.y4m"), name(here.to_str().unwrap()));
        let cameras = ["/dev/video0", "/dev/video1", "a/clip.y4m", "b/clip.y4m", "test:", "-", "/"];
        let names: std::collections::BTreeSet<_> = cameras.map(name).into();
        assert_eq!(names.len(), cameras.len(), "{names:?}");
        // Far below what a file's name may be long.
        assert!(name(&format!("/{}.y4m", "ä".repeat(120))).len() < 120);
    }

    #[test]
    fn nothing_is_no_answer() {
        for words in ["--fail-closed=", "--realtime=", "--wait="] {
            assert!(Cli::try_parse_from(["lbam-edge", words]).is_err(), "{words}");
        }
    }

    #[test]
    fn every_help_shows_an_example() {
        let mut command = Cli::command();
        assert!(command.render_help().to_string().contains("Example"));
        for sub in command.get_subcommands_mut() {
            if sub.get_name() != "help" {
                assert!(sub.render_help().to_string().contains("Example"), "{}", sub.get_name());
            }
        }
    }
}
