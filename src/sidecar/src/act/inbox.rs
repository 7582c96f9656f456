//! What somebody has to be told, until they come to it. Many changes are one here, so that it does not grow.

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
    news: Mutex<Option<News>>,
    came: Notify,
}

impl News {
    pub(super) fn add(&mut self, newer: Self) {
        self.changed.extend(newer.changed);
        self.snapshot = newer.snapshot;
    }
}

impl Inbox {
    pub(super) fn put(&self, newer: News) {
        match &mut *self.lock() {
            Some(news) => news.add(newer),
            empty => *empty = Some(newer),
        }
        self.came.notify_one();
    }

    /// Returns when something new has come since the last time.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }

    pub(super) fn take(&self) -> Option<News> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<News>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
