//! What is acknowledged is durable: the real daemon is killed at random, its files are changed behind its back, and its disk
//! fills up and fails. Nothing that a client was told may be missing afterwards, and what was changed must be found.
//!
//! `LEASEHOLD_CRASH_ROUNDS` says how often it is killed (50 when nothing is said), `LEASEHOLD_CRASH_SEED` repeats the
//! random choices of a run.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that meets one of these has failed"
)]

mod acknowledged;
mod counter;
mod disk;
mod index;
mod killed;
mod outside;
mod power;
mod room;
mod seed;
mod state;
mod surgery;
mod tail;
mod taken;
mod traffic;
