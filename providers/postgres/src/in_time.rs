//! Statements that come too late do nothing: they say until when they may be done, by the server's own clock.
//!
//! That clock is told without asking the server: by what it said of it last over the same connection, and how long ago
//! that was.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use leasehold_core::{LeaseId, Timestamp, ttl::after};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use crate::{issuer::turn, sql::literal};

/// What a server said of its clock last, and when that was heard.
pub(crate) struct ServerClock(Mutex<Option<(Timestamp, Instant)>>);

/// When statements are sent, and until when they may be done, by the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) latest: Timestamp,
}

/// Statements, made anew for each time that they are sent.
pub(crate) type Timed<'a> = dyn Fn(&Moment) -> String + Send + Sync + 'a;

/// What the server calls it when they come too late: see [`Moment::opening`].
pub(crate) const TOO_LATE: &SqlState = &SqlState::DIVISION_BY_ZERO;

/// The statement of [`Moment::opening`] that says the server's time, counted from 0.
pub(crate) const SAYS_TIME: usize = 1;

/// What the server's time is asked by.
pub(crate) const TIME: &str = "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::pg_catalog.text";

/// So long from now on.
pub(crate) fn deadline(within: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(within).unwrap_or(now)
}

impl ServerClock {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The server has just said that it is this time.
    pub(crate) fn heard(&self, said: Timestamp) {
        self.heard_at(Instant::now(), said);
    }

    fn heard_at(&self, heard: Instant, said: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((said, heard));
    }

    /// When statements that are sent now and may be done until `deadline` are sent and may be done. What was heard was on
    /// its way, and the machine may have slept since: the server's clock may show a little more than this, and not less
    /// unless it was set back.
    pub(crate) fn moment(&self, deadline: Instant) -> Option<Moment> {
        self.moment_at(Instant::now(), deadline)
    }

    fn moment_at(&self, at: Instant, deadline: Instant) -> Option<Moment> {
        let (said, heard) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let now = after(said, at.saturating_duration_since(heard));
        Some(Moment { now, latest: after(now, deadline.saturating_duration_since(at)) })
    }
}

impl Moment {
    /// What statements about the user of a lease begin with: they wait for their turn, and if it is too late by then, they
    /// end there. A division by zero is the only error that a plain statement can be made to raise for nothing.
    pub(crate) fn opening(&self, lease: LeaseId) -> String {
        format!(
            "{}\n;\nSELECT extract(epoch FROM t)::pg_catalog.text, 1 / (t <= {})::int \
             FROM pg_catalog.clock_timestamp() AS t",
            turn(lease),
            literal(&self.latest.to_string())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_time_goes_on_from_what_it_said() {
        let seconds = Duration::from_secs;
        let (clock, begin) = (ServerClock::new(), Instant::now());
        let deadline = begin + seconds(8);
        assert_eq!(clock.moment_at(begin, deadline), None, "it has said nothing");
        let said: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        clock.heard_at(begin, said);
        let moment = clock.moment_at(begin + seconds(3), deadline).unwrap();
        assert_eq!(moment, Moment { now: after(said, seconds(3)), latest: after(said, seconds(8)) });
        let moment = clock.moment_at(begin + seconds(60), deadline).unwrap();
        assert_eq!(moment.latest, moment.now, "nothing may be done any more");
        clock.heard_at(begin + seconds(60), said);
        assert_eq!(clock.moment_at(begin + seconds(60), deadline).unwrap().now, said, "it was set back");
    }
}
