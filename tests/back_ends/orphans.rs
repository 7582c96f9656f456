//! Users of a real PostgreSQL for which no lease stands, and a broker that was restored from a backup beside them.

use std::{fs, process::Command};

use leasehold_core::LeaseId;
use leasehold_provider_conformance::peers::{Postgres, or_skip};
use leasehold_tests::{
    daemon::Daemon,
    site::{Plan, SECRET, Site},
    wait::until,
};
use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{Ran, patiently, run};

const USER: &str = "prod/payments/db-user";

pub(crate) struct World {
    pub(crate) postgres: Postgres,
    pub(crate) site: Site,
}

impl World {
    pub(crate) async fn start(grace: &str) -> Option<Self> {
        let postgres = or_skip(Postgres::start().await).unwrap()?;
        let roles = "CREATE ROLE app; CREATE ROLE broker LOGIN CREATEROLE PASSWORD 'of the broker'; \
                     GRANT app TO broker WITH ADMIN OPTION";
        postgres.run(roles).await.unwrap();
        let mut plan = Plan::default();
        plan.more.push_str(&format!(
            "[[provider]]\nname = \"pg\"\nkind = \"postgres\"\naddress = \"{}\"\ntls = \"disable\"\nuser = \"broker\"\n\
             password_file = \"pg-password\"\ndatabase = \"postgres\"\norphan_sweep = \"1s\"\norphan_grace = \"{grace}\"\n\n\
             [[role]]\nname = \"app\"\nprovider = \"pg\"\ngrants = [\"app\"]\n\n\
             [[secret]]\npath = \"{USER}\"\nprovider = \"pg\"\nrole = \"app\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n",
            postgres.address()
        ));
        let site = Site::new(plan);
        site.write("pg-password", "of the broker");
        Some(Self { postgres, site })
    }

    /// The broker's name as tags have it.
    fn broker(&self) -> String {
        let id = fs::read_to_string(self.site.state().join("broker-id")).unwrap();
        format!("example.org/{}", id.trim())
    }

    /// Makes a user as the broker would, of whose lease nobody knows.
    async fn plant(&self, n: u8, broker: &str) -> String {
        let lease = LeaseId::from_bits([n; 16]);
        let name = format!("lh_app_{}", lease.suffix());
        let session = self.postgres.open("broker", "of the broker", "postgres").await.unwrap();
        let statements = format!(
            "CREATE ROLE {name} LOGIN PASSWORD 'known to nobody'; \
             COMMENT ON ROLE {name} IS '{{\"leasehold\":\"{lease}\",\"broker\":\"{broker}\",\"role\":\"app\"}}'"
        );
        session.run(&statements).await.unwrap();
        name
    }

    pub(crate) async fn has(&self, user: &str) -> bool {
        let found = self.postgres.run(&format!("SELECT 1 FROM pg_roles WHERE rolname = '{user}'")).await;
        !found.unwrap().is_empty()
    }

    pub(crate) async fn ask(&self, name: &str, line: &str) -> Ran {
        let mut command = self.site.leasehold(name);
        command.args(line.split(' '));
        run(command, "").await
    }

    pub(crate) async fn told(&self, line: &str) -> Value {
        let ran = self.ask("operator", &format!("{line} -o json")).await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.json()
    }

    /// Takes a user as the workload: the lease's id and the user's name.
    pub(crate) async fn take(&self) -> (String, String) {
        let ran = self.ask("workload", &format!("lease get {USER} -o json")).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let got = ran.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&got["lease"]["id"]), text(&got["value"]["fields"]["username"]))
    }

    async fn shell(&self, line: &str) {
        let mut command = Command::new("sh");
        command.args(["-ec", line]).current_dir(self.site.dir.path());
        let ran = run(command, "").await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
    }
}

#[tokio::test]
async fn orphans_are_ended_and_nobody_elses_users() {
    let Some(world) = World::start("3s").await else { return };
    let daemon = Daemon::start(&world.site).await;
    let (lease, held) = world.take().await;
    let orphan = world.plant(0xee, &world.broker()).await;
    let foreign = world.plant(0xef, "example.org/another").await;
    let listed = world.told("orphan list").await;
    assert_eq!((&listed[0]["name"], &listed[0]["state"]), (&orphan.as_str().into(), &"in-grace".into()));
    assert_eq!(listed.as_array().unwrap().len(), 1);
    patiently("the orphan is dropped", async || !world.has(&orphan).await).await;
    assert!(world.has(&held).await && world.has(&foreign).await);
    until("it is recorded", async || {
        !world.told("audit query --kind orphan.revoked").await.as_array().unwrap().is_empty()
    })
    .await;
    let records = world.told("audit query --kind orphan.revoked").await;
    assert_eq!(records[0]["details"]["name"], orphan.as_str());
    assert_eq!(world.told("audit query --kind orphan.found").await.as_array().unwrap().len(), 1);
    assert_eq!(world.told("orphan sweep --provider pg").await, serde_json::json!([]));
    let denied = world.ask("workload", "orphan list").await;
    assert_eq!(denied.code, 3, "{denied:?}");

    // A second broker at the same server, which has the same names for its users, ends none of the first one's.
    let config = fs::read_to_string(world.site.path("leasehold.toml")).unwrap();
    let other = Site::new(Plan::default());
    let listens = |site: &Site| format!("address = \"{}\"\ncertificate", site.address);
    other.write("leasehold.toml", &config.replace(&listens(&world.site), &listens(&other)));
    other.write("pg-password", "of the broker");
    let second = Daemon::start(&other).await;
    let mut list = other.leasehold("operator");
    list.args(["orphan", "sweep", "-o", "json"]);
    let seen = run(list, "").await;
    assert_eq!(seen.json(), serde_json::json!([]), "{seen:?}");
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert!(world.has(&held).await);
    assert!(second.stop().await.success());
    assert_eq!(world.ask("workload", &format!("lease revoke {lease}")).await.code, 0);
    until("the user is dropped", async || !world.has(&held).await).await;
    assert!(daemon.stop().await.success());
}

#[tokio::test]
async fn after_a_restore_nothing_is_ended_before_somebody_has_looked() {
    let Some(world) = World::start("1s").await else { return };
    let daemon = Daemon::start(&world.site).await;
    let (known, before) = world.take().await;
    let (gone, ended) = world.take().await;
    daemon.signal(Signal::STOP);
    world.shell("cp -a state backup").await;
    daemon.signal(Signal::CONT);
    // Since the backup, one is issued and one revoked.
    let (_, after) = world.take().await;
    assert_eq!(world.ask("workload", &format!("lease revoke {gone}")).await.code, 0);
    until("the user is dropped", async || !world.has(&ended).await).await;
    daemon.kill();
    world.shell("mv state lost && cp -a backup state && rm -rf state/index").await;

    let daemon = Daemon::start(&world.site).await;
    let hold = world.told("hold show").await;
    assert_eq!(hold["reason"], "restored");
    let pg = &hold["providers"][0];
    assert_eq!((&pg["name"], &pg["orphans"], &pg["missing"]), (&"pg".into(), &1.into(), &1.into()), "{hold}");
    let refused = world.ask("workload", &format!("lease get {USER}")).await;
    assert!(refused.code == 7 && refused.err.contains("BROKER_ON_HOLD"), "{refused:?}");
    patiently("the orphan is past its grace", async || {
        world.told("orphan sweep").await[0]["state"] == "left"
    })
    .await;
    assert!(world.has(&before).await && world.has(&after).await);
    assert!(leasehold_of_secret(&world).await, "static secrets are lent");

    let released = world.ask("operator", "hold release --reason compared").await;
    assert_eq!(released.code, 0, "{released:?}");
    patiently("the orphan is dropped", async || !world.has(&after).await).await;
    assert!(world.has(&before).await);
    world.take().await;
    assert_eq!(world.ask("workload", &format!("lease revoke {known}")).await.code, 0);
    until("the user is dropped", async || !world.has(&before).await).await;
    assert!(daemon.stop().await.success());
}

async fn leasehold_of_secret(world: &World) -> bool {
    let mut put = world.site.leasehold("operator");
    put.args(["secret", "put", SECRET]);
    assert_eq!(run(put, "hunter2").await.code, 0);
    world.ask("workload", &format!("lease get {SECRET}")).await.code == 0
}
