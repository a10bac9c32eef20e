//! The network as the loop's filler: regions of a frame through sessions of the runtime.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Fill, FillError, ServiceError};
use crate::file::{Check, Model};
use crate::picture::{
    Finish, Frame, Mask, Paster, PicturePlan, Region, Seam, Search, plan, plan_whole,
};
use crate::runtime::{RIM, RuntimeError, Session, kernel_name};

/// Side of the square that the network sees of a region: the size it was trained at.
pub const NETWORK_SIDE: usize = 256;
/// How far around a hole of a region that is scaled up the network's picture is looked at: the soft
/// seam takes two pixels, and scaling two more on each side of those.
const SOFT_RIM: usize = 6;
/// How often the log says how far a picture of many parts is.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Models looked for without `--model`, the first found wins.
const MODELS: [&str; 2] = ["small-int8.lbam", "small-f16.lbam"];
/// Where they are looked for, after the program's own `../share/lbam`.
const PLACES: [&str; 2] = ["models", "/usr/share/lbam"];

/// Fills frames with a network.
///
/// A frame whose sides suit the network as they are is run whole, at its own size, and its fill
/// taken as it is. Of any other frame each hole is run with its surroundings in a region scaled
/// to the network, with a soft seam.
pub struct Filler {
    model: Arc<Model>,
    /// Largest frame that is run whole, pixels.
    whole_pixels: usize,
    search: Search,
    /// Whether fills get detail.
    detailed: bool,
    regions: Vec<Work>,
    /// Of a picture, whose regions are run once, and prepared one after the other.
    pictured: Option<PicturePlan>,
    runner: Runner,
}

/// What a region's run needs beside its own.
struct Runner {
    paster: Paster,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// A region, and what fills it.
struct Work {
    region: Region,
    session: Session,
    finish: Finish,
}

impl Filler {
    /// For pictures: a frame up to the planner's own limit is run whole.
    pub fn for_pictures(model: impl Into<Arc<Model>>) -> Self {
        Self::new(model, usize::MAX, Search::Thorough)
    }

    /// For live frames, of which only the smallest can be run whole in time.
    pub fn for_frames(model: impl Into<Arc<Model>>) -> Self {
        Self::new(model, 2 * NETWORK_SIDE * NETWORK_SIDE, Search::Live)
    }

    /// Gives fills their detail ([`Finish`]), or leaves them as they are. Unless told, those get it whose network [fills smoothly](Model::fills_smoothly).
    pub fn detailed(self, detailed: bool) -> Self {
        Self { detailed, ..self }
    }

    fn new(model: impl Into<Arc<Model>>, whole_pixels: usize, search: Search) -> Self {
        let model = model.into();
        let detailed = model.fills_smoothly();
        let (regions, pictured) = (Vec::new(), None);
        let runner = Runner { paster: Paster::new(), input: Vec::new(), output: Vec::new() };
        Self { model, whole_pixels, search, detailed, regions, pictured, runner }
    }

    fn plan_whole(&self, mask: &Mask) -> Result<Option<Region>, FillError> {
        let fits = mask.width() * mask.height() <= self.whole_pixels;
        Ok(if fits { plan_whole(mask)? } else { None })
    }

    /// What fills a region, with one of these sessions if it suits: building one costs more than a frame.
    fn prepare(&self, region: Region, spare: &mut Vec<Session>) -> Result<Work, FillError> {
        let (width, height) = (region.network_width, region.network_height);
        let fits = |session: &Session| session.width() == width && session.height() == height;
        let mut session = match spare.iter().position(fits) {
            Some(index) => spare.swap_remove(index),
            None => Session::new(&self.model, width, height)?,
        };
        // A region smaller than the network is scaled down from it, each pixel from many.
        let scaled_down = region.width < width || region.height < height;
        let rim = if region.is_native() { RIM } else { SOFT_RIM };
        session.set_rim((!scaled_down).then_some(rim));
        session.set_mask(region.network_holes.data())?;
        let finish = match self.detailed {
            true => Finish::new(&region, self.search),
            false => Finish::default(),
        };
        Ok(Work { region, session, finish })
    }
}

impl Runner {
    fn run(&mut self, work: &mut Work, frame: &mut Frame) -> Result<(), FillError> {
        let Work { region, session, finish } = work;
        let cut = self.paster.network_input(frame, region, &mut self.input)?;
        self.output.resize(region.network_bytes(), 0);
        session.run(&self.input, &mut self.output)?;
        finish.add(&self.input, &mut self.output);
        let seam = if region.is_native() { Seam::None } else { Seam::Soft };
        Ok(cut.paste(&self.output, seam, finish.detail())?)
    }
}

impl Fill for Filler {
    fn set_mask(&mut self, mask: &Mask) -> Result<(), FillError> {
        let (plan, pictured) = match (self.plan_whole(mask)?, self.search) {
            (Some(whole), _) => (vec![whole], None),
            (None, Search::Live) => (plan(mask, NETWORK_SIDE)?, None),
            (None, Search::Thorough) => (Vec::new(), Some(PicturePlan::new(mask, NETWORK_SIDE)?)),
        };
        self.pictured = pictured;
        let (mut spare, mut before) = (Vec::new(), Vec::new());
        for Work { session, finish, region } in self.regions.drain(..) {
            spare.push(session);
            before.push((region, finish));
        }
        for region in plan {
            let mut work = self.prepare(region, &mut spare)?;
            let before = before.iter().map(|(region, finish)| (region, finish));
            work.finish.follow_all(&work.region, before);
            self.regions.push(work);
        }
        Ok(())
    }

    fn fill(&mut self, frame: &mut Frame) -> Result<(), FillError> {
        let (mut spare, mut told) = (Vec::new(), Instant::now());
        if let Some(plan) = &self.pictured {
            for (number, region) in plan.regions().enumerate() {
                if told.elapsed() >= TELL_EVERY {
                    log::info!("{number} of {} parts are filled", plan.count());
                    told = Instant::now();
                }
                let mut work = self.prepare(region?, &mut spare)?;
                self.runner.run(&mut work, frame)?;
                spare = vec![work.session];
            }
        }
        self.regions.iter_mut().try_for_each(|work| self.runner.run(work, frame))
    }

    fn another(&self) -> Option<Box<dyn Fill>> {
        let another = Self::new(Arc::clone(&self.model), self.whole_pixels, self.search);
        Some(Box::new(another.detailed(self.detailed)))
    }

    fn follow(&mut self, before: Box<dyn Fill>) {
        let before: Box<dyn Any> = before;
        let Ok(before) = before.downcast::<Self>() else { return };
        for Work { region, finish, .. } in &mut self.regions {
            let before = before.regions.iter().map(|before| (&before.region, &before.finish));
            finish.follow_all(region, before);
        }
    }
}

impl From<RuntimeError> for FillError {
    fn from(error: RuntimeError) -> Self {
        Self::Network(error.to_string())
    }
}

/// Opens the model named, or else the one that came with the program. A kernel that is asked for and
/// not there is found out here: later every frame would fail.
pub fn open_model(named: Option<&Path>) -> Result<Model, ServiceError> {
    let model = Model::open(&model_path(named)?)?;
    check_kernel(&model)?;
    Ok(model)
}

/// The same by [`Model::open_ahead`], for those who make one picture and are in a hurry.
pub fn open_model_ahead(named: Option<&Path>) -> Result<(Arc<Model>, Check), ServiceError> {
    let (model, check) = Model::open_ahead(&model_path(named)?)?;
    check_kernel(&model)?;
    Ok((model, check))
}

fn model_path(named: Option<&Path>) -> Result<PathBuf, ServiceError> {
    named.map_or_else(installed_model, |path| Ok(path.to_owned()))
}

fn check_kernel(model: &Model) -> Result<(), ServiceError> {
    let name = kernel_name(model.precision());
    name.map(|_| ()).map_err(|error| ServiceError::Configuration(error.to_string()))
}

fn installed_model() -> Result<PathBuf, ServiceError> {
    let program = std::env::current_exe().ok();
    let beside = program.and_then(|program| Some(program.parent()?.parent()?.join("share/lbam")));
    let places: Vec<PathBuf> = beside.into_iter().chain(PLACES.map(PathBuf::from)).collect();
    let found = MODELS
        .iter()
        .find_map(|model| places.iter().map(|place| place.join(model)).find(|path| path.is_file()));
    found.ok_or_else(|| {
        let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        let (models, places) = (MODELS.join(" or "), places.join(", "));
        ServiceError::Configuration(format!("no {models} in {places}; name one with --model FILE"))
    })
}

#[cfg(test)]
#[path = "filler_tests.rs"]
mod tests;
