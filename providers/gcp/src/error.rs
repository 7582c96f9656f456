//! Google Cloud's errors in the broker's classes and words.
//!
//! The SDK's own error is never kept, nor what the server wrote: it may repeat what was sent, and names projects and URLs.

use std::{error::Error as StdError, time::Duration};

use google_cloud_gax::error::{
    CredentialsError, Error,
    rpc::{Code, Status, StatusDetails},
};
use http::HeaderMap;
use jiff::fmt::rfc2822;
use leasehold_core::{
    Timestamp,
    provider::{ErrorClass, ProviderError},
};

/// What was asked of Google Cloud, as its own documentation calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Access,
    Add,
    Get,
    List,
    Secret,
    Disable,
    Enable,
    Destroy,
    Permissions,
    AccessToken,
    IdToken,
}

/// Why a call failed, as far as it matters what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The broker's own credentials could not be had.
    SignIn,
    /// They were refused; how far this machine's clock is ahead of Google's, when that is known.
    Unauthenticated { ahead: Option<jiff::SignedDuration> },
    /// They are good and do not suffice.
    Denied,
    /// They are good and limited to other uses (scopes of the machine's service account).
    Scopes,
    /// A service perimeter is in between.
    Perimeter,
    /// The service is not enabled in the project.
    Disabled,
    /// The project is not there, or is none.
    Project,
    /// The version is in another state than the call needs, or is another than it was.
    Precondition,
    /// There is nobody, or not in time.
    Unreachable,
    /// There is somebody whose certificate is not trusted.
    Untrusted,
    /// Anything else: the class says enough.
    Other,
}

/// A failed call.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    pub(crate) error: ProviderError,
}

/// The longest hint that is believed.
const LONGEST_HINT: Duration = Duration::from_secs(3_600);

/// How far two clocks may be apart without that being the reason.
const SKEW: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Access => "accessing a version",
            Self::Add => "adding a version",
            Self::Get => "looking at a version",
            Self::List => "listing versions",
            Self::Secret => "looking at the secret",
            Self::Disable => "disabling a version",
            Self::Enable => "enabling a version",
            Self::Destroy => "destroying a version",
            Self::Permissions => "testing permissions",
            Self::AccessToken => "making an access token",
            Self::IdToken => "making an identity token",
        }
    }

    /// The permission that it needs.
    pub(crate) fn permission(self) -> Option<&'static str> {
        Some(match self {
            Self::Access => "secretmanager.versions.access",
            Self::Add => "secretmanager.versions.add",
            Self::Get => "secretmanager.versions.get",
            Self::List => "secretmanager.versions.list",
            Self::Secret => "secretmanager.secrets.get",
            Self::Disable => "secretmanager.versions.disable",
            Self::Enable => "secretmanager.versions.enable",
            Self::Destroy => "secretmanager.versions.destroy",
            Self::AccessToken => "iam.serviceAccounts.getAccessToken",
            Self::IdToken => "iam.serviceAccounts.getOpenIdToken",
            Self::Permissions => return None,
        })
    }

    /// Whether it may be made again without knowing whether it was done.
    pub(crate) fn is_safe(self) -> bool {
        // Not idempotent: each makes another version.
        self != Self::Add
    }

    const fn service(self) -> &'static str {
        match self {
            Self::AccessToken | Self::IdToken => "iamcredentials.googleapis.com",
            _ => "secretmanager.googleapis.com",
        }
    }
}

impl Failure {
    pub(crate) fn new(cause: Cause, class: ErrorClass, call: Call, subject: &str, why: &str) -> Self {
        Self { cause, error: ProviderError::new(class, format!("`{subject}`, {}: {why}", call.name())) }
    }

    /// Nothing came in time.
    pub(crate) fn late(call: Call, subject: &str) -> Self {
        let why = "Google Cloud did not answer in time";
        Self::new(Cause::Unreachable, ErrorClass::Transient, call, subject, why)
    }

    /// An answer that is none.
    pub(crate) fn odd(call: Call, subject: &str, what: &str) -> Self {
        Self::new(Cause::Other, ErrorClass::Permanent, call, subject, &format!("the answer has no {what}"))
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// The broker's error for the SDK's. `subject` is the secret's or the role's name.
pub(crate) fn classify(call: Call, subject: &str, error: &Error, now: Timestamp) -> Failure {
    let (cause, class, why) = if let Some(status) = error.status() {
        let (cause, class) = of_code(call, status);
        (cause, class, words(call, cause, class, status))
    } else if error.is_authentication() {
        let (class, why) = own_credentials(error);
        (Cause::SignIn, class, why)
    } else if let Some(status) = error.http_status_code() {
        let (cause, class) = of_http(status);
        (cause, class, format!("something on the way answered with HTTP status {status}"))
    } else {
        let (cause, class, why) = unanswered(error);
        (cause, class, why.to_owned())
    };
    let mut cause = cause;
    let mut why = why;
    if let Cause::Unauthenticated { ahead } = &mut cause {
        *ahead = error.http_headers().and_then(|headers| ahead_of(headers, now));
        if let Some(ahead) = ahead {
            why = format!("{why}; this machine's clock is {} Google's", apart(*ahead));
        }
    }
    let mut failure = Failure::new(cause, class, call, subject, &why);
    if class.is_retryable() {
        failure.error = failure.error.retry_after(hint(error));
    }
    failure
}

/// By `google.rpc.Code`, and by the reason of `google.rpc.ErrorInfo` (<https://cloud.google.com/apis/design/errors>,
/// `google/api/error_reason.proto`).
fn of_code(call: Call, status: &Status) -> (Cause, ErrorClass) {
    use ErrorClass::{Absent, Denied, Invalid, Permanent, Throttled, Transient};
    let reason = reason(status).unwrap_or_default();
    match reason {
        "SERVICE_DISABLED" => return (Cause::Disabled, Permanent),
        "BILLING_DISABLED" => return (Cause::Disabled, Permanent),
        "CONSUMER_INVALID" | "CONSUMER_SUSPENDED" | "RESOURCE_PROJECT_INVALID" => {
            return (Cause::Project, Permanent);
        }
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT" => return (Cause::Scopes, Denied),
        "SECURITY_POLICY_VIOLATED" => return (Cause::Perimeter, Denied),
        "RATE_LIMIT_EXCEEDED" | "RESOURCE_QUOTA_EXCEEDED" => return (Cause::Other, Throttled),
        _ => {}
    }
    match status.code {
        Code::InvalidArgument | Code::OutOfRange | Code::AlreadyExists => (Cause::Other, Invalid),
        Code::NotFound => (Cause::Other, Absent),
        Code::PermissionDenied => (Cause::Denied, Denied),
        Code::Unauthenticated => (Cause::Unauthenticated { ahead: None }, Denied),
        Code::ResourceExhausted => (Cause::Other, Throttled),
        Code::FailedPrecondition if call == Call::Access => (Cause::Precondition, Absent),
        Code::FailedPrecondition => (Cause::Precondition, Invalid),
        Code::Aborted => (Cause::Precondition, Transient),
        Code::Unimplemented => (Cause::Other, Permanent),
        _ => (Cause::Other, Transient),
    }
}

/// An answer without a status of Google's own: of a proxy, or an emulator.
fn of_http(status: u16) -> (Cause, ErrorClass) {
    match status {
        401 => (Cause::Unauthenticated { ahead: None }, ErrorClass::Denied),
        403 => (Cause::Denied, ErrorClass::Denied),
        404 => (Cause::Other, ErrorClass::Absent),
        429 => (Cause::Other, ErrorClass::Throttled),
        408 | 500..=599 => (Cause::Other, ErrorClass::Transient),
        _ => (Cause::Other, ErrorClass::Permanent),
    }
}

fn words(call: Call, cause: Cause, class: ErrorClass, status: &Status) -> String {
    match cause {
        Cause::Denied => match call.permission() {
            Some(permission) => format!("the broker lacks the permission {permission}, or it does not exist"),
            None => "the broker may not".to_owned(),
        },
        Cause::Unauthenticated { .. } => "the broker's credentials are refused".to_owned(),
        Cause::Scopes => {
            "the broker's credentials are limited to other scopes than cloud-platform".to_owned()
        }
        Cause::Perimeter => "a VPC Service Controls perimeter forbids it".to_owned(),
        Cause::Disabled => format!("{} is not enabled in the project", call.service()),
        Cause::Project => "there is no such project, or it is suspended".to_owned(),
        Cause::Precondition if call == Call::Access => {
            let state = ["DISABLED", "DESTROYED"].into_iter().find(|state| status.message.contains(state));
            match state {
                Some("DISABLED") => "the version is disabled".to_owned(),
                Some(_) => "the version is destroyed".to_owned(),
                None => "the version is disabled or destroyed".to_owned(),
            }
        }
        Cause::Precondition => "it is in another state, or somebody else changed it".to_owned(),
        _ => match class {
            ErrorClass::Absent => "there is no such secret or version".to_owned(),
            ErrorClass::Throttled => "too many requests: a quota is used up".to_owned(),
            ErrorClass::Invalid => format!("refused as {}", status.code.name()),
            _ => format!("Google Cloud answered {}", status.code.name()),
        },
    }
}

/// Why the broker has no credentials. The token service's own words are left out: they may repeat what it was sent.
fn own_credentials(error: &Error) -> (ErrorClass, String) {
    let transient = chain(error)
        .find_map(|cause| cause.downcast_ref::<CredentialsError>())
        .is_some_and(|e| e.is_transient());
    let said = chain(error).map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let why = sign_in_words(&said);
    let class = if transient { ErrorClass::Transient } else { ErrorClass::Denied };
    (class, format!("the broker cannot sign in: {why}"))
}

/// What is known to be harmless of what a token service says: the error codes of RFC 6749, section 5.2, and RFC 8693.
pub(crate) fn sign_in_words(said: &str) -> String {
    let code = [
        "invalid_grant",
        "invalid_client",
        "invalid_target",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
        "access_denied",
    ]
    .into_iter()
    .find(|code| said.contains(code));
    match code {
        Some(code) => format!("the token service answered {code}"),
        None if said.contains("certificate") => "the token service's certificate is not trusted".to_owned(),
        // The system's words, which the SDK repeats, and the standard library's, which we do.
        None if said.contains("No such file") || said.contains("entity not found") => {
            "a file that the credentials name is not there".to_owned()
        }
        None if said.contains("Permission denied") || said.contains("permission denied") => {
            "a file that the credentials name cannot be read".to_owned()
        }
        None if said.contains("error sending request") || said.contains("connect") => {
            "the token service or the metadata server cannot be reached".to_owned()
        }
        None => "the token service refuses, or the credentials are not what it expects".to_owned(),
    }
}

fn unanswered(error: &Error) -> (Cause, ErrorClass, &'static str) {
    if chain(error).any(|cause| cause.to_string().contains("certificate")) {
        return (
            Cause::Untrusted,
            ErrorClass::Transient,
            "the certificate of the endpoint is not trusted by this machine",
        );
    }
    if error.is_timeout() || error.is_exhausted() {
        (Cause::Unreachable, ErrorClass::Transient, "Google Cloud did not answer in time")
    } else if error.is_connect() {
        (Cause::Unreachable, ErrorClass::Transient, "Google Cloud cannot be reached")
    } else if error.is_deserialization() {
        (Cause::Other, ErrorClass::Transient, "the answer cannot be read")
    } else if error.is_binding() || error.is_serialization() {
        (Cause::Other, ErrorClass::Invalid, "it cannot be asked so")
    } else {
        (Cause::Unreachable, ErrorClass::Transient, "the connection was cut, or the answer")
    }
}

/// When to ask again: `google.rpc.RetryInfo`, else `Retry-After` in seconds (RFC 9110, section 10.2.3).
fn hint(error: &Error) -> Option<Duration> {
    let told = error.status().and_then(|status| {
        status.details.iter().find_map(|detail| match detail {
            StatusDetails::RetryInfo(info) => {
                let delay = info.retry_delay.as_ref()?;
                Some(Duration::new(u64::try_from(delay.seconds()).ok()?, u32::try_from(delay.nanos()).ok()?))
            }
            _ => None,
        })
    });
    let header = || error.http_headers()?.get("retry-after")?.to_str().ok()?.trim().parse().ok();
    told.or_else(|| header().map(Duration::from_secs)).map(|hint| hint.min(LONGEST_HINT))
}

fn reason(status: &Status) -> Option<&str> {
    status.details.iter().find_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) => Some(&*info.reason),
        _ => None,
    })
}

/// How far this machine's clock is ahead of the server's `Date` (RFC 9110, section 6.6.1), when that is far.
fn ahead_of(headers: &HeaderMap, now: Timestamp) -> Option<jiff::SignedDuration> {
    let date = headers.get("date")?.to_str().ok()?;
    let theirs = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    let ahead = now.duration_since(theirs);
    (ahead.abs() > SKEW).then_some(ahead)
}

/// Two clocks, in words.
pub(crate) fn apart(ahead: jiff::SignedDuration) -> String {
    let way = if ahead.is_positive() { "ahead of" } else { "behind" };
    format!("{} s {way}", ahead.abs().as_secs())
}

fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code, message: &str, detail: Option<serde_json::Value>) -> Error {
        let details: Vec<StatusDetails> =
            detail.into_iter().map(|detail| serde_json::from_value(detail).unwrap()).collect();
        let status = Status::default().set_code(code).set_message(message).set_details(details);
        Error::service_with_http_metadata(status, Some(400), None)
    }

    fn of(call: Call, error: &Error) -> Failure {
        classify(call, "db", error, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn codes_have_their_classes_and_no_message_is_repeated() {
        use ErrorClass::*;
        for (call, code, class) in [
            (Call::Access, Code::NotFound, Absent),
            (Call::Access, Code::PermissionDenied, Denied),
            (Call::Access, Code::Unauthenticated, Denied),
            (Call::Access, Code::ResourceExhausted, Throttled),
            (Call::Access, Code::FailedPrecondition, Absent),
            (Call::Disable, Code::FailedPrecondition, Invalid),
            (Call::Disable, Code::Aborted, Transient),
            (Call::Add, Code::InvalidArgument, Invalid),
            (Call::Access, Code::Unavailable, Transient),
            (Call::Access, Code::Internal, Transient),
            (Call::Access, Code::Unimplemented, Permanent),
        ] {
            let failure = of(call, &refused(code, "canary-message", None));
            assert_eq!(failure.error.class, class, "{call:?} {code:?}");
            assert!(!format!("{} {:?}", failure.error, failure.error).contains("canary"), "{failure:?}");
        }
    }

    #[test]
    fn reasons_come_before_codes() {
        for (reason, cause) in [
            ("SERVICE_DISABLED", Cause::Disabled),
            ("CONSUMER_INVALID", Cause::Project),
            ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", Cause::Scopes),
            ("SECURITY_POLICY_VIOLATED", Cause::Perimeter),
            ("IAM_PERMISSION_DENIED", Cause::Denied),
        ] {
            let detail = serde_json::json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com",
            });
            let failure = of(Call::Access, &refused(Code::PermissionDenied, "", Some(detail)));
            assert_eq!(failure.cause, cause, "{reason}");
        }
    }

    #[test]
    fn a_version_that_cannot_be_read_says_which_way() {
        let said =
            |message| of(Call::Access, &refused(Code::FailedPrecondition, message, None)).error.to_string();
        assert!(said("it is in DISABLED state.").ends_with("the version is disabled"));
        assert!(said("it is in DESTROYED state.").ends_with("the version is destroyed"));
        assert!(said("no").ends_with("the version is disabled or destroyed"));
    }

    #[test]
    fn what_a_token_service_says_is_not_repeated() {
        let said = |text| sign_in_words(text);
        assert_eq!(
            said("body=<{\"error\":\"invalid_grant\",\"t\":\"canary\"}>"),
            "the token service answered invalid_grant"
        );
        assert!(!said("canary").contains("canary"));
    }
}
