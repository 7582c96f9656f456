//! HashiCorp Vault and OpenBao as a back end: KV secrets read and written, and credentials made by any engine that
//! answers with a lease.
//!
//! The only crate that names `vaultrs`: its requests, its middleware and its answers, over a connection of our own that
//! follows no redirect to a stranger, keeps what an error says of itself, and repeats nothing that is not safe to repeat.

mod answer;
mod check;
mod config;
mod connection;
mod endpoint;
mod error;
mod files;
mod handle;
mod issuer;
mod kv1;
mod kv2;
mod login;
mod provider;
mod reference;
mod role;
mod server;
mod spare;
mod standing;
mod token;
mod value;
mod written;

pub use config::{Auth, VaultConfig, VaultConfigFault};
pub use provider::VaultProvider;
pub use role::{InvalidRole, Method, VaultRole};

/// Whether `text` can be a secret's `ref` here, for configuration to be checked before it is used.
///
/// # Errors
/// Why not.
pub fn check_reference(text: &str) -> Result<(), leasehold_core::provider::ProviderError> {
    reference::Reference::parse(text).map(drop)
}
