//! The port's implementation.

use std::sync::Arc;

use async_trait::async_trait;
use leasehold_core::{
    ports::{Clock, Entropy, Issuer, Provider},
    provider::{
        Capabilities, Change, ChangeSecret, Demand, ErrorClass, Fetch, Fetched, Finding, ProviderError,
        SignIn, Stage, VersionFacts, WriteVersion,
    },
    secret::VersionId,
};

use crate::{
    check::check,
    config::{VaultConfig, VaultConfigFault},
    error::{Call, Kind},
    issuer::Roles,
    kv1::Kv1,
    kv2::Kv2,
    reference::{Engine, Reference},
    server::Server,
    standing::Standing,
    written::Written,
};

/// Secrets and credentials of one Vault, in one namespace.
pub struct VaultProvider {
    standing: Arc<Standing>,
    written: Written,
    roles: Option<Roles>,
    writable: bool,
}

/// What can be done to KV version 2.
const CHANGES: &[Change] =
    &[Change::Disable, Change::Enable, Change::Destroy, Change::Delete, Change::Restore, Change::Purge];

impl VaultProvider {
    /// A provider that signs in on its first call, so that a broker starts without Vault.
    ///
    /// # Errors
    /// Every fault of the configuration, or that there is no randomness.
    pub fn new(
        config: VaultConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Vec<VaultConfigFault>> {
        let mut faults = config.faults();
        let written = Written::new(&*entropy);
        if written.is_err() {
            faults.push(VaultConfigFault::NoEntropy);
        }
        let (Ok(written), true) = (written, faults.is_empty()) else { return Err(faults) };
        let (has_roles, writable) = (!config.roles.is_empty(), config.writable);
        let standing = Arc::new(Standing::new(Server::new(config, clock, entropy)));
        let roles = has_roles.then(|| Roles::new(standing.clone()));
        Ok(Self { standing, written, roles, writable })
    }

    fn kv2<'a>(&'a self, reference: Reference<'a>, name: &'a str) -> Kv2<'a> {
        Kv2 { standing: &self.standing, reference, name }
    }

    fn kv1<'a>(&'a self, reference: Reference<'a>, name: &'a str) -> Kv1<'a> {
        Kv1 { standing: &self.standing, reference, name, written: &self.written }
    }

    async fn within<T>(
        &self,
        verb: &str,
        name: &str,
        work: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        self.standing.server.within(Call { kind: Kind::Secret, verb, on: name }, work).await
    }
}

#[async_trait]
impl Provider for VaultProvider {
    fn capabilities(&self) -> Capabilities {
        let issue = self.roles.is_some();
        Capabilities {
            read: true,
            versions: true,
            write: self.writable,
            changes: if self.writable { CHANGES } else { &[] },
            issue,
            renew: issue,
            revoke: issue,
            // A certificate that was revoked works with whoever does not ask: only of leases anything is proven.
            verify: issue,
            ..Capabilities::default()
        }
    }

    fn sign_in(&self) -> SignIn {
        self.standing.sign_in()
    }

    fn issuer(&self) -> Option<&dyn Issuer> {
        self.roles.as_ref().map(|roles| roles as &dyn Issuer)
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        let reference = Reference::parse(request.reference)?;
        self.within("read", request.reference, async {
            match reference.engine {
                Engine::Kv2 => self.kv2(reference, request.reference).fetch(&request).await,
                Engine::Kv1 => self.kv1(reference, request.reference).fetch(&request).await,
            }
        })
        .await
    }

    async fn versions(&self, name: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        let reference = Reference::parse(name)?;
        self.within("list the versions of", name, async {
            match reference.engine {
                Engine::Kv2 => self.kv2(reference, name).versions().await,
                Engine::Kv1 => self.kv1(reference, name).versions().await,
            }
        })
        .await
    }

    async fn write(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        if !self.writable {
            return Err(ProviderError::unsupported("be written: its `writable` is not set"));
        }
        let reference = Reference::parse(request.reference)?;
        if request.stage == Stage::Pending {
            return Err(ProviderError::unsupported("hold a version that waits: Vault's KV has no stages"));
        }
        self.within("write", request.reference, async {
            match reference.engine {
                Engine::Kv2 => self.kv2(reference, request.reference).write(&request, &self.written).await,
                Engine::Kv1 => self.kv1(reference, request.reference).write(&request).await,
            }
        })
        .await
    }

    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        if !self.capabilities().can(request.change) {
            return Err(ProviderError::unsupported(request.change.as_str()));
        }
        let reference = Reference::parse(request.reference)?;
        if request.version.is_some() != request.change.is_of_version() {
            return Err(ProviderError::new(
                ErrorClass::Invalid,
                format!("whether to {} a version or the secret is not clear", request.change),
            ));
        }
        if reference.engine == Engine::Kv1 {
            return Err(ProviderError::new(
                ErrorClass::Permanent,
                format!(
                    "KV version 1 keeps no versions and nothing that is deleted: it cannot {}",
                    request.change
                ),
            ));
        }
        let kv = self.kv2(reference, request.reference);
        self.within(request.change.as_str(), request.reference, kv.change(&request)).await
    }

    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        check(self, &self.standing, demands).await
    }
}
