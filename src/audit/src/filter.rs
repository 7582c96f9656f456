//! Which records a reader wants to see.

use std::str::FromStr;

use jiff::Timestamp;
use leasehold_core::{
    id::LeaseId,
    path::{PathPrefix, SecretPath},
    record::{Kind, Outcome, Record},
};

/// Which records to show: all that fit every condition that is set. The default shows everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these kinds; empty means every kind.
    pub kinds: Vec<Kind>,
    /// The actor's SPIFFE ID, or its start when it ends with `/`.
    pub actor: Option<String>,
    /// The secret.
    pub secret: Option<SecretPath>,
    /// Secrets under this prefix.
    pub prefix: Option<PathPrefix>,
    /// The lease.
    pub lease: Option<LeaseId>,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<OutcomeKind>,
}

/// How an event ended, without the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// As asked.
    Ok,
    /// Denied or not found.
    Denied,
    /// It went wrong.
    Failed,
}

impl Filter {
    /// Whether `record` fits.
    pub fn matches(&self, record: &Record) -> bool {
        let actor = |wanted: &str| {
            let id = record.actor.id.as_str();
            if wanted.ends_with('/') { id.starts_with(wanted) } else { id == wanted }
        };
        let under =
            |prefix: &PathPrefix| record.secret.as_ref().is_some_and(|path| prefix.rest_of(path).is_some());
        (self.kinds.is_empty() || self.kinds.contains(&record.kind))
            && self.actor.as_deref().is_none_or(actor)
            && self.secret.as_ref().is_none_or(|path| record.secret.as_ref() == Some(path))
            && self.prefix.as_ref().is_none_or(under)
            && self.lease.is_none_or(|lease| record.lease == Some(lease))
            && self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
            && self.outcome.is_none_or(|outcome| outcome == OutcomeKind::of(&record.outcome))
    }
}

impl OutcomeKind {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Ok => Self::Ok,
            Outcome::Denied => Self::Denied,
            Outcome::Failed { .. } => Self::Failed,
        }
    }
}

impl FromStr for OutcomeKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ok" => Ok(Self::Ok),
            "denied" => Ok(Self::Denied),
            "failed" => Ok(Self::Failed),
            _ => Err("an outcome is `ok`, `denied` or `failed`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::tests::sample;

    fn fits(change: impl FnOnce(&mut Filter)) -> bool {
        let mut filter = Filter::default();
        change(&mut filter);
        filter.matches(&sample("x"))
    }

    #[test]
    fn every_condition_that_is_set_must_hold() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        assert!(fits(|_| ()));
        assert!(fits(|f| f.kinds = vec![Kind::LeaseRevoked, Kind::LeaseIssued]));
        assert!(!fits(|f| f.kinds = vec![Kind::LeaseRevoked]));
        assert!(fits(|f| f.actor = Some("spiffe://example.org/prod/".to_owned())));
        assert!(fits(|f| f.actor = Some("spiffe://example.org/prod/payments/api".to_owned())));
        assert!(!fits(|f| f.actor = Some("spiffe://example.org/prod/payments".to_owned())));
        assert!(fits(|f| f.secret = "prod/payments/db".parse().ok()));
        assert!(!fits(|f| f.secret = "prod/payments/other".parse().ok()));
        assert!(fits(|f| f.prefix = "prod/payments/".parse().ok()));
        assert!(!fits(|f| f.prefix = "prod/orders/".parse().ok()));
        assert!(!fits(|f| f.lease = Some(LeaseId::from_bits([1; 16]))));
        assert!(fits(|f| f.since = at(0)));
        assert!(!fits(|f| f.since = at(1)));
        assert!(fits(|f| f.until = at(1)));
        assert!(!fits(|f| f.until = at(0)), "the end is not in it");
        assert!(fits(|f| f.outcome = "ok".parse().ok()));
        assert!(!fits(|f| f.outcome = "denied".parse().ok()));
        assert!(!fits(|f| {
            f.kinds = vec![Kind::LeaseIssued];
            f.outcome = Some(OutcomeKind::Failed);
        }));
        assert!("maybe".parse::<OutcomeKind>().is_err());
    }
}
