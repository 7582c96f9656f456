//! The sealed file: its first line says what it is, and nobody but its owner reads or writes it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, process::geteuid};
use thiserror::Error;

/// Why the file is not read or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system does not let it.
    #[error("the cache {} cannot be {verb}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read`, `written` or `removed`.
        verb: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// Others can write to its directory.
    #[error("the directory {} of the cache can be written to by others (owner {owner}, mode {mode:03o}): use one of your own, \
             such as a `StateDirectory=` of the unit", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a regular file of this user's, or open to others.
    #[error("{} is not a file of this user's alone (owner {owner}, mode {mode:03o}), so nobody here wrote it: remove it",
        path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// It begins otherwise.
    #[error("{} is there, and is no cache of a sidecar: configure another file", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
}

const FIRST_LINE: &[u8] = b"leasehold-sidecar-cache 1\n";
/// More than any cache.
const LONGEST: u64 = 64 * 1024 * 1024;

/// The sealed bytes; `None` when there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let failed = |cause| FileError::Io { path: path.to_owned(), verb: "read", cause };
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    check_directory(path)?;
    let found = file.metadata().map_err(failed)?;
    let (owner, mode) = (found.uid(), found.mode() & 0o777);
    if !found.is_file() || owner != geteuid().as_raw() || mode & 0o077 != 0 {
        return Err(FileError::Foreign { path: path.to_owned(), owner, mode });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len().min(LONGEST)).unwrap_or(0));
    file.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.strip_prefix(FIRST_LINE) {
        Some(sealed) => Ok(Some(sealed.to_vec())),
        None => Err(FileError::NotOurs { path: path.to_owned() }),
    }
}

/// Replaces the file as a whole, durably. What is no cache is not replaced.
pub(super) fn replace(path: &Path, sealed: &[u8]) -> Result<(), FileError> {
    let failed = |cause| FileError::Io { path: path.to_owned(), verb: "written", cause };
    check_directory(path)?;
    check_ours(path)?;
    let unfinished = unfinished(path);
    // What a crash left there.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).and_then(|mut file| {
            file.write_all(FIRST_LINE)?;
            file.write_all(sealed)?;
            file.sync_all()?;
            fs::rename(&unfinished, path)?;
            File::open(directory(path))?.sync_all()
        });
    written.map_err(|cause| {
        // The one before stands.
        drop(fs::remove_file(&unfinished));
        failed(cause)
    })
}

/// Removes the file, and what a crash left of one; whether there was any.
pub(super) fn remove(path: &Path) -> Result<bool, FileError> {
    check_ours(path)?;
    let mut was_there = false;
    for each in [path, &unfinished(path)] {
        match fs::remove_file(each) {
            Ok(()) => was_there = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(FileError::Io { path: each.to_owned(), verb: "removed", cause }),
        }
    }
    Ok(was_there)
}

/// That nothing else is there: a mistaken configuration costs nobody a file.
fn check_ours(path: &Path) -> Result<(), FileError> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => return Err(FileError::NotOurs { path: path.to_owned() }),
    };
    let mut first = Vec::new();
    let length = u64::try_from(FIRST_LINE.len()).unwrap_or(u64::MAX);
    match file.take(length).read_to_end(&mut first) {
        Ok(_) if first == FIRST_LINE => Ok(()),
        _ => Err(FileError::NotOurs { path: path.to_owned() }),
    }
}

fn check_directory(path: &Path) -> Result<(), FileError> {
    let directory = directory(path);
    let found = fs::metadata(directory).map_err(|cause| FileError::Io {
        path: directory.to_owned(),
        verb: "read",
        cause,
    })?;
    let (owner, mode) = (found.uid(), found.mode() & 0o777);
    if (owner != 0 && owner != geteuid().as_raw()) || mode & 0o022 != 0 {
        return Err(FileError::Directory { path: directory.to_owned(), owner, mode });
    }
    Ok(())
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        (dir, path)
    }

    #[test]
    fn it_is_whole_and_its_owners_alone() {
        let (_dir, path) = place();
        assert!(read(&path).unwrap().is_none());
        fs::write(unfinished(&path), "half").unwrap();
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!unfinished(&path).exists());
        assert!(remove(&path).unwrap() && !remove(&path).unwrap());
    }

    #[test]
    fn what_others_may_have_written_is_not_read() {
        let (dir, path) = place();
        replace(&path, b"one").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&path, 0o640);
        assert!(matches!(read(&path), Err(FileError::Foreign { mode: 0o640, .. })));
        mode(&path, 0o600);
        mode(dir.path(), 0o770);
        assert!(matches!(read(&path), Err(FileError::Directory { .. })));
        assert!(matches!(replace(&path, b"two"), Err(FileError::Directory { .. })));
        mode(dir.path(), 0o700);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(read(&link), Err(FileError::Io { .. })));
    }

    #[test]
    fn what_is_no_cache_is_nobodys_to_replace_or_remove() {
        let (_dir, path) = place();
        fs::write(&path, "somebody's thesis").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read(&path), Err(FileError::NotOurs { .. })));
        assert!(matches!(replace(&path, b"one"), Err(FileError::NotOurs { .. })));
        assert!(matches!(remove(&path), Err(FileError::NotOurs { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's thesis");
    }
}
