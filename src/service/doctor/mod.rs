//! `lbam-edge doctor`: what is wrong on this machine with what the main job would use, and the
//! mend. It takes that job's own options, so that it looks at the same camera, masks, model and
//! page; the other obvious way, guessing at the usual ones, would find nothing wrong with the
//! wrong camera.
//!
//! Everything the system says is read below a root folder, so that tests can lay out a machine.

mod job;
mod machine;

use std::path::{Path, PathBuf};

use serde_json::json;

use super::LiveArgs;
use crate::camera::{CameraError, Probe, probe};

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Fine,
    /// It works, but not as well as it could, or not as may be wanted.
    Warning,
    /// The main job cannot work so.
    Problem,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Check {
    name: &'static str,
    state: State,
    finding: String,
    mend: Option<String>,
}

impl Check {
    fn fine(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, state: State::Fine, finding: finding.into(), mend: None }
    }

    fn warning(name: &'static str, finding: impl Into<String>, mend: impl Into<String>) -> Self {
        let (finding, mend) = (finding.into(), Some(mend.into()));
        Self { name, state: State::Warning, finding, mend }
    }

    fn problem(name: &'static str, finding: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { state: State::Problem, ..Self::warning(name, finding, mend) }
    }

    /// Errors of this project say what is wrong, and behind the last semicolon what to do.
    fn failed(name: &'static str, error: &impl ToString) -> Self {
        let text = error.to_string();
        let (finding, mend) = match text.rsplit_once("; ") {
            Some((finding, mend)) => (finding.to_owned(), Some(mend.to_owned())),
            None => (text, None),
        };
        Self { name, state: State::Problem, finding, mend }
    }
}

/// The machine as it shows itself.
pub(super) struct System {
    /// `/`, or where a test has laid one out.
    root: PathBuf,
    probe: fn(&Path) -> Result<Probe, CameraError>,
}

impl Default for System {
    fn default() -> Self {
        Self { root: "/".into(), probe }
    }
}

impl System {
    fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// A small file's text, if it can be had.
    fn text(&self, absolute: &str) -> Option<String> {
        Some(std::fs::read_to_string(self.path(absolute)).ok()?.trim().to_owned())
    }

    /// Names in a folder that begin so, in the order of their numbers.
    fn names(&self, folder: &str, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path(folder))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }
}

/// All that was looked at.
pub(super) struct Diagnosis(Vec<Check>);

impl Diagnosis {
    pub fn of(args: &LiveArgs, system: &System) -> Self {
        let mut checks = Vec::new();
        if let Some(file) = &args.config {
            // Had it been wrong, the program would have ended before.
            checks.push(Check::fine("configuration", format!("{} is read", file.display())));
        }
        checks.extend(job::checks(args, system));
        checks.extend(machine::checks(args, system));
        Self(checks)
    }

    fn count(&self, state: State) -> usize {
        self.0.iter().filter(|check| check.state == state).count()
    }

    pub fn problems(&self) -> usize {
        self.count(State::Problem)
    }

    pub fn json(&self) -> serde_json::Value {
        let checks: Vec<_> = self
            .0
            .iter()
            .map(|check| {
                json!({
                    "check": check.name,
                    "state": check.state.name(),
                    "finding": check.finding,
                    "mend": check.mend,
                })
            })
            .collect();
        let (problems, warnings) = (self.problems(), self.count(State::Warning));
        json!({"problems": problems, "warnings": warnings, "checks": checks})
    }

    pub fn in_words(&self) -> String {
        let mut text = String::new();
        for Check { name, state, finding, mend } in &self.0 {
            text += &format!("{:<8} {name:<14} {finding}\n", state.name());
            if let Some(mend) = mend {
                text += &format!("{:<8} {:<14} mend: {mend}\n", "", "");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests;
