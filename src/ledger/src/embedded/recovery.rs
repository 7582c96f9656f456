//! What was found when the ledger was opened, and what was done about it.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use leasehold_audit::{Head, Torn};

/// What was found and done at the start: for the log, and for the record of the start.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The journal's last record.
    pub head: Head,
    /// The latest time in the journal; no clock may start before it. Absent when there is no record.
    pub last_time: Option<Timestamp>,
    /// Whether the last process closed the ledger in order (or there was none).
    pub clean: bool,
    /// An unfinished end of the journal that was put aside; nothing acknowledged was in it.
    pub torn: Option<Torn>,
    /// Why the index was thrown away and made anew, if it was.
    pub rebuilt: Option<String>,
    /// The record of the snapshot that it was made from, if it was made from one.
    pub snapshot: Option<u64>,
    /// How many records were read from the journal to bring the index up to date.
    pub replayed: u64,
    /// Snapshots that could not be used, and why.
    pub rejected_snapshots: Vec<String>,
}

impl Recovery {
    /// What is worth recording, by name.
    pub fn details(&self) -> BTreeMap<String, String> {
        let mut details = BTreeMap::from([
            ("head".to_owned(), self.head.seq.to_string()),
            ("clean".to_owned(), self.clean.to_string()),
            ("replayed".to_owned(), self.replayed.to_string()),
        ]);
        if let Some(torn) = &self.torn {
            details.insert("torn_bytes".to_owned(), torn.bytes.to_string());
            details.insert("torn_segment".to_owned(), torn.segment.display().to_string());
            details.insert("torn_saved".to_owned(), torn.saved.display().to_string());
        }
        if let Some(why) = &self.rebuilt {
            details.insert("index_rebuilt".to_owned(), why.clone());
        }
        if let Some(seq) = self.snapshot {
            details.insert("snapshot".to_owned(), seq.to_string());
        }
        if !self.rejected_snapshots.is_empty() {
            details.insert("rejected_snapshots".to_owned(), self.rejected_snapshots.join("; "));
        }
        details
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = if self.clean { "closed in order" } else { "not closed in order" };
        write!(f, "the journal ends at record {}, {ended}", self.head.seq)?;
        if let Some(torn) = &self.torn {
            write!(
                f,
                "; {} bytes of an unfinished write in {} were put aside in {}",
                torn.bytes,
                torn.segment.display(),
                torn.saved.display()
            )?;
        }
        if let Some(why) = &self.rebuilt {
            write!(f, "; the index was made anew: {why}")?;
            match self.snapshot {
                Some(seq) => write!(f, " (from the snapshot of record {seq})")?,
                None => write!(f, " (from the whole journal)")?,
            }
        }
        for rejected in &self.rejected_snapshots {
            write!(f, "; not used: {rejected}")?;
        }
        write!(f, "; {} records read", self.replayed)
    }
}
