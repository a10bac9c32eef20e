//! From the frame to the network and back: the region cut out without what the holes hide,
//! the network's fill put in, and the flat paint when there is no fill.

use super::convert::{Planes, mean, rgb_to_planes};
use super::detail::Detail;
use super::frame::NEUTRAL_CHROMA;
use super::seam::SeamScratch;
use super::{
    Frame, KNOWN, MOST_REGIONS, Mask, MaskError, PictureError, PixelBox, PixelFormat, Region,
};
use crate::kernels::resample::{Filter, Resampler};

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
    spoilt: Vec<bool>,
    rgba: Vec<u8>,
    scaled: Vec<u8>,
    fill: Vec<u8>,
    cut: Vec<u8>,
    planes: Vec<u8>,
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
    pub fn network_input(
        &mut self,
        frame: &Frame,
        region: &Region,
        input: &mut Vec<u8>,
    ) -> Result<(), PictureError> {
        self.cut_known(frame, region)?;
        if region.is_native() {
            std::mem::swap(input, &mut self.known);
            return Ok(());
        }
        self.rgba.clear();
        // Holes are zero, so that scaling sums up known pixels, and in the fourth channel how much
        // of them there is.
        for (pixel, &hole) in self.known.as_chunks::<3>().0.iter().zip(region.holes.data()) {
            self.rgba.extend_from_slice(&[pixel[0], pixel[1], pixel[2], !hole]);
        }
        let (size, network) = sizes(region);
        self.scaled.resize(network.0 * network.1 * 4, 0);
        kept(&mut self.shrinkers, size, network, Filter::Bilinear)
            .run(&self.rgba, &mut self.scaled);
        input.clear();
        let pixels = self.scaled.as_chunks::<4>().0.iter().zip(region.network_holes.data());
        for (&[r, g, b, known], &hole) in pixels {
            input.extend_from_slice(&match (hole, known) {
                (KNOWN, u8::MAX) => [r, g, b],
                (KNOWN, 1..) => [r, g, b].map(|sum| known_mean(sum, known)),
                _ => [0; 3],
            });
        }
        Ok(())
    }

    /// Writes the network's fill (packed RGB at the network's size) into the pixels the region
    /// owns. Known pixels keep their luma and RGB bit by bit; a chroma sample that a hole pixel
    /// shares is rewritten from the fill, else it would show the hidden colour. With `detail`, made
    /// for this region, the fill gets fine structure before.
    pub fn paste(
        &mut self,
        frame: &mut Frame,
        region: &Region,
        fill: &[u8],
        seam: Seam,
        detail: Option<&mut Detail>,
    ) -> Result<(), PictureError> {
        check_plan(frame, region)?;
        let needed = region.network_bytes();
        if fill.len() != needed {
            return Err(MaskError::Fill { needed, found: fill.len() }.into());
        }
        let Some(work) = region.owned.bounds().map(|holes| widen(&holes, region)) else {
            return Ok(());
        };
        if region.is_native() && seam == Seam::None && detail.is_none() {
            return self.write(frame, region, &work, fill);
        }
        let mut scaled = std::mem::take(&mut self.fill);
        if region.is_native() {
            scaled.clear();
            scaled.extend_from_slice(fill);
        } else {
            let (size, network) = sizes(region);
            scaled.resize(size.0 * size.1 * 3, 0);
            kept(&mut self.growers, network, size, Filter::CatmullRom).run(fill, &mut scaled);
        }
        if seam == Seam::Soft || detail.is_some() {
            self.cut_known(frame, region)?;
        }
        if seam == Seam::Soft {
            let (holes, owned) = (&region.holes, &region.owned);
            self.seam.soften(&work, holes, owned, &self.known, &mut scaled);
        }
        if let Some(detail) = detail {
            detail.add(&self.known, &mut scaled);
        }
        self.write(frame, region, &work, &scaled)?;
        self.fill = scaled;
        Ok(())
    }

    fn write(
        &mut self,
        frame: &mut Frame,
        region: &Region,
        work: &PixelBox,
        fill: &[u8],
    ) -> Result<(), PictureError> {
        let (format, range, stride) = (frame.format(), frame.range(), frame.width());
        self.cut.clear();
        for y in work.y..work.bottom() {
            let row = (y * region.width + work.x) * 3;
            self.cut.extend_from_slice(&fill[row..row + work.width * 3]);
        }
        // Chroma is averaged below, over the pixels of this frame's blocks.
        let full = if format.is_yuv() { PixelFormat::Yuv444 } else { format };
        self.planes.resize(full.bytes(work.width, work.height), 0);
        rgb_to_planes(&self.cut, work.width, work.height, full, range, &mut self.planes)?;

        let samples = if format == PixelFormat::Rgb8 { 3 } else { 1 };
        let (first, u, v) = frame.planes_mut();
        for y in 0..work.height {
            let holes = &region.owned.row(work.y + y)[work.x..work.right()];
            let from = &self.planes[y * work.width * samples..][..work.width * samples];
            let start = ((region.y + work.y + y) * stride + region.x + work.x) * samples;
            let to = &mut first[start..start + work.width * samples];
            let pixels = to.chunks_exact_mut(samples).zip(from.chunks_exact(samples));
            for ((to, from), _) in pixels.zip(holes).filter(|(_, hole)| **hole != KNOWN) {
                to.copy_from_slice(from);
            }
        }
        if !format.is_yuv() {
            return Ok(());
        }
        let area = work.width * work.height;
        let (across, down) = format.chroma_block();
        let chroma_stride = stride.div_ceil(across);
        for y in (0..work.height).step_by(down) {
            for x in (0..work.width).step_by(across) {
                let rows = y..(y + down).min(work.height);
                let columns = x..(x + across).min(work.width);
                let hole = |y| {
                    let row = &region.owned.row(work.y + y)[work.x..];
                    row[columns.clone()].iter().any(|&byte| byte != KNOWN)
                };
                if !rows.clone().any(hole) {
                    continue;
                }
                let mean = |plane| mean(plane, work.width, rows.clone(), columns.clone());
                let at = (region.y + work.y + y) / down * chroma_stride
                    + (region.x + work.x + x) / across;
                u[at] = mean(&self.planes[area..2 * area]);
                v[at] = mean(&self.planes[2 * area..]);
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
            Planes {
                format: frame.format(),
                range: frame.range(),
                width,
                luma: &self.luma,
                u: &self.u,
                v: &self.v,
            }
            .to_rgb(&mut self.known);
        }
        let pixels = self.known.as_chunks_mut::<3>().0.iter_mut().zip(region.holes.data());
        pixels.filter(|(_, hole)| **hole != KNOWN).for_each(|(pixel, _)| *pixel = [0; 3]);
        Ok(())
    }

    /// Sets `u` and `v`: the region's chroma, each sample that a hole pixel shares replaced by
    /// the mean of clean ones near it.
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
        self.spoilt.clear();
        self.spoilt.resize(width * height, false);
        for y in 0..if width == 0 { 0 } else { region.height } {
            let row = region.holes.row(y).iter().enumerate();
            for (x, _) in row.filter(|(_, hole)| **hole != KNOWN) {
                self.spoilt[y / down * width + x / across] = true;
            }
        }
        // Where chroma is shared a known pixel may need its sample; elsewhere only holes do.
        let shared = across * down > 1;
        for at in (0..width * height).filter(|&at| self.spoilt[at]) {
            let (x, y) = (at % width, at / width);
            let mean = |plane: &[u8], radius: usize| {
                let (mut sum, mut count) = (0u32, 0u32);
                for v in y.saturating_sub(radius)..(y + radius + 1).min(height) {
                    for u in x.saturating_sub(radius)..(x + radius + 1).min(width) {
                        if !self.spoilt[v * width + u] {
                            sum += u32::from(plane[v * width + u]);
                            count += 1;
                        }
                    }
                }
                (count > 0).then(|| ((sum + count / 2) / count) as u8)
            };
            let search = |plane: &[u8]| {
                let wanted = shared && {
                    let rows = y * down..((y + 1) * down).min(region.height);
                    let columns = x * across..((x + 1) * across).min(region.width);
                    rows.into_iter().any(|y| region.holes.row(y)[columns.clone()].contains(&KNOWN))
                };
                let found = wanted.then(|| CHROMA_SEARCH.iter().find_map(|&r| mean(plane, r)));
                found.flatten().unwrap_or(NEUTRAL_CHROMA)
            };
            (self.u[at], self.v[at]) = (search(&self.u), search(&self.v));
        }
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
