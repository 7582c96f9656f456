//! Mutual TLS, met by raw rustls clients at the real daemon: who is not let in, who is not let stay, and how many fit.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod crowd;
mod scarcity;
mod standing;
mod strangers;
