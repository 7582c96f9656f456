//! Every way of signing in, and staying so.

use std::{sync::Arc, time::Duration};

use leasehold_core::{ports::Provider, provider::ErrorClass};
use leasehold_provider_conformance::{
    authority::Authority,
    peers::{Bao, BaoSetup, or_skip},
    scripted::{Answer, Reply, ScriptedServer, vault},
};
use leasehold_provider_vault::{Auth, VaultConfig, VaultProvider};
use serde_json::{Value, json};

use crate::kit::{Home, Signer, dev, policy, provider, put, quick, read, until};

const READS: &str = "path \"secret/data/*\" { capabilities = [\"read\"] }";
const A: &str = "secret/data/a";

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).unwrap().as_str().unwrap().to_owned()
}

/// A development server with a secret and a policy `reads` that may read it.
async fn with_a_secret() -> Option<Bao> {
    let bao = dev().await?;
    put(&bao, "a", json!({ "value": "hunter2" })).await;
    policy(&bao, "reads", READS).await;
    Some(bao)
}

/// An `AppRole` whose tokens live so long and at most so long; its role's id.
async fn app_role(bao: &Bao, ttl: &str, max: &str) -> String {
    bao.ask("POST", "sys/auth/approle", Some(&json!({ "type": "approle" }))).await.unwrap();
    let role = json!({ "token_policies": ["reads"], "token_ttl": ttl, "token_max_ttl": max });
    bao.ask("POST", "auth/approle/role/broker", Some(&role)).await.unwrap();
    text(&bao.ask("GET", "auth/approle/role/broker/role-id", None).await.unwrap(), "/data/role_id")
}

async fn secret_id(bao: &Bao) -> String {
    let made = bao.ask("POST", "auth/approle/role/broker/secret-id", None).await.unwrap();
    text(&made, "/data/secret_id")
}

fn by_role(bao: &Bao, home: &Home, role_id: &str, secret_id: &str, wrapped: bool) -> VaultProvider {
    let auth = Auth::AppRole {
        mount: "approle".into(),
        role_id: role_id.into(),
        secret_id_file: Some(home.put("secret-id", secret_id)),
        wrapped,
    };
    provider(quick(VaultConfig::new(bao.url(), auth)))
}

#[tokio::test]
async fn a_new_token_in_the_file_is_used_and_a_bad_one_takes_nothing_away() {
    let Some(bao) = with_a_secret().await else { return };
    let home = Home::new();
    let first = bao.make_token(&["reads"], Duration::from_secs(600)).await.unwrap();
    let provider = provider(home.with_token(bao.url(), &first));
    assert_eq!(read(&provider, A).await.unwrap(), "hunter2");
    let until_then = provider.sign_in().expires_at.unwrap();
    let second = bao.make_token(&["reads"], Duration::from_secs(6000)).await.unwrap();
    home.put("token", &second);
    until("the new token's end is known", async || {
        assert_eq!(read(&provider, A).await.unwrap(), "hunter2");
        provider.sign_in().expires_at.unwrap() > until_then
    })
    .await;
    // The new one is in use: the old one can go.
    bao.ask("POST", "auth/token/revoke", Some(&json!({ "token": first }))).await.unwrap();
    assert_eq!(read(&provider, A).await.unwrap(), "hunter2");
    home.put("token", "s.not-a-token");
    until("the bad token is noticed", async || {
        assert_eq!(read(&provider, A).await.unwrap(), "hunter2");
        provider.sign_in().problem.is_some()
    })
    .await;
    let problem = provider.sign_in().problem.unwrap();
    assert!(problem.contains("does not accept") && !problem.contains("not-a-token"), "{problem}");
}

#[tokio::test]
async fn a_token_that_dies_is_replaced_from_its_file_and_others_are_told_why_not() {
    let Some(bao) = with_a_secret().await else { return };
    let home = Home::new();
    let token = bao.make_token(&["reads"], Duration::from_secs(600)).await.unwrap();
    let provider = provider(home.with_token(bao.url(), &token));
    read(&provider, A).await.unwrap();
    bao.ask("POST", "auth/token/revoke", Some(&json!({ "token": token }))).await.unwrap();
    let error = read(&provider, A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    assert!(provider.sign_in().problem.is_some());
    home.put("token", &bao.make_token(&["reads"], Duration::from_secs(600)).await.unwrap());
    until("the new token is used", async || read(&provider, A).await.is_ok()).await;
    assert_eq!(provider.sign_in().problem, None);
    // What may not be read is no reason for a new token.
    let error = read(&provider, "other/data/a").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    assert_eq!(provider.sign_in().problem, None);
}

#[tokio::test]
async fn an_app_role_signs_in_and_again_when_its_token_is_revoked() {
    let Some(bao) = with_a_secret().await else { return };
    let role_id = app_role(&bao, "1h", "2h").await;
    let home = Home::new();
    let provider = Arc::new(by_role(&bao, &home, &role_id, &secret_id(&bao).await, false));
    assert_eq!(read(&*provider, A).await.unwrap(), "hunter2");
    bao.ask("PUT", "sys/leases/revoke-prefix/auth/approle/login", None).await.unwrap();
    // Many at once find it dead, and one of them signs in for all.
    let readers = (0..20).map(|_| {
        let provider = Arc::clone(&provider);
        tokio::spawn(async move { read(&*provider, A).await })
    });
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.unwrap().unwrap(), "hunter2");
    }
    let alive = bao.ask("LIST", "sys/leases/lookup/auth/approle/login", None).await.unwrap();
    assert_eq!(alive.pointer("/data/keys").and_then(Value::as_array).unwrap().len(), 1, "{alive}");
    let wrong = by_role(&bao, &home, &role_id, "4711", false);
    let error = read(&wrong, A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    assert!(!format!("{error:?}").contains("4711"), "{error:?}");
}

#[tokio::test]
async fn its_own_token_is_renewed_before_it_ends_and_replaced_at_its_maximum() {
    let Some(bao) = with_a_secret().await else { return };
    let role_id = app_role(&bao, "3s", "8s").await;
    let home = Home::new();
    let provider = by_role(&bao, &home, &role_id, &secret_id(&bao).await, false);
    read(&provider, A).await.unwrap();
    let logins = async || {
        let list = bao.ask("LIST", "sys/leases/lookup/auth/approle/login", None).await;
        list.ok().and_then(|list| Some(list.pointer("/data/keys")?.as_array()?.len())).unwrap_or(0)
    };
    let first = provider.sign_in().expires_at.unwrap();
    until("it is renewed", async || provider.sign_in().expires_at.unwrap() > first).await;
    assert_eq!(logins().await, 1, "renewed, not replaced");
    // Past its maximum, without a call that would notice.
    let past = leasehold_core::ttl::after(first, Duration::from_secs(8));
    until("it lives on", async || provider.sign_in().expires_at.unwrap() > past).await;
    assert_eq!(read(&provider, A).await.unwrap(), "hunter2");
    assert_eq!(provider.sign_in().problem, None);
}

#[tokio::test]
async fn a_wrapped_secret_id_opens_once_serves_on_and_is_judged_by_where_it_was_made() {
    let Some(bao) = with_a_secret().await else { return };
    let role_id = app_role(&bao, "1h", "2h").await;
    let wrap = async |path: &str, body: Value| {
        let call =
            bao.call("POST", path).header("x-vault-token", bao.token()).header("x-vault-wrap-ttl", "60s");
        text(&call.json(&body).send().await.unwrap().json(), "/wrap_info/token")
    };
    let home = Home::new();
    let token = wrap("auth/approle/role/broker/secret-id", json!({})).await;
    let provider = by_role(&bao, &home, &role_id, &token, true);
    assert_eq!(read(&provider, A).await.unwrap(), "hunter2");
    bao.ask("PUT", "sys/leases/revoke-prefix/auth/approle/login", None).await.unwrap();
    assert_eq!(
        read(&provider, A).await.unwrap(),
        "hunter2",
        "the secret id is kept, the wrapping is used up"
    );
    let late = by_role(&bao, &home, &role_id, &token, true);
    let error = read(&late, A).await.unwrap_err();
    assert!(error.class == ErrorClass::Denied && error.to_string().contains("used up"), "{error}");
    // Somebody's own wrapping of somebody's own secret id.
    let forged = wrap("sys/wrapping/wrap", json!({ "secret_id": secret_id(&bao).await })).await;
    let error = read(&by_role(&bao, &home, &role_id, &forged, true), A).await.unwrap_err();
    assert!(error.class == ErrorClass::Denied && error.to_string().contains("swapped"), "{error}");
}

#[tokio::test]
async fn a_certificate_signs_in_over_tls_and_a_new_one_replaces_it() {
    let authority = Authority::new("test").unwrap();
    let started = Bao::start_configured(BaoSetup::new(&authority)).await;
    let Some(bao) = or_skip(started).unwrap() else { return };
    bao.mount_kv("secret", 2).await.unwrap();
    put(&bao, "a", json!({ "value": "hunter2" })).await;
    policy(&bao, "reads", READS).await;
    bao.ask("POST", "sys/auth/cert", Some(&json!({ "type": "cert" }))).await.unwrap();
    let role = json!({
        "certificate": authority.pem(), "allowed_common_names": "broker", "token_policies": ["reads"],
    });
    bao.ask("POST", "auth/cert/certs/broker", Some(&role)).await.unwrap();
    let home = Home::new();
    let identity = |name: &str| {
        let identity = authority.client(name, None).unwrap();
        (home.put("client.pem", &identity.certificate), home.put("client.key", &identity.key))
    };
    let (certificate, key) = identity("somebody");
    let config = |role: &str| VaultConfig {
        ca_file: Some(home.put("ca.pem", &authority.pem())),
        ..quick(VaultConfig::new(
            bao.url(),
            Auth::Certificate {
                mount: "cert".into(),
                role: Some(role.into()),
                certificate: certificate.clone(),
                key: key.clone(),
            },
        ))
    };
    let broker = provider(config("broker"));
    let error = read(&broker, A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    identity("broker");
    until("the new certificate is shown", async || read(&broker, A).await.is_ok()).await;
    let error = read(&provider(config("nobody")), A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "the role is named to Vault: {error}");

    let untrusting = VaultConfig {
        ca_file: Some(home.put("other.pem", &Authority::new("other").unwrap().pem())),
        ..config("broker")
    };
    let error = read(&provider(untrusting), A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent, "{error}");
    assert!(error.to_string().contains("certificate is not trusted"), "{error}");
}

#[tokio::test]
async fn a_json_web_token_signs_in() {
    let Some(bao) = with_a_secret().await else { return };
    let signer = Signer::new();
    bao.ask("POST", "sys/auth/ci", Some(&json!({ "type": "jwt" }))).await.unwrap();
    let config = json!({ "jwt_validation_pubkeys": [signer.public()], "default_role": "broker" });
    bao.ask("POST", "auth/ci/config", Some(&config)).await.unwrap();
    let role = json!({
        "role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub", "token_policies": ["reads"],
        "bound_subject": "spiffe://example.org/broker",
    });
    bao.ask("POST", "auth/ci/role/broker", Some(&role)).await.unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let home = Home::new();
    let with = |subject: &str, role: Option<&str>| {
        let claims = json!({ "sub": subject, "aud": "vault", "iat": now, "nbf": now - 5, "exp": now + 600 });
        let jwt_file = home.put("jwt", &signer.sign(&claims));
        let auth = Auth::Jwt { mount: "ci".into(), role: role.map(str::to_owned), jwt_file };
        provider(quick(VaultConfig::new(bao.url(), auth)))
    };
    for role in [Some("broker"), None] {
        assert_eq!(read(&with("spiffe://example.org/broker", role), A).await.unwrap(), "hunter2");
    }
    let error = read(&with("spiffe://example.org/other", Some("broker")), A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
}

/// A Kubernetes that knows one service account (TokenReview, `authentication.k8s.io/v1`).
async fn kubernetes(authority: &Authority, known: String) -> ScriptedServer {
    ScriptedServer::start_tls(authority, &[], move |request, _| {
        let token = request.json().pointer("/spec/token").and_then(Value::as_str).map(str::to_owned);
        let status = if token.as_deref() == Some(&*known) {
            let user =
                json!({ "username": "system:serviceaccount:leasehold:broker", "uid": "1", "groups": [] });
            json!({ "authenticated": true, "user": user, "audiences": ["https://kubernetes.default.svc"] })
        } else {
            json!({ "authenticated": false, "error": "unknown" })
        };
        let review =
            json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status });
        Reply::Answer(Answer::of(201, &review))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_service_account_signs_in_through_its_cluster() {
    let Some(bao) = with_a_secret().await else { return };
    let authority = Authority::new("cluster").unwrap();
    let signer = Signer::new();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let account = |name: &str| {
        signer.sign(&json!({
            "iss": "https://kubernetes.default.svc", "aud": ["https://kubernetes.default.svc"],
            "sub": format!("system:serviceaccount:leasehold:{name}"), "iat": now, "nbf": now, "exp": now + 600,
            "kubernetes.io": { "namespace": "leasehold", "serviceaccount": { "name": name, "uid": "1" } },
        }))
    };
    // Signed once: the same claims have another signature each time.
    let token = account("broker");
    let cluster = kubernetes(&authority, token.clone()).await;
    bao.ask("POST", "sys/auth/kubernetes", Some(&json!({ "type": "kubernetes" }))).await.unwrap();
    let config = json!({
        "kubernetes_host": cluster.url(), "kubernetes_ca_cert": authority.pem(), "disable_local_ca_jwt": true,
        "token_reviewer_jwt": signer.sign(&json!({ "sub": "reviewer" })), "disable_iss_validation": true,
    });
    bao.ask("POST", "auth/kubernetes/config", Some(&config)).await.unwrap();
    let role = json!({
        "bound_service_account_names": ["broker"], "bound_service_account_namespaces": ["leasehold"],
        "token_policies": ["reads"],
    });
    bao.ask("POST", "auth/kubernetes/role/broker", Some(&role)).await.unwrap();
    let home = Home::new();
    let with = |jwt: &str| {
        let jwt_file = home.put("jwt", jwt);
        // As Kubernetes projects it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&jwt_file, mode).unwrap();
        let auth = Auth::Kubernetes { mount: "kubernetes".into(), role: "broker".into(), jwt_file };
        provider(quick(VaultConfig::new(bao.url(), auth)))
    };
    assert_eq!(read(&with(&token), A).await.unwrap(), "hunter2");
    let error = read(&with(&account("other")), A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
}

#[tokio::test]
async fn in_a_namespace_its_secrets_are_read_and_no_others() {
    let Some(bao) = with_a_secret().await else { return };
    bao.ask("POST", "sys/namespaces/team-a", Some(&json!({}))).await.unwrap();
    let call = |method: &str, path: &str, body: Value| {
        bao.call(method, path)
            .header("x-vault-token", bao.token())
            .header("x-vault-namespace", "team-a")
            .json(&body)
            .send()
    };
    let mount = json!({ "type": "kv", "options": { "version": "1" } });
    assert_eq!(call("POST", "sys/mounts/old", mount).await.unwrap().status, 204);
    assert_eq!(call("POST", "old/a", json!({ "value": "team" })).await.unwrap().status, 204);
    let home = Home::new();
    let within = |namespace: &str| {
        let config = home.with_token(bao.url(), bao.token());
        provider(VaultConfig { namespace: Some(namespace.into()), ..config })
    };
    assert_eq!(read(&within("team-a"), "kv1:old/a").await.unwrap(), "team");
    let error = read(&within("team-a"), A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent, "{error}");
    let error = read(&within("team-b"), "kv1:old/a").await.unwrap_err();
    assert!(error.class == ErrorClass::Permanent && error.to_string().contains("namespace"), "{error}");
}

#[tokio::test]
async fn those_who_cannot_sign_in_do_not_all_try() {
    let server =
        ScriptedServer::start(|_, _| Reply::Answer(vault::refusal(400, "invalid role or secret ID")))
            .await
            .unwrap();
    let home = Home::new();
    let auth = Auth::AppRole {
        mount: "approle".into(),
        role_id: "r".into(),
        secret_id_file: Some(home.put("secret-id", "canary-secret-id")),
        wrapped: false,
    };
    let provider = Arc::new(provider(quick(VaultConfig::new(server.url(), auth))));
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { read(&*provider, A).await })
        })
        .collect();
    for reader in readers {
        let error = reader.await.unwrap().unwrap_err();
        assert_eq!(error.class, ErrorClass::Denied, "{error}");
    }
    assert_eq!(server.calls().load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_token_that_others_can_read_is_not_used() {
    let home = Home::new();
    let config = home.with_token("http://127.0.0.1:1", "s.canary");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(home.path("token"), mode).unwrap();
    let error = read(&provider(config), A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.to_string().contains("chmod 600") && !error.to_string().contains("canary"), "{error}");
}
