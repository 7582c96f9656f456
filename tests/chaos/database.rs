//! PostgreSQL as it is seen from outside the broker.

use std::collections::BTreeMap;

use leasehold_core::{LeaseId, Timestamp};
use leasehold_provider_conformance::peers::{PeerError, Postgres};

/// A PostgreSQL with a user for the broker, and with what its leases are members of.
pub(crate) struct Database {
    postgres: Option<Postgres>,
}

/// A user of a lease, as `pg_roles` has it.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    /// The lease that its name carries; none that it could be of, when absent.
    pub(crate) lease: Option<LeaseId>,
    pub(crate) may_log_in: bool,
    /// Until when its password is good; for ever, when absent.
    pub(crate) until: Option<Timestamp>,
}

/// The broker's own user.
pub(crate) const BROKER: &str = "leasehold";

/// Its password.
pub(crate) const PASSWORD: &str = "the-brokers-own-password";

/// What every user is a member of.
pub(crate) const GROUP: &str = "app";

impl Database {
    pub(crate) async fn start() -> Result<Self, PeerError> {
        let postgres = Postgres::start().await?;
        let setup = format!(
            "CREATE ROLE {BROKER} LOGIN CREATEROLE PASSWORD '{PASSWORD}'; CREATE ROLE {GROUP} NOLOGIN; \
             GRANT {GROUP} TO {BROKER} WITH ADMIN OPTION"
        );
        postgres.run(&setup).await.map_err(|why| PeerError::NotStarted("postgres", why))?;
        Ok(Self { postgres: Some(postgres) })
    }

    pub(crate) fn server(&self) -> &Postgres {
        self.postgres.as_ref().expect("it runs")
    }

    /// Ends it at once, as a crash would, and starts it again.
    pub(crate) async fn restart(&mut self) {
        let postgres = self.postgres.take().expect("it runs");
        self.postgres = Some(postgres.restarted().await.expect("PostgreSQL starts again"));
    }

    /// The users whose names start so.
    pub(crate) async fn users(&self, prefix: &str) -> Vec<User> {
        let question = format!(
            "SELECT rolname, rolcanlogin, extract(epoch FROM rolvaliduntil)::numeric(20, 3) FROM pg_roles \
             WHERE left(rolname, {}) = '{prefix}_'",
            prefix.len() + 1
        );
        let rows = self.server().run(&question).await.expect("PostgreSQL answers the superuser");
        rows.into_iter().map(User::of).collect()
    }

    /// Whether these get in, by their names and passwords.
    pub(crate) async fn let_in(&self, users: &BTreeMap<String, String>) -> BTreeMap<String, bool> {
        let mut let_in = BTreeMap::new();
        for (name, password) in users {
            let answer = self.server().lets_in(name, password).await.expect("PostgreSQL says yes or no");
            let_in.insert(name.clone(), answer);
        }
        let_in
    }
}

impl User {
    fn of(row: Vec<String>) -> Self {
        let [name, may_log_in, until] = row.try_into().expect("three columns");
        let lease = lease_of(&name);
        let until = until.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
        let until = until.map(|seconds| Timestamp::from_millisecond((seconds * 1e3) as i64).expect("a time"));
        Self { name, lease, may_log_in: may_log_in == "t", until }
    }
}

/// The lease that a user's name carries.
pub(crate) fn lease_of(name: &str) -> Option<LeaseId> {
    let suffix = name.rsplit('_').next()?;
    format!("{}{suffix}", LeaseId::PREFIX).parse().ok()
}
