//! `leasehold top`: a page that stays on the terminal, with leases, rates, rotations, back ends and the audit tail.
//!
//! Everything on it comes from calls that every operator can make, and policy decides each as ever: what is not allowed is
//! shown as that. No value is asked for.

mod asking;
mod drawing;
mod keys;
mod live;
mod news;
mod once;
mod page;
mod pane;
mod rates;
mod tail;

use std::{env, time::Duration};

use clap::Args;

use self::page::Page;
use crate::{
    connection::Connection,
    duration,
    exit::Failure,
    look::Look,
    output::{self, Format, Output},
};

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// How often the broker is asked; at least a second
    #[arg(long, value_parser = interval, value_name = "INTERVAL", default_value = "2s")]
    interval: Duration,
    /// Show only the lines that have this in them; `/` changes it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    filter: String,
    /// Write one page as text, and end: for tickets and scripts
    #[arg(long)]
    once: bool,
}

/// The broker writes a record of each time that it is asked: nobody needs that more often.
const LEAST: Duration = Duration::from_secs(1);

pub(crate) async fn run(
    arguments: Top,
    connection: &Connection,
    look: Look,
    output: &mut Output,
) -> Result<(), Failure> {
    if output.format != Format::Table {
        return Err(Failure::usage(
            "top is a page for people (`--output table`): what is on it, `leasehold status`, `leasehold lease list --all`, `leasehold rotation list` and `leasehold audit tail --follow` write as JSON",
        ));
    }
    let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    if !arguments.once && (!output::is_terminal() || dumb) {
        return Err(Failure::usage(
            "standard output is no terminal on which a page can stay: `leasehold top --once` writes one as text",
        ));
    }
    let client = connection.open().await?;
    let own = client.identity().and_then(|identity| identity.id).map(|id| id.to_string());
    let page = Page::new(arguments.interval, arguments.filter, own);
    if arguments.once {
        return once::run(&client.operator(), page, look, output).await;
    }
    live::run(&client.operator(), page, look.color).await
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    if interval < LEAST {
        return Err("at least a second: `1s`".to_owned());
    }
    Ok(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_not_pestered() {
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
        assert!(interval("20ms").unwrap_err().contains("`1s`"));
        assert!(interval("often").unwrap_err().contains("`15m`"));
    }
}
