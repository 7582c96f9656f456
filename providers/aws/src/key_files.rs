//! A fixed access key whose secret is in a file.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use aws_credential_types::{
    Credentials as Key,
    provider::{ProvideCredentials, error::CredentialsError, future},
};

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

/// One line from a file that nobody but its owner, or its owner's group, can read (systemd's credentials are 0440).
async fn read_key(path: &Path) -> Result<String, CredentialsError> {
    let wrong = |why: String| CredentialsError::invalid_configuration(format!("{}: {why}", path.display()));
    let meta = tokio::fs::metadata(path).await.map_err(|error| wrong(error.to_string()))?;
    if !meta.is_file() || meta.len() > 16 * 1024 {
        return Err(wrong("a key is a file of at most 16 KiB".to_owned()));
    }
    if meta.mode() & 0o027 != 0 {
        return Err(wrong("others can read or change this key: chmod 600".to_owned()));
    }
    let text = tokio::fs::read_to_string(path).await.map_err(|error| wrong(error.to_string()))?;
    let key = text.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(wrong("a key is one word on one line".to_owned()));
    }
    Ok(key.to_owned())
}
