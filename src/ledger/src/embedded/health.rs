//! How the ledger is, and what it has done.

use std::fmt;

/// Whether the ledger takes commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerHealth {
    /// It does.
    Ok,
    /// There is no room. It works again by itself when there is; it is looked after also while nobody asks.
    Full(String),
    /// It cannot be written for a reason that an operator can mend. It works again by itself when that is done.
    Unavailable(String),
    /// Nothing can be promised any more: the process must end.
    Poisoned(String),
}

/// What the ledger has done since it was opened, and how much it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerStats {
    /// The sequence number of the last durable record.
    pub head: u64,
    /// Commits that became durable.
    pub commits: u64,
    /// Successful calls of `fdatasync` on the journal for them: one for each group of commits that came together.
    pub fsyncs: u64,
    /// Commits that were refused because a condition did not hold.
    pub conflicts: u64,
    /// Bytes written to the journal for them.
    pub journal_bytes: u64,
    /// Journal segments begun.
    pub segments: u64,
    /// Keys in the index: an upper bound, since a key that was overwritten or deleted counts until the next merge.
    pub index_keys: u64,
    /// Bytes of the index's runs on disk.
    pub index_bytes: u64,
    /// Runs that the index consists of.
    pub index_runs: u64,
    /// The record up to which the index is on disk; a restart reads the journal from here.
    pub indexed: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Segments moved to the archive.
    pub archived: u64,
}

impl fmt::Display for LedgerHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Full(why) => write!(f, "full: {why}"),
            Self::Unavailable(why) => write!(f, "unavailable: {why}"),
            Self::Poisoned(why) => write!(f, "poisoned: {why}"),
        }
    }
}
