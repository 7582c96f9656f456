//! Leases as the command line shows them. The names in JSON are stable.

use leasehold_client::Lease;
use leasehold_core::{SecretValue, Timestamp, provider::Verification};
use serde::Serialize;

use crate::{clock, duration, output::Row, table::Cut, value::ValueView};

/// A lease without its value.
#[derive(Serialize)]
pub(super) struct LeaseView {
    id: String,
    secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    holder: String,
    provider: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<String>,
    state: &'static str,
    issued_at: Timestamp,
    expires_at: Timestamp,
    max_expires_at: Timestamp,
    renewals: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_since: Option<Timestamp>,
    /// Nothing can end the credential before: it works until then, whatever happens to the lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    irrevocable_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<&'static str>,
    /// How often the broker tried in vain to end the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Timestamp>,
}

/// A lease with its value, when there is one to show.
#[derive(Serialize)]
pub(super) struct IssuedView<'v> {
    lease: LeaseView,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<ValueView<'v>>,
}

impl LeaseView {
    pub(super) fn of(lease: &Lease) -> Self {
        Self {
            id: lease.id.to_string(),
            secret: lease.secret.to_string(),
            version: lease.version.as_ref().map(ToString::to_string),
            holder: lease.holder.to_string(),
            provider: lease.provider.to_string(),
            kind: if lease.dynamic { "dynamic" } else { "static" },
            fields: lease.fields.iter().map(ToString::to_string).collect(),
            state: lease.state.name(),
            issued_at: lease.issued_at,
            expires_at: lease.expires_at,
            max_expires_at: lease.max_expires_at,
            renewals: lease.renewals,
            stale_since: lease.stale_since,
            irrevocable_until: lease.irrevocable_until,
            ended_at: lease.ended_at,
            end_cause: lease.end_cause.map(|cause| cause.name()),
            verification: lease.verification.map(Verification::name),
            failed_attempts: lease.ending.map(|ending| ending.failed_attempts),
            next_attempt_at: lease.ending.and_then(|ending| ending.next_attempt_at),
        }
    }

    /// Its id, secret, version and end, for a line about it.
    pub(super) fn brief(&self, now: Timestamp) -> [String; 4] {
        let version = self.version.clone().unwrap_or_else(|| "-".to_owned());
        let end = duration::relative(self.ended_at.unwrap_or(self.expires_at), now);
        [self.id.clone(), self.secret.clone(), version, end]
    }

    /// What a person wants to know of one lease.
    pub(super) fn parts(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let time = |time: Timestamp| format!("{time:.0} ({})", duration::relative(time, now));
        let mut parts = vec![
            ("lease", self.id.clone()),
            ("secret", self.secret.clone()),
            ("version", self.version.clone().unwrap_or_else(|| "-".to_owned())),
            ("holder", self.holder.clone()),
            ("state", self.state.to_owned()),
            ("issued", time(self.issued_at)),
        ];
        match self.ended_at {
            Some(end) => {
                let by = self.end_cause.map(|cause| format!(", by {cause}")).unwrap_or_default();
                parts.push(("ended", time(end) + &by));
            }
            None => {
                parts.push(("expires", time(self.expires_at)));
                parts.push(("at the latest", time(self.max_expires_at)));
            }
        }
        if self.renewals > 0 {
            parts.push(("renewals", self.renewals.to_string()));
        }
        if let Some(end) = self.irrevocable_until {
            parts.push(("revocation", format!("none until {}", time(end))));
        }
        if let Some(verification) = self.verification {
            let told = match verification {
                "verified" => "dead: it was tried",
                "unverifiable" => "ended, says its back end; nothing can be tried",
                _ => "STILL VALID: it works on although its back end says that it ended it",
            };
            parts.push(("credential", told.to_owned()));
        }
        if let Some(attempts) = self.failed_attempts.filter(|attempts| *attempts > 0) {
            let times = if attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
            let again = self.next_attempt_at.map(|at| format!(", again {}", duration::relative(at, now)));
            parts.push(("ending", format!("tried {times} in vain{}", again.unwrap_or_default())));
        }
        if let Some(since) = self.stale_since {
            parts.push(("stale", format!("its back end last confirmed the value {}", time(since))));
        }
        parts
    }
}

impl Row for LeaseView {
    const COLUMNS: &'static [&'static str] =
        &["LEASE", "SECRET", "VERSION", "HOLDER", "STATE", "ENDS", "REVOCATION"];
    const CUTS: &'static [(&'static str, Cut)] =
        &[("HOLDER", Cut::Start), ("REVOCATION", Cut::End), ("ENDS", Cut::Span), ("SECRET", Cut::Start)];
    const FIRST_OUT: &'static [&'static str] = &["VERSION", "REVOCATION"];
    const LAST_OUT: &'static [&'static str] = &["HOLDER", "ENDS"];

    fn cells(&self) -> Vec<String> {
        let end = self.ended_at.unwrap_or(self.expires_at);
        vec![
            self.id.clone(),
            self.secret.clone(),
            self.version.clone().unwrap_or_else(|| "-".to_owned()),
            self.holder.clone(),
            self.state.to_owned(),
            duration::relative(end, clock::now()),
            match (self.irrevocable_until, self.verification) {
                (Some(end), _) => format!("none until {end:.0}"),
                (None, verification) => verification.unwrap_or_default().to_owned(),
            },
        ]
    }
}

impl<'v> IssuedView<'v> {
    pub(super) fn of(lease: &Lease, value: Option<&'v SecretValue>) -> Self {
        Self { lease: LeaseView::of(lease), value: value.map(Into::into) }
    }
}

#[cfg(test)]
mod tests {
    use leasehold_client::{EndCause, Ending, LeaseState};
    use leasehold_core::LeaseId;

    use super::*;

    fn lease() -> Lease {
        let at = |second| Timestamp::from_second(second).unwrap();
        Lease {
            id: LeaseId::from_bits([1; 16]),
            holder: "spiffe://example.org/prod/api".parse().unwrap(),
            secret: "prod/payments/db".parse().unwrap(),
            version: Some("v1".parse().unwrap()),
            provider: "local".parse().unwrap(),
            dynamic: false,
            fields: Vec::new(),
            state: LeaseState::Active,
            issued_at: at(0),
            expires_at: at(900),
            max_expires_at: at(3_600),
            renewals: 0,
            stale_since: None,
            irrevocable_until: None,
            verification: None,
            ending: None,
            ended_at: None,
            end_cause: None,
        }
    }

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<LeaseView>(
            "lease-list",
            false,
            &[
                &[
                    "lease-aeaqcaibaeaqcaibaeaqcaibae",
                    "prod/payments/db",
                    "v7",
                    "spiffe://quickstart.test/prod/payments/api",
                    "active",
                    "in 14m 59s",
                    "",
                ],
                &[
                    "lease-ambqgaydambqgaydambqgaydam",
                    "prod/payments/checkout/stripe-webhook",
                    "3f1c2a9e-8d54-4b6f-9a70-5d0f6c1b2e83",
                    "spiffe://quickstart.test/prod/payments/api",
                    "quarantined",
                    "2h 10m ago",
                    "",
                ],
            ],
        );
    }

    #[test]
    fn a_lease_whose_credential_does_not_end_says_how_often_that_was_tried() {
        let at = Timestamp::from_second(120).unwrap();
        let ending = |failed_attempts| Ending { failed_attempts, next_attempt_at: Some(at) };
        let told = |attempts| {
            let lease = Lease { state: LeaseState::Quarantined, ending: Some(ending(attempts)), ..lease() };
            let parts = LeaseView::of(&lease).parts(Timestamp::from_second(60).unwrap());
            parts.into_iter().find(|(part, _)| *part == "ending").map(|(_, text)| text)
        };
        assert_eq!(told(7).unwrap(), "tried 7 times in vain, again in 1m");
        assert_eq!(told(1).unwrap(), "tried once in vain, again in 1m");
        assert_eq!(told(0), None);
    }

    #[test]
    fn a_lease_as_json_has_stable_names() {
        let at = Timestamp::from_second(1_800).unwrap();
        let whole = Lease {
            dynamic: true,
            fields: vec!["password".parse().unwrap()],
            state: LeaseState::Revoked,
            renewals: 2,
            stale_since: Some(at),
            irrevocable_until: Some(at),
            verification: Some(Verification::Verified),
            ended_at: Some(at),
            end_cause: Some(EndCause::Holder),
            ending: Some(Ending { failed_attempts: 2, next_attempt_at: Some(at) }),
            ..lease()
        };
        crate::snapshot::documented("lease-list", &[LeaseView::of(&lease()), LeaseView::of(&whole)]);
        let json = serde_json::to_string(&LeaseView::of(&lease())).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"id":"lease-aeaqcaibaeaqcaibaeaqcaibae","secret":"prod/payments/db","version":"v1","#,
                r#""holder":"spiffe://example.org/prod/api","provider":"local","kind":"static","state":"active","#,
                r#""issued_at":"1970-01-01T00:00:00Z","expires_at":"1970-01-01T00:15:00Z","#,
                r#""max_expires_at":"1970-01-01T01:00:00Z","renewals":0}"#
            )
        );
    }

    #[test]
    fn a_lease_for_people() {
        let parts = LeaseView::of(&lease()).parts(Timestamp::from_second(60).unwrap());
        let find = |name| parts.iter().find(|(part, _)| *part == name).map(|(_, text)| text.as_str());
        assert_eq!(find("issued"), Some("1970-01-01T00:00:00Z (1m ago)"));
        assert_eq!(find("expires"), Some("1970-01-01T00:15:00Z (in 14m)"));
        assert_eq!(find("renewals"), None);
    }

    #[test]
    fn a_lease_says_whether_its_credential_is_dead() {
        for (verification, shown) in [
            (Verification::Verified, "dead"),
            (Verification::Unverifiable, "ended, says its back end"),
            (Verification::StillValid, "STILL VALID"),
        ] {
            let view = LeaseView::of(&Lease { dynamic: true, verification: Some(verification), ..lease() });
            let parts = view.parts(Timestamp::UNIX_EPOCH);
            let told = parts.iter().find(|(part, _)| *part == "credential").map(|(_, text)| text.as_str());
            assert!(told.unwrap().starts_with(shown), "{told:?}");
            assert_eq!(view.cells().last().map(String::as_str), Some(verification.name()));
            assert_eq!(serde_json::to_value(&view).unwrap()["verification"], verification.name());
        }
    }

    #[test]
    fn a_lease_that_ended_says_by_what_when_that_is_known() {
        let ended = |end_cause| {
            let lease = Lease { ended_at: Some(Timestamp::UNIX_EPOCH), end_cause, ..lease() };
            let parts = LeaseView::of(&lease).parts(Timestamp::from_second(60).unwrap());
            parts.into_iter().find(|(part, _)| *part == "ended").map(|(_, text)| text)
        };
        assert_eq!(ended(Some(EndCause::Holder)).unwrap(), "1970-01-01T00:00:00Z (1m ago), by holder");
        assert_eq!(ended(None).unwrap(), "1970-01-01T00:00:00Z (1m ago)");
    }

    #[test]
    fn a_lease_that_nothing_can_end_says_until_when() {
        let end = Timestamp::from_second(7_200).unwrap();
        let view = LeaseView::of(&Lease { dynamic: true, irrevocable_until: Some(end), ..lease() });
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["irrevocable_until"], "1970-01-01T02:00:00Z");
        let parts = view.parts(Timestamp::from_second(3_600).unwrap());
        let shown = "none until 1970-01-01T02:00:00Z (in 1h)".to_owned();
        assert!(parts.contains(&("revocation", shown)), "{parts:?}");
        assert_eq!(view.cells().pop().as_deref(), Some("none until 1970-01-01T02:00:00Z"));
        assert_eq!(LeaseView::of(&lease()).cells().pop().as_deref(), Some(""));
        assert_eq!(LeaseView::COLUMNS.len(), view.cells().len());
    }

    #[test]
    fn only_an_issued_lease_has_a_value() {
        let mut value = SecretValue::plain("hunter2".to_owned());
        value.fields.insert("der".parse().unwrap(), vec![0xff, 0x00].into());
        crate::snapshot::documented("lease-get", &IssuedView::of(&lease(), Some(&value)));
        let json = serde_json::to_value(IssuedView::of(&lease(), Some(&value))).unwrap();
        assert_eq!(json["value"]["fields"]["value"], "hunter2");
        assert_eq!(json["lease"]["kind"], "static");
    }
}
