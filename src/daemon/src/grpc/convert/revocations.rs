//! The revocation of many leases, and what is done with those that could not be ended.

use leasehold_core::{RevocationId, record::Actor};
use leasehold_engine::request::{
    ForgetLease, LeaseFilter, RetryLease, Revocation, RevocationState, StartRevocation,
};
use leasehold_proto::v1;

use super::{count, filters, time::timestamp, tokens::parse_page_token, violations::Violations};
use crate::grpc::status::EdgeError;

pub(crate) fn start_revocation(
    actor: Actor,
    message: v1::StartRevocationRequest,
) -> Result<StartRevocation, EdgeError> {
    let v1::StartRevocationRequest { filter, dry_run, reason, request_id, rotate } = message;
    let mut faults = Violations::default();
    let filter = filters::lease_filter(&mut faults, filter);
    if let Some(filter) = &filter {
        if !filter.states.is_empty() {
            faults.add("filter.states", "must be empty: what is over stays so, and everything else is ended");
        }
        if is_boundless(filter) {
            faults.add("filter", "needs a `holder`, a `secret`, a `secret_prefix` or a `provider`");
        }
    }
    let reason = required_sentence(&mut faults, reason);
    let request_id = faults.optional("request_id", &request_id);
    let made = || {
        let (filter, reason, request_id) = (filter?, reason?, request_id?);
        Some(StartRevocation { actor, filter, dry_run, reason, request_id, rotate })
    };
    faults.finish(made())
}

pub(crate) fn watch_revocation(message: &v1::WatchRevocationRequest) -> Result<RevocationId, EdgeError> {
    let mut faults = Violations::default();
    let id = faults.required("revocation_id", &message.revocation_id);
    faults.finish(id)
}

/// The page's size, and where it begins.
pub(crate) fn list_revocations(
    message: &v1::ListRevocationsRequest,
) -> Result<(usize, Option<String>), EdgeError> {
    let mut faults = Violations::default();
    let page_size = faults.page_size(message.page_size);
    Ok((faults.finish(page_size)?, parse_page_token(&message.page_token)?))
}

pub(crate) fn retry_lease(actor: Actor, message: &v1::RetryLeaseRequest) -> Result<RetryLease, EdgeError> {
    let mut faults = Violations::default();
    let lease = faults.required("lease_id", &message.lease_id);
    let request_id = faults.optional("request_id", &message.request_id);
    let made = || Some(RetryLease { actor, lease: lease?, request_id: request_id? });
    faults.finish(made())
}

pub(crate) fn forget_lease(actor: Actor, message: v1::ForgetLeaseRequest) -> Result<ForgetLease, EdgeError> {
    let v1::ForgetLeaseRequest { lease_id, reason, request_id } = message;
    let mut faults = Violations::default();
    let lease = faults.required("lease_id", &lease_id);
    let reason = required_sentence(&mut faults, reason);
    let request_id = faults.optional("request_id", &request_id);
    let made = || Some(ForgetLease { actor, lease: lease?, reason: reason?, request_id: request_id? });
    faults.finish(made())
}

/// A revocation as it is.
pub(crate) fn revocation(revocation: &Revocation) -> v1::Revocation {
    let state = match revocation.state {
        RevocationState::Running => v1::RevocationState::Running,
        RevocationState::Finished => v1::RevocationState::Finished,
        RevocationState::Previewed => v1::RevocationState::Previewed,
    };
    v1::Revocation {
        id: revocation.id.map(|id| id.to_string()).unwrap_or_default(),
        filter: Some(filters::shown(&revocation.filter)),
        reason: revocation.reason.clone(),
        actor: revocation.actor.to_string(),
        state: state.into(),
        start_time: Some(timestamp(revocation.started_at)),
        end_time: revocation.ended_at.map(timestamp),
        total_count: count(revocation.counts.total),
        done_count: count(revocation.counts.done),
        failed_count: count(revocation.counts.failed),
        quarantined_count: count(revocation.counts.quarantined),
    }
}

/// Whether it would mean every lease there is.
fn is_boundless(filter: &LeaseFilter) -> bool {
    let LeaseFilter { holder, secret, prefix, provider, .. } = filter;
    holder.is_none() && secret.is_none() && prefix.is_none() && provider.is_none()
}

fn required_sentence(faults: &mut Violations, text: String) -> Option<String> {
    let sentence = faults.sentence("reason", text)?;
    if sentence.is_none() {
        faults.add("reason", "is required");
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_of(message: v1::StartRevocationRequest) -> Vec<String> {
        let actor = Actor::internal("spiffe://example.org/operator/admin".parse().unwrap());
        match start_revocation(actor, message).map(drop) {
            Ok(()) => Vec::new(),
            Err(EdgeError::Invalid(faults)) => faults.into_iter().map(|fault| fault.field).collect(),
            Err(other) => panic!("not a list of violations: {other:?}"),
        }
    }

    #[test]
    fn a_revocation_has_bounds_and_a_reason() {
        let filter = |filter| v1::StartRevocationRequest {
            filter: Some(filter),
            reason: "it leaked".into(),
            ..Default::default()
        };
        assert_eq!(fields_of(v1::StartRevocationRequest::default()), ["filter", "reason"]);
        let provider = v1::LeaseFilter { provider: "main".into(), ..Default::default() };
        assert!(fields_of(filter(provider.clone())).is_empty());
        let version = v1::LeaseFilter { version: "v1".into(), ..provider.clone() };
        assert_eq!(fields_of(filter(version)), ["filter.version"]);
        let states = v1::LeaseFilter { states: vec![2], ..provider };
        assert_eq!(fields_of(filter(states)), ["filter.states"]);
        let prefix = v1::LeaseFilter { secret_prefix: "prod".into(), ..Default::default() };
        assert_eq!(fields_of(filter(prefix)), ["filter.secret_prefix"]);
    }
}
