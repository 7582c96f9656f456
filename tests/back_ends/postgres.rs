//! A real PostgreSQL with TLS, set up by the example's own `setup.sql`, whose users are made as `config/examples/postgres.toml`
//! has it, and whose administrator may be in another secret of the broker.

use leasehold_provider_conformance::{
    authority::Authority,
    peers::{Postgres, or_skip},
};
use leasehold_tests::wait::until;
use toml::{Table, Value};

use crate::{
    examples::{Example, beside},
    kit::{Scene, Taken, patiently},
};

const READ: &str = "prod/payments/db-read";
const MIGRATE: &str = "prod/payments/db-migrate";
const REPORT: &str = "prod/payments/db-report";
const ADMINISTRATOR: &str = "infra/pg/admin";
const DATABASE: &str = "payments";

struct World {
    postgres: Postgres,
    authority: Authority,
}

impl World {
    /// Sets everything up as docs/providers/postgres.md says, with this password for the broker's own user.
    async fn start(password: &str) -> Option<Self> {
        let authority = Authority::new("PostgreSQL").unwrap();
        let postgres = or_skip(Postgres::start_tls(&authority).await).unwrap()?;
        postgres.run("CREATE DATABASE payments").await.unwrap();
        postgres.run_in(DATABASE, &beside("postgres/setup.sql")).await.unwrap();
        let world = Self { postgres, authority };
        world.set_password(password).await;
        Some(world)
    }

    async fn set_password(&self, password: &str) {
        self.postgres.run(&format!("ALTER ROLE leasehold PASSWORD '{password}'")).await.unwrap();
    }

    /// The example at this server.
    fn example(&self) -> Example {
        Example::of("postgres")
            .provider("payments-pg", "address", format!("localhost:{}", self.postgres.address().port()))
            .provider("payments-pg", "cluster", Vec::<String>::new())
            // The machine may be busy, and nothing here is to fail for that.
            .provider("payments-pg", "connect_timeout", "20s")
            .provider("payments-pg", "statement_timeout", "30s")
            .provider("payments-pg", "timeout", "40s")
            .provider("payments-pg", "call_timeout", "60s")
    }

    /// The example at this server, with the password of the broker's own user in another secret, of which more may be said.
    fn example_with_an_administrator(&self, more: &str) -> Example {
        let from = Value::Table(Table::from_iter([("secret".to_owned(), Value::from(ADMINISTRATOR))]));
        let secret = format!(
            "[[provider]]\nname = \"local\"\nkind = \"local\"\n\
             [[secret]]\npath = \"{ADMINISTRATOR}\"\nprovider = \"local\"\nref = \"pg-admin\"\n{more}\n"
        );
        self.example()
            .without_of_provider("payments-pg", "password_file")
            .provider("payments-pg", "administrator", from)
            .and(&secret)
    }

    fn scene(&self, example: Example) -> Scene {
        let scene = Scene::of(example);
        scene.site.write("pg-ca.pem", &self.authority.pem());
        scene
    }

    async fn lets_in(&self, taken: &Taken) -> bool {
        self.postgres.lets_in(taken.field("username"), taken.field("password")).await.unwrap()
    }

    /// The users of leases.
    async fn users(&self) -> usize {
        self.postgres.run("SELECT 1 FROM pg_roles WHERE rolname LIKE 'lh\\_%'").await.unwrap().len()
    }
}

/// What the record of a lease's end says came of trying its credential.
async fn proof(scene: &mut Scene, kind: &str, lease: &str) -> Vec<serde_json::Value> {
    let records = scene.records(kind, &format!("--lease {lease}")).await;
    records.iter().map(|record| record["details"]["verification"].clone()).collect()
}

#[tokio::test]
async fn the_example_lends_what_it_says() {
    let password = "canary-of-the-broker-0d44c1";
    let Some(world) = World::start(password).await else { return };
    let mut scene = world.scene(world.example());
    scene.guard("the broker's own password", password);
    scene.site.write("pg-password", password);
    let daemon = scene.start().await;
    assert!(!scene.checked("payments-pg").await.is_empty());

    for secret in [READ, REPORT] {
        let taken = scene.lease(secret).await;
        assert!(world.lets_in(&taken).await, "{secret}");
        assert_eq!((taken.version(), taken.irrevocable_until()), (taken.field("username"), None));
        let renewed = scene.run("workload", &format!("lease renew {} -o json", taken.id), "").await;
        assert_eq!(renewed.code, 0, "{renewed:?}");
        let revoked = scene.run("workload", &format!("lease revoke {}", taken.id), "").await;
        assert_eq!(revoked.code, 0, "{revoked:?}");
        until("the user is dropped", async || !world.lets_in(&taken).await).await;
        until("the lease is revoked", async || scene.listed("revoked").await.contains(&taken.id)).await;
        assert_eq!(proof(&mut scene, "lease.revoked", &taken.id).await, ["verified"]);
    }

    world.postgres.run_in(DATABASE, "GRANT CREATE ON SCHEMA public TO payments_owner").await.unwrap();
    let taken = scene.lease_for(MIGRATE, "--ttl 5s").await;
    let (user, secret) = (taken.field("username").to_owned(), taken.field("password").to_owned());
    let session = world.postgres.open(&user, &secret, DATABASE).await.unwrap();
    session.run("CREATE TABLE orders(n int)").await.unwrap();
    until("its time ends it", async || !world.lets_in(&taken).await).await;
    until("it has expired", async || scene.listed("expired").await.contains(&taken.id)).await;
    assert!(session.run("SELECT 1").await.is_err(), "its session goes on");
    assert_eq!(proof(&mut scene, "lease.expired", &taken.id).await, ["verified"]);
    let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'orders'";
    assert_eq!(world.postgres.run_in(DATABASE, owner).await.unwrap(), [["payments_owner"]]);
    assert_eq!(world.users().await, 0);
    scene.close(daemon).await;
}

#[tokio::test]
async fn the_administrator_is_rotated_under_the_broker() {
    let first = "canary-of-the-first-7be201";
    let Some(world) = World::start(first).await else { return };
    // What is in memory would be good for long: the back end's refusal is what has it read anew.
    let mut scene = world.scene(world.example_with_an_administrator("max_age = \"1h\""));
    scene.guard("the first password", first);
    let daemon = scene.start().await;
    let why = scene.refused("workload", &format!("lease get {READ}")).await;
    assert!(why.contains("PROVIDER"), "{why}");
    scene.put(ADMINISTRATOR, first).await;
    let before = scene.lease(READ).await;

    let second = scene.canary("the second password");
    world.set_password(&second).await;
    let sessions =
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'leasehold'";
    world.postgres.run(sessions).await.unwrap();
    // The secret lags behind: what is held stays, and nothing new is made.
    let why = scene.refused("workload", &format!("lease get {READ}")).await;
    assert!(why.contains("PROVIDER_DENIED_BROKER"), "{why}");
    assert!(world.lets_in(&before).await);
    scene.put(ADMINISTRATOR, &second).await;
    let after = scene.lease(READ).await;
    assert!(world.lets_in(&after).await);
    scene.operator(&format!("lease revoke {}", before.id)).await;
    patiently("the user from before is dropped", async || !world.lets_in(&before).await).await;

    let records = scene.records("secret.read", &format!("--secret {ADMINISTRATOR}")).await;
    assert!(records.len() >= 4, "{records:?}");
    for record in &records {
        assert_eq!(record["actor"]["id"], "spiffe://example.org/leasehold/broker", "{record}");
    }
    // Whoever may lease what is made with it gets nothing of it.
    let why = scene.refused("workload", &format!("lease get {ADMINISTRATOR}")).await;
    assert!(why.contains("DENIED_OR_NOT_FOUND"), "{why}");
    scene.close(daemon).await;
}

#[tokio::test]
async fn the_example_with_an_administrator_in_another_secret_is_tried_without_a_broker() {
    let password = "canary-of-the-broker-91c3aa";
    let Some(world) = World::start(password).await else { return };
    let mut scene = world.scene(world.example_with_an_administrator(""));
    scene.guard("the broker's own password", password);
    let daemon = scene.start().await;
    scene.put(ADMINISTRATOR, password).await;
    assert!(daemon.stop().await.success());
    let tried = scene.check_live().await;
    assert_eq!(tried.code, 0, "{tried:?}");
    assert!(tried.out.contains("payments-pg: make users of the role `payments-read`: ok"), "{tried:?}");
    let daemon = scene.start().await;
    scene.close(daemon).await;
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_user_even_from_a_broker_that_died() {
    let password = "canary-of-the-broker-51e8aa";
    let Some(world) = World::start(password).await else { return };
    let mut scene = world.scene(world.example());
    scene.site.write("pg-password", password);
    let daemon = scene.start().await;
    let first = scene.lease_for(READ, "--request-id r-1").await;
    daemon.kill();
    let daemon = scene.start().await;
    let again = scene.lease_for(READ, "--request-id r-1").await;
    assert_eq!((&again.id, &again.fields), (&first.id, &first.fields));
    assert!(world.lets_in(&again).await);
    assert_eq!(world.users().await, 1);
    let other = scene.lease_for(READ, "--request-id r-2").await;
    assert_ne!(other.field("username"), first.field("username"));
    let reused = scene.refused("workload", &format!("lease get {REPORT} --request-id r-1")).await;
    assert!(reused.contains("[REQUEST_ID_REUSED]"), "{reused}");

    // What is over is given to nobody again.
    let revoked = scene.run("workload", &format!("lease revoke {}", first.id), "").await;
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let over = scene.refused("workload", &format!("lease get {READ} --request-id r-1")).await;
    assert!(over.contains("[LEASE_"), "{over}");
    until("the user is dropped", async || !world.lets_in(&first).await).await;
    scene.close(daemon).await;
}
