//! Who was let in and is so no longer: every request is checked, and what waits is ended.

use std::time::Duration;

use leasehold_proto::v1::{ListLeasesRequest, WatchLeasesRequest, WatchLeasesResponse};
use leasehold_tests::{
    authority::{Authority, Identity, Leaf},
    daemon::Daemon,
    raw::{Raw, alert, reason},
    site::{Plan, STRANGER, Site, WORKLOAD},
};
use rustls::AlertDescription;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status, Streaming};

async fn connect(site: &Site, identity: &Identity) -> Raw {
    let raw = Raw::open(site.address, site.tls(Some(identity))).await.unwrap();
    list(&raw).await.unwrap();
    raw
}

/// A call whose caller matters.
async fn list(raw: &Raw) -> Result<(), Status> {
    raw.leases().list_leases(ListLeasesRequest::default()).await.map(drop)
}

async fn watch(raw: &Raw) -> Streaming<WatchLeasesResponse> {
    raw.leases().watch_leases(WatchLeasesRequest::default()).await.unwrap().into_inner()
}

/// How the broker ends a watch on which nothing happens.
async fn end(mut watch: Streaming<WatchLeasesResponse>) -> (Code, String) {
    let ended = timeout(Duration::from_secs(30), watch.message()).await.expect("the watch ends");
    let status = ended.expect_err("it ends with a status");
    (status.code(), reason(&status))
}

/// A request is refused by the broker, or finds the connection closed by it.
fn is_refused(answer: &Result<(), Status>, expected: &str) -> bool {
    match answer {
        Ok(()) => false,
        Err(status) => {
            let reason = reason(status);
            assert!(reason.is_empty() || reason == expected, "{status:?}");
            true
        }
    }
}

#[tokio::test]
async fn revoked_after_it_connected() {
    let site = Site::new(Plan { listen: "crl = [\"tls/clients.crl\"]".into(), ..Plan::default() });
    site.write("tls/clients.crl", &site.authority.crl(&[]));
    let daemon = Daemon::start(&site).await;
    let (revoked, good) = (site.identity(WORKLOAD), site.identity(STRANGER));
    let (mut gone, stays) = (connect(&site, &revoked).await, connect(&site, &good).await);
    let (ends, mut goes_on) = (watch(&gone).await, watch(&stays).await);

    site.write("tls/clients.crl", &site.authority.crl(&[revoked.serial]));
    assert_eq!(daemon.reload(&site).await.rejection, "");
    assert!(is_refused(&list(&gone).await, "IDENTITY_REVOKED"), "it was answered after it was revoked");
    assert_eq!(end(ends).await, (Code::Unauthenticated, "IDENTITY_REVOKED".to_owned()));
    gone.closed().await;
    assert_eq!(alert(site.address, site.tls(Some(&revoked))).await, AlertDescription::CertificateRevoked);

    // Whom it does not concern notices nothing.
    list(&stays).await.unwrap();
    assert!(timeout(Duration::from_millis(1), goes_on.message()).await.is_err());
    daemon.says("IDENTITY_REVOKED").await;
}

#[tokio::test]
async fn expired_after_it_connected() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    let short = site.authority.sign(&Leaf { until: 5, ..Leaf::client(WORKLOAD) });
    let signed = Instant::now();
    let mut raw = connect(&site, &short).await;
    let watch = watch(&raw).await;
    let mut answered = 0;
    while !is_refused(&list(&raw).await, "IDENTITY_EXPIRED") {
        answered += 1;
        assert!(signed.elapsed() < Duration::from_secs(20), "it is answered for ever:\n{}", daemon.log());
        sleep(Duration::from_millis(20)).await;
    }
    // The end is in whole seconds, cut off.
    assert!(signed.elapsed() >= Duration::from_secs(4), "refused too early: {:?}", signed.elapsed());
    assert!(answered > 10, "it was answered while it was good: {answered}");
    assert_eq!(end(watch).await, (Code::Unauthenticated, "IDENTITY_EXPIRED".to_owned()));
    raw.closed().await;
    assert_eq!(alert(site.address, site.tls(Some(&short))).await, AlertDescription::CertificateExpired);
}

#[tokio::test]
async fn an_authority_that_is_dropped_after_it_connected() {
    let site = Site::new(Plan::default());
    let other = Authority::new("others");
    site.write("tls/clients.pem", &format!("{}{}", site.authority.bundle(), other.bundle()));
    let daemon = Daemon::start(&site).await;
    let theirs = other.sign(&Leaf::client(WORKLOAD));
    let mut raw = connect(&site, &theirs).await;
    let watch = watch(&raw).await;

    site.write("tls/clients.pem", &site.authority.bundle());
    assert_eq!(daemon.reload(&site).await.rejection, "");
    assert!(is_refused(&list(&raw).await, "IDENTITY_UNTRUSTED"));
    assert_eq!(end(watch).await, (Code::Unauthenticated, "IDENTITY_UNTRUSTED".to_owned()));
    raw.closed().await;
    assert_eq!(alert(site.address, site.tls(Some(&theirs))).await, AlertDescription::UnknownCA);
}

#[tokio::test]
async fn a_session_is_not_resumed_past_its_certificate() {
    let site = Site::new(Plan { listen: "crl = [\"tls/clients.crl\"]".into(), ..Plan::default() });
    site.write("tls/clients.crl", &site.authority.crl(&[]));
    let daemon = Daemon::start(&site).await;
    let identity = site.identity(WORKLOAD);
    // One configuration keeps the tickets of the sessions before.
    let tls = site.tls(Some(&identity));
    for _ in 0..2 {
        list(&Raw::open(site.address, tls.clone()).await.unwrap()).await.unwrap();
    }
    site.write("tls/clients.crl", &site.authority.crl(&[identity.serial]));
    assert_eq!(daemon.reload(&site).await.rejection, "");
    let refused = match Raw::open(site.address, tls).await {
        Ok(raw) => list(&raw).await.is_err(),
        Err(_) => true,
    };
    assert!(refused, "a remembered session outlived its certificate");
}
