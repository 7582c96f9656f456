//! The keys of a schedule.

use std::time::Duration;

use leasehold_core::{
    Timestamp,
    rotation::{Blackout, Cron, Rhythm, Schedule, time_zone},
};

use super::Told;
use crate::config::{element::Element, section::Section};

pub(super) const SHORTEST: Duration = Duration::from_secs(1);
pub(super) const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// The schedule; none without `every` and `cron`.
pub(super) fn read(section: &Section<'_>) -> Result<Option<Schedule>, Told> {
    let every = section.bounded("every", SHORTEST..=LONGEST);
    let cron = section.take::<Cron>("cron");
    let window = section.bounded("window", SHORTEST..=LONGEST);
    let jitter = section.bounded("jitter", Duration::ZERO..=LONGEST);
    let not_during = section.take::<Vec<Blackout>>("not_during");
    let zone = section.take::<String>("time_zone");
    section.otherwise("jitter", &Duration::ZERO);
    section.otherwise("time_zone", &"UTC".to_owned());
    // What is there and was not taken has been told.
    let faulty = [
        ("every", every.is_some()),
        ("cron", cron.is_some()),
        ("window", window.is_some()),
        ("jitter", jitter.is_some()),
        ("not_during", not_during.is_some()),
        ("time_zone", zone.is_some()),
    ];
    let mut good = faulty.iter().all(|(key, taken)| *taken || !section.has(key));
    let mut fault = |found, message: String, help: &str| {
        section.fault(found, message, help);
        good = false;
    };
    if let (Some(_), Some(cron)) = (&every, &cron) {
        fault(cron.place.clone(), "`every` and `cron` exclude each other".to_owned(), "keep one of them");
    }
    if let (Some(window), None) = (&window, &cron)
        && !section.has("cron")
    {
        let help = "write `cron`, whose times it follows; with `every`, use `not_during`";
        fault(window.place.clone(), "`window` without `cron`".to_owned(), help);
    }
    if !section.has("every") && !section.has("cron") {
        for (key, place) in [
            ("jitter", jitter.as_ref().map(|found| &found.place)),
            ("not_during", not_during.as_ref().map(|found| &found.place)),
            ("time_zone", zone.as_ref().map(|found| &found.place)),
        ] {
            if let Some(place) = place {
                fault(place.clone(), format!("`{key}` without `every` or `cron`"), "nothing is scheduled");
            }
        }
    }
    if let (Some(jitter), Some(window)) = (&jitter, &window)
        && jitter.value >= window.value
    {
        let message = format!("`jitter` is as long as the window of {}, or longer", window.value.show());
        fault(jitter.place.clone(), message, "write one that leaves some of it");
    }
    let zone = zone.map(|found| (time_zone(&found.value), found));
    if let Some((Err(why), found)) = &zone {
        fault(found.place.clone(), format!("there is no time zone `{}`", found.value), &why.to_string());
    }
    if !good {
        return Err(Told);
    }
    let rhythm = match (every, cron) {
        (Some(every), _) => Rhythm::Every(every.value),
        (None, Some(cron)) => Rhythm::Cron { cron: cron.value, window: window.map(|window| window.value) },
        (None, None) => return Ok(None),
    };
    let mut schedule = Schedule::of(rhythm);
    if let Some((Ok(zone), _)) = zone {
        schedule.time_zone = zone;
    }
    schedule.jitter = jitter.map_or(Duration::ZERO, |jitter| jitter.value);
    let blackouts = not_during.map(|found| (found.value, found.place));
    if let Some((blackouts, place)) = blackouts {
        schedule.not_during = blackouts;
        // Once is over some day: whatever is said against a schedule by weeks and days holds at any time.
        if !schedule.is_possible(Timestamp::UNIX_EPOCH) {
            section.fault(
                place,
                "`not_during` leaves no time in which it could be rotated",
                "shorten it, or choose other times",
            );
            return Err(Told);
        }
    }
    Ok(Some(schedule))
}
