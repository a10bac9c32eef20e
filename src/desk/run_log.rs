//! A run's figures: `log.csv`, a line a step, and the same for TensorBoard.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::DeskError;
use super::events::Events;
use super::objective::Losses;
use crate::file::write_atomically;

/// One step's figures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    /// Steps done, this one among them.
    pub step: u64,
    /// Time in training, earlier parts of a resumed run among it.
    pub seconds: f64,
    pub losses: Losses,
    /// Length of the network's gradient, before it was clipped.
    pub gradient: f32,
    pub learning_rate: f64,
    pub pictures_per_second: f64,
}

/// The files, open for more lines.
pub(super) struct Log {
    file: fs::File,
    path: PathBuf,
    /// Bytes of whole lines.
    length: u64,
    events: Events,
}

impl Log {
    /// Opens the log, cut to the steps that were done. Lines of an older program, which knew fewer
    /// columns, get a 0 in each new one.
    ///
    /// # Errors
    /// [`DeskError`] where it cannot be written.
    pub fn open(folder: &Path, step: u64) -> Result<Self, DeskError> {
        let path = folder.join("log.csv");
        let columns = columns();
        let old = if step > 0 { read(&path, columns[0])? } else { String::new() };
        let mut text = columns.join(",") + "\n";
        let mut lines = old.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let places: Vec<Option<usize>> =
            columns.iter().map(|column| head.iter().position(|old| old == column)).collect();
        let mut last = 0;
        for line in lines {
            let fields: Vec<&str> = line.split(',').collect();
            // The last line of a run that was killed, or whose disk was full, may be cut.
            match fields[0].parse() {
                Ok(of) if fields.len() == head.len() && (last + 1..=step).contains(&of) => {
                    last = of
                }
                _ => break,
            }
            let field = |place: &Option<usize>| place.and_then(|at| fields.get(at)).unwrap_or(&"0");
            let fields: Vec<&str> = places.iter().map(|place| *field(place)).collect();
            text += &(fields.join(",") + "\n");
        }
        write_atomically(&path, text.as_bytes())?;
        let file = fs::OpenOptions::new().append(true).open(&path).map_err(DeskError::io(&path))?;
        Ok(Self { file, path, length: text.len() as u64, events: Events::create(folder, step)? })
    }

    /// Adds a step.
    ///
    /// # Errors
    /// [`DeskError::Io`] where it cannot be written: a full disk. Nothing of it stands there then.
    pub fn line(&mut self, figures: Figures) -> Result<(), DeskError> {
        let Figures { step, seconds, losses, gradient, learning_rate, pictures_per_second } =
            figures;
        let values = losses.values().map(|value| value.to_string()).join(",");
        let line = format!(
            "{step},{seconds:.1},{values},{gradient},{learning_rate:.3e},\
             {pictures_per_second:.2}\n"
        );
        let tags = Losses::NAMES.map(|name| format!("loss/{name}"));
        let mut values: Vec<(&str, f32)> =
            tags.iter().map(String::as_str).zip(losses.values()).collect();
        values.push(("gradient", gradient));
        values.push(("learning rate", learning_rate as f32));
        values.push(("pictures per second", pictures_per_second as f32));
        let written = self.file.write_all(line.as_bytes()).map_err(DeskError::io(&self.path));
        let written = written.and_then(|()| self.events.add(step, &values));
        match written {
            Ok(()) => self.length += line.len() as u64,
            Err(_) => self.file.set_len(self.length).map_err(DeskError::io(&self.path))?,
        }
        written
    }
}

/// The log so far. One that no program of ours wrote so is kept under another name.
fn read(path: &Path, first: &str) -> Result<String, DeskError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        bytes => bytes.map_err(DeskError::io(path))?,
    };
    let text = String::from_utf8(bytes).ok();
    if let Some(text) = text.filter(|text| text.split(',').next() == Some(first)) {
        return Ok(text);
    }
    let names = (1_u32..).map(|number| path.with_extension(format!("csv.old{number}")));
    let aside = names.into_iter().find(|name| !name.exists()).unwrap_or_default();
    fs::rename(path, &aside).map_err(DeskError::io(path))?;
    log::warn!("{} is no log of ours any more; it is now {}", path.display(), aside.display());
    Ok(String::new())
}

fn columns() -> Vec<&'static str> {
    // The total has been called so from the start; scripts read it.
    let losses = Losses::NAMES.map(|name| if name == "total" { "loss" } else { name });
    [&["step", "seconds"][..], &losses, &["gradient", "learning_rate", "pictures_per_second"]]
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(step: u64) -> Figures {
        let losses = Losses::default();
        let (seconds, gradient, learning_rate, pictures_per_second) = (0.0, 0.0, 0.0, 0.0);
        Figures { step, seconds, losses, gradient, learning_rate, pictures_per_second }
    }

    #[test]
    fn a_cut_line_is_no_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let mut log = Log::open(folder.path(), 0).unwrap();
        (1..=11).for_each(|step| log.line(figures(step)).unwrap());
        let whole = fs::read_to_string(&path).unwrap();
        // Of the twelfth.
        for cut in ["1", "12,0.0,0", "12"] {
            fs::write(&path, whole.clone() + cut).unwrap();
            drop(Log::open(folder.path(), 12).unwrap());
            assert_eq!(fs::read_to_string(&path).unwrap(), whole, "{cut}");
        }
    }

    /// And is written whole when there is room.
    #[test]
    fn a_step_that_finds_no_room_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 0).unwrap();
        log.line(figures(1)).unwrap();
        let of_events = || {
            let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
            let mut events = files.filter(|path| path.extension().is_some_and(|end| end == "lbam"));
            fs::read(events.next().unwrap()).unwrap()
        };
        let before = (fs::read(&log.path).unwrap(), of_events());
        let path = log.events.path.clone();
        let file = std::mem::replace(&mut log.events.file, fs::File::open(path).unwrap());
        assert!(log.line(figures(2)).is_err(), "it is open to be read alone");
        log.events.file = file;
        assert!((fs::read(&log.path).unwrap(), of_events()) == before);
        log.line(figures(2)).unwrap();
        let after = (fs::read(&log.path).unwrap(), of_events());
        assert!(after.0.starts_with(&before.0) && after.0.len() > before.0.len());
        assert!(after.1.starts_with(&before.1) && after.1.len() > before.1.len());
    }

    #[test]
    fn lines_of_older_programs_keep_their_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let old = "step,seconds,loss,hole,valid,learning_rate,pictures_per_second\n\
                   1,0.5,3,2,1,1e-4,8\n2,1.0,2.5,2,0.5,2e-4,9\n3,1.5,9,9,9,9,9\n";
        fs::write(&path, old).unwrap();
        let mut log = Log::open(folder.path(), 2).unwrap();
        let losses = Losses { total: 4.0, hole: 1.0, penalty: 0.25, ..Losses::default() };
        log.line(Figures {
            step: 3,
            seconds: 2.0,
            losses,
            gradient: 0.75,
            learning_rate: 3e-4,
            pictures_per_second: 10.0,
        })
        .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "step,seconds,loss,hole,valid,ssim,perceptual,style,adversarial,critic,penalty,\
                 gradient,learning_rate,pictures_per_second",
                "1,0.5,3,2,1,0,0,0,0,0,0,0,1e-4,8",
                "2,1.0,2.5,2,0.5,0,0,0,0,0,0,0,2e-4,9",
                "3,2.0,4,1,0,0,0,0,0,0,0.25,0.75,3.000e-4,10.00",
            ]
        );
    }
}
