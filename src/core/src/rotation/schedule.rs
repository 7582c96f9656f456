//! When a secret is rotated: a rhythm, the windows in which it may be, and the times in which it may not.
//!
//! All of it follows from when the current version was made, so that a restart, a week off or a second look changes nothing.

mod blackout;
mod cron;
mod stored;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{
    blackout::{Blackout, InvalidBlackout},
    cron::{Cron, InvalidCron},
};
use crate::{
    path::SecretPath,
    ttl::{after, before, until},
};

/// When a secret is rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "stored::Stored", into = "stored::Stored")]
pub struct Schedule {
    /// How its times follow each other.
    pub rhythm: Rhythm,
    /// Where the times of day are those that a pattern and the blackouts mean.
    pub time_zone: TimeZone,
    /// A secret comes so much later at most than the rhythm says, each by its own part of it.
    pub jitter: Duration,
    /// When nothing is rotated.
    pub not_during: Vec<Blackout>,
}

/// How the times of a schedule follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// So long after the current version was made.
    Every(Duration),
    /// At the times of a pattern.
    Cron {
        /// The pattern.
        cron: Cron,
        /// How long after such a time a rotation may still begin; as long as it takes when absent.
        window: Option<Duration>,
    },
}

/// When a secret may be rotated, seen from some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// From when on; what is not in the future means now.
    pub from: Timestamp,
    /// Until when; `None` for as long as it takes.
    pub until: Option<Timestamp>,
    /// Why that is not now, although its time has come.
    pub waits_for: Option<Hindrance>,
}

/// What keeps a secret from being rotated although its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It is a time in which nothing is to be rotated.
    Blackout,
    /// The last window closed before it was rotated.
    WindowMissed,
}

/// Why there is no such time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoTimeZone {
    /// The system has none of this name.
    #[error("this system knows no time zone of that name; write one like `Europe/Paris`, or `UTC`")]
    Unknown,
    /// The system has none at all.
    #[error("this system has no time zones but `UTC`: install its `tzdata`")]
    NoDatabase,
}

/// More windows and blackouts in a row than these are taken for all that there will ever be.
const MOST_IN_A_ROW: usize = 1000;

impl Schedule {
    /// So long after the current version was made, at any time.
    pub fn every(every: Duration) -> Self {
        Self::of(Rhythm::Every(every))
    }

    /// At the times of a pattern, in UTC, or as soon after as may be.
    pub fn cron(cron: Cron) -> Self {
        Self::of(Rhythm::Cron { cron, window: None })
    }

    /// This rhythm, and nothing that hinders it.
    pub const fn of(rhythm: Rhythm) -> Self {
        Self { rhythm, time_zone: TimeZone::UTC, jitter: Duration::ZERO, not_during: Vec::new() }
    }

    /// When the version that was made at `made_at` may be replaced, seen from `now`; `None` for never. `spread` is a number
    /// that differs from secret to secret and never changes for one: see [`spread_of`].
    pub fn opening(&self, made_at: Timestamp, spread: u64, now: Timestamp) -> Option<Opening> {
        let (nominal, from, until) = match &self.rhythm {
            Rhythm::Every(every) => {
                let nominal = after(after(made_at, *every), share(self.jitter, spread));
                (nominal, self.as_soon_as_may_be(nominal, self.jitter, spread, now)?, None)
            }
            Rhythm::Cron { cron, window: None } => {
                let nominal = after(cron.next(made_at, &self.time_zone)?, share(self.jitter, spread));
                (nominal, self.as_soon_as_may_be(nominal, self.jitter, spread, now)?, None)
            }
            Rhythm::Cron { cron, window: Some(window) } => {
                let late = share(self.jitter.min(half(*window)), spread);
                let nominal = after(cron.next(made_at, &self.time_zone)?, late);
                let (from, until) = self.in_a_window(cron, *window, (made_at, late), spread, now)?;
                (nominal, from, Some(until))
            }
        };
        let late = nominal <= now && now < from;
        let hindrance =
            || if self.blackout_at(now).is_some() { Hindrance::Blackout } else { Hindrance::WindowMissed };
        Some(Opening { from, until, waits_for: late.then(hindrance) })
    }

    /// Whether it would ever let a version be replaced that is made at `time`.
    pub fn is_possible(&self, time: Timestamp) -> bool {
        self.opening(time, 0, time).is_some()
    }

    /// `nominal`, or the first moment after it in no blackout; when that is over and `now` is in one, the end of that: a
    /// secret that has missed its own moment after a blackout has no other.
    fn as_soon_as_may_be(
        &self,
        nominal: Timestamp,
        jitter: Duration,
        spread: u64,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let first = self.outside_blackouts(nominal, jitter, spread)?;
        if first > now {
            return Some(first);
        }
        let again = self.outside_blackouts(now, Duration::ZERO, spread)?;
        Some(if again > now { again } else { first })
    }

    /// The first moment in a window that is not over, and the window's end.
    fn in_a_window(
        &self,
        cron: &Cron,
        window: Duration,
        (made_at, late): (Timestamp, Duration),
        spread: u64,
        now: Timestamp,
    ) -> Option<(Timestamp, Timestamp)> {
        let mut begin = cron.next(made_at.max(before(now, window)), &self.time_zone)?;
        for _ in 0..MOST_IN_A_ROW {
            let (open, close) = (after(begin, late), after(begin, window));
            let at_most = self.jitter.min(half(until(open, close)));
            let from = self.as_soon_as_may_be(open, at_most, spread, now)?;
            if from < close && now < close {
                return Some((from, close));
            }
            begin = cron.next(begin.max(before(from.max(now), window)), &self.time_zone)?;
        }
        None
    }

    /// `time`, or when the blackout that it lies in is over; every secret then comes by its own part of `jitter` later.
    fn outside_blackouts(&self, mut time: Timestamp, jitter: Duration, spread: u64) -> Option<Timestamp> {
        for _ in 0..MOST_IN_A_ROW {
            match self.blackout_at(time) {
                Some(end) if end == Timestamp::MAX => return None,
                Some(end) => {
                    let later = after(end, share(jitter, spread));
                    // Rather at once than into the next blackout.
                    time = if self.blackout_at(later).is_some() { end } else { later };
                }
                None => return Some(time),
            }
        }
        None
    }

    /// When the blackout is over that `time` lies in.
    fn blackout_at(&self, time: Timestamp) -> Option<Timestamp> {
        self.not_during.iter().filter_map(|blackout| blackout.end(time, &self.time_zone)).max()
    }
}

/// The time zone of this name in the system's database (`tzdata`); `UTC` is known without one.
///
/// # Errors
/// When there is none of this name there, or no database.
pub fn time_zone(name: &str) -> Result<TimeZone, NoTimeZone> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let database = jiff::tz::db();
    match database.get(name) {
        Ok(zone) => Ok(zone),
        Err(_) if database.available().next().is_none() => Err(NoTimeZone::NoDatabase),
        Err(_) => Err(NoTimeZone::Unknown),
    }
}

/// A secret's own part of `whole`.
fn share(whole: Duration, spread: u64) -> Duration {
    let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(spread.checked_rem(millis.saturating_add(1)).unwrap_or_default())
}

fn half(whole: Duration) -> Duration {
    whole.checked_div(2).unwrap_or_default()
}

/// A number that differs from secret to secret and never changes for one (FNV-1a, and the end of MurmurHash3 so that all of
/// its bits do).
pub fn spread_of(path: &SecretPath) -> u64 {
    let fnv = path.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

impl Hindrance {
    /// It in words, as lists show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blackout => "nothing is rotated at this time (`not_during`)",
            Self::WindowMissed => "its window was missed, and the next one has not come",
        }
    }
}

/// In the words of the configuration.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rhythm {
            Rhythm::Every(every) => write!(f, "every {}", Words(*every))?,
            Rhythm::Cron { cron, .. } => write!(f, "cron {}", cron.as_str())?,
        }
        if self.time_zone != TimeZone::UTC {
            write!(f, ", time_zone {}", self.time_zone.iana_name().unwrap_or("?"))?;
        }
        if let Rhythm::Cron { window: Some(window), .. } = &self.rhythm {
            write!(f, ", window {}", Words(*window))?;
        }
        if !self.jitter.is_zero() {
            write!(f, ", jitter {}", Words(self.jitter))?;
        }
        self.not_during.iter().try_for_each(|blackout| write!(f, ", not_during {}", blackout.as_str()))
    }
}

/// A duration as the configuration has it.
struct Words(Duration);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u128); 5] =
            [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let mut left = self.0.as_millis();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in UNITS {
            let count = left.checked_div(millis).unwrap_or_default();
            left = left.checked_rem(millis).unwrap_or_default();
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}
