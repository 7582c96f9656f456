//! Region, credentials and endpoint as the SDK's default chain finds them: each in a process with that environment.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "aws/clock.rs"]
mod clock;

use std::{io::Write, path::Path, time::Duration};

use leasehold_core::{ports::Provider, provider::Fetch};
use leasehold_provider_aws::{AwsConfig, AwsProvider, Credentials};
use leasehold_provider_conformance::scripted::{Answer, Reply, Request, ScriptedServer};

/// Set in the processes that this test makes of itself: the profile to use, or nothing.
const CHILD: &str = "LEASEHOLD_TEST_CHILD";

/// One server that is Secrets Manager, STS and an instance's metadata service.
fn cloud(request: &Request, _before: u64) -> Reply {
    let line = request.head.lines().next().unwrap_or_default();
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let keys = |id: &str| {
        format!(
            r#"{{"Code":"Success","Type":"AWS-HMAC","LastUpdated":"2026-01-01T00:00:00Z","Expiration":"2099-01-01T00:00:00Z","AccessKeyId":"{id}","SecretAccessKey":"s","Token":"t"}}"#
        )
    };
    let plain = |body: String| Reply::Answer(Answer { status: 200, headers: vec![], body: body.into() });
    if line.starts_with("PUT /latest/api/token") {
        let headers = vec![("x-aws-ec2-metadata-token-ttl-seconds", "600".to_owned())];
        return Reply::Answer(Answer { status: 200, headers, body: b"imds".to_vec() });
    }
    match line.split(' ').nth(1).unwrap_or_default() {
        "/latest/meta-data/placement/region" => plain("ap-south-1".to_owned()),
        "/latest/meta-data/iam/security-credentials/" => plain("the-role".to_owned()),
        "/latest/meta-data/iam/security-credentials/the-role" => plain(keys("AKIAINSTANCE00000000")),
        "/" if body.contains("AssumeRoleWithWebIdentity") && body.contains("the-token") => plain(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKIAWEBIDENTITY00000</AccessKeyId>\
             <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
             <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
             <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn><AssumedRoleId>x:s</AssumedRoleId></AssumedRoleUser>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
                .to_owned(),
        ),
        "/" if request.head.contains("secretsmanager.GetSecretValue") => Reply::Answer(Answer::json(
            200,
            r#"{"SecretString":"x","VersionId":"11111111-2222-4333-8444-555555555555"}"#,
        )),
        _ => Reply::Answer(Answer::json(404, "")),
    }
}

/// What a fetch came to in a process with this environment only.
async fn fetch_with(variables: &[(&str, &str)], profile: &str) -> String {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_chain_finds_region_keys_and_endpoint", "--nocapture"]);
    command.env_clear().envs(variables.iter().copied()).env(CHILD, profile);
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcome =
        said.lines().find_map(|line| line.split_once("outcome: ")).map(|(_, after)| after.to_owned());
    outcome.unwrap_or_else(|| format!("no outcome: {said} {}", String::from_utf8_lossy(&output.stderr)))
}

async fn child(profile: String) {
    let profile = (!profile.is_empty()).then_some(profile);
    let config = AwsConfig {
        credentials: Credentials::Chain { profile },
        timeout: Duration::from_secs(8),
        max_attempts: 1,
        ..AwsConfig::default()
    };
    let provider = AwsProvider::new(config, clock::clock()).unwrap();
    let outcome = match provider.fetch(Fetch { reference: "a", version: None }).await {
        Ok(fetched) => format!("version {}", fetched.version),
        Err(error) => format!("{:?}: {error}", error.class),
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\noutcome: {outcome}").unwrap();
}

fn write(path: &Path, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_chain_finds_region_keys_and_endpoint() {
    if let Ok(profile) = std::env::var(CHILD) {
        return child(profile).await;
    }
    let home = tempfile::tempdir().unwrap();
    let config_file = write(
        &home.path().join("config"),
        "[profile team]\nregion = us-west-2\naws_access_key_id = AKIAPROFILE000000000\naws_secret_access_key = s\n",
    );
    let token_file = write(&home.path().join("token"), "the-token");
    let none = "AWS_EC2_METADATA_DISABLED";

    let key = [("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT00000"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let region = ("AWS_REGION", "eu-west-1");
    let web =
        [("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", &*token_file)];
    for (name, variables, profile, signed_as) in [
        ("environment", vec![region, key[0], key[1], (none, "true")], "", "AKIAENVIRONMENT00000/eu-west-1"),
        (
            "profile",
            vec![("AWS_CONFIG_FILE", &*config_file), (none, "true")],
            "team",
            "AKIAPROFILE000000000/us-west-2",
        ),
        ("web identity", vec![region, web[0], web[1], (none, "true")], "", "AKIAWEBIDENTITY00000/eu-west-1"),
        ("instance", vec![], "", "AKIAINSTANCE00000000/ap-south-1"),
    ] {
        let server = ScriptedServer::start(cloud).await.unwrap();
        let url = server.url();
        let mut variables = variables;
        variables.push(("AWS_ENDPOINT_URL", &url));
        variables.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url));
        let outcome = fetch_with(&variables, profile).await;
        assert_eq!(outcome, "version 11111111-2222-4333-8444-555555555555", "{name}");
        let head = server.requests().pop().unwrap().head;
        let (id, region) = signed_as.split_once('/').unwrap();
        assert!(
            head.contains(&format!("Credential={id}/")) && head.contains(&format!("/{region}/")),
            "{name}: {head}"
        );
    }

    for (name, variables, expected) in [
        ("no region", vec![key[0], key[1], (none, "true")], "Permanent: no AWS region"),
        (
            "no credentials",
            vec![region, (none, "true")],
            "Denied: GetSecretValue of `a`: the broker has no AWS credentials: neither in the environment nor",
        ),
        (
            "plaintext from the environment",
            vec![region, key[0], key[1], (none, "true"), ("AWS_ENDPOINT_URL", "http://192.0.2.1:9")],
            "Permanent: GetSecretValue of `a`: the AWS endpoint is plain HTTP to another machine",
        ),
        (
            "no token file",
            vec![region, web[0], ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere"), (none, "true")],
            "Transient: GetSecretValue of `a`: the broker has no AWS credentials: ",
        ),
    ] {
        let outcome = fetch_with(&variables, "").await;
        assert!(outcome.starts_with(expected), "{name}: {outcome}");
    }
}
