//! Why the index does not answer.

use std::{io, path::PathBuf};

use leasehold_core::state::LedgerError;
use leasehold_seal::SealError;
use thiserror::Error;

/// Why the index cannot be read or written. Whatever it is, the journal has everything.
#[derive(Debug, Error)]
pub(crate) enum IndexError {
    /// Sealed with a key that is not in the ring: no fault of the index.
    #[error(transparent)]
    Key(SealError),
    /// What was read is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// sled said so.
    #[error("its catalogue: {0}")]
    Catalogue(#[from] sled::Error),
    /// A file said so.
    #[error("{} cannot be {verb}: {source}", path.display())]
    Io { path: PathBuf, verb: &'static str, source: io::Error },
}

impl IndexError {
    pub(crate) fn io(path: impl Into<PathBuf>, verb: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, verb, source }
    }

    /// What failing to open `what` means.
    pub(crate) fn sealed(what: &str) -> impl FnOnce(SealError) -> Self {
        move |why| match why {
            SealError::Damaged => Self::Damaged(format!("{what} is damaged")),
            why => Self::Key(why),
        }
    }
}

impl From<IndexError> for LedgerError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Damaged(what) => Self::Corrupt(format!("the index: {what}; restart to rebuild it")),
            error => Self::Unavailable(format!("the index cannot be read: {error}")),
        }
    }
}
