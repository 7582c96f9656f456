//! The pool: to be taken over into a program as it is.
//!
//! - A new connection signs in with what the guard holds at that moment.
//! - When the secret is replaced (it was rotated, or a dynamic credential nears its end), connections of the user before
//!   are closed as they come back, and none is handed out again.
//! - When the last of them is gone, the guard is told, and gives the old lease back: the broker retires the old password, or
//!   drops the old user, then and not earlier. A query that runs for longer than what is left of the old lease's life is the
//!   one thing that can be cut off: lease for longer than your longest query takes.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult, WeakPool};
use leasehold_client::{Change, Leased};
use leasehold_core::LeaseId;
use tokio_postgres::{Client, Config, NoTls};

/// Connections that sign in with a leased user and password (the fields `username` and `password`).
#[derive(Clone)]
pub(crate) struct LeasedPool {
    pool: Pool<SignIn>,
}

/// A connection of the pool.
pub(crate) struct Connection {
    client: Client,
    in_use: InUse,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The secret has no such field, or it is not text.
    Field(&'static str),
    /// PostgreSQL's reason.
    Postgres(tokio_postgres::Error),
}

/// How connections are made.
pub(crate) struct SignIn {
    server: Config,
    held: Arc<Leased>,
    connections: Arc<Connections>,
}

/// How many connections there are by each lease.
#[derive(Default)]
struct Connections(Mutex<HashMap<LeaseId, usize>>);

/// One of them, until it is closed.
struct InUse {
    lease: LeaseId,
    connections: Arc<Connections>,
}

impl LeasedPool {
    /// A pool of at most `most` connections to `server`, whose user and password come from the guard.
    ///
    /// # Errors
    /// When a pool cannot be built like that.
    pub(crate) fn new(held: Leased, server: Config, most: usize) -> Result<Self, Box<dyn Error>> {
        let (held, connections) = (Arc::new(held), Arc::new(Connections::default()));
        let sign_in = SignIn { server, held: Arc::clone(&held), connections: Arc::clone(&connections) };
        let pool = Pool::builder(sign_in).max_size(most).build()?;
        tokio::spawn(follow(Arc::downgrade(&held), pool.weak(), connections));
        Ok(Self { pool })
    }

    /// A connection as the user of now; it is given back when it is dropped.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached, or does not let the user in.
    pub(crate) async fn get(&self) -> Result<Object<SignIn>, PoolError<Failure>> {
        self.pool.get().await
    }
}

impl Manager for SignIn {
    type Type = Connection;
    type Error = Failure;

    async fn create(&self) -> Result<Connection, Failure> {
        // Counted under the lock under which it is looked up, so that none is made by a lease that is given back.
        let (holding, in_use) = {
            let mut count = self.connections.count();
            let holding = self.held.current();
            let each = count.entry(holding.lease.id).or_default();
            *each = each.saturating_add(1);
            let in_use = InUse { lease: holding.lease.id, connections: Arc::clone(&self.connections) };
            (holding, in_use)
        };
        let user = holding.expose_text("username").ok_or(Failure::Field("username"))?;
        let password = holding.field("password").ok_or(Failure::Field("password"))?;
        let mut config = self.server.clone();
        config.user(user).password(password.expose());
        let (client, connection) = config.connect(NoTls).await.map_err(Failure::Postgres)?;
        // It ends with the client.
        tokio::spawn(connection);
        Ok(Connection { client, in_use })
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Failure> {
        if connection.client.is_closed() {
            return Err(RecycleError::message("the server closed it"));
        }
        if connection.in_use.lease != self.held.current().lease.id {
            return Err(RecycleError::message("it is of an older lease"));
        }
        Ok(())
    }
}

/// Has connections of older leases closed, and says when none is left.
async fn follow(held: Weak<Leased>, pool: WeakPool<SignIn>, connections: Arc<Connections>) {
    let Some(mut changes) = held.upgrade().map(|held| held.changes()) else { return };
    // It ends when the pool, and the guard with it, is gone.
    while let Some(change) = changes.next().await {
        let Change::Replaced(_) = change else { continue };
        loop {
            let (Some(held), Some(pool)) = (held.upgrade(), pool.upgrade()) else { return };
            let newest = held.current();
            pool.retain(|connection, _| connection.in_use.lease == newest.lease.id);
            if connections.are_all_of(newest.lease.id) {
                held.switched(&newest);
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Connections {
    fn count(&self) -> std::sync::MutexGuard<'_, HashMap<LeaseId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn are_all_of(&self, lease: LeaseId) -> bool {
        self.count().keys().all(|other| *other == lease)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut count = self.connections.count();
        if let Some(each) = count.get_mut(&self.lease) {
            *each = each.saturating_sub(1);
            if *each == 0 {
                count.remove(&self.lease);
            }
        }
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, "the secret has no text in the field `{name}`"),
            Self::Postgres(error) => match error.as_db_error() {
                Some(said) => write!(f, "PostgreSQL says: {}", said.message()),
                None => match error.source() {
                    Some(why) => write!(f, "PostgreSQL cannot be used: {error}: {why}"),
                    None => write!(f, "PostgreSQL cannot be used: {error}"),
                },
            },
        }
    }
}

impl Error for Failure {}
