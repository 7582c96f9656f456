//! `leasehold lease`: take leases, and look after them.

mod exec;
mod renew;
mod revoke;
mod view;
mod watch;

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use clap::{Args, Subcommand, ValueEnum};
use leasehold_client::{Client, Issue, Lease, LeaseFilter, LeaseState, Page};
use leasehold_core::{
    LeaseId, RequestId, SecretPath, SecretValue, SpiffeId,
    path::PathPrefix,
    provider::ProviderName,
    secret::{FieldName, VersionId},
};

use self::{
    revoke::Revoke,
    view::{IssuedView, LeaseView},
};
use crate::{
    again::Again,
    clock, complete,
    confirm::confirm,
    connection::Connection,
    duration,
    exit::{About, Failure},
    output::{self, Format, Output},
    value::{may_be_shown, only},
};

#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Take a lease on a secret; its value is written only with --field or as JSON
    Get(Get),
    /// Run a program that has a secret for as long as it lives
    Exec(exec::Exec),
    /// List your own leases, or everybody's
    List(List),
    /// See what happens to your leases, as it happens
    Watch(watch::Watch),
    /// Look at a lease
    Show {
        /// The lease's id
        #[arg(value_name = "LEASE", add = complete::leases())]
        lease: LeaseId,
    },
    /// Move your lease's end, and to the secret's current version with --accept-rotation
    Renew(renew::Renew),
    /// End leases before their time: your own, or anybody's that policy lets you, by their ids or by what they have in common
    Revoke(Revoke),
    /// Try now to end the credential of a lease that is being revoked or is quarantined
    Retry {
        /// The lease's id
        #[arg(value_name = "LEASE", add = complete::leases())]
        lease: LeaseId,
    },
    /// Give up a lease whose credential cannot be ended: nobody tries any more, though it may still work; asks first
    Forget {
        /// The lease's id
        #[arg(value_name = "LEASE", add = complete::leases())]
        lease: LeaseId,
        /// A reason for the audit record
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The secret's path, such as `prod/payments/db`
    #[arg(value_name = "SECRET", add = complete::secrets())]
    secret: SecretPath,
    /// How long; the secret's default when not given, and never more than its maximum
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    ttl: Option<Duration>,
    /// Ask for this field only, and write its bytes; several times, with --output json, for several fields
    #[arg(long = "field", value_name = "NAME")]
    fields: Vec<FieldName>,
    /// Write the value though a terminal shows it
    #[arg(long)]
    reveal: bool,
    /// Your own name for this request: asked again with the same one, you get the same lease
    #[arg(long, value_name = "ID")]
    request_id: Option<RequestId>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Everybody's that policy lets you see
    #[arg(long)]
    all: bool,
    /// Of this holder (implies --all)
    #[arg(long, value_name = "SPIFFE-ID")]
    holder: Option<SpiffeId>,
    /// On this secret (implies --all)
    #[arg(long, value_name = "SECRET", add = complete::secrets())]
    secret: Option<SecretPath>,
    /// On this version of it
    #[arg(long, value_name = "VERSION", requires = "secret")]
    secret_version: Option<VersionId>,
    /// On the secrets under this prefix, such as `prod/payments/` (implies --all)
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<PathPrefix>,
    /// Of this back end (implies --all)
    #[arg(long, value_name = "NAME", add = complete::providers())]
    provider: Option<ProviderName>,
    /// In this state; may be given several times
    #[arg(long = "state", value_enum, value_name = "STATE")]
    states: Vec<State>,
    /// At most so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    #[command(flatten)]
    again: Again,
}

/// A lease's state on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum State {
    Pending,
    Active,
    Revoking,
    Revoked,
    Expired,
    Quarantined,
    Forgotten,
}

/// How many leases one call asks for.
const PAGE: u32 = 500;

pub(crate) async fn run(
    command: LeaseCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        LeaseCommand::Get(get) => get.run(connection, output).await,
        LeaseCommand::Exec(exec) => match exec.run(connection).await? {},
        LeaseCommand::List(list) => {
            let client = connection.open().await?;
            list.again.show("lease list", output, async |output| list.run(&client, output).await).await
        }
        LeaseCommand::Watch(watch) => watch.run(&connection.open().await?, output).await,
        LeaseCommand::Show { lease } => {
            let found = connection.open().await?.get_lease(lease).await.about(lease)?;
            show(&LeaseView::of(&found), output)
        }
        LeaseCommand::Renew(renew) => renew.run(connection, output).await,
        LeaseCommand::Revoke(revoke) => revoke.run(&connection.open().await?, output).await,
        LeaseCommand::Retry { lease } => {
            let tried = connection.open().await?.operator().retry_lease(lease).await.about(lease)?;
            show(&LeaseView::of(&tried), output)
        }
        LeaseCommand::Forget { lease, reason, yes } => {
            confirm(yes, &format!("to forget {lease}, whose credential may still work,"))?;
            let client = connection.open().await?;
            let forgotten = client.operator().forget_lease(lease, reason).await.about(lease)?;
            show(&LeaseView::of(&forgotten), output)
        }
    }
}

impl Get {
    async fn run(self, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
        let as_table = output.format == Format::Table;
        if as_table && self.fields.len() > 1 {
            return Err(Failure::usage("several fields are written as JSON only: add --output json"));
        }
        if !as_table || !self.fields.is_empty() {
            may_be_shown(self.reveal)?;
        }
        let issue = Issue {
            secret: self.secret.clone(),
            ttl: self.ttl,
            fields: self.fields.clone(),
            request_id: self.request_id,
        };
        let issued = connection.open().await?.issue_lease(issue).await.about(&self.secret)?;
        let lease = LeaseView::of(&issued.lease);
        match self.fields.first() {
            _ if !as_table => output.item(&IssuedView::of(&issued.lease, Some(&issued.value)), &[]),
            None => output.item(&lease, &lease.parts(clock::now())),
            Some(name) => write_field(&issued.lease, &issued.value, name, output),
        }
    }
}

/// The field's bytes; about the lease, which a script may not need, a person is told beside them.
fn write_field(
    lease: &Lease,
    value: &SecretValue,
    name: &FieldName,
    output: &mut Output,
) -> Result<(), Failure> {
    output.bytes(only(value, name)?.expose())?;
    if output::is_terminal() {
        output.line("")?;
    }
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = writeln!(stderr, "leasehold: {} until {:.0}", lease.id, lease.expires_at);
    }
    Ok(())
}

impl List {
    async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let states: Vec<LeaseState> = self.states.iter().map(|&state| state.into()).collect();
        let narrowed = self.holder.is_some()
            || self.secret.is_some()
            || self.prefix.is_some()
            || self.provider.is_some();
        let everybody = self.all || narrowed;
        let filter = LeaseFilter {
            holder: self.holder.clone(),
            secret: self.secret.clone(),
            version: self.secret_version.clone(),
            prefix: self.prefix.clone(),
            provider: self.provider.clone(),
            states,
        };
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut token = None;
        let mut list = output.list();
        while left > 0 {
            let size = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
            let Page { items, next_page_token } = if everybody {
                client.operator().list_leases(filter.clone(), size, token).await?
            } else {
                client.list_leases(&filter.states, size, token).await?
            };
            for lease in items.iter().take(left) {
                list.push(&LeaseView::of(lease))?;
            }
            left = left.saturating_sub(items.len());
            token = next_page_token;
            if token.is_none() {
                break;
            }
        }
        list.finish("no leases")
    }
}

fn show(lease: &LeaseView, output: &mut Output) -> Result<(), Failure> {
    output.item(lease, &lease.parts(clock::now()))
}

impl From<State> for LeaseState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Active => Self::Active,
            State::Revoking => Self::Revoking,
            State::Revoked => Self::Revoked,
            State::Expired => Self::Expired,
            State::Quarantined => Self::Quarantined,
            State::Forgotten => Self::Forgotten,
        }
    }
}
