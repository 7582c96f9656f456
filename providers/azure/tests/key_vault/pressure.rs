//! Under pressure: tokens with impossible ends, and requests that are slow one after the other.

use std::time::Duration;

use leasehold_core::{
    ports::Provider as _,
    provider::{Change, ChangeSecret, ErrorClass},
};
use leasehold_provider_conformance::scripted::{Answer, Reply, azure::VAULT_HOST};

use crate::kit::{Site, fetch, write};

#[tokio::test]
async fn a_token_with_an_impossible_end_is_none() {
    for life in ["9223372036854775807", "-9223372036854775808", "999999999999", "-1"] {
        let body = format!(r#"{{"token_type":"Bearer","expires_in":{life},"access_token":"canary-7d"}}"#);
        let site = Site::in_trouble(Box::new(move |_, request| {
            let signs_in = request.path().ends_with("/oauth2/v2.0/token");
            signs_in.then(|| Reply::Answer(Answer::json(200, body.clone())))
        }))
        .await;
        site.azure.put("db", "x", None);
        let provider = site.provider(|config| config.max_attempts = 1);
        let error = fetch(&provider, "db").await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient, "{life}: {error}");
        assert!(error.to_string().contains("Entra ID's answer cannot be read"), "{life}: {error}");
        assert!(!format!("{error:?} {:?}", provider.sign_in()).contains("canary"), "{life}");
    }
}

#[tokio::test]
async fn a_call_of_several_requests_ends_in_its_time() {
    let site = Site::in_trouble(Box::new(|azure, request| {
        let of_vault =
            request.header("host") == Some(VAULT_HOST) && request.header("authorization").is_some();
        of_vault.then(|| Reply::Late(Duration::from_millis(400), Box::new(azure.answer(request))))
    }))
    .await;
    let patient = site.provider(|_| {});
    let first = write(&patient, "db", "one", "t1", None).await.unwrap();
    write(&patient, "db", "two", "t2", None).await.unwrap();
    let hurried = site.provider(|config| config.timeout = Duration::from_millis(700));
    fetch(&hurried, "db").await.unwrap();
    for (version, change) in [(Some(&first), Change::Disable), (None, Change::Delete)] {
        let error = hurried
            .change(ChangeSecret { reference: "db", version, change, expected: None })
            .await
            .unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient, "{error}");
    }
}
