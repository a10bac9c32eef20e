//! How a run is getting on, at a glance: a few lines in a terminal that are drawn again after each
//! step, and a plain line a step where there is no terminal.

use std::collections::VecDeque;
use std::io::IsTerminal;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::objective::Losses;
use super::run_log::Figures;
use crate::process::terminal::say;

/// Steps whose mean is shown: one step's figures are mostly its pictures'.
const RECENT: usize = 100;
/// Columns of the loss's course.
const COLUMNS: usize = 40;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The lines.
pub(super) struct Dashboard {
    bar: ProgressBar,
    recent: VecDeque<Losses>,
    course: Course,
}

impl Dashboard {
    /// Of a run of so many `steps`, of which some are done.
    pub fn new(steps: u64, done: u64) -> Self {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(steps),
            false => ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::hidden()),
        };
        let style = "{bar:40} {pos}/{len} [{elapsed} < {eta}]\n{msg}";
        let bar = bar.with_style(ProgressStyle::with_template(style).expect("a fixed template"));
        // In this order, for what was done before took no time.
        bar.set_position(done);
        bar.reset_eta();
        let (recent, course) = (VecDeque::new(), Course::new(done, steps));
        Self { bar, recent, course }
    }

    /// Shows a step. `waited` is the share of the time spent waiting for pictures.
    pub fn show(&mut self, figures: &Figures, waited: f64) {
        if self.bar.is_hidden() {
            let (step, steps) = (figures.step, self.course.end);
            let (losses, speed) = (losses(&figures.losses), speed(figures, waited));
            self.bar.set_position(step);
            let left = HumanDuration(self.bar.eta());
            say(format_args!("step {step} of {steps}: {losses}, {speed}, {left} left"));
            return;
        }
        self.course.add(figures.step, figures.losses.total);
        self.recent.push_back(figures.losses);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        let recent = losses(&Losses::mean(&self.recent));
        let lines = format!("{}\n{recent}\n{}", self.course.drawn(), speed(figures, waited));
        self.bar.set_message(lines);
        self.bar.set_position(figures.step);
    }

    /// Leaves the lines as they are.
    pub fn end(&self) {
        self.bar.abandon();
    }
}

/// The losses that take part, by name.
fn losses(losses: &Losses) -> String {
    let all = Losses::NAMES.iter().zip(losses.values());
    let part = all.filter(|(name, value)| **name == "total" || *value != 0.0);
    let part: Vec<String> = part.map(|(name, value)| format!("{name} {value:.4}")).collect();
    part.join(", ")
}

fn speed(figures: &Figures, waited: f64) -> String {
    let Figures { gradient, learning_rate, pictures_per_second, .. } = figures;
    format!(
        "gradient {gradient:.3}, rate {learning_rate:.2e}, {pictures_per_second:.1} pictures/s, \
         {:.1} % waiting for pictures",
        100.0 * waited
    )
}

/// The loss from the first step shown to the last to come, in means.
struct Course {
    begin: u64,
    end: u64,
    columns: Vec<(f64, u32)>,
}

impl Course {
    fn new(begin: u64, end: u64) -> Self {
        Self { begin, end, columns: vec![(0.0, 0); COLUMNS] }
    }

    /// Steps count from 1.
    fn add(&mut self, step: u64, loss: f32) {
        let done = (step - 1).saturating_sub(self.begin) as usize;
        let all = (self.end - self.begin).max(1) as usize;
        let (sum, count) = &mut self.columns[(done * COLUMNS / all).min(COLUMNS - 1)];
        *sum += f64::from(loss);
        *count += 1;
    }

    /// A bar for each column that has steps, the least mean lowest.
    fn drawn(&self) -> String {
        let filled = self.columns.iter().filter(|(_, count)| *count > 0);
        let means: Vec<f64> = filled.map(|(sum, count)| sum / f64::from(*count)).collect();
        let least = means.iter().copied().fold(f64::INFINITY, f64::min);
        let range = means.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
        let top = (BARS.len() - 1) as f64;
        let height =
            |mean: f64| if range > 0.0 { ((mean - least) / range * top).round() } else { 0.0 };
        means.into_iter().map(|mean| BARS[height(mean) as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_course_goes_from_the_first_step_to_the_last() {
        let mut course = Course::new(0, 80);
        assert_eq!(course.drawn(), "");
        course.add(1, 0.5);
        assert_eq!(course.drawn(), "▁");
        let mut course = Course::new(0, 80);
        (1..=80).for_each(|step| course.add(step, 100.0 - step as f32));
        let drawn = course.drawn();
        assert_eq!(drawn.chars().count(), COLUMNS);
        assert!(drawn.starts_with('▇') || drawn.starts_with('█'), "{drawn}");
        assert!(drawn.ends_with('▁'), "{drawn}");
        // One that goes on, and one that has nothing left to do.
        let mut course = Course::new(70, 80);
        course.add(80, 1.0);
        assert_eq!(course.drawn(), "▁");
        Course::new(80, 80).add(80, 1.0);
    }

    /// Of one that goes on from step 900, the rate is not that of 901 steps at once.
    #[test]
    fn steps_of_before_took_no_time() {
        let board = Dashboard::new(1000, 900);
        std::thread::sleep(Duration::from_millis(20));
        board.bar.set_position(901);
        assert!(board.bar.per_sec() < 1000.0, "{}", board.bar.per_sec());
    }

    #[test]
    fn losses_without_part_are_not_shown() {
        let one = Losses { total: 0.5, hole: 0.02, ssim: 0.1, ..Losses::default() };
        assert_eq!(losses(&one), "total 0.5000, hole 0.0200, ssim 0.1000");
        let mean = Losses::mean(&[one, Losses { total: 1.5, ..one }].into());
        assert_eq!(mean.values()[..3], [1.0, 0.02, 0.0]);
    }
}
