//! RenewLease with `accept_rotation`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use leasehold_core::{
    LeaseId,
    access::Action,
    record::{Kind, Outcome, Record},
    state::KeyRange,
};
use leasehold_engine::{
    EngineError, Settings,
    request::{IssueLease, LeaseChange, RenewLease, Renewed, RevokeLease, WriteSecret},
};
use leasehold_ledger::Memory;
use tokio::time::advance;

use crate::kit::{ADMIN, API, Broker, DYNAMIC, OTHER, STATIC, actor, issue, shown, two_fields};

async fn write(broker: &Broker, password: &str) {
    let write = WriteSecret {
        actor: actor(ADMIN),
        secret: STATIC.parse().unwrap(),
        value: two_fields("app", password),
        expected: None,
        request_id: None,
    };
    broker.engine.write_secret(write).await.unwrap();
}

async fn accept(broker: &Broker, who: &str, lease: LeaseId) -> Result<Renewed, EngineError> {
    let ttl = Some(Duration::from_secs(120));
    let request = RenewLease { actor: actor(who), lease, ttl, accept_rotation: true, request_id: None };
    broker.engine.renew_lease(request).await
}

fn last(broker: &Broker) -> Record {
    broker.ledger.records().pop().unwrap()
}

async fn on_version(broker: &Broker, version: &str) -> usize {
    use leasehold_core::ports::Ledger as _;
    let range = KeyRange::on_version(&STATIC.parse().unwrap(), &version.parse().unwrap());
    broker.ledger.scan(&range, 10).await.unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_accepts_the_rotation_has_the_new_value_and_the_old_version_is_let_go() {
    let broker = Broker::new();
    let lease = broker.issue(STATIC).await.unwrap().lease;
    let mut watch = broker.engine.watch_leases(actor(API), None).await.unwrap();
    write(&broker, "canary-two").await;
    let moved = accept(&broker, API, lease.id).await.unwrap();
    assert_eq!(shown(&moved.value.unwrap())["password"], "canary-two");
    assert_eq!(moved.lease.version, Some("v2".parse().unwrap()));
    assert_eq!(moved.lease.expires_at.duration_since(lease.issued_at).as_secs(), 120);
    assert_eq!((on_version(&broker, "v1").await, on_version(&broker, "v2").await), (0, 1));

    let record = last(&broker);
    assert_eq!((record.kind, record.outcome), (Kind::LeaseMoved, Outcome::Ok));
    assert_eq!((record.version, record.value_hmac.len()), (moved.lease.version.clone(), 2));
    assert_eq!(record.details["from_version"], "v1");
    assert_eq!(record.decision.unwrap().action, Action::IssueLease);
    let told = loop {
        let notice = watch.next().await.unwrap().unwrap();
        if notice.change == LeaseChange::Moved {
            break notice;
        }
    };
    assert_eq!((told.lease.id, told.lease.version.clone()), (lease.id, moved.lease.version));

    // On the current version already: nothing is disclosed, and nothing was moved.
    let again = accept(&broker, API, lease.id).await.unwrap();
    assert!(again.value.is_none() && again.lease.renewals == 2, "{again:?}");
    let record = last(&broker);
    assert_eq!((record.kind, record.value_hmac), (Kind::LeaseRenewed, BTreeMap::new()));
    assert_eq!(record.decision.unwrap().action, Action::RenewLease);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_have_the_secret_any_more_is_not_given_its_new_value() {
    let broker = Broker::new();
    let lease = broker.issue(STATIC).await.unwrap().lease;
    write(&broker, "two").await;
    assert!(matches!(accept(&broker, OTHER, lease.id).await, Err(EngineError::Denied(_))));
    broker.rules.closed.lock().unwrap().insert(Action::IssueLease);
    assert!(matches!(accept(&broker, API, lease.id).await, Err(EngineError::Denied(_))));
    let record = last(&broker);
    assert_eq!((record.kind, record.outcome), (Kind::LeaseMoved, Outcome::Denied));
    assert_eq!((on_version(&broker, "v1").await, on_version(&broker, "v2").await), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn only_the_fields_of_the_lease_are_given() {
    let broker = Broker::new();
    let asked = IssueLease { fields: vec!["password".parse().unwrap()], ..issue(API, STATIC) };
    let lease = broker.engine.issue_lease(asked).await.unwrap().lease;
    write(&broker, "two").await;
    let moved = accept(&broker, API, lease.id).await.unwrap();
    assert_eq!(shown(&moved.value.unwrap()), BTreeMap::from([("password".into(), "two".into())]));
    assert_eq!(last(&broker).value_hmac.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_at_its_maximum_is_moved_and_ends_when_it_did() {
    let broker = Broker::new();
    let asked = IssueLease { ttl: Some(Duration::from_secs(600)), ..issue(API, STATIC) };
    let lease = broker.engine.issue_lease(asked).await.unwrap().lease;
    write(&broker, "two").await;
    let moved = accept(&broker, API, lease.id).await.unwrap();
    assert!(moved.value.is_some());
    assert_eq!((moved.lease.expires_at, moved.lease.renewals), (lease.expires_at, 0));
    // There is nothing more to be had, neither time nor a version.
    accept(&broker, API, lease.id).await.unwrap_err();
    advance(Duration::from_secs(601)).await;
    write(&broker, "three").await;
    let error = accept(&broker, API, lease.id).await.unwrap_err();
    assert_eq!(error.reason(), "LEASE_EXPIRED");
}

#[tokio::test(start_paused = true)]
async fn a_move_takes_no_second_place_and_gives_none_back() {
    let settings = Settings { leases_per_secret: 1, ..Settings::default() };
    let ledger = Memory::new();
    let broker = Broker::within(Arc::new(ledger.clone()), ledger, Arc::default(), BTreeMap::new(), settings);
    let lease = broker.issue(STATIC).await.unwrap().lease;
    write(&broker, "two").await;
    assert!(accept(&broker, API, lease.id).await.unwrap().value.is_some());
    assert!(matches!(broker.issue(STATIC).await, Err(EngineError::QuotaExceeded { .. })));
    let revoke =
        RevokeLease { actor: actor(API), lease: lease.id, reason: None, request_id: None, rotate: false };
    broker.engine.revoke_lease(revoke).await.unwrap();
    assert_eq!((on_version(&broker, "v1").await, on_version(&broker, "v2").await), (0, 0));
    broker.issue(STATIC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_credential_of_ones_own_is_just_renewed() {
    let broker = Broker::new();
    let lease = broker.issue(DYNAMIC).await.unwrap().lease;
    let renewed = accept(&broker, API, lease.id).await.unwrap();
    assert!(renewed.value.is_none() && renewed.lease.version == lease.version, "{renewed:?}");
    assert_eq!(last(&broker).kind, Kind::LeaseRenewed);
}
