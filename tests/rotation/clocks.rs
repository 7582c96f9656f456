//! Schedules whose clock is set, whose time zone is changed, and whose back end is away when it is time.

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use leasehold_client::proto;
use leasehold_core::record::Kind;
use leasehold_provider_conformance::{
    peers::{Bao, or_skip},
    proxy::{Fault, FaultProxy, Injection},
};
use leasehold_tests::{
    daemon,
    rotations::{self, is_idle},
    site::SECRET,
    wait::until,
};
use serde_json::json;

use crate::kit::{Clocked, count, local, machine_time, moment, operator, path, rotation};

const HOUR: i64 = 3600;

/// When it is rotated next, once that is known and nobody looks at it just now.
async fn next(clocked: &Clocked) -> Timestamp {
    let mut next = None;
    until("it has a next time", async || {
        next = moment(rotation(&clocked.site).await.next_time);
        next.is_some_and(|next| next > clocked.now() + 60.seconds())
    })
    .await;
    next.unwrap()
}

/// Waits until so many rotations have come to their ends.
async fn retired(clocked: &Clocked, serial: i64) -> proto::Rotation {
    let is = |rotation: &proto::Rotation| rotation.serial >= serial && is_idle(rotation);
    let rotation = rotations::when(&operator(&clocked.site).await, &path(), is).await;
    assert_eq!(rotation.serial, serial, "{rotation:?}");
    assert_eq!(rotation.last.as_ref().unwrap().outcome(), proto::RotationOutcome::Retired, "{rotation:?}");
    rotation
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_rotates_nothing_too_early_too_late_or_twice() {
    let mut clocked = Clocked::new(&local("every = \"1h\", drain_deadline = \"1s\""));
    let mut broker = clocked.start().await;
    daemon::put(&clocked.site, SECRET, "one").await;
    let first = next(&clocked).await;

    // What would begin too early begins when the timetable is made; and a clock set back brings nothing back either.
    for ahead in [2 * HOUR, -2 * HOUR] {
        clocked.set(ahead);
        broker.kill();
        broker = clocked.start().await;
        assert_eq!(next(&clocked).await, first, "by {ahead} seconds");
        assert_eq!(rotation(&clocked.site).await.serial, 0, "by {ahead} seconds");
    }
    // The time of day says that there is an hour to go, and there is none.
    clocked.sleep(HOUR + 60);
    retired(&clocked, 1).await;

    let second = next(&clocked).await;
    assert!(second > first + HOUR.seconds(), "{second} after {first}");
    for ahead in [0, 2 * HOUR, 0] {
        clocked.set(ahead);
        broker.kill();
        broker = clocked.start().await;
        assert_eq!((next(&clocked).await, rotation(&clocked.site).await.serial), (second, 1));
    }
    // A week off is made up for by one rotation.
    assert!(broker.stop().await.success());
    clocked.sleep(7 * 24 * HOUR);
    let broker = clocked.start().await;
    retired(&clocked, 2).await;
    assert!(next(&clocked).await > second + (7 * 24 * HOUR).seconds());
    assert_eq!(count(&clocked.site, Kind::RotationStarted), 2);
    assert!(broker.stop().await.success());
}

/// The first time after this one that is this hour in that zone.
fn first_after(time: Timestamp, hour: i8, zone: &str) -> Timestamp {
    let zone = TimeZone::get(zone).unwrap();
    let mut day = time.to_zoned(zone.clone()).date();
    loop {
        let at = day.at(hour, 0, 0, 0).to_zoned(zone.clone()).unwrap().timestamp();
        if at > time {
            return at;
        }
        day = day.tomorrow().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_time_zone_moves_what_is_to_come_and_rotates_nothing_twice() {
    const TOKYO: &str = "Asia/Tokyo";
    // In two to three hours by UTC, and so in seventeen to eighteen in Tokyo.
    let hour = (machine_time().to_zoned(TimeZone::UTC).hour() + 3) % 24;
    let configured = |zone: &str| {
        local(&format!("cron = \"0 {hour} * * *\", time_zone = \"{zone}\", drain_deadline = \"1s\""))
    };
    let mut clocked = Clocked::new(&configured(TOKYO));
    let broker = clocked.start().await;
    let toml = std::fs::read_to_string(clocked.site.path("leasehold.toml")).unwrap();
    daemon::put(&clocked.site, SECRET, "one").await;
    next(&clocked).await;
    let made_at = moment(rotation(&clocked.site).await.current_version_time).unwrap();
    let comes = async |clocked: &Clocked, time: Timestamp| {
        until(&format!("its next time is {time}"), async || next(clocked).await == time).await;
    };
    comes(&clocked, first_after(made_at, hour, TOKYO)).await;
    for zone in ["UTC", TOKYO] {
        clocked.site.write("leasehold.toml", &toml.replace(TOKYO, zone));
        assert_eq!(broker.reload(&clocked.site).await.rejection, "");
        comes(&clocked, first_after(made_at, hour, zone)).await;
    }
    // By UTC its time is over, and by Tokyo's it has not come.
    clocked.sleep_until(first_after(made_at, hour, "UTC") + HOUR.seconds());
    comes(&clocked, first_after(made_at, hour, TOKYO)).await;
    assert_eq!(rotation(&clocked.site).await.serial, 0);
    clocked.site.write("leasehold.toml", &toml.replace(TOKYO, "UTC"));
    assert_eq!(broker.reload(&clocked.site).await.rejection, "");
    let made_at = moment(retired(&clocked, 1).await.current_version_time).unwrap();
    for zone in [TOKYO, "UTC"] {
        clocked.site.write("leasehold.toml", &toml.replace(TOKYO, zone));
        assert_eq!(broker.reload(&clocked.site).await.rejection, "");
        comes(&clocked, first_after(made_at, hour, zone)).await;
    }
    assert_eq!(count(&clocked.site, Kind::RotationStarted), 1);
    assert!(broker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_that_is_away_for_a_whole_window_is_rotated_in_the_next_one() {
    let Some(bao) = or_skip(Bao::start().await).unwrap() else { return };
    bao.mount_kv("kv", 2).await.unwrap();
    let data = json!({ "data": { "value": "one" } });
    bao.ask("POST", "kv/data/payments", Some(&data)).await.unwrap();
    let proxy = FaultProxy::start(bao.address()).await.unwrap();
    let opens = machine_time().to_zoned(TimeZone::UTC) + (2 * HOUR).seconds();
    let (hour, minute) = (opens.hour(), opens.minute());
    let opens = opens.date().at(hour, minute, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
    let mut clocked = Clocked::new(&format!(
        "[rotation]\ncatch_up = \"0s\"\n\n\
         [[provider]]\nname = \"bao\"\nkind = \"vault\"\naddress = \"{}\"\nauth = \"token\"\ntoken_file = \"bao-token\"\n\
         writable = true\nconnect_timeout = \"2s\"\nattempt_timeout = \"2s\"\ntimeout = \"4s\"\n\n\
         [[secret]]\npath = \"{SECRET}\"\nprovider = \"bao\"\nref = \"kv/data/payments\"\nttl = \"30m\"\nmax_ttl = \"2h\"\n\
         rotation = {{ strategy = \"generate\", cron = \"{minute} {hour} * * *\", window = \"1h\", drain_deadline = \"1s\" }}\n",
        proxy.url()
    ));
    clocked.site.write("bao-token", bao.token());
    let broker = clocked.start().await;
    assert_eq!(next(&clocked).await, opens);

    proxy.inject(Injection::of(Fault::CutBefore));
    proxy.cut_connections();
    clocked.sleep_until(opens + 60.seconds());
    until("it is late, and says why", async || !rotation(&clocked.site).await.late_reason.is_empty()).await;
    let late = rotation(&clocked.site).await;
    assert!(late.late_reason.contains("Vault"), "{late:?}");
    assert!(
        moment(late.next_time).unwrap() < opens + HOUR.seconds(),
        "it is tried again in its window: {late:?}"
    );

    clocked.sleep_until(opens + (HOUR + 60).seconds());
    let tomorrow = opens + (24 * HOUR).seconds();
    until("it waits for its next window", async || next(&clocked).await == tomorrow).await;
    let missed = rotation(&clocked.site).await;
    assert!(!missed.late_reason.is_empty() && missed.serial == 0, "{missed:?}");
    // It is there again, and nothing happens outside the window.
    proxy.heal();
    clocked.sleep(HOUR);
    let broker = {
        broker.kill();
        clocked.start().await
    };
    assert_eq!((next(&clocked).await, rotation(&clocked.site).await.serial), (tomorrow, 0));

    clocked.sleep_until(tomorrow + 60.seconds());
    let rotated = retired(&clocked, 1).await;
    assert_eq!(rotated.late_reason, "", "{rotated:?}");
    assert_eq!(next(&clocked).await, tomorrow + (24 * HOUR).seconds());
    assert_eq!(count(&clocked.site, Kind::RotationStarted), 1);
    assert!(broker.stop().await.success());
}
