//! Nothing hidden passes here.
//!
//! A sink is only ever given a [`Cleared`] frame (or a placeholder made of words), and this file
//! alone can make one: after the
//! network filled it, after its holes were painted flat, or when there is nothing to hide. When
//! in doubt (a fill that failed or panicked, a mask the network is not ready for) the holes are
//! painted flat; the picture gets uglier, never more revealing.
//!
//! A mask that changes now and then is prepared in a thread of its own. Meanwhile the network
//! fills by the mask before, and what is newly hidden is painted flat before the network looks:
//! its colours would else find their way into the fill.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Fill, FillError, LiveOptions, ServiceError};
use crate::camera::{MaskSource, MaskSourceError, Masks};
use crate::picture::{Frame, Mask, paint_flat};
use crate::process::Seldom;

/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long to leave a network alone that would not take the mask.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A frame without a hidden pixel in it, by the masks that were in force then.
pub(super) struct Cleared {
    frame: Frame,
    pub how: How,
    /// The share of it that the mask in force hides, from 0 to 1.
    pub hidden: f64,
    /// How often masks had come to hide more, then and now.
    judged: u64,
    judgements: Arc<AtomicU64>,
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

    /// Whether masks hide more by now, perhaps something in this frame: it may be recorded as a frame
    /// of its time, and no longer be shown.
    pub fn is_out_of_date(&self) -> bool {
        self.judged != self.judgements.load(Ordering::SeqCst)
    }
}

pub(super) struct Guard {
    fill: Box<dyn Fill>,
    masks: Masks,
    fail_closed: bool,
    mask: Option<Mask>,
    /// The share of a frame that it hides.
    hidden: f64,
    state: Readiness,
    change: Option<Change>,
    /// Tells of frames whose holes are painted flat.
    trouble: Seldom,
    /// Width, height and number of the frame that came last.
    last: Option<(usize, usize, u64)>,
    /// What came out last may show what is to be hidden since.
    is_bare: bool,
    /// What masks hide that are not made anew for every frame.
    steady: Option<Mask>,
    /// How often masks came to hide more.
    judgements: Arc<AtomicU64>,
}

/// A mask on its way to the network.
struct Change {
    /// What the network in service fills meanwhile.
    before: Mask,
    /// What the one being prepared will fill.
    coming: Mask,
    worker: JoinHandle<Result<Box<dyn Fill>, FillError>>,
}

enum Readiness {
    /// The network has the mask in force.
    Ready,
    /// It has not, and is to be asked (again) from then on.
    NotBefore(Instant),
}

impl Guard {
    pub fn new(fill: Box<dyn Fill>, masks: Masks, fail_closed: bool) -> Self {
        let state = Readiness::NotBefore(Instant::now());
        let trouble = Seldom::every(TELL_EVERY);
        Self {
            fill,
            masks,
            fail_closed,
            mask: None,
            hidden: 0.0,
            state,
            change: None,
            trouble,
            last: None,
            is_bare: false,
            steady: None,
            judgements: Arc::default(),
        }
    }

    /// Goes over to other masks and another network, which the next frame waits for. After an error,
    /// such as a mask of another size than the frames, all is as before.
    pub fn change_over(
        &mut self,
        fill: Box<dyn Fill>,
        options: &LiveOptions,
    ) -> Result<(), MaskSourceError> {
        let last = self.last;
        let next = last.map(|(width, height, number)| (width, height, number + 1));
        options.change_masks(&mut self.masks, next)?;
        let changed = Self::new(fill, std::mem::take(&mut self.masks), options.fail_closed);
        // Masks that stay do not uncover.
        let (steady, judgements) = (self.steady.take(), Arc::clone(&self.judgements));
        *self = Self { last, is_bare: self.is_bare, steady, judgements, ..changed };
        if options.fail_closed && self.masks.is_empty() {
            self.expose();
        }
        Ok(())
    }

    /// Whether what came out last shows what is to be hidden since; once for each time that this becomes
    /// so. To be asked while no frame comes: pictures stay where they are looked at.
    pub fn shows_hidden(&mut self) -> Result<bool, MaskSourceError> {
        if let Some((width, height, number)) = self.last
            && let Some(mask) = self.masks.next(width, height, number)?
        {
            self.change_to(mask);
        }
        let hides = match &self.mask {
            _ if self.masks.is_empty() => self.fail_closed,
            mask => mask.as_ref().is_some_and(|mask| !mask.is_empty()),
        };
        let shows = self.is_bare && hides;
        self.is_bare &= !shows;
        Ok(shows)
    }

    /// What came out may show what is to be hidden from now on.
    fn expose(&mut self) {
        self.is_bare = true;
        self.judgements.fetch_add(1, Ordering::SeqCst);
    }

    /// Tells what the camera calls itself that frames come from.
    pub fn come_from(&mut self, camera: &str) {
        self.masks.come_from(camera);
    }

    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// Width and height of the frame that came last.
    pub fn size(&self) -> Option<(usize, usize)> {
        self.last.map(|(width, height, _)| (width, height))
    }

    /// Clears a frame, or keeps it back (`None`). An error means that what is to be hidden is
    /// not known: the frame is gone, and no other may be shown either.
    pub fn clear(&mut self, mut frame: Frame) -> Result<Option<Cleared>, ServiceError> {
        let (width, height) = (frame.width(), frame.height());
        self.last = Some((width, height, frame.sequence));
        if let Some(mask) = self.masks.next(width, height, frame.sequence)? {
            self.change_to(mask);
        }
        self.finish_change();
        self.is_bare = false;
        if self.masks.is_empty() {
            let passes = !self.fail_closed;
            return Ok(passes.then(|| self.cleared(frame, How::Unchanged)));
        }
        // `Masks` that are not empty have given one; were it not so, nothing would pass.
        let Some(mask) = &self.mask else { return Ok(None) };
        mask.fits(width, height).map_err(FillError::from)?;
        if mask.is_empty() {
            return Ok(Some(self.cleared(frame, How::Unchanged)));
        }
        let filled = match &self.change {
            Some(change) => fill_meanwhile(self.fill.as_mut(), &change.before, mask, &mut frame),
            None => fill(self.fill.as_mut(), &mut self.state, mask, &mut frame),
        };
        let how = match filled {
            Ok(how) if (frame.width(), frame.height()) == (width, height) => how,
            Ok(_) => return Err(FillError::Network("it changed the frame's size".into()).into()),
            Err(error) => {
                self.trouble.warn(format_args!("{error}; the holes are painted flat"));
                paint_flat(&mut frame, mask)?;
                How::Flat
            }
        };
        Ok(Some(self.cleared(frame, how)))
    }

    /// Only for [`Guard::clear`], which is where it is decided.
    fn cleared(&self, frame: Frame, how: How) -> Cleared {
        let judgements = Arc::clone(&self.judgements);
        let hidden = if how == How::Unchanged { 0.0 } else { self.hidden };
        Cleared { frame, how, hidden, judged: judgements.load(Ordering::SeqCst), judgements }
    }

    /// Takes a mask in force from now on.
    fn change_to(&mut self, mask: Mask) {
        // A mask that is made for a frame is no judgement of those before, unless none comes any more.
        let steady = self.masks.steady();
        let was_full = self.mask.as_ref().is_some_and(Mask::is_full);
        if exceeds(steady.as_ref(), self.steady.as_ref()) || mask.is_full() && !was_full {
            self.expose();
        }
        self.steady = steady;
        // Sources that give one a frame often give the same.
        if self.mask.as_ref() == Some(&mask) {
            return;
        }
        // From a detector it is the usual answer.
        if mask.is_empty() && !self.masks.change_with_every_frame() {
            log::warn!("the mask is all black: nothing will be filled (white means: fill)");
        }
        let (prompt, empty) = (self.masks.change_with_every_frame(), mask.is_empty());
        self.hidden = mask.hole_ratio();
        let before = self.mask.replace(mask);
        if self.change.is_some() && !empty {
            // Taken up when the mask that is being prepared is ready.
            return;
        }
        let ready = matches!(self.state, Readiness::Ready) && self.change.is_none();
        if let Some(before) = before.filter(|_| ready && !prompt && !empty) {
            self.prepare(before);
        } else {
            self.change = None;
            self.state = Readiness::NotBefore(Instant::now());
        }
    }

    /// Begins to prepare the mask in force while `before` is filled; where that cannot be, the
    /// next frame waits for it.
    fn prepare(&mut self, before: Mask) {
        self.state = Readiness::NotBefore(Instant::now());
        let Some(coming) = self.mask.clone() else { return };
        if before.fits(coming.width(), coming.height()).is_err() {
            return;
        }
        let Some(mut next) = self.fill.another() else { return };
        let mask = coming.clone();
        let worker = std::thread::Builder::new()
            .name("mask".into())
            .spawn(move || caught(|| next.set_mask(&mask)).map(|()| next));
        self.change = worker.ok().map(|worker| Change { before, coming, worker });
    }

    /// Puts the prepared network into service as soon as it is ready.
    fn finish_change(&mut self) {
        let Some(change) = self.change.take_if(|change| change.worker.is_finished()) else {
            return;
        };
        let prepared = change.worker.join().unwrap_or(Err(FillError::NotReady));
        match prepared {
            Ok(fill) => {
                let before = std::mem::replace(&mut self.fill, fill);
                let followed = caught(|| {
                    self.fill.follow(before);
                    Ok(())
                });
                self.state = match followed {
                    Ok(()) => Readiness::Ready,
                    Err(_) => Readiness::NotBefore(Instant::now()),
                };
                if self.mask.as_ref() != Some(&change.coming) {
                    self.prepare(change.coming);
                }
            }
            Err(error) => {
                self.trouble.warn(format_args!("{error}; the holes are painted flat"));
                self.state = Readiness::NotBefore(Instant::now() + RETRY_AFTER);
            }
        }
    }
}

/// Whether a mask hides what another does not.
fn exceeds(mask: Option<&Mask>, other: Option<&Mask>) -> bool {
    let Some(mut more) = mask.cloned() else { return false };
    other.is_none_or(|other| more.subtract(other).is_err()) || !more.is_empty()
}

/// Fills by the mask `before`; what `mask` hides beyond that is painted flat first.
fn fill_meanwhile(
    fill: &mut dyn Fill,
    before: &Mask,
    mask: &Mask,
    frame: &mut Frame,
) -> Result<How, FillError> {
    let mut added = mask.clone();
    added.subtract(before)?;
    paint_flat(frame, &added)?;
    caught(|| fill.fill(frame))?;
    Ok(if added.is_empty() { How::Filled } else { How::Flat })
}

fn fill(
    fill: &mut dyn Fill,
    state: &mut Readiness,
    mask: &Mask,
    frame: &mut Frame,
) -> Result<How, FillError> {
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
    filled.map(|()| How::Filled)
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

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
