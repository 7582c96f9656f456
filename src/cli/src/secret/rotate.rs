//! `leasehold secret rotate`: a new version now, and the old one retired when nobody holds it any more.

use clap::{Args, ValueEnum};
use leasehold_client::RotateSecret;
use leasehold_core::{RequestId, SecretPath};

use crate::{
    complete,
    connection::Connection,
    exit::{About, Failure},
    output::Output,
    rotation::{Awaited, follow, show, show_preview},
};

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The secret's path
    #[arg(value_name = "SECRET", add = complete::secrets())]
    secret: SecretPath,
    /// Try everything up to the first write, and change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Follow it, to the end when nothing else is said
    #[arg(
        long,
        value_enum,
        value_name = "UNTIL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "retired"
    )]
    wait: Option<Until>,
    /// A reason for the audit records
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Your own name for this request, for the audit records
    #[arg(long, value_name = "ID")]
    request_id: Option<RequestId>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Until {
    /// The new version is current; the old one may have holders
    Current,
    /// The old version is retired
    Retired,
}

impl Rotate {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
        let Self { secret, dry_run, wait, reason, request_id } = self;
        let operator = connection.open().await?.operator();
        let rotate = RotateSecret { secret: secret.clone(), dry_run, reason, request_id };
        let answer = operator.rotate_secret(rotate).await.about(&secret)?;
        if let Some(preview) = &answer.preview {
            return show_preview(secret.as_str(), preview, output);
        }
        let rotation = answer.rotation.unwrap_or_default();
        match wait {
            None => show(&rotation, output),
            Some(Until::Current) => {
                follow(&operator, &secret, Awaited::the_promotion_of(&rotation), output).await
            }
            Some(Until::Retired) => follow(&operator, &secret, Awaited::the_end_of(&rotation), output).await,
        }
    }
}
