//! A cron pattern: `minute hour day-of-month month day-of-week`, as in crontab(5), with names of months and days.
//!
//! The pattern is a matter of the calendar. A time of day that a spring change skips comes as much later as the change takes;
//! one that an autumn change brings twice comes the first time only.

use std::{fmt, str::FromStr, time::Duration};

use croner::parser::{CronParser, Seconds, Year};
use jiff::{
    Timestamp,
    tz::{AmbiguousOffset, TimeZone},
};
use thiserror::Error;

use crate::ttl::before;

/// A cron pattern with the text that it was read from.
#[derive(Clone, Debug)]
pub struct Cron {
    text: Box<str>,
    pattern: Box<croner::Cron>,
}

/// Why a text is no cron pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidCron {
    /// It cannot be read.
    #[error("a pattern has five parts, `minute hour day-of-month month day-of-week`, such as `0 3 * * SUN`")]
    Unreadable,
    /// It can be read, and no day fits it.
    #[error("no date fits the pattern")]
    NoDate,
}

/// A day has fewer minutes than these, and a change of the clock takes less than a day.
const MOST_IN_A_CHANGE: usize = 1500;
const A_DAY: Duration = Duration::from_secs(86_400);

impl Cron {
    /// The text that it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first of its times after `time`.
    pub fn next(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // What a change has skipped a moment ago may be still to come: it counts by the clock as it was before.
        let unchanged = zone.to_offset(before(time, A_DAY)).to_datetime(time);
        let mut civil = zone.to_datetime(time).min(unchanged);
        let mut first = None;
        for _ in 0..MOST_IN_A_CHANGE {
            let Ok(next) = self.pattern.find_next_occurrence(&civil, false) else { break };
            civil = next;
            let found = zone.to_ambiguous_timestamp(civil);
            let skipped = matches!(found.offset(), AmbiguousOffset::Gap { .. });
            let next = found.compatible().ok()?;
            // While the clock repeats an hour, the times of that hour are over already.
            if next > time {
                first = Some(first.map_or(next, |first: Timestamp| first.min(next)));
                // What is skipped comes so much later that something after it may come before it.
                if !skipped {
                    break;
                }
            }
        }
        first
    }
}

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        let text = text.trim();
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let pattern = parser.parse(text).map_err(|_| InvalidCron::Unreadable)?;
        let cron = Self { text: text.into(), pattern: Box::new(pattern) };
        cron.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC).map(|_| cron).ok_or(InvalidCron::NoDate)
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

crate::codec::serde_as_text!(Cron);

#[cfg(test)]
mod tests {
    use super::*;

    fn times(pattern: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let (cron, zone): (Cron, _) = (pattern.parse().unwrap(), TimeZone::get(zone).unwrap());
        let mut time: Timestamp = from.parse().unwrap();
        let mut next = || {
            time = cron.next(time, &zone).unwrap();
            zone.to_datetime(time).to_string() + " " + &zone.to_offset(time).to_string()
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "x", "0 3 * *", "0 0 3 * * SUN", "0 3 * * SUN 2026", "60 3 * * *", "0 3 * * FOO"] {
            assert_eq!(text.parse::<Cron>(), Err(InvalidCron::Unreadable), "{text:?}");
        }
        assert_eq!("0 3 30 2 *".parse::<Cron>(), Err(InvalidCron::NoDate));
        assert_eq!("0 3 * * SUN".parse::<Cron>().unwrap().as_str(), "0 3 * * SUN");
    }

    #[test]
    fn the_times_are_those_of_the_zone() {
        let utc = times("0 3 * * SUN", "UTC", "2026-11-22T03:00:00Z", 2);
        assert_eq!(utc, ["2026-11-29T03:00:00 +00", "2026-12-06T03:00:00 +00"]);
        let paris = times("0 3 * * SUN", "Europe/Paris", "2026-11-22T01:59:59.5Z", 1);
        assert_eq!(paris, ["2026-11-22T03:00:00 +01"]);
    }

    #[test]
    fn a_time_that_is_skipped_in_spring_comes_as_much_later() {
        let times = times("30 2 * * *", "Europe/Paris", "2027-03-27T12:00:00Z", 2);
        assert_eq!(times, ["2027-03-28T03:30:00 +02", "2027-03-29T02:30:00 +02"]);
    }

    #[test]
    fn a_skipped_time_is_still_to_come_right_after_the_change() {
        let after = times("30 2 * * *", "Europe/Paris", "2027-03-28T01:00:00Z", 2);
        assert_eq!(after, ["2027-03-28T03:30:00 +02", "2027-03-29T02:30:00 +02"]);
        let often = times("15,30 2,3 * * *", "Europe/Paris", "2027-03-28T00:00:00Z", 3);
        assert_eq!(often, ["2027-03-28T03:15:00 +02", "2027-03-28T03:30:00 +02", "2027-03-29T02:15:00 +02"]);
        // Samoa went without the 30th.
        let day = times("0 12 * * *", "Pacific/Apia", "2011-12-29T20:00:00-10:00", 2);
        assert_eq!(day, ["2011-12-31T12:00:00 +14", "2012-01-01T12:00:00 +14"]);
    }

    #[test]
    fn a_time_that_comes_twice_in_autumn_counts_once() {
        let days = times("30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", 2);
        assert_eq!(days, ["2026-10-25T02:30:00 +02", "2026-10-26T02:30:00 +01"]);
        // Within the second time round.
        let later = times("30 2 * * *", "Europe/Paris", "2026-10-25T01:10:00Z", 1);
        assert_eq!(later, ["2026-10-26T02:30:00 +01"]);
        let often = times("*/30 * * * *", "Europe/Paris", "2026-10-25T01:10:00Z", 2);
        assert_eq!(often, ["2026-10-25T03:00:00 +01", "2026-10-25T03:30:00 +01"]);
    }
}
