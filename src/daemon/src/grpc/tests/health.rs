//! What the standard health service tells of the broker and of each back end.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use leasehold_core::rotation::{Plan, Strategy};
use leasehold_ledger::LedgerHealth;
use leasehold_proto::v1::{
    self, lease_service_server::SERVICE_NAME as LEASES, operator_service_server::SERVICE_NAME as OPERATORS,
};
use tokio::time::sleep;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::kit::{ADMIN, API, Edge, SECRET, rotated};

const ROTATION: &str = "leasehold.rotation";
const HOUR: Duration = Duration::from_secs(3600);
const PROVIDER: &str = "leasehold.provider.main";

async fn health(edge: &Edge, name: &str) -> ServingStatus {
    // What has changed is told by a task of its own.
    sleep(Duration::from_millis(1)).await;
    let request = HealthCheckRequest { service: name.to_owned() };
    HealthClient::new(edge.channel(API)).check(request).await.unwrap().into_inner().status()
}

async fn versions(edge: &Edge) -> Result<(), tonic::Status> {
    let request = v1::ListSecretVersionsRequest { path: SECRET.into(), ..Default::default() };
    edge.operators(ADMIN).list_secret_versions(request).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn health_follows_the_ledger_and_the_end() {
    let edge = Edge::new();
    for name in ["", LEASES, OPERATORS, PROVIDER] {
        assert_eq!(health(&edge, name).await, ServingStatus::Serving, "{name}");
    }
    edge.ledger_health.send_replace(LedgerHealth::Full("no room".into()));
    assert_eq!(health(&edge, LEASES).await, ServingStatus::NotServing);
    assert_eq!(health(&edge, PROVIDER).await, ServingStatus::Serving);
    edge.ledger_health.send_replace(LedgerHealth::Ok);
    assert_eq!(health(&edge, OPERATORS).await, ServingStatus::Serving);
    edge.stop.send_replace(true);
    for name in ["", LEASES, OPERATORS, PROVIDER] {
        assert_eq!(health(&edge, name).await, ServingStatus::NotServing, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_is_given_a_rest_is_not_serving_and_the_broker_is() {
    let edge = Edge::new();
    edge.facts.failing.store(true, SeqCst);
    for _ in 0..5 {
        versions(&edge).await.unwrap_err();
    }
    assert_eq!(health(&edge, PROVIDER).await, ServingStatus::NotServing);
    assert_eq!(health(&edge, "").await, ServingStatus::Serving);
    // After its rest the next call tries: it is not known to be down any more.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(health(&edge, PROVIDER).await, ServingStatus::Serving);
    versions(&edge).await.unwrap_err();
    assert_eq!(health(&edge, PROVIDER).await, ServingStatus::NotServing);
    edge.facts.failing.store(false, SeqCst);
    sleep(Duration::from_secs(2)).await;
    versions(&edge).await.unwrap();
    assert_eq!(health(&edge, PROVIDER).await, ServingStatus::Serving);
}

#[tokio::test(start_paused = true)]
async fn a_back_end_whose_credentials_have_ended_is_not_serving() {
    let edge = Edge::new();
    edge.facts.credentials_end.store(100, SeqCst);
    sleep(Duration::from_secs(90)).await;
    assert_eq!(health(&edge, PROVIDER).await, ServingStatus::Serving);
    sleep(Duration::from_secs(41)).await;
    assert_eq!(health(&edge, PROVIDER).await, ServingStatus::NotServing);
    edge.facts.credentials_end.store(1000, SeqCst);
    sleep(Duration::from_secs(31)).await;
    assert_eq!(health(&edge, PROVIDER).await, ServingStatus::Serving);
}

async fn write(edge: &Edge) {
    let fields = [("value".to_owned(), b"another".to_vec())].into();
    let value = Some(v1::SecretValue { fields, content_type: String::new() });
    let request = v1::WriteSecretRequest { path: SECRET.into(), value, ..Default::default() };
    edge.operators(ADMIN).write_secret(request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_is_told_until_there_is_a_newer_one() {
    let edge = Edge::new();
    edge.engine.replace_catalog(rotated(Plan { max_age: Some(24 * HOUR), ..Plan::new(Strategy::Generate) }));
    tokio::spawn(edge.engine.clone().reconcile(edge.stop.subscribe()));
    write(&edge).await;
    sleep(23 * HOUR).await;
    assert_eq!(health(&edge, ROTATION).await, ServingStatus::Serving);
    sleep(2 * HOUR).await;
    assert_eq!(health(&edge, ROTATION).await, ServingStatus::NotServing);
    // The broker itself serves all the same.
    assert_eq!(health(&edge, "").await, ServingStatus::Serving);
    write(&edge).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(health(&edge, ROTATION).await, ServingStatus::Serving);
    sleep(25 * HOUR).await;
    assert_eq!(health(&edge, ROTATION).await, ServingStatus::NotServing);
}
