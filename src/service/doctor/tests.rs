//! A machine laid out in a folder, with what is missing from it found.

use std::ffi::OsString;

use super::*;
use crate::picture::{RgbPicture, write_png};
use crate::service::{Cli, Command};

fn camera(_: &Path) -> Result<Probe, CameraError> {
    let formats = vec!["YUYV".into(), "MJPG".into()];
    Ok(Probe {
        card: "Eye".into(),
        driver: "uvcvideo".into(),
        formats,
        planes: false,
        readable: true,
    })
}

fn absent(path: &Path) -> Result<Probe, CameraError> {
    Err(CameraError::Absent { path: path.into() })
}

fn forbidden(path: &Path) -> Result<Probe, CameraError> {
    Err(CameraError::Forbidden { path: path.into() })
}

/// The first node is for metadata, as with many USB cameras.
fn second(path: &Path) -> Result<Probe, CameraError> {
    let readable = path.ends_with("video1");
    let formats = if readable { vec!["NV12".into()] } else { Vec::new() };
    Ok(Probe { card: "Eye".into(), driver: "uvcvideo".into(), formats, planes: false, readable })
}

struct Machine {
    folder: tempfile::TempDir,
    probe: fn(&Path) -> Result<Probe, CameraError>,
}

impl Machine {
    fn new(probe: fn(&Path) -> Result<Probe, CameraError>) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), probe }
    }

    fn with(self, path: &str, text: &str) -> Self {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn look(&self, words: &[&str]) -> Diagnosis {
        let words = [&["lbam-edge", "doctor", "--http", "127.0.0.1:0"], words].concat();
        let cli = Cli::read(words.iter().map(OsString::from)).unwrap();
        let Some(Command::Doctor(args)) = cli.command else { panic!("no doctor") };
        let system = System { root: self.folder.path().into(), probe: self.probe };
        Diagnosis::of(&args, &system)
    }

    fn check(&self, name: &str, words: &[&str]) -> Check {
        let diagnosis = self.look(words);
        diagnosis.0.into_iter().find(|check| check.name == name).expect(name)
    }
}

fn assert_found(check: &Check, state: State, finding: &str, mend: &str) {
    assert_eq!(check.state, state, "{check:?}");
    assert!(check.finding.contains(finding), "{check:?}");
    assert!(check.mend.as_deref().unwrap_or_default().contains(mend), "{check:?}");
}

#[test]
fn a_camera_is_found_or_its_absence_mended() {
    let check = Machine::new(camera).check("camera", &[]);
    assert_found(&check, State::Fine, "/dev/video0: Eye (uvcvideo), formats YUYV, MJPG", "");
    let check = Machine::new(absent).check("camera", &[]);
    assert_found(&check, State::Problem, "/dev/video0: there is no camera", "plug a camera in");
    let machine = Machine::new(second).with("dev/video0", "").with("dev/video1", "");
    let check = machine.check("camera", &[]);
    assert_found(&check, State::Problem, "metadata", "--camera /dev/video1 (Eye)");
    assert_eq!(Machine::new(absent).check("camera", &["--camera=test:"]).state, State::Fine);
    let check = Machine::new(absent).check("camera", &["--camera=/nowhere.y4m"]);
    assert_found(&check, State::Problem, "/nowhere.y4m", "check the path");
}

#[test]
fn pictures_in_several_planes_are_told_from_none() {
    let planes = |_: &Path| {
        let (card, driver) = ("HDMI".into(), "rk_hdmirx".into());
        Ok(Probe { card, driver, formats: Vec::new(), planes: true, readable: false })
    };
    let check = Machine::new(planes).check("camera", &[]);
    assert_found(&check, State::Problem, "several planes", "gst-launch-1.0");
}

/// A Raspberry Pi: what is no camera, and a camera.
fn board(path: &Path) -> Result<Probe, CameraError> {
    let driver = match path.file_name().and_then(|name| name.to_str()) {
        Some("video0") => "unicam",
        Some("video14") => "bcm2835-isp",
        Some("video9") => "v4l2 loopback",
        _ => "uvcvideo",
    };
    let formats = vec!["YUYV".into()];
    Ok(Probe { card: driver.into(), driver: driver.into(), formats, planes: false, readable: true })
}

#[test]
fn a_board_s_own_nodes_are_no_cameras() {
    let machine = Machine::new(board).with("dev/video0", "").with("dev/video14", "");
    let check = machine.check("camera", &[]);
    assert_found(&check, State::Problem, "libcamera", "plug a camera in");
    let machine = machine.with("dev/video1", "");
    let check = machine.check("camera", &["--camera=/dev/video14"]);
    assert_found(
        &check,
        State::Problem,
        "bcm2835-isp",
        "choose another: --camera /dev/video1 (uvcvideo)",
    );
    assert!(!check.mend.unwrap().contains("video0"));
}

#[test]
fn an_output_that_somebody_writes_to_is_no_problem() {
    let machine = Machine::new(board);
    let check = machine.check("output", &["--output=/dev/video9"]);
    assert_found(&check, State::Warning, "a program writes to it", "running service");
    let check = machine.check("output", &["--output=/dev/video99"]);
    assert_eq!(check.state, State::Problem, "{check:?}");
}

#[test]
fn the_service_is_looked_at_from_outside() {
    let meant = |config: &str, is_service| job::is_for_service(Some(Path::new(config)), is_service);
    assert!(meant("/etc/lbam-edge.toml", false));
    assert!(!meant("/etc/lbam-edge.toml", true), "it has its own eyes");
    assert!(!meant("lbam.toml", false) && !job::is_for_service(None, false));
}

#[test]
fn the_service_listens_on_no_port_of_root_s() {
    let machine =
        Machine::new(camera).with("proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n");
    let cli = Cli::read(
        ["lbam-edge", "doctor", "--http", "127.0.0.1:80"].map(OsString::from).into_iter(),
    );
    let Some(Command::Doctor(args)) = cli.unwrap().command else { panic!("no doctor") };
    let system = System { root: machine.folder.path().into(), probe: camera };
    let check = job::page(&args, true, &system);
    assert_found(&check, State::Problem, "ports below 1024", "8080");
}

#[test]
fn what_the_service_cannot_reach_is_found() {
    use std::os::unix::fs::PermissionsExt;
    assert!(job::service_reads("mask", Path::new("/etc/passwd")).is_none());
    assert!(job::service_reads("mask", Path::new("/etc")).is_none());
    let check = job::service_reads("mask", Path::new("/etc/shadow")).unwrap();
    assert_found(&check, State::Problem, "may not read it", "chmod o+rX /etc/shadow");
    let check = job::service_reads("model", Path::new("/home/pi/mine.lbam")).unwrap();
    assert_found(&check, State::Problem, "nothing of /home", "/etc");
    // A folder on the way that is closed.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("mask.png");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let check = job::service_reads("mask", &file).unwrap();
    assert_found(&check, State::Problem, "mode 700", &folder.path().display().to_string());
    // A link in an open folder to a closed one.
    let open = tempfile::tempdir_in("/dev/shm").unwrap();
    std::fs::set_permissions(open.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let link = open.path().join("mask.png");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let check = job::service_reads("mask", &link).unwrap();
    assert_found(&check, State::Problem, "mode 700", &folder.path().display().to_string());
    // Its own, in which it runs.
    for own in ["/var/lib/lbam-edge/out", "out.y4m"] {
        assert!(job::service_writes("output", Path::new(own)).is_none(), "{own}");
    }
    assert!(job::service_reads("mask", Path::new("/var/lib/lbam-edge/mask.png")).is_none());
    let check = job::service_writes("output", Path::new("/srv/out.y4m")).unwrap();
    assert_found(&check, State::Problem, "/srv/out.y4m", "/var/lib/lbam-edge");
}

#[test]
fn the_video_group_is_looked_at() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let machine = Machine::new(forbidden).with("dev/video0", "");
    let node = machine.folder.path().join("dev/video0");
    let group =
        |name: &str| format!("root:x:99999:\n{name}:x:{}:\n", node.metadata().unwrap().gid());
    let machine = machine.with("etc/group", &group("video"));
    let check = machine.check("camera", &[]);
    assert_found(&check, State::Problem, "may not open it", "usermod -aG video");

    let machine = Machine { probe: camera, ..machine };
    std::fs::set_permissions(&node, PermissionsExt::from_mode(0o660)).unwrap();
    assert_eq!(machine.check("permissions", &[]).state, State::Fine);
    std::fs::set_permissions(&node, PermissionsExt::from_mode(0o600)).unwrap();
    assert_found(&machine.check("permissions", &[]), State::Warning, "mode 600", "udev");
    std::fs::set_permissions(&node, PermissionsExt::from_mode(0o660)).unwrap();
    let machine = machine.with("etc/group", &group("kvm"));
    assert_found(&machine.check("permissions", &[]), State::Warning, "group kvm", "udev");
}

#[test]
fn the_loopback_module_is_looked_for() {
    let machine = Machine::new(camera);
    assert_found(&machine.check("loopback", &[]), State::Warning, "not loaded", "modprobe");
    let machine = machine
        .with("sys/module/v4l2loopback/version", "")
        .with("sys/devices/virtual/video4linux/video9/name", "");
    assert_found(&machine.check("loopback", &[]), State::Fine, "video9", "");
}

#[test]
fn masks_and_model_are_opened() {
    let machine = Machine::new(camera);
    assert_found(
        &machine.check("mask", &["--fail-closed"]),
        State::Warning,
        "nothing passes",
        "--mask",
    );
    assert_eq!(machine.check("mask", &["--mask=rect:1,1,2,2"]).state, State::Fine);
    assert_eq!(machine.check("mask", &["--mask=/nowhere.png"]).state, State::Problem);
    let check = machine.check("mask", &["--mask=http:", "--output=/nowhere/o.y4m"]);
    assert_found(&check, State::Problem, "painted on the page", "--output http:");
    let folder = tempfile::tempdir().unwrap();
    let [pictures, holes, plain] = ["p", "m", "plain"].map(|name| folder.path().join(name));
    for (kind, count) in [(&pictures, 2), (&holes, 1)] {
        std::fs::create_dir(kind).unwrap();
        for number in 0..count {
            let white = RgbPicture::new(2, 2, vec![255; 12]).unwrap();
            write_png(&kind.join(format!("{number}.png")), &white).unwrap();
        }
    }
    let named = |option: &str, path: &Path| format!("--{option}={}", path.display());
    let words = [named("camera", &pictures), named("mask", &holes)];
    let check = machine.check("mask", &words.each_ref().map(String::as_str));
    assert_found(&check, State::Problem, "out of step", "");
    std::fs::write(&plain, "").unwrap();
    let check = machine.check("mask", &[&format!("--mask=unix:{}", plain.display())]);
    assert_eq!(check.state, State::Problem, "a file is no socket");
    let check = machine.check("model", &["--model=/nowhere.lbam"]);
    assert_found(&check, State::Problem, "/nowhere.lbam", "");
}

#[test]
fn memory_heat_and_throttling_are_read() {
    let machine = Machine::new(camera)
        .with("proc/meminfo", "MemTotal: 949000 kB\nMemAvailable: 600000 kB\n")
        .with("sys/class/thermal/thermal_zone0/temp", "41000\n")
        .with("sys/class/thermal/thermal_zone1/temp", "62000\n")
        .with("sys/class/thermal/thermal_zone1/type", "soc\n")
        .with("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")
        .with("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "1800000\n")
        .with("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "1800000\n");
    assert_found(&machine.check("memory", &[]), State::Fine, "585 of 926 MiB", "");
    assert_found(&machine.check("heat", &[]), State::Fine, "62 °C (soc)", "");
    assert_eq!(machine.check("throttling", &[]).state, State::Fine);
    assert_eq!(machine.check("clock", &[]).state, State::Fine);

    let machine = machine
        .with("proc/meminfo", "MemAvailable: 60000 kB\n")
        .with("sys/class/thermal/thermal_zone0/temp", "84000\n")
        .with("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
        .with("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "600000\n");
    assert_found(&machine.check("memory", &[]), State::Warning, "58 MiB", "smaller");
    assert_found(&machine.check("heat", &[]), State::Warning, "84 °C", "fan");
    assert_found(&machine.check("throttling", &[]), State::Warning, "voltage", "power supply");
    assert_found(&machine.check("clock", &[]), State::Warning, "600 of 1800 MHz", "cool");
}

#[test]
fn problems_are_counted_in_words_and_in_json() {
    let diagnosis = Machine::new(absent).look(&["--model=/nowhere.lbam", "--mask=rect:1,1,2,2"]);
    assert_eq!(diagnosis.problems(), 2);
    let words = diagnosis.in_words();
    assert!(words.contains("problem  camera") && words.contains("mend: "), "{words}");
    let json = diagnosis.json();
    assert_eq!(json["problems"], 2);
    let camera = json["checks"].as_array().unwrap().iter().find(|c| c["check"] == "camera");
    assert_eq!(camera.unwrap()["state"], "problem");
}
