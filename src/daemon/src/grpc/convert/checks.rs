//! What came of trying back ends, and how they are doing.

use leasehold_core::provider::{Finding, Verdict};
use leasehold_engine::request::{CircuitState, ProviderCheck, ProviderStatus};
use leasehold_proto::v1;

use super::{capabilities, count, time::timestamp};

/// One back end's check.
pub(crate) fn provider_check(check: ProviderCheck) -> v1::ProviderCheck {
    v1::ProviderCheck {
        provider: check.name.as_str().to_owned(),
        findings: check.findings.into_iter().map(finding).collect(),
    }
}

fn finding(finding: Finding) -> v1::ProviderFinding {
    let (verdict, message, remedy, grant) = match finding.verdict {
        Verdict::Passed(note) => (v1::ProviderVerdict::Passed, note, String::new(), None),
        Verdict::Failed { problem, remedy, grant } => (v1::ProviderVerdict::Failed, problem, remedy, grant),
        Verdict::NotTried(why) => (v1::ProviderVerdict::NotTried, why, String::new(), None),
    };
    v1::ProviderFinding {
        step: finding.step,
        verdict: verdict.into(),
        message,
        remedy,
        grant: grant.unwrap_or_default(),
    }
}

/// One back end's state.
pub(crate) fn provider_status(provider: &ProviderStatus) -> v1::ProviderStatus {
    let circuit = match provider.circuit {
        CircuitState::Closed => v1::CircuitState::Closed,
        CircuitState::Open => v1::CircuitState::Open,
        CircuitState::HalfOpen => v1::CircuitState::HalfOpen,
    };
    v1::ProviderStatus {
        name: provider.name.as_str().to_owned(),
        capabilities: Some(capabilities(&provider.capabilities)),
        unavailable_reason: provider.unavailable.clone().unwrap_or_default(),
        credential_expire_time: provider.sign_in.expires_at.map(timestamp),
        sign_in_problem: provider.sign_in.problem.clone().unwrap_or_default(),
        circuit: circuit.into(),
        call_count: count(provider.calls.calls),
        failure_count: count(provider.calls.failures),
        throttled_count: count(provider.calls.throttled),
        turned_away_count: count(provider.calls.turned_away),
        circuit_open_count: count(provider.calls.circuit_opened),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_to_do() {
        let denied = Finding::failed("read `prod/db`", "not allowed", "grant it").granted_by("allow read");
        let name = "main".parse().unwrap();
        let findings = vec![Finding::passed("sign in", "as x"), denied, Finding::not_tried("issue", "no")];
        let check = provider_check(ProviderCheck { name, findings });
        let [passed, failed, left] = check.findings.as_slice() else { panic!("{check:?}") };
        assert_eq!((passed.verdict(), passed.message.as_str()), (v1::ProviderVerdict::Passed, "as x"));
        assert_eq!((failed.verdict(), failed.grant.as_str()), (v1::ProviderVerdict::Failed, "allow read"));
        assert_eq!((failed.message.as_str(), failed.remedy.as_str()), ("not allowed", "grant it"));
        assert_eq!((left.verdict(), left.remedy.as_str()), (v1::ProviderVerdict::NotTried, ""));
    }
}
