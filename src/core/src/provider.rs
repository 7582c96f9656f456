//! What the broker and a back end say to each other.

use std::{fmt, str::FromStr, time::Duration};

use jiff::Timestamp;
use thiserror::Error;

use crate::{
    id::LeaseId,
    lease::RevocationHandle,
    principal::SpiffeId,
    secret::{SecretValue, VersionId},
};

/// The name of a configured back end, such as `aws-main`: 1 to 64 characters of `a-z 0-9 -`, a letter first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderName(Box<str>);

/// Not a provider name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a provider's name is 1 to 64 characters of a-z 0-9 -, a letter first")]
pub struct InvalidProviderName;

/// What a back end can do, as data: what is `false` here is answered with [`ErrorClass::Permanent`] and never pretended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Static secrets can be read.
    pub read: bool,
    /// Older versions can be read by their ids.
    pub versions: bool,
    /// New versions can be written.
    pub write: bool,
    /// Versions can be made unusable.
    pub retire: bool,
    /// Credentials can be made for one holder.
    pub issue: bool,
    /// Such credentials' lives can be extended.
    pub renew: bool,
    /// Such credentials can be ended early.
    pub revoke: bool,
    /// The shortest life of such a credential.
    pub min_ttl: Option<Duration>,
    /// The longest life of such a credential.
    pub max_ttl: Option<Duration>,
}

/// Asks for a static secret.
#[derive(Clone, Debug)]
pub struct Fetch<'a> {
    /// The back end's own name of it.
    pub reference: &'a str,
    /// A certain version, or the current one.
    pub version: Option<&'a VersionId>,
}

/// A static secret's value at one version.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The value.
    pub value: SecretValue,
    /// The version that it is.
    pub version: VersionId,
    /// When the back end made this version, when it says so.
    pub created_at: Option<Timestamp>,
}

/// Asks for a credential made for one holder. Idempotent by `lease`.
#[derive(Clone, Debug)]
pub struct IssueCredential<'a> {
    /// The lease; its id is in the credential's name or tag, so that an orphan can be found.
    pub lease: LeaseId,
    /// The holder, for the back end's own log.
    pub holder: &'a SpiffeId,
    /// The role that says what the credential is made of.
    pub role: &'a str,
    /// How long it is to live.
    pub ttl: Duration,
}

/// A credential made for one holder.
#[derive(Clone, Debug)]
pub struct IssuedCredential {
    /// What the holder gets.
    pub value: SecretValue,
    /// The back end's name for this credential, as a version.
    pub version: VersionId,
    /// What the broker needs to end it; absent when it cannot be ended early.
    pub handle: Option<RevocationHandle>,
    /// When the back end itself will end it, when that is before the TTL asked for.
    pub expires_at: Option<Timestamp>,
}

/// Asks to end a credential. One that is gone already is a success.
#[derive(Clone, Copy, Debug)]
pub struct RevokeCredential<'a> {
    /// The lease that it was made for.
    pub lease: LeaseId,
    /// What the provider gave for this; absent when its answer never came, so that nobody knows whether there is a
    /// credential: it is then looked for by the lease's id.
    pub handle: Option<&'a RevocationHandle>,
}

/// Asks to write a new version. Idempotent by `token`.
#[derive(Clone, Debug)]
pub struct WriteVersion<'a> {
    /// The back end's own name of the secret.
    pub reference: &'a str,
    /// The value.
    pub value: &'a SecretValue,
    /// A token (such as a UUID) that makes a repeated write the same write.
    pub token: &'a str,
    /// The version that must be current, so that nobody's change is overwritten unseen; `None` writes whatever is there.
    pub expected: Option<&'a VersionId>,
}

/// What to do about an error. Each of them is the same for every back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Unreachable, timed out, or failed inside: the same call may work later.
    Transient,
    /// Asked too often.
    Throttled,
    /// The broker's own identity may not do this.
    Denied,
    /// No such secret or version, or it is disabled or deleted.
    Absent,
    /// The request can never work as it is: a bad reference, a version conflict, a value too large.
    Invalid,
    /// It cannot work with this back end, or needs a person.
    Permanent,
}

/// Why a back end did not do what it was asked. The message names the thing and never holds a value.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct ProviderError {
    /// What to do about it.
    pub class: ErrorClass,
    /// When to try again, when the back end said so.
    pub retry_after: Option<Duration>,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ProviderError {
    /// An error with the broker's own words for it.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, retry_after: None, message: message.into(), source: None }
    }

    /// With the error below it; its text must not hold a value.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// With the back end's hint.
    #[must_use]
    pub fn retry_after(mut self, hint: Option<Duration>) -> Self {
        self.retry_after = hint;
        self
    }

    /// What a back end answers to what it cannot do.
    pub fn unsupported(what: &str) -> Self {
        Self::new(ErrorClass::Permanent, format!("this back end cannot {what}"))
    }
}

impl ErrorClass {
    /// Whether the same call may work later.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Transient | Self::Throttled)
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
