//! Who watches a secret, and who moves a lease to its current version, with a daemon that is restarted meanwhile.

use std::time::Duration;

use leasehold_client::{LeaseChange, RotateSecret, SecretNews, SecretNotice, SecretWatch};
use leasehold_core::{SecretPath, Timestamp, secret::VersionId};
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
};
use tokio::time::timeout;

use crate::kit::{lease, leasehold};

fn secret() -> SecretPath {
    SECRET.parse().unwrap()
}

async fn next(watch: &mut SecretWatch) -> SecretNotice {
    let told = timeout(Duration::from_secs(30), watch.next()).await.expect("nothing was told");
    told.unwrap().expect("the watch goes on")
}

fn rotated(notice: &SecretNotice) -> (VersionId, Timestamp) {
    match &notice.news {
        SecretNews::Rotated { version, at } => (version.clone(), *at),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_watch_goes_on_after_a_crash_of_the_daemon_and_tells_everything_in_order() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let mut watch = client.watch_secret(&secret(), None).await.unwrap();
    let standing = next(&mut watch).await;
    let SecretNews::Standing { current: Some(first), draining: None } = &standing.news else {
        panic!("{standing:?}")
    };
    assert_eq!(lease(&client).await.lease.version.as_ref(), Some(first));
    daemon::put(&site, SECRET, "two").await;
    let told = next(&mut watch).await;
    let (second, _) = rotated(&told);
    assert_ne!(second, *first);

    daemon.kill();
    watch.next().await.expect_err("the daemon is gone");
    let daemon = Daemon::start(&site).await;
    for value in ["three", "four"] {
        daemon::put(&site, SECRET, value).await;
    }
    let client = daemon::workload(&site).await;
    let mut again = client.watch_secret(&secret(), Some(told.resume_token)).await.unwrap();
    let (third, fourth) = (rotated(&next(&mut again).await), rotated(&next(&mut again).await));
    assert!(third.1 <= fourth.1 && third.0 != fourth.0, "{third:?} {fourth:?}");
    assert_eq!(lease(&client).await.lease.version, Some(fourth.0));
    let quiet = timeout(Duration::from_millis(1), again.next()).await;
    assert!(quiet.is_err(), "nothing else happened: {quiet:?}");
    assert!(daemon.stop().await.success());
}

/// A site whose secret is rotated on demand.
fn rotating() -> Site {
    let more = format!(
        "[[secret]]\npath = \"{SECRET}\"\nprovider = \"local\"\nref = \"payments-db\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n\
         rotation = {{ strategy = \"generate\", drain_deadline = \"1h\" }}\n"
    );
    let site = Site::new(Plan { more, ..Plan::default() });
    site.write(
        "policies/20-rotation.cedar",
        "@id(\"test.rotate\")\npermit (principal is Operator, action == Action::\"RotateSecret\", resource);\n",
    );
    site
}

#[tokio::test]
async fn holders_are_told_of_a_rotation_and_the_old_version_goes_with_the_last_of_them() {
    let site = rotating();
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let (moves, ends) = (lease(&client).await.lease, lease(&client).await.lease);
    let old = moves.version.clone().unwrap();
    let mut watch = client.watch_secret(&secret(), None).await.unwrap();
    next(&mut watch).await;
    let rotate = RotateSecret { secret: secret(), dry_run: false, reason: None, request_id: None };
    daemon::operator(&site).await.operator().rotate_secret(rotate).await.unwrap();
    let (new, _) = rotated(&next(&mut watch).await);
    let draining = next(&mut watch).await;
    assert!(
        matches!(&draining.news, SecretNews::Draining { version, .. } if *version == old),
        "{draining:?}"
    );
    let moved = client.move_lease(moves.id, None).await.unwrap();
    assert_eq!(moved.lease.version, Some(new));
    assert_ne!(moved.value.unwrap().fields.values().next().unwrap().expose(), b"one");

    // The last one lets go after a crash of the daemon.
    daemon.kill();
    let daemon = Daemon::start(&site).await;
    let client = daemon::workload(&site).await;
    let mut watch = client.watch_secret(&secret(), Some(draining.resume_token)).await.unwrap();
    let quiet = timeout(Duration::from_millis(300), watch.next()).await;
    assert!(quiet.is_err(), "somebody holds it still: {quiet:?}");
    client.revoke_lease(ends.id, None).await.unwrap();
    let retired = next(&mut watch).await;
    assert!(matches!(&retired.news, SecretNews::Retired { version, .. } if *version == old), "{retired:?}");
    assert!(daemon.stop().await.success());
}

#[tokio::test]
async fn a_lease_is_moved_and_its_holder_told_so() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let held = lease(&client).await.lease;
    let mut watch = client.watch_leases(None).await.unwrap();
    daemon::put(&site, SECRET, "two").await;
    let moved = client.move_lease(held.id, Some(Duration::from_secs(900))).await.unwrap();
    let value = moved.value.expect("it was on the older version");
    assert_eq!(value.fields.values().next().unwrap().expose(), b"two");
    assert_ne!(moved.lease.version, held.version);
    let mut told = Vec::new();
    while told.last() != Some(&LeaseChange::Moved) {
        let notice = timeout(Duration::from_secs(30), watch.next()).await.expect("nothing was told");
        told.push(notice.unwrap().unwrap().change);
    }
    assert!(!told.contains(&LeaseChange::Renewed), "{told:?}");

    // What it is on survives the daemon, and is not disclosed again.
    daemon.kill();
    let _daemon = Daemon::start(&site).await;
    let client = daemon::workload(&site).await;
    assert_eq!(client.get_lease(held.id).await.unwrap().version, moved.lease.version);
    assert!(client.move_lease(held.id, None).await.unwrap().value.is_none());
}

#[tokio::test]
async fn the_command_line_watches_a_secret_and_moves_a_lease() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let held = lease(&daemon::workload(&site).await).await.lease.id;
    let told = |line: &str| -> Vec<serde_json::Value> {
        let ran = leasehold(&site, "workload", &format!("secret watch {SECRET} -o jsonl {line}"));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let standing = told("--limit 1").remove(0);
    assert_eq!(standing["event"], "standing");
    daemon::put(&site, SECRET, "two").await;
    let place = standing["resume_token"].as_str().unwrap();
    let rotated = told(&format!("--limit 1 --resume {place}")).remove(0);
    assert_eq!(rotated["event"], "rotated");
    assert_ne!(rotated["version"], standing["version"]);

    let renew = format!("lease renew {held} --accept-rotation --field value");
    let moved = leasehold(&site, "workload", &renew);
    assert_eq!((moved.code, moved.out.as_str()), (0, "two"), "{moved:?}");
    let again = leasehold(&site, "workload", &renew);
    assert!(again.code == 1 && again.err.contains("on the current version already"), "{again:?}");
    let json = leasehold(&site, "workload", &format!("lease renew {held} --accept-rotation -o json"));
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["lease"]["version"], json.get("value")), (&rotated["version"], None));

    let denied = leasehold(&site, "stranger", &format!("secret watch {SECRET}"));
    assert_eq!(denied.code, 3, "{denied:?}");
}
