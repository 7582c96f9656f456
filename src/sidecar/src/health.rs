//! How the sidecar is, for whoever asks: orchestrators, the service manager, and `leasehold-sidecar check`.

use std::{io, sync::Arc};

use tokio::sync::watch;

use crate::{
    args::{CheckArgs, Exit},
    config::Health,
    publish,
    snapshot::Snapshot,
};

/// What is told of: what is held, and how publishing goes.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What is held.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// How publishing goes.
    pub publishing: watch::Receiver<publish::Standing>,
}

/// Serves until it is dropped; without settings, tells the service manager only.
///
/// # Errors
/// When it cannot listen.
pub async fn serve(settings: Option<Health>, sources: Sources) -> io::Result<()> {
    let _ = (settings, sources);
    std::future::pending().await
}

/// `leasehold-sidecar check`.
pub fn check(arguments: &CheckArgs) -> Exit {
    let _ = arguments;
    Exit::Unwell
}
