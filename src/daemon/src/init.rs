//! `leaseholdd init`: the seal key and the state directory. What exists is never overwritten.

use std::path::{Path, PathBuf};

use leasehold_core::ports::Entropy;
use leasehold_seal::{KeyRing, KeyRingError};
use thiserror::Error;

use crate::{
    config::Config,
    state_dir::{StateDir, StateDirError},
};

/// What was done, for people.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A key was made.
    MadeKey(PathBuf),
    /// A key was there, and it can be used.
    FoundKey(PathBuf),
    /// The state directory is there, private and this user's.
    StateDir(PathBuf),
}

/// Why it was not done.
#[derive(Debug, Error)]
pub enum InitError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyRingError),
    /// The key's folder.
    #[error("the folder {} cannot be made", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The state directory.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
}

/// Makes the key and the state directory that the configuration names.
///
/// # Errors
/// When one of them cannot be made, or is there and cannot be used.
pub fn from_config(config: &Config, entropy: &dyn Entropy) -> Result<Vec<Step>, InitError> {
    let key = key_file(&config.seal.key_file, entropy)?;
    StateDir::make(&config.ledger.dir)?;
    StateDir::check(&config.ledger.dir)?;
    Ok(vec![key, Step::StateDir(config.ledger.dir.clone())])
}

/// Makes a key, unless there is one.
///
/// # Errors
/// When it cannot be made, or is there and cannot be used.
pub fn key_file(path: &Path, entropy: &dyn Entropy) -> Result<Step, InitError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|source| InitError::Folder { path: folder.to_owned(), source })?;
    }
    match KeyRing::create_file(path, entropy) {
        Ok(_) => Ok(Step::MadeKey(path.to_owned())),
        Err(KeyRingError::Exists { .. }) => {
            KeyRing::load(path)?;
            Ok(Step::FoundKey(path.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MadeKey(path) => write!(
                f,
                "made the seal key {}: keep a copy in a safe place, apart from the state; nothing opens without it",
                path.display()
            ),
            Self::FoundKey(path) => write!(f, "the seal key {} is there already", path.display()),
            Self::StateDir(path) => write!(f, "the state directory {} is ready", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use leasehold_seal::SystemEntropy;

    use super::*;

    #[test]
    fn a_second_time_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/seal.key");
        assert_eq!(key_file(&path, &SystemEntropy).unwrap(), Step::MadeKey(path.clone()));
        let first = std::fs::read(&path).unwrap();
        assert_eq!(key_file(&path, &SystemEntropy).unwrap(), Step::FoundKey(path.clone()));
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }

    #[test]
    fn what_is_there_and_is_no_key_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        std::fs::write(&path, "something of value").unwrap();
        assert!(key_file(&path, &SystemEntropy).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"something of value");
    }
}
