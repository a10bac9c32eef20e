//! Classical fillers to compare the network with: Telea's fast marching, and the mean colour.
//!
//! A. Telea, "An Image Inpainting Technique Based on the Fast Marching Method", 2004: the hole is
//! filled from its rim inwards, in the order of the distance from the rim, each pixel with a
//! weighted mean of what is known around it. It is the filler everybody has (OpenCV's
//! `INPAINT_TELEA`) and so the first bar to clear. This is a port of the method as OpenCV
//! behaves, habits beyond the paper included, because published figures are OpenCV's:
//!
//! - the weights' direction factor takes the distance's gradient unnormalised, and a floor of
//!   `SMALL_DIRECTION` below `ACROSS`;
//! - the picture's gradient enters through its sum over both axes divided by its length, which
//!   moves a pixel by 1.41 levels at most: nearly a plain weighted mean;
//! - at the first row and column, gradients are read one pixel further in;
//! - the result is rounded up twice, half a level too bright.
//!
//! Equal to OpenCV 4.10 to 5.0 within one level; before 4.10 OpenCV left holes in the
//! first row and column unfilled.
//!
//! Hazard: the third habit can read pixels that are hole still. They are black here, whatever the
//! picture held there, so that a filler that is measured never sees what it should find. So is a
//! picture of which nothing is known.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::picture::{Mask, MaskError, RgbPicture};

/// The radius of figures in the literature, pixels.
pub const USUAL_RADIUS: usize = 3;

/// Below this a neighbour counts as lying across the direction of filling ...
const ACROSS: f32 = 0.01;
/// ... and its direction factor is this, so that it hardly counts.
const SMALL_DIRECTION: f32 = 1e-6;
/// Keeps sums that are divided by above zero.
const TINY: f32 = 1e-20;
/// Distance of what was not reached yet.
const FAR: f32 = 1e6;

/// Fills the holes of `picture` from what is within `radius` pixels (clamped to 1 to 100).
pub fn telea(picture: &RgbPicture, mask: &Mask, radius: usize) -> Result<RgbPicture, MaskError> {
    mask.fits(picture.width, picture.height)?;
    let radius = radius.clamp(1, 100);
    let mut march = March::new(picture, mask);
    march.measure_outside(radius);
    march.fill(radius);
    Ok(RgbPicture { width: picture.width, height: picture.height, data: march.pixels })
}

/// Fills the holes of `picture` with the mean of its known pixels (grey where nothing is known).
pub fn mean_colour(picture: &RgbPicture, mask: &Mask) -> Result<RgbPicture, MaskError> {
    mask.fits(picture.width, picture.height)?;
    let (mut sums, mut count) = ([0_u64; 3], 0_u64);
    for (pixel, &hole) in picture.data.chunks_exact(3).zip(mask.data()) {
        if hole == 0 {
            count += 1;
            sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += u64::from(value));
        }
    }
    let mean = sums.map(|sum| (sum + count / 2).checked_div(count).unwrap_or(128) as u8);
    let mut filled = picture.clone();
    for (pixel, &hole) in filled.data.chunks_exact_mut(3).zip(mask.data()) {
        if hole != 0 {
            pixel.copy_from_slice(&mean);
        }
    }
    Ok(filled)
}

/// What a pixel is while the front moves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Known,
    /// On the front: its distance (and colour) is known, its neighbours' are not.
    Band,
    Inside,
}

/// A pixel of the front. Nearest first, and of the equally near the one pushed first.
struct Front {
    distance: f32,
    pushed: usize,
    at: usize,
}

impl Ord for Front {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.pushed.cmp(&other.pushed))
    }
}
impl PartialOrd for Front {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Front {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Front {}

#[derive(Default)]
struct Queue {
    heap: BinaryHeap<Reverse<Front>>,
    pushed: usize,
}

impl Queue {
    fn push(&mut self, distance: f32, at: usize) {
        self.pushed += 1;
        self.heap.push(Reverse(Front { distance, pushed: self.pushed, at }));
    }

    fn pop(&mut self) -> Option<usize> {
        self.heap.pop().map(|Reverse(front)| front.at)
    }
}

/// Up, left, down, right: the order in which neighbours are reached decides between equals.
const NEIGHBOURS: [(isize, isize); 4] = [(-1, 0), (0, -1), (1, 0), (0, 1)];

/// All planes but the pixels have a frame of one known pixel around them, so that every pixel
/// has four neighbours. `wide` and `high` are the framed sizes.
struct March {
    wide: usize,
    high: usize,
    states: Vec<State>,
    distances: Vec<f32>,
    /// Known pixels that touch the hole, in reading order: where both marches start.
    rim: Vec<usize>,
    /// The picture, packed RGB, no frame.
    pixels: Vec<u8>,
}

impl March {
    fn new(picture: &RgbPicture, mask: &Mask) -> Self {
        let (wide, high) = (picture.width + 2, picture.height + 2);
        let mut states = vec![State::Known; wide * high];
        let mut pixels = picture.data.clone();
        for y in 0..picture.height {
            for x in 0..picture.width {
                if mask.is_hole(x, y) {
                    states[(y + 1) * wide + x + 1] = State::Inside;
                    let at = 3 * (y * picture.width + x);
                    pixels[at..at + 3].fill(0);
                }
            }
        }
        let mut rim = Vec::new();
        for y in 1..high - 1 {
            for x in 1..wide - 1 {
                let at = y * wide + x;
                let beside = [at - wide, at - 1, at + wide, at + 1];
                if states[at] == State::Known && beside.iter().any(|&b| states[b] == State::Inside)
                {
                    rim.push(at);
                }
            }
        }
        let mut distances = vec![FAR; wide * high];
        for &at in &rim {
            states[at] = State::Band;
            distances[at] = 0.0;
        }
        Self { wide, high, states, distances, rim, pixels }
    }

    /// Gives the known pixels within `radius` of the hole their distance from its rim, negative.
    fn measure_outside(&mut self, radius: usize) {
        // A march of its own, in which the pixels near the hole are the unknown ones.
        let mut states = vec![State::Known; self.wide * self.high];
        for y in 1..self.high - 1 {
            for x in 1..self.wide - 1 {
                if self.states[y * self.wide + x] != State::Inside {
                    continue;
                }
                for near_y in y.saturating_sub(radius).max(1)..=(y + radius).min(self.high - 2) {
                    let row = near_y * self.wide;
                    let from = row + x.saturating_sub(radius).max(1);
                    let near = from..=row + (x + radius).min(self.wide - 2);
                    for (new, &state) in states[near.clone()].iter_mut().zip(&self.states[near]) {
                        if state == State::Known {
                            *new = State::Inside;
                        }
                    }
                }
            }
        }
        let mut queue = Queue::default();
        for &at in &self.rim {
            queue.push(0.0, at);
        }
        let mut reached = Vec::new();
        while let Some(at) = queue.pop() {
            states[at] = State::Known;
            reached.push(at);
            for next in self.inner_neighbours(at) {
                if states[next] == State::Inside {
                    self.distances[next] = self.arrival(&states, next);
                    states[next] = State::Band;
                    queue.push(self.distances[next], next);
                }
            }
        }
        for at in reached {
            self.distances[at] = -self.distances[at];
        }
    }

    /// Fills the hole from its rim inwards.
    fn fill(&mut self, radius: usize) {
        let mut queue = Queue::default();
        for &at in &self.rim {
            queue.push(0.0, at);
        }
        while let Some(at) = queue.pop() {
            self.states[at] = State::Known;
            for next in self.inner_neighbours(at) {
                if self.states[next] == State::Inside {
                    self.distances[next] = self.arrival(&self.states, next);
                    self.paint(next, radius);
                    self.states[next] = State::Band;
                    queue.push(self.distances[next], next);
                }
            }
        }
    }

    /// The neighbours of `at` that are not of the frame.
    fn inner_neighbours(&self, at: usize) -> impl Iterator<Item = usize> + use<> {
        let (wide, high) = (self.wide as isize, self.high as isize);
        let (x, y) = (at as isize % wide, at as isize / wide);
        NEIGHBOURS.into_iter().filter_map(move |(down, right)| {
            let (x, y) = (x + right, y + down);
            let inside = x > 0 && y > 0 && x < wide - 1 && y < high - 1;
            inside.then_some((y * wide + x) as usize)
        })
    }

    /// When the front arrives at `at`: the least over its four pairs of one vertical and one
    /// horizontal neighbour.
    fn arrival(&self, states: &[State], at: usize) -> f32 {
        let pair = |vertical: usize, horizontal: usize| {
            let (a, b) = (self.distances[vertical], self.distances[horizontal]);
            let reached = (states[vertical] != State::Inside, states[horizontal] != State::Inside);
            match reached {
                (true, true) if (a - b).abs() < 1.0 => {
                    let apart = f64::from(a - b);
                    ((f64::from(a + b) + (2.0 - apart * apart).sqrt()) * 0.5) as f32
                }
                (true, false) => 1.0 + a,
                (false, true) => 1.0 + b,
                _ => 1.0 + a.min(b),
            }
        };
        let (up, down, left, right) = (at - self.wide, at + self.wide, at - 1, at + 1);
        pair(up, left).min(pair(down, left)).min(pair(up, right)).min(pair(down, right))
    }

    /// The slope of the distance along one axis, from neighbours that are not inside.
    fn distance_slope(&self, at: usize, step: usize) -> f32 {
        let (before, after) = (at - step, at + step);
        let known = |at: usize| self.states[at] != State::Inside;
        match (known(before), known(after)) {
            (true, true) => (self.distances[after] - self.distances[before]) * 0.5,
            (false, true) => self.distances[after] - self.distances[at],
            (true, false) => self.distances[at] - self.distances[before],
            (false, false) => 0.0,
        }
    }

    /// Colours the pixel `at` from all pixels within `radius` that are not inside.
    fn paint(&mut self, at: usize, radius: usize) {
        let (x, y) = (at % self.wide, at / self.wide);
        let slope = [self.distance_slope(at, 1), self.distance_slope(at, self.wide)];
        let mut weights = TINY;
        let (mut colour, mut pull) = ([0.0_f32; 3], [[0.0_f32; 2]; 3]);
        for near_y in y.saturating_sub(radius).max(1)..=(y + radius).min(self.high - 2) {
            for near_x in x.saturating_sub(radius).max(1)..=(x + radius).min(self.wide - 2) {
                let near = near_y * self.wide + near_x;
                let way = [x as f32 - near_x as f32, y as f32 - near_y as f32];
                let squared = way[0] * way[0] + way[1] * way[1];
                if self.states[near] == State::Inside || squared > (radius * radius) as f32 {
                    continue;
                }
                let closeness = (1.0 / (f64::from(squared) * f64::from(squared).sqrt())) as f32;
                let apart = (self.distances[near] - self.distances[at]).abs();
                let level = (1.0 / (1.0 + f64::from(apart))) as f32;
                let along = way[0] * slope[0] + way[1] * slope[1];
                let along = if along.abs() <= ACROSS { SMALL_DIRECTION } else { along };
                let weight = (closeness * level * along).abs();
                weights += weight;
                let sample = self.sample(near_x, near_y);
                for channel in 0..3 {
                    let (value, gradient) = self.look(near, &sample, channel);
                    colour[channel] += weight * value;
                    for axis in 0..2 {
                        pull[channel][axis] -= weight * gradient[axis] * way[axis];
                    }
                }
            }
        }
        let out = 3 * ((y - 1) * (self.wide - 2) + x - 1);
        for channel in 0..3 {
            let [across, down] = pull[channel];
            let length = (across * across + down * down).sqrt() + TINY;
            let value = colour[channel] / weights + (across + down) / length;
            // OpenCV adds a half and then rounds to nearest.
            self.pixels[out + channel] = (value + 0.5).round_ties_even() as u8;
        }
    }

    /// Where gradients are read for the pixel (`x`, `y`) of the frame's coordinates.
    fn sample(&self, x: usize, y: usize) -> Sample {
        // One axis of `length` pixels, the first of which is 1 with the frame.
        let shifted = |at: usize, length: usize| {
            let low = (at - 1 + usize::from(at == 1)).min(length - 1);
            let high = (at - 1).saturating_sub(usize::from(at == length));
            (low, high)
        };
        let (x_low, x_high) = shifted(x, self.wide - 2);
        let (y_low, y_high) = shifted(y, self.high - 2);
        Sample { x_low, x_high, y_low, y_high }
    }

    /// A channel's value and gradient (x, y) at a pixel that is not inside.
    fn look(&self, near: usize, sample: &Sample, channel: usize) -> (f32, [f32; 2]) {
        let width = self.wide - 2;
        let own = (near / self.wide - 1) * width + near % self.wide - 1;
        let known = |at: usize| self.states[at] != State::Inside;
        let value = |x: usize, y: usize| f32::from(self.pixels[3 * (y * width + x) + channel]);
        let &Sample { x_low, x_high, y_low, y_high } = sample;
        let right = || value((x_high + 1).min(width - 1), y_low);
        let left = || value(x_low.saturating_sub(1), y_low);
        let below = || value(x_low, (y_high + 1).min(self.high - 3));
        let above = || value(x_low, y_low.saturating_sub(1));
        let centre = value(x_low, y_low);
        let across = match (known(near - 1), known(near + 1)) {
            (true, true) => (right() - left()) * 2.0,
            (false, true) => right() - centre,
            (true, false) => value(x_high, y_low) - left(),
            (false, false) => 0.0,
        };
        let down = match (known(near - self.wide), known(near + self.wide)) {
            (true, true) => (below() - above()) * 2.0,
            (false, true) => below() - centre,
            (true, false) => value(x_low, y_high) - above(),
            (false, false) => 0.0,
        };
        let own = f32::from(self.pixels[3 * own + channel]);
        (own, [across, down])
    }
}

/// Picture coordinates of a pixel as its gradients are read: `low` is one further in at the first
/// row or column, and what lies before is `low - 1`; `high` is one further in at the last, and
/// what lies after is `high + 1`.
struct Sample {
    x_low: usize,
    x_high: usize,
    y_low: usize,
    y_high: usize,
}

#[cfg(test)]
#[path = "telea_tests.rs"]
mod tests;
