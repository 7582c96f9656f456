//! Schedules, by examples and by their rules.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const fn hours(n: u64) -> Duration {
    Duration::from_secs(n.saturating_mul(3600))
}

fn weekly(window: Option<Duration>) -> Schedule {
    Schedule::of(Rhythm::Cron { cron: "0 3 * * SUN".parse().unwrap(), window })
}

fn opens(schedule: &Schedule, made_at: &str, now: &str) -> (String, Option<Hindrance>) {
    let opening = schedule.opening(at(made_at), 0, at(now)).unwrap();
    (opening.from.to_string(), opening.waits_for)
}

#[test]
fn what_was_missed_without_a_window_is_made_up_for() {
    let schedule = weekly(None);
    let (from, waits) = opens(&schedule, "2026-11-20T00:00:00Z", "2026-12-30T12:00:00Z");
    assert_eq!((from.as_str(), waits), ("2026-11-22T03:00:00Z", None));
    let every = Schedule::every(hours(24));
    let (from, waits) = opens(&every, "2026-11-20T00:00:00Z", "2026-12-30T12:00:00Z");
    assert_eq!((from.as_str(), waits), ("2026-11-21T00:00:00Z", None));
}

#[test]
fn a_missed_window_waits_for_the_next_one() {
    let schedule = weekly(Some(hours(2)));
    let made = "2026-11-20T00:00:00Z";
    for (now, from, waits) in [
        ("2026-11-21T00:00:00Z", "2026-11-22T03:00:00Z", None),
        ("2026-11-22T04:59:59Z", "2026-11-22T03:00:00Z", None),
        ("2026-11-22T05:00:00Z", "2026-11-29T03:00:00Z", Some(Hindrance::WindowMissed)),
        ("2027-11-22T05:00:00Z", "2027-11-28T03:00:00Z", Some(Hindrance::WindowMissed)),
    ] {
        assert_eq!(opens(&schedule, made, now), (from.to_owned(), waits), "{now}");
    }
    let opening = schedule.opening(at(made), 0, at("2026-11-22T04:00:00Z")).unwrap();
    assert_eq!(opening.until, Some(at("2026-11-22T05:00:00Z")));
    // What was made in a window waits for the one after it.
    let (from, _) = opens(&schedule, "2026-11-22T03:10:00Z", "2026-11-22T03:20:00Z");
    assert_eq!(from, "2026-11-29T03:00:00Z");
}

#[test]
fn blackouts_are_waited_out() {
    let mut schedule = Schedule::every(hours(24));
    schedule.not_during =
        vec!["Fri 18:00 .. Mon 06:00".parse().unwrap(), "2026-11-23 .. 2026-11-24".parse().unwrap()];
    for (made, now, from, waits) in [
        ("2026-11-20T12:00:00Z", "2026-11-21T00:00:00Z", "2026-11-25T00:00:00Z", None),
        ("2026-11-20T12:00:00Z", "2026-11-21T13:00:00Z", "2026-11-25T00:00:00Z", Some(Hindrance::Blackout)),
        ("2026-11-19T12:00:00Z", "2026-11-20T17:00:00Z", "2026-11-20T12:00:00Z", None),
        // It was off all Friday, and must wait for the blackout's end.
        ("2026-11-19T12:00:00Z", "2026-11-20T19:00:00Z", "2026-11-25T00:00:00Z", Some(Hindrance::Blackout)),
    ] {
        assert_eq!(opens(&schedule, made, now), (from.to_owned(), waits), "{made} {now}");
    }
}

#[test]
fn a_blackout_takes_windows_or_parts_of_them() {
    let mut schedule = weekly(Some(hours(2)));
    schedule.not_during = vec![
        "2026-11-22 .. 2026-11-22".parse().unwrap(),
        "2026-11-29 02:00 .. 2026-11-29 04:00".parse().unwrap(),
    ];
    let made = "2026-11-20T00:00:00Z";
    assert_eq!(opens(&schedule, made, "2026-11-21T00:00:00Z").0, "2026-11-29T04:00:00Z");
    let (from, waits) = opens(&schedule, made, "2026-11-22T10:00:00Z");
    assert_eq!((from.as_str(), waits), ("2026-11-29T04:00:00Z", Some(Hindrance::Blackout)));
    schedule.not_during = vec!["Sat .. Sun".parse().unwrap()];
    assert_eq!(schedule.opening(at(made), 0, at(made)), None);
    assert!(!schedule.is_possible(at(made)));
    schedule.rhythm = Rhythm::Every(hours(1));
    assert!(schedule.is_possible(at(made)));
    schedule.not_during = vec!["Mon .. Thu".parse().unwrap(), "Fri .. Sun".parse().unwrap()];
    assert!(!schedule.is_possible(at(made)));
}

#[test]
fn ten_thousand_secrets_are_spread_over_the_jitter() {
    let mut schedule = Schedule::every(hours(1));
    schedule.jitter = Duration::from_secs(100);
    schedule.not_during = vec!["10:00 .. 12:00".parse().unwrap()];
    let mut tenths = [0_u32; 10];
    for n in 0..10_000 {
        let path: SecretPath = format!("prod/app-{n}/key").parse().unwrap();
        // Its time comes in the blackout: they are spread after that.
        let made_at = at("2026-11-22T10:00:00Z");
        let opening = schedule.opening(made_at, spread_of(&path), made_at).unwrap();
        let late = until(at("2026-11-22T12:00:00Z"), opening.from).as_secs_f64();
        assert!((0.0..=100.0).contains(&late), "{late}");
        tenths[(late as usize / 10).min(9)] += 1;
    }
    assert!(tenths.iter().all(|count| (850..1150).contains(count)), "{tenths:?}");
}

#[test]
fn it_is_stored_and_shown_in_the_words_of_the_configuration() {
    let schedule = Schedule {
        rhythm: Rhythm::Cron { cron: "0 3 * * SUN".parse().unwrap(), window: Some(hours(2)) },
        time_zone: TimeZone::get("Europe/Paris").unwrap(),
        jitter: Duration::from_secs(90),
        not_during: vec!["2026-12-20 .. 2027-01-02".parse().unwrap()],
    };
    let stored = serde_json::to_string(&schedule).unwrap();
    assert_eq!(
        stored,
        r#"{"cron":"0 3 * * SUN","window":{"secs":7200,"nanos":0},"time_zone":"Europe/Paris","jitter":{"secs":90,"nanos":0},"not_during":["2026-12-20 .. 2027-01-02"]}"#
    );
    assert_eq!(serde_json::from_str::<Schedule>(&stored).unwrap(), schedule);
    let shown = "cron 0 3 * * SUN, time_zone Europe/Paris, window 2h, jitter 1m30s, not_during 2026-12-20 .. 2027-01-02";
    assert_eq!(schedule.to_string(), shown);
    let plain: Schedule = serde_json::from_str(r#"{"every":{"secs":2592000,"nanos":0}}"#).unwrap();
    assert_eq!((plain.to_string().as_str(), &plain), ("every 30d", &Schedule::every(hours(720))));
    assert!(serde_json::from_str::<Schedule>("{}").is_err());
    let elsewhere = stored.replace("Europe/Paris", "Europe/Atlantis");
    assert_eq!(serde_json::from_str::<Schedule>(&elsewhere).unwrap().rhythm, schedule.rhythm);
}

#[test]
fn time_zones_have_names() {
    assert_eq!(time_zone("UTC"), Ok(TimeZone::UTC));
    assert_eq!(time_zone("Europe/Paris").unwrap().iana_name(), Some("Europe/Paris"));
    assert_eq!(time_zone("Europe/Atlantis"), Err(NoTimeZone::Unknown));
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let rhythm = prop_oneof![
        (1_u64..4_000_000).prop_map(|secs| Rhythm::Every(Duration::from_secs(secs))),
        (
            prop::sample::select(vec![
                "0 3 * * SUN",
                "*/20 * * * *",
                "30 2 * * *",
                "0 0 1 * *",
                "15 1,2 29 2 *"
            ]),
            prop::option::of(600_u64..200_000)
        )
            .prop_map(|(cron, window)| Rhythm::Cron {
                cron: cron.parse().unwrap(),
                window: window.map(Duration::from_secs)
            }),
    ];
    let zone = prop::sample::select(vec!["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe"]);
    let blackouts = prop::sample::subsequence(
        vec![
            "22:00 .. 06:00",
            "Fri 18:00 .. Mon 06:00",
            "2026-12-20 .. 2027-01-02",
            "01:30 .. 02:30",
            "Wed .. Wed",
        ],
        0..=5,
    );
    (rhythm, zone, 0_u64..100_000, blackouts).prop_map(|(rhythm, zone, jitter, blackouts)| Schedule {
        rhythm,
        time_zone: TimeZone::get(zone).unwrap(),
        jitter: Duration::from_secs(jitter),
        not_during: blackouts.into_iter().map(|text| text.parse().unwrap()).collect(),
    })
}

/// Some moment within two years.
fn moments() -> impl Strategy<Value = Timestamp> {
    (1_790_000_000_i64..1_850_000_000).prop_map(|second| Timestamp::from_second(second).unwrap())
}

proptest! {
    #[test]
    fn an_opening_keeps_every_rule(
        schedule in schedules(), made_at in moments(), now in moments(), spread: u64, later in 0_u64..1_000_000,
    ) {
        let Some(opening) = schedule.opening(made_at, spread, now) else { return Ok(()) };
        prop_assert!(opening.from > made_at);
        prop_assert_eq!(schedule.opening(made_at, spread, now), Some(opening));
        let begins = opening.from.max(now);
        prop_assert_eq!(schedule.blackout_at(begins), None);
        prop_assert!(opening.until.is_none_or(|until| begins < until));
        prop_assert!(opening.waits_for.is_none() || opening.from > now);
        // At its own beginning it is open.
        let then = schedule.opening(made_at, spread, begins).unwrap();
        prop_assert!(then.from <= begins, "{:?} {:?}", opening, then);
        // Seen from later, it is never sooner than it could have been.
        let later = after(now, Duration::from_secs(later));
        if let Some(then) = schedule.opening(made_at, spread, later) {
            prop_assert!(then.from.max(later) >= begins, "{:?} {:?}", opening, then);
        }
    }

    #[test]
    fn the_jitter_is_bounded(every in 1_u64..4_000_000, jitter in 0_u64..1_000_000, made_at in moments(), spread: u64) {
        let mut schedule = Schedule::every(Duration::from_secs(every));
        schedule.jitter = Duration::from_secs(jitter);
        let nominal = after(made_at, Duration::from_secs(every));
        let from = schedule.opening(made_at, spread, made_at).unwrap().from;
        prop_assert!(from >= nominal && from <= after(nominal, schedule.jitter));
    }

    #[test]
    fn a_stored_schedule_is_the_same(schedule in schedules()) {
        let stored = serde_json::to_string(&schedule).unwrap();
        prop_assert_eq!(serde_json::from_str::<Schedule>(&stored).unwrap(), schedule);
    }
}

mod whatever_is_written {
    use proptest::prelude::*;

    use super::*;

    fn patterns() -> impl Strategy<Value = String> {
        let part =
            "([0-9*?LW#/,-]{0,6}|[0-9]{1,12}(-[0-9]{1,12})?(/[0-9]{0,12})?|SUN#[0-9]|@[a-z]{0,9}|[A-Z]{3}L?)";
        prop_oneof![any::<String>(), prop::collection::vec(part, 0..8).prop_map(|parts| parts.join(" "))]
    }

    fn blackouts() -> impl Strategy<Value = String> {
        let end = "(([0-9]{2}:[0-9]{2})|(Mon|Sat|sunday|W)( [0-9]{2}:[0-9]{2})?|-?[0-9]{4,6}-[01][0-9]-[0-3][0-9]( [0-2][0-9]:00)?)";
        prop_oneof![any::<String>(), (end, end).prop_map(|(from, to)| format!("{from} .. {to}"))]
    }

    proptest! {
        #[test]
        fn it_is_read_or_refused_and_what_is_read_has_its_times(
            pattern in patterns(),
            blackout in blackouts(),
            (every, window, jitter) in (any::<u64>(), any::<u64>(), any::<u64>()),
            (made_at, now) in (any::<i64>(), any::<i64>()),
            spread: u64,
            zone in prop::sample::select(vec!["UTC", "Europe/Paris", "Australia/Lord_Howe", "Pacific/Apia"]),
        ) {
            let [made_at, now] = [made_at, now].map(|second| {
                Timestamp::from_second(second % 253_402_207_200).unwrap_or(Timestamp::UNIX_EPOCH)
            });
            let mut rhythms = vec![Rhythm::Every(Duration::from_secs(every))];
            if let Ok(cron) = pattern.parse::<Cron>() {
                let window = Duration::from_secs(window % 1_000_000);
                rhythms.push(Rhythm::Cron { cron: cron.clone(), window: Some(window) });
                rhythms.push(Rhythm::Cron { cron, window: None });
            }
            for rhythm in rhythms {
                let schedule = Schedule {
                    jitter: Duration::from_secs(jitter),
                    not_during: blackout.parse().into_iter().collect(),
                    time_zone: time_zone(zone).unwrap_or(jiff::tz::TimeZone::UTC),
                    ..Schedule::of(rhythm)
                };
                if let Some(opening) = schedule.opening(made_at, spread, now) {
                    prop_assert!(opening.until.is_none_or(|until| opening.from < until));
                }
            }
        }
    }
}
