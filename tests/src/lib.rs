//! What end-to-end tests and figures run on: an authority, a site with its configuration, the real daemon as a process,
//! a lean load generator and the baseline that it is compared with.
//!
//! Code for tests: it panics where a product would report.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test that meets one of these has failed"
)]

pub mod authority;
pub mod binaries;
pub mod canary;
pub mod certificates;
pub mod cpu;
pub mod daemon;
pub mod echo;
pub mod evidence;
pub mod load;
pub mod logins;
pub mod neighbours;
pub mod raw;
pub mod rotations;
pub mod seed;
pub mod site;
pub mod wait;
