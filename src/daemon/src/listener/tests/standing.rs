//! Peers that were let in and are so no longer; and how connections end.

use base64_reason::reason;
use http::HeaderMap;

use super::world::{LONG, World};
use crate::tls::authority::{Authority, HOUR, Leaf, START, write};

/// Reads the reason out of `grpc-status-details-bin`.
mod base64_reason {
    use http::HeaderMap;
    use tonic::Status;
    use tonic_types::StatusExt;

    pub(super) fn reason(headers: &HeaderMap) -> (i32, String) {
        let status = Status::from_header_map(headers).unwrap();
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        (status.code() as i32, reason)
    }
}

const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

async fn trailers(body: &mut h2::RecvStream) -> HeaderMap {
    while let Some(data) = body.data().await {
        data.unwrap();
    }
    body.trailers().await.unwrap().unwrap()
}

#[tokio::test]
async fn revoked_after_it_connected() {
    let mut world = World::new();
    let server = world.start();
    let client = world.connect(&server, "/a").await;
    client.ask_who().await;

    world.revoke(&[7], START + HOUR);
    server.store.publish(world.material());
    let (headers, _) = client.ask("/").await.unwrap();
    assert_eq!(reason(&headers), (UNAUTHENTICATED, "IDENTITY_REVOKED".to_owned()));
    assert!(!headers.contains_key("x-principal"), "the service was not asked");
    client.closed.await.unwrap();
    server.until(|stats| stats.connections == 0).await;
}

#[tokio::test]
async fn expired_after_it_connected() {
    let world = World::new();
    let server = world.start();
    let identity = world.clients.issue(&Leaf { to: START + HOUR, ..Leaf::spiffe("/a") });
    let client = super::world::Client::connect(&server, world.tls13(&identity)).await.unwrap();
    world.clock.set(START + HOUR);
    client.ask_who().await;
    world.clock.set(START + HOUR + 1);
    let (headers, _) = client.ask("/").await.unwrap();
    assert_eq!(reason(&headers), (UNAUTHENTICATED, "IDENTITY_EXPIRED".to_owned()));
    client.closed.await.unwrap();
}

#[tokio::test]
async fn an_authority_that_is_dropped_after_it_connected() {
    let mut world = World::new();
    let server = world.start();
    let (client, other) = (world.connect(&server, "/a").await, Authority::new("new"));
    client.ask_who().await;
    world.tls.client_bundle = write(world.dir.path(), "new.pem", other.pem(), 0o644);
    server.store.publish(world.material());
    let (headers, _) = client.ask("/").await.unwrap();
    assert_eq!(reason(&headers), (UNAUTHENTICATED, "IDENTITY_UNTRUSTED".to_owned()));
}

#[tokio::test]
async fn new_material_leaves_good_connections_alone() {
    let mut world = World::new();
    let server = world.start();
    let client = world.connect(&server, "/a").await;
    let (_, mut watch) = client.ask("/wait").await.unwrap();
    world.revoke(&[999], START + HOUR);
    server.store.publish(world.material());
    assert_eq!(client.ask_who().await, "spiffe://example.org/a");
    assert!(futures::poll!(std::pin::pin!(watch.data())).is_pending());
}

#[tokio::test]
async fn a_watch_does_not_outlive_its_peers_standing() {
    let mut world = World::new();
    let server = world.start();
    let client = world.connect(&server, "/a").await;
    let (headers, mut watch) = client.ask("/wait").await.unwrap();
    assert_eq!(headers["x-principal"], "spiffe://example.org/a");
    // Nothing is asked: the listener looks by itself.
    world.revoke(&[7], START + HOUR);
    server.store.publish(world.material());
    let trailers = trailers(&mut watch).await;
    assert_eq!(reason(&trailers), (UNAUTHENTICATED, "IDENTITY_REVOKED".to_owned()));
    client.closed.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_and_used_ones_are_not() {
    let mut world = World::new();
    world.limits.keepalive_interval = LONG * 1_000;
    let server = world.start();
    let (idle, watching) = (world.connect(&server, "/a").await, world.connect(&server, "/b").await);
    idle.ask_who().await;
    let (_, mut watch) = watching.ask("/wait").await.unwrap();
    let began = tokio::time::Instant::now();
    idle.closed.await.unwrap();
    let limit = world.limits.idle_timeout;
    assert!(began.elapsed() >= limit && began.elapsed() < limit * 2, "{:?}", began.elapsed());
    assert!(futures::poll!(std::pin::pin!(watch.data())).is_pending());
    assert_eq!(watching.ask_who().await, "spiffe://example.org/b");
}

#[tokio::test]
async fn a_stop_ends_what_waits_and_answers_what_was_asked() {
    let world = World::new();
    let server = world.start();
    let (watching, idle) = (world.connect(&server, "/a").await, world.connect(&server, "/b").await);
    let (_, mut watch) = watching.ask("/wait").await.unwrap();
    idle.ask_who().await;
    server.tell_to_stop();
    assert_eq!(reason(&trailers(&mut watch).await), (UNAVAILABLE, "BROKER_STOPPING".to_owned()));
    idle.closed.await.unwrap();
    let address = server.address;
    assert_eq!(server.stop().await.cut, 0);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_a_request_only_so_long() {
    let world = World::new();
    let server = world.start();
    let client = world.connect(&server, "/a").await;
    let asking = tokio::spawn(async move { client.ask("/hang").await.map(|(headers, _)| headers) });
    server.until(|stats| stats.connections == 1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let began = tokio::time::Instant::now();
    assert_eq!(server.stop().await.cut, 1);
    assert_eq!(began.elapsed(), world.limits.drain_timeout);
    assert!(asking.await.unwrap().is_err());
}
