//! `leasehold-sidecar get`: one secret of the configuration, printed once.

use std::{io::Write, time::Duration};

use leasehold_client::Issue;
use thiserror::Error;
use tokio::time::timeout;

use crate::{args::GetArgs, config::Config, render};

/// Why it cannot be had.
#[derive(Debug, Error)]
pub(crate) enum GetError {
    #[error("there is no [[secret]] of the name `{0}` in the configuration")]
    NoSecret(crate::Name),
    #[error("the secret has no field `{0}`")]
    NoField(leasehold_core::secret::FieldName),
    #[error("the field `{0}` is not text: name it with `--field`")]
    NotText(leasehold_core::secret::FieldName),
    #[error("{0}")]
    Broker(#[from] leasehold_client::Error),
    #[error("it cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

/// So long the broker may take to take the lease back.
const PARTING: Duration = Duration::from_secs(5);

/// Leases it, prints it to standard output and gives it back.
pub(crate) async fn get(config: &Config, arguments: &GetArgs) -> Result<(), GetError> {
    let secret = config.secrets.iter().find(|secret| secret.name == arguments.secret);
    let secret = secret.ok_or_else(|| GetError::NoSecret(arguments.secret.clone()))?;
    let client = config.broker.builder().connect().await?;
    let issue = Issue {
        secret: secret.path.clone(),
        ttl: secret.ttl,
        fields: secret.fields.clone(),
        request_id: None,
    };
    let issued = client.issue_lease(issue).await?;
    let printed = match &arguments.field {
        Some(field) => {
            issued.value.fields.get(field).cloned().ok_or_else(|| GetError::NoField(field.clone()))
        }
        None => render::json(&issued.value).map_err(GetError::NotText),
    };
    let printed = printed.and_then(|bytes| Ok(std::io::stdout().lock().write_all(bytes.expose())?));
    // It ends at its time when this fails.
    let _ = timeout(PARTING, client.revoke_lease(issued.lease.id, None)).await;
    printed
}
