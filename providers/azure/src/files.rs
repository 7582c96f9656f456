//! Secrets of the broker's own that are in files.

use std::{os::unix::fs::MetadataExt, path::Path};

use leasehold_core::SecretBytes;

use crate::failure::Failure;

/// Who else may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// Nobody but its owner and its owner's group: systemd's credentials are 0440.
    Private,
    /// Anybody on the machine, but nobody else may change it: Kubernetes projects tokens so, into a pod of their own.
    Readable,
}

/// One word from a file.
pub(crate) async fn read_word(path: &Path, privacy: Privacy) -> Result<SecretBytes, Failure> {
    let wrong = |why: String| Failure::File(format!("{}: {why}", path.display()));
    let meta = tokio::fs::metadata(path).await.map_err(|error| wrong(error.to_string()))?;
    if !meta.is_file() || meta.len() > 32 * 1024 {
        return Err(wrong("a key or a token is a file of at most 32 KiB".to_owned()));
    }
    let (unwanted, way_out) = match privacy {
        Privacy::Private => (0o027, "others can read or change this key: chmod 600"),
        Privacy::Readable => (0o022, "others can change this token: chmod 644"),
    };
    if meta.mode() & unwanted != 0 {
        return Err(wrong(way_out.to_owned()));
    }
    let text = SecretBytes::new(tokio::fs::read(path).await.map_err(|error| wrong(error.to_string()))?);
    match str::from_utf8(text.expose()).map(str::trim) {
        Ok(word) if !word.is_empty() && !word.contains(char::is_whitespace) => Ok(word.to_owned().into()),
        _ => Err(wrong("a key or a token is one word on one line".to_owned())),
    }
}
