//! What can be wrong with TLS files: which file, what fault, and the way out.

use std::{fmt, io, path::PathBuf};

use leasehold_core::Timestamp;
use thiserror::Error;

/// One file's fault.
#[derive(Debug, Error)]
#[error("{role} {path}: {fault}", path = path.display())]
pub struct TlsError {
    /// What the file is for.
    pub role: FileRole,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and the way out.
    pub fault: Fault,
}

/// Every fault that was found.
#[derive(Debug)]
pub struct TlsErrors(pub Vec<TlsError>);

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRole {
    /// The broker's certificate chain.
    Certificate,
    /// Its key.
    Key,
    /// The client authorities.
    ClientBundle,
    /// A revocation list.
    Crl,
}

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum Fault {
    /// Absent, or not allowed.
    #[error("cannot be read ({0}): check the path, and that the daemon's user may read it")]
    Unreadable(io::Error),
    /// A folder, a device, a pipe.
    #[error("is not a regular file")]
    NotAFile,
    /// Larger than such a file can sensibly be.
    #[error("is larger than {limit} bytes: this is not the right file")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// Others can read the key.
    #[error(
        "can be read by others (mode {mode:04o}): run `chmod 600` on it, and replace the key if it may have been seen"
    )]
    Exposed {
        /// The file's permission bits.
        mode: u32,
    },
    /// Another user's key.
    #[error("belongs to another user (uid {uid}): it must belong to the daemon's user or to root")]
    ForeignOwner {
        /// The owner.
        uid: u32,
    },
    /// Not PEM, or broken PEM.
    #[error("is not PEM ({0}): expected `-----BEGIN ...-----` blocks")]
    NotPem(String),
    /// PEM without what is looked for.
    #[error("has no {0} block in it")]
    Nothing(&'static str),
    /// A key under a passphrase.
    #[error(
        "is encrypted, and nobody is there to type the passphrase: store it unencrypted, protected by its mode or as a systemd credential"
    )]
    Encrypted,
    /// A kind of key that cannot sign a handshake.
    #[error(
        "is not a key that TLS can use ({0}): use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more"
    )]
    UnsuitableKey(String),
    /// The key belongs to another certificate.
    #[error("does not belong to the certificate {}: both must come from one issue", certificate.display())]
    WrongKey {
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// A block that does not parse.
    #[error("item {item} does not parse: {why}")]
    Malformed {
        /// Counted from 1.
        item: usize,
        /// What is wrong.
        why: String,
    },
    /// An authority's certificate where a server's is needed.
    #[error(
        "starts with an authority's certificate (CA): the server's own comes first, then its intermediates"
    )]
    NotALeaf,
    /// A certificate that cannot be an authority.
    #[error(
        "certificate {item} is not an authority's (no CA basic constraint): a bundle has the issuers' certificates, not the clients'"
    )]
    NotAnAuthority {
        /// Counted from 1.
        item: usize,
    },
    /// Past its time.
    #[error("expired at {0}: put a new one in its place")]
    Expired(Timestamp),
    /// Every authority is past its time.
    #[error("has only expired authorities, the last since {0}: put the current bundle in its place")]
    AllExpired(Timestamp),
    /// Before its time.
    #[error("is not valid before {0}: check this machine's clock")]
    NotYetValid(Timestamp),
    /// A list that should have been replaced.
    #[error(
        "was to be replaced by {0}: fetch the current list (or set `accept_stale_crl` in [listen] while you do)"
    )]
    Stale(Timestamp),
    /// Two lists of one issuer: the older one could hide the newer.
    #[error("has a second list of the issuer {issuer:?}, after one in {}: keep only the newest", first.display())]
    SecondList {
        /// The issuer's name.
        issuer: String,
        /// Where the first one is.
        first: PathBuf,
    },
    /// rustls refused what was put together.
    #[error("is refused: {0}")]
    Refused(String),
}

impl std::error::Error for TlsErrors {}

impl fmt::Display for TlsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for FileRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::ClientBundle => "client bundle",
            Self::Crl => "revocation list",
        })
    }
}
