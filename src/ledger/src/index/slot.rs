//! What the index knows of a key: its value or that it was deleted, and by which record.

use leasehold_core::{
    SecretBytes,
    state::{Key, Revision},
};

/// The last write to a key.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) revision: Revision,
    /// `None` when it was deleted: older runs may still have the key.
    pub(crate) value: Option<SecretBytes>,
}

/// A key with its last write.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) key: Key,
    pub(crate) slot: Slot,
}
