//! Between RGB and the planes that cameras and JPEG speak (BT.601), rounded to the nearest level, with
//! the same bytes on every processor.
//!
//! The `yuv` library rounds by what a processor has: with AVX2 one level in five is off by one, and
//! those of luma below black by up to twenty. It is faster, but a whole frame takes 1 % more
//! instructions with what is here (640x480, one hole, patches and network included). These are plain
//! loops in a form that compilers make vectors of; on x86-64 they are compiled a second time for AVX2.
//! Floats are as exact as integers here: each operation is rounded as IEEE 754 says, none is fused with
//! another.

/// What red and blue count in luma; green counts the rest.
const RED: f32 = 0.299;
const BLUE: f32 = 0.114;
const GREEN: f32 = 1.0 - RED - BLUE;
/// Chroma without colour.
const NEUTRAL: f32 = 128.0;

/// Pixels that are computed at once.
const BLOCK: usize = 64;
/// Their bytes in RGB.
const BYTES: usize = 3 * BLOCK;

/// How luma and chroma are laid into bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// The luma of black.
    black: f32,
    /// Levels of luma and of chroma for each of RGB.
    luma: f32,
    chroma: f32,
}

/// Luma from 16 to 235, chroma from 16 to 240.
pub const LIMITED: Levels = Levels { black: 16.0, luma: 219.0 / 255.0, chroma: 224.0 / 255.0 };
/// Both from 0 to 255.
pub const FULL: Levels = Levels { black: 0.0, luma: 1.0, chroma: 1.0 };

impl Levels {
    /// Writes planes as packed RGB. `luma` has `width` pixels a line, and a sample of `chroma` (U, V)
    /// is that of a `block` of pixels, 1 or 2 across and any number down, never blended with its
    /// neighbours.
    ///
    /// # Panics
    /// If a plane is too short, or `rgb` has not three bytes for each of `luma`.
    pub fn to_rgb(
        self,
        luma: &[u8],
        chroma: [&[u8]; 2],
        width: usize,
        block: (usize, usize),
        rgb: &mut [u8],
    ) {
        assert_eq!(rgb.len(), 3 * luma.len());
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { self.to_rgb_avx2(luma, chroma, width, block, rgb) };
        }
        self.to_rgb_here(luma, chroma, width, block, rgb);
    }

    /// Writes grey as packed RGB.
    pub fn grey_to_rgb(self, grey: &[u8], rgb: &mut [u8]) {
        let scale = 1.0 / self.luma;
        for (&grey, rgb) in grey.iter().zip(rgb.as_chunks_mut::<3>().0) {
            *rgb = [level((f32::from(grey) - self.black) * scale) as u8; 3];
        }
    }

    /// Writes packed RGB as planes, a sample of each for every pixel.
    ///
    /// # Panics
    /// If `rgb` has not three bytes for each sample of a plane.
    pub fn to_planes(self, rgb: &[u8], planes: [&mut [u8]; 3]) {
        assert!(planes.iter().all(|plane| rgb.len() == 3 * plane.len()));
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { self.to_planes_avx2(rgb, planes) };
        }
        self.to_planes_here(rgb, planes);
    }

    /// Writes the grey of packed RGB.
    pub fn to_grey(self, rgb: &[u8], grey: &mut [u8]) {
        for (grey, rgb) in grey.iter_mut().zip(rgb.as_chunks::<3>().0) {
            *grey = level(luma(rgb.map(f32::from)) * self.luma + self.black) as u8;
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn to_rgb_avx2(
        self,
        luma: &[u8],
        chroma: [&[u8]; 2],
        width: usize,
        block: (usize, usize),
        rgb: &mut [u8],
    ) {
        self.to_rgb_here(luma, chroma, width, block, rgb);
    }

    #[inline(always)]
    fn to_rgb_here(
        self,
        luma: &[u8],
        chroma: [&[u8]; 2],
        width: usize,
        (across, down): (usize, usize),
        rgb: &mut [u8],
    ) {
        let samples = width.div_ceil(across);
        let lines = luma.chunks_exact(width).zip(rgb.chunks_exact_mut(3 * width));
        for (y, (luma, rgb)) in lines.enumerate() {
            let chroma = chroma.map(|plane| &plane[y / down * samples..][..samples]);
            match across {
                1 => self.blocks_to_rgb::<1, BLOCK>(luma, chroma, rgb),
                _ => self.blocks_to_rgb::<2, { BLOCK / 2 }>(luma, chroma, rgb),
            }
        }
    }

    #[inline(always)]
    fn blocks_to_rgb<const ACROSS: usize, const SAMPLES: usize>(
        self,
        luma: &[u8],
        chroma: [&[u8]; 2],
        rgb: &mut [u8],
    ) {
        let (lumas, luma) = luma.as_chunks::<BLOCK>();
        // Samples of an odd width may fill one chunk more than pixels do: the rest is where theirs is.
        let [u, v] = chroma.map(|plane| &plane[lumas.len() * SAMPLES..]);
        let [us, vs] = chroma.map(|plane| plane.as_chunks::<SAMPLES>().0);
        let (rgbs, rgb) = rgb.as_chunks_mut::<BYTES>();
        for (((luma, u), v), rgb) in lumas.iter().zip(us).zip(vs).zip(rgbs) {
            self.block_to_rgb(luma, &wide::<ACROSS, _>(u), &wide::<ACROSS, _>(v), rgb);
        }
        if !luma.is_empty() {
            let mut last = [0; BYTES];
            let (u, v) = (wide::<ACROSS, SAMPLES>(&padded(u)), wide::<ACROSS, SAMPLES>(&padded(v)));
            self.block_to_rgb(&padded(luma), &u, &v, &mut last);
            rgb.copy_from_slice(&last[..rgb.len()]);
        }
    }

    #[inline(always)]
    fn block_to_rgb(
        self,
        luma: &[u8; BLOCK],
        u: &[u8; BLOCK],
        v: &[u8; BLOCK],
        rgb: &mut [u8; BYTES],
    ) {
        let scale = 1.0 / self.luma;
        let (red_v, blue_u) = (2.0 * (1.0 - RED) / self.chroma, 2.0 * (1.0 - BLUE) / self.chroma);
        let (green_v, green_u) = (red_v * RED / GREEN, blue_u * BLUE / GREEN);
        let mut pixels = [0; BLOCK];
        for (at, pixel) in pixels.iter_mut().enumerate() {
            let luma = (f32::from(luma[at]) - self.black) * scale;
            let (u, v) = (f32::from(u[at]) - NEUTRAL, f32::from(v[at]) - NEUTRAL);
            *pixel = level(luma + v * red_v)
                | level(luma - u * green_u - v * green_v) << 8
                | level(luma + u * blue_u) << 16;
        }
        // Four bytes at once, of which the next pixel overwrites the last.
        for (at, pixel) in pixels.iter().enumerate() {
            let bytes = pixel.to_le_bytes();
            match rgb[3 * at..].first_chunk_mut() {
                Some(rgb) => *rgb = bytes,
                None => rgb[3 * at..].copy_from_slice(&bytes[..3]),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn to_planes_avx2(self, rgb: &[u8], planes: [&mut [u8]; 3]) {
        self.to_planes_here(rgb, planes);
    }

    #[inline(always)]
    fn to_planes_here(self, rgb: &[u8], planes: [&mut [u8]; 3]) {
        let (rgbs, rgb) = rgb.as_chunks::<BYTES>();
        let [(ys, y), (us, u), (vs, v)] = planes.map(|plane| plane.as_chunks_mut::<BLOCK>());
        for (((rgb, y), u), v) in rgbs.iter().zip(ys).zip(us).zip(vs) {
            self.block_to_planes(rgb, y, u, v);
        }
        if !rgb.is_empty() {
            let [mut luma, mut first, mut second] = [[0; BLOCK]; 3];
            self.block_to_planes(&padded(rgb), &mut luma, &mut first, &mut second);
            for (plane, block) in [(y, luma), (u, first), (v, second)] {
                plane.copy_from_slice(&block[..plane.len()]);
            }
        }
    }

    #[inline(always)]
    fn block_to_planes(
        self,
        rgb: &[u8; BYTES],
        y: &mut [u8; BLOCK],
        u: &mut [u8; BLOCK],
        v: &mut [u8; BLOCK],
    ) {
        // Four bytes at once, of which the first is the pixel's before.
        let mut pixels = [0; BLOCK];
        for (at, pixel) in pixels.iter_mut().enumerate() {
            *pixel = match rgb[..3 * at + 3].last_chunk() {
                Some(bytes) => u32::from_le_bytes(*bytes) >> 8,
                None => u32::from_le_bytes([rgb[0], rgb[1], rgb[2], 0]),
            };
        }
        let (u_scale, v_scale) =
            (0.5 * self.chroma / (1.0 - BLUE), 0.5 * self.chroma / (1.0 - RED));
        for (at, pixel) in pixels.iter().enumerate() {
            let [red, green, blue, _] = pixel.to_le_bytes().map(f32::from);
            let luma = luma([red, green, blue]);
            y[at] = level(luma * self.luma + self.black) as u8;
            u[at] = level((blue - luma) * u_scale + NEUTRAL) as u8;
            v[at] = level((red - luma) * v_scale + NEUTRAL) as u8;
        }
    }
}

#[inline(always)]
fn luma([red, green, blue]: [f32; 3]) -> f32 {
    red * RED + green * GREEN + blue * BLUE
}

/// The nearest level.
#[inline(always)]
fn level(value: f32) -> u32 {
    /// 2^23: floats from here on are whole, and their last bits are the number.
    const WHOLE: f32 = 8_388_608.0;
    (value.clamp(0.0, 255.0) + WHOLE).to_bits() & 0xff
}

/// Each sample as often as pixels share it.
#[inline(always)]
fn wide<const ACROSS: usize, const SAMPLES: usize>(samples: &[u8; SAMPLES]) -> [u8; BLOCK] {
    let mut wide = [0; BLOCK];
    for (wide, sample) in wide.chunks_exact_mut(ACROSS).zip(samples) {
        wide.fill(*sample);
    }
    wide
}

#[inline(always)]
fn padded<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    let mut padded = [0; LENGTH];
    padded[..bytes.len()].copy_from_slice(bytes);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::noise;

    /// Levels that a rounded one may be off the exact value.
    const ROUNDED: f64 = 0.5001;

    fn exact_rgb(levels: Levels, [y, u, v]: [u8; 3]) -> [f64; 3] {
        let [luma, u, v] = [f64::from(y) - f64::from(levels.black), f64::from(u), f64::from(v)];
        let (luma, u, v) = if levels == LIMITED {
            (luma / 219.0 * 255.0, (u - 128.0) / 224.0 * 255.0, (v - 128.0) / 224.0 * 255.0)
        } else {
            (luma, u - 128.0, v - 128.0)
        };
        // As the standard's readers know them.
        [luma + 1.402 * v, luma - 0.344_136_286 * u - 0.714_136_286 * v, luma + 1.772 * u]
    }

    fn is_rounded(found: u8, exact: f64) -> bool {
        (f64::from(found) - exact.clamp(0.0, 255.0)).abs() < ROUNDED
    }

    #[test]
    fn every_colour_is_rounded_to_rgb() {
        for levels in [LIMITED, FULL] {
            for y in 0..=255_u8 {
                // All pairs of chroma, each level of one a line.
                let (luma, v) = (vec![y; 256 * 256], (0..=255).collect::<Vec<u8>>().repeat(256));
                let u: Vec<u8> = (0..256 * 256).map(|at| (at / 256) as u8).collect();
                let mut rgb = vec![0; 3 * luma.len()];
                levels.to_rgb(&luma, [&u, &v], 256, (1, 1), &mut rgb);
                for (at, rgb) in rgb.as_chunks::<3>().0.iter().enumerate() {
                    let exact = exact_rgb(levels, [y, u[at], v[at]]);
                    let good =
                        rgb.iter().zip(exact).all(|(&found, exact)| is_rounded(found, exact));
                    assert!(good, "{y} {} {}: {rgb:?}, not {exact:?}", u[at], v[at]);
                }
            }
        }
    }

    /// In lines of every width a pixel is what it is alone.
    #[test]
    fn no_width_is_special() {
        let (luma, chroma) = (noise(6 * BLOCK, 3), noise(6 * BLOCK, 5));
        for across in [1, 2] {
            for width in 1..=3 * BLOCK {
                let samples = width.div_ceil(across);
                let planes = [&chroma[..samples], &chroma[samples..2 * samples]];
                // Two lines.
                let (lines, both) = (&luma[..2 * width], planes.map(|plane| plane.repeat(2)));
                let mut rgb = vec![0; 6 * width];
                let both = both.each_ref().map(Vec::as_slice);
                LIMITED.to_rgb(lines, both, width, (across, 1), &mut rgb);
                for (at, found) in rgb.as_chunks::<3>().0.iter().enumerate() {
                    let sample = at % width / across;
                    let mut alone = [0; 3];
                    let planes = planes.map(|plane| &plane[sample..=sample]);
                    LIMITED.to_rgb(&lines[at..=at], planes, 1, (1, 1), &mut alone);
                    assert_eq!(*found, alone, "{width} wide, pixel {at}, {across} a sample");
                }
            }
        }
    }

    #[test]
    fn every_colour_comes_back_from_rgb() {
        for levels in [LIMITED, FULL] {
            let rgb = noise(3 * 100_003, 7);
            let mut planes = [(); 3].map(|()| vec![0; rgb.len() / 3]);
            levels.to_planes(&rgb, planes.each_mut().map(Vec::as_mut_slice));
            for (at, rgb) in rgb.as_chunks::<3>().0.iter().enumerate() {
                let [red, green, blue] = rgb.map(f64::from);
                let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
                let (scale, chroma) =
                    if levels == LIMITED { (219.0 / 255.0, 224.0 / 255.0) } else { (1.0, 1.0) };
                let exact = [
                    luma * scale + f64::from(levels.black),
                    (blue - luma) / 1.772 * chroma + 128.0,
                    (red - luma) / 1.402 * chroma + 128.0,
                ];
                for (plane, exact) in planes.iter().zip(exact) {
                    assert!(is_rounded(plane[at], exact), "{rgb:?}: {}, not {exact}", plane[at]);
                }
            }
        }
    }

    /// The same bytes with every instruction set, and with those of every processor that this test
    /// runs on.
    #[test]
    fn bytes_are_the_same_everywhere() {
        let mut all = Vec::new();
        for (levels, across) in [(LIMITED, 1), (LIMITED, 2), (FULL, 1), (FULL, 2)] {
            // One width below a block, one of some blocks and a rest.
            for width in [37, 3 * BLOCK + 21] {
                let (luma, chroma) = (noise(width, 7), noise(3 * width, 7));
                let chroma = [&chroma[..width.div_ceil(across)], &chroma[2 * width..3 * width]];
                let chroma = chroma.map(|plane| &plane[..width.div_ceil(across)]);
                let (mut rgb, mut here) = (vec![1; 3 * width], vec![2; 3 * width]);
                levels.to_rgb(&luma, chroma, width, (across, 1), &mut rgb);
                levels.to_rgb_here(&luma, chroma, width, (across, 1), &mut here);
                assert!(rgb == here, "to RGB: instruction sets differ");
                let [mut planes, mut here] =
                    [[(); 3], [(); 3]].map(|none| none.map(|()| vec![0; width]));
                levels.to_planes(&rgb, planes.each_mut().map(Vec::as_mut_slice));
                levels.to_planes_here(&rgb, here.each_mut().map(Vec::as_mut_slice));
                assert!(planes == here, "from RGB: instruction sets differ");
                all.extend(rgb.into_iter().chain(planes.concat()));
            }
        }
        let hash = all.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        assert_eq!(hash, 0x8afb_d54c_cc74_ad92, "{hash:#x}");
    }

    #[test]
    fn grey_is_the_luma_of_colours() {
        for levels in [LIMITED, FULL] {
            let rgb = noise(3 * 100, 7);
            let mut planes = [(); 3].map(|()| vec![0; 100]);
            levels.to_planes(&rgb, planes.each_mut().map(Vec::as_mut_slice));
            let mut grey = vec![0; 100];
            levels.to_grey(&rgb, &mut grey);
            assert_eq!(grey, planes[0]);
            let (mut coloured, mut from_grey) = (vec![0; 300], vec![1; 300]);
            levels.to_rgb(&grey, [&[128; 100]; 2], 100, (1, 1), &mut coloured);
            levels.grey_to_rgb(&grey, &mut from_grey);
            assert_eq!(from_grey, coloured);
        }
    }
}
