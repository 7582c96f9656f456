//! What somebody has to be told, until they come to it, and what they have not been told with success. Many changes are one
//! here, so that it does not grow.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{name::Name, snapshot::Snapshot};

/// What has changed, and what there is now.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) changed: BTreeSet<Name>,
    pub(crate) snapshot: Arc<Snapshot>,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    kept: Mutex<Kept>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    news: Option<News>,
    /// What was taken, and has not worked: names alone, so that no value is held for them.
    owed: BTreeSet<Name>,
    /// Whether somebody else is told instead.
    is_closed: bool,
}

impl News {
    pub(super) fn add(&mut self, newer: Self) {
        self.changed.extend(newer.changed);
        self.snapshot = newer.snapshot;
    }
}

impl Inbox {
    pub(super) fn put(&self, newer: News) {
        match &mut self.lock().news {
            Some(news) => news.add(newer),
            empty => *empty = Some(newer),
        }
        self.came.notify_one();
    }

    /// Returns when something new has come since the last time.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }

    /// What is new, with everything that has not worked before it; `None` when nothing is new.
    pub(super) fn take(&self) -> Option<News> {
        let mut kept = self.lock();
        let mut news = kept.news.take()?;
        kept.owed.append(&mut news.changed);
        news.changed = kept.owed.clone();
        Some(news)
    }

    /// What was taken has worked.
    pub(super) fn settled(&self) {
        self.lock().owed.clear();
    }

    /// Everything that has not worked, now and before: somebody else is told of it instead.
    pub(super) fn hand_over(&self) -> BTreeSet<Name> {
        let mut kept = self.lock();
        kept.is_closed = true;
        let mut owed = std::mem::take(&mut kept.owed);
        owed.extend(kept.news.take().into_iter().flat_map(|news| news.changed));
        owed
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
