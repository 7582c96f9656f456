//! A fixed access key whose secret is in a file.

use std::path::{Path, PathBuf};

use aws_credential_types::{
    Credentials as Key,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use leasehold_secret_file::{Readers, SecretFile};
use tokio::task::spawn_blocking;

/// An access key whose secret is read from its file for each call.
#[derive(Debug)]
pub(crate) struct KeyFiles {
    /// The access key's id.
    pub(crate) id: String,
    /// The secret access key's file.
    pub(crate) secret: PathBuf,
    /// The session token's file.
    pub(crate) token: Option<PathBuf>,
}

impl ProvideCredentials for KeyFiles {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let secret = read_key(&self.secret).await?;
            let token = match &self.token {
                Some(path) => Some(read_key(path).await?),
                None => None,
            };
            Ok(Key::new(self.id.clone(), secret, token, None, "leasehold-key-file"))
        })
    }
}

/// The one word in a file. Reading blocks, so it is done where others need not wait.
async fn read_key(path: &Path) -> Result<String, CredentialsError> {
    let path = path.to_owned();
    let read = spawn_blocking(move || SecretFile::read(&path, Readers::Group)?.word().map(str::to_owned));
    match read.await {
        Ok(word) => word.map_err(CredentialsError::invalid_configuration),
        Err(_) => Err(CredentialsError::provider_error("the broker is stopping")),
    }
}
