//! Revocations as the command line shows them. The names in JSON are stable.

use leasehold_client::proto::{self, RevocationState};
use leasehold_core::Timestamp;
use serde::Serialize;

use crate::{
    clock, duration,
    exit::{Exit, Failure},
    output::Row,
    table::Cut,
};

/// The revocation of many leases.
#[derive(Serialize)]
pub(crate) struct RevocationView {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    holder: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    secret: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    prefix: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    provider: String,
    reason: String,
    actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    pub(crate) total: i64,
    pub(crate) done: i64,
    failed: i64,
    quarantined: i64,
}

impl RevocationView {
    pub(crate) fn of(revocation: &proto::Revocation) -> Self {
        let filter = revocation.filter.clone().unwrap_or_default();
        Self {
            id: revocation.id.clone(),
            state: match revocation.state() {
                RevocationState::Running => "running",
                RevocationState::Finished => "finished",
                RevocationState::Previewed => "previewed",
                RevocationState::Unspecified => "unknown",
            },
            holder: filter.holder,
            secret: filter.secret,
            version: filter.version,
            prefix: filter.secret_prefix,
            provider: filter.provider,
            reason: revocation.reason.clone(),
            actor: revocation.actor.clone(),
            started_at: revocation.start_time.and_then(clock::of_proto),
            ended_at: revocation.end_time.and_then(clock::of_proto),
            total: revocation.total_count,
            done: revocation.done_count,
            failed: revocation.failed_count,
            quarantined: revocation.quarantined_count,
        }
    }

    /// What a person wants to know of it.
    pub(crate) fn parts(&self) -> Vec<(&'static str, String)> {
        let now = clock::now();
        let time = |time: Timestamp| format!("{time:.0} ({})", duration::relative(time, now));
        let mut parts = Vec::new();
        let mut say = |name, what: String| {
            if !what.is_empty() {
                parts.push((name, what));
            }
        };
        say("revocation", self.id.clone());
        say("leases", self.which());
        say("reason", self.reason.clone());
        say("state", self.state.to_owned());
        say("began", self.started_at.map(time).unwrap_or_default());
        say("ended", self.ended_at.map(time).unwrap_or_default());
        if self.state == "previewed" {
            say("would end", self.total.to_string());
            return parts;
        }
        say("total", self.total.to_string());
        say("done", self.done.to_string());
        say("failed", Some(self.failed).filter(|n| *n > 0).map(|n| n.to_string()).unwrap_or_default());
        say("quarantined", self.quarantined.to_string());
        parts
    }

    /// Which leases, in words.
    pub(crate) fn which(&self) -> String {
        let of = |word: &str, what: &str| (!what.is_empty()).then(|| format!("{word} {what}"));
        let words = [
            of("of", &self.holder),
            of("on", &self.secret),
            of("version", &self.version),
            of("under", &self.prefix),
            of("at", &self.provider),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// How far it has come.
    pub(crate) fn in_a_line(&self) -> String {
        let Self { total, done, failed, quarantined, .. } = self;
        let mut line = format!("{done} of {total} leases ended");
        if *failed > 0 {
            line.push_str(&format!(", {failed} tried again"));
        }
        if *quarantined > 0 {
            line.push_str(&format!(", {quarantined} quarantined"));
        }
        line
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.state == "finished"
    }

    /// Whether it came to a good end.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        if self.quarantined == 0 {
            return Ok(());
        }
        let message = format!(
            "{} of {} leases could not be ended and are quarantined: `leasehold lease list --all --state quarantined` lists them, `leasehold lease retry` tries again",
            self.quarantined, self.total
        );
        Err(Failure::new(Exit::Failed, message))
    }
}

impl Row for RevocationView {
    const COLUMNS: &'static [&'static str] =
        &["REVOCATION", "STATE", "TOTAL", "DONE", "FAILED", "QUARANTINED", "BEGAN", "LEASES"];
    const CUTS: &'static [(&'static str, Cut)] = &[("LEASES", Cut::End)];
    const FIRST_OUT: &'static [&'static str] = &["BEGAN", "LEASES"];
    const LAST_OUT: &'static [&'static str] = &["TOTAL", "FAILED", "QUARANTINED"];
    const WIDTHS: &'static [usize] = &[37, 8, 7, 7, 6, 11, 10, 0];

    fn cells(&self) -> Vec<String> {
        let now = clock::now();
        vec![
            self.id.clone(),
            self.state.to_owned(),
            self.total.to_string(),
            self.done.to_string(),
            self.failed.to_string(),
            self.quarantined.to_string(),
            self.started_at.map(|began| duration::relative(began, now)).unwrap_or_default(),
            self.which(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocation() -> proto::Revocation {
        proto::Revocation {
            id: "revocation-aeaqcaibaeaqcaibaeaqcaibae".into(),
            filter: Some(proto::LeaseFilter {
                secret: "prod/payments/db".into(),
                version: "v1".into(),
                ..Default::default()
            }),
            reason: "it leaked".into(),
            actor: "spiffe://example.org/operator/admin".into(),
            state: RevocationState::Running.into(),
            start_time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            total_count: 9,
            done_count: 5,
            failed_count: 2,
            ..Default::default()
        }
    }

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<RevocationView>(
            "revocation-list",
            false,
            &[
                &[
                    "revocation-aeaqcaibaeaqcaibaeaqcaibae",
                    "finished",
                    "61",
                    "61",
                    "0",
                    "0",
                    "5m 2s ago",
                    "secret prod/payments/db; it leaked",
                ],
                &[
                    "revocation-ambqgaydambqgaydambqgaydam",
                    "running",
                    "1204",
                    "1100",
                    "3",
                    "2",
                    "12s ago",
                    "prefix prod/payments/, provider pg-main; the contractor has left",
                ],
            ],
        );
    }

    #[test]
    fn a_revocation_as_json_has_stable_names() {
        let ended = proto::Revocation {
            state: RevocationState::Finished.into(),
            end_time: Some(prost_types::Timestamp { seconds: 9, nanos: 0 }),
            ..revocation()
        };
        crate::snapshot::documented("revocation-list", &[&revocation(), &ended].map(RevocationView::of));
        let json = serde_json::to_string(&RevocationView::of(&revocation())).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"id":"revocation-aeaqcaibaeaqcaibaeaqcaibae","state":"running","secret":"prod/payments/db","#,
                r#""version":"v1","reason":"it leaked","actor":"spiffe://example.org/operator/admin","#,
                r#""started_at":"1970-01-01T00:00:00Z","total":9,"done":5,"failed":2,"quarantined":0}"#
            )
        );
    }

    #[test]
    fn a_revocation_for_people() {
        let view = RevocationView::of(&revocation());
        assert_eq!(view.in_a_line(), "5 of 9 leases ended, 2 tried again");
        assert_eq!(view.which(), "on prod/payments/db version v1");
        assert!(view.parts().contains(&("failed", "2".to_owned())) && !view.is_finished());
        assert_eq!(view.cells().len(), RevocationView::COLUMNS.len());
        let aside = proto::Revocation { quarantined_count: 1, ..revocation() };
        let failure = RevocationView::of(&aside).verdict().unwrap_err();
        assert_eq!((failure.exit, failure.message.starts_with("1 of 9 ")), (Exit::Failed, true));
        assert!(view.verdict().is_ok());
    }
}
