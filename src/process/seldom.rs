//! Lines of the log that would come again and again.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Tells trouble in the log, and while it goes on only now and then.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    /// How many may come at once.
    at_once: u32,
    /// By when all that was told has come round, at one every so long.
    paid: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// Once in so long.
    pub fn every(every: Duration) -> Self {
        Self { every, at_once: 1, paid: None, untold: 0 }
    }

    /// So many at once after a while without any: they may be different things.
    pub fn at_once(self, at_once: u32) -> Self {
        Self { at_once, ..self }
    }

    /// Whether it is time to tell something.
    pub fn may_tell(&self) -> bool {
        let ahead = self.paid.map_or(Duration::ZERO, |paid| paid - Instant::now());
        ahead <= self.every * (self.at_once - 1)
    }

    /// Whether it is time to tell something, and if so how often it was not since.
    pub fn is_due(&mut self) -> Option<u64> {
        if !self.may_tell() {
            self.untold += 1;
            return None;
        }
        let now = Instant::now();
        self.paid = Some(self.paid.map_or(now, |paid| paid.max(now)) + self.every);
        Some(std::mem::take(&mut self.untold))
    }

    /// Warns, if it is time. Whether it did.
    pub fn warn(&mut self, what: impl Display) -> bool {
        match self.is_due() {
            Some(0) => log::warn!("{what}"),
            Some(more) => log::warn!("{what} ({more} times more since this was last told)"),
            None => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_once_and_counted() {
        let mut often = Seldom::every(Duration::ZERO);
        assert_eq!([(); 2].map(|()| often.is_due()), [Some(0); 2]);
        let mut seldom = Seldom::every(Duration::from_secs(3600));
        assert_eq!([(); 3].map(|()| seldom.is_due()), [Some(0), None, None]);
        seldom.paid = Some(Instant::now());
        assert!(seldom.may_tell());
        assert_eq!([(); 2].map(|()| seldom.is_due()), [Some(2), None]);
        assert!(!seldom.may_tell() && !seldom.warn("again"));
        let mut some = Seldom::every(Duration::from_secs(3600)).at_once(3);
        assert_eq!([(); 4].map(|()| some.is_due()), [Some(0), Some(0), Some(0), None]);
    }
}
