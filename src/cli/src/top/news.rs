//! What comes in: the broker's answers, and why there are none.

use leasehold_client::{Error, Lease, proto};
use leasehold_core::Timestamp;

use crate::{audit::RecordView, clock, rotation::RotationView};

/// One thing that came in.
pub(super) enum News {
    Status(Result<Box<proto::BrokerStatus>, Trouble>),
    Leases(Result<Listing<Lease>, Trouble>),
    Rotations(Result<Listing<RotationView>, Trouble>),
    /// Whether the audit journal is being read.
    Tail(Result<(), Trouble>),
    /// Records of it, in order.
    Records(Vec<Record>),
}

/// The first of many.
pub(super) struct Listing<T> {
    pub(super) items: Vec<T>,
    /// Whether there are more of them.
    pub(super) more: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Policy says no.
    NotAllowed,
    /// The broker is not there, or cannot answer now: a sentence for people.
    Away(String),
}

/// What the page needs of an audit record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) sequence: i64,
    pub(super) time: Timestamp,
    pub(super) kind: String,
    pub(super) outcome: Outcome,
    pub(super) secret: String,
    pub(super) actor: String,
    /// The rest of it in words.
    pub(super) words: String,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Denied,
    Failed,
}

/// Kinds that only say that somebody looked.
const LOOKS: [&str; 4] = ["status.read", "lease.read", "rotation.read", "audit.read"];

impl Record {
    /// Whether it tells of nothing but the page itself.
    pub(super) fn is_own_look(&self, own: Option<&str>) -> bool {
        self.outcome == Outcome::Ok
            && own.is_some_and(|own| own == self.actor)
            && LOOKS.contains(&self.kind.as_str())
    }

    /// Whether leases are not as they were.
    pub(super) fn changes_leases(&self) -> bool {
        self.kind.starts_with("lease.") && !LOOKS.contains(&self.kind.as_str())
    }

    /// Whether rotations, or the versions that they are about, are not as they were.
    pub(super) fn changes_rotations(&self) -> bool {
        let is_about_them =
            ["rotation.", "secret.", "config."].iter().any(|about| self.kind.starts_with(about));
        is_about_them && !LOOKS.contains(&self.kind.as_str())
    }
}

impl Outcome {
    /// As the journal has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

impl From<proto::AuditRecord> for Record {
    fn from(mut record: proto::AuditRecord) -> Self {
        // An id is whole or not there, and where there is little room the other words say more.
        let lease = std::mem::take(&mut record.lease_id);
        let both = |words: String| match (words.is_empty(), lease.is_empty()) {
            (false, false) => format!("{words}; {lease}"),
            (true, _) => lease,
            (false, true) => words,
        };
        Self {
            sequence: record.sequence,
            time: record.time.and_then(clock::of_proto).unwrap_or_default(),
            kind: record.kind.clone(),
            outcome: match record.outcome() {
                proto::AuditOutcome::Denied => Outcome::Denied,
                proto::AuditOutcome::Failed => Outcome::Failed,
                proto::AuditOutcome::Ok | proto::AuditOutcome::Unspecified => Outcome::Ok,
            },
            secret: record.secret.clone(),
            actor: record.actor.as_ref().map(|actor| actor.spiffe_id.clone()).unwrap_or_default(),
            words: both(RecordView::from(record).in_words()),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied { .. } => Self::NotAllowed,
            other => Self::Away(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: &str) -> Record {
        Record::from(proto::AuditRecord {
            sequence: 7,
            kind: kind.into(),
            actor: Some(proto::AuditActor { spiffe_id: "spiffe://e.org/a".into(), ..Default::default() }),
            outcome: proto::AuditOutcome::Ok.into(),
            lease_id: "lease-a".into(),
            ..Default::default()
        })
    }

    #[test]
    fn what_the_page_itself_causes_is_told_apart() {
        let own = Some("spiffe://e.org/a");
        assert!(record("status.read").is_own_look(own) && record("lease.read").is_own_look(own));
        assert!(!record("status.read").is_own_look(Some("spiffe://e.org/b")), "others who look are shown");
        assert!(!record("status.read").is_own_look(None) && !record("lease.revoked").is_own_look(own));
        let denied = Record { outcome: Outcome::Denied, ..record("status.read") };
        assert!(!denied.is_own_look(own), "a denial is always shown");
    }

    #[test]
    fn a_record_says_what_to_look_at_again() {
        let says = |kind| (record(kind).changes_leases(), record(kind).changes_rotations());
        assert_eq!(says("lease.issued"), (true, false));
        assert_eq!(says("rotation.promoted"), (false, true));
        assert_eq!(says("secret.written"), (false, true));
        assert_eq!((says("lease.read"), says("rotation.read")), ((false, false), (false, false)));
        assert_eq!(record("lease.issued").words, "lease-a");
        let failed = proto::AuditRecord {
            outcome: proto::AuditOutcome::Failed.into(),
            failure_reason: "PROVIDER_THROTTLED".into(),
            lease_id: "lease-a".into(),
            ..Default::default()
        };
        assert_eq!(Record::from(failed).words, "PROVIDER_THROTTLED; lease-a");
    }

    #[test]
    fn a_denial_is_no_fault_of_the_connection() {
        let denied = Error::Denied { answer: leasehold_client::Answer::default() };
        assert_eq!(Trouble::from(denied), Trouble::NotAllowed);
        let away = Trouble::from(Error::Answer("odd".into()));
        assert_eq!(away, Trouble::Away("the broker's answer cannot be understood: odd".into()));
    }
}
