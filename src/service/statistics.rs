//! What the loop counts, for the log, the page and `--json`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::guard::How;

/// Weight of the newest frame in the running figures: they settle within about a second.
const NEWEST: f64 = 0.1;

/// What happened since the start. Every captured frame is in `dropped`, `damaged`, `withheld`
/// or `shown`, or was still queued at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// Frames the source gave.
    pub captured: u64,
    /// Frames nobody had time for (`--realtime`).
    pub dropped: u64,
    /// Frames that could not be decoded.
    pub damaged: u64,
    /// Frames kept back because there was no mask (`--fail-closed`).
    pub withheld: u64,
    /// Frames handed to the outputs.
    pub shown: u64,
    /// Of those: filled by the network.
    pub filled: u64,
    /// Of those: painted flat, because there was no fill.
    pub flat: u64,
    /// Of those: without a hole, passed unchanged.
    pub unchanged: u64,
    /// Frames shown per second: lately while running, over all at the end.
    pub fps: f64,
    /// Milliseconds from taking a frame up to its picture being filled: lately.
    pub fill_ms: f64,
    /// The longest of these.
    pub fill_ms_max: f64,
    /// Milliseconds from capture to after the outputs: lately.
    pub latency_ms: f64,
    /// Seconds since the first frame.
    pub seconds: f64,
}

/// A count that several threads add to.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What became of frames that were not shown, told by whichever thread it happened in.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub captured: Count,
    pub dropped: Count,
    pub damaged: Count,
    pub withheld: Count,
    /// When the first frame was taken up.
    first: OnceLock<Instant>,
}

impl Tally {
    /// A frame is about to be worked on.
    pub fn begin(&self) {
        self.first.get_or_init(Instant::now);
    }
}

/// Keeps [`Statistics`] up to date, where frames are shown.
#[derive(Default)]
pub(super) struct Clock {
    shown: Statistics,
    last: Option<Instant>,
    interval: f64,
}

impl Clock {
    /// A frame has been handed to the outputs.
    pub fn shown(&mut self, how: How, fill: Duration, latency: Duration) {
        let shown = &mut self.shown;
        shown.shown += 1;
        match how {
            How::Filled => shown.filled += 1,
            How::Flat => shown.flat += 1,
            How::Unchanged => shown.unchanged += 1,
        }
        let fill = fill.as_secs_f64() * 1e3;
        blend(&mut shown.fill_ms, fill);
        shown.fill_ms_max = shown.fill_ms_max.max(fill);
        blend(&mut shown.latency_ms, latency.as_secs_f64() * 1e3);
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            blend(&mut self.interval, now.duration_since(last).as_secs_f64());
        }
        if self.interval > 0.0 {
            shown.fps = 1.0 / self.interval;
        }
    }

    pub fn now(&self, tally: &Tally) -> Statistics {
        let seconds = tally.first.get().map_or(0.0, |first| first.elapsed().as_secs_f64());
        let shown = &self.shown;
        // What has not come for longer than usual comes less often.
        let since = self.last.map_or(0.0, |last| last.elapsed().as_secs_f64());
        let fps = if since > self.interval { shown.fps.min(1.0 / since) } else { shown.fps };
        Statistics {
            captured: tally.captured.count(),
            dropped: tally.dropped.count(),
            damaged: tally.damaged.count(),
            withheld: tally.withheld.count(),
            fps: round(fps),
            fill_ms: round(shown.fill_ms),
            fill_ms_max: round(shown.fill_ms_max),
            latency_ms: round(shown.latency_ms),
            seconds: round(seconds),
            ..*shown
        }
    }

    /// At the end the rate is that of the whole run.
    pub fn end(&self, tally: &Tally) -> Statistics {
        let mut counts = self.now(tally);
        if let (Some(first), Some(last)) = (tally.first.get(), self.last) {
            let seconds = last.duration_since(*first).as_secs_f64();
            counts.fps = if seconds > 0.0 { round(counts.shown as f64 / seconds) } else { 0.0 };
        }
        counts
    }
}

fn blend(figure: &mut f64, newest: f64) {
    *figure = if *figure == 0.0 { newest } else { *figure + NEWEST * (newest - *figure) };
}

fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}
