//! The port's implementation.

use std::sync::Arc;

use async_trait::async_trait;
use leasehold_core::{
    SecretBytes,
    ports::{Clock, Entropy, Issuer, NativeRotation, Provider},
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
    rotation::{Rotated, never_lent, root_versions},
    server::Server,
    standing::Standing,
    static_role::StaticRole,
    written::Written,
};

/// Secrets and credentials of one Vault, in one namespace.
pub struct VaultProvider {
    pub(crate) standing: Arc<Standing>,
    written: Written,
    pub(crate) rotated: Rotated,
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
        Ok(Self { standing, written, rotated: Rotated::default(), roles, writable })
    }

    fn kv2<'a>(&'a self, reference: Reference<'a>, name: &'a str) -> Kv2<'a> {
        Kv2 { standing: &self.standing, reference, name }
    }

    fn kv1<'a>(&'a self, reference: Reference<'a>, name: &'a str) -> Kv1<'a> {
        Kv1 { standing: &self.standing, reference, name, written: &self.written }
    }

    fn static_role<'a>(&'a self, reference: Reference<'a>, name: &'a str) -> StaticRole<'a> {
        StaticRole { standing: &self.standing, reference, name }
    }

    pub(crate) async fn within<T>(
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
            rotate: self.writable,
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

    fn native(&self) -> Option<&dyn NativeRotation> {
        self.writable.then_some(self)
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        let reference = Reference::parse(request.reference)?;
        self.within("read", request.reference, async {
            match reference.engine {
                Engine::Kv2 => self.kv2(reference, request.reference).fetch(&request).await,
                Engine::Kv1 => self.kv1(reference, request.reference).fetch(&request).await,
                Engine::StaticRole => self.static_role(reference, request.reference).fetch(&request).await,
                Engine::Root => Err(never_lent(request.reference, request.version)),
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
                Engine::StaticRole => self.static_role(reference, name).versions().await,
                Engine::Root => root_versions(),
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
                Engine::StaticRole | Engine::Root => Err(ProviderError::new(
                    ErrorClass::Permanent,
                    format!("`{}`: Vault alone makes its passwords: have it rotated", request.reference),
                )),
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
        self.within(request.change.as_str(), request.reference, async {
            match reference.engine {
                Engine::Kv2 => self.kv2(reference, request.reference).change(&request).await,
                Engine::StaticRole => self.static_role(reference, request.reference).change(&request).await,
                Engine::Kv1 => Err(ProviderError::new(
                    ErrorClass::Permanent,
                    format!(
                        "KV version 1 keeps no versions and nothing that is deleted: it cannot {}",
                        request.change
                    ),
                )),
                // What was before is gone, with the password.
                Engine::Root if matches!(request.change, Change::Disable | Change::Destroy) => Ok(()),
                Engine::Root => Err(ProviderError::unsupported(request.change.as_str())),
            }
        })
        .await
    }

    async fn generate(&self, policy: &str) -> Result<SecretBytes, ProviderError> {
        self.by_policy(policy).await
    }

    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        check(self, &self.standing, demands).await
    }
}
