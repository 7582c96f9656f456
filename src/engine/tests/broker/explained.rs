//! Who is told why they were denied: whom policy lets know, of what they named themselves, and nobody else.

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst};

use leasehold_core::{LeaseId, access::Action, explanation::Grounds, record::Outcome};
use leasehold_engine::{Denial, EngineError, request::RevokeLease};

use crate::kit::{ADMIN, API, Broker, OTHER, STATIC, actor, issue};

fn denial<T>(result: Result<T, EngineError>) -> Denial {
    match result {
        Err(EngineError::Denied(denial)) => denial,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it is allowed"),
    }
}

async fn denied(broker: &Broker, who: &str, path: &str) -> Denial {
    denial(broker.engine.issue_lease(issue(who, path)).await)
}

#[tokio::test(start_paused = true)]
async fn whom_policy_lets_know_is_told_why_and_the_record_says_so() {
    let broker = Broker::new();
    let there = denied(&broker, ADMIN, STATIC).await;
    let explanation = there.explanation().expect("an operator may know");
    assert_eq!(explanation.grounds, Grounds::NotPermitted);
    assert_eq!(explanation.policies, ["IssueLease {}"], "of the action that was denied");
    assert_eq!(explanation.principal, ADMIN);
    let record = broker.ledger.records().pop().unwrap();
    assert_eq!((&record.outcome, record.details["explained"].as_str()), (&Outcome::Denied, "true"));
    assert_eq!(record.decision.unwrap().action, Action::IssueLease);

    assert_eq!(denied(&broker, ADMIN, "prod/nothing").await, there, "it tells nothing of what there is");
    let unknown = denied(&broker, API, "prod/nothing").await;
    assert_eq!(unknown, Denial::default(), "a workload is told nothing");
}

#[tokio::test(start_paused = true)]
async fn nobody_else_is_told_anything_and_nobody_is_asked_without_need() {
    let broker = Broker::new();
    broker.issue(STATIC).await.unwrap();
    assert_eq!(broker.rules.may_know.load(SeqCst), 0, "what is allowed needs no reason");
    assert_eq!(denied(&broker, OTHER, STATIC).await, Denial::default());
    assert_eq!(denied(&broker, OTHER, "prod/nothing").await, Denial::default());
    assert_eq!(broker.rules.may_know.load(SeqCst), 2, "asked of both, or the time would tell them apart");
    assert_eq!(broker.rules.whys.load(SeqCst), 0);
    assert!(!broker.ledger.records().pop().unwrap().details.contains_key("explained"));

    broker.rules.closed.lock().unwrap().insert(Action::ExplainDenial);
    assert_eq!(denied(&broker, ADMIN, STATIC).await, Denial::default());
    broker.rules.closed.lock().unwrap().clear();
    broker.rules.is_mute.store(true, SeqCst);
    assert_eq!(denied(&broker, ADMIN, STATIC).await, Denial::default());
    assert!(!broker.ledger.records().pop().unwrap().details.contains_key("explained"));
}

#[tokio::test(start_paused = true)]
async fn the_broker_itself_can_be_what_was_denied() {
    let broker = Broker::new();
    broker.rules.closed.lock().unwrap().extend([Action::ReadAudit]);
    let told = denial(broker.engine.authorize_audit(actor(ADMIN), BTreeMap::new()).await);
    assert_eq!(told.explanation().unwrap().policies, ["ReadAudit {}"]);
    let told = denial(broker.engine.authorize_audit(actor(API), BTreeMap::new()).await);
    assert_eq!(told, Denial::default());
}

/// A lease's id alone must not lead to its secret.
#[tokio::test(start_paused = true)]
async fn of_somebody_elses_lease_nobody_is_told_more_than_of_none() {
    let broker = Broker::new();
    let lease = broker.issue(STATIC).await.unwrap().lease.id;
    broker.rules.closed.lock().unwrap().extend([Action::ReadLease, Action::RevokeLease]);
    for id in [lease, LeaseId::from_bits([7; 16])] {
        assert_eq!(denial(broker.engine.get_lease(actor(ADMIN), id).await), Denial::default());
        let request =
            RevokeLease { actor: actor(ADMIN), lease: id, reason: None, rotate: false, request_id: None };
        assert_eq!(denial(broker.engine.revoke_lease(request).await), Denial::default());
    }
    // Whoever may take it away but not have its secret rotated learns no more of the secret.
    broker.rules.closed.lock().unwrap().clear();
    broker.rules.closed.lock().unwrap().insert(Action::RotateSecret);
    let request = RevokeLease { actor: actor(ADMIN), lease, reason: None, rotate: true, request_id: None };
    assert_eq!(denial(broker.engine.revoke_lease(request).await), Denial::default());
    assert_eq!(broker.rules.may_know.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn policies_that_came_into_force_meanwhile_explain_nothing() {
    let broker = Broker::new();
    broker.rules.is_reloaded.store(true, SeqCst);
    assert_eq!(denied(&broker, ADMIN, STATIC).await, Denial::default());
    assert_eq!(broker.rules.whys.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn who_would_be_served_is_told_that_there_is_nothing() {
    let broker = Broker::new();
    let mut request = issue(ADMIN, "prod/nothing");
    // As an operator who may write: what is not in the catalog is denied all the same.
    request.ttl = Some(std::time::Duration::from_secs(90));
    let told = denial(broker.engine.issue_lease(request).await);
    assert_eq!(told.explanation().unwrap().policies, [r#"IssueLease {"ttl_seconds": Number(90)}"#]);
    let list = leasehold_engine::request::ListVersions {
        actor: actor(ADMIN),
        secret: "prod/nothing".parse().unwrap(),
        page_size: 10,
        page_token: None,
    };
    let told = denial(broker.engine.list_versions(list).await);
    assert_eq!(told.explanation().unwrap().grounds, Grounds::Permitted);
}
