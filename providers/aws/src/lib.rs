//! AWS Secrets Manager as a back end: secrets read by version id or stage, and written when that is configured.
//!
//! The only crate that names an AWS SDK. It makes no credentials of its own and knows nothing of leases.

mod client;
mod config;
mod error;
mod provider;
mod reference;
mod value;

pub use config::{AwsConfig, AwsConfigFault, Credentials};
pub use provider::AwsProvider;
