//! Secrets of the broker's own that are in files.

use std::{os::unix::fs::MetadataExt, path::Path};

use leasehold_core::SecretBytes;
use rustix::fs::OFlags;
use tokio::{fs::OpenOptions, io::AsyncReadExt};

use crate::failure::Failure;

/// Who else may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// Nobody but its owner and its owner's group: systemd's credentials are 0440.
    Private,
    /// Anybody on the machine, but nobody else may change it: Kubernetes projects tokens so, into a pod of their own.
    Readable,
}

/// The most that a key or a token has: a federated one is a few KiB.
const MOST: u64 = 32 * 1024;
const TOO_LARGE: &str = "a key or a token is a file of at most 32 KiB";

/// One word from a file.
pub(crate) async fn read_word(path: &Path, privacy: Privacy) -> Result<SecretBytes, Failure> {
    let wrong = |why: String| Failure::File(format!("{}: {why}", path.display()));
    let unread = |error: std::io::Error| wrong(error.to_string());
    // What is looked at is what is read, whatever the path names by then; and a pipe has nobody wait for its writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).await.map_err(unread)?;
    let meta = file.metadata().await.map_err(unread)?;
    if !meta.is_file() || meta.len() > MOST {
        return Err(wrong(TOO_LARGE.to_owned()));
    }
    let (unwanted, way_out) = match privacy {
        Privacy::Private => (0o027, "others can read or change this key: chmod 600"),
        Privacy::Readable => (0o022, "others can change this token: chmod 644"),
    };
    if meta.mode() & unwanted != 0 {
        return Err(wrong(way_out.to_owned()));
    }
    let mut bytes = Vec::new();
    let read = file.take(MOST.saturating_add(1)).read_to_end(&mut bytes).await;
    let text = SecretBytes::new(bytes);
    read.map_err(unread)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MOST {
        return Err(wrong(TOO_LARGE.to_owned()));
    }
    match str::from_utf8(text.expose()).map(str::trim) {
        Ok(word) if !word.is_empty() && !word.contains(char::is_whitespace) => Ok(word.to_owned().into()),
        _ => Err(wrong("a key or a token is one word on one line".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, process::Command};

    use super::*;

    #[tokio::test]
    async fn a_file_that_says_it_is_empty_is_not_read_without_end() {
        // The system says no length of what it makes up as it is read.
        let mut command = Command::new("sleep");
        let mut child = command.arg("60").env_clear().env("X", "x".repeat(90_000)).spawn().unwrap();
        let path = PathBuf::from(format!("/proc/{}/environ", child.id()));
        let read = read_word(&path, Privacy::Private).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let why = read.unwrap_err().to_string();
        assert!(why.contains("at most 32 KiB"), "{why}");
    }
}
