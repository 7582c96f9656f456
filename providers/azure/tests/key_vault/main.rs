//! A key vault, Entra ID and a machine's identity service, played from their public documentation.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod kit;
