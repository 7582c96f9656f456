//! Tokens that are lent.

use std::{sync::Arc, time::Duration};

use leasehold_core::{
    LeaseId, Timestamp,
    ports::{Clock as _, Provider as _},
    provider::{ErrorClass, IssueCredential, IssuedCredential, ProviderError, Revocation},
};
use leasehold_provider_azure::{AzureProvider, AzureRole, Identity};
use leasehold_provider_conformance::scripted::{ScriptedServer, azure::CLIENT};

use crate::kit::Site;

const SCOPE: &str = "https://storage.azure.com/.default";

async fn issue(provider: &AzureProvider, role: &str, lease: u8) -> Result<IssuedCredential, ProviderError> {
    let holder = "spiffe://example.org/prod/api".parse().unwrap();
    let ttl = Duration::from_secs(60);
    let lease = LeaseId::from_bits([lease; 16]);
    let request =
        IssueCredential { lease, holder: &holder, role, ttl, max_ttl: ttl, within: ttl, reservation: None };
    provider.issuer().unwrap().issue(request).await
}

fn field(issued: &IssuedCredential, name: &str) -> String {
    let bytes = issued.value.fields.get(&name.parse().unwrap()).unwrap();
    String::from_utf8(bytes.expose().to_vec()).unwrap()
}

#[tokio::test]
async fn a_token_says_until_when_nothing_ends_it() {
    let site = Site::start().await;
    let provider = site.provider(|config| {
        let role = AzureRole { scope: SCOPE.into(), identity: None };
        config.roles.insert("storage".into(), role);
        config.vault = None;
    });
    let can = provider.capabilities();
    assert!(can.issue && !can.revoke && !can.renew && !can.read && can.min_ttl == can.max_ttl);
    let before = site.clock.now();
    let (one, other) =
        (issue(&provider, "storage", 1).await.unwrap(), issue(&provider, "storage", 2).await.unwrap());
    assert_ne!(field(&one, "access_token"), field(&other, "access_token"));
    assert_eq!(one.version.as_str(), LeaseId::from_bits([1; 16]).to_string());
    let end = one.expires_at.unwrap();
    assert!(matches!(one.revocation, Revocation::NoneUntil(until) if until == end));
    assert!((3_590..3_610).contains(&end.duration_since(before).as_secs()), "{end}");
    assert_eq!(field(&one, "expires_at").parse::<Timestamp>().unwrap(), end);
    assert_eq!((field(&one, "scope"), field(&one, "token_type")), (SCOPE.to_owned(), "Bearer".to_owned()));
    assert!(site.azure.opens(&field(&one, "access_token"), SCOPE));
    assert_eq!(issue(&provider, "nobody", 3).await.unwrap_err().class, ErrorClass::Absent);
    assert!(!format!("{one:?}").contains("canary"), "{one:?}");
}

#[tokio::test]
async fn a_role_can_have_an_identity_of_its_own() {
    let site = Site::start().await;
    let azure = Arc::clone(&site.azure);
    let machine = ScriptedServer::start(move |request, _| azure.answer(request)).await.unwrap();
    let provider = site.provider(|config| {
        let identity = Some(Identity::Managed { client_id: Some(CLIENT.into()) });
        config.roles.insert("storage".into(), AzureRole { scope: SCOPE.into(), identity });
        config.metadata_address = machine.address();
    });
    let issued = issue(&provider, "storage", 1).await.unwrap();
    assert!(site.azure.opens(&field(&issued, "access_token"), SCOPE));
    let asked = machine.requests().pop().unwrap();
    assert_eq!(asked.query("client_id").as_deref(), Some(CLIENT));
    assert_eq!(provider.capabilities().max_ttl, Some(Duration::from_secs(86_400)));
}

#[tokio::test]
async fn a_refusal_is_the_roles_and_holds_nothing_secret() {
    let site = Site::start().await;
    let provider = site.provider(|config| {
        config.roles.insert("storage".into(), AzureRole { scope: SCOPE.into(), identity: None });
    });
    site.azure.refuse_sign_in(Some(500_011));
    let error = issue(&provider, "storage", 1).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent, "{error}");
    assert!(
        error.to_string().contains("the role `storage`") && !format!("{error:?}").contains("canary"),
        "{error:?}"
    );
}
