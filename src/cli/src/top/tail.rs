//! Follows the audit journal, and goes on where it was when the connection was lost.

use std::{rc::Rc, time::Duration};

use leasehold_client::{AuditRecords, Operator, proto};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep, timeout_at},
};

use super::{
    asking::{Hints, REFUSED, patience},
    news::{News, Record, Trouble},
};

/// So many of the last records are asked for, at the start and after a gap.
pub(super) const LAST: i32 = 200;
/// Who is further behind than this passes over what there was.
const BEHIND: i64 = 5_000;
/// Records that come within so long are shown together.
const TOGETHER: Duration = Duration::from_millis(200);
const MOST: usize = 1_000;

/// Follows it for ever.
pub(super) async fn follow(operator: &Operator, interval: Duration, hints: Rc<Hints>, news: Sender<News>) {
    let mut last = 0;
    let mut tries = 0_u32;
    loop {
        let trouble = match operator.query_audit(query(last, true)).await {
            Ok(records) => {
                tries = 0;
                hints.tail.set(true);
                if news.send(News::Tail(Ok(()))).await.is_err() {
                    return;
                }
                read(records, &mut last, &hints, &news).await
            }
            Err(error) => Some(error.into()),
        };
        hints.tail.set(false);
        // One that is merely behind begins again at once.
        let Some(trouble) = trouble else { continue };
        let rest = if trouble == Trouble::NotAllowed { REFUSED } else { patience(interval, tries) };
        tries = tries.saturating_add(1);
        if news.send(News::Tail(Err(trouble))).await.is_err() {
            return;
        }
        sleep(rest).await;
    }
}

/// The question for what comes after the record `last`.
pub(super) fn query(last: i64, follow: bool) -> proto::QueryAuditRequest {
    let start_sequence = if last == 0 { 0 } else { last.saturating_add(1) };
    proto::QueryAuditRequest { start_sequence, tail_count: LAST, follow, ..Default::default() }
}

/// Passes records on until there is a reason not to; nothing when that is only that there are too many.
async fn read(
    mut records: AuditRecords,
    last: &mut i64,
    hints: &Hints,
    news: &Sender<News>,
) -> Option<Trouble> {
    loop {
        let mut together = Vec::new();
        let mut end = None;
        let mut deadline = None;
        while together.len() < MOST && end.is_none() {
            let next = match deadline {
                None => records.next().await,
                Some(deadline) => match timeout_at(deadline, records.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            match next {
                Ok(Some(record)) => together.push(Record::from(record)),
                Ok(None) => end = Some(Trouble::Away("the broker ended the audit tail".to_owned())),
                Err(error) => end = Some(error.into()),
            }
            deadline = deadline.or_else(|| Instant::now().checked_add(TOGETHER));
        }
        for record in &together {
            *last = record.sequence;
            hints.note(record);
        }
        if !together.is_empty() && news.send(News::Records(together)).await.is_err() {
            return end;
        }
        if end.is_some() {
            return end;
        }
        if hints.head.get().saturating_sub(*last) > BEHIND {
            return None;
        }
    }
}
