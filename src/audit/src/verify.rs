//! stub
use crate::{error::Fault, head::Head, read::ReadError};
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// What a check of a whole journal found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// How many segment files there are.
    pub segments: u64,
    /// How many records are good, from the first on without a gap.
    pub records: u64,
    /// The first record that is here; above 1 when older segments were archived or removed.
    pub first: u64,
    /// The last good record.
    pub head: Head,
    /// The time of the first record.
    pub first_time: Option<Timestamp>,
    /// The time of the last good record.
    pub last_time: Option<Timestamp>,
    /// The first bad record, if there is one. Nothing after it was looked at.
    pub bad: Option<BadRecord>,
    /// An incomplete end: a group that a crash has cut, or that a running daemon is writing now.
    pub incomplete: Option<IncompleteEnd>,
}

/// The first record that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// The record that should be there.
    pub seq: u64,
    /// The segment file.
    pub segment: PathBuf,
    /// Where in it the line starts.
    pub offset: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// Bytes after the last record that are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompleteEnd {
    /// The segment file.
    pub segment: PathBuf,
    /// Where in it they start.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
}

/// Checks a whole journal: checksums, sequence, chain, segment joins. Needs no key and no daemon.
pub fn verify(dir: &Path) -> Result<VerifyReport, ReadError> {
    verify_against(dir, None)
}

/// As [`verify()`], and the journal must hold the record `known` as it was when its hash was noted.
pub fn verify_against(dir: &Path, known: Option<Head>) -> Result<VerifyReport, ReadError> {
    let _ = known;
    Err(ReadError::NoJournal { dir: dir.to_owned() })
}

impl VerifyReport {
    /// Whether every record is good and the journal ends with a whole one.
    pub fn is_whole(&self) -> bool {
        self.bad.is_none() && self.incomplete.is_none()
    }
}
