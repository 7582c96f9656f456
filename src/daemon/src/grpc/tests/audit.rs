//! The audit journal, read through the broker.

use std::{fs, sync::atomic::Ordering::SeqCst, time::Duration};

use futures::{FutureExt, StreamExt, TryStreamExt};
use leasehold_core::{
    Timestamp,
    record::{Kind, Outcome, Record},
};
use leasehold_proto::v1;
use tonic::{Code, Status, Streaming};

use super::kit::{ADMIN, API, Edge, OTHER, actor, reason};
use crate::grpc::Settings;

/// Records whose kinds and actors alternate: the odd ones are issues by `API`, the even ones denials of `OTHER`.
fn records(count: usize) -> Vec<Record> {
    let record = |index: usize| {
        let mut record = Record::new(Timestamp::UNIX_EPOCH, Kind::LeaseIssued, actor(API));
        if index.is_multiple_of(2) {
            record.actor = actor(OTHER);
            record.outcome = Outcome::Denied;
        }
        record.secret = Some("prod/payments/db".parse().unwrap());
        record
    };
    (1..=count).map(record).collect()
}

async fn query(edge: &Edge, request: v1::QueryAuditRequest) -> Streaming<v1::QueryAuditResponse> {
    edge.operators(ADMIN).query_audit(request).await.unwrap().into_inner()
}

async fn sequences(edge: &Edge, request: v1::QueryAuditRequest) -> Result<Vec<i64>, Status> {
    let all: Vec<_> = query(edge, request).await.try_collect().await?;
    Ok(all.into_iter().map(|response| response.record.unwrap().sequence).collect())
}

fn ask() -> v1::QueryAuditRequest {
    v1::QueryAuditRequest::default()
}

#[tokio::test]
async fn a_query_shows_the_records_that_fit() {
    let edge = Edge::new();
    edge.journal(&records(9));
    assert_eq!(sequences(&edge, ask()).await.unwrap(), (1..=9).collect::<Vec<_>>());
    let denied = v1::AuditFilter { outcomes: vec![v1::AuditOutcome::Denied.into()], ..Default::default() };
    let request = v1::QueryAuditRequest { filter: Some(denied.clone()), ..ask() };
    assert_eq!(sequences(&edge, request).await.unwrap(), [2, 4, 6, 8]);
    let request = v1::QueryAuditRequest { filter: Some(denied.clone()), tail_count: 2, ..ask() };
    assert_eq!(sequences(&edge, request).await.unwrap(), [6, 8]);
    let request = v1::QueryAuditRequest { filter: Some(denied), start_sequence: 3, limit: 1, ..ask() };
    assert_eq!(sequences(&edge, request).await.unwrap(), [4]);
    let request = v1::QueryAuditRequest { tail_count: 3, ..ask() };
    assert_eq!(sequences(&edge, request).await.unwrap(), [7, 8, 9]);
    let request = v1::QueryAuditRequest { start_sequence: 10, ..ask() };
    assert!(sequences(&edge, request).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_long_journal_comes_in_steps() {
    let edge = Edge::new();
    edge.journal(&records(1500));
    assert_eq!(sequences(&edge, ask()).await.unwrap(), (1..=1500).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_query_is_recorded_before_it_is_answered() {
    let edge = Edge::new();
    edge.journal(&records(1));
    sequences(&edge, v1::QueryAuditRequest { tail_count: 1, ..ask() }).await.unwrap();
    let record = edge.ledger.records().pop().unwrap();
    assert_eq!((record.kind, record.details["tail"].as_str()), (Kind::AuditRead, "1"));
}

#[tokio::test]
async fn sealed_state_stays_in_the_journal() {
    let edge = Edge::new();
    edge.journal(&records(2));
    let all: Vec<_> = query(&edge, ask()).await.try_collect().await.unwrap();
    assert!(!format!("{all:?}").contains("sealed"));
    let [first, second] = [0, 1].map(|index: usize| all[index].record.clone().unwrap());
    assert_eq!(second.previous_hash, first.hash);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_durable_is_not_shown_until_it_is() {
    let edge = Edge::new();
    edge.journal(&records(1));
    let head = edge.write(&records(1));
    assert_eq!(sequences(&edge, ask()).await.unwrap(), [1]);

    let mut stream = query(&edge, v1::QueryAuditRequest { follow: true, ..ask() }).await;
    assert_eq!(stream.try_next().await.unwrap().unwrap().record.unwrap().sequence, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(stream.next().now_or_never().is_none());
    edge.facts.head.store(head, SeqCst);
    assert_eq!(stream.try_next().await.unwrap().unwrap().record.unwrap().sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn a_follower_gets_what_comes_after_the_tail_until_its_limit() {
    let edge = Edge::new();
    edge.journal(&records(5));
    let request = v1::QueryAuditRequest { follow: true, tail_count: 1, limit: 3, ..ask() };
    let mut stream = query(&edge, request).await;
    assert_eq!(stream.try_next().await.unwrap().unwrap().record.unwrap().sequence, 5);
    edge.journal(&records(7));
    let rest: Vec<_> = stream.try_collect().await.unwrap();
    let rest: Vec<_> = rest.into_iter().map(|response| response.record.unwrap().sequence).collect();
    assert_eq!(rest, [6, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_is_asked_about_again_under_new_policies() {
    let edge = Edge::new();
    edge.journal(&records(1));
    let mut stream = query(&edge, v1::QueryAuditRequest { follow: true, ..ask() }).await;
    assert_eq!(stream.try_next().await.unwrap().unwrap().record.unwrap().sequence, 1);
    edge.facts.closed.store(true, SeqCst);
    edge.journal(&records(1));
    let refused = stream.try_next().await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "DENIED_OR_NOT_FOUND"));
    assert_eq!(edge.ledger.records().pop().unwrap().outcome, Outcome::Denied);
}

#[tokio::test]
async fn damage_ends_the_query_with_what_it_is() {
    let edge = Edge::new();
    edge.journal(&records(3));
    let segment = fs::read_dir(edge.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "log"))
        .unwrap();
    let text = String::from_utf8(fs::read(&segment).unwrap()).unwrap();
    fs::write(&segment, text.replacen("\"denied\"", "\"failed\"", 1)).unwrap();
    let refused = sequences(&edge, ask()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::DataLoss, "JOURNAL_DAMAGED"));
}

#[tokio::test]
async fn queries_are_limited() {
    let edge = Edge::with(Settings { max_audit_queries: 1, ..Settings::default() });
    edge.journal(&records(1));
    let held = query(&edge, v1::QueryAuditRequest { follow: true, ..ask() }).await;
    let refused = edge.operators(ADMIN).query_audit(ask()).await.unwrap_err();
    assert_eq!(reason(&refused), "TOO_MANY_STREAMS");
    drop(held);
    assert_eq!(sequences(&edge, ask()).await.unwrap(), [1]);
}
