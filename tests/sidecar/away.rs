//! A broker that is away: for longer than a lease, and while the sidecar is started anew, with a cache and without.

use std::{os::unix::fs::PermissionsExt, path::Path};

use leasehold_tests::{
    daemon::{self, Daemon},
    site::Site,
    wait::until,
};

use crate::{
    endpoint::get,
    kit::{Sidecar, check, folder, live, site},
};

pub(crate) const VALUE: &str = "canary-of-the-one-away-7f31";
/// What every sidecar here has.
pub(crate) const LEAST: &str = "[[secret]]\nname = \"db\"\npath = \"prod/payments/db\"\n\n\
                     [endpoint]\nsocket = \"run/s.sock\"\n\n[health]\nsocket = \"run/h.sock\"\n\n";

/// How the endpoint says that the secret stands, with its status.
pub(crate) fn standing(socket: &Path) -> Option<(u16, String)> {
    let answer = get(socket, "/v1/secrets/db")?;
    let body = answer.json();
    let word = body["standing"].as_str().or(body["reason"].as_str()).unwrap().to_owned();
    assert_eq!(String::from_utf8_lossy(&answer.body).contains(VALUE), answer.status == 200, "{body}");
    Some((answer.status, word))
}

pub(crate) async fn stands(site: &Site, sidecar: &Sidecar, status: u16, word: &str) {
    let socket = site.path("run/s.sock");
    let what = format!("it answers {status} {word}; its log:\n{}", sidecar.log());
    until(&what, async || standing(&socket) == Some((status, word.to_owned()))).await;
}

/// A broker with the secret, leased for `ttl`.
pub(crate) async fn broker(ttl: &str) -> (Site, Daemon) {
    let site = site(&["db"], ttl);
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", VALUE).await;
    folder(&site, "run");
    (site, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_gone_for_longer_than_a_lease_is_told_and_made_up_for() {
    let (site, daemon) = broker("4s").await;
    let files = |what: &str| {
        format!(
            "{LEAST}[files]\ndir = \"files\"\nexpired = \"{what}\"\n\n[[file]]\nname = \"password\"\nsecret = \"db\"\n\
             field = \"value\"\n"
        )
    };
    let mut sidecar = Sidecar::start(&site, &files("remove"));
    let file = site.path("files/password");
    stands(&site, &sidecar, 200, "fresh").await;
    until("it is ready", async || check(&site).0 == 0).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), VALUE);

    daemon.kill();
    // Within the lease everything stays as it is, and is said to be in danger.
    stands(&site, &sidecar, 200, "failing").await;
    assert!(file.exists());
    let (code, report) = check(&site);
    assert_eq!((code, &report["ready"], &report["degraded"]), (0, &true.into(), &true.into()), "{report}");
    // After its end nothing is handed out, and the file goes as the configuration says.
    stands(&site, &sidecar, 503, "LEASE_ENDED").await;
    until("the file is removed", async || !file.exists()).await;
    let (code, report) = check(&site);
    assert_eq!((code, report["secrets"][0]["standing"].as_str()), (4, Some("expired")), "{report}");
    sidecar.says("its lease has ended").await;

    let daemon = Daemon::start(&site).await;
    stands(&site, &sidecar, 200, "fresh").await;
    until("the file is back", async || std::fs::read_to_string(&file).is_ok_and(|text| text == VALUE)).await;
    until("it is ready", async || check(&site).0 == 0).await;

    // The other way: the file stays, and everything else is the same.
    assert!(sidecar.stop().await.success());
    sidecar = Sidecar::start(&site, &files("keep"));
    stands(&site, &sidecar, 200, "fresh").await;
    until("it is ready", async || check(&site).0 == 0).await;
    daemon.kill();
    stands(&site, &sidecar, 503, "LEASE_ENDED").await;
    assert_eq!(check(&site).0, 4);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), VALUE);
    assert!(!sidecar.log().contains("canary"), "{}", sidecar.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_carries_a_restart_without_the_broker_and_nothing_else_does() {
    let (site, daemon) = broker("10m").await;
    let cached = format!("{LEAST}[cache]\nfile = \"run/cache\"\n");
    let mut sidecar = Sidecar::start(&site, &cached);
    stands(&site, &sidecar, 200, "fresh").await;
    let cache = site.path("run/cache");
    until("it is kept", async || cache.exists()).await;
    let sealed = std::fs::read(&cache).unwrap();
    assert!(!sealed.windows(6).any(|bytes| bytes == b"canary"), "the cache is in clear");

    // Both die; the sidecar alone comes back.
    daemon.kill();
    sidecar.kill();
    sidecar = Sidecar::start(&site, &cached);
    stands(&site, &sidecar, 200, "failing").await;
    let (code, report) = check(&site);
    assert_eq!((code, &report["degraded"]), (0, &true.into()), "{report}");

    // The broker is back: a lease of its own takes the kept one's place, and that is given back.
    let daemon = Daemon::start(&site).await;
    stands(&site, &sidecar, 200, "fresh").await;
    until("the kept lease is given back", async || live(&site).await.len() == 1).await;

    // Another private key opens nothing, which is said; and without a cache there is nothing at all.
    daemon.kill();
    sidecar.kill();
    site.install("workload", &site.identity(leasehold_tests::site::WORKLOAD));
    sidecar = Sidecar::start(&site, &cached);
    sidecar.says("the cache does not open").await;
    stands(&site, &sidecar, 503, "NOT_LEASED").await;
    assert_eq!(check(&site).0, 4);
    sidecar.kill();
    sidecar = Sidecar::start(&site, LEAST);
    stands(&site, &sidecar, 503, "NOT_LEASED").await;
    // It goes on trying, and needs nobody to start it again.
    let _daemon = Daemon::start(&site).await;
    stands(&site, &sidecar, 200, "fresh").await;
    assert!(!sidecar.log().contains("canary"), "{}", sidecar.log());

    // Switched off, nothing of it stays.
    assert!(sidecar.stop().await.success());
    let off = cached.replace("[cache]\n", "[cache]\nenabled = false\n");
    let _sidecar = Sidecar::start(&site, &off);
    until("the cache is removed", async || !cache.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_does_not_outlive_its_leases() {
    let (site, daemon) = broker("5s").await;
    let cached = format!("{LEAST}[cache]\nfile = \"run/cache\"\n");
    let mut sidecar = Sidecar::start(&site, &cached);
    stands(&site, &sidecar, 200, "fresh").await;
    until("it is kept", async || site.path("run/cache").exists()).await;
    daemon.kill();
    sidecar.kill();
    let kept = std::fs::read(site.path("run/cache")).unwrap();
    sidecar = Sidecar::start(&site, &cached);
    stands(&site, &sidecar, 200, "failing").await;
    // It ends on time while it is used, and is no longer there for the next start, nor is a copy of it any use.
    stands(&site, &sidecar, 503, "LEASE_ENDED").await;
    sidecar.kill();
    std::fs::write(site.path("run/cache"), kept).unwrap();
    std::fs::set_permissions(site.path("run/cache"), std::fs::Permissions::from_mode(0o600)).unwrap();
    sidecar = Sidecar::start(&site, &cached);
    sidecar.says("the lease that was kept has ended").await;
    stands(&site, &sidecar, 503, "NOT_LEASED").await;
}
