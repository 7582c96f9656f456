//! The port's implementation.

use std::sync::Arc;

use async_trait::async_trait;
use leasehold_core::{
    ports::{Clock, CredentialSource, Entropy, Issuer, Provider, Target},
    provider::{Capabilities, Demand, Finding, SignIn},
};

use crate::{
    administrator::SignsIn,
    check::check,
    config::{PostgresConfig, PostgresConfigFault},
    issuer::Users,
    server::Server,
    target::Accounts,
};

/// Users of one PostgreSQL server.
pub struct PostgresProvider {
    server: Arc<Server>,
    users: Users,
    accounts: Accounts,
}

impl PostgresProvider {
    /// A provider that connects on its first call, so that a broker starts without its database. `administrator` reads
    /// the secret that the configuration names, if it names one.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(
        config: PostgresConfig,
        administrator: Option<Arc<dyn CredentialSource>>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Vec<PostgresConfigFault>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let Some(signs_in) = SignsIn::new(config.administrator.clone(), administrator) else {
            return Err(vec![PostgresConfigFault::NoSource]);
        };
        let server = Server::new(config, signs_in, clock, entropy)
            .map_err(|why| vec![PostgresConfigFault::Connecting(why)])?;
        let server = Arc::new(server);
        let users = Users::new(Arc::clone(&server))?;
        let accounts = Accounts::new(Arc::clone(&server))?;
        Ok(Self { server, users, accounts })
    }
}

#[async_trait]
impl Provider for PostgresProvider {
    fn capabilities(&self) -> Capabilities {
        let issue = !self.users.recipes.is_empty();
        Capabilities {
            issue,
            renew: issue,
            revoke: issue,
            verify: issue,
            tagged: issue,
            ..Capabilities::default()
        }
    }

    fn sign_in(&self) -> SignIn {
        self.server.sign_in()
    }

    fn issuer(&self) -> Option<&dyn Issuer> {
        if self.users.recipes.is_empty() { None } else { Some(&self.users) }
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(&self.accounts)
    }

    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        check(&self.users, demands).await
    }
}
