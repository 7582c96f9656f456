//! AWS Secrets Manager as a back end: secrets read by version id or stage.
//!
//! The only crate that names an AWS SDK. It makes no credentials of its own and knows nothing of leases.

mod config;
mod provider;

pub use config::{AwsConfig, AwsConfigFault, Credentials};
pub use provider::AwsProvider;
