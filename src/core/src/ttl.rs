//! How long a lease lives: what was asked, clipped by every limit that applies.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A secret's limits. INVARIANT: `1 s <= default <= max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TtlLimits {
    default: Duration,
    max: Duration,
}

/// When a lease ends, and when at the latest it could after any renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The end as granted now.
    pub expires_at: Timestamp,
    /// The absolute end; no renewal passes it.
    pub max_expires_at: Timestamp,
}

/// Why limits make no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidTtl {
    /// A lease shorter than a second cannot be held.
    #[error("a TTL is at least 1s")]
    TooShort,
    /// The default does not fit under the maximum.
    #[error("ttl ({default:?}) is longer than max_ttl ({max:?})")]
    DefaultOverMax {
        /// The default.
        default: Duration,
        /// The maximum.
        max: Duration,
    },
    /// Longer than a lease can sensibly be.
    #[error("max_ttl is at most {} days", TtlLimits::LONGEST.as_secs() / 86_400)]
    TooLong,
}

impl TtlLimits {
    /// No lease lives longer than this, whatever the configuration says.
    pub const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

    /// Limits for a secret: `default` when nothing is asked, `max` from issue to the last renewal's end.
    ///
    /// # Errors
    /// When the two contradict each other or the bounds.
    pub fn new(default: Duration, max: Duration) -> Result<Self, InvalidTtl> {
        if default < Duration::from_secs(1) {
            Err(InvalidTtl::TooShort)
        } else if max > Self::LONGEST {
            Err(InvalidTtl::TooLong)
        } else if default > max {
            Err(InvalidTtl::DefaultOverMax { default, max })
        } else {
            Ok(Self { default, max })
        }
    }

    /// What a lease gets that asks for nothing.
    pub const fn default_ttl(&self) -> Duration {
        self.default
    }

    /// The longest life of a lease, renewals included.
    pub const fn max_ttl(&self) -> Duration {
        self.max
    }

    /// These limits with a further bound on the maximum, such as a policy's or a back end's.
    pub fn clipped(&self, max: Duration) -> Self {
        let max = self.max.min(max).max(Duration::from_secs(1));
        Self { default: self.default.min(max), max }
    }

    /// The term of a lease issued at `now` for which `asked` was wanted.
    pub fn term(&self, asked: Option<Duration>, now: Timestamp) -> Term {
        let ttl = asked.unwrap_or(self.default).clamp(Duration::from_secs(1), self.max);
        Term { expires_at: after(now, ttl), max_expires_at: after(now, self.max) }
    }
}

/// `start` moved by `duration`, stopping at the end of time instead of overflowing.
pub fn after(start: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration).ok().and_then(|d| start.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}

/// `end` moved back by `duration`, stopping at the beginning of time.
pub fn before(end: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration).ok().and_then(|d| end.checked_sub(d).ok()).unwrap_or(Timestamp::MIN)
}

/// How long it is from `now` to `end`; zero when `end` has passed.
pub fn until(now: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(TtlLimits::new(secs(0), secs(5)), Err(InvalidTtl::TooShort));
        assert!(matches!(TtlLimits::new(secs(6), secs(5)), Err(InvalidTtl::DefaultOverMax { .. })));
        assert_eq!(TtlLimits::new(secs(6), Duration::MAX), Err(InvalidTtl::TooLong));
    }

    proptest! {
        #[test]
        fn a_term_stays_within_the_limits(default in 1u64..10_000, more in 0u64..10_000, asked: Option<u64>, clip: u64) {
            let now = Timestamp::UNIX_EPOCH;
            let limits = TtlLimits::new(secs(default), secs(default.saturating_add(more))).unwrap().clipped(secs(clip));
            let term = limits.term(asked.map(secs), now);
            prop_assert!(term.expires_at > now);
            prop_assert!(term.expires_at <= term.max_expires_at);
            prop_assert!(until(now, term.max_expires_at) <= secs(default.saturating_add(more)));
        }

        #[test]
        fn time_arithmetic_never_overflows(start in i64::MIN..i64::MAX, seconds: u64) {
            let start = Timestamp::from_second(start).unwrap_or(Timestamp::MAX);
            prop_assert!(after(start, secs(seconds)) >= start);
        }
    }
}
