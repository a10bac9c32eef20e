//! What the main job would use: camera, masks, model, outputs.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::{LiveArgs, LiveOptions, open_model};
use super::{Check, System};
use crate::camera::{self, CameraError, MaskSource, MaskSourceError, SourceSpec};
use crate::output::{self, SinkSpec};
use crate::runtime::kernel_name;

/// The group through which the systemd unit reaches cameras.
const GROUP: &str = "video";
const ACCESS_OF_GROUP: u32 = 0o060;
const LOOPBACK: &str = "v4l2loopback";

/// The service's configuration, and where it keeps what is painted.
const SERVICE: (&str, &str) = ("/etc/lbam-edge.toml", "/var/lib/lbam-edge");

pub(super) fn checks(args: &LiveArgs, system: &System) -> Vec<Check> {
    let mut options = args.options();
    let is_service = std::env::var_os("STATE_DIRECTORY").is_some();
    if let Some(painted) = painted_for_service(args.config.as_deref(), is_service, system) {
        options.painted = Some(painted);
    }
    let mut checks = source(&options.camera, system);
    checks.push(loopback(system));
    checks.push(masks(&options));
    checks.push(model(args));
    for sink in &options.outputs {
        match sink {
            SinkSpec::Http => checks.push(page(args)),
            SinkSpec::Device(_) => checks.push(output(sink)),
            _ => {}
        }
    }
    checks
}

/// Who looks at the service's configuration from outside means the mask that was painted for the
/// service, and not one of their own.
pub(super) fn painted_for_service(
    config: Option<&Path>,
    is_service: bool,
    system: &System,
) -> Option<PathBuf> {
    let (file, folder) = (Path::new(SERVICE.0), system.path(SERVICE.1));
    let meant = config == Some(file) && !is_service && folder.is_dir();
    meant.then(|| folder.join("mask.png"))
}

fn source(spec: &SourceSpec, system: &System) -> Vec<Check> {
    let check = match spec {
        SourceSpec::Device(path) => return device(path, system),
        SourceSpec::Test { .. } | SourceSpec::Stdin => Check::fine("camera", spec.to_string()),
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
        Ok(probe) if probe.readable => {
            let formats = probe.formats.join(", ");
            let finding = format!("{name}: {} ({}), formats {formats}", probe.card, probe.driver);
            let mut checks = vec![Check::fine("camera", finding)];
            checks.extend(access(path, &node, system));
            checks
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
            probe.readable.then(|| format!("--camera {other} ({})", probe.card))
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
             exclusive_caps=1"
        ),
    )
}

fn masks(options: &LiveOptions) -> Check {
    if let Err(error) = options.check() {
        return Check::failed("mask", &error);
    }
    match options.open_masks() {
        Ok(masks) if masks.is_empty() => {
            let so = if options.fail_closed { "nothing passes" } else { "frames pass unchanged" };
            let paint = if options.has_canvas() { "paint one on the page, or " } else { "" };
            let mend =
                format!("{paint}give one with --mask, or as mask = ... in the configuration");
            Check::warning("mask", format!("no mask: {so}"), mend)
        }
        Ok(masks) => Check::fine("mask", masks.describe()),
        Err(MaskSourceError::Socket { path, source }) if source.kind() == ErrorKind::AddrInUse => {
            let what = "a program takes masks there, the service most likely";
            Check::fine("mask", format!("{}: {what}", path.display()))
        }
        Err(error) => Check::failed("mask", &error),
    }
}

fn model(args: &LiveArgs) -> Check {
    let model = match open_model(args.model.as_deref()) {
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

fn output(device: &SinkSpec) -> Check {
    match output::open(device, &output::Options::default()) {
        Ok(sink) => Check::fine("output", sink.describe()),
        Err(error) => Check::failed("output", &error),
    }
}

fn page(args: &LiveArgs) -> Check {
    let address = args.http;
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
        Err(error) => Check::problem(
            "page",
            format!("{address} cannot be listened on ({error})"),
            "choose an address of this machine and a port above 1023: --http 127.0.0.1:8080",
        ),
    }
}
