//! The segment that is written to: overwrites its zeros, and knows when it is no longer at its place.

use std::{io, path::PathBuf};

use crate::{
    error::JournalError,
    files::{Files, Identity, JournalFile},
};

/// The segment that is written to.
pub(crate) struct Current {
    file: Box<dyn JournalFile>,
    path: PathBuf,
    identity: Identity,
    /// Its length: up to here there is room that is already ours.
    len: u64,
    /// Where the next group goes.
    end: u64,
}

/// Why a group did not become durable.
pub(crate) enum WriteError {
    /// There was no room after all; the segment is as it was.
    Full(io::Error),
    /// Nothing is known any more.
    Broken(&'static str, io::Error),
}

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

impl Current {
    pub(crate) fn new(file: Box<dyn JournalFile>, path: PathBuf, end: u64) -> io::Result<Self> {
        let status = file.status()?;
        Ok(Self { file, path, identity: status.identity, len: status.len, end })
    }

    /// Whether `bytes` more fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.end.saturating_add(bytes as u64) <= self.len
    }

    /// Whether it is time to prepare the next one.
    pub(crate) fn is_half_full(&self) -> bool {
        self.end > self.len / 2
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Writes a group behind the last one and makes it durable; it counts only after [`keep`](Self::keep).
    pub(crate) fn write(&self, group: &[u8]) -> Result<(), WriteError> {
        match write_all(&*self.file, group, self.end) {
            Ok(()) => self.file.sync_data().map_err(|why| WriteError::Broken("fsync", why)),
            // Overwriting takes no room on most file systems; on one that copies on write it does.
            Err(why) if is_full(&why) => {
                self.scrub(group.len())?;
                Err(WriteError::Full(why))
            }
            Err(why) => Err(WriteError::Broken("write", why)),
        }
    }

    /// The group that was written stays.
    pub(crate) fn keep(&mut self, bytes: usize) {
        self.end = self.end.saturating_add(bytes as u64);
    }

    /// Makes what was written behind the end zeros again, durably: it was not acknowledged and must not come back.
    pub(crate) fn scrub(&self, bytes: usize) -> Result<(), WriteError> {
        write_zeros(&*self.file, self.end, bytes as u64).map_err(|why| WriteError::Broken("write", why))?;
        self.file.sync_data().map_err(|why| WriteError::Broken("fsync", why))
    }

    /// Whether the file is still where it was, and as long.
    pub(crate) fn check(&self, files: &dyn Files) -> Result<(), JournalError> {
        let path = || self.path.clone();
        let failed = |source| JournalError::Io { path: path(), verb: "examined", source };
        match files.identity(&self.path) {
            Ok(found) if found == self.identity => {}
            Ok(_) => return Err(JournalError::Replaced { path: path() }),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                return Err(JournalError::Removed { path: path() });
            }
            Err(why) => return Err(failed(why)),
        }
        let status = self.file.status().map_err(failed)?;
        if status.links == 0 {
            Err(JournalError::Removed { path: path() })
        } else if status.len < self.len {
            Err(JournalError::Truncated { path: path(), len: status.len })
        } else {
            Ok(())
        }
    }
}

/// Whether the system said that there is no room.
pub(crate) fn is_full(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_all(file: &dyn JournalFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or_default();
                offset = offset.saturating_add(count as u64);
            }
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// Writes `bytes` zeros at `offset`.
pub(crate) fn write_zeros(file: &dyn JournalFile, mut offset: u64, bytes: u64) -> io::Result<()> {
    let end = offset.saturating_add(bytes);
    while offset < end {
        let length = usize::try_from(end.saturating_sub(offset)).unwrap_or(ZEROS.len()).min(ZEROS.len());
        write_all(file, ZEROS.get(..length).unwrap_or_default(), offset)?;
        offset = offset.saturating_add(length as u64);
    }
    Ok(())
}
