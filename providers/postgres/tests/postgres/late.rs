//! Requests that are held up on their way, and arrive when nobody waits for them any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use leasehold_core::{
    LeaseId,
    ports::{Clock, Provider},
    provider::{ErrorClass, RevokeCredential, Verification},
    ttl::after,
};
use leasehold_provider_conformance::proxy::{Fault, FaultProxy, Injection};
use leasehold_provider_postgres::{PostgresConfig, PostgresProvider};
use tokio::time::Instant;

use crate::kit::{Dice, TTL, Wall, World, lease, make, make_within, provider, until};

/// A broker that died while it made a user: what it had sent is held up.
struct Died {
    world: World,
    proxy: FaultProxy,
    lease: LeaseId,
    sessions: Vec<String>,
    sent: Instant,
}

async fn died(within: Duration) -> Option<Died> {
    let world = World::start().await?;
    let proxy = FaultProxy::start(world.postgres.address()).await.unwrap();
    let dying = provider(world.home.config(proxy.address()));
    make(dying.issuer().unwrap(), "payments-read").await.unwrap();
    let sessions = sessions(&world).await;
    proxy.inject(Injection::of(Fault::StallBefore).on("CREATE ROLE"));
    let (lease, sent) = (lease(), Instant::now());
    let making = tokio::spawn(async move {
        make_within(dying.issuer().unwrap(), "payments-read", lease, TTL, within).await.is_ok()
    });
    until("it is held up", async || proxy.played() == 1).await;
    making.abort();
    assert!(making.await.unwrap_err().is_cancelled());
    Some(Died { world, proxy, lease, sessions, sent })
}

impl Died {
    /// Ends the user of the lease, of which nobody knows more, as the next broker does.
    async fn end(&self) -> Verification {
        let request = RevokeCredential { lease: self.lease, handle: None };
        self.world.users().revoke(request).await.unwrap()
    }

    /// What was held up goes on, and the dead broker's sessions end behind it.
    async fn arrives(&self) {
        self.proxy.heal();
        until("it has arrived", async || {
            let open = sessions(&self.world).await;
            self.sessions.iter().all(|session| !open.contains(session))
        })
        .await;
    }

    async fn is_there(&self) -> bool {
        self.world.living().await.iter().any(|user| user.ends_with(&self.lease.suffix()))
    }
}

/// The broker's sessions.
async fn sessions(world: &World) -> Vec<String> {
    let sql = "SELECT pid || ' ' || backend_start FROM pg_stat_activity WHERE usename = 'leasehold'";
    world.postgres.run(sql).await.unwrap().into_iter().flatten().collect()
}

/// The bug: a user came to be after its lease had been written down as revoked and verified.
#[tokio::test]
async fn what_a_dead_broker_sent_makes_nobody_after_its_time() {
    let within = Duration::from_millis(1500);
    let Some(died) = died(within).await else { return };
    assert_eq!(died.end().await, Verification::Verified);
    until("its time is over", async || died.sent.elapsed() > within + Duration::from_millis(500)).await;
    died.arrives().await;
    assert!(!died.is_there().await, "{:?}", died.world.living().await);
}

/// What the one above rests on: within its time the same request makes the user, and the end that was early finds nobody.
#[tokio::test]
async fn what_a_dead_broker_sent_is_found_by_the_end_that_comes_after_it() {
    let Some(died) = died(TTL).await else { return };
    assert_eq!(died.end().await, Verification::Verified);
    assert!(!died.is_there().await);
    died.arrives().await;
    assert!(died.is_there().await, "{:?}", died.world.living().await);
    assert_eq!(died.end().await, Verification::Verified);
    assert!(!died.is_there().await);
}

/// A request that was sent twice is done once, although the first is still on its way.
#[tokio::test]
async fn what_is_repeated_is_cut_off_before() {
    let Some(world) = World::start().await else { return };
    let proxy = FaultProxy::start(world.postgres.address()).await.unwrap();
    let behind = provider(world.home.config(proxy.address()));
    let users = behind.issuer().unwrap();
    make(users, "payments-read").await.unwrap();
    let first = sessions(&world).await;
    proxy.inject(Injection::of(Fault::DeliverLate).on("CREATE ROLE").times(1));
    let made = make(users, "payments-read").await.unwrap();
    assert_eq!(proxy.played(), 1);
    assert!(world.postgres.lets_in(&made.user, &made.password).await.unwrap());
    let now = sessions(&world).await;
    assert!(first.iter().all(|session| !now.contains(session)), "{first:?} {now:?}");
    assert_eq!(made.end(users).await.unwrap(), Verification::Verified);
    proxy.heal();
    until("the next one is made", async || make(users, "payments-read").await.is_ok()).await;
    assert!(!world.living().await.contains(&made.user));
}

/// A renewal that was sent before another one does not take back what that one gave.
#[tokio::test]
async fn a_renewal_that_is_repeated_is_cut_off_before() {
    let Some(world) = World::start().await else { return };
    let proxy = FaultProxy::start(world.postgres.address()).await.unwrap();
    let behind = provider(world.home.config(proxy.address()));
    let users = behind.issuer().unwrap();
    let made = make(users, "payments-read").await.unwrap();
    let first = sessions(&world).await;
    proxy.inject(Injection::of(Fault::DeliverLate).on("ALTER ROLE").times(1));
    let (short, long) = (after(Wall::default().now(), TTL * 2), after(Wall::default().now(), TTL * 4));
    made.renew(users, short).await.unwrap();
    assert_eq!(proxy.played(), 1);
    let now = sessions(&world).await;
    assert!(first.iter().all(|session| !now.contains(session)), "{first:?} {now:?}");
    made.renew(users, long).await.unwrap();
    proxy.heal();
    let seen = users.look_up(made.handle()).await.unwrap().unwrap();
    assert!(seen >= long, "{seen} {long}");
}

#[tokio::test]
async fn a_refusal_after_an_answer_that_was_lost_does_not_say_that_there_is_nobody() {
    let Some(world) = World::start().await else { return };
    let proxy = FaultProxy::start(world.postgres.address()).await.unwrap();
    let config = PostgresConfig { connections: 1, ..world.home.config(proxy.address()) };
    let behind = provider(config);
    let users = behind.issuer().unwrap();
    make(users, "payments-read").await.unwrap();
    world.postgres.run("ALTER ROLE leasehold CONNECTION LIMIT 0").await.unwrap();
    proxy.inject(Injection::of(Fault::LoseAnswer).on("CREATE ROLE").times(1));
    let error = make(users, "payments-read").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert_eq!(world.living().await.len(), 2);
}

/// The server is told its own time, whatever the broker's clock shows.
#[tokio::test]
async fn a_user_ends_by_the_servers_clock() {
    let Some(world) = World::start().await else { return };
    for ahead in [3600, -3600] {
        let clock = Arc::new(Wall(AtomicI64::new(ahead)));
        let config = world.home.config(world.postgres.address());
        let off = PostgresProvider::new(config, None, clock.clone(), Arc::new(Dice)).unwrap();
        let users = off.issuer().unwrap();
        let made = make(users, "payments-read").await.unwrap();
        let left = async || {
            let sql = format!(
                "SELECT round(extract(epoch FROM rolvaliduntil - clock_timestamp())) FROM pg_roles WHERE rolname = '{}'",
                made.user
            );
            world.postgres.run(&sql).await.unwrap()[0][0].parse::<i64>().unwrap()
        };
        let (margin, patience) = (60, 30);
        let of = |ttl: Duration| ttl.as_secs() as i64 + margin;
        let seen = left().await;
        assert!((of(TTL) - patience..=of(TTL) + 1).contains(&seen), "{ahead}: {seen}");
        let until = after(clock.now(), TTL * 2);
        assert_eq!(made.renew(users, until).await.unwrap(), until);
        let seen = left().await;
        assert!((of(TTL * 2) - patience..=of(TTL * 2) + 1).contains(&seen), "{ahead}: {seen}");
        assert_eq!(clock.0.load(SeqCst), ahead);
    }
}
