//! Holds a lease on every secret of the configuration, and tells what is held as snapshots.

use std::sync::Arc;

use leasehold_client::Builder;
use leasehold_core::ports::Clock;
use tokio::sync::watch;

use crate::{config, snapshot::Snapshot};

/// The leases. Kept in the background until [`Secrets::close`].
#[derive(Debug)]
pub struct Secrets {
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl Secrets {
    /// Begins to lease what is wanted, without waiting: the broker may be away. `kept` is what the cache has of it.
    pub fn start(broker: Builder, wanted: &[config::Secret], kept: Snapshot, clock: Arc<dyn Clock>) -> Self {
        let _ = (broker, clock, kept);
        let names: Vec<_> = wanted.iter().map(|secret| secret.name.clone()).collect();
        let (_, snapshots) =
            watch::channel(Arc::new(Snapshot { wanted: names.into(), ..Snapshot::default() }));
        Self { snapshots }
    }

    /// What is held, now and from now on. A slow receiver sees the latest.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Says that what is in `to` is in use now everywhere, and nothing older: the leases before it are given back.
    pub fn switched(&self, to: &Snapshot) {
        let _ = to;
    }

    /// Gives everything back, as far as the broker can be reached in a few seconds.
    pub async fn close(&self) {}
}
