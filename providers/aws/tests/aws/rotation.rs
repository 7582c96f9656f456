//! Rotation by AWS itself: what moto, which has no function, cannot show.

use std::time::Duration;

use leasehold_core::{
    ports::Provider,
    provider::{Demand, ErrorClass, Followed, Verdict},
};
use leasehold_provider_aws::AwsProvider;
use leasehold_provider_conformance::{
    peers::{Moto, or_skip},
    scripted::{Answer, Reply, Request, ScriptedServer, aws},
};
use serde_json::{Value, json};

use crate::{clock::clock, setup::provider};

const OLD: &str = "11111111-2222-4333-8444-555555555555";
const NEW: &str = "99999999-2222-4333-8444-555555555555";

/// A server with these versions, whose every other answer is this.
async fn server(
    versions: &'static [(&'static str, &'static [&'static str])],
    other: Reply,
) -> ScriptedServer {
    ScriptedServer::start(move |request, _| match &*aws::operation(request) {
        "secretsmanager.ListSecretVersionIds" => aws::versions(versions, None),
        "secretsmanager.GetSecretValue" => aws::secret(NEW, "x"),
        _ => other.clone(),
    })
    .await
    .unwrap()
}

fn rotations(server: &ScriptedServer) -> Vec<Value> {
    let wanted = |request: &&Request| aws::operation(request) == "secretsmanager.RotateSecret";
    server.requests().iter().filter(wanted).map(Request::json).collect()
}

async fn followed(provider: &AwsProvider, before: &str) -> Followed {
    let before = before.parse().unwrap();
    provider.native().unwrap().follow("a", NEW, Some(&before)).await.unwrap()
}

#[tokio::test]
async fn a_rotation_is_started_once_for_each_token() {
    let started = Reply::Answer(Answer::json(200, json!({ "VersionId": NEW }).to_string()));
    let idle = server(&[(OLD, &["AWSCURRENT"])], started.clone()).await;
    let (first, _home) = provider(&idle.url(), |_| {});
    first.native().unwrap().start("a", NEW).await.unwrap();
    assert_eq!(rotations(&idle), [json!({ "SecretId": "a", "ClientRequestToken": NEW })]);
    // A token that AWS would not take is hashed.
    first.native().unwrap().start("a", "prod.db-3").await.unwrap();
    assert_eq!(rotations(&idle)[1]["ClientRequestToken"].as_str().unwrap().len(), 64);

    let working = server(&[(OLD, &["AWSCURRENT"]), (NEW, &["AWSPENDING"])], started).await;
    let (again, _home) = provider(&working.url(), |_| {});
    again.native().unwrap().start("a", NEW).await.unwrap();
    assert!(rotations(&working).is_empty(), "it is under way");
}

#[tokio::test]
async fn anothers_rotation_is_followed_and_what_aws_refuses_is_told() {
    for (code, said, class) in [
        (
            "InvalidRequestException",
            "A previous rotation isn't complete. That rotation will be reattempted.",
            None,
        ),
        (
            "InvalidRequestException",
            "No Lambda rotation function ARN is associated with this secret.",
            Some(ErrorClass::Permanent),
        ),
        (
            "AccessDeniedException",
            "not authorized to perform: secretsmanager:RotateSecret",
            Some(ErrorClass::Denied),
        ),
    ] {
        let refusal = Reply::Answer(aws::failure(400, code, said));
        let server = server(&[(OLD, &["AWSCURRENT"])], refusal).await;
        let (provider, _home) = provider(&server.url(), |_| {});
        let answer = provider.native().unwrap().start("a", NEW).await;
        assert_eq!(answer.err().map(|error| error.class), class, "{said}");
    }
}

#[tokio::test]
async fn labels_tell_how_far_a_rotation_has_come() {
    const OTHER: &str = "00000000-2222-4333-8444-555555555555";
    const IDLE: &[(&str, &[&str])] = &[(OLD, &["AWSCURRENT"])];
    const DONE: &[(&str, &[&str])] = &[(OLD, &["AWSPREVIOUS"]), (NEW, &["AWSCURRENT", "AWSPENDING"])];
    const ANOTHERS: &[(&str, &[&str])] = &[(OLD, &["AWSPREVIOUS"]), (OTHER, &["AWSCURRENT"])];
    const GIVEN_UP: &[(&str, &[&str])] = &[(OLD, &["AWSCURRENT"]), (NEW, &[])];
    let done = |version: &str| Some(Followed::Done(version.parse().unwrap()));
    for (versions, expected) in
        [(IDLE, Some(Followed::Running)), (DONE, done(NEW)), (ANOTHERS, done(OTHER)), (GIVEN_UP, None)]
    {
        let server = server(versions, Reply::Cut).await;
        let (provider, _home) = provider(&server.url(), |_| {});
        let come = followed(&provider, OLD).await;
        match expected {
            Some(expected) => assert_eq!(come, expected, "{versions:?}"),
            None => assert!(matches!(come, Followed::Failed(_)), "{versions:?}: {come:?}"),
        }
    }
}

#[tokio::test]
async fn a_function_that_has_not_ended_in_an_hour_has_failed() {
    let now = clock().now().as_second();
    for (age, failed) in [(60, false), (3700, true)] {
        let made = now - age;
        let server = ScriptedServer::start(move |_, _| {
            let versions = json!([
                { "VersionId": OLD, "VersionStages": ["AWSCURRENT"], "CreatedDate": made - 9_000 },
                { "VersionId": NEW, "VersionStages": ["AWSPENDING"], "CreatedDate": made },
            ]);
            Reply::Answer(Answer::json(200, json!({ "Name": "a", "Versions": versions }).to_string()))
        })
        .await
        .unwrap();
        let (provider, _home) = provider(&server.url(), |_| {});
        let come = followed(&provider, OLD).await;
        assert_eq!(matches!(come, Followed::Failed(_)), failed, "{age} s: {come:?}");
    }
}

#[tokio::test]
async fn a_current_version_that_is_empty_yet_is_not_done() {
    let server = ScriptedServer::start(|request, _| match &*aws::operation(request) {
        "secretsmanager.ListSecretVersionIds" => aws::versions(&[(NEW, &["AWSCURRENT"])], None),
        _ => Reply::Answer(aws::failure(400, "ResourceNotFoundException", "no value for this version")),
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |_| {});
    assert_eq!(followed(&provider, OLD).await, Followed::Running);
}

#[tokio::test]
async fn only_what_is_writable_and_current_is_rotated() {
    let (reader, _home) = provider("http://127.0.0.1:9", |config| config.writable = false);
    assert!(reader.native().is_none() && !reader.capabilities().rotate);
    let (provider, _home) = provider("http://127.0.0.1:9", |config| config.timeout = Duration::from_secs(1));
    for (reference, class) in [
        ("a?stage=LIVE", ErrorClass::Invalid),
        ("ssm:/a", ErrorClass::Permanent),
        ("a/../b", ErrorClass::Invalid),
    ] {
        let refused = provider.native().unwrap().start(reference, NEW).await.unwrap_err();
        assert_eq!(refused.class, class, "{reference}");
    }
}

#[tokio::test]
async fn a_check_says_what_a_rotation_needs() {
    let demand = [Demand::Rotate { reference: "a".into() }];
    for rotates in [false, true] {
        let server = ScriptedServer::start(move |request, _| match &*aws::operation(request) {
            "secretsmanager.ListSecretVersionIds" => aws::versions(&[(NEW, &["AWSCURRENT"])], None),
            "secretsmanager.DescribeSecret" => Reply::Answer(Answer::json(
                200,
                json!({ "Name": "a", "RotationEnabled": rotates }).to_string(),
            )),
            _ => aws::caller("arn:aws:iam::123456789012:user/broker", "123456789012"),
        })
        .await
        .unwrap();
        let (provider, _home) = provider(&server.url(), |_| {});
        let findings = provider.check(&demand).await;
        let last = findings.iter().find(|finding| finding.step == "rotate `a`").unwrap();
        match (&last.verdict, rotates) {
            (Verdict::NotTried(why), true) => assert!(why.contains("secretsmanager:RotateSecret"), "{why}"),
            (Verdict::Failed { problem, .. }, false) => assert!(problem.contains("no rotation"), "{problem}"),
            (verdict, _) => panic!("{verdict:?}"),
        }
    }
}

#[tokio::test]
async fn passwords_are_made_by_awss_own_rules() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let (provider, _home) = provider(moto.url(), |_| {});
    let one = provider.generate("length=40,exclude-punctuation").await.unwrap();
    let other = provider.generate("length=40,exclude-punctuation").await.unwrap();
    assert_eq!((one.len(), other.len()), (40, 40));
    assert!(one.expose().iter().all(u8::is_ascii_alphanumeric));
    assert_ne!(one.expose(), other.expose());
    let odd = provider.generate("length=40,exclude-vowels").await.unwrap_err();
    assert_eq!(odd.class, ErrorClass::Invalid);

    let generate = |policy: &str| Demand::Generate { policy: policy.into() };
    let findings = provider.check(&[generate("length=40"), generate("length=1")]).await;
    let of = |policy: &str| {
        let step = format!("make a value by `{policy}`");
        findings.iter().find(|finding| finding.step == step).unwrap()
    };
    assert!(!of("length=40").is_failed() && of("length=1").is_failed(), "{findings:?}");
}
