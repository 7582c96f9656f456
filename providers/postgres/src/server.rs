//! The server as it is asked: over a few connections, each call within its time, repeated where that is safe.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{Object, Pool, PoolError},
};
use leasehold_core::{
    Timestamp,
    ports::{Clock, Entropy},
    provider::{ErrorClass, ProviderError, SignIn},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::error::SqlState;
use tracing::warn;

use crate::{
    administrator::SignsIn,
    config::PostgresConfig,
    connection::{Answer, Dialer, Link},
    error::{Call, Failure},
    in_time::Timed,
};

/// One PostgreSQL server, or one cluster of them.
pub(crate) struct Server {
    pub(crate) config: Arc<PostgresConfig>,
    pub(crate) signs_in: Arc<SignsIn>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pool: Pool<Dialer>,
    seen: Mutex<Seen>,
}

/// How the broker's last sign-in went.
#[derive(Default)]
struct Seen {
    problem: Option<String>,
    ends_at: Option<Timestamp>,
}

/// A connection that is being used. When a call is given up in the middle, the server is told to stop and the connection
/// is closed: what it would answer is no answer to the next call.
struct Busy {
    link: Option<Object<Dialer>>,
    patience: Duration,
}

/// What a server is asked.
#[derive(Clone, Copy)]
enum Request<'a> {
    /// These statements.
    Text(&'a str),
    /// These, until then.
    InTime(Instant, &'a Timed<'a>),
}

/// The first call and its repetitions.
pub(crate) const ATTEMPTS: u32 = 3;
/// The first repetition comes within this, the second within twice this.
const PAUSE: Duration = Duration::from_millis(200);

impl Server {
    pub(crate) fn new(
        config: PostgresConfig,
        signs_in: SignsIn,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, String> {
        let (config, signs_in) = (Arc::new(config), Arc::new(signs_in));
        let pool = Pool::builder(Dialer::new(Arc::clone(&config), Arc::clone(&signs_in)))
            .max_size(usize::try_from(config.connections).unwrap_or(1))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { config, signs_in, clock, entropy, pool, seen: Mutex::default() })
    }

    /// Does work within the time that a call has.
    pub(crate) async fn within<T>(
        &self,
        call: Call<'_>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, ProviderError> {
        let allowed = self.config.timeout;
        match timeout(allowed, work).await {
            Ok(done) => done.map_err(|failure| call.failed(&failure)),
            Err(_) => {
                Err(call
                    .error(ErrorClass::Transient, format!("PostgreSQL did not answer within {allowed:?}")))
            }
        }
    }

    /// Sends statements as one text, and again where the connection broke or it collided with another change: all that
    /// is sent so can be done twice.
    pub(crate) async fn ask(&self, statements: &str) -> Result<Answer, Failure> {
        let mut attempt = 1;
        loop {
            match self.ask_once(Request::Text(statements)).await {
                Err(failure) if failure.again && attempt < ATTEMPTS => {
                    self.pause(attempt).await;
                    attempt = attempt.saturating_add(1);
                }
                outcome => return outcome,
            }
        }
    }

    /// As [`Self::ask`], of statements that may be done until `deadline`. What was sent and not answered is cut off: it
    /// overtakes nothing that is sent after it.
    pub(crate) async fn ask_in_time(
        &self,
        deadline: Instant,
        statements: &Timed<'_>,
    ) -> Result<Answer, Failure> {
        let mut attempt = 1;
        loop {
            let failure = match self.ask_in_time_once(deadline, statements).await {
                Err(failure) => failure,
                answer => return answer,
            };
            let is_cut_off = match &failure.left {
                Some(left) => self.cut_off(left).await.is_ok(),
                None => true,
            };
            if !is_cut_off || !failure.again || attempt >= ATTEMPTS {
                return Err(failure);
            }
            self.pause(attempt).await;
            attempt = attempt.saturating_add(1);
        }
    }

    /// Sends statements that may be done until `deadline`, and not again.
    pub(crate) async fn ask_in_time_once(
        &self,
        deadline: Instant,
        statements: &Timed<'_>,
    ) -> Result<Answer, Failure> {
        self.ask_once(Request::InTime(deadline, statements)).await
    }

    /// Waits before the next attempt.
    pub(crate) async fn pause(&self, attempt: u32) {
        sleep(self.jitter(PAUSE.saturating_mul(attempt))).await;
    }

    async fn ask_once(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let busy = self.connection().await?;
        let answer = match (&busy.link, request) {
            (Some(link), Request::Text(statements)) => link.ask(statements).await,
            (Some(link), Request::InTime(deadline, statements)) => {
                link.ask_in_time(deadline, statements).await
            }
            (None, _) => Err(Failure::odd()),
        };
        let answer = answer.map_err(|failure| {
            let session = busy.link.as_ref().filter(|_| failure.is_silence());
            Failure { left: session.and_then(|link| link.facts.session.clone()), ..failure }
        });
        busy.settle();
        if matches!(&answer, Err(failure) if failure.is(&SqlState::READ_ONLY_SQL_TRANSACTION)) {
            // It was demoted: connections to it are of no use, and new ones find who takes writes now.
            let _ = self.pool.retain(|_, _| false);
        }
        answer
    }

    /// A connection to another database of the same server, for one purpose.
    pub(crate) async fn elsewhere(&self, database: &str) -> Result<Link, Failure> {
        self.dialer().connect(database).await
    }

    /// What makes connections beside those that are kept.
    pub(crate) fn dialer(&self) -> Dialer {
        Dialer::new(Arc::clone(&self.config), Arc::clone(&self.signs_in))
    }

    /// Uses the connections that were made as this user no more.
    pub(crate) fn forget(&self, user: &str) {
        let _ = self.pool.retain(|link, _| link.user != user);
    }

    async fn connection(&self) -> Result<Busy, Failure> {
        let link = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(failure) => failure,
            PoolError::Timeout(_) => Failure::ours(ErrorClass::Throttled, "every connection is in use"),
            _ => Failure::ours(ErrorClass::Transient, "the connections are being closed"),
        });
        let mut seen = self.seen();
        match link {
            Ok(link) => {
                *seen = Seen { problem: None, ends_at: link.facts.ends_at };
                Ok(Busy { link: Some(link), patience: self.config.connect_timeout })
            }
            Err(failure) => {
                let problem = failure.to_string();
                if seen.problem.as_ref() != Some(&problem) {
                    warn!(error = problem, "signing in to PostgreSQL failed");
                }
                seen.problem = Some(problem);
                Err(failure)
            }
        }
    }

    /// How the broker itself stands. Asks nobody.
    pub(crate) fn sign_in(&self) -> SignIn {
        let seen = self.seen();
        SignIn { expires_at: seen.ends_at, problem: seen.problem.clone() }
    }

    /// Somewhere between nothing and this.
    fn jitter(&self, most: Duration) -> Duration {
        let mut byte = [0; 1];
        // Without randomness, all of it.
        let drawn = if self.entropy.fill(&mut byte).is_ok() { byte } else { [u8::MAX] };
        most.mul_f64(f64::from(drawn.first().copied().unwrap_or(u8::MAX)) / 255.0)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Busy {
    /// Its call has been answered: the connection is free for the next, if it is still there.
    fn settle(mut self) {
        if let Some(link) = self.link.take()
            && link.is_closed()
        {
            drop(Object::take(link));
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            Object::take(link).abandon(self.patience);
        }
    }
}
