//! Who is at the other end of a connection.

use leasehold_core::{SpiffeId, Timestamp, record::Actor};

/// An authenticated peer. Every request that the listener hands on carries an `Arc<Peer>` in its extensions.
#[derive(Clone, Debug)]
pub struct Peer {
    actor: Actor,
    not_after: Timestamp,
}

impl Peer {
    pub(crate) fn new(actor: Actor, not_after: Timestamp) -> Self {
        Self { actor, not_after }
    }

    /// The peer as records and use cases name it: principal, certificate, address.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The principal.
    pub fn principal(&self) -> &SpiffeId {
        &self.actor.id
    }

    /// When its certificate expires.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}
