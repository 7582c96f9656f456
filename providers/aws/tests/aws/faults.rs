//! What AWS can answer and its stand-in cannot, played by a script; and where region, keys and endpoints come from.

use std::{
    os::unix::fs::PermissionsExt,
    sync::{Mutex, atomic::Ordering},
    time::Duration,
};

use leasehold_core::{
    SecretValue,
    ports::Provider,
    provider::{ErrorClass, Fetched, ProviderError, Stage, WriteVersion},
};
use leasehold_provider_aws::AwsProvider;
use leasehold_provider_conformance::scripted::{Answer, Reply, Request, ScriptedServer, aws};

const VERSION: &str = "11111111-2222-4333-8444-555555555555";
const TOKEN: &str = "99999999-2222-4333-8444-555555555555";

fn value(text: &str) -> Reply {
    aws::secret(VERSION, text)
}

fn failure(status: u16, code: &str) -> Answer {
    aws::failure(status, code, "because")
}

async fn fetch(provider: &AwsProvider) -> Result<Fetched, ProviderError> {
    crate::setup::fetch(provider, "a").await
}

async fn write(provider: &AwsProvider, text: &str, expected: Option<&str>) -> Result<String, ProviderError> {
    let value = SecretValue::plain(text.to_owned());
    let expected = expected.map(|id| id.parse().unwrap());
    let request = WriteVersion {
        reference: "a",
        value: &value,
        token: TOKEN,
        expected: expected.as_ref(),
        stage: Stage::Current,
    };
    provider.write(request).await.map(|version| version.to_string())
}

#[tokio::test]
async fn answers_have_their_classes_and_are_asked_again_only_when_that_may_help() {
    use ErrorClass::*;
    for (status, code, class, calls) in [
        (400, "AccessDeniedException", Denied, 1),
        (400, "UnrecognizedClientException", Denied, 1),
        (400, "ExpiredTokenException", Denied, 1),
        (400, "ResourceNotFoundException", Absent, 1),
        (400, "InvalidRequestException", Absent, 1),
        (400, "InvalidParameterException", Invalid, 1),
        (400, "DecryptionFailure", Permanent, 1),
        (400, "ThrottlingException", Throttled, 2),
        (500, "InternalServiceError", Transient, 2),
        (503, "ServiceUnavailable", Transient, 2),
    ] {
        let server = ScriptedServer::start(move |_, _| Reply::Answer(failure(status, code))).await.unwrap();
        let (provider, _home) = crate::setup::provider(&server.url(), |config| config.max_attempts = 2);
        let error = fetch(&provider).await.unwrap_err();
        assert_eq!(error.class, class, "{code}: {error}");
        assert_eq!(server.calls().load(Ordering::SeqCst), calls, "{code}");
        assert_eq!(error.to_string(), format!("GetSecretValue of `a`: AWS answered {code}: because"));
    }
}

#[tokio::test]
async fn a_refusal_in_xml_is_known_by_its_status() {
    let xml =
        Answer { status: 403, headers: vec![], body: b"<Error><Code>AccessDenied</Code></Error>".to_vec() };
    let server = ScriptedServer::start(move |_, _| Reply::Answer(xml.clone())).await.unwrap();
    let (provider, _home) = crate::setup::provider(&server.url(), |_| {});
    assert_eq!(fetch(&provider).await.unwrap_err().class, ErrorClass::Denied);
}

#[tokio::test]
async fn a_long_hint_is_handed_on_and_not_waited_for() {
    for (header, text, hint) in [("retry-after", "7", 7_000), ("x-amz-retry-after", "5500", 5_500)] {
        let answer = failure(400, "ThrottlingException").header(header, text);
        let server = ScriptedServer::start(move |_, _| Reply::Answer(answer.clone())).await.unwrap();
        let (provider, _home) = crate::setup::provider(&server.url(), |_| {});
        let error = fetch(&provider).await.unwrap_err();
        assert_eq!(
            (error.class, error.retry_after),
            (ErrorClass::Throttled, Some(Duration::from_millis(hint)))
        );
        assert_eq!(server.calls().load(Ordering::SeqCst), 1, "{header}");
    }
}

#[tokio::test]
async fn a_short_hint_is_followed() {
    let server = ScriptedServer::start(|_, before| match before {
        0 => Reply::Answer(failure(400, "ThrottlingException").header("x-amz-retry-after", "5")),
        1 => Reply::Cut,
        _ => value("hunter2"),
    })
    .await
    .unwrap();
    let (provider, _home) = crate::setup::provider(&server.url(), |_| {});
    let fetched = fetch(&provider).await.unwrap();
    assert_eq!(fetched.value.fields.values().next().unwrap().expose(), b"hunter2");
    assert_eq!(fetched.version.as_str(), VERSION);
    assert_eq!(fetched.created_at.unwrap().as_millisecond(), 1_800_000_000_500);
    assert_eq!(server.calls().load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn silence_stalls_and_cuts_end_in_time_and_are_transient() {
    let answer = || match value("canary-2a6d") {
        Reply::Answer(answer) => answer,
        _ => unreachable!(),
    };
    for reply in [
        Reply::Silence,
        Reply::StallInBody(answer()),
        Reply::CutInBody(answer()),
        Reply::Cut,
        Reply::Answer(Answer::json(200, "{\"SecretString\":\"canary-2a6d\"")),
    ] {
        let shown = format!("{reply:?}");
        let server = ScriptedServer::start(move |_, _| reply.clone()).await.unwrap();
        let (provider, _home) = crate::setup::provider(&server.url(), |config| {
            config.attempt_timeout = Duration::from_millis(200);
            config.max_attempts = 2;
        });
        let error = fetch(&provider).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient, "{shown}: {error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        assert!(server.calls().load(Ordering::SeqCst) <= 2, "{shown}");
    }
}

#[tokio::test]
async fn nobody_there_is_transient() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (provider, _home) =
        crate::setup::provider(&format!("http://{closed}"), |config| config.max_attempts = 2);
    let error = fetch(&provider).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
}

#[tokio::test]
async fn an_odd_answer_is_no_secret() {
    for body in [
        r#"{"VersionId":"11111111-2222-4333-8444-555555555555"}"#,
        r#"{"SecretString":"x"}"#,
        r#"{"SecretString":"x","VersionId":"a b"}"#,
    ] {
        let server = ScriptedServer::start(move |_, _| Reply::Answer(Answer::json(200, body))).await.unwrap();
        let (provider, _home) = crate::setup::provider(&server.url(), |_| {});
        assert_eq!(fetch(&provider).await.unwrap_err().class, ErrorClass::Permanent, "{body}");
    }
}

/// A Secrets Manager whose current version is `current`, and which moves a label only from where it is.
fn manager(current: &'static str) -> impl Fn(&Request, u64) -> Reply + Send + Sync {
    let current = Mutex::new(current.to_owned());
    move |request, _| {
        let mut current = current.lock().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        match &*aws::operation(request) {
            "secretsmanager.PutSecretValue" => {
                assert_eq!(body.pointer("/VersionStages/0").unwrap(), "leasehold-pending");
                let id = body.get("ClientRequestToken").unwrap();
                Reply::Answer(Answer::json(200, format!(r#"{{"VersionId":{id}}}"#)))
            }
            "secretsmanager.UpdateSecretVersionStage"
                if body.get("RemoveFromVersionId").unwrap() == &**current =>
            {
                *current = body.get("MoveToVersionId").unwrap().as_str().unwrap().to_owned();
                Reply::Answer(Answer::json(200, "{}"))
            }
            "secretsmanager.UpdateSecretVersionStage" => {
                Reply::Answer(failure(400, "InvalidParameterException"))
            }
            "secretsmanager.GetSecretValue" => {
                let body = format!(r#"{{"SecretString":"x","VersionId":"{current}"}}"#);
                Reply::Answer(Answer::json(200, body))
            }
            other => unreachable!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_conditional_write_moves_the_label_or_nothing() {
    let server = ScriptedServer::start(manager(VERSION)).await.unwrap();
    let (provider, _home) = crate::setup::provider(&server.url(), |_| {});
    assert_eq!(write(&provider, "new", Some(VERSION)).await.unwrap(), TOKEN);
    assert_eq!(write(&provider, "new", Some(VERSION)).await.unwrap(), TOKEN, "repeated");

    let server = ScriptedServer::start(manager("00000000-2222-4333-8444-555555555555")).await.unwrap();
    let (provider, _home) = crate::setup::provider(&server.url(), |_| {});
    let error = write(&provider, "new", Some(VERSION)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid);
    assert!(error.to_string().contains("is at version 00000000-"), "{error}");
}

#[tokio::test]
async fn a_writes_error_does_not_repeat_the_value() {
    for (code, class) in [
        ("ResourceExistsException", ErrorClass::Invalid),
        ("LimitExceededException", ErrorClass::Permanent),
        ("ValidationException", ErrorClass::Invalid),
    ] {
        let server = ScriptedServer::start(move |request, _| {
            let echoed = String::from_utf8_lossy(&request.body).replace('"', "'");
            let body = format!(r#"{{"__type":"{code}","message":"Value at {echoed}"}}"#);
            Reply::Answer(Answer::json(400, body))
        })
        .await
        .unwrap();
        let (provider, _home) = crate::setup::provider(&server.url(), |config| config.max_attempts = 1);
        let error = write(&provider, "canary-44e0", None).await.unwrap_err();
        assert_eq!(error.class, class, "{code}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        let sent = server.requests().pop().unwrap();
        assert!(String::from_utf8_lossy(&sent.body).contains("canary-44e0"), "the value was sent");
    }
}

#[tokio::test]
async fn a_key_file_is_read_anew_and_must_be_private() {
    let server = ScriptedServer::start(|_, _| value("x")).await.unwrap();
    let (provider, home) = crate::setup::provider(&server.url(), |_| {});
    let key = home.path().join("key");
    fetch(&provider).await.unwrap();
    std::fs::write(&key, "another-secret-key").unwrap();
    fetch(&provider).await.unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = fetch(&provider).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.to_string().contains("chmod 600"), "{error}");
    std::fs::remove_file(&key).unwrap();
    assert_eq!(fetch(&provider).await.unwrap_err().class, ErrorClass::Permanent);
    assert_eq!(server.calls().load(Ordering::SeqCst), 2);
}
