//! A back end that cannot hold a new version back: what is written to Vault's KV is current there at once, and the broker
//! goes on with the old one until the new one works. It dies after each durable step, and in each call to the back end.

use std::collections::BTreeSet;

use leasehold_audit::Head;
use leasehold_client::proto;
use leasehold_core::record::Kind;
use leasehold_provider_conformance::{
    peers::{Bao, Postgres, or_skip},
    proxy::{Fault, FaultProxy, Injection},
};
use leasehold_tests::{
    daemon::Daemon,
    evidence::verified,
    rotations::{self, is_idle},
    site::{SECRET, Site},
    wait::until,
};
use serde_json::{Value, json};

use crate::{
    killed::{STEPS, tell_the_story},
    kit::{lent, operator, path, rotation, site, story, text},
};

const SETUP: &str = "CREATE ROLE leasehold LOGIN CREATEROLE PASSWORD 'of-the-broker-itself'; \
    CREATE ROLE payments_a LOGIN PASSWORD 'first'; CREATE ROLE payments_b LOGIN";

const SINGLE: &str = "strategy = \"single\", target = \"pg\"";
const ALTERNATING: &str =
    "strategy = \"alternating\", target = \"pg\", users = [\"payments_a\", \"payments_b\"]";

type Login = (String, String);

/// A back end and a database, each behind a proxy, and a broker that rotates a user's password.
struct World {
    bao: Bao,
    postgres: Postgres,
    to_bao: FaultProxy,
    to_postgres: FaultProxy,
    site: Site,
    rotations: i64,
}

impl World {
    async fn start(rotation: &str) -> Option<Self> {
        let postgres = or_skip(Postgres::start().await).unwrap()?;
        postgres.run(SETUP).await.unwrap();
        let bao = or_skip(Bao::start().await).unwrap()?;
        bao.mount_kv("kv", 2).await.unwrap();
        let data = json!({ "data": { "username": "payments_a", "password": "first" } });
        bao.ask("POST", "kv/data/payments", Some(&data)).await.unwrap();
        let to_bao = FaultProxy::start(bao.address()).await.unwrap();
        let to_postgres = FaultProxy::start(postgres.address()).await.unwrap();
        let more = format!(
            "[[provider]]\nname = \"bao\"\nkind = \"vault\"\naddress = \"{}\"\nauth = \"token\"\n\
             token_file = \"bao-token\"\nwritable = true\nconnect_timeout = \"2s\"\nattempt_timeout = \"2s\"\n\
             timeout = \"4s\"\ncall_timeout = \"5s\"\n\n\
             [[provider]]\nname = \"pg\"\nkind = \"postgres\"\naddress = \"{}\"\nuser = \"leasehold\"\n\
             password_file = \"pg-password\"\ntls = \"disable\"\nconnect_timeout = \"2s\"\n\
             statement_timeout = \"2s\"\ntimeout = \"4s\"\ncall_timeout = \"5s\"\n\n\
             [[secret]]\npath = \"{SECRET}\"\nprovider = \"bao\"\nref = \"kv/data/payments\"\nttl = \"30m\"\n\
             max_ttl = \"2h\"\nmax_age = \"0s\"\nrotation = {{ {rotation}, drain_deadline = \"10m\" }}\n",
            to_bao.url(),
            to_postgres.address()
        );
        let site = site(&more);
        site.write("bao-token", bao.token());
        site.write("pg-password", "of-the-broker-itself");
        Some(Self { bao, postgres, to_bao, to_postgres, site, rotations: 0 })
    }

    async fn lets_in(&self, (user, password): &Login) -> bool {
        self.postgres.lets_in(user, password).await.unwrap()
    }

    async fn lent(&self) -> Login {
        let value = lent(&self.site).await;
        (text(&value, "username"), text(&value, "password"))
    }

    /// What the back end has: by version, what is not put away.
    async fn kept(&self) -> Vec<(u64, Login)> {
        let metadata = self.bao.ask("GET", "kv/metadata/payments", None).await.unwrap();
        let newest = metadata.pointer("/data/current_version").and_then(Value::as_u64).unwrap();
        let mut kept = Vec::new();
        for version in 1..=newest {
            let read = self.bao.ask("GET", &format!("kv/data/payments?version={version}"), None).await;
            let Ok(read) = read else { continue };
            let field = |name: &str| {
                read.pointer(&format!("/data/data/{name}")).unwrap().as_str().unwrap().to_owned()
            };
            kept.push((version, (field("username"), field("password"))));
        }
        kept
    }

    /// That nothing is lost: somebody who may read the back end gets in.
    async fn nothing_is_lost(&self, why: &str) {
        let mut works = false;
        for (_, login) in self.kept().await {
            works |= self.lets_in(&login).await;
        }
        assert!(works, "{why}: nothing that the back end has is accepted");
    }

    fn head(&self) -> u64 {
        verified(&self.site.state().join("journal"), Head::START).head.seq
    }

    /// The durable steps since the record of this number.
    fn steps(&self, sequence: u64) -> Vec<Kind> {
        story(&self.site, sequence).into_iter().filter(|kind| STEPS.contains(kind)).collect()
    }

    /// Waits for the end of the rotation that was asked for, and looks at what it left.
    async fn ends_well(&mut self, why: &str, sequence: u64) {
        let rotation = rotations::when(&operator(&self.site).await, &path(), is_idle).await;
        let last = rotation.last.as_ref().unwrap();
        assert_eq!(last.outcome(), proto::RotationOutcome::Retired, "{why}: {rotation:?}");
        assert_eq!(last.verification(), proto::LeaseVerification::Verified, "{why}: {rotation:?}");
        assert_eq!(rotation.serial, self.rotations + 1, "{why}: {rotation:?}");
        self.rotations = rotation.serial;
        let current = self.lent().await;
        assert!(self.lets_in(&current).await, "{why}: what is lent now is refused");
        let kept = self.kept().await;
        assert_eq!(
            kept.last().map(|(_, login)| login),
            Some(&current),
            "{why}: the back end has another one"
        );
        for (version, login) in &kept {
            assert!(*login == current || !self.lets_in(login).await, "{why}: version {version} works yet");
        }
        let steps = self.steps(sequence);
        assert!(tell_the_story(&steps), "{why}: {steps:?}");
    }
}

async fn dies_after_each_step(rotation: &str) {
    let Some(mut world) = World::start(rotation).await else { return };
    let mut broker = Daemon::start(&world.site).await;
    for step in STEPS {
        let why = format!("after {step}");
        let (before, old) = (world.head(), world.lent().await);
        rotations::ask(&operator(&world.site).await, &path()).await;
        until(&format!("{step} is durable"), async || world.steps(before).contains(&step)).await;
        broker.kill();
        world.nothing_is_lost(&why).await;
        if rotation == ALTERNATING && !world.steps(before).contains(&Kind::RotationPromoted) {
            assert!(world.lets_in(&old).await, "{why}: the user that is lent was changed");
        }
        broker = Daemon::start(&world.site).await;
        if rotation == ALTERNATING {
            let current = world.lent().await;
            assert!(world.lets_in(&current).await, "{why}: what is lent is refused");
        }
        world.ends_well(&why, before).await;
    }
    assert!(broker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_in_kv_killed_after_each_durable_step() {
    dies_after_each_step(SINGLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_in_kv_killed_after_each_durable_step() {
    dies_after_each_step(ALTERNATING).await;
}

/// What begins each kind of call to the back end: reading a value, writing one, reading of its versions, putting one away.
const CALLS: [&str; 4] =
    ["GET /v1/kv/data/", "POST /v1/kv/data/", "GET /v1/kv/metadata/", "POST /v1/kv/delete/"];

/// What befalls the first of such calls, and whether the broker dies of it.
const BLOWS: [(Fault, bool); 5] = [
    (Fault::CutBefore, false),
    (Fault::LoseAnswer, false),
    // The server hears of it when the next broker is at work.
    (Fault::StallBefore, true),
    (Fault::Stall, true),
    (Fault::DeliverLate, true),
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_to_kv_is_cut_or_stalled_it_comes_to_its_end() {
    let Some(mut world) = World::start(ALTERNATING).await else { return };
    let mut broker = Daemon::start(&world.site).await;
    let mut befallen = BTreeSet::new();
    for call in CALLS {
        for (fault, dies) in BLOWS {
            let why = format!("{fault:?} of {call:?}");
            let (before, played) = (world.head(), world.to_bao.played());
            world.to_bao.inject(Injection::of(fault).on(call).times(1));
            rotations::ask(&operator(&world.site).await, &path()).await;
            until(&why, async || {
                let now = rotation(&world.site).await;
                world.to_bao.played() > played || (is_idle(&now) && now.serial > world.rotations)
            })
            .await;
            if world.to_bao.played() > played {
                befallen.insert(call);
            }
            if dies {
                broker.kill();
                world.nothing_is_lost(&why).await;
                broker = Daemon::start(&world.site).await;
                world.to_bao.heal();
            }
            world.ends_well(&why, before).await;
            world.to_bao.heal();
        }
    }
    assert!(befallen.contains("POST /v1/kv/data/") && befallen.len() > 2, "{befallen:?}");
    assert!(broker.stop().await.success());
}

/// The back end has the new version as its current one, and the target has not taken it.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_version_is_lent_through_a_restart_until_the_target_has_the_new_one() {
    let Some(mut world) = World::start(SINGLE).await else { return };
    let broker = Daemon::start(&world.site).await;
    let (before, old) = (world.head(), world.lent().await);
    world.to_postgres.inject(Injection::of(Fault::CutBefore).on("ALTER ROLE"));
    rotations::ask(&operator(&world.site).await, &path()).await;
    until("it is tried", async || world.to_postgres.played() > 0).await;
    let kept = world.kept().await;
    assert!(kept.len() == 2 && kept[1].1 != old, "the new version is not there");
    for _ in 0..3 {
        assert_eq!(world.lent().await, old);
    }
    broker.kill();
    let broker = Daemon::start(&world.site).await;
    assert_eq!(world.lent().await, old);
    assert!(world.lets_in(&old).await);
    world.to_postgres.heal();
    world.ends_well("once the target is there", before).await;
    assert_eq!(world.lent().await, kept[1].1, "another value was made than the back end had");
    assert!(broker.stop().await.success());
}
