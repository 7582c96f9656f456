//! `leasehold status`: how the broker is doing.

use leasehold_client::proto;
use leasehold_core::Timestamp;
use serde::Serialize;

use crate::{
    again::Again,
    clock,
    connection::Connection,
    duration,
    exit::{About, Failure},
    output::Output,
    provider::ProviderView,
};

/// The broker's state, under stable names.
#[derive(Serialize)]
struct StatusView {
    version: String,
    node: String,
    trust_domain: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Timestamp>,
    live_leases: i64,
    quarantined_leases: i64,
    on_hold: bool,
    orphans: i64,
    secrets: i64,
    mounts: i64,
    providers: Vec<ProviderView>,
    ledger: LedgerView,
    policies: PolicyView,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_reload: Option<ReloadView>,
}

#[derive(Serialize)]
struct LedgerView {
    backend: String,
    health: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    head_sequence: i64,
    commits: i64,
    batches: i64,
    fsyncs: i64,
    journal_bytes: i64,
    conflicts: i64,
    snapshots: i64,
}

#[derive(Serialize)]
struct PolicyView {
    digest: String,
    count: i64,
}

#[derive(Serialize)]
struct ReloadView {
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    rejection: String,
}

pub(crate) async fn run(again: Again, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
    let operator = connection.open().await?.operator();
    let once = async |output: &mut Output| {
        let view = StatusView::of(operator.status().await.about("the broker's status")?);
        output.item(&view, &view.parts())
    };
    again.show("status", output, once).await
}

impl StatusView {
    fn of(status: proto::BrokerStatus) -> Self {
        let ledger = status.ledger.unwrap_or_default();
        let policies = status.policies.unwrap_or_default();
        Self {
            version: status.version,
            node: status.node,
            trust_domain: status.trust_domain,
            started_at: status.start_time.and_then(clock::of_proto),
            now: status.current_time.and_then(clock::of_proto),
            live_leases: status.live_lease_count,
            quarantined_leases: status.quarantined_lease_count,
            on_hold: status.on_hold,
            orphans: status.orphan_count,
            secrets: status.secret_count,
            mounts: status.mount_count,
            providers: status.providers.into_iter().map(ProviderView::of).collect(),
            policies: PolicyView { digest: policies.digest, count: policies.policy_count },
            last_reload: status.last_reload.map(|reload| ReloadView {
                at: reload.time.and_then(clock::of_proto),
                rejection: reload.rejection,
            }),
            ledger: LedgerView {
                health: health(ledger.health()),
                backend: ledger.backend,
                message: ledger.health_message,
                head_sequence: ledger.head_sequence,
                commits: ledger.commit_count,
                batches: ledger.batch_count,
                fsyncs: ledger.fsync_count,
                journal_bytes: ledger.journal_bytes,
                conflicts: ledger.conflict_count,
                snapshots: ledger.snapshot_count,
            },
        }
    }

    fn parts(&self) -> Vec<(&'static str, String)> {
        let Self { ledger, policies, .. } = self;
        let mut parts = vec![("broker", format!("{} {} for {}", self.node, self.version, self.trust_domain))];
        if let (Some(start), Some(now)) = (self.started_at, self.now) {
            parts.push(("started", format!("{start:.0} ({})", duration::relative(start, now))));
        }
        let quarantined = match self.quarantined_leases {
            0 => String::new(),
            count => format!(", {count} QUARANTINED"),
        };
        if self.on_hold {
            parts.push(("hold", "ON HOLD: nothing is ended; see `leasehold hold show`".to_owned()));
        }
        parts.push(("leases", format!("{} live{quarantined}", self.live_leases)));
        if self.orphans > 0 {
            parts.push((
                "orphans",
                format!("{} CREDENTIALS WITHOUT A LEASE; see `leasehold orphan list`", self.orphans),
            ));
        }
        parts.push(("catalog", format!("{} secrets, {} mounts", self.secrets, self.mounts)));
        parts.push(("policies", format!("{} ({})", policies.count, policies.digest)));
        let why = if ledger.message.is_empty() { String::new() } else { format!(": {}", ledger.message) };
        parts.push(("ledger", format!("{}, {}{why}", ledger.backend, ledger.health)));
        parts.push(("journal", format!("record {}, {} bytes", ledger.head_sequence, ledger.journal_bytes)));
        parts.push((
            "since the start",
            format!("{} commits in {} groups, {} fsyncs", ledger.commits, ledger.batches, ledger.fsyncs),
        ));
        let now = self.now.unwrap_or_else(clock::now);
        for provider in &self.providers {
            parts.push(("provider", provider.line(now)));
        }
        if let Some(ReloadView { at: Some(at), rejection }) = &self.last_reload {
            let how = if rejection.is_empty() { "taken".to_owned() } else { format!("REFUSED: {rejection}") };
            parts.push(("last reload", format!("{at:.0}, {how}")));
        }
        parts
    }
}

pub(crate) fn health(health: proto::LedgerHealth) -> &'static str {
    match health {
        proto::LedgerHealth::Unspecified => "unknown",
        proto::LedgerHealth::Ok => "ok",
        proto::LedgerHealth::Full => "FULL",
        proto::LedgerHealth::Unavailable => "UNAVAILABLE",
        proto::LedgerHealth::Poisoned => "POISONED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_person_stands_out() {
        let status = proto::BrokerStatus {
            node: "a".into(),
            version: "0.1.0".into(),
            trust_domain: "example.org".into(),
            quarantined_lease_count: 2,
            on_hold: true,
            orphan_count: 3,
            ledger: Some(proto::LedgerStatus {
                backend: "embedded".into(),
                health: proto::LedgerHealth::Full.into(),
                health_message: "no room".into(),
                ..Default::default()
            }),
            last_reload: Some(proto::ReloadStatus {
                time: Some(prost_types::Timestamp::default()),
                rejection: "leasehold.toml:3:1".into(),
            }),
            ..Default::default()
        };
        crate::snapshot::documented("status", &StatusView::of(status.clone()));
        let parts = StatusView::of(status).parts();
        let find = |name| parts.iter().find(|(part, _)| *part == name).map(|(_, text)| text.as_str());
        assert_eq!(find("broker"), Some("a 0.1.0 for example.org"));
        assert!(find("hold").unwrap().starts_with("ON HOLD"));
        assert!(find("orphans").unwrap().starts_with("3 CREDENTIALS"));
        assert_eq!(find("leases"), Some("0 live, 2 QUARANTINED"));
        assert_eq!(find("ledger"), Some("embedded, FULL: no room"));
        assert_eq!(find("last reload"), Some("1970-01-01T00:00:00Z, REFUSED: leasehold.toml:3:1"));
    }
}
