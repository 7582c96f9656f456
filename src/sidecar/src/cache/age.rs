//! How old something that was written down is, on a machine whose time of day may have been set.

use std::{fs, time::Duration};

use leasehold_core::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::MachineClock;

/// One moment, by the time of day and by how long the machine has been up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The time of day.
    pub time: Timestamp,
    /// Which start of the machine it was.
    pub boot: String,
    /// The time since then, its sleep included. Nobody can set it.
    pub up: Duration,
}

/// How it is now, as seen from what was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// What the time of day says.
    time: Timestamp,
    /// What it is at least, as far as that can be known.
    least: Timestamp,
}

/// The time cannot be told well enough.
#[derive(Debug, Error)]
pub enum Untimely {
    /// The time of day is earlier than when it was written, on a machine that was started anew.
    #[error("it was written at {written}, and the time of day is {now}: set the clock")]
    SetBack {
        /// When it was written.
        written: Timestamp,
        /// What the clock says now.
        now: Timestamp,
    },
    /// The same start of the machine has become younger.
    #[error("it was written later in this start of the machine than it is now: it is another machine's")]
    Younger,
    /// The system does not say which start of the machine this is.
    #[error("the machine's boot id cannot be read: {0}")]
    NoBoot(std::io::Error),
}

/// Clocks that are set by so little are not taken for set.
const TOLERANCE: Duration = Duration::from_secs(5);
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Moment {
    /// Now.
    ///
    /// # Errors
    /// When the machine does not tell its boot id.
    pub fn now(clock: &dyn MachineClock) -> Result<Self, Untimely> {
        let boot = fs::read_to_string(BOOT_ID).map_err(Untimely::NoBoot)?.trim().to_owned();
        Ok(Self { time: clock.time_of_day(), boot, up: clock.up() })
    }

    /// How old this is `now`. Within one start of the machine that is known, whatever the time of day was set to; beyond it
    /// there is only the time of day.
    ///
    /// # Errors
    /// When `now` is before this.
    pub fn age(&self, now: &Self) -> Result<Age, Untimely> {
        let time = now.time;
        if self.boot == now.boot {
            let passed = now.up.checked_sub(self.up).ok_or(Untimely::Younger)?;
            let least = self.time.checked_add(passed).unwrap_or(Timestamp::MAX);
            return Ok(Age { time, least: least.max(time) });
        }
        if time.checked_add(TOLERANCE).unwrap_or(Timestamp::MAX) < self.time {
            return Err(Untimely::SetBack { written: self.time, now: time });
        }
        Ok(Age { time, least: time.max(self.time) })
    }
}

impl Age {
    /// When something ends by this machine's time of day that was to end at `end`; `None` when it has ended. Never later
    /// than `end`.
    pub fn end(&self, end: Timestamp) -> Option<Timestamp> {
        let left = end.duration_since(self.least);
        if left.is_positive() { self.time.checked_add(left).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::testing::Frozen;

    fn moment(time: i64, boot: &str, up: u64) -> Moment {
        Moment { time: at(time), boot: boot.to_owned(), up: Duration::from_secs(up) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_clock_that_was_set_back_gives_nothing_back() {
        let written = moment(1000, "b", 50);
        // Ten seconds later, whatever the time of day says of it.
        for (time, end) in
            [(1010, Some(1100)), (400, Some(490)), (1050, Some(1100)), (1100, None), (9000, None)]
        {
            let age = written.age(&moment(time, "b", 60)).unwrap();
            assert_eq!(age.end(at(1100)), end.map(at), "{time}");
        }
        assert_eq!(written.age(&moment(1000, "b", 150)).unwrap().end(at(1100)), None);
        assert!(matches!(written.age(&moment(1000, "b", 49)), Err(Untimely::Younger)));
    }

    #[test]
    fn another_start_of_the_machine_has_only_the_time_of_day() {
        let written = moment(1000, "b", 50);
        assert_eq!(written.age(&moment(1010, "c", 1)).unwrap().end(at(1100)), Some(at(1100)));
        assert_eq!(written.age(&moment(1100, "c", 1)).unwrap().end(at(1100)), None);
        // A little behind is still not before it was written.
        assert_eq!(written.age(&moment(997, "c", 1)).unwrap().end(at(1001)), Some(at(998)));
        assert!(matches!(written.age(&moment(994, "c", 1)), Err(Untimely::SetBack { .. })));
    }

    #[test]
    fn this_machine_tells_its_moments() {
        let clock = Frozen(at(7));
        let (one, two) = (Moment::now(&clock).unwrap(), Moment::now(&clock).unwrap());
        assert!(one.boot == two.boot && !one.boot.is_empty() && one.up <= two.up);
        assert_eq!(one.time, at(7));
    }
}
