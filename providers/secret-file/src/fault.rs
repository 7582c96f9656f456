//! Why a file is not used.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Why a file is not used. It names the file, and has nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SecretFileFault {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, io::ErrorKind),
    /// Others can read or change it.
    #[error("{0}: others can read or change it: chmod 600")]
    Open(PathBuf),
    /// Others can change it.
    #[error("{0}: others can change it: chmod 644")]
    Changeable(PathBuf),
    /// It is a directory, a pipe or larger than any secret.
    #[error("{0}: it must be a file of at most 64 KiB")]
    NoFile(PathBuf),
    /// It is not UTF-8.
    #[error("{0}: it must hold text")]
    NoText(PathBuf),
    /// It holds more than a word, or nothing.
    #[error("{0}: it must hold one word on one line")]
    NoWord(PathBuf),
    /// It holds more than a line, or nothing.
    #[error("{0}: it must hold one line")]
    NoLine(PathBuf),
}

impl SecretFileFault {
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::Unreadable(path.to_owned(), error.kind())
    }
}
