//! What programs say to who runs them. Nobody may listen any more: a pipe's reader has ended, or the
//! terminal was closed. That is no failure, and no reason to panic.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use log::Level;

/// What a line on standard error begins with so that the journal knows its level (sd-daemon(3));
/// nothing where it goes elsewhere.
pub fn level_mark(level: Level) -> &'static str {
    static IN_JOURNAL: OnceLock<bool> = OnceLock::new();
    match *IN_JOURNAL.get_or_init(|| std::env::var("JOURNAL_STREAM").is_ok_and(|of| is_stderr(&of)))
    {
        true => mark(level),
        false => "",
    }
}

fn mark(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// Whether a stream, by its device and inode, is standard error. Whoever is started from a service has
/// the variable too, wherever its lines go.
fn is_stderr(stream: &str) -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::fs::MetadataExt;
        std::fs::metadata("/proc/self/fd/2")
            .is_ok_and(|file| stream == format!("{}:{}", file.st_dev(), file.st_ino()))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = stream;
        false
    }
}

/// A line on standard error.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Text on standard output.
///
/// # Errors
/// Where it goes to a file that cannot be written.
pub fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_told_levels_it_knows() {
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        assert_eq!(levels.map(mark), ["<3>", "<4>", "<6>", "<7>", "<7>"]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_stream_is_not_ours() {
        use std::os::linux::fs::MetadataExt;
        let ours = std::fs::metadata("/proc/self/fd/2").unwrap();
        assert!(is_stderr(&format!("{}:{}", ours.st_dev(), ours.st_ino())));
        assert!(!is_stderr(&format!("{}:{}", ours.st_dev(), ours.st_ino() + 1)));
        assert!(!is_stderr(""));
    }
}
