//! Rotations as operators have them done: on demand, on a schedule, because a lease was revoked; looked at, paused, taken back.

use leasehold_client::{Client, proto};
use leasehold_core::SecretPath;
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, STRANGER, Site, WORKLOAD},
    wait::until,
};
use serde_json::Value;

use crate::kit::{Ran, lease, leasehold, records};

const POLICIES: &str = r#"
@id("test.rotate")
permit (principal is Operator, action in [Action::"RotateSecret", Action::"ChangeSecret"], resource);
@id("test.schedule")
permit (principal is Scheduler, action == Action::"RotateSecret", resource);
"#;

/// A site whose secret is rotated so, beside one that is not.
fn site(rotation: &str) -> Site {
    let secret = |path: &str, more: &str| {
        format!(
            "[[secret]]\npath = \"{path}\"\nprovider = \"local\"\nref = \"{path}\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n{more}\n"
        )
    };
    let rotated = secret(SECRET, &format!("rotation = {{ {rotation} }}"));
    let more = format!("{rotated}{}", secret("prod/payments/fixed", ""));
    let site = Site::new(Plan { more, ..Plan::default() });
    site.write("policies/20-rotation.cedar", POLICIES);
    site
}

fn path() -> SecretPath {
    SECRET.parse().unwrap()
}

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn rotation(site: &Site) -> proto::Rotation {
    daemon::operator(site).await.operator().rotation(&path()).await.unwrap()
}

/// The secret's value as the workload is lent it now, and the version.
async fn lent(client: &Client) -> (String, String) {
    let issued = lease(client).await;
    let bytes = issued.value.fields.values().next().unwrap().expose().to_vec();
    client.revoke_lease(issued.lease.id, None).await.unwrap();
    (String::from_utf8(bytes).unwrap(), issued.lease.version.unwrap().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_on_demand_is_followed_and_waits_for_its_holders() {
    let site = site("strategy = \"generate\", drain_deadline = \"1h\"");
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let held = lease(&client).await.lease;
    let old = held.version.clone().unwrap().to_string();

    let rotate = format!("secret rotate {SECRET} --reason planned --wait=current -o jsonl");
    let rotated = leasehold(&site, "operator", &rotate);
    assert_eq!(rotated.code, 0, "{rotated:?}");
    let told = lines(&rotated);
    let last = told.last().unwrap();
    assert_eq!((&last["state"], &last["course"]["old_version"]), (&"draining".into(), &old.as_str().into()));
    assert_eq!(last["course"]["cause"], "request");
    let again = leasehold(&site, "operator", &format!("secret rotate {SECRET}"));
    assert!(again.code == 7 && again.err.contains("[ROTATION_STATE]"), "{again:?}");

    let shown = leasehold(&site, "operator", &format!("rotation show {SECRET}"));
    for part in ["[>] draining", WORKLOAD, held.id.to_string().as_str(), "[ ] retired", "generate"] {
        assert!(shown.out.contains(part), "{part}: {shown:?}");
    }
    let listed = json(&leasehold(&site, "operator", "rotation list -o json"));
    let listed = listed.as_array().unwrap();
    assert_eq!((listed.len(), &listed[0]["secret"]), (1, &SECRET.into()), "one is not rotated");
    assert_eq!(listed[0]["old_version_leases"], 1);
    let none = json(&leasehold(&site, "operator", "rotation list --state idle -o json"));
    assert_eq!(none, Value::Array(Vec::new()));
    let (value, new) = lent(&client).await;
    assert!(value != "one" && new != old, "{value} {new}");

    client.revoke_lease(held.id, None).await.unwrap();
    let watched = leasehold(&site, "operator", &format!("rotation watch {SECRET} -o json"));
    let ended = json(&watched);
    assert_eq!((&ended["state"], &ended["last"]["outcome"]), (&"idle".into(), &"retired".into()));
    let versions = leasehold(&site, "operator", &format!("secret versions {SECRET} -o jsonl"));
    let versions = lines(&versions);
    let state = |id: &str| versions.iter().find(|one| one["version"] == id).unwrap()["state"].clone();
    assert_eq!((state(&old), state(&new)), ("disabled".into(), "enabled".into()));

    let asked = records(&site, "rotation.requested").await;
    let reasons: Vec<_> = asked.iter().map(|record| record.failure_reason.as_str()).collect();
    assert_eq!((reasons, asked[0].details["reason"].as_str()), (vec!["", "ROTATION_STATE"], "planned"));
    for kind in ["started", "created", "promoted", "drained", "retired"] {
        assert_eq!(records(&site, &format!("rotation.{kind}")).await.len(), 1, "{kind}");
    }
    let verified = leasehold(&site, "operator", &format!("audit verify {}", site.state().display()));
    assert_eq!(verified.code, 0, "{verified:?}");
    for text in [daemon.log(), shown.out, format!("{told:?}")] {
        assert!(!text.contains(&value), "a value was told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_paused_resumed_and_taken_back() {
    let site = site("strategy = \"generate\", drain_deadline = \"1h\"");
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let operator = |line: &str| leasehold(&site, "operator", line);

    let paused = json(&operator(&format!("rotation pause {SECRET} --reason maintenance -o json")));
    assert!(paused["paused_at"].is_string(), "{paused}");
    assert_eq!(operator(&format!("rotation pause {SECRET}")).code, 0, "it is so already");
    let waits = operator(&format!("secret rotate {SECRET} --wait"));
    assert!(waits.code == 7 && waits.err.contains("is paused"), "{waits:?}");
    let attention = json(&operator("rotation list --attention -o json"));
    assert_eq!(attention.as_array().unwrap().len(), 1);
    assert_eq!(rotation(&site).await.serial, 0, "nothing was begun");

    let held = lease(&client).await.lease;
    let resumed = operator(&format!("rotation resume {SECRET}"));
    assert_eq!(resumed.code, 0, "{resumed:?}");
    until("what was wanted is done", async || {
        rotation(&site).await.state() == proto::RotationState::Draining
    })
    .await;
    let (value, _) = lent(&client).await;
    assert_ne!(value, "one");
    let back = operator(&format!("rotation rollback {SECRET} --reason wrong --wait -o jsonl"));
    assert_eq!(back.code, 0, "{back:?}");
    let told = lines(&back);
    assert_eq!(told.last().unwrap()["last"]["outcome"], "rolled-back");
    assert_eq!(lent(&client).await.0, "one");
    assert!(client.get_lease(held.id).await.is_ok_and(|lease| lease.version == held.version));
    let nothing = operator(&format!("rotation rollback {SECRET} --reason again"));
    assert!(nothing.code == 7 && nothing.err.contains("[ROTATION_STATE]"), "{nothing:?}");
    assert_eq!(records(&site, "rotation.paused").await.len(), 2);
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing_and_nobody_else_may() {
    let site = site("strategy = \"generate\"");
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let _held = lease(&daemon::workload(&site).await).await;
    let previewed = json(&leasehold(&site, "operator", &format!("secret rotate {SECRET} --dry-run -o json")));
    assert_eq!((&previewed["ok"], &previewed["leases"]), (&true.into(), &1.into()), "{previewed}");
    assert!(!previewed["steps"].as_array().unwrap().is_empty(), "{previewed}");
    let shown = rotation(&site).await;
    assert_eq!((shown.serial, shown.course, shown.wanted_time), (0, None, None));
    assert_eq!(records(&site, "rotation.previewed").await.len(), 1);

    let fixed = leasehold(&site, "operator", "secret rotate prod/payments/fixed");
    assert!(fixed.code == 7 && fixed.err.contains("[NOT_ROTATED]"), "{fixed:?}");
    for line in ["secret rotate", "rotation show", "rotation pause", "rotation watch", "rotation resume"] {
        let denied = leasehold(&site, "stranger", &format!("{line} {SECRET}"));
        assert_eq!(denied.code, 3, "{line}: {denied:?}");
        let absent = leasehold(&site, "operator", &format!("{line} prod/payments/absent"));
        assert_eq!(absent.code, 3, "{line}: {absent:?}");
    }
    let listed = json(&leasehold(&site, "stranger", "rotation list -o json"));
    assert_eq!(listed, Value::Array(Vec::new()), "{STRANGER} may see nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_is_rotated_and_what_is_given_back_is_not() {
    let site =
        site("strategy = \"generate\", on_revoke = \"rotate\", cool_down = \"1s\", drain_deadline = \"1h\"");
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    lent(&client).await;
    assert_eq!(rotation(&site).await.serial, 0, "it was given back");
    let (first, second) = (lease(&client).await.lease, lease(&client).await.lease);
    for id in [first.id, second.id] {
        let revoked = leasehold(&site, "operator", &format!("lease revoke {id} --reason leaked"));
        assert_eq!(revoked.code, 0, "{revoked:?}");
    }
    until("it is rotated once for both", async || rotation(&site).await.last.is_some()).await;
    assert_eq!(rotation(&site).await.serial, 1);
    assert_ne!(lent(&client).await.0, "one");
    let revoked = records(&site, "lease.revoked").await;
    assert!(revoked.iter().any(|record| record.details.contains_key("rotation")), "{revoked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_what_was_lent_made_worthless() {
    let site = site("strategy = \"generate\", drain_deadline = \"1h\"");
    let _daemon = Daemon::start(&site).await;
    for path in [SECRET, "prod/payments/fixed"] {
        daemon::put(&site, path, "one").await;
    }
    let client = daemon::workload(&site).await;
    let fixed = client.issue_lease(crate::kit::issue("prod/payments/fixed")).await.unwrap().lease;
    let refused = leasehold(&site, "operator", &format!("lease revoke {} --rotate", fixed.id));
    assert!(refused.code == 7 && refused.err.contains("[NOT_ROTATED]"), "{refused:?}");
    assert!(
        client
            .get_lease(fixed.id)
            .await
            .is_ok_and(|lease| lease.state == leasehold_client::LeaseState::Active)
    );

    let held = lease(&client).await.lease;
    let denied = leasehold(&site, "stranger", &format!("lease revoke {} --rotate", held.id));
    assert_eq!(denied.code, 3, "{denied:?}");
    let revoked = leasehold(&site, "operator", &format!("lease revoke {} --rotate --reason leaked", held.id));
    assert_eq!(revoked.code, 0, "{revoked:?}");
    until("it is rotated", async || rotation(&site).await.last.is_some()).await;
    let (value, _) = lent(&client).await;
    assert_ne!(value, "one");

    for _ in 0..5 {
        lease(&client).await;
    }
    let all = "lease revoke --prefix prod/payments/ --rotate --reason leaked --yes -o json";
    let ended = json(&leasehold(&site, "operator", all));
    assert_eq!(ended["total"], 6, "the one that is not rotated is ended, too");
    until("it is rotated once more", async || {
        let now = rotation(&site).await;
        now.serial == 2 && now.course.is_none()
    })
    .await;
    assert_ne!(lent(&client).await.0, value);
    assert_eq!(rotation(&site).await.serial, 2, "five leases, one rotation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_goes_on_after_a_restart() {
    let site = site("strategy = \"generate\", every = \"1s\", drain_deadline = \"1s\"");
    let first = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    until("it is rotated twice", async || rotation(&site).await.serial >= 2).await;
    let listed = json(&leasehold(&site, "operator", "rotation list -o json"));
    assert_eq!(listed[0]["schedule"], "every 1s", "{listed}");
    first.kill();
    let _second = Daemon::start(&site).await;
    let before = rotation(&site).await.serial;
    until("it goes on", async || rotation(&site).await.serial > before).await;
    assert_ne!(lent(&daemon::workload(&site).await).await.0, "one");
    let began = records(&site, "rotation.started").await;
    assert!(
        began.iter().all(|record| record.actor.as_ref().unwrap().spiffe_id.ends_with("/leasehold/scheduler"))
    );
}
