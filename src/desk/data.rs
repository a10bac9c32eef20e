//! Training data: batches of crops and masks from a folder of photographs of any size.
//!
//! Batch `k` of a seed is a pure function of the folder, the seed and `k`: every sample draws its
//! picture, crop and flip from a generator seeded by (seed, step, index). So any number of
//! threads makes the same stream, and a resumed training goes on with the very next batch. (A shuffle
//! buffer filled with several crops of each decoded picture would make the stream depend on its past.)
//!
//! Hundreds of pictures fit in memory decoded and scaled to a short side of [`CACHED_SIDE`]; after the
//! first minute nothing is decoded any more and a sample costs one small resize. A folder that outgrows
//! the budget evicts the picture that was read first. To decode one for each sample would take longer
//! than to train on it: there each place of a batch keeps its picture for [`MANY_CROPS`] steps, of which
//! each takes another crop, and places change theirs in turns.
//!
//! Worker `w` of `n` makes steps `w, w + n, ...` into its own bounded channel and the consumer
//! takes from the channels in turn, which keeps the order without a reordering buffer.
//!
//! Hazard: a file whose header reads but whose pixels do not is found out only when it is first
//! drawn. The sample then draws again from its own generator, so that the stream stays the same
//! in every run, and the file is named once in a warning.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    num::NonZeroU64,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fast_image_resize::Resizer;
use rand_pcg::Pcg64;

use super::colours::Colours;
use super::mask_folder::MaskFolder;
use super::masks::{self, Border, Style};
use super::photos::{Picture, are_away, decode, has_pixels, list, resized, source_name};
use super::random;

/// What can go wrong with training data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The folder cannot be listed: a wrong path or missing permission.
    #[error("cannot list {path}: {source}; check the path and its permissions")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing to train on: most likely the wrong folder.
    #[error("no readable picture (jpg, png, webp, bmp, gif, tiff, pnm) in {path} or below{}",
        if *unreadable > 0 { format!("; {unreadable} files could not be read, see the warnings") }
        else { String::new() })]
    NoPictures {
        /// The folder.
        path: PathBuf,
        /// Pictures by their name, but not by their content.
        unreadable: usize,
    },
    /// No mask to train with: most likely the wrong folder.
    #[error("no readable mask (jpg, png, webp, bmp, gif, tiff, pnm) in {path} or below{}",
        if *unreadable > 0 { format!("; {unreadable} files could not be read, see the warnings") }
        else { String::new() })]
    NoMasks {
        /// The folder.
        path: PathBuf,
        /// Pictures by their name, but not by their content.
        unreadable: usize,
    },
    /// Masks, but none with such a hole.
    #[error(
        "none of {count} masks in {path} has a hole of {} to {} of its middle square (white = \
         fill); they have {} to {}: give another --mask-ratio",
        wanted.0, wanted.1, found.0, found.1
    )]
    NoSuchMask {
        /// The folder.
        path: PathBuf,
        /// Masks that were read.
        count: usize,
        /// Smallest and largest share of hole asked for.
        wanted: (f32, f32),
        /// Smallest and largest there is.
        found: (f32, f32),
    },
    /// A number in [`BatchConfig`] makes no sense: the caller's mistake.
    #[error("{0}")]
    Config(String),
    /// Pictures that were there when training began, all of them.
    #[error(
        "{path}: the pictures are away (its disk or share, most likely); steps that were done are \
         saved: go on (--resume) when they are back"
    )]
    Away {
        /// The folder.
        path: PathBuf,
    },
    /// A bug in the thread.
    #[error("the thread that reads pictures died; please report it")]
    Died,
    /// The system would not start a thread: out of memory or at its limit.
    #[error("cannot start a data thread: {0}")]
    Thread(io::Error),
}

/// What batches hold and how they are made.
#[derive(Clone, Debug)]
pub struct BatchConfig {
    /// Width and height of the crops, pixels.
    pub size: usize,
    /// Pictures in a batch.
    pub batch: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// The first batch's step: 0, or where a resumed training stopped.
    pub start_step: u64,
    /// Threads that make batches, at least 1. More change the speed and nothing else.
    pub threads: usize,
    /// Batches that may lie ready for each thread; they bound the memory used.
    pub ready: usize,
    /// Masks in a batch, at least 1; the mask branches run once for each. The batch is a multiple
    /// of it, and picture `n` has mask `n % K`.
    pub masks_per_batch: usize,
    /// Shares of hole, within `0.0..=1.0`.
    pub mask_ratio: RangeInclusive<f32>,
    /// Folder of mask pictures (white = fill) to draw from; `None`: masks are drawn up.
    pub mask_folder: Option<PathBuf>,
    /// What the holes look like that are drawn up.
    pub mask_style: Style,
    /// Whether their strokes may run over the border.
    pub mask_border: Border,
    /// The files of the folder to draw from; `None`: all pictures in it and below.
    pub files: Option<Vec<PathBuf>>,
    /// Whether pictures are shown in other colours, too.
    pub vary_colours: bool,
    /// Crops taken of a picture, one a step, before another is drawn; `None`: one, or [`MANY_CROPS`] of
    /// more pictures than `cache_bytes` hold.
    pub crops: Option<NonZeroU64>,
    /// Memory that decoded pictures may take, bytes.
    pub cache_bytes: usize,
    /// How long to wait for pictures that are away, all of them.
    pub patience: Duration,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            size: 256,
            batch: 8,
            seed: 0,
            start_step: 0,
            threads: 1,
            ready: 3,
            masks_per_batch: 1,
            mask_ratio: 0.1..=0.5,
            mask_folder: None,
            mask_style: Style::Brush,
            mask_border: Border::Half,
            files: None,
            vary_colours: false,
            crops: None,
            cache_bytes: 3 << 30,
            patience: Duration::from_secs(30),
        }
    }
}

/// One step's data.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The step this batch is for.
    pub step: u64,
    /// `[N, 3, size, size]`, RGB in `0.0..=1.0`.
    pub pictures: Vec<f32>,
    /// `[K, 1, size, size]`, **1 = known, 0 = hole**; `K` is [`BatchConfig::masks_per_batch`].
    pub masks: Vec<f32>,
}

impl Batch {
    /// The batch in this many equal parts, which share its masks where each fits all of them, and
    /// else its masks' parts. Pictures keep their masks.
    ///
    /// # Panics
    /// If its pictures, or masks of pictures' own, cannot be divided so: the caller's mistake.
    pub fn divided(self, parts: usize, size: usize) -> Vec<Self> {
        if parts == 1 {
            return vec![self];
        }
        let plane = size * size;
        let (pictures, masks) = (self.pictures.len() / (3 * plane), self.masks.len() / plane);
        assert!(divides(pictures, masks, parts), "{pictures} pictures and {masks} masks");
        let own = masks == pictures;
        let each = self.pictures.len() / parts;
        let shares = self.pictures.chunks_exact(each).enumerate().map(|(part, pictures)| Self {
            step: self.step,
            pictures: pictures.to_vec(),
            masks: match own {
                true => self.masks[part * each / 3..][..each / 3].to_vec(),
                false => self.masks.clone(),
            },
        });
        shares.collect()
    }
}

/// Whether pictures with masks, of which picture `n` has mask `n % masks`, can be divided.
pub(super) fn divides(pictures: usize, masks: usize, parts: usize) -> bool {
    pictures.is_multiple_of(parts)
        && (masks == pictures || (pictures / parts).is_multiple_of(masks))
}

/// Decoded pictures are kept at a short side of this many pixels at most (or at the crop's size,
/// where that is larger): four times the usual crop, so that detail is still seen at full scale,
/// and 789 photographs take less than 2 GiB.
pub const CACHED_SIDE: usize = 1024;

/// What a picture takes of the budget, about, bytes.
const CACHED_BYTES: usize = 3 * CACHED_SIDE * CACHED_SIDE;

/// Crops of a picture where pictures are more than memory holds.
pub const MANY_CROPS: u64 = 8;

/// The share of samples that show as much of the scene as a square can. The others take a crop
/// whose side is log-uniform between the training size and the picture's short side.
const WHOLE_SCENES: f32 = 0.25;

/// A sample that met this many unreadable pictures in a row takes the picture known to be good.
const REDRAWS: usize = 32;

/// How often to look whether pictures are back.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// An endless, ordered stream of [`Batch`]es. `next` gives `None` only for a [`Batches::fault`].
pub struct Batches {
    channels: Vec<Receiver<Batch>>,
    threads: Vec<JoinHandle<()>>,
    turn: usize,
    pool: Arc<Pool>,
    /// When the first batch was handed out: reading the first pictures is not counted.
    since: Option<Instant>,
    waited: Duration,
}

impl Batches {
    /// Lists `folder` and starts the threads.
    pub fn new(folder: &Path, config: BatchConfig) -> Result<Self, DataError> {
        check(&config)?;
        let pool = Arc::new(Pool::open(folder, &config)?);
        let count = config.threads;
        let (mut channels, mut threads) = (Vec::new(), Vec::new());
        for worker in 0..count {
            let (sender, receiver) = sync_channel(config.ready);
            let (pool, config) = (Arc::clone(&pool), config.clone());
            let thread = std::thread::Builder::new()
                .name(format!("data-{worker}"))
                .spawn(move || work(&pool, &config, worker, &sender))
                .map_err(DataError::Thread)?;
            channels.push(receiver);
            threads.push(thread);
        }
        Ok(Self { channels, threads, turn: 0, pool, since: None, waited: Duration::ZERO })
    }

    /// Pictures that batches are drawn from (those found unreadable later still count).
    pub fn picture_count(&self) -> usize {
        self.pool.files.len()
    }

    /// Crops taken of a picture before another is drawn.
    pub fn crops(&self) -> u64 {
        self.pool.crops
    }

    /// Why there is no next batch.
    pub fn fault(&self) -> DataError {
        if self.pool.is_lost() {
            return DataError::Away { path: self.pool.folder.clone() };
        }
        DataError::Died
    }

    /// The share of time since the first batch that the consumer waited for data: near 0 while
    /// training sets the pace, towards 1 when reading does.
    pub fn wait_share(&self) -> f64 {
        let elapsed = self.since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        if elapsed > 0.0 { self.waited.as_secs_f64() / elapsed } else { 0.0 }
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let asked = Instant::now();
        let batch = self.channels[self.turn].recv().ok()?;
        self.turn = (self.turn + 1) % self.channels.len();
        match self.since {
            None => self.since = Some(Instant::now()),
            Some(_) => self.waited += asked.elapsed(),
        }
        Some(batch)
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // Without receivers the threads' next send fails, and they end.
        self.channels.clear();
        for thread in self.threads.drain(..) {
            // A panic was already reported by the panic hook, and by `next`.
            let _ = thread.join();
        }
    }
}

fn check(config: &BatchConfig) -> Result<(), DataError> {
    let (low, high) = (*config.mask_ratio.start(), *config.mask_ratio.end());
    let wrong = if config.size == 0 || config.batch == 0 || config.threads == 0 {
        "size, batch and threads must be at least 1".to_owned()
    } else if config.masks_per_batch == 0 || !config.batch.is_multiple_of(config.masks_per_batch) {
        format!(
            "{} masks cannot be shared evenly by a batch of {} pictures",
            config.masks_per_batch, config.batch
        )
    } else if !(0.0 <= low && low <= high && high <= 1.0) {
        format!("hole ratios {low} to {high} do not lie between 0 and 1")
    } else {
        return Ok(());
    };
    Err(DataError::Config(wrong))
}

/// One data thread: every `threads`-th step, until nobody listens.
fn work(pool: &Pool, config: &BatchConfig, worker: usize, sender: &SyncSender<Batch>) {
    let mut resizer = Resizer::new();
    let mut step = config.start_step + worker as u64;
    loop {
        let batch = pool.batch(config, step, &mut resizer);
        if pool.is_lost() || sender.send(batch).is_err() {
            return;
        }
        step += config.threads as u64;
    }
}

/// Pictures of one origin, the folder's top-level subfolder, sampled with a weight of the square
/// root of their number: 284 alike landscapes then count as 17 pictures do, not as 284.
struct Source {
    /// Indices into [`Pool::files`].
    files: Vec<usize>,
    /// End of this source's share of `0.0..1.0`; it starts where the one before ends.
    upto: f32,
}

/// All pictures of a folder, and the decoded ones among them.
struct Pool {
    folder: PathBuf,
    files: Vec<PathBuf>,
    /// How long to wait for all of them, should they be away.
    patience: Duration,
    /// They did not come back.
    lost: AtomicBool,
    sources: Vec<Source>,
    /// Short side of cached pictures, at most.
    side: usize,
    cache_bytes: usize,
    crops: u64,
    cache: Mutex<Cache>,
    /// A picture was read that others may wait for.
    read: Condvar,
    /// A file that was decoded once.
    good: usize,
    masks: Option<MaskFolder>,
}

#[derive(Default)]
struct Cache {
    /// Beside each file: not read yet, unreadable (`Err`), or its pixels.
    entries: Vec<Option<Result<Arc<Picture>, ()>>>,
    /// Files with pixels here, first read first.
    order: VecDeque<usize>,
    bytes: usize,
    /// Files that are being read.
    reading: Vec<usize>,
}

/// A file that is being read, until this is dropped.
struct Reading<'a>(&'a Pool, usize);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.cache().reading.retain(|index| *index != self.1);
        self.0.read.notify_all();
    }
}

impl Pool {
    fn open(folder: &Path, config: &BatchConfig) -> Result<Self, DataError> {
        let mut candidates = config.files.clone().unwrap_or_default();
        if config.files.is_none() {
            list(folder, &mut candidates)?;
        }
        let (mut files, mut unreadable) = (Vec::new(), 0);
        for path in candidates {
            match has_pixels(&path) {
                Ok(()) => files.push(path),
                Err(error) => {
                    unreadable += 1;
                    log::warn!("{} is skipped: {error}", path.display());
                }
            }
        }
        let mut by_source: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, path) in files.iter().enumerate() {
            by_source.entry(source_name(folder, path)).or_default().push(index);
        }
        let all: f32 = by_source.values().map(|files| (files.len() as f32).sqrt()).sum();
        let mut upto = 0.0;
        let sources = by_source
            .into_values()
            .map(|files| {
                upto += (files.len() as f32).sqrt() / all;
                Source { files, upto }
            })
            .collect();
        let cache = Cache { entries: (0..files.len()).map(|_| None).collect(), ..Cache::default() };
        let are_many = files.len() > config.cache_bytes / CACHED_BYTES;
        let crops = config.crops.map_or(if are_many { MANY_CROPS } else { 1 }, NonZeroU64::get);
        let mut pool = Self {
            folder: folder.to_owned(),
            files,
            patience: config.patience,
            lost: AtomicBool::new(false),
            sources,
            side: CACHED_SIDE.max(config.size),
            cache_bytes: config.cache_bytes,
            crops,
            cache: Mutex::new(cache),
            read: Condvar::new(),
            good: 0,
            masks: None,
        };
        let good = (0..pool.files.len()).find(|&index| pool.picture(index).is_some());
        pool.good = good.ok_or_else(|| DataError::NoPictures {
            path: folder.to_owned(),
            unreadable: unreadable + pool.files.len(),
        })?;
        if let Some(folder) = &config.mask_folder {
            pool.masks = Some(MaskFolder::open(folder, config.size, config.mask_ratio.clone())?);
        }
        Ok(pool)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // The cache is consistent between statements: another thread's panic does not spoil it.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A picture's pixels, from the cache or decoded now; `None` if the file is unreadable.
    fn picture(&self, index: usize) -> Option<Arc<Picture>> {
        let mut cache = self.cache();
        loop {
            if let Some(known) = &cache.entries[index] {
                return known.clone().ok();
            }
            if !cache.reading.contains(&index) {
                break;
            }
            cache = self.read.wait(cache).unwrap_or_else(PoisonError::into_inner);
        }
        if self.is_lost() {
            return None;
        }
        cache.reading.push(index);
        // Decoded without the lock.
        drop(cache);
        let _reading = Reading(self, index);
        let read = || decode(&self.files[index], self.side).map(Arc::new);
        let decoded = read().or_else(|error| {
            if are_away(&self.files) {
                self.wait().ok_or(error)?;
            }
            // They may just have come back.
            read()
        });
        if decoded.is_err() && self.is_lost() {
            return None;
        }
        let decoded = decoded.map_err(|error| log::warn!("skipped from here on: {error}"));
        let mut cache = self.cache();
        if cache.entries[index].is_none() {
            if let Ok(picture) = &decoded {
                cache.bytes += picture.pixels.len();
                cache.order.push_back(index);
            }
            cache.entries[index] = Some(decoded.clone());
            while cache.bytes > self.cache_bytes
                && let Some(oldest) = cache.order.pop_front()
            {
                if let Some(Ok(picture)) = cache.entries[oldest].take() {
                    cache.bytes -= picture.pixels.len();
                }
            }
        }
        decoded.ok()
    }

    /// Whether pictures are away for good.
    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits for pictures that are away, all of them; `None` if they do not come.
    fn wait(&self) -> Option<()> {
        if !self.is_lost() {
            log::warn!("{}: the pictures are away; waiting for them", self.folder.display());
        }
        let begun = Instant::now();
        while are_away(&self.files) {
            if self.is_lost() || begun.elapsed() >= self.patience {
                self.lost.store(true, Ordering::Relaxed);
                return None;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Some(())
    }

    /// A source by its weight, then any of its pictures.
    fn draw_picture(&self, rng: &mut Pcg64) -> Arc<Picture> {
        for _ in 0..REDRAWS {
            let at = random::unit(rng);
            let source = self.sources.partition_point(|source| source.upto <= at);
            // Rounding may leave the last share's end just below 1.
            let files = &self.sources[source.min(self.sources.len() - 1)].files;
            if let Some(picture) = self.picture(files[random::below(rng, files.len())]) {
                return picture;
            }
        }
        // It was decoded when the pool was opened. Should it have been deleted and evicted
        // since, grey keeps a long training alive, with the warnings that name the files. (Where all
        // are away this batch goes nowhere.)
        self.picture(self.good)
            .unwrap_or_else(|| Arc::new(Picture { width: 1, height: 1, pixels: vec![128; 3] }))
    }

    fn batch(&self, config: &BatchConfig, step: u64, resizer: &mut Resizer) -> Batch {
        let plane = config.size * config.size;
        let mut pictures = vec![0.0; config.batch * 3 * plane];
        let seed = random::apart(config.seed);
        for (index, out) in pictures.chunks_exact_mut(3 * plane).enumerate() {
            let index = index as u64;
            let mut rng = random::generator(seed, step, index);
            let picture = match self.crops {
                1 => self.draw_picture(&mut rng),
                crops => {
                    let (turn, index) = ((step + index) / crops, random::PICTURE_INDEX + index);
                    self.draw_picture(&mut random::generator(seed, turn, index))
                }
            };
            crop(&picture, (config.size, config.vary_colours), &mut rng, resizer, out);
        }
        let mut known = Vec::with_capacity(config.masks_per_batch * plane);
        for index in 0..config.masks_per_batch {
            let mut rng = random::generator(seed, step, random::MASK_INDEX + index as u64);
            let mask = match &self.masks {
                Some(folder) => folder.draw(&mut rng),
                None => {
                    let (size, ratio) = (config.size, config.mask_ratio.clone());
                    let (style, border) = (config.mask_style, config.mask_border);
                    masks::draw_with(&mut rng, size, size, ratio, style, border)
                }
            };
            known.extend(mask.iter().map(|&hole| if hole == 0 { 1.0 } else { 0.0 }));
        }
        Batch { step, pictures, masks: known }
    }
}

/// A random square of `picture` at a random scale, maybe mirrored, as `[3, size, size]` in
/// `0.0..=1.0`. Only a picture whose short side is below `size` is scaled up.
fn crop(
    picture: &Picture,
    (size, vary_colours): (usize, bool),
    rng: &mut Pcg64,
    resizer: &mut Resizer,
    out: &mut [f32],
) {
    let short = picture.width.min(picture.height);
    let whole = random::unit(rng) < WHOLE_SCENES;
    let scale = random::unit(rng);
    let side = if short <= size || whole {
        short
    } else {
        let side = size as f32 * (short as f32 / size as f32).powf(scale);
        (side.round() as usize).clamp(size, short)
    };
    let left = random::below(rng, picture.width - side + 1);
    let top = random::below(rng, picture.height - side + 1);
    let mirrored = random::unit(rng) < 0.5;
    let colours = if vary_colours { Colours::varied(rng) } else { Colours::unchanged() };
    let mut store = |x: usize, y: usize, pixel: &[u8]| {
        let x = if mirrored { size - 1 - x } else { x };
        for channel in 0..3 {
            let byte = pixel[colours.from[channel]];
            out[(channel * size + y) * size + x] = colours.values[channel][usize::from(byte)];
        }
    };
    let region = (left, top, side, side);
    let square = resized(picture, region, (size, size), resizer);
    for (y, row) in square.chunks_exact(3 * size).enumerate() {
        for (x, pixel) in row.chunks_exact(3).enumerate() {
            store(x, y, pixel);
        }
    }
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
