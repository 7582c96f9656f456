//! The role that the broker takes on before it does anything else.

use aws_credential_types::{
    Credentials as Key,
    provider::{ProvideCredentials, error::CredentialsError, future},
};

use crate::{
    client::{AssumeRole, Session, Tokens},
    config::AssumedRole,
};

/// Sessions of a role, had with other credentials.
#[derive(Debug)]
pub(crate) struct Assumed {
    tokens: Tokens,
    role: AssumedRole,
}

impl Assumed {
    /// The sessions of `role`, asked for with the credentials of `tokens`.
    pub(crate) fn new(tokens: Tokens, role: AssumedRole) -> Self {
        Self { tokens, role }
    }

    async fn provide(&self) -> Result<Key, CredentialsError> {
        let asked = AssumeRole {
            arn: &self.role.arn,
            subject: "assume_role_arn",
            session_name: &self.role.session_name,
            external_id: self.role.external_id.as_deref(),
            ..AssumeRole::default()
        };
        let Session { access_key_id, secret_access_key, session_token, expires_at } =
            self.tokens.assume_role(asked).await.map_err(CredentialsError::provider_error)?;
        let text = |bytes: leasehold_core::SecretBytes| {
            String::from_utf8(bytes.into_exposed())
                .map_err(|_| CredentialsError::unhandled("a key that is no text"))
        };
        let (secret, token) = (text(secret_access_key)?, text(session_token)?);
        Ok(Key::new(access_key_id, secret, Some(token), Some(expires_at.into()), "leasehold-assumed-role"))
    }
}

impl ProvideCredentials for Assumed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}
