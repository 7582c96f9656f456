//! The one place where gRPC codes are chosen: by the stable reason, which the contract (`error_reason.proto`) ties to
//! its code. Whatever fails becomes a reason first.

use std::{collections::HashMap, time::Duration};

use leasehold_core::{explanation::Explanation, lease::StepError, provider::ErrorClass};
use leasehold_engine::EngineError;
use leasehold_proto::{ERROR_DOMAIN, v1::ErrorReason};
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// Why the edge itself turned a call down or ended it.
#[derive(Clone, Debug, Error)]
pub enum EdgeError {
    /// Fields of the request are not what they must be: all of them.
    #[error("the request has fields that are not what they must be")]
    Invalid(Vec<FieldViolation>),
    /// The page token was not made here.
    #[error("the page token is not valid: start again without one")]
    BadPageToken,
    /// So many watches and audit queries are open that there is no room for one more.
    #[error("as many streams are open as `{limit}` allows: end one, or try again later")]
    TooManyStreams {
        /// The limit, as the configuration names it if it can be set there.
        limit: &'static str,
    },
    /// The journal cannot be read on.
    #[error("the audit journal cannot be read on from here: verify it offline with `leasehold audit verify`")]
    JournalDamaged,
    /// The request came without an identity; the listener lets none such through.
    #[error("the connection has no client certificate")]
    NoIdentity,
    /// A defect; the log says which.
    #[error("the broker failed: its log says how")]
    Internal,
}

impl EdgeError {
    /// The stable reason.
    pub fn reason(&self) -> ErrorReason {
        match self {
            Self::Invalid(_) => ErrorReason::InvalidRequest,
            Self::BadPageToken => ErrorReason::PageTokenInvalid,
            Self::TooManyStreams { .. } => ErrorReason::TooManyStreams,
            Self::JournalDamaged => ErrorReason::JournalDamaged,
            Self::NoIdentity => ErrorReason::IdentityMissing,
            Self::Internal => ErrorReason::Internal,
        }
    }
}

impl From<EdgeError> for Status {
    fn from(error: EdgeError) -> Self {
        let (mut details, mut metadata) = (ErrorDetails::new(), HashMap::new());
        match &error {
            EdgeError::Invalid(violations) => {
                details.set_bad_request(violations.clone());
            }
            EdgeError::TooManyStreams { limit } => {
                details.set_retry_info(Some(Duration::from_secs(1)));
                metadata.insert("limit".to_owned(), (*limit).to_owned());
            }
            _ => {}
        }
        status(error.reason(), error.to_string(), details, metadata)
    }
}

/// The answer to a use case that failed.
pub(crate) fn of_engine(error: &EngineError) -> Status {
    let reason = reason_of(error);
    log(error, reason);
    let mut details = ErrorDetails::new();
    if let Some(delay) = error.retry_after() {
        details.set_retry_info(Some(delay));
    }
    let mut metadata = HashMap::new();
    if let EngineError::NoSuchField(field) = error {
        metadata.insert("field".to_owned(), field.to_string());
    }
    if let EngineError::QuotaExceeded { limit, .. } | EngineError::RateLimited { limit, .. } = error {
        metadata.insert("limit".to_owned(), (*limit).to_owned());
    }
    if let Some(provider) = error.provider() {
        metadata.insert("provider".to_owned(), provider.to_string());
    }
    if let EngineError::Denied(denial) = error
        && let Some(explanation) = denial.explanation()
    {
        metadata.extend(told(explanation));
    }
    status(reason, message_of(error), details, metadata)
}

/// The stable reason of a use case's failure.
pub(crate) fn reason_of(error: &EngineError) -> ErrorReason {
    match error {
        EngineError::Denied(_) => ErrorReason::DeniedOrNotFound,
        EngineError::NoSuchField(_) => ErrorReason::FieldNotFound,
        EngineError::RequestIdReused => ErrorReason::RequestIdReused,
        EngineError::NoSuchProvider(_) => ErrorReason::ProviderNotFound,
        EngineError::BadPageToken => ErrorReason::PageTokenInvalid,
        EngineError::Lease(step) => match step {
            StepError::Expired => ErrorReason::LeaseExpired,
            StepError::Revoked | StepError::Revoking => ErrorReason::LeaseRevoked,
            StepError::AtMaximum => ErrorReason::LeaseAtMaximumTtl,
            StepError::Pending | StepError::NotDue | StepError::OutOfPlace => ErrorReason::LeaseNotActive,
        },
        EngineError::Provider(error) | EngineError::WriteRefused(error) => match error.class {
            ErrorClass::Transient => ErrorReason::ProviderUnavailable,
            ErrorClass::Throttled => ErrorReason::ProviderThrottled,
            ErrorClass::Denied => ErrorReason::ProviderDeniedBroker,
            ErrorClass::Absent => ErrorReason::ProviderSecretAbsent,
            ErrorClass::Invalid => ErrorReason::ProviderRequestInvalid,
            ErrorClass::Permanent => ErrorReason::ProviderUnsupported,
        },
        EngineError::OnHold => ErrorReason::BrokerOnHold,
        EngineError::QuotaExceeded { .. } => ErrorReason::QuotaExceeded,
        EngineError::RateLimited { .. } => ErrorReason::RateLimited,
        EngineError::NotRevoking => ErrorReason::LeaseNotRevoking,
        EngineError::NotRotated => ErrorReason::NotRotated,
        EngineError::Rotation(_) => ErrorReason::RotationState,
        EngineError::WatchLagged => ErrorReason::WatchLagged,
        EngineError::Conflict => ErrorReason::Conflict,
        EngineError::JournalFull(_) => ErrorReason::JournalFull,
        EngineError::Unavailable(_) => ErrorReason::LedgerUnavailable,
        EngineError::Internal(_) => ErrorReason::Internal,
    }
}

/// What the caller is told in words.
pub(crate) fn message_of(error: &EngineError) -> String {
    match error {
        // Its text can come from a panic, and a panic's from anywhere.
        EngineError::Internal(_) => EdgeError::Internal.to_string(),
        other => other.to_string(),
    }
}

/// An explanation under the keys that the contract (`error_reason.proto`) documents.
fn told(explanation: &Explanation) -> [(String, String); 4] {
    [
        ("policy_grounds", explanation.grounds.as_str().to_owned()),
        ("policies", explanation.policies.join("\n")),
        ("policy_principal", explanation.principal.clone()),
        ("policy_set", explanation.policy_set.as_ref().to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
}

fn code(reason: ErrorReason) -> Code {
    match reason {
        ErrorReason::DeniedOrNotFound => Code::PermissionDenied,
        ErrorReason::InvalidRequest
        | ErrorReason::PageTokenInvalid
        | ErrorReason::FieldNotFound
        | ErrorReason::RequestIdReused => Code::InvalidArgument,
        ErrorReason::LeaseExpired
        | ErrorReason::LeaseRevoked
        | ErrorReason::LeaseAtMaximumTtl
        | ErrorReason::LeaseNotActive
        | ErrorReason::LeaseNotRevoking
        | ErrorReason::NotRotated
        | ErrorReason::RotationState
        | ErrorReason::BrokerOnHold
        | ErrorReason::ProviderDeniedBroker
        | ErrorReason::ProviderSecretAbsent
        | ErrorReason::ProviderRequestInvalid => Code::FailedPrecondition,
        ErrorReason::ProviderUnavailable
        | ErrorReason::LedgerUnavailable
        | ErrorReason::BrokerStopping
        | ErrorReason::ConnectionIdle
        | ErrorReason::ConnectionDisplaced => Code::Unavailable,
        ErrorReason::ProviderThrottled
        | ErrorReason::TooManyStreams
        | ErrorReason::QuotaExceeded
        | ErrorReason::RateLimited
        | ErrorReason::JournalFull => Code::ResourceExhausted,
        ErrorReason::ProviderNotFound => Code::NotFound,
        ErrorReason::ProviderUnsupported => Code::Unimplemented,
        ErrorReason::Conflict | ErrorReason::WatchLagged => Code::Aborted,
        ErrorReason::JournalDamaged => Code::DataLoss,
        ErrorReason::Internal | ErrorReason::Unspecified => Code::Internal,
        ErrorReason::IdentityExpired
        | ErrorReason::IdentityRevoked
        | ErrorReason::IdentityUntrusted
        | ErrorReason::IdentityMissing => Code::Unauthenticated,
    }
}

fn status(
    reason: ErrorReason,
    message: String,
    mut details: ErrorDetails,
    metadata: HashMap<String, String>,
) -> Status {
    details.set_error_info(reason.as_reason(), ERROR_DOMAIN, metadata);
    Status::with_error_details(code(reason), message, details)
}

/// What an operator should read of failures. A ledger that is full or gone is the ledger's to tell, once and not with
/// every request that it fails.
fn log(error: &EngineError, reason: ErrorReason) {
    let reason = reason.as_reason();
    match error {
        EngineError::Internal(cause) => tracing::error!(reason, cause, "a request failed inside the broker"),
        EngineError::Provider(cause) => {
            let provider = cause.provider().map(tracing::field::display);
            if cause.class.is_retryable() {
                tracing::debug!(reason, provider, cause = %cause, "a back end did not answer");
            } else {
                tracing::warn!(reason, provider, cause = %cause, "a back end refused the broker");
            }
        }
        other => tracing::trace!(reason, cause = ?other, "a request failed"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leasehold_core::{explanation::Grounds, provider::ProviderError, state::LedgerError};
    use leasehold_engine::Denial;

    use super::*;

    fn every_engine_error() -> Vec<(EngineError, Code)> {
        let main = "main".parse().unwrap();
        let provider =
            |class| EngineError::Provider(Arc::new(ProviderError::new(class, "db-7 said no").of(&main)));
        let steps = [
            StepError::Expired,
            StepError::Revoked,
            StepError::Revoking,
            StepError::Pending,
            StepError::AtMaximum,
            StepError::NotDue,
            StepError::OutOfPlace,
        ];
        let mut all = vec![
            (EngineError::Denied(Denial::default()), Code::PermissionDenied),
            (EngineError::NoSuchField("user".parse().unwrap()), Code::InvalidArgument),
            (EngineError::RequestIdReused, Code::InvalidArgument),
            (EngineError::BadPageToken, Code::InvalidArgument),
            (EngineError::NoSuchProvider("main".parse().unwrap()), Code::NotFound),
            (provider(ErrorClass::Transient), Code::Unavailable),
            (provider(ErrorClass::Throttled), Code::ResourceExhausted),
            (provider(ErrorClass::Denied), Code::FailedPrecondition),
            (provider(ErrorClass::Absent), Code::FailedPrecondition),
            (provider(ErrorClass::Invalid), Code::FailedPrecondition),
            (provider(ErrorClass::Permanent), Code::Unimplemented),
            (EngineError::WatchLagged, Code::Aborted),
            (EngineError::Conflict, Code::Aborted),
            (EngineError::JournalFull(LedgerError::Full("/var is full".into())), Code::ResourceExhausted),
            (EngineError::Unavailable(LedgerError::Poisoned("fsync".into())), Code::Unavailable),
            (EngineError::Internal("panicked at canary".into()), Code::Internal),
        ];
        all.extend(steps.map(|step| (EngineError::Lease(step), Code::FailedPrecondition)));
        all
    }

    #[test]
    fn every_engine_error_has_its_code_and_its_own_reason() {
        for (error, code) in every_engine_error() {
            let status = of_engine(&error);
            assert_eq!(status.code(), code, "{error:?}");
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (error.reason(), "leasehold.dev"));
            let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
            assert_eq!(delay, error.retry_after(), "{error:?}");
        }
    }

    #[test]
    fn a_denial_says_why_only_when_it_is_to_be_said() {
        let silent = of_engine(&EngineError::Denied(Denial::default()));
        assert!(silent.get_details_error_info().unwrap().metadata.is_empty());
        let told = of_engine(&EngineError::Denied(Denial::explained(Explanation {
            grounds: Grounds::Forbidden,
            policies: vec!["forbid a (x.cedar:1) applies".into(), "permit b (x.cedar:2) applies".into()],
            principal: "Workload::\"x\", in no group".into(),
            policy_set: "abc".into(),
        })));
        assert_eq!((silent.code(), silent.message()), (told.code(), told.message()));
        let metadata = told.get_details_error_info().unwrap().metadata;
        let documented = include_str!("../../../../proto/leasehold/v1/error_reason.proto");
        for (key, value) in [
            ("policy_grounds", "FORBIDDEN"),
            ("policies", "forbid a (x.cedar:1) applies\npermit b (x.cedar:2) applies"),
            ("policy_principal", "Workload::\"x\", in no group"),
            ("policy_set", "abc"),
        ] {
            assert_eq!(metadata[key], value);
            assert!(documented.contains(&format!("`{key}`")), "{key} is not in the contract");
        }
        assert_eq!(metadata.len(), 4);
    }

    #[test]
    fn who_met_a_back_ends_failure_learns_which_one_and_when_to_come_again() {
        for (error, _) in every_engine_error() {
            let info = of_engine(&error).get_details_error_info().unwrap();
            let named = info.metadata.get("provider").map(String::as_str);
            assert_eq!(named, info.reason.starts_with("PROVIDER_").then_some("main"), "{error:?}");
        }
        let hint = Some(Duration::from_secs(7));
        let throttled = ProviderError::new(ErrorClass::Throttled, "slow down").retry_after(hint);
        let status = of_engine(&EngineError::Provider(Arc::new(throttled)));
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, hint);
    }

    /// The contract's own words: `// CODE: what it means.` above each reason.
    #[test]
    fn every_reason_has_the_code_that_the_contract_documents() {
        let contract = include_str!("../../../../proto/leasehold/v1/error_reason.proto");
        let (mut documented, mut reasons) = (None, 0);
        for line in contract.lines().map(str::trim) {
            if let Some((word, _)) = line.strip_prefix("// ").and_then(|text| text.split_once(':'))
                && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            {
                documented = Some(word.to_owned());
            }
            let Some((name, _)) =
                line.split_once(" = ").filter(|(name, _)| name.starts_with("ERROR_REASON_"))
            else {
                continue;
            };
            let reason = ErrorReason::from_str_name(name).unwrap();
            if reason == ErrorReason::Unspecified {
                continue;
            }
            // `InvalidArgument` is written `INVALID_ARGUMENT` there.
            let code = format!("{:?}", code(reason));
            let code = code.chars().fold(String::new(), |mut shown, c| {
                if c.is_uppercase() && !shown.is_empty() {
                    shown.push('_');
                }
                shown.extend(c.to_uppercase());
                shown
            });
            assert_eq!(documented.take(), Some(code), "{name}");
            reasons += 1;
        }
        assert!(reasons >= 30, "{reasons} reasons were found");
    }

    #[test]
    fn what_is_for_operators_stays_here() {
        for (error, _) in every_engine_error() {
            let status = of_engine(&error);
            let told = format!("{} {:?}", status.message(), status.get_error_details());
            for secret in ["db-7", "/var", "canary"] {
                assert!(!told.contains(secret), "{told}");
            }
        }
    }

    #[test]
    fn violations_travel() {
        let status = Status::from(EdgeError::Invalid(vec![FieldViolation::new("secret", "is required")]));
        assert_eq!(status.code(), Code::InvalidArgument);
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].field, "secret");
    }
}
