//! The fast marching both of OpenCV's fillers share: from the rim of a hole inwards, in the order
//! of the distance from the rim.
//!
//! J. A. Sethian, "A Fast Marching Level Set Method for Monotonically Advancing Fronts", 1996, as
//! OpenCV's `inpaint` does it. A filler is its own rule for painting one pixel from what is known
//! around it, handed to [`March::fill`].
//!
//! Hazard: at the first and last row and column OpenCV reads gradients one pixel further in
//! ([`Sample`]), which can be hole still. Holes start black here, whatever the picture held there.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::picture::{Mask, RgbPicture};

/// How far a pixel takes its colour from, pixels: as in figures in the literature.
pub(super) const RADIUS: usize = 3;
/// Keeps sums that are divided by above zero.
pub(super) const TINY: f32 = 1e-20;
/// Below this a neighbour counts as lying across the direction that the filler follows ...
pub(super) const ACROSS: f32 = 0.01;
/// ... and its direction factor is this, so that it hardly counts.
pub(super) const SMALL_DIRECTION: f32 = 1e-6;
/// Distance of what was not reached yet.
const FAR: f32 = 1e6;

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
pub(super) struct March {
    pub(super) wide: usize,
    pub(super) high: usize,
    states: Vec<State>,
    pub(super) distances: Vec<f32>,
    /// Known pixels that touch the hole, in reading order: where both marches start.
    rim: Vec<usize>,
    /// The picture, packed RGB, no frame.
    pub(super) pixels: Vec<u8>,
}

impl March {
    pub(super) fn new(picture: &RgbPicture, mask: &Mask) -> Self {
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

    /// Gives the known pixels within [`RADIUS`] of the hole their distance from its rim, negative.
    pub(super) fn measure_outside(&mut self) {
        // A march of its own, in which the pixels near the hole are the unknown ones.
        let mut states = vec![State::Known; self.wide * self.high];
        for y in 1..self.high - 1 {
            for x in 1..self.wide - 1 {
                if self.states[y * self.wide + x] != State::Inside {
                    continue;
                }
                for near_y in y.saturating_sub(RADIUS).max(1)..=(y + RADIUS).min(self.high - 2) {
                    let row = near_y * self.wide;
                    let from = row + x.saturating_sub(RADIUS).max(1);
                    let near = from..=row + (x + RADIUS).min(self.wide - 2);
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

    /// Fills the hole from its rim inwards: `paint` colours one pixel at a time.
    pub(super) fn fill(&mut self, paint: impl Fn(&mut Self, usize)) {
        let mut queue = Queue::default();
        for &at in &self.rim {
            queue.push(0.0, at);
        }
        while let Some(at) = queue.pop() {
            self.states[at] = State::Known;
            for next in self.inner_neighbours(at) {
                if self.states[next] == State::Inside {
                    self.distances[next] = self.arrival(&self.states, next);
                    paint(self, next);
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

    /// Whether the front has not come to `at` yet.
    #[inline]
    pub(super) fn is_inside(&self, at: usize) -> bool {
        self.states[at] == State::Inside
    }

    /// Shows `visit` what the pixel at `at` is painted from: all pixels within a disc of [`RADIUS`]
    /// that are not inside, in reading order.
    #[inline]
    pub(super) fn around(&self, at: usize, mut visit: impl FnMut(&Near)) {
        let (x, y) = (at % self.wide, at / self.wide);
        for near_y in y.saturating_sub(RADIUS).max(1)..=(y + RADIUS).min(self.high - 2) {
            for near_x in x.saturating_sub(RADIUS).max(1)..=(x + RADIUS).min(self.wide - 2) {
                let near = near_y * self.wide + near_x;
                let way = [x as f32 - near_x as f32, y as f32 - near_y as f32];
                let squared = way[0] * way[0] + way[1] * way[1];
                if self.is_inside(near) || squared > (RADIUS * RADIUS) as f32 {
                    continue;
                }
                let packed = 3 * ((near_y - 1) * (self.wide - 2) + near_x - 1);
                let sample = self.sample(near_x, near_y);
                visit(&Near { at: near, packed, way, squared, sample });
            }
        }
    }

    /// Where the pixel `at` lies in `pixels`.
    #[inline]
    pub(super) fn packed(&self, at: usize) -> usize {
        3 * ((at / self.wide - 1) * (self.wide - 2) + at % self.wide - 1)
    }

    /// A channel's value at the pixel (`x`, `y`) of the picture's own coordinates.
    #[inline]
    pub(super) fn value(&self, x: usize, y: usize, channel: usize) -> f32 {
        f32::from(self.pixels[3 * (y * (self.wide - 2) + x) + channel])
    }

    /// Where gradients are read for the pixel (`x`, `y`) of the frame's coordinates.
    #[inline]
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
}

/// A pixel that another is painted from.
pub(super) struct Near {
    pub(super) at: usize,
    /// Where it lies in `pixels`.
    pub(super) packed: usize,
    /// From it to the painted pixel, (x, y), and the squared length.
    pub(super) way: [f32; 2],
    pub(super) squared: f32,
    pub(super) sample: Sample,
}

/// Picture coordinates of a pixel as its gradients are read: `low` is one further in at the first
/// row or column, and what lies before is `low - 1`; `high` is one further in at the last, and
/// what lies after is `high + 1`.
pub(super) struct Sample {
    pub(super) x_low: usize,
    pub(super) x_high: usize,
    pub(super) y_low: usize,
    pub(super) y_high: usize,
}
