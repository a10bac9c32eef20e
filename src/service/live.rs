//! The main job: source, mask, fill, sinks, until the end or until asked to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::capture::{Capture, Item, News, Order, Pace};
use super::guard::{Cleared, Guard, How};
use super::notify::Manager;
use super::statistics::Clock;
use super::{Fill, ServiceError, Statistics};
use crate::camera::{CameraWish, MaskSource, MaskSpec, Masks, SourceSpec, StreamInfo};
use crate::output::{self, DEFAULT_HTTP, OutputError, Sink, SinkSpec, StreamFormat, placeholder};

/// How often the log says how it goes.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// Size of placeholders before the first frame, pixels.
const PLACEHOLDER: (usize, usize) = (640, 480);
/// How often the page is told.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// Asks a running service to end cleanly.
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

    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What the main job is told.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    pub camera: SourceSpec,
    /// What to ask of it, if it is a camera.
    pub wish: CameraWish,
    /// United. None: frames pass unchanged, or not at all if `fail_closed`.
    pub masks: Vec<MaskSpec>,
    pub outputs: Vec<SinkSpec>,
    pub http: SocketAddr,
    /// Ends after so many frames, shown or withheld.
    pub frames: Option<u64>,
    /// Newest frame or every frame; without a choice, by source and outputs.
    pub realtime: Option<bool>,
    /// Whether to wait for a camera that is away.
    pub wait: bool,
    pub fail_closed: bool,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            camera: SourceSpec::Device("/dev/video0".into()),
            wish: CameraWish::default(),
            masks: Vec::new(),
            outputs: vec![SinkSpec::Http],
            http: DEFAULT_HTTP,
            frames: None,
            realtime: None,
            wait: true,
            fail_closed: false,
        }
    }
}

impl LiveOptions {
    /// Cameras always run in real time. Anything else does when it is only looked at: a clip
    /// then plays at its own pace. A pipe is read whole, since its writer sets the pace.
    fn pace(&self) -> Pace {
        let only_looked_at = self.outputs.iter().all(|sink| *sink == SinkSpec::Http);
        let realtime = self.realtime.unwrap_or(match self.camera {
            SourceSpec::Device(_) => true,
            SourceSpec::Stdin => false,
            _ => only_looked_at,
        });
        if realtime { Pace::Newest } else { Pace::Every }
    }
}

/// Runs until the source ends, `frames` were shown or withheld, or `stop` is set. Files are completed in
/// each of these cases, and also when something fails on the way.
pub fn run(
    options: &LiveOptions,
    fill: Box<dyn Fill>,
    stop: &Stop,
) -> Result<Statistics, ServiceError> {
    if options.outputs.is_empty() {
        return Err(ServiceError::Usage("no output given; try --output http:".into()));
    }
    let masks = Masks::open(&options.masks)?;
    let mask_name = masks.describe();
    if masks.is_empty() {
        match options.fail_closed {
            true => log::warn!("no mask: nothing passes (--fail-closed); give one with --mask"),
            false => log::warn!("no mask: frames pass unchanged; give one with --mask"),
        }
    }
    let mut sinks = Vec::new();
    for spec in &options.outputs {
        let sink = output::open(spec, &output::Options { http: options.http })?;
        log::info!("output: {}", sink.describe());
        sinks.push(sink);
    }
    let pace = options.pace();
    let order =
        Order { source: options.camera.clone(), wish: options.wish, pace, wait: options.wait };
    let mut run = Run {
        guard: Guard::new(fill, masks, options.fail_closed),
        sinks,
        clock: Clock::default(),
        damaged: 0,
        capture: Capture::start(order, stop.clone())?,
        source: options.camera.to_string(),
        mask: mask_name,
        state: "starting".into(),
        size: PLACEHOLDER,
        waiting: false,
        manager: Manager::of_environment(),
        frames: options.frames,
        reported: None,
        logged: Instant::now(),
    };
    let worked = run.work(stop);
    run.manager.stopping();
    run.count_captured();
    let statistics = run.clock.end();
    // The pictures made so far are good, also when the next one could not be had.
    let mut finished = Ok(());
    for sink in run.sinks {
        finished = finished.and(sink.finish());
    }
    worked?;
    finished?;
    log::info!("{}", in_words("done", &statistics));
    Ok(statistics)
}

struct Run {
    guard: Guard,
    sinks: Vec<Box<dyn Sink>>,
    clock: Clock,
    /// Frames that turned out not to decode, beside those that the capture knew of.
    damaged: u64,
    capture: Capture,
    source: String,
    mask: String,
    state: String,
    /// Of the last frame shown, for placeholders.
    size: (usize, usize),
    /// The camera is away.
    waiting: bool,
    manager: Manager,
    frames: Option<u64>,
    reported: Option<Instant>,
    logged: Instant,
}

impl Run {
    fn work(&mut self, stop: &Stop) -> Result<(), ServiceError> {
        while !stop.is_set() && self.frames.is_none_or(|frames| self.taken() < frames) {
            match self.capture.next() {
                News::Opened(name, stream) => self.opened(name, &stream),
                News::Waiting(why) => {
                    log::warn!("{why}; waiting for it (--no-wait ends instead)");
                    self.manager.status(&format!("waiting for the camera: {why}"));
                    self.state = "waiting for the camera".into();
                    self.waiting = true;
                    self.reported = None;
                    self.stand_in(&format!("Waiting for the camera\n\n{why}"));
                }
                News::Frame(item) => match self.frame(item) {
                    // Whoever read our output has enough: the end, and no failure.
                    Err(ServiceError::Output(OutputError::Closed)) => return Ok(()),
                    other => other?,
                },
                News::Quiet => {}
                News::Ended(end) => return Ok(end?),
            }
            self.report();
            if self.waiting {
                // Saying so is then what goes out. A camera that is open and silent is another
                // matter: that starves the watchdog.
                self.manager.alive();
            }
        }
        Ok(())
    }

    /// Frames dealt with: shown, or kept back because there is no mask.
    fn taken(&self) -> u64 {
        self.clock.counts.shown + self.clock.counts.withheld
    }

    fn opened(&mut self, name: String, stream: &StreamInfo) {
        log::info!("source: {name}; mask: {}", self.mask);
        let format = StreamFormat {
            rate: stream.rate,
            aspect: stream.aspect,
            interlace: stream.interlace,
            chroma: stream.chroma.clone(),
        };
        for sink in &mut self.sinks {
            sink.start(&format);
        }
        self.source = name;
        self.state = "running".into();
        self.waiting = false;
        self.manager.status("running");
        self.reported = None;
    }

    fn frame(&mut self, item: Item) -> Result<(), ServiceError> {
        self.clock.begin();
        let begun = Instant::now();
        let frame = match item.captured.decode() {
            Ok(frame) => frame.stamped(item.number, item.at),
            Err(error) => {
                // The first says what is wrong; the count in the log says how often.
                if self.damaged == 0 {
                    log::warn!("{error}");
                }
                self.damaged += 1;
                return Ok(());
            }
        };
        let Some(cleared) = self.guard.clear(frame)? else {
            if self.clock.counts.withheld == 0 {
                self.stand_in(
                    "No mask: nothing is shown\n\nGive one with --mask, or leave --fail-closed out",
                );
            }
            self.clock.counts.withheld += 1;
            self.manager.alive();
            return Ok(());
        };
        let fill = begun.elapsed();
        self.size = (cleared.frame().width(), cleared.frame().height());
        self.show(&cleared)?;
        let counts = &mut self.clock.counts;
        match cleared.how {
            How::Filled => counts.filled += 1,
            How::Flat => counts.flat += 1,
            How::Unchanged => counts.unchanged += 1,
        }
        self.clock.shown(fill, item.at.elapsed());
        self.manager.alive();
        Ok(())
    }

    /// Says something where pictures are looked at. It is made of these words alone.
    fn stand_in(&mut self, words: &str) {
        match placeholder(self.size.0, self.size.1, words) {
            Ok(frame) => self.sinks.iter_mut().for_each(|sink| sink.stand_in(&frame)),
            Err(error) => log::warn!("{error}"),
        }
    }

    /// The only place where frames go out; [`Cleared`] is what makes that safe.
    fn show(&mut self, cleared: &Cleared) -> Result<(), OutputError> {
        self.sinks.iter_mut().try_for_each(|sink| sink.write(cleared.frame()))
    }

    fn report(&mut self) {
        if self.reported.is_some_and(|reported| reported.elapsed() < REPORT_EVERY) {
            return;
        }
        self.reported = Some(Instant::now());
        self.count_captured();
        let statistics = self.clock.now();
        let mut status = json!({"state": self.state, "source": self.source, "mask": self.mask});
        if let (Some(status), Ok(serde_json::Value::Object(figures))) =
            (status.as_object_mut(), serde_json::to_value(&statistics))
        {
            status.extend(figures);
        }
        self.sinks.iter_mut().for_each(|sink| sink.report(&status));
        if self.logged.elapsed() >= LOG_EVERY && statistics.captured > 0 {
            let line = in_words(&self.state, &statistics);
            log::info!("{line}");
            self.manager.status(&line);
            self.logged = Instant::now();
        }
    }

    fn count_captured(&mut self) {
        let taken = self.capture.counts();
        let counts = &mut self.clock.counts;
        (counts.captured, counts.dropped) = (taken.captured, taken.dropped);
        counts.damaged = taken.damaged + self.damaged;
    }
}

fn in_words(state: &str, statistics: &Statistics) -> String {
    let Statistics { captured, shown, filled, flat, dropped, damaged, withheld, .. } = statistics;
    let mut line = format!(
        "{state}: {:.1} frames/s, {:.1} ms a frame; {captured} captured, {shown} shown, {filled} filled",
        statistics.fps, statistics.fill_ms
    );
    for (count, what) in
        [(flat, "painted flat"), (dropped, "dropped"), (damaged, "damaged"), (withheld, "withheld")]
    {
        if *count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    line
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
