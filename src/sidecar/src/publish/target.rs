//! The directory with what is to be done in it, for the threads that may wait for a disk.

use std::io;

use super::{
    GenerationError, Ownership, PublishError,
    directory::{Directory, DirectoryError},
    generation,
};
use crate::{config::Files, render::Rendered};

/// Where files are published, and how.
#[derive(Debug)]
pub(super) struct Target {
    settings: Files,
    ownership: Ownership,
    directory: Directory,
}

impl Target {
    /// Opens the directory and removes what a crash left in it.
    pub(super) fn open(settings: Files, ownership: Ownership) -> Result<Self, PublishError> {
        let directory = Directory::open(&settings.dir, ownership, settings.shared_volume)?;
        let path = directory.path().display();
        if !directory.is_in_memory() {
            tracing::warn!(
                "{path} is on a disk, which keeps what was written to it: use a tmpfs, such as below /run"
            );
        }
        generation::sweep(&directory)
            .map_err(|error| DirectoryError::Io { path: settings.dir.clone(), error })?;
        Ok(Self { settings, ownership, directory })
    }

    /// What is published from now on is so, in the same directory.
    pub(super) fn settle(&mut self, settings: Files, ownership: Ownership) {
        (self.settings, self.ownership) = (settings, ownership);
    }

    /// Whether its path still leads to the directory that was checked.
    pub(super) fn is_in_place(&self) -> bool {
        self.directory.is_in_place()
    }

    /// Publishes all files. A directory that is not the one that was checked any more is checked as the first one was.
    pub(super) fn publish(&mut self, files: &[Rendered]) -> Result<(), PublishError> {
        if !self.directory.is_in_place() {
            let Files { dir, shared_volume, .. } = &self.settings;
            self.directory = Directory::open(dir, self.ownership, *shared_volume)?;
        }
        let dir = || self.settings.dir.display().to_string();
        generation::publish(&self.directory, files, self.settings.mode, self.ownership)
            .map_err(|error: GenerationError| PublishError::Generation { dir: dir(), error })
    }

    /// Removes what is not current.
    pub(super) fn sweep(&self) -> io::Result<()> {
        generation::sweep(&self.directory)
    }

    /// Leaves the files, or removes them, as configured.
    pub(super) fn finish(&self) -> io::Result<()> {
        if self.settings.remove_on_exit { generation::remove(&self.directory) } else { self.sweep() }
    }
}
