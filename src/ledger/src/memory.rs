//! A ledger that forgets: the semantics of the durable one, for the tests of everything above it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use leasehold_core::{
    SecretBytes,
    ports::Ledger,
    record::Record,
    state::{Change, Commit, Entry, Key, KeyRange, LedgerError, Revision},
};

use crate::{conditions, watchers::Watchers};

/// State and records in memory; clones share them.
#[derive(Clone, Default)]
pub struct Memory(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    watchers: Watchers,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Key, (SecretBytes, Revision)>,
    records: Vec<Record>,
    failure: Option<LedgerError>,
}

impl Memory {
    /// An empty ledger. Its first record has the sequence number 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every record that was committed, in order: the first has the sequence number 1.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// From now on, every commit fails with `error`, until this is called with `None`.
    pub fn fail(&self, error: Option<LedgerError>) {
        self.lock().failure = error;
    }

    fn commit_now(&self, commit: Commit) -> Result<Revision, LedgerError> {
        let mut state = self.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        conditions::check(&commit.conditions, |key| Ok(state.entries.get(key).map(|(_, at)| *at)))?;
        state.records.push(commit.record);
        let revision = u64::try_from(state.records.len()).unwrap_or(Revision::MAX);
        let mut audience = self.0.watchers.audience();
        for write in commit.writes {
            match &write.value {
                Some(value) => state.entries.insert(write.key.clone(), (value.clone(), revision)),
                None => state.entries.remove(&write.key),
            };
            audience.tell(&Change { revision, key: write.key, value: write.value });
        }
        Ok(revision)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of one test's thread is that test's failure, not the next reader's.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for Memory {
    async fn commit(&self, commit: Commit) -> Result<Revision, LedgerError> {
        let committed = self.commit_now(commit);
        // A durable ledger lets others run while its caller waits: so does this one.
        tokio::task::yield_now().await;
        committed
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        let state = self.lock();
        let found = state.entries.get(key);
        Ok(found.map(|(value, revision)| Entry {
            key: key.clone(),
            value: value.clone(),
            revision: *revision,
        }))
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        if range.from >= range.to {
            return Ok(Vec::new());
        }
        let state = self.lock();
        let entries = state.entries.range(range.from.clone()..range.to.clone()).take(limit);
        Ok(entries
            .map(|(key, (value, revision))| Entry {
                key: key.clone(),
                value: value.clone(),
                revision: *revision,
            })
            .collect())
    }

    fn watch(&self, range: KeyRange) -> BoxStream<'static, Result<Change, LedgerError>> {
        self.0.watchers.watch(range)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use leasehold_core::{
        record::{Actor, Kind},
        state::{Condition, Write},
    };

    use super::*;

    fn commit(conditions: Vec<Condition>, writes: Vec<Write>) -> Commit {
        let actor = Actor::internal("spiffe://example.org/leasehold/broker".parse().unwrap());
        let record = Record::new(leasehold_core::Timestamp::UNIX_EPOCH, Kind::LeaseIssued, actor);
        Commit { record, conditions, writes }
    }

    fn key(text: &str) -> Key {
        Key::from_stored(text)
    }

    fn put(text: &str, value: &str) -> Write {
        Write::put(key(text), SecretBytes::new(value.into()))
    }

    #[tokio::test]
    async fn a_condition_that_does_not_hold_changes_nothing() {
        let ledger = Memory::new();
        assert_eq!(ledger.commit(commit(vec![], vec![put("a", "1")])).await, Ok(1));
        let refused = ledger.commit(commit(vec![Condition::Absent(key("a"))], vec![put("b", "1")])).await;
        assert_eq!(refused, Err(LedgerError::Conflict(key("a"))));
        assert!(ledger.get(&key("b")).await.unwrap().is_none());
        assert_eq!(ledger.records().len(), 1);
        let next = commit(vec![Condition::Unchanged(key("a"), 1)], vec![put("a", "2")]);
        assert_eq!(ledger.commit(next).await, Ok(2));
        let entry = ledger.get(&key("a")).await.unwrap().unwrap();
        assert_eq!((entry.value.expose(), entry.revision), (&b"2"[..], 2));
    }

    #[tokio::test]
    async fn a_scan_is_ordered_and_limited() {
        let ledger = Memory::new();
        ledger.commit(commit(vec![], vec![put("a/2", ""), put("a/1", ""), put("b/1", "")])).await.unwrap();
        let keys = |entries: Vec<Entry>| entries.into_iter().map(|e| e.key.to_string()).collect::<Vec<_>>();
        let range = KeyRange::prefix("a/");
        assert_eq!(keys(ledger.scan(&range, 10).await.unwrap()), ["a/1", "a/2"]);
        assert_eq!(keys(ledger.scan(&range, 1).await.unwrap()), ["a/1"]);
        assert_eq!(keys(ledger.scan(&range.after(&key("a/1")), 10).await.unwrap()), ["a/2"]);
        let backwards = KeyRange { from: key("b"), to: key("a") };
        assert!(ledger.scan(&backwards, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_watch_that_began_before_a_commit_sees_it() {
        let ledger = Memory::new();
        let mut watch = ledger.watch(KeyRange::prefix("a/"));
        ledger.commit(commit(vec![], vec![put("a/1", "x"), put("b/1", "")])).await.unwrap();
        ledger.commit(commit(vec![], vec![Write::delete(key("a/1"))])).await.unwrap();
        let first = watch.next().await.unwrap().unwrap();
        assert_eq!((first.revision, first.value.unwrap().expose()), (1, &b"x"[..]));
        let second = watch.next().await.unwrap().unwrap();
        assert_eq!((second.revision, second.value.is_none()), (2, true));
    }

    #[tokio::test]
    async fn a_failing_ledger_keeps_what_it_has() {
        let ledger = Memory::new();
        ledger.commit(commit(vec![], vec![put("a", "1")])).await.unwrap();
        ledger.fail(Some(LedgerError::Full("no room".to_owned())));
        let refused = ledger.commit(commit(vec![], vec![put("a", "2")])).await;
        assert_eq!(refused, Err(LedgerError::Full("no room".to_owned())));
        ledger.fail(None);
        assert_eq!(ledger.get(&key("a")).await.unwrap().unwrap().value.expose(), b"1");
    }
}
