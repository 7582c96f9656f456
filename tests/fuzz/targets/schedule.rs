//! Schedules: cron patterns and blackouts as the configuration has them, and whole schedules as they are stored. From any
//! moment on there is a next one that is later, or none, and it is found at once.

#![no_main]

use jiff::{Timestamp, tz::TimeZone};
use leasehold_core::rotation::{Blackout, Cron, Schedule};
use libfuzzer_sys::{Corpus, fuzz_target};

/// Paris, 1996 on, as POSIX has it: both changes of the clock, without the system's database.
const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
/// Moments about changes of the clock there, and the first one that computers know.
const MOMENTS: [i64; 4] = [0, 1_774_746_000, 1_774_746_001, 1_793_494_800];

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(data) else { return Corpus::Reject };
    let zones = [TimeZone::UTC, TimeZone::posix(ZONE).expect("a zone")];
    let mut moments = MOMENTS.map(|second| Timestamp::from_second(second).expect("a moment")).to_vec();
    moments.extend([Timestamp::MIN, Timestamp::MAX]);
    for line in text.lines().take(8) {
        if let Ok(cron) = line.parse::<Cron>() {
            for (zone, from) in both(&zones, &moments) {
                let mut time = from;
                for _ in 0..3 {
                    let Some(next) = cron.next(time, zone) else { break };
                    assert!(next > time, "{cron}: {next} does not follow {time}");
                    time = next;
                }
            }
        }
        if let Ok(blackout) = line.parse::<Blackout>() {
            assert_eq!(blackout.as_str(), line.trim());
            for (zone, time) in both(&zones, &moments) {
                if let Some(end) = blackout.end(time, zone) {
                    assert!(end > time, "{line}: {end} does not follow {time}");
                }
            }
        }
    }
    if let Ok(schedule) = serde_json::from_str::<Schedule>(text) {
        for (made_at, now) in both(&moments, &moments) {
            if let Some(opening) = schedule.opening(*made_at, 0x9e37_79b9_7f4a_7c15, now) {
                assert!(opening.until.is_none_or(|until| until > opening.from), "{schedule}: no time at all");
                assert!(opening.until.is_none_or(|until| until > now), "{schedule}: it is over already");
            }
        }
        let stored = serde_json::to_string(&schedule).expect("what was read can be written");
        let again: Schedule = serde_json::from_str(&stored).expect("what was written can be read");
        assert_eq!(serde_json::to_string(&again).ok(), Some(stored));
        assert!(!schedule.to_string().is_empty());
    }
    Corpus::Keep
});

fn both<'a, A>(one: &'a [A], other: &'a [Timestamp]) -> impl Iterator<Item = (&'a A, Timestamp)> {
    one.iter().flat_map(|one| other.iter().map(move |other| (one, *other)))
}
