//! The audit journal: hash-chained lines in preallocated segment files, made durable a group at a time.
//!
//! The journal is the truth. A line carries what an auditor reads and, sealed, what the record changes in the state; a
//! [`Journal`] writes them, [`read()`] reads them beside a live writer, [`verify()`] checks a whole journal with no daemon
//! and no key. All of it is synchronous: the ledger gives the journal a thread of its own, and the command line needs none.
//!
//! Not here: what sealed bytes mean, the state that they change, and who may read a record.
//!
//! # The form
//!
//! `journal/<first sequence number, 20 digits>.log`, each file preallocated with zeros. Its first line is the header,
//! which joins it to the segment before; then one line a record:
//!
//! ```text
//! {"leasehold-journal":1,"first":1,"prev":"<64 hex digits>"}
//! {"seq":1,"prev":"<64 hex digits>","group":1,"node":"a",<the record's fields>,"sealed":"<base64>","crc":"<8 hex digits>"}
//! ```
//!
//! * `prev` is the hash of the line before: SHA-256 of a zero byte and the line without its newline, which is RFC 6962's
//!   leaf hash, so that the lines are the leaves of a Merkle tree as they stand. The first record's `prev` is all zeros.
//! * `group` is the sequence number of the first record of the group that was written with it. A group is written when
//!   the one before is durable, so a record of a later group proves that what is before it was whole once: this is
//!   how a write torn by a power cut is told from damage.
//! * `crc` is the CRC-32 (IEEE 802.3) of what is before `,"crc"`. The chain proves every line but the last; this finds an
//!   accident in the last one too. It is no protection against intent: that needs a head known from elsewhere.
//! * A segment that is closed may be packed to `….log.zst` (zstd; unpacked, it is the same lines without the zeros), and may
//!   be moved to the archive: the directory, or the link to one, `journal/archive`. Readers go through all of them.

mod closed;
mod current;
mod error;
#[cfg(any(test, feature = "faults"))]
pub mod faults;
mod files;
mod filter;
mod head;
mod journal;
mod line;
mod lines;
mod next;
mod read;
mod recover;
mod segment;
mod tail;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "test")]
mod tests;
mod verify;
mod walk;

pub use closed::{ArchiveError, Archived, Closed, link_archive};
pub use error::{Fault, JournalError};
pub use files::{Files, Identity, JournalFile, Status, SystemFiles};
pub use filter::{Filter, OutcomeKind};
pub use head::Head;
pub use journal::{Journal, JournalOptions, JournalStats};
pub use read::{Entries, JournalEntry, ReadError, read};
pub use recover::{Opened, Torn};
pub use verify::{
    BadRecord, IncompleteEnd, VerifyProgress, VerifyReport, verify, verify_against, verify_with,
};
