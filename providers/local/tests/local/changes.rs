//! What is done to versions and secrets: durable, one step each, and honest about what is left.

use std::{fs, time::Duration};

use leasehold_core::{
    ports::Provider,
    provider::{Change, Demand, ErrorClass, Stage, Verdict, VersionState},
    secret::VersionId,
};

use crate::kit::Local;

#[tokio::test]
async fn a_promoted_version_stays_current_until_something_is_written() {
    let local = Local::new();
    let (one, two) = (local.write("a", "one").await, local.write("a", "two").await);
    local.change("a", Some(&one), Change::Promote).await.unwrap();
    let local = local.reopened();
    assert_eq!(local.read("a", None).await.unwrap(), "one");
    assert_eq!(local.current("a").await, Some(one.clone()));
    let three = local.write("a", "three").await;
    assert_eq!(local.current("a").await, Some(three.clone()));
    assert!(three.as_str().starts_with("v3-"), "{three}");
    local.change("a", Some(&two), Change::Promote).await.unwrap();
    assert_eq!(local.read("a", None).await.unwrap(), "two");
    // What was expected to be current is what is current, not what is newest.
    let stale = local.write_over("a", "four", &three).await.unwrap_err();
    assert_eq!(stale.class, ErrorClass::Invalid);
    local.write_over("a", "four", &two).await.unwrap();
    assert_eq!(local.read("a", None).await.unwrap(), "four");
}

#[tokio::test]
async fn a_pending_version_waits_through_a_restart() {
    let local = Local::new();
    local.write("a", "one").await;
    let pending = local.stage("a", "two", "t-pending", Stage::Pending).await.unwrap();
    let local = local.reopened();
    assert_eq!(local.read("a", None).await.unwrap(), "one");
    assert_eq!(local.read("a", Some(&pending)).await.unwrap(), "two");
    let listed = local.versions("a").await;
    assert_eq!(listed[0].version, pending);
    assert_eq!((listed[0].current, &*listed[0].labels), (false, ["pending".into()].as_slice()));
    // The same write with another stage is another write.
    let other = local.stage("a", "two", "t-pending", Stage::Current).await.unwrap_err();
    assert_eq!(other.class, ErrorClass::Invalid);
    let local = local.reopened();
    local.change("a", Some(&pending), Change::Promote).await.unwrap();
    assert_eq!(local.read("a", None).await.unwrap(), "two");
    local.write("a", "three").await;
    let listed = local.versions("a").await;
    assert!(listed.iter().all(|facts| facts.labels.is_empty()), "it was current since: {listed:?}");
}

#[tokio::test]
async fn a_secret_that_has_only_a_pending_version_has_no_current_one() {
    let local = Local::new();
    let pending = local.stage("a", "one", "t", Stage::Pending).await.unwrap();
    assert_eq!(local.read("a", None).await.unwrap_err().class, ErrorClass::Absent);
    assert_eq!(local.current("a").await, None);
    local.change("a", Some(&pending), Change::Promote).await.unwrap();
    assert_eq!(local.read("a", None).await.unwrap(), "one");
}

#[tokio::test]
async fn what_is_disabled_is_told_apart_and_the_current_version_is_kept() {
    let local = Local::new();
    let (one, two) = (local.write("a", "one").await, local.write("a", "two").await);
    local.change("a", Some(&one), Change::Disable).await.unwrap();
    let local = local.reopened();
    let disabled = local.read("a", Some(&one)).await.unwrap_err();
    assert_eq!((disabled.class, disabled.to_string().contains("is disabled")), (ErrorClass::Absent, true));
    let refused = local.change("a", Some(&one), Change::Promote).await.unwrap_err();
    assert_eq!((refused.class, refused.to_string().contains("enable it first")), (ErrorClass::Invalid, true));
    for change in [Change::Disable, Change::Destroy] {
        let refused = local.change("a", Some(&two), change).await.unwrap_err();
        assert_eq!((refused.class, refused.to_string().contains("is current")), (ErrorClass::Invalid, true));
    }
    assert_eq!(local.state("a", &one).await, Some(VersionState::Disabled));
    local.change("a", Some(&one), Change::Enable).await.unwrap();
    assert_eq!(local.read("a", Some(&one)).await.unwrap(), "one");
}

#[tokio::test]
async fn a_destroyed_value_is_gone_from_the_disk_and_its_number_is_not_used_again() {
    let local = Local::new();
    let (one, two) = (local.write("a", "one").await, local.write("a", "two").await);
    local.change("a", Some(&one), Change::Promote).await.unwrap();
    local.change("a", Some(&two), Change::Destroy).await.unwrap();
    assert!(!local.file("a", two.as_str()).exists());
    let local = local.reopened();
    assert_eq!(local.state("a", &two).await, Some(VersionState::Destroyed));
    let gone = local.read("a", Some(&two)).await.unwrap_err();
    assert_eq!((gone.class, gone.to_string().contains("was destroyed")), (ErrorClass::Absent, true));
    for change in [Change::Promote, Change::Enable, Change::Disable] {
        let refused = local.change("a", Some(&two), change).await.unwrap_err();
        assert_eq!(refused.class, ErrorClass::Absent, "{change}");
    }
    let three = local.write("a", "three").await;
    assert!(three.as_str().starts_with("v3-"), "{three}");
}

#[tokio::test]
async fn a_crash_in_the_middle_of_destroying_shows_nothing() {
    let local = Local::new();
    let (one, _) = (local.write("a", "one").await, local.write("a", "two").await);
    let file = local.file("a", one.as_str());
    let kept = fs::read(&file).unwrap();
    local.change("a", Some(&one), Change::Destroy).await.unwrap();
    // As if the process had died after it was written down and before the file was removed.
    crate::kit::put_private(&file, &kept);
    let local = local.reopened();
    assert_eq!(local.read("a", Some(&one)).await.unwrap_err().class, ErrorClass::Absent);
    assert_eq!(local.state("a", &one).await, Some(VersionState::Destroyed));
    local.change("a", Some(&one), Change::Destroy).await.unwrap();
    assert!(!file.exists());
}

#[tokio::test]
async fn a_deleted_secret_can_be_restored_as_it_was() {
    let local = Local::new();
    let (one, two) = (local.write("a/b", "one").await, local.write("a/b", "two").await);
    local.change("a/b", Some(&one), Change::Disable).await.unwrap();
    local.change("a/b", None, Change::Delete).await.unwrap();
    let local = local.reopened();
    for version in [None, Some(&two)] {
        let deleted = local.read("a/b", version).await.unwrap_err();
        assert_eq!((deleted.class, deleted.to_string().contains("deleted")), (ErrorClass::Absent, true));
    }
    assert_eq!(local.state("a/b", &two).await, Some(VersionState::Deleted));
    let refused = local.stage("a/b", "three", "t", Stage::Current).await.unwrap_err();
    assert_eq!((refused.class, refused.to_string().contains("restore")), (ErrorClass::Invalid, true));
    local.change("a/b", None, Change::Restore).await.unwrap();
    assert_eq!(local.read("a/b", None).await.unwrap(), "two");
    assert_eq!(local.state("a/b", &one).await, Some(VersionState::Disabled));
}

#[tokio::test]
async fn only_what_is_deleted_is_purged_and_then_nothing_is_left() {
    let local = Local::new();
    let one = local.write("a/b", "one").await;
    let refused = local.change("a/b", None, Change::Purge).await.unwrap_err();
    assert_eq!((refused.class, refused.to_string().contains("delete it first")), (ErrorClass::Invalid, true));
    local.change("a/b", None, Change::Delete).await.unwrap();
    local.change("a/b", None, Change::Purge).await.unwrap();
    assert!(!local.file("a/b", one.as_str()).exists());
    assert!(!local.file("a/b", "standing").exists());
    for change in [Change::Delete, Change::Restore] {
        assert_eq!(local.change("a/b", None, change).await.unwrap_err().class, ErrorClass::Absent);
    }
    let again = local.write("a/b", "new").await;
    assert_ne!(again, one);
    assert_eq!(local.read("a/b", None).await.unwrap(), "new");
}

#[tokio::test]
async fn a_crash_in_the_middle_of_purging_brings_nothing_back() {
    let local = Local::new();
    let one = local.write("a", "one").await;
    local.write("a", "two").await;
    local.change("a", None, Change::Delete).await.unwrap();
    fs::remove_file(local.file("a", one.as_str())).unwrap();
    let local = local.reopened();
    assert_eq!(local.read("a", None).await.unwrap_err().class, ErrorClass::Absent);
    local.change("a", None, Change::Purge).await.unwrap();
    assert!(!local.file("a", "standing").exists());
}

#[tokio::test]
async fn a_deleted_secret_is_purged_when_its_time_is_over() {
    let local = Local::with(|config| config.deleted_retention = Duration::from_secs(100));
    for name in ["early", "late", "kept", "restored"] {
        local.write(name, "value").await;
    }
    local.change("early", None, Change::Delete).await.unwrap();
    local.change("restored", None, Change::Delete).await.unwrap();
    local.change("restored", None, Change::Restore).await.unwrap();
    local.pass(60);
    local.change("late", None, Change::Delete).await.unwrap();
    let local = local.reopened();
    local.pass(50);
    assert_eq!(local.read("kept", None).await.unwrap(), "value");
    assert!(!local.folder("early").exists());
    assert!(local.folder("late").exists());
    assert_eq!(local.read("restored", None).await.unwrap(), "value");
    local.pass(60);
    let absent = local.change("late", None, Change::Restore).await.unwrap_err();
    assert_eq!(absent.class, ErrorClass::Absent);
    assert!(!local.folder("late").exists());
}

#[tokio::test]
async fn the_history_never_takes_what_is_current() {
    let local = Local::with(|config| config.history = 2);
    let first = local.write("a", "first").await;
    local.stage("a", "p1", "p1", Stage::Pending).await.unwrap();
    local.stage("a", "p2", "p2", Stage::Pending).await.unwrap();
    local.stage("a", "p3", "p3", Stage::Pending).await.unwrap();
    assert_eq!(local.read("a", None).await.unwrap(), "first");
    assert_eq!(local.current("a").await, Some(first));
}

#[tokio::test]
async fn a_standing_that_cannot_be_trusted_is_refused_and_named() {
    let local = Local::new();
    for name in ["a", "b"] {
        let one = local.write(name, "one").await;
        local.write(name, "two").await;
        local.change(name, Some(&one), Change::Disable).await.unwrap();
    }
    // Of another secret: what is disabled there must not be so here.
    fs::copy(local.file("b", "standing"), local.file("a", "standing")).unwrap();
    let error = local.read("a", None).await.unwrap_err();
    assert_eq!((error.class, error.to_string().contains("standing")), (ErrorClass::Permanent, true));
    assert_eq!(local.read("b", None).await.unwrap(), "two");
}

#[tokio::test]
async fn what_is_not_there_cannot_be_changed() {
    let local = Local::new();
    local.write("a", "one").await;
    let stranger: VersionId = "v1-aaaaaaaa".parse().unwrap();
    for change in [Change::Promote, Change::Disable, Change::Enable, Change::Destroy] {
        let error = local.change("a", Some(&stranger), change).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Absent, "{change}");
    }
    for change in [Change::Delete, Change::Restore] {
        assert_eq!(local.change("b", None, change).await.unwrap_err().class, ErrorClass::Absent, "{change}");
    }
}

#[tokio::test]
async fn a_check_tells_what_is_there_what_is_not_yet_and_what_is_wrong() {
    let local = Local::new();
    local.write("good", "canary-0c0c").await;
    local.write("deleted", "one").await;
    local.change("deleted", None, Change::Delete).await.unwrap();
    let version = local.write("damaged", "one").await;
    crate::kit::put_private(&local.file("damaged", version.as_str()), b"damaged");
    let read = |reference: &str| Demand::Read { reference: reference.into() };
    let demands = [
        read("good"),
        read("never"),
        read("deleted"),
        read("damaged"),
        read("../good"),
        read("team/{rest}"),
        Demand::Write { reference: "good".into() },
        Demand::Issue { role: "any".into() },
    ];
    let findings = local.provider.check(&demands).await;
    let verdicts: Vec<_> = findings
        .iter()
        .map(|finding| match &finding.verdict {
            Verdict::Passed(_) => "passed",
            Verdict::Failed { .. } => "failed",
            Verdict::NotTried(_) => "not tried",
        })
        .collect();
    let expected =
        ["passed", "passed", "not tried", "failed", "failed", "failed", "passed", "passed", "failed"];
    assert_eq!(verdicts, expected, "{findings:?}");
    assert!(!format!("{findings:?}").contains("canary"), "{findings:?}");
}
