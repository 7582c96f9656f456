//! The Security Token Service.

use std::time::Duration;

use aws_sdk_sts::{
    Client,
    types::{Credentials, PolicyDescriptorType, Tag},
};
use leasehold_core::{
    SecretBytes, Timestamp,
    provider::{ErrorClass, ProviderError},
};

use super::timestamp;
use crate::error::{Call, classify};

/// The sessions that can be had.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    client: Client,
}

/// What a session of a role is to be.
#[derive(Default)]
pub(crate) struct AssumeRole<'a> {
    /// The role's ARN.
    pub(crate) arn: &'a str,
    /// What errors call it.
    pub(crate) subject: &'a str,
    /// The session's name.
    pub(crate) session_name: &'a str,
    /// How long it is to live; AWS's own choice when absent.
    pub(crate) duration: Option<Duration>,
    /// What the role's trust policy wants to hear.
    pub(crate) external_id: Option<&'a str>,
    /// A policy that the session is held to.
    pub(crate) policy: Option<&'a str>,
    /// Policies that the session is held to, by their ARNs.
    pub(crate) policy_arns: &'a [String],
    /// Session tags.
    pub(crate) tags: Vec<(&'a str, String)>,
    /// Those that stay when the session takes on another role.
    pub(crate) transitive: &'a [String],
    /// Who is behind the session.
    pub(crate) source_identity: Option<String>,
}

/// Credentials for a time.
pub(crate) struct Session {
    /// The access key's id, which is no secret.
    pub(crate) access_key_id: String,
    /// The secret access key.
    pub(crate) secret_access_key: SecretBytes,
    /// The session token.
    pub(crate) session_token: SecretBytes,
    /// When AWS ends it.
    pub(crate) expires_at: Timestamp,
}

/// Whom AWS takes the broker for.
pub(crate) struct Caller {
    /// Its ARN.
    pub(crate) arn: String,
    /// Its account's number.
    pub(crate) account: String,
}

impl Tokens {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// `AssumeRole`.
    pub(crate) async fn assume_role(&self, role: AssumeRole<'_>) -> Result<Session, ProviderError> {
        let tags =
            role.tags.into_iter().map(|(key, value)| tag(key, value)).collect::<Result<Vec<_>, _>>()?;
        let policies: Vec<_> =
            role.policy_arns.iter().map(|arn| PolicyDescriptorType::builder().arn(arn).build()).collect();
        let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let call = self.client.assume_role().role_arn(role.arn).role_session_name(role.session_name);
        let answer = call
            .set_duration_seconds(role.duration.map(seconds))
            .set_external_id(role.external_id.map(str::to_owned))
            .set_policy(role.policy.map(str::to_owned))
            .set_policy_arns((!policies.is_empty()).then_some(policies))
            .set_tags((!tags.is_empty()).then_some(tags))
            .set_transitive_tag_keys(some(role.transitive))
            .set_source_identity(role.source_identity)
            .send()
            .await;
        let answer = answer.map_err(|error| classify(Call::AssumeRole, role.subject, &error))?;
        session(Call::AssumeRole, answer.credentials)
    }

    /// `GetSessionToken`.
    pub(crate) async fn session_token(
        &self,
        subject: &str,
        duration: Duration,
    ) -> Result<Session, ProviderError> {
        let answer = self.client.get_session_token().duration_seconds(seconds(duration)).send().await;
        let answer = answer.map_err(|error| classify(Call::GetSessionToken, subject, &error))?;
        session(Call::GetSessionToken, answer.credentials)
    }

    /// `GetCallerIdentity`, for which nobody needs a permission.
    pub(crate) async fn caller(&self) -> Result<Caller, ProviderError> {
        let answer = self.client.get_caller_identity().send().await;
        let answer = answer.map_err(|error| classify(Call::GetCallerIdentity, "the broker", &error))?;
        Ok(Caller { arn: answer.arn.unwrap_or_default(), account: answer.account.unwrap_or_default() })
    }
}

fn session(call: Call, credentials: Option<Credentials>) -> Result<Session, ProviderError> {
    let odd =
        || ProviderError::new(ErrorClass::Permanent, format!("AWS answered {call:?} without credentials"));
    let given = credentials.ok_or_else(odd)?;
    let session = Session {
        expires_at: timestamp(&given.expiration).ok_or_else(odd)?,
        access_key_id: given.access_key_id,
        secret_access_key: given.secret_access_key.into(),
        session_token: given.session_token.into(),
    };
    if session.secret_access_key.is_empty() || session.session_token.is_empty() {
        Err(odd())
    } else {
        Ok(session)
    }
}

fn tag(key: &str, value: String) -> Result<Tag, ProviderError> {
    let built = Tag::builder().key(key).value(value).build();
    built.map_err(|_| ProviderError::new(ErrorClass::Invalid, format!("`{key}` is no session tag")))
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
