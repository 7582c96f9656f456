//! The broker with the back ends that it is made for: real servers, reached as production would reach them, and the
//! configurations that ship as examples.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod aws;
mod azure;
mod examples;
mod gcp;
mod isolation;
mod kit;
mod local;
mod orphans;
mod postgres;
mod quarantine;
mod rotation;
mod rotation_postgres;
mod vault;
