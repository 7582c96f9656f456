//! From the engine's answers to the contract's.

use leasehold_core::{
    Lease, SecretValue,
    catalog::Source,
    lease::{Cause, LeaseKind, LeaseState},
    provider::{Capabilities, Change, Verification},
};
use leasehold_engine::request::{LeaseChange, LeaseNotice, SecretDescription};
use leasehold_proto::v1;

use super::{
    time::{duration, timestamp},
    tokens::resume_token,
};

/// A lease without its value.
pub(crate) fn lease(lease: &Lease) -> v1::Lease {
    let (state, end_time, end_cause, revocation) = match &lease.state {
        LeaseState::Pending { .. } => (v1::LeaseState::Pending, None, None, None),
        LeaseState::Active => (v1::LeaseState::Active, None, None, None),
        LeaseState::Revoking { cause, attempts, next_try } => {
            let progress = revocation(*attempts, *next_try);
            (v1::LeaseState::Revoking, None, Some(*cause), Some(progress))
        }
        LeaseState::Revoked { cause, at } => (v1::LeaseState::Revoked, Some(*at), Some(*cause), None),
        LeaseState::Expired { at } => (v1::LeaseState::Expired, Some(*at), Some(Cause::Expiry), None),
        LeaseState::Forgotten { at } => (v1::LeaseState::Forgotten, Some(*at), None, None),
        LeaseState::Quarantined { cause, attempts, next_try } => {
            let progress = revocation(*attempts, *next_try);
            (v1::LeaseState::Quarantined, None, Some(*cause), Some(progress))
        }
    };
    let kind = match lease.kind {
        LeaseKind::Static => v1::LeaseKind::Static,
        LeaseKind::Dynamic => v1::LeaseKind::Dynamic,
    };
    v1::Lease {
        id: lease.id.to_string(),
        holder: lease.holder.as_str().to_owned(),
        secret: lease.secret.as_str().to_owned(),
        version: lease.version.as_ref().map(|version| version.as_str().to_owned()).unwrap_or_default(),
        provider: lease.provider.as_str().to_owned(),
        kind: kind.into(),
        fields: lease.fields.iter().map(|field| field.as_str().to_owned()).collect(),
        state: state.into(),
        issue_time: Some(timestamp(lease.issued_at)),
        expire_time: Some(timestamp(lease.expires_at)),
        max_expire_time: Some(timestamp(lease.max_expires_at)),
        renewal_count: i32::try_from(lease.renewals).unwrap_or(i32::MAX),
        stale_since_time: lease.stale_since.map(timestamp),
        end_time: end_time.map(timestamp),
        end_cause: end_cause.map_or(v1::LeaseEndCause::Unspecified, cause).into(),
        revocation,
        irrevocable_until_time: lease.irrevocable_until.map(timestamp),
        verification: lease.verification.map_or(v1::LeaseVerification::Unspecified, verification).into(),
    }
}

pub(super) const fn verification(verification: Verification) -> v1::LeaseVerification {
    match verification {
        Verification::Verified => v1::LeaseVerification::Verified,
        Verification::Unverifiable => v1::LeaseVerification::Unverifiable,
        Verification::StillValid => v1::LeaseVerification::StillValid,
    }
}

/// A value on its way to its holder: the bytes move, and the message wipes them once it is sent.
pub(crate) fn secret_value(value: SecretValue) -> v1::SecretValue {
    let field = |(name, bytes): (leasehold_core::secret::FieldName, leasehold_core::SecretBytes)| {
        (name.as_str().to_owned(), bytes.into_exposed())
    };
    v1::SecretValue {
        fields: value.fields.into_iter().map(field).collect(),
        content_type: value.content_type.into(),
    }
}

/// One event of a watch.
pub(crate) fn notice(notice: &LeaseNotice) -> v1::WatchLeasesResponse {
    let (mut current_version, mut drain_deadline) = (String::new(), None);
    let change = match &notice.change {
        LeaseChange::Snapshot => v1::LeaseChange::Snapshot,
        LeaseChange::Issued => v1::LeaseChange::Issued,
        LeaseChange::Renewed => v1::LeaseChange::Renewed,
        LeaseChange::Revoked => v1::LeaseChange::Revoked,
        LeaseChange::Expired => v1::LeaseChange::Expired,
        LeaseChange::Quarantined => v1::LeaseChange::Quarantined,
        LeaseChange::ExpiringSoon => v1::LeaseChange::ExpiringSoon,
        LeaseChange::Rotated { current } => {
            current_version = current.to_string();
            v1::LeaseChange::Rotated
        }
        LeaseChange::Draining { deadline } => {
            drain_deadline = Some(timestamp(*deadline));
            v1::LeaseChange::Draining
        }
        LeaseChange::Retired => v1::LeaseChange::Retired,
        LeaseChange::Moved => v1::LeaseChange::Moved,
    };
    let lease = Some(lease(&notice.lease));
    let event = v1::LeaseEvent { change: change.into(), lease, current_version, drain_deadline };
    v1::WatchLeasesResponse {
        resume_token: resume_token(&notice.resume),
        event: Some(v1::watch_leases_response::Event::LeaseEvent(event)),
    }
}

/// A secret's description.
pub(crate) fn secret(secret: SecretDescription) -> v1::Secret {
    use v1::secret::Source as Rendered;
    let source = match secret.source {
        Source::Static { reference } => {
            Rendered::StaticSource(v1::StaticSource { reference: reference.into() })
        }
        Source::Dynamic { role } => Rendered::DynamicSource(v1::DynamicSource { role: role.into() }),
    };
    v1::Secret {
        path: secret.path.as_str().to_owned(),
        provider: secret.provider.as_str().to_owned(),
        source: Some(source),
        default_ttl: Some(duration(secret.limits.default_ttl())),
        max_ttl: Some(duration(secret.limits.max_ttl())),
        mount: secret.mount.map(|mount| mount.as_str().to_owned()).unwrap_or_default(),
        live_lease_count: count(secret.live_leases),
        description: secret.description.map(String::from).unwrap_or_default(),
        capabilities: Some(capabilities(&secret.capabilities)),
    }
}

/// What a back end can do.
pub(crate) fn capabilities(of: &Capabilities) -> v1::ProviderCapabilities {
    use v1::ProviderCapability as Can;
    let Capabilities {
        read,
        versions,
        write,
        staging,
        changes,
        rotate,
        issue,
        renew,
        revoke,
        verify,
        tagged,
        min_ttl,
        max_ttl,
    } = *of;
    let all = [
        (read, Can::Read),
        (versions, Can::ReadVersions),
        (write, Can::Write),
        (staging, Can::Stage),
        (issue, Can::Issue),
        (renew, Can::Renew),
        (revoke, Can::Revoke),
        (rotate, Can::Rotate),
    ];
    let changes = changes.iter().map(|change| match change {
        Change::Promote => Can::Promote,
        Change::Disable => Can::Disable,
        Change::Enable => Can::Enable,
        Change::Destroy => Can::Destroy,
        Change::Delete => Can::Delete,
        Change::Restore => Can::Restore,
        Change::Purge => Can::Purge,
    });
    let last = [(verify, Can::Verify), (tagged, Can::ListIssued)];
    let named = |(can, name): (bool, Can)| can.then_some(name);
    let supported =
        all.into_iter().filter_map(named).chain(changes).chain(last.into_iter().filter_map(named));
    v1::ProviderCapabilities {
        supported: supported.map(Into::into).collect(),
        min_ttl: min_ttl.map(duration),
        max_ttl: max_ttl.map(duration),
    }
}

/// A count as the contract writes it (AIP-141: signed).
pub(crate) fn count(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

fn revocation(attempts: u32, next_try: leasehold_core::Timestamp) -> v1::LeaseRevocation {
    v1::LeaseRevocation {
        failed_attempt_count: i32::try_from(attempts).unwrap_or(i32::MAX),
        next_attempt_time: Some(timestamp(next_try)),
    }
}

fn cause(cause: Cause) -> v1::LeaseEndCause {
    match cause {
        Cause::Expiry => v1::LeaseEndCause::Expiry,
        Cause::Holder => v1::LeaseEndCause::Holder,
        Cause::Operator => v1::LeaseEndCause::Operator,
        Cause::Abandoned => v1::LeaseEndCause::Abandoned,
        Cause::Upstream => v1::LeaseEndCause::Upstream,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leasehold_core::{LeaseId, Timestamp, secret::FieldName, ttl::Term};

    use super::*;

    fn held() -> Lease {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        Lease::new_static(
            LeaseId::from_bits([3; 16]),
            "spiffe://example.org/prod/api".parse().unwrap(),
            "prod/payments/db".parse().unwrap(),
            "main".parse().unwrap(),
            "v7".parse().unwrap(),
            Term { expires_at: at(160), max_expires_at: at(1000) },
            at(100),
        )
    }

    #[test]
    fn a_lease_says_where_it_is_in_its_life() {
        let active = lease(&held());
        assert_eq!(
            (active.state(), active.end_cause()),
            (v1::LeaseState::Active, v1::LeaseEndCause::Unspecified)
        );
        assert_eq!((active.version.as_str(), active.provider.as_str()), ("v7", "main"));
        assert_eq!(active.expire_time, Some(prost_types::Timestamp { seconds: 160, nanos: 0 }));
        assert!(active.end_time.is_none() && active.revocation.is_none());

        let at = Timestamp::from_second(120).unwrap();
        let revoked = lease(&Lease { state: LeaseState::Revoked { cause: Cause::Operator, at }, ..held() });
        assert_eq!(revoked.end_cause(), v1::LeaseEndCause::Operator);
        assert_eq!(revoked.end_time.map(|time| time.seconds), Some(120));

        let state = LeaseState::Quarantined { cause: Cause::Expiry, attempts: 10, next_try: at };
        let stuck = lease(&Lease { state, ..held() });
        assert_eq!(stuck.state(), v1::LeaseState::Quarantined);
        assert_eq!(stuck.revocation.map(|progress| progress.failed_attempt_count), Some(10));
    }

    #[test]
    fn a_value_moves_into_its_message() {
        let sent = secret_value(SecretValue::plain("canary-88d2".to_owned()));
        assert_eq!(sent.fields[FieldName::value().as_str()], b"canary-88d2");
        assert_eq!(sent.content_type, "text/plain");
    }

    #[test]
    fn capabilities_are_listed() {
        let can = Capabilities {
            read: true,
            write: true,
            max_ttl: Some(Duration::from_secs(9)),
            ..Capabilities::default()
        };
        let listed = capabilities(&can);
        let names: Vec<_> = listed.supported().collect();
        assert_eq!(names, [v1::ProviderCapability::Read, v1::ProviderCapability::Write]);
        assert_eq!(listed.max_ttl, Some(prost_types::Duration { seconds: 9, nanos: 0 }));
    }
}
