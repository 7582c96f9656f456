//! AWS as a back end: secrets of Secrets Manager, read by version id or stage and written when that is configured;
//! parameters of the Parameter Store, read; sessions of the Security Token Service, lent.
//!
//! The only crate that names an AWS SDK. It keeps nothing and knows nothing of leases but their ids.

mod assumed;
mod check;
mod client;
mod config;
mod error;
mod grant;
mod issuer;
mod key_files;
mod principal;
mod provider;
mod read;
mod reference;
mod rotation;
mod rules;
mod skew;
mod standing;
mod value;
mod write;

pub use config::{AssumedRole, AwsConfig, AwsConfigFault, AwsRole, AwsRoleFault, Credentials, SessionRole};
pub use provider::AwsProvider;
pub use reference::check_reference;
