//! TLS: who we are, whom we trust, and how both change while the broker runs.
//!
//! New files are read and judged as a whole ([`Material::load`]) and only then put in force ([`Store::publish`]), so a
//! broken file never replaces a working one. What is in force has a generation; a [`PeerGuard`] notices on the next
//! request that it changed. Who a certificate speaks for is `identity`'s matter, the sockets are `listener`'s.

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "test")]
pub(crate) mod authority;
mod clients;
mod error;
mod files;
mod guard;
mod material;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod trust;

pub use error::{Fault, FileRole, TlsError, TlsErrors};
pub use guard::PeerGuard;
pub use material::{Material, Summary};
pub use settings::Settings;
pub use store::{InForce, Store};
pub use trust::{Distrust, Trust};
