//! What goes wrong with files, and in which class it is for the broker.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use leasehold_core::{
    Timestamp,
    provider::{ErrorClass, ProviderError},
};
use leasehold_seal::SealError;
use thiserror::Error;

use crate::reference::Version;

/// Why the directory cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file, or a link, where the directory should be.
    #[error("{} is not a directory: name another, or move it away", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Another user's.
    #[error("{} belongs to user {owner}, not to user {user} that runs this: run as its owner, or give it to this one: `chown -R {user} {}`", path.display(), path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// Others can look inside.
    #[error("others can read {} (mode {mode:03o}): `chmod 700 {}`", path.display(), path.display())]
    Exposed {
        /// The path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Held by another provider, in this process or another.
    #[error("{} is in use by another broker, or by another provider of this one: give each its own directory", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Room for no version at all.
    #[error("`history` is at least 1: the current version counts")]
    NoHistory,
}

/// Why a secret was not read or written.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    /// The system said no.
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// Nothing was ever written, or this version is gone.
    #[error("there is no such secret or version")]
    Absent,
    /// The version that must be current is not.
    #[error("the current version is {}, not {expected}", or_none(current.as_ref()))]
    Conflict { current: Option<Version>, expected: Version },
    /// The token made another value.
    #[error("the token was used to write another value")]
    TokenReused,
    /// The current version cannot be taken away: nothing readable would be left.
    #[error("{0} is current: write or promote another version first")]
    Current(Version),
    /// It is there, and not to be read.
    #[error("{0} is disabled: enable it first")]
    Disabled(Version),
    /// The same, asked for what needs it enabled.
    #[error("{0} is disabled, so it cannot become current: enable it first")]
    NotPromotable(Version),
    /// Its value is gone for good.
    #[error("{0} was destroyed")]
    Destroyed(Version),
    /// The whole secret is deleted.
    #[error("it was deleted at {0}: restore it first")]
    Deleted(Timestamp),
    /// The same, asked for what needs it restored.
    #[error("it was deleted at {0}, so it cannot be changed: restore or purge it first")]
    NotChangeable(Timestamp),
    /// Only what was deleted is purged.
    #[error("only a deleted secret can be purged: delete it first")]
    NotDeleted,
    /// More than configured.
    #[error("the value has {size} bytes, and this back end takes at most {limit}")]
    TooLarge { size: usize, limit: usize },
    /// A value of nothing, or a token that fits no file.
    #[error("{0}")]
    Unfit(&'static str),
    /// Not a plain file of ours that only we can read.
    #[error("{} is not trusted: {why}", path.display())]
    Untrusted { path: PathBuf, why: &'static str },
    /// What was sealed does not open.
    #[error("cannot open {}", path.display())]
    Sealed { path: PathBuf, source: SealError },
    /// It opens, but this is not what a broker of this version writes.
    #[error("{} holds what this broker does not understand: a newer one may have written it", path.display())]
    Unreadable { path: PathBuf },
    /// Two files claim to be the same version.
    #[error("{} has two versions numbered {number}: remove the one that does not belong", path.display())]
    Ambiguous { path: PathBuf, number: u64 },
    /// No randomness, or no clean thread.
    #[error("{0}")]
    Broken(&'static str),
}

impl Fault {
    /// For `map_err` on a system call.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            let looped = source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
            if looped || source.kind() == ErrorKind::NotADirectory {
                Self::Untrusted { path, why: "it, or what leads to it, is a link or a file of another kind" }
            } else {
                Self::Io { action, path, source }
            }
        }
    }

    /// Whether the file itself is bad, and not the disk or the key ring.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Untrusted { .. }
                | Self::Unreadable { .. }
                | Self::Sealed { source: SealError::Damaged, .. }
        )
    }

    fn class(&self) -> ErrorClass {
        match self {
            Self::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => ErrorClass::Denied,
            Self::Io { .. } | Self::Broken(_) => ErrorClass::Transient,
            Self::Absent | Self::Disabled(_) | Self::Destroyed(_) | Self::Deleted(_) => ErrorClass::Absent,
            Self::Conflict { .. }
            | Self::TokenReused
            | Self::Current(_)
            | Self::NotPromotable(_)
            | Self::NotChangeable(_)
            | Self::NotDeleted
            | Self::TooLarge { .. }
            | Self::Unfit(_) => ErrorClass::Invalid,
            Self::Untrusted { .. }
            | Self::Sealed { .. }
            | Self::Unreadable { .. }
            | Self::Ambiguous { .. } => ErrorClass::Permanent,
        }
    }

    /// The port's error for the secret at `reference`.
    pub(crate) fn into_error(self, reference: &str) -> ProviderError {
        let error = ProviderError::new(self.class(), format!("the local secret `{reference}`: {self}"));
        match self {
            Self::Io { source, .. } => error.caused_by(source),
            Self::Sealed { source, .. } => error.caused_by(source),
            _ => error,
        }
    }
}

fn or_none(version: Option<&Version>) -> String {
    version.map_or_else(|| "none".to_owned(), Version::to_string)
}
