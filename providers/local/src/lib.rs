//! The embedded back end: versioned secrets in sealed files under one directory.
//!
//! It is a back end like any other: the broker's ledger knows nothing of its files, and its files nothing of leases.
//!
//! ```text
//! DIRECTORY/lock                                    held by the one provider that uses the directory
//! DIRECTORY/secrets/payments/db/@/v1-k3v7qz2a       version 1 of `payments/db`, sealed for this name and version
//! DIRECTORY/secrets/payments/db/@/v2-x5m2ab7c       version 2, the current one
//! DIRECTORY/secrets/payments/db/@/standing          what was done to them since: promoted, disabled, destroyed, deleted
//! ```

mod bundle;
mod check;
mod config;
mod directory;
mod fault;
mod files;
mod provider;
mod reference;
mod standing;
mod store;
mod stored;

pub use bundle::{Bundle, BundleError, Moved};
pub use config::LocalConfig;
pub use directory::is_in_use;
pub use fault::OpenError;
pub use provider::LocalProvider;

/// Whether `text` can be a secret's `ref` here, for configuration to be checked before it is used.
///
/// # Errors
/// Why not.
pub fn check_reference(text: &str) -> Result<(), leasehold_core::provider::ProviderError> {
    reference::Reference::parse(text).map(drop)
}
