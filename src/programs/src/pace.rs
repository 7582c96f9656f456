//! How fast a program may be restarted.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// At most so many restarts within a time, and the more of them there were the further apart: the pause doubles from
/// [`Pace::PAUSE`] on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// So many restarts, at least one ...
    pub most: usize,
    /// ... within this time.
    pub within: Duration,
}

/// The restarts that there were.
#[derive(Debug, Default)]
pub(crate) struct Restarts(VecDeque<Instant>);

impl Pace {
    /// How long the second restart waits after the first one.
    pub const PAUSE: Duration = Duration::from_secs(1);
}

impl Restarts {
    /// When the next one may be, which is wanted now.
    pub(crate) fn next(&mut self, pace: Pace, now: Instant) -> Instant {
        self.0.retain(|then| now.saturating_duration_since(*then) < pace.within);
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else {
            return now;
        };
        let pauses = u32::try_from(self.0.len()).unwrap_or(u32::MAX).saturating_sub(1).min(20);
        let pause = Pace::PAUSE.saturating_mul(1 << pauses).min(pace.within);
        let spaced = last.checked_add(pause).unwrap_or(now);
        if self.0.len() < pace.most.max(1) {
            return now.max(spaced);
        }
        now.max(spaced).max(first.checked_add(pace.within).unwrap_or(now))
    }

    /// One has been made.
    pub(crate) fn made(&mut self, now: Instant) {
        self.0.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { most: 4, within: Duration::from_secs(60) };

    #[test]
    fn a_storm_is_damped_and_passes() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let mut now = start;
        let mut seen = Vec::new();
        // One is wanted all the time.
        for _ in 0..6 {
            now = restarts.next(PACE, now);
            restarts.made(now);
            seen.push(now.duration_since(start).as_secs());
        }
        assert_eq!(seen, [0, 1, 3, 7, 60, 68]);
        let later = now + Duration::from_secs(600);
        assert_eq!(restarts.next(PACE, later), later, "after a calm time nothing waits");
    }

    #[test]
    fn no_window_has_more_than_are_allowed() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let mut made: Vec<Instant> = Vec::new();
        let mut now = start;
        for gap in (0..200_u64).map(|n| n * 7919 % 31) {
            now = restarts.next(PACE, now + Duration::from_secs(gap));
            restarts.made(now);
            made.push(now);
        }
        for five in made.windows(5) {
            assert!(five[4] - five[0] >= PACE.within, "{five:?}");
        }
    }
}
