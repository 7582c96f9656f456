//! `leasehold orphan`: credentials at back ends that carry the broker's tag and that no lease stands for.

use std::time::Duration;

use clap::{Args, Subcommand};
use leasehold_client::proto;
use leasehold_core::{Timestamp, provider::ProviderName};
use serde::Serialize;

use crate::{
    clock, complete,
    connection::Connection,
    duration,
    exit::{About, Exit, Failure},
    output::{Format, Output, Row},
    progress::waiting,
    table::Cut,
};

#[derive(Debug, Subcommand)]
pub(crate) enum OrphanCommand {
    /// Ask the back ends for orphans, and end none
    List(Which),
    /// Ask the back ends for orphans, and end those that are orphans for longer than the grace period
    Sweep {
        #[command(flatten)]
        which: Which,
        /// Only say what there is, as `list` does
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Of this back end only, by its configured name
    #[arg(long, value_name = "NAME", add = complete::providers())]
    provider: Option<ProviderName>,
}

/// Back ends are asked for everything that they made, and then to end some of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// One orphan, under stable names.
#[derive(Serialize)]
struct OrphanView {
    provider: String,
    name: String,
    lease: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen_at: Option<Timestamp>,
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    problem: String,
}

pub(crate) async fn run(
    command: OrphanCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let (which, dry_run) = match command {
        OrphanCommand::List(which) => (which, true),
        OrphanCommand::Sweep { which, dry_run } => (which, dry_run),
    };
    let operator = connection.open_for(PATIENCE).await?.operator();
    let work = operator.sweep_orphans(which.provider.as_ref(), dry_run);
    let swept =
        waiting("asking the back ends", output.format == Format::Table, work).await.about("the orphans")?;
    let mut list = output.list();
    let mut left = 0_usize;
    for orphan in swept.orphans {
        let orphan = OrphanView::of(orphan);
        left = left.saturating_add(usize::from(orphan.state == "failed"));
        list.push(&orphan)?;
    }
    list.finish("no orphans")?;
    let unasked: Vec<_> =
        swept.failures.iter().map(|failure| format!("{}: {}", failure.provider, failure.problem)).collect();
    if !unasked.is_empty() {
        return Err(Failure::new(
            Exit::Unavailable,
            format!("not every back end could be asked: {}", unasked.join("; ")),
        ));
    }
    if left > 0 {
        return Err(Failure::new(
            Exit::Failed,
            format!("{left} orphans could not be ended; the next sweep tries again"),
        ));
    }
    Ok(())
}

impl OrphanView {
    fn of(orphan: proto::Orphan) -> Self {
        let state = match orphan.state() {
            proto::OrphanState::Unspecified => "unknown",
            proto::OrphanState::InGrace => "in-grace",
            proto::OrphanState::Revoked => "revoked",
            proto::OrphanState::Failed => "failed",
            proto::OrphanState::Left => "left",
        };
        Self {
            provider: orphan.provider,
            name: orphan.name,
            lease: orphan.lease_id,
            first_seen_at: orphan.first_seen_time.and_then(clock::of_proto),
            state,
            problem: orphan.problem,
        }
    }
}

impl Row for OrphanView {
    const COLUMNS: &'static [&'static str] = &["PROVIDER", "NAME", "LEASE", "FIRST SEEN", "STATE", "PROBLEM"];
    const CUTS: &'static [(&'static str, Cut)] = &[("PROBLEM", Cut::End)];
    const FIRST_OUT: &'static [&'static str] = &["LEASE", "FIRST SEEN"];
    const LAST_OUT: &'static [&'static str] = &["PROBLEM", "PROVIDER"];

    fn cells(&self) -> Vec<String> {
        let seen = self.first_seen_at.map(|seen| duration::relative(seen, clock::now()));
        vec![
            self.provider.clone(),
            self.name.clone(),
            self.lease.clone(),
            seen.unwrap_or_else(|| "-".to_owned()),
            self.state.to_owned(),
            self.problem.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<OrphanView>(
            "orphan-list",
            false,
            &[
                &[
                    "pg-main",
                    "lh_readonly_aeaqcaibaeaqcaibaeaqcaibae",
                    "lease-aeaqcaibaeaqcaibaeaqcaibae",
                    "5m 2s ago",
                    "in-grace",
                    "",
                ],
                &[
                    "pg-main",
                    "lh_readonly_ambqgaydambqgaydambqgaydam",
                    "lease-ambqgaydambqgaydambqgaydam",
                    "2h 10m ago",
                    "left",
                    "the role owns objects: leasehold cannot drop it",
                ],
            ],
        );
    }

    #[test]
    fn an_orphan_as_json_has_stable_names() {
        let orphan = proto::Orphan {
            provider: "pg".into(),
            name: "lh_x".into(),
            lease_id: "lease-aeaqcaibaeaqcaibaeaqcaibae".into(),
            first_seen_time: Some(prost_types::Timestamp::default()),
            state: proto::OrphanState::InGrace.into(),
            problem: String::new(),
        };
        let left = proto::Orphan { problem: "it does not answer".into(), ..orphan.clone() };
        crate::snapshot::documented("orphan-list", &[OrphanView::of(orphan.clone()), OrphanView::of(left)]);
        assert_eq!(
            serde_json::to_string(&OrphanView::of(orphan)).unwrap(),
            concat!(
                r#"{"provider":"pg","name":"lh_x","lease":"lease-aeaqcaibaeaqcaibaeaqcaibae","#,
                r#""first_seen_at":"1970-01-01T00:00:00Z","state":"in-grace"}"#
            )
        );
    }
}
