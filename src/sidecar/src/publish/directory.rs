//! The directory that files are published in: checked, and held open, so that nothing that is done to its path afterwards
//! leads a write elsewhere.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FlockOperation, Mode, OFlags, Stat, fchmod, fchown, flock, fstat, fstatfs, mkdirat,
        openat, statat,
    },
    io::Errno,
    process::geteuid,
};
use thiserror::Error;

use super::Ownership;

/// A directory that was found fit, while it is held.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
    /// Device and inode: which directory it is, whatever its name.
    identity: (u64, u64),
}

/// Why a directory is not used.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// It is not there and cannot be made.
    #[error("{} cannot be made: {error}; its parent must be there, and be the sidecar's to write in", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Whoever made the link says where the files go.
    #[error("{} is a symbolic link, and files are not published through one: name the directory itself", .0.display())]
    Link(PathBuf),
    /// Not a directory.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Others can look in, or put things there.
    #[error("{} is open to others (mode {mode:03o}): `chmod {fit:03o} {}`", path.display(), path.display())]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Permissions that are fit.
        fit: u32,
    },
    /// Somebody else's.
    #[error("{} belongs to user {owner}, who could put other files in the place of these: name a directory of the sidecar's own user, or `chown {user} {}`", path.display(), path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user that this process runs as.
        user: u32,
    },
    /// Those whom the files are for cannot get at them.
    #[error("{} is not open to those whom its files are for, and cannot be made so: {error}; `chown {whose} {}` and `chmod 750 {}`",
        path.display(), path.display(), path.display())]
    Shut {
        /// The directory.
        path: PathBuf,
        /// Whose it is to be, as `chown` takes it.
        whose: String,
        /// Why not.
        error: io::Error,
    },
    /// Everybody can replace it.
    #[error(
        "{} is in {}, where everybody can put another directory in its place (mode {mode:04o}): name another, or write \
         `shared_volume = true` where only those have that volume who may have the files",
        path.display(), above.display()
    )]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// The directory above it.
        above: PathBuf,
        /// That one's permissions.
        mode: u32,
    },
    /// Another sidecar publishes there.
    #[error("another sidecar publishes in {}: give each a directory of its own", .0.display())]
    InUse(PathBuf),
    /// The system said no.
    #[error("{} cannot be used: {error}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// File systems that are memory: `TMPFS_MAGIC` and `RAMFS_MAGIC` of magic.h.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

impl Directory {
    /// Opens the directory, after making it if it is not there, and takes it for this process. A `shared` one may be where
    /// everybody can write.
    pub(super) fn open(path: &Path, ownership: Ownership, shared: bool) -> Result<Self, DirectoryError> {
        let directory = match Self::find(path, ownership, shared) {
            Err(DirectoryError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                make(path)?;
                Self::find(path, ownership, shared)?
            }
            found => found?,
        };
        match flock(&directory.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                directory.let_in(ownership)?;
                Ok(directory)
            }
            Err(Errno::WOULDBLOCK) => Err(DirectoryError::InUse(path.to_owned())),
            Err(error) => Err(DirectoryError::Io { path: path.to_owned(), error: error.into() }),
        }
    }

    /// Opens a directory that is there, and checks it.
    fn find(path: &Path, ownership: Ownership, shared: bool) -> Result<Self, DirectoryError> {
        let failed = |error: Errno| DirectoryError::Io { path: path.to_owned(), error: error.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty());
        let fd = fd.map_err(|error| match (error, fs::symlink_metadata(path)) {
            (_, Ok(found)) if found.is_symlink() => DirectoryError::Link(path.to_owned()),
            (Errno::NOTDIR, Ok(_)) => DirectoryError::NotADirectory(path.to_owned()),
            _ => failed(error),
        })?;
        let stat = fstat(&fd).map_err(failed)?;
        let directory = Self { path: path.to_owned(), fd, identity: identity(&stat) };
        directory.check(&stat, ownership)?;
        if !shared {
            directory.check_above()?;
        }
        Ok(directory)
    }

    /// Gives it to those whom the files are for: to the owner, and to the group to pass through. One that is so is left
    /// as it is.
    fn let_in(&self, ownership: Ownership) -> Result<(), DirectoryError> {
        if !ownership.is_shared() {
            return Ok(());
        }
        let failed = |error: Errno| DirectoryError::Shut {
            path: self.path.clone(),
            whose: ownership.to_string(),
            error: error.into(),
        };
        let stat = fstat(&self.fd).map_err(failed)?;
        let is_theirs = ownership.user.is_none_or(|user| user == stat.st_uid)
            && ownership.group.is_none_or(|group| group == stat.st_gid);
        if is_theirs && stat.st_mode & 0o710 == 0o710 {
            return Ok(());
        }
        fchown(&self.fd, ownership.uid(), ownership.gid()).map_err(failed)?;
        fchmod(&self.fd, Mode::RWXU | Mode::RGRP | Mode::XGRP).map_err(failed)
    }

    /// Whether its path still leads to it.
    pub(super) fn is_in_place(&self) -> bool {
        statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| identity(&stat) == self.identity)
    }

    /// Whether what is in it is in memory only.
    pub(super) fn is_in_memory(&self) -> bool {
        fstatfs(&self.fd).is_ok_and(|stat| IN_MEMORY.contains(&stat.f_type))
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self, stat: &Stat, ownership: Ownership) -> Result<(), DirectoryError> {
        let path = || self.path.clone();
        let user = geteuid().as_raw();
        let mode = stat.st_mode & 0o7777;
        if ![Some(user), Some(0), ownership.user].contains(&Some(stat.st_uid)) {
            return Err(DirectoryError::Foreign { path: path(), owner: stat.st_uid, user });
        }
        if mode & 0o027 != 0 {
            let fit = if ownership.is_shared() { 0o750 } else { 0o700 };
            return Err(DirectoryError::Exposed { path: path(), mode: mode & 0o777, fit });
        }
        Ok(())
    }

    /// Whether nobody else can put another directory in its place.
    fn check_above(&self) -> Result<(), DirectoryError> {
        let path = || self.path.clone();
        for above in self.path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            let found = fs::metadata(above).map_err(|error| DirectoryError::Io { path: path(), error })?;
            // With the sticky bit, as on /tmp, nobody can replace what is another's.
            if found.mode() & 0o1002 == 0o0002 {
                let mode = found.mode() & 0o7777;
                return Err(DirectoryError::Unsafe { path: path(), above: above.to_owned(), mode });
            }
        }
        Ok(())
    }
}

/// Looks at a directory without making or taking it.
pub(super) fn check(path: &Path, ownership: Ownership, shared: bool) -> Result<(), DirectoryError> {
    match Directory::find(path, ownership, shared) {
        Err(DirectoryError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        found => found.map(drop),
    }
}

/// Makes the directory, for this user alone.
fn make(path: &Path) -> Result<(), DirectoryError> {
    match mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(DirectoryError::Missing { path: path.to_owned(), error: error.into() }),
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn open(path: &Path) -> Result<Directory, String> {
        Directory::open(path, Ownership::default(), false).map_err(|error| error.to_string())
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_a_directory_of_ones_own_that_nobody_else_can_look_into_is_taken() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run");
        drop(open(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700, "it is made private");
        for mode in [0o755, 0o705, 0o701, 0o770, 0o777] {
            chmod(&path, mode);
            let said = open(&path).unwrap_err();
            assert!(said.contains(&format!("is open to others (mode {mode:03o}): `chmod 700 ")), "{said}");
        }
        chmod(&path, 0o750);
        drop(open(&path).unwrap());
        let link = place.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(open(&link).unwrap_err().contains("is a symbolic link"));
        fs::write(place.path().join("file"), "x").unwrap();
        assert!(open(&place.path().join("file")).unwrap_err().contains("is not a directory"));
        assert!(open(&place.path().join("no/such")).unwrap_err().contains("cannot be made"));
        chmod(place.path(), 0o777);
        assert!(open(&path).unwrap_err().contains("everybody can put another directory in its place"));
        drop(Directory::open(&path, Ownership::default(), true).unwrap());
        chmod(place.path(), 0o1777);
        drop(open(&path).unwrap());
    }

    #[test]
    fn one_sidecar_to_one_directory_and_a_replaced_one_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run");
        let held = open(&path).unwrap();
        assert!(held.is_in_place());
        assert!(open(&path).unwrap_err().contains("another sidecar"));
        fs::rename(&path, place.path().join("away")).unwrap();
        assert!(!held.is_in_place());
        symlink(place.path().join("away"), &path).unwrap();
        assert!(!held.is_in_place(), "also when a link leads to it");
    }
}
