//! Lines of the log that would come again and again.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Tells trouble in the log, and while it goes on only now and then.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// Once in so long.
    pub fn every(every: Duration) -> Self {
        Self { every, told: None, untold: 0 }
    }

    /// Whether it is time to tell something, and if so how often it was not since.
    pub fn is_due(&mut self) -> Option<u64> {
        if self.told.is_some_and(|told| told.elapsed() < self.every) {
            self.untold += 1;
            return None;
        }
        self.told = Some(Instant::now());
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
        seldom.every = Duration::ZERO;
        assert_eq!([(); 2].map(|()| seldom.is_due()), [Some(2), Some(0)]);
        assert!(seldom.warn("again"));
    }
}
