//! The main job: source, mask, fill, sinks, until the end or until asked to stop.

use std::fs::DirEntry;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::capture::{self, Capture, Item, News};
use super::guard::Guard;
use super::hand_over::Pace;
use super::notify::Manager;
use super::outputs::{Order, Outputs, Worker, in_words};
use super::statistics::Tally;
use super::{Fill, Reload, Reloaded, ServiceError, Statistics};
use crate::camera::{
    CameraWish, MaskSource, MaskSourceError, MaskSpec, Masks, SourceSpec, check_in_step,
    check_steps,
};
use crate::file::{is_same, is_special};
use crate::kernels::workers;
use crate::output::{self, DEFAULT_HTTP, HostName, OutputError, Painting, Sink, SinkSpec};
use crate::picture::{Mask, Pool};
use crate::process::Stop;
use crate::runtime::cores;

/// How long a look for a camera that is away may take: longer than one that opens and then is silent.
/// A driver that does not come back from opening it is a matter for the watchdog.
const HUNG_AFTER: Duration = Duration::from_secs(20);

/// What the main job is told.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveOptions {
    pub camera: SourceSpec,
    /// What to ask of it, if it is a camera.
    pub wish: CameraWish,
    /// United. None: what was painted on the page. Without that, too, frames pass unchanged, or not
    /// at all if `fail_closed`.
    pub masks: Vec<MaskSpec>,
    /// The file that keeps what is painted on the page; without one nothing can be painted.
    pub painted: Option<PathBuf>,
    pub outputs: Vec<SinkSpec>,
    pub http: SocketAddr,
    /// Names that the page answers to beside its own.
    pub http_hosts: Vec<HostName>,
    /// Ends after so many frames, shown or withheld.
    pub frames: Option<u64>,
    /// Newest frame or every frame; without a choice, by source and outputs.
    pub realtime: Option<bool>,
    /// Whether to wait for a camera that is away.
    pub wait: bool,
    pub fail_closed: bool,
    /// Whether decoding and outputs have threads of their own beside the network's: it then works
    /// on one frame while they work on those before and after.
    pub overlap: bool,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            camera: SourceSpec::Device("/dev/video0".into()),
            wish: CameraWish::default(),
            masks: Vec::new(),
            painted: None,
            outputs: vec![SinkSpec::Http],
            http: DEFAULT_HTTP,
            http_hosts: Vec::new(),
            frames: None,
            realtime: None,
            wait: true,
            fail_closed: false,
            // On one core threads only take turns.
            overlap: std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1),
        }
    }
}

impl LiveOptions {
    /// Cameras always run in real time. Anything else does when it is only looked at: a clip
    /// then plays at its own pace. A pipe is read whole, since its writer sets the pace.
    fn pace(&self) -> Pace {
        let only_looked_at = self.outputs.iter().all(SinkSpec::is_live);
        let realtime = self.realtime.unwrap_or(match self.camera {
            SourceSpec::Device(_) => true,
            SourceSpec::Stdin => false,
            SourceSpec::Y4m(ref path) | SourceSpec::Mjpeg(ref path) if is_special(path) => false,
            _ => only_looked_at,
        });
        if realtime { Pace::Newest } else { Pace::Every }
    }

    /// The masks that were named, or the page.
    fn mask_specs(&self) -> &[MaskSpec] {
        match self.masks.as_slice() {
            [] if self.painted.is_some() => &[MaskSpec::Page],
            named => named,
        }
    }

    pub(super) fn open_masks(&self) -> Result<Masks, MaskSourceError> {
        let (masks, painted) = (self.mask_specs(), self.painted.as_deref());
        match self.camera {
            // Pictures of a stream of JPEGs may change their size, too.
            SourceSpec::Device(_) | SourceSpec::Mjpeg(_) => {
                let is_device = matches!(self.camera, SourceSpec::Device(_));
                let asked = self.wish.size.filter(|_| is_device);
                let asked = asked.map(|(width, height)| (width as usize, height as usize));
                Masks::open_for_camera(masks, painted, asked)
            }
            _ => Masks::open(masks, painted),
        }
    }

    /// What contradicts itself, before anything is opened.
    pub(super) fn check(&self) -> Result<(), ServiceError> {
        let has_page = self.outputs.contains(&SinkSpec::Http);
        if self.outputs.is_empty() {
            return Err(ServiceError::Usage("no output given; try --output http:".into()));
        }
        let count = |wanted: &SinkSpec| self.outputs.iter().filter(|sink| *sink == wanted).count();
        for sink in [SinkSpec::Stdout, SinkSpec::Http] {
            if count(&sink) > 1 {
                return Err(ServiceError::Usage(format!("--output {sink} is given twice")));
            }
        }
        if let SourceSpec::Device(camera) = &self.camera
            && count(&SinkSpec::Device(camera.clone())) > 0
        {
            let camera = camera.display();
            return Err(ServiceError::Usage(format!("--output {camera} is the camera")));
        }
        // What is read would be replaced, by as much of it as had been read.
        let read = self.masks.iter().filter_map(|mask| match mask {
            MaskSpec::Path(path) => Some(path),
            _ => None,
        });
        let read = read.chain(match &self.camera {
            SourceSpec::Y4m(path) | SourceSpec::Mjpeg(path) => Some(path),
            _ => None,
        });
        for path in read {
            let is_it = |sink: &SinkSpec| matches!(sink, SinkSpec::Y4m(to) if is_same(path, to));
            if self.outputs.iter().any(is_it) {
                let reason = format!("--output {} is what is read; name another", path.display());
                return Err(ServiceError::Usage(reason));
            }
        }
        // A mask that nobody can paint would never come, and frames would pass without.
        if self.masks.contains(&MaskSpec::Page) && !has_page {
            let reason =
                "--mask http: is painted on the page, and no output is one; add --output http:";
            return Err(ServiceError::Usage(reason.into()));
        }
        Ok(())
    }

    /// Whether folders of masks have the mask of each picture of a folder at its place, and for other
    /// sources none left out.
    pub(super) fn check_in_step(&self) -> Result<(), MaskSourceError> {
        let most = self.frames.map_or(usize::MAX, |frames| frames.try_into().unwrap_or(usize::MAX));
        self.masks.iter().try_for_each(|mask| match mask {
            MaskSpec::Path(masks) if masks.is_dir() => match &self.camera {
                SourceSpec::Folder(frames) => check_in_step(frames, masks, most),
                _ => check_steps(masks, most),
            },
            _ => Ok(()),
        })
    }

    /// Where there are masks that were painted for cameras of other names, if this one has none: it may
    /// be one of them under another name.
    pub(super) fn painted_for_others(&self) -> Option<&Path> {
        let file = self.painted.as_deref()?;
        let folder = file.parent()?;
        let is_mask = |entry: &DirEntry| entry.path().extension().is_some_and(|png| png == "png");
        let mut others = folder.read_dir().ok()?.flatten().filter(is_mask);
        (!file.exists() && others.next().is_some()).then_some(folder)
    }

    /// Whether something is hidden, or would be kept back.
    fn hides(&self) -> bool {
        let is_named = self.mask_specs().iter().any(|mask| *mask != MaskSpec::Page);
        // One that cannot be read may hide anything.
        let hides = |painted: &PathBuf| {
            Mask::read(painted).map_or(painted.exists(), |mask| !mask.is_empty())
        };
        self.fail_closed || is_named || self.painted.as_ref().is_some_and(hides)
    }

    /// Whether there is a page to paint on.
    pub(super) fn has_canvas(&self) -> bool {
        self.outputs.contains(&SinkSpec::Http) && self.painting().is_some()
    }

    /// Goes over from other options' masks to these, from the `next` frame on.
    pub(super) fn change_masks(
        &self,
        masks: &mut Masks,
        next: Option<(usize, usize, u64)>,
    ) -> Result<(), MaskSourceError> {
        masks.change_to(self.mask_specs(), self.painted.as_deref(), next)
    }

    /// Whether what a running service cannot change is the same.
    fn can_follow(&self, before: &Self) -> bool {
        let Self { masks, fail_closed, .. } = self.clone();
        *self == Self { masks, fail_closed, ..before.clone() }
    }

    /// Who may paint on the page. Where the page was not named as a source of masks, that is this
    /// machine alone: to paint is also to uncover.
    fn painting(&self) -> Option<Painting> {
        let takes = self.mask_specs().contains(&MaskSpec::Page);
        let file = self.painted.clone().filter(|_| takes)?;
        Some(Painting { file, by_others: self.masks.contains(&MaskSpec::Page) })
    }
}

/// Runs until the source ends, `frames` were shown or withheld, or `stop` is set. Files are completed in
/// each of these cases, and also when something fails on the way.
pub fn run(
    options: &LiveOptions,
    fill: Box<dyn Fill>,
    stop: &Stop,
) -> Result<Statistics, ServiceError> {
    run_reloading(options, fill, stop, None)
}

/// As [`run`]; masks, network and `fail_closed` change when `reload` asks.
pub fn run_reloading(
    options: &LiveOptions,
    fill: Box<dyn Fill>,
    stop: &Stop,
    reload: Option<Reload>,
) -> Result<Statistics, ServiceError> {
    options.check()?;
    options.check_in_step()?;
    let mut masks = options.open_masks()?;
    let for_manager = Manager::of_environment().is_there();
    if let Some(painted) = options.painted.as_deref().filter(|_| for_manager) {
        masks.remember_camera(painted.with_extension("camera"));
    }
    warn_without(&masks, options, options.has_canvas());
    let mut sinks = Vec::new();
    let settings = output::Options {
        http: options.http,
        hosts: options.http_hosts.clone(),
        painting: options.painting(),
        // It starts services again after a fault, and nobody is there to see what that replaces.
        keep_clips: for_manager,
        by_clock: options.pace() == Pace::Newest || matches!(options.camera, SourceSpec::Device(_)),
        stop: stop.clone(),
    };
    for spec in &options.outputs {
        let sink = match output::open(spec, &settings) {
            Err(OutputError::Closed) => return Ok(Statistics::default()),
            other => other?,
        };
        log::info!("output: {}", sink.describe());
        sinks.push(sink);
    }
    run_to(sinks, options, fill, masks, stop, reload)
}

fn warn_without(masks: &Masks, options: &LiveOptions, has_canvas: bool) {
    if masks.is_empty() {
        let so = match options.fail_closed {
            true => "nothing passes (--fail-closed)",
            false => "frames pass unchanged",
        };
        let or = if has_canvas { ", or paint one on the page" } else { "" };
        log::warn!("no mask: {so}; give one with --mask{or}");
        if let Some(folder) = options.painted_for_others() {
            log::warn!("masks painted for cameras of other names are in {}", folder.display());
        }
    }
}

/// As [`run_reloading`], to sinks that are open.
fn run_to(
    sinks: Vec<Box<dyn Sink>>,
    options: &LiveOptions,
    fill: Box<dyn Fill>,
    masks: Masks,
    stop: &Stop,
    reload: Option<Reload>,
) -> Result<Statistics, ServiceError> {
    let (pace, tally) = (options.pace(), Arc::new(Tally::default()));
    let source = options.camera.to_string();
    let manager = Manager::of_environment();
    let mut worker = Worker::new(sinks, source, masks.describe(), &tally, manager);
    if let Some((width, height)) = options.wish.size {
        worker.expect(width as usize, height as usize);
    }
    let order = capture::Order {
        source: options.camera.clone(),
        wish: options.wish,
        pace,
        wait: options.wait,
        overlap: options.overlap,
    };
    let capture = Capture::start(order, &tally, stop)?;
    let outputs = match options.overlap {
        true => Outputs::beside(worker, pace, stop)?,
        false => Outputs::here(worker),
    };
    // After the others are started, who do not compute and may run anywhere.
    cores::keep_to_biggest(workers::threads());
    let mut run = Run {
        guard: Guard::new(fill, masks, options.fail_closed),
        options: options.clone(),
        reload,
        capture,
        outputs,
        tally,
        pool: Pool::default(),
        has_canvas: options.has_canvas(),
        frames: options.frames.unwrap_or(u64::MAX),
        taken: 0,
        waiting: false,
        withheld: false,
        told_damage: false,
    };
    let worked = run.work(stop);
    let (statistics, finished) = run.outputs.finish();
    worked?;
    finished?;
    log::info!("{}", in_words("done", &statistics));
    // A file of before must not be taken for the one that was to be.
    let left = options.outputs.iter().find(|output| !output.is_live());
    if let Some(output) = left.filter(|_| statistics.withheld > 0 && statistics.shown == 0) {
        log::warn!("{output}: nothing was written, since there is no mask; give one with --mask");
    }
    Ok(statistics)
}

struct Run {
    guard: Guard,
    /// As read last.
    options: LiveOptions,
    reload: Option<Reload>,
    capture: Capture,
    outputs: Outputs,
    tally: Arc<Tally>,
    /// Of frames that are decoded here.
    pool: Pool,
    /// There is a page to paint on.
    has_canvas: bool,
    /// The end after so many.
    frames: u64,
    /// Frames dealt with: handed to the outputs and not dropped there, or kept back because there
    /// is no mask.
    taken: u64,
    /// The camera is away.
    waiting: bool,
    /// The frame before was kept back, and that was said where it would have been seen.
    withheld: bool,
    told_damage: bool,
}

impl Run {
    fn work(&mut self, stop: &Stop) -> Result<(), ServiceError> {
        while !stop.is_set() && !self.outputs.have_ended() && self.taken < self.frames {
            match self.capture.next() {
                Some(News::Opened { name, card, stream }) => {
                    if let Some(card) = card {
                        self.guard.come_from(&card);
                    }
                    (self.waiting, self.withheld) = (false, false);
                    self.outputs.tell(Order::Opened(name, stream));
                }
                Some(News::Waiting(why)) => {
                    log::warn!("{why}; waiting for it (--no-wait ends instead)");
                    self.waiting = true;
                    self.outputs.tell(Order::Waiting(why));
                }
                Some(News::Frame(item)) => self.frame(item)?,
                Some(News::Ended(end)) => {
                    if let Some(left) = self.guard.masks().left(self.tally.captured.count()) {
                        log::warn!("{left}");
                    }
                    return Ok(end?);
                }
                // Saying that the camera is away is then what goes out, as long as it is looked for. One
                // that is open and silent is another matter: that starves the watchdog.
                None if self.waiting => {
                    if self.capture.heard().elapsed() < HUNG_AFTER {
                        self.outputs.alive();
                    }
                }
                None => self.look_at_masks()?,
            }
            self.outputs.report();
            if let Some(reloaded) = self.reload.as_mut().and_then(Reload::take)
                && let Err(error) = reloaded.and_then(|reloaded| self.follow(reloaded))
            {
                log::error!("{error}; all stays as it was");
                self.outputs.tell(Order::Refused(error.to_string()));
            }
        }
        Ok(())
    }

    /// Goes over to another configuration, as far as can be without a restart.
    fn follow(&mut self, reloaded: Reloaded) -> Result<(), ServiceError> {
        let Reloaded { options, fill } = reloaded;
        let has_page = self.options.outputs.contains(&SinkSpec::Http);
        if options.masks.contains(&MaskSpec::Page) && !has_page {
            let reason = "the mask http: is painted on the page, and this run has none; restart \
                          the service";
            return Err(ServiceError::Usage(reason.into()));
        }
        // Masks are for the pictures of their camera: on another's they would hide another place.
        if options.camera != self.options.camera || options.wish != self.options.wish {
            let reason = "the camera or its format or size changed; restart the service";
            return Err(ServiceError::Usage(reason.into()));
        }
        // A file that is half saved, or empty on a full disk, says the same. What may have been painted
        // once is no answer where something else was named.
        let named = self.options.masks.iter().any(|mask| *mask != MaskSpec::Page);
        let names_none = options.masks.is_empty() && !options.fail_closed;
        if named && names_none || self.options.hides() && !options.hides() {
            let reason = "no mask is named any more, and fail-closed is off; if that is meant, restart \
                          the service";
            return Err(ServiceError::Usage(reason.into()));
        }
        options.check_in_step()?;
        self.guard.change_over(fill, &options)?;
        let mask = self.guard.masks().describe();
        log::info!("configuration read again; mask: {mask}");
        let painting = options.painting().filter(|_| has_page);
        self.has_canvas = painting.is_some();
        warn_without(self.guard.masks(), &options, self.has_canvas);
        if !options.can_follow(&self.options) {
            log::warn!(
                "more changed than mask, model, detail and fail-closed; for the rest restart the service"
            );
        }
        // What was not followed is still to be told the next time.
        (self.options.masks, self.options.fail_closed) = (options.masks, options.fail_closed);
        self.outputs.tell(Order::Masks(mask, painting));
        Ok(())
    }

    /// Where no picture comes: masks count for the last one, too.
    fn look_at_masks(&mut self) -> Result<(), ServiceError> {
        if self.guard.shows_hidden()? {
            self.take_down();
        }
        Ok(())
    }

    /// What was shown last shows what is to be hidden by now.
    fn take_down(&mut self) {
        match self.guard.masks().is_empty() {
            true => self.tell_withheld(),
            false => {
                let words = "The mask changed\n\nNo picture has come since";
                self.outputs.tell(Order::StandIn(words, self.guard.size()));
            }
        }
    }

    /// What was shown last must not stay where pictures are looked at.
    fn tell_withheld(&mut self) {
        if !std::mem::replace(&mut self.withheld, true) {
            let words = match self.has_canvas {
                true => {
                    "No mask: nothing is shown\n\nPaint one on the page, give one with --mask, or \
                     leave --fail-closed out"
                }
                false => {
                    "No mask: nothing is shown\n\nGive one with --mask, or leave --fail-closed out"
                }
            };
            self.outputs.tell(Order::StandIn(words, self.guard.size()));
        }
    }

    fn frame(&mut self, item: Item) -> Result<(), ServiceError> {
        self.tally.begin();
        let begun = Instant::now();
        let decoded = item.captured.decode(&self.pool);
        self.capture.note(decoded.as_ref().err());
        let mut frame = match decoded {
            Ok(frame) => frame,
            Err(error) => {
                // Words say so; this is no reason to end what waits for a good one.
                if self.waiting {
                    self.outputs.alive();
                }
                // The first says what is wrong; the count in the log says how often.
                if !std::mem::replace(&mut self.told_damage, true) {
                    log::warn!("{error}");
                }
                self.tally.damaged.add(1);
                return self.look_at_masks();
            }
        };
        frame.sequence = item.number;
        let Some(cleared) = self.guard.clear(frame)? else {
            self.tell_withheld();
            self.tally.withheld.add(1);
            self.taken += 1;
            self.outputs.alive();
            return Ok(());
        };
        self.withheld = false;
        let fill = begun.elapsed();
        // Masks go on while an output holds all up: what waits must not be shown where they hide more.
        let (mut looked, mut shows_hidden) = (Ok(()), false);
        let show = Order::Show { frame: cleared, at: item.at, fill };
        let dropped = self.outputs.show(show, || {
            if looked.is_ok() {
                looked = self.guard.shows_hidden().map(|shows| shows_hidden |= shows);
            }
        });
        self.taken = self.taken + 1 - dropped;
        looked?;
        // What is looked at is of before the stall, and the source may pause now.
        if shows_hidden {
            self.take_down();
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "overlap_tests.rs"]
mod overlap_tests;

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
