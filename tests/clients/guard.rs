//! The guard of the Rust client: rotations, brokers that are away, several addresses.

use std::{net::TcpListener, time::Duration};

use leasehold_client::{Address, Builder, Change, Changes, Client, Holding, LeaseState, Leased, WhyEnded};
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
    wait::until,
};
use tokio::time::timeout;

/// What a guard may take to learn something, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A site whose secret is lent for this long, with a value.
async fn site(ttl: &str) -> (Site, Daemon) {
    let plan = Plan::default();
    let more = plan.more.replace("ttl = \"10m\"", &format!("ttl = \"{ttl}\""));
    let site = Site::new(Plan { more, ..plan });
    let broker = Daemon::start(&site).await;
    put(&site, "first").await;
    (site, broker)
}

async fn put(site: &Site, value: &str) {
    daemon::put(site, SECRET, value).await;
}

/// A client as a service has it.
fn client(site: &Site) -> Builder {
    site.client("workload").retries(true)
}

fn value(held: &Leased) -> Vec<u8> {
    held.field("value").unwrap().expose().to_vec()
}

/// The change that is waited for; what comes before it is passed over.
async fn told<T>(changes: &mut Changes, mut is: impl FnMut(Change) -> Option<T>) -> T {
    let found = timeout(PATIENCE, async {
        loop {
            let Some(change) = changes.next().await else { panic!("the guard is gone") };
            if let Some(found) = is(change) {
                return found;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("it is not told in time"))
}

async fn replaced(changes: &mut Changes) -> std::sync::Arc<Holding> {
    told(changes, |change| match change {
        Change::Replaced(new) => Some(new),
        _ => None,
    })
    .await
}

async fn state(client: &Client, holding: &Holding) -> LeaseState {
    client.get_lease(holding.lease.id).await.unwrap().state
}

#[tokio::test]
async fn a_holder_is_moved_and_gives_the_old_lease_back_when_it_has_switched() {
    let (site, broker) = site("10m").await;
    let client = client(&site).connect().await.unwrap();
    let held = client.lease(SECRET).await.unwrap();
    let (mut changes, old) = (held.changes(), held.current());
    put(&site, "second").await;
    let new = replaced(&mut changes).await;
    assert_eq!((value(&held), new.expose_text("value")), (b"second".to_vec(), Some("second")));
    assert_eq!(state(&client, &old).await, LeaseState::Active, "it may be in use");
    held.switched(&new);
    until("the old lease is given back", async || state(&client, &old).await == LeaseState::Revoked).await;
    assert_eq!(state(&client, &new).await, LeaseState::Active);

    // The operator takes it: the holder is told, and has another one, if it may.
    daemon::operator(&site).await.revoke_lease(new.lease.id, None).await.unwrap();
    told(&mut changes, |change| matches!(change, Change::Ended { why: WhyEnded::Revoked }).then_some(()))
        .await;
    let other = replaced(&mut changes).await;
    assert_eq!(state(&client, &other).await, LeaseState::Active);
    held.close().await.unwrap();
    assert_eq!(state(&client, &other).await, LeaseState::Revoked);
    assert!(changes.next().await.is_none());

    let dropped = client.lease(SECRET).revoke_on_drop(true).await.unwrap();
    let last = dropped.current();
    drop(dropped);
    until("it is given back", async || state(&client, &last).await == LeaseState::Revoked).await;
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_started_anew_or_away_for_longer_than_the_lease_is_found_again() {
    let (site, broker) = site("4s").await;
    let client = client(&site).connect().await.unwrap();
    let held = client.lease(SECRET).await.unwrap();
    let mut changes = held.changes();
    let begun = held.current();

    // Started anew at once: calls wait for it, and what happens then is still told.
    broker.stop().await;
    let broker = Daemon::start(&site).await;
    let listed = client.list_leases(&[LeaseState::Active], 0, None).await.unwrap().items;
    assert!(listed.iter().any(|lease| lease.id == begun.lease.id), "{listed:?}");
    put(&site, "second").await;
    let second = replaced(&mut changes).await;
    assert_eq!(second.expose_text("value"), Some("second"));

    // Away for longer than the lease, and longer than a call waits.
    broker.kill();
    let failing = |change| matches!(change, Change::Failing { .. }).then_some(());
    told(&mut changes, failing).await;
    let ended = |change| matches!(change, Change::Ended { why: WhyEnded::Expired }).then_some(());
    told(&mut changes, ended).await;
    assert_eq!(value(&held), b"second", "what there was can be looked at still");
    let broker = Daemon::start(&site).await;
    let again = replaced(&mut changes).await;
    assert_ne!(again.lease.id, second.lease.id);
    put(&site, "third").await;
    assert_eq!(replaced(&mut changes).await.expose_text("value"), Some("third"));
    held.close().await.unwrap();
    broker.stop().await;
}

#[tokio::test]
async fn one_of_two_brokers_is_enough_and_calls_outlive_a_restart() {
    let (site, broker) = site("10m").await;
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody: Address = dead.local_addr().unwrap().to_string().parse().unwrap();
    let there: Address = site.address.to_string().parse().unwrap();
    // One that accepts and is silent, then one that is gone: neither holds anybody up.
    let silent = client(&site).addresses([nobody.clone(), there.clone()]);
    let silent =
        timeout(Duration::from_secs(4), silent.connect()).await.expect("it does not wait for silence");
    assert!(silent.unwrap().lease(SECRET).await.is_ok());
    drop(dead);
    for addresses in [[nobody.clone(), there.clone()], [there, nobody.clone()]] {
        let client = client(&site).addresses(addresses).connect().await.unwrap();
        assert!(client.lease(SECRET).await.is_ok());
    }
    let lost = client(&site).addresses([nobody.clone(), nobody]).connect().await.unwrap_err();
    assert!(lost.to_string().starts_with("none of the brokers can be used: nothing listens"), "{lost}");

    // Whoever began before the broker was stopped is answered by the next one.
    let client = client(&site).connect().await.unwrap();
    broker.stop().await;
    let call = tokio::spawn(async move { client.lease(SECRET).await.map(|held| value(&held)) });
    let broker = Daemon::start(&site).await;
    assert_eq!(call.await.unwrap().unwrap(), b"first");

    // And a client can be had while there is no broker.
    broker.stop().await;
    let client = self::client(&site).connect_lazily().await.unwrap();
    let broker = Daemon::start(&site).await;
    assert!(client.lease(SECRET).await.is_ok());
    broker.stop().await;
}
