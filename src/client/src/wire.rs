//! Between the contract's messages and what workloads get: parsed, and not just filled in.

use leasehold_core::{SecretBytes, SecretValue, Timestamp, provider::Verification};
use leasehold_proto::v1;

use crate::{EndCause, Ending, Error, IssuedLease, Lease, LeaseChange, LeaseState, Notice, RenewedLease};

impl LeaseState {
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
    use leasehold_core::{LeaseId, secret::FieldName};

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
