//! The guard of a lease: a background task keeps it for as long as the guard lives.

mod borrow;
mod change;
mod holding;
mod hub;
mod keeper;
mod span;

use std::sync::Arc;

use leasehold_core::{SecretBytes, SecretPath};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::hub::Hub;
pub use self::{
    borrow::Borrow,
    change::{Change, Changes, Standing, WhyEnded},
    holding::Holding,
};
use self::{change::Told, keeper::Order};
use crate::{Answer, Error};

/// A secret that is held: renewed in the background at a jittered two thirds of its lease's life, and moved to the new
/// version when the secret is rotated. Made by [`Client::lease`].
///
/// It is not `Clone`: whoever shares it does so with an [`Arc`]. Dropped, it is not kept any longer, and its lease ends at
/// its time, or at once (as far as the broker can be reached) with [`Borrow::revoke_on_drop`].
#[derive(Debug)]
pub struct Leased {
    secret: SecretPath,
    told: watch::Receiver<Told>,
    orders: mpsc::UnboundedSender<Order>,
}

impl Leased {
    /// The secret.
    pub fn secret(&self) -> &SecretPath {
        &self.secret
    }

    /// What to use now: the newest version had.
    pub fn current(&self) -> Arc<Holding> {
        Arc::clone(&self.told.borrow().holding)
    }

    /// One field of what to use now; a copy that is wiped when it is dropped.
    pub fn field(&self, name: &str) -> Option<SecretBytes> {
        self.current().field(name).cloned()
    }

    /// How the guard stands.
    pub fn standing(&self) -> Standing {
        self.told.borrow().standing.clone()
    }

    /// What changes from now on. A slow receiver misses what was overtaken and sees the latest: nothing piles up.
    pub fn changes(&self) -> Changes {
        Changes::new(self.told.clone())
    }

    /// Says that the holder uses `to` now and nothing older: the leases before it are given back. A holder who never says
    /// so keeps them until they end, or until the old version is retired at the end of its drain.
    pub fn switched(&self, to: &Holding) {
        // The task lives as long as this.
        let _ = self.orders.send(Order::Switched(to.lease.id));
    }

    /// Keeps the lease no longer: it is neither renewed nor replaced from now on, whatever the broker tells, and ends at its
    /// time. Until then it is held, and [`switched`](Self::switched) and [`close`](Self::close) are heeded.
    pub fn let_run_out(&self) {
        let _ = self.orders.send(Order::LetRunOut);
    }

    /// Gives back everything that is held, for certain: when this returns `Ok`, the broker has ended every lease of the guard
    /// or is ending its credential.
    ///
    /// # Errors
    /// When the broker could not be told within half a minute, or said no; see [`Error`].
    pub async fn close(self) -> Result<(), Error> {
        let (answer, given_back) = oneshot::channel();
        let gone = || Error::Unavailable {
            answer: Answer {
                message: "the guard's task has ended with its runtime".into(),
                ..Answer::default()
            },
        };
        self.orders.send(Order::Close(answer)).map_err(|_| gone())?;
        given_back.await.unwrap_or_else(|_| Err(gone()))
    }
}
