//! Writing a file so that it is there whole or not at all.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::FileError;

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether two paths lead to one file, which need not be there yet.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| -> Option<PathBuf> {
        let beside = || Some(folder(path).canonicalize().ok()?.join(path.file_name()?));
        path.canonicalize().ok().or_else(beside)
    };
    place(one).is_some_and(|one| place(other) == Some(one))
}

/// Whether a path leads to something that is neither file nor folder, such as a pipe: to open it may be
/// to wait.
pub fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| !about.is_file() && !about.is_dir())
}

/// Whether a file or folder is left out of listings: its name begins with a dot.
pub(crate) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a name is one that Linux gives to cameras and to devices that take pictures.
pub(crate) fn is_video_device(name: &str) -> bool {
    name.starts_with("/dev/video") || name.starts_with("/dev/v4l/")
}

/// That a file can be written there: to be asked before the work whose result it takes.
///
/// # Errors
/// [`FileError::Write`] that names the path.
pub fn check_place(path: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    if path.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    aside(&place(path)).map(drop).map_err(failed)
}

/// A file beside `path`, to be written, synced and renamed to it. Others may read it as the umask says,
/// as with any new file.
pub(crate) fn aside(path: &Path) -> std::io::Result<NamedTempFile> {
    // A rename would put a file in the place of the device or pipe.
    if is_special(path) {
        let reason = "it is no file that could be replaced";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, reason));
    }
    tempfile::Builder::new()
        .prefix(".lbam-")
        .suffix(".part")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder(path))
}

/// Where a file is written that is to be at `path`: a link stays one, and what it leads to is replaced.
pub(crate) fn place(path: &Path) -> PathBuf {
    let Ok(target) = path.read_link() else { return path.to_owned() };
    // One that leads to nothing so far leads to its place all the same.
    path.canonicalize().unwrap_or_else(|_| folder(path).join(target))
}

/// Writes `bytes` beside `path`, syncs and renames.
///
/// # Errors
/// [`FileError::Write`] that names the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let write = || {
        let place = place(path);
        let mut file = aside(&place)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&place).map_err(|error| error.error)?;
        // Without it a power cut may bring back what was there before.
        File::open(folder(&place))?.sync_all()
    };
    write().map_err(|source| FileError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_and_pipes_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, pipe] = ["file", "link", "pipe"].map(|name| folder.path().join(name));
        std::fs::write(&file, "before").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_atomically(&link, b"after").unwrap();
        assert!(link.is_symlink() && std::fs::read(&file).unwrap() == b"after");
        std::fs::remove_file(&file).unwrap();
        write_atomically(&link, b"anew").unwrap();
        assert!(link.is_symlink() && std::fs::read(&file).unwrap() == b"anew");
        check_place(&link).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for refused in [check_place(&pipe), write_atomically(&pipe, b"after")] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("pipe") && error.contains("no file"), "{error}");
        }
        assert!(is_special(&pipe));
    }

    #[test]
    fn one_file_by_two_names_is_the_same() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let file = inner.join("a.png");
        let around = inner.join("../inner/a.png");
        // Before it is there, and after.
        assert!(is_same(&file, &around) && !is_same(&file, &inner.join("b.png")));
        std::fs::write(&file, "").unwrap();
        let link = outer.path().join("link.png");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(is_same(&file, &around) && is_same(&link, &file));
        let absent = outer.path().join("absent/a.png");
        assert!(!is_same(&absent, &absent), "it is nowhere");
    }

    #[test]
    fn places_are_looked_at_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        check_place(&folder.path().join("a.lbam")).unwrap();
        let error = check_place(folder.path()).unwrap_err().to_string();
        assert!(error.contains("directory"), "{error}");
        let error = check_place(&folder.path().join("absent/a.lbam")).unwrap_err().to_string();
        assert!(error.contains("absent/a.lbam"), "{error}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
