//! What reaches the wire for any name: one path under its prefix, or nothing.

use std::sync::atomic::Ordering;

use leasehold_core::{
    SecretPath, SecretValue,
    path::PathPrefix,
    ports::Provider,
    provider::{Fetch, Stage, WriteVersion},
};
use leasehold_provider_conformance::scripted::{ScriptedServer, vault};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::kit::{Home, provider, quick};

/// Names that might be something else than they seem.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("..".to_owned()),
        Just("%2e%2e".to_owned()),
        Just("%2f".to_owned()),
        Just("//".to_owned()),
        Just("?version=1".to_owned()),
        Just("#".to_owned()),
        Just("\\".to_owned()),
        Just("sys".to_owned()),
        Just("data".to_owned()),
        Just("kv1:".to_owned()),
        "[a-zA-Z0-9._@+=,:~-]{1,8}",
        "\\PC{1,4}",
    ];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.join("/"))
}

/// Whatever text, also under the prefix of a mount, and whatever `{rest}` a secret's path can have.
#[test]
fn whatever_the_name_what_is_asked_for_is_one_path_under_its_prefix() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (server, provider, _home) = runtime.block_on(async {
        let server = ScriptedServer::start(vault::kv_of_one_value).await.unwrap();
        let home = Home::new();
        let mut config = home.with_token(server.url(), "s.x");
        config.writable = true;
        (server, provider(quick(config)), home)
    });
    // Signing in is a call of its own.
    runtime
        .block_on(async { provider.fetch(Fetch { reference: "kv/data/a", version: None }).await.unwrap() });
    let value = SecretValue::plain("x".to_owned());
    let ask = |reference: &str| {
        let before = server.calls().load(Ordering::SeqCst);
        runtime.block_on(async {
            let fetched = provider.fetch(Fetch { reference, version: None }).await;
            let request = WriteVersion {
                reference,
                value: &value,
                token: reference,
                expected: None,
                stage: Stage::Current,
            };
            let written = provider.write(request).await;
            // Nothing that is refused was asked for.
            let asked = server.calls().load(Ordering::SeqCst) - before;
            assert_eq!(fetched.is_ok(), asked > 0, "{reference:?}");
            assert!(fetched.is_ok() || written.is_err(), "{reference:?}");
            asked
        });
        server.requests().split_off(usize::try_from(before).unwrap())
    };
    let mut runner = TestRunner::new(ProptestConfig { cases: 200, ..ProptestConfig::default() });
    runner
        .run(&(hostile(), any::<bool>(), any::<bool>()), |(name, under, old)| {
            let (prefix, on_wire) = match (under, old) {
                (false, _) => ("", "/v1/"),
                (true, false) => ("kv/data/shared/", "/v1/kv/data/shared/"),
                (true, true) => ("kv1:old/shared/", "/v1/old/shared/"),
            };
            let reference = format!("{prefix}{name}");
            let bare = reference.split('?').next().unwrap_or_default();
            let bare = bare.strip_prefix("kv1:").unwrap_or(bare);
            for request in ask(&reference) {
                let path = request.path();
                prop_assert!(path.starts_with(on_wire), "{reference:?} became {path}");
                prop_assert_eq!(path, format!("/v1/{}", bare));
                prop_assert!(!path.contains(['%', '\\']) && !path.contains("//"), "{path}");
                prop_assert!(path.split('/').all(|segment| !matches!(segment, "." | "..")), "{path}");
                prop_assert_eq!(request.target(), path, "a query came along");
            }
            Ok(())
        })
        .unwrap();
    let mount: PathPrefix = "prod/shared/".parse().unwrap();
    let rests = prop::collection::vec("[A-Za-z0-9._-]{1,6}", 1..5);
    runner
        .run(&rests, |rest| {
            let Ok(path) = format!("prod/shared/{}", rest.join("/")).parse::<SecretPath>() else {
                return Ok(());
            };
            let rest = mount.rest_of(&path).unwrap();
            for request in ask(&format!("kv/data/shared/{rest}")) {
                prop_assert_eq!(request.target(), format!("/v1/kv/data/shared/{rest}"));
            }
            Ok(())
        })
        .unwrap();
}
