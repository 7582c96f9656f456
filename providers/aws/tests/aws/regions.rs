//! ARNs of other regions and other accounts.

use std::sync::atomic::Ordering;

use leasehold_core::{ports::Provider, provider::ErrorClass};
use leasehold_provider_conformance::{
    peers::{Moto, or_skip},
    scripted::{Reply, ScriptedServer, aws},
};

use crate::setup::{fetch, provider, signed_for, text};

const VERSION: &str = "11111111-2222-4333-8444-555555555555";

#[tokio::test]
async fn an_arn_is_asked_for_in_its_own_region_and_account() {
    let server = ScriptedServer::start(|request, _| match &*aws::operation(request) {
        "AmazonSSM.GetParameter" => aws::parameter(3, "x"),
        _ => aws::secret(VERSION, "x"),
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |_| {});
    for (reference, region, name) in [
        ("a", "eu-central-1", "a"),
        (
            "arn:aws:secretsmanager:us-east-1:210987654321:secret:a-AbCdEf",
            "us-east-1",
            "arn:aws:secretsmanager:us-east-1:210987654321:secret:a-AbCdEf",
        ),
        (
            "ssm:arn:aws:ssm:ap-south-1:210987654321:parameter/a:live",
            "ap-south-1",
            "arn:aws:ssm:ap-south-1:210987654321:parameter/a:live",
        ),
        ("a", "eu-central-1", "a"),
    ] {
        fetch(&provider, reference).await.unwrap();
        let sent = server.requests().pop().unwrap();
        assert_eq!(aws::signed_as(&sent).unwrap().1, region, "{reference}");
        let body = sent.json();
        let asked = body.get("SecretId").or(body.get("Name")).unwrap();
        assert_eq!(asked, name, "{reference}");
    }
}

#[tokio::test]
async fn a_regions_own_endpoint_is_not_asked_for_another_region() {
    let server = ScriptedServer::start(|_, _| Reply::Cut).await.unwrap();
    let (provider, _home) = provider(&server.url(), |config| {
        config.secretsmanager_endpoint_url = Some("https://vpce-1.example".into());
        config.max_attempts = 1;
    });
    let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf";
    let error = fetch(&provider, arn).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid, "{error}");
    assert!(error.to_string().contains("write `{region}` in the endpoint's URL"), "{error}");
    assert_eq!(server.calls().load(Ordering::SeqCst), 0);
    assert_eq!(provider.sign_in().problem, None);
}

#[tokio::test]
async fn a_secret_of_another_region_is_read_there() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let create = signed_for(&moto, "secretsmanager").header("x-amz-target", "secretsmanager.CreateSecret");
    let body = r#"{"Name":"a","SecretString":"at home","ClientRequestToken":"11111111-2222-4333-8444-555555555555"}"#;
    create.body("application/x-amz-json-1.1", body).send().await.unwrap();
    let (far, _home) = provider(moto.url(), |config| config.region = Some("us-east-1".into()));
    let arn = {
        let (near, _home) = provider(moto.url(), |_| {});
        assert_eq!(text(&fetch(&near, "a").await.unwrap()), "at home");
        let client = crate::suite::client(moto.url());
        client.describe_secret().secret_id("a").send().await.unwrap().arn.unwrap()
    };
    assert!(arn.contains(":eu-central-1:"), "{arn}");
    assert_eq!(fetch(&far, "a").await.unwrap_err().class, ErrorClass::Absent);
    assert_eq!(text(&fetch(&far, &arn).await.unwrap()), "at home");
}
