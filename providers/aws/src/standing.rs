//! How the broker stands with AWS: until when its credentials hold, and why it has none.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_credential_types::{
    Credentials as Key,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use leasehold_core::{Timestamp, ports::Clock, provider::SignIn};

use crate::error::without_credentials;

/// What is known without asking.
#[derive(Default)]
pub(crate) struct Standing(Mutex<Known>);

#[derive(Default)]
struct Known {
    expires_at: Option<Timestamp>,
    /// Why the last attempt to get credentials failed.
    renewal: Option<String>,
    /// Why AWS did not take those that there were.
    refusal: Option<String>,
}

impl Standing {
    /// For health.
    pub(crate) fn shown(&self) -> SignIn {
        let known = self.known();
        let problem = known.renewal.clone().or_else(|| known.refusal.clone());
        SignIn { expires_at: known.expires_at, problem }
    }

    /// AWS took the credentials.
    pub(crate) fn accepted(&self) {
        self.known().refusal = None;
    }

    /// AWS did not take the credentials.
    pub(crate) fn refused(&self, why: String) {
        let mut known = self.known();
        known.refusal = Some(why);
        known.expires_at = None;
    }

    fn renewed(&self, key: &Key) {
        let mut known = self.known();
        known.renewal = None;
        known.expires_at = end_of(key);
    }

    fn not_renewed(&self, why: String) {
        self.known().renewal = Some(why);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source of credentials that is watched. When it fails, what it gave last goes on being used until its end.
pub(crate) struct Watched {
    source: SharedCredentialsProvider,
    standing: Arc<Standing>,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Last>>,
}

struct Last {
    key: Key,
    /// When the source is asked again, after it failed.
    ask_at: Timestamp,
}

/// How long a source that failed is left alone, while there are credentials that still hold.
const PAUSE: Duration = Duration::from_secs(20);

impl Watched {
    /// Watches a source.
    pub(crate) fn new(
        source: SharedCredentialsProvider,
        standing: Arc<Standing>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { source, standing, clock, last: Mutex::default() }
    }

    async fn provide(&self) -> Result<Key, CredentialsError> {
        let now = self.clock.now();
        if let Some(Last { key, ask_at }) = &*self.last()
            && now < *ask_at
            && end_of(key).is_some_and(|end| now < end)
        {
            return Ok(key.clone());
        }
        match self.source.provide_credentials().await {
            Ok(key) => {
                self.standing.renewed(&key);
                *self.last() = Some(Last { key: key.clone(), ask_at: now });
                Ok(key)
            }
            Err(error) => {
                self.standing.not_renewed(without_credentials(&error));
                let now = self.clock.now();
                match &mut *self.last() {
                    Some(Last { key, ask_at }) if end_of(key).is_some_and(|end| now < end) => {
                        *ask_at = now.checked_add(PAUSE).unwrap_or(now);
                        Ok(key.clone())
                    }
                    _ => Err(error),
                }
            }
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a key ends, if it does.
fn end_of(key: &Key) -> Option<Timestamp> {
    key.expiry().and_then(|end| Timestamp::try_from(end).ok())
}

impl ProvideCredentials for Watched {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }

    fn fallback_on_interrupt(&self) -> Option<Key> {
        self.source.fallback_on_interrupt()
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("source", &self.source).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

    use async_trait::async_trait;

    use super::*;

    #[derive(Default)]
    struct Hand(AtomicI64);

    #[async_trait]
    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
        }

        async fn sleep_until(&self, _deadline: Timestamp) {}
    }

    /// Gives a key that ends at 1000, once.
    #[derive(Debug, Default)]
    struct Once(Arc<AtomicU32>);

    impl ProvideCredentials for Once {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let end = Timestamp::from_second(1000).unwrap();
            future::ProvideCredentials::ready(match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => Ok(Key::new("AKIA", "canary", None, Some(end.into()), "test")),
                _ => Err(CredentialsError::provider_error("the metadata service is away")),
            })
        }
    }

    #[tokio::test]
    async fn credentials_are_used_to_their_end_when_they_cannot_be_renewed() {
        let (clock, standing, asked) =
            (Arc::new(Hand::default()), Arc::new(Standing::default()), Arc::default());
        let source = SharedCredentialsProvider::new(Once(Arc::clone(&asked)));
        let watched = Watched::new(source, Arc::clone(&standing), Arc::clone(&clock) as Arc<dyn Clock>);
        let at = async |second: i64| {
            clock.0.store(second, Ordering::SeqCst);
            watched.provide_credentials().await.is_ok()
        };
        assert!(at(0).await);
        assert_eq!(standing.shown().expires_at, Timestamp::from_second(1000).ok());
        assert_eq!(standing.shown().problem, None);
        assert!(at(900).await && at(910).await);
        assert_eq!(asked.load(Ordering::SeqCst), 2, "a source that fails is left alone for a while");
        assert!(standing.shown().problem.unwrap().contains("the metadata service is away"));
        assert!(at(930).await);
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        assert!(!at(1000).await);
        assert!(!format!("{watched:?}").contains("canary"));
    }

    #[test]
    fn a_refusal_is_shown_until_aws_takes_the_key() {
        let standing = Standing::default();
        standing.refused("the key is not AWS's".to_owned());
        assert_eq!(standing.shown().problem.as_deref(), Some("the key is not AWS's"));
        standing.accepted();
        assert_eq!(standing.shown(), SignIn::default());
    }
}
