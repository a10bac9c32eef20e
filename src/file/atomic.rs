//! Writing a file so that it is there whole or not at all.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

use super::FileError;

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file beside `path`, to be written, synced and renamed to it. Others may read it as the umask says,
/// as with any new file.
pub(crate) fn aside(path: &Path) -> std::io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".lbam-")
        .suffix(".part")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder(path))
}

/// Writes `bytes` beside `path`, syncs and renames.
///
/// # Errors
/// [`FileError::Write`] that names the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let write = || {
        let mut file = aside(path)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // Without it a power cut may bring back what was there before.
        File::open(folder(path))?.sync_all()
    };
    write().map_err(|source| FileError::Write { path: path.to_owned(), source })
}
