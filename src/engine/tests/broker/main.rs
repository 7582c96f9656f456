//! The use cases over a ledger in memory, a scripted back end and a paused clock.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that meets one of these has failed"
)]

mod cache;
mod clock_taken_back;
mod credentials;
mod drains;
mod explained;
mod hold;
mod idempotency;
mod kit;
mod leases;
mod moves;
mod operators;
mod orphans;
mod own_secret;
mod quota;
mod reads;
mod reconcile;
mod revocation;
mod rotation;
mod rotation_verbs;
mod sweep;
mod timetable;
mod told_holders;
mod unclaimed;
mod watch;
mod watch_secret;
