//! Reading the audit journal for a caller that may: in bounded steps on blocking threads, at the client's pace.
//!
//! Between two steps nothing is held but a place in the journal, so a slow client costs a file handle and no thread.
//! Only durable records are shown, though the file may hold more already.

use std::{collections::VecDeque, mem, path::PathBuf, sync::Arc, time::Duration};

use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use leasehold_audit::{Entries, JournalEntry, ReadError};
use leasehold_proto::v1;
use tonic::Status;
use tonic_types::FieldViolation;

use super::{
    broker_status::Facts,
    convert::{AuditQuery, audit_record},
    status::EdgeError,
};

/// One step looks at so many records at most.
const LOOK_AT: usize = 4096;
/// One step brings so many records at most.
const BRING: usize = 128;
/// How often a follower looks for new records.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The journal as the edge reads it.
#[derive(Clone)]
pub(super) struct Journal {
    dir: PathBuf,
    facts: Arc<dyn Facts>,
}

impl Journal {
    pub(super) fn new(dir: PathBuf, facts: Arc<dyn Facts>) -> Self {
        Self { dir, facts }
    }

    /// The records that the query wants. The caller has been authorized, and that is recorded.
    pub(super) fn query(&self, query: AuditQuery) -> BoxStream<'static, Result<v1::AuditRecord, Status>> {
        let durable = self.durable();
        let reading = Reading::new(self.dir.clone(), query, durable);
        stream::try_unfold((self.clone(), reading), |(journal, reading)| async move {
            let step = journal.step(reading).await?;
            Ok::<_, EdgeError>(step.map(|(records, reading)| (records, (journal, reading))))
        })
        .map_ok(|records| stream::iter(records.into_iter().map(Ok)))
        .map_err(Status::from)
        .try_flatten()
        .boxed()
    }

    fn durable(&self) -> u64 {
        self.facts.ledger().stats.head
    }

    /// The next records, when there are some; `None` when there will be none.
    async fn step(&self, mut reading: Reading) -> Result<Option<(Vec<v1::AuditRecord>, Reading)>, EdgeError> {
        loop {
            if reading.left == Some(0) {
                return Ok(None);
            }
            if reading.next <= reading.until {
                reading = tokio::task::spawn_blocking(move || reading.read_on().map(|()| reading))
                    .await
                    .map_err(|error| internal(&error))??;
            } else {
                reading.let_tail_go();
                if reading.found.is_empty() {
                    if !reading.query.follow {
                        return Ok(None);
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                    reading.until = self.durable();
                }
            }
            if !reading.found.is_empty() {
                let records = mem::take(&mut reading.found);
                return Ok(Some((records, reading)));
            }
        }
    }
}

/// A query under way.
struct Reading {
    dir: PathBuf,
    query: AuditQuery,
    /// The next record to look at.
    next: u64,
    /// The last record to look at for now.
    until: u64,
    entries: Option<Entries>,
    /// A record that was read before it was known to be durable.
    early: Option<JournalEntry>,
    /// The last ones that matched, until all that was there has been looked at.
    tail: Option<VecDeque<v1::AuditRecord>>,
    found: Vec<v1::AuditRecord>,
    left: Option<u64>,
}

impl Reading {
    fn new(dir: PathBuf, query: AuditQuery, durable: u64) -> Self {
        let mut next = query.start.max(1);
        if let (Some(tail), true) = (query.tail, query.is_everything()) {
            // The last so many records of all are found without looking at the others.
            let tail = u64::try_from(tail).unwrap_or(u64::MAX);
            next = next.max(durable.saturating_sub(tail).saturating_add(1));
        }
        let (tail, left) = (query.tail.map(|_| VecDeque::new()), query.limit);
        Self { dir, query, next, until: durable, entries: None, early: None, tail, found: Vec::new(), left }
    }

    /// One step forward. Blocks on the disk.
    fn read_on(&mut self) -> Result<(), EdgeError> {
        for _ in 0..LOOK_AT {
            if self.next > self.until || self.found.len() >= BRING || self.left == Some(0) {
                break;
            }
            let entry = match self.early.take() {
                Some(entry) => entry,
                None => self.next_entry()?,
            };
            if entry.seq > self.until {
                self.next = entry.seq;
                self.early = Some(entry);
                break;
            }
            self.next = entry.seq.saturating_add(1);
            if self.query.wants(&entry) {
                self.take(audit_record(entry));
            }
        }
        Ok(())
    }

    fn take(&mut self, record: v1::AuditRecord) {
        match (&mut self.tail, self.query.tail) {
            (Some(tail), Some(longest)) => {
                if tail.len() >= longest {
                    tail.pop_front();
                }
                tail.push_back(record);
            }
            _ => {
                self.left = self.left.map(|left| left.saturating_sub(1));
                self.found.push(record);
            }
        }
    }

    /// All that was there has been looked at: what the tail holds is the answer so far.
    fn let_tail_go(&mut self) {
        for record in self.tail.take().into_iter().flatten() {
            if self.left == Some(0) {
                break;
            }
            self.left = self.left.map(|left| left.saturating_sub(1));
            self.found.push(record);
        }
    }

    fn next_entry(&mut self) -> Result<JournalEntry, EdgeError> {
        let entries = self.entries()?;
        // The end that a follower has read ahead may be an old one: it looks again.
        match entries.next().or_else(|| entries.next()) {
            Some(entry) => entry.map_err(|error| unreadable(&error)),
            // The record is durable, so it would be here if it had been left alone.
            None => Err(EdgeError::JournalDamaged),
        }
    }

    fn entries(&mut self) -> Result<&mut Entries, EdgeError> {
        let entries = match self.entries.take() {
            Some(entries) => entries,
            None => leasehold_audit::read(&self.dir, self.next).map_err(|error| unreadable(&error))?,
        };
        Ok(self.entries.insert(entries))
    }
}

fn unreadable(error: &ReadError) -> EdgeError {
    match error {
        ReadError::Gone { first, .. } => EdgeError::Invalid(vec![FieldViolation::new(
            "start_sequence",
            format!("the journal begins with record {first}: what is before was archived"),
        )]),
        ReadError::Damaged { .. } => {
            tracing::error!(%error, "the audit journal cannot be read on for a query");
            EdgeError::JournalDamaged
        }
        ReadError::NoJournal { .. } | ReadError::Io { .. } => internal(error),
    }
}

fn internal(error: &dyn std::error::Error) -> EdgeError {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::error!(%error, cause, "the audit journal cannot be read for a query");
    EdgeError::Internal
}
