//! Reading, writing and changing, where drongo has neither checksums nor etags nor aliases.

use std::sync::atomic::Ordering;

use leasehold_core::{
    SecretValue,
    ports::Provider,
    provider::{Change, ChangeSecret, ErrorClass, Fetch, ProviderError, Stage, VersionState, WriteVersion},
};
use leasehold_provider_conformance::scripted::{
    Answer, Reply,
    gcp::{error_info, refusal, retry_info},
};
use leasehold_provider_gcp::GcpProvider;
use serde_json::json;

use crate::setup::{SECRET, broken, cloud, fetch, only, provider};

async fn write(provider: &GcpProvider, text: &str, expected: Option<&str>) -> Result<String, ProviderError> {
    let (value, expected) = (SecretValue::plain(text.to_owned()), expected.map(|id| id.parse().unwrap()));
    let request = WriteVersion {
        reference: "db",
        value: &value,
        token: text,
        expected: expected.as_ref(),
        stage: Stage::Current,
    };
    provider.write(request).await.map(|version| version.to_string())
}

async fn change(
    provider: &GcpProvider,
    reference: &str,
    version: &str,
    change: Change,
) -> Result<(), ProviderError> {
    let version = version.parse().unwrap();
    provider.change(ChangeSecret { reference, version: Some(&version), change, expected: None }).await
}

#[tokio::test]
async fn numbers_aliases_and_places_lead_to_their_versions() {
    let (cloud, server) = cloud().await;
    let regional = "projects/my-project/locations/europe-west3/secrets/db";
    for (secret, value) in [
        (SECRET, "one"),
        (SECRET, "two"),
        (regional, "there"),
        ("projects/other-project/secrets/db", "other"),
    ] {
        cloud.put(secret, value.as_bytes());
    }
    cloud.alias(SECRET, "blue", 1);
    let (provider, _home) = provider(&server.url(), |_| {});
    for (reference, value, version) in [
        ("db", "two", "2"),
        ("db@latest", "two", "2"),
        ("db@1", "one", "1"),
        ("db@blue", "one", "1"),
        (regional, "there", "1"),
        ("projects/other-project/secrets/db", "other", "1"),
    ] {
        let fetched = fetch(&provider, reference).await.unwrap();
        assert_eq!((only(&fetched).as_str(), fetched.version.as_str()), (value, version), "{reference}");
    }
    let one = "1".parse().unwrap();
    let old = provider.fetch(Fetch { reference: "db", version: Some(&one) }).await.unwrap();
    assert_eq!(only(&old), "one");
    assert_eq!(fetch(&provider, "db@green").await.unwrap_err().class, ErrorClass::Absent);
}

#[tokio::test]
async fn a_damaged_payload_is_never_lent_and_one_without_a_checksum_neither() {
    let (cloud, server) = cloud().await;
    cloud.put(SECRET, b"canary-value");
    cloud.damage(true);
    let (whole, _home) = provider(&server.url(), |_| {});
    let error = fetch(&whole, "db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert!(error.to_string().contains("does not match its CRC32C checksum"), "{error}");
    assert!(!format!("{error:?}").contains("canary"));
    assert_eq!(server.calls().load(Ordering::SeqCst), 3, "asked again, as it may have been the way");
    cloud.damage(false);
    assert_eq!(only(&fetch(&whole, "db").await.unwrap()), "canary-value");

    let bare = json!({ "name": format!("{SECRET}/versions/1"), "payload": { "data": "dHdv" } });
    let (_, server, _) = broken(move |_, _, _| Some(Reply::Answer(Answer::of(200, &bare)))).await;
    let (strict, _home) = provider(&server.url(), |_| {});
    let error = fetch(&strict, "db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent, "{error}");
    let (lenient, _home) = provider(&server.url(), |config| config.require_checksum = false);
    assert_eq!(only(&fetch(&lenient, "db").await.unwrap()), "two");
}

#[tokio::test]
async fn versions_are_listed_over_pages_with_their_aliases_and_states() {
    let (cloud, server) = cloud().await;
    for value in ["one", "two", "three", "four", "five"] {
        cloud.put(SECRET, value.as_bytes());
    }
    cloud.alias(SECRET, "blue", 2);
    cloud.enable(SECRET, 4, false);
    cloud.page(2);
    let (provider, _home) = provider(&server.url(), |_| {});
    let listed = provider.versions("db").await.unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|facts| (facts.version.as_str(), facts.state, facts.current, facts.labels.join(",")))
        .collect();
    use VersionState::{Disabled, Enabled};
    assert_eq!(
        shown,
        [
            ("5", Enabled, true, String::new()),
            ("4", Disabled, false, String::new()),
            ("3", Enabled, false, String::new()),
            ("2", Enabled, false, "blue".to_owned()),
            ("1", Enabled, false, String::new()),
        ]
    );
    assert_eq!(listed.first().unwrap().created_at.unwrap().to_string(), "2026-01-02T03:04:05.678901Z");
    let by_alias = provider.versions("db@blue").await.unwrap();
    let current: Vec<_> = by_alias.iter().filter(|facts| facts.current).collect();
    assert_eq!(current.first().unwrap().version.as_str(), "2");

    cloud.permit("secretmanager.secrets.get", false);
    assert_eq!(provider.versions("db").await.unwrap().len(), 5, "without the labels");
    assert_eq!(provider.versions("db@blue").await.unwrap_err().class, ErrorClass::Denied);
}

#[tokio::test]
async fn a_version_is_added_with_its_checksum_and_onto_the_expected_one() {
    let (cloud, server) = cloud().await;
    cloud.put(SECRET, b"one");
    let (provider, _home) = provider(&server.url(), |_| {});
    assert_eq!(write(&provider, "two", Some("1")).await.unwrap(), "2");
    let sent = server.requests().into_iter().find(|request| request.path().ends_with(":addVersion")).unwrap();
    let sum = leasehold_provider_conformance::scripted::gcp::crc32c(b"two").to_string();
    assert_eq!(sent.json()["payload"], json!({ "data": "dHdv", "dataCrc32c": sum }));
    let error = write(&provider, "three", Some("1")).await.unwrap_err();
    assert_eq!(
        (error.class, error.to_string().as_str()),
        (ErrorClass::Invalid, "`db` is at version 2, not at 1")
    );
    // After a restart the token is forgotten, and the value is known.
    let (again, _home) = crate::setup::provider(&server.url(), |_| {});
    assert_eq!(write(&again, "two", Some("1")).await.unwrap(), "2");
    assert_eq!(cloud.count(SECRET), 2);
    let value = SecretValue::plain("x".to_owned());
    let pinned = provider.write(WriteVersion {
        reference: "db@blue",
        value: &value,
        token: "t",
        expected: None,
        stage: Stage::Current,
    });
    assert_eq!(pinned.await.unwrap_err().class, ErrorClass::Invalid);
}

#[tokio::test]
async fn a_writer_elsewhere_at_the_same_moment_is_noticed() {
    let (cloud, server, _) = broken(|cloud, request, _| {
        if request.path().ends_with(":addVersion") {
            cloud.put(SECRET, b"somebody else's");
        }
        None
    })
    .await;
    cloud.put(SECRET, b"one");
    let (provider, _home) = provider(&server.url(), |_| {});
    let error = write(&provider, "mine", Some("1")).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid);
    assert!(error.to_string().contains("this value is version 3 now"), "{error}");
}

#[tokio::test]
async fn a_version_is_changed_only_as_it_was_seen() {
    let (cloud, server, healed) = broken({
        let mut once = true;
        move |cloud, request, _| {
            if request.path().ends_with(":disable") && std::mem::take(&mut once) {
                // Somebody enables it just before, which gives it another etag.
                cloud.enable(SECRET, 1, true);
            }
            None
        }
    })
    .await;
    cloud.put(SECRET, b"one");
    cloud.put(SECRET, b"two");
    let (provider, _home) = provider(&server.url(), |_| {});
    change(&provider, "db", "1", Change::Disable).await.unwrap();
    let disables = server.requests().iter().filter(|request| request.path().ends_with(":disable")).count();
    assert_eq!(disables, 2, "refused once for its etag, and done with the new one");
    healed.store(true, Ordering::SeqCst);
    let error = fetch(&provider, "db@1").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Absent);
    assert!(error.to_string().ends_with("the version is disabled"), "{error}");

    change(&provider, "db", "1", Change::Enable).await.unwrap();
    for wanted in [Change::Disable, Change::Destroy] {
        let error = change(&provider, "db", "2", wanted).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Invalid);
        assert!(error.to_string().contains("add a new version first"), "{error}");
    }
    change(&provider, "db", "1", Change::Destroy).await.unwrap();
    change(&provider, "db", "1", Change::Destroy).await.unwrap();
    assert!(fetch(&provider, "db@1").await.unwrap_err().to_string().ends_with("the version is destroyed"));
    assert_eq!(change(&provider, "db", "1", Change::Enable).await.unwrap_err().class, ErrorClass::Absent);
    assert_eq!(change(&provider, "db", "9", Change::Disable).await.unwrap_err().class, ErrorClass::Absent);
    assert_eq!(change(&provider, "db", "1", Change::Promote).await.unwrap_err().class, ErrorClass::Permanent);
}

#[tokio::test]
async fn what_an_alias_names_is_spared_and_what_is_destroyed_late_is_done() {
    let (cloud, server) = cloud().await;
    for value in ["one", "two", "three"] {
        cloud.put(SECRET, value.as_bytes());
    }
    cloud.alias(SECRET, "blue", 2);
    cloud.destroy_late(SECRET);
    let (provider, _home) = provider(&server.url(), |_| {});
    assert_eq!(
        change(&provider, "db@blue", "2", Change::Destroy).await.unwrap_err().class,
        ErrorClass::Invalid
    );
    for _ in 0..2 {
        change(&provider, "db", "1", Change::Destroy).await.unwrap();
    }
    let destroys = server.requests().iter().filter(|request| request.path().ends_with(":destroy")).count();
    assert_eq!(destroys, 1);
    let facts = provider.versions("db").await.unwrap().pop().unwrap();
    assert_eq!(
        (facts.state, facts.labels.join(",").as_str()),
        (VersionState::Disabled, "destroyed at 2026-12-01T00:00:00Z")
    );
}

#[tokio::test]
async fn answers_are_asked_for_again_only_where_that_may_help() {
    use ErrorClass::*;
    for (code, details, class, calls) in [
        ("PERMISSION_DENIED", vec![error_info("IAM_PERMISSION_DENIED")], Denied, 1),
        ("PERMISSION_DENIED", vec![error_info("SERVICE_DISABLED")], Permanent, 1),
        ("PERMISSION_DENIED", vec![error_info("CONSUMER_INVALID")], Permanent, 1),
        ("UNAUTHENTICATED", vec![], Denied, 2),
        ("NOT_FOUND", vec![], Absent, 1),
        ("INVALID_ARGUMENT", vec![], Invalid, 1),
        ("RESOURCE_EXHAUSTED", vec![], Throttled, 3),
        ("RESOURCE_EXHAUSTED", vec![retry_info(9)], Throttled, 1),
        ("UNAVAILABLE", vec![], Transient, 3),
        ("INTERNAL", vec![], Transient, 3),
    ] {
        let answer = refusal(code, "canary", &details);
        let (_, server, _) = broken(move |_, _, _| Some(Reply::Answer(answer.clone()))).await;
        let (provider, _home) = provider(&server.url(), |_| {});
        let error = fetch(&provider, "db").await.unwrap_err();
        assert_eq!((error.class, server.calls().load(Ordering::SeqCst)), (class, calls), "{code}: {error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
    let header = Answer::new(429, "text/plain", "").header("retry-after", "7");
    let (_, server, _) = broken(move |_, _, _| Some(Reply::Answer(header.clone()))).await;
    let (provider, _home) = provider(&server.url(), |_| {});
    let error = fetch(&provider, "db").await.unwrap_err();
    assert_eq!(error.retry_after, Some(std::time::Duration::from_secs(7)));
}

#[tokio::test]
async fn adding_a_version_is_never_repeated_blindly() {
    let (cloud, server, _) = broken(|_, request, _| {
        request.path().ends_with(":addVersion").then(|| Reply::Answer(refusal("UNAVAILABLE", "", &[])))
    })
    .await;
    cloud.put(SECRET, b"one");
    let (provider, _home) = provider(&server.url(), |_| {});
    assert_eq!(write(&provider, "two", None).await.unwrap_err().class, ErrorClass::Transient);
    let adds = server.requests().iter().filter(|request| request.path().ends_with(":addVersion")).count();
    assert_eq!(adds, 1);
}

#[tokio::test]
async fn a_provider_that_is_not_writable_writes_nothing() {
    let (cloud, server) = cloud().await;
    cloud.put(SECRET, b"one");
    let (provider, _home) = provider(&server.url(), |config| config.writable = false);
    assert!(!provider.capabilities().write && provider.capabilities().changes.is_empty());
    assert_eq!(write(&provider, "two", None).await.unwrap_err().class, ErrorClass::Permanent);
    assert_eq!(change(&provider, "db", "1", Change::Disable).await.unwrap_err().class, ErrorClass::Permanent);
    assert_eq!(server.calls().load(Ordering::SeqCst), 0);
}
