//! Where a watch is: what its holder has been told.

use leasehold_core::{LeaseId, Timestamp, state::Revision};

/// What a watch has told. Whoever comes back with it is told the rest, and little of it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchPosition {
    /// Everything that happened up to this record has been told, but for what is left.
    pub seen: Revision,
    /// Every lease whose end was near by then has been said to end soon.
    pub warned: Timestamp,
    /// What is left of the beginning, when the watch ended in the middle of it.
    pub left: Option<Left>,
}

/// The part of a beginning that was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The leases behind this one, in the order of the ledger's keys.
    pub past: LeaseId,
    /// What had been told of those: everything up to this record, or nothing at all.
    pub since: Option<Revision>,
}

impl WatchPosition {
    /// A position that knows of records only.
    pub fn at(seen: Revision) -> Self {
        Self { seen, warned: Timestamp::MIN, left: None }
    }
}
