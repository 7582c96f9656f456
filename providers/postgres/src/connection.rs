//! One connection of the administrator's, and how it is made.

use std::{future::poll_fn, sync::Arc};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use leasehold_core::{Timestamp, provider::ErrorClass};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_postgres::{
    Client, Config, Connection, NoTls, SimpleQueryMessage, SimpleQueryRow,
    config::{SslMode, TargetSessionAttrs},
    tls::TlsStream,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    administrator::{Login, SignsIn},
    config::PostgresConfig,
    error::{Failure, classify},
    in_time::{SAYS_TIME, ServerClock, TIME, TOO_LATE, Timed},
    session::Session,
    sql::literal,
    tls::connector,
};

/// Makes connections, and says which can be used again.
pub(crate) struct Dialer {
    config: Arc<PostgresConfig>,
    signs_in: Arc<SignsIn>,
}

/// A connection.
pub(crate) struct Link {
    client: Client,
    driving: JoinHandle<()>,
    tls: Option<MakeRustlsConnect>,
    /// As whom it was made.
    pub(crate) user: String,
    /// What the server said of itself and of us.
    pub(crate) facts: Facts,
    /// The server's clock.
    pub(crate) clock: ServerClock,
}

/// What a server says of itself and of the broker's user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    /// As people write it, such as `15.18`.
    pub(crate) version: String,
    /// As numbers are compared, such as `150018`.
    pub(crate) version_number: u32,
    /// Its clock.
    pub(crate) clock: Option<Timestamp>,
    /// Whether the broker's user may do everything.
    pub(crate) superuser: bool,
    /// Whether it may make roles.
    pub(crate) creates_roles: bool,
    /// When its password ends.
    pub(crate) ends_at: Option<Timestamp>,
    /// What the server calls this session.
    pub(crate) session: Option<Session>,
}

/// The rows of each statement of one text, in order.
pub(crate) struct Answer(Vec<Vec<SimpleQueryRow>>);

/// So many times something newer is tried.
const NEWER: usize = 2;

impl Dialer {
    pub(crate) const fn new(config: Arc<PostgresConfig>, signs_in: Arc<SignsIn>) -> Self {
        Self { config, signs_in }
    }

    /// A connection to a database of the server, as the administrator. What the server refuses is looked for anew, so
    /// that it can be changed under the broker: what was in memory may be older than what is current, and what is current
    /// older than what a rotation is just making so.
    pub(crate) async fn connect(&self, database: &str) -> Result<Link, Failure> {
        let (mut login, mut refused) = (self.signs_in.login().await?, Vec::new());
        loop {
            match self.sign_in(database, &login).await {
                Err(failure) if failure.is_of_login() && refused.len() < NEWER => {
                    refused.push(login);
                    login = self.signs_in.instead_of(&refused).await?.ok_or(failure)?;
                }
                outcome => return outcome,
            }
        }
    }

    async fn sign_in(&self, database: &str, login: &Login) -> Result<Link, Failure> {
        self.in_time(async {
            let mut link = self.open(database, &login.user, login.password.expose()).await?;
            link.facts = Facts::of(&link.ask(&self.settings(&login.user)).await?).ok_or_else(Failure::odd)?;
            link.facts.clock.inspect(|said| link.clock.heard(*said));
            Ok(link)
        })
        .await
    }

    /// Whether somebody else gets in, as far as signing in goes.
    pub(crate) async fn try_out(
        &self,
        user: &str,
        password: impl AsRef<[u8]> + Send + Sync,
    ) -> Result<(), Failure> {
        self.in_time(self.open(&self.config.database, user, password.as_ref())).await.map(drop)
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let allowed = self.config.connect_timeout;
        match timeout(allowed, work).await {
            Ok(done) => done,
            Err(_) => Err(Failure::ours(
                ErrorClass::Transient,
                format!("PostgreSQL lets nobody in within {allowed:?}"),
            )),
        }
    }

    async fn open(&self, database: &str, user: &str, password: &[u8]) -> Result<Link, Failure> {
        let config = &*self.config;
        let mut to = Config::new();
        to.user(user).password(password).dbname(database);
        to.application_name("leasehold").connect_timeout(config.connect_timeout);
        for endpoint in config.endpoints() {
            to.host(endpoint.host).port(endpoint.port);
        }
        if !config.cluster.is_empty() {
            to.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let tls = connector(config)?;
        let (client, driving) = match tls.clone() {
            Some(tls) => {
                to.ssl_mode(SslMode::Require);
                let (client, connection) = to.connect(tls).await.map_err(|error| classify(&error))?;
                (client, drive(connection))
            }
            None => {
                to.ssl_mode(SslMode::Disable);
                let (client, connection) = to.connect(NoTls).await.map_err(|error| classify(&error))?;
                (client, drive(connection))
            }
        };
        let (facts, clock) = (Facts::none(), ServerClock::new());
        Ok(Link { client, driving, tls, user: user.to_owned(), facts, clock })
    }

    /// What every session is told, and what it is asked.
    fn settings(&self, user: &str) -> String {
        let patience = self.config.statement_timeout.as_millis();
        format!(
            "SET standard_conforming_strings = on; SET statement_timeout = {patience}; \
             SET idle_in_transaction_session_timeout = {patience}; \
             SET default_transaction_isolation = 'read committed'; \
             SELECT pg_catalog.current_setting('server_version'), \
                    pg_catalog.current_setting('server_version_num'), \
                    extract(epoch FROM pg_catalog.clock_timestamp())::pg_catalog.text, \
                    rolsuper, rolcreaterole, extract(epoch FROM rolvaliduntil)::pg_catalog.text, \
                    pg_catalog.pg_backend_pid(), \
                    (SELECT extract(epoch FROM backend_start)::pg_catalog.text \
                     FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()) \
             FROM pg_catalog.pg_roles WHERE rolname = {}",
            literal(user)
        )
    }
}

impl Manager for Dialer {
    type Type = Link;
    type Error = Failure;

    async fn create(&self) -> Result<Link, Failure> {
        // Boxed, as it is deep: every call would be the larger for it.
        Box::pin(self.connect(&self.config.database)).await
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<Failure> {
        if link.client.is_closed() { Err(RecycleError::message("the server closed it")) } else { Ok(()) }
    }
}

impl Link {
    /// Sends statements as one text, which the server does wholly or not at all.
    pub(crate) async fn ask(&self, statements: &str) -> Result<Answer, Failure> {
        match self.client.simple_query(statements).await {
            Ok(messages) => Ok(Answer::of(messages)),
            Err(error) => Err(classify(&error)),
        }
    }

    /// Sends statements that begin as [`Moment::opening`] says, and may be done until `deadline`. When the server's clock
    /// was set since it was heard, they are sent once more.
    ///
    /// [`Moment::opening`]: crate::in_time::Moment::opening
    pub(crate) async fn ask_in_time(
        &self,
        deadline: Instant,
        statements: &Timed<'_>,
    ) -> Result<Answer, Failure> {
        let mut clock_was_set = false;
        loop {
            let moment = self.clock.moment(deadline).ok_or_else(Failure::odd)?;
            let failure = match self.ask(&statements(&moment)).await {
                Ok(answer) => {
                    let said = answer.rows(SAYS_TIME).first().and_then(|row| row.get(0));
                    said.and_then(self::moment).inspect(|said| self.clock.heard(*said));
                    return Ok(answer);
                }
                Err(failure) if failure.is(TOO_LATE) => failure,
                Err(failure) => return Err(failure),
            };
            let answer = self.ask(TIME).await?;
            let said = answer.last().first().and_then(|row| row.get(0)).and_then(self::moment);
            let said = said.ok_or_else(Failure::odd)?;
            self.clock.heard(said);
            if said <= moment.latest {
                // It came in time: a statement of the configuration divides by zero.
                return Err(failure);
            }
            if clock_was_set || Instant::now() >= deadline {
                let why = "PostgreSQL was reached too late, and has done nothing";
                return Err(Failure::ours(ErrorClass::Transient, why));
            }
            clock_was_set = true;
        }
    }

    /// Whether it is of no use any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Tells the server to stop what it is doing here, if it is still there to be told.
    pub(crate) fn abandon(self, patience: std::time::Duration) {
        let (token, tls) = (self.client.cancel_token(), self.tls.clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let _ = timeout(patience, async {
                match tls {
                    Some(tls) => token.cancel_query(tls).await,
                    None => token.cancel_query(NoTls).await,
                }
            })
            .await;
        });
    }
}

impl Drop for Link {
    /// Its socket is closed at once: a client that is only dropped waits for the answer that may never come.
    fn drop(&mut self) {
        self.driving.abort();
    }
}

impl Facts {
    fn none() -> Self {
        Self {
            version: String::new(),
            version_number: 0,
            clock: None,
            superuser: false,
            creates_roles: false,
            ends_at: None,
            session: None,
        }
    }

    fn of(answer: &Answer) -> Option<Self> {
        let row = answer.rows(4).first()?;
        Some(Self {
            version: row.get(0)?.split(' ').next()?.to_owned(),
            version_number: row.get(1)?.parse().ok()?,
            clock: row.get(2).and_then(moment),
            superuser: row.get(3)? == "t",
            creates_roles: row.get(4)? == "t",
            ends_at: row.get(5).and_then(moment),
            session: Some(Session { number: row.get(6)?.parse().ok()?, began: row.get(7)?.to_owned() }),
        })
    }
}

impl Answer {
    fn of(messages: Vec<SimpleQueryMessage>) -> Self {
        let (mut statements, mut rows) = (Vec::new(), Vec::new());
        for message in messages {
            match message {
                SimpleQueryMessage::Row(row) => rows.push(row),
                SimpleQueryMessage::CommandComplete(_) => statements.push(std::mem::take(&mut rows)),
                _ => {}
            }
        }
        Self(statements)
    }

    /// The rows of one statement, counted from 0.
    pub(crate) fn rows(&self, statement: usize) -> &[SimpleQueryRow] {
        self.0.get(statement).map(Vec::as_slice).unwrap_or_default()
    }

    /// The rows of the last statement.
    pub(crate) fn last(&self) -> &[SimpleQueryRow] {
        self.0.last().map(Vec::as_slice).unwrap_or_default()
    }
}

/// Seconds since 1970 as the server writes them; `None` for never.
pub(crate) fn moment(seconds: &str) -> Option<Timestamp> {
    let seconds: f64 = seconds.parse().ok().filter(|seconds: &f64| seconds.is_finite())?;
    let micros = seconds * 1e6;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a time beyond what fits saturates, and is then none"
    )]
    Timestamp::from_microsecond(micros.round() as i64).ok()
}

/// Lets a connection work until it ends. What the server remarks on the side is not listened to: it may quote statements.
fn drive<S, T>(mut connection: Connection<S, T>) -> JoinHandle<()>
where
    Connection<S, T>: Send + 'static,
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: TlsStream + Unpin,
{
    tokio::spawn(async move { while let Some(Ok(_)) = poll_fn(|cx| connection.poll_message(cx)).await {} })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

    use leasehold_core::{LeaseId, ttl::after};
    use leasehold_provider_conformance::peers::{Postgres, or_skip};

    use super::*;
    use crate::{config::Tls, in_time::deadline};

    /// What is sent too late is not done; a server whose clock was set is asked once more; what the statements themselves
    /// do wrong is theirs.
    #[tokio::test]
    async fn statements_are_done_until_their_time_by_the_servers_clock() {
        let Some(postgres) = or_skip(Postgres::start().await).unwrap() else { return };
        let home = tempfile::tempdir().unwrap();
        let password = home.path().join("password");
        fs::write(&password, postgres.password()).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let config = PostgresConfig::new(postgres.address().to_string(), Postgres::SUPERUSER, password);
        let config = PostgresConfig { tls: Tls::Disable, connect_timeout: Duration::from_secs(20), ..config };
        let signs_in = SignsIn::new(config.administrator.clone(), None).unwrap();
        let dialer = Dialer::new(Arc::new(config), Arc::new(signs_in));
        let link = dialer.connect("postgres").await.unwrap();
        let lease = LeaseId::from_bits([7; 16]);
        let said = || link.clock.moment(Instant::now()).unwrap().now;
        let ask = async |within: u64, then: &'static str| {
            let statements = |at: &crate::in_time::Moment| format!("{};\n{then}", at.opening(lease));
            link.ask_in_time(deadline(Duration::from_secs(within)), &statements).await
        };
        let begin = said();
        ask(30, "CREATE TABLE made_first()").await.unwrap();
        // The broker takes the server's clock for long behind, as after it was set.
        link.clock.heard("2026-01-01T00:00:00Z".parse().unwrap());
        ask(30, "CREATE TABLE made_anew()").await.unwrap();
        assert!(said() >= begin && said() < after(begin, Duration::from_secs(3600)));
        let late = ask(0, "CREATE TABLE made_late()").await.err().unwrap();
        assert!(late.class == ErrorClass::Transient && late.to_string().contains("too late"), "{late}");
        let own = ask(30, "SELECT 1 / 0").await.err().unwrap();
        assert!(own.class == ErrorClass::Permanent && own.is(TOO_LATE), "{own}");
        let tables = "SELECT relname FROM pg_class WHERE relname LIKE 'made%' ORDER BY 1";
        let tables: Vec<_> = postgres.run(tables).await.unwrap().into_iter().flatten().collect();
        assert_eq!(tables, ["made_anew", "made_first"]);
    }

    #[test]
    fn never_is_no_moment() {
        for never in ["Infinity", "-Infinity", "NaN", "", "x"] {
            assert_eq!(moment(never), None, "{never}");
        }
        assert_eq!(moment("1795348800.250000").unwrap().to_string(), "2026-11-22T12:00:00.25Z");
    }
}
