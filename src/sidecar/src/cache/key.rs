//! The cache's key: it follows from a file of its own, or from the private key of the sidecar's identity.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use leasehold_seal::KeyRing;
use rustix::fs::OFlags;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::cache::KeySource;

/// Why there is no key. Never says anything of it.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("the file {} that the cache's key follows from cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Everybody can read it.
    #[error("the file {} that the cache's key follows from can be read by others (mode {mode:03o}): `chmod 600 {}`",
        path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Too little to be a key.
    #[error("the file {} does not hold a key: `openssl rand -base64 32 > {}`", path.display(), path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// No private key.
    #[error("the identity's key {} is not a private key in PEM", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
    },
}

/// What a key is made for: the same secret gives another key elsewhere.
const PURPOSE: &str = "leasehold-sidecar cache";
const LONGEST: u64 = 64 * 1024;

/// The key as its file is now.
pub(super) fn ring(source: &KeySource) -> Result<KeyRing, KeyError> {
    let (KeySource::File(path) | KeySource::Identity(path)) = source;
    let bytes = read(path)?;
    let ring = match source {
        KeySource::File(_) => KeyRing::following(bytes.trim_ascii(), PURPOSE),
        KeySource::Identity(_) => {
            let mut key =
                PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| KeyError::NotPem { path: path.clone() })?;
            let ring = KeyRing::following(key.secret_der(), PURPOSE);
            zeroize::Zeroize::zeroize(&mut key);
            ring
        }
    };
    ring.ok_or_else(|| KeyError::NoKey { path: path.clone() })
}

/// By what another key is known, without reading it.
pub(super) fn stamp(source: &KeySource) -> Option<(u64, u64, i64, i64)> {
    let (KeySource::File(path) | KeySource::Identity(path)) = source;
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec()))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let unreadable = |cause| KeyError::Unreadable { path: path.to_owned(), cause };
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if !found.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    // A group may be let in: systemd shows a credential's access list as the group's.
    let mode = found.mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let size = usize::try_from(found.len().min(LONGEST)).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    file.take(LONGEST).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_the_same_as_long_as_its_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let write = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let own = KeySource::File(path.clone());
        assert!(matches!(ring(&own), Err(KeyError::Unreadable { .. })));
        write("canary-0123456789\n", 0o400);
        let sealed = ring(&own).unwrap().seal(b"c", b"x").unwrap();
        write("canary-0123456789", 0o400);
        assert_eq!(ring(&own).unwrap().open(b"c", &sealed).unwrap().expose(), b"x");
        write("another-0123456789", 0o400);
        assert!(ring(&own).unwrap().open(b"c", &sealed).is_err());
        write("short", 0o400);
        assert!(matches!(ring(&own), Err(KeyError::NoKey { .. })));
        let identity = KeySource::Identity(path.clone());
        write("canary-0123456789", 0o400);
        let why = ring(&identity).unwrap_err().to_string();
        assert!(why.contains("not a private key") && !why.contains("canary"), "{why}");
        write("canary-0123456789", 0o404);
        assert!(matches!(ring(&own), Err(KeyError::Exposed { mode: 0o404, .. })));
    }

    #[test]
    fn an_identitys_key_is_taken_out_of_its_pem() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tls.key");
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let source = KeySource::Identity(path.clone());
        let sealed = ring(&source).unwrap().seal(b"c", b"x").unwrap();
        // Comments around it are no part of it.
        fs::write(&path, format!("the key\n{}", key.serialize_pem())).unwrap();
        assert_eq!(ring(&source).unwrap().open(b"c", &sealed).unwrap().expose(), b"x");
    }
}
