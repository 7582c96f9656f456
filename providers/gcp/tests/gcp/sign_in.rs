//! The broker's own credentials: files that change, keys that sign, federations, and what is said when they fail.

use std::{path::Path, time::Duration};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use leasehold_core::{ports::Provider, provider::ErrorClass};
use leasehold_provider_gcp::Credentials;
use serde_json::{Value, json};

use crate::{
    scenes::federated,
    setup::{SECRET, TOKEN, cloud, fetch, only, private_file, provider},
};

/// A service account's key, as the console would give it.
pub(crate) fn service_account_key(path: &Path, url: &str) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let text = BASE64.encode(der.as_ref());
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let json = json!({
        "type": "service_account", "project_id": "my-project", "private_key_id": "canary-key-id",
        "private_key": pem, "client_email": "broker@my-project.iam.gserviceaccount.com", "client_id": "1",
        "token_uri": format!("{url}/token"), "universe_domain": "googleapis.com",
    });
    private_file(path, &json.to_string());
}

/// The claims of the token that a request was signed with.
fn claims(head: &str) -> Value {
    let token = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_service_accounts_key_signs_each_token_itself_and_says_when_it_ends() {
    let (cloud, server) = cloud().await;
    cloud.put(SECRET, b"hunter2");
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("key.json");
    service_account_key(&key, &server.url());
    let (provider, _home) =
        provider(&server.url(), |config| config.credentials = Credentials::File(key.clone()));
    assert_eq!(only(&fetch(&provider, "db").await.unwrap()), "hunter2");
    let claims = claims(&server.requests().pop().unwrap().head);
    assert_eq!(claims["iss"], "broker@my-project.iam.gserviceaccount.com");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    let standing = provider.sign_in();
    assert_eq!(standing.expires_at.unwrap().as_second(), claims["exp"].as_i64().unwrap());
    assert_eq!(standing.problem, None);
}

#[tokio::test]
async fn a_file_that_changes_is_read_anew_and_a_broken_one_does_not_replace_it() {
    let (cloud, server) = cloud().await;
    cloud.put(SECRET, b"hunter2");
    cloud.accept_only(TOKEN);
    let (provider, home) = provider(&server.url(), |_| {});
    let path = home.path().join("token");
    fetch(&provider, "db").await.unwrap();

    private_file(&path, "two words");
    fetch(&provider, "db").await.unwrap();
    let problem = provider.sign_in().problem.unwrap();
    assert!(problem.contains("one word on one line") && !problem.contains("two words"), "{problem}");

    private_file(&path, "canary-token-2\n");
    let error = fetch(&provider, "db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    cloud.accept_only("canary-token-2");
    fetch(&provider, "db").await.unwrap();
    assert_eq!(provider.sign_in().problem, None);
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[tokio::test]
async fn a_file_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let (_, server) = cloud().await;
    let (provider, home) = provider(&server.url(), |_| {});
    let path = home.path().join("token");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = fetch(&provider, "db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    let problem = provider.sign_in().problem.unwrap();
    assert!(problem.contains("chmod 600"), "{problem}");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_federation_exchanges_its_token_and_says_why_it_cannot() {
    let (cloud, server) = cloud().await;
    cloud.put(SECRET, b"hunter2");
    cloud.grant("granted");
    let url = server.url();
    let (credentials, _folder) = federated(&url);
    let Credentials::File(path) = &credentials else { panic!() };
    let subject = path.with_file_name("subject");
    let (provider, _home) = provider(&url, |config| config.credentials = credentials.clone());
    private_file(&subject, "canary-stale");
    let error = fetch(&provider, "db").await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Denied | ErrorClass::Transient), "{error}");
    assert_eq!(provider.sign_in().problem.unwrap(), "the token service answered invalid_grant");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    // The platform has renewed it: the next call signs in.
    private_file(&subject, "subject-token");
    assert_eq!(only(&fetch(&provider, "db").await.unwrap()), "hunter2");
    assert_eq!(provider.sign_in().problem, None);
    let exchange = server.requests().into_iter().rfind(|request| request.path() == "/token").unwrap();
    assert_eq!(exchange.form("subject_token").as_deref(), Some("subject-token"));
}

#[tokio::test]
async fn a_token_that_ends_under_many_calls_is_replaced_once() {
    let (cloud, server) = cloud().await;
    cloud.put(SECRET, b"hunter2");
    cloud.grant("granted-before");
    let url = server.url();
    let (credentials, _folder) = federated(&url);
    let (provider, _home) = provider(&url, |config| config.credentials = credentials);
    fetch(&provider, "db").await.unwrap();
    cloud.grant("granted-after");
    let many = futures::future::join_all((0..50).map(|_| fetch(&provider, "db"))).await;
    for answer in many {
        assert_eq!(only(&answer.unwrap()), "hunter2");
    }
    let exchanges = server.requests().iter().filter(|request| request.path() == "/token").count();
    assert_eq!(exchanges, 2, "one at first, and one after the end");
}

#[tokio::test]
async fn nobody_there_is_transient_and_soon_said() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (provider, _home) = provider(&format!("http://{closed}"), |config| {
        config.timeout = Duration::from_secs(5);
    });
    let error = fetch(&provider, "db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.to_string().ends_with("Google Cloud cannot be reached"), "{error}");
}
