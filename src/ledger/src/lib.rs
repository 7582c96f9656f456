//! Leasehold's ledger: the durable state of leases together with the records that changed it.
//!
//! Two implementations of [`Ledger`](leasehold_core::ports::Ledger): [`Embedded`] keeps the state on this machine, the
//! audit journal being its write-ahead log; [`Memory`] forgets, for tests. Nothing here knows what a lease is: keys,
//! values, records and conditions come from the engine.

mod conditions;
mod embedded;
mod index;
mod memory;
mod watchers;

pub use self::{
    embedded::{
        ArchiveRule, ClosedSegments, Embedded, EmbeddedOptions, LedgerHealth, LedgerStats, OpenError,
        Recovery, boot_id,
    },
    memory::Memory,
};
