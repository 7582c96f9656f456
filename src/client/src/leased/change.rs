//! What a holder is told, in a form that never piles up: the latest is kept, and each receiver sees how it differs from
//! what that receiver saw before.

use std::sync::Arc;

use leasehold_core::Timestamp;
use tokio::sync::watch;

use super::Holding;
use crate::Error;

/// What a holder is to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// There is something newer to use: another version, or another credential. Say [`switched`](super::Leased::switched)
    /// when it is in use.
    Replaced(Arc<Holding>),
    /// The same lease on the same version has another end.
    Renewed(Arc<Holding>),
    /// The lease cannot be kept at the moment; it is tried again until it can. What is held is good until then.
    Failing {
        /// Why.
        error: Arc<Error>,
        /// The end of what is held.
        until: Timestamp,
    },
    /// It is kept again.
    Recovered,
    /// What is held is not to be used any more. The guard goes on trying to have a new lease, and tells it as
    /// [`Replaced`](Self::Replaced).
    Ended {
        /// Why.
        why: WhyEnded,
    },
}

/// Why a lease is not to be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyEnded {
    /// Its time came, and it could be neither renewed nor replaced before.
    Expired,
    /// It was ended before its time, by somebody else than its holder.
    Revoked,
    /// Its version was retired: no lease on it is of use any more.
    Retired,
}

/// How a guard stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Standing {
    /// What is held is kept.
    Kept,
    /// It cannot be kept at the moment, and is good until then.
    Failing {
        /// Why.
        error: Arc<Error>,
        /// The end of what is held.
        until: Timestamp,
    },
    /// It is not to be used any more.
    Ended {
        /// Why.
        why: WhyEnded,
    },
}

/// What changes about a guard. See [`Leased::changes`](super::Leased::changes).
#[derive(Debug)]
pub struct Changes {
    told: watch::Receiver<Told>,
    seen: Told,
}

/// The latest that there is to know.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) holding: Arc<Holding>,
    pub(crate) standing: Standing,
}

impl Changes {
    pub(crate) fn new(mut told: watch::Receiver<Told>) -> Self {
        let seen = told.borrow_and_update().clone();
        Self { told, seen }
    }

    /// The next change; `None` when the guard is gone. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            let now = self.told.borrow_and_update().clone();
            if let Some(change) = self.seen.advance(now) {
                return Some(change);
            }
            self.told.changed().await.ok()?;
        }
    }
}

impl Told {
    /// The first difference to what is so now, and that it has been seen.
    fn advance(&mut self, now: Self) -> Option<Change> {
        let other = self.holding.lease.id != now.holding.lease.id
            || self.holding.lease.version != now.holding.lease.version;
        if other {
            self.holding = Arc::clone(&now.holding);
            // A new lease is good, so nothing that was said of the one before is taken back.
            self.standing = Standing::Kept;
            return Some(Change::Replaced(now.holding));
        }
        let renewed = self.holding.lease.expires_at != now.holding.lease.expires_at;
        self.holding = now.holding;
        let before = std::mem::replace(&mut self.standing, now.standing.clone());
        match (before, now.standing) {
            (Standing::Kept, Standing::Kept) if renewed => Some(Change::Renewed(Arc::clone(&self.holding))),
            (Standing::Kept, Standing::Kept) => None,
            (_, Standing::Kept) => Some(Change::Recovered),
            (Standing::Ended { why: before }, Standing::Ended { why }) if before == why => None,
            (_, Standing::Ended { why }) => Some(Change::Ended { why }),
            (Standing::Failing { error: before, .. }, Standing::Failing { error, .. })
                if Arc::ptr_eq(&before, &error) =>
            {
                None
            }
            (_, Standing::Failing { error, until }) => Some(Change::Failing { error, until }),
        }
    }
}
