//! One lease with its value.

use std::{fmt, sync::Arc, time::Duration};

use leasehold_core::{SecretBytes, SecretValue, secret::FieldName};
use tokio::time::Instant;

use crate::Lease;

/// One lease on one version, with its value. Printed without it, and wiped with the last that has it.
pub struct Holding {
    /// The lease, as it was when it was last heard of.
    pub lease: Lease,
    pub(crate) value: Arc<SecretValue>,
    /// Its end, on this machine's steady clock.
    pub(crate) ends: Instant,
}

impl Holding {
    /// How much of the lease's life is left, whatever the time of day is set to: never more than the broker has given.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// All fields that were asked for.
    pub fn value(&self) -> &SecretValue {
        &self.value
    }

    /// One field.
    pub fn field(&self, name: &str) -> Option<&SecretBytes> {
        self.value.fields.get(&name.parse::<FieldName>().ok()?)
    }

    /// One field in clear, where it is UTF-8.
    pub fn expose_text(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.field(name)?.expose()).ok()
    }
}

impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holding").field("lease", &self.lease).field("value", &self.value).finish()
    }
}
