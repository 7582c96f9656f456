//! `leasehold secret promote|disable|enable|destroy|delete|restore|purge`: change what a back end has.

use clap::Args;
use leasehold_client::SecretChange;
use leasehold_core::{RequestId, SecretPath, provider::Change, secret::VersionId};
use serde::Serialize;

use crate::{
    complete,
    confirm::confirm,
    connection::Connection,
    exit::{About, Failure},
    output::Output,
};

/// A change of one version.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// The version, as `leasehold secret versions` lists it
    #[arg(long, value_name = "VERSION")]
    version: VersionId,
    #[command(flatten)]
    change: ChangeArgs,
}

/// A change of a whole secret.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// The secret's path
    #[arg(value_name = "SECRET", add = complete::secrets())]
    secret: SecretPath,
    /// A reason for the audit records
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask before what cannot be undone
    #[arg(long)]
    yes: bool,
    /// Your own name for this request, for the audit records
    #[arg(long, value_name = "ID")]
    request_id: Option<RequestId>,
}

#[derive(Serialize)]
struct Changed {
    secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    change: &'static str,
}

impl VersionArgs {
    pub(super) async fn run(
        self,
        change: Change,
        connection: &Connection,
        output: &mut Output,
    ) -> Result<(), Failure> {
        run(change, Some(self.version), self.change, connection, output).await
    }
}

impl ChangeArgs {
    pub(super) async fn run(
        self,
        change: Change,
        connection: &Connection,
        output: &mut Output,
    ) -> Result<(), Failure> {
        run(change, None, self, connection, output).await
    }
}

async fn run(
    change: Change,
    version: Option<VersionId>,
    args: ChangeArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let ChangeArgs { secret, reason, yes, request_id } = args;
    match (change, &version) {
        (Change::Destroy, Some(version)) => {
            confirm(yes, &format!("to destroy version {version} of {secret}"))?;
        }
        (Change::Purge, _) => confirm(yes, &format!("to purge {secret} with all its versions"))?,
        _ => {}
    }
    let changed = Changed {
        secret: secret.to_string(),
        version: version.as_ref().map(ToString::to_string),
        change: change.as_str(),
    };
    let request = SecretChange { secret: secret.clone(), change, version, reason, request_id };
    connection.open().await?.operator().change_secret(request).await.about(&secret)?;
    let mut parts = vec![("secret", changed.secret.clone())];
    parts.extend(changed.version.clone().map(|version| ("version", version)));
    parts.push(("change", format!("{} (done)", changed.change)));
    output.item(&changed, &parts)
}
