//! Whether a peer that was let in is still to be let in: asked on every request.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use leasehold_core::Timestamp;
use rustls_pki_types::CertificateDer;

use super::{Distrust, Store};

/// One connection's standing. As long as nothing has changed the answer costs two atomic loads; when new material is
/// in force, or something on the chain has come to its end, the chain is verified anew, once.
pub struct PeerGuard {
    store: Arc<Store>,
    chain: Vec<CertificateDer<'static>>,
    /// The generation that the chain was last verified against; 0 when it failed.
    verified: AtomicU64,
    /// The last second for which that verification holds.
    good_until: AtomicI64,
    /// Held while verifying, so that an older answer cannot overwrite a newer one.
    refused: Mutex<Option<Distrust>>,
}

impl PeerGuard {
    /// For a chain that was verified at `now` against `generation`.
    pub(crate) fn new(
        store: Arc<Store>,
        chain: Vec<CertificateDer<'static>>,
        generation: u64,
        now: Timestamp,
    ) -> Self {
        // The generation in force may be a newer one: then the first check verifies again.
        let good_until = store.current().trust().good_until(&chain, now);
        Self {
            store,
            chain,
            verified: AtomicU64::new(generation),
            good_until: AtomicI64::new(good_until),
            refused: Mutex::new(None),
        }
    }

    /// Whether the peer is let in at `now`. Once refused it stays refused.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, now: Timestamp) -> Result<(), Distrust> {
        if self.is_settled(now) { Ok(()) } else { self.verify(now) }
    }

    /// Whether [`PeerGuard::check`] would answer yes without verifying.
    pub(crate) fn is_settled(&self, now: Timestamp) -> bool {
        self.store.generation() == self.verified.load(Ordering::Acquire)
            && now.as_second() <= self.good_until.load(Ordering::Relaxed)
    }

    #[cold]
    fn verify(&self, now: Timestamp) -> Result<(), Distrust> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refusal) = &*refused {
            return Err(refusal.clone());
        }
        let in_force = self.store.current();
        match in_force.trust().verify(&self.chain, now) {
            Ok(_) => {
                self.good_until.store(in_force.trust().good_until(&self.chain, now), Ordering::Relaxed);
                self.verified.store(in_force.generation(), Ordering::Release);
                Ok(())
            }
            Err(refusal) => {
                self.verified.store(0, Ordering::Release);
                Err(refused.insert(refusal).clone())
            }
        }
    }
}
