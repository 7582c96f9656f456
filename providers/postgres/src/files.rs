//! The file with the broker's own password, and the authorities' certificates.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

/// Why a file is not used. No content is in it.
#[derive(Debug, Error)]
pub(crate) enum FileFault {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, io::ErrorKind),
    /// Others can.
    #[error("{0}: others can read or change it: chmod 600")]
    Open(PathBuf),
    /// It holds something else.
    #[error("{0}: it must hold a password on one line, and at most 16 KiB")]
    NoPassword(PathBuf),
}

const MOST: u64 = 16 * 1024;

/// Others may neither read nor change it; the owner's group may read it, as it may systemd's credentials.
const FORBIDDEN: u32 = 0o027;

/// The password in a file: its one line, without the line's end.
pub(crate) fn read_password(path: &Path) -> Result<Zeroizing<String>, FileFault> {
    let unreadable = |error: io::Error| FileFault::Unreadable(path.to_owned(), error.kind());
    let meta = fs::metadata(path).map_err(unreadable)?;
    if meta.mode() & FORBIDDEN != 0 {
        return Err(FileFault::Open(path.to_owned()));
    }
    if !meta.is_file() || meta.len() > MOST {
        return Err(FileFault::NoPassword(path.to_owned()));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(unreadable)?);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains(['\n', '\r', '\0']) {
        return Err(FileFault::NoPassword(path.to_owned()));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// What anybody may read.
pub(crate) fn read_public(path: &Path) -> Result<Vec<u8>, FileFault> {
    fs::read(path).map_err(|error| FileFault::Unreadable(path.to_owned(), error.kind()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_private_file_with_one_line_is_a_password() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("password");
        for (content, mode, good) in [
            ("canary pass", 0o600, true),
            ("canary pass\n", 0o440, true),
            ("canary pass\r\n", 0o400, true),
            ("canary", 0o644, false),
            ("canary", 0o620, false),
            ("canary\nmore", 0o600, false),
            ("\n", 0o600, false),
            ("", 0o600, false),
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match read_password(&path) {
                Ok(password) => assert!(good && *password == "canary pass", "{content:?} {mode:o}"),
                Err(fault) => assert!(!good && !fault.to_string().contains("canary"), "{content:?}: {fault}"),
            }
        }
        assert!(matches!(read_password(&home.path().join("none")), Err(FileFault::Unreadable(..))));
    }
}
