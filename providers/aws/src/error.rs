//! AWS's errors in the broker's classes.
//!
//! The SDK's own error is never kept: its `Debug` shows the raw answer, which may hold a value.

use std::{error::Error, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use leasehold_core::provider::{ErrorClass, ProviderError};
use thiserror::Error as ThisError;

/// Something was about to be sent in clear to another machine.
#[derive(Debug, ThisError)]
#[error("the AWS endpoint is plain HTTP to another machine: use https, or say `allow_plaintext = true`")]
pub(crate) struct PlaintextRefused;

/// What was asked of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `GetSecretValue`.
    Read,
    /// `PutSecretValue`.
    Write,
    /// `UpdateSecretVersionStage`.
    Promote,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "GetSecretValue",
            Self::Write => "PutSecretValue",
            Self::Promote => "UpdateSecretVersionStage",
        }
    }
}

/// The broker's error for the SDK's.
pub(crate) fn classify<E>(call: Call, secret: &str, error: SdkError<E, HttpResponse>) -> ProviderError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let name = call.name();
    let hint = error.raw_response().and_then(retry_hint);
    match &error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code();
            let message = service.err().message();
            let class = class_of(call, code, message, status);
            let code = match (code, status) {
                (Some(code), _) => clean(code),
                (None, 200..=299) => "what cannot be read".to_owned(),
                (None, _) => format!("HTTP {status}"),
            };
            // A write's message is left out: it may repeat what was written.
            let said = match message {
                Some(message) if call != Call::Write => format!(": {}", clean(message)),
                _ => String::new(),
            };
            ProviderError::new(class, format!("{name} of `{secret}`: AWS answered {code}{said}"))
                .retry_after(hint.filter(|_| class.is_retryable()))
        }
        SdkError::TimeoutError(_) => ProviderError::new(
            ErrorClass::Transient,
            format!("{name} of `{secret}`: AWS did not answer in time"),
        ),
        SdkError::ResponseError(_) => ProviderError::new(
            ErrorClass::Transient,
            format!("{name} of `{secret}`: AWS's answer was cut or could not be read"),
        )
        .retry_after(hint),
        other => {
            let (class, why) = unsent(other);
            ProviderError::new(class, format!("{name} of `{secret}`: {why}"))
        }
    }
}

/// The class of an answer: by its code, else by its status.
fn class_of(call: Call, code: Option<&str>, message: Option<&str>, status: u16) -> ErrorClass {
    match code {
        Some("ResourceNotFoundException") => ErrorClass::Absent,
        // A read says so of a secret that is scheduled for deletion; a write also of one that another service owns.
        Some("InvalidRequestException") => {
            let deleted = message.is_some_and(|message| message.contains("delet"));
            if call == Call::Read || deleted { ErrorClass::Absent } else { ErrorClass::Permanent }
        }
        Some(
            "InvalidParameterException"
            | "ValidationException"
            | "ResourceExistsException"
            | "InvalidNextTokenException",
        ) => ErrorClass::Invalid,
        Some(
            "AccessDeniedException"
            | "AccessDenied"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "ExpiredTokenException"
            | "ExpiredToken"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "NotAuthorized"
            | "OptInRequired"
            | "RequestExpired",
        ) => ErrorClass::Denied,
        Some(
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "SlowDown",
        ) => ErrorClass::Throttled,
        Some("InternalServiceError" | "InternalFailure" | "ServiceUnavailable" | "RequestTimeout") => {
            ErrorClass::Transient
        }
        Some(
            "DecryptionFailure"
            | "EncryptionFailure"
            | "LimitExceededException"
            | "PreconditionNotMetException"
            | "PublicPolicyException"
            | "MalformedPolicyDocumentException",
        ) => ErrorClass::Permanent,
        _ => match status {
            429 => ErrorClass::Throttled,
            401 | 403 => ErrorClass::Denied,
            // A success that cannot be read was not AWS's own, or was cut.
            200..=299 | 408 | 500..=599 => ErrorClass::Transient,
            _ => ErrorClass::Permanent,
        },
    }
}

/// When AWS, or what stands before it, wants to be asked again: `x-amz-retry-after` in milliseconds, `retry-after` in
/// seconds (RFC 9110, section 10.2.3; its date form is not used by AWS). At most an hour is believed.
pub(crate) fn retry_hint(response: &HttpResponse) -> Option<Duration> {
    let number = |name: &str| response.headers().get(name)?.trim().parse::<u64>().ok();
    let hint = number("x-amz-retry-after")
        .map(Duration::from_millis)
        .or_else(|| number("retry-after").map(Duration::from_secs))?;
    Some(hint.min(Duration::from_secs(3600)))
}

/// The class and the words for what failed before there was an answer: connections, credentials and endpoints, never values.
fn unsent(error: &(dyn Error + 'static)) -> (ErrorClass, String) {
    if let Some(refused) = find::<PlaintextRefused>(error) {
        return (ErrorClass::Permanent, refused.to_string());
    }
    let Some(identity) = find::<CredentialsError>(error) else {
        return (ErrorClass::Transient, causes(error));
    };
    let class = match identity {
        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => ErrorClass::Transient,
        CredentialsError::InvalidConfiguration(_) => ErrorClass::Permanent,
        _ => ErrorClass::Denied,
    };
    (class, format!("the broker has no AWS credentials: {}", causes(identity)))
}

fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause| (*cause).source())
}

fn causes(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = chain(error).map(|cause| clean(&cause.to_string())).collect();
    said.dedup();
    said.join(": ")
}

/// One line of at most 300 characters: what a server says goes into logs.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_before_statuses() {
        use ErrorClass::*;
        for (call, code, status, class) in [
            (Call::Read, Some("ResourceNotFoundException"), 400, Absent),
            (Call::Read, Some("InvalidRequestException"), 400, Absent),
            (Call::Write, Some("InvalidRequestException"), 400, Permanent),
            (Call::Read, Some("AccessDeniedException"), 400, Denied),
            (Call::Read, Some("ThrottlingException"), 400, Throttled),
            (Call::Read, Some("InternalServiceError"), 500, Transient),
            (Call::Read, Some("DecryptionFailure"), 400, Permanent),
            (Call::Write, Some("ResourceExistsException"), 400, Invalid),
            (Call::Write, Some("LimitExceededException"), 400, Permanent),
            (Call::Read, Some("SomethingNew"), 503, Transient),
            (Call::Read, Some("SomethingNew"), 400, Permanent),
            (Call::Read, None, 403, Denied),
            (Call::Read, None, 429, Throttled),
            (Call::Read, None, 502, Transient),
        ] {
            assert_eq!(class_of(call, code, None, status), class, "{code:?} {status}");
        }
        let deleted = Some("the secret is marked for deletion");
        assert_eq!(class_of(Call::Write, Some("InvalidRequestException"), deleted, 400), Absent);
    }
}
