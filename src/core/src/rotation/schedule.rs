//! When a secret is rotated.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ttl::after;

/// When a secret is rotated. The next time follows from when its current version was made and from nothing else, so that a
/// restart changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// So long after the current version was made.
    pub every: Duration,
}

impl Schedule {
    /// When the version that was made at `made_at` is to be replaced. `spread` is a number that differs from secret to
    /// secret and never changes for one.
    pub fn next(&self, made_at: Timestamp, _spread: u64) -> Timestamp {
        after(made_at, self.every)
    }
}
