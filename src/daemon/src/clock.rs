//! The machine's clock, as the domain wants it: it never goes backwards, and never more slowly than real time.
//!
//! The one place where the time of day is read.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use leasehold_core::{Timestamp, ports::Clock, ttl};

/// Wall-clock time that ignores a clock set back.
///
/// The time is the monotonic clock plus an offset, and the offset only grows: when the wall clock is ahead (it was set
/// forward, or the machine slept) it is followed; when it is behind, time runs on at its pace, so that a clock set back
/// neither extends a lease nor holds the expiry of others up.
#[derive(Debug)]
pub struct SystemClock {
    wall: Wall,
    started: Instant,
    /// What is added to the monotonic clock, in nanoseconds.
    offset: AtomicI64,
}

/// What tells the time of day, in nanoseconds of the Unix epoch: [`wall`], but where a test sets the clock.
pub type Wall = fn() -> i64;

/// Nobody sleeps longer in one piece: what was set meanwhile is noticed by then.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

impl SystemClock {
    /// A clock that starts at the wall clock's time, or at `floor` if that is later: the last time that was recorded.
    pub fn starting_at(floor: Option<Timestamp>) -> Self {
        Self::over(wall, floor)
    }

    /// As [`SystemClock::starting_at`], by what `wall` says the time of day is.
    #[expect(clippy::disallowed_methods, reason = "this is the adapter")]
    pub fn over(wall: Wall, floor: Option<Timestamp>) -> Self {
        let floor = floor.map_or(i64::MIN, |floor| i64::try_from(floor.as_nanosecond()).unwrap_or(i64::MAX));
        Self { wall, started: Instant::now(), offset: AtomicI64::new(wall().max(floor)) }
    }

    /// Moves the clock forward to `floor`, if it is not there yet.
    pub fn advance_to(&self, floor: Timestamp) {
        let floor = i64::try_from(floor.as_nanosecond()).unwrap_or(i64::MAX);
        self.offset.fetch_max(floor.saturating_sub(self.elapsed()), Ordering::AcqRel);
    }

    /// How far this clock is ahead of the machine's: more than a moment means that the machine's was set back.
    pub fn ahead_of_wall(&self) -> Duration {
        let now = self.elapsed().saturating_add(self.offset.load(Ordering::Acquire));
        Duration::from_nanos(u64::try_from(now.saturating_sub((self.wall)())).unwrap_or(0))
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let nanos = follow(&self.offset, self.elapsed(), (self.wall)());
        Timestamp::from_nanosecond(nanos.into()).unwrap_or(Timestamp::MAX)
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        tokio::time::sleep(ttl::until(self.now(), deadline).min(LONGEST_SLEEP)).await;
    }
}

/// The time at `elapsed` on the monotonic clock when the wall clock says `wall`; remembers the offset.
fn follow(offset: &AtomicI64, elapsed: i64, wall: i64) -> i64 {
    let ahead = wall.saturating_sub(elapsed);
    let offset = offset.fetch_max(ahead, Ordering::AcqRel).max(ahead);
    elapsed.saturating_add(offset)
}

/// The machine's own time of day, in nanoseconds of the Unix epoch; one before it or after the year 2262 counts as that
/// end.
#[expect(clippy::disallowed_methods, reason = "this is the adapter")]
pub fn wall() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clock_set_back_is_not_followed_and_one_set_forward_is() {
        let offset = AtomicI64::new(1_000);
        assert_eq!(follow(&offset, 0, 1_000), 1_000);
        assert_eq!(follow(&offset, 10, 1_010), 1_010);
        // Set back by 500: time runs on.
        assert_eq!(follow(&offset, 20, 520), 1_020);
        assert_eq!(follow(&offset, 30, 530), 1_030);
        // Set forward by 5000: followed; set right again: kept.
        assert_eq!(follow(&offset, 40, 6_040), 6_040);
        assert_eq!(follow(&offset, 50, 1_050), 6_050);
    }

    #[test]
    fn it_starts_where_the_records_ended() {
        let last = Timestamp::from_second(7_000_000_000).unwrap();
        let clock = SystemClock::starting_at(Some(last));
        assert!(clock.now() >= last);
        assert!(clock.ahead_of_wall() > Duration::from_secs(1_000_000));
        let clock = SystemClock::starting_at(Some(Timestamp::UNIX_EPOCH));
        assert!(clock.now() > Timestamp::from_second(1_700_000_000).unwrap());
        assert!(clock.now() < last);
        clock.advance_to(last);
        assert!(clock.now() >= last);
    }

    #[test]
    fn it_goes_by_what_tells_the_time_of_day() {
        static WALL: AtomicI64 = AtomicI64::new(1_000_000_000_000);
        let clock = SystemClock::over(|| WALL.load(Ordering::Relaxed), None);
        WALL.fetch_add(60_000_000_000, Ordering::Relaxed);
        let after = clock.now();
        assert!(after >= Timestamp::from_second(1_060).unwrap(), "{after}");
        WALL.fetch_sub(3_600_000_000_000, Ordering::Relaxed);
        assert!(clock.now() >= after && clock.ahead_of_wall() > Duration::from_secs(3_500));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_sleeps_longer_than_thirty_seconds() {
        let clock = SystemClock::starting_at(None);
        let before = tokio::time::Instant::now();
        clock.sleep_until(Timestamp::MAX).await;
        assert_eq!(before.elapsed().as_secs(), 30);
    }

    proptest! {
        #[test]
        fn time_is_never_slower_than_the_monotonic_clock(steps in proptest::collection::vec((0_i64..1_000, -5_000_i64..5_000), 1..50)) {
            let offset = AtomicI64::new(100_000);
            let (mut elapsed, mut last) = (0, 0);
            for (pause, skew) in steps {
                elapsed += pause;
                let now = follow(&offset, elapsed, 100_000 + elapsed + skew);
                let least = last + pause;
                prop_assert!(now >= least);
                last = now;
            }
        }
    }
}
