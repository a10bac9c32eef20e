//! Masks that come at their own time, from another process or another camera, while frames pass.
//!
//! The newest counts. While there is none, because none came yet, the last is old or what came was
//! no mask, nobody knows what is to be hidden, and all of the picture is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::mask_source::MaskSource;
use super::{MaskSourceError, seldom};
use crate::picture::{Mask, MaskError};
use crate::process::Seldom;

/// How long a mask holds.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(2);

/// What a [`Feeder`] gives.
pub(super) struct FedMask {
    name: String,
    newest: Arc<Mutex<Newest>>,
    pub stale_after: Duration,
    /// Number of the mask that was given last (`None`: all is hidden), for frames of which size.
    given: Option<(Option<u64>, usize, usize)>,
    /// Tells that no mask comes, and whether that was said.
    silence: Seldom,
    told_silence: bool,
}

/// Gives masks from its own thread. It has nothing more to do when [`FedMask`] is gone.
pub(super) struct Feeder(Weak<Mutex<Newest>>);

#[derive(Default)]
struct Newest {
    /// With the time at which it came.
    mask: Option<(Mask, Duration)>,
    /// Different masks so far.
    number: u64,
    /// Whether one had white: labels of 0 and 1 never have any, nor has what a camera sees in the dark.
    has_white: bool,
}

/// Time since some moment, by a clock that goes on while the machine is suspended: where something was
/// before that says nothing.
#[cfg(target_os = "linux")]
pub(super) fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn now() -> Duration {
    let time = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    time.unwrap_or_default()
}

fn lock(newest: &Mutex<Newest>) -> MutexGuard<'_, Newest> {
    newest.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feeder {
    pub fn is_wanted(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// A mask came, at this time or later. Where one before had white, one that is dark hides nothing.
    ///
    /// # Errors
    /// The mask's own; there is none then, and all is hidden.
    pub fn give(&self, mask: Result<Mask, MaskError>, at: Duration) -> Result<(), MaskError> {
        let Some(newest) = self.0.upgrade() else { return Ok(()) };
        let mut newest = lock(&newest);
        let mask = match mask {
            Err(MaskError::Dark { width, height, .. }) if newest.has_white => {
                Mask::empty(width, height)
            }
            other => other,
        };
        let mask = mask.inspect_err(|_| newest.mask = None)?;
        newest.has_white |= !mask.is_empty();
        // One that stands need not be prepared again.
        if newest.mask.as_ref().is_none_or(|(before, _)| *before != mask) {
            newest.number += 1;
        }
        newest.mask = Some((mask, at));
        Ok(())
    }

    /// What came was no mask.
    pub fn lose(&self) {
        if let Some(newest) = self.0.upgrade() {
            lock(&newest).mask = None;
        }
    }
}

impl FedMask {
    /// `name` is for the log.
    pub fn new(name: String) -> (Self, Feeder) {
        let newest = Arc::<Mutex<Newest>>::default();
        let feeder = Feeder(Arc::downgrade(&newest));
        (
            Self {
                name,
                newest,
                stale_after: STALE_AFTER,
                given: None,
                silence: seldom(),
                told_silence: false,
            },
            feeder,
        )
    }
}

impl MaskSource for FedMask {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn next(
        &mut self,
        width: usize,
        height: usize,
        _number: u64,
    ) -> Result<Option<Mask>, MaskSourceError> {
        let newest = lock(&self.newest);
        let age = |at: Duration| now().saturating_sub(at);
        let fresh = newest.mask.as_ref().filter(|(_, at)| age(*at) < self.stale_after);
        let state = (fresh.map(|_| newest.number), width, height);
        match fresh {
            // However often masks came and went before, a silence that lasts is told.
            None if !self.told_silence && self.silence.may_tell() => {
                self.told_silence =
                    self.silence.warn(format_args!("{}: no mask comes; all is hidden", self.name));
            }
            Some(_) if std::mem::take(&mut self.told_silence) => {
                log::info!("{}: masks come", self.name);
            }
            _ => {}
        }
        if self.given.replace(state) == Some(state) {
            return Ok(None);
        }
        let mask = match fresh {
            Some((mask, _)) => mask.stretched(width, height),
            None => Mask::full(width, height),
        };
        mask.map(Some).map_err(|source| MaskSourceError::mask(&self.name, source))
    }

    fn change_with_every_frame(&self) -> bool {
        true
    }
}

/// The hidden pixels of the next mask that comes, for frames of 4x2.
#[cfg(test)]
pub(super) fn next_hidden(masks: &mut dyn MaskSource) -> usize {
    for _ in 0..5000 {
        if let Some(mask) = masks.next(4, 2, 0).expect("a mask") {
            return mask.hole_pixels();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("no mask comes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_hidden_while_there_is_no_mask() {
        let (mut masks, feeder) = FedMask::new("here".into());
        masks.stale_after = Duration::MAX;
        let hidden = |masks: &mut FedMask| {
            let mask = masks.next(4, 2, 0).expect("a mask");
            mask.map(|mask| mask.hole_pixels())
        };
        assert_eq!(hidden(&mut masks), Some(8));
        assert_eq!(hidden(&mut masks), None);
        let quarter = Mask::from_grey(2, 1, &[255, 0]).expect("a mask");
        feeder.give(Ok(quarter.clone()), now()).expect("a mask");
        // Stretched to the frame.
        assert_eq!(hidden(&mut masks), Some(4));
        feeder.give(Ok(quarter.clone()), now()).expect("a mask");
        assert_eq!(hidden(&mut masks), None, "it is the same");
        masks.stale_after = Duration::ZERO;
        assert_eq!(hidden(&mut masks), Some(8), "it is old");
        masks.stale_after = Duration::MAX;
        assert_eq!(hidden(&mut masks), Some(4));
        feeder.lose();
        assert_eq!(hidden(&mut masks), Some(8));
        feeder.give(Ok(quarter.clone()), now()).expect("a mask");
        assert_eq!(hidden(&mut masks), Some(4));
        let (mut masks, feeder) = FedMask::new("there".into());
        masks.silence = Seldom::every(Duration::from_secs(3600));
        for told in [true, false] {
            assert_eq!(hidden(&mut masks), Some(8));
            assert_eq!(masks.told_silence, told);
            feeder.give(Ok(quarter.clone()), now()).expect("a mask");
            assert_eq!(hidden(&mut masks), Some(4));
            feeder.lose();
        }
        assert_eq!(hidden(&mut masks), Some(8));
        masks.silence = Seldom::every(Duration::ZERO);
        assert_eq!(hidden(&mut masks), None);
        assert!(masks.told_silence, "it lasts");
        // As it is outside of tests: for two seconds.
        let (mut masks, feeder) = FedMask::new("there".into());
        assert_eq!(masks.stale_after, Duration::from_secs(2));
        feeder.give(Ok(quarter), now()).expect("a mask");
        if let Some((_, since)) = &mut lock(&masks.newest).mask {
            *since = since.checked_sub(Duration::from_secs(2)).expect("up for so long");
        }
        assert_eq!(hidden(&mut masks), Some(8));
        assert!(feeder.is_wanted());
        drop(masks);
        assert!(!feeder.is_wanted());
    }
}
