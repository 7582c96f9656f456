//! A broker that dies in the middle of a rotation: after each of its durable steps, and in each call to the target. The next
//! one brings it to its end, and at no moment is there nobody who can log in.

use std::time::Duration;

use leasehold_audit::Head;
use leasehold_client::{Issue, Operator, Write, proto};
use leasehold_core::{SecretPath, SecretValue, record::Kind};
use leasehold_provider_conformance::{
    peers::{Postgres, or_skip},
    proxy::{Fault, FaultProxy, Injection},
};
use leasehold_tests::{
    daemon::Daemon,
    evidence::verified,
    rotations::{self, is_idle},
    site::{Plan, SECRET, Site},
    wait::until,
};
use tokio::time::timeout;

const SETUP: &str = "CREATE ROLE leasehold LOGIN CREATEROLE PASSWORD 'of-the-broker-itself'; \
    CREATE ROLE payments_a LOGIN PASSWORD 'first'; CREATE ROLE payments_b LOGIN";

const SINGLE: &str = "strategy = \"single\", target = \"pg\"";
const ALTERNATING: &str =
    "strategy = \"alternating\", target = \"pg\", users = [\"payments_a\", \"payments_b\"]";

/// The durable steps of a rotation, in their order.
pub(crate) const STEPS: [Kind; 8] = [
    Kind::RotationStarted,
    Kind::RotationCreated,
    Kind::RotationApplied,
    Kind::RotationTested,
    Kind::RotationPromoted,
    Kind::RotationDrained,
    Kind::RotationVerified,
    Kind::RotationRetired,
];

/// A database behind a proxy, and a broker that rotates a user's password there.
struct World {
    postgres: Postgres,
    proxy: FaultProxy,
    site: Site,
    /// What was lent so far, the newest last: user and password.
    lent: Vec<(String, String)>,
    rotations: i64,
}

impl World {
    async fn start(rotation: &str) -> Option<Self> {
        let postgres = or_skip(Postgres::start().await).unwrap()?;
        postgres.run(SETUP).await.unwrap();
        let proxy = FaultProxy::start(postgres.address()).await.unwrap();
        let more = format!(
            "[[provider]]\nname = \"pg\"\nkind = \"postgres\"\naddress = \"{}\"\nuser = \"leasehold\"\n\
             password_file = \"pg-password\"\ntls = \"disable\"\nconnect_timeout = \"2s\"\n\
             statement_timeout = \"2s\"\ntimeout = \"4s\"\ncall_timeout = \"5s\"\n\n\
             [[secret]]\npath = \"{SECRET}\"\nprovider = \"local\"\nref = \"payments-db\"\nttl = \"30m\"\nmax_ttl = \"2h\"\n\
             rotation = {{ {rotation}, drain_deadline = \"10m\" }}\n",
            proxy.address()
        );
        let site = Site::new(Plan { more, ..Plan::default() });
        site.write("pg-password", "of-the-broker-itself");
        site.write("policies/20-rotation.cedar", rotations::POLICY);
        let lent = vec![("payments_a".to_owned(), "first".to_owned())];
        Some(Self { postgres, proxy, site, lent, rotations: 0 })
    }

    async fn operator(&self) -> Operator {
        self.site.client("operator").connect().await.unwrap().operator()
    }

    /// What is lent now; nobody holds it for that.
    async fn current(&self) -> (String, String) {
        let workload = self.site.client("workload").connect().await.unwrap();
        let wanted = Issue { secret: path(), ttl: None, fields: Vec::new(), request_id: None };
        let issued = workload.issue_lease(wanted).await.unwrap();
        workload.revoke_lease(issued.lease.id, None).await.unwrap();
        let field = |name: &str| {
            let bytes = issued.value.fields[&name.parse().unwrap()].expose();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        (field("username"), field("password"))
    }

    async fn lets_in(&self, (user, password): &(String, String)) -> bool {
        self.postgres.lets_in(user, password).await.unwrap()
    }

    /// The kinds of the rotation's records since the record of this number.
    fn steps_since(&self, sequence: u64) -> Vec<Kind> {
        let journal = self.site.state().join("journal");
        let Ok(entries) = leasehold_audit::read(&journal, sequence + 1) else { return Vec::new() };
        let kinds = entries.map_while(Result::ok).map(|entry| entry.record.kind);
        kinds.filter(|kind| STEPS.contains(kind)).collect()
    }

    fn head(&self) -> u64 {
        verified(&self.site.state().join("journal"), Head::START).head.seq
    }

    /// Waits for the end of the rotation that is under way, and looks at what it left.
    async fn ends_well(&mut self, why: &str) {
        let rotation = rotations::when(&self.operator().await, &path(), is_idle).await;
        let last = rotation.last.as_ref().unwrap();
        assert_eq!(last.outcome(), proto::RotationOutcome::Retired, "{why}: {rotation:?}");
        assert_eq!(last.verification(), proto::LeaseVerification::Verified, "{why}: {rotation:?}");
        assert_eq!(rotation.serial, self.rotations + 1, "{why}: {rotation:?}");
        self.rotations = rotation.serial;
        let current = self.current().await;
        assert!(self.lets_in(&current).await, "{why}: what is lent now is refused");
        for old in &self.lent {
            assert!(*old != current && !self.lets_in(old).await, "{why}: an old password works");
        }
        self.lent.push(current);
    }
}

fn path() -> SecretPath {
    SECRET.parse().unwrap()
}

fn first() -> Write {
    let field = |name: &str, text: &str| (name.parse().unwrap(), text.to_owned().into());
    Write {
        secret: path(),
        value: SecretValue {
            fields: [field("username", "payments_a"), field("password", "first")].into(),
            content_type: SecretValue::TEXT.into(),
        },
        expected: None,
        request_id: None,
    }
}

/// Whether these are all steps of one rotation, in their order and each once; only what was to be written and was lost with
/// the broker is made anew.
pub(crate) fn tell_the_story(steps: &[Kind]) -> bool {
    let mut steps = steps.to_vec();
    steps.dedup_by(|next, before| next == before && *next == Kind::RotationStarted);
    steps == STEPS
}

async fn dies_after_each_step(rotation: &str) {
    let Some(mut world) = World::start(rotation).await else { return };
    let mut broker = Daemon::start(&world.site).await;
    world.operator().await.write_secret(first()).await.unwrap();
    for step in STEPS {
        let before = world.head();
        rotations::ask(&world.operator().await, &path()).await;
        until(&format!("{step} is durable"), async || world.steps_since(before).contains(&step)).await;
        broker.kill();
        let alive = world.lent.last().unwrap().clone();
        let promoted = world.steps_since(before).contains(&Kind::RotationPromoted);
        if rotation == ALTERNATING && !promoted {
            assert!(world.lets_in(&alive).await, "after {step}: the user that is lent was changed");
        }
        broker = Daemon::start(&world.site).await;
        // Whoever asks now gets what works, wherever it was cut off.
        let current = world.current().await;
        if rotation == ALTERNATING {
            assert!(world.lets_in(&current).await, "after {step}");
        }
        world.ends_well(&format!("after {step}")).await;
        let steps = world.steps_since(before);
        assert!(tell_the_story(&steps), "after {step}: {steps:?}");
    }
    assert!(!broker.log().contains(&world.lent.last().unwrap().1), "a value in the log");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_killed_after_each_durable_step() {
    dies_after_each_step(SINGLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_killed_after_each_durable_step() {
    dies_after_each_step(ALTERNATING).await;
}

/// What begins each kind of call to the target: the change, and the logins by which values are tried.
const CALLS: [&str; 3] = ["ALTER ROLE", "payments_a", "payments_b"];

/// What befalls the first of such calls, and whether the broker dies of it.
const BLOWS: [(Fault, bool); 4] =
    [(Fault::CutBefore, false), (Fault::LoseAnswer, false), (Fault::StallBefore, true), (Fault::Stall, true)];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_to_the_target_is_cut_or_stalled_it_comes_to_its_end() {
    let Some(mut world) = World::start(ALTERNATING).await else { return };
    let mut broker = Daemon::start(&world.site).await;
    world.operator().await.write_secret(first()).await.unwrap();
    for call in CALLS {
        for (fault, dies) in BLOWS {
            let why = format!("{fault:?} of {call:?}");
            let (before, played) = (world.head(), world.proxy.played());
            world.proxy.inject(Injection::of(fault).on(call).times(1));
            rotations::ask(&world.operator().await, &path()).await;
            // A user that this rotation does not try is met by the next one: then nothing befalls this one.
            let befell = until_befallen(&world, played).await;
            if dies && befell {
                broker.kill();
                world.proxy.heal();
                broker = Daemon::start(&world.site).await;
            }
            world.ends_well(&why).await;
            world.proxy.heal();
            let steps = world.steps_since(before);
            assert!(tell_the_story(&steps), "{why}: {steps:?}");
        }
    }
    assert!(world.proxy.played() >= 10, "hardly anything befell it: {}", world.proxy.played());
    broker.stop().await;
}

/// Whether a fault befalls the rotation that was asked for just now, before it comes to its end.
async fn until_befallen(world: &World, played: u64) -> bool {
    let befallen = async {
        while world.proxy.played() == played {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let over = async {
        let serial = world.rotations + 1;
        let is_over = |rotation: &proto::Rotation| rotation.serial == serial && is_idle(rotation);
        rotations::when(&world.operator().await, &path(), is_over).await;
    };
    let either = async {
        tokio::select! {
            () = befallen => true,
            () = over => false,
        }
    };
    timeout(Duration::from_secs(60), either).await.unwrap()
}
