//! The versions of a secret, and changes of what exists.

use leasehold_core::{
    provider::{Change, ProviderName, VersionState},
    record::Actor,
    secret::VersionId,
};
use leasehold_engine::request::{ChangeSecret, ListVersions, SecretVersion};
use leasehold_proto::v1;

use super::{count, time::timestamp, tokens::parse_page_token, violations::Violations};
use crate::grpc::status::EdgeError;

pub(crate) fn list_versions(
    actor: Actor,
    message: &v1::ListSecretVersionsRequest,
) -> Result<ListVersions, EdgeError> {
    let mut faults = Violations::default();
    let secret = faults.required("path", &message.path);
    let page_size = faults.page_size(message.page_size);
    let (secret, page_size) = faults.finish(secret.zip(page_size))?;
    let page_token = parse_page_token(&message.page_token)?;
    Ok(ListVersions { actor, secret, page_size, page_token })
}

pub(crate) fn change_secret(
    actor: Actor,
    message: v1::ChangeSecretRequest,
) -> Result<ChangeSecret, EdgeError> {
    let mut faults = Violations::default();
    let change = change(message.change());
    let v1::ChangeSecretRequest { path, version, reason, request_id, .. } = message;
    let secret = faults.required("path", &path);
    if change.is_none() {
        faults.add("change", "is required: one that this broker knows");
    }
    let version: Option<Option<VersionId>> = faults.optional("version", &version);
    if let (Some(change), Some(version)) = (change, &version) {
        match (change.is_of_version(), version.is_some()) {
            (true, false) => faults.add("version", format!("is required: a version is what you {change}")),
            (false, true) => faults.add("version", format!("must be empty: you {change} the whole secret")),
            _ => {}
        }
    }
    let reason = faults.sentence("reason", reason);
    let request_id = faults.optional("request_id", &request_id);
    let made = || {
        Some(ChangeSecret {
            actor,
            secret: secret?,
            change: change?,
            version: version?,
            reason: reason?,
            request_id: request_id?,
        })
    };
    faults.finish(made())
}

/// The back end that is to be tried; `None` for all of them.
pub(crate) fn check_provider(message: &v1::CheckProviderRequest) -> Result<Option<ProviderName>, EdgeError> {
    let mut faults = Violations::default();
    let provider = faults.optional("provider", &message.provider);
    faults.finish(provider)
}

/// One version.
pub(crate) fn secret_version(version: SecretVersion) -> v1::SecretVersion {
    let SecretVersion { facts, live_leases } = version;
    let state = match facts.state {
        VersionState::Enabled => v1::SecretVersionState::Enabled,
        VersionState::Disabled => v1::SecretVersionState::Disabled,
        VersionState::Deleted => v1::SecretVersionState::Deleted,
        VersionState::Destroyed => v1::SecretVersionState::Destroyed,
    };
    v1::SecretVersion {
        version: facts.version.as_str().to_owned(),
        state: state.into(),
        create_time: facts.created_at.map(timestamp),
        current: facts.current,
        labels: facts.labels.into_iter().map(String::from).collect(),
        live_lease_count: count(live_leases),
    }
}

const fn change(sent: v1::SecretChange) -> Option<Change> {
    Some(match sent {
        v1::SecretChange::Unspecified => return None,
        v1::SecretChange::Promote => Change::Promote,
        v1::SecretChange::Disable => Change::Disable,
        v1::SecretChange::Enable => Change::Enable,
        v1::SecretChange::Destroy => Change::Destroy,
        v1::SecretChange::Delete => Change::Delete,
        v1::SecretChange::Restore => Change::Restore,
        v1::SecretChange::Purge => Change::Purge,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(change: v1::SecretChange, version: &str) -> Result<ChangeSecret, EdgeError> {
        let message = v1::ChangeSecretRequest {
            path: "prod/x".into(),
            change: change.into(),
            version: version.into(),
            reason: "leaked".into(),
            request_id: "r-1".into(),
        };
        change_secret(Actor::internal("spiffe://example.org/operator/a".parse().unwrap()), message)
    }

    fn told(result: Result<ChangeSecret, EdgeError>) -> Vec<String> {
        match result {
            Err(EdgeError::Invalid(told)) => told.into_iter().map(|one| one.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_says_what_it_is_of() {
        let request = ask(v1::SecretChange::Disable, "v1").unwrap();
        assert_eq!((request.change, request.version), (Change::Disable, Some("v1".parse().unwrap())));
        assert_eq!(request.reason.as_deref(), Some("leaked"));
        assert_eq!(ask(v1::SecretChange::Purge, "").unwrap().change, Change::Purge);
        assert_eq!(told(ask(v1::SecretChange::Destroy, "")), ["version"]);
        assert_eq!(told(ask(v1::SecretChange::Delete, "v1")), ["version"]);
        assert_eq!(told(ask(v1::SecretChange::Unspecified, "v/1")), ["change", "version"]);
    }

    #[test]
    fn every_change_can_be_asked_for() {
        let all = (1..).map_while(|number| v1::SecretChange::try_from(number).ok());
        let changes: Vec<_> = all.filter_map(change).collect();
        assert_eq!(changes, Change::ALL);
    }
}
