//! Limits of connections and requests, and who is refused first.

use super::world::{Client, LONG, Server, World};

async fn refused(world: &World, server: &Server, path: &str) {
    let before = server.listener.stats().refused_connections;
    let identity = world.clients.issue(&crate::tls::authority::Leaf::spiffe(path));
    if let Ok(client) = Client::connect(server, world.tls13(&identity)).await {
        assert!(client.ask("/").await.is_err());
    }
    server.until(|stats| stats.refused_connections > before).await;
}

async fn connect_all(world: &World, server: &Server, path: &str, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let client = world.connect(server, path).await;
        client.ask_who().await;
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn one_principal_has_its_own_limit() {
    let mut world = World::new();
    world.limits.max_connections_per_principal = 2;
    let server = world.start();
    let mut held = connect_all(&world, &server, "/a", 2).await;
    refused(&world, &server, "/a").await;
    connect_all(&world, &server, "/b", 1).await;

    // What is given back can be had again.
    let gone = held.remove(0);
    gone.closed.abort();
    drop(gone);
    server.until(|stats| stats.principals == 1 && stats.connections == 1).await;
    connect_all(&world, &server, "/a", 1).await;
}

#[tokio::test]
async fn when_connections_are_scarce_the_greedy_are_refused_first() {
    let mut world = World::new();
    world.limits.max_connections = 8;
    let server = world.start();
    let _modest = connect_all(&world, &server, "/modest", 1).await;
    let greedy = connect_all(&world, &server, "/greedy", 6).await;
    // Seven of eight: the greedy one is over its half, the modest one is not.
    refused(&world, &server, "/greedy").await;
    let _last = connect_all(&world, &server, "/modest", 1).await;
    assert_eq!(server.listener.stats().connections, 8);

    // Full: somebody new still gets in, and it costs the greedy one an idle connection, the oldest.
    let newcomer = connect_all(&world, &server, "/new", 1).await;
    let stats = server.listener.stats();
    assert_eq!((stats.connections, stats.principals), (8, 3));
    let mut greedy = greedy.into_iter();
    greedy.next().unwrap().closed.await.unwrap();
    for other in greedy {
        other.ask_who().await;
    }
    newcomer[0].ask_who().await;
}

#[tokio::test]
async fn connections_in_use_are_taken_away_last_and_only_down_to_a_fair_share() {
    let mut world = World::new();
    world.limits.max_connections = 4;
    let server = world.start();
    let greedy = connect_all(&world, &server, "/greedy", 4).await;
    let mut waiting = Vec::new();
    for client in &greedy {
        waiting.push(client.ask("/wait").await.unwrap());
    }
    // Whoever keeps all connections busy cannot lock the others out with that.
    let modest = connect_all(&world, &server, "/modest", 2).await;
    refused(&world, &server, "/modest").await;
    assert_eq!(server.listener.stats().connections, 4);
    let mut left = 0;
    for client in greedy {
        left += usize::from(client.ask("/").await.is_ok());
    }
    assert_eq!(left, 2);
    for client in modest {
        client.ask_who().await;
    }
}

#[tokio::test]
async fn headers_have_a_limit() {
    let mut world = World::new();
    world.limits.max_header_bytes = 1_024;
    let server = world.start();
    let client = world.connect(&server, "/a").await;
    let long = "x".repeat(4_096);
    match client.ask(&format!("/{long}")).await {
        Ok((headers, _)) => assert!(!headers.contains_key("x-principal"), "the service was not asked"),
        Err(error) => assert!(error.is_remote(), "{error}"),
    }
    let client = world.connect(&server, "/a").await;
    client.ask_who().await;
}

#[tokio::test(start_paused = true)]
async fn streams_have_a_limit() {
    let mut world = World::new();
    world.limits.max_streams = 3;
    world.limits.idle_timeout = LONG;
    let server = world.start();
    let client = world.connect(&server, "/a").await;
    client.ask_who().await;
    let mut watches = Vec::new();
    for _ in 0..3 {
        watches.push(client.ask("/wait").await.unwrap());
    }
    assert!(tokio::time::timeout(LONG, client.ask("/")).await.is_err(), "a fourth waits its turn");
    watches.pop();
    assert_eq!(client.ask_who().await, "spiffe://example.org/a");
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let mut world = World::new();
    world.limits.max_pending_resets = 5;
    let server = world.start();
    let client = world.connect(&server, "/a").await;
    client.ask_who().await;
    for _ in 0..200 {
        // Dropping the answer resets the stream.
        let mut asking = std::pin::pin!(client.ask("/hang"));
        let _ = futures::poll!(asking.as_mut());
        if client.closed.is_finished() {
            break;
        }
    }
    client.closed.await.unwrap();
    server.until(|stats| stats.connections == 0).await;
}
