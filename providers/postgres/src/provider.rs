//! The port's implementation.

use std::sync::Arc;

use async_trait::async_trait;
use leasehold_core::{
    ports::{Clock, Entropy, Issuer, Provider},
    provider::{Capabilities, Demand, Finding, ProviderError, SignIn},
};

use crate::{
    check::check,
    config::{PostgresConfig, PostgresConfigFault},
    issuer::Users,
    server::Server,
    tag::Tagged,
};

/// Users of one PostgreSQL server.
pub struct PostgresProvider {
    server: Arc<Server>,
    users: Users,
}

impl PostgresProvider {
    /// A provider that connects on its first call, so that a broker starts without its database.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(
        config: PostgresConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Vec<PostgresConfigFault>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let server =
            Server::new(config, clock, entropy).map_err(|why| vec![PostgresConfigFault::Connecting(why)])?;
        let server = Arc::new(server);
        let users = Users::new(Arc::clone(&server))?;
        Ok(Self { server, users })
    }

    /// The users on the server that carry our tag and have not ended, whether the ledger knows of their leases or not:
    /// what an orphan sweep compares.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn tagged(&self) -> Result<Vec<Tagged>, ProviderError> {
        self.users.tagged().await
    }
}

#[async_trait]
impl Provider for PostgresProvider {
    fn capabilities(&self) -> Capabilities {
        let issue = !self.users.recipes.is_empty();
        Capabilities { issue, renew: issue, revoke: issue, ..Capabilities::default() }
    }

    fn sign_in(&self) -> SignIn {
        self.server.sign_in()
    }

    fn issuer(&self) -> Option<&dyn Issuer> {
        if self.users.recipes.is_empty() { None } else { Some(&self.users) }
    }

    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        check(&self.users, demands).await
    }
}
