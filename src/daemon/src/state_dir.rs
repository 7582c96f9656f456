//! The state directory: private, this user's, and one broker's at a time.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use data_encoding::BASE32_NOPAD;
use leasehold_core::ports::Entropy;
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// A state directory that is ours while this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// Why a state directory is not used.
#[derive(Debug, Error)]
pub enum StateDirError {
    /// It is not there. It is not made on the way: a file system that is not mounted would look like a broker
    /// without leases.
    #[error("there is no state directory {}: mount it, or make one with `leaseholdd init`", .0.display())]
    Missing(PathBuf),
    /// Not a directory.
    #[error("the state directory {} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Others can look in.
    #[error("the state directory {} is open to others than its owner (mode {mode:03o}): name a directory of the broker's own, or `chmod 700 {}`", path.display(), path.display())]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else's.
    #[error("the state directory {} belongs to user {owner}, not to the user {user} that runs this: run as its owner, or give it to this one: `chown -R {user} {}`", path.display(), path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// The number of the user that this process runs as.
        user: u32,
    },
    /// Another broker has it.
    #[error("the state directory {} is in use by {}: one broker to one state directory", path.display(),
        pid.map_or_else(|| "another broker".to_owned(), |pid| format!("the broker with process id {pid}")))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// That broker's process.
        pid: Option<u32>,
    },
    /// The system said no.
    #[error("the state directory {} cannot be {verb}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// `made`, `read` or `locked`.
        verb: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Whose lock says that a broker is at work; holds its process id.
const LOCK: &str = "lock";
/// The broker's name.
const NAME: &str = "broker-id";
/// The same until it is whole.
const UNFINISHED_NAME: &str = "broker-id.new";

fn is_name(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

impl StateDir {
    /// Makes the directory for this user alone; its parents as the system's defaults have them. One that is there stays.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(path: &Path) -> Result<(), StateDirError> {
        let failed = |source| StateDirError::Io { path: path.to_owned(), verb: "made", source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Checks that the directory is there, this user's, and closed to others.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(path: &Path) -> Result<(), StateDirError> {
        let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StateDirError::Missing(path.to_owned()),
            _ => StateDirError::Io { path: path.to_owned(), verb: "read", source },
        })?;
        let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
        let mode = metadata.mode() & 0o777;
        if !metadata.is_dir() {
            Err(StateDirError::NotADirectory(path.to_owned()))
        } else if owner != user {
            Err(StateDirError::Foreign { path: path.to_owned(), owner, user })
        } else if mode & 0o077 != 0 {
            Err(StateDirError::Exposed { path: path.to_owned(), mode })
        } else {
            Ok(())
        }
    }

    /// Checks the directory and takes it, until the value is dropped or the process ends.
    ///
    /// # Errors
    /// When it is not fit, or another broker's.
    pub fn claim(path: &Path) -> Result<Self, StateDirError> {
        Self::check(path)?;
        let failed = |source| StateDirError::Io { path: path.to_owned(), verb: "locked", source };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let read = lock.read_to_string(&mut text);
                let pid = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(StateDirError::InUse { path: path.to_owned(), pid });
            }
            Err(error) => return Err(failed(error.into())),
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The name of the broker whose state this is, made at its first start: it stays with the state, also in a copy.
    ///
    /// # Errors
    /// When it can neither be read nor made.
    pub fn name(&self, entropy: &dyn Entropy) -> Result<String, StateDirError> {
        let path = self.path.join(NAME);
        let failed = |source| StateDirError::Io { path: path.clone(), verb: "read", source };
        match std::fs::read_to_string(&path) {
            Ok(name) if is_name(name.trim()) => return Ok(name.trim().to_owned()),
            Ok(_) => return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it holds no name"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let mut bits = [0; 16];
        entropy.fill(&mut bits).map_err(|error| failed(io::Error::other(error)))?;
        let name = BASE32_NOPAD.encode(&bits).to_ascii_lowercase();
        let made = || {
            let unfinished = self.path.join(UNFINISHED_NAME);
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            writeln!(file, "{name}")?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            File::open(&self.path)?.sync_all()
        };
        made().map_err(|source| StateDirError::Io { path: path.clone(), verb: "made", source })?;
        Ok(name)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use leasehold_seal::SystemEntropy;

    use super::*;

    #[test]
    fn what_is_not_private_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/state");
        assert!(matches!(StateDir::claim(&path), Err(StateDirError::Missing(_))));
        StateDir::make(&path).unwrap();
        StateDir::make(&path).unwrap();
        StateDir::check(&path).unwrap();
        for mode in [0o750, 0o705, 0o777, 0o711] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = StateDir::claim(&path).unwrap_err();
            assert!(matches!(error, StateDirError::Exposed { mode: found, .. } if found == mode), "{error}");
        }
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(StateDir::claim(&file), Err(StateDirError::NotADirectory(_))));
    }

    #[test]
    fn a_broker_keeps_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        StateDir::make(&one).unwrap();
        StateDir::make(&other).unwrap();
        let claimed = StateDir::claim(&one).unwrap();
        let name = claimed.name(&SystemEntropy).unwrap();
        assert_eq!(claimed.name(&SystemEntropy).unwrap(), name);
        assert_ne!(StateDir::claim(&other).unwrap().name(&SystemEntropy).unwrap(), name);
        std::fs::write(one.join(NAME), "").unwrap();
        assert!(claimed.name(&SystemEntropy).is_err(), "it would be another broker");
    }

    #[test]
    fn one_broker_to_one_directory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        StateDir::make(&path).unwrap();
        let first = StateDir::claim(&path).unwrap();
        let error = StateDir::claim(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("the broker with process id {}", std::process::id())), "{error}");
        drop(first);
        StateDir::claim(&path).unwrap();
    }
}
