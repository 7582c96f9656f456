//! The daemon and the command line as people meet them: started, asked, reloaded, stopped, and given what they cannot use.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod command;
mod errors;
mod explained;
mod hold;
mod kit;
mod leases;
mod limits;
mod many;
mod metrics;
mod people;
mod quickstart;
mod reload;
mod rotation;
mod standard;
mod start;
mod stop;
mod watch_secret;
