//! `leasehold secret`: see which secrets and versions there are, write them and change them.

mod change;
mod input;
mod rotate;
mod versions;
mod view;
mod watch;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use leasehold_client::{Client, Write};
use leasehold_core::{RequestId, SecretPath, path::PathPrefix, provider::Change, secret::VersionId};
use serde::Serialize;

pub(crate) use self::view::capability;
use self::{
    change::{ChangeArgs, VersionArgs},
    input::{FieldSource, read_value},
    rotate::Rotate,
    versions::VersionView,
    view::SecretView,
};
use crate::{
    complete,
    connection::Connection,
    exit::{About, Failure},
    output::Output,
};

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// List the configured secrets that policy lets you see
    List {
        /// The start of the paths, with a `/` at the end, such as `prod/shared/`
        #[arg(long, value_name = "PREFIX")]
        prefix: Option<PathPrefix>,
    },
    /// Describe a secret: where it lives and how it is lent, never its value
    Show {
        /// The secret's path
        #[arg(value_name = "SECRET", add = complete::secrets())]
        secret: SecretPath,
    },
    /// Write a new version of a secret, from standard input or files
    Put(Put),
    /// Rotate a secret now, as its configuration says
    Rotate(Rotate),
    /// List the versions of a secret, the newest first, with how many leases are live on each; never a value
    Versions {
        /// The secret's path
        #[arg(value_name = "SECRET", add = complete::secrets())]
        secret: SecretPath,
    },
    /// See what happens to the versions of a secret, as it happens
    Watch(watch::Watch),
    /// Make a pending or older version the current one
    Promote(VersionArgs),
    /// Make a version unreadable until it is enabled; who holds a lease on it has the value still
    Disable(VersionArgs),
    /// Make a disabled version readable
    Enable(VersionArgs),
    /// Remove a version's value for good; asks first
    Destroy(VersionArgs),
    /// Delete a secret with all its versions, in a way from which it can be restored for a time
    Delete(ChangeArgs),
    /// Bring a deleted secret back
    Restore(ChangeArgs),
    /// Remove a deleted secret for good; asks first
    Purge(ChangeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct Put {
    /// The secret's path
    #[arg(value_name = "SECRET", add = complete::secrets())]
    secret: SecretPath,
    /// Take the value from this file and not from standard input
    #[arg(long, value_name = "FILE", conflicts_with = "fields")]
    file: Option<PathBuf>,
    /// A named field from a file (`password=@FILE`) or from standard input (`password=-`); may be given several times.
    /// Fields that are not given are not in the new version
    #[arg(long = "field", value_name = "NAME=@FILE")]
    fields: Vec<FieldSource>,
    /// Leave out one newline at the end of each field
    #[arg(long)]
    trim: bool,
    /// The media type; `text/plain` when all fields are text, `application/octet-stream` otherwise
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Write only when this version is the current one
    #[arg(long, value_name = "VERSION")]
    expected: Option<VersionId>,
    /// Your own name for this request: repeated with the same one, it writes once
    #[arg(long, value_name = "ID")]
    request_id: Option<RequestId>,
}

#[derive(Serialize)]
struct Written {
    secret: String,
    version: String,
}

/// How many secrets one call asks for.
const PAGE: u32 = 500;

pub(crate) async fn run(
    command: SecretCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        SecretCommand::List { prefix } => list(prefix.as_ref(), &connection.open().await?, output).await,
        SecretCommand::Show { secret } => {
            let found = connection.open().await?.operator().secret(&secret).await.about(&secret)?;
            let view = SecretView::of(&found);
            output.item(&view, &view.parts())
        }
        SecretCommand::Put(put) => put.run(connection, output).await,
        SecretCommand::Rotate(rotate) => rotate.run(connection, output).await,
        SecretCommand::Versions { secret } => versions(&secret, &connection.open().await?, output).await,
        SecretCommand::Watch(watch) => watch.run(&connection.open().await?, output).await,
        SecretCommand::Promote(args) => args.run(Change::Promote, connection, output).await,
        SecretCommand::Disable(args) => args.run(Change::Disable, connection, output).await,
        SecretCommand::Enable(args) => args.run(Change::Enable, connection, output).await,
        SecretCommand::Destroy(args) => args.run(Change::Destroy, connection, output).await,
        SecretCommand::Delete(args) => args.run(Change::Delete, connection, output).await,
        SecretCommand::Restore(args) => args.run(Change::Restore, connection, output).await,
        SecretCommand::Purge(args) => args.run(Change::Purge, connection, output).await,
    }
}

async fn list(prefix: Option<&PathPrefix>, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let operator = client.operator();
    let mut token = None;
    let mut list = output.list();
    loop {
        let page = operator.list_secrets(prefix, PAGE, token).await?;
        for secret in &page.items {
            list.push(&SecretView::of(secret))?;
        }
        token = page.next_page_token;
        if token.is_none() {
            return list.finish("no secrets that you may see (a mount's secrets are not listed)");
        }
    }
}

async fn versions(secret: &SecretPath, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let operator = client.operator();
    let mut token = None;
    let mut list = output.list();
    loop {
        let page = operator.secret_versions(secret, PAGE, token).await.about(secret)?;
        for version in &page.items {
            list.push(&VersionView::of(version))?;
        }
        token = page.next_page_token;
        if token.is_none() {
            return list.finish("no versions");
        }
    }
}

impl Put {
    async fn run(self, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
        let sources = match self.file {
            Some(file) => vec![FieldSource::value_in(file)],
            None if self.fields.is_empty() => vec![FieldSource::value_on_stdin()],
            None => self.fields,
        };
        let value = read_value(&sources, self.trim, self.content_type)?;
        let write = Write {
            secret: self.secret.clone(),
            value,
            expected: self.expected,
            request_id: self.request_id,
        };
        let version = connection.open().await?.operator().write_secret(write).await.about(&self.secret)?;
        let written = Written { secret: self.secret.to_string(), version };
        output.item(&written, &[("secret", written.secret.clone()), ("version", written.version.clone())])
    }
}
