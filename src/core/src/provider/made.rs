//! Credentials that a back end makes for one holder.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    id::LeaseId,
    lease::RevocationHandle,
    principal::SpiffeId,
    secret::{SecretValue, VersionId},
};

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
    /// How long it could live with every renewal.
    pub max_ttl: Duration,
    /// How long the making of it may take. What has not come to be by then must never come to be, even if nobody waits
    /// for the answer any more: see [`Issuer::issue`](crate::ports::Issuer::issue).
    pub within: Duration,
    /// What [`Issuer::reserve`](crate::ports::Issuer::reserve) gave for this lease.
    pub reservation: Option<&'a RevocationHandle>,
}

/// A credential made for one holder.
#[derive(Clone, Debug)]
pub struct IssuedCredential {
    /// What the holder gets.
    pub value: SecretValue,
    /// The back end's name for this credential, as a version.
    pub version: VersionId,
    /// How it can be ended before its time.
    pub revocation: Revocation,
    /// When the back end itself will end it unless it is renewed; absent when it never does.
    pub expires_at: Option<Timestamp>,
}

/// How a credential can be ended before its time.
#[derive(Clone, Debug)]
pub enum Revocation {
    /// With this.
    By(RevocationHandle),
    /// It cannot: it works until then, whatever the broker does.
    NoneUntil(Timestamp),
}

/// Asks for more time. Idempotent: asked twice, it is not extended twice.
#[derive(Clone, Copy, Debug)]
pub struct RenewCredential<'a> {
    /// The lease that it was made for.
    pub lease: LeaseId,
    /// What the provider gave for it.
    pub handle: &'a RevocationHandle,
    /// The end that is wanted.
    pub until: Timestamp,
}

/// Asks to end a credential. One that is gone already is a success.
#[derive(Clone, Copy, Debug)]
pub struct RevokeCredential<'a> {
    /// The lease that it was made for.
    pub lease: LeaseId,
    /// What the provider gave for this: of the credential, or of its reservation when the answer never came. Absent
    /// when there is neither: the credential is then looked for by the lease's id.
    pub handle: Option<&'a RevocationHandle>,
}

/// Whether a credential that was ended is dead, as far as the back end lets anybody know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verification {
    /// It was tried, or looked up, and does not work any more.
    Verified,
    /// The back end said that it ended it, and nothing can be tried.
    Unverifiable,
    /// The back end said that it ended it, and it still works.
    StillValid,
}

impl Verification {
    /// Its name in lists and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverifiable => "unverifiable",
            Self::StillValid => "still-valid",
        }
    }
}

/// A credential at the back end that carries the broker's tag.
#[derive(Clone, Debug)]
pub struct Tagged {
    /// The lease that it was made for, as the tag says.
    pub lease: LeaseId,
    /// The back end's own name for it, for people; never secret.
    pub name: String,
    /// What ends it; absent when the lease's id is enough.
    pub handle: Option<RevocationHandle>,
}
