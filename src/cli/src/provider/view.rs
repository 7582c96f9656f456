//! A back end's state, as `leasehold provider list` and `leasehold status` show it. The names in JSON are stable.

use leasehold_client::proto;
use leasehold_core::Timestamp;
use serde::Serialize;

use crate::{clock, duration, output::Row, secret::capability, table::Cut};

/// One back end's state.
#[derive(Serialize)]
pub(crate) struct ProviderView {
    name: String,
    can: Vec<&'static str>,
    circuit: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    unavailable: String,
    calls: i64,
    failures: i64,
    throttled: i64,
    turned_away: i64,
    circuit_opened: i64,
    /// When the broker's own credentials there end.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_expire_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    sign_in_problem: String,
}

impl ProviderView {
    pub(crate) fn of(provider: proto::ProviderStatus) -> Self {
        let circuit = match provider.circuit() {
            proto::CircuitState::Unspecified => "unknown",
            proto::CircuitState::Closed => "closed",
            proto::CircuitState::Open => "open",
            proto::CircuitState::HalfOpen => "half-open",
        };
        Self {
            can: provider.capabilities.iter().flat_map(|all| all.supported()).map(capability).collect(),
            name: provider.name,
            circuit,
            unavailable: provider.unavailable_reason,
            calls: provider.call_count,
            failures: provider.failure_count,
            throttled: provider.throttled_count,
            turned_away: provider.turned_away_count,
            circuit_opened: provider.circuit_open_count,
            credentials_expire_at: provider.credential_expire_time.and_then(clock::of_proto),
            sign_in_problem: provider.sign_in_problem,
        }
    }

    /// Whether it can be asked, and how long the broker's own credentials are good for.
    pub(crate) fn health(&self, now: Timestamp) -> String {
        match self.credentials(now) {
            Some(credentials) => format!("{}, {credentials}", self.state()),
            None => self.state().to_owned(),
        }
    }

    /// All of it in one line.
    pub(crate) fn line(&self, now: Timestamp) -> String {
        format!("{}: {} (can {})", self.name, self.health(now), self.can.join(", "))
    }

    fn state(&self) -> &str {
        if self.unavailable.is_empty() { "ok" } else { &self.unavailable }
    }

    /// How long the broker's own credentials are good for, and why not longer.
    fn credentials(&self, now: Timestamp) -> Option<String> {
        let end = match self.credentials_expire_at {
            Some(end) if end <= now => {
                Some(format!("the broker's credentials ENDED {}", duration::relative(end, now)))
            }
            Some(end) => Some(format!("the broker's credentials end {}", duration::relative(end, now))),
            None => None,
        };
        let problem = Some(&self.sign_in_problem).filter(|problem| !problem.is_empty());
        match (end, problem) {
            (end, None) => end,
            (Some(end), Some(problem)) => Some(format!("{end} and were NOT RENEWED: {problem}")),
            (None, Some(problem)) => Some(format!("the broker could NOT SIGN IN: {problem}")),
        }
    }
}

impl Row for ProviderView {
    const COLUMNS: &'static [&'static str] =
        &["PROVIDER", "STATE", "CALLS", "FAILED", "THROTTLED", "TURNED AWAY", "CREDENTIALS", "CAN"];
    const CUTS: &'static [(&'static str, Cut)] =
        &[("STATE", Cut::End), ("CREDENTIALS", Cut::End), ("CAN", Cut::End)];
    const FIRST_OUT: &'static [&'static str] = &["TURNED AWAY", "THROTTLED", "CALLS"];
    const LAST_OUT: &'static [&'static str] = &["CAN", "CREDENTIALS", "FAILED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.state().to_owned(),
            self.calls.to_string(),
            self.failures.to_string(),
            self.throttled.to_string(),
            self.turned_away.to_string(),
            self.credentials(clock::now()).unwrap_or_else(|| "-".to_owned()),
            self.can.join(", "),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> proto::ProviderStatus {
        proto::ProviderStatus {
            name: "vault-main".into(),
            circuit: proto::CircuitState::Closed.into(),
            capabilities: Some(proto::ProviderCapabilities {
                supported: vec![proto::ProviderCapability::Read.into()],
                ..Default::default()
            }),
            call_count: 7,
            ..Default::default()
        }
    }

    fn line(change: impl FnOnce(&mut proto::ProviderStatus)) -> String {
        let mut status = status();
        change(&mut status);
        ProviderView::of(status).line(Timestamp::from_second(0).unwrap())
    }

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<ProviderView>(
            "provider-list",
            false,
            &[
                &["local", "ok", "100", "0", "0", "0", "-", "read, write, versions, retire"],
                &[
                    "vault-main",
                    "is given a rest until 08:00:10",
                    "70011",
                    "12",
                    "3",
                    "141",
                    "renewed, valid for 23h 59m",
                    "read, write, issue, renew, revoke",
                ],
            ],
        );
    }

    #[test]
    fn what_needs_a_person_stands_out() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        assert_eq!(line(|_| ()), "vault-main: ok (can read)");
        assert_eq!(
            line(|status| status.unavailable_reason = "is given a rest".into()),
            "vault-main: is given a rest (can read)"
        );
        assert_eq!(
            line(|status| status.credential_expire_time = at(90)),
            "vault-main: ok, the broker's credentials end in 1m 30s (can read)"
        );
        assert_eq!(
            line(|status| {
                status.credential_expire_time = at(-60);
                status.sign_in_problem = "permission denied".into();
            }),
            "vault-main: ok, the broker's credentials ENDED 1m ago and were NOT RENEWED: permission denied (can read)"
        );
        assert_eq!(
            line(|status| status.sign_in_problem = "no route".into()),
            "vault-main: ok, the broker could NOT SIGN IN: no route (can read)"
        );
    }

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let view = ProviderView::of(status());
        let whole = proto::ProviderStatus {
            unavailable_reason: "is given a rest".into(),
            credential_expire_time: Some(prost_types::Timestamp { seconds: 60, nanos: 0 }),
            sign_in_problem: "permission denied".into(),
            ..status()
        };
        crate::snapshot::documented("provider-list", &[ProviderView::of(status()), ProviderView::of(whole)]);
        assert_eq!(view.cells().len(), ProviderView::COLUMNS.len());
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((&json["circuit"], &json["calls"]), (&"closed".into(), &7.into()));
    }
}
