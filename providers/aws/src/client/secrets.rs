//! Secrets Manager.

use aws_sdk_secretsmanager::{Client, primitives::Blob};
use leasehold_core::{
    SecretBytes, Timestamp,
    provider::{ErrorClass, ProviderError},
};

use super::{MOST_PAGES, timestamp};
use crate::{
    error::{Call, classify},
    value::Body,
};

/// The secrets of one region.
#[derive(Clone)]
pub(crate) struct Secrets {
    client: Client,
}

/// Which version is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which<'a> {
    /// The one with this staging label.
    Stage(&'a str),
    /// The one with this id.
    Id(&'a str),
}

/// One version, as AWS answers it.
pub(crate) struct Version {
    /// Its id.
    pub(crate) id: Option<String>,
    /// Its value.
    pub(crate) body: Option<Body>,
    /// When it was made.
    pub(crate) created_at: Option<Timestamp>,
}

/// One version without its value.
pub(crate) struct VersionLabels {
    /// Its id.
    pub(crate) id: String,
    /// Its staging labels; a deprecated one has none.
    pub(crate) labels: Vec<String>,
    /// When it was made.
    pub(crate) created_at: Option<Timestamp>,
}

/// A secret without its values.
pub(crate) struct Described {
    /// When it was scheduled for deletion.
    pub(crate) deleted_at: Option<Timestamp>,
    /// The AWS service that it belongs to.
    pub(crate) owner: Option<String>,
    /// Whether AWS knows how to rotate it.
    pub(crate) rotates: bool,
}

/// Of what AWS makes a password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PasswordRule {
    /// `PasswordLength`.
    pub(crate) length: Option<u16>,
    /// `ExcludeCharacters`.
    pub(crate) without: Option<String>,
    /// `ExcludeLowercase`.
    pub(crate) no_lowercase: bool,
    /// `ExcludeUppercase`.
    pub(crate) no_uppercase: bool,
    /// `ExcludeNumbers`.
    pub(crate) no_numbers: bool,
    /// `ExcludePunctuation`.
    pub(crate) no_punctuation: bool,
    /// `IncludeSpace`.
    pub(crate) space: bool,
}

impl Secrets {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// `GetSecretValue`.
    pub(crate) async fn read(&self, secret: &str, which: Which<'_>) -> Result<Version, ProviderError> {
        let call = self.client.get_secret_value().secret_id(secret);
        let call = match which {
            Which::Stage(label) => call.version_stage(label),
            Which::Id(id) => call.version_id(id),
        };
        let answer = call.send().await.map_err(|error| classify(Call::GetSecretValue, secret, &error))?;
        let text = answer.secret_string.map(|text| Body::Text(text.into()));
        let binary = answer.secret_binary.map(|blob| Body::Binary(blob.into_inner().into()));
        Ok(Version {
            id: answer.version_id,
            body: text.or(binary),
            created_at: answer.created_date.as_ref().and_then(timestamp),
        })
    }

    /// `PutSecretValue` under the id `token`, as the current version or, with a label, under that label only.
    pub(crate) async fn write(
        &self,
        secret: &str,
        body: Body,
        token: &str,
        label: Option<&str>,
    ) -> Result<String, ProviderError> {
        let call = self.client.put_secret_value().secret_id(secret).client_request_token(token);
        let call = call.set_version_stages(label.map(|label| vec![label.to_owned()]));
        let call = match body {
            Body::Text(text) => call.secret_string(into_text(text)?),
            Body::Binary(bytes) => call.secret_binary(Blob::new(bytes.into_exposed())),
        };
        let answer = call.send().await.map_err(|error| classify(Call::PutSecretValue, secret, &error))?;
        Ok(answer.version_id.unwrap_or_else(|| token.to_owned()))
    }

    /// `UpdateSecretVersionStage`: takes `label` from one version, and fails when it is not there; gives it to another.
    pub(crate) async fn move_label(
        &self,
        secret: &str,
        label: &str,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<(), ProviderError> {
        let call = self.client.update_secret_version_stage().secret_id(secret).version_stage(label);
        let call = call.set_remove_from_version_id(from.map(str::to_owned));
        let call = call.set_move_to_version_id(to.map(str::to_owned));
        let answer = call.send().await;
        answer.map(drop).map_err(|error| classify(Call::UpdateSecretVersionStage, secret, &error))
    }

    /// `DescribeSecret`.
    pub(crate) async fn describe(&self, secret: &str) -> Result<Described, ProviderError> {
        let answer = self.client.describe_secret().secret_id(secret).send().await;
        let answer = answer.map_err(|error| classify(Call::DescribeSecret, secret, &error))?;
        Ok(Described {
            deleted_at: answer.deleted_date.as_ref().and_then(timestamp),
            owner: answer.owning_service,
            rotates: answer.rotation_enabled.unwrap_or_default(),
        })
    }

    /// `ListSecretVersionIds`, deprecated ones too.
    pub(crate) async fn versions(&self, secret: &str) -> Result<Vec<VersionLabels>, ProviderError> {
        let mut versions = Vec::new();
        let mut token = None;
        for _ in 0..MOST_PAGES {
            let call = self.client.list_secret_version_ids().secret_id(secret).include_deprecated(true);
            let answer = call.max_results(100).set_next_token(token.take()).send().await;
            let answer = answer.map_err(|error| classify(Call::ListSecretVersionIds, secret, &error))?;
            versions.extend(answer.versions.unwrap_or_default().into_iter().filter_map(|version| {
                Some(VersionLabels {
                    id: version.version_id?,
                    labels: version.version_stages.unwrap_or_default(),
                    created_at: version.created_date.as_ref().and_then(timestamp),
                })
            }));
            match answer.next_token {
                Some(next) if !next.is_empty() => token = Some(next),
                _ => break,
            }
        }
        Ok(versions)
    }

    /// `DeleteSecret`: it can be restored for so many days, or, without a number, it is gone at once.
    pub(crate) async fn delete(&self, secret: &str, days: Option<u32>) -> Result<(), ProviderError> {
        let call = self.client.delete_secret().secret_id(secret);
        let call = match days {
            Some(days) => call.recovery_window_in_days(days.into()),
            None => call.force_delete_without_recovery(true),
        };
        call.send().await.map(drop).map_err(|error| classify(Call::DeleteSecret, secret, &error))
    }

    /// `RotateSecret`, at once and as it is configured, into the version `token`.
    pub(crate) async fn rotate(&self, secret: &str, token: &str) -> Result<(), ProviderError> {
        let call = self.client.rotate_secret().secret_id(secret).client_request_token(token);
        let answer = call.send().await;
        answer.map(drop).map_err(|error| classify(Call::RotateSecret, secret, &error))
    }

    /// `GetRandomPassword`, with a character of each kind that is not left out.
    pub(crate) async fn password(&self, rule: &PasswordRule) -> Result<SecretBytes, ProviderError> {
        let call = self.client.get_random_password().require_each_included_type(true);
        let call = call.set_password_length(rule.length.map(i64::from));
        let call = call.set_exclude_characters(rule.without.clone());
        let call = call.exclude_lowercase(rule.no_lowercase).exclude_uppercase(rule.no_uppercase);
        let call = call.exclude_numbers(rule.no_numbers).exclude_punctuation(rule.no_punctuation);
        let answer = call.include_space(rule.space).send().await;
        let answer = answer.map_err(|error| classify(Call::GetRandomPassword, "a password", &error))?;
        let password = answer.random_password.filter(|password| !password.is_empty());
        password.map(Into::into).ok_or_else(|| {
            ProviderError::new(ErrorClass::Permanent, "AWS answered GetRandomPassword without a password")
        })
    }

    /// `RestoreSecret`.
    pub(crate) async fn restore(&self, secret: &str) -> Result<(), ProviderError> {
        let answer = self.client.restore_secret().secret_id(secret).send().await;
        answer.map(drop).map_err(|error| classify(Call::RestoreSecret, secret, &error))
    }
}

fn into_text(bytes: SecretBytes) -> Result<String, ProviderError> {
    String::from_utf8(bytes.into_exposed())
        .map_err(|_| ProviderError::new(ErrorClass::Invalid, "the value is not UTF-8"))
}
