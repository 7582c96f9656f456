//! The provider against moto where that can show it, and against a script where it cannot.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod checks;
mod clock;
mod faults;
mod issuing;
mod permissions;
mod pressure;
mod regions;
mod rotation;
mod scenes;
mod sessions;
mod setup;
mod stages;
mod store;
mod suite;
mod wire;
