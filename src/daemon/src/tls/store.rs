//! What is in force just now, and how it is replaced.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, Guard};
use rustls::ServerConfig;
use tokio::sync::watch;

use super::{Material, Summary, Trust};

/// The TLS material in force. A handshake uses what is in force when it begins; a connection is held to what is in
/// force at each of its requests.
pub struct Store {
    current: ArcSwap<InForce>,
    generation: AtomicU64,
    changes: watch::Sender<u64>,
    publishing: Mutex<()>,
}

/// One generation of it.
pub struct InForce {
    generation: u64,
    material: Material,
}

impl Store {
    /// A store with the first generation in force.
    pub fn new(material: Material) -> Arc<Self> {
        let first = InForce { generation: 1, material };
        Arc::new(Self {
            generation: AtomicU64::new(first.generation),
            changes: watch::Sender::new(first.generation),
            current: ArcSwap::from_pointee(first),
            publishing: Mutex::new(()),
        })
    }

    /// Puts new material in force: for handshakes from now on, and for the next request on every open connection.
    /// Connections that it still trusts stay open.
    pub fn publish(&self, material: Material) {
        let _one_at_a_time = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation().saturating_add(1);
        self.current.store(Arc::new(InForce { generation, material }));
        // INVARIANT: the number is seen only after what it names, so who sees it and loads gets that or newer.
        self.generation.store(generation, Ordering::Release);
        self.changes.send_replace(generation);
    }

    /// What is in force.
    pub fn current(&self) -> Guard<Arc<InForce>> {
        self.current.load()
    }

    /// Its number; the first is 1.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Tells of every new generation.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What is in force, for people.
    pub fn summary(&self) -> Summary {
        self.current().material.summary.clone()
    }
}

impl InForce {
    /// Which generation this is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The server side of a handshake.
    pub fn server(&self) -> &Arc<ServerConfig> {
        &self.material.server
    }

    /// Whom it trusts.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.material.trust
    }
}
