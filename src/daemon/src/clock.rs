//! The machine's clocks, as the domain wants one: it never goes backwards, runs at the pace of real time, and takes no
//! step of the time of day on trust.
//!
//! The one place where the machine is asked for the time.

mod keeper;
mod mark;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use leasehold_core::{Timestamp, ports::Clock, ttl};
use rustix::time::{ClockId, clock_gettime};

pub use self::{
    keeper::keep,
    mark::{Kept, Mark},
};

/// The time since the machine was started, its sleep included, plus an offset that only grows.
///
/// Within one start of the machine that is how leases age, whatever is done to the time of day. The offset follows the
/// time of day: at once by [`Rules::tolerance`] in any [`Rules::settle`], and by more only when the time of day has been
/// that far ahead for all of [`Rules::settle`]. When the time of day is behind, time runs on at its pace, so that a clock
/// set back neither extends a lease nor holds the expiry of others up.
#[derive(Debug)]
pub struct SystemClock {
    sources: Sources,
    tolerance: i64,
    settle: i64,
    /// What is added to the machine's ticks, in nanoseconds.
    offset: AtomicI64,
    /// The offset at the beginning of this settling time, and when that was.
    settled: AtomicI64,
    settled_at: AtomicI64,
    /// Since when the time of day has been too far ahead, in ticks, or [`NEVER`]; and the least that it was since then.
    step_since: AtomicI64,
    step: AtomicI64,
}

/// What the machine is asked, each in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    /// The time of day, of the Unix epoch.
    pub wall: Wall,
    /// The time since the machine was started, its sleep included.
    pub ticks: Wall,
}

/// What tells a time in nanoseconds: [`wall`] and [`ticks`], but where a test sets the clock.
pub type Wall = fn() -> i64;

/// How the time of day is followed when it jumps ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// By so much at once.
    pub tolerance: Duration,
    /// By more when it stays so for so long.
    pub settle: Duration,
}

/// How the clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The time.
    pub now: Timestamp,
    /// What is added to the machine's ticks, in nanoseconds.
    pub offset: i64,
    /// How far this clock is ahead of the time of day, in nanoseconds; negative when it is behind.
    pub ahead: i64,
}

/// The time for whoever judges what others have dated, such as certificates and tokens: the broker's or the time of day,
/// whichever is later. A time of day that jumped ahead counts here at once, since it ends no lease.
#[derive(Debug)]
pub struct LatestClock(pub Arc<SystemClock>);

/// Nobody sleeps longer in one piece: that the machine slept is noticed by then.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
const NEVER: i64 = i64::MIN;

impl Default for Rules {
    fn default() -> Self {
        Self { tolerance: Duration::from_secs(30), settle: Duration::from_secs(3600) }
    }
}

impl Default for Sources {
    fn default() -> Self {
        Self { wall, ticks }
    }
}

impl SystemClock {
    /// A clock that starts at the time of day, or at `floor` if that is later: the last time that was recorded.
    pub fn starting_at(floor: Option<Timestamp>) -> Self {
        Self::going_on(Sources::default(), Rules::default(), &Kept { offset: None, floor })
    }

    /// A clock that goes on from what was kept of it.
    pub fn going_on(sources: Sources, rules: Rules, kept: &Kept) -> Self {
        // In this order, as whenever the two are read: what comes between the two looks is not to be taken for a step.
        let wall = (sources.wall)();
        let ticks = (sources.ticks)();
        let floor = kept.floor.map_or(i64::MIN, |floor| nanos(floor).saturating_sub(ticks));
        let offset = kept.offset.unwrap_or_else(|| wall.saturating_sub(ticks)).max(floor);
        let bounded = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self {
            sources,
            tolerance: bounded(rules.tolerance),
            settle: bounded(rules.settle),
            offset: AtomicI64::new(offset),
            settled: AtomicI64::new(offset),
            settled_at: AtomicI64::new(ticks),
            step_since: AtomicI64::new(NEVER),
            step: AtomicI64::new(i64::MAX),
        }
    }

    /// How the clock stands.
    pub fn standing(&self) -> Standing {
        let wall = (self.sources.wall)();
        let now = self.time(wall);
        Standing {
            now: timestamp(now),
            offset: self.offset.load(Ordering::Acquire),
            ahead: now.saturating_sub(wall),
        }
    }

    /// The time when the time of day is `wall`.
    fn time(&self, wall: i64) -> i64 {
        let ticks = (self.sources.ticks)();
        ticks.saturating_add(self.follow(ticks, wall.saturating_sub(ticks)))
    }

    /// The offset at `ticks` when the time of day wants it to be `wanted`.
    fn follow(&self, ticks: i64, wanted: i64) -> i64 {
        let offset = self.offset.load(Ordering::Acquire);
        if wanted <= offset {
            self.no_step();
            return offset;
        }
        if ticks.saturating_sub(self.settled_at.load(Ordering::Relaxed)) >= self.settle {
            self.settled_at.store(ticks, Ordering::Relaxed);
            self.settled.store(offset, Ordering::Relaxed);
        }
        if wanted.saturating_sub(self.settled.load(Ordering::Relaxed)) <= self.tolerance {
            self.no_step();
            return self.offset.fetch_max(wanted, Ordering::AcqRel).max(wanted);
        }
        let since = self.step_since.load(Ordering::Acquire);
        if since == NEVER {
            self.step.store(wanted, Ordering::Release);
            self.step_since.store(ticks, Ordering::Release);
            return offset;
        }
        let least = self.step.fetch_min(wanted, Ordering::AcqRel).min(wanted);
        if ticks.saturating_sub(since) < self.settle {
            return offset;
        }
        // It has been so far ahead all the time, and so it is the time.
        let offset = self.offset.fetch_max(least, Ordering::AcqRel).max(least);
        self.settled.store(offset, Ordering::Relaxed);
        self.settled_at.store(ticks, Ordering::Relaxed);
        self.no_step();
        offset
    }

    fn no_step(&self) {
        // Looked at before it is written to: this is asked thousands of times a second.
        if self.step_since.load(Ordering::Relaxed) != NEVER {
            self.step_since.store(NEVER, Ordering::Release);
        }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        timestamp(self.time((self.sources.wall)()))
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        tokio::time::sleep(ttl::until(self.now(), deadline).min(LONGEST_SLEEP)).await;
    }
}

#[async_trait]
impl Clock for LatestClock {
    fn now(&self) -> Timestamp {
        let wall = (self.0.sources.wall)();
        timestamp(self.0.time(wall).max(wall))
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        tokio::time::sleep(ttl::until(self.now(), deadline).min(LONGEST_SLEEP)).await;
    }
}

/// The machine's own time of day, in nanoseconds of the Unix epoch; one before it or after the year 2262 counts as that
/// end.
#[expect(clippy::disallowed_methods, reason = "this is the adapter")]
pub fn wall() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// The time since the machine was started, its sleep included, in nanoseconds (clock_gettime(2), `CLOCK_BOOTTIME`): nobody
/// can set it.
pub fn ticks() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

fn nanos(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

fn timestamp(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanos.into()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test")]
mod tests;
