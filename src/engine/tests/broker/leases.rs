//! Issue, renew, revoke, get, list.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::StreamExt;
use leasehold_core::{
    LeaseId,
    access::Action,
    lease::{Cause, LeaseState, StepError},
    provider::ErrorClass,
    record::{Kind, Outcome},
    state::LedgerError,
};
use leasehold_engine::{
    EngineError,
    request::{LeaseFilter, LeaseScope, ListLeases, RenewLease, RevokeLease, StateName, WriteSecret},
};
use tokio::time::advance;

use crate::kit::{
    ADMIN, API, Broker, DYNAMIC, OTHER, STATIC, actor, issue, many_secrets, shown, spiffe, two_fields,
};

fn renew(who: &str, lease: LeaseId, ttl: Option<u64>) -> RenewLease {
    let ttl = ttl.map(Duration::from_secs);
    RenewLease { actor: actor(who), lease, ttl, accept_rotation: false, request_id: None }
}

fn revoke(who: &str, lease: LeaseId) -> RevokeLease {
    RevokeLease { actor: actor(who), lease, reason: None, request_id: None, rotate: false }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_recorded_before_it_is_answered() {
    let broker = Broker::new();
    let issued = broker.issue(STATIC).await.unwrap();
    assert_eq!(shown(&issued.value)["password"], "canary-1");
    let records = broker.ledger.records();
    let record = records.last().unwrap();
    assert_eq!((record.kind, &record.outcome), (Kind::LeaseIssued, &Outcome::Ok));
    assert_eq!(record.lease, Some(issued.lease.id));
    assert_eq!(record.version.as_ref().unwrap().as_str(), "v1");
    assert_eq!(record.value_hmac.len(), 2);
    assert!(!serde_json::to_string(record).unwrap().contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_disclosed_when_the_journal_cannot_take_the_record() {
    let broker = Broker::new();
    broker.ledger.fail(Some(LedgerError::Full("no space left".to_owned())));
    assert!(matches!(broker.issue(STATIC).await, Err(EngineError::JournalFull(_))));
    broker.ledger.fail(None);
    assert!(broker.issue(STATIC).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn only_the_fields_asked_for_are_disclosed_and_recorded() {
    let broker = Broker::new();
    let mut request = issue(API, STATIC);
    request.fields = vec!["username".parse().unwrap()];
    let issued = broker.engine.issue_lease(request.clone()).await.unwrap();
    assert_eq!(shown(&issued.value).into_keys().collect::<Vec<_>>(), ["username"]);
    assert_eq!(broker.ledger.records().last().unwrap().value_hmac.len(), 1);
    request.fields.push("nothing".parse().unwrap());
    assert!(matches!(broker.engine.issue_lease(request).await, Err(EngineError::NoSuchField(_))));
}

#[tokio::test(start_paused = true)]
async fn denied_and_unknown_are_one_answer_and_both_are_recorded() {
    let broker = Broker::new();
    let denied = broker.engine.issue_lease(issue(OTHER, STATIC)).await.unwrap_err();
    let unknown = broker.engine.issue_lease(issue(API, "prod/payments/none")).await.unwrap_err();
    assert_eq!(denied.to_string(), unknown.to_string());
    assert_eq!(denied.reason(), unknown.reason());
    assert_eq!(broker.kinds(), [(Kind::LeaseIssued, Outcome::Denied), (Kind::LeaseIssued, Outcome::Denied)]);
}

#[tokio::test(start_paused = true)]
async fn policy_sees_the_fields_of_a_lease_at_its_renewal_too_and_never_less_time_than_is_asked() {
    let broker = Broker::new();
    let asked = leasehold_engine::request::IssueLease {
        ttl: Some(Duration::from_millis(60_001)),
        fields: vec!["username".parse().unwrap()],
        ..issue(API, STATIC)
    };
    let id = broker.engine.issue_lease(asked).await.unwrap().lease.id;
    broker.engine.renew_lease(renew(API, id, Some(90))).await.unwrap();
    let inputs: Vec<_> = broker.ledger.records().into_iter().map(|r| r.decision.unwrap().inputs).collect();
    for (inputs, seconds) in inputs.iter().zip([61, 90]) {
        assert_eq!(inputs["ttl_seconds"], seconds);
        assert_eq!(inputs["fields"][0], "username");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ttl_is_clipped_and_a_renewal_stops_at_the_maximum() {
    let broker = Broker::new();
    let mut request = issue(API, STATIC);
    request.ttl = Some(Duration::from_secs(100_000));
    let lease = broker.engine.issue_lease(request).await.unwrap().lease;
    assert_eq!(lease.expires_at.duration_since(lease.issued_at).as_secs(), 600);

    let lease = broker.issue(STATIC).await.unwrap().lease;
    advance(Duration::from_secs(30)).await;
    let renewed = broker.engine.renew_lease(renew(API, lease.id, None)).await.unwrap().lease;
    assert_eq!(renewed.expires_at.duration_since(lease.issued_at).as_secs(), 90);
    let renewed = broker.engine.renew_lease(renew(API, lease.id, Some(9999))).await.unwrap().lease;
    assert_eq!(renewed.expires_at, lease.max_expires_at);
    let error = broker.engine.renew_lease(renew(API, lease.id, None)).await.unwrap_err();
    assert!(matches!(error, EngineError::Lease(StepError::AtMaximum)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_id_is_no_authority() {
    let broker = Broker::new();
    let id = broker.issue(STATIC).await.unwrap().lease.id;
    let engine = &broker.engine;
    assert!(matches!(engine.renew_lease(renew(OTHER, id, None)).await, Err(EngineError::Denied(_))));
    assert!(matches!(engine.revoke_lease(revoke(OTHER, id)).await, Err(EngineError::Denied(_))));
    assert!(matches!(engine.get_lease(actor(OTHER), id).await, Err(EngineError::Denied(_))));
    // An operator may look and revoke, but never renew.
    assert!(matches!(engine.renew_lease(renew(ADMIN, id, None)).await, Err(EngineError::Denied(_))));
    assert_eq!(engine.get_lease(actor(ADMIN), id).await.unwrap().id, id);
    let revoked = engine.revoke_lease(revoke(ADMIN, id)).await.unwrap();
    assert!(matches!(revoked.state, LeaseState::Revoked { cause: Cause::Operator, .. }));
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_right_cannot_renew_but_can_give_back() {
    let broker = Broker::new();
    let id = broker.issue(STATIC).await.unwrap().lease.id;
    broker.rules.closed.lock().unwrap().insert(Action::RenewLease);
    assert!(matches!(broker.engine.renew_lease(renew(API, id, None)).await, Err(EngineError::Denied(_))));
    assert!(broker.engine.revoke_lease(revoke(API, id)).await.unwrap().is_ended());
    // A retry of the revocation is a success too.
    assert!(broker.engine.revoke_lease(revoke(API, id)).await.unwrap().is_ended());
}

#[tokio::test(start_paused = true)]
async fn pages_join_without_gap_or_repeat() {
    let broker = Broker::new();
    let mut made = Vec::new();
    for _ in 0..25 {
        made.push(broker.issue(STATIC).await.unwrap().lease.id);
    }
    broker.issue(DYNAMIC).await.unwrap();
    let all = LeaseFilter::default();
    let secret = LeaseFilter { secret: Some(STATIC.parse().unwrap()), ..all.clone() };
    for (who, scope, filter) in [
        (API, LeaseScope::Own, all.clone()),
        (API, LeaseScope::Own, secret.clone()),
        (ADMIN, LeaseScope::All, secret.clone()),
        (ADMIN, LeaseScope::All, LeaseFilter { holder: Some(spiffe(API)), ..secret }),
        (
            ADMIN,
            LeaseScope::All,
            LeaseFilter { prefix: Some("prod/payments/".parse().unwrap()), ..all.clone() },
        ),
        (ADMIN, LeaseScope::All, LeaseFilter { provider: Some("main".parse().unwrap()), ..all.clone() }),
        (ADMIN, LeaseScope::All, LeaseFilter { states: vec![StateName::Active], ..all.clone() }),
        (ADMIN, LeaseScope::All, all.clone()),
        (OTHER, LeaseScope::All, all),
    ] {
        let mut seen = Vec::new();
        let mut page_token = None;
        loop {
            let filter = filter.clone();
            let request = ListLeases { actor: actor(who), scope, filter, page_size: 10, page_token };
            let page = broker.engine.list_leases(request).await.unwrap();
            seen.extend(page.items.iter().filter(|l| l.secret.as_str() == STATIC).map(|l| l.id));
            page_token = page.next_page_token;
            if page_token.is_none() {
                break;
            }
        }
        seen.sort();
        assert_eq!(seen, if who == OTHER { Vec::new() } else { made.clone() }, "{scope:?} {filter:?}");
    }
    let foreign = ListLeases {
        actor: actor(API),
        scope: LeaseScope::Own,
        filter: LeaseFilter::default(),
        page_size: 10,
        page_token: Some("lease/x".to_owned()),
    };
    assert!(matches!(broker.engine.list_leases(foreign).await, Err(EngineError::BadPageToken)));
}

#[tokio::test(start_paused = true)]
async fn a_long_look_lets_others_have_their_turn() {
    let broker = Broker::new();
    for _ in 0..3000 {
        broker.issue(STATIC).await.unwrap();
    }
    let turns = Arc::new(AtomicU64::new(0));
    let counted = turns.clone();
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
        }
    });
    tokio::task::yield_now().await;
    let since = |before: u64| turns.load(SeqCst) - before;

    let before = turns.load(SeqCst);
    let all = ListLeases {
        actor: actor(OTHER),
        scope: LeaseScope::All,
        filter: LeaseFilter::default(),
        page_size: 1000,
        page_token: None,
    };
    assert!(broker.engine.list_leases(all).await.unwrap().items.is_empty());
    assert!(since(before) >= 10, "{} turns during a listing", since(before));

    let before = turns.load(SeqCst);
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().live_leases, 3000);
    assert!(since(before) >= 3, "{} turns during a count", since(before));

    let before = turns.load(SeqCst);
    let watch = broker.engine.watch_leases(actor(API), None).await.unwrap();
    assert_eq!(watch.take(3000).count().await, 3000);
    assert!(since(before) >= 10, "{} turns during a snapshot", since(before));

    broker.engine.replace_catalog(many_secrets(2000));
    let before = turns.load(SeqCst);
    let page = broker.engine.list_secrets(actor(OTHER), None, 10, None).await.unwrap();
    assert!(page.items.is_empty());
    assert!(since(before) >= 10, "{} turns during a listing of secrets", since(before));
    other.abort();
}

#[tokio::test(start_paused = true)]
async fn an_operator_sees_the_status_while_the_journal_is_full_and_nobody_else_does() {
    let broker = Broker::new();
    broker.issue(STATIC).await.unwrap();
    broker.ledger.fail(Some(LedgerError::Full("no space left".to_owned())));
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().live_leases, 1);
    assert!(broker.engine.status(actor(API)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_lease_is_intended_before_it_is_made() {
    let broker = Broker::new();
    let issued = broker.issue(DYNAMIC).await.unwrap();
    assert_eq!(issued.lease.version.unwrap().as_str(), shown(&issued.value)["username"]);
    assert_eq!(broker.back_end.users.lock().unwrap().len(), 1);
    assert_eq!(broker.kinds(), [(Kind::LeaseAttempted, Outcome::Ok), (Kind::LeaseIssued, Outcome::Ok)]);
    assert!(!format!("{:?}", broker.ledger.records()).contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_lacks_the_field_asked_for_is_not_issued_and_is_ended() {
    let broker = Broker::new();
    broker.reconcile();
    let fields = vec!["token".parse().unwrap()];
    let asked = leasehold_engine::request::IssueLease { fields, ..issue(API, DYNAMIC) };
    assert_eq!(broker.engine.issue_lease(asked).await.unwrap_err().reason(), "FIELD_NOT_FOUND");
    let failed = Outcome::Failed { reason: "FIELD_NOT_FOUND".to_owned() };
    assert_eq!(broker.kinds(), [(Kind::LeaseAttempted, Outcome::Ok), (Kind::LeaseIssued, failed)]);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(broker.back_end.users.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_refuses_leaves_no_lease() {
    let broker = Broker::new();
    broker.back_end.fail(Some(ErrorClass::Denied));
    let error = broker.issue(DYNAMIC).await.unwrap_err();
    assert_eq!(error.reason(), "PROVIDER_DENIED_BROKER");
    let page = broker.engine.list_leases(ListLeases {
        actor: actor(API),
        scope: LeaseScope::Own,
        filter: LeaseFilter::default(),
        page_size: 10,
        page_token: None,
    });
    assert!(page.await.unwrap().items.iter().all(leasehold_core::Lease::is_ended));
}

#[tokio::test(start_paused = true)]
async fn a_write_is_seen_by_the_next_lease() {
    let broker = Broker::new();
    broker.issue(STATIC).await.unwrap();
    let write = |who| WriteSecret {
        actor: actor(who),
        secret: STATIC.parse().unwrap(),
        value: two_fields("app", "canary-new"),
        expected: None,
        request_id: None,
    };
    assert!(matches!(broker.engine.write_secret(write(API)).await, Err(EngineError::Denied(_))));
    broker.back_end.fail(Some(ErrorClass::Invalid));
    let refused = broker.engine.write_secret(write(ADMIN)).await.unwrap_err();
    assert_eq!(refused.to_string(), "the back end refused it: told to fail");
    broker.back_end.fail(None);
    assert_eq!(broker.engine.write_secret(write(ADMIN)).await.unwrap().as_str(), "v2");
    let issued = broker.issue(STATIC).await.unwrap();
    assert_eq!(shown(&issued.value)["password"], "canary-new");
    let described = broker.engine.describe_secret(actor(ADMIN), STATIC.parse().unwrap()).await.unwrap();
    assert_eq!(described.live_leases, 2);
    assert!(!format!("{:?}", broker.ledger.records()).contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn a_lease_begins_when_there_is_something_to_hold() {
    let broker = Broker::new();
    let held = broker.back_end.gate.acquire_many(1).await.unwrap();
    broker.back_end.gate.forget_permits(usize::MAX);
    let mut request = issue(API, STATIC);
    request.ttl = Some(Duration::from_secs(2));
    let engine = broker.engine.clone();
    let asked = tokio::spawn(async move { engine.issue_lease(request).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(held);
    let lease = asked.await.unwrap().unwrap().lease;
    assert!(lease.is_live(broker.engine.now()), "{lease:?}");
    assert_eq!(lease.expires_at.duration_since(lease.issued_at).as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_denied_revocation_keeps_what_its_caller_said() {
    let broker = Broker::new();
    let lease = broker.issue(STATIC).await.unwrap().lease.id;
    let request = RevokeLease { reason: Some("mine now".to_owned()), ..revoke(OTHER, lease) };
    assert!(matches!(broker.engine.revoke_lease(request).await, Err(EngineError::Denied(_))));
    let details = broker.ledger.records().last().unwrap().details.clone();
    assert_eq!((details["reason"].as_str(), details["denied"].as_str()), ("mine now", "policy"));
}
