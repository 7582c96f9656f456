//! The lease's state machine.
//!
//! ```text
//! Pending --Issued--> Active --Due (static)----------------------> Expired
//!    |                  |------Revoke (static)-------------------> Revoked
//!    |                  `------Due, Revoke (dynamic)--> Revoking --UpstreamRevoked--> Expired | Revoked
//!    |--IssueFailed--> Revoked                             |  ^--UpstreamFailed, budget left
//!    `--Due----------> Revoking (abandoned)                `-----UpstreamFailed, budget spent--> Quarantined
//!                                                     Quarantined --UpstreamRevoked--> Expired | Revoked
//! Revoking, Quarantined --UpstreamStillValid--> Quarantined: ended, says its back end, and it still works
//! Revoking, Quarantined --Issued--> Revoking: made too late, so that what is known of it now ends it
//! Revoking, Quarantined --IssueFailed--> Revoking: not made after all, so that nothing has to be waited for
//! Revoking, Quarantined --Retry--> Revoking | Quarantined, tried at once       --Forget--> Forgotten
//! Active --UpstreamGone--> Revoking (upstream): a back end that misses a credential is asked to end it all the same
//! ```
//!
//! A credential that nothing can end early is `Revoking` until the time at which it ends by itself. A lease that began to
//! end before its credential was known is `Revoking` until no request for that can be under way any more: what is ended
//! before then is ended once more.

use jiff::Timestamp;
use thiserror::Error;

use super::{Cause, Lease, LeaseKind, LeaseState};
use crate::{
    provider::{Revocation, Verification},
    secret::VersionId,
    ttl::after,
};

/// What happens to a lease.
#[derive(Clone, Debug)]
pub enum Event {
    /// The back end made the credential.
    Issued {
        /// Its name there.
        version: VersionId,
        /// How it can be ended.
        revocation: Revocation,
        /// When the back end will end it itself, if that is earlier.
        expires_at: Option<Timestamp>,
    },
    /// The back end said that it made nothing.
    IssueFailed,
    /// The holder, or somebody for it, wants it to end at `until` instead.
    Renew {
        /// The new end; clipped to the maximum. Of a dynamic lease: what its back end granted.
        until: Timestamp,
    },
    /// Its holder uses this version of the static secret from now on.
    Move {
        /// The version.
        version: VersionId,
    },
    /// It shall end now.
    Revoke {
        /// Why.
        cause: Cause,
    },
    /// Its time may have come.
    Due,
    /// The back end has ended the credential.
    UpstreamRevoked {
        /// Whether anybody has seen that it is dead.
        proven: bool,
        /// When it was asked to.
        asked_at: Timestamp,
    },
    /// The back end says that it has ended the credential, and it still works.
    UpstreamStillValid {
        /// When to try again.
        retry_at: Timestamp,
    },
    /// The back end ended the credential, or lost it, without being asked.
    UpstreamGone,
    /// The back end has not.
    UpstreamFailed {
        /// When to try again.
        retry_at: Timestamp,
        /// Whether it was tried often enough to be put aside.
        budget_spent: bool,
    },
    /// A person wants the end of the credential tried now.
    Retry,
    /// A person gives it up: the credential may live on.
    Forget,
}

/// What the outside must do now that the lease has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// End the credential at the back end and report with one of the `Upstream` events.
    pub revoke_upstream: bool,
    /// The lease is over.
    pub ended: bool,
    /// The lease was put aside: tell a person.
    pub quarantined: bool,
}

/// Why an event does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StepError {
    /// Its end has come, whether that is written already or not.
    #[error("the lease has expired")]
    Expired,
    /// It was ended before.
    #[error("the lease has been revoked")]
    Revoked,
    /// It is on its way out.
    #[error("the lease is being revoked")]
    Revoking,
    /// It has not begun.
    #[error("the lease is not active yet")]
    Pending,
    /// It has reached the end that no renewal passes.
    #[error("the lease is at its maximum TTL")]
    AtMaximum,
    /// `Due` came early: look again at the time that the lease says.
    #[error("the lease is not due")]
    NotDue,
    /// The event belongs to another state.
    #[error("the event does not fit the lease's state")]
    OutOfPlace,
}

impl Lease {
    /// What the lease becomes through `event` at `now`.
    ///
    /// # Errors
    /// When the event does not apply; the lease is then as it was.
    pub fn step(mut self, event: Event, now: Timestamp) -> Result<(Self, Effects), StepError> {
        let latest_end = self.latest_end();
        let effects = match (&mut self.state, event) {
            (LeaseState::Pending { .. }, Event::Issued { version, revocation, expires_at }) => {
                self.version = Some(version);
                (self.handle, self.irrevocable_until) = match revocation {
                    Revocation::By(handle) => (Some(handle), None),
                    Revocation::NoneUntil(end) => (None, Some(end)),
                };
                let upstream_end = expires_at.or(self.irrevocable_until).unwrap_or(Timestamp::MAX);
                self.expires_at = self.expires_at.min(upstream_end);
                self.state = LeaseState::Active;
                Effects::default()
            }
            // Nobody gets it: its version stays unknown, since it was never issued.
            (
                LeaseState::Revoking { cause, .. } | LeaseState::Quarantined { cause, .. },
                Event::Issued { revocation, .. },
            ) if self.kind == LeaseKind::Dynamic && self.version.is_none() => {
                let cause = *cause;
                (self.handle, self.irrevocable_until) = match revocation {
                    Revocation::By(handle) => (Some(handle), None),
                    Revocation::NoneUntil(end) => (None, Some(end)),
                };
                // The request has been answered: it is not under way any more.
                self.unsettled_until = None;
                self.begin_revocation(cause, now)
            }
            (
                LeaseState::Revoking { cause, .. } | LeaseState::Quarantined { cause, .. },
                Event::IssueFailed,
            ) if self.unsettled_until.is_some() => {
                let cause = *cause;
                self.unsettled_until = None;
                self.begin_revocation(cause, now)
            }
            // What was reserved for it is given back.
            (LeaseState::Pending { .. }, Event::IssueFailed) if self.handle.is_some() => {
                self.begin_revocation(Cause::Abandoned, now)
            }
            (LeaseState::Pending { .. }, Event::IssueFailed) => self.end(Cause::Abandoned, now),
            (LeaseState::Pending { until }, Event::Due) if now < *until => return Err(StepError::NotDue),
            (LeaseState::Pending { .. }, Event::Due) => self.begin_revocation(Cause::Abandoned, now),
            (LeaseState::Pending { until }, Event::Revoke { cause }) => {
                // What was reserved ends whatever may come of it, and what cannot be ended is waited for anyway.
                if now < *until && self.handle.is_none() && self.irrevocable_until.is_none() {
                    self.unsettled_until = Some(*until);
                }
                self.begin_revocation(cause, now)
            }
            (LeaseState::Pending { .. }, Event::Renew { .. }) => return Err(StepError::Pending),

            (LeaseState::Active, Event::Renew { .. }) if now >= self.expires_at => {
                return Err(StepError::Expired);
            }
            (LeaseState::Active, Event::Renew { .. }) if self.expires_at >= latest_end => {
                return Err(StepError::AtMaximum);
            }
            (LeaseState::Active, Event::Renew { until }) => {
                // A renewal is for more time: one that asks for less than is left keeps what is left. Of a credential, its
                // back end has the last word.
                let until = match self.kind {
                    LeaseKind::Static => until.max(self.expires_at),
                    LeaseKind::Dynamic => until,
                };
                self.expires_at = until.min(latest_end);
                self.renewals = self.renewals.saturating_add(1);
                self.moved = false;
                Effects::default()
            }
            (LeaseState::Active, Event::Move { version }) if self.kind == LeaseKind::Static => {
                if now >= self.expires_at {
                    return Err(StepError::Expired);
                }
                self.version = Some(version);
                self.moved = true;
                self.stale_since = None;
                Effects::default()
            }
            (LeaseState::Active, Event::Due) if now < self.expires_at => return Err(StepError::NotDue),
            (LeaseState::Active, Event::Due) => self.finish(Cause::Expiry, now),
            // Whoever comes after the end finds an expired lease, not a revoked one.
            (LeaseState::Active, Event::Revoke { .. }) if now >= self.expires_at => {
                self.finish(Cause::Expiry, now)
            }
            (LeaseState::Active, Event::Revoke { cause }) => self.finish(cause, now),
            // Who says so may be mistaken: ending what is gone costs nothing, and what hangs beside it goes with it.
            (LeaseState::Active, Event::UpstreamGone) if self.kind == LeaseKind::Dynamic => {
                match self.irrevocable_until {
                    Some(_) => self.end(Cause::Upstream, now),
                    None => self.begin_revocation(Cause::Upstream, now),
                }
            }

            // There is nothing to try, and nothing to forget: the credential ends by itself.
            (
                _,
                Event::UpstreamRevoked { .. }
                | Event::UpstreamStillValid { .. }
                | Event::UpstreamFailed { .. }
                | Event::Retry
                | Event::Forget,
            ) if self.irrevocable_until.is_some() => {
                return Err(StepError::OutOfPlace);
            }
            (
                LeaseState::Revoking { cause, attempts, .. }
                | LeaseState::Quarantined { cause, attempts, .. },
                Event::UpstreamStillValid { retry_at },
            ) => {
                let (cause, attempts) = (*cause, attempts.saturating_add(1));
                self.verification = Some(Verification::StillValid);
                self.state = LeaseState::Quarantined { cause, attempts, next_try: retry_at };
                Effects { quarantined: true, ..Effects::default() }
            }
            (
                LeaseState::Revoking { cause, .. } | LeaseState::Quarantined { cause, .. },
                Event::UpstreamRevoked { proven, asked_at },
            ) => {
                let cause = *cause;
                if let Some(until) = self.unsettled_until.filter(|until| asked_at < *until) {
                    self.verification = None;
                    self.state = LeaseState::Revoking { cause, attempts: 0, next_try: until };
                    return Ok((self, Effects::default()));
                }
                self.verification =
                    Some(if proven { Verification::Verified } else { Verification::Unverifiable });
                self.end(cause, now)
            }
            (
                LeaseState::Revoking { next_try, .. } | LeaseState::Quarantined { next_try, .. },
                Event::Retry,
            ) => {
                *next_try = after(now, Self::ATTEMPT);
                Effects { revoke_upstream: true, ..Effects::default() }
            }
            (LeaseState::Revoking { .. } | LeaseState::Quarantined { .. }, Event::Forget) => {
                self.handle = None;
                self.unsettled_until = None;
                self.state = LeaseState::Forgotten { at: now };
                Effects { ended: true, ..Effects::default() }
            }
            (
                LeaseState::Revoking { cause, attempts, .. },
                Event::UpstreamFailed { retry_at, budget_spent },
            ) => {
                let (cause, attempts) = (*cause, attempts.saturating_add(1));
                self.state = if budget_spent {
                    LeaseState::Quarantined { cause, attempts, next_try: retry_at }
                } else {
                    LeaseState::Revoking { cause, attempts, next_try: retry_at }
                };
                Effects { quarantined: budget_spent, ..Effects::default() }
            }
            (LeaseState::Quarantined { cause, attempts, .. }, Event::UpstreamFailed { retry_at, .. }) => {
                self.state = LeaseState::Quarantined {
                    cause: *cause,
                    attempts: attempts.saturating_add(1),
                    next_try: retry_at,
                };
                Effects::default()
            }
            (
                LeaseState::Revoking { next_try, .. } | LeaseState::Quarantined { next_try, .. },
                Event::Due,
            ) => {
                if now < *next_try {
                    return Err(StepError::NotDue);
                }
                *next_try = after(now, Self::ATTEMPT);
                match (self.irrevocable_until, self.state.clone()) {
                    (Some(until), LeaseState::Revoking { cause, .. }) => self.outlive(cause, until, now),
                    _ => Effects { revoke_upstream: true, ..Effects::default() },
                }
            }
            (
                LeaseState::Revoking { .. } | LeaseState::Quarantined { .. },
                Event::Renew { .. } | Event::Revoke { .. },
            ) => {
                return Err(StepError::Revoking);
            }

            (LeaseState::Revoked { .. }, Event::Renew { .. } | Event::Revoke { .. }) => {
                return Err(StepError::Revoked);
            }
            (LeaseState::Forgotten { .. }, Event::Renew { .. } | Event::Revoke { .. }) => {
                return Err(StepError::Revoked);
            }
            (LeaseState::Expired { .. }, Event::Renew { .. } | Event::Revoke { .. }) => {
                return Err(StepError::Expired);
            }
            _ => return Err(StepError::OutOfPlace),
        };
        Ok((self, effects))
    }

    /// Ends the lease, through the back end when there is something to end there.
    fn finish(&mut self, cause: Cause, now: Timestamp) -> Effects {
        match self.kind {
            LeaseKind::Static => self.end(cause, now),
            LeaseKind::Dynamic => self.begin_revocation(cause, now),
        }
    }

    fn begin_revocation(&mut self, cause: Cause, now: Timestamp) -> Effects {
        if let Some(until) = self.irrevocable_until {
            return self.outlive(cause, until, now);
        }
        self.state = LeaseState::Revoking { cause, attempts: 0, next_try: after(now, Self::ATTEMPT) };
        Effects { revoke_upstream: true, ..Effects::default() }
    }

    /// Waits for the end of a credential that nothing can end sooner: until then the lease is not over, whatever the
    /// broker would like to say.
    fn outlive(&mut self, cause: Cause, until: Timestamp, now: Timestamp) -> Effects {
        if until <= now {
            return self.end(cause, now);
        }
        self.state = LeaseState::Revoking { cause, attempts: 0, next_try: until };
        Effects::default()
    }

    /// The end that no renewal passes.
    fn latest_end(&self) -> Timestamp {
        self.irrevocable_until.map_or(self.max_expires_at, |end| end.min(self.max_expires_at))
    }

    fn end(&mut self, cause: Cause, now: Timestamp) -> Effects {
        // The credential is dead: nothing needs its handle any more.
        self.handle = None;
        self.unsettled_until = None;
        self.state = match cause {
            Cause::Expiry => LeaseState::Expired { at: now },
            Cause::Holder | Cause::Operator | Cause::Abandoned | Cause::Upstream => {
                LeaseState::Revoked { cause, at: now }
            }
        };
        Effects { ended: true, ..Effects::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{id::LeaseId, lease::RevocationHandle, secret::SecretBytes, ttl::TtlLimits};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn lease(kind: LeaseKind) -> Lease {
        let limits = TtlLimits::new(Duration::from_secs(60), Duration::from_secs(300)).unwrap();
        let (id, holder) = (LeaseId::from_bits([7; 16]), "spiffe://example.org/prod/api".parse().unwrap());
        let (secret, provider) = ("prod/db".parse().unwrap(), "main".parse().unwrap());
        let term = limits.term(None, at(0));
        match kind {
            LeaseKind::Static => {
                Lease::new_static(id, holder, secret, provider, "v1".parse().unwrap(), term, at(0))
            }
            LeaseKind::Dynamic => Lease::new_pending(id, holder, secret, provider, term, at(0), at(30)),
        }
    }

    fn issued() -> Event {
        let handle = RevocationHandle::new(SecretBytes::new(b"canary".to_vec()));
        let revocation = Revocation::By(handle);
        Event::Issued { version: "v1".parse().unwrap(), revocation, expires_at: None }
    }

    fn irrevocable(until: Timestamp) -> Event {
        let revocation = Revocation::NoneUntil(until);
        Event::Issued { version: "v1".parse().unwrap(), revocation, expires_at: Some(until) }
    }

    #[test]
    fn a_static_lease_ends_at_once() {
        let (ended, effects) =
            lease(LeaseKind::Static).step(Event::Revoke { cause: Cause::Holder }, at(5)).unwrap();
        assert_eq!(ended.state, LeaseState::Revoked { cause: Cause::Holder, at: at(5) });
        assert_eq!(effects, Effects { ended: true, ..Effects::default() });
    }

    #[test]
    fn a_dynamic_lease_ends_when_the_back_end_has_ended_it() {
        let (active, _) = lease(LeaseKind::Dynamic).step(issued(), at(1)).unwrap();
        let (revoking, effects) = active.step(Event::Due, at(60)).unwrap();
        assert!(effects.revoke_upstream && !revoking.is_ended() && revoking.handle.is_some());
        let (expired, _) =
            revoking.step(Event::UpstreamRevoked { proven: true, asked_at: at(61) }, at(61)).unwrap();
        assert_eq!(expired.state, LeaseState::Expired { at: at(61) });
        assert!(expired.handle.is_none());
    }

    #[test]
    fn what_is_made_after_its_lease_was_revoked_is_ended_with_what_is_known_of_it() {
        let (revoking, _) =
            lease(LeaseKind::Dynamic).step(Event::Revoke { cause: Cause::Operator }, at(2)).unwrap();
        let failed = Event::UpstreamFailed { retry_at: at(90), budget_spent: true };
        let (aside, _) = revoking.clone().step(failed, at(3)).unwrap();
        for known in [revoking, aside] {
            let (late, effects) = known.clone().step(issued(), at(4)).unwrap();
            assert!(effects.revoke_upstream && late.handle.is_some() && late.version.is_none());
            assert!(matches!(late.state, LeaseState::Revoking { cause: Cause::Operator, .. }));
            let (waiting, effects) = known.step(irrevocable(at(200)), at(4)).unwrap();
            assert_eq!((waiting.due_at(), effects), (at(200), Effects::default()));
        }
        let (active, _) = lease(LeaseKind::Dynamic).step(issued(), at(1)).unwrap();
        let (dying, _) = active.step(Event::Revoke { cause: Cause::Holder }, at(2)).unwrap();
        assert_eq!(dying.step(issued(), at(3)).unwrap_err(), StepError::OutOfPlace);
    }

    #[test]
    fn what_may_still_be_made_is_ended_again_when_it_cannot_be_any_more() {
        let (revoking, effects) =
            lease(LeaseKind::Dynamic).step(Event::Revoke { cause: Cause::Abandoned }, at(2)).unwrap();
        assert!(effects.revoke_upstream);
        let revoked = |asked_at| Event::UpstreamRevoked { proven: true, asked_at: at(asked_at) };
        // The answer counts from when it was asked for, and not from when it came.
        let (waiting, effects) = revoking.clone().step(revoked(29), at(31)).unwrap();
        assert_eq!((effects, waiting.due_at(), waiting.verification), (Effects::default(), at(30), None));
        assert!(matches!(waiting.state, LeaseState::Revoking { cause: Cause::Abandoned, .. }));
        let (again, effects) = waiting.step(Event::Due, at(31)).unwrap();
        assert!(effects.revoke_upstream);
        let (ended, effects) = again.step(revoked(31), at(32)).unwrap();
        assert!(effects.ended && ended.unsettled_until.is_none());
        assert_eq!(ended.verification, Some(Verification::Verified));
        // Once the request has been answered, or where there is a reservation, there is nothing to wait for.
        for answer in [issued(), Event::IssueFailed] {
            let (known, effects) = revoking.clone().step(answer, at(3)).unwrap();
            assert!(effects.revoke_upstream);
            assert!(known.step(revoked(4), at(5)).unwrap().1.ended);
        }
        let handle = Some(RevocationHandle::new(SecretBytes::new(b"reserved".to_vec())));
        let reserved = Lease { handle, ..lease(LeaseKind::Dynamic) };
        let (revoking, _) = reserved.step(Event::Revoke { cause: Cause::Holder }, at(2)).unwrap();
        assert!(revoking.step(revoked(3), at(4)).unwrap().1.ended);
    }

    #[test]
    fn a_renewal_stops_at_the_maximum() {
        let (renewed, _) = lease(LeaseKind::Static).step(Event::Renew { until: at(10_000) }, at(59)).unwrap();
        assert_eq!(renewed.expires_at, at(300));
        assert_eq!(
            renewed.step(Event::Renew { until: at(10_000) }, at(60)).unwrap_err(),
            StepError::AtMaximum
        );
    }

    #[test]
    fn what_the_back_end_grants_is_the_end_even_when_it_is_less() {
        let (active, _) = lease(LeaseKind::Dynamic).step(issued(), at(1)).unwrap();
        let (shorter, _) = active.step(Event::Renew { until: at(40) }, at(10)).unwrap();
        assert_eq!(shorter.expires_at, at(40));
        let (kept, _) = lease(LeaseKind::Static).step(Event::Renew { until: at(40) }, at(10)).unwrap();
        assert_eq!(kept.expires_at, at(60));
    }

    #[test]
    fn after_its_end_a_lease_cannot_be_renewed_even_if_nobody_wrote_so() {
        assert_eq!(
            lease(LeaseKind::Static).step(Event::Renew { until: at(100) }, at(60)).unwrap_err(),
            StepError::Expired
        );
    }

    #[test]
    fn what_cannot_be_revoked_is_not_over_before_it_is_dead() {
        let (active, _) = lease(LeaseKind::Dynamic).step(irrevocable(at(200)), at(1)).unwrap();
        assert_eq!((active.expires_at, active.irrevocable_until), (at(60), Some(at(200))));
        let (dying, effects) = active.step(Event::Revoke { cause: Cause::Holder }, at(10)).unwrap();
        assert!(!dying.is_live(at(10)) && !dying.is_ended());
        assert_eq!(effects, Effects::default());
        assert_eq!(dying.due_at(), at(200));
        let (ended, effects) = dying.step(Event::Due, at(200)).unwrap();
        assert_eq!(ended.state, LeaseState::Revoked { cause: Cause::Holder, at: at(200) });
        assert!(effects.ended && !effects.revoke_upstream);
    }

    #[test]
    fn a_renewal_stops_where_the_credential_ends() {
        let (active, _) = lease(LeaseKind::Dynamic).step(irrevocable(at(70)), at(1)).unwrap();
        let (renewed, _) = active.step(Event::Renew { until: at(100) }, at(50)).unwrap();
        assert_eq!(renewed.expires_at, at(70));
        let again = renewed.step(Event::Renew { until: at(100) }, at(60));
        assert_eq!(again.unwrap_err(), StepError::AtMaximum);
    }

    #[test]
    fn an_abandoned_intent_without_a_way_back_waits_for_the_credential_that_may_be_there() {
        let pending = Lease { irrevocable_until: Some(at(90)), ..lease(LeaseKind::Dynamic) };
        let (waiting, effects) = pending.step(Event::Due, at(30)).unwrap();
        assert_eq!((waiting.due_at(), effects), (at(90), Effects::default()));
        assert!(waiting.step(Event::Due, at(90)).unwrap().0.is_ended());
    }

    #[test]
    fn what_was_reserved_in_vain_is_given_back() {
        let handle = Some(RevocationHandle::new(SecretBytes::new(b"canary".to_vec())));
        let pending = Lease { handle, ..lease(LeaseKind::Dynamic) };
        let (refused, effects) = pending.step(Event::IssueFailed, at(2)).unwrap();
        assert!(effects.revoke_upstream && refused.handle.is_some() && !refused.is_ended());
    }

    #[test]
    fn what_the_back_end_misses_is_over_when_it_has_ended_it_all_the_same() {
        let (active, _) = lease(LeaseKind::Dynamic).step(issued(), at(1)).unwrap();
        let (dying, effects) = active.step(Event::UpstreamGone, at(9)).unwrap();
        assert!(effects.revoke_upstream && !dying.is_live(at(9)) && dying.handle.is_some());
        let (ended, _) =
            dying.step(Event::UpstreamRevoked { proven: true, asked_at: at(10) }, at(10)).unwrap();
        assert_eq!(ended.state, LeaseState::Revoked { cause: Cause::Upstream, at: at(10) });
        let (active, _) = lease(LeaseKind::Dynamic).step(irrevocable(at(200)), at(1)).unwrap();
        let (ended, effects) = active.step(Event::UpstreamGone, at(9)).unwrap();
        assert!(effects.ended && !effects.revoke_upstream && ended.is_ended());
        let elsewhere = lease(LeaseKind::Static).step(Event::UpstreamGone, at(9));
        assert_eq!(elsewhere.unwrap_err(), StepError::OutOfPlace);
    }

    #[test]
    fn a_spent_budget_quarantines_and_is_tried_on() {
        let (active, _) = lease(LeaseKind::Dynamic).step(issued(), at(1)).unwrap();
        let (revoking, _) = active.step(Event::Revoke { cause: Cause::Operator }, at(2)).unwrap();
        let failed = Event::UpstreamFailed { retry_at: at(90), budget_spent: true };
        let (aside, effects) = revoking.step(failed, at(3)).unwrap();
        assert!(effects.quarantined);
        assert_eq!(aside.clone().step(Event::Due, at(89)).unwrap_err(), StepError::NotDue);
        assert!(aside.clone().step(Event::Due, at(90)).unwrap().1.revoke_upstream);
        let (ended, _) =
            aside.step(Event::UpstreamRevoked { proven: true, asked_at: at(91) }, at(91)).unwrap();
        assert_eq!(ended.state, LeaseState::Revoked { cause: Cause::Operator, at: at(91) });
    }

    #[test]
    fn what_works_on_after_its_end_is_quarantined_until_it_is_seen_dead() {
        let (active, _) = lease(LeaseKind::Dynamic).step(issued(), at(1)).unwrap();
        let (revoking, _) = active.step(Event::Revoke { cause: Cause::Operator }, at(2)).unwrap();
        let (alive, effects) = revoking.step(Event::UpstreamStillValid { retry_at: at(90) }, at(3)).unwrap();
        assert!(effects.quarantined && !alive.is_ended());
        assert_eq!(alive.verification, Some(Verification::StillValid));
        let (tried, effects) = alive.step(Event::Retry, at(4)).unwrap();
        assert!(effects.revoke_upstream && tried.due_at() == after(at(4), Lease::ATTEMPT));
        let (dead, _) = tried.step(Event::UpstreamRevoked { proven: true, asked_at: at(5) }, at(5)).unwrap();
        assert_eq!(dead.verification, Some(Verification::Verified));
        assert_eq!(dead.state, LeaseState::Revoked { cause: Cause::Operator, at: at(5) });
    }

    #[test]
    fn only_what_is_on_its_way_out_can_be_forgotten() {
        let (active, _) = lease(LeaseKind::Dynamic).step(issued(), at(1)).unwrap();
        assert_eq!(active.clone().step(Event::Forget, at(2)).unwrap_err(), StepError::OutOfPlace);
        let (revoking, _) = active.step(Event::Revoke { cause: Cause::Holder }, at(2)).unwrap();
        let (forgotten, effects) = revoking.step(Event::Forget, at(3)).unwrap();
        assert!(effects.ended && forgotten.is_ended() && forgotten.handle.is_none());
        assert_eq!(forgotten.state, LeaseState::Forgotten { at: at(3) });
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let time = (0i64..400).prop_map(at);
        prop_oneof![
            Just(issued()),
            Just(Event::IssueFailed),
            time.clone().prop_map(|until| Event::Renew { until }),
            prop_oneof![Just(Cause::Holder), Just(Cause::Operator)].prop_map(|cause| Event::Revoke { cause }),
            Just(Event::Due),
            time.clone().prop_map(irrevocable),
            (any::<bool>(), 0i64..90)
                .prop_map(|(proven, asked_at)| Event::UpstreamRevoked { proven, asked_at: at(asked_at) }),
            time.clone().prop_map(|retry_at| Event::UpstreamStillValid { retry_at }),
            Just(Event::Retry),
            Just(Event::Forget),
            Just(Event::UpstreamGone),
            (time, any::<bool>())
                .prop_map(|(retry_at, budget_spent)| Event::UpstreamFailed { retry_at, budget_spent }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_promises_hold(
            kind in prop_oneof![Just(LeaseKind::Static), Just(LeaseKind::Dynamic)],
            events in prop::collection::vec((any_event(), 0i64..30), 1..40),
        ) {
            let mut lease = lease(kind);
            let mut now = at(0);
            for (event, pause) in events {
                let gone = matches!(event, Event::UpstreamGone);
                now = crate::ttl::after(now, Duration::from_secs(pause.unsigned_abs()));
                let before = lease.clone();
                let Ok((next, effects)) = lease.clone().step(event, now) else { continue };
                prop_assert!(!before.is_ended(), "an ended lease changed: {before:?} -> {next:?}");
                prop_assert_eq!(next.max_expires_at, before.max_expires_at);
                prop_assert!(next.expires_at <= next.max_expires_at, "past the maximum");
                prop_assert!(next.issued_at == before.issued_at && next.id == before.id);
                prop_assert_eq!(effects.ended, next.is_ended());
                if next.is_live(now) {
                    let pending = matches!(before.state, LeaseState::Pending { .. });
                    prop_assert!(pending || before.is_live(now), "a lease came back to life");
                }
                if kind == LeaseKind::Dynamic && next.is_ended() {
                    let outlived = before.irrevocable_until.is_some_and(|until| until <= now);
                    prop_assert!(before.state != LeaseState::Active || gone || outlived, "a credential was left behind");
                    let given_up = matches!(next.state, LeaseState::Forgotten { .. });
                    prop_assert!(gone || given_up || next.irrevocable_until.is_none_or(|until| until <= now), "it still works");
                }
                let stored = Lease::decode(&next.encode().unwrap()).unwrap();
                prop_assert_eq!(format!("{stored:?}"), format!("{next:?}"));
                lease = next;
            }
        }
    }
}
