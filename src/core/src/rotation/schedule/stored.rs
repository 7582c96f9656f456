//! A schedule as it is stored: in the words of the configuration.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Blackout, Cron, Rhythm, Schedule};

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cron: Option<Cron>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_zone: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    jitter: Duration,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    not_during: Vec<Blackout>,
}

#[derive(Debug, Error)]
#[error("a schedule has either `every` or `cron`")]
pub(super) struct NoRhythm;

impl From<Schedule> for Stored {
    fn from(schedule: Schedule) -> Self {
        let zone = schedule.time_zone.iana_name().filter(|_| schedule.time_zone != TimeZone::UTC);
        let time_zone = zone.map(Into::into);
        let (every, cron, window) = match schedule.rhythm {
            Rhythm::Every(every) => (Some(every), None, None),
            Rhythm::Cron { cron, window } => (None, Some(cron), window),
        };
        Self { every, cron, window, time_zone, jitter: schedule.jitter, not_during: schedule.not_during }
    }
}

impl TryFrom<Stored> for Schedule {
    type Error = NoRhythm;

    fn try_from(stored: Stored) -> Result<Self, NoRhythm> {
        let Stored { every, cron, window, time_zone, jitter, not_during } = stored;
        let rhythm = match (every, cron) {
            (Some(every), None) => Rhythm::Every(every),
            (None, Some(cron)) => Rhythm::Cron { cron, window },
            _ => return Err(NoRhythm),
        };
        // The schedule in force is the configuration's. A rotation under way must be readable even where the system knows
        // the zone no longer.
        let time_zone = time_zone
            .map_or(TimeZone::UTC, |name| TimeZone::get(&name).unwrap_or_else(|_| TimeZone::unknown()));
        Ok(Self { rhythm, time_zone, jitter, not_during })
    }
}
