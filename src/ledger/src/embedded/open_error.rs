//! Why the embedded ledger does not open.

use std::{io, path::PathBuf};

use leasehold_audit::{JournalError, ReadError};
use leasehold_seal::SealError;
use thiserror::Error;

/// Why the state directory was not opened. Nothing in it was changed, except that an index that cannot be used may be gone.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The journal does not open.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal cannot be read from where the state ends.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal ends before the state that was kept of it: its end was removed, or an older copy was put in its place.
    #[error(
        "the journal ends at record {ends_at}, but {witness} in {} knows record {applied}: records that were acknowledged are gone. Put the journal's missing end back from a copy; or, to go on without what was lost, move {} away",
        path.display(),
        path.display()
    )]
    Cut {
        /// The journal's last record.
        ends_at: u64,
        /// The record that was applied.
        applied: u64,
        /// What knows it: `the index` or `a snapshot`.
        witness: &'static str,
        /// Where that is.
        path: PathBuf,
    },
    /// The state was sealed with a key that is not in the key ring.
    #[error("the seal key does not fit the state in {}: {source}", path.display())]
    Key {
        /// The state directory.
        path: PathBuf,
        /// Which key is missing.
        source: SealError,
    },
    /// A record's state change does not open though its line is whole: it was sealed for another record, or changed by
    /// somebody who can write the journal but does not have the key.
    #[error(
        "the state change in record {seq} is not what this broker sealed: restore the journal from a copy"
    )]
    Forged {
        /// The record.
        seq: u64,
    },
    /// The journal's beginning was archived, and nothing that is here tells the state at its present start.
    #[error(
        "the journal starts with record {first} and no usable snapshot in {} reaches it: put the earlier segments or a snapshot back",
        path.display()
    )]
    NoStart {
        /// The journal's first record.
        first: u64,
        /// Where snapshots are looked for.
        path: PathBuf,
    },
    /// The index could be neither opened nor made anew.
    #[error(
        "the index cannot be made: {0}. It is rebuilt from the journal whenever it is missing: move it away"
    )]
    Index(String),
    /// A file or directory of the state cannot be used.
    #[error("{} cannot be {verb}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What was to be done to it: `read`, `created`...
        verb: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
