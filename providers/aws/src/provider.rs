//! The port's implementation.

use async_trait::async_trait;
use leasehold_core::{ports::Provider, provider::Capabilities};

use crate::config::{AwsConfig, AwsConfigFault};

/// Secrets of one account and region.
pub struct AwsProvider;

impl AwsProvider {
    /// A provider that connects on its first call, so that a broker starts without a network.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: AwsConfig) -> Result<Self, Vec<AwsConfigFault>> {
        let faults = config.faults();
        if faults.is_empty() { Ok(Self) } else { Err(faults) }
    }
}

#[async_trait]
impl Provider for AwsProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities { read: true, versions: true, write: false, ..Capabilities::default() }
    }
}
