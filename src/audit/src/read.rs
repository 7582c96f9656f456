//! Reads a journal, beside a live writer or of a dead one, and checks the chain on the way.

use std::{
    io,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use leasehold_core::record::Record;
use thiserror::Error;

use crate::{
    error::Fault,
    head::Head,
    line::{self, Stamp},
    walk::{Flaw, Obstacle, Walk},
};

/// One record as it stands in the journal.
#[derive(Clone, Debug)]
pub struct JournalEntry {
    /// Its sequence number.
    pub seq: u64,
    /// The hash of the line before.
    pub prev: [u8; 32],
    /// The hash of this line.
    pub hash: [u8; 32],
    /// The sequence number of the first record that was written together with it.
    pub group: u64,
    /// The node that wrote it.
    pub node: String,
    /// What an auditor reads.
    pub record: Record,
    /// What it changed in the state, sealed.
    pub sealed: Option<Vec<u8>>,
    /// The line, without its newline.
    pub line: Box<str>,
}

/// Why a journal cannot be read on.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A record is not what was written.
    #[error("record {seq} in {} at byte {offset} is damaged: {fault}", segment.display())]
    Damaged {
        /// The record that should be there.
        seq: u64,
        /// The segment file.
        segment: PathBuf,
        /// Where in it the line starts.
        offset: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// The record is in a segment that is no longer here.
    #[error("the journal in {} starts with record {first}; record {wanted} was archived or removed", dir.display())]
    Gone {
        /// The directory.
        dir: PathBuf,
        /// The record that was asked for.
        wanted: u64,
        /// The first record that is here.
        first: u64,
    },
    /// No such directory, or nothing in it.
    #[error("there is no journal in {}: it is the folder `journal` of the daemon's state directory", dir.display())]
    NoJournal {
        /// The directory.
        dir: PathBuf,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The records of a journal in order.
///
/// `None` means that there is no more now: when the writer has gone on, the next call goes on too, through new segments
/// as well. What a live writer has written and not yet made durable may be among the records; a reader that must not
/// see that stops at the writer's head. After an error the iteration is over.
pub struct Entries {
    walk: Walk,
    from: u64,
    failed: bool,
}

/// Reads a journal from record `from_seq` on (0 and 1 both mean the first).
///
/// # Errors
/// [`ReadError::NoJournal`] when there is no segment, [`ReadError::Gone`] when `from_seq` is above 1 and lies before the
/// first segment that is there, and what the first segment's header may give rise to.
pub fn read(dir: &Path, from_seq: u64) -> Result<Entries, ReadError> {
    let walk = start(dir, from_seq.max(1))?;
    let first = walk.head().seq.saturating_add(1);
    if first > from_seq.max(1) && from_seq > 1 {
        return Err(ReadError::Gone { dir: dir.to_owned(), wanted: from_seq, first });
    }
    Ok(Entries { walk, from: from_seq, failed: false })
}

/// A walk from the segment that holds `seq` on.
pub(crate) fn start(dir: &Path, seq: u64) -> Result<Walk, ReadError> {
    let no_journal = || ReadError::NoJournal { dir: dir.to_owned() };
    match Walk::start(dir, seq) {
        Ok(walk) => walk.ok_or_else(no_journal),
        Err(Obstacle::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Err(no_journal()),
        Err(other) => Err(other.into()),
    }
}

impl Entries {
    /// The last record that was passed; before the first one, the head that precedes its segment.
    pub fn head(&self) -> Head {
        self.walk.head()
    }

    fn advance(&mut self) -> Result<Option<JournalEntry>, ReadError> {
        while let Some(stamp) = self.walk.next()? {
            if stamp.seq >= self.from {
                let entry = self.entry(stamp);
                return entry.map(Some).map_err(|fault| Obstacle::Flaw(self.walk.flaw_here(fault)).into());
            }
        }
        Ok(None)
    }

    fn entry(&self, stamp: Stamp) -> Result<JournalEntry, Fault> {
        let form = |why: &dyn std::fmt::Display| Fault::Form(why.to_string().into());
        let line = std::str::from_utf8(self.walk.line()).map_err(|why| form(&why))?;
        let frame = line::frame(line)?;
        let sealed = frame.sealed.as_deref().map(|text| BASE64.decode(text.as_bytes()));
        Ok(JournalEntry {
            seq: stamp.seq,
            prev: stamp.prev.0,
            hash: self.walk.head().hash,
            group: stamp.group,
            node: frame.node.into_owned(),
            record: line::record(line)?,
            sealed: sealed.transpose().map_err(|why| form(&why))?,
            line: line.into(),
        })
    }
}

impl Iterator for Entries {
    type Item = Result<JournalEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let found = self.advance();
        self.failed = found.is_err();
        found.transpose()
    }
}

impl From<Obstacle> for ReadError {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Flaw(Flaw { seq, segment, offset, fault, .. }) => {
                Self::Damaged { seq, segment, offset, fault }
            }
            Obstacle::Io { path, source } => Self::Io { path, source },
        }
    }
}
