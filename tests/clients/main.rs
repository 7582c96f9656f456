//! What a service is written with: the clients, against the real daemon.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets one of these has failed"
)]

mod certificates;
mod examples;
mod guard;
mod python;
mod spire;
mod users;
