//! Leasehold next to a program that cannot or will not speak gRPC: it leases what one TOML file names, keeps the leases,
//! puts the values where the program looks for them, and tells it when they change.
//!
//! [`secrets`] holds the leases and says what is held as [`Snapshot`](snapshot::Snapshot)s; [`publish`] makes files of a
//! snapshot ([`render`]) and swaps them in all at once; [`act`] tells who must know, and only then are the older leases
//! given back. All of it goes by one [`edition`] of the configuration, which a [`reload`] replaces. [`exec`], [`endpoint`],
//! [`health`] and [`cache`] stand beside that. A library, so that its parts are tested and fuzzed; the program is all of its
//! interface that is stable.

pub mod act;
pub mod args;
pub mod cache;
pub mod clock;
pub mod config;
pub mod edition;
pub mod endpoint;
pub mod exec;
mod get;
mod hardening;
pub mod health;
pub mod log;
pub mod name;
mod once;
pub mod program;
pub mod publish;
#[cfg(test)]
mod reference;
pub mod reload;
pub mod render;
mod run;
pub mod secrets;
pub mod snapshot;

pub use config::Config;
pub use name::Name;
