//! AWS's errors in the broker's classes and words.
//!
//! The SDK's own error is never kept: its `Debug` shows the raw answer, which may hold a value. What AWS says is shown
//! without account numbers and URLs.

mod trouble;

use std::{error::Error, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use http_body_util::LengthLimitError;
use leasehold_core::provider::{ErrorClass, ProviderError};
use thiserror::Error as ThisError;

pub(crate) use self::trouble::Trouble;

/// Something was about to be sent in clear to another machine.
#[derive(Debug, ThisError)]
#[error("the AWS endpoint is plain HTTP to another machine: use https, or say `allow_plaintext = true`")]
pub(crate) struct PlaintextRefused;

/// What was asked of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    GetSecretValue,
    PutSecretValue,
    UpdateSecretVersionStage,
    DescribeSecret,
    ListSecretVersionIds,
    DeleteSecret,
    RestoreSecret,
    RotateSecret,
    GetRandomPassword,
    GetParameter,
    GetParameterHistory,
    AssumeRole,
    GetSessionToken,
    GetCallerIdentity,
}

/// The broker's error for the SDK's.
pub(crate) fn classify<E>(call: Call, subject: &str, error: &SdkError<E, HttpResponse>) -> ProviderError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let hint = error.raw_response().and_then(retry_hint);
    let (class, trouble, why) = match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let (code, message) = (service.err().code(), service.err().message());
            let class = class_of(call, code, message, status);
            let said = match (code, status) {
                (Some(code), _) => clean(code),
                (None, 200..=299) => "what cannot be read".to_owned(),
                (None, _) => format!("HTTP {status}"),
            };
            // A write's message is left out: it may repeat what was written.
            let said = match message {
                Some(message) if call != Call::PutSecretValue => format!("{said}: {}", clean(message)),
                _ => said,
            };
            (class, Trouble::answered(class, code, message), format!("AWS answered {said}"))
        }
        SdkError::TimeoutError(_) => {
            (ErrorClass::Transient, Some(Trouble::Unreachable), "AWS did not answer in time".to_owned())
        }
        // A refusal in another form than the service's own still has its status.
        SdkError::ResponseError(answer) if matches!(answer.raw().status().as_u16(), 401 | 403 | 429) => {
            let status = answer.raw().status().as_u16();
            let class = class_of(call, None, None, status);
            (class, Trouble::answered(class, None, None), format!("AWS answered HTTP {status}"))
        }
        SdkError::ResponseError(_) if find::<LengthLimitError>(error).is_some() => {
            (ErrorClass::Permanent, None, "AWS's answer is larger than any that it documents".to_owned())
        }
        SdkError::ResponseError(_) => {
            (ErrorClass::Transient, None, "AWS's answer was cut or could not be read".to_owned())
        }
        other => unsent(other),
    };
    let clock = match trouble {
        Some(Trouble::Clock) => "; the clocks differ, this machine's and AWS's",
        _ => "",
    };
    let error = ProviderError::new(class, masked(&format!("{call:?} of `{subject}`: {why}{clock}")));
    let error = error.retry_after(hint.filter(|_| class.is_retryable()));
    match trouble {
        Some(trouble) => error.caused_by(trouble),
        None => error,
    }
}

/// The class of an answer: by its code, else by its status.
fn class_of(call: Call, code: Option<&str>, message: Option<&str>, status: u16) -> ErrorClass {
    let says = |words: &str| message.is_some_and(|message| message.contains(words));
    match code {
        Some("ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound") => {
            ErrorClass::Absent
        }
        // A read says so of a secret that is scheduled for deletion; a write also of one that another service owns.
        Some("InvalidRequestException") => {
            if call == Call::GetSecretValue || says("delet") {
                ErrorClass::Absent
            } else {
                ErrorClass::Permanent
            }
        }
        Some(
            "InvalidParameterException"
            | "ValidationException"
            | "ValidationError"
            | "ResourceExistsException"
            | "InvalidNextTokenException",
        ) => ErrorClass::Invalid,
        Some(
            "AccessDeniedException"
            | "AccessDenied"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
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
            | "RequestExpired"
            | "RequestTimeTooSkewed",
        ) => ErrorClass::Denied,
        Some(
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "PriorRequestNotComplete"
            | "SlowDown",
        ) => ErrorClass::Throttled,
        Some(
            "InternalServiceError"
            | "InternalServerError"
            | "InternalFailure"
            | "ServiceUnavailable"
            | "RequestTimeout"
            | "IDPCommunicationError",
        ) => ErrorClass::Transient,
        Some(
            "DecryptionFailure"
            | "EncryptionFailure"
            | "InvalidKeyId"
            | "LimitExceededException"
            | "PreconditionNotMetException"
            | "PublicPolicyException"
            | "MalformedPolicyDocumentException"
            | "MalformedPolicyDocument"
            | "PackedPolicyTooLarge"
            | "RegionDisabledException",
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
fn unsent(error: &(dyn Error + 'static)) -> (ErrorClass, Option<Trouble>, String) {
    if let Some(refused) = find::<PlaintextRefused>(error) {
        return (ErrorClass::Permanent, None, refused.to_string());
    }
    let Some(identity) = find::<CredentialsError>(error) else {
        let why = causes(error);
        return (ErrorClass::Transient, Some(Trouble::unsent(&why)), why);
    };
    // The broker's own role could not be taken on: that was classed already.
    if let Some(known) = find::<ProviderError>(identity) {
        let trouble = Trouble::of(known).unwrap_or(Trouble::NoCredentials);
        return (known.class, Some(trouble), format!("the broker has no AWS credentials: {known}"));
    }
    let class = match identity {
        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => ErrorClass::Transient,
        CredentialsError::InvalidConfiguration(_) => ErrorClass::Permanent,
        _ => ErrorClass::Denied,
    };
    let why = format!("the broker has no AWS credentials: {}", missing(identity));
    (class, Some(Trouble::NoCredentials), why)
}

/// What is wrong with credentials, for people.
pub(crate) fn without_credentials(error: &CredentialsError) -> String {
    let known = find::<ProviderError>(error).map(ToString::to_string);
    known.unwrap_or_else(|| masked(&missing(error)))
}

/// The SDK lists each place where it found none, in words that name neither variable nor file.
fn missing(error: &CredentialsError) -> String {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => NOWHERE.to_owned(),
        _ => causes(error),
    }
}

const NOWHERE: &str = "neither in the environment nor in the profile, and there is no web identity, container or instance \
                       role";

pub(crate) fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
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

/// Without account numbers (twelve digits that stand alone) and without URLs.
pub(crate) fn masked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        let url = word.split_once("://").and_then(|(before, after)| {
            Some((before.strip_suffix("https").or_else(|| before.strip_suffix("http"))?, after))
        });
        match url {
            Some((before, after)) => {
                shown.push_str(before);
                let quote = |c: char| matches!(c, '`' | '\'' | '"' | '(' | ')' | ',') || c.is_whitespace();
                shown.push_str("<url>");
                shown.push_str(after.find(quote).and_then(|at| after.get(at..)).unwrap_or_default());
            }
            None => mask_accounts(word, &mut shown),
        }
    }
    shown
}

fn mask_accounts(word: &str, shown: &mut String) {
    let within = |c: char| c.is_ascii_alphanumeric() || c == '-';
    for part in word.split_inclusive(|c| !within(c)) {
        let bare = part.trim_end_matches(|c| !within(c));
        if bare.len() == 12 && bare.bytes().all(|b| b.is_ascii_digit()) {
            shown.push_str("<account>");
            shown.push_str(part.get(bare.len()..).unwrap_or_default());
        } else {
            shown.push_str(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_before_statuses() {
        use Call::*;
        use ErrorClass::*;
        for (call, code, status, class) in [
            (GetSecretValue, Some("ResourceNotFoundException"), 400, Absent),
            (GetSecretValue, Some("InvalidRequestException"), 400, Absent),
            (PutSecretValue, Some("InvalidRequestException"), 400, Permanent),
            (GetSecretValue, Some("AccessDeniedException"), 400, Denied),
            (GetSecretValue, Some("ThrottlingException"), 400, Throttled),
            (GetSecretValue, Some("InternalServiceError"), 500, Transient),
            (GetSecretValue, Some("DecryptionFailure"), 400, Permanent),
            (PutSecretValue, Some("ResourceExistsException"), 400, Invalid),
            (PutSecretValue, Some("LimitExceededException"), 400, Permanent),
            (GetParameter, Some("ParameterVersionNotFound"), 400, Absent),
            (AssumeRole, Some("ValidationError"), 400, Invalid),
            (AssumeRole, Some("PackedPolicyTooLarge"), 400, Permanent),
            (AssumeRole, Some("AccessDenied"), 403, Denied),
            (GetSecretValue, Some("SomethingNew"), 503, Transient),
            (GetSecretValue, Some("SomethingNew"), 400, Permanent),
            (GetSecretValue, None, 403, Denied),
            (GetSecretValue, None, 429, Throttled),
            (GetSecretValue, None, 502, Transient),
        ] {
            assert_eq!(class_of(call, code, None, status), class, "{code:?} {status}");
        }
        let deleted = Some("the secret is marked for deletion");
        assert_eq!(class_of(PutSecretValue, Some("InvalidRequestException"), deleted, 400), Absent);
    }

    #[test]
    fn accounts_and_urls_are_not_shown() {
        for (said, shown) in [
            (
                "User: arn:aws:iam::123456789012:user/x may not sts:AssumeRole on arn:aws:iam::210987654321:role/y",
                "User: arn:aws:iam::<account>:user/x may not sts:AssumeRole on arn:aws:iam::<account>:role/y",
            ),
            ("account 123456789012", "account <account>"),
            ("version 11111111-2222-4333-8444-555555555555", "version 11111111-2222-4333-8444-555555555555"),
            ("see (https://a.example/x?y=z), now", "see (<url>), now"),
            ("http://169.254.169.254/latest", "<url>"),
            ("1234567890123 x", "1234567890123 x"),
        ] {
            assert_eq!(masked(said), shown);
        }
    }
}
