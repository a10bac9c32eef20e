//! What the loop counts, for the log, the page and `--json`.

use std::time::{Duration, Instant};

use serde::Serialize;

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
    /// Milliseconds from taking a frame to its picture being filled: lately.
    pub fill_ms: f64,
    /// The longest of these.
    pub fill_ms_max: f64,
    /// Milliseconds from capture to after the outputs: lately.
    pub latency_ms: f64,
    /// Seconds since the first frame.
    pub seconds: f64,
}

/// Keeps [`Statistics`] up to date.
#[derive(Default)]
pub(super) struct Clock {
    pub counts: Statistics,
    first: Option<Instant>,
    last: Option<Instant>,
    interval: f64,
}

impl Clock {
    /// A frame is about to be worked on.
    pub fn begin(&mut self) {
        self.first.get_or_insert_with(Instant::now);
    }

    /// A frame has been handed on.
    pub fn shown(&mut self, fill: Duration, latency: Duration) {
        let counts = &mut self.counts;
        counts.shown += 1;
        let fill = fill.as_secs_f64() * 1e3;
        blend(&mut counts.fill_ms, fill);
        counts.fill_ms_max = counts.fill_ms_max.max(fill);
        blend(&mut counts.latency_ms, latency.as_secs_f64() * 1e3);
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            blend(&mut self.interval, now.duration_since(last).as_secs_f64());
        }
        if self.interval > 0.0 {
            counts.fps = 1.0 / self.interval;
        }
    }

    pub fn now(&self) -> Statistics {
        let seconds = self.first.map_or(0.0, |first| first.elapsed().as_secs_f64());
        let mut counts = self.counts.clone();
        counts.seconds = round(seconds);
        for figure in
            [&mut counts.fps, &mut counts.fill_ms, &mut counts.fill_ms_max, &mut counts.latency_ms]
        {
            *figure = round(*figure);
        }
        counts
    }

    /// At the end the rate is that of the whole run.
    pub fn end(&self) -> Statistics {
        let mut counts = self.now();
        if let (Some(first), Some(last)) = (self.first, self.last) {
            let seconds = last.duration_since(first).as_secs_f64();
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
