//! What is kept, sealed, on disk, so that a restart without the broker has something to go on with.
//!
//! Nothing here makes a lease longer: what is kept of one is used until the lease's own end and not after, whatever was
//! done to the clock or to the file in between. A cache that cannot be opened is said to be, and is as good as none.

pub mod age;
mod file;
pub mod form;
mod key;

use std::{collections::BTreeMap, convert::Infallible, path::Path, sync::Arc, time::Duration};

use leasehold_core::{LeaseId, SecretBytes, Timestamp};
use leasehold_seal::{KeyRing, SealError};
use thiserror::Error;
use tokio::{sync::watch, time::sleep};

use self::{
    age::{Moment, Untimely},
    form::{Contents, Entry},
};
pub use self::{file::FileError, key::KeyError};
use crate::{
    clock::MachineClock,
    config::{self, Cache, cache::KeySource},
    edition::Edition,
    endpoint::is_over,
    name::Name,
    snapshot::{Loan, Snapshot},
};

/// Why there is nothing to go on with, or nothing was kept.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The file cannot be read or written, or is not to be trusted.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It was sealed with another key, as after a new certificate with a new private key, or was changed.
    #[error("the cache does not open: {0}. Nothing of it is used")]
    Sealed(SealError),
    /// What it holds is no cache of this version.
    #[error("the cache holds what this version does not know. Nothing of it is used")]
    Unknown,
    /// The machine's time cannot be told well enough.
    #[error("the cache cannot be used: {0}")]
    Time(#[from] Untimely),
}

/// What the sealed bytes are for: in another place they do not open.
const CONTEXT: &[u8] = b"leasehold-sidecar cache";
/// The key's file is looked at so often, so that what is kept opens with the key that the next start finds.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// A time of day that is so many seconds off is taken for set.
const SET: u64 = 2;

/// What was kept and may still be used; empty when there is nothing. A cache that is switched off is removed.
pub fn load(settings: &Cache, wanted: &[config::Secret], clock: &dyn MachineClock) -> Snapshot {
    if !settings.enabled {
        match file::remove(&settings.file) {
            Ok(true) => {
                tracing::info!(file = %settings.file.display(), "the cache is switched off, and was removed")
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the cache is switched off, and is still there"),
        }
        return Snapshot::default();
    }
    match open(settings, wanted, clock) {
        Ok(snapshot) => {
            if !snapshot.secrets.is_empty() {
                tracing::info!(
                    secrets = snapshot.secrets.len(),
                    "going on with what was kept, until the broker answers"
                );
            }
            snapshot
        }
        Err(error) => {
            tracing::warn!(%error, "nothing that was kept is used");
            Snapshot::default()
        }
    }
}

fn open(
    settings: &Cache,
    wanted: &[config::Secret],
    clock: &dyn MachineClock,
) -> Result<Snapshot, CacheError> {
    let Some(sealed) = file::read(&settings.file)? else { return Ok(Snapshot::default()) };
    let plain = key::ring(&settings.key)?.open(CONTEXT, &sealed).map_err(CacheError::Sealed)?;
    let contents = form::decode(&plain).ok_or(CacheError::Unknown)?;
    let now = Moment::now(clock)?;
    Ok(usable(contents, wanted, &now)?)
}

/// What is asked for as it was, and has not ended.
fn usable(contents: Contents, wanted: &[config::Secret], now: &Moment) -> Result<Snapshot, Untimely> {
    let age = contents.written.age(now)?;
    let mut secrets = BTreeMap::new();
    for entry in contents.entries {
        let asked = wanted.iter().find(|secret| secret.name == entry.name);
        if asked.is_none_or(|secret| secret.path != entry.path || secret.fields != entry.fields) {
            continue;
        }
        // By this machine's time of day as it is now, which may be behind.
        let Some(end) = age.end(entry.expires_at) else {
            tracing::info!(secret = %entry.name, ended = %entry.expires_at, "the lease that was kept has ended");
            continue;
        };
        let loan = Loan::kept(entry.path, entry.lease, entry.version, end, entry.value);
        secrets.insert(entry.name, Arc::new(loan));
    }
    Ok(Snapshot { secrets, ..Snapshot::default() })
}

/// What a cache was written of: when it is the same, it need not be written again.
#[derive(PartialEq)]
struct Stamp {
    key: Option<(u64, u64, i64, i64)>,
    leases: Vec<(Name, LeaseId, Timestamp)>,
}

/// Keeps every snapshot until it is dropped; `in_force` says what is wanted.
pub async fn keep(
    settings: Cache,
    in_force: watch::Receiver<Arc<Edition>>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    clock: Arc<dyn MachineClock>,
) -> Infallible {
    let mut kept: Option<(Stamp, i64)> = None;
    let mut failed = false;
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let told = !snapshot.troubles.is_empty() || !snapshot.secrets.is_empty();
        let edition = Arc::clone(&in_force.borrow());
        let (now, day) = (clock.now(), clock.time_of_day());
        let live: Vec<_> = snapshot.wanted().filter(|(_, loan)| !is_over(loan, now)).collect();
        let stamp = Stamp {
            key: key::stamp(&settings.key),
            leases: live.iter().map(|(name, loan)| ((*name).clone(), loan.lease, loan.ends)).collect(),
        };
        // What is written is dated by the time of day, so that another start of the machine can tell its age: once that is
        // set, the dates are others.
        let ahead = day.as_second().saturating_sub(now.as_second());
        let is_kept =
            kept.as_ref().is_some_and(|(before, was)| *before == stamp && was.abs_diff(ahead) <= SET);
        // Before anything is known, what was kept is all that there is.
        if told && !is_kept {
            let entries = live.into_iter().filter_map(|(name, loan)| {
                let fields = &edition.config.secrets.iter().find(|secret| secret.name == *name)?.fields;
                Some(Entry {
                    name: name.clone(),
                    path: loan.path.clone(),
                    fields: fields.clone(),
                    lease: loan.lease,
                    version: loan.version.clone(),
                    expires_at: day.checked_add(loan.ends.duration_since(now)).unwrap_or(day),
                    value: loan.value().clone(),
                })
            });
            let written = Moment::now(clock.as_ref()).map_err(CacheError::from);
            let contents = written.map(|written| Contents { written, entries: entries.collect() });
            let outcome = match contents {
                Ok(contents) => write(&settings, contents).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => {
                    if std::mem::take(&mut failed) {
                        tracing::info!("what is held is kept on disk again");
                    }
                    kept = Some((stamp, ahead));
                }
                Err(error) if !failed => {
                    failed = true;
                    tracing::error!(%error, "what is held cannot be kept on disk; tried again");
                }
                Err(_) => {}
            }
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { sleep(LOOK_AGAIN).await },
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Replaces what is kept. A disk may be slow: it is waited for beside the work.
async fn write(settings: &Cache, contents: Contents) -> Result<(), CacheError> {
    let Cache { file, key, .. } = settings.clone();
    let written = tokio::task::spawn_blocking(move || write_now(&file, &key, &contents));
    written.await.unwrap_or(Err(CacheError::Unknown))
}

fn write_now(file: &Path, key: &KeySource, contents: &Contents) -> Result<(), CacheError> {
    if contents.entries.is_empty() {
        file::remove(file)?;
        return Ok(());
    }
    let plain = form::encode(contents).ok_or(CacheError::Unknown)?;
    let sealed = seal(&key::ring(key)?, &plain)?;
    Ok(file::replace(file, &sealed)?)
}

fn seal(ring: &KeyRing, plain: &SecretBytes) -> Result<Vec<u8>, CacheError> {
    ring.seal(CONTEXT, plain.expose()).map_err(CacheError::Sealed)
}

#[cfg(test)]
mod tests;
