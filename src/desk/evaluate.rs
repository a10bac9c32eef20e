//! How good fillers are: PSNR, SSIM, mean l1 and, where its weights are at hand, LPIPS by share of
//! hole, as the literature reports them.
//!
//! Every filler gets the same pictures with the same holes. It is handed the picture with black
//! holes, so that it cannot see what it should find, and only its hole pixels count: the
//! composite is made here. A score is the mean over pictures of each picture's score.
//!
//! ```no_run
//! # use lbam::desk::evaluate::{Masks, evaluate, read_samples};
//! # use lbam::desk::fillers::baseline;
//! let samples = read_samples("photos".as_ref(), 256)?;
//! let mut telea = baseline("telea").expect("one of the baselines");
//! let fillers = &mut [("telea", &mut *telea)];
//! let report = evaluate(&samples, &Masks::Seed(1), fillers, None, 8, &mut |_, _| {})?;
//! println!("{}", report.to_json());
//! # Ok::<(), lbam::desk::evaluate::EvaluateError>(())
//! ```
//!
//! Hazard: figures compare only over the same pictures, masks and size. The report states them.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use super::{
    data::DataError,
    lpips::{Look, Lpips},
    masks::{self, Style},
    photos, random, sheet,
};
use crate::{
    file::{FileError, Model},
    picture::{Mask, MaskError, PictureError, RgbPicture, metrics},
};

/// The buckets' names and bounds: above the first and up to the second.
pub const BUCKETS: [(&str, f32, f32); 4] =
    [("0.1-0.2", 0.1, 0.2), ("0.2-0.3", 0.2, 0.3), ("0.3-0.4", 0.3, 0.4), ("0.4-0.5", 0.4, 0.5)];

/// Equal pictures have an infinite PSNR, which would swallow a mean and is no JSON number. One
/// value of a 256x256 picture off by one level gives 101 dB.
pub(super) const PSNR_CEILING: f64 = 101.0;

/// Worst cases that a report keeps.
const WORST: usize = 6;

/// Why an evaluation stopped.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The pictures' folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A picture, mask or report that is not read or written.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A mask that does not fit.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The masks' folder has none.
    #[error("{}: no readable mask picture (png, bmp, ...; white = fill)", path.display())]
    NoMasks {
        /// The folder.
        path: PathBuf,
    },
    /// Some pictures have a mask of their name, and some not.
    #[error(
        "{}: no mask is called as {picture}, but {found} are as their pictures; give each picture one, or \
         name all otherwise to take them in turn",
        folder.display()
    )]
    MaskMissing {
        /// The masks' folder.
        folder: PathBuf,
        /// The first picture without.
        picture: String,
        /// How many have one.
        found: usize,
    },
    /// Nothing was measured.
    #[error("no mask has a hole in what is seen of its picture; white means fill")]
    NoHoles,
    /// The command line: what is named twice would be two results under one name.
    #[error("\"{name}\" is given twice; name each model and baseline once")]
    Twice {
        /// The filler's name.
        name: String,
    },
    /// A filler gave up: the model, or what it was given.
    #[error("\"{filler}\" failed on {picture}: {source}")]
    Filler {
        /// The filler's name.
        filler: String,
        /// The picture's name.
        picture: String,
        /// Its reason.
        source: FillError,
    },
    /// A filler gave a picture of another size: a bug in it.
    #[error("\"{filler}\" made {found:?} of {picture}, which is {wanted:?}; that is its bug")]
    Size {
        /// The filler's name.
        filler: String,
        /// The picture's name.
        picture: String,
        /// Width and height it gave.
        found: (usize, usize),
        /// Width and height of the picture.
        wanted: (usize, usize),
    },
    /// A report that cannot be written: the disk or its permissions.
    #[error("{}: cannot be written ({source})", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What a filler says when it fails.
pub type FillError = Box<dyn Error + Send + Sync>;

/// Fills the holes of a picture; known pixels of its answer are not looked at.
pub type Filler<'a> = dyn FnMut(&RgbPicture, &Mask) -> Result<RgbPicture, FillError> + 'a;

/// The pictures to evaluate on.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The folder they were found in, as it was named.
    pub folder: PathBuf,
    /// Those that could be read.
    pub list: Vec<Sample>,
    /// How many could not.
    pub unreadable: usize,
    /// How many of the list had a side below what they were scaled to.
    pub small: usize,
}

/// A picture to evaluate on.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its path below the folder it was found in.
    pub name: String,
    /// Its place among all pictures of that folder, those that could not be read among them.
    pub place: usize,
    /// Its pixels.
    pub picture: RgbPicture,
}

/// Where holes come from.
#[derive(Clone, Debug)]
pub enum Masks {
    /// Every picture gets one. A mask of another size is scaled. Masks outside all buckets count
    /// in the overall row alone.
    Given(GivenMasks),
    /// Every picture gets one brush mask in each bucket, from this seed and its position.
    Seed(u64),
}

/// Masks from files.
#[derive(Clone, Debug)]
pub struct GivenMasks {
    /// The folder they were found in, as it was named.
    pub folder: PathBuf,
    /// Whether mask `i` is that of the sample at position `i`; else it is that of the picture whose
    /// place is `i`, starting over when there are fewer masks.
    pub by_name: bool,
    /// Each with its path below the folder, without its ending.
    pub masks: Vec<(String, Mask)>,
}

/// One composite's scores, or their means over several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// PSNR of the composite against the original, whole picture, dB.
    pub psnr: f64,
    /// PSNR over the hole's pixels alone, dB.
    pub psnr_hole: f64,
    /// Structural similarity of the composite, whole picture, at most 1.
    pub ssim: f64,
    /// Mean absolute difference of the composite, whole picture, `0.0..=1.0`.
    pub l1: f64,
    /// LPIPS of the composite, whole picture, 0 for the original; `None` without its weights.
    pub lpips: Option<f64>,
    /// Composites averaged.
    pub count: usize,
}

/// One picture with one hole, and how every filler did.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The picture's name.
    pub picture: String,
    /// The mask's path below its folder, without its ending; `None` where it was drawn.
    pub mask: Option<String>,
    /// Position in [`BUCKETS`]; `None` outside all of them.
    pub bucket: Option<usize>,
    /// Share of hole, `0.0..=1.0`.
    pub hole: f64,
    /// Each filler's scores, in the fillers' order.
    pub scores: Vec<Scores>,
}

/// A trial with its pictures.
#[derive(Clone, Debug)]
pub struct Case {
    /// What was scored.
    pub trial: Trial,
    /// Input, each filler's composite, original.
    pub row: Vec<RgbPicture>,
}

/// A model file among the fillers, for the record.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// The filler's name.
    pub filler: String,
    /// The file.
    pub path: PathBuf,
    /// How kernels are stored, which `.lbam` files state.
    pub precision: Option<&'static str>,
    /// `blake3:` and 64 hexadecimal digits: what a `.lbam` file states of its content, of other files
    /// that of the whole.
    pub checksum: String,
}

/// One filler's results.
#[derive(Clone, Debug)]
pub struct FillerReport {
    /// The filler's name.
    pub name: String,
    /// For each of [`BUCKETS`]; `None` where no mask fell into it.
    pub buckets: [Option<Scores>; 4],
    /// Over all masks; `None` where there was none.
    pub overall: Option<Scores>,
}

/// The results of all fillers, in their order.
#[derive(Clone, Debug)]
pub struct Report {
    /// Pictures evaluated.
    pub pictures: usize,
    /// The folder they are from, as it was named.
    pub images: PathBuf,
    /// Pictures of it that could not be read.
    pub unreadable: usize,
    /// Pictures evaluated that had a side below what they were scaled to.
    pub small: usize,
    /// Pictures that no mask has a hole in: nothing of them is scored.
    pub unscored: usize,
    /// Width and height of the first; [`read_samples`] makes all alike.
    pub size: Option<(usize, usize)>,
    /// Where holes came from, in words.
    pub masks: String,
    /// The model files, which only the caller knows.
    pub models: Vec<ModelFile>,
    /// The network behind LPIPS, if it was taken.
    pub lpips: Option<&'static str>,
    /// The results.
    pub fillers: Vec<FillerReport>,
    /// What they are the means of.
    pub trials: Vec<Trial>,
    /// Some rows for a contact sheet: input, each filler's composite, original.
    pub examples: Vec<Vec<RgbPicture>>,
    /// The pictures on which the first filler's PSNR in the hole is lowest, the lowest first, each
    /// with the mask on which it is.
    pub worst: Vec<Case>,
}

/// Names for models, then baselines: a model goes by its file name, and where others share that by
/// its path, less the leading folders that all of these have in common.
pub fn filler_names(
    models: &[PathBuf],
    baselines: &[String],
) -> Result<Vec<String>, EvaluateError> {
    let models = models.iter().map(|path| {
        // The path itself among them: alone it has all of its folders in common.
        let same = models.iter().filter(|other| other.file_name() == path.file_name());
        let common = same.map(|other| common_folders(path, other)).min().unwrap_or(0);
        path.components().skip(common).collect::<PathBuf>().display().to_string()
    });
    let names: Vec<String> = models.chain(baselines.iter().cloned()).collect();
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(EvaluateError::Twice { name: name.clone() }),
        None => Ok(names),
    }
}

/// How many leading folders two paths share.
fn common_folders(a: &Path, b: &Path) -> usize {
    match (a.parent(), b.parent()) {
        (Some(a), Some(b)) => {
            a.components().zip(b.components()).take_while(|(a, b)| a == b).count()
        }
        _ => 0,
    }
}

impl ModelFile {
    /// What is known of the file at `path`.
    pub fn read(filler: &str, path: &Path) -> Result<Self, FileError> {
        let (precision, checksum) = match path.extension().is_some_and(|end| end == "lbam") {
            true => {
                let model = Model::open(path)?;
                (Some(model.precision().name()), model.checksum().to_owned())
            }
            false => (None, checksum(path).map_err(|source| FileError::read(path, source))?),
        };
        Ok(Self { filler: filler.to_owned(), path: path.to_owned(), precision, checksum })
    }
}

/// BLAKE3 of a whole file, written as `.lbam` files write theirs.
fn checksum(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(format!("blake3:{}", hasher.finalize().to_hex()))
}

/// All pictures below `folder` in the order of their paths, each cut to its central square and
/// scaled to `side x side` (which leaves pictures of that size as they are).
pub fn read_samples(folder: &Path, side: usize) -> Result<Samples, EvaluateError> {
    let mut paths = Vec::new();
    photos::list(folder, &mut paths)?;
    let mut list = Vec::new();
    let (mut unreadable, mut small) = (0, 0);
    for (place, path) in paths.into_iter().enumerate() {
        match photos::central_square(&path, side) {
            Ok((data, is_small)) => {
                let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
                small += usize::from(is_small);
                list.push(Sample { name, place, picture: RgbPicture::new(side, side, data)? });
            }
            Err(error) => {
                unreadable += 1;
                log::warn!("skipped: {error}");
            }
        }
    }
    if list.is_empty() {
        return Err(DataError::NoPictures { path: folder.to_owned(), unreadable }.into());
    }
    if small > 0 {
        log::warn!(
            "{small} pictures have a side below {side} pixels and are scaled up, which makes them easier \
             to fill; leave them out, or give a smaller --size"
        );
    }
    Ok(Samples { folder: folder.to_owned(), list, unreadable, small })
}

/// All masks below `folder` (white = fill): each picture's own, of its name but for the ending; or, if none
/// is called so, in the order of their paths, which is said.
pub fn read_masks(folder: &Path, samples: &Samples) -> Result<Masks, EvaluateError> {
    let mut paths = Vec::new();
    photos::list(folder, &mut paths)?;
    if paths.is_empty() {
        return Err(EvaluateError::NoMasks { path: folder.to_owned() });
    }
    let name = |path: &Path| path.strip_prefix(folder).unwrap_or(path).with_extension("");
    let named: HashMap<PathBuf, &PathBuf> = paths.iter().map(|path| (name(path), path)).collect();
    let own = |sample: &Sample| named.get(&Path::new(&sample.name).with_extension("")).copied();
    let found: Vec<&PathBuf> = samples.list.iter().filter_map(own).collect();
    let without = samples.list.iter().find(|sample| own(sample).is_none());
    let by_name = match (found.len(), without) {
        (_, None) => true,
        (0, Some(_)) => false,
        (found, Some(Sample { name, .. })) => {
            let (folder, picture) = (folder.to_owned(), name.clone());
            return Err(EvaluateError::MaskMissing { folder, picture, found });
        }
    };
    if !by_name {
        log::warn!(
            "{}: {} masks for {} pictures, in turn in the order of their names; masks that are called as \
             their pictures go with those",
            folder.display(),
            paths.len(),
            samples.list.len()
        );
    }
    let paths = if by_name { found } else { paths.iter().collect() };
    // A mask that is left out would shift all others to other pictures: none may fail.
    let masks = paths
        .into_iter()
        .map(|path| Ok((name(path).display().to_string(), Mask::read(path)?)))
        .collect::<Result<Vec<_>, EvaluateError>>()?;
    Ok(Masks::Given(GivenMasks { folder: folder.to_owned(), by_name, masks }))
}

impl Masks {
    /// The masks for the sample at position `index`, those from files with their names.
    fn for_sample(
        &self,
        index: usize,
        sample: &Sample,
    ) -> Result<Vec<(Option<String>, Mask)>, MaskError> {
        let (width, height) = (sample.picture.width, sample.picture.height);
        match self {
            Self::Given(given) => {
                let in_turn = sample.place % given.masks.len().max(1);
                let mask = given.masks.get(if given.by_name { index } else { in_turn });
                mask.map(|(name, mask)| Ok((Some(name.clone()), scaled(mask, width, height)?)))
                    .into_iter()
                    .collect()
            }
            Self::Seed(seed) => (0_u64..)
                .zip(BUCKETS)
                .map(|(bucket, (_, above, to))| {
                    // Neighbouring seeds would give the same masks to other pictures. Published scores
                    // are of seed 1 as it is.
                    let seed = if *seed == 1 { 1 } else { random::apart(*seed) };
                    let mut rng = random::generator(seed, sample.place as u64, bucket);
                    let ratio: RangeInclusive<f32> = above.next_up()..=to;
                    let grey = masks::draw(&mut rng, width, height, ratio, Style::Brush);
                    Ok((None, Mask::from_grey(width, height, &grey)?))
                })
                .collect(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Given(GivenMasks { folder, by_name, masks }) => {
                let how = if *by_name { "each for the picture of its name" } else { "in turn" };
                format!("{} masks of {}, {how}", masks.len(), folder.display())
            }
            Self::Seed(seed) => format!("brush masks of seed {seed}, one in each bucket"),
        }
    }
}

/// The middle of a mask, as that of its picture was taken. The nearest pixel is taken: a mask stays black
/// and white.
fn scaled(mask: &Mask, width: usize, height: usize) -> Result<Mask, MaskError> {
    if (mask.width(), mask.height()) == (width, height) {
        return Ok(mask.clone());
    }
    let side = mask.width().min(mask.height());
    let (left, top) = ((mask.width() - side) / 2, (mask.height() - side) / 2);
    let nearest = |to: usize, length: usize| (2 * to + 1) * side / (2 * length);
    let mut grey = Vec::with_capacity(width * height);
    for y in 0..height {
        let row = &mask.row(top + nearest(y, height))[left..];
        grey.extend((0..width).map(|x| row[nearest(x, width)]));
    }
    Mask::from_grey(width, height, &grey)
}

/// Runs every filler on every sample with every mask, and takes LPIPS if it is given. `examples`
/// rows are kept for a contact sheet, spread over samples and buckets; `progress` is told the
/// composites done and in all after each mask.
pub fn evaluate(
    samples: &Samples,
    masks: &Masks,
    fillers: &mut [(&str, &mut Filler)],
    lpips: Option<&Lpips>,
    examples: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Report, EvaluateError> {
    let per_sample = if matches!(masks, Masks::Seed(_)) { BUCKETS.len() } else { 1 };
    let runs = samples.list.len() * per_sample;
    // One bucket after the other, from the first sample to the last.
    let examples = examples.min(runs);
    let shown: Vec<usize> = (0..examples)
        .map(|example| example * samples.list.len() / examples * per_sample + example % per_sample)
        .collect();
    let (mut trials, mut kept, mut worst) = (Vec::new(), Vec::new(), Vec::new());
    let (mut run, mut unscored) = (0, 0);
    for (index, sample) in samples.list.iter().enumerate() {
        // One case of a picture is enough: else the worst would be one picture in all its masks.
        let mut worst_of_sample: Option<Case> = None;
        let original = lpips.map(|lpips| (lpips, lpips.look(&sample.picture)));
        for (name, mask) in masks.for_sample(index, sample)? {
            let blank = sheet::painted(&sample.picture, &mask, [0; 3])?;
            let composites = fill(sample, &blank, &mask, fillers)?;
            let scores = composites
                .par_iter()
                .map(|composite| score(&sample.picture, original.as_ref(), composite, &mask))
                .collect::<Result<Vec<_>, PictureError>>()?;
            let mut row = vec![sheet::painted(&sample.picture, &mask, sheet::HOLE_COLOUR)?];
            row.extend(composites);
            row.push(sample.picture.clone());
            if shown.contains(&run) {
                kept.push(row.clone());
            }
            // A mask without a hole asks for nothing, so there is nothing to score.
            if let Some(scores) = scores.into_iter().collect::<Option<Vec<_>>>() {
                let (hole, picture) = (mask.hole_ratio(), sample.name.clone());
                let trial = Trial { picture, mask: name, bucket: bucket(hole), hole, scores };
                trials.push(trial.clone());
                let case = Case { trial, row };
                if worst_of_sample.as_ref().is_none_or(|worst| case.psnr() < worst.psnr()) {
                    worst_of_sample = Some(case);
                }
            }
            run += 1;
            progress(run * fillers.len(), runs * fillers.len());
        }
        unscored += usize::from(worst_of_sample.is_none());
        worst.extend(worst_of_sample);
        worst.sort_by(|a: &Case, b| a.psnr().total_cmp(&b.psnr()));
        worst.truncate(WORST);
    }
    if trials.is_empty() {
        return Err(EvaluateError::NoHoles);
    }
    let means = |filler: usize, name: &str| {
        let of = |wanted: &dyn Fn(&Trial) -> bool| {
            mean(trials.iter().filter(|trial| wanted(trial)).map(|trial| &trial.scores[filler]))
        };
        FillerReport {
            name: name.to_owned(),
            buckets: [0, 1, 2, 3].map(|bucket| of(&|trial| trial.bucket == Some(bucket))),
            overall: of(&|_| true),
        }
    };
    Ok(Report {
        pictures: samples.list.len(),
        images: samples.folder.clone(),
        unreadable: samples.unreadable,
        small: samples.small,
        unscored,
        size: samples.list.first().map(|sample| (sample.picture.width, sample.picture.height)),
        masks: masks.describe(),
        models: Vec::new(),
        lpips: lpips.map(Lpips::name),
        fillers: fillers.iter().enumerate().map(|(at, (name, _))| means(at, name)).collect(),
        trials,
        examples: kept,
        worst,
    })
}

/// Position in [`BUCKETS`] of a share of hole.
fn bucket(hole: f64) -> Option<usize> {
    // Masks are drawn against these very numbers as f32.
    let hole = hole as f32;
    BUCKETS.iter().position(|&(_, above, to)| above < hole && hole <= to)
}

impl Case {
    /// The first filler's PSNR in the hole; without fillers all cases are equal.
    fn psnr(&self) -> f64 {
        self.trial.scores.first().map_or(0.0, |scores| scores.psnr_hole)
    }
}

/// Each filler's composite: its hole pixels, all others from the original.
fn fill(
    sample: &Sample,
    blank: &RgbPicture,
    mask: &Mask,
    fillers: &mut [(&str, &mut Filler)],
) -> Result<Vec<RgbPicture>, EvaluateError> {
    let mut composites = Vec::with_capacity(fillers.len());
    for (name, filler) in fillers {
        let mut filled = filler(blank, mask).map_err(|source| EvaluateError::Filler {
            filler: (*name).to_owned(),
            picture: sample.name.clone(),
            source,
        })?;
        let (found, wanted) = ((filled.width, filled.height), (blank.width, blank.height));
        if found != wanted || filled.data.len() != blank.data.len() {
            let (filler, picture) = ((*name).to_owned(), sample.name.clone());
            return Err(EvaluateError::Size { filler, picture, found, wanted });
        }
        sheet::keep_known(&mut filled, &sample.picture, mask);
        composites.push(filled);
    }
    Ok(composites)
}

/// One composite's scores; `None` for a mask without a hole, which asks for nothing.
fn score(
    original: &RgbPicture,
    look: Option<&(&Lpips, Look)>,
    composite: &RgbPicture,
    mask: &Mask,
) -> Result<Option<Scores>, PictureError> {
    let (a, b) = (&original.data, &composite.data);
    let (width, height) = (original.width, original.height);
    let Some(psnr_hole) = metrics::psnr_in_hole(a, b, mask)? else { return Ok(None) };
    Ok(Some(Scores {
        psnr: metrics::psnr(a, b, width, height)?.min(PSNR_CEILING),
        psnr_hole: psnr_hole.min(PSNR_CEILING),
        ssim: metrics::ssim(a, b, width, height)?,
        l1: metrics::mean_l1(a, b, width, height)?,
        lpips: look.map(|(lpips, look)| lpips.distance(look, &lpips.look(composite))),
        count: 1,
    }))
}

/// The means; `None` of nothing.
fn mean<'a>(scores: impl Iterator<Item = &'a Scores> + Clone) -> Option<Scores> {
    let count = scores.clone().count();
    let of = |value: fn(&Scores) -> f64| scores.clone().map(value).sum::<f64>() / count as f64;
    (count > 0).then(|| Scores {
        psnr: of(|scores| scores.psnr),
        psnr_hole: of(|scores| scores.psnr_hole),
        ssim: of(|scores| scores.ssim),
        l1: of(|scores| scores.l1),
        lpips: scores
            .clone()
            .map(|scores| scores.lpips)
            .sum::<Option<f64>>()
            .map(|sum| sum / count as f64),
        count,
    })
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
