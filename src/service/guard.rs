//! Nothing hidden passes here.
//!
//! A sink is only ever given a [`Cleared`] frame, and this file alone can make one: after the
//! network filled it, after its holes were painted flat, or when there is nothing to hide. When
//! in doubt (a fill that failed or panicked, a mask the network is not ready for) the holes are
//! painted flat; the picture gets uglier, never more revealing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::{Fill, FillError, ServiceError};
use crate::camera::{MaskSource, Masks};
use crate::picture::{Frame, Mask, paint_flat};

/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long to leave a network alone that would not take the mask.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A frame without a hidden pixel in it.
pub(super) struct Cleared {
    frame: Frame,
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Filled,
    Flat,
    Unchanged,
}

impl Cleared {
    pub fn frame(&self) -> &Frame {
        &self.frame
    }
}

pub(super) struct Guard {
    fill: Box<dyn Fill>,
    masks: Masks,
    fail_closed: bool,
    mask: Option<Mask>,
    state: Readiness,
    trouble: Trouble,
}

enum Readiness {
    /// The network has the mask in force.
    Ready,
    /// It has not, and is to be asked (again) from then on.
    NotBefore(Instant),
}

/// Tells trouble in the log, but not thirty times a second.
#[derive(Default)]
struct Trouble {
    told: Option<Instant>,
    untold: u64,
}

impl Trouble {
    fn tell(&mut self, what: &str) {
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            self.untold += 1;
            return;
        }
        match std::mem::take(&mut self.untold) {
            0 => log::warn!("{what}; the holes are painted flat"),
            more => log::warn!(
                "{what}; the holes are painted flat ({more} frames more since the last report)"
            ),
        }
        self.told = Some(Instant::now());
    }
}

impl Guard {
    pub fn new(fill: Box<dyn Fill>, masks: Masks, fail_closed: bool) -> Self {
        let state = Readiness::NotBefore(Instant::now());
        Self { fill, masks, fail_closed, mask: None, state, trouble: Trouble::default() }
    }

    /// Clears a frame, or keeps it back (`None`). An error means that what is to be hidden is
    /// not known: the frame is gone, and no other may be shown either.
    pub fn clear(&mut self, mut frame: Frame) -> Result<Option<Cleared>, ServiceError> {
        if self.masks.is_empty() {
            let passes = !self.fail_closed;
            return Ok(passes.then_some(Cleared { frame, how: How::Unchanged }));
        }
        let (width, height) = (frame.width(), frame.height());
        if let Some(mask) = self.masks.next(width, height, frame.sequence)? {
            if mask.is_empty() {
                log::warn!("the mask is all black: nothing will be filled (white means: fill)");
            }
            self.mask = Some(mask);
            self.state = Readiness::NotBefore(Instant::now());
        }
        // `Masks` gives a mask with the first frame; were it not so, nothing would pass.
        let Some(mask) = &self.mask else { return Ok(None) };
        mask.fits(width, height).map_err(FillError::from)?;
        if mask.is_empty() {
            return Ok(Some(Cleared { frame, how: How::Unchanged }));
        }
        let how = match fill(self.fill.as_mut(), &mut self.state, mask, &mut frame) {
            Ok(()) if (frame.width(), frame.height()) == (width, height) => How::Filled,
            Ok(()) => return Err(FillError::Network("it changed the frame's size".into()).into()),
            Err(error) => {
                self.trouble.tell(&error.to_string());
                paint_flat(&mut frame, mask)?;
                How::Flat
            }
        };
        Ok(Some(Cleared { frame, how }))
    }
}

fn fill(
    fill: &mut dyn Fill,
    state: &mut Readiness,
    mask: &Mask,
    frame: &mut Frame,
) -> Result<(), FillError> {
    if let Readiness::NotBefore(when) = *state {
        let now = Instant::now();
        if now < when {
            return Err(FillError::NotReady);
        }
        *state = Readiness::NotBefore(now + RETRY_AFTER);
        caught(|| fill.set_mask(mask))?;
        *state = Readiness::Ready;
    }
    let filled = caught(|| fill.fill(frame));
    if let Err(FillError::Panicked(_)) = filled {
        // Who knows what it was in the middle of: let it take the mask anew.
        *state = Readiness::NotBefore(Instant::now());
    }
    filled.map(drop)
}

/// Turns a panic into an error: a fault in the network must not stop a camera that hides.
fn caught<T>(work: impl FnOnce() -> Result<T, FillError>) -> Result<T, FillError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned());
        Err(FillError::Panicked(text.unwrap_or_else(|| "no message".into())))
    })
}
