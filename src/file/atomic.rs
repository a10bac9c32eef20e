//! Writing a file so that it is there whole or not at all.

use std::io::Write;
use std::path::Path;

use super::FileError;

/// Writes `bytes` beside `path`, syncs and renames.
///
/// # Errors
/// [`FileError::Write`] that names the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || {
        let mut aside = tempfile::Builder::new().prefix(".lbam-").tempfile_in(folder)?;
        aside.write_all(bytes)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            aside.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        aside.as_file().sync_all()?;
        aside.persist(path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|source| FileError::Write { path: path.to_owned(), source })
}
