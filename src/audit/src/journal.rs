//! stub
use crate::{error::JournalError, files::Files, head::Head};
use jiff::Timestamp;
use leasehold_core::record::Record;
use std::{path::PathBuf, sync::Arc};

/// Where and how a journal is kept.
#[derive(Clone)]
pub struct JournalOptions {
    /// The directory of the segments; made when it does not exist.
    pub dir: PathBuf,
    /// This node's name, written into every record.
    pub node: String,
    /// How long a segment is, in bytes.
    pub segment_bytes: u64,
    /// The file system.
    pub files: Arc<dyn Files>,
}

/// The journal's writer.
pub struct Journal {
    head: Head,
}

/// What was found when a journal was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The last record.
    pub head: Head,
    /// The latest time in the records that were looked at; absent when there is no record.
    pub last_time: Option<Timestamp>,
    /// An end that a crash had torn, if there was one: nothing acknowledged was in it.
    pub torn: Option<Torn>,
}

/// An end that was not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment file.
    pub segment: PathBuf,
    /// Where in it the bytes were.
    pub offset: u64,
    /// How many there were.
    pub bytes: u64,
    /// Where they are kept now.
    pub saved: PathBuf,
}

/// What the writer has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Groups made durable.
    pub commits: u64,
    /// Records in them.
    pub records: u64,
    /// Successful calls of `fdatasync` for them.
    pub syncs: u64,
    /// Bytes written for them.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
}

impl JournalOptions {
    /// How long a segment is when nobody says otherwise.
    pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
}

impl Journal {
    /// Opens or makes.
    pub fn open(options: JournalOptions, applied: Option<Head>) -> Result<(Self, Opened), JournalError> {
        let _ = (options, applied);
        Err(JournalError::Poisoned { reason: "not written yet".to_owned() })
    }
    /// Adds to the pending group; returns the sequence number.
    pub fn stage(&mut self, record: &Record, sealed: Option<&[u8]>) -> Result<u64, JournalError> {
        let _ = (record, sealed);
        Err(JournalError::Poisoned { reason: "not written yet".to_owned() })
    }
    /// Makes the pending group durable.
    pub fn commit(&mut self) -> Result<Head, JournalError> {
        Err(JournalError::Poisoned { reason: "not written yet".to_owned() })
    }
    /// Forgets the pending group.
    pub fn rollback(&mut self) {}
    /// Looks whether a commit would work now, without one: for the way back from `Full`, `Removed` and `Replaced`.
    pub fn probe(&mut self) -> Result<(), JournalError> {
        self.commit().map(drop)
    }
    /// The last durable record.
    pub fn head(&self) -> Head {
        self.head
    }
    /// What was done since it was opened.
    pub fn stats(&self) -> JournalStats {
        JournalStats::default()
    }
}
