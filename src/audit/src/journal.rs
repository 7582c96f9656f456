//! The journal's writer: stages records, and makes a group of them durable with one write and one fdatasync.

use std::{path::PathBuf, sync::Arc};

use leasehold_core::record::Record;

use crate::{
    current::{Current, WriteError},
    error::JournalError,
    files::Files,
    head::Head,
    line::Writer,
    next::Next,
    recover::{Opened, recover},
};

/// Where and how a journal is kept.
#[derive(Clone)]
pub struct JournalOptions {
    /// The directory of the segments; made when it does not exist.
    pub dir: PathBuf,
    /// This node's name, written into every record.
    pub node: String,
    /// How long a segment is, in bytes; at least 4 KiB are taken. A group that is longer gets a longer segment.
    pub segment_bytes: u64,
    /// The file system.
    pub files: Arc<dyn Files>,
}

/// The journal's writer. There is one to a directory; its owner sees to that.
pub struct Journal {
    files: Arc<dyn Files>,
    current: Current,
    next: Next,
    writer: Writer,
    /// The last durable record.
    head: Head,
    /// The last staged record.
    staged: Head,
    pending: Vec<u8>,
    /// Set when no next segment could be made.
    wants_room: bool,
    /// Set when the segment was not at its place.
    misplaced: bool,
    poisoned: Option<String>,
    stats: JournalStats,
}

/// What the writer has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Groups made durable, each with one successful call of `fdatasync`.
    pub commits: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
}

/// Buffers longer than this are given back after a large group.
const KEPT: usize = 1024 * 1024;
const SHORTEST: u64 = 4096;

impl JournalOptions {
    /// How long a segment is when nobody says otherwise.
    pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
}

impl Journal {
    /// Opens the journal in a directory, or begins one. `applied` is the last record that the state has (from the index or
    /// a snapshot): records up to its segment are not read again, and the journal must hold it.
    ///
    /// An end that a crash has torn is kept aside in a file `*.torn` and made zeros; [`Opened`] tells.
    ///
    /// # Errors
    /// [`JournalError::Damaged`], [`Cut`](JournalError::Cut) and [`Diverged`](JournalError::Diverged) when the journal is
    /// not what was written; [`Full`](JournalError::Full) and [`Io`](JournalError::Io) when a file cannot be made or read.
    pub fn open(options: JournalOptions, applied: Option<Head>) -> Result<(Self, Opened), JournalError> {
        let JournalOptions { dir, node, segment_bytes, files } = options;
        let writer = Writer::new(&node).map_err(JournalError::Unwritable)?;
        let mut next = Next::new(Arc::clone(&files), dir.clone(), segment_bytes.max(SHORTEST));
        let (current, opened) = recover(&*files, &dir, &mut next, applied.unwrap_or(Head::START))?;
        let journal = Self {
            files,
            current,
            next,
            writer,
            head: opened.head,
            staged: opened.head,
            pending: Vec::new(),
            wants_room: false,
            misplaced: false,
            poisoned: None,
            stats: JournalStats::default(),
        };
        Ok((journal, opened))
    }

    /// Adds a record to the pending group, with the sealed form of what it changes in the state; returns its sequence number.
    ///
    /// # Errors
    /// When the record has no written form; the pending group is as it was.
    pub fn stage(&mut self, record: &Record, sealed: Option<&[u8]>) -> Result<u64, JournalError> {
        let group = self.head.seq.saturating_add(1);
        self.staged = self
            .writer
            .append(&mut self.pending, self.staged, group, record, sealed)
            .map_err(JournalError::Unwritable)?;
        Ok(self.staged.seq)
    }

    /// Makes the pending group durable; returns the new head. After an error the pending group is gone and its sequence
    /// numbers are free again.
    ///
    /// # Errors
    /// [`Full`](JournalError::Full), [`Removed`](JournalError::Removed), [`Replaced`](JournalError::Replaced): nothing is
    /// written, later attempts can succeed. [`Truncated`](JournalError::Truncated): it takes a restart.
    /// [`Poisoned`](JournalError::Poisoned): a write or an fsync failed; whether this group is durable is unknown, and no
    /// later group ever will be.
    pub fn commit(&mut self) -> Result<Head, JournalError> {
        let pending = std::mem::take(&mut self.pending);
        let result = self.try_commit(&pending);
        if result.is_ok() {
            let records = self.staged.seq.saturating_sub(self.head.seq);
            self.stats.records = self.stats.records.saturating_add(records);
            self.head = self.staged;
        }
        self.pending = pending;
        self.rollback();
        result.map(|()| self.head)
    }

    /// Forgets the pending group.
    pub fn rollback(&mut self) {
        self.pending.clear();
        self.pending.shrink_to(KEPT);
        self.staged = self.head;
    }

    /// Looks whether a commit would succeed now, without making one: for the way back from [`Full`](JournalError::Full),
    /// [`Removed`](JournalError::Removed) and [`Replaced`](JournalError::Replaced) when there is no traffic.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn probe(&mut self) -> Result<(), JournalError> {
        self.refuse_poisoned()?;
        self.check_place()?;
        self.make_room()
    }

    /// The last durable record.
    pub fn head(&self) -> Head {
        self.head
    }

    /// What was done since it was opened.
    pub fn stats(&self) -> JournalStats {
        self.stats
    }

    fn try_commit(&mut self, group: &[u8]) -> Result<(), JournalError> {
        self.refuse_poisoned()?;
        if group.is_empty() {
            return Ok(());
        }
        if self.misplaced {
            self.check_place()?;
        }
        // What is left of this segment is not for those who ask for little: full is full, until there is room for all.
        self.make_room()?;
        if !self.current.has_room(group.len()) {
            self.rotate(group.len())?;
        }
        self.current.write(group).map_err(|why| self.write_failed(why))?;
        // Looked at after the fsync, so that what is acknowledged was in its place when it had become durable.
        if let Err(why) = self.check_place() {
            self.current.scrub(group.len()).map_err(|why| self.write_failed(why))?;
            return Err(why);
        }
        self.current.keep(group.len());
        self.wants_room = false;
        self.stats.commits = self.stats.commits.saturating_add(1);
        self.stats.bytes = self.stats.bytes.saturating_add(group.len() as u64);
        if self.current.is_half_full() {
            self.next.prepare();
        }
        Ok(())
    }

    /// Once there was no room for a next segment, one is made before anything else is written.
    fn make_room(&mut self) -> Result<(), JournalError> {
        if self.wants_room {
            match self.next.ensure() {
                Err(JournalError::Poisoned { reason }) => return Err(self.poison(reason)),
                ensured => ensured?,
            }
            self.wants_room = false;
        }
        Ok(())
    }

    fn rotate(&mut self, group: usize) -> Result<(), JournalError> {
        self.check_place()?;
        match self.next.take(self.head, group) {
            Ok(next) => {
                self.current = next;
                self.stats.segments = self.stats.segments.saturating_add(1);
                Ok(())
            }
            Err(JournalError::Poisoned { reason }) => Err(self.poison(reason)),
            Err(why) => {
                self.wants_room = true;
                Err(why)
            }
        }
    }

    fn check_place(&mut self) -> Result<(), JournalError> {
        let found = self.current.check(&*self.files);
        self.misplaced = found.is_err();
        found
    }

    fn write_failed(&mut self, why: WriteError) -> JournalError {
        match why {
            WriteError::Full(source) => {
                self.wants_room = true;
                JournalError::Full { path: self.current.path().clone(), source }
            }
            WriteError::Broken(call, source) => {
                self.poison(format!("{call} of {} failed: {source}", self.current.path().display()))
            }
        }
    }

    fn poison(&mut self, reason: String) -> JournalError {
        self.poisoned = Some(reason.clone());
        JournalError::Poisoned { reason }
    }

    fn refuse_poisoned(&self) -> Result<(), JournalError> {
        match &self.poisoned {
            Some(reason) => Err(JournalError::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }
}
