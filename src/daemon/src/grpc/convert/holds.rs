//! The hold and the orphans.

use leasehold_core::{provider::ProviderName, record::Actor};
use leasehold_engine::request::{
    HeldProvider, HoldReason, HoldReport, Orphan, OrphanState, OrphanSweep, ReleaseHold, SweepOrphans,
};
use leasehold_proto::v1;

use super::{count, time::timestamp, violations::Violations};
use crate::grpc::status::EdgeError;

pub(crate) fn release_hold(actor: Actor, message: v1::ReleaseHoldRequest) -> Result<ReleaseHold, EdgeError> {
    let v1::ReleaseHoldRequest { reason, request_id } = message;
    let mut faults = Violations::default();
    if reason.is_empty() {
        faults.add("reason", "is required");
    }
    let reason = faults.sentence("reason", reason);
    let request_id = faults.optional("request_id", &request_id);
    let made = || Some(ReleaseHold { actor, reason: reason??, request_id: request_id? });
    faults.finish(made())
}

pub(crate) fn sweep_orphans(
    actor: Actor,
    message: &v1::SweepOrphansRequest,
) -> Result<SweepOrphans, EdgeError> {
    let mut faults = Violations::default();
    let provider: Option<Option<ProviderName>> = faults.optional("provider", &message.provider);
    let dry_run = message.dry_run;
    faults.finish(provider.map(|provider| SweepOrphans { actor, provider, dry_run }))
}

/// What a broker on hold would do.
pub(crate) fn hold(report: HoldReport) -> v1::Hold {
    let reason = match report.held.reason {
        HoldReason::Requested => v1::HoldReason::Requested,
        HoldReason::Restored => v1::HoldReason::Restored,
    };
    v1::Hold {
        start_time: Some(timestamp(report.held.since)),
        reason: reason.into(),
        due_static_lease_count: count(report.due_static_leases),
        providers: report.providers.into_iter().map(held_provider).collect(),
    }
}

fn held_provider(provider: HeldProvider) -> v1::HeldProvider {
    v1::HeldProvider {
        provider: provider.name.to_string(),
        due_credential_count: count(provider.due_credentials),
        orphan_count: count(provider.orphans),
        missing_count: count(provider.missing),
        problem: provider.problem.unwrap_or_default(),
    }
}

/// What a sweep came to.
pub(crate) fn orphan_sweep(sweep: OrphanSweep) -> v1::SweepOrphansResponse {
    let failure = |(provider, problem): (ProviderName, String)| v1::OrphanSweepFailure {
        provider: provider.to_string(),
        problem,
    };
    v1::SweepOrphansResponse {
        orphans: sweep.orphans.into_iter().map(orphan).collect(),
        failures: sweep.failures.into_iter().map(failure).collect(),
    }
}

fn orphan(orphan: Orphan) -> v1::Orphan {
    let (state, problem) = match orphan.state {
        OrphanState::InGrace => (v1::OrphanState::InGrace, String::new()),
        OrphanState::Revoked => (v1::OrphanState::Revoked, String::new()),
        OrphanState::Failed(problem) => (v1::OrphanState::Failed, problem),
        OrphanState::Left => (v1::OrphanState::Left, String::new()),
    };
    v1::Orphan {
        provider: orphan.provider.to_string(),
        name: orphan.name,
        lease_id: orphan.lease.to_string(),
        first_seen_time: Some(timestamp(orphan.first_seen)),
        state: state.into(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use leasehold_core::{LeaseId, Timestamp};

    use super::*;

    fn actor() -> Actor {
        Actor::internal("spiffe://example.org/operator/admin".parse().unwrap())
    }

    #[test]
    fn a_hold_is_released_for_a_reason() {
        let release = |reason: &str| {
            let message = v1::ReleaseHoldRequest { reason: reason.into(), ..Default::default() };
            release_hold(actor(), message)
        };
        assert_eq!(release("compared").unwrap().reason, "compared");
        for bad in ["", "two\nlines", &"x".repeat(300)] {
            assert!(matches!(release(bad), Err(EdgeError::Invalid(_))), "{bad:?}");
        }
        let bad = v1::SweepOrphansRequest { provider: "Main".into(), ..Default::default() };
        assert!(sweep_orphans(actor(), &bad).is_err());
    }

    #[test]
    fn an_orphan_says_what_was_done_with_it() {
        let found = |state| {
            orphan(Orphan {
                provider: "pg".parse().unwrap(),
                name: "lh_x".into(),
                lease: LeaseId::from_bits([1; 16]),
                first_seen: Timestamp::UNIX_EPOCH,
                state,
            })
        };
        assert_eq!(found(OrphanState::InGrace).state(), v1::OrphanState::InGrace);
        let failed = found(OrphanState::Failed("it owns things".into()));
        assert_eq!((failed.state(), failed.problem.as_str()), (v1::OrphanState::Failed, "it owns things"));
        assert_eq!((failed.provider.as_str(), failed.name.as_str()), ("pg", "lh_x"));
    }
}
