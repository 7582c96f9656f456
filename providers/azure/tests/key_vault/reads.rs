//! What is read, and what a vault would hand out and the broker does not.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use leasehold_core::{
    ports::{Clock as _, Provider as _},
    provider::{ErrorClass, Fetch, VersionState},
};
use leasehold_provider_conformance::scripted::{Answer, Reply};

use crate::kit::{Site, fetch, shown};

#[tokio::test]
async fn a_version_out_of_its_time_is_absent_and_said_to_be() {
    let site = Site::start().await;
    let provider = site.provider(|_| {});
    let version = site.azure.put("db", "hunter2", None);
    let now = site.clock.now().as_second();
    for (not_before, expires, words) in [
        (None, Some(now - 60), Some("expired at")),
        (Some(now + 3600), None, Some("is not valid before")),
        (Some(now - 60), Some(now + 3600), None),
    ] {
        site.azure.mark("db", &version, true, not_before, expires);
        let label = provider.versions("db").await.unwrap().first().unwrap().labels.clone();
        match (fetch(&provider, "db").await, words) {
            (Ok(fetched), None) => assert_eq!((shown(&fetched), label), ("hunter2".to_owned(), vec![])),
            (Err(error), Some(words)) => {
                assert_eq!(error.class, ErrorClass::Absent, "{error}");
                assert!(
                    error.to_string().contains(words) && label.first().unwrap().contains(words),
                    "{error}"
                );
            }
            (read, words) => panic!("{read:?}, expected {words:?}"),
        }
    }
    // The version that is pinned is judged too, and so is time that goes by.
    site.clock.forward(7_200);
    let error = fetch(&provider, &format!("db@{version}")).await.unwrap_err();
    assert!(error.to_string().contains("expired at"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_read_is_told_apart_in_words() {
    let site = Site::start().await;
    let provider = site.provider(|_| {});
    let version = site.azure.put("db", "hunter2", None);
    let read = async || fetch(&provider, "db").await.unwrap_err();
    site.azure.mark("db", &version, false, None, None);
    let disabled = read().await;
    site.azure.set_deleted("db", true);
    let deleted = read().await;
    site.azure.set_deleted("db", false);
    site.azure.forbid(&["get"]);
    let denied = read().await;
    site.azure.close(true);
    let kept_out = read().await;
    let absent = fetch(&Site::start().await.provider(|_| {}), "db").await.unwrap_err();
    for (error, class, words) in [
        (disabled, ErrorClass::Absent, "it is disabled"),
        (deleted, ErrorClass::Absent, "is deleted, and can be restored"),
        (absent, ErrorClass::Absent, "there is no such secret or version"),
        (denied, ErrorClass::Denied, "(ForbiddenByRbac): the broker's identity may not do this"),
        (kept_out, ErrorClass::Denied, "firewall"),
    ] {
        assert_eq!(error.class, class, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn a_pinned_reference_stays_where_it_is() {
    let site = Site::start().await;
    let provider = site.provider(|_| {});
    let old = site.azure.put("db", r#"{"user":"a"}"#, Some("application/json"));
    let new = site.azure.put("db", "new", None);
    let pinned = format!("db@{old}?format=raw");
    let fetched = fetch(&provider, &pinned).await.unwrap();
    assert_eq!((shown(&fetched), fetched.version.as_str()), (r#"{"user":"a"}"#.to_owned(), &*old));
    assert_eq!(&*fetched.value.content_type, "application/json");
    let other = new.parse().unwrap();
    let fetched = provider.fetch(Fetch { reference: &pinned, version: Some(&other) }).await.unwrap();
    assert_eq!(shown(&fetched), "new");
    let current: Vec<_> =
        provider.versions(&pinned).await.unwrap().into_iter().filter(|v| v.current).collect();
    assert_eq!(current.iter().map(|facts| facts.version.as_str()).collect::<Vec<_>>(), [&*old]);
}

#[tokio::test]
async fn every_page_of_versions_is_read_and_the_newest_is_first() {
    let site = Site::start().await;
    let provider = site.provider(|_| {});
    let mut put: Vec<_> = (0..10).map(|n| site.azure.put("db", &n.to_string(), None)).collect();
    put.reverse();
    site.azure.mark("db", put.last().unwrap(), false, None, None);
    let versions = provider.versions("db").await.unwrap();
    assert_eq!(versions.iter().map(|facts| facts.version.as_str()).collect::<Vec<_>>(), put);
    assert_eq!(versions.iter().position(|facts| facts.current), Some(0));
    assert_eq!(versions.last().unwrap().state, VersionState::Disabled);
    let pages = site.asked().into_iter().filter(|asked| asked.ends_with("/versions"));
    assert!(pages.count() >= 4, "a page has three versions");
}

#[tokio::test]
async fn of_versions_of_one_second_the_vault_says_which_is_current() {
    let site = Site::start().await;
    let provider = site.provider(|_| {});
    site.azure.stop_time();
    let put: Vec<_> = (0..5).map(|n| site.azure.put("db", &n.to_string(), None)).collect();
    let versions = provider.versions("db").await.unwrap();
    let current: Vec<_> = versions.iter().filter(|facts| facts.current).collect();
    assert_eq!(current.first().map(|facts| facts.version.as_str()), put.last().map(String::as_str));
    assert_eq!(current.len(), 1);
}

#[tokio::test]
async fn a_link_to_another_place_is_not_followed() {
    for link in [
        "https://other.vault.azure.net/secrets/db/versions?$skiptoken=3",
        "https://localhost:1/secrets/db/versions",
        "http://myvault.vault.azure.net/secrets/db/versions",
        "https://myvault.vault.azure.net/keys/db/versions",
        "//evil.example/secrets/db",
    ] {
        let site = Site::start().await;
        let provider = site.provider(|_| {});
        for _ in 0..4 {
            site.azure.put("db", "x", None);
        }
        site.azure.link_to(link);
        let error = provider.versions("db").await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Permanent, "{link}: {error}");
        // A link without TLS the SDK itself does not follow.
        let plain = link.starts_with("http:") && error.to_string().contains("the SDK refused it");
        assert!(plain || error.to_string().contains("leads to another host"), "{error}");
        assert!(site.asked().iter().all(|asked| asked.starts_with("GET /secrets/db")), "{link}");
    }
}

#[tokio::test]
async fn a_short_hint_is_followed_and_a_long_one_handed_on() {
    let times = AtomicU64::new(0);
    let site = Site::in_trouble(Box::new(move |_, request| {
        request.header("authorization")?;
        let hint = match times.fetch_add(1, Ordering::SeqCst) {
            0 => ("x-ms-retry-after-ms", "20"),
            1 => ("retry-after", "0"),
            _ => return None,
        };
        Some(Reply::Answer(Answer::empty(429).header(hint.0, hint.1)))
    }))
    .await;
    site.azure.put("db", "hunter2", None);
    assert_eq!(shown(&fetch(&site.provider(|_| {}), "db").await.unwrap()), "hunter2");

    let site = Site::in_trouble(Box::new(|_, request| {
        request.header("authorization")?;
        Some(Reply::Answer(Answer::empty(429).header("retry-after", "7")))
    }))
    .await;
    let error = fetch(&site.provider(|_| {}), "db").await.unwrap_err();
    assert_eq!((error.class, error.retry_after), (ErrorClass::Throttled, Some(Duration::from_secs(7))));
    let asked = site.server.requests().iter().filter(|r| r.header("authorization").is_some()).count();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn an_odd_answer_is_no_secret() {
    for body in [
        "{",
        r#"{"value":"canary-odd"}"#,
        r#"{"value":"canary-odd","id":"https://myvault.vault.azure.net/secrets/other/0123456789abcdef0123456789abcdef"}"#,
        r#"{"value":"canary-odd","id":"https://myvault.vault.azure.net/secrets/db/latest"}"#,
        r#"{"id":"https://myvault.vault.azure.net/secrets/db/0123456789abcdef0123456789abcdef"}"#,
    ] {
        let site = Site::in_trouble(Box::new(move |_, request| {
            request.header("authorization")?;
            Some(Reply::Answer(Answer::new(200, "application/json", body)))
        }))
        .await;
        let error = fetch(&site.provider(|config| config.max_attempts = 1), "db").await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient, "{body}: {error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}
