//! Runs a program with the secrets, for as long as it lives.

use std::{ffi::OsString, sync::Arc};

use tokio::sync::mpsc;

use crate::{args::Exit, config::Exec, publish::Published, secrets::Secrets};

/// Runs the program when the first is published, and tells it of what is published later as `settings` say. Returns the exit
/// code to end with.
pub async fn run(
    settings: Exec,
    program: Vec<OsString>,
    mut published: mpsc::Receiver<Published>,
    secrets: Arc<Secrets>,
) -> u8 {
    let _ = (settings, program);
    while let Some(published) = published.recv().await {
        secrets.switched(&published.snapshot);
    }
    Exit::NotStarted as u8
}
