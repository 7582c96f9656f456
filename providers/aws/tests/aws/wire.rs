//! Whatever a `ref` is, what reaches AWS is one call for one name: the one that was written, under its prefix.

use std::sync::atomic::Ordering;

use leasehold_core::{SecretPath, ports::Provider};
use leasehold_provider_aws::{AwsProvider, check_reference};
use leasehold_provider_conformance::scripted::{Request, ScriptedServer, aws};
use proptest::{prelude::*, test_runner::TestRunner};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::setup::{fetch, provider};

/// A provider, and the server that sees what it sends.
struct Wire {
    runtime: Runtime,
    server: ScriptedServer,
    provider: AwsProvider,
    _home: TempDir,
}

impl Wire {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (server, (provider, home)) = runtime.block_on(async {
            let server = ScriptedServer::start(|request, _| match &*aws::operation(request) {
                "AmazonSSM.GetParameter" => aws::parameter(3, "x"),
                _ => aws::secret("11111111-2222-4333-8444-555555555555", "x"),
            });
            let server = server.await.unwrap();
            let provider = provider(&server.url(), |_| {});
            (server, provider)
        });
        Self { runtime, server, provider, _home: home }
    }

    /// What a fetch sends; `None` when it sends nothing.
    fn sent(&self, reference: &str) -> Option<Request> {
        let before = self.server.calls().load(Ordering::SeqCst);
        let fetched = self.runtime.block_on(fetch(&self.provider, reference));
        let calls = self.server.calls().load(Ordering::SeqCst).saturating_sub(before);
        assert_eq!(calls, u64::from(fetched.is_ok()), "{reference:?}");
        assert_eq!(fetched.is_ok(), check_reference(reference).is_ok(), "{reference:?}");
        (calls == 1).then(|| self.server.requests().pop().unwrap())
    }
}

/// The name in a request, when that is all that it asks for.
fn name(request: &Request) -> String {
    assert!(request.head.starts_with("POST / HTTP/1.1\r\n"), "{}", request.head);
    let body = request.json();
    let fields = body.as_object().unwrap();
    let expected: &[&str] = match &*aws::operation(request) {
        "secretsmanager.GetSecretValue" => &["SecretId", "VersionStage"],
        "AmazonSSM.GetParameter" => &["Name", "WithDecryption"],
        other => panic!("{other}"),
    };
    assert_eq!(fields.keys().collect::<Vec<_>>(), expected);
    fields[expected[0]].as_str().unwrap().to_owned()
}

#[test]
fn any_text_is_one_name_or_nothing() {
    let wire = Wire::new();
    let texts = prop_oneof![
        "(ssm:)?(arn:aws:(secretsmanager|ssm):[a-z0-9-]{1,12}:[0-9]{11,13}:(secret:|parameter/))?[a-zA-Z0-9/_+=.@?&: %-]{0,30}",
        "(ssm:)?\\PC{0,12}",
        "[a-z/.]{1,12}(\\?(stage=[A-Z]{1,8}|format=raw)){0,2}",
    ];
    let mut accepted = 0;
    TestRunner::new(ProptestConfig::with_cases(400))
        .run(&texts, |text| {
            if let Some(request) = wire.sent(&text) {
                let bare = text.strip_prefix("ssm:").unwrap_or(&text);
                prop_assert_eq!(name(&request), bare.split('?').next().unwrap());
            }
            Ok(())
        })
        .unwrap();
    for text in ["a", "ssm:/a:1", "/a/b+c=d.e@f?stage=X&format=raw"] {
        accepted += u32::from(wire.sent(text).is_some());
    }
    assert_eq!(accepted, 3);
}

#[test]
fn any_rest_of_a_mount_is_under_its_prefix() {
    let wire = Wire::new();
    let prefixes = [
        ("", "team/", ""),
        ("", "/team/", "?format=raw"),
        ("", "arn:aws:secretsmanager:us-east-1:210987654321:secret:team/", "?stage=AWSPREVIOUS"),
        ("ssm:", "/team/", ""),
        ("ssm:", "arn:aws:ssm:us-east-1:210987654321:parameter/team/", ""),
    ];
    let cases = (0..prefixes.len(), "[A-Za-z0-9._-]{1,10}(/[A-Za-z0-9._-]{1,10}){1,14}");
    TestRunner::new(ProptestConfig::with_cases(300))
        .run(&cases, |(at, path)| {
            let Ok(path) = path.parse::<SecretPath>() else { return Ok(()) };
            let (_, rest) = path.as_str().split_once('/').unwrap();
            let (marker, prefix, end) = prefixes[at];
            if let Some(request) = wire.sent(&format!("{marker}{prefix}{rest}{end}")) {
                prop_assert_eq!(name(&request), format!("{prefix}{rest}"));
            }
            Ok(())
        })
        .unwrap();
    assert!(wire.sent("team/x/y").is_some());
    assert!(wire.provider.capabilities().read);
}
