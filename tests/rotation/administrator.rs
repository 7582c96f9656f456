//! The user by which the broker itself signs in at PostgreSQL: its password is rotated as any other's, by the broker that
//! uses it.

use leasehold_client::{Client, Issue, Operator, Write, proto};
use leasehold_core::SecretValue;
use leasehold_provider_conformance::{
    peers::{Postgres, or_skip},
    proxy::{Fault, FaultProxy, Injection},
};
use leasehold_tests::{
    daemon::Daemon,
    rotations::{self, is_idle},
    site::{Plan, Site},
    wait::until,
};

const ADMINISTRATOR: &str = "infra/pg/admin";
const USER: &str = "prod/payments/db-user";
const FIRST: &str = "canary-of-the-first-4b7710";
const SETUP: &str = "CREATE ROLE leasehold LOGIN CREATEROLE; CREATE ROLE payments_read NOLOGIN; \
    GRANT payments_read TO leasehold WITH ADMIN OPTION";

/// A database behind a proxy, and a broker that makes users there with an administrator out of another secret.
struct World {
    postgres: Postgres,
    proxy: FaultProxy,
    site: Site,
}

impl World {
    async fn start() -> Option<Self> {
        let postgres = or_skip(Postgres::start().await).unwrap()?;
        postgres.run(SETUP).await.unwrap();
        postgres.run(&format!("ALTER ROLE leasehold PASSWORD '{FIRST}'")).await.unwrap();
        let proxy = FaultProxy::start(postgres.address()).await.unwrap();
        let more = format!(
            "[[provider]]\nname = \"pg\"\nkind = \"postgres\"\naddress = \"{}\"\ntls = \"disable\"\n\
             administrator = {{ secret = \"{ADMINISTRATOR}\" }}\nconnect_timeout = \"20s\"\n\
             statement_timeout = \"30s\"\ntimeout = \"40s\"\ncall_timeout = \"60s\"\n\n\
             [[role]]\nname = \"app\"\nprovider = \"pg\"\ngrants = [\"payments_read\"]\n\n\
             [[secret]]\npath = \"{USER}\"\nprovider = \"pg\"\nrole = \"app\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n\n\
             [[secret]]\npath = \"{ADMINISTRATOR}\"\nprovider = \"local\"\nref = \"pg-admin\"\nmax_age = \"1h\"\n\
             rotation = {{ strategy = \"single\", target = \"pg\" }}\n",
            proxy.address()
        );
        let site = Site::new(Plan { more, ..Plan::default() });
        site.write("policies/20-rotation.cedar", rotations::POLICY);
        Some(Self { postgres, proxy, site })
    }

    async fn operator(&self) -> Operator {
        self.site.client("operator").connect().await.unwrap().operator()
    }

    async fn workload(&self) -> Client {
        self.site.client("workload").connect().await.unwrap()
    }

    /// Ends every session that the broker has, so that it must sign in anew.
    async fn disconnect(&self) {
        let sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'leasehold'";
        self.postgres.run(sql).await.unwrap();
    }

    /// What the server keeps of the password.
    async fn kept(&self) -> String {
        let sql = "SELECT rolpassword FROM pg_authid WHERE rolname = 'leasehold'";
        self.postgres.run(sql).await.unwrap().concat().concat()
    }

    /// A user is made, and gets in.
    async fn lend(&self, workload: &Client) {
        let secret = USER.parse().unwrap();
        let issue = Issue { secret, ttl: None, fields: Vec::new(), request_id: None };
        let issued = workload.issue_lease(issue).await.unwrap();
        let field = |name: &str| {
            let bytes = issued.value.fields[&name.parse().unwrap()].expose();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        assert!(self.postgres.lets_in(&field("username"), &field("password")).await.unwrap());
    }
}

fn first() -> Write {
    let field = |name: &str, text: &str| (name.parse().unwrap(), text.to_owned().into());
    Write {
        secret: ADMINISTRATOR.parse().unwrap(),
        value: SecretValue {
            fields: [field("username", "leasehold"), field("password", FIRST)].into(),
            content_type: SecretValue::TEXT.into(),
        },
        expected: None,
        request_id: None,
    }
}

fn is_proven(rotation: &proto::Rotation, serial: i64) {
    let last = rotation.last.as_ref().unwrap();
    assert_eq!(rotation.serial, serial, "{rotation:?}");
    assert_eq!(last.outcome(), proto::RotationOutcome::Retired, "{last:?}");
    assert_eq!(last.verification(), proto::LeaseVerification::Verified, "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_rotates_what_it_signs_in_with_and_goes_on() {
    let Some(world) = World::start().await else { return };
    let broker = Daemon::start(&world.site).await;
    let (operator, workload) = (world.operator().await, world.workload().await);
    operator.write_secret(first()).await.unwrap();
    world.lend(&workload).await;
    let secret = ADMINISTRATOR.parse().unwrap();
    for serial in 1..=3 {
        let before = world.kept().await;
        is_proven(&rotations::rotate(&operator, &secret).await, serial);
        assert_ne!(world.kept().await, before);
        world.lend(&workload).await;
        world.disconnect().await;
        world.lend(&workload).await;
    }
    assert!(!world.postgres.lets_in("leasehold", FIRST).await.unwrap());
    assert!(!broker.log().contains("canary"));
    broker.stop().await;
}

/// The server has the new password, and whoever gave it that does not live to know.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_change_and_the_promotion_the_next_one_signs_in_all_the_same() {
    let Some(world) = World::start().await else { return };
    let broker = Daemon::start(&world.site).await;
    let operator = world.operator().await;
    operator.write_secret(first()).await.unwrap();
    let secret = ADMINISTRATOR.parse().unwrap();
    is_proven(&rotations::rotate(&operator, &secret).await, 1);

    let before = world.kept().await;
    world.proxy.inject(Injection::of(Fault::Stall).on("ALTER ROLE"));
    rotations::ask(&operator, &secret).await;
    until("the server has another password", async || world.kept().await != before).await;
    broker.kill();
    world.disconnect().await;
    world.proxy.heal();
    let broker = Daemon::start(&world.site).await;
    // Whether this comes before the promotion or after it.
    world.lend(&world.workload().await).await;
    is_proven(&rotations::when(&world.operator().await, &secret, is_idle).await, 2);
    world.disconnect().await;
    world.lend(&world.workload().await).await;

    // And likewise when the server never heard of it.
    let before = world.kept().await;
    world.proxy.inject(Injection::of(Fault::StallBefore).on("ALTER ROLE"));
    rotations::ask(&world.operator().await, &secret).await;
    until("it is on its way", async || world.proxy.played() > 1).await;
    assert_eq!(world.kept().await, before);
    broker.kill();
    world.proxy.heal();
    let broker = Daemon::start(&world.site).await;
    world.lend(&world.workload().await).await;
    is_proven(&rotations::when(&world.operator().await, &secret, is_idle).await, 3);
    world.disconnect().await;
    world.lend(&world.workload().await).await;
    broker.stop().await;
}
