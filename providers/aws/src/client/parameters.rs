//! The Parameter Store of Systems Manager.

use aws_sdk_ssm::Client;
use leasehold_core::{SecretBytes, Timestamp, provider::ProviderError};

use super::{MOST_PAGES, timestamp};
use crate::error::{Call, classify};

/// The parameters of one region.
#[derive(Clone)]
pub(crate) struct Parameters {
    client: Client,
}

/// One version of a parameter.
pub(crate) struct Parameter {
    /// Its number.
    pub(crate) version: i64,
    /// Its value.
    pub(crate) value: Option<SecretBytes>,
    /// When it was made.
    pub(crate) created_at: Option<Timestamp>,
}

/// One version without its value.
pub(crate) struct ParameterVersion {
    /// Its number.
    pub(crate) version: i64,
    /// Its labels.
    pub(crate) labels: Vec<String>,
    /// When it was made.
    pub(crate) created_at: Option<Timestamp>,
}

impl Parameters {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// `GetParameter` with its value decrypted, of a name with or without a selector.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<Parameter>, ProviderError> {
        let answer = self.client.get_parameter().name(name).with_decryption(true).send().await;
        let answer = answer.map_err(|error| classify(Call::GetParameter, name, &error))?;
        Ok(answer.parameter.map(|parameter| Parameter {
            version: parameter.version,
            value: parameter.value.map(SecretBytes::from),
            created_at: parameter.last_modified_date.as_ref().and_then(timestamp),
        }))
    }

    /// `GetParameterHistory`; nothing is decrypted.
    pub(crate) async fn versions(&self, name: &str) -> Result<Vec<ParameterVersion>, ProviderError> {
        let mut versions = Vec::new();
        let mut token = None;
        for _ in 0..MOST_PAGES {
            let call = self.client.get_parameter_history().name(name).with_decryption(false);
            let answer = call.max_results(50).set_next_token(token.take()).send().await;
            let answer = answer.map_err(|error| classify(Call::GetParameterHistory, name, &error))?;
            for version in answer.parameters.unwrap_or_default() {
                // A plain parameter's value is here all the same.
                drop(version.value.map(SecretBytes::from));
                versions.push(ParameterVersion {
                    version: version.version,
                    labels: version.labels.unwrap_or_default(),
                    created_at: version.last_modified_date.as_ref().and_then(timestamp),
                });
            }
            match answer.next_token {
                Some(next) if !next.is_empty() => token = Some(next),
                _ => break,
            }
        }
        Ok(versions)
    }
}
