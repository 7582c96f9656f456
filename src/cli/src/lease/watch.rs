//! `leasehold lease watch`: what happens to your leases, as it happens.

use clap::Args;
use leasehold_client::{Client, LeaseChange, Notice};
use leasehold_core::Timestamp;
use serde::Serialize;

use super::view::LeaseView;
use crate::{
    clock,
    exit::Failure,
    output::{Output, Row},
    table::Cut,
    told::{Tells, Told},
};

#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    told: Told,
}

/// One thing that happened. The names in JSON are stable.
#[derive(Serialize)]
struct NoticeView {
    change: &'static str,
    lease: LeaseView,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_deadline: Option<Timestamp>,
    resume_token: String,
    #[serde(skip)]
    seen_at: Timestamp,
}

impl Watch {
    pub(super) async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let begin = async |place| Ok(client.watch_leases(place).await?);
        let next = async |watch: &mut leasehold_client::Watch| {
            Ok(watch.next().await?.map(|notice| NoticeView::of(&notice)))
        };
        self.told.run(output, begin, next).await
    }
}

impl Tells for NoticeView {
    fn resume_token(&self) -> &str {
        &self.resume_token
    }
}

const fn name(change: LeaseChange) -> &'static str {
    match change {
        LeaseChange::Snapshot => "held",
        LeaseChange::Issued => "issued",
        LeaseChange::Renewed => "renewed",
        LeaseChange::Revoked => "revoked",
        LeaseChange::Expired => "expired",
        LeaseChange::Quarantined => "quarantined",
        LeaseChange::ExpiringSoon => "expiring-soon",
        LeaseChange::Rotated => "rotated",
        LeaseChange::Moved => "moved",
        LeaseChange::Draining => "draining",
        LeaseChange::Retired => "retired",
        _ => "unknown",
    }
}

impl NoticeView {
    fn of(notice: &Notice) -> Self {
        Self {
            change: name(notice.change),
            lease: LeaseView::of(&notice.lease),
            current_version: notice.current_version.as_ref().map(ToString::to_string),
            drain_deadline: notice.drain_deadline,
            resume_token: notice.resume_token.clone(),
            seen_at: clock::now(),
        }
    }

    fn about(&self) -> String {
        match (&self.current_version, self.drain_deadline) {
            (Some(current), _) => format!("{current} is current"),
            (None, Some(deadline)) => format!("its version works until {deadline:.0}"),
            (None, None) => String::new(),
        }
    }
}

impl Row for NoticeView {
    const COLUMNS: &'static [&'static str] =
        &["TIME", "CHANGE", "LEASE", "SECRET", "VERSION", "ENDS", "ABOUT"];
    const CUTS: &'static [(&'static str, Cut)] =
        &[("ABOUT", Cut::End), ("TIME", Cut::Time), ("SECRET", Cut::Start)];
    const FIRST_OUT: &'static [&'static str] = &["VERSION", "ENDS", "ABOUT"];
    const LAST_OUT: &'static [&'static str] = &["SECRET"];
    const WIDTHS: &'static [usize] = &[20, 13, 32, 24, 12, 14, 33];

    fn cells(&self) -> Vec<String> {
        let [lease, secret, version, end] = self.lease.brief(self.seen_at);
        let time = format!("{:.0}", self.seen_at);
        vec![time, self.change.to_owned(), lease, secret, version, end, self.about()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<NoticeView>(
            "lease-watch",
            true,
            &[
                &[
                    "2026-11-22T08:00:00Z",
                    "issued",
                    "lease-aeaqcaibaeaqcaibaeaqcaibae",
                    "prod/payments/db",
                    "v7",
                    "in 14m 59s",
                    "",
                ],
                &[
                    "2026-11-22T08:00:12Z",
                    "expiring-soon",
                    "lease-aeaqcaibaeaqcaibaeaqcaibae",
                    "prod/payments/db",
                    "v7",
                    "in 4m 59s",
                    "",
                ],
                &[
                    "2026-11-22T08:00:12Z",
                    "draining",
                    "lease-ambqgaydambqgaydambqgaydam",
                    "prod/payments/checkout/stripe-webhook",
                    "3f1c2a9e-8d54-4b6f-9a70-5d0f6c1b2e83",
                    "in 14m 59s",
                    "v8 is current; until 2026-11-22T09:00:00Z",
                ],
            ],
        );
    }

    #[test]
    fn every_change_has_a_name_of_its_own() {
        let all = [
            LeaseChange::Snapshot,
            LeaseChange::Issued,
            LeaseChange::Renewed,
            LeaseChange::Revoked,
            LeaseChange::Expired,
            LeaseChange::Quarantined,
            LeaseChange::ExpiringSoon,
            LeaseChange::Rotated,
            LeaseChange::Moved,
            LeaseChange::Draining,
            LeaseChange::Retired,
            LeaseChange::Unknown,
        ];
        let names: std::collections::BTreeSet<_> = all.into_iter().map(name).collect();
        assert_eq!(names.len(), all.len());
    }
}
