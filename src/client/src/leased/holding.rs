//! One lease with its value.

use std::{fmt, sync::Arc};

use leasehold_core::{SecretBytes, SecretValue, secret::FieldName};

use crate::Lease;

/// One lease on one version, with its value. Printed without it, and wiped with the last that has it.
pub struct Holding {
    /// The lease, as it was when it was last heard of.
    pub lease: Lease,
    pub(crate) value: Arc<SecretValue>,
}

impl Holding {
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
