//! Tokens of service accounts.

use std::time::Duration;

use leasehold_core::{
    LeaseId, SpiffeId,
    ports::Provider,
    provider::{ErrorClass, IssueCredential, IssuedCredential, ProviderError, Revocation},
};
use leasehold_provider_gcp::{GcpProvider, GcpRole, Grant};
use serde_json::json;

use crate::setup::{ACCOUNT, cloud, provider};

async fn issue(provider: &GcpProvider, role: &str, ttl: u64) -> Result<IssuedCredential, ProviderError> {
    let holder: SpiffeId = "spiffe://example.org/app".parse().unwrap();
    let request = IssueCredential {
        lease: LeaseId::from_bits([7; 16]),
        holder: &holder,
        role,
        ttl: Duration::from_secs(ttl),
        max_ttl: Duration::from_secs(ttl),
        within: Duration::from_secs(60),
        reservation: None,
    };
    provider.issuer().unwrap().issue(request).await
}

fn role(grant: Grant) -> GcpRole {
    let delegates = vec!["hop@other-project.iam.gserviceaccount.com".into()];
    GcpRole { service_account: ACCOUNT.into(), delegates, grant }
}

fn access(lifetime_extension: bool) -> GcpRole {
    role(Grant::AccessToken { scopes: vec!["scope-1".into(), "scope-2".into()], lifetime_extension })
}

#[tokio::test]
async fn an_access_token_lives_as_long_as_it_was_asked_to_and_no_longer_than_an_hour() {
    let (_, server) = cloud().await;
    let (provider, _home) = provider(&server.url(), |config| {
        config.roles.insert("deploy".into(), access(false));
    });
    let can = provider.capabilities();
    assert_eq!(
        (can.issue, can.renew, can.revoke, can.max_ttl),
        (true, false, false, Some(Duration::from_secs(3_600)))
    );
    for (ttl, lifetime) in [(600, "600s"), (7_200, "3600s")] {
        let issued = issue(&provider, "deploy", ttl).await.unwrap();
        let sent = server.requests().pop().unwrap();
        assert_eq!(sent.path(), format!("/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"));
        assert_eq!(
            sent.json(),
            json!({
                "scope": ["scope-1", "scope-2"], "lifetime": lifetime,
                "delegates": ["projects/-/serviceAccounts/hop@other-project.iam.gserviceaccount.com"],
            })
        );
        let token = issued.value.fields.get(&"access_token".parse().unwrap()).unwrap();
        assert!(token.expose().starts_with(b"ya29.scripted-"));
        let Revocation::NoneUntil(end) = issued.revocation else { panic!("it is said to be revocable") };
        assert_eq!(issued.expires_at, Some(end));
        assert!(!format!("{issued:?}").contains("ya29"));
    }
}

#[tokio::test]
async fn half_a_day_is_for_organisations_that_allow_it() {
    let (cloud, server) = cloud().await;
    let (provider, _home) = provider(&server.url(), |config| {
        config.roles.insert("long".into(), access(true));
    });
    assert_eq!(provider.capabilities().max_ttl, Some(Duration::from_secs(43_200)));
    assert_eq!(issue(&provider, "long", 40_000).await.unwrap_err().class, ErrorClass::Invalid);
    cloud.extend();
    issue(&provider, "long", 40_000).await.unwrap();
    assert_eq!(server.requests().pop().unwrap().json()["lifetime"], "40000s");
}

#[tokio::test]
async fn an_identity_token_has_its_own_end() {
    let (cloud, server) = cloud().await;
    let (provider, _home) = provider(&server.url(), |config| {
        let grant = Grant::IdToken { audience: "https://api.example.com".into(), include_email: true };
        config.roles.insert("identity".into(), role(grant));
    });
    assert_eq!(provider.capabilities().min_ttl, Some(Duration::from_secs(3_600)));
    let issued = issue(&provider, "identity", 60).await.unwrap();
    let sent = server.requests().pop().unwrap();
    assert!(sent.path().ends_with(":generateIdToken"), "{}", sent.path());
    assert_eq!(
        (&sent.json()["audience"], &sent.json()["includeEmail"]),
        (&json!("https://api.example.com"), &json!(true))
    );
    assert!(issued.value.fields.contains_key(&"id_token".parse().unwrap()));
    assert!(issued.expires_at.is_some());

    cloud.permit("iam.serviceAccounts.getOpenIdToken", false);
    let error = issue(&provider, "identity", 60).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied);
    assert!(error.to_string().contains("iam.serviceAccounts.getOpenIdToken"), "{error}");
    assert_eq!(issue(&provider, "nobody", 60).await.unwrap_err().class, ErrorClass::Invalid);
}
