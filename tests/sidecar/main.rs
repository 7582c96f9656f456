//! The sidecar as a program next to others, with the real daemon.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that meets one of these has failed"
)]

mod act;
mod away;
mod clock;
mod container;
mod endpoint;
mod examples;
mod exec;
mod files;
mod kit;
mod once;
mod owed;
mod owner;
mod parting;
mod reload;
mod systemd;
