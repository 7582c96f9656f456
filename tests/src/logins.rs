//! Clients that never stop logging in to PostgreSQL with what their leases say, while the secret that they hold is rotated
//! again and again, by turns between two users.
//!
//! One moves as `RenewLease.accept_rotation` lets it, between two logins. The other one logs in over several connections at
//! once, so it takes a new lease first, and gives the old one back when nobody uses it any more.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use leasehold_client::{Client, Issue, LeaseChange, Operator, Write};
use leasehold_core::{LeaseId, SecretValue};
use leasehold_proto::v1;
use leasehold_provider_conformance::peers::Postgres;
use tokio::{
    sync::{RwLock, mpsc},
    task::JoinSet,
    time::timeout,
};

use crate::{
    daemon::Daemon,
    rotations,
    site::{Plan, SECRET, Site},
};

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many logins were tried with a value that was held.
    pub tried: u64,
    /// Those that failed, in the server's words.
    pub failed: Vec<String>,
    /// How many old passwords were tried after their retirement.
    pub retired: u64,
    /// Of these, the rotations whose old password was still accepted.
    pub alive: Vec<usize>,
}

/// A user and its password.
#[derive(Clone)]
struct Credential {
    user: String,
    password: String,
}

/// What the clients have in common.
struct Clients {
    postgres: Arc<Postgres>,
    tried: AtomicU64,
    failed: Mutex<Vec<String>>,
    over: AtomicBool,
}

/// Logins that go on at once in the client that takes new leases.
const AT_ONCE: usize = 3;

/// What the server is told first.
pub const SETUP: &str = "CREATE ROLE leasehold LOGIN CREATEROLE PASSWORD 'of-the-broker-itself'; \
    CREATE ROLE payments_a LOGIN PASSWORD 'first'; CREATE ROLE payments_b LOGIN";

/// A site whose secret is rotated by turns between two users of this server.
pub fn site(postgres: &Postgres) -> Site {
    let plan = Plan {
        more: format!(
            "[[provider]]\nname = \"pg\"\nkind = \"postgres\"\naddress = \"{}\"\nuser = \"leasehold\"\n\
             password_file = \"pg-password\"\ntls = \"disable\"\nconnect_timeout = \"20s\"\n\
             statement_timeout = \"30s\"\ntimeout = \"40s\"\ncall_timeout = \"60s\"\n\n\
             [[secret]]\npath = \"{SECRET}\"\nprovider = \"local\"\nref = \"payments-db\"\nttl = \"30m\"\nmax_ttl = \"2h\"\n\
             rotation = {{ strategy = \"alternating\", target = \"pg\", users = [\"payments_a\", \"payments_b\"], \
             drain_deadline = \"30m\" }}\n",
            postgres.address()
        ),
        ..Plan::default()
    };
    let site = Site::new(plan);
    site.write("pg-password", "of-the-broker-itself");
    site.write("policies/20-rotation.cedar", rotations::POLICY);
    site
}

/// Lets the clients log in through so many rotations, and tries every old password when it has been retired, and once more
/// in the end.
pub async fn through(postgres: Postgres, rotations: usize) -> Outcome {
    postgres.run(SETUP).await.unwrap();
    let site = site(&postgres);
    let broker = Daemon::start(&site).await;
    let operator = site.client("operator").connect().await.unwrap().operator();
    operator.write_secret(first()).await.unwrap();
    let workload = site.client("workload").connect().await.unwrap();

    let clients = Arc::new(Clients {
        postgres: Arc::new(postgres),
        tried: AtomicU64::new(0),
        failed: Mutex::default(),
        over: AtomicBool::new(false),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(clients.clone().move_by_renewal(workload.clone()));
    tasks.spawn(clients.clone().move_by_a_new_lease(workload.clone()));

    let (mut outcome, mut old) = (Outcome::default(), Vec::new());
    for number in 0..rotations {
        old.push(current(&workload).await);
        let before = clients.tried.load(Relaxed);
        rotate(&operator, number).await;
        assert!(clients.tried.load(Relaxed) > before, "nobody logged in during rotation {number}");
        outcome.retired += 1;
        if clients.lets_in(&old[number]).await.is_ok() {
            outcome.alive.push(number);
        }
    }
    clients.over.store(true, Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    for (number, credential) in old.iter().enumerate() {
        if clients.lets_in(credential).await.is_ok() && !outcome.alive.contains(&number) {
            outcome.alive.push(number);
        }
    }
    broker.stop().await;
    outcome.tried = clients.tried.load(Relaxed);
    outcome.failed = std::mem::take(&mut *clients.failed());
    outcome
}

/// The value that the users have been set up for.
pub fn first() -> Write {
    let field = |name: &str, text: &str| (name.parse().unwrap(), text.to_owned().into());
    Write {
        secret: SECRET.parse().unwrap(),
        value: SecretValue {
            fields: [field("username", "payments_a"), field("password", "first")].into(),
            content_type: SecretValue::TEXT.into(),
        },
        expected: None,
        request_id: None,
    }
}

/// What is lent now; nobody holds it for that.
async fn current(workload: &Client) -> Credential {
    let issued = workload.issue_lease(wanted()).await.unwrap();
    let credential = Credential::of(&issued.value);
    workload.revoke_lease(issued.lease.id, None).await.unwrap();
    credential
}

/// Has the secret rotated once, up to the end.
async fn rotate(operator: &Operator, number: usize) {
    let rotation = rotations::rotate(operator, &SECRET.parse().unwrap()).await;
    assert_eq!(rotation.serial, i64::try_from(number + 1).unwrap(), "{rotation:?}");
    let last = rotation.last.unwrap();
    assert_eq!(last.outcome(), v1::RotationOutcome::Retired, "{last:?}");
    assert_eq!(last.verification(), v1::LeaseVerification::Verified, "{last:?}");
}

fn wanted() -> Issue {
    Issue { secret: SECRET.parse().unwrap(), ttl: None, fields: Vec::new(), request_id: None }
}

impl Credential {
    fn of(value: &SecretValue) -> Self {
        let field = |name: &str| {
            let bytes = value.fields[&name.parse().unwrap()].expose();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        Self { user: field("username"), password: field("password") }
    }
}

impl Clients {
    async fn lets_in(&self, credential: &Credential) -> Result<(), String> {
        let session = self.postgres.open(&credential.user, &credential.password, "postgres").await?;
        session.run("SELECT 1").await.map(drop)
    }

    async fn log_in(&self, credential: &Credential) {
        let done = self.lets_in(credential).await;
        self.tried.fetch_add(1, Relaxed);
        if let Err(why) = done {
            self.failed().push(format!("{}: {why}", credential.user));
        }
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Logs in, one login after the other; between two of them it moves its lease.
    async fn move_by_renewal(self: Arc<Self>, workload: Client) {
        let mut told = told(&workload).await;
        let lease = workload.issue_lease(wanted()).await.unwrap();
        let mut credential = Credential::of(&lease.value);
        while !self.is_over() {
            let mut rotated = false;
            while let Ok(id) = told.try_recv() {
                rotated |= id == lease.lease.id;
            }
            if rotated {
                let moved = workload.move_lease(lease.lease.id, None).await.unwrap();
                credential = moved.value.as_ref().map_or(credential, Credential::of);
            }
            self.log_in(&credential).await;
        }
    }

    /// Logs in several times at once; when it is told, it takes a new lease, and gives the old one back when no login uses
    /// it any more.
    async fn move_by_a_new_lease(self: Arc<Self>, workload: Client) {
        let mut told = told(&workload).await;
        let mut lease = workload.issue_lease(wanted()).await.unwrap();
        let held = Arc::new(RwLock::new(Credential::of(&lease.value)));
        let mut logins = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (clients, held) = (self.clone(), held.clone());
            logins.spawn(async move {
                while !clients.is_over() {
                    let credential = held.read().await;
                    clients.log_in(&credential).await;
                }
            });
        }
        while !self.is_over() {
            let Ok(Some(id)) = timeout(Duration::from_millis(50), told.recv()).await else { continue };
            if id == lease.lease.id {
                let next = workload.issue_lease(wanted()).await.unwrap();
                // It has to wait until every login with the old one is done.
                *held.write().await = Credential::of(&next.value);
                workload.revoke_lease(lease.lease.id, None).await.unwrap();
                lease = next;
            }
        }
        while let Some(ended) = logins.join_next().await {
            ended.unwrap();
        }
    }
}

/// The leases of this holder whose secret has another current version, as the broker tells.
async fn told(workload: &Client) -> mpsc::UnboundedReceiver<LeaseId> {
    let mut watch = workload.watch_leases(None).await.unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(notice)) = watch.next().await {
            if notice.change == LeaseChange::Rotated && sender.send(notice.lease.id).is_err() {
                break;
            }
        }
    });
    receiver
}
