//! A real PostgreSQL with TLS, set up by `config/examples/rotation-postgres/setup.sql`, whose passwords are rotated as
//! `config/examples/rotation-{alternating,single,administrator}.toml` have it, from the command line, as `docs/rotation.md`
//! tells it.

use leasehold_provider_conformance::{
    authority::Authority,
    peers::{Postgres, or_skip},
};
use leasehold_tests::rotations;
use serde_json::Value;

use crate::{
    examples::{Example, beside},
    kit::{Ran, Scene, Taken, patiently},
};

const DATABASE: &str = "payments";
const OF_THE_BROKER: &str = "canary-of-the-broker-77b0e2";

struct World {
    postgres: Postgres,
    scene: Scene,
}

impl World {
    async fn start(kind: &'static str) -> Option<Self> {
        let authority = Authority::new("PostgreSQL").unwrap();
        let postgres = or_skip(Postgres::start_tls(&authority).await).unwrap()?;
        postgres.run("CREATE DATABASE payments").await.unwrap();
        postgres.run_in(DATABASE, &beside("rotation-postgres/setup.sql")).await.unwrap();
        postgres.run(&format!("ALTER ROLE leasehold PASSWORD '{OF_THE_BROKER}'")).await.unwrap();
        let example = Example::of(kind)
            .provider("payments-pg", "address", format!("localhost:{}", postgres.address().port()))
            // The machine may be busy, and nothing here is to fail for that.
            .provider("payments-pg", "connect_timeout", "20s")
            .provider("payments-pg", "statement_timeout", "30s")
            .provider("payments-pg", "timeout", "40s")
            .provider("payments-pg", "call_timeout", "60s");
        let mut scene = Scene::of(example);
        scene.site.write("pg-ca.pem", &authority.pem());
        scene.site.write("pg-password", OF_THE_BROKER);
        scene.site.write("policies/30-rotation.cedar", rotations::POLICY);
        scene.guard("the broker's own password", OF_THE_BROKER);
        Some(Self { postgres, scene })
    }

    /// Writes a user and a password as a secret's first value.
    async fn put(&mut self, secret: &str, user: &str, password: &str) {
        self.scene.site.write("user", user);
        let file = self.scene.site.path("user");
        let line = format!("secret put {secret} --field username=@{} --field password=-", file.display());
        let ran = self.scene.run("operator", &line, password).await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    async fn rotate(&mut self, secret: &str, options: &str) -> Ran {
        let line = format!("secret rotate {secret} {options}");
        self.scene.run("operator", line.trim_end(), "").await
    }

    /// Rotates to the end: the old password was tried, and is dead.
    async fn rotated(&mut self, secret: &str) -> Value {
        let ran = self.rotate(secret, "--wait -o json").await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let rotation = self.scene.operator(&format!("rotation show {secret}")).await;
        assert_eq!(rotation["last"]["verification"], "verified", "{rotation}");
        rotation
    }

    async fn lets_in(&self, taken: &Taken) -> bool {
        self.postgres.lets_in(taken.field("username"), taken.field("password")).await.unwrap()
    }

    async fn give_back(&mut self, taken: &Taken) {
        let ran = self.scene.run("workload", &format!("lease revoke {}", taken.id), "").await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

#[tokio::test]
async fn the_example_of_two_users_begins_without_a_password_and_shuts_out_nobody_who_holds_one() {
    const SECRET: &str = "prod/payments/db";
    let Some(mut world) = World::start("rotation-alternating").await else { return };
    let daemon = world.scene.start().await;
    world.put(SECRET, "payments_a", "none-yet").await;
    let dry = world.rotate(SECRET, "--dry-run").await;
    assert!(dry.code == 0 && dry.out.contains("payments_b"), "{dry:?}");
    world.rotated(SECRET).await;

    let held = world.scene.lease(SECRET).await;
    assert!(held.field("username") == "payments_b" && world.lets_in(&held).await);
    let begun = world.rotate(SECRET, "-o json").await;
    assert_eq!(begun.code, 0, "{begun:?}");
    let scene = &mut world.scene;
    patiently("it waits for its holder", async || {
        scene.operator(&format!("rotation show {SECRET}")).await["state"] == "draining"
    })
    .await;
    let next = world.scene.lease(SECRET).await;
    assert!(next.field("username") == "payments_a" && world.lets_in(&next).await);
    assert!(world.lets_in(&held).await, "its holder has not let go");
    world.give_back(&held).await;
    let watched = world.scene.run("operator", &format!("rotation watch {SECRET}"), "").await;
    assert_eq!(watched.code, 0, "{watched:?}");
    assert!(!world.lets_in(&held).await && world.lets_in(&next).await);
    world.scene.close(daemon).await;
}

#[tokio::test]
async fn the_example_of_one_user_ends_the_sessions_of_the_old_password_when_it_is_retired() {
    const SECRET: &str = "prod/payments/report";
    let Some(mut world) = World::start("rotation-single").await else { return };
    let first = world.scene.canary("the report's first password");
    world.postgres.run(&format!("ALTER ROLE payments_report PASSWORD '{first}'")).await.unwrap();
    let daemon = world.scene.start().await;
    world.put(SECRET, "payments_report", &first).await;
    let held = world.scene.lease(SECRET).await;
    let session =
        world.postgres.open(held.field("username"), held.field("password"), DATABASE).await.unwrap();
    let begun = world.rotate(SECRET, "-o json").await;
    assert_eq!(begun.code, 0, "{begun:?}");
    let (scene, postgres) = (&mut world.scene, &world.postgres);
    patiently("it waits for its holder", async || {
        scene.operator(&format!("rotation show {SECRET}")).await["state"] == "draining"
    })
    .await;
    assert!(!postgres.lets_in("payments_report", &first).await.unwrap(), "it is refused from the change on");
    assert!(session.run("SELECT 1").await.is_ok(), "its session goes on while it is held");
    let next = world.scene.lease(SECRET).await;
    assert!(world.lets_in(&next).await);
    world.give_back(&held).await;
    let watched = world.scene.run("operator", &format!("rotation watch {SECRET}"), "").await;
    assert_eq!(watched.code, 0, "{watched:?}");
    assert!(session.run("SELECT 1").await.is_err(), "its session goes on");
    assert!(world.lets_in(&next).await);

    // A value that leaked is taken out of use with its lease.
    let revoked = world.scene.run("operator", &format!("lease revoke {} --reason leaked", next.id), "").await;
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let rotation = world.scene.operator(&format!("rotation show {SECRET}")).await;
    assert!(rotation["wanted_at"].is_string() && rotation["rotations"] == 1, "{rotation}");
    world.scene.close(daemon).await;
}

#[tokio::test]
async fn the_example_of_the_administrator_changes_what_it_signs_in_with() {
    const SECRET: &str = "infra/pg/admin";
    const USER: &str = "prod/payments/db-user";
    let Some(mut world) = World::start("rotation-administrator").await else { return };
    let daemon = world.scene.start().await;
    world.put(SECRET, "leasehold", OF_THE_BROKER).await;
    let before = world.scene.lease(USER).await;
    assert!(world.lets_in(&before).await);
    world.rotated(SECRET).await;
    assert!(!world.postgres.lets_in("leasehold", OF_THE_BROKER).await.unwrap());
    let sessions =
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'leasehold'";
    world.postgres.run(sessions).await.unwrap();
    let after = world.scene.lease(USER).await;
    assert!(world.lets_in(&after).await);
    world.give_back(&before).await;
    let postgres = &world.postgres;
    patiently("the user from before is dropped", async || {
        !postgres.lets_in(before.field("username"), before.field("password")).await.unwrap()
    })
    .await;
    world.scene.close(daemon).await;
}
