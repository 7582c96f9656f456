//! The directory as a thing to trust: ours, closed to others, held by one, and what is read from it.

use std::{
    fs::{self, DirBuilder, File, Metadata, TryLockError},
    io::{self, ErrorKind, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;

use crate::fault::{Fault, OpenError};

/// The provider's directory, held until dropped.
pub(crate) struct Directory {
    _lock: File,
}

/// Where the secrets are in it.
pub(crate) const SECRETS: &str = "secrets";
const LOCK: &str = "lock";

impl Directory {
    /// Makes the directory when it is absent, checks it, and takes its lock.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { action, path, source }
        };
        create(path).map_err(io("create", path))?;
        check(path)?;
        let lock_path = path.join(LOCK);
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags)
            .open(&lock_path)
            .map_err(io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io("lock", &lock_path)(error)),
        }
        let secrets = path.join(SECRETS);
        create(&secrets).map_err(io("create", &secrets))?;
        check(&secrets)?;
        // A broker that was killed may have renamed a version without its directory's fsync: make what is seen durable.
        rustix::fs::syncfs(&lock).map_err(|error| io("sync the file system of", path)(error.into()))?;
        Ok(Self { _lock: lock })
    }
}

/// Whether a provider, of this process or another, holds `path`. Creates nothing; a directory that is not there, or that
/// cannot be looked into, is not in use.
pub fn is_in_use(path: &Path) -> bool {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let lock = File::options().write(true).custom_flags(flags).open(path.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Makes the directories from `root` down to `path`, each of them durably and closed to others.
pub(crate) fn make_private(root: &Path, path: &Path) -> Result<(), Fault> {
    let below = path.strip_prefix(root).unwrap_or(Path::new(""));
    let mut at = root.to_owned();
    for part in below {
        at.push(part);
        create(&at).map_err(Fault::io("create", &at))?;
    }
    Ok(())
}

/// Reads a file that must be ours and closed to others, of at most `limit` bytes.
pub(crate) fn read_private(path: &Path, limit: usize) -> Result<Vec<u8>, Fault> {
    let untrusted = |why| Fault::Untrusted { path: path.to_owned(), why };
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Fault::Absent),
        Err(error) => return Err(Fault::io("open", path)(error)),
    };
    let meta = file.metadata().map_err(Fault::io("look at", path))?;
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    if !meta.is_file() {
        return Err(untrusted("it is not a plain file"));
    }
    if meta.uid() != user() {
        return Err(untrusted("it belongs to another user"));
    }
    if mode(&meta) & 0o077 != 0 {
        return Err(untrusted("others can read it"));
    }
    if meta.len() > limit {
        return Err(untrusted("it is larger than a version can be"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.take(limit).read_to_end(&mut bytes).map_err(Fault::io("read", path))?;
    Ok(bytes)
}

/// Makes a directory's entries durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes one directory, durably; one that is there is left as it is.
fn create(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
            _ => sync_directory(Path::new(".")),
        },
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn check(path: &Path) -> Result<(), OpenError> {
    let meta = fs::symlink_metadata(path).map_err(|source| OpenError::Io {
        action: "look at",
        path: path.to_owned(),
        source,
    })?;
    if !meta.is_dir() {
        return Err(OpenError::NotADirectory { path: path.to_owned() });
    }
    if meta.uid() != user() {
        return Err(OpenError::Foreign { path: path.to_owned(), owner: meta.uid(), user: user() });
    }
    if mode(&meta) & 0o077 != 0 {
        return Err(OpenError::Exposed { path: path.to_owned(), mode: mode(&meta) });
    }
    Ok(())
}

fn mode(meta: &Metadata) -> u32 {
    meta.mode() & 0o7777
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}
