//! What workloads get: leases and values, as typed as in the domain.

use leasehold_core::{
    LeaseId, SecretBytes, SecretPath, SecretValue, SpiffeId, Timestamp,
    provider::{ProviderName, Verification},
    secret::{FieldName, VersionId},
};
use leasehold_proto::v1;

use crate::Error;

/// One principal's time-bounded hold on one version of a secret, without the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name; it grants nothing.
    pub id: LeaseId,
    /// Whose it is.
    pub holder: SpiffeId,
    /// The secret.
    pub secret: SecretPath,
    /// The version held; absent while a dynamic credential is being made.
    pub version: Option<VersionId>,
    /// Where the secret lives.
    pub provider: ProviderName,
    /// Whether the value was made for this lease alone.
    pub dynamic: bool,
    /// The fields that were asked for; empty means all.
    pub fields: Vec<FieldName>,
    /// Where it is in its life, as the broker saw it when it answered.
    pub state: LeaseState,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends unless renewed: the value is not used after that.
    pub expires_at: Timestamp,
    /// When it ends at the latest.
    pub max_expires_at: Timestamp,
    /// How often it was renewed.
    pub renewals: u32,
    /// When the back end last confirmed the value, if it was served past its freshness.
    pub stale_since: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended or is to end.
    pub end_cause: Option<EndCause>,
    /// Present when nothing can end the credential before its time: it works until then, even after a revocation.
    pub irrevocable_until: Option<Timestamp>,
    /// Whether the credential is dead, once its back end said that it ended it.
    pub verification: Option<Verification>,
    /// How far the broker has come with ending the credential, while the lease is `Revoking` or `Quarantined`.
    pub ending: Option<Ending>,
}

/// How far the broker has come with ending a credential at its back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How often it was tried in vain.
    pub failed_attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<Timestamp>,
}

/// Where a lease is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaseState {
    /// The intent is durable; the credential may or may not exist yet.
    Pending,
    /// Held.
    Active,
    /// Being ended at the back end.
    Revoking,
    /// Ended before its time.
    Revoked,
    /// Ended at its time.
    Expired,
    /// Could not be ended at the back end yet.
    Quarantined,
    /// Given up by an operator: whether its credential still works is unknown.
    Forgotten,
    /// Something that this version does not know.
    Unknown,
}

/// Why a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndCause {
    /// Its time came.
    Expiry,
    /// Its holder gave it back.
    Holder,
    /// An operator took it.
    Operator,
    /// It was begun and never confirmed.
    Abandoned,
    /// The back end ended its credential without being asked.
    Upstream,
    /// Something that this version does not know.
    Unknown,
}

/// A lease with its value.
#[derive(Debug)]
pub struct IssuedLease {
    /// The lease.
    pub lease: Lease,
    /// The fields that were asked for. Wiped when dropped, never printed.
    pub value: SecretValue,
}

/// A lease that was renewed, and moved if it was on an older version.
#[derive(Debug)]
pub struct RenewedLease {
    /// The lease.
    pub lease: Lease,
    /// The fields that were asked for, at the lease's new version; absent when it is on the same one as before.
    pub value: Option<SecretValue>,
}

/// Something that happened to one of the caller's leases.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Where a watch can be resumed once this has been handled.
    pub resume_token: String,
    /// What happened.
    pub change: LeaseChange,
    /// The lease after that.
    pub lease: Lease,
    /// The version that is current; of [`LeaseChange::Rotated`] only.
    pub current_version: Option<VersionId>,
    /// Until when the lease's version works at the latest; of [`LeaseChange::Draining`] only.
    pub drain_deadline: Option<Timestamp>,
}

/// What can happen to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaseChange {
    /// Nothing: it was there when the watch began.
    Snapshot,
    /// It was issued.
    Issued,
    /// Its end was moved.
    Renewed,
    /// It was ended before its time, or is being ended: the value is not used any more.
    Revoked,
    /// It ended at its time: the value is not used any more.
    Expired,
    /// Its credential could not be ended at the back end yet.
    Quarantined,
    /// Little of its time is left: renew it or take a new one.
    ExpiringSoon,
    /// The secret has another current version: this one still works.
    Rotated,
    /// The lease was moved to the current version.
    Moved,
    /// The version that the lease is on is retired when nobody holds it any more, and at the deadline whoever holds it.
    Draining,
    /// The version that the lease is on is of no use any more: the value is not used any more.
    Retired,
    /// Something that this version does not know.
    Unknown,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is on it; it may be empty and not be the last.
    pub items: Vec<T>,
    /// How to get the next one; absent on the last.
    pub next_page_token: Option<String>,
}

impl LeaseState {
    /// The state's name, as the command line and the audit journal have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Revoking => "revoking",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Quarantined => "quarantined",
            Self::Forgotten => "forgotten",
            Self::Unknown => "unknown",
        }
    }

    /// The state in the contract; absent for one that this version does not know.
    pub(crate) const fn to_proto(self) -> Option<v1::LeaseState> {
        Some(match self {
            Self::Pending => v1::LeaseState::Pending,
            Self::Active => v1::LeaseState::Active,
            Self::Revoking => v1::LeaseState::Revoking,
            Self::Revoked => v1::LeaseState::Revoked,
            Self::Expired => v1::LeaseState::Expired,
            Self::Quarantined => v1::LeaseState::Quarantined,
            Self::Forgotten => v1::LeaseState::Forgotten,
            Self::Unknown => return None,
        })
    }
}

impl EndCause {
    /// The cause's name, as the command line and the audit journal have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expiry => "expiry",
            Self::Holder => "holder",
            Self::Operator => "operator",
            Self::Abandoned => "abandoned",
            Self::Upstream => "upstream",
            Self::Unknown => "unknown",
        }
    }
}

impl TryFrom<v1::Lease> for Lease {
    type Error = Error;

    fn try_from(lease: v1::Lease) -> Result<Self, Error> {
        let state = match lease.state() {
            v1::LeaseState::Unspecified => LeaseState::Unknown,
            v1::LeaseState::Pending => LeaseState::Pending,
            v1::LeaseState::Active => LeaseState::Active,
            v1::LeaseState::Revoking => LeaseState::Revoking,
            v1::LeaseState::Revoked => LeaseState::Revoked,
            v1::LeaseState::Expired => LeaseState::Expired,
            v1::LeaseState::Quarantined => LeaseState::Quarantined,
            v1::LeaseState::Forgotten => LeaseState::Forgotten,
        };
        let end_cause = match lease.end_cause() {
            v1::LeaseEndCause::Unspecified if lease.end_cause == 0 => None,
            v1::LeaseEndCause::Unspecified => Some(EndCause::Unknown),
            v1::LeaseEndCause::Expiry => Some(EndCause::Expiry),
            v1::LeaseEndCause::Holder => Some(EndCause::Holder),
            v1::LeaseEndCause::Operator => Some(EndCause::Operator),
            v1::LeaseEndCause::Abandoned => Some(EndCause::Abandoned),
            v1::LeaseEndCause::Upstream => Some(EndCause::Upstream),
        };
        let verification = match lease.verification() {
            v1::LeaseVerification::Unspecified => None,
            v1::LeaseVerification::Verified => Some(Verification::Verified),
            v1::LeaseVerification::Unverifiable => Some(Verification::Unverifiable),
            v1::LeaseVerification::StillValid => Some(Verification::StillValid),
        };
        let version = match lease.version.as_str() {
            "" => None,
            text => Some(parsed("version", text)?),
        };
        Ok(Self {
            id: parsed("id", &lease.id)?,
            holder: parsed("holder", &lease.holder)?,
            secret: parsed("secret", &lease.secret)?,
            version,
            provider: parsed("provider", &lease.provider)?,
            dynamic: lease.kind() == v1::LeaseKind::Dynamic,
            fields: lease.fields.iter().map(|name| parsed("fields", name)).collect::<Result<_, _>>()?,
            state,
            issued_at: required("issue_time", lease.issue_time)?,
            expires_at: required("expire_time", lease.expire_time)?,
            max_expires_at: required("max_expire_time", lease.max_expire_time)?,
            renewals: u32::try_from(lease.renewal_count).unwrap_or_default(),
            stale_since: lease.stale_since_time.map(timestamp).transpose()?,
            ended_at: lease.end_time.map(timestamp).transpose()?,
            end_cause,
            irrevocable_until: lease.irrevocable_until_time.map(timestamp).transpose()?,
            verification,
            ending: lease.revocation.map(Ending::try_from).transpose()?,
        })
    }
}

impl TryFrom<v1::LeaseRevocation> for Ending {
    type Error = Error;

    fn try_from(ending: v1::LeaseRevocation) -> Result<Self, Error> {
        Ok(Self {
            failed_attempts: u32::try_from(ending.failed_attempt_count).unwrap_or_default(),
            next_attempt_at: ending.next_attempt_time.map(timestamp).transpose()?,
        })
    }
}

impl TryFrom<v1::IssueLeaseResponse> for IssuedLease {
    type Error = Error;

    fn try_from(response: v1::IssueLeaseResponse) -> Result<Self, Error> {
        Ok(Self {
            lease: response.lease.ok_or_else(|| missing("lease"))?.try_into()?,
            value: value_from_proto(response.value.ok_or_else(|| missing("value"))?)?,
        })
    }
}

impl TryFrom<v1::RenewLeaseResponse> for RenewedLease {
    type Error = Error;

    fn try_from(response: v1::RenewLeaseResponse) -> Result<Self, Error> {
        Ok(Self {
            lease: response.lease.ok_or_else(|| missing("lease"))?.try_into()?,
            value: response.value.map(value_from_proto).transpose()?,
        })
    }
}

/// The value of a message, whose bytes move.
fn value_from_proto(mut value: v1::SecretValue) -> Result<SecretValue, Error> {
    let fields = std::mem::take(&mut value.fields)
        .into_iter()
        .map(|(name, bytes)| Ok((parsed("fields", &name)?, SecretBytes::new(bytes))));
    Ok(SecretValue {
        fields: fields.collect::<Result<_, Error>>()?,
        content_type: std::mem::take(&mut value.content_type).into(),
    })
}

/// The value as a message. The copy of its bytes is wiped by the message when it is dropped.
pub(crate) fn value_to_proto(value: SecretValue) -> v1::SecretValue {
    v1::SecretValue {
        fields: value
            .fields
            .into_iter()
            .map(|(name, bytes)| (name.as_str().to_owned(), bytes.into_exposed()))
            .collect(),
        content_type: value.content_type.into(),
    }
}

/// What a watch's response tells; `None` for an event of a later version.
pub(crate) fn notice(response: v1::WatchLeasesResponse) -> Result<Option<Notice>, Error> {
    let Some(v1::watch_leases_response::Event::LeaseEvent(event)) = response.event else { return Ok(None) };
    let change = match event.change() {
        v1::LeaseChange::Unspecified => LeaseChange::Unknown,
        v1::LeaseChange::Snapshot => LeaseChange::Snapshot,
        v1::LeaseChange::Issued => LeaseChange::Issued,
        v1::LeaseChange::Renewed => LeaseChange::Renewed,
        v1::LeaseChange::Revoked => LeaseChange::Revoked,
        v1::LeaseChange::Expired => LeaseChange::Expired,
        v1::LeaseChange::Quarantined => LeaseChange::Quarantined,
        v1::LeaseChange::ExpiringSoon => LeaseChange::ExpiringSoon,
        v1::LeaseChange::Rotated => LeaseChange::Rotated,
        v1::LeaseChange::Moved => LeaseChange::Moved,
        v1::LeaseChange::Draining => LeaseChange::Draining,
        v1::LeaseChange::Retired => LeaseChange::Retired,
    };
    let current_version = match event.current_version.as_str() {
        "" => None,
        version => Some(parsed("current_version", version)?),
    };
    let drain_deadline = event.drain_deadline.map(timestamp).transpose()?;
    let lease = event.lease.ok_or_else(|| missing("lease"))?.try_into()?;
    Ok(Some(Notice { resume_token: response.resume_token, change, lease, current_version, drain_deadline }))
}

pub(crate) fn missing(field: &str) -> Error {
    Error::Answer(format!("`{field}` is missing"))
}

pub(crate) fn parsed<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|why: T::Err| Error::Answer(format!("`{field}`: {why}")))
}

pub(crate) fn required(field: &str, time: Option<prost_types::Timestamp>) -> Result<Timestamp, Error> {
    timestamp(time.ok_or_else(|| missing(field))?)
}

fn timestamp(time: prost_types::Timestamp) -> Result<Timestamp, Error> {
    Timestamp::new(time.seconds, time.nanos).map_err(|why| Error::Answer(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> v1::Lease {
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        v1::Lease {
            id: LeaseId::from_bits([7; 16]).to_string(),
            holder: "spiffe://example.org/prod/api".into(),
            secret: "prod/payments/db".into(),
            version: "v1".into(),
            provider: "local".into(),
            kind: v1::LeaseKind::Static.into(),
            state: v1::LeaseState::Active.into(),
            issue_time: time(0),
            expire_time: time(60),
            max_expire_time: time(600),
            ..v1::Lease::default()
        }
    }

    #[test]
    fn a_lease_is_parsed_and_not_just_filled_in() {
        let lease = Lease::try_from(message()).unwrap();
        assert_eq!((lease.state, lease.dynamic, lease.end_cause), (LeaseState::Active, false, None));
        assert_eq!(lease.expires_at, Timestamp::from_second(60).unwrap());
        let bad = Lease::try_from(v1::Lease { secret: "nonsense".into(), ..message() }).unwrap_err();
        assert!(bad.to_string().contains("`secret`"), "{bad}");
        let bad = Lease::try_from(v1::Lease { expire_time: None, ..message() }).unwrap_err();
        assert!(bad.to_string().contains("`expire_time` is missing"), "{bad}");
    }

    #[test]
    fn what_is_unknown_is_said_to_be() {
        let lease = Lease::try_from(v1::Lease { state: 99, end_cause: 99, ..message() }).unwrap();
        assert_eq!((lease.state, lease.end_cause), (LeaseState::Unknown, Some(EndCause::Unknown)));
    }

    #[test]
    fn a_value_arrives_redacted() {
        let value = value_to_proto(SecretValue::plain("canary-93aa".to_owned()));
        let issued =
            IssuedLease::try_from(v1::IssueLeaseResponse { lease: Some(message()), value: Some(value) })
                .unwrap();
        assert_eq!(issued.value.fields.get(&FieldName::value()).map(SecretBytes::len), Some(11));
        assert!(!format!("{issued:?}").contains("canary"));
    }
}
