//! The wish to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Asks work that goes on and on to end cleanly.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Set by Ctrl-C and SIGTERM; another one, later than within a second, ends the program at once.
    /// (`timeout` sends the same signal twice, to the program and to its group.)
    pub fn on_signals() -> Result<Self, std::io::Error> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        /// What a shell reports for a program ended by Ctrl-C.
        const INTERRUPTED: i32 = 130;
        const SAME: Duration = Duration::from_secs(1);
        let stop = Self::default();
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
        let asked = stop.clone();
        let wait = move || {
            let mut first: Option<Instant> = None;
            for _ in &mut signals {
                asked.set();
                if first.get_or_insert_with(Instant::now).elapsed() > SAME {
                    signal_hook::low_level::exit(INTERRUPTED);
                }
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait)?;
        Ok(stop)
    }

    /// Also set when the terminal is closed, unless the program is to outlast that (`nohup`).
    pub fn on_hangup(&self) -> Result<(), std::io::Error> {
        use signal_hook::consts::SIGHUP;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        if ignored.is_none_or(|mask| mask >> (SIGHUP - 1) & 1 == 0) {
            signal_hook::flag::register(SIGHUP, self.0.clone())?;
        }
        Ok(())
    }

    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
