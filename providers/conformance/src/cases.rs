//! The cases. Each is one sentence that must be true of a back end; its name is the sentence's short form.

mod change;
mod check;
mod end;
mod issue;
mod read;
mod rotate;
mod run;
mod trouble;
mod write;

use std::fmt;

use self::check::{ensure, fields, is, reads, same, text, told};
pub use self::run::run;

/// One case of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// What was put last is what is read, with its version and a time if the back end keeps one.
    CurrentIsRead,
    /// An older version is read by its id, after a newer one was put.
    OldVersionIsRead,
    /// Each put makes another version id, and the last one put is current.
    NewestIsCurrent,
    /// Every version is listed once, the newest first, and exactly the last one put as current.
    VersionsAreListed,
    /// A secret that is not there is `Absent`.
    AbsentSecret,
    /// A version that is not there is `Absent`.
    AbsentVersion,
    /// What can be no version's id is `Invalid`.
    MalformedVersion,
    /// Text of many scripts, quotes, line ends and a trailing space comes back byte for byte.
    UnicodeText,
    /// Bytes that are no text come back as they were.
    Binary,
    /// Several named fields come back under their names.
    NamedFields,
    /// The largest value that the back end holds comes back whole.
    LargestValue,
    /// A value of 64 KiB comes back whole, or is refused as `Invalid` where values are smaller.
    SixtyFourKib,
    /// A name that could mean another place is `Invalid` to every verb, and the back end is not asked.
    HostileReferences,
    /// A thousand readers at once, of several secrets, each get their own.
    ThousandReads,
    /// What is written is read, under the version that the write answered.
    WrittenIsRead,
    /// An empty field is written and read, or refused as `Invalid`; it is never lost unseen.
    EmptyField,
    /// A repeated write with its token is the same write.
    RepeatedWrite,
    /// A token used again for another value is `Invalid`, and changes nothing.
    ReusedToken,
    /// A write that expects the current version succeeds, and its repetition too.
    ExpectedVersion,
    /// A write that expects another version is `Invalid`, and changes nothing.
    VersionConflict,
    /// Of several writers that expect the same version, exactly one succeeds.
    ConcurrentWrites,
    /// A value that is too large is `Invalid`, its error does not repeat it, and nothing changes.
    TooLargeValue,
    /// A write that was done and whose answer was lost is done once, when it is repeated with its token.
    LostWriteAnswer,
    /// A value that was replaced is written again as a new version, and is current.
    RewrittenValue,
    /// The token of the longest path's rotation is taken, and the one of its next attempt is another.
    LongToken,
    /// A pending version is read by its id alone until it is promoted.
    PendingVersion,
    /// A second pending version takes the first one's label, and is the one that is promoted.
    PendingReplaced,
    /// A pending version that is discarded waits no longer, again and again; one that is or was current is not discarded.
    PendingDiscarded,
    /// A version that is promoted over another one than the current is `Invalid`, and changes nothing.
    PromotionConflict,
    /// An older version that is promoted is current, and the newer one after it again.
    PromotedVersion,
    /// A disabled version is `Absent` and said to be disabled, until it is enabled; the current one is not touched.
    DisabledVersion,
    /// An old version that was destroyed is `Absent`; destroying it again succeeds; the current one is not touched.
    DestroyedVersion,
    /// What rotates by itself has another value and version when it has, once for each token.
    NativeRotation,
    /// A deleted secret is `Absent`, is back when restored, and cannot be when purged.
    DeletedSecret,
    /// A version that somebody else has disabled is `Absent`.
    DisabledElsewhere,
    /// A secret that somebody else has deleted is `Absent`.
    DeletedElsewhere,
    /// What the broker's identity may not read is `Denied`.
    Denied,
    /// A back end that is asked too often is `Throttled`, with its hint.
    Throttled,
    /// HTTP 500 or its like is `Transient`.
    InternalError,
    /// HTTP 503 or its like is `Transient`.
    Unavailable,
    /// A connection that is cut in place of the answer is `Transient`.
    CutBeforeAnswer,
    /// A connection that is cut in the answer is `Transient`, and what came of the value is not told.
    CutInAnswer,
    /// A connection that is cut after the answer does not disturb the next read.
    CutAfterAnswer,
    /// A back end that never answers is `Transient`, in time.
    Silence,
    /// An answer that stops in its middle is `Transient`, in time.
    StalledBody,
    /// When the broker's own credentials end between two reads, the provider signs in again, or says `Denied`.
    CredentialExpiry,
    /// When the clocks differ, the provider says so in words.
    ClockSkew,
    /// A credential is made, opens what it was made for, and ends in time.
    CredentialIssued,
    /// Two leases have two credentials, and the end of one is not the end of the other.
    DistinctCredentials,
    /// A role that is not there is no reason to try again.
    AbsentRole,
    /// A renewed credential lives longer, works on, and is not renewed twice when asked twice.
    CredentialRenewed,
    /// A credential that is asked to live too long lives as long as the back end allows, renewals included.
    ClampedToMaximum,
    /// A revoked credential opens nothing, and revoking it again succeeds.
    CredentialRevoked,
    /// A credential that has been ended is seen to be dead, and again when it is ended again.
    VerifiedEnd,
    /// A credential that works on although its back end says that it ended it is told as one.
    EndInVain,
    /// What carries the broker's tag is listed once, is ended by what is listed of it, and is not listed any more.
    TaggedCredentials,
    /// A credential that was made and whose answer was lost is ended by what was reserved for it.
    LostCredential,
    /// A credential that cannot be revoked says until when it lives.
    IrrevocableCredential,
    /// What the capabilities deny is answered as `Permanent`.
    DeniedCapabilities,
}

impl Case {
    /// Every case, in the order in which they are run.
    pub const ALL: [Self; 59] = [
        Self::CurrentIsRead,
        Self::OldVersionIsRead,
        Self::NewestIsCurrent,
        Self::VersionsAreListed,
        Self::AbsentSecret,
        Self::AbsentVersion,
        Self::MalformedVersion,
        Self::UnicodeText,
        Self::Binary,
        Self::NamedFields,
        Self::LargestValue,
        Self::SixtyFourKib,
        Self::HostileReferences,
        Self::ThousandReads,
        Self::WrittenIsRead,
        Self::EmptyField,
        Self::RepeatedWrite,
        Self::ReusedToken,
        Self::ExpectedVersion,
        Self::VersionConflict,
        Self::ConcurrentWrites,
        Self::TooLargeValue,
        Self::LostWriteAnswer,
        Self::RewrittenValue,
        Self::LongToken,
        Self::PendingVersion,
        Self::PendingReplaced,
        Self::PendingDiscarded,
        Self::PromotionConflict,
        Self::PromotedVersion,
        Self::DisabledVersion,
        Self::DestroyedVersion,
        Self::NativeRotation,
        Self::DeletedSecret,
        Self::DisabledElsewhere,
        Self::DeletedElsewhere,
        Self::Denied,
        Self::Throttled,
        Self::InternalError,
        Self::Unavailable,
        Self::CutBeforeAnswer,
        Self::CutInAnswer,
        Self::CutAfterAnswer,
        Self::Silence,
        Self::StalledBody,
        Self::CredentialExpiry,
        Self::ClockSkew,
        Self::CredentialIssued,
        Self::DistinctCredentials,
        Self::AbsentRole,
        Self::CredentialRenewed,
        Self::ClampedToMaximum,
        Self::CredentialRevoked,
        Self::VerifiedEnd,
        Self::EndInVain,
        Self::TaggedCredentials,
        Self::LostCredential,
        Self::IrrevocableCredential,
        Self::DeniedCapabilities,
    ];
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
