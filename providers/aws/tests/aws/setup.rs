//! A provider with a key in a file; and moto's users, who have keys and policies.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use leasehold_core::{
    ports::Provider,
    provider::{Fetch, Fetched, ProviderError},
};
use leasehold_provider_aws::{AwsConfig, AwsProvider, Credentials};
use leasehold_provider_conformance::{http::Call, peers::Moto};
use serde_json::Value;
use tempfile::TempDir;

use crate::clock::clock;

pub(crate) const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const ACCOUNT: &str = "123456789012";

/// A user's key.
pub(crate) struct UserKey {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// A key file that nobody else can read.
pub(crate) fn private_file(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A configuration with a key, and the directory that the key is in.
pub(crate) fn config(url: &str, key: &UserKey) -> (AwsConfig, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    private_file(&path, &format!("{}\n", key.secret));
    let config = AwsConfig {
        region: Some("eu-central-1".into()),
        endpoint_url: Some(url.into()),
        credentials: Credentials::Static {
            access_key_id: key.id.clone(),
            secret_access_key_file: path,
            session_token_file: None,
        },
        writable: true,
        attempt_timeout: Duration::from_secs(30),
        timeout: Duration::from_secs(60),
        ..AwsConfig::default()
    };
    (config, home)
}

/// A key that no policy judges.
pub(crate) fn any_key() -> UserKey {
    UserKey { id: ACCESS_KEY.to_owned(), secret: "not-a-real-secret-key".to_owned() }
}

/// A provider with such a key.
pub(crate) fn provider(url: &str, change: impl FnOnce(&mut AwsConfig)) -> (AwsProvider, TempDir) {
    let (mut config, home) = config(url, &any_key());
    change(&mut config);
    (AwsProvider::new(config, clock()).unwrap(), home)
}

pub(crate) async fn fetch(provider: &AwsProvider, reference: &str) -> Result<Fetched, ProviderError> {
    provider.fetch(Fetch { reference, version: None }).await
}

/// The one field of what was fetched.
pub(crate) fn text(fetched: &Fetched) -> String {
    String::from_utf8(fetched.value.fields.values().next().unwrap().expose().to_vec()).unwrap()
}

/// Asks moto's IAM, which must not be judging: a form, as its query interface takes it.
pub(crate) async fn iam(moto: &Moto, action: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
    let pairs: Vec<_> = [("Action", action), ("Version", "2010-05-08")]
        .iter()
        .chain(parameters)
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    let answer = signed_for(moto, "iam")
        .body("application/x-www-form-urlencoded", pairs.join("&"))
        .send()
        .await
        .map_err(|error| format!("{action}: {error}"))?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status == 200 { Ok(body) } else { Err(format!("{action}: {body}")) }
}

/// A user of moto's with a key, and without any right.
pub(crate) async fn user(moto: &Moto, name: &str) -> Result<UserKey, String> {
    iam(moto, "CreateUser", &[("UserName", name)]).await?;
    let made = iam(moto, "CreateAccessKey", &[("UserName", name)]).await?;
    Ok(UserKey { id: between(&made, "AccessKeyId"), secret: between(&made, "SecretAccessKey") })
}

/// Gives a user this policy, in place of what it was given before.
pub(crate) async fn allow(moto: &Moto, name: &str, policy: &Value) -> Result<(), String> {
    let policy = policy.to_string();
    let parameters = [("UserName", name), ("PolicyName", "broker"), ("PolicyDocument", &*policy)];
    iam(moto, "PutUserPolicy", &parameters).await.map(drop)
}

/// Puts a parameter into moto's Parameter Store.
pub(crate) async fn put_parameter(moto: &Moto, name: &str, value: &str) {
    let body = serde_json::json!({ "Name": name, "Value": value, "Type": "SecureString", "Overwrite": true });
    let call = signed_for(moto, "ssm").header("x-amz-target", "AmazonSSM.PutParameter");
    let answer = call.body("application/x-amz-json-1.1", body.to_string()).send().await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

/// A call that moto takes for one to this service; the signature is not looked at while nobody judges.
pub(crate) fn signed_for(moto: &Moto, service: &str) -> Call {
    Call::new("POST", moto.url()).header("x-amz-date", "20260101T000000Z").header(
        "authorization",
        format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/eu-central-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=00"
        ),
    )
}

fn between(xml: &str, tag: &str) -> String {
    let (_, rest) = xml.split_once(&format!("<{tag}>")).unwrap();
    rest.split_once("</").unwrap().0.to_owned()
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
