//! What the broker signs in with: a password from a file, or whatever another secret of the broker's says.

use std::sync::Arc;

use leasehold_core::{
    SecretBytes, SecretPath,
    ports::CredentialSource,
    provider::{ErrorClass, Fetched},
    secret::VersionId,
};
use leasehold_secret_file::{Readers, SecretFile, SecretFileFault};

use crate::{
    config::{Administrator, is_name},
    error::Failure,
};

/// Where what the broker signs in with is found.
pub(crate) struct SignsIn {
    administrator: Administrator,
    source: Option<Arc<dyn CredentialSource>>,
}

/// What it signs in with.
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: SecretBytes,
    /// Of the secret that it is from.
    version: Option<VersionId>,
}

impl SignsIn {
    /// `None` when nobody can read the secret that is named.
    pub(crate) fn new(
        administrator: Administrator,
        source: Option<Arc<dyn CredentialSource>>,
    ) -> Option<Self> {
        let readable = source.is_some() || matches!(administrator, Administrator::File { .. });
        readable.then_some(Self { administrator, source })
    }

    /// What to sign in with now.
    pub(crate) async fn login(&self) -> Result<Login, Failure> {
        match &self.administrator {
            Administrator::File { user, password_file } => {
                let denied = |fault: SecretFileFault| {
                    Failure::ours(ErrorClass::Denied, format!("`password_file`: {fault}"))
                };
                let file = SecretFile::read(password_file, Readers::Group).map_err(denied)?;
                let password = SecretBytes::from(file.line().map_err(denied)?.to_owned());
                Ok(Login { user: user.clone(), password, version: None })
            }
            Administrator::Secret { path, user } => {
                self.ask(path, None).await.and_then(|found| login(path, user.as_deref(), &found))
            }
        }
    }

    /// What to sign in with after the server has refused these, the last one just now; `None` when there is nothing else. A
    /// file is read anew each time anyway.
    pub(crate) async fn instead_of(&self, refused: &[Login]) -> Result<Option<Login>, Failure> {
        let last = refused.last().and_then(|login| login.version.as_ref());
        let (Administrator::Secret { path, user }, Some(last)) = (&self.administrator, last) else {
            return Ok(None);
        };
        let found = self.ask(path, Some(last)).await?;
        if refused.iter().any(|login| login.version.as_ref() == Some(&found.version)) {
            return Ok(None);
        }
        login(path, user.as_deref(), &found).map(Some)
    }

    /// As people know it.
    pub(crate) fn name(&self) -> String {
        match &self.administrator {
            Administrator::File { user, .. } | Administrator::Secret { user: Some(user), .. } => {
                format!("`{user}`")
            }
            Administrator::Secret { path, user: None } => format!("the user in the secret `{path}`"),
        }
    }

    async fn ask(&self, path: &SecretPath, refused: Option<&VersionId>) -> Result<Fetched, Failure> {
        let Some(source) = &self.source else {
            return Err(Failure::ours(ErrorClass::Permanent, format!("nobody can read the secret `{path}`")));
        };
        let failed = |error: leasehold_core::provider::ProviderError| {
            Failure::ours(error.class, format!("the administrator's secret `{path}`: {error}"))
        };
        source.read(refused).await.map_err(failed)
    }
}

fn login(path: &SecretPath, user: Option<&str>, found: &Fetched) -> Result<Login, Failure> {
    let wrong = |why: &str| {
        Failure::ours(ErrorClass::Permanent, format!("the administrator's secret `{path}` {why}"))
    };
    let field = |name: &str| {
        found.value.fields.iter().find(|(field, _)| field.as_str() == name).map(|(_, bytes)| bytes)
    };
    let user = match (field("username"), user) {
        (Some(bytes), _) => str::from_utf8(bytes.expose()).ok().filter(|name| is_name(name)),
        (None, user) => user,
    };
    let user =
        user.ok_or_else(|| wrong("has no field `username` with a user's name: add it, or say `user`"))?;
    let password = field("password").or_else(|| field("value")).filter(|bytes| !bytes.is_empty());
    let password = password.ok_or_else(|| wrong("has no field `password`"))?.clone();
    Ok(Login { user: user.to_owned(), password, version: Some(found.version.clone()) })
}

#[cfg(test)]
mod tests {
    use leasehold_core::SecretValue;

    use super::*;

    fn found(fields: &[(&str, &str)]) -> Fetched {
        let fields =
            fields.iter().map(|(name, text)| (name.parse().unwrap(), SecretBytes::from((*text).to_owned())));
        let value = SecretValue { fields: fields.collect(), content_type: SecretValue::TEXT.into() };
        Fetched { value, version: "7".parse().unwrap(), created_at: None }
    }

    #[test]
    fn a_secret_is_a_user_and_a_password() {
        let path = "infra/pg/admin".parse().unwrap();
        for (fields, user, expected) in [
            (&[("username", "a"), ("password", "canary")][..], None, Some("a")),
            (&[("username", "a"), ("password", "canary")], Some("b"), Some("a")),
            (&[("password", "canary")], Some("b"), Some("b")),
            (&[("value", "canary")], Some("b"), Some("b")),
            (&[("value", "canary")], None, None),
            (&[("username", ""), ("password", "canary")], None, None),
            (&[("username", "a"), ("key", "canary")], None, None),
            (&[("username", "a"), ("password", "")], None, None),
        ] {
            match login(&path, user, &found(fields)) {
                Ok(login) => {
                    assert_eq!((Some(&*login.user), login.password.expose()), (expected, &b"canary"[..]));
                }
                Err(failure) => {
                    assert!(expected.is_none(), "{fields:?}: {failure}");
                    assert!(!failure.to_string().contains("canary"), "{failure}");
                }
            }
        }
    }
}
