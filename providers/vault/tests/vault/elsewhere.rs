//! Answers about credentials that are not to be believed: a proxy's, another namespace's, a Vault's that has not managed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use leasehold_core::{
    LeaseId, SpiffeId, Timestamp,
    lease::RevocationHandle,
    ports::{Issuer, Provider},
    provider::{ErrorClass, IssueCredential, RenewCredential, Revocation, RevokeCredential},
};
use leasehold_provider_conformance::scripted::{Answer, Reply, Request, ScriptedServer, vault};
use leasehold_provider_vault::{VaultConfig, VaultProvider, VaultRole};
use serde_json::json;

use crate::kit::{Home, provider, read};

const LEASE: LeaseId = LeaseId::from_bits([7; 16]);

/// A Vault that makes a database user of anybody, and has not ended one whose time has come.
fn answer(request: &Request) -> Answer {
    match request.path() {
        "/v1/auth/token/lookup-self" => vault::looked_up(),
        "/v1/auth/token/create-orphan" => vault::token("child", "accessor", 7200),
        "/v1/auth/token/renew-accessor" => vault::token("", "accessor", 7200),
        "/v1/database/creds/app" => vault::leased("database/creds/app/x", 60, &json!({ "password": "x" })),
        "/v1/sys/leases/renew" => vault::leased("database/creds/app/x", 60, &json!(null)),
        "/v1/sys/leases/lookup" => vault::data(&json!({ "id": "database/creds/app/x", "ttl": -3 })),
        _ => Answer::empty(204),
    }
}

fn made_by(home: &Home, url: &str, namespace: Option<&str>) -> VaultProvider {
    let roles = [("app".to_owned(), VaultRole::new("database/creds/app"))].into();
    provider(VaultConfig {
        roles,
        namespace: namespace.map(str::to_owned),
        max_attempts: 1,
        ..home.with_token(url, "s.x")
    })
}

async fn issued(issuer: &dyn Issuer) -> RevocationHandle {
    let reservation = issuer.reserve("app").await.unwrap();
    let holder: SpiffeId = "spiffe://example.org/prod/web".parse().unwrap();
    let minute = Duration::from_secs(60);
    let request = IssueCredential {
        lease: LEASE,
        holder: &holder,
        role: "app",
        ttl: minute,
        max_ttl: minute,
        within: Duration::from_secs(60),
        reservation: reservation.as_ref(),
    };
    match issuer.issue(request).await.unwrap().revocation {
        Revocation::By(handle) => handle,
        Revocation::NoneUntil(end) => panic!("irrevocable until {end}"),
    }
}

/// What becomes of looking up, renewing and revoking.
async fn classes(issuer: &dyn Issuer, handle: &RevocationHandle) -> [Option<ErrorClass>; 3] {
    let renewal = RenewCredential { lease: LEASE, handle, until: Timestamp::MAX };
    [
        issuer.look_up(handle).await.err().map(|error| error.class),
        issuer.renew(renewal).await.err().map(|error| error.class),
        issuer
            .revoke(RevokeCredential { lease: LEASE, handle: Some(handle) })
            .await
            .err()
            .map(|error| error.class),
    ]
}

#[tokio::test]
async fn a_proxys_page_neither_ends_a_credential_nor_says_that_it_has_ended() {
    let lost = Arc::new(AtomicBool::new(false));
    let astray = Arc::clone(&lost);
    let server = ScriptedServer::start(move |request, _| {
        let page = || Answer::new(404, "text/html", "<html>no such service</html>");
        Reply::Answer(if astray.load(SeqCst) { page() } else { answer(request) })
    });
    let server = server.await.unwrap();
    let home = Home::new();
    let provider = made_by(&home, &server.url(), None);
    let issuer = provider.issuer().unwrap();
    let handle = issued(issuer).await;
    lost.store(true, SeqCst);
    assert_eq!(classes(issuer, &handle).await, [Some(ErrorClass::Transient); 3]);
    let error = read(&provider, "kv/data/a").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
}

#[tokio::test]
async fn what_was_made_in_another_namespace_is_not_asked_for_in_this_one() {
    let server = ScriptedServer::start(|request, _| Reply::Answer(answer(request))).await.unwrap();
    let home = Home::new();
    let before = made_by(&home, &server.url(), Some("team-a"));
    let handle = issued(before.issuer().unwrap()).await;
    assert_eq!(classes(before.issuer().unwrap(), &handle).await, [None; 3]);
    for namespace in [Some("team-b"), None] {
        let after = made_by(&home, &server.url(), namespace);
        let asked = classes(after.issuer().unwrap(), &handle).await;
        assert_eq!(asked, [Some(ErrorClass::Permanent); 3], "{namespace:?}");
    }
}

#[tokio::test]
async fn a_credential_that_vault_has_not_managed_to_end_is_there() {
    let server = ScriptedServer::start(|request, _| Reply::Answer(answer(request))).await.unwrap();
    let home = Home::new();
    let provider = made_by(&home, &server.url(), None);
    let issuer = provider.issuer().unwrap();
    let handle = issued(issuer).await;
    assert!(issuer.look_up(&handle).await.unwrap().is_some());
}
