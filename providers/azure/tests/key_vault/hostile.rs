//! What reaches the wire, whatever a `ref` or the rest of a mount's path is.

use std::collections::BTreeSet;

use leasehold_core::{
    SecretPath,
    ports::Provider as _,
    provider::{Change, ChangeSecret, ErrorClass},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::kit::{Site, fetch};

/// Whether a path is that of exactly one secret, or of one of its versions.
fn is_one_secrets(path: &str) -> bool {
    let name = |text: &str| {
        (1..=127).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let version = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["", "secrets" | "deletedsecrets", one] | ["", "secrets", one, "" | "versions"] => name(one),
        ["", "deletedsecrets", one, "recover"] => name(one),
        ["", "secrets", one, id] => name(one) && version(id),
        _ => false,
    }
}

fn run(strategy: impl Strategy<Value = String>, prefix: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let site = runtime.block_on(Site::start());
    let provider = runtime.block_on(async { site.provider(|config| config.max_attempts = 1) });
    let runner = &mut TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() });
    let mut seen = 0;
    let outcome = runner.run(&strategy, |reference| {
        let accepted = leasehold_provider_azure::check_reference(&reference).is_ok();
        let error = runtime.block_on(async {
            drop(provider.versions(&reference).await);
            let change =
                ChangeSecret { reference: &reference, version: None, change: Change::Delete, expected: None };
            drop(provider.change(change).await);
            fetch(&provider, &reference).await.unwrap_err()
        });
        let refused = error.class == ErrorClass::Invalid;
        prop_assert_eq!(accepted, !refused, "{:?}: {}", reference, error);
        Ok(())
    });
    outcome.unwrap();
    for request in site.server.requests() {
        let host = request.header("host").unwrap();
        if host == "myvault.vault.azure.net" {
            seen += 1;
            assert!(is_one_secrets(request.path()), "{}", request.target());
            let query: BTreeSet<_> = request.target().split('?').skip(1).collect();
            assert_eq!(query, BTreeSet::from(["api-version=2025-07-01"]), "{}", request.target());
            let name = request.path().split('/').nth(2).unwrap();
            assert!(name.starts_with(prefix), "`{name}` is not under `{prefix}`");
        } else {
            assert!(request.path().ends_with("/oauth2/v2.0/token"), "{host} {}", request.target());
        }
    }
    assert!(seen > 0, "nothing was asked, so nothing was shown");
}

#[test]
fn any_text_is_one_secret_or_is_refused() {
    run(
        prop_oneof![
            "\\PC{0,24}",
            "[a-zA-Z0-9-]{1,12}",
            "[a-z/.%?#&=\\\\:@-]{0,24}",
            "[a-z-]{1,4}(@[0-9a-f]{32})?"
        ],
        "",
    );
}

#[test]
fn the_rest_of_a_mounts_path_stays_under_its_prefix() {
    let rest =
        prop_oneof!["[A-Za-z0-9._-]{1,12}(/[A-Za-z0-9._-]{1,8}){0,2}", "[A-Za-z0-9-]{1,12}(/[0-9a-f]{32})?"];
    let rest =
        rest.prop_filter("what a path can be", |rest| format!("prod/{rest}").parse::<SecretPath>().is_ok());
    run(rest.prop_map(|rest| format!("team-{rest}")), "team-");
}
