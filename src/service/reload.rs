//! Another configuration for a service that runs: mask, model, detail and `fail-closed` change between two
//! frames, without a picture lost or shown that should not be.
//!
//! A thread of its own reads; what is wrong there is told in the log, and all stays as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Fill, LiveOptions, ServiceError};

/// A reading that takes longer is not waited for when the next is asked for: what it reads may be on a
/// server that never answers.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// And since when.
    reading: Option<(JoinHandle<Result<Reloaded, ServiceError>>, Instant)>,
    patience: Duration,
}

impl Reload {
    /// By `read`, whenever [`Reload::ask`] says so.
    pub fn by(read: impl Fn() -> Result<Reloaded, ServiceError> + Send + Sync + 'static) -> Self {
        Self { asked: Arc::default(), read: Arc::new(read), reading: None, patience: PATIENCE }
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
        let is_free = match &self.reading {
            Some((thread, since)) => !thread.is_finished() && since.elapsed() >= self.patience,
            None => true,
        };
        if is_free && self.asked.swap(false, Ordering::SeqCst) {
            if self.reading.take().is_some() {
                log::warn!(
                    "the configuration or model of the reload before is still not read; given up"
                );
            }
            let read = Arc::clone(&self.read);
            let thread = std::thread::Builder::new().name("reload".into()).spawn(move || read());
            self.reading = match thread {
                Ok(thread) => Some((thread, Instant::now())),
                Err(error) => return Some(Err(error.into())),
            };
        }
        let (read, _) = self.reading.take_if(|(thread, _)| thread.is_finished())?;
        let panicked = |_| Err(ServiceError::Configuration("reading it panicked".into()));
        Some(read.join().unwrap_or_else(panicked))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_reading_that_hangs_does_not_hold_up_the_next() {
        let (hang, hung) = mpsc::channel::<()>();
        let hung = std::sync::Mutex::new(Some(hung));
        let mut reload = Reload::by(move || {
            let hung = hung.lock().unwrap().take();
            if let Some(hung) = hung {
                let _ = hung.recv();
            }
            Err(ServiceError::Configuration("read".into()))
        });
        let asked = reload.ask();
        let ask = |reload: &mut Reload| {
            asked.store(true, Ordering::SeqCst);
            reload.take().map(|read| read.err().expect("an error").to_string())
        };
        assert_eq!(ask(&mut reload), None);
        assert_eq!(ask(&mut reload), None, "waited for");
        assert!(asked.load(Ordering::SeqCst));
        reload.patience = Duration::ZERO;
        let read = std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(1));
            reload.take()
        });
        assert!(read.take(5000).flatten().next().is_some());
        drop(hang);
    }
}
