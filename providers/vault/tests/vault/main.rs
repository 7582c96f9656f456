//! Vault as a back end, against a real OpenBao and a real PostgreSQL wherever they can show it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod check;
mod conformance;
mod credentials;
mod elsewhere;
mod faults;
mod kit;
mod references;
mod rotation;
mod secrets;
mod sign_in;
