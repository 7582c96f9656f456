//! Where records come from: the broker, when policy allows it, or the journal's files.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use leasehold_audit::{Filter, JournalEntry, OutcomeKind, ReadError};
use leasehold_client::{Client, proto};

use super::{Query, record::RecordView};
use crate::{
    exit::{About, Exit, Failure},
    output::Output,
};

const JOURNAL: &str = "the audit journal";

/// Asks the broker.
pub(super) async fn from_broker(query: &Query, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let request = proto::QueryAuditRequest {
        filter: Some(filter(&query.filter)),
        start_sequence: i64::try_from(query.from).unwrap_or(i64::MAX),
        tail_count: query.tail.and_then(|count| i32::try_from(count).ok()).unwrap_or_default(),
        // What is passed over here does not count.
        limit: query.limit.filter(|_| query.request_id.is_none()).map(i64::from).unwrap_or_default(),
        follow: query.follow,
    };
    let mut records = client.operator().query_audit(request).await.about(JOURNAL)?;
    let mut list = output.stream();
    let mut left = query.limit.unwrap_or(u32::MAX);
    while left > 0
        && let Some(record) = records.next().await.about(JOURNAL)?
    {
        let record = RecordView::from(record);
        if query.request_id.as_ref().is_none_or(|id| record.is_of(id)) {
            list.push(&record)?;
            left = left.saturating_sub(1);
        }
    }
    list.finish("no records")
}

/// Reads the files.
pub(super) fn from_files(query: &Query, dir: &Path, output: &mut Output) -> Result<(), Failure> {
    let entries = leasehold_audit::read(&journal_in(dir), query.from).map_err(Failure::from)?;
    let fits = |entry: &Result<JournalEntry, ReadError>| match entry {
        Ok(entry) => query.filter.matches(&entry.record),
        Err(_) => true,
    };
    let limit = query.limit.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let mut list = output.stream();
    let Some(tail) = query.tail.and_then(|count| usize::try_from(count).ok()) else {
        let mut left = limit;
        for entry in entries.filter(fits) {
            let record = RecordView::from(&entry?);
            if left == 0 {
                break;
            }
            if query.request_id.as_ref().is_none_or(|id| record.is_of(id)) {
                list.push(&record)?;
                left = left.saturating_sub(1);
            }
        }
        return list.finish("no records");
    };
    let mut last = VecDeque::new();
    let mut damage = None;
    for entry in entries.filter(fits) {
        match entry {
            Ok(entry) => last.push_back(RecordView::from(&entry)),
            Err(why) => damage = Some(why),
        }
        if last.len() > tail {
            last.pop_front();
        }
    }
    last.iter().try_for_each(|record| list.push(record))?;
    list.finish("no records")?;
    damage.map_or(Ok(()), |why| Err(why.into()))
}

/// The journal in a state directory, or the directory itself when it is the journal.
pub(super) fn journal_in(dir: &Path) -> PathBuf {
    let inner = dir.join("journal");
    if inner.is_dir() { inner } else { dir.to_owned() }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let exit = match &error {
            ReadError::Damaged { .. } => Exit::Damaged,
            _ => Exit::Failed,
        };
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::new(exit, format!("{error}{cause}"))
    }
}

fn filter(filter: &Filter) -> proto::AuditFilter {
    let text = |value: Option<String>| value.unwrap_or_default();
    let time = |time: leasehold_core::Timestamp| prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    };
    let outcome = |outcome| match outcome {
        OutcomeKind::Ok => proto::AuditOutcome::Ok,
        OutcomeKind::Denied => proto::AuditOutcome::Denied,
        OutcomeKind::Failed => proto::AuditOutcome::Failed,
    };
    proto::AuditFilter {
        kinds: filter.kinds.iter().map(ToString::to_string).collect(),
        actor: text(filter.actor.clone()),
        secret: text(filter.secret.as_ref().map(ToString::to_string)),
        secret_prefix: text(filter.prefix.as_ref().map(ToString::to_string)),
        lease_id: text(filter.lease.as_ref().map(ToString::to_string)),
        outcomes: filter.outcome.into_iter().map(|kind| outcome(kind).into()).collect(),
        start_time: filter.since.map(time),
        end_time: filter.until.map(time),
    }
}
