//! What is written, and what is done to what exists.

use std::time::Duration;

use leasehold_core::{
    ports::Provider as _,
    provider::{Change, ChangeSecret, ErrorClass, ProviderError},
};
use leasehold_provider_azure::AzureProvider;
use serde_json::Value;

use crate::kit::{Site, fetch, shown, write};

async fn change(
    provider: &AzureProvider,
    reference: &str,
    version: Option<&str>,
    change: Change,
) -> Result<(), ProviderError> {
    let version = version.map(|id| id.parse().unwrap());
    provider.change(ChangeSecret { reference, version: version.as_ref(), change, expected: None }).await
}

#[tokio::test]
async fn a_value_is_sent_to_nobody_who_was_not_asked_who_he_is() {
    let site = Site::start().await;
    let provider = site.provider(|_| {});
    let version = write(&provider, "db", "canary-written", "canary-token", None).await.unwrap();
    assert_eq!(fetch(&provider, "db").await.unwrap().version, version);
    let requests = site.server.requests();
    let puts: Vec<_> = requests.iter().filter(|request| request.method() == "PUT").collect();
    assert_eq!(puts.len(), 1, "the listing before it was challenged, and not the write");
    for request in &requests {
        let holds = String::from_utf8_lossy(&request.body).contains("canary-written");
        assert_eq!(holds, request.method() == "PUT" && request.header("authorization").is_some());
    }
    let sent = puts.first().unwrap().json();
    assert_eq!(sent.get("contentType"), Some(&Value::from("text/plain")));
    let tag = sent.pointer("/tags/leasehold-token").and_then(Value::as_str).unwrap();
    assert!(tag.len() == 64 && !tag.contains("canary"), "a digest of the token: {tag}");
}

#[tokio::test]
async fn a_name_in_its_grave_is_not_written() {
    let site = Site::start().await;
    let provider = site.provider(|_| {});
    site.azure.put("db", "old", None);
    site.azure.set_deleted("db", true);
    let error = write(&provider, "db", "new", "t", None).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid, "{error}");
    assert!(error.to_string().contains("restore it, or purge it"), "{error}");
    change(&provider, "db", None, Change::Restore).await.unwrap();
    write(&provider, "db", "new", "t", None).await.unwrap();
    assert_eq!(shown(&fetch(&provider, "db").await.unwrap()), "new");
}

#[tokio::test]
async fn a_token_of_a_disabled_version_is_not_taken_for_another_value() {
    let site = Site::start().await;
    let provider = site.provider(|_| {});
    let version = write(&provider, "db", "first", "t", None).await.unwrap();
    site.azure.mark("db", version.as_str(), false, None, None);
    let error = write(&provider, "db", "first", "t", None).await.unwrap_err();
    assert!(error.class == ErrorClass::Invalid && error.to_string().contains("is disabled"), "{error}");
    assert_eq!(provider.versions("db").await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_not_writable_is_not_asked() {
    let site = Site::start().await;
    let provider = site.provider(|config| config.writable = false);
    assert_eq!(write(&provider, "db", "x", "t", None).await.unwrap_err().class, ErrorClass::Permanent);
    assert_eq!(change(&provider, "db", None, Change::Delete).await.unwrap_err().class, ErrorClass::Permanent);
    let provider = site.provider(|_| {});
    let pinned = format!("db@{}", "0".repeat(32));
    assert_eq!(write(&provider, &pinned, "x", "t", None).await.unwrap_err().class, ErrorClass::Invalid);
    assert_eq!(
        change(&provider, &pinned, None, Change::Delete).await.unwrap_err().class,
        ErrorClass::Invalid
    );
    assert_eq!(change(&provider, "db", None, Change::Disable).await.unwrap_err().class, ErrorClass::Invalid);
    assert_eq!(site.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn the_current_version_is_not_disabled() {
    let site = Site::start().await;
    let provider = site.provider(|_| {});
    let old = site.azure.put("db", "old", None);
    let new = site.azure.put("db", "new", None);
    let error = change(&provider, "db", Some(&new), Change::Disable).await.unwrap_err();
    assert!(
        error.class == ErrorClass::Invalid && error.to_string().contains("write a new one first"),
        "{error}"
    );
    change(&provider, "db", Some(&old), Change::Disable).await.unwrap();
    assert_eq!(shown(&fetch(&provider, "db").await.unwrap()), "new");
    // Somebody else may have; then it can be enabled, and disabling it again changes nothing.
    site.azure.mark("db", &new, false, None, None);
    change(&provider, "db", Some(&new), Change::Disable).await.unwrap();
    change(&provider, "db", Some(&new), Change::Enable).await.unwrap();
    assert_eq!(shown(&fetch(&provider, "db").await.unwrap()), "new");
}

#[tokio::test]
async fn what_takes_its_time_is_waited_for() {
    let site = Site::start().await;
    let provider = site.provider(|_| {});
    site.azure.put("db", "x", None);
    site.azure.lag(3);
    change(&provider, "db", None, Change::Delete).await.unwrap();
    assert!(fetch(&provider, "db").await.unwrap_err().to_string().contains("can be restored"));
    change(&provider, "db", None, Change::Restore).await.unwrap();
    assert_eq!(shown(&fetch(&provider, "db").await.unwrap()), "x");
    change(&provider, "db", None, Change::Delete).await.unwrap();
    change(&provider, "db", None, Change::Purge).await.unwrap();
    assert!(fetch(&provider, "db").await.unwrap_err().to_string().contains("no such secret"));

    site.azure.put("slow", "x", None);
    site.azure.lag(1_000_000);
    let hasty = site.provider(|config| config.timeout = Duration::from_secs(2));
    fetch(&hasty, "slow").await.unwrap();
    let error = change(&hasty, "slow", None, Change::Delete).await.unwrap_err();
    assert!(
        error.class == ErrorClass::Transient && error.to_string().contains("still being deleted"),
        "{error}"
    );
}

#[tokio::test]
async fn only_what_is_deleted_is_purged() {
    let site = Site::start().await;
    let provider = site.provider(|_| {});
    site.azure.put("db", "x", None);
    let error = change(&provider, "db", None, Change::Purge).await.unwrap_err();
    assert!(error.class == ErrorClass::Invalid && error.to_string().contains("delete it first"), "{error}");
    for change_of in [Change::Delete, Change::Restore] {
        let error = change(&provider, "nobody", None, change_of).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Absent, "{error}");
    }
}
