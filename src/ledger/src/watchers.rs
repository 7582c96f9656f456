//! Who is told of which changes. A watcher that does not keep up is told so and left behind; it never holds up a commit.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::stream::{self, BoxStream, StreamExt};
use leasehold_core::state::{Change, KeyRange, LedgerError};
use tokio::sync::{mpsc, oneshot};

/// How many changes a watcher may be behind.
pub(crate) const BACKLOG: usize = 4096;

/// The watchers of one ledger.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<Vec<Watcher>>);

struct Watcher {
    range: KeyRange,
    changes: mpsc::Sender<Change>,
    end: Option<oneshot::Sender<LedgerError>>,
}

/// The watchers of one moment.
pub(crate) struct Audience<'a>(MutexGuard<'a, Vec<Watcher>>);

impl Watchers {
    /// The changes in `range` that are published from now on.
    pub(crate) fn watch(&self, range: KeyRange) -> BoxStream<'static, Result<Change, LedgerError>> {
        let (changes, received) = mpsc::channel(BACKLOG);
        let (end, why) = oneshot::channel();
        let mut watchers = self.lock();
        watchers.retain(|watcher| !watcher.changes.is_closed());
        watchers.push(Watcher { range, changes, end: Some(end) });
        drop(watchers);
        stream::unfold(Some((received, why)), |state| async move {
            let (mut received, mut why) = state?;
            match received.recv().await {
                Some(change) => Some((Ok(change), Some((received, why)))),
                None => why.try_recv().ok().map(|error| (Err(error), None)),
            }
        })
        .boxed()
    }

    /// Those who watch now. Nobody else begins to until it is dropped: who makes a change visible meanwhile and then tells
    /// of it leaves no gap for a watcher that begins and then reads.
    pub(crate) fn audience(&self) -> Audience<'_> {
        Audience(self.lock())
    }

    /// Ends every watch for `why`.
    pub(crate) fn end(&self, why: &LedgerError) {
        for watcher in self.lock().drain(..) {
            if let Some(end) = watcher.end {
                let _ = end.send(why.clone());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Watcher>> {
        // Nothing between lock and unlock can leave the list half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audience<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells them of a change.
    pub(crate) fn tell(&mut self, change: &Change) {
        self.0.retain_mut(|watcher| watcher.tell(change));
    }
}

impl Watcher {
    /// Hands the change over; false when the watcher is to be dropped.
    fn tell(&mut self, change: &Change) -> bool {
        if !self.range.contains(&change.key) {
            return true;
        }
        match self.changes.try_send(change.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                if let Some(end) = self.end.take() {
                    let why = format!("the watcher fell behind by more than {BACKLOG} changes; read again");
                    let _ = end.send(LedgerError::Unavailable(why));
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use leasehold_core::state::Key;

    use super::*;

    fn change(key: &str, revision: u64) -> Change {
        Change { revision, key: Key::from_stored(key), value: None }
    }

    #[tokio::test]
    async fn a_watcher_sees_its_range_only() {
        let watchers = Watchers::default();
        let mut seen = watchers.watch(KeyRange::prefix("a/"));
        let changes = [change("b/1", 1), change("a/1", 2)];
        changes.iter().for_each(|change| watchers.audience().tell(change));
        assert_eq!(seen.next().await.unwrap().unwrap().revision, 2);
        watchers.end(&LedgerError::Unavailable("closed".to_owned()));
        assert_eq!(seen.next().await.unwrap().unwrap_err(), LedgerError::Unavailable("closed".to_owned()));
        assert!(seen.next().await.is_none());
    }

    #[tokio::test]
    async fn a_watcher_that_falls_behind_is_told_after_what_it_got() {
        let watchers = Watchers::default();
        let mut seen = watchers.watch(KeyRange::prefix(""));
        let one = change("k", 1);
        for _ in 0..=BACKLOG {
            watchers.audience().tell(&one);
        }
        for _ in 0..BACKLOG {
            assert!(seen.next().await.unwrap().is_ok());
        }
        assert!(matches!(seen.next().await, Some(Err(LedgerError::Unavailable(_)))));
        assert!(seen.next().await.is_none());
        assert!(watchers.lock().is_empty());
    }

    #[tokio::test]
    async fn a_watcher_that_left_costs_nothing() {
        let watchers = Watchers::default();
        drop(watchers.watch(KeyRange::prefix("quiet")));
        let _watching = watchers.watch(KeyRange::prefix("a"));
        assert_eq!(watchers.lock().len(), 1);
    }
}
