//! What can be wrong with a journal.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why the journal was not opened, or a commit was not made.
#[derive(Debug, Error)]
pub enum JournalError {
    /// There is no room for the next segment. Nothing was written; it works again when there is room.
    #[error("there is no room for {}: free some space on its disk", path.display())]
    Full {
        /// The file that could not be made or grow.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The segment that is written to is no longer at its place. Nothing was acknowledged; it works again when it is back.
    #[error("{} is gone while the daemon writes to it: put it back, or restart from a backup", path.display())]
    Removed {
        /// Where it was.
        path: PathBuf,
    },
    /// Another file is in the place of the segment that is written to. Nothing was acknowledged.
    #[error("{} was replaced by another file while the daemon writes to it: put the old one back", path.display())]
    Replaced {
        /// The path.
        path: PathBuf,
    },
    /// The segment that is written to was made shorter. Nothing was acknowledged.
    #[error("{} was cut to {len} bytes while the daemon writes to it: stop the daemon and restore the file", path.display())]
    Truncated {
        /// The segment.
        path: PathBuf,
        /// Its length now.
        len: u64,
    },
    /// A write or an fsync failed in a way after which the system's promises mean nothing. Every later commit fails too.
    #[error(
        "the journal is poisoned, and what it holds can no longer be vouched for by this process: {reason}"
    )]
    Poisoned {
        /// What failed.
        reason: String,
    },
    /// A record that was durable once is not what was written.
    #[error(
        "record {seq} in {} at byte {offset} is damaged: {fault}. Restore the journal from a copy; `leasehold audit verify` tells more",
        segment.display()
    )]
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
    /// The journal ends before a record that the state has: its end was removed.
    #[error(
        "the journal ends at record {ends_at}, but the state has record {applied}: the journal's end was cut off. Restore it from a copy"
    )]
    Cut {
        /// The journal's last record; 0 when it has none.
        ends_at: u64,
        /// The record that the state has.
        applied: u64,
    },
    /// The state was made from another journal.
    #[error(
        "record {seq} is not the one that the state was made from: journal and state are not of one broker"
    )]
    Diverged {
        /// The record.
        seq: u64,
    },
    /// A record that has no written form.
    #[error("a record cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// Any other failure of a file.
    #[error("{} cannot be {verb}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was to be done to it: `read`, `created`...
        verb: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What is wrong with a line of the journal, or with a segment's start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// Not a whole line.
    #[error("the line is not complete")]
    Incomplete,
    /// The line does not match its own checksum.
    #[error("the line does not match its checksum")]
    Checksum,
    /// The line is not a record.
    #[error("the line is not a record of this form: {0}")]
    Form(Box<str>),
    /// Another record than the next one.
    #[error("record {found} is in its place")]
    Sequence {
        /// The number in the line.
        found: u64,
    },
    /// The chain is broken: the record before, or this one, was changed.
    #[error("it does not follow from the record before: one of the two was changed")]
    Chain,
    /// A segment's header is not what the file's name and the record before it demand.
    #[error("the segment's header does not fit its name and what is before it")]
    Header,
    /// There is something behind the end.
    #[error("there are bytes after the segment's end")]
    Remains,
    /// What was compressed cannot be unpacked.
    #[error("the compressed segment is damaged from here on")]
    Packing,
    /// It is whole, but it is not the record whose hash was noted elsewhere.
    #[error("it is not the record whose hash is known from elsewhere: the journal was rewritten")]
    NotAsKnown,
    /// A segment ends, and the next one starts later than with the record after.
    #[error("the records up to {until} are missing")]
    Missing {
        /// The last of them.
        until: u64,
    },
}
