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

/// Log targets that must stay at `info` or above: below it the SDK and its HTTP stack write whole requests, and a
/// request that writes a secret holds its value.
pub const QUIET_LOG_TARGETS: [&str; 8] = [
    "aws_config",
    "aws_runtime",
    "aws_sdk_secretsmanager",
    "aws_sdk_sts",
    "aws_smithy_http_client",
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
    "hyper_util",
];
