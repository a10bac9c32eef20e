//! From the frame to the network and back: the region cut out without what the holes hide,
//! the network's fill put in, and the flat paint when there is no fill.

use super::convert::{Planes, rgb_to_planes};
use super::detail::Detail;
use super::frame::NEUTRAL_CHROMA;
use super::mask::hole_runs;
use super::seam::SeamScratch;
use super::{
    Frame, KNOWN, MOST_REGIONS, Mask, MaskError, PictureError, PixelBox, PixelFormat, Region,
};
use crate::kernels::resample::{Filter, Resampler};
use crate::kernels::workers;

/// How the fill meets the known picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seam {
    /// The network's bytes as they are.
    None,
    /// A shift of brightness or colour, seen at the rim, is taken off the fill.
    #[default]
    Soft,
}

/// What a hole is painted with when there is no fill: plainly not a picture.
pub const FLAT_GREY: u8 = 128;
/// Luma beyond the owned pixels that the seam and the chroma blocks look at.
const MARGIN: usize = 2;
/// Lines that are converted at once: of whole chroma samples, and few, to stay in a core's cache.
const LINES: usize = 8;
/// No hole hides a part of a chroma sample; or one hides a part of it and leaves another.
const CLEAN: u8 = 0;
const IN_PART: u8 = 1;
/// How far a chroma sample that a hole has spoilt looks for a clean one, nearest first.
const CHROMA_SEARCH: [usize; 2] = [1, 3];

/// Cuts regions out for the network and pastes its fill, with buffers kept from frame to frame.
///
/// What a hole hides (its pixels, and every chroma sample that a hole pixel shares) is never
/// read: neither the network's input nor the pasted frame depends on it.
#[derive(Debug, Default)]
pub struct Paster {
    seam: SeamScratch,
    /// Of each region's size: to the network, and back.
    shrinkers: Vec<Resampler<4>>,
    growers: Vec<Resampler<3>>,
    /// The region in RGB, holes zero.
    known: Vec<u8>,
    /// The region's planes.
    luma: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
    /// Of each chroma sample that pixels share, how much of it holes hide.
    hiding: Vec<u8>,
    /// The region on its way to the network, four bytes a pixel, and its fill on the way back, three.
    region: Vec<u8>,
    scaled: Vec<u8>,
    /// Some lines of the fill, and their planes.
    lines: Vec<u8>,
    planes: Vec<u8>,
}

/// A region that was cut out of a frame, until its fill is pasted. It holds on to both: what is
/// known of them cannot become another frame's or another mask's.
#[derive(Debug)]
pub struct Cut<'a> {
    paster: &'a mut Paster,
    frame: &'a mut Frame,
    region: &'a Region,
}

impl Paster {
    pub fn new() -> Paster {
        Paster::default()
    }

    /// The region as the network sees it: packed RGB at the network's size, zero in
    /// `region.network_holes`. `input` is resized; its memory is reused from call to call.
    ///
    /// Scaling weighs each pixel by known-or-hole (a normalised convolution), so a pixel beside
    /// a hole is a mean of known pixels only, neither darkened nor stained by the hole.
    pub fn network_input<'a>(
        &'a mut self,
        frame: &'a mut Frame,
        region: &'a Region,
        input: &mut Vec<u8>,
    ) -> Result<Cut<'a>, PictureError> {
        self.cut_known(frame, region)?;
        self.scale_known(region, input);
        Ok(Cut { paster: self, frame, region })
    }

    fn scale_known(&mut self, region: &Region, input: &mut Vec<u8>) {
        input.clear();
        if region.is_native() {
            input.extend_from_slice(&self.known);
            return;
        }
        let (size, network) = sizes(region);
        self.region.resize(size.0 * size.1 * 4, 0);
        // Holes are zero, so that scaling sums up known pixels, and in the fourth channel how much
        // of them there is.
        let weigh = |known: &[[u8; 3]], holes: &[u8], rgba: &mut [[u8; 4]]| {
            let pixels = known.iter().zip(holes);
            for (rgba, (&[r, g, b], &hole)) in rgba.iter_mut().zip(pixels) {
                *rgba = [r, g, b, !hole];
            }
        };
        let half = size.0 * size.1 / 2;
        let known = self.known.as_chunks::<3>().0.split_at(half);
        let holes = region.holes.data().split_at(half);
        let rgba = self.region.as_chunks_mut::<4>().0.split_at_mut(half);
        workers::join(|| weigh(known.0, holes.0, rgba.0), || weigh(known.1, holes.1, rgba.1));
        self.scaled.resize(network.0 * network.1 * 4, 0);
        kept(&mut self.shrinkers, size, network, Filter::Bilinear)
            .run(&self.region, &mut self.scaled);
        let pixels = self.scaled.as_chunks::<4>().0.iter().zip(region.network_holes.data());
        for (&[r, g, b, known], &hole) in pixels {
            input.extend_from_slice(&match (hole, known) {
                (KNOWN, u8::MAX) => [r, g, b],
                (KNOWN, 1..) => [r, g, b].map(|sum| known_mean(sum, known)),
                _ => [0; 3],
            });
        }
    }

    fn write(
        &mut self,
        frame: &mut Frame,
        region: &Region,
        work: &PixelBox,
        fill: &[u8],
    ) -> Result<(), PictureError> {
        let (format, range, stride) = (frame.format(), frame.range(), frame.width());
        // Chroma is averaged below, over the pixels of this frame's blocks.
        let full = if format.is_yuv() { PixelFormat::Yuv444 } else { format };
        let samples = if format == PixelFormat::Rgb8 { 3 } else { 1 };
        let block = format.chroma_block();
        let (first, u, v) = frame.planes_mut();
        let mut planes = [(first, (1, 1)), (u, block), (v, block)];
        let bytes = work.width * samples;
        for top in (0..work.height).step_by(LINES) {
            let height = LINES.min(work.height - top);
            self.lines.clear();
            for y in (work.y + top..).take(height) {
                let row = (y * region.width + work.x) * 3;
                self.lines.extend_from_slice(&fill[row..row + work.width * 3]);
            }
            self.planes.resize(full.bytes(work.width, height), 0);
            rgb_to_planes(&self.lines, work.width, height, full, range, &mut self.planes)?;
            let holes = |y: usize| &region.owned.row(work.y + top + y)[work.x..work.right()];
            for (from, (to, (across, down))) in
                self.planes.chunks_exact(bytes * height).zip(&mut planes)
            {
                let level = |y: usize| &from[y * bytes..][..bytes];
                for y in (0..height).step_by(*down) {
                    let row = (region.y + work.y + top + y) / *down * stride.div_ceil(*across);
                    let to = &mut to[(row + (region.x + work.x) / *across) * samples..];
                    if *across == 1 {
                        for pixels in hole_runs(holes(y)) {
                            let run = pixels.start * samples..pixels.end * samples;
                            to[run.clone()].copy_from_slice(&level(y)[run]);
                        }
                    } else {
                        let lines = [y, (y + *down).min(height) - 1];
                        share(lines.map(holes), lines.map(level), to);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets `known`: the region in RGB, holes zero, no hidden chroma in the pixels beside them.
    fn cut_known(&mut self, frame: &Frame, region: &Region) -> Result<(), PictureError> {
        check_plan(frame, region)?;
        let (width, height, stride) = (region.width, region.height, frame.width());
        self.known.resize(width * height * 3, 0);
        if frame.format() == PixelFormat::Rgb8 {
            for (y, row) in self.known.chunks_exact_mut(width * 3).enumerate() {
                let start = ((region.y + y) * stride + region.x) * 3;
                row.copy_from_slice(&frame.data()[start..start + width * 3]);
            }
        } else {
            self.cut_chroma(frame, region);
            self.luma.clear();
            for y in 0..height {
                let start = (region.y + y) * stride + region.x;
                self.luma.extend_from_slice(&frame.plane(0)[start..start + width]);
            }
            let (format, range) = (frame.format(), frame.range());
            let Self { luma, u, v, known, .. } = self;
            let [upper, lower] = Planes { format, range, width, luma, u, v }.halves();
            let (above, below) = known.split_at_mut(3 * upper.luma.len());
            workers::join(|| upper.to_rgb(above), || lower.to_rgb(below));
        }
        let pixels = self.known.as_chunks_mut::<3>().0.iter_mut().zip(region.holes.data());
        pixels.filter(|(_, hole)| **hole != KNOWN).for_each(|(pixel, _)| *pixel = [0; 3]);
        Ok(())
    }

    /// Sets `u` and `v`: the region's chroma, each sample that a hole pixel shares with a known one
    /// replaced by the mean of clean ones near it.
    fn cut_chroma(&mut self, frame: &Frame, region: &Region) {
        let format = frame.format();
        let (across, down) = format.chroma_block();
        let (width, height) = format.chroma_size(region.width, region.height);
        let stride = frame.chroma_size().0;
        self.u.clear();
        self.v.clear();
        for y in 0..height {
            let start = (region.y / down + y) * stride + region.x / across;
            self.u.extend_from_slice(&frame.plane(1)[start..start + width]);
            self.v.extend_from_slice(&frame.plane(2)[start..start + width]);
        }
        if across * down == 1 {
            // What a hole hides goes with its pixels.
            return;
        }
        let Self { u, v, hiding, .. } = self;
        hiding.resize(width * height, CLEAN);
        for (y, hiding) in hiding.chunks_exact_mut(width).enumerate() {
            let lines = [y * down, (y * down + down).min(region.height) - 1];
            let (whole, last) = blocks(lines.map(|y| region.holes.row(y)));
            hiding.iter_mut().zip(whole).for_each(|(hiding, block)| *hiding = hides(block));
            if let (Some(hiding), Some(block)) = (hiding.last_mut(), last) {
                *hiding = hides(block);
            }
        }
        for (at, _) in hiding.iter().enumerate().filter(|(_, hides)| **hides == IN_PART) {
            let (x, y) = (at % width, at / width);
            for plane in [&mut *u, &mut *v] {
                let mean = |radius: usize| {
                    let (mut sum, mut count) = (0u32, 0u32);
                    for v in y.saturating_sub(radius)..(y + radius + 1).min(height) {
                        for u in x.saturating_sub(radius)..(x + radius + 1).min(width) {
                            if hiding[v * width + u] == CLEAN {
                                sum += u32::from(plane[v * width + u]);
                                count += 1;
                            }
                        }
                    }
                    (count > 0).then(|| ((sum + count / 2) / count) as u8)
                };
                plane[at] = CHROMA_SEARCH.into_iter().find_map(mean).unwrap_or(NEUTRAL_CHROMA);
            }
        }
    }
}

impl Cut<'_> {
    /// Writes the network's fill (packed RGB at the network's size) into the pixels the region
    /// owns. Known pixels keep their luma and RGB bit by bit; a chroma sample that a hole pixel
    /// shares is rewritten from the fill, else it would show the hidden colour. With `detail`, made
    /// for this region, the fill gets fine structure before.
    pub fn paste(
        self,
        fill: &[u8],
        seam: Seam,
        detail: Option<&mut Detail>,
    ) -> Result<(), PictureError> {
        let Self { paster, frame, region } = self;
        let needed = region.network_bytes();
        if fill.len() != needed {
            return Err(MaskError::Fill { needed, found: fill.len() }.into());
        }
        let Some((holes, owned)) = &region.bounds else { return Ok(()) };
        let work = widen(owned, region);
        if region.is_native() && seam == Seam::None && detail.is_none() {
            return paster.write(frame, region, &work, fill);
        }
        let mut buffer = std::mem::take(&mut paster.region);
        let (size, network) = sizes(region);
        let bytes = size.0 * size.1 * 3;
        if buffer.len() < bytes {
            buffer.resize(bytes, 0);
        }
        let scaled = &mut buffer[..bytes];
        if region.is_native() {
            scaled.copy_from_slice(fill);
        } else {
            // Detail looks at the holes of other regions too.
            let area = widen(holes, region);
            kept(&mut paster.growers, network, size, Filter::CatmullRom).run_within(
                fill,
                scaled,
                area.x..area.right(),
                area.y..area.bottom(),
            );
        }
        if seam == Seam::Soft {
            let (holes, owned) = (&region.holes, &region.owned);
            paster.seam.soften(&work, holes, owned, &paster.known, scaled);
        }
        if let Some(detail) = detail {
            detail.add(&paster.known, scaled);
        }
        paster.write(frame, region, &work, scaled)?;
        paster.region = buffer;
        Ok(())
    }
}

/// Paints all holes in a flat grey: what is shown when there is no fill. Nothing hidden is read
/// and nothing hidden is left, chroma included.
pub fn paint_flat(frame: &mut Frame, mask: &Mask) -> Result<(), PictureError> {
    mask.fits(frame.width(), frame.height())?;
    let (format, width) = (frame.format(), frame.width());
    let (across, down) = format.chroma_block();
    let chroma_stride = frame.chroma_size().0;
    let samples = if format == PixelFormat::Rgb8 { 3 } else { 1 };
    let (first, u, v) = frame.planes_mut();
    let holes = mask.data().iter().enumerate().filter(|(_, hole)| **hole != KNOWN);
    for (at, _) in holes {
        first[at * samples..(at + 1) * samples].fill(FLAT_GREY);
        if format.is_yuv() {
            let chroma = at / width / down * chroma_stride + at % width / across;
            (u[chroma], v[chroma]) = (NEUTRAL_CHROMA, NEUTRAL_CHROMA);
        }
    }
    Ok(())
}

/// The four pixels of each chroma sample in a line of them, by the first line of pixels and the last; and
/// those of one at the end that an odd width cuts short. Where a sample has fewer pixels they come
/// twice, so that the mean is the same.
fn blocks([first, last]: [&[u8]; 2]) -> (impl Iterator<Item = [u8; 4]>, Option<[u8; 4]>) {
    let [(first, first_end), (last, last_end)] = [first, last].map(<[u8]>::as_chunks::<2>);
    let whole = first.iter().zip(last).map(|(a, b)| [a[0], a[1], b[0], b[1]]);
    (whole, first_end.first().zip(last_end.first()).map(|(&a, &b)| [a, a, b, b]))
}

/// How much of a chroma sample holes hide: [`CLEAN`], [`IN_PART`] or all.
fn hides([a, b, c, d]: [u8; 4]) -> u8 {
    u8::from(a | b | c | d != KNOWN) + u8::from(a & b & c & d != KNOWN)
}

/// Sets the chroma samples of a line that a hole pixel shares to the mean of their pixels' levels.
fn share(holes: [&[u8]; 2], levels: [&[u8]; 2], samples: &mut [u8]) {
    let shared = |sample: u8, block: [u8; 4], [a, b, c, d]: [u8; 4]| {
        let mean = (u16::from(a) + u16::from(b) + u16::from(c) + u16::from(d) + 2) / 4;
        if hides(block) == CLEAN { sample } else { mean as u8 }
    };
    let ((whole_holes, last_hole), (whole, last)) = (blocks(holes), blocks(levels));
    let end = holes[0].len() / 2;
    for (sample, (hole, levels)) in samples.iter_mut().zip(whole_holes.zip(whole)) {
        *sample = shared(*sample, hole, levels);
    }
    if let Some((hole, levels)) = last_hole.zip(last) {
        samples[end] = shared(samples[end], hole, levels);
    }
}

fn check_plan(frame: &Frame, region: &Region) -> Result<(), MaskError> {
    if (frame.width(), frame.height()) == (region.frame_width, region.frame_height) {
        return Ok(());
    }
    Err(MaskError::Plan {
        plan_width: region.frame_width,
        plan_height: region.frame_height,
        frame_width: frame.width(),
        frame_height: frame.height(),
    })
}

/// The box with a margin, its edges on even pixels (region starts are even too), inside the
/// region.
fn widen(holes: &PixelBox, region: &Region) -> PixelBox {
    let (x, y) = (holes.x.saturating_sub(MARGIN) & !1, holes.y.saturating_sub(MARGIN) & !1);
    let right = (holes.right() + MARGIN).next_multiple_of(2).min(region.width);
    let bottom = (holes.bottom() + MARGIN).next_multiple_of(2).min(region.height);
    PixelBox { x, y, width: right - x, height: bottom - y }
}

/// The region's size in the frame, and the network's.
fn sizes(region: &Region) -> ((usize, usize), (usize, usize)) {
    ((region.width, region.height), (region.network_width, region.network_height))
}

/// Of sums of known pixels, with so much of all weights: their mean.
fn known_mean(sum: u8, weight: u8) -> u8 {
    let (sum, weight) = (u32::from(sum), u32::from(weight));
    ((sum * 255 + weight / 2) / weight).min(255) as u8
}

/// The resampler for these sizes, made when it is asked for first.
fn kept<const CHANNELS: usize>(
    resamplers: &mut Vec<Resampler<CHANNELS>>,
    from: (usize, usize),
    to: (usize, usize),
    filter: Filter,
) -> &mut Resampler<CHANNELS> {
    let found = resamplers.iter().position(|resampler| resampler.is_for(from, to, filter));
    let index = found.unwrap_or_else(|| {
        if resamplers.len() > MOST_REGIONS {
            // Of masks that are no more.
            resamplers.clear();
        }
        resamplers.push(Resampler::new(from, to, filter));
        resamplers.len() - 1
    });
    &mut resamplers[index]
}

#[cfg(test)]
#[path = "paste_tests.rs"]
mod tests;
