//! What goes out: frames to the sinks, and how things are going to whoever asks.
//!
//! Writing and encoding have a thread of their own, which works on one frame while the network
//! works on the next. It is given [`Cleared`] frames and words, and nothing else: what it may show
//! was decided before. Where there is only one core it all happens in the loop's thread.
//!
//! The service manager's watchdog is fed here alone, by what has gone out. If an output hangs, so
//! does that; if the network hangs, nothing comes here.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Statistics;
use super::guard::Cleared;
use super::hand_over::{HandOver, Kind, Message, Pace};
use super::notify::Manager;
use super::statistics::{Clock, Tally};
use crate::output::{OutputError, Painting, Sink, placeholder};
use crate::picture::StreamInfo;
use crate::process::Stop;

/// How often the log says how it goes, and the service manager is told.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// How often the log says so beside a service manager, who knows it anyway. Its journal goes onto the
/// card that the system is on, for years.
const JOURNAL_EVERY: Duration = Duration::from_secs(60 * 60);
/// How often the page is told.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// Without a turn for so long the loop is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(2);
/// The state while there is no camera.
const WAITING: &str = "waiting for the camera";
/// Size of placeholders before the first frame, pixels.
const PLACEHOLDER: (usize, usize) = (640, 480);

/// What is to go out.
pub(super) enum Order {
    /// The source gives frames: its name, and what it says about its stream.
    Opened(String, StreamInfo),
    /// Other masks count: their names, and how the page takes masks now.
    Masks(String, Option<Painting>),
    /// A configuration that was read anew was not taken: why.
    Refused(String),
    /// The camera is away: why.
    Waiting(String),
    /// Something to say where pictures are looked at, since there is none; and how large they are, if
    /// that is known.
    StandIn(&'static str, Option<(usize, usize)>),
    Show {
        frame: Cleared,
        /// When the source gave it.
        at: Instant,
        /// What filling it took.
        fill: Duration,
    },
    /// Nothing goes out, and that is as it should be.
    Alive,
}

impl Message for Order {
    fn kind(&self) -> Kind {
        match self {
            Self::Show { .. } => Kind::Frame,
            _ => Kind::Word,
        }
    }
}

/// The loop's end of the outputs.
pub(super) enum Outputs {
    Here(Box<Worker>),
    Beside { orders: Arc<HandOver<Order>>, thread: JoinHandle<Worker> },
}

impl Outputs {
    /// Outputs that work in the loop's own thread.
    pub fn here(worker: Worker) -> Self {
        Self::Here(Box::new(worker))
    }

    /// Outputs with a thread of their own.
    pub fn beside(mut worker: Worker, pace: Pace, stop: &Stop) -> std::io::Result<Self> {
        let orders = Arc::new(HandOver::new(pace, Arc::clone(&worker.tally), stop.clone()));
        let closes = ClosesWith(Arc::clone(&orders));
        let body = move || {
            worker.work(&closes.0);
            worker
        };
        let thread = std::thread::Builder::new().name("outputs".into()).spawn(body)?;
        Ok(Self::Beside { orders, thread })
    }

    /// Hands on a frame. Returns how many went lost for it. While there is no room for it, does
    /// `meanwhile` again and again.
    pub fn show(&mut self, order: Order, meanwhile: impl FnMut()) -> u64 {
        match self {
            Self::Here(worker) => worker.follow(order),
            Self::Beside { orders, .. } => return orders.put_meanwhile(order, meanwhile),
        }
        0
    }

    pub fn tell(&mut self, order: Order) {
        match self {
            Self::Here(worker) => worker.follow(order),
            Self::Beside { orders, .. } => orders.tell(order),
        }
    }

    /// Says that all is well, unless something is on its way that will say so.
    pub fn alive(&mut self) {
        match self {
            Self::Here(worker) => worker.follow(Order::Alive),
            Self::Beside { orders, .. } => orders.tell_if_idle(Order::Alive),
        }
    }

    /// Reports how it goes, if it is time.
    pub fn report(&mut self) {
        match self {
            Self::Here(worker) => worker.report(),
            Self::Beside { orders, .. } => orders.hear(),
        }
    }

    /// An output has failed, or wants no more.
    pub fn have_ended(&self) -> bool {
        match self {
            Self::Here(worker) => worker.fault.is_some(),
            Self::Beside { orders, .. } => orders.is_closed(),
        }
    }

    /// Shows what was handed on before, and completes files: what is in them is good, also when the
    /// next frame could not be had.
    pub fn finish(self) -> (Statistics, Result<(), OutputError>) {
        let worker = match self {
            Self::Here(worker) => *worker,
            Self::Beside { orders, thread } => {
                orders.close();
                // As if it had happened here.
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        worker.finish()
    }
}

/// Closes also when an output panics: the loop must not work for nobody.
struct ClosesWith(Arc<HandOver<Order>>);

impl Drop for ClosesWith {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What is done with orders.
pub(super) struct Worker {
    sinks: Vec<Box<dyn Sink>>,
    tally: Arc<Tally>,
    clock: Clock,
    manager: Manager,
    source: String,
    mask: String,
    /// Who may paint on the page, once that may have changed.
    painters: Option<&'static str>,
    state: &'static str,
    /// Of the last frame shown, for placeholders.
    size: (usize, usize),
    /// The share of it that was hidden.
    hidden: Option<f64>,
    reported: Option<Instant>,
    /// When the service manager was told how it goes, and when the log.
    told: Instant,
    logged: Instant,
    /// What an output failed with; it is given nothing more.
    fault: Option<OutputError>,
    /// What files failed with, beside which there is something live to go on with.
    lost: Vec<OutputError>,
    /// Why the configuration that was read last was not taken. A restart would end with it.
    refused: Option<String>,
}

impl Worker {
    pub fn new(
        mut sinks: Vec<Box<dyn Sink>>,
        source: String,
        mask: String,
        tally: &Arc<Tally>,
        manager: Manager,
    ) -> Self {
        // The others may take their time, and what is looked at would be of before that.
        sinks.sort_by_key(|sink| !sink.is_live());
        Self {
            sinks,
            tally: Arc::clone(tally),
            clock: Clock::default(),
            manager,
            source,
            mask,
            painters: None,
            state: "starting",
            size: PLACEHOLDER,
            hidden: None,
            reported: None,
            told: Instant::now(),
            logged: Instant::now(),
            fault: None,
            lost: Vec::new(),
            refused: None,
        }
    }

    /// What size frames will probably have.
    pub fn expect(&mut self, width: usize, height: usize) {
        self.size = (width, height);
    }

    /// Until nothing more comes, or an output fails.
    fn work(&mut self, orders: &HandOver<Order>) {
        while self.fault.is_none() {
            // Looked at before taking: what was handed on before closing is there then.
            let closed = orders.is_closed();
            match orders.take() {
                Some(order) => self.follow(order),
                None if closed => return,
                None => {}
            }
            // Of a loop that is stuck, with masks and all, nobody is told that it runs.
            if orders.heard().elapsed() < STUCK_AFTER {
                self.report();
            }
        }
    }

    fn follow(&mut self, order: Order) {
        if self.fault.is_some() {
            return;
        }
        match order {
            Order::Opened(name, stream) => self.opened(name, stream),
            Order::Masks(names, painting) => {
                (self.mask, self.refused, self.reported) = (names, None, None);
                self.painters = Some(match &painting {
                    None => "nobody",
                    Some(painting) if painting.by_others => "everybody",
                    Some(_) => "this device",
                });
                self.sinks.iter_mut().for_each(|sink| sink.take_masks(painting.clone()));
            }
            Order::Refused(why) => (self.refused, self.reported) = (Some(why), None),
            Order::Waiting(why) => {
                self.manager.status(&format!("waiting for the camera: {why}"));
                self.state = WAITING;
                self.reported = None;
                self.stand_in(&format!("Waiting for the camera\n\n{why}"));
                self.manager.alive();
            }
            Order::StandIn(words, size) => {
                self.size = size.unwrap_or(self.size);
                self.stand_in(words);
            }
            Order::Show { frame, at, fill } => match self.show(&frame) {
                Ok(()) => {
                    self.clock.shown(frame.how, fill, at.elapsed());
                    self.manager.alive();
                }
                Err(error) => self.fault = Some(error),
            },
            Order::Alive => self.manager.alive(),
        }
    }

    fn opened(&mut self, name: String, stream: StreamInfo) {
        log::info!("source: {name}; mask: {}", self.mask);
        self.sinks.iter_mut().for_each(|sink| sink.start(&stream));
        self.source = name;
        self.state = "running";
        self.manager.status("running");
        self.reported = None;
    }

    /// The only place where frames go out; [`Cleared`] is what makes that safe.
    fn show(&mut self, cleared: &Cleared) -> Result<(), OutputError> {
        self.size = (cleared.frame().width(), cleared.frame().height());
        self.hidden = Some(cleared.hidden);
        let mut next = 0;
        while let Some(sink) = self.sinks.get_mut(next) {
            let written = match sink.is_live() && cleared.is_out_of_date() {
                true => Ok(()),
                false => sink.write(cleared.frame()),
            };
            match written {
                Ok(()) => next += 1,
                Err(error) if self.can_lose(next, &error) => {
                    let sink = self.sinks.remove(next);
                    self.lose(sink, error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a sink that failed is a file beside something live: whoever looks at that is not to see it
    /// go for a full disk.
    fn can_lose(&self, index: usize, error: &OutputError) -> bool {
        let has_live = self.sinks.iter().any(|sink| sink.is_live());
        has_live && !self.sinks[index].is_live() && !error.ends_run()
    }

    /// Completes what failed, and goes on without. The run still ends as one that failed.
    fn lose(&mut self, sink: Box<dyn Sink>, error: OutputError) {
        log::error!("{error}; then restart: until then the other outputs go on without it");
        // A full disk says so once more.
        if let Err(more) = sink.finish()
            && more.to_string() != error.to_string()
        {
            log::error!("{more}");
        }
        self.lost.push(error);
        self.reported = None;
    }

    /// Says something where pictures are looked at. It is made of these words alone.
    fn stand_in(&mut self, words: &str) {
        self.hidden = None;
        match placeholder(self.size.0, self.size.1, words) {
            Ok(frame) => self.sinks.iter_mut().for_each(|sink| sink.stand_in(&frame)),
            Err(error) => log::warn!("{error}"),
        }
    }

    fn report(&mut self) {
        if self.reported.is_some_and(|reported| reported.elapsed() < REPORT_EVERY) {
            return;
        }
        self.reported = Some(Instant::now());
        let statistics = self.clock.now(&self.tally);
        if self.sinks.iter().any(|sink| sink.shows_reports()) {
            let refused = self.refused.iter().map(|why| format!("reload: {why}"));
            let failed = self.lost.iter().map(ToString::to_string).chain(refused);
            let mut status = json!({
                "state": self.state, "source": self.source, "mask": self.mask,
                "painters": self.painters,
                "hidden": self.hidden.map(|hidden| (hidden * 1e4).round() / 1e4),
                "failed": failed.collect::<Vec<_>>(),
            });
            if let (Some(status), Ok(serde_json::Value::Object(figures))) =
                (status.as_object_mut(), serde_json::to_value(&statistics))
            {
                status.extend(figures);
            }
            self.sinks.iter_mut().for_each(|sink| sink.report(&status));
        }
        // Who waits has said for what.
        let waits = self.state == WAITING;
        if self.told.elapsed() >= LOG_EVERY && statistics.captured > 0 && !waits {
            let line = self.figures(&statistics);
            self.manager.status(&line);
            self.told = Instant::now();
            if self.logged.elapsed() >= log_every(&self.manager) {
                log::info!("{line}");
                self.logged = Instant::now();
            }
        }
    }

    /// How it goes, in a line.
    fn figures(&self, statistics: &Statistics) -> String {
        let mut line = in_words(self.state, statistics);
        if let Some(hidden) = self.hidden {
            line += &format!(", {:.1} % of the picture hidden", 100.0 * hidden);
        }
        if !self.lost.is_empty() {
            line += &format!("; {} output(s) failed", self.lost.len());
        }
        if self.refused.is_some() {
            line += "; the configuration read last was not taken";
        }
        line
    }

    fn finish(self) -> (Statistics, Result<(), OutputError>) {
        self.manager.stopping();
        let statistics = self.clock.end(&self.tally);
        let mut ended = match self.fault {
            // Whoever read our output has enough: the end, and no failure.
            None | Some(OutputError::Closed) => Ok(()),
            Some(fault) => Err(fault),
        };
        ended = ended.and(self.lost.into_iter().next().map_or(Ok(()), Err));
        for sink in self.sinks {
            ended = ended.and(sink.finish());
        }
        (statistics, ended)
    }
}

fn log_every(manager: &Manager) -> Duration {
    if manager.is_there() { JOURNAL_EVERY } else { LOG_EVERY }
}

pub(super) fn in_words(state: &str, statistics: &Statistics) -> String {
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
#[path = "outputs_tests.rs"]
mod tests;
