//! Sessions: what AWS is asked for, what a holder gets, and the broker's own role.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use leasehold_core::{
    LeaseId, SpiffeId, Timestamp,
    ports::Provider,
    provider::{ErrorClass, IssueCredential, IssuedCredential, ProviderError, Revocation, Verdict},
};
use leasehold_provider_aws::{AssumedRole, AwsProvider, AwsRole, SessionRole};
use leasehold_provider_conformance::{
    peers::{Moto, or_skip},
    scripted::{Reply, Request, ScriptedServer, aws},
};

use crate::{
    issuing::{field, key, whoami},
    scenes::as_role,
    setup::{fetch, provider},
    suite::{client, role},
};

const END: &str = "2099-01-01T00:00:00Z";

fn roles(role: AwsRole) -> BTreeMap<String, AwsRole> {
    BTreeMap::from([("deploy".to_owned(), role)])
}

async fn issue(provider: &AwsProvider, ttl: Duration) -> Result<IssuedCredential, ProviderError> {
    let holder: SpiffeId = "spiffe://example.org/prod/payments/api".parse().unwrap();
    let request = IssueCredential {
        lease: LeaseId::from_bits([0; 16]),
        holder: &holder,
        role: "deploy",
        ttl,
        max_ttl: ttl,
        within: Duration::from_secs(60),
        reservation: None,
    };
    provider.issuer().unwrap().issue(request).await
}

/// Every parameter of a form whose name starts so, in order.
fn listed(request: &Request, name: &str) -> Vec<String> {
    (1..).map_while(|at| request.form(&name.replace('#', &at.to_string()))).collect()
}

#[tokio::test]
async fn a_session_names_its_lease_and_its_principal() {
    let server = ScriptedServer::start(|_, _| aws::assumed("ASIAHOLDER", "the-token", END)).await.unwrap();
    let whole = SessionRole {
        arn: "arn:aws:iam::123456789012:role/deploy".into(),
        external_id: Some("x-1".into()),
        session_policy: Some(r#"{"Statement":[]}"#.into()),
        policy_arns: vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".into()],
        tags: BTreeMap::from([("team".into(), "payments".into())]),
        transitive: vec!["team".into()],
        ..SessionRole::default()
    };
    let (provider, _home) = provider(&server.url(), |config| {
        config.roles = roles(AwsRole::AssumeRole(whole));
    });
    assert!(provider.capabilities().issue);
    let issued = issue(&provider, Duration::from_millis(1_000_500)).await.unwrap();
    let end: Timestamp = END.parse().unwrap();
    assert!(matches!(issued.revocation, Revocation::NoneUntil(until) if until == end));
    assert_eq!((issued.expires_at, issued.version.as_str()), (Some(end), "ASIAHOLDER"));
    assert_eq!(field(&issued.value, "secret_access_key"), "canary-of-ASIAHOLDER");
    assert_eq!(field(&issued.value, "expiration"), END);
    assert!(!format!("{issued:?}").contains("canary"));

    let sent = server.requests().pop().unwrap();
    let lease = "a".repeat(26);
    for (name, value) in [
        ("Action", "AssumeRole"),
        ("RoleArn", "arn:aws:iam::123456789012:role/deploy"),
        ("RoleSessionName", &format!("lh-{lease}")),
        ("SourceIdentity", "prod+payments+api@example.org"),
        ("DurationSeconds", "1001"),
        ("ExternalId", "x-1"),
        ("Policy", r#"{"Statement":[]}"#),
        ("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
        ("TransitiveTagKeys.member.1", "team"),
    ] {
        assert_eq!(sent.form(name).as_deref(), Some(value), "{name}");
    }
    let keys = listed(&sent, "Tags.member.#.Key");
    let values = listed(&sent, "Tags.member.#.Value");
    let tags: Vec<_> = keys.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
    let principal = "spiffe://example.org/prod/payments/api";
    let lease = format!("lease-{lease}");
    assert_eq!(tags, [("team", "payments"), ("leasehold-principal", principal), ("leasehold-lease", &lease)]);
}

#[tokio::test]
async fn a_trust_policy_that_allows_no_tags_is_not_asked_for_any() {
    let server = ScriptedServer::start(|_, _| aws::assumed("ASIAHOLDER", "the-token", END)).await.unwrap();
    let bare = SessionRole {
        arn: "arn:aws:iam::123456789012:role/deploy".into(),
        source_identity: false,
        principal_tags: false,
        ..SessionRole::default()
    };
    let (provider, _home) = provider(&server.url(), |config| config.roles = roles(AwsRole::AssumeRole(bare)));
    issue(&provider, Duration::from_secs(60)).await.unwrap();
    let sent = server.requests().pop().unwrap();
    assert_eq!(sent.form("DurationSeconds").as_deref(), Some("900"), "AWS's shortest");
    for absent in ["SourceIdentity", "Tags.member.1.Key", "Policy", "PolicyArns.member.1.arn", "ExternalId"] {
        assert_eq!(sent.form(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn a_refused_session_says_why() {
    let too_long =
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
    let denied =
        "User: arn:aws:iam::123456789012:user/x is not authorized to perform: sts:TagSession on resource: y";
    for (status, code, message, class, said) in [
        (403, "AccessDenied", denied, ErrorClass::Denied, "sts:TagSession"),
        (400, "ValidationError", too_long, ErrorClass::Invalid, "1 hour session limit"),
        (400, "PackedPolicyTooLarge", "too large", ErrorClass::Permanent, "PackedPolicyTooLarge"),
        (403, "RegionDisabledException", "STS is not activated", ErrorClass::Permanent, "RegionDisabled"),
        (400, "Throttling", "Rate exceeded", ErrorClass::Throttled, "Throttling"),
        (403, "ExpiredToken", "The security token is expired", ErrorClass::Denied, "ExpiredToken"),
    ] {
        let server =
            ScriptedServer::start(move |_, _| Reply::Answer(aws::token_failure(status, code, message)));
        let server = server.await.unwrap();
        let arn = "arn:aws:iam::123456789012:role/deploy".into();
        let (provider, _home) = provider(&server.url(), |config| {
            config.max_attempts = 1;
            config.roles = roles(AwsRole::AssumeRole(SessionRole { arn, ..SessionRole::default() }));
        });
        let error = issue(&provider, Duration::from_secs(900)).await.unwrap_err();
        assert_eq!(error.class, class, "{error}");
        let text = error.to_string();
        assert!(text.starts_with("AssumeRole of `deploy`: AWS answered") && text.contains(said), "{text}");
        assert!(!text.contains("123456789012"), "{text}");
        let refused = provider.sign_in().problem.is_some();
        assert_eq!(refused, code == "ExpiredToken", "{code} is what health shows");
    }
}

#[tokio::test]
async fn a_session_token_is_asked_for_when_the_role_says_so() {
    let server = ScriptedServer::start(|_, _| aws::session("ASIASESSION", "the-token", END)).await.unwrap();
    let (provider, _home) = provider(&server.url(), |config| config.roles = roles(AwsRole::SessionToken));
    let issued = issue(&provider, Duration::from_secs(50_000)).await.unwrap();
    assert_eq!(field(&issued.value, "session_token"), "the-token");
    let sent = server.requests().pop().unwrap();
    assert_eq!(sent.form("Action").as_deref(), Some("GetSessionToken"));
    assert_eq!(sent.form("DurationSeconds").as_deref(), Some("43200"), "twelve hours at most");

    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let (provider, _home) =
        crate::setup::provider(moto.url(), |config| config.roles = roles(AwsRole::SessionToken));
    let issued = issue(&provider, Duration::from_secs(900)).await.unwrap();
    assert!(matches!(issued.revocation, Revocation::NoneUntil(_)));
}

#[tokio::test]
async fn a_holder_is_whom_cloudtrail_names() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let deploy = AwsRole::AssumeRole(role(&moto, "deploy").await);
    let (provider, _home) = provider(moto.url(), |config| config.roles = roles(deploy));
    let issued = issue(&provider, Duration::from_secs(900)).await.unwrap();
    let arn = whoami(moto.url(), key(&issued.value)).await.unwrap();
    let expected = format!("arn:aws:sts::123456789012:assumed-role/deploy/lh-{}", "a".repeat(26));
    assert_eq!(arn, expected);
}

#[tokio::test]
async fn the_broker_takes_on_its_own_role_once_and_renews_it_before_its_end() {
    let soon = {
        let now = crate::clock::clock().now();
        move |seconds: u64| now.checked_add(Duration::from_secs(seconds)).unwrap().to_string()
    };
    // Its first session ends within the time in which it is renewed; the second does not.
    let ends = [soon(60), soon(3600)];
    let server = ScriptedServer::start(move |request, _| match aws::session_token(request) {
        None if aws::operation(request) == "sts.AssumeRole" => {
            let first = request.form("ExternalId").as_deref() == Some("x-1");
            let end = if first { &ends[0] } else { &ends[1] };
            aws::assumed("ASIABROKER", "of-the-role", end)
        }
        Some("of-the-role") => aws::secret("11111111-2222-4333-8444-555555555555", "x"),
        _ => Reply::Answer(aws::failure(400, "UnrecognizedClientException", "who?")),
    })
    .await
    .unwrap();
    let asked = |server: &ScriptedServer| {
        server.requests().iter().filter(|request| aws::operation(request) == "sts.AssumeRole").count()
    };
    for (external_id, times) in [(Some("x-1"), 3), (None, 1)] {
        let before = asked(&server);
        let (provider, _home) = provider(&server.url(), |config| {
            as_role(config);
            let own = config.assume_role.take().unwrap();
            config.assume_role = Some(AssumedRole {
                external_id: external_id.map(str::to_owned),
                session_name: "broker-1".into(),
                ..own
            });
        });
        assert_eq!(provider.sign_in().expires_at, None, "it asks nobody");
        for _ in 0..3 {
            fetch(&provider, "a").await.unwrap();
        }
        assert_eq!(asked(&server) - before, times, "{external_id:?}");
        let end = provider.sign_in().expires_at.unwrap();
        assert!(end > crate::clock::clock().now(), "{end}");
        assert_eq!(provider.sign_in().problem, None);
    }
    let first = server.requests().remove(0);
    assert_eq!(first.form("RoleSessionName").as_deref(), Some("broker-1"));
}

#[tokio::test]
async fn a_role_that_the_broker_may_not_take_on_is_in_health() {
    let server = ScriptedServer::start(|_, _| {
        let said = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: sts:AssumeRole";
        Reply::Answer(aws::token_failure(403, "AccessDenied", said))
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), as_role);
    let error = fetch(&provider, "a").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    let said = "GetSecretValue of `a`: the broker has no AWS credentials: AssumeRole of `assume_role_arn`: AWS answered AccessDenied";
    assert!(error.to_string().starts_with(said), "{error}");
    let problem = provider.sign_in().problem.unwrap();
    assert!(problem.contains("sts:AssumeRole") && !problem.contains("123456789012"), "{problem}");
    assert_eq!(server.calls().load(Ordering::SeqCst), 1);
    let findings = provider.check(&[]).await;
    let Verdict::Failed { grant: Some(grant), .. } = &findings[0].verdict else { panic!("{findings:?}") };
    assert!(grant.contains(r#""Resource": "arn:aws:iam::123456789012:role/broker""#), "{grant}");
}

#[tokio::test]
async fn the_broker_reads_with_the_role_that_it_took_on() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    role(&moto, "broker").await;
    client(moto.url()).create_secret().name("a").secret_string("x").send().await.unwrap();
    let (provider, _home) = provider(moto.url(), as_role);
    fetch(&provider, "a").await.unwrap();
    assert!(provider.sign_in().expires_at.is_some());
    assert_eq!(provider.capabilities().max_ttl, None);
}
