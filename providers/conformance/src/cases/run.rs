//! Which cases are about what a back end can do, and how each is played.

use std::time::Duration;

use leasehold_core::provider::{Capabilities, Change, ErrorClass};

use super::{Case, change, end, issue, read, rotate, trouble, write};
use crate::{
    fixture::Fixture,
    issuing::Issuing,
    report::{Against, Outcome, Report},
    scene::{Trouble, Unplayed},
};

/// No case may take longer: a provider that hangs has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs every case against a back end.
pub async fn run(subject: &dyn Fixture) -> Report {
    let can = subject.provider().capabilities();
    let mut results = Vec::new();
    for case in Case::ALL {
        let outcome = if !case.applies(can) {
            Outcome::Incapable
        } else if let Some(why) = subject.excused(case) {
            Outcome::Excused(why)
        } else {
            match tokio::time::timeout(PATIENCE, case.try_on(subject)).await {
                Ok(Ok(against)) => Outcome::Passed(against),
                Ok(Err(Unplayed::Impossible(why))) => Outcome::Impossible(why),
                Ok(Err(Unplayed::Excused(why))) => Outcome::Excused(why),
                Ok(Err(why)) => Outcome::Failed(why.to_string()),
                Err(_) => Outcome::Failed("it did not end".to_owned()),
            }
        };
        results.push((case, outcome));
    }
    Report { back_end: subject.back_end(), results }
}

impl Case {
    /// Whether a back end with these capabilities can do what the case is about.
    fn applies(self, can: Capabilities) -> bool {
        match self {
            Self::CurrentIsRead
            | Self::NewestIsCurrent
            | Self::AbsentSecret
            | Self::UnicodeText
            | Self::Binary
            | Self::NamedFields
            | Self::LargestValue
            | Self::SixtyFourKib
            | Self::HostileReferences
            | Self::ThousandReads
            | Self::DisabledElsewhere
            | Self::DeletedElsewhere
            | Self::Denied
            | Self::Throttled
            | Self::InternalError
            | Self::Unavailable
            | Self::CutBeforeAnswer
            | Self::CutInAnswer
            | Self::CutAfterAnswer
            | Self::Silence
            | Self::StalledBody
            | Self::CredentialExpiry
            | Self::ClockSkew => can.read,
            Self::OldVersionIsRead
            | Self::AbsentVersion
            | Self::MalformedVersion
            | Self::VersionsAreListed => can.read && can.versions,
            Self::WrittenIsRead
            | Self::EmptyField
            | Self::RepeatedWrite
            | Self::ReusedToken
            | Self::ExpectedVersion
            | Self::VersionConflict
            | Self::ConcurrentWrites
            | Self::TooLargeValue
            | Self::RewrittenValue
            | Self::LongToken
            | Self::LostWriteAnswer => can.read && can.write,
            Self::PendingVersion
            | Self::PendingReplaced
            | Self::PendingDiscarded
            | Self::PromotionConflict => can.read && can.write && can.staging,
            Self::NativeRotation => can.read && can.rotate,
            Self::PromotedVersion => can.read && can.can(Change::Promote),
            Self::DisabledVersion => can.read && can.can(Change::Disable),
            Self::DestroyedVersion => can.read && can.can(Change::Destroy),
            Self::DeletedSecret => can.read && can.can(Change::Delete),
            Self::CredentialIssued
            | Self::DistinctCredentials
            | Self::AbsentRole
            | Self::ClampedToMaximum => can.issue,
            Self::CredentialRenewed => can.issue && can.renew,
            Self::CredentialRevoked | Self::LostCredential => can.issue && can.revoke,
            Self::VerifiedEnd | Self::EndInVain => can.issue && can.revoke && can.verify,
            Self::TaggedCredentials => can.issue && can.revoke && can.tagged,
            Self::IrrevocableCredential => can.issue && !can.revoke,
            Self::DeniedCapabilities => true,
        }
    }

    async fn try_on(self, subject: &dyn Fixture) -> Result<Against, Unplayed> {
        use ErrorClass::{Absent, Denied, Throttled, Transient};
        let plain = match self {
            Self::CurrentIsRead => read::current(subject).await,
            Self::OldVersionIsRead => read::old_version(subject).await,
            Self::NewestIsCurrent => read::newest(subject).await,
            Self::AbsentSecret => read::absent_secret(subject).await,
            Self::AbsentVersion => read::absent_version(subject).await,
            Self::MalformedVersion => read::malformed_version(subject).await,
            Self::UnicodeText => read::unicode(subject).await,
            Self::Binary => read::binary(subject).await,
            Self::NamedFields => read::named_fields(subject).await,
            Self::LargestValue => read::largest(subject).await,
            Self::SixtyFourKib => return write::sixty_four_kib(subject).await,
            Self::HostileReferences => read::hostile(subject).await,
            Self::ThousandReads => read::concurrent(subject).await,
            Self::VersionsAreListed => change::listed(subject).await,
            Self::WrittenIsRead => write::written(subject).await,
            Self::EmptyField => write::empty(subject).await,
            Self::RepeatedWrite => write::repeated(subject).await,
            Self::ReusedToken => write::reused_token(subject).await,
            Self::ExpectedVersion => write::expected(subject).await,
            Self::VersionConflict => write::conflict(subject).await,
            Self::ConcurrentWrites => write::concurrent(subject).await,
            Self::TooLargeValue => write::too_large(subject).await,
            Self::LostWriteAnswer => return trouble::lost_write_answer(subject).await,
            Self::RewrittenValue => rotate::rewritten(subject).await,
            Self::LongToken => rotate::long_token(subject).await,
            Self::PendingVersion => change::pending(subject).await,
            Self::PendingReplaced => rotate::replaced(subject).await,
            Self::PendingDiscarded => rotate::discarded(subject).await,
            Self::PromotionConflict => rotate::promoted_over(subject).await,
            Self::NativeRotation => return rotate::native(subject).await,
            Self::PromotedVersion => change::promoted(subject).await,
            Self::DisabledVersion => change::disabled(subject).await,
            Self::DestroyedVersion => change::destroyed(subject).await,
            Self::DeletedSecret => change::deleted(subject).await,
            Self::DisabledElsewhere => return trouble::fails(subject, Trouble::Disabled, Absent).await,
            Self::DeletedElsewhere => return trouble::fails(subject, Trouble::Deleted, Absent).await,
            Self::Denied => return trouble::fails(subject, Trouble::Denied, Denied).await,
            Self::Throttled => return trouble::fails(subject, Trouble::Throttled, Throttled).await,
            Self::InternalError => return trouble::fails(subject, Trouble::InternalError, Transient).await,
            Self::Unavailable => return trouble::fails(subject, Trouble::Unavailable, Transient).await,
            Self::CutBeforeAnswer => {
                return trouble::fails(subject, Trouble::CutBeforeAnswer, Transient).await;
            }
            Self::CutInAnswer => return trouble::fails(subject, Trouble::CutInAnswer, Transient).await,
            Self::CutAfterAnswer => return trouble::cut_after_answer(subject).await,
            Self::Silence => return trouble::fails(subject, Trouble::Silence, Transient).await,
            Self::StalledBody => return trouble::fails(subject, Trouble::StalledBody, Transient).await,
            Self::CredentialExpiry => return trouble::credential_expiry(subject).await,
            Self::ClockSkew => return trouble::clock_skew(subject).await,
            Self::CredentialIssued => issue::issued(subject, issuing(subject)?).await,
            Self::DistinctCredentials => issue::distinct(subject, issuing(subject)?).await,
            Self::AbsentRole => issue::absent_role(subject, issuing(subject)?).await,
            Self::CredentialRenewed => issue::renewed(subject, issuing(subject)?).await,
            Self::ClampedToMaximum => return issue::clamped(subject, issuing(subject)?).await,
            Self::CredentialRevoked => issue::revoked(subject, issuing(subject)?).await,
            Self::VerifiedEnd => end::verified(subject, issuing(subject)?).await,
            Self::EndInVain => return end::in_vain(issuing(subject)?).await,
            Self::TaggedCredentials => end::tagged(subject, issuing(subject)?).await,
            Self::LostCredential => return issue::lost_answer(issuing(subject)?).await,
            Self::IrrevocableCredential => issue::irrevocable(subject, issuing(subject)?).await,
            Self::DeniedCapabilities => write::denied_capabilities(subject).await,
        };
        plain.map(|()| subject.against()).map_err(Unplayed::Failed)
    }
}

fn issuing(subject: &dyn Fixture) -> Result<&dyn Issuing, Unplayed> {
    let why = "it says that it can issue, and the fixture knows no role";
    subject.issuing().ok_or_else(|| Unplayed::Failed(why.to_owned()))
}
