//! `leasehold provider`: see the back ends, and whether they let the broker do what it is to do.

mod findings;
mod view;

use std::time::Duration;

use clap::Subcommand;
use leasehold_core::provider::ProviderName;

use self::findings::FindingView;
pub(crate) use self::view::ProviderView;
use crate::{
    again::Again,
    complete,
    connection::Connection,
    exit::{About, Exit, Failure},
    output::{Format, Output},
    progress::waiting,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ProviderCommand {
    /// List the back ends: what each can do, whether it answers, when the broker's own credentials there end
    List {
        #[command(flatten)]
        again: Again,
    },
    /// Sign in and try what the catalog will ask, without changing anything; fails when anything does not work
    Check {
        /// The back end's configured name; all of them when not given
        #[arg(value_name = "NAME", add = complete::providers())]
        provider: Option<ProviderName>,
    },
}

/// The broker ends a check after a minute by itself.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) async fn run(
    command: ProviderCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        ProviderCommand::List { again } => {
            let operator = connection.open().await?.operator();
            let once = async |output: &mut Output| {
                let status = operator.status().await.about("the broker's status")?;
                let mut list = output.list();
                for provider in status.providers {
                    list.push(&ProviderView::of(provider))?;
                }
                list.finish("no providers are configured")
            };
            again.show("provider list", output, once).await
        }
        ProviderCommand::Check { provider } => check(provider.as_ref(), connection, output).await,
    }
}

async fn check(
    provider: Option<&ProviderName>,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let operator = connection.open_for(PATIENCE).await?.operator();
    let about = provider.map_or("the providers", ProviderName::as_str);
    let work = operator.check_provider(provider);
    let checks = waiting("trying the back ends", output.format == Format::Table, work).await.about(about)?;
    let findings: Vec<_> = checks.iter().flat_map(FindingView::all).collect();
    let failed: Vec<_> = findings.iter().filter(|finding| finding.is_failed()).collect();
    let mut list = output.list();
    for finding in &findings {
        list.push(finding)?;
    }
    list.finish("nothing was tried: no provider is configured")?;
    if output.format == Format::Table {
        for finding in &failed {
            finding.way_out().iter().try_for_each(|line| output.line(line))?;
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let message = format!("{about}: {} of {} steps failed", failed.len(), findings.len());
    Err(Failure::new(Exit::Failed, message))
}
