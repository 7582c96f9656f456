//! Why a call failed, by what a caller can do about it. No text here ever holds a secret's value.

use std::{error::Error as StdError, time::Duration};

use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{ConnectError, CredentialError, InvalidAddress, explanation::Explanation};

/// Why a call failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The broker's address makes no sense.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// The client's own certificate, key or trust bundle cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Something that a connection needs was not given.
    #[error("{what} is missing: {way_out}")]
    Missing {
        /// What.
        what: &'static str,
        /// How to give it.
        way_out: &'static str,
    },
    /// There is no connection.
    #[error(transparent)]
    Connect(ConnectError),
    /// Policy does not allow it, or there is no such secret or lease. The broker gives one answer for both, so that nobody
    /// learns what exists.
    #[error("not allowed, or no such thing")]
    Denied {
        /// What the broker said.
        answer: Answer,
    },
    /// The broker no longer takes the client's certificate.
    #[error("the broker does not accept this identity: {}", answer.message)]
    Identity {
        /// What the broker said.
        answer: Answer,
    },
    /// The request is not what it must be.
    #[error("the broker cannot take the request: {}", listed(&answer.message, violations))]
    Invalid {
        /// What the broker said.
        answer: Answer,
        /// Every field that is wrong.
        violations: Vec<Violation>,
    },
    /// The state of the lease, of the secret or of its back end does not allow it; the same request will not work later
    /// by itself.
    #[error("{}", answer.message)]
    Refused {
        /// What the broker said.
        answer: Answer,
    },
    /// Asked too often: of the broker, or by it of a back end.
    #[error("asked too often: {}", answer.message)]
    Throttled {
        /// When it makes sense to try again.
        retry_after: Option<Duration>,
        /// What the broker said.
        answer: Answer,
    },
    /// As many leases are live, or streams open, as the broker's limits allow: some have to be given back first.
    #[error("too many at a time: {}", answer.message)]
    QuotaExceeded {
        /// What the broker said.
        answer: Answer,
    },
    /// The broker, or what it needs, cannot answer now.
    #[error("not available now: {}", answer.message)]
    Unavailable {
        /// What the broker said, and when to try again.
        answer: Answer,
    },
    /// The broker failed.
    #[error("the broker failed: {}", answer.message)]
    Failed {
        /// What the broker said.
        answer: Answer,
    },
    /// The broker answered something that this version does not understand.
    #[error("the broker's answer cannot be understood: {0}")]
    Answer(String),
}

/// What the broker said with a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The stable reason (`google.rpc.ErrorInfo`), such as `LEASE_EXPIRED`; absent when it was no broker that spoke.
    pub reason: Option<Box<str>>,
    /// A sentence for people.
    pub message: String,
    /// When it makes sense to try again (`google.rpc.RetryInfo`).
    pub retry_after: Option<Duration>,
    /// The configured name of the back end that it is about, when it is about one.
    pub provider: Option<Box<str>>,
    /// The broker's own name for the call (`google.rpc.RequestInfo`), for the audit journal.
    pub request_id: Option<Box<str>>,
    /// Why policy denied it, when policy lets the caller know.
    pub explanation: Option<Box<Explanation>>,
}

/// One field of a request that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's name in the request.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Error {
    /// The broker's stable reason, such as `DENIED_OR_NOT_FOUND`.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Denied { .. } => Some("DENIED_OR_NOT_FOUND"),
            _ => self.answer()?.reason.as_deref(),
        }
    }

    /// When it makes sense to try again, if the broker said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.answer()?.retry_after
    }

    /// The configured name of the back end that it is about, when it is about one.
    pub fn provider(&self) -> Option<&str> {
        self.answer()?.provider.as_deref()
    }

    /// The broker's own name for the call (`google.rpc.RequestInfo`): by it, whoever reads the audit journal finds what was
    /// denied or failed, and why. Absent when it was no broker that spoke.
    pub fn request_id(&self) -> Option<&str> {
        self.answer()?.request_id.as_deref()
    }

    /// Why policy denied it: for callers whom policy lets know (`ExplainDenial`), and nothing for all others.
    pub fn explanation(&self) -> Option<&Explanation> {
        self.answer()?.explanation.as_deref()
    }

    fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Denied { answer }
            | Self::Identity { answer }
            | Self::Invalid { answer, .. }
            | Self::Refused { answer }
            | Self::Throttled { answer, .. }
            | Self::QuotaExceeded { answer }
            | Self::Unavailable { answer }
            | Self::Failed { answer } => Some(answer),
            _ => None,
        }
    }
}

impl From<tonic::transport::Error> for Error {
    fn from(error: tonic::transport::Error) -> Self {
        match connect_error(&error) {
            Some(fault) => Self::Connect(fault),
            None => Self::Unavailable { answer: Answer::of(deepest(&error)) },
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        if let Some(fault) = connect_error(&status) {
            return Self::Connect(fault);
        }
        let details = status.get_error_details();
        let answer = Answer {
            reason: details.error_info().map(|info| info.reason.as_str().into()),
            message: status.message().to_owned(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            provider: details
                .error_info()
                .and_then(|info| info.metadata.get("provider").cloned().map(Into::into)),
            request_id: details.request_info().map(|info| info.request_id.as_str().into()),
            explanation: details.error_info().and_then(|info| Explanation::of(&info.metadata)).map(Box::new),
        };
        match status.code() {
            // No broker said this: the connection broke under the call.
            Code::Unknown | Code::Internal if answer.reason.is_none() && status.source().is_some() => {
                Self::Unavailable { answer }
            }
            Code::PermissionDenied => Self::Denied { answer },
            Code::Unauthenticated => Self::Identity { answer },
            Code::InvalidArgument | Code::OutOfRange => {
                let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
                let violations = violations.unwrap_or_default().iter().map(|violation| Violation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                });
                Self::Invalid { answer, violations: violations.collect() }
            }
            Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists | Code::NotFound => {
                Self::Refused { answer }
            }
            Code::Unimplemented if answer.reason.is_some() => Self::Refused { answer },
            // A full journal is not the caller's doing, and slowing down would not help.
            Code::ResourceExhausted if answer.reason.as_deref() == Some("JOURNAL_FULL") => {
                Self::Unavailable { answer }
            }
            Code::ResourceExhausted => match answer.reason.as_deref() {
                Some("QUOTA_EXCEEDED" | "TOO_MANY_STREAMS") => Self::QuotaExceeded { answer },
                _ => Self::Throttled { retry_after: answer.retry_after, answer },
            },
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Self::Unavailable { answer },
            Code::Unimplemented => Self::Answer(format!("it does not know the call ({})", answer.message)),
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Self::Failed { answer },
        }
    }
}

impl Answer {
    fn of(message: String) -> Self {
        Self { message, ..Self::default() }
    }
}

/// The connector's own error within tonic's wrapping, which has no other way to it.
fn connect_error(error: &(dyn StdError + 'static)) -> Option<ConnectError> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<ConnectError>())
        .cloned()
}

/// What the innermost error says: the outer ones only say that there is an inner one.
fn deepest(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source())
        .last()
        .map_or_else(String::new, ToString::to_string)
}

fn listed(message: &str, violations: &[Violation]) -> String {
    if violations.is_empty() {
        return message.to_owned();
    }
    let each = violations.iter().map(|Violation { field, description }| format!("{field}: {description}"));
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    fn status(code: Code, reason: &str, details: impl FnOnce(&mut ErrorDetails)) -> Error {
        let mut all = ErrorDetails::new();
        all.set_error_info(reason, "leasehold.dev", std::collections::HashMap::new());
        details(&mut all);
        Status::with_error_details(code, "said the broker", all).into()
    }

    #[test]
    fn each_answer_has_its_kind_and_its_line() {
        let cases = [
            (
                status(Code::PermissionDenied, "DENIED_OR_NOT_FOUND", |_| ()),
                "not allowed, or no such thing",
                None,
            ),
            (
                status(Code::InvalidArgument, "INVALID_REQUEST", |all| {
                    all.add_bad_request_violation("secret", "too short");
                    all.add_bad_request_violation("ttl", "at least 1 s");
                }),
                "the broker cannot take the request: secret: too short; ttl: at least 1 s",
                None,
            ),
            (status(Code::FailedPrecondition, "LEASE_EXPIRED", |_| ()), "said the broker", None),
            (
                status(Code::ResourceExhausted, "PROVIDER_THROTTLED", |all| {
                    all.set_retry_info(Some(Duration::from_secs(3)));
                }),
                "asked too often: said the broker",
                Some(Duration::from_secs(3)),
            ),
            (
                status(Code::ResourceExhausted, "QUOTA_EXCEEDED", |_| ()),
                "too many at a time: said the broker",
                None,
            ),
            (
                status(Code::ResourceExhausted, "JOURNAL_FULL", |_| ()),
                "not available now: said the broker",
                None,
            ),
            (
                status(Code::Unauthenticated, "IDENTITY_EXPIRED", |_| ()),
                "the broker does not accept this identity: said the broker",
                None,
            ),
            (status(Code::Internal, "INTERNAL", |_| ()), "the broker failed: said the broker", None),
        ];
        for (error, line, retry) in cases {
            assert_eq!(error.to_string(), line);
            assert_eq!(error.retry_after(), retry, "{line}");
            assert!(error.reason().is_some(), "{line}");
        }
    }

    #[test]
    fn a_refusal_says_in_which_call_it_was() {
        let error = status(Code::PermissionDenied, "DENIED_OR_NOT_FOUND", |all| {
            all.set_request_info("call-a", "");
        });
        assert_eq!(error.request_id(), Some("call-a"));
    }

    #[test]
    fn a_back_ends_failure_says_which_back_end() {
        let mut details = ErrorDetails::new();
        let metadata = std::collections::HashMap::from([("provider".to_owned(), "aws-main".to_owned())]);
        details.set_error_info("PROVIDER_UNAVAILABLE", "leasehold.dev", metadata);
        let error = Error::from(Status::with_error_details(Code::Unavailable, "no answer", details));
        assert_eq!(error.provider(), Some("aws-main"));
    }
}
