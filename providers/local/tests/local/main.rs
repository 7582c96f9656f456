//! The local provider against a real directory.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that meets one of these has failed"
)]

mod bundle;
mod changes;
mod conformance;
mod files;
mod kit;
