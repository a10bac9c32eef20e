//! The wish to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks work that goes on and on to end cleanly.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Set by Ctrl-C and SIGTERM; a second one ends the program at once.
    pub fn on_signals() -> Result<Self, std::io::Error> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        /// What a shell reports for a program ended by Ctrl-C.
        const INTERRUPTED: i32 = 130;
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, stop.0.clone())?;
            signal_hook::flag::register(signal, stop.0.clone())?;
        }
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
