//! What is shown, under which names (<https://prometheus.io/docs/practices/naming/>). No label holds more than a
//! provider's name, a limit's, a state or a version.

use ::metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use leasehold_engine::request::{
    CircuitState, LeaseCounts, ProviderStatus, RevocationFigures, RotationFigures,
};
use leasehold_ledger::LedgerHealth;
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::grpc::{BrokerFacts, LedgerFacts};

/// Everything that is shown, as it is just now.
pub(super) struct Figures {
    pub(super) broker: BrokerFacts,
    pub(super) ledger: LedgerFacts,
    /// Absent when they could not be counted.
    pub(super) leases: Option<LeaseCounts>,
    pub(super) providers: Vec<ProviderStatus>,
    /// Whether nothing is ended.
    pub(super) on_hold: bool,
    pub(super) revocations: RevocationFigures,
    pub(super) rotations: RotationFigures,
    /// Requests that were turned away, by the limits that forbade them.
    pub(super) limited: Vec<(&'static str, u64)>,
}

/// Does what is needed once, before anybody is served: the recorder measures the processor's clock.
pub(super) fn prepare() {
    drop(PrometheusBuilder::new().build_recorder());
}

impl Figures {
    /// In Prometheus' text format. The recorder is made for this once: what is no more is not shown.
    pub(super) fn render(&self) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        with_local_recorder(&recorder, || {
            describe();
            self.record_broker();
            self.record_ledger();
            self.providers.iter().for_each(record_provider);
            for (limit, count) in &self.limited {
                counter!("leasehold_requests_limited_total", "limit" => *limit).absolute(*count);
            }
        });
        recorder.handle().render()
    }

    fn record_broker(&self) {
        gauge!("leasehold_build_info", "version" => self.broker.version.clone()).set(1);
        gauge!("leasehold_start_time_seconds").set(seconds(self.broker.started_at));
        gauge!("leasehold_on_hold").set(flag(self.on_hold));
        gauge!("leasehold_serving").set(flag(self.ledger.health == LedgerHealth::Ok));
        if let Some(leases) = self.leases {
            gauge!("leasehold_leases", "state" => "live").set(real(leases.live));
            gauge!("leasehold_leases", "state" => "quarantined").set(real(leases.quarantined));
        }
        gauge!("leasehold_revocations_running").set(real(self.revocations.running));
        counter!("leasehold_leases_forgotten_total").absolute(self.revocations.forgotten);
        let rotations = &self.rotations;
        gauge!("leasehold_rotation_secrets").set(whole(rotations.secrets));
        gauge!("leasehold_rotation_waiting").set(whole(rotations.queued));
        gauge!("leasehold_rotation_too_old").set(whole(rotations.too_old));
    }

    fn record_ledger(&self) {
        let is = match self.ledger.health {
            LedgerHealth::Ok => "ok",
            LedgerHealth::Full(_) => "full",
            LedgerHealth::Unavailable(_) => "unavailable",
            LedgerHealth::Poisoned(_) => "poisoned",
        };
        for state in ["ok", "full", "unavailable", "poisoned"] {
            gauge!("leasehold_ledger_health", "state" => state).set(flag(state == is));
        }
        let stats = &self.ledger.stats;
        gauge!("leasehold_ledger_head_sequence").set(real(stats.head));
        counter!("leasehold_ledger_commits_total").absolute(stats.commits);
        counter!("leasehold_ledger_fsyncs_total").absolute(stats.fsyncs);
        counter!("leasehold_ledger_conflicts_total").absolute(stats.conflicts);
        counter!("leasehold_ledger_journal_written_bytes_total").absolute(stats.journal_bytes);
    }
}

fn record_provider(provider: &ProviderStatus) {
    let name = provider.name.to_string();
    let circuit = match provider.circuit {
        CircuitState::Closed => 0,
        CircuitState::HalfOpen => 1,
        CircuitState::Open => 2,
    };
    let (calls, label) = (&provider.calls, "provider");
    gauge!("leasehold_provider_circuit_state", label => name.clone()).set(circuit);
    counter!("leasehold_provider_circuit_opened_total", label => name.clone()).absolute(calls.circuit_opened);
    counter!("leasehold_provider_calls_total", label => name.clone()).absolute(calls.calls);
    counter!("leasehold_provider_failures_total", label => name.clone()).absolute(calls.failures);
    counter!("leasehold_provider_throttled_total", label => name.clone()).absolute(calls.throttled);
    counter!("leasehold_provider_turned_away_total", label => name.clone()).absolute(calls.turned_away);
    let endings = &provider.endings;
    gauge!("leasehold_orphans", label => name.clone()).set(real(endings.orphans));
    counter!("leasehold_orphans_revoked_total", label => name.clone()).absolute(endings.orphans_revoked);
    counter!("leasehold_orphan_failures_total", label => name.clone()).absolute(endings.orphans_failed);
    counter!("leasehold_still_valid_total", label => name.clone()).absolute(endings.still_valid);
    let waiting = u32::try_from(provider.waiting).unwrap_or(u32::MAX);
    gauge!("leasehold_provider_waiting_calls", label => name.clone()).set(waiting);
    if let Some(end) = provider.sign_in.expires_at {
        gauge!("leasehold_provider_credentials_expiry_timestamp_seconds", label => name).set(seconds(end));
    }
}

fn describe() {
    for (name, help) in [
        ("leasehold_build_info", "The program that runs, by its version; always 1."),
        ("leasehold_start_time_seconds", "When the broker began to serve, in seconds of the Unix epoch."),
        (
            "leasehold_serving",
            "Whether the broker takes requests: 1, or 0 while its ledger takes no commits.",
        ),
        (
            "leasehold_on_hold",
            "Whether the broker is on hold: 1 while it ends nothing, not even what is due.",
        ),
        (
            "leasehold_orphans",
            "Credentials without a lease that the last sweep found and that are not ended.",
        ),
        (
            "leasehold_leases",
            "Leases, counted every few seconds at most: live, or not revoked in spite of all tries.",
        ),
        ("leasehold_revocations_running", "Revocations of many leases that have not come to their end."),
        (
            "leasehold_rotation_secrets",
            "Secrets for which something is planned: a rotation, or a look at one.",
        ),
        ("leasehold_rotation_waiting", "Secrets whose time has come and who wait for their turn."),
        ("leasehold_rotation_too_old", "Secrets whose version is older than their `max_age`."),
        ("leasehold_ledger_health", "The state of the ledger: 1 for the one that holds."),
        ("leasehold_ledger_head_sequence", "The sequence number of the last durable record."),
        (
            "leasehold_provider_circuit_state",
            "Whether calls go through: 0 closed, 1 half-open (one tries), 2 open (none does).",
        ),
        ("leasehold_provider_waiting_calls", "Calls that wait for their turn."),
        (
            "leasehold_provider_credentials_expiry_timestamp_seconds",
            "When the broker's own credentials end, in seconds of the Unix epoch; absent when they do not.",
        ),
    ] {
        describe_gauge!(name, help);
    }
    for (name, help) in [
        (
            "leasehold_leases_forgotten_total",
            "Leases that operators gave up while their credentials could not be ended.",
        ),
        ("leasehold_ledger_commits_total", "Commits that became durable."),
        ("leasehold_ledger_fsyncs_total", "Times that the journal was brought to disk."),
        ("leasehold_ledger_conflicts_total", "Commits that were refused because a condition did not hold."),
        ("leasehold_ledger_journal_written_bytes_total", "Bytes written to the journal."),
        (
            "leasehold_requests_limited_total",
            "Requests that were turned away, by the limit that forbade them.",
        ),
        ("leasehold_orphans_revoked_total", "Orphans that were ended."),
        ("leasehold_orphan_failures_total", "Attempts to end an orphan that failed."),
        (
            "leasehold_still_valid_total",
            "Credentials that were seen to work on after their back end had said that it ended them.",
        ),
        ("leasehold_provider_circuit_opened_total", "How often it failed so often that it was given a rest."),
        ("leasehold_provider_calls_total", "Calls that were made."),
        ("leasehold_provider_failures_total", "Calls that were not answered, or failed inside."),
        ("leasehold_provider_throttled_total", "Calls that were answered with: asked too often."),
        (
            "leasehold_provider_turned_away_total",
            "Calls that were not made, because of a limit, a rest or a hint.",
        ),
    ] {
        describe_counter!(name, help);
    }
}

fn flag(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// Exact up to 2^53, as all figures of Prometheus.
fn real(count: u64) -> f64 {
    count as f64
}

fn whole(count: usize) -> f64 {
    real(u64::try_from(count).unwrap_or(u64::MAX))
}

fn seconds(time: leasehold_core::Timestamp) -> f64 {
    time.as_second() as f64
}

#[cfg(test)]
mod tests {
    use leasehold_core::{
        Timestamp,
        provider::{Capabilities, SignIn},
    };
    use leasehold_engine::request::{CallCounts, EndingCounts};
    use leasehold_ledger::LedgerStats;

    use super::*;

    fn figures() -> Figures {
        let provider = ProviderStatus {
            name: "aws-main".parse().unwrap(),
            capabilities: Capabilities::default(),
            sign_in: SignIn {
                expires_at: Some(Timestamp::from_second(1_800_000_000).unwrap()),
                problem: Some("nothing-of-this-is-shown".into()),
            },
            unavailable: Some("nothing-of-this-is-shown".into()),
            circuit: CircuitState::Open,
            calls: CallCounts { calls: 9, failures: 5, throttled: 1, turned_away: 2, circuit_opened: 1 },
            waiting: 3,
            endings: EndingCounts { orphans: 4, orphans_revoked: 6, orphans_failed: 2, still_valid: 1 },
        };
        Figures {
            broker: BrokerFacts {
                version: "0.1.0".into(),
                node: "nothing-of-this-is-shown".into(),
                trust_domain: "example.org".into(),
                started_at: Timestamp::from_second(1_700_000_000).unwrap(),
                policy_digest: "d1".into(),
                policies: 4,
                last_reload: None,
            },
            ledger: LedgerFacts {
                backend: "embedded",
                health: LedgerHealth::Full("nothing-of-this-is-shown".into()),
                stats: LedgerStats {
                    head: 12,
                    commits: 8,
                    fsyncs: 6,
                    conflicts: 1,
                    ..LedgerStats::default()
                },
            },
            leases: Some(LeaseCounts { live: 7, quarantined: 1 }),
            providers: vec![provider],
            on_hold: true,
            revocations: RevocationFigures { running: 2, forgotten: 3 },
            rotations: RotationFigures { secrets: 21, queued: 5, running: 4, too_old: 2 },
            limited: vec![("limits.requests_per_principal", 8)],
        }
    }

    #[test]
    fn each_figure_is_shown_with_its_help_and_its_type() {
        let text = figures().render();
        for line in [
            "leasehold_build_info{version=\"0.1.0\"} 1",
            "leasehold_start_time_seconds 1700000000",
            "leasehold_serving 0",
            "leasehold_on_hold 1",
            "leasehold_orphans{provider=\"aws-main\"} 4",
            "leasehold_orphans_revoked_total{provider=\"aws-main\"} 6",
            "leasehold_orphan_failures_total{provider=\"aws-main\"} 2",
            "leasehold_still_valid_total{provider=\"aws-main\"} 1",
            "leasehold_leases{state=\"live\"} 7",
            "leasehold_leases{state=\"quarantined\"} 1",
            "leasehold_ledger_health{state=\"ok\"} 0",
            "leasehold_ledger_health{state=\"full\"} 1",
            "leasehold_revocations_running 2",
            "leasehold_leases_forgotten_total 3",
            "leasehold_rotation_secrets 21",
            "leasehold_rotation_waiting 5",
            "leasehold_rotation_too_old 2",
            "leasehold_ledger_head_sequence 12",
            "leasehold_ledger_commits_total 8",
            "leasehold_ledger_fsyncs_total 6",
            "leasehold_ledger_conflicts_total 1",
            "leasehold_requests_limited_total{limit=\"limits.requests_per_principal\"} 8",
            "leasehold_provider_circuit_state{provider=\"aws-main\"} 2",
            "leasehold_provider_circuit_opened_total{provider=\"aws-main\"} 1",
            "leasehold_provider_calls_total{provider=\"aws-main\"} 9",
            "leasehold_provider_failures_total{provider=\"aws-main\"} 5",
            "leasehold_provider_throttled_total{provider=\"aws-main\"} 1",
            "leasehold_provider_turned_away_total{provider=\"aws-main\"} 2",
            "leasehold_provider_waiting_calls{provider=\"aws-main\"} 3",
            "leasehold_provider_credentials_expiry_timestamp_seconds{provider=\"aws-main\"} 1800000000",
        ] {
            assert!(text.lines().any(|shown| shown == line), "nothing of {line} in\n{text}");
        }
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for name in samples.filter_map(|line| line.split(['{', ' ']).next()) {
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help:\n{text}");
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} has another type:\n{text}");
        }
        assert!(!text.contains("nothing-of-this-is-shown"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let mut figures = figures();
        figures.leases = None;
        figures.providers[0].sign_in.expires_at = None;
        let text = figures.render();
        assert!(
            !text.contains("leasehold_leases{") && !text.contains("_expiry_timestamp_seconds{"),
            "{text}"
        );
    }
}
