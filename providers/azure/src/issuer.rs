//! Access tokens, lent. Entra ID decides how long one lives, and nothing ends it before.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use leasehold_core::{
    SecretBytes, SecretValue,
    ports::Issuer,
    provider::{Capabilities, ErrorClass, IssueCredential, IssuedCredential, ProviderError, Revocation},
};

use crate::{
    config::{AzureConfig, AzureRole, Identity},
    failure::Failure,
    identity::mint,
    provider::AzureProvider,
    sign_in::end,
};

/// How long a managed identity's token lives at most: the platform keeps it for as long
/// (<https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/managed-identities-faq#are-managed-identities-tokens-cached>).
const MANAGED: Duration = Duration::from_secs(24 * 3600);
/// How long another one does: a random time from 60 to 90 minutes
/// (<https://learn.microsoft.com/entra/identity-platform/access-tokens#token-lifetime>).
const APPLICATION: Duration = Duration::from_secs(90 * 60);

/// What can be said of the tokens of these roles. Their lives are not for the broker to choose: the shortest and the
/// longest are the same.
pub(crate) fn capabilities(config: &AzureConfig) -> Capabilities {
    let managed = |role| matches!(config.identity_of(role), Identity::Managed { .. });
    let life = if config.roles.values().any(managed) { MANAGED } else { APPLICATION };
    let life = (!config.roles.is_empty()).then_some(life);
    Capabilities { issue: life.is_some(), min_ttl: life, max_ttl: life, ..Capabilities::default() }
}

impl AzureProvider {
    /// A new token of a role. Each one that is made and not answered lives on: there is nothing to find it by.
    pub(crate) async fn token_of(
        &self,
        role: &AzureRole,
    ) -> Result<azure_core::credentials::AccessToken, Failure> {
        let identity = self.config.identity_of(role);
        let authority = self.config.cloud.authority();
        self.attempts.run(|| mint(identity, &role.scope, authority, &self.wire)).await
    }
}

#[async_trait]
impl Issuer for AzureProvider {
    async fn issue(&self, request: IssueCredential<'_>) -> Result<IssuedCredential, ProviderError> {
        let what = format!("taking a token of the role `{}`", request.role);
        let Some(role) = self.config.roles.get(request.role) else {
            return Err(ProviderError::new(ErrorClass::Absent, format!("{what}: there is no such role")));
        };
        let token = self.token_of(role).await.map_err(|failure| failure.during(&what))?;
        let end = end(&token);
        let fields: [(&str, SecretBytes); 4] = [
            ("access_token", token.token.secret().to_owned().into()),
            ("token_type", "Bearer".to_owned().into()),
            ("expires_at", end.to_string().into()),
            ("scope", role.scope.clone().into()),
        ];
        let mut named = BTreeMap::new();
        for (name, bytes) in fields {
            named.extend(name.parse().ok().map(|name| (name, bytes)));
        }
        let version = request.lease.to_string().parse();
        Ok(IssuedCredential {
            value: SecretValue { fields: named, content_type: SecretValue::TEXT.into() },
            version: version
                .map_err(|_| ProviderError::new(ErrorClass::Permanent, "a lease's id is no version"))?,
            revocation: Revocation::NoneUntil(end),
            expires_at: Some(end),
        })
    }
}
