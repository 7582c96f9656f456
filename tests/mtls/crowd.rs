//! Ten thousand idle connections, which is the default limit, and one more.

use std::{fs, sync::Arc};

use leasehold_tests::{
    daemon::Daemon,
    raw::Raw,
    site::{Plan, Site},
    wait::until,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

/// The default limit of the broker.
const LIMIT: usize = 10_000;
/// Who shares them.
const PRINCIPALS: usize = 5;
/// Descriptors that this process and the broker have for other things.
const OTHER_FILES: usize = 400;
/// What one may cost the broker, with TLS and HTTP/2. A debug build measures some 35 KiB.
const MOST_KIB_EACH: f64 = 64.0;

/// Opens the way to as many descriptors as this process may have; the broker inherits that.
fn raise_file_limit() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit may be raised");
    maximum.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

fn resident_kib(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn open(site: &Site, tls: &Arc<rustls::ClientConfig>) -> Result<Raw, String> {
    let raw = Raw::open(site.address, tls.clone()).await.map_err(|error| error.to_string())?;
    raw.check().await.map_err(|status| status.to_string())?;
    Ok(raw)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_at_the_limit() {
    let files = raise_file_limit();
    let limit = LIMIT.min(files.saturating_sub(OTHER_FILES));
    if limit < LIMIT {
        eprintln!("only {files} files may be open here: the limit is tried with {limit} connections");
    }
    let site = Site::new(Plan {
        // Nothing is pinged or ended for being idle while the machine is busy with the others.
        limits: format!("connections = {limit}\nidle_timeout = \"1h\"\nkeepalive_interval = \"1h\""),
        ..Plan::default()
    });
    let daemon = Daemon::start(&site).await;
    let principal = |n: usize| format!("spiffe://example.org/prod/crowd/{n}");
    let tls: Vec<_> = (0..PRINCIPALS).map(|n| site.tls(Some(&site.identity(&principal(n))))).collect();

    // What the first ones cost is what everybody shares: sessions, tables, the allocator's arenas.
    for tls in &tls {
        open(&site, tls).await.unwrap();
    }
    let (before, began) = (resident_kib(daemon.id()), Instant::now());
    let (site, at_a_time) = (Arc::new(site), Arc::new(Semaphore::new(64)));
    let mut opening = JoinSet::new();
    for n in 0..limit {
        let (site, tls) = (site.clone(), tls[n % PRINCIPALS].clone());
        let turn = at_a_time.clone();
        opening.spawn(async move {
            let _turn = turn.acquire_owned().await.unwrap();
            (n, open(&site, &tls).await)
        });
    }
    let mut held: Vec<_> = std::iter::repeat_with(|| None).take(limit).collect();
    while let Some(opened) = opening.join_next().await {
        let (n, raw) = opened.unwrap();
        held[n] = Some(raw.unwrap_or_else(|why| panic!("connection {n}: {why}\n{}", daemon.log())));
    }
    let held: Vec<Raw> = held.into_iter().flatten().collect();
    let each = (resident_kib(daemon.id()) - before) / limit as f64;
    eprintln!(
        "{limit} idle connections: {each:.1} KiB each, opened in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert!(each < MOST_KIB_EACH, "{each:.1} KiB each");
    assert_eq!(held.iter().filter(|raw| raw.is_closed()).count(), 0, "{}", daemon.log());

    // One more of somebody who has a fair share is refused, and says why to operators only.
    assert!(open(&site, &tls[0]).await.is_err(), "connection {} was let in", limit + 1);
    daemon.says("all connections are in use").await;
    assert_eq!(held.iter().filter(|raw| raw.is_closed()).count(), 0);

    // One more of somebody new displaces one.
    let new = site.tls(Some(&site.identity(&principal(PRINCIPALS))));
    let newcomer = open(&site, &new).await.expect("somebody new gets in");
    let closed = || held.iter().filter(|raw| raw.is_closed()).count();
    until("somebody is displaced", async || closed() > 0).await;
    assert_eq!(closed(), 1, "one makes room for one");

    // Those that are there still work.
    newcomer.check().await.unwrap();
    for raw in held.iter().step_by(97).filter(|raw| !raw.is_closed()) {
        raw.check().await.unwrap();
    }

    // What is given back can be had again.
    drop(held);
    until("the room is given back", async || open(&site, &tls[0]).await.is_ok()).await;
    assert!(daemon.stop().await.success());
}
