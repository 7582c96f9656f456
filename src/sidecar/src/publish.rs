//! Puts the files of a snapshot where programs read them: all together, or none of them.
//!
//! A snapshot is published when every secret of the configuration is held. Whatever goes wrong leaves what was published
//! before in its place, is told, and is tried again for ever.

mod directory;
mod generation;
mod owner;
mod target;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use leasehold_core::SecretBytes;
use thiserror::Error;
use tokio::{
    sync::{Mutex, OwnedMutexGuard, mpsc, watch},
    time::{Instant, sleep_until},
};

use self::target::Target;
pub use self::{
    directory::DirectoryError,
    generation::GenerationError,
    owner::{NoSuchOwner, Ownership},
};
use crate::{
    config::{Files, files::Expired},
    edition::Edition,
    name::Name,
    render::{RenderError, Rendered},
    snapshot::Snapshot,
};

/// What has been published: whoever acts on a change is told by it.
#[derive(Clone, Debug)]
pub struct Published {
    /// Whether it is the first since the start: nobody has to be told of that as of a change.
    pub first: bool,
    /// The secrets whose values, and the files whose contents, are others than before; of the first, all. Empty when only a
    /// lease is another: then nobody is told, but [`Secrets::switched`](crate::secrets::Secrets::switched) is said.
    pub changed: BTreeSet<Name>,
    /// What was published.
    pub snapshot: Arc<Snapshot>,
    /// The reading of the configuration that is in force from here on, when another was before.
    pub edition: Option<Arc<Edition>>,
}

/// How publishing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The generation of the snapshot that is published; absent before the first.
    pub generation: Option<u64>,
    /// Why a newer one could not be published; tried again.
    pub trouble: Option<Box<str>>,
}

/// Why a snapshot could not be published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// A user or group is not there.
    #[error(transparent)]
    Owner(#[from] NoSuchOwner),
    /// The directory cannot be trusted.
    #[error("the directory for files {0}")]
    Directory(#[from] DirectoryError),
    /// A file cannot be made.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A file cannot be written.
    #[error("in {dir}: {error}")]
    Generation {
        /// The directory.
        dir: String,
        /// Why.
        error: GenerationError,
    },
}

/// Publishes snapshots.
#[derive(Debug)]
pub struct Publisher {
    edition: Arc<Edition>,
    /// Locked while a thread works in it: an end in the middle of that waits for it.
    target: Option<Arc<Mutex<Target>>>,
    /// What is published, and of which snapshot.
    done: Option<(Vec<Rendered>, Arc<Snapshot>)>,
    /// Whether the same contents would be other files: their owner or their permissions have changed.
    anew: bool,
    /// The edition that was told of last.
    told: u64,
    /// Whether files have been written, or have been begun.
    writes: bool,
}

/// How long a generation that is not the current one any more stays, for whoever is on the way to its files.
const LINGER: Duration = Duration::from_secs(1);
/// The first and the longest wait before it is tried again.
const RETRIES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

impl Publisher {
    /// Looks at the directory, and removes what a crash left there. Without `[files]` there are none, and snapshots are
    /// passed on as they are.
    ///
    /// # Errors
    /// When the directory cannot be trusted.
    pub fn new(edition: Arc<Edition>) -> Result<Self, PublishError> {
        let open = |settings: Files| Target::open(settings, edition.ownership);
        let target = edition.config.files.clone().map(open).transpose()?;
        let target = target.map(|target| Arc::new(Mutex::new(target)));
        Ok(Self { told: edition.number, edition, target, done: None, anew: false, writes: false })
    }

    /// Publishes by another reading of the configuration from now on, in the same directory.
    async fn follow(&mut self, edition: Arc<Edition>) {
        let settings = &edition.config.files;
        self.anew |= *settings != self.edition.config.files || edition.ownership != self.edition.ownership;
        if let (Some(mut target), Some(settings)) = (self.target().await, settings) {
            target.settle(settings.clone(), edition.ownership);
        }
        self.edition = edition;
    }

    /// Publishes every snapshot that is complete, by the edition that it is of, and tells `published`, until `snapshots`
    /// ends. A receiver that is busy gets what came meanwhile as one.
    pub async fn run(
        &mut self,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        editions: watch::Receiver<Arc<Edition>>,
        published: mpsc::Sender<Published>,
        standing: &watch::Sender<Standing>,
    ) {
        let mut pending: Option<Published> = None;
        let mut wait = RETRIES.0;
        let mut look = true;
        let (mut retry, mut sweep): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            if std::mem::take(&mut look) {
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                let edition = Arc::clone(&editions.borrow());
                if edition.number == snapshot.edition && edition.number != self.edition.number {
                    self.follow(edition).await;
                }
                match self.publish(&snapshot).await {
                    Ok(None) => {
                        (retry, wait) = (None, RETRIES.0);
                        if snapshot.is_complete() {
                            mended(standing);
                        }
                    }
                    Ok(Some(news)) => {
                        (retry, wait) = (None, RETRIES.0);
                        sweep = after(LINGER);
                        well(standing, &snapshot);
                        pending = Some(merged(pending, news));
                    }
                    Err(error) => {
                        ill(standing, &error.to_string());
                        retry = after(wait);
                        wait = wait.saturating_mul(2).min(RETRIES.1);
                    }
                }
            }
            tokio::select! {
                changed = snapshots.changed() => match changed {
                    Ok(()) => look = true,
                    Err(_) => return,
                },
                permit = published.reserve(), if pending.is_some() => {
                    // When nobody is to be told any more, files are published all the same.
                    if let (Ok(permit), Some(news)) = (permit, pending.take()) {
                        permit.send(news);
                    }
                }
                () = until(retry) => look = true,
                () = until(sweep) => {
                    sweep = None;
                    self.sweep().await;
                }
            }
        }
    }

    /// Publishes one snapshot; `None` when it is not complete, or nothing is to be told of it.
    ///
    /// # Errors
    /// When it cannot be: what was published before is as it was.
    pub async fn publish(&mut self, snapshot: &Arc<Snapshot>) -> Result<Option<Published>, PublishError> {
        if !snapshot.is_complete() {
            return Ok(None);
        }
        let expired = self.edition.config.files.as_ref().map(|files| files.expired).unwrap_or_default();
        let without = match expired {
            Expired::Keep => BTreeSet::new(),
            Expired::Remove => snapshot.expired().cloned().collect(),
        };
        let files = self.edition.renderer.render(snapshot, &without)?;
        let target = self.target().await;
        let in_place = target.as_ref().is_none_or(|target| target.is_in_place());
        let changed = match &self.done {
            None => files.iter().map(|file| &file.name).chain(snapshot.secrets.keys()).cloned().collect(),
            Some((before, earlier)) => differences(before, &files, earlier, snapshot),
        };
        let first = self.done.is_none();
        let written = first || self.anew || !in_place || files_differ(self.done.as_ref(), &files);
        if written && let Some(mut target) = target {
            let list = files.clone();
            self.writes = true;
            aside(move || target.publish(&list)).await?;
        }
        self.anew = false;
        let other_lease = |earlier: &Snapshot| {
            snapshot
                .secrets
                .iter()
                .any(|(name, loan)| earlier.secrets.get(name).is_none_or(|before| before.lease != loan.lease))
        };
        let edition = (self.told != self.edition.number).then(|| Arc::clone(&self.edition));
        self.told = self.edition.number;
        let tell = first || written || edition.is_some() || !changed.is_empty() || {
            self.done.as_ref().is_some_and(|(_, earlier)| other_lease(earlier))
        };
        self.done = Some((files, Arc::clone(snapshot)));
        Ok(tell.then(|| Published { first, changed, snapshot: Arc::clone(snapshot), edition }))
    }

    /// Whether there may be files of what it was given.
    pub fn has_written(&self) -> bool {
        self.writes
    }

    /// What is done with the files at an end in order, also with those that were just being written.
    pub async fn finish(self) {
        if let Some(target) = self.target().await
            && let Err(error) = aside(move || target.finish()).await
        {
            tracing::error!("the files are not all removed: {error}");
        }
    }

    async fn sweep(&self) {
        if let Some(target) = self.target().await
            && let Err(error) = aside(move || target.sweep()).await
        {
            tracing::warn!(
                "an old generation of files is not all removed, and will be with the next: {error}"
            );
        }
    }

    /// The directory, once no thread works in it.
    async fn target(&self) -> Option<OwnedMutexGuard<Target>> {
        Some(Arc::clone(self.target.as_ref()?).lock_owned().await)
    }
}

/// On a thread that may wait for a disk. It is finished whether or not somebody waits for it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Looks at what is configured without changing anything; a directory that is not there is fine.
///
/// # Errors
/// When nothing would be published there.
pub fn check(settings: &Files) -> Result<(), PublishError> {
    let ownership = Ownership::of(settings)?;
    Ok(directory::check(&settings.dir, ownership, settings.shared_volume)?)
}

/// The secrets and files that are others than before.
fn differences(
    before: &[Rendered],
    files: &[Rendered],
    earlier: &Snapshot,
    snapshot: &Snapshot,
) -> BTreeSet<Name> {
    let old: BTreeMap<_, _> = before.iter().map(|file| (&file.name, &file.content)).collect();
    let new: BTreeMap<_, _> = files.iter().map(|file| (&file.name, &file.content)).collect();
    let changed = new.iter().filter(|(name, content)| old.get(*name).is_none_or(|old| !same(old, content)));
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let secrets = snapshot.secrets.iter().filter(|(name, loan)| {
        earlier.secrets.get(*name).is_none_or(|before| !same_value(before.value(), loan.value()))
    });
    // What is not wanted any more, and is still held until everybody has been told.
    let going = earlier.wanted.iter().filter(|name| !snapshot.wanted.contains(name));
    changed
        .map(|(name, _)| *name)
        .chain(gone.copied())
        .chain(secrets.map(|(name, _)| name))
        .chain(going)
        .cloned()
        .collect()
}

fn files_differ(done: Option<&(Vec<Rendered>, Arc<Snapshot>)>, files: &[Rendered]) -> bool {
    let Some((before, _)) = done else { return true };
    before.len() != files.len()
        || before
            .iter()
            .zip(files)
            .any(|(a, b)| a.name != b.name || a.mode != b.mode || !same(&a.content, &b.content))
}

/// Nobody can time this from outside.
fn same(a: &SecretBytes, b: &SecretBytes) -> bool {
    a.expose() == b.expose()
}

fn same_value(a: &leasehold_core::SecretValue, b: &leasehold_core::SecretValue) -> bool {
    a.fields.len() == b.fields.len()
        && a.fields.iter().zip(&b.fields).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
}

/// What nobody has been told yet, and what came after it.
fn merged(pending: Option<Published>, mut news: Published) -> Published {
    if let Some(mut pending) = pending {
        news.first |= pending.first;
        news.edition = news.edition.or(pending.edition);
        news.changed.append(&mut pending.changed);
    }
    news
}

fn well(standing: &watch::Sender<Standing>, snapshot: &Snapshot) {
    let recovered = standing.borrow().trouble.is_some();
    let generation = snapshot.generation;
    if recovered {
        tracing::info!(generation, "the secrets are published again");
    } else {
        tracing::debug!(generation, "published");
    }
    standing.send_replace(Standing { generation: Some(generation), trouble: None });
}

/// What was in the way is not any more, and what there is is what is to be there.
fn mended(standing: &watch::Sender<Standing>) {
    if standing.send_if_modified(|standing| standing.trouble.take().is_some()) {
        tracing::info!("the secrets are as they were published");
    }
}

/// Says it when it is new; what goes on failing in the same way has been said, and health says it on.
fn ill(standing: &watch::Sender<Standing>, message: &str) {
    if standing.borrow().trouble.as_deref() != Some(message) {
        tracing::error!("the secrets cannot be published, what was there before stays: {message}");
        standing.send_modify(|standing| standing.trouble = Some(message.into()));
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn after(wait: Duration) -> Option<Instant> {
    Instant::now().checked_add(wait)
}

#[cfg(test)]
mod tests;
