//! AWS Secrets Manager as a back end: secrets read by version id or stage, and written when that is configured.
//!
//! The only crate that names an AWS SDK. It makes no credentials of its own and knows nothing of leases.

mod client;
mod config;
mod error;
mod key_files;
mod provider;
mod reference;
mod rules;
mod value;

pub use config::{AwsConfig, AwsConfigFault, Credentials};
pub use provider::AwsProvider;

/// Whether `text` can be a secret's `ref` here, for configuration to be checked before it is used.
///
/// # Errors
/// Why not.
pub fn check_reference(text: &str) -> Result<(), leasehold_core::provider::ProviderError> {
    reference::Reference::parse(text).map(drop)
}
