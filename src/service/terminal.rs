//! What programs say to who runs them. Nobody may listen any more: a pipe's reader has ended, or the
//! terminal was closed. That is no failure, and no reason to panic.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

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
