//! `test:`, a moving picture made by the program: something to look at without a camera, and
//! the same bytes on every machine, so that tests can compare.
//!
//! It has what inpainting meets: smooth gradients (sky), texture (ground), straight edges that
//! cross any hole (bars) and moving shapes. Integers only: floats differ between processors.

use super::{CameraError, Captured, Source};
use crate::picture::{ColourRange, Frame, FrameError, PixelFormat, Pool, StreamInfo};

pub(super) struct Pattern {
    width: usize,
    height: usize,
    frames: u64,
    pool: Pool,
}

impl Pattern {
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, frames: 0, pool: Pool::default() }
    }
}

impl Source for Pattern {
    fn describe(&self) -> String {
        format!("test pattern {}x{}", self.width, self.height)
    }

    fn stream(&self) -> StreamInfo {
        StreamInfo { rate: (30, 1), ..StreamInfo::default() }
    }

    fn next(&mut self) -> Result<Option<Captured>, CameraError> {
        let frame = draw(&self.pool, self.width, self.height, self.frames)
            .map_err(|source| CameraError::Frame { name: self.describe(), source })?;
        self.frames += 1;
        Ok(Some(Captured::Frame(frame)))
    }
}

/// Frame `number` of the test pattern.
pub fn test_frame(width: usize, height: usize, number: u64) -> Result<Frame, FrameError> {
    draw(&Pool::default(), width, height, number)
}

fn draw(pool: &Pool, width: usize, height: usize, number: u64) -> Result<Frame, FrameError> {
    let (format, range) = (PixelFormat::Yuv420, ColourRange::Limited);
    let mut frame = Frame::within(pool, width, height, format, range)?;
    // One full cycle is 360 steps in every movement, so that the pattern repeats.
    let step = (number % 360) as usize;
    let scene = Scene {
        width,
        height,
        horizon: height * 3 / 5,
        sun: Disc {
            x: (width * step / 360) as i64,
            y: (height / 4) as i64,
            radius: (width.min(height) / 9) as i64,
        },
        ball: Disc {
            x: bounce(step * 4, width) as i64,
            y: (height * 3 / 4 - bounce(step * 3, height / 3)) as i64,
            radius: (width.min(height) / 7) as i64,
        },
        drift: step * 2,
    };
    let (chroma_width, _) = frame.chroma_size();
    let (luma, u, v) = frame.planes_mut();
    for (y, row) in luma.chunks_exact_mut(width).enumerate() {
        for (x, pixel) in row.iter_mut().enumerate() {
            *pixel = scene.luma(x, y);
        }
    }
    for (y, (u_row, v_row)) in
        u.chunks_exact_mut(chroma_width).zip(v.chunks_exact_mut(chroma_width)).enumerate()
    {
        for (x, (u, v)) in u_row.iter_mut().zip(v_row).enumerate() {
            (*u, *v) = scene.chroma(x * 2, y * 2);
        }
    }
    Ok(frame)
}

struct Scene {
    width: usize,
    height: usize,
    horizon: usize,
    sun: Disc,
    ball: Disc,
    /// How far the fence has moved, in pixels.
    drift: usize,
}

struct Disc {
    x: i64,
    y: i64,
    radius: i64,
}

impl Disc {
    fn holds(&self, x: usize, y: usize) -> bool {
        let (dx, dy) = (x as i64 - self.x, y as i64 - self.y);
        dx * dx + dy * dy <= self.radius * self.radius
    }
}

impl Scene {
    fn luma(&self, x: usize, y: usize) -> u8 {
        if self.ball.holds(x, y) {
            // Shaded from the upper left, with a chequer that moves along.
            let shade = 150
                + (self.ball.x - x as i64 + self.ball.y - y as i64) * 40 / self.ball.radius.max(1);
            let tile = ((x as i64 - self.ball.x) >> 3 ^ (y as i64 - self.ball.y) >> 3) & 1;
            return (shade - 30 * tile).clamp(30, 230) as u8;
        }
        if self.is_post(x, y) {
            return 60;
        }
        if self.sun.holds(x, y) {
            return 225;
        }
        if y < self.horizon {
            // The sky: a plain ramp, where a bad fill shows at once.
            return (190 - 70 * y / self.horizon.max(1) + 20 * x / self.width) as u8;
        }
        let depth = (y - self.horizon) * 40 / (self.height - self.horizon).max(1);
        (70 + depth + grain(x, y) % 45) as u8
    }

    fn chroma(&self, x: usize, y: usize) -> (u8, u8) {
        if self.ball.holds(x, y) {
            (100, 190)
        } else if self.is_post(x, y) {
            (118, 140)
        } else if self.sun.holds(x, y) {
            (80, 150)
        } else if y < self.horizon {
            (150 + (10 * y / self.horizon.max(1)) as u8, 110)
        } else {
            ((100 + grain(x / 4, y / 4) % 12) as u8, (118 + grain(x / 8, y / 8) % 10) as u8)
        }
    }

    /// Fence posts and two rails, drifting slowly to the left.
    fn is_post(&self, x: usize, y: usize) -> bool {
        let top = self.height / 2;
        if !(top..self.height * 4 / 5).contains(&y) {
            return false;
        }
        let rail = self.height / 40;
        (x + self.drift) % 90 < 10 || (y - top) % (rail * 6).max(2) < rail
    }
}

/// A hash of the place: texture that stays where it is.
fn grain(x: usize, y: usize) -> usize {
    let mut bits = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
    bits ^= bits >> 15;
    bits = bits.wrapping_mul(0x2c1b_3c6d);
    (bits >> 16) as usize
}

/// To and fro between 0 and `range`.
fn bounce(position: usize, range: usize) -> usize {
    let range = range.max(1);
    let place = position % (2 * range);
    place.min(2 * range - place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_alone_decides() {
        let frame = test_frame(64, 48, 7).unwrap();
        assert_eq!(frame.data(), test_frame(64, 48, 7).unwrap().data());
        assert_ne!(frame.data(), test_frame(64, 48, 8).unwrap().data(), "it moves");
    }

    #[test]
    fn any_size_and_any_number_works() {
        for (width, height) in [(2, 2), (3, 5), (33, 21), (1920, 7)] {
            for number in [0, 1, 359, 360, u64::MAX] {
                let frame = test_frame(width, height, number).unwrap();
                assert!(frame.plane(0).iter().all(|luma| (16..=235).contains(luma)));
            }
        }
    }
}
