//! How much happens: counted from audit records by the second, and from the broker's counters by their differences.

use std::collections::BTreeMap;

use leasehold_core::Timestamp;

use super::news::{Outcome, Record};

/// What happened of late.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    seconds: BTreeMap<i64, Counts>,
}

/// How much of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) all: u32,
    pub(super) issued: u32,
    pub(super) renewed: u32,
    pub(super) ended: u32,
    pub(super) rotated: u32,
    pub(super) denied: u32,
    pub(super) failed: u32,
}

/// A counter that only grows, as long as the broker lives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counter {
    last: Option<(Timestamp, i64)>,
    rate: Option<f64>,
}

/// Rates are those of the last minute.
pub(super) const WINDOW: i64 = 60;

impl Rates {
    /// Counts a record.
    pub(super) fn count(&mut self, record: &Record) {
        let second = record.time.as_second();
        let counts = self.seconds.entry(second).or_default();
        let add = |count: &mut u32| *count = count.saturating_add(1);
        add(&mut counts.all);
        match record.outcome {
            Outcome::Denied => add(&mut counts.denied),
            Outcome::Failed => add(&mut counts.failed),
            Outcome::Ok => match record.kind.as_str() {
                "lease.issued" => add(&mut counts.issued),
                "lease.renewed" | "lease.moved" => add(&mut counts.renewed),
                "lease.revoked" | "lease.expired" | "lease.forgotten" => add(&mut counts.ended),
                "rotation.promoted" => add(&mut counts.rotated),
                _ => {}
            },
        }
        let newest = self.seconds.last_key_value().map_or(second, |(second, _)| *second);
        // What is older than twice the window is in none of them.
        self.seconds = self.seconds.split_off(&newest.saturating_sub(WINDOW.saturating_mul(2)));
    }

    /// The last minute's counts.
    pub(super) fn minute(&self, now: Timestamp) -> Counts {
        let from = now.as_second().saturating_sub(WINDOW);
        self.seconds
            .range(from.saturating_add(1)..)
            .fold(Counts::default(), |sum, (_, counts)| sum.and(*counts))
    }

    /// How many records there were in each of `count` equal parts of the last minute, the oldest first.
    pub(super) fn course(&self, now: Timestamp, count: usize) -> Vec<u32> {
        let mut course = vec![0_u32; count];
        let (end, parts) = (now.as_second(), i64::try_from(count).unwrap_or(WINDOW));
        for (second, counts) in self.seconds.range(end.saturating_sub(WINDOW).saturating_add(1)..=end) {
            let age = end.saturating_sub(*second);
            let back = age.saturating_mul(parts).checked_div(WINDOW).unwrap_or_default();
            let place = parts.saturating_sub(1).saturating_sub(back);
            if let Some(part) = usize::try_from(place).ok().and_then(|place| course.get_mut(place)) {
                *part = part.saturating_add(counts.all);
            }
        }
        course
    }
}

impl Counts {
    fn and(self, other: Self) -> Self {
        Self {
            all: self.all.saturating_add(other.all),
            issued: self.issued.saturating_add(other.issued),
            renewed: self.renewed.saturating_add(other.renewed),
            ended: self.ended.saturating_add(other.ended),
            rotated: self.rotated.saturating_add(other.rotated),
            denied: self.denied.saturating_add(other.denied),
            failed: self.failed.saturating_add(other.failed),
        }
    }

    /// How many of a hundred did not end well; none when there was nothing.
    pub(super) fn errors(self) -> Option<f64> {
        let bad = f64::from(self.denied.saturating_add(self.failed));
        (self.all > 0).then(|| bad * 100.0 / f64::from(self.all))
    }
}

impl Counter {
    /// Takes its new reading.
    pub(super) fn read(&mut self, at: Timestamp, count: i64) {
        self.rate = self.last.and_then(|(before, last)| {
            let span = at.duration_since(before).as_secs_f64();
            let grown = count.checked_sub(last).filter(|grown| *grown >= 0)?;
            let grown = f64::from(u32::try_from(grown).unwrap_or(u32::MAX));
            (span > 0.0).then(|| grown / span)
        });
        self.last = Some((at, count));
    }

    /// By how much it grows in a second; unknown after the first reading, and after the broker began anew.
    pub(super) const fn rate(&self) -> Option<f64> {
        self.rate
    }
}

/// A rate, in as many digits as one can read at a glance.
pub(super) fn shown(rate: f64) -> String {
    match rate {
        rate if rate >= 99.5 => format!("{rate:.0}"),
        rate if rate >= 9.95 || rate == 0.0 => format!("{rate:.1}").trim_end_matches(".0").to_owned(),
        rate => format!("{rate:.2}"),
    }
}

/// The counts as a line of bars.
pub(super) fn bars(course: &[u32]) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = course.iter().copied().max().unwrap_or_default().max(1);
    let bar = |count: u32| {
        // Whatever is not nothing is seen.
        let level = u64::from(count).saturating_mul(8).div_ceil(u64::from(most));
        usize::try_from(level).ok().and_then(|level| BARS.get(level)).copied().unwrap_or(' ')
    };
    course.iter().map(|count| bar(*count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn record(second: i64, kind: &str, outcome: Outcome) -> Record {
        Record {
            sequence: second,
            time: at(second),
            kind: kind.into(),
            outcome,
            secret: String::new(),
            actor: String::new(),
            words: String::new(),
        }
    }

    #[test]
    fn the_last_minute_is_what_counts() {
        let mut rates = Rates::default();
        for second in 0..120 {
            rates.count(&record(second, "lease.issued", Outcome::Ok));
        }
        rates.count(&record(119, "lease.issued", Outcome::Denied));
        rates.count(&record(119, "rotation.failed", Outcome::Failed));
        rates.count(&record(119, "lease.expired", Outcome::Ok));
        let minute = rates.minute(at(119));
        assert_eq!((minute.issued, minute.denied, minute.failed, minute.ended), (60, 1, 1, 1));
        assert_eq!(minute.errors().map(|errors| errors.round()), Some(3.0));
        assert_eq!(rates.minute(at(300)), Counts::default());
        assert_eq!(Counts::default().errors(), None);
        rates.count(&record(10_000, "lease.issued", Outcome::Ok));
        assert_eq!(rates.seconds.len(), 1, "nothing is kept that is in no window");
    }

    #[test]
    fn the_course_of_a_minute_has_its_newest_at_the_end() {
        let mut rates = Rates::default();
        for (second, count) in [(41, 1), (59, 1), (60, 3), (100, 2)] {
            for _ in 0..count {
                rates.count(&record(second, "lease.issued", Outcome::Ok));
            }
        }
        assert_eq!(rates.course(at(100), 6), [1, 4, 0, 0, 0, 2]);
        assert_eq!(bars(&rates.course(at(100), 6)), "▂█   ▄");
        assert_eq!(rates.course(at(100), 0), [0; 0]);
    }

    #[test]
    fn a_counter_that_began_anew_has_no_rate() {
        let mut counter = Counter::default();
        counter.read(at(0), 100);
        assert_eq!(counter.rate(), None);
        counter.read(at(2), 103);
        assert_eq!(counter.rate(), Some(1.5));
        counter.read(at(4), 1);
        assert_eq!(counter.rate(), None);
        counter.read(at(4), 5);
        assert_eq!(counter.rate(), None, "no time has gone by");
    }

    #[test]
    fn a_rate_is_read_at_a_glance() {
        let cases = [(0.0, "0"), (0.016_6, "0.02"), (1.25, "1.25"), (12.34, "12.3"), (12_345.6, "12346")];
        for (rate, text) in cases {
            assert_eq!(shown(rate), text);
        }
    }
}
