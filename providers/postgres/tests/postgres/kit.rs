//! What these tests have in common: a clock, files, and a broker that may do what the example's `setup.sql` lets it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use leasehold_core::{
    LeaseId, SecretValue, SpiffeId, Timestamp,
    lease::RevocationHandle,
    ports::{Clock, Entropy, Issuer, NoEntropy, Provider},
    provider::{
        IssueCredential, IssuedCredential, ProviderError, RenewCredential, Revocation, RevokeCredential,
        Verification,
    },
};
use leasehold_provider_conformance::peers::{Postgres, or_skip};
use leasehold_provider_postgres::{Owned, PostgresConfig, PostgresProvider, PostgresRole, Tls};
use tempfile::TempDir;

pub(crate) const SETUP: &str = include_str!("../../../../config/examples/postgres/setup.sql");

/// The password of the broker's own user, to be found in no log.
pub(crate) const OWN_PASSWORD: &str = "canary-of-the-broker-5e1c";

pub(crate) const TTL: Duration = Duration::from_secs(600);

/// The machine's clock, or one that is off by some seconds.
#[derive(Default)]
pub(crate) struct Wall(pub(crate) AtomicI64);

#[async_trait]
impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let now = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        Timestamp::from_millisecond(now + 1000 * self.0.load(Ordering::SeqCst)).unwrap()
    }

    async fn sleep_until(&self, _deadline: Timestamp) {}
}

/// The system's randomness.
pub(crate) struct Dice;

impl Entropy for Dice {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        aws_lc_rs::rand::fill(buffer).map_err(|_| NoEntropy)
    }
}

/// A directory for a test's files.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Puts a file there as a careful operator does: whole, and for nobody else.
    pub(crate) fn put(&self, name: &str, text: &str) -> PathBuf {
        let (new, path) = (self.0.path().join(".new"), self.0.path().join(name));
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }

    /// A broker of the example's at an address, with the patience of a test on a busy machine.
    pub(crate) fn config(&self, address: impl ToString) -> PostgresConfig {
        let migrate = PostgresRole {
            owned: Owned::Reassign("payments_owner".into()),
            ..PostgresRole::granting(["payments_owner"])
        };
        let dropping = PostgresRole { owned: Owned::Drop, ..PostgresRole::granting(["payments_owner"]) };
        let roles = [
            ("payments-read", PostgresRole::granting(["payments_read"])),
            ("payments-migrate", migrate),
            ("payments-scratch", dropping),
        ];
        PostgresConfig {
            tls: Tls::Disable,
            connect_timeout: Duration::from_secs(20),
            statement_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(60),
            roles: roles.map(|(name, role)| (name.to_owned(), role)).into(),
            ..PostgresConfig::new(address.to_string(), "leasehold", self.put("password", OWN_PASSWORD))
        }
    }
}

pub(crate) fn provider(config: PostgresConfig) -> PostgresProvider {
    PostgresProvider::new(config, None, Arc::new(Wall::default()), Arc::new(Dice)).unwrap()
}

/// A server with a broker that may do what the example's setup lets it.
pub(crate) struct World {
    pub(crate) postgres: Postgres,
    pub(crate) home: Home,
    pub(crate) provider: PostgresProvider,
}

impl World {
    pub(crate) async fn start() -> Option<Self> {
        Self::of(or_skip(Postgres::start().await).unwrap()?).await
    }

    pub(crate) async fn of(postgres: Postgres) -> Option<Self> {
        set_up(&postgres).await;
        let home = Home::new();
        let provider = provider(home.config(postgres.address()));
        Some(Self { postgres, home, provider })
    }

    pub(crate) fn users(&self) -> &dyn Issuer {
        self.provider.issuer().unwrap()
    }

    /// The names of the users of leases.
    pub(crate) async fn living(&self) -> Vec<String> {
        let rows =
            self.postgres.run("select rolname from pg_roles where rolname like 'lh\\_%' order by 1").await;
        rows.unwrap().into_iter().map(|row| row[0].clone()).collect()
    }
}

pub(crate) async fn set_up(postgres: &Postgres) {
    postgres.run(SETUP).await.unwrap();
    postgres.run(&format!("ALTER ROLE leasehold PASSWORD '{OWN_PASSWORD}'")).await.unwrap();
}

/// A credential, and what it was made for.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) lease: LeaseId,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) credential: IssuedCredential,
}

impl Made {
    pub(crate) fn handle(&self) -> &RevocationHandle {
        match &self.credential.revocation {
            Revocation::By(handle) => Some(handle),
            Revocation::NoneUntil(_) => None,
        }
        .unwrap()
    }

    pub(crate) async fn end(&self, users: &dyn Issuer) -> Result<Verification, ProviderError> {
        users.revoke(RevokeCredential { lease: self.lease, handle: Some(self.handle()) }).await
    }

    pub(crate) async fn renew(
        &self,
        users: &dyn Issuer,
        until: Timestamp,
    ) -> Result<Timestamp, ProviderError> {
        users.renew(RenewCredential { lease: self.lease, handle: self.handle(), until }).await
    }
}

pub(crate) fn lease() -> LeaseId {
    let mut bits = [0; 16];
    aws_lc_rs::rand::fill(&mut bits).unwrap();
    LeaseId::from_bits(bits)
}

pub(crate) async fn make(users: &dyn Issuer, role: &str) -> Result<Made, ProviderError> {
    make_for(users, role, lease(), TTL).await
}

pub(crate) async fn make_for(
    users: &dyn Issuer,
    role: &str,
    lease: LeaseId,
    ttl: Duration,
) -> Result<Made, ProviderError> {
    make_within(users, role, lease, ttl, TTL).await
}

/// Makes a user that must not come to be later than `within` from now on.
pub(crate) async fn make_within(
    users: &dyn Issuer,
    role: &str,
    lease: LeaseId,
    ttl: Duration,
    within: Duration,
) -> Result<Made, ProviderError> {
    let holder: SpiffeId = "spiffe://example.org/prod/web".parse().unwrap();
    let request =
        IssueCredential { lease, holder: &holder, role, ttl, max_ttl: ttl * 4, within, reservation: None };
    let credential = users.issue(request).await?;
    let (user, password) = (field(&credential.value, "username"), field(&credential.value, "password"));
    Ok(Made { lease, user, password, credential })
}

pub(crate) fn field(value: &SecretValue, name: &str) -> String {
    String::from_utf8(value.fields[&name.parse().unwrap()].expose().to_vec()).unwrap()
}

/// Waits until something is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    let started = tokio::time::Instant::now();
    while !so().await {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} never comes true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
