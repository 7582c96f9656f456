//! Times in which nothing is rotated: `FROM .. TO`, both of one kind.
//!
//! ```text
//! 22:00 .. 06:00                              every day
//! Sat .. Sun            Fri 18:00 .. Mon 06:00        every week
//! 2026-12-20 .. 2027-01-02    2026-12-24 12:00 .. 2026-12-27 08:00    once
//! ```
//!
//! A day without a time of day begins or ends with that day. Where a change of the clock makes a time of day ambiguous, a
//! blackout is rather longer than shorter.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime, Time, Weekday},
    tz::TimeZone,
};
use thiserror::Error;

/// A time in which nothing is rotated, with the text that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blackout {
    text: Box<str>,
    span: Span,
}

/// INVARIANT: nothing here is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Span {
    Daily { from: Time, lasts: Duration },
    Weekly { day: Weekday, from: Time, lasts: Duration },
    Once { from: DateTime, to: DateTime },
}

/// Why a text is no blackout.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidBlackout {
    /// It cannot be read.
    #[error(
        "write `FROM .. TO`, such as `22:00 .. 06:00`, `Fri 18:00 .. Mon 06:00` or `2026-12-20 .. 2027-01-02`"
    )]
    Unreadable,
    /// Its two ends are of different kinds.
    #[error("both ends are times of day, days of the week, or dates")]
    Mixed,
    /// It ends where it begins, or before.
    #[error("it ends where it begins, or before")]
    Empty,
}

/// One end.
#[derive(Clone, Copy)]
enum Point {
    OfDay(Time),
    OfWeek(Weekday, Option<Time>),
    Dated(Date, Option<Time>),
}

const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

impl Blackout {
    /// The text that it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When it is over, if `time` lies in it.
    pub fn end(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = zone.to_datetime(time).date();
        // One that began up to `days` ago may go on.
        let begun = |days: i64, fits: &dyn Fn(Date) -> bool, from: Time, lasts: Duration| {
            let starts = (0..=days).filter_map(|ago| today.checked_sub(ago.days()).ok());
            let spans = starts.filter(|date| fits(*date)).filter_map(|date| {
                let from = date.to_datetime(from);
                Some((from, from.checked_add(SignedDuration::try_from(lasts).ok()?).ok()?))
            });
            spans.filter_map(|span| end_of(span, time, zone)).max()
        };
        match &self.span {
            Span::Daily { from, lasts } => begun(1, &|_| true, *from, *lasts),
            Span::Weekly { day, from, lasts } => begun(7, &|date| date.weekday() == *day, *from, *lasts),
            Span::Once { from, to } => end_of((*from, *to), time, zone),
        }
    }
}

/// When the span is over, if `time` lies in it.
fn end_of((from, to): (DateTime, DateTime), time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let from = zone.to_ambiguous_timestamp(from).earlier().unwrap_or(Timestamp::MIN);
    let to = zone.to_ambiguous_timestamp(to).later().unwrap_or(Timestamp::MAX);
    (from <= time && time < to).then_some(to)
}

impl FromStr for Blackout {
    type Err = InvalidBlackout;

    fn from_str(text: &str) -> Result<Self, InvalidBlackout> {
        let text = text.trim();
        let (from, to) = text.split_once("..").ok_or(InvalidBlackout::Unreadable)?;
        let span = match (point(from)?, point(to)?) {
            (Point::OfDay(from), Point::OfDay(to)) => {
                let lasts = lasting(Duration::ZERO, from, to, DAY).ok_or(InvalidBlackout::Empty)?;
                Span::Daily { from, lasts }
            }
            (Point::OfWeek(day, from), Point::OfWeek(last, to)) => {
                let (days, to) = past(last, to);
                let days = u64::try_from(days.since(jiff::civil::Weekday::Monday)).unwrap_or_default();
                let first = u64::try_from(day.since(jiff::civil::Weekday::Monday)).unwrap_or_default();
                let from = from.unwrap_or(Time::midnight());
                let apart = DAY.saturating_mul(
                    u32::try_from(days.saturating_add(7).saturating_sub(first)).unwrap_or_default(),
                );
                let lasts = lasting(apart, from, to, WEEK).ok_or(InvalidBlackout::Empty)?;
                Span::Weekly { day, from, lasts }
            }
            (Point::Dated(first, from), Point::Dated(last, to)) => {
                let from = first.to_datetime(from.unwrap_or(Time::midnight()));
                let to = match to {
                    Some(to) => last.to_datetime(to),
                    None => last
                        .tomorrow()
                        .map_err(|_| InvalidBlackout::Unreadable)?
                        .to_datetime(Time::midnight()),
                };
                if to <= from {
                    return Err(InvalidBlackout::Empty);
                }
                Span::Once { from, to }
            }
            _ => return Err(InvalidBlackout::Mixed),
        };
        Ok(Self { text: text.into(), span })
    }
}

/// A day of the week ends where the next one begins.
fn past(day: Weekday, time: Option<Time>) -> (Weekday, Time) {
    match time {
        Some(time) => (day, time),
        None => (day.next(), Time::midnight()),
    }
}

/// From one time of day to another so many days later, within `cycle`; `None` when that is nothing at all.
fn lasting(apart: Duration, from: Time, to: Time, cycle: Duration) -> Option<Duration> {
    let of_day = |time: Time| Duration::try_from(time.duration_since(Time::midnight())).unwrap_or_default();
    let whole = apart.saturating_add(cycle).saturating_add(of_day(to)).saturating_sub(of_day(from));
    let seconds = whole.as_secs().checked_rem(cycle.as_secs())?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn point(text: &str) -> Result<Point, InvalidBlackout> {
    let mut words = text.split_whitespace();
    let (first, second, none) = (words.next().unwrap_or_default(), words.next(), words.next());
    if none.is_some() {
        return Err(InvalidBlackout::Unreadable);
    }
    let time = second.map(|text| time_of_day(text).ok_or(InvalidBlackout::Unreadable)).transpose()?;
    if let Some(day) = weekday(first) {
        Ok(Point::OfWeek(day, time))
    } else if let (Some(time), None) = (time_of_day(first), second) {
        Ok(Point::OfDay(time))
    } else {
        first.parse().map(|date| Point::Dated(date, time)).map_err(|_| InvalidBlackout::Unreadable)
    }
}

/// `18:00`.
fn time_of_day(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let good = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        good.then(|| digits.parse().ok()).flatten()
    };
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

/// `Fri`, `friday`.
fn weekday(text: &str) -> Option<Weekday> {
    const DAYS: [(&str, Weekday); 7] = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let text = text.to_ascii_lowercase();
    let found = DAYS.iter().find(|(name, _)| *name == text || name.get(..3) == Some(text.as_str()));
    found.map(|(_, day)| *day)
}

impl fmt::Display for Blackout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

crate::codec::serde_as_text!(Blackout);

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of the blackout at a moment in Paris, as Paris has it.
    fn end(blackout: &str, at: &str) -> Option<String> {
        let (blackout, zone): (Blackout, _) =
            (blackout.parse().unwrap(), TimeZone::get("Europe/Paris").unwrap());
        let at = zone.to_timestamp(at.parse::<DateTime>().unwrap()).unwrap();
        blackout.end(at, &zone).map(|end| zone.to_datetime(end).to_string())
    }

    #[test]
    fn every_kind_begins_and_ends_when_it_says() {
        let cases = [
            ("22:00 .. 06:00", "2026-11-22T21:59:59", None),
            ("22:00 .. 06:00", "2026-11-22T22:00:00", Some("2026-11-23T06:00:00")),
            ("22:00 .. 06:00", "2026-11-23T05:59:59", Some("2026-11-23T06:00:00")),
            ("22:00 .. 06:00", "2026-11-23T06:00:00", None),
            ("09:00 .. 17:00", "2026-11-23T12:00:00", Some("2026-11-23T17:00:00")),
            ("Fri 18:00 .. Mon 06:00", "2026-11-20T17:59:59", None),
            ("Fri 18:00 .. Mon 06:00", "2026-11-20T18:00:00", Some("2026-11-23T06:00:00")),
            ("friday 18:00..MON 06:00", "2026-11-23T05:59:59", Some("2026-11-23T06:00:00")),
            ("Fri 18:00 .. Mon 06:00", "2026-11-23T06:00:00", None),
            ("Sat .. Sun", "2026-11-20T23:59:59", None),
            ("Sat .. Sun", "2026-11-21T00:00:00", Some("2026-11-23T00:00:00")),
            ("Sat .. Sun", "2026-11-23T00:00:00", None),
            ("Wed .. Wed", "2026-11-25T12:00:00", Some("2026-11-26T00:00:00")),
            ("Wed .. Wed", "2026-11-26T00:00:00", None),
            ("Mon 06:00 .. Mon 05:00", "2026-11-23T05:30:00", None),
            ("Mon 06:00 .. Mon 05:00", "2026-11-23T06:00:00", Some("2026-11-30T05:00:00")),
            ("2026-12-20 .. 2027-01-02", "2026-12-19T23:59:59", None),
            ("2026-12-20 .. 2027-01-02", "2026-12-20T00:00:00", Some("2027-01-03T00:00:00")),
            ("2026-12-20 .. 2027-01-02", "2027-01-03T00:00:00", None),
            ("2026-12-24 12:00 .. 2026-12-27 08:00", "2026-12-27T07:59:59", Some("2026-12-27T08:00:00")),
            ("2026-12-25 .. 2026-12-25", "2026-12-25T20:00:00", Some("2026-12-26T00:00:00")),
        ];
        for (blackout, at, expected) in cases {
            assert_eq!(end(blackout, at).as_deref(), expected, "{blackout} at {at}");
        }
    }

    #[test]
    fn a_change_of_the_clock_makes_it_rather_longer() {
        let zone = TimeZone::get("Europe/Paris").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        // 02:30 comes twice: at 00:30 and at 01:30 UTC.
        let until: Blackout = "01:00 .. 02:30".parse().unwrap();
        assert_eq!(until.end(at("2026-10-25T01:29:59Z"), &zone), Some(at("2026-10-25T01:30:00Z")));
        assert_eq!(until.end(at("2026-10-25T01:30:00Z"), &zone), None);
        let from: Blackout = "02:30 .. 05:00".parse().unwrap();
        assert_eq!(from.end(at("2026-10-25T00:30:00Z"), &zone), Some(at("2026-10-25T04:00:00Z")));
        // 02:30 does not come: it would have been 01:30 UTC by the time before, and 00:30 by the time after.
        assert_eq!(until.end(at("2027-03-28T01:29:59Z"), &zone), Some(at("2027-03-28T01:30:00Z")));
        assert_eq!(from.end(at("2027-03-28T00:30:00Z"), &zone), Some(at("2027-03-28T03:00:00Z")));
    }

    #[test]
    fn what_is_no_blackout_is_refused() {
        use InvalidBlackout::*;
        let cases = [
            ("", Unreadable),
            ("Fri 18:00 - Mon 06:00", Unreadable),
            ("Fri .. ", Unreadable),
            ("24:00 .. 06:00", Unreadable),
            ("6:00 .. 07:00", Unreadable),
            ("Fri 18:00 x .. Mon", Unreadable),
            ("2026-02-30 .. 2026-03-01", Unreadable),
            ("Fri .. 06:00", Mixed),
            ("Fri .. 2026-12-20", Mixed),
            ("06:00 .. 06:00", Empty),
            ("Fri 06:00 .. Fri 06:00", Empty),
            ("2027-01-02 .. 2026-12-20", Empty),
            ("2026-12-20 08:00 .. 2026-12-20 08:00", Empty),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Blackout>(), Err(expected), "{text:?}");
        }
    }
}
