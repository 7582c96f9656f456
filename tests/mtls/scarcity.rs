//! What strangers and the greedy cannot do: stall, and take it all.

use std::{sync::Arc, time::Duration};

use leasehold_tests::{
    daemon::Daemon,
    raw::Raw,
    site::{OPERATOR, Plan, STRANGER, Site, WORKLOAD},
    wait::until,
};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// A site with these limits, its daemon, and what a client of a principal is configured with.
async fn start(limits: &str) -> (Site, Daemon) {
    let site = Site::new(Plan { limits: limits.into(), ..Plan::default() });
    let daemon = Daemon::start(&site).await;
    (site, daemon)
}

async fn try_connect(site: &Site, tls: &Arc<ClientConfig>) -> Result<Raw, String> {
    let raw = Raw::open(site.address, tls.clone()).await.map_err(|error| error.to_string())?;
    raw.check().await.map_err(|status| status.to_string())?;
    Ok(raw)
}

/// Connects once there is room again, which the broker notices a little after the client.
async fn connect_in_time(site: &Site, tls: &Arc<ClientConfig>) -> Raw {
    let mut connected = None;
    until("there is room", async || {
        connected = try_connect(site, tls).await.ok();
        connected.is_some()
    })
    .await;
    connected.unwrap()
}

#[tokio::test]
async fn a_client_that_stalls_in_the_handshake_is_cut_and_holds_nobody_up() {
    let (site, daemon) = start("handshake_timeout = \"2s\"\nhandshakes = 8").await;
    let began = Instant::now();
    let mut stalled = Vec::new();
    for n in 0_usize..12 {
        let mut tcp = TcpStream::connect(site.address).await.unwrap();
        // Some say nothing at all, some begin a record (RFC 8446, section 5.1) of 512 bytes and stop.
        tcp.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01][..n % 7]).await.unwrap();
        stalled.push(tcp);
    }
    // One that drips is as bad as one that stalls.
    let mut dripping = TcpStream::connect(site.address).await.unwrap();
    let drip = tokio::spawn(async move {
        let began = Instant::now();
        dripping.write_all(&[0x16, 0x03, 0x01, 0x40, 0x00]).await.unwrap();
        while dripping.write_all(&[0]).await.is_ok() {
            assert!(began.elapsed() < Duration::from_secs(30), "it may drip for ever");
            sleep(Duration::from_millis(100)).await;
        }
    });

    let identity = site.identity(WORKLOAD);
    let served = timeout(Duration::from_secs(30), connect_in_time(&site, &site.tls(Some(&identity)))).await;
    let raw = served.expect("those that stall hold nobody up");
    for mut tcp in stalled {
        let ended = timeout(Duration::from_secs(30), tcp.read(&mut [0; 16])).await;
        assert!(!matches!(ended.expect("it is cut"), Ok(1..)), "no alert was due");
    }
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "an honest client has a second: {:?}",
        began.elapsed()
    );
    drip.await.unwrap();
    raw.check().await.unwrap();
    let log = daemon.log();
    assert!(log.contains("the handshake took longer than 2s"), "{log}");
    assert!(log.contains("cut a stalled handshake"), "{log}");
}

#[tokio::test]
async fn a_principal_has_a_limit_of_its_own() {
    let (site, daemon) = start("connections_per_principal = 3").await;
    let (one, other) = (site.identity(WORKLOAD), site.identity(STRANGER));
    let (one, other) = (site.tls(Some(&one)), site.tls(Some(&other)));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(try_connect(&site, &one).await.unwrap());
    }
    assert!(try_connect(&site, &one).await.is_err(), "a fourth was let in");
    assert!(daemon.log().contains("the principal has as many connections as one may have"));
    try_connect(&site, &other).await.unwrap();
    for raw in &held {
        raw.check().await.unwrap();
    }
    held.pop();
    connect_in_time(&site, &one).await;
}

#[tokio::test]
async fn when_connections_are_scarce_each_principal_has_a_fair_share() {
    let (site, daemon) = start("connections = 16").await;
    let tls = |id| site.tls(Some(&site.identity(id)));
    let (greedy, modest, new) = (tls(WORKLOAD), tls(STRANGER), tls(OPERATOR));
    let mut held = vec![connect_in_time(&site, &modest).await];
    let mut taken = Vec::new();
    while let Ok(raw) = try_connect(&site, &greedy).await {
        taken.push(raw);
        assert!(taken.len() < 16, "it took them all");
    }
    // Seven eighths are whoever's comes first; above that a principal has at most its half.
    assert!(taken.len() >= 12, "it had to give way while there was plenty: {}", taken.len());
    assert!(daemon.log().contains("has its fair share"), "{}", daemon.log());
    while let Ok(raw) = try_connect(&site, &modest).await {
        held.push(raw);
        assert!(held.len() <= 8, "it got more than its share at another's cost");
    }
    // Somebody new gets in although it is full, at the cost of the greedy one's longest idle connection.
    let newcomer = try_connect(&site, &new).await.expect("somebody new gets a connection");
    until("somebody is displaced", async || taken.iter().chain(&held).any(Raw::is_closed)).await;
    assert!(held.iter().all(|raw| !raw.is_closed()), "the modest one had to go");
    for raw in held.iter().chain([&newcomer]) {
        raw.check().await.unwrap();
    }
}
