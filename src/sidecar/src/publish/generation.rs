//! One generation of files: written into a directory of its own, and made the current one by one rename of a link, as
//! Kubernetes' atomic writer does it. Readers go by `NAME -> ..data/NAME`, `..data -> ..generation-N`.
//!
//! Everything is done relative to open directories and follows no link. What goes wrong before the rename leaves the
//! generation before in its place.

use std::{
    collections::BTreeSet,
    ffi::{CStr, OsStr},
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, fchmod, fchown, fsync, mkdirat, openat, readlinkat, renameat,
        statat, symlinkat, unlinkat,
    },
    io::Errno,
};
use thiserror::Error;

use super::{Ownership, directory::Directory};
use crate::{config::files, name::Name, render::Rendered};

/// The link to the current generation.
const DATA: &str = "..data";
/// The same until it is in its place.
const NEXT: &str = "..data-next";
/// What the directory of a generation begins with.
const PREFIX: &str = "..generation-";

/// Why files could not be published. What was published before is as it was.
#[derive(Debug, Error)]
pub enum GenerationError {
    /// Something else is there under the file's name.
    #[error(
        "`{0}` is there already and is not the sidecar's: take it away, or give the [[file]] another name"
    )]
    Occupied(Name),
    /// The file system is full.
    #[error("there is no room for `{0}`: what was published before stays until there is")]
    Full(String),
    /// The system said no.
    #[error("`{what}` cannot be {verb}: {error}")]
    Io {
        /// The file or directory.
        what: String,
        /// What was tried.
        verb: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// Writes all files and makes them the current ones. Generations before stay until [`sweep`].
pub(super) fn publish(
    directory: &Directory,
    files: &[Rendered],
    mode: files::Mode,
    ownership: Ownership,
) -> Result<(), GenerationError> {
    let root = directory.fd();
    let absent = absent_links(root, files)?;
    let name = next_name(root).map_err(failed(DATA, "read"))?;
    let written = write(root, &name, files, mode, ownership).and_then(|()| switch(root, &name));
    if written.is_err() {
        // As far as it goes; the next sweep finds what is left.
        let _ = remove_generation(root, OsStr::new(&name));
        let _ = unlinkat(root, NEXT, AtFlags::empty());
    }
    written?;
    for name in absent {
        let target = format!("{DATA}/{name}");
        symlinkat(target, root, name.as_str()).map_err(failed(name.as_str(), "made"))?;
    }
    let current: BTreeSet<_> = files.iter().map(|file| file.name.as_str()).collect();
    remove_links(root, |name| !current.contains(name)).map_err(failed(DATA, "tidied"))?;
    fsync(root).map_err(failed(DATA, "made durable"))
}

/// Removes every generation but the current one, and what a crash left.
pub(super) fn sweep(directory: &Directory) -> io::Result<()> {
    let root = directory.fd();
    let current = link_target(root, DATA);
    for name in entries(root)? {
        if name.as_bytes().starts_with(PREFIX.as_bytes()) && current.as_deref() != Some(name.as_bytes()) {
            remove_generation(root, &name)?;
        }
    }
    match unlinkat(root, NEXT, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes all that was published.
pub(super) fn remove(directory: &Directory) -> io::Result<()> {
    let root = directory.fd();
    remove_links(root, |_| true)?;
    match unlinkat(root, DATA, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    sweep(directory)?;
    Ok(fsync(root)?)
}

/// The files that have no link yet. Whatever else has such a name is not touched.
fn absent_links(root: &OwnedFd, files: &[Rendered]) -> Result<Vec<Name>, GenerationError> {
    let mut absent = Vec::new();
    for file in files {
        let name = file.name.as_str();
        match statat(root, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => absent.push(file.name.clone()),
            Err(error) => return Err(failed(name, "looked at")(error)),
            Ok(_)
                if link_target(root, name).is_some_and(|to| to == format!("{DATA}/{name}").into_bytes()) => {}
            Ok(_) => return Err(GenerationError::Occupied(file.name.clone())),
        }
    }
    Ok(absent)
}

fn write(
    root: &OwnedFd,
    name: &str,
    files: &[Rendered],
    mode: files::Mode,
    ownership: Ownership,
) -> Result<(), GenerationError> {
    mkdirat(root, name, Mode::RWXU).map_err(failed(name, "made"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(root, name, flags, Mode::empty()).map_err(failed(name, "opened"))?;
    for file in files {
        let label = file.name.as_str();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&folder, label, flags, Mode::RUSR | Mode::WUSR).map_err(failed(label, "made"))?;
        let mut fd = File::from(fd);
        fd.write_all(file.content.expose()).map_err(|error| told(label, "written", error))?;
        // Before the permissions: who owns a file may change them.
        own(&fd, label, ownership)?;
        let mode = file.mode.unwrap_or(mode);
        fchmod(&fd, Mode::from_raw_mode(mode.0)).map_err(failed(label, "given its permissions"))?;
        fsync(&fd).map_err(failed(label, "made durable"))?;
    }
    own(&folder, name, ownership)?;
    if ownership.is_shared() {
        let open = Mode::RWXU | Mode::RGRP | Mode::XGRP;
        fchmod(&folder, open).map_err(failed(name, "given its permissions"))?;
    }
    fsync(&folder).map_err(failed(name, "made durable"))
}

fn own(fd: &impl AsFd, label: &str, ownership: Ownership) -> Result<(), GenerationError> {
    if !ownership.is_shared() {
        return Ok(());
    }
    fchown(fd, ownership.uid(), ownership.gid()).map_err(failed(label, "given to its owner"))
}

/// Makes a generation the current one: this is the moment.
fn switch(root: &OwnedFd, name: &str) -> Result<(), GenerationError> {
    match unlinkat(root, NEXT, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(failed(NEXT, "removed")(error)),
    }
    symlinkat(name, root, NEXT).map_err(failed(NEXT, "made"))?;
    renameat(root, NEXT, root, DATA).map_err(failed(DATA, "replaced"))?;
    Ok(())
}

/// The first name that no generation has had.
fn next_name(root: &OwnedFd) -> io::Result<String> {
    let number = |name: &OsStr| name.to_str()?.strip_prefix(PREFIX)?.parse::<u64>().ok();
    let highest = entries(root)?.iter().filter_map(|name| number(name)).max().unwrap_or(0);
    Ok(format!("{PREFIX}{}", highest.saturating_add(1)))
}

fn entries(fd: &impl AsFd) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = CStr::to_bytes(entry.file_name());
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn remove_generation(root: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(root, name, flags, Mode::empty())?;
    for file in entries(&folder)? {
        unlinkat(&folder, &file, AtFlags::empty())?;
    }
    Ok(unlinkat(root, name, AtFlags::REMOVEDIR)?)
}

/// Removes the links `NAME -> ..data/NAME` of the names that are not wanted any more.
fn remove_links(root: &OwnedFd, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
    for name in entries(root)? {
        let Some(text) = name.to_str() else { continue };
        let ours = || link_target(root, text).is_some_and(|to| to == format!("{DATA}/{text}").into_bytes());
        if !text.starts_with("..") && unwanted(text) && ours() {
            unlinkat(root, &name, AtFlags::empty())?;
        }
    }
    Ok(())
}

/// Where a link leads; `None` for anything else.
fn link_target(root: &OwnedFd, name: &str) -> Option<Vec<u8>> {
    let stat = statat(root, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return None;
    }
    Some(readlinkat(root, Path::new(name), Vec::new()).ok()?.into_bytes())
}

fn failed<E: Into<io::Error>>(what: &str, verb: &'static str) -> impl FnOnce(E) -> GenerationError {
    let what = what.to_owned();
    move |error| told(&what, verb, error.into())
}

fn told(what: &str, verb: &'static str, error: io::Error) -> GenerationError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => GenerationError::Full(what.to_owned()),
        _ => GenerationError::Io { what: what.to_owned(), verb, error },
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::*;

    struct Place {
        _dir: tempfile::TempDir,
        directory: Directory,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("run");
            Self { _dir: dir, directory: Directory::open(&path, Ownership::default(), false).unwrap() }
        }

        fn publish(&self, files: &[(&str, &str)]) -> Result<(), GenerationError> {
            let files: Vec<_> = files
                .iter()
                .map(|(name, content)| Rendered {
                    name: name.parse().unwrap(),
                    mode: None,
                    content: content.to_string().into(),
                    uses: BTreeSet::new(),
                })
                .collect();
            publish(&self.directory, &files, files::Mode::default(), Ownership::default())
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(self.directory.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    #[test]
    fn files_come_and_go_together() {
        let place = Place::new();
        place.publish(&[("a", "1"), ("b", "1")]).unwrap();
        assert_eq!(place.names(), ["..data", "..generation-1", "a", "b"]);
        assert_eq!((place.read("a"), place.read("b")), ("1".into(), "1".into()));
        assert_eq!(fs::metadata(place.directory.path().join("a")).unwrap().mode() & 0o777, 0o400);
        place.publish(&[("a", "2"), ("c", "2")]).unwrap();
        assert_eq!(place.names(), ["..data", "..generation-1", "..generation-2", "a", "c"]);
        sweep(&place.directory).unwrap();
        assert_eq!(place.names(), ["..data", "..generation-2", "a", "c"]);
        assert_eq!((place.read("a"), place.read("c")), ("2".into(), "2".into()));
        remove(&place.directory).unwrap();
        assert!(place.names().is_empty(), "{:?}", place.names());
    }

    #[test]
    fn what_a_crash_left_is_no_obstacle_and_is_swept() {
        let place = Place::new();
        place.publish(&[("a", "1")]).unwrap();
        // Died while it wrote, and between the new link and its rename.
        let half = place.directory.path().join("..generation-2");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("a"), "ha").unwrap();
        symlink("..generation-2", place.directory.path().join(NEXT)).unwrap();
        assert_eq!(place.read("a"), "1");
        place.publish(&[("a", "3")]).unwrap();
        sweep(&place.directory).unwrap();
        assert_eq!(place.names(), ["..data", "..generation-3", "a"]);
        assert_eq!(place.read("a"), "3");
    }

    #[test]
    fn what_is_not_ours_is_not_touched() {
        let place = Place::new();
        let mine = place.directory.path().join("a");
        fs::write(&mine, "mine").unwrap();
        let error = place.publish(&[("a", "1"), ("b", "1")]).unwrap_err().to_string();
        assert!(error.contains("`a` is there already and is not the sidecar's"), "{error}");
        assert_eq!((place.names(), place.read("a")), (vec!["a".to_owned()], "mine".into()));
        fs::remove_file(&mine).unwrap();
        // A link that somebody else put there is not followed.
        let elsewhere = place.directory.path().parent().unwrap().join("elsewhere");
        fs::write(&elsewhere, "kept").unwrap();
        symlink(&elsewhere, &mine).unwrap();
        assert!(matches!(place.publish(&[("a", "1")]), Err(GenerationError::Occupied(_))));
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "kept");
    }

    #[test]
    fn a_directory_that_was_moved_is_still_the_one_that_is_written_in() {
        let place = Place::new();
        place.publish(&[("a", "1")]).unwrap();
        let (path, away) = (place.directory.path().to_owned(), place.directory.path().with_extension("away"));
        let trap = path.with_extension("trap");
        fs::rename(&path, &away).unwrap();
        fs::create_dir(&trap).unwrap();
        symlink(&trap, &path).unwrap();
        place.publish(&[("a", "2")]).unwrap();
        assert_eq!(fs::read_to_string(away.join("a")).unwrap(), "2");
        assert_eq!(fs::read_dir(&trap).unwrap().count(), 0, "nothing went through the link");
    }
}
