//! Google Cloud's back end: the suite against drongo, and what drongo cannot show against a script.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod check;
mod issue;
mod pressure;
mod scenes;
mod secrets;
mod setup;
mod sign_in;
mod suite;
mod wire;
