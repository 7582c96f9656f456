//! `leasehold lease revoke`: leases by their ids, or every one that has something in common.

use clap::Args;
use leasehold_client::{Client, LeaseFilter, RevocationFailure, StartRevocation};
use leasehold_core::{
    LeaseId, RequestId, SecretPath, SpiffeId, path::PathPrefix, provider::ProviderName, secret::VersionId,
};

use super::view::LeaseView;
use crate::{
    complete,
    confirm::confirm,
    exit::{About, Exit, Failure},
    output::Output,
    revocation::{self, RevocationView, until_ended},
};

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The leases' ids
    #[arg(
        value_name = "LEASE",
        required_unless_present_any = ["holder", "secret", "prefix", "provider"],
        conflicts_with_all = ["holder", "secret", "prefix", "provider", "dry_run", "no_wait", "request_id"],
        add = complete::leases()
    )]
    leases: Vec<LeaseId>,
    /// A reason for the audit records; required for more than leases by their ids
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Have the secrets rotated, too, each once: what was lent becomes worthless. Dynamic ones need no rotation
    #[arg(long)]
    rotate: bool,
    #[command(flatten)]
    many: Many,
}

/// Every lease that has these in common.
#[derive(Debug, Args)]
#[command(next_help_heading = "Many at once")]
struct Many {
    /// Every lease of this holder
    #[arg(long, value_name = "SPIFFE-ID", requires = "reason")]
    holder: Option<SpiffeId>,
    /// Every lease on this secret
    #[arg(long, value_name = "SECRET", requires = "reason", add = complete::secrets())]
    secret: Option<SecretPath>,
    /// On this version of it alone
    #[arg(long, value_name = "VERSION", requires = "secret")]
    secret_version: Option<VersionId>,
    /// Every lease on the secrets under this prefix, such as `prod/payments/`
    #[arg(long, value_name = "PREFIX", requires = "reason")]
    prefix: Option<PathPrefix>,
    /// Every lease of this back end
    #[arg(long, value_name = "NAME", requires = "reason", add = complete::providers())]
    provider: Option<ProviderName>,
    /// Only say how many leases it would end
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Begin, and do not wait for the end: `leasehold revocation watch` does
    #[arg(long)]
    no_wait: bool,
    /// Your own name for this request: repeated with the same one within a day, it is the same revocation
    #[arg(long, value_name = "ID")]
    request_id: Option<RequestId>,
}

impl Revoke {
    pub(super) async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        if !self.leases.is_empty() && self.rotate {
            return by_ids_and_rotate(&self.leases, self.reason, client, output).await;
        }
        if !self.leases.is_empty() {
            return by_ids(&self.leases, self.reason.as_deref(), client, output).await;
        }
        // The grammar lets nobody come here without one.
        self.many.run(self.reason.unwrap_or_default(), self.rotate, client, output).await
    }
}

impl Many {
    async fn run(
        self,
        reason: String,
        rotate: bool,
        client: &Client,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let operator = client.operator();
        let start = StartRevocation {
            filter: LeaseFilter {
                holder: self.holder,
                secret: self.secret,
                version: self.secret_version,
                prefix: self.prefix,
                provider: self.provider,
                states: Vec::new(),
            },
            dry_run: false,
            reason,
            request_id: self.request_id,
            rotate,
        };
        if self.dry_run || !self.yes {
            let preview = StartRevocation { dry_run: true, request_id: None, ..start.clone() };
            let preview = RevocationView::of(&operator.start_revocation(preview).await?);
            if self.dry_run {
                return output.item(&preview, &preview.parts());
            }
            let also = if rotate { ", and to rotate their secrets," } else { "" };
            confirm(false, &format!("to revoke {} leases {}{also}", preview.total, preview.which()))?;
        }
        let begun = operator.start_revocation(start).await?;
        let id = revocation::id_of(&begun)?;
        if self.no_wait {
            let begun = RevocationView::of(&begun);
            return output.item(&begun, &begun.parts());
        }
        until_ended(&operator, id, output).await
    }
}

/// The broker takes so many at once.
const AT_ONCE: usize = 100;

/// Ends each lease and has its secret rotated; the first failure is reported after all were tried.
async fn by_ids_and_rotate(
    leases: &[LeaseId],
    reason: Option<String>,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let operator = client.operator();
    let mut failure = None;
    let mut list = output.list();
    for leases in leases.chunks(AT_ONCE) {
        for result in operator.revoke_leases_and_rotate(leases, reason.clone()).await? {
            match result.outcome {
                Ok(revoked) => list.push(&LeaseView::of(&revoked))?,
                Err(RevocationFailure { reason, message }) => {
                    let message = format!("{}: {message} [{reason}]", result.lease_id);
                    let exit = if reason == "DENIED_OR_NOT_FOUND" { Exit::Denied } else { Exit::Refused };
                    failure.get_or_insert(Failure::new(exit, message));
                }
            }
        }
    }
    match failure {
        None => list.finish("no leases"),
        Some(failure) => {
            list.finish("no lease was revoked")?;
            Err(failure)
        }
    }
}

/// Ends each lease; the first failure is reported after all were tried.
async fn by_ids(
    leases: &[LeaseId],
    reason: Option<&str>,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut failure = None;
    let mut list = output.list();
    for &lease in leases {
        match client.revoke_lease(lease, reason.map(str::to_owned)).await.about(lease) {
            Ok(revoked) => list.push(&LeaseView::of(&revoked))?,
            Err(why) => {
                failure.get_or_insert(why);
            }
        }
    }
    match failure {
        None => list.finish("no leases"),
        Some(failure) => {
            list.finish("no lease was revoked")?;
            Err(failure)
        }
    }
}
