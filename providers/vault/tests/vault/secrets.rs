//! KV: what the suite does not ask.

use std::time::Duration;

use leasehold_core::{
    SecretValue,
    ports::Provider,
    provider::{Change, ChangeSecret, ErrorClass, Fetch, Stage, VersionState, WriteVersion},
    secret::VersionId,
};
use leasehold_provider_vault::{VaultConfig, VaultProvider};
use serde_json::json;

use crate::kit::{Home, dev, field, provider, put, read};

async fn write(provider: &VaultProvider, reference: &str, text: &str, token: &str) -> VersionId {
    let value = SecretValue::plain(text.to_owned());
    let request = WriteVersion { reference, value: &value, token, expected: None, stage: Stage::Current };
    provider.write(request).await.unwrap()
}

#[tokio::test]
async fn version_one_has_a_version_that_changes_with_its_value() {
    let Some(bao) = dev().await else { return };
    bao.mount_kv("old", 1).await.unwrap();
    let home = Home::new();
    let config = VaultConfig { writable: true, ..home.with_token(bao.url(), bao.token()) };
    let provider = provider(config);
    let reference = "kv1:old/team/db";
    assert_eq!(read(&provider, reference).await.unwrap_err().class, ErrorClass::Absent);
    let one = write(&provider, reference, "one", "t1").await;
    assert_eq!(write(&provider, reference, "one", "t1").await, one);
    let two = write(&provider, reference, "two", "t2").await;
    assert_ne!(one, two);
    let fetch = |version| provider.fetch(Fetch { reference, version });
    assert_eq!(field(&fetch(Some(&two)).await.unwrap().value, "value"), "two");
    assert_eq!(fetch(Some(&one)).await.unwrap_err().class, ErrorClass::Absent);
    let listed = provider.versions(reference).await.unwrap();
    assert!(listed.len() == 1 && listed[0].version == two && listed[0].current, "{listed:?}");
    bao.ask("POST", "old/team/db", Some(&json!({ "value": "one" }))).await.unwrap();
    assert_eq!(fetch(None).await.unwrap().version, one, "the same value is the same version");

    let value = SecretValue::plain("three".to_owned());
    let request =
        WriteVersion { reference, value: &value, token: "t3", expected: Some(&two), stage: Stage::Current };
    assert_eq!(provider.write(request).await.unwrap_err().class, ErrorClass::Permanent);
    let request = ChangeSecret { reference, version: Some(&two), change: Change::Destroy, expected: None };
    assert_eq!(provider.change(request).await.unwrap_err().class, ErrorClass::Permanent);
}

#[tokio::test]
async fn what_was_disabled_before_a_secret_was_deleted_stays_so_when_it_is_restored() {
    let Some(bao) = dev().await else { return };
    let home = Home::new();
    let config = VaultConfig { writable: true, ..home.with_token(bao.url(), bao.token()) };
    let provider = provider(config);
    for text in ["one", "two", "three", "four"] {
        put(&bao, "a", json!({ "value": text })).await;
    }
    let reference = "secret/data/a";
    let version = |number: u64| number.to_string().parse::<VersionId>().unwrap();
    let change = async |number: Option<u64>, change| {
        let version = number.map(version);
        provider.change(ChangeSecret { reference, version: version.as_ref(), change, expected: None }).await
    };
    change(Some(1), Change::Destroy).await.unwrap();
    change(Some(2), Change::Disable).await.unwrap();
    assert_eq!(change(Some(4), Change::Disable).await.unwrap_err().class, ErrorClass::Invalid);
    assert_eq!(change(Some(1), Change::Enable).await.unwrap_err().class, ErrorClass::Absent);
    assert_eq!(change(None, Change::Purge).await.unwrap_err().class, ErrorClass::Invalid);
    let states = async || {
        let versions = provider.versions(reference).await.unwrap();
        versions.iter().map(|facts| facts.state).collect::<Vec<_>>()
    };
    use VersionState::{Destroyed, Disabled, Enabled};
    assert_eq!(states().await, [Enabled, Enabled, Disabled, Destroyed]);
    change(None, Change::Delete).await.unwrap();
    assert_eq!(states().await, [Disabled, Disabled, Disabled, Destroyed]);
    let error = provider.fetch(Fetch { reference, version: None }).await.unwrap_err();
    assert!(error.to_string().contains("deleted (it can be undeleted)"), "{error}");
    let error = provider.fetch(Fetch { reference, version: Some(&version(1)) }).await.unwrap_err();
    assert!(error.to_string().contains("version 1 is destroyed"), "{error}");
    change(None, Change::Restore).await.unwrap();
    assert_eq!(states().await, [Enabled, Enabled, Disabled, Destroyed]);
    // A deleted secret is written on, from the version that it had.
    change(None, Change::Delete).await.unwrap();
    assert_eq!(write(&provider, reference, "five", "t5").await, version(5));
}

#[tokio::test]
async fn a_secret_is_read_wrapped_as_a_whole_and_digit_for_digit() {
    let Some(bao) = dev().await else { return };
    put(&bao, "a", json!({ "port": 5432, "user": "app" })).await;
    let home = Home::new();
    let config =
        VaultConfig { wrap_ttl: Some(Duration::from_secs(30)), ..home.with_token(bao.url(), bao.token()) };
    let provider = provider(config);
    let fetched = provider.fetch(Fetch { reference: "secret/data/a", version: None }).await.unwrap();
    assert_eq!((field(&fetched.value, "port"), field(&fetched.value, "user")), ("5432".into(), "app".into()));
    assert!(fetched.created_at.is_some());
    let whole = provider.fetch(Fetch { reference: "secret/data/a?format=raw", version: None }).await.unwrap();
    let whole: serde_json::Value = serde_json::from_str(&field(&whole.value, "value")).unwrap();
    assert_eq!(whole, json!({ "port": 5432, "user": "app" }));
}

#[tokio::test]
async fn an_engine_that_wants_check_and_set_gets_it() {
    let Some(bao) = dev().await else { return };
    bao.ask("POST", "secret/config", Some(&json!({ "cas_required": true }))).await.unwrap();
    let home = Home::new();
    let config = VaultConfig { writable: true, ..home.with_token(bao.url(), bao.token()) };
    let provider = provider(config);
    assert_eq!(write(&provider, "secret/data/a", "one", "t1").await.as_str(), "1");
    assert_eq!(write(&provider, "secret/data/a", "two", "t2").await.as_str(), "2");
    // After a restart the token is forgotten, and the value is not.
    let config = VaultConfig { writable: true, ..home.with_token(bao.url(), bao.token()) };
    let restarted = crate::kit::provider(config);
    assert_eq!(write(&restarted, "secret/data/a", "two", "t2").await.as_str(), "2");
}
