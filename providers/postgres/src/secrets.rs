//! New users' passwords with what the server is told of them, made ahead: a verifier takes a millisecond or two, for which
//! no lease need wait. They are in memory only, and wiped when they are not used.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use leasehold_core::ports::{Entropy, NoEntropy};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use crate::{
    database::generate,
    scram::{ITERATIONS, verifier},
};

/// A new user's password, and what the server is told of it.
pub(crate) struct Secret {
    pub(crate) password: Zeroizing<String>,
    pub(crate) verifier: String,
}

/// Some of them, ready.
pub(crate) struct Secrets {
    entropy: Arc<dyn Entropy>,
    ready: Mutex<Vec<Secret>>,
    filling: AtomicBool,
}

/// So many are ready when nobody has asked for a while.
const AHEAD: usize = 8;

impl Secrets {
    pub(crate) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, ready: Mutex::default(), filling: AtomicBool::new(false) }
    }

    /// One that nobody else has; `None` when the broker is stopping.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Option<Secret>, NoEntropy> {
        let (ready, left) = {
            let mut ready = self.ready();
            (ready.pop(), ready.len())
        };
        if left <= AHEAD / 2 {
            self.fill();
        }
        if ready.is_some() {
            return Ok(ready);
        }
        let entropy = Arc::clone(&self.entropy);
        spawn_blocking(move || Secret::new(&*entropy)).await.ok().transpose()
    }

    /// Makes as many as are missing, where nobody waits for it.
    fn fill(self: &Arc<Self>) {
        if self.filling.swap(true, Ordering::AcqRel) {
            return;
        }
        let secrets = Arc::clone(self);
        spawn_blocking(move || {
            while secrets.ready().len() < AHEAD {
                // Whoever needs one next finds out why.
                let Ok(secret) = Secret::new(&*secrets.entropy) else { break };
                secrets.ready().push(secret);
            }
            secrets.filling.store(false, Ordering::Release);
        });
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Secret>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Secret {
    fn new(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        let password = generate(entropy)?;
        let mut salt = [0; 16];
        entropy.fill(&mut salt)?;
        let verifier = verifier(&password, &salt, ITERATIONS);
        Ok(Self { password, verifier })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::atomic::AtomicU8};

    use super::*;

    /// Another byte for each byte.
    #[derive(Default)]
    struct Counting(AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
            buffer.iter_mut().for_each(|byte| *byte = self.0.fetch_add(7, Ordering::Relaxed));
            buffer[0] = buffer[0].wrapping_mul(31).wrapping_add(self.0.fetch_add(1, Ordering::Relaxed));
            Ok(())
        }
    }

    #[tokio::test]
    async fn each_is_given_to_one_only_also_when_many_are_wanted_at_once() {
        let secrets = Arc::new(Secrets::new(Arc::new(Counting::default())));
        let mut given = BTreeSet::new();
        for _ in 0..50 {
            let (one, other) = tokio::join!(secrets.take(), secrets.take());
            for secret in [one, other] {
                let secret = secret.unwrap().unwrap();
                assert!(given.insert(secret.verifier), "given twice");
            }
        }
    }

    #[tokio::test]
    async fn they_come_to_be_ready_and_no_more_than_that() {
        let secrets = Arc::new(Secrets::new(Arc::new(Counting::default())));
        secrets.take().await.unwrap().unwrap();
        // Its filler is the only one, and ends when it has done its work.
        while secrets.filling.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
        assert_eq!(secrets.ready().len(), AHEAD);
    }
}
