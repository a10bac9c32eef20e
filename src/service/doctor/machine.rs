//! What the machine brings: processor, memory, heat.

use super::super::LiveArgs;
use super::{Check, System};
use crate::file::Precision;
use crate::runtime::kernel_name;

/// The shipped f16 model took 68 MiB at 640x480 (VmHWM of a run); larger pictures take more.
const WANTED_MIB: u64 = 128;
/// Small boards begin to slow down between 80 and 85 degrees.
const HOT: f64 = 80.0;
/// The Raspberry Pi's firmware tells here why it slows down.
const THROTTLED: &str = "/sys/devices/platform/soc/soc:firmware/get_throttled";

pub(super) fn checks(args: &LiveArgs, system: &System) -> Vec<Check> {
    let mut checks = vec![processor(args)];
    checks.extend(memory(system));
    checks.extend(heat(system));
    checks.extend(firmware(system));
    checks.extend(pace(system));
    checks
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

fn processor(args: &LiveArgs) -> Check {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = match kernel_name(Precision::Int8) {
        Ok(kernel) => kernel,
        Err(error) => return Check::failed("processor", &error),
    };
    let there: Vec<_> =
        features().into_iter().filter_map(|(name, there)| there.then_some(name)).collect();
    let finding = format!(
        "{}, {cores} core(s), {}; int8 kernel {kernel}",
        std::env::consts::ARCH,
        if there.is_empty() { "no vector extensions".to_owned() } else { there.join(" ") }
    );
    if there.is_empty() {
        let mend = "filling will be slow: choose a machine with AVX2 or NEON, or a smaller model";
        return Check::warning("processor", finding, mend);
    }
    match args.threads {
        Some(threads) if threads > cores => Check::warning(
            "processor",
            format!("{finding}; {threads} threads are asked for"),
            format!("ask for as many as there are cores: --threads {cores}"),
        ),
        _ => Check::fine("processor", finding),
    }
}

fn memory(system: &System) -> Option<Check> {
    let table = system.text("/proc/meminfo")?;
    let mib = |name: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
    };
    let available = mib("MemAvailable:")?;
    let finding = match mib("MemTotal:") {
        Some(total) => format!("{available} of {total} MiB available"),
        None => format!("{available} MiB available"),
    };
    Some(match available >= WANTED_MIB {
        true => Check::fine("memory", finding),
        false => Check::warning(
            "memory",
            format!("{finding}; lbam wants about {WANTED_MIB}"),
            "end other programs, or use a smaller model or camera format",
        ),
    })
}

fn heat(system: &System) -> Option<Check> {
    let zones = system.names("/sys/class/thermal", "thermal_zone");
    let (degrees, name) = zones
        .iter()
        .filter_map(|zone| {
            let read = |what: &str| system.text(&format!("/sys/class/thermal/{zone}/{what}"));
            let thousandths: f64 = read("temp")?.parse().ok()?;
            Some((thousandths / 1e3, read("type").unwrap_or_else(|| zone.clone())))
        })
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    let finding = format!("{degrees:.0} °C ({name})");
    Some(match degrees < HOT {
        true => Check::fine("heat", finding),
        false => Check::warning(
            "heat",
            format!("{finding}: the processor slows down about here"),
            "give it a heat sink or a fan, or air",
        ),
    })
}

fn firmware(system: &System) -> Option<Check> {
    const CAUSES: [(u32, &str); 4] = [
        (1 << 0, "its voltage is too low"),
        (1 << 1, "its clock is capped"),
        (1 << 2, "it is throttled"),
        (1 << 3, "it is at its soft limit of heat"),
    ];
    /// The same bits, further up, say that it happened since the start.
    const SINCE_START: u32 = 16;
    let bits = u32::from_str_radix(system.text(THROTTLED)?.trim_start_matches("0x"), 16).ok()?;
    let told = |shift: u32| {
        let set = CAUSES.iter().filter(|(bit, _)| bits >> shift & bit != 0);
        set.map(|(_, cause)| *cause).collect::<Vec<_>>().join(", ")
    };
    let (now, before) = (told(0), told(SINCE_START));
    if now.is_empty() && before.is_empty() {
        return Some(Check::fine("throttling", "the firmware tells of none"));
    }
    let finding = match now.is_empty() {
        true => format!("not now, but since the start: {before}"),
        false => format!("now: {now}"),
    };
    let mend = "use the board's own power supply and a short cable; give it a heat sink or a fan";
    Some(Check::warning("throttling", finding, mend))
}

/// Whether somebody or something holds the processor below its highest clock.
fn pace(system: &System) -> Option<Check> {
    let read = |what: &str| -> Option<u64> {
        system.text(&format!("/sys/devices/system/cpu/cpu0/cpufreq/{what}"))?.parse().ok()
    };
    let (limit, highest) = (read("scaling_max_freq")?, read("cpuinfo_max_freq")?);
    let finding = format!("up to {} of {} MHz", limit / 1000, highest / 1000);
    Some(match limit >= highest {
        true => Check::fine("clock", finding),
        false => Check::warning(
            "clock",
            format!("{finding}: something holds it down"),
            "cool the machine; if a power-saving setting does it, choose another (cpupower \
             frequency-info tells)",
        ),
    })
}
