//! From the contract's requests to the engine's.

use std::{collections::BTreeMap, mem};

use leasehold_core::{
    LeaseId, RequestId, SecretBytes, SecretPath, SecretValue, path::PathPrefix, record::Actor,
    secret::FieldName,
};
use leasehold_engine::request::{
    IssueLease, LeaseScope, ListLeases, RenewLease, RevokeLease, WatchPosition, WriteSecret,
};
use leasehold_proto::v1;

use super::{
    filters::lease_filter,
    tokens::{parse_page_token, parse_resume_token},
    violations::Violations,
};
use crate::grpc::status::EdgeError;

/// A secret has at most so many fields.
const MOST_FIELDS: usize = 64;
/// One call revokes at most so many leases.
const MOST_REVOKED: usize = 100;

pub(crate) fn issue_lease(actor: Actor, message: v1::IssueLeaseRequest) -> Result<IssueLease, EdgeError> {
    let v1::IssueLeaseRequest { secret, ttl, fields, request_id } = message;
    let mut faults = Violations::default();
    let secret = faults.required("secret", &secret);
    let ttl = faults.ttl("ttl", ttl);
    let fields = faults.list("fields", &fields, MOST_FIELDS);
    let request_id = faults.optional("request_id", &request_id);
    let made =
        || Some(IssueLease { actor, secret: secret?, ttl: ttl?, fields: fields?, request_id: request_id? });
    faults.finish(made())
}

pub(crate) fn renew_lease(actor: Actor, message: v1::RenewLeaseRequest) -> Result<RenewLease, EdgeError> {
    let v1::RenewLeaseRequest { lease_id, ttl, request_id, accept_rotation } = message;
    let mut faults = Violations::default();
    let lease = faults.required("lease_id", &lease_id);
    let ttl = faults.ttl("ttl", ttl);
    let request_id = faults.optional("request_id", &request_id);
    let made =
        || Some(RenewLease { actor, lease: lease?, ttl: ttl?, accept_rotation, request_id: request_id? });
    faults.finish(made())
}

pub(crate) fn revoke_lease(actor: Actor, message: v1::RevokeLeaseRequest) -> Result<RevokeLease, EdgeError> {
    let v1::RevokeLeaseRequest { lease_id, reason, request_id } = message;
    let mut faults = Violations::default();
    let lease = faults.required("lease_id", &lease_id);
    let reason = faults.sentence("reason", reason);
    let request_id = faults.optional("request_id", &request_id);
    let made = || {
        let (reason, request_id) = (reason?, request_id?);
        Some(RevokeLease { actor, lease: lease?, reason, request_id, rotate: false })
    };
    faults.finish(made())
}

pub(crate) fn revoke_leases(
    actor: &Actor,
    message: v1::RevokeLeasesRequest,
) -> Result<Vec<RevokeLease>, EdgeError> {
    let v1::RevokeLeasesRequest { lease_ids, reason, request_id, rotate } = message;
    let mut faults = Violations::default();
    if lease_ids.is_empty() {
        faults.add("lease_ids", "is required");
    }
    let leases: Option<Vec<LeaseId>> = faults.list("lease_ids", &lease_ids, MOST_REVOKED);
    let reason = faults.sentence("reason", reason);
    let request_id: Option<Option<RequestId>> = faults.optional("request_id", &request_id);
    let made = || {
        let (reason, request_id) = (reason?, request_id?);
        let one = |lease| RevokeLease {
            actor: actor.clone(),
            lease,
            reason: reason.clone(),
            request_id: request_id.clone(),
            rotate,
        };
        Some(leases?.into_iter().map(one).collect())
    };
    faults.finish(made())
}

pub(crate) fn get_lease(message: &v1::GetLeaseRequest) -> Result<LeaseId, EdgeError> {
    let mut faults = Violations::default();
    let lease = faults.required("lease_id", &message.lease_id);
    faults.finish(lease)
}

pub(crate) fn list_own_leases(actor: Actor, message: v1::ListLeasesRequest) -> Result<ListLeases, EdgeError> {
    let v1::ListLeasesRequest { page_size, page_token, filter } = message;
    let mut faults = Violations::default();
    let page_size = faults.page_size(page_size);
    let filter = lease_filter(&mut faults, filter);
    if filter.as_ref().is_some_and(|filter| filter.holder.is_some()) {
        faults.add("filter.holder", "must be empty: these are the caller's own leases");
    }
    let (page_size, filter) = faults.finish(page_size.zip(filter))?;
    let page_token = parse_page_token(&page_token)?;
    Ok(ListLeases { actor, scope: LeaseScope::Own, filter, page_size, page_token })
}

pub(crate) fn list_leases(
    actor: Actor,
    message: v1::OperatorServiceListLeasesRequest,
) -> Result<ListLeases, EdgeError> {
    let v1::OperatorServiceListLeasesRequest { page_size, page_token, filter } = message;
    let mut faults = Violations::default();
    let page_size = faults.page_size(page_size);
    let filter = lease_filter(&mut faults, filter);
    let (page_size, filter) = faults.finish(page_size.zip(filter))?;
    let page_token = parse_page_token(&page_token)?;
    Ok(ListLeases { actor, scope: LeaseScope::All, filter, page_size, page_token })
}

/// Behind which place to watch; `None` to begin anew.
pub(crate) fn watch_leases(message: &v1::WatchLeasesRequest) -> Result<Option<WatchPosition>, EdgeError> {
    if message.resume_token.is_empty() {
        return Ok(None);
    }
    let mut faults = Violations::default();
    let place = parse_resume_token(&message.resume_token);
    if place.is_none() {
        faults.add("resume_token", "is not one that a watch gave out: begin anew without one");
    }
    faults.finish(place).map(Some)
}

/// The prefix, the page's size and where it begins.
pub(crate) fn list_secrets(
    message: &v1::ListSecretsRequest,
) -> Result<(Option<PathPrefix>, usize, Option<String>), EdgeError> {
    let mut faults = Violations::default();
    let prefix = faults.optional("prefix", &message.prefix);
    let page_size = faults.page_size(message.page_size);
    let (prefix, page_size) = faults.finish(prefix.zip(page_size))?;
    Ok((prefix, page_size, parse_page_token(&message.page_token)?))
}

pub(crate) fn get_secret(message: &v1::GetSecretRequest) -> Result<SecretPath, EdgeError> {
    let mut faults = Violations::default();
    let path = faults.required("path", &message.path);
    faults.finish(path)
}

pub(crate) fn write_secret(actor: Actor, message: v1::WriteSecretRequest) -> Result<WriteSecret, EdgeError> {
    let v1::WriteSecretRequest { path, value, expected_version, request_id } = message;
    let mut faults = Violations::default();
    let secret = faults.required("path", &path);
    let value = secret_value(&mut faults, value);
    let expected = faults.optional("expected_version", &expected_version);
    let request_id = faults.optional("request_id", &request_id);
    let made = || {
        Some(WriteSecret {
            actor,
            secret: secret?,
            value: value?,
            expected: expected?,
            request_id: request_id?,
        })
    };
    faults.finish(made())
}

fn secret_value(faults: &mut Violations, sent: Option<v1::SecretValue>) -> Option<SecretValue> {
    let Some(mut sent) = sent.filter(|value| !value.fields.is_empty()) else {
        faults.add("value.fields", "needs at least one field; a plain string is the field `value`");
        return None;
    };
    let content_type = mem::take(&mut sent.content_type);
    let content_type = if content_type.is_empty() { SecretValue::OCTETS.to_owned() } else { content_type };
    let is_media_type = content_type.len() <= 127
        && content_type.contains('/')
        && content_type.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !is_media_type {
        faults.add("value.content_type", "is a media type such as text/plain, at most 127 characters");
    }
    if sent.fields.len() > MOST_FIELDS {
        faults.add("value.fields", format!("has at most {MOST_FIELDS} fields"));
        return None;
    }
    let size = sent.fields.values().fold(0_usize, |size, bytes| size.saturating_add(bytes.len()));
    let most = SecretValue::LARGEST_WRITTEN;
    if size > most {
        faults.add("value.fields", format!("has at most {most} bytes in all its fields together"));
        return None;
    }
    let mut fields = BTreeMap::new();
    for (name, bytes) in mem::take(&mut sent.fields) {
        // First of all the bytes get an owner that wipes them.
        let bytes = SecretBytes::new(bytes);
        match name.parse::<FieldName>() {
            Ok(name) => drop(fields.insert(name, bytes)),
            Err(why) => faults.add("value.fields", why.to_string()),
        }
    }
    Some(SecretValue { fields, content_type: content_type.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor() -> Actor {
        Actor::internal("spiffe://example.org/prod/api".parse().unwrap())
    }

    fn fields_of<T>(result: Result<T, EdgeError>) -> Vec<String> {
        match result.map(drop) {
            Err(EdgeError::Invalid(violations)) => violations.into_iter().map(|one| one.field).collect(),
            other => panic!("not a list of violations: {other:?}"),
        }
    }

    #[test]
    fn a_good_request_is_taken_as_it_is() {
        let message = v1::IssueLeaseRequest {
            secret: "prod/payments/db".into(),
            ttl: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
            fields: vec!["user".into(), "password".into()],
            request_id: "r-1".into(),
        };
        let request = issue_lease(actor(), message).unwrap();
        assert_eq!(request.secret.as_str(), "prod/payments/db");
        assert_eq!(request.ttl.unwrap().as_secs(), 90);
        assert_eq!(request.fields.len(), 2);
        assert_eq!(request.request_id.unwrap().as_str(), "r-1");
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let message = v1::IssueLeaseRequest {
            secret: "prod".into(),
            ttl: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
            fields: vec!["user".into(), "user".into(), "a/b".into()],
            request_id: "two words".into(),
        };
        let told = fields_of(issue_lease(actor(), message));
        assert_eq!(told, ["secret", "ttl", "fields[1]", "fields[2]", "request_id"]);
        assert_eq!(fields_of(issue_lease(actor(), v1::IssueLeaseRequest::default())), ["secret"]);
    }

    #[test]
    fn a_flood_of_faults_is_cut() {
        let message =
            v1::IssueLeaseRequest { fields: vec!["/".into(); 64], ..v1::IssueLeaseRequest::default() };
        assert_eq!(fields_of(issue_lease(actor(), message)).len(), 20);
    }

    #[test]
    fn pages_have_a_default_and_a_limit() {
        let size = |page_size| {
            let message = v1::ListLeasesRequest { page_size, ..v1::ListLeasesRequest::default() };
            list_own_leases(actor(), message).map(|request| request.page_size)
        };
        assert_eq!(size(0).unwrap(), 100);
        assert_eq!(size(7).unwrap(), 7);
        assert_eq!(size(5000).unwrap(), 1000);
        assert_eq!(fields_of(size(-1)), ["page_size"]);
    }

    #[test]
    fn ones_own_leases_have_no_other_holder() {
        let filter = v1::LeaseFilter {
            holder: "spiffe://example.org/prod/other".into(),
            secret: "prod".into(),
            states: vec![99],
            ..v1::LeaseFilter::default()
        };
        let message =
            v1::ListLeasesRequest { filter: Some(filter.clone()), ..v1::ListLeasesRequest::default() };
        assert_eq!(fields_of(list_own_leases(actor(), message)), ["filter.secret", "filter.states"]);
        let filter = v1::LeaseFilter { secret: "prod/x".into(), states: vec![2], ..filter };
        let message = v1::ListLeasesRequest { filter: Some(filter), ..v1::ListLeasesRequest::default() };
        assert_eq!(fields_of(list_own_leases(actor(), message)), ["filter.holder"]);
    }

    #[test]
    fn a_written_value_is_checked() {
        let write = |fields: &[(&str, usize)], content_type: &str| {
            let fields = fields.iter().map(|(name, size)| ((*name).to_owned(), vec![7; *size])).collect();
            let value = Some(v1::SecretValue { fields, content_type: content_type.into() });
            write_secret(
                actor(),
                v1::WriteSecretRequest { path: "dev/a".into(), value, ..Default::default() },
            )
        };
        let good = write(&[("value", 3)], "").unwrap();
        assert_eq!(&*good.value.content_type, "application/octet-stream");
        assert_eq!(good.value.fields[&FieldName::value()].expose(), [7; 3]);
        assert_eq!(fields_of(write(&[], "")), ["value.fields"]);
        assert_eq!(fields_of(write(&[("a b", 3)], "text")), ["value.content_type", "value.fields"]);
        assert_eq!(fields_of(write(&[("a", 300_000), ("b", 300_000)], "")), ["value.fields"]);
    }

    #[test]
    fn revocations_come_in_bounded_numbers() {
        let ids = |n: u8| (0..n).map(|i| LeaseId::from_bits([i; 16]).to_string()).collect::<Vec<_>>();
        let ask =
            |lease_ids| revoke_leases(&actor(), v1::RevokeLeasesRequest { lease_ids, ..Default::default() });
        assert_eq!(ask(ids(100)).unwrap().len(), 100);
        assert_eq!(fields_of(ask(ids(101))), ["lease_ids"]);
        assert_eq!(fields_of(ask(Vec::new())), ["lease_ids"]);
        assert_eq!(fields_of(ask([ids(1), ids(1)].concat())), ["lease_ids[1]"]);
    }
}
