//! Leasehold's ledger: the durable state of leases together with the records that changed it.
//!
//! Two implementations of [`Ledger`](leasehold_core::ports::Ledger): [`Memory`], which forgets, for tests.
//! Nothing here knows what a lease is: keys, values, records and conditions come from the engine.

mod conditions;
mod memory;
mod watchers;

pub use self::memory::Memory;
