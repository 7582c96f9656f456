//! Tokens of service accounts, made for one holder.
//!
//! Google Cloud cannot end one early, and has no name for it: a token whose answer was lost ends by itself.

use std::time::Duration;

use async_trait::async_trait;
use leasehold_core::{
    SecretBytes, SecretValue,
    ports::Issuer,
    provider::{ErrorClass, IssueCredential, IssuedCredential, ProviderError, Revocation},
};

use crate::{
    client::Token,
    provider::GcpProvider,
    roles::{GcpRole, Grant},
};

#[async_trait]
impl Issuer for GcpProvider {
    async fn issue(&self, request: IssueCredential<'_>) -> Result<IssuedCredential, ProviderError> {
        let role = self.role(request.role)?;
        let (field, token) = self.token(request.role, role, request.ttl).await?;
        let Token { value, expires_at } = token;
        let version =
            request.lease.to_string().parse().map_err(|_| {
                ProviderError::new(ErrorClass::Permanent, "the lease's id cannot be a version's")
            })?;
        Ok(IssuedCredential {
            value: fields(field, value)?,
            version,
            revocation: Revocation::NoneUntil(expires_at),
            expires_at: Some(expires_at),
        })
    }
}

impl GcpProvider {
    /// A role by its name.
    pub(crate) fn role(&self, name: &str) -> Result<&GcpRole, ProviderError> {
        self.config().roles.get(name).ok_or_else(|| {
            ProviderError::new(ErrorClass::Invalid, format!("there is no role `{name}` of this provider"))
        })
    }

    /// A token of a role that lives at most so long, and the name of the field that it is.
    pub(crate) async fn token(
        &self,
        name: &str,
        role: &GcpRole,
        life: Duration,
    ) -> Result<(&'static str, Token), ProviderError> {
        Ok(match role.grant {
            Grant::AccessToken { .. } => {
                let life = life.min(role.longest()).max(Duration::from_secs(1));
                ("access_token", self.client().access_token(name, role, life).await?)
            }
            Grant::IdToken { .. } => ("id_token", self.client().id_token(name, role).await?),
        })
    }
}

fn fields(name: &str, token: SecretBytes) -> Result<SecretValue, ProviderError> {
    let name = name
        .parse()
        .map_err(|_| ProviderError::new(ErrorClass::Permanent, "a token's field has an impossible name"))?;
    Ok(SecretValue { fields: [(name, token)].into(), content_type: SecretValue::TEXT.into() })
}
