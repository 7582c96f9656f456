//! `GetStatus`: what the engine knows, with what only the composition knows.

use leasehold_core::Timestamp;
use leasehold_engine::request::EngineStatus;
use leasehold_ledger::{LedgerHealth, LedgerStats};
use leasehold_proto::v1;

use super::convert::{count, provider_status, timestamp};

/// What the edge asks the composition. Cheap: it is asked often.
pub trait Facts: Send + Sync + 'static {
    /// What the broker is.
    fn broker(&self) -> BrokerFacts;

    /// How the ledger does.
    fn ledger(&self) -> LedgerFacts;
}

/// What the broker is.
#[derive(Clone, Debug)]
pub struct BrokerFacts {
    /// The program's version.
    pub version: String,
    /// The node's name, as in the journal.
    pub node: String,
    /// The trust domain that is served.
    pub trust_domain: String,
    /// When the process began to serve.
    pub started_at: Timestamp,
    /// The digest of the policies in force.
    pub policy_digest: String,
    /// How many policies are in force.
    pub policies: usize,
    /// What the last reload came to.
    pub last_reload: Option<LastReload>,
}

/// What a reload came to.
#[derive(Clone, Debug)]
pub struct LastReload {
    /// When.
    pub at: Timestamp,
    /// Why the new configuration was refused; absent when it was taken.
    pub rejection: Option<String>,
}

/// How the ledger does.
#[derive(Clone, Debug)]
pub struct LedgerFacts {
    /// What it is, such as `embedded`.
    pub backend: &'static str,
    /// Whether it takes commits.
    pub health: LedgerHealth,
    /// Its counters.
    pub stats: LedgerStats,
}

/// The broker's state as the contract has it.
pub(super) fn render(engine: &EngineStatus, broker: BrokerFacts, ledger: LedgerFacts) -> v1::BrokerStatus {
    let reload = |reload: LastReload| v1::ReloadStatus {
        time: Some(timestamp(reload.at)),
        rejection: reload.rejection.unwrap_or_default(),
    };
    v1::BrokerStatus {
        version: broker.version,
        node: broker.node,
        trust_domain: broker.trust_domain,
        start_time: Some(timestamp(broker.started_at)),
        current_time: Some(timestamp(engine.now)),
        live_lease_count: count(engine.live_leases),
        quarantined_lease_count: count(engine.quarantined_leases),
        secret_count: count(engine.secrets),
        mount_count: count(engine.mounts),
        providers: engine.providers.iter().map(provider_status).collect(),
        ledger: Some(ledger_status(ledger)),
        policies: Some(v1::PolicyStatus {
            digest: broker.policy_digest,
            policy_count: count(broker.policies),
        }),
        last_reload: broker.last_reload.map(reload),
        on_hold: engine.on_hold,
        orphan_count: count(engine.orphans),
    }
}

fn ledger_status(ledger: LedgerFacts) -> v1::LedgerStatus {
    let (health, health_message) = match ledger.health {
        LedgerHealth::Ok => (v1::LedgerHealth::Ok, String::new()),
        LedgerHealth::Full(why) => (v1::LedgerHealth::Full, why),
        LedgerHealth::Unavailable(why) => (v1::LedgerHealth::Unavailable, why),
        LedgerHealth::Poisoned(why) => (v1::LedgerHealth::Poisoned, why),
    };
    v1::LedgerStatus {
        backend: ledger.backend.to_owned(),
        health: health.into(),
        health_message,
        head_sequence: count(ledger.stats.head),
        commit_count: count(ledger.stats.commits),
        // The embedded ledger makes each group durable by one fsync; another one may not.
        batch_count: count(ledger.stats.fsyncs),
        fsync_count: count(ledger.stats.fsyncs),
        journal_bytes: count(ledger.stats.journal_bytes),
        conflict_count: count(ledger.stats.conflicts),
        snapshot_count: count(ledger.stats.snapshots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_is_wrong() {
        let engine = EngineStatus {
            now: Timestamp::UNIX_EPOCH,
            live_leases: 3,
            quarantined_leases: 1,
            secrets: 2,
            mounts: 1,
            providers: Vec::new(),
            on_hold: false,
            orphans: 0,
        };
        let broker = BrokerFacts {
            version: "0.1.0".into(),
            node: "a".into(),
            trust_domain: "example.org".into(),
            started_at: Timestamp::UNIX_EPOCH,
            policy_digest: "d1".into(),
            policies: 4,
            last_reload: Some(LastReload { at: Timestamp::UNIX_EPOCH, rejection: Some("line 3".into()) }),
        };
        let ledger = LedgerFacts {
            backend: "embedded",
            health: LedgerHealth::Full("no room".into()),
            stats: LedgerStats { head: 9, fsyncs: 6, journal_bytes: u64::MAX, ..LedgerStats::default() },
        };
        let status = render(&engine, broker, ledger);
        let ledger = status.ledger.unwrap();
        assert_eq!((ledger.health(), ledger.health_message.as_str()), (v1::LedgerHealth::Full, "no room"));
        assert_eq!((ledger.head_sequence, ledger.fsync_count, ledger.journal_bytes), (9, 6, i64::MAX));
        assert_eq!(status.last_reload.unwrap().rejection, "line 3");
        assert_eq!(status.policies.unwrap().policy_count, 4);
    }
}
