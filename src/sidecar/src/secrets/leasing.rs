//! First leases, each asked for by a task of its own that is never interrupted in the middle of a call.
//!
//! The broker finishes what it was asked for, whether or not somebody waits for the answer: a lease that comes when nobody
//! does any more is given back.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use leasehold_client::{Client, Error, Leased};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::task::TaskTracker;

use super::Staged;
use crate::config::Secret;

/// Leases that are asked for until this is dropped.
#[derive(Debug)]
pub(super) struct Leasing {
    words: mpsc::UnboundedReceiver<Word>,
}

/// How it goes with one of them.
#[derive(Debug)]
pub(super) enum Word {
    /// It cannot be had, and is tried again.
    Refused(Secret, Error),
    /// It is had.
    Leased(Staged),
}

/// The first and the longest wait before a first lease is asked for again.
const RETRIES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

impl Leasing {
    /// Asks for all of these, each however long that takes.
    pub(super) fn begin(
        client: &Client,
        wanted: impl IntoIterator<Item = Secret>,
        partings: &TaskTracker,
    ) -> Self {
        let (tell, words) = mpsc::unbounded_channel();
        for secret in wanted {
            partings.spawn(lease(client.clone(), secret, tell.clone(), partings.clone()));
        }
        Self { words }
    }

    /// What is new; `None` when all are had.
    pub(super) async fn next(&mut self) -> Option<Word> {
        self.words.recv().await
    }
}

async fn lease(client: Client, secret: Secret, tell: mpsc::UnboundedSender<Word>, partings: TaskTracker) {
    let mut failures = 0;
    loop {
        let error = match first(&client, &secret).await {
            Ok(guard) => {
                // Whatever becomes of it on the way, it gives itself back.
                let _ = tell.send(Word::Leased(Staged::one(secret, guard, &partings)));
                return;
            }
            Err(error) => error,
        };
        failures = u32::saturating_add(failures, 1);
        let pause = wait(failures, error.retry_after());
        if tell.send(Word::Refused(secret.clone(), error)).is_err() {
            return;
        }
        tokio::select! {
            () = tell.closed() => return,
            () = sleep(pause) => {}
        }
    }
}

async fn first(client: &Client, secret: &Secret) -> Result<Leased, Error> {
    let borrow = client.lease(secret.path.as_str()).fields(secret.fields.iter().map(|field| field.as_str()));
    match secret.ttl {
        Some(ttl) => borrow.ttl(ttl).await,
        None => borrow.await,
    }
}

/// How long after so many failures in a row: longer and longer, and not all sidecars at once.
pub(super) fn wait(failures: u32, asked: Option<Duration>) -> Duration {
    let whole = RETRIES.0.saturating_mul(1_u32 << failures.saturating_sub(1).min(10)).min(RETRIES.1);
    let chance = RandomState::new().hash_one(failures) >> 32;
    let jittered = whole.mul_f64(0.5 + chance as f64 / f64::from(u32::MAX) / 2.0);
    jittered.max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_heed_what_the_broker_asks() {
        for (failures, most) in [(1, 500), (2, 1_000), (4, 4_000), (30, 15_000)] {
            let wait = wait(failures, None).as_millis();
            assert!((most / 2..=most).contains(&wait), "{failures}: {wait}");
        }
        assert_eq!(wait(1, Some(Duration::from_secs(60))), Duration::from_secs(60));
    }
}
