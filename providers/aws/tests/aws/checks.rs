//! What `check` says: signed in or not, and what is missing, with the statement that grants it.

use std::collections::BTreeMap;

use leasehold_core::{
    ports::Provider,
    provider::{Demand, Finding, Verdict},
};
use leasehold_provider_aws::{AwsProvider, AwsRole, SessionRole};
use leasehold_provider_conformance::{
    authority::Authority,
    peers::{Moto, or_skip},
    scripted::{Reply, Request, ScriptedServer, aws},
};
use serde_json::{Value, json};

use crate::{
    clock::clock,
    setup::{allow, config, provider, user},
    suite::{client, role},
};

const BROKER: &str = "arn:aws:sts::123456789012:assumed-role/leasehold/i-1";

fn read(reference: &str) -> Demand {
    Demand::Read { reference: reference.into() }
}

fn write(reference: &str) -> Demand {
    Demand::Write { reference: reference.into() }
}

fn issue() -> Demand {
    Demand::Issue { role: "deploy".into() }
}

fn lent(arn: &str) -> BTreeMap<String, AwsRole> {
    let role = SessionRole { arn: arn.to_owned(), ..SessionRole::default() };
    BTreeMap::from([("deploy".to_owned(), AwsRole::AssumeRole(role))])
}

/// The verdict of a step; what is wrong, the way out, the grant.
fn failed(findings: &[Finding], step: &str) -> (String, String, String) {
    let finding = findings.iter().find(|finding| finding.step == step);
    match &finding.unwrap_or_else(|| panic!("{step} is not in {findings:?}")).verdict {
        Verdict::Failed { problem, remedy, grant } => {
            (problem.clone(), remedy.clone(), grant.clone().unwrap_or_default())
        }
        other => panic!("{step}: {other:?}"),
    }
}

fn passed(findings: &[Finding], step: &str) -> bool {
    findings.iter().any(|finding| finding.step == step && matches!(finding.verdict, Verdict::Passed(_)))
}

async fn scripted(
    script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (ScriptedServer, AwsProvider, tempfile::TempDir) {
    let server = ScriptedServer::start(move |request, _| match &*aws::operation(request) {
        "sts.GetCallerIdentity" => aws::caller(BROKER, "123456789012"),
        _ => script(request),
    });
    let server = server.await.unwrap();
    let (provider, home) = provider(&server.url(), |config| {
        config.max_attempts = 1;
        config.roles = lent("arn:aws:iam::210987654321:role/deploy");
    });
    (server, provider, home)
}

#[tokio::test]
async fn what_is_missing_is_said_with_the_statement_that_grants_it() {
    let (_server, provider, _home) = scripted(|request| match &*aws::operation(request) {
        "sts.AssumeRole" => Reply::Answer(aws::token_failure(403, "AccessDenied", "not authorized")),
        _ => Reply::Answer(aws::failure(400, "AccessDeniedException", "not authorized to perform")),
    })
    .await;
    let demands = [read("prod/db"), read("team/{rest}"), read("ssm:/prod/db"), issue()];
    let findings = provider.check(&demands).await;
    assert!(passed(&findings, "sign in"), "{findings:?}");
    for (step, action, resource) in [
        (
            "read `prod/db`",
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-??????",
        ),
        (
            "read `team/{rest}`",
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:team/*",
        ),
        (
            "read `ssm:/prod/db`",
            "ssm:GetParameter",
            "arn:aws:ssm:eu-central-1:123456789012:parameter/prod/db",
        ),
    ] {
        let (_, remedy, grant) = failed(&findings, step);
        assert!(remedy.contains("IAM policy"), "{remedy}");
        let statement: Value = serde_json::from_str(&grant).unwrap();
        assert_eq!((&statement["Action"][0], &statement["Resource"]), (&action.into(), &resource.into()));
    }
    let (_, _, grant) = failed(&findings, "lend sessions of the role `deploy`");
    for expected in ["sts:SetSourceIdentity", "arn:aws:iam::123456789012:role/leasehold", "trust policy"] {
        assert!(grant.contains(expected), "{grant}");
    }
}

#[tokio::test]
async fn a_broker_with_a_roles_session_hears_of_the_hour() {
    let (_server, provider, _home) =
        scripted(|_| aws::assumed("ASIAHOLDER", "the-token", "2099-01-01T00:00:00Z")).await;
    let findings = provider.check(&[issue()]).await;
    let Verdict::Passed(note) = &findings[1].verdict else { panic!("{findings:?}") };
    assert!(note.contains("works until 2099") && note.contains("longer than an hour"), "{note}");
}

#[tokio::test]
async fn a_tree_is_tried_by_a_name_that_nobody_uses() {
    let (server, provider, _home) =
        scripted(|_| Reply::Answer(aws::failure(400, "ResourceNotFoundException", "not there"))).await;
    let findings = provider.check(&[read("team/{rest}"), read("prod/db")]).await;
    assert!(passed(&findings, "read `team/{rest}`"), "{findings:?}");
    let (problem, remedy, grant) = failed(&findings, "read `prod/db`");
    assert!(problem.contains("ResourceNotFound") && remedy.contains("make it in AWS"), "{problem} {remedy}");
    assert_eq!(grant, "");
    let bodies: Vec<_> = server.requests().iter().map(Request::json).collect();
    assert!(bodies.iter().any(|body| body["SecretId"] == "team/leasehold-check-nothing"), "{bodies:?}");
}

#[tokio::test]
async fn the_clock_the_region_the_key_and_the_network_are_told_apart() {
    for (code, message, remedy) in [
        ("RequestTimeTooSkewed", "The difference is too large", "clock"),
        ("SignatureDoesNotMatch", "Signature expired: x is now earlier than y", "clock"),
        ("SignatureDoesNotMatch", "Credential should be scoped to a valid region", "`region`"),
        ("RegionDisabledException", "STS is not activated in this region", "`region`"),
        (
            "InvalidClientTokenId",
            "The security token included in the request is invalid",
            "a key that is in force",
        ),
    ] {
        let server = ScriptedServer::start(move |_, _| Reply::Answer(aws::token_failure(403, code, message)));
        let server = server.await.unwrap();
        let (provider, _home) = provider(&server.url(), |config| config.max_attempts = 1);
        let findings = provider.check(&[read("a")]).await;
        let (_, said, _) = failed(&findings, "sign in");
        assert!(said.contains(remedy), "{code}: {said}");
        assert!(matches!(findings[1].verdict, Verdict::NotTried(_)), "{findings:?}");
    }

    let away = |change: fn(&mut leasehold_provider_aws::AwsConfig), url: String| async move {
        let (provider, _home) = provider(&url, |config| {
            config.max_attempts = 1;
            config.roles = lent("arn:aws:iam::123456789012:role/deploy");
            change(config);
        });
        let findings = provider.check(&[issue()]).await;
        failed(&findings, "sign in").1
    };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = away(|_| {}, format!("http://{closed}")).await;
    assert!(said.contains("check the network"), "{said}");
    let said = away(|_| {}, "https://no-such-host.invalid".to_owned()).await;
    assert!(said.contains("no host of that name"), "{said}");
    let stranger = Authority::new("stranger").unwrap();
    let server = ScriptedServer::start_tls(&stranger, &[], |_, _| Reply::Cut).await.unwrap();
    let said = away(|_| {}, server.url()).await;
    assert!(said.contains("certificate"), "{said}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_found_although_aws_takes_its_signatures() {
    let server = ScriptedServer::start(|request, _| {
        let reply = match &*aws::operation(request) {
            "sts.GetCallerIdentity" => aws::caller(BROKER, "123456789012"),
            _ => aws::described(),
        };
        let Reply::Answer(answer) = reply else { unreachable!() };
        Reply::Answer(answer.header("date", "Wed, 01 Jan 2025 00:00:00 GMT"))
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |_| {});
    let findings = provider.check(&[]).await;
    let (problem, ..) = failed(&findings, "compare the clocks");
    assert!(problem.starts_with("this machine's clock is ahead of AWS's by"), "{problem}");
}

#[tokio::test]
async fn secrets_alone_are_checked_without_the_token_service() {
    let server = ScriptedServer::start(|request, _| match &*aws::operation(request) {
        "secretsmanager.GetSecretValue" => aws::secret("11111111-2222-4333-8444-555555555555", "x"),
        "secretsmanager.DescribeSecret" => aws::described(),
        _ => aws::versions(&[("11111111-2222-4333-8444-555555555555", &["AWSCURRENT"])], None),
    })
    .await
    .unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (provider, _home) = provider(&server.url(), |config| {
        config.sts_endpoint_url = Some(format!("http://{closed}"));
        config.max_attempts = 1;
    });
    let findings = provider.check(&[read("a")]).await;
    assert!(
        matches!(&findings[0].verdict, Verdict::NotTried(why) if why.contains("only sessions")),
        "{findings:?}"
    );
    assert!(passed(&findings, "read `a`"), "{findings:?}");
}

#[tokio::test]
async fn a_check_of_a_real_server_changes_nothing() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let secrets = client(moto.url());
    secrets.create_secret().name("a").secret_string("x").send().await.unwrap();
    secrets.create_secret().name("gone").secret_string("x").send().await.unwrap();
    secrets.delete_secret().secret_id("gone").send().await.unwrap();
    let deploy = role(&moto, "deploy").await;
    let key = user(&moto, "broker").await.unwrap();
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": ["secretsmanager:*", "sts:*"], "Resource": "*" },
    ] });
    allow(&moto, "broker", &policy).await.unwrap();
    moto.enforce_iam().await.unwrap();
    let (mut config, _home) = config(moto.url(), &key);
    config.roles = lent(&deploy.arn);
    let provider = AwsProvider::new(config.clone(), clock()).unwrap();
    let demands =
        [read("a"), write("a"), write("gone"), read("team/{rest}"), issue(), read("ssm:/a"), write("ssm:/a")];
    let findings = provider.check(&demands).await;
    for step in ["sign in", "read `a`", "read `team/{rest}`", "lend sessions of the role `deploy`"] {
        assert!(passed(&findings, step), "{step}: {findings:#?}");
    }
    let not_tried = findings.iter().find(|finding| finding.step == "write `a`").unwrap();
    assert!(
        matches!(&not_tried.verdict, Verdict::NotTried(why) if why.contains("secretsmanager:PutSecretValue")),
        "{not_tried:?}"
    );
    assert!(failed(&findings, "write `gone`").0.contains("deletion"));
    assert!(failed(&findings, "read `ssm:/a`").2.contains("ssm:GetParameter"));
    let parameter = findings.iter().find(|finding| finding.step == "write `ssm:/a`").unwrap();
    assert!(
        matches!(&parameter.verdict, Verdict::NotTried(why) if why.contains("only read")),
        "{parameter:?}"
    );

    config.writable = false;
    let reader = AwsProvider::new(config, clock()).unwrap();
    assert!(failed(&reader.check(&[write("a")]).await, "write `a`").1.contains("writable = true"));
    moto.waive_iam().await.unwrap();
    let versions = secrets.list_secret_version_ids().secret_id("a").send().await.unwrap();
    assert_eq!(versions.versions().len(), 1);
}
