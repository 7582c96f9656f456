//! What strangers and the greedy cannot do: stall, and take it all.

use std::{sync::Arc, time::Duration};

use leasehold_proto::v1::{ListLeasesRequest, WatchLeasesRequest};
use leasehold_tests::{
    daemon::Daemon,
    raw::{Raw, reason, shake_hands},
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
    daemon.says("the handshake took longer than 2s").await;
    daemon.says("cut a stalled handshake").await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_watching_one_is_not() {
    let (site, _daemon) = start("idle_timeout = \"1s\"").await;
    let tls = site.tls(Some(&site.identity(WORKLOAD)));
    let watching = try_connect(&site, &tls).await.unwrap();
    let watch = watching.leases().watch_leases(WatchLeasesRequest::default()).await.unwrap();
    let began = Instant::now();
    let mut idle = try_connect(&site, &tls).await.unwrap();
    idle.closed().await;
    assert!(began.elapsed() >= Duration::from_secs(1), "too early: {:?}", began.elapsed());
    watching.check().await.expect("whoever watches is not idle");
    drop(watch);
}

#[tokio::test]
async fn a_flood_of_resets_ends_its_connection_and_no_others() {
    let (site, _daemon) = start("").await;
    let tls = site.tls(Some(&site.identity(WORKLOAD)));
    let bystander = try_connect(&site, &tls).await.unwrap();
    let stream = shake_hands(site.address, tls).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    let mut life = tokio::spawn(connection);
    // Each is begun and taken back at once (rapid reset, CVE-2023-44487).
    let mut asked = 0;
    let ended = loop {
        let request = http::Request::post("https://localhost/leasehold.v1.LeaseService/WatchLeases");
        match send.send_request(request.body(()).unwrap(), false) {
            Ok((answer, mut body)) => {
                body.send_reset(h2::Reason::CANCEL);
                drop(answer);
            }
            Err(error) => break Err(error),
        }
        asked += 1;
        assert!(asked < 100_000, "it may go on for ever");
        if life.is_finished() {
            break (&mut life).await.unwrap();
        }
        tokio::task::yield_now().await;
        match send.ready().await {
            Ok(ready) => send = ready,
            Err(error) => break Err(error),
        }
    };
    let error = ended.expect_err("the connection is ended for it");
    // Who is still writing can miss the broker's last word.
    assert!(error.is_io() || error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM), "{error}");
    bystander.check().await.unwrap();
}

#[tokio::test]
async fn headers_have_a_limit() {
    let (site, _daemon) = start("header_size = \"8KiB\"").await;
    let raw = try_connect(&site, &site.tls(Some(&site.identity(WORKLOAD)))).await.unwrap();
    let with = |bytes: usize| {
        let mut request = tonic::Request::new(ListLeasesRequest::default());
        request.metadata_mut().insert("x-padding", "x".repeat(bytes).parse().unwrap());
        request
    };
    raw.leases().list_leases(with(4 << 10)).await.unwrap();
    let refused = raw.leases().list_leases(with(12 << 10)).await.unwrap_err();
    assert_eq!(reason(&refused), "", "it was refused before anybody looked into it: {refused:?}");
    raw.check().await.expect("it costs the one request");
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
    daemon.says("the principal has as many connections as one may have").await;
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
    daemon.says("has its fair share").await;
    // Who is below its share still gets more, and somebody new as well: at the cost of the greedy one's longest idle
    // connections once there are none left.
    for _ in 0..4 {
        held.push(try_connect(&site, &modest).await.expect("the modest one is below its share"));
    }
    let newcomer = try_connect(&site, &new).await.expect("somebody new gets a connection");
    until("the greedy one gives way", async || taken.iter().any(Raw::is_closed)).await;
    assert!(taken.iter().any(|raw| !raw.is_closed()), "it lost more than it had to");
    for raw in held.iter().chain([&newcomer]) {
        raw.check().await.unwrap();
    }
}
