//! stub
use crate::{error::Fault, head::Head};
use leasehold_core::record::Record;
use std::{
    io,
    path::{Path, PathBuf},
};
use thiserror::Error;

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
pub struct Entries {
    head: Head,
}

/// Reads a journal from record `from_seq` on (0 and 1 are both the first there is).
pub fn read(dir: &Path, from_seq: u64) -> Result<Entries, ReadError> {
    let _ = from_seq;
    Err(ReadError::NoJournal { dir: dir.to_owned() })
}

impl Entries {
    /// The last record that was passed.
    pub fn head(&self) -> Head {
        self.head
    }
}

impl Iterator for Entries {
    type Item = Result<JournalEntry, ReadError>;
    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}
