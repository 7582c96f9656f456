//! A key vault, Entra ID and a machine's identity service, played from their public documentation.

#![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

mod checks;
mod conformance;
mod hostile;
mod kit;
mod pressure;
mod reads;
mod signing_in;
mod tokens;
mod writes;
