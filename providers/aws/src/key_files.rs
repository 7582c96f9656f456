//! A fixed access key whose secret is in a file.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use aws_credential_types::{
    Credentials as Key,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use leasehold_core::SecretBytes;
use rustix::fs::OFlags;
use tokio::{fs::OpenOptions, io::AsyncReadExt};

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

/// The most that a key has: a session token is a few KiB.
const MOST: u64 = 16 * 1024;

/// One line from a file that nobody but its owner, or its owner's group, can read (systemd's credentials are 0440).
async fn read_key(path: &Path) -> Result<String, CredentialsError> {
    let wrong = |why: String| CredentialsError::invalid_configuration(format!("{}: {why}", path.display()));
    let unread = |error: std::io::Error| wrong(error.to_string());
    // What is looked at is what is read, whatever the path names by then; and a pipe has nobody wait for its writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).await.map_err(unread)?;
    let meta = file.metadata().await.map_err(unread)?;
    if !meta.is_file() || meta.len() > MOST {
        return Err(wrong("a key is a file of at most 16 KiB".to_owned()));
    }
    if meta.mode() & 0o027 != 0 {
        return Err(wrong("others can read or change this key: chmod 600".to_owned()));
    }
    let mut bytes = Vec::new();
    let read = file.take(MOST.saturating_add(1)).read_to_end(&mut bytes).await;
    let bytes = SecretBytes::new(bytes);
    read.map_err(unread)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MOST {
        return Err(wrong("a key is a file of at most 16 KiB".to_owned()));
    }
    let text = str::from_utf8(bytes.expose()).map_err(|_| wrong("a key is text".to_owned()))?;
    let key = text.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(wrong("a key is one word on one line".to_owned()));
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_file_that_says_it_is_empty_is_not_read_without_end() {
        // The system says no length of what it makes up as it is read.
        let mut command = Command::new("sleep");
        let mut child = command.arg("60").env_clear().env("X", "x".repeat(90_000)).spawn().unwrap();
        let path = PathBuf::from(format!("/proc/{}/environ", child.id()));
        let read = read_key(&path).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let error = std::error::Error::source(&read.unwrap_err()).unwrap().to_string();
        assert!(error.contains("at most 16 KiB"), "{error}");
    }
}
