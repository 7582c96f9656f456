//! The time of day, set forward and back by hours under a sidecar that runs.

use std::{fs, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use leasehold_tests::{
    daemon::{self, Daemon},
    rotations::rotate,
    site::Site,
    wait::until,
};
use tokio::time::{Instant, sleep};

use crate::{
    away::{LEAST, VALUE, broker, standing, stands},
    endpoint::get,
    kit::{Sidecar, check, live, path},
};

const HOURS: i64 = 3 * 3_600_000;
const FILES: &str = "[files]\ndir = \"files\"\nexpired = \"remove\"\n\n[[file]]\nname = \"db\"\nsecret = \"db\"\n\n\
                     [cache]\nfile = \"run/cache\"\n";

/// The sidecar by a clock that [`set`] sets.
fn start(site: &Site) -> Sidecar {
    Sidecar::configure(site, &format!("{LEAST}{FILES}"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_leasehold-sidecar-with-clock"));
    program
        .args(["run", "--config"])
        .arg(site.path("sidecar.toml"))
        .env("LEASEHOLD_CLOCK", site.path("clock"));
    Sidecar::spawn(site, program)
}

/// Sets the sidecar's time of day so far ahead of the machine's.
fn set(site: &Site, millis: i64) {
    site.write("clock.next", &millis.to_string());
    fs::rename(site.path("clock.next"), site.path("clock")).unwrap();
}

/// When the lease ends, as the broker has it.
fn end(site: &Site) -> String {
    get(&site.path("run/s.sock"), "/v1/secrets/db").unwrap().json()["expires_at"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_of_day_that_jumps_ends_nothing_and_keeps_nothing_alive() {
    let (site, daemon) = broker("4s").await;
    let mut sidecar = start(&site);
    stands(&site, &sidecar, 200, "fresh").await;
    until("it is ready", async || check(&site).0 == 0).await;
    let operator = daemon::operator(&site).await.operator();
    for ahead in [HOURS, -HOURS, 0] {
        set(&site, ahead);
        let before = end(&site);
        // For longer than the lease: it is renewed all along, and nobody sees it end.
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(5) {
            let (code, report) = check(&site);
            assert_eq!((code, &report["degraded"]), (0, &false.into()), "{ahead}: {report}");
            assert_eq!(standing(&site.path("run/s.sock")), Some((200, "fresh".to_owned())), "{ahead}");
            sleep(Duration::from_millis(50)).await;
        }
        assert_ne!(end(&site), before, "{ahead}: it was renewed");
        assert_eq!(live(&site).await.len(), 1, "{ahead}: it is one lease");
        assert_eq!(fs::read_to_string(site.path("files/db")).unwrap(), VALUE);
    }
    set(&site, HOURS);
    rotate(&operator, &path("db")).await;
    assert_ne!(fs::read_to_string(site.path("files/db")).unwrap(), VALUE, "rotations are followed");
    daemon::put(&site, "prod/payments/db", VALUE).await;
    until("the file follows", async || {
        fs::read_to_string(site.path("files/db")).is_ok_and(|value| value == VALUE)
    })
    .await;

    // Without the broker it ends at its time, wherever the time of day stands.
    set(&site, -HOURS);
    daemon.kill();
    let killed = Instant::now();
    stands(&site, &sidecar, 503, "LEASE_ENDED").await;
    assert!(killed.elapsed() < Duration::from_secs(8), "a lease of 4s is kept for {:?}", killed.elapsed());
    until("the file is removed", async || !site.path("files/db").exists()).await;
    assert!(sidecar.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_is_good_until_its_leases_end_and_not_after_wherever_the_time_of_day_stands() {
    // Each takes as long as its lease, so beside each other.
    tokio::join!(kept(0, HOURS), kept(0, -HOURS), kept(-HOURS, -HOURS), kept(-HOURS, 0), kept(HOURS, -HOURS));
}

/// A cache that is made at one time of day, and used by a sidecar whose time is set to another.
async fn kept(at_start: i64, later: i64) {
    let (site, daemon) = broker("20s").await;
    set(&site, at_start);
    let mut sidecar = start(&site);
    stands(&site, &sidecar, 200, "fresh").await;
    until("it is kept", async || site.path("run/cache").exists()).await;
    daemon.kill();
    sidecar.kill();
    let since = Instant::now();
    let kept = fs::read(site.path("run/cache")).unwrap();
    // Who starts by the time that the other wrote by has what it kept; what is done to the time then is of no matter.
    sidecar = start(&site);
    stands(&site, &sidecar, 200, "failing").await;
    set(&site, later);
    // For long enough to be noticed.
    sleep(Duration::from_secs(2)).await;
    let still = standing(&site.path("run/s.sock"));
    assert_eq!(still, Some((200, "failing".to_owned())), "{at_start} {later}: after {:?}", since.elapsed());
    stands(&site, &sidecar, 503, "LEASE_ENDED").await;
    assert!(since.elapsed() < Duration::from_secs(30), "{at_start} {later}: {:?}", since.elapsed());
    // Nor does a start at any time bring it back.
    sidecar.kill();
    for ahead in [at_start, later, 10 * HOURS, -10 * HOURS] {
        set(&site, ahead);
        fs::write(site.path("run/cache"), &kept).unwrap();
        fs::set_permissions(site.path("run/cache"), PermissionsExt::from_mode(0o600)).unwrap();
        sidecar = start(&site);
        stands(&site, &sidecar, 503, "NOT_LEASED").await;
        sidecar.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_whose_clock_is_hours_off_from_the_start_serves_all_the_same() {
    for ahead in [HOURS, -HOURS] {
        let (site, daemon): (Site, Daemon) = broker("10m").await;
        set(&site, ahead);
        let mut sidecar = start(&site);
        stands(&site, &sidecar, 200, "fresh").await;
        until("it is ready", async || check(&site).0 == 0).await;
        assert!(sidecar.stop().await.success());
        daemon.stop().await;
    }
}
