//! The one place where the tally hears that a lease is over, and where it is noticed that a draining version is let go of:
//! every commit passes here.

use std::{future::Future, pin::Pin, sync::Arc};

use futures::stream::BoxStream;
use leasehold_core::{
    LeaseId, SecretBytes,
    lease::Parties,
    ports::Ledger,
    state::{Change, Commit, Entry, Key, KeyRange, LedgerError, Revision, Write},
};

use super::Tally;
use crate::rotation::Draining;

/// A ledger whose commits tell the tally which leases end by them, and which versions are let go of.
pub(crate) struct Tallied {
    ledger: Arc<dyn Ledger>,
    tally: Arc<Tally>,
    draining: Arc<Draining>,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'a>>;

impl Tallied {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, tally: Arc<Tally>, draining: Arc<Draining>) -> Self {
        Self { ledger, tally, draining }
    }

    /// Dropping it does not undo the commit, but nobody would hear of it: use cases run to their end.
    async fn commit_ends(
        &self,
        commit: Commit,
        ends: Vec<End>,
        released: Vec<Key>,
    ) -> Result<Revision, LedgerError> {
        ends.iter().for_each(|end| self.tally.ending(end.lease));
        let committed = self.ledger.commit(commit).await;
        for end in &ends {
            self.tally.ended(end.lease, end.parties(), committed.is_ok());
        }
        if committed.is_ok() {
            self.draining.let_go(&released);
        }
        committed
    }
}

// Written out, so that what ends and moves no lease is handed on without a future of its own.
impl Ledger for Tallied {
    fn commit<'a, 'f>(&'a self, commit: Commit) -> Answer<'f, Revision>
    where
        'a: 'f,
    {
        let (ends, released) = (ends(&commit.writes), self.draining.released(&commit.writes));
        if ends.is_empty() && released.is_empty() {
            return self.ledger.commit(commit);
        }
        Box::pin(self.commit_ends(commit, ends, released))
    }

    fn get<'a, 'k, 'f>(&'a self, key: &'k Key) -> Answer<'f, Option<Entry>>
    where
        'a: 'f,
        'k: 'f,
    {
        self.ledger.get(key)
    }

    fn scan<'a, 'k, 'f>(&'a self, range: &'k KeyRange, limit: usize) -> Answer<'f, Vec<Entry>>
    where
        'a: 'f,
        'k: 'f,
    {
        self.ledger.scan(range, limit)
    }

    fn watch(&self, range: KeyRange) -> BoxStream<'static, Result<Change, LedgerError>> {
        self.ledger.watch(range)
    }
}

/// A lease that a commit ends.
struct End {
    lease: LeaseId,
    holder: Box<str>,
    secret: Box<str>,
    provider: Box<str>,
}

impl End {
    fn parties(&self) -> Parties<'_> {
        Parties { holder: &self.holder, secret: &self.secret, provider: &self.provider }
    }
}

/// The leases that these writes end: the keys by which live ones are found go with the end, and what has ended is never
/// written again.
fn ends(writes: &[Write]) -> Vec<End> {
    let goes = |write: &Write| {
        let key = write.key.as_str();
        write.value.is_none() && (key.starts_with("secret/") || key.starts_with("made/"))
    };
    if !writes.iter().any(goes) {
        return Vec::new();
    }
    writes.iter().filter_map(|write| end(&write.key, write.value.as_ref()?)).collect()
}

fn end(key: &Key, stored: &SecretBytes) -> Option<End> {
    if !key.as_str().starts_with("lease/") {
        return None;
    }
    let lease = key.lease_id()?;
    let (Parties { holder, secret, provider }, ended) = Parties::read(stored).ok()?;
    ended.then(|| End { lease, holder: holder.into(), secret: secret.into(), provider: provider.into() })
}
