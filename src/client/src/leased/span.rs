//! How much of a lease's life is left, without a look at this machine's clock.
//!
//! The broker's times are its own clock's. A lease began when it was issued, which was after it was asked for, so on the
//! steady clock its age is at most the time since then; what is reckoned so is never later than what is true.

use std::time::Duration;

use leasehold_core::Timestamp;
use tokio::time::Instant;

use crate::Lease;

/// The life of one lease on this machine's steady clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// When it was asked for.
    asked: Instant,
    /// What the broker's clock said then, or a little later.
    issued_at: Timestamp,
    /// What it was given at the beginning: no renewal gives more, so a clock that was set at the broker is of no matter.
    term: Duration,
    /// When its end was last said.
    from: Instant,
    /// Its end.
    pub(super) ends: Instant,
}

/// A lease without an end that can be reckoned with is looked after so often.
const LONG: Duration = Duration::from_secs(365 * 86_400);

impl Span {
    /// Of a lease that was asked for at this time.
    pub(super) fn new(lease: &Lease, asked: Instant) -> Self {
        let term = between(lease).min(LONG);
        Self {
            asked,
            issued_at: lease.issued_at,
            term,
            from: asked,
            ends: asked.checked_add(term).unwrap_or(asked),
        }
    }

    /// Of the lease after this one, asked for at some time since `since`: when answers were lost, it may have been issued
    /// then. What the broker's clock said of this one tells how long ago that was.
    pub(super) fn followed_by(self, lease: &Lease, since: Instant, now: Instant) -> Self {
        let between = lease.issued_at.duration_since(self.issued_at);
        let issued = Duration::try_from(between).ok().and_then(|between| self.asked.checked_add(between));
        Self::new(lease, issued.unwrap_or(since).clamp(since, now.max(since)))
    }

    /// After a renewal that was asked for at this time.
    pub(super) fn renewed(self, lease: &Lease, asked: Instant) -> Self {
        let whole = self.asked.checked_add(between(lease).min(LONG)).unwrap_or(self.ends);
        let most = asked.checked_add(self.term).unwrap_or(self.ends);
        Self { from: asked, ends: whole.min(most).max(self.ends.min(most)), ..self }
    }

    /// When to look after it: at two thirds of what is left after its end was last said, a little earlier or later.
    pub(super) fn two_thirds(self, chance: f64) -> Instant {
        let life = self.ends.saturating_duration_since(self.from);
        let part = life.mul_f64(0.6 + chance.clamp(0.0, 1.0) * 2.0 / 15.0);
        self.from.checked_add(part).unwrap_or(self.from)
    }

    /// When to take another one, if no renewal moves its end: when a third of what it was given at the beginning is left, a
    /// little earlier or later. A holder has as long to move as it has when any other lease is looked after.
    pub(super) fn last_third(self, chance: f64) -> Instant {
        let part = self.term.mul_f64(0.4 - chance.clamp(0.0, 1.0) * 2.0 / 15.0);
        self.ends.checked_sub(part).unwrap_or(self.from).max(self.from)
    }

    /// What is left.
    pub(super) fn left(self, now: Instant) -> Duration {
        self.ends.saturating_duration_since(now)
    }
}

/// What it was given, as it is now.
fn between(lease: &Lease) -> Duration {
    let life = lease.expires_at.duration_since(lease.issued_at);
    Duration::try_from(life).unwrap_or_default()
}
