//! As whom the vault is asked, whose challenge is answered, and what is said when neither works.

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use leasehold_core::{ports::Provider as _, provider::ErrorClass};
use leasehold_provider_azure::{Cloud, Identity};
use leasehold_provider_conformance::scripted::{
    ScriptedServer,
    azure::{CLIENT, CLIENT_SECRET, FEDERATED_TOKEN, TENANT},
};

use crate::kit::{Site, fetch, private, shown};

#[tokio::test]
async fn what_entra_id_says_has_a_class_and_words_and_is_kept_for_health() {
    use ErrorClass::*;
    for (number, class, words) in [
        (90_002, Permanent, "there is no such directory"),
        (700_016, Denied, "no such application"),
        (7_000_215, Denied, "the client secret is wrong"),
        (7_000_222, Denied, "the client secret has ended"),
        (700_213, Denied, "no federated credential"),
        (700_024, Denied, "clock"),
        (500_011, Permanent, "the scope"),
        (90_033, Transient, "AADSTS90033"),
        (1, Denied, "AADSTS1"),
    ] {
        let site = Site::start().await;
        site.azure.put("db", "x", None);
        site.azure.refuse_sign_in(Some(number));
        let provider = site.provider(|config| config.max_attempts = 1);
        let error = fetch(&provider, "db").await.unwrap_err();
        assert_eq!(error.class, class, "{number}: {error}");
        assert!(error.to_string().contains(words), "{number}: {error}");
        let problem = provider.sign_in().problem.unwrap();
        let said = format!("{error:?} {problem}");
        assert!(problem.contains(words) && !said.contains("canary") && !said.contains(TENANT), "{said}");
        site.azure.refuse_sign_in(None);
        fetch(&provider, "db").await.unwrap();
        assert_eq!(provider.sign_in().problem, None);
    }
}

#[tokio::test]
async fn the_vaults_first_challenge_is_the_only_request_without_a_token() {
    let site = Site::start().await;
    site.azure.put("db", "x", None);
    let provider = site.provider(|_| {});
    assert_eq!(provider.sign_in().expires_at, None);
    for _ in 0..5 {
        fetch(&provider, "db").await.unwrap();
    }
    let bare = site.server.requests().iter().filter(|r| r.header("authorization").is_none()).count();
    assert_eq!((bare, site.azure.minted()), (2, 1), "the challenged one and the sign-in");
    assert!(provider.sign_in().expires_at.is_some());
}

#[tokio::test]
async fn only_the_clouds_own_challenge_is_answered() {
    for (authority, resource, class) in [
        ("https://login.evil.example", "https://vault.azure.net", ErrorClass::Permanent),
        ("https://localhost:1", "https://vault.azure.net", ErrorClass::Permanent),
        ("", "https://graph.microsoft.com", ErrorClass::Permanent),
        ("", "https://azure.net", ErrorClass::Permanent),
        ("", "https://net", ErrorClass::Permanent),
    ] {
        let site = Site::start().await;
        site.azure.put("db", "x", None);
        let authority = if authority.is_empty() { site.sign_in() } else { authority.to_owned() };
        site.azure.challenge_with(&format!(
            r#"Bearer authorization="{authority}/{TENANT}", resource="{resource}""#
        ));
        let error = fetch(&site.provider(|_| {}), "db").await.unwrap_err();
        assert_eq!(error.class, class, "{error}");
        assert!(error.to_string().contains("the vault's challenge names another authority"), "{error}");
        assert_eq!(site.azure.minted(), 0, "{authority} {resource}");
        assert!(site.server.requests().iter().all(|r| r.header("authorization").is_none()));
    }
}

#[tokio::test]
async fn a_scope_that_only_the_sdk_would_see_gets_no_token() {
    let site = Site::start().await;
    site.azure.put("db", "x", None);
    let (sign_in, scope) = (site.sign_in(), "https://graph.microsoft.com/.default");
    let sly = format!(
        r#"Bearer xscope="{scope}", authorization="{sign_in}/{TENANT}", resource="https://vault.azure.net""#
    );
    site.azure.challenge_with(&sly);
    let error = fetch(&site.provider(|_| {}), "db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent, "{error}");
    assert_eq!(site.azure.minted(), 0);
}

#[tokio::test]
async fn a_vault_of_another_directory_is_told() {
    let site = Site::start().await;
    site.azure.put("db", "x", None);
    let other = TENANT.replace('1', "9");
    let challenge =
        format!(r#"Bearer authorization="{}/{other}", resource="https://vault.azure.net""#, site.sign_in());
    site.azure.challenge_with(&challenge);
    let error = fetch(&site.provider(|_| {}), "db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    assert!(
        error.to_string().contains("another directory") && !error.to_string().contains(&other),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_secret_is_read_anew_and_must_be_private() {
    let site = Site::start().await;
    site.azure.put("db", "x", None);
    let provider = site.provider(|_| {});
    let file = site.file("client-secret");
    private(&file, "canary-old-secret");
    let error = fetch(&provider, "db").await.unwrap_err();
    assert!(error.class == ErrorClass::Denied && error.to_string().contains("secret is wrong"), "{error}");
    private(&file, CLIENT_SECRET);
    fetch(&provider, "db").await.unwrap();
    // It is not looked at while the token lasts; the token that the vault refuses does not last.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    fetch(&provider, "db").await.unwrap();
    site.azure.end_tokens();
    let error = fetch(&provider, "db").await.unwrap_err();
    assert!(error.class == ErrorClass::Permanent && error.to_string().contains("chmod 600"), "{error}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).unwrap();
    fetch(&provider, "db").await.unwrap();
}

#[tokio::test]
async fn a_token_is_replaced_before_its_end_and_kept_when_that_fails() {
    let site = Site::start().await;
    site.azure.put("db", "x", None);
    site.azure.token_life(200);
    let provider = site.provider(|config| config.max_attempts = 1);
    let read = async || shown(&fetch(&provider, "db").await.unwrap());
    for _ in 0..3 {
        assert_eq!(read().await, "x");
    }
    assert_eq!(site.azure.minted(), 1, "one that is short is not asked for again at once");
    site.clock.forward(31);
    assert_eq!((read().await, site.azure.minted()), ("x".to_owned(), 2));
    site.clock.forward(31);
    site.azure.refuse_sign_in(Some(7_000_222));
    assert_eq!(read().await, "x");
    let facts = provider.sign_in();
    assert!(facts.problem.unwrap().contains("has ended") && facts.expires_at.is_some());
    site.azure.end_tokens();
    assert_eq!(fetch(&provider, "db").await.unwrap_err().class, ErrorClass::Denied);
    assert_eq!(provider.sign_in().expires_at, None);
}

#[tokio::test]
async fn many_readers_sign_in_once() {
    let site = Site::start().await;
    site.azure.put("db", "x", None);
    let provider = site.provider(|_| {});
    futures::future::join_all((0..50).map(|_| fetch(&provider, "db")))
        .await
        .into_iter()
        .for_each(|r| drop(r.unwrap()));
    assert_eq!(site.azure.minted(), 1);
    site.azure.end_tokens();
    futures::future::join_all((0..50).map(|_| fetch(&provider, "db")))
        .await
        .into_iter()
        .for_each(|r| drop(r.unwrap()));
    assert_eq!(site.azure.minted(), 2);
}

#[tokio::test]
async fn a_vault_that_takes_no_token_is_not_asked_for_ever() {
    let site = Site::in_trouble(Box::new(|azure, request| {
        if request.path().starts_with("/secrets/") {
            azure.end_tokens();
        }
        None
    }))
    .await;
    site.azure.put("db", "x", None);
    let error = fetch(&site.provider(|_| {}), "db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    assert!(
        error.to_string().contains("Unauthorized (AKV10022): the token is for another cloud's vaults"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    assert_eq!((site.asked().len(), site.azure.minted()), (2, 1));
}

#[tokio::test]
async fn a_workload_signs_in_with_its_federated_token() {
    let site = Site::start().await;
    site.azure.put("db", "hunter2", None);
    let file = site.file("token");
    let provider = site.provider(|config| {
        config.identity = Identity::Workload {
            tenant_id: Some(TENANT.into()),
            client_id: Some(CLIENT.into()),
            token_file: Some(site.file("token")),
        };
    });
    std::fs::write(&file, "canary-other-token").unwrap();
    let error = fetch(&provider, "db").await.unwrap_err();
    assert!(
        error.class == ErrorClass::Denied && error.to_string().contains("no federated credential"),
        "{error}"
    );
    std::fs::write(&file, FEDERATED_TOKEN).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(shown(&fetch(&provider, "db").await.unwrap()), "hunter2");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    site.azure.end_tokens();
    let error = fetch(&provider, "db").await.unwrap_err();
    assert!(
        error.class == ErrorClass::Permanent && error.to_string().contains("others can change"),
        "{error}"
    );
}

#[tokio::test]
async fn a_machine_signs_in_with_its_managed_identity() {
    let site = Site::start().await;
    site.azure.put("db", "hunter2", None);
    // The public cloud: its authority is not asked, and goes by an older name in challenges.
    site.azure.sign_in_at("https://login.windows.net");
    let azure = Arc::clone(&site.azure);
    let machine = ScriptedServer::start(move |request, _| azure.answer(request)).await.unwrap();
    let with = |client_id: Option<&str>| {
        site.provider(|config| {
            config.cloud = Cloud::Public;
            config.identity = Identity::Managed { client_id: client_id.map(str::to_owned) };
            config.metadata_address = machine.address();
        })
    };
    for client in [None, Some(CLIENT)] {
        let provider = with(client);
        assert_eq!(shown(&fetch(&provider, "db").await.unwrap()), "hunter2");
        assert!(provider.sign_in().expires_at.is_some());
    }
    let asked = machine.requests().pop().unwrap();
    assert_eq!(
        (asked.header("metadata"), asked.query("resource").as_deref()),
        (Some("true"), Some("https://vault.azure.net"))
    );
    let error = fetch(&with(Some(TENANT)), "db").await.unwrap_err();
    assert!(
        error.class == ErrorClass::Denied && error.to_string().contains("no such managed identity"),
        "{error}"
    );
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_and_nothing_is_sent() {
    let site = Site::start().await;
    let provider = site.provider(|config| config.ca_file = None);
    let error = fetch(&provider, "db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent, "{error}");
    assert!(error.to_string().contains("not trusted: its issuer is not known"), "{error}");
    assert_eq!(site.server.requests().len(), 0);
}

#[tokio::test]
async fn a_vault_that_is_not_there_is_transient() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = Site::start().await;
    let provider = site.provider(|config| {
        config.private_endpoint = Some(closed);
        config.max_attempts = 2;
    });
    let error = fetch(&provider, "db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert!(error.to_string().contains("the vault cannot be reached"), "{error}");
}
