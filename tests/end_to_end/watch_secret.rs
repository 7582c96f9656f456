//! Who watches a secret, and who moves a lease to its current version, with a daemon that is restarted meanwhile.

use std::time::Duration;

use leasehold_client::{LeaseChange, Notice, RotateSecret, SecretNews, SecretNotice, SecretWatch, Watch};
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

/// What happens next to a lease: that one ends soon is another matter.
async fn happened(watch: &mut Watch) -> Notice {
    loop {
        let told = timeout(Duration::from_secs(30), watch.next()).await.expect("nothing was told");
        let notice = told.unwrap().expect("the watch goes on");
        if notice.change != LeaseChange::ExpiringSoon {
            return notice;
        }
    }
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
fn rotating(drain: &str) -> Site {
    let more = format!(
        "[[secret]]\npath = \"{SECRET}\"\nprovider = \"local\"\nref = \"payments-db\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n\
         rotation = {{ strategy = \"generate\", drain_deadline = \"{drain}\" }}\n"
    );
    let site = Site::new(Plan { more, ..Plan::default() });
    site.write(
        "policies/20-rotation.cedar",
        "@id(\"test.rotate\")\npermit (principal is Operator, action == Action::\"RotateSecret\", resource);\n",
    );
    site
}

async fn rotate(site: &Site) {
    let rotate = RotateSecret { secret: secret(), dry_run: false, reason: None, request_id: None };
    daemon::operator(site).await.operator().rotate_secret(rotate).await.unwrap();
}

#[tokio::test]
async fn holders_are_told_of_a_rotation_and_the_old_version_goes_with_the_last_of_them() {
    let site = rotating("1h");
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let (moves, ends) = (lease(&client).await.lease, lease(&client).await.lease);
    let old = moves.version.clone().unwrap();
    let mut watch = client.watch_secret(&secret(), None).await.unwrap();
    next(&mut watch).await;
    rotate(&site).await;
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
async fn a_holder_hears_the_whole_story_of_its_version_across_a_crash() {
    let site = rotating("5s");
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let leases = [lease(&client).await.lease.id, lease(&client).await.lease.id];
    let mut watch = client.watch_leases(None).await.unwrap();
    rotate(&site).await;
    let mut told = vec![happened(&mut watch).await];
    while told.last().is_none_or(|last| last.change == LeaseChange::Snapshot) {
        told.push(happened(&mut watch).await);
    }
    let rotated = told.last().unwrap().clone();
    assert_eq!((told.len(), rotated.change), (3, LeaseChange::Rotated), "{told:?}");
    let new = rotated.current_version.unwrap();
    assert_ne!(rotated.lease.version.as_ref(), Some(&new));

    // What was told after this, or on its way, is told again, and the rest when its time comes.
    daemon.kill();
    let daemon = Daemon::start(&site).await;
    let client = daemon::workload(&site).await;
    let mut watch = client.watch_leases(Some(rotated.resume_token.clone())).await.unwrap();
    let mut told = Vec::new();
    let retired =
        |told: &[Notice]| told.iter().filter(|notice| notice.change == LeaseChange::Retired).count();
    while retired(&told) < leases.len() {
        told.push(happened(&mut watch).await);
    }
    for lease in leases {
        let of_it: Vec<_> = told.iter().filter(|notice| notice.lease.id == lease).collect();
        let changes: Vec<_> = of_it.iter().map(|notice| notice.change).collect();
        assert!(changes.ends_with(&[LeaseChange::Draining, LeaseChange::Retired]), "{changes:?}");
        assert!(lease == rotated.lease.id || changes[0] == LeaseChange::Rotated, "{changes:?}");
        let deadline = of_it.iter().find_map(|notice| notice.drain_deadline).unwrap();
        assert!(deadline > rotated.lease.issued_at && deadline < rotated.lease.expires_at, "{deadline}");
    }
    // Who knows nothing is told how it is now, by the command line, too.
    let ran = leasehold(&site, "workload", "lease watch -o jsonl --limit 6");
    let lines: Vec<serde_json::Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut changes: Vec<_> = lines.iter().map(|line| line["change"].as_str().unwrap()).collect();
    changes.sort_unstable();
    assert_eq!(changes, ["held", "held", "retired", "retired", "rotated", "rotated"]);
    let current = lines.iter().find_map(|line| line["current_version"].as_str());
    assert_eq!(current, Some(new.as_str()));
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
