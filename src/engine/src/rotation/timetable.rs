//! The timetable of rotations: which secret is looked at when. It is in memory only; what it is made from is durable.

use std::sync::Arc;

use leasehold_core::{SecretPath, Timestamp};
use tokio::sync::watch;

use crate::engine::Engine;

/// What is to come for a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When it is rotated next, or its rotation goes on; absent when nothing is planned.
    pub next: Option<Timestamp>,
    /// Why it was not rotated although its time has come.
    pub late: Option<String>,
}

impl Engine {
    /// Looks at every secret that is rotated when it is time, until `stop` says true.
    pub(crate) async fn run_rotations(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let _ = stop.wait_for(|stopping| *stopping).await;
    }

    /// Has a secret's rotation looked at by `at`: to be called by whoever makes something due, once it is durable.
    pub fn expect_rotation(&self, _path: &SecretPath, _at: Timestamp) {}

    /// Notes why a secret is not rotated although its time has come, until it is looked at again: for whoever looks at it.
    pub(crate) fn rotation_is_late(&self, _path: &SecretPath, _why: impl Into<String>) {}

    /// What is to come for a secret.
    pub fn rotation_standing(&self, _path: &SecretPath) -> Standing {
        Standing::default()
    }
}
