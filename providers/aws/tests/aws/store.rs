//! The Parameter Store.

use leasehold_core::{
    SecretValue,
    ports::Provider,
    provider::{Change, ChangeSecret, ErrorClass, Fetch, Stage, WriteVersion},
};
use leasehold_provider_conformance::{
    peers::{Moto, or_skip},
    scripted::{Reply, ScriptedServer, aws},
};

use crate::setup::{fetch, provider, put_parameter, text};

#[tokio::test]
async fn parameters_are_read_by_version_and_listed() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let (provider, _home) = provider(moto.url(), |_| {});
    put_parameter(&moto, "/prod/db", "old").await;
    put_parameter(&moto, "/prod/db", r#"{"user":"app","password":"p"}"#).await;

    let current = fetch(&provider, "ssm:/prod/db").await.unwrap();
    assert_eq!((current.version.as_str(), current.value.fields.len()), ("2", 2));
    assert!(current.created_at.is_some());
    let raw = fetch(&provider, "ssm:/prod/db?format=raw").await.unwrap();
    assert!(text(&raw).starts_with('{'));
    assert_eq!(text(&fetch(&provider, "ssm:/prod/db:1").await.unwrap()), "old");
    let first = "1".parse().unwrap();
    let asked = Fetch { reference: "ssm:/prod/db", version: Some(&first) };
    assert_eq!(text(&provider.fetch(asked).await.unwrap()), "old");
    let arn = "ssm:arn:aws:ssm:eu-central-1:123456789012:parameter/prod/db";
    assert_eq!(fetch(&provider, arn).await.unwrap().version, current.version);

    let listed = provider.versions("ssm:/prod/db").await.unwrap();
    let shown: Vec<_> = listed.iter().map(|facts| (facts.version.as_str(), facts.current)).collect();
    assert_eq!(shown, [("2", true), ("1", false)]);

    for absent in ["ssm:/prod/nothing", "ssm:/prod/db:7", "ssm:/prod/db:nobodys"] {
        let error = fetch(&provider, absent).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Absent, "{absent}: {error}");
    }
}

#[tokio::test]
async fn parameters_are_only_read() {
    let server = ScriptedServer::start(|_, _| Reply::Cut).await.unwrap();
    let (provider, _home) = provider(&server.url(), |_| {});
    let value = SecretValue::plain("x".to_owned());
    let reference = "ssm:/prod/db";
    let write = WriteVersion { reference, value: &value, token: "t", expected: None, stage: Stage::Current };
    assert_eq!(provider.write(write).await.unwrap_err().class, ErrorClass::Permanent);
    let delete = ChangeSecret { reference, version: None, change: Change::Delete, expected: None };
    assert_eq!(provider.change(delete).await.unwrap_err().class, ErrorClass::Permanent);
    for version in ["0", "latest", "11111111-2222-4333-8444-555555555555"] {
        let version = version.parse().unwrap();
        let asked = Fetch { reference, version: Some(&version) };
        assert_eq!(provider.fetch(asked).await.unwrap_err().class, ErrorClass::Invalid);
    }
    assert_eq!(server.calls().load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn its_errors_have_their_classes() {
    use ErrorClass::*;
    for (status, code, class) in [
        (400, "ParameterNotFound", Absent),
        (400, "ParameterVersionNotFound", Absent),
        (400, "AccessDeniedException", Denied),
        (400, "ThrottlingException", Throttled),
        (400, "InvalidKeyId", Permanent),
        (500, "InternalServerError", Transient),
    ] {
        let server = ScriptedServer::start(move |_, _| Reply::Answer(aws::failure(status, code, "because")));
        let server = server.await.unwrap();
        let (provider, _home) = provider(&server.url(), |config| config.max_attempts = 1);
        let error = fetch(&provider, "ssm:/a:live").await.unwrap_err();
        assert_eq!(error.class, class, "{code}");
        assert_eq!(error.to_string(), format!("GetParameter of `/a:live`: AWS answered {code}: because"));
        let sent = server.requests().pop().unwrap().json();
        assert_eq!((&sent["Name"], &sent["WithDecryption"]), (&"/a:live".into(), &true.into()));
    }
}
