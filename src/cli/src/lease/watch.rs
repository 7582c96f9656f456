//! `leasehold lease watch`: what happens to your leases, as it happens.

use clap::Args;
use leasehold_client::{Client, Error, LeaseChange, Notice};
use leasehold_core::Timestamp;
use serde::Serialize;

use super::view::LeaseView;
use crate::{
    clock,
    exit::Failure,
    output::{Format, Output, Row},
};

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Go on behind this place, which an earlier watch wrote with --output jsonl
    #[arg(long, value_name = "TOKEN")]
    resume: Option<String>,
    /// End after so many lines
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
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
        if output.format == Format::Json {
            return Err(Failure::usage("a watch has no end: write it with --output jsonl"));
        }
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut place = self.resume;
        let mut list = output.stream();
        while left > 0 {
            let mut watch = client.watch_leases(place.clone()).await?;
            loop {
                match watch.next().await {
                    Ok(Some(notice)) => {
                        place = Some(notice.resume_token.clone());
                        list.push(&NoticeView::of(&notice))?;
                        left = left.saturating_sub(1);
                        if left == 0 {
                            break;
                        }
                    }
                    // Somebody stopped reading for a while: what was missed comes now.
                    Err(error) if has_lagged(&error) => break,
                    Ok(None) => return list.finish("nothing happened"),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        list.finish("nothing happened")
    }
}

pub(crate) fn has_lagged(error: &Error) -> bool {
    error.reason() == Some("WATCH_LAGGED")
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
    const WIDTHS: &'static [usize] = &[20, 13, 32, 24, 12, 14];

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
