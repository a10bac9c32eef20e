//! Another configuration for a service that runs: mask, model, detail and `fail-closed` change between two
//! frames, without a picture lost or shown that should not be.
//!
//! A thread of its own reads; what is wrong there is told in the log, and all stays as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::{Fill, LiveOptions, ServiceError};

/// What a service goes over to.
pub struct Reloaded {
    pub options: LiveOptions,
    pub fill: Box<dyn Fill>,
}

/// Reads the configuration and opens the model.
type Read = dyn Fn() -> Result<Reloaded, ServiceError> + Send + Sync;

/// Asks a running service to read its configuration again.
pub struct Reload {
    asked: Arc<AtomicBool>,
    read: Arc<Read>,
    reading: Option<JoinHandle<Result<Reloaded, ServiceError>>>,
}

impl Reload {
    /// By `read`, whenever [`Reload::ask`] says so.
    pub fn by(read: impl Fn() -> Result<Reloaded, ServiceError> + Send + Sync + 'static) -> Self {
        Self { asked: Arc::default(), read: Arc::new(read), reading: None }
    }

    /// Whenever SIGHUP comes.
    pub fn on_hangup(self) -> Result<Self, std::io::Error> {
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&self.asked))?;
        Ok(self)
    }

    /// What sets it asks.
    pub fn ask(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// What was read, when it was asked for and is there. Does not wait.
    pub(super) fn take(&mut self) -> Option<Result<Reloaded, ServiceError>> {
        if self.reading.is_none() && self.asked.swap(false, Ordering::SeqCst) {
            let read = Arc::clone(&self.read);
            let thread = std::thread::Builder::new().name("reload".into()).spawn(move || read());
            self.reading = match thread {
                Ok(thread) => Some(thread),
                Err(error) => return Some(Err(error.into())),
            };
        }
        let read = self.reading.take_if(|thread| thread.is_finished())?;
        let panicked = |_| Err(ServiceError::Configuration("reading it panicked".into()));
        Some(read.join().unwrap_or_else(panicked))
    }
}
