//! Watching one secret.

use leasehold_core::{SecretPath, Timestamp, record::Actor, rotation::Told, secret::VersionId};

/// Be told what happens to the versions of a secret.
#[derive(Clone, Debug)]
pub struct WatchSecret {
    /// Who asks; policy decides `IssueLease` when the watch begins.
    pub actor: Actor,
    /// The secret.
    pub secret: SecretPath,
    /// The number of the last notice that was handled, to be told what came after it. When that is not known any more, the
    /// watch begins anew.
    pub after: Option<u64>,
}

/// One thing that the watchers of a secret are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretNotice {
    /// Where a watch can be resumed when this has been told: the notices of a secret follow each other without a gap.
    pub number: u64,
    /// When it happened; absent when nothing did.
    pub at: Option<Timestamp>,
    /// What there is to know.
    pub news: SecretNews,
}

/// What there is to know of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretNews {
    /// How it is as the watch begins.
    Standing {
        /// The current version, as far as the broker knows.
        current: Option<VersionId>,
        /// The version that is draining, and until when at the latest.
        draining: Option<(VersionId, Timestamp)>,
    },
    /// What happened.
    Told(Told),
}
