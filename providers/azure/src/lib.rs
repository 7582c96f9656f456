//! Azure Key Vault as a back end: secrets by version, and access tokens of Entra ID lent for a scope.
//!
//! The only crate that names an Azure SDK. Every request of the SDK passes one transport, which sends it to the
//! configured hosts and nowhere else. It knows nothing of leases.

mod answer;
mod attempts;
mod change;
mod check;
mod client;
mod cloud;
mod config;
mod failure;
mod identity;
mod issuer;
mod names;
mod provider;
mod reference;
mod rules;
mod sign_in;
mod value;
mod wire;
mod write;

pub use cloud::Cloud;
pub use config::{AzureConfig, AzureConfigFault, AzureRole, Identity};
pub use provider::AzureProvider;

/// Whether `text` can be a secret's `ref` here, for configuration to be checked before it is used.
///
/// # Errors
/// Why not.
pub fn check_reference(text: &str) -> Result<(), leasehold_core::provider::ProviderError> {
    reference::Reference::parse(text).map(drop)
}
