//! The machine's clocks. Leases are judged by one that only runs: whoever sets the time of day ends none of them early and
//! makes none of them longer.
//!
//! The one place where the machine is asked for the time.

use std::time::Duration;

use async_trait::async_trait;
use leasehold_core::{Timestamp, ports::Clock};
use rustix::time::{ClockId, clock_gettime};

/// What can be known of the time on this machine.
pub trait MachineClock: Clock {
    /// The time of day, which can be set.
    fn time_of_day(&self) -> Timestamp;

    /// The time since the machine was started, its sleep included. Nobody can set it.
    fn up(&self) -> Duration;
}

/// The time of day at which the sidecar was started, and the time that has passed since then, the machine's sleep included.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    sources: Sources,
    started: Timestamp,
    started_up: Duration,
}

/// What the machine is asked.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    /// The time of day: [`time_of_day`], but where a test sets the clock.
    pub time_of_day: fn() -> Timestamp,
    /// The time since the machine was started: [`up`].
    pub up: fn() -> Duration,
}

/// Nobody sleeps longer in one piece: that the machine slept is noticed by then.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

impl Default for Sources {
    fn default() -> Self {
        Self { time_of_day, up }
    }
}

impl SystemClock {
    /// One that starts now.
    pub fn starting(sources: Sources) -> Self {
        Self { sources, started: (sources.time_of_day)(), started_up: (sources.up)() }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let passed = self.up().saturating_sub(self.started_up);
        self.started.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let left = deadline.duration_since(self.now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default().min(LONGEST_SLEEP)).await;
    }
}

impl MachineClock for SystemClock {
    fn time_of_day(&self) -> Timestamp {
        (self.sources.time_of_day)()
    }

    fn up(&self) -> Duration {
        (self.sources.up)()
    }
}

/// This machine's time of day.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn time_of_day() -> Timestamp {
    Timestamp::now()
}

/// The time since this machine was started, its sleep included.
pub fn up() -> Duration {
    let up = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(up.tv_sec).unwrap_or(0), u32::try_from(up.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    use super::*;

    #[test]
    fn who_sets_the_time_of_day_moves_nothing() {
        static DAY: AtomicI64 = AtomicI64::new(1000);
        static UP: AtomicU64 = AtomicU64::new(50);
        let sources = Sources {
            time_of_day: || Timestamp::from_second(DAY.load(Ordering::Relaxed)).unwrap(),
            up: || Duration::from_secs(UP.load(Ordering::Relaxed)),
        };
        let clock = SystemClock::starting(sources);
        for (day, up, now) in [(1000, 50, 1000), (9000, 51, 1001), (10, 52, 1002), (1003, 40, 1000)] {
            DAY.store(day, Ordering::Relaxed);
            UP.store(up, Ordering::Relaxed);
            assert_eq!(clock.now(), Timestamp::from_second(now).unwrap(), "{day} {up}");
            assert_eq!(clock.time_of_day(), Timestamp::from_second(day).unwrap());
        }
    }
}
