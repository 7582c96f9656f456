//! The versions that are on their way out, and who still holds them.
//!
//! Of each, one lease that holds it is known in memory, the first in the order of the ledger's keys: only when that one
//! lets go is the ledger asked for another. However many holders let go, that is a few times.

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use leasehold_core::{
    LeaseId, SecretPath, SpiffeId, Timestamp,
    rotation::{Rotation, Stage},
    secret::VersionId,
    state::{Key, KeyRange, Write},
    ttl::after,
};
use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::{engine::Engine, error::EngineError};

/// What was on its way into the ledger when a version began to drain is not noticed: it is looked for this often.
const PERIOD: Duration = Duration::from_secs(5);

/// Who holds a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionHolder {
    /// The holder.
    pub holder: SpiffeId,
    /// Its lease.
    pub lease: LeaseId,
    /// The lease's end.
    pub expires_at: Timestamp,
}

/// The old versions that are draining. Empty nearly always.
#[derive(Default)]
pub(crate) struct Draining {
    any: AtomicBool,
    versions: Mutex<HashMap<SecretPath, Drain>>,
    news: Notify,
}

struct Drain {
    version: VersionId,
    hold: Hold,
}

/// What is known of a version's holders.
#[derive(Clone)]
enum Hold {
    /// Nothing, or that there is none and that somebody was told so.
    Unknown,
    /// The lease of this key holds it.
    By(Key),
    /// The lease that held it does so no longer; there may be others.
    Released,
}

impl Draining {
    /// Takes note of where a rotation is.
    pub(crate) fn note(&self, rotation: &Rotation) {
        let course = rotation.course.as_ref().filter(|course| course.stage == Stage::Draining);
        let Some(version) = course.and_then(|course| course.old.as_ref()) else {
            if self.any.load(Relaxed) {
                let mut versions = self.lock();
                versions.remove(&rotation.secret);
                self.any.store(!versions.is_empty(), Relaxed);
            }
            return;
        };
        let mut versions = self.lock();
        if versions.get(&rotation.secret).is_none_or(|drain| drain.version != *version) {
            let drain = Drain { version: version.clone(), hold: Hold::Unknown };
            versions.insert(rotation.secret.clone(), drain);
        }
        if !self.any.swap(true, Relaxed) {
            self.news.notify_one();
        }
    }

    /// The keys by which live leases are found that these writes delete: of a commit that may let go of such a version.
    pub(crate) fn released(&self, writes: &[Write]) -> Vec<Key> {
        // Every commit asks.
        if !self.any.load(Relaxed) {
            return Vec::new();
        }
        let gone = |write: &&Write| write.value.is_none() && write.key.as_str().starts_with("secret/");
        writes.iter().filter(gone).map(|write| write.key.clone()).collect()
    }

    /// Such a commit was made.
    pub(crate) fn let_go(&self, keys: &[Key]) {
        let mut versions = self.lock();
        for key in keys {
            if let Some(path) = key.secret_path()
                && let Some(drain) = versions.get_mut(&path)
                && matches!(&drain.hold, Hold::By(witness) if witness == key)
            {
                drain.hold = Hold::Released;
                self.news.notify_one();
            }
        }
    }

    /// Takes note of what is known of a version's holders. False when the version does not drain.
    fn set(&self, path: &SecretPath, version: &VersionId, hold: Hold) -> bool {
        let mut versions = self.lock();
        let drain = versions.get_mut(path).filter(|drain| drain.version == *version);
        drain.map(|drain| drain.hold = hold).is_some()
    }

    /// Those whose holders have to be looked at: all, or those that were let go of.
    fn to_look_at(&self, all: bool) -> Vec<(SecretPath, VersionId, Hold)> {
        let versions = self.lock();
        let those = versions.iter().filter(|(_, drain)| all || matches!(drain.hold, Hold::Released));
        those.map(|(path, drain)| (path.clone(), drain.version.clone(), drain.hold.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SecretPath, Drain>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Has the rotation of a secret looked at as soon as nobody holds its old version, until `stop` says true.
    pub(crate) async fn run_drains(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut all = true;
        while !*stop.borrow_and_update() {
            if let Err(problem) = self.look_at_drains(all).await {
                warn!(error = %problem, "it is not known who holds versions that drain; tried again");
            }
            let draining = &self.rotations.draining;
            let again = async {
                match draining.any.load(Relaxed) {
                    true => self.clock.sleep_until(after(self.now(), PERIOD)).await,
                    false => pending().await,
                }
            };
            tokio::select! {
                () = draining.news.notified() => all = false,
                () = again => all = true,
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn look_at_drains(&self, all: bool) -> Result<(), EngineError> {
        for (path, version, hold) in self.rotations.draining.to_look_at(all) {
            if let Hold::By(witness) = hold
                && self.ledger.get(&witness).await?.is_some()
            {
                continue;
            }
            if !self.is_held(&path, &version).await? {
                self.rotations.draining.set(&path, &version, Hold::Unknown);
                self.expect_rotation(&path, self.now());
            }
        }
        Ok(())
    }

    /// How many live leases there are on a version, and the first so many of them.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(crate) async fn holders_of(
        &self,
        path: &SecretPath,
        version: &VersionId,
        limit: usize,
    ) -> Result<(u64, Vec<VersionHolder>), EngineError> {
        let range = KeyRange::on_version(path, version);
        let mut holders = Vec::new();
        if limit > 0 {
            for entry in self.ledger.scan(&range, limit).await? {
                let Some(id) = entry.key.lease_id() else { continue };
                if let Some((lease, _)) = self.load(id).await? {
                    holders.push(VersionHolder {
                        holder: lease.holder,
                        lease: id,
                        expires_at: lease.expires_at,
                    });
                }
            }
        }
        self.is_held(path, version).await?;
        Ok((self.count(range).await?, holders))
    }

    /// Whether any live lease is on a version. Of one that drains, it is noticed from then on when that changes.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(crate) async fn is_held(&self, path: &SecretPath, version: &VersionId) -> Result<bool, EngineError> {
        let range = KeyRange::on_version(path, version);
        loop {
            let page = self.ledger.scan(&range, 1).await?;
            let Some(first) = page.first() else { return Ok(false) };
            if !self.rotations.draining.set(path, version, Hold::By(first.key.clone())) {
                return Ok(true);
            }
            // Who let go of it before it was known as the witness was not heard.
            if self.ledger.get(&first.key).await?.is_some() {
                return Ok(true);
            }
        }
    }
}
