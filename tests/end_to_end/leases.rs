//! Leases over the wire: pages, watches, and retries that outlive the daemon.

use std::{collections::BTreeSet, time::Duration};

use leasehold_client::{
    Client, Error, Issue, IssuedLease, LeaseChange, LeaseFilter, LeaseState, Notice, Watch, Write,
};
use leasehold_core::SecretValue;
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, STRANGER, Site, WORKLOAD},
};
use tokio::time::timeout;

use crate::kit::{issue, lease, leasehold};

/// What the watch tells next, which is to be this. That a short lease ends soon is passed over, unless it is waited for.
async fn next(watch: &mut Watch, change: LeaseChange) -> Notice {
    loop {
        let told = timeout(Duration::from_secs(30), watch.next()).await;
        let notice = told.unwrap_or_else(|_| panic!("nothing, and not {change:?}")).unwrap();
        let notice = notice.expect("the watch goes on");
        if notice.change == LeaseChange::ExpiringSoon && change != LeaseChange::ExpiringSoon {
            continue;
        }
        assert_eq!(notice.change, change, "{notice:?}");
        return notice;
    }
}

fn value(issued: &IssuedLease) -> &[u8] {
    issued.value.fields.values().next().unwrap().expose()
}

fn named(request_id: &str) -> Issue {
    Issue { request_id: Some(request_id.parse().unwrap()), ..issue(SECRET) }
}

#[tokio::test]
async fn leases_are_listed_page_by_page() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let mut held = BTreeSet::new();
    for _ in 0..25 {
        held.insert(lease(&client).await.lease.id.to_string());
    }
    let revoked = held.first().unwrap().parse().unwrap();
    client.revoke_lease(revoked, None).await.unwrap();

    let mut seen = Vec::new();
    let mut token = None;
    let mut pages = 0;
    loop {
        let page = client.list_leases(&[], 10, token).await.unwrap();
        assert!(page.items.len() <= 10);
        seen.extend(page.items.into_iter().map(|lease| lease.id.to_string()));
        pages += 1;
        token = page.next_page_token;
        if token.is_none() {
            break;
        }
    }
    assert!(pages >= 3, "25 leases on {pages} pages");
    assert_eq!(seen, held.into_iter().collect::<Vec<_>>());

    let ended = client.list_leases(&[LeaseState::Revoked], 0, None).await.unwrap();
    assert_eq!(ended.items.iter().map(|lease| lease.id).collect::<Vec<_>>(), [revoked]);
    let bad = client.list_leases(&[], 10, Some("made-up".into())).await.unwrap_err();
    assert_eq!(bad.reason(), Some("PAGE_TOKEN_INVALID"));

    // Operators see anybody's, others nobody's but their own.
    let operator = daemon::operator(&site).await.operator();
    let filter = |holder: &str| LeaseFilter { holder: Some(holder.parse().unwrap()), ..Default::default() };
    let of = async |holder| operator.list_leases(filter(holder), 100, None).await.unwrap().items.len();
    assert_eq!((of(WORKLOAD).await, of(STRANGER).await), (25, 0));
    let stranger = site.client("stranger").connect().await.unwrap();
    assert!(stranger.list_leases(&[], 0, None).await.unwrap().items.is_empty());
    assert!(stranger.operator().list_leases(filter(WORKLOAD), 0, None).await.unwrap().items.is_empty());
    assert!(matches!(stranger.get_lease(revoked).await, Err(Error::Denied { .. })));
}

#[tokio::test]
async fn a_watch_tells_what_happens_and_can_be_resumed() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let held = lease(&client).await.lease;
    let stranger = site.client("stranger").connect().await.unwrap();
    let mut theirs = stranger.watch_leases(None).await.unwrap();

    let mut watch = client.watch_leases(None).await.unwrap();
    assert_eq!(next(&mut watch, LeaseChange::Snapshot).await.lease.id, held.id);

    let renewed = client.renew_lease(held.id, Some(Duration::from_secs(1800))).await.unwrap();
    assert!(renewed.expires_at > held.expires_at);
    let told = next(&mut watch, LeaseChange::Renewed).await;
    assert_eq!(told.lease.expires_at, renewed.expires_at);

    let short = Issue { ttl: Some(Duration::from_secs(1)), ..issue(SECRET) };
    let short = client.issue_lease(short).await.unwrap().lease;
    assert_eq!(next(&mut watch, LeaseChange::Issued).await.lease.id, short.id);
    assert_eq!(next(&mut watch, LeaseChange::ExpiringSoon).await.lease.id, short.id);
    let expired = next(&mut watch, LeaseChange::Expired).await;
    assert_eq!((expired.lease.id, expired.lease.state), (short.id, LeaseState::Expired));

    daemon::operator(&site).await.operator().revoke_leases(&[held.id], None).await.unwrap();
    assert_eq!(next(&mut watch, LeaseChange::Revoked).await.lease.id, held.id);

    // From the renewal on: each lease that has changed since, as it is now, and no snapshot.
    drop(watch);
    let mut again = client.watch_leases(Some(told.resume_token)).await.unwrap();
    for change in [LeaseChange::Expired, LeaseChange::Revoked] {
        next(&mut again, change).await;
    }
    let quiet = timeout(Duration::from_millis(1), theirs.next()).await;
    assert!(quiet.is_err(), "somebody else's watch told {quiet:?}");
}

#[tokio::test]
async fn a_repeated_write_is_one_version_even_at_a_new_daemon() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    let write = async |value: &str| {
        let write = Write {
            secret: SECRET.parse().unwrap(),
            value: SecretValue::plain(value.to_owned()),
            expected: None,
            request_id: Some("w-1".parse().unwrap()),
        };
        daemon::operator(&site).await.operator().write_secret(write).await
    };
    let first = write("one").await.unwrap();
    assert_eq!(write("one").await.unwrap(), first);
    daemon.kill();
    let _daemon = Daemon::start(&site).await;
    assert_eq!(write("one").await.unwrap(), first);
    let other = write("two").await.expect_err("it is another write");
    assert!(other.reason().is_some(), "{other:?}");
    assert_eq!(value(&lease(&daemon::workload(&site).await).await), b"one");
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_lease_even_from_a_new_daemon() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let first = client.issue_lease(named("r-1")).await.unwrap();
    let other = client.issue_lease(named("r-2")).await.unwrap();
    assert_ne!(first.lease.id, other.lease.id);
    let check = async |client: &Client| {
        let again = client.issue_lease(named("r-1")).await.unwrap();
        assert_eq!(again.lease.id, first.lease.id);
        assert_eq!(again.lease.expires_at, first.lease.expires_at);
        assert_eq!(value(&again), b"one");
        let changed = Issue { ttl: Some(Duration::from_secs(60)), ..named("r-1") };
        let reused = client.issue_lease(changed).await.unwrap_err();
        assert_eq!(reused.reason(), Some("REQUEST_ID_REUSED"), "{reused}");
    };
    check(&client).await;

    // The answer to the first was lost in a crash, as far as the client knows.
    daemon.kill();
    // A newer version does not change what the request got.
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "two").await;
    check(&daemon::workload(&site).await).await;
    assert!(daemon.stop().await.success());
    let _daemon = Daemon::start(&site).await;
    let client = daemon::workload(&site).await;
    check(&client).await;
    assert_eq!(value(&lease(&client).await), b"two");
    assert_eq!(client.list_leases(&[], 0, None).await.unwrap().items.len(), 3);
}

#[tokio::test]
async fn the_command_line_tells_what_happens_to_leases_and_goes_on_where_it_ended() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let held = lease(&client).await.lease;
    let told = |line: &str| -> Vec<serde_json::Value> {
        let ran = leasehold(&site, "workload", &format!("lease watch -o jsonl {line}"));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let first = told("--limit 1").remove(0);
    assert_eq!((&first["change"], &first["lease"]["id"]), (&"held".into(), &held.id.to_string().into()));
    let place = first["resume_token"].as_str().unwrap();

    daemon::put(&site, SECRET, "two").await;
    let rotated = told(&format!("--limit 1 --resume {place}")).remove(0);
    assert_eq!(
        (&rotated["change"], &rotated["lease"]["id"]),
        (&"rotated".into(), &held.id.to_string().into())
    );
    client.revoke_lease(held.id, None).await.unwrap();
    let place = rotated["resume_token"].as_str().unwrap();
    assert_eq!(told(&format!("--limit 1 --resume {place}"))[0]["change"], "revoked");

    let json = leasehold(&site, "workload", "lease watch -o json");
    assert!(json.code == 2 && json.err.contains("jsonl"), "{json:?}");
    let bad = leasehold(&site, "workload", "lease watch --resume nonsense");
    assert_ne!(bad.code, 0, "{bad:?}");
}
