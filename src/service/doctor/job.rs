//! What the main job would use: camera, masks, model, outputs.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::args::painted_within;
use super::super::{LiveArgs, LiveOptions, open_model};
use super::{Check, System};
use crate::camera::{self, CameraError, MaskSource, MaskSourceError, MaskSpec, SourceSpec};
use crate::file::{check_place, is_special};
use crate::output::{self, SinkSpec};
use crate::picture::Pool;
use crate::runtime::kernel_name;

/// The group through which the systemd unit reaches cameras.
const GROUP: &str = "video";
const ACCESS_OF_GROUP: u32 = 0o060;
const LOOPBACK: &str = "v4l2loopback";

/// The service's configuration, and the folder that it may write to.
const SERVICE: (&str, &str) = ("/etc/lbam-edge.toml", "/var/lib/lbam-edge");
/// What its unit hides from it.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
/// Drivers on a Raspberry Pi whose nodes look like cameras and give no pictures without libcamera.
const NO_CAMERAS: [&str; 3] = ["unicam", "rp1-cfe", "bcm2835-isp"];

pub(super) fn checks(args: &LiveArgs, system: &System) -> Vec<Check> {
    let mut options = args.options();
    let is_service = std::env::var_os("STATE_DIRECTORY").is_some();
    let for_service = is_for_service(args.config.as_deref(), is_service);
    let mut named = args.model.clone();
    if for_service {
        options.painted = Some(painted_within(&system.path(SERVICE.1), &options.camera));
        // It runs in its own folder.
        let own = |path: &mut PathBuf| *path = Path::new(SERVICE.1).join(&path);
        named.iter_mut().for_each(own);
        for mask in &mut options.masks {
            if let MaskSpec::Path(path) | MaskSpec::Socket(path) = mask {
                own(path);
            }
        }
        if let SourceSpec::Y4m(path) | SourceSpec::Folder(path) | SourceSpec::Mjpeg(path) =
            &mut options.camera
        {
            own(path);
        }
    }
    let mut checks = source(&options.camera, system);
    checks.push(loopback(system));
    checks.push(unless_closed("mask", paths_of(&options), for_service, || masks(&options, system)));
    checks.push(unless_closed("model", named.iter(), for_service, || model(named.as_deref())));
    if for_service {
        checks.extend(service_reads("configuration", Path::new(SERVICE.0)));
        if let SourceSpec::Y4m(path) | SourceSpec::Folder(path) | SourceSpec::Mjpeg(path) =
            &options.camera
        {
            checks.extend(service_reads("camera", path));
        }
        checks.extend(named.as_deref().and_then(|model| service_reads("model", model)));
        checks.extend(options.masks.iter().filter_map(|mask| match mask {
            MaskSpec::Path(path) => service_reads("mask", path),
            MaskSpec::Socket(path) => service_writes("mask", path),
            _ => None,
        }));
    }
    for sink in &options.outputs {
        match sink {
            SinkSpec::Http => checks.push(page(args, for_service, system)),
            SinkSpec::Device(path) => checks.push(output(path, system)),
            SinkSpec::Y4m(path) | SinkSpec::Folder { path, .. } if for_service => {
                checks.extend(service_writes("output", path));
            }
            SinkSpec::Y4m(path) => checks.push(written(path, path)),
            SinkSpec::Folder { path, .. } => {
                // It is made if need be.
                let there = path.ancestors().find(|folder| folder.exists());
                checks.push(written(path, &there.unwrap_or(Path::new(".")).join("1.png")));
            }
            SinkSpec::Stdout => {}
        }
    }
    checks
}

/// Who looks at the service's configuration from outside means what the service has and can reach, and
/// not what is their own.
pub(super) fn is_for_service(config: Option<&Path>, is_service: bool) -> bool {
    config == Some(Path::new(SERVICE.0)) && !is_service
}

/// The files that masks are in.
fn paths_of(options: &LiveOptions) -> impl Iterator<Item = &PathBuf> {
    let masks = options.masks.iter().filter_map(|mask| match mask {
        MaskSpec::Path(path) => Some(path),
        _ => None,
    });
    masks.chain(&options.painted)
}

/// A check of the service's files, unless they are its own and closed to whoever asks.
fn unless_closed<'a>(
    name: &'static str,
    mut paths: impl Iterator<Item = &'a PathBuf>,
    for_service: bool,
    check: impl FnOnce() -> Check,
) -> Check {
    let closed = |path: &&PathBuf| {
        std::fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    match paths.find(closed).filter(|_| for_service) {
        Some(path) => {
            let finding = format!("{}: this user may not look there", path.display());
            Check::warning(name, finding, "run the doctor with sudo")
        }
        None => check(),
    }
}

/// A problem where the service, which is another user and sees no home folders, cannot read what the
/// user of the doctor can.
pub(super) fn service_reads(name: &'static str, path: &Path) -> Option<Check> {
    // Where links lead, and not only where they lie.
    let path = &path.canonicalize().unwrap_or_else(|_| path.into());
    if path.starts_with(SERVICE.1) {
        return None;
    }
    let shown = path.display();
    if let Some(hidden) = HIDDEN.iter().find(|hidden| path.starts_with(hidden)) {
        let finding = format!("{shown}: the service sees nothing of {hidden}");
        return Some(Check::problem(name, finding, "put it elsewhere, for instance into /etc"));
    }
    // A folder is entered, and itself listed; a file is read.
    let closed = path.ancestors().enumerate().find_map(|(depth, part)| {
        let about = std::fs::metadata(part).ok()?;
        let needed = if about.is_dir() { if depth == 0 { 0o005 } else { 0o001 } } else { 0o004 };
        (about.mode() & needed != needed).then(|| (part.display(), about.mode() & 0o777))
    });
    closed.map(|(part, mode)| {
        let finding = format!("{shown}: the service may not read it ({part} has mode {mode:03o})");
        Check::problem(name, finding, format!("sudo chmod o+rX {part}"))
    })
}

/// A problem where the service may not write.
pub(super) fn service_writes(name: &'static str, path: &Path) -> Option<Check> {
    let path = Path::new(SERVICE.1).join(path);
    (!path.starts_with(SERVICE.1)).then(|| {
        let finding = format!("{}: the service may not write there", path.display());
        Check::problem(name, finding, format!("choose a place below {}", SERVICE.1))
    })
}

fn source(spec: &SourceSpec, system: &System) -> Vec<Check> {
    let check = match spec {
        SourceSpec::Device(path) => return device(path, system),
        SourceSpec::Test { .. } | SourceSpec::Stdin => Check::fine("camera", spec.to_string()),
        // What is taken out of a pipe is gone from it.
        SourceSpec::Y4m(path) | SourceSpec::Mjpeg(path) if is_special(path) => {
            Check::fine("camera", format!("{spec}: a pipe, which is not looked into"))
        }
        _ => match camera::open(spec) {
            Ok(source) => Check::fine("camera", source.describe()),
            Err(error) => Check::failed("camera", &error),
        },
    };
    vec![check]
}

fn device(path: &Path, system: &System) -> Vec<Check> {
    let name = path.display();
    let node = system.path(&name.to_string());
    match (system.probe)(&node) {
        Ok(probe) if NO_CAMERAS.contains(&probe.driver.as_str()) => {
            let finding = format!(
                "{name}: {} gives pictures of a camera on the board's own connector to libcamera \
                 alone",
                probe.driver
            );
            let mend =
                format!("put libcamera before it (docs/devices.md), or {}", others(path, system));
            vec![Check::problem("camera", finding, mend)]
        }
        Ok(probe) if probe.readable => {
            let formats = probe.formats.join(", ");
            let finding = format!("{name}: {} ({}), formats {formats}", probe.card, probe.driver);
            let mut checks = vec![Check::fine("camera", finding)];
            checks.extend(access(path, &node, system));
            checks
        }
        Ok(probe) if probe.planes => {
            vec![Check::failed("camera", &CameraError::Planes { path: path.into() })]
        }
        Ok(probe) => {
            let offered = match probe.formats.as_slice() {
                [] => "no pictures (it may be the camera's node for metadata)".to_owned(),
                formats => format!("no format that lbam reads, only {}", formats.join(", ")),
            };
            let finding = format!("{name}: {} offers {offered}", probe.card);
            vec![Check::problem("camera", finding, others(path, system))]
        }
        Err(CameraError::Absent { .. }) => {
            let finding = format!("{name}: there is no camera");
            vec![Check::problem("camera", finding, others(path, system))]
        }
        Err(CameraError::Forbidden { .. }) => {
            let group = group_of(&node, system);
            let finding = format!("{name}: this user may not open it (its group is {group})");
            let mend = format!("sudo usermod -aG {group} $USER, then log in again");
            vec![Check::problem("camera", finding, mend)]
        }
        Err(error) => vec![Check::failed("camera", &error)],
    }
}

/// Whether the service would get in too: it runs as a user of its own in the group `video`.
fn access(path: &Path, node: &Path, system: &System) -> Option<Check> {
    let mode = std::fs::metadata(node).ok()?.mode();
    let group = group_of(node, system);
    if group == GROUP && mode & ACCESS_OF_GROUP == ACCESS_OF_GROUP {
        let finding = format!("the service reaches {} through the group {GROUP}", path.display());
        return Some(Check::fine("permissions", finding));
    }
    let finding = format!(
        "{} is open to the group {group} with mode {:03o}; the service is in the group {GROUP}",
        path.display(),
        mode & 0o777
    );
    let mend = format!(
        "write SUBSYSTEM==\"video4linux\", GROUP=\"{GROUP}\", MODE=\"0660\" into \
         /etc/udev/rules.d/70-camera.rules, then: sudo udevadm trigger -s video4linux"
    );
    Some(Check::warning("permissions", finding, mend))
}

fn group_of(node: &Path, system: &System) -> String {
    let Ok(about) = std::fs::metadata(node) else { return GROUP.into() };
    let groups = system.text("/etc/group").unwrap_or_default();
    let number = about.gid().to_string();
    let line = groups.lines().find(|line| line.split(':').nth(2) == Some(&number));
    line.and_then(|line| line.split(':').next()).map_or(number.clone(), str::to_owned)
}

/// The mend for a camera that is none: which others there are.
fn others(path: &Path, system: &System) -> String {
    let cameras: Vec<String> = system
        .names("/dev", "video")
        .into_iter()
        .map(|name| format!("/dev/{name}"))
        .filter(|other| Path::new(other) != path)
        .filter_map(|other| {
            let probe = (system.probe)(&system.path(&other)).ok()?;
            let is_camera = probe.readable && !NO_CAMERAS.contains(&probe.driver.as_str());
            is_camera.then(|| format!("--camera {other} ({})", probe.card))
        })
        .collect();
    if !cameras.is_empty() {
        return format!("choose another: {}", cameras.join(", "));
    }
    "plug a camera in and look whether the kernel sees it (dmesg -w; lsusb for USB; in a \
     container pass the device in), or try --camera test:"
        .into()
}

fn loopback(system: &System) -> Check {
    if system.path(&format!("/sys/module/{LOOPBACK}")).exists() {
        let devices = system.names("/sys/devices/virtual/video4linux", "video");
        return Check::fine("loopback", format!("{LOOPBACK} is loaded ({})", devices.join(", ")));
    }
    Check::warning(
        "loopback",
        format!("{LOOPBACK} is not loaded; only needed to hand pictures to other programs"),
        format!(
            "if you want that: sudo apt install {LOOPBACK}-dkms && sudo modprobe {LOOPBACK} \
             video_nr=9 exclusive_caps=1"
        ),
    )
}

fn masks(options: &LiveOptions, system: &System) -> Check {
    if let Err(error) = options.check() {
        return Check::failed("mask", &error);
    }
    if let Err(error) = options.check_in_step() {
        return Check::failed("mask", &error);
    }
    if let Some(missing) = options.masks.iter().find_map(|mask| mask_device(mask, system)) {
        return missing;
    }
    match options.open_masks() {
        Ok(masks) if masks.is_empty() => {
            let so = if options.fail_closed { "nothing passes" } else { "frames pass unchanged" };
            let paint = if options.has_canvas() { "paint one on the page, or " } else { "" };
            let mut mend =
                format!("{paint}give one with --mask, or as mask = ... in the configuration");
            if let Some(folder) = options.painted_for_others() {
                mend += &format!(
                    "; those painted for cameras of other names are in {}",
                    folder.display()
                );
            }
            Check::warning("mask", format!("no mask: {so}"), mend)
        }
        Ok(mut masks) => {
            let first = first_size(&options.camera);
            let first = first.map(|(width, height)| masks.next(width, height, 0));
            match first.transpose() {
                Ok(Some(Some(mask))) if mask.is_empty() => Check::warning(
                    "mask",
                    format!("{}: it hides nothing", masks.describe()),
                    "paint what is to be filled white, all else black",
                ),
                Ok(_) => Check::fine("mask", masks.describe()),
                Err(error) => Check::failed("mask", &error),
            }
        }
        Err(MaskSourceError::Socket { path, source })
            if source.kind() == ErrorKind::AddrInUse && is_socket(&path) =>
        {
            let what = "a program takes masks there, the service most likely";
            Check::fine("mask", format!("{}: {what}", path.display()))
        }
        Err(error) => Check::failed("mask", &error),
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.symlink_metadata().is_ok_and(|data| data.file_type().is_socket())
}

/// What is wrong with a device that is to give masks. The main job waits for it.
fn mask_device(mask: &MaskSpec, system: &System) -> Option<Check> {
    let MaskSpec::Device(path) = mask else { return None };
    match (system.probe)(&system.path(&path.display().to_string())) {
        Ok(_) => None,
        Err(CameraError::Absent { .. }) => {
            let finding = format!(
                "{}: there is no such device; until it comes, all is hidden",
                path.display()
            );
            let mend = "start what makes it, or name another";
            Some(Check::problem("mask", finding, mend))
        }
        Err(error) => Some(Check::failed("mask", &error)),
    }
}

/// Width and height of the first picture of what can be looked at without taking anything from it.
fn first_size(camera: &SourceSpec) -> Option<(usize, usize)> {
    match camera {
        SourceSpec::Test { width, height } => return Some((*width, *height)),
        SourceSpec::Y4m(path) | SourceSpec::Mjpeg(path) if path.is_file() => {}
        SourceSpec::Folder(_) => {}
        _ => return None,
    }
    let first = camera::open(camera).ok()?.next().ok()??;
    let frame = first.decode(&Pool::default()).ok()?;
    Some((frame.width(), frame.height()))
}

fn model(named: Option<&Path>) -> Check {
    let model = match open_model(named) {
        Ok(model) => model,
        Err(error) => return Check::failed("model", &error),
    };
    match kernel_name(model.precision()) {
        Ok(kernel) => {
            let finding = format!(
                "{}: {}, {:.1} MiB, checksum right; kernel {kernel}",
                model.path().display(),
                model.precision().name(),
                model.bytes() as f64 / f64::from(1 << 20)
            );
            Check::fine("model", finding)
        }
        Err(error) => Check::failed("model", &error),
    }
}

fn output(path: &Path, system: &System) -> Check {
    match output::open(&SinkSpec::Device(path.into()), &output::Options::default()) {
        Ok(sink) => Check::fine("output", sink.describe()),
        Err(error) => match (system.probe)(&system.path(&path.display().to_string())) {
            // It is a camera to others for as long as somebody writes to it.
            Ok(probe) if probe.driver == "v4l2 loopback" && !probe.formats.is_empty() => {
                Check::warning(
                    "output",
                    format!("{}: a program writes to it", path.display()),
                    "if that is the running service, all is well (systemctl status lbam-edge)",
                )
            }
            _ => Check::failed("output", &error),
        },
    }
}

/// What is to be written, and a file that must be possible for it.
fn written(path: &Path, file: &Path) -> Check {
    match check_place(file) {
        Err(error) if !is_special(path) => Check::failed("output", &error),
        _ => Check::fine("output", format!("{} can be written", path.display())),
    }
}

pub(super) fn page(args: &LiveArgs, for_service: bool, system: &System) -> Check {
    const MEND: &str =
        "choose an address of this machine and a port above 1023: --http 127.0.0.1:8080";
    let address = args.http;
    let first = system.text("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first = first.and_then(|port| port.parse().ok()).unwrap_or(1024_u16);
    // Also where root, who is asking, may.
    if for_service && (1..first).contains(&address.port()) {
        let finding = format!("{address}: the service may not listen on ports below {first}");
        return Check::problem("page", finding, MEND);
    }
    match TcpListener::bind(address) {
        Ok(_) if address.ip().is_loopback() => {
            Check::fine("page", format!("http://{address}/ is free, for this machine alone"))
        }
        Ok(_) => Check::fine(
            "page",
            format!(
                "http://{address}/ is free; whoever reaches it can watch, there is no password"
            ),
        ),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Check::warning(
            "page",
            format!("{address} is taken"),
            "if by the running service, all is well (systemctl status lbam-edge); else choose \
             another port with --http",
        ),
        Err(error) => {
            Check::problem("page", format!("{address} cannot be listened on ({error})"), MEND)
        }
    }
}
