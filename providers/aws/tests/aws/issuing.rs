//! How the suite judges sessions: moto says whose they are.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sts::config::{BehaviorVersion, Credentials as Key, Region};
use leasehold_core::{SecretValue, secret::FieldName};
use leasehold_provider_conformance::{Issuing, Lossy, Unplayed};

use crate::suite::Aws;

/// A field's text.
pub(crate) fn field(value: &SecretValue, name: &str) -> String {
    let bytes = value.fields.get(&name.parse::<FieldName>().unwrap()).unwrap();
    String::from_utf8(bytes.expose().to_vec()).unwrap()
}

/// What a holder makes of its credential.
pub(crate) fn key(value: &SecretValue) -> Key {
    let field = |name| field(value, name);
    Key::new(field("access_key_id"), field("secret_access_key"), Some(field("session_token")), None, "holder")
}

/// Whom AWS takes the holder for.
pub(crate) async fn whoami(url: &str, key: Key) -> Result<String, String> {
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(url)
        .credentials_provider(key)
        .build();
    let answer = aws_sdk_sts::Client::from_conf(config).get_caller_identity().send().await;
    Ok(answer.map_err(|error| format!("{error:?}"))?.arn.unwrap_or_default())
}

#[async_trait]
impl Issuing for Aws {
    fn role(&self) -> String {
        "deploy".to_owned()
    }

    fn absent_role(&self) -> String {
        "nobody-s".to_owned()
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(900)
    }

    fn longest(&self) -> Option<Duration> {
        Some(Duration::from_secs(12 * 3600))
    }

    async fn works(&self, value: &SecretValue) -> Result<Option<bool>, String> {
        let arn = whoami(self.moto.url(), key(value)).await?;
        Ok(Some(arn.contains(":assumed-role/deploy/lh-")))
    }

    async fn living(&self) -> Result<Option<usize>, String> {
        Ok(None)
    }

    async fn losing_answers(&self) -> Result<Lossy, Unplayed> {
        Err(Unplayed::Impossible("a session whose answer is lost ends by itself"))
    }
}
