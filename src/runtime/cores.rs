//! Which cores there are to compute on, and which of them are the biggest.
//!
//! Many small computers have cores of two sizes, and a layer's pieces are alike: one on a small
//! core holds up all others. So threads keep to the biggest cores that this process may use. They
//! keep to all of them together and not each to its own: another program on one core would then
//! hold up every frame, while another core idles.
//!
//! Linux tells sizes; elsewhere, and where it does not, all cores count as alike.

/// A core of at least this share of the biggest one's size counts as big: of two alike ones, one
/// may clock a little higher.
const ALIKE: (u64, u64) = (4, 5);

/// How many threads are worth having: one for each big core that this process may use.
pub fn default_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match biggest(&allowed(), 1).len() {
        0 => cores,
        big => cores.min(big),
    }
}

/// Keeps the calling thread, and those it will start, to the biggest cores, at least so many. If
/// that cannot be, it stays where it may be now.
pub fn keep_to_biggest(cores: usize) {
    let allowed = allowed();
    let wanted = biggest(&allowed, cores);
    if wanted.len() < allowed.len() {
        keep_to(&wanted);
    }
}

/// A core's number and its size, in whatever unit all are told in.
type Core = (usize, u64);

/// The numbers of the big ones, and of the next in size while there are fewer than `least`.
fn biggest(cores: &[Core], least: usize) -> Vec<usize> {
    let mut sizes: Vec<u64> = cores.iter().map(|(_, size)| *size).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let alike = sizes.first().map_or(0, |biggest| biggest * ALIKE.0 / ALIKE.1);
    let nth = sizes.get(least.saturating_sub(1)).or(sizes.last()).map_or(0, |&size| size);
    cores.iter().filter(|(_, size)| *size >= alike.min(nth)).map(|(number, _)| *number).collect()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::Path;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::Core;

    /// The cores that the calling thread may use. None, if that cannot be known.
    pub fn allowed() -> Vec<Core> {
        let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
        let numbers: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect();
        sized(Path::new("/sys/devices/system/cpu"), &numbers)
    }

    pub fn keep_to(cores: &[usize]) {
        let mut set = CpuSet::new();
        cores.iter().for_each(|&core| set.set(core));
        if let Err(error) = sched_setaffinity(None, &set) {
            log::debug!("threads may run on any core ({error})");
        }
    }

    /// By what the kernel knows of their speed (Arm boards), else by their highest clock.
    pub fn sized(folder: &Path, numbers: &[usize]) -> Vec<Core> {
        let told = |name: &str| {
            let size = |&core: &usize| {
                let text = std::fs::read_to_string(folder.join(format!("cpu{core}/{name}")));
                Some((core, text.ok()?.trim().parse().ok()?))
            };
            numbers.iter().map(size).collect::<Option<Vec<Core>>>()
        };
        told("cpu_capacity")
            .or_else(|| told("cpufreq/cpuinfo_max_freq"))
            .unwrap_or_else(|| numbers.iter().map(|&core| (core, 1)).collect())
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    pub fn allowed() -> Vec<super::Core> {
        Vec::new()
    }

    pub fn keep_to(_: &[usize]) {}
}

use linux::{allowed, keep_to};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_cores_are_told_from_small_ones() {
        // A Raspberry Pi: all alike.
        assert_eq!(biggest(&[(0, 1024), (1, 1024), (2, 1024)], 1), [0, 1, 2]);
        // Four small and two big, as on an RK3399.
        let board = [(0, 485), (1, 485), (2, 485), (3, 485), (4, 1024), (5, 1024)];
        assert_eq!(biggest(&board, 1), [4, 5]);
        assert_eq!(biggest(&board, 2), [4, 5]);
        assert_eq!(biggest(&board, 3), [0, 1, 2, 3, 4, 5], "more threads than big cores");
        // A desktop whose best cores clock higher by a little.
        assert_eq!(biggest(&[(0, 5_500), (1, 5_800), (2, 4_300)], 1), [0, 1]);
        assert!(biggest(&[], 4).is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn sizes_are_read_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let sized = || linux::sized(folder.path(), &[0, 2]);
        assert_eq!(sized(), [(0, 1), (2, 1)], "unknown: all alike");
        write("cpu0/cpufreq/cpuinfo_max_freq", "1400000\n");
        assert_eq!(sized(), [(0, 1), (2, 1)], "half known is not known");
        write("cpu2/cpufreq/cpuinfo_max_freq", "1800000\n");
        assert_eq!(sized(), [(0, 1_400_000), (2, 1_800_000)]);
        write("cpu0/cpu_capacity", "485\n");
        write("cpu2/cpu_capacity", "1024\n");
        assert_eq!(sized(), [(0, 485), (2, 1024)]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_keeps_to_what_it_is_told() {
        let first = allowed()[0].0;
        let kept = std::thread::spawn(move || {
            keep_to(&[first]);
            allowed().iter().map(|(core, _)| *core).collect::<Vec<_>>()
        });
        assert_eq!(kept.join().unwrap(), [first]);
    }
}
