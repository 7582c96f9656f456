//! What the broker and a back end say to each other.

mod check;
mod error;
mod made;
mod rotate;
mod stored;

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use thiserror::Error;

pub use self::{
    check::{Demand, Finding, SignIn, Verdict},
    error::{ErrorClass, ProviderError},
    made::{
        IssueCredential, IssuedCredential, RenewCredential, Revocation, RevokeCredential, Tagged,
        Verification,
    },
    rotate::{Followed, Trial, Turn},
    stored::{Change, ChangeSecret, Fetch, Fetched, Stage, VersionFacts, VersionState, WriteVersion},
};

/// The name of a configured back end, such as `aws-main`: 1 to 64 characters of `a-z 0-9 -`, a letter first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderName(Arc<str>);

/// Not a provider name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a provider's name is 1 to 64 characters of a-z 0-9 -, a letter first")]
pub struct InvalidProviderName;

/// What a back end can do, as data: what is `false` here is answered with [`ErrorClass::Permanent`] and never pretended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Static secrets can be read.
    pub read: bool,
    /// Older versions can be read by their ids, and listed.
    pub versions: bool,
    /// New versions can be written.
    pub write: bool,
    /// New versions can be written as pending, and promoted later.
    pub staging: bool,
    /// What can be done to versions and secrets that exist, in the order of [`Change::ALL`].
    pub changes: &'static [Change],
    /// The back end can make a new value itself when told to.
    pub rotate: bool,
    /// Credentials can be made for one holder.
    pub issue: bool,
    /// Such credentials' lives can be extended.
    pub renew: bool,
    /// Such credentials can be ended early.
    pub revoke: bool,
    /// After that it can be tried whether they are dead.
    pub verify: bool,
    /// What carries the broker's tag can be listed, so that an orphan is found.
    pub tagged: bool,
    /// The shortest life of such a credential.
    pub min_ttl: Option<Duration>,
    /// The longest life of such a credential.
    pub max_ttl: Option<Duration>,
}

impl Capabilities {
    /// Whether this can be done to versions or secrets that exist.
    pub fn can(&self, change: Change) -> bool {
        self.changes.contains(&change)
    }
}

impl ProviderName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProviderName {
    type Err = InvalidProviderName;

    fn from_str(text: &str) -> Result<Self, InvalidProviderName> {
        let ok = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok { Ok(Self(text.into())) } else { Err(InvalidProviderName) }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::codec::serde_as_text!(ProviderName);
