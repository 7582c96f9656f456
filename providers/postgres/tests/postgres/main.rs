//! The PostgreSQL back end against real servers.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod administrator;
mod check;
mod conformance;
mod ending;
mod faults;
mod kit;
mod late;
mod target;
mod tls;
mod users;
mod verified;
