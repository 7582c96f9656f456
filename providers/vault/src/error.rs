//! Vault's errors in the broker's classes and words.
//!
//! Nothing that the server or the SDK says is repeated: an engine's message may quote a statement with a password in it.

use std::error::Error;

use leasehold_core::provider::{ErrorClass, ProviderError};

use crate::answer::Refusal;

/// What was asked of Vault, for the words and for the few statuses that mean different things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// What kind of call it was.
    pub(crate) kind: Kind,
    /// A verb.
    pub(crate) verb: &'a str,
    /// The secret, the role or the method.
    pub(crate) on: &'a str,
}

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of a secret.
    Secret,
    /// For a token of the broker's own.
    SignIn,
    /// To have a credential rotated.
    Rotate,
    /// For a credential.
    Issue,
    /// To extend one, or to look one up.
    Lease,
    /// To end one.
    Revoke,
}

/// Why a call did not succeed.
pub(crate) enum Failure {
    /// The server said so.
    Refused(Refusal),
    /// It did not answer, or nobody asked it.
    Unanswered {
        /// In words.
        error: ProviderError,
        /// Whether it may have done what it was asked.
        sent: bool,
    },
}

impl Failure {
    /// What to do about it.
    pub(crate) fn into_error(self, call: Call<'_>) -> ProviderError {
        match self {
            Self::Refused(refusal) => classify(call, &refusal),
            Self::Unanswered { error, .. } => error,
        }
    }
}

impl Call<'_> {
    /// An error about this call.
    pub(crate) fn error(&self, class: ErrorClass, why: impl AsRef<str>) -> ProviderError {
        ProviderError::new(class, format!("{} `{}`: {}", self.verb, self.on, why.as_ref()))
    }

    /// The answer was a success and is not what it should be.
    pub(crate) fn odd(&self) -> ProviderError {
        self.error(ErrorClass::Transient, "Vault's answer was cut or is not Vault's")
    }
}

/// What Vault says of a lease or an accessor that it does not have any more.
pub(crate) const GONE: [&str; 5] =
    ["invalid accessor", "lease not found", "invalid lease", "lease expired", "token not found"];

/// The broker's error for a refusal.
pub(crate) fn classify(call: Call<'_>, refusal: &Refusal) -> ProviderError {
    use ErrorClass::{Absent, Denied, Invalid, Permanent, Throttled, Transient};
    let (class, why) = match refusal.status {
        300..=399 => (
            Permanent,
            "Vault redirects to a node that is not in `cluster`: name it there, or let standbys forward requests",
        ),
        400 if refusal.says(&["missing client token"]) => (Denied, "Vault got no token"),
        400 if refusal.says(&["upgrading from non-versioned"]) => {
            (Transient, "the KV engine is upgrading itself")
        }
        400 if refusal.says(&["check-and-set", "metadata check-and-set"]) => {
            (Invalid, "its version is not the one that was expected")
        }
        400 => match call.kind {
            Kind::Secret => (Invalid, "Vault refuses the request as it is"),
            Kind::SignIn => (Denied, "Vault does not accept these credentials or this role"),
            Kind::Rotate => (Permanent, "the engine has no such role or database, or refuses to rotate it"),
            Kind::Issue => (
                Permanent,
                "the engine refuses the request: look at the role's `path` and `parameters`, and into Vault's log",
            ),
            Kind::Lease if refusal.says(&GONE) => (Absent, "Vault has ended the credential"),
            Kind::Lease => (Permanent, "Vault does not extend this credential"),
            Kind::Revoke => {
                (Transient, "the engine could not end the credential: Vault's log has the reason")
            }
        },
        401 | 403 => match call.kind {
            Kind::SignIn => (Denied, "Vault does not accept these credentials, or not from here"),
            _ => (Denied, "the broker's policies do not allow it"),
        },
        // To take it for Vault's would be to take a credential that works for one that has ended.
        404 if !refusal.is_vaults() => {
            (Transient, "what answers there is not Vault: a proxy, or another server, has no such page")
        }
        404 if refusal.says(&["namespace not found"]) => (Permanent, "there is no such `namespace`"),
        404 if refusal.says(&["no handler for route", "unsupported path", "route entry not found"]) => {
            (Permanent, "nothing is mounted there in Vault, or not in this namespace")
        }
        404 => match call.kind {
            Kind::Secret => (Absent, "there is no such secret or version"),
            Kind::SignIn => (Permanent, "no such sign-in method is mounted in Vault"),
            Kind::Issue | Kind::Rotate => (Permanent, "the engine has no such role or path"),
            Kind::Lease | Kind::Revoke if refusal.says(&GONE) => (Absent, "Vault has ended the credential"),
            Kind::Lease | Kind::Revoke => (Permanent, "Vault does not know this call there"),
        },
        405 => (
            Permanent,
            "Vault does not know this call there: is it the right engine, and the right `method` of the role?",
        ),
        412 => (Transient, "the node has not caught up with the cluster"),
        413 => (Invalid, "it is larger than Vault takes"),
        429 => (Throttled, "Vault's rate limit is used up"),
        472 | 473 => (Transient, "the node is a standby that answers nothing"),
        503 if refusal.says(&["sealed"]) => (Transient, "Vault is sealed"),
        501 => (Transient, "Vault is not initialised"),
        500 if call.kind == Kind::Rotate && refusal.says(&["failed to find entry for connection"]) => {
            (Permanent, "the engine has no such database")
        }
        408 | 500..=599 => (Transient, "Vault failed: its log has the reason"),
        _ => (Permanent, "Vault answered with what nobody knows"),
    };
    let status = refusal.status;
    let error = call
        .error(class, format!("{why} (HTTP {status})"))
        .retry_after(refusal.retry_after.filter(|_| class.is_retryable()));
    // An engine whose database is gone keeps no secret of another engine from being read.
    let of_an_engine = matches!(call.kind, Kind::Rotate | Kind::Issue | Kind::Lease | Kind::Revoke);
    if of_an_engine && matches!(status, 400 | 500) && refusal.is_vaults() { error.behind() } else { error }
}

/// The words for what failed without an answer: no URL, no address, no header.
pub(crate) fn unanswered(call: Call<'_>, error: &reqwest::Error) -> Failure {
    let sent = !error.is_connect() && !error.is_builder();
    if let Some(tls) = find::<rustls::Error>(error) {
        let (class, why) = trust(tls);
        return Failure::Unanswered { error: call.error(class, why), sent: false };
    }
    let why = if error.is_timeout() {
        "Vault did not answer in time".to_owned()
    } else if let Some(io) = find::<std::io::Error>(error) {
        let what = if sent { "the connection to Vault broke" } else { "Vault cannot be reached" };
        format!("{what}: {}", io.kind())
    } else if sent {
        "the connection to Vault broke".to_owned()
    } else {
        "Vault cannot be reached".to_owned()
    };
    Failure::Unanswered { error: call.error(ErrorClass::Transient, why), sent }
}

/// What is wrong with TLS. A certificate that is not trusted needs a person; anything else may pass.
fn trust(error: &rustls::Error) -> (ErrorClass, String) {
    match error {
        rustls::Error::InvalidCertificate(why) => (
            ErrorClass::Permanent,
            format!(
                "Vault's certificate is not trusted ({why}): look at `ca_file`, and at the name in `address`"
            ),
        ),
        other => (ErrorClass::Transient, format!("TLS with Vault failed: {other}")),
    }
}

/// The first error of a type in a chain, those within `std::io::Error` included: it hides what it holds from `source`.
pub(crate) fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let held = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        if let Some(found) = held.and_then(|held| find(held)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_was_asked() {
        use ErrorClass::*;
        for (kind, status, said, class) in [
            (Kind::Secret, 400, "check-and-set parameter did not match the current version", Invalid),
            (Kind::Secret, 400, "Upgrading from non-versioned to versioned data.", Transient),
            (Kind::Secret, 403, "permission denied", Denied),
            (Kind::Secret, 404, "", Absent),
            (Kind::Lease, 404, "", Permanent),
            (Kind::Lease, 404, "invalid accessor", Absent),
            (Kind::Revoke, 404, "no handler for route", Permanent),
            (Kind::Secret, 404, "no handler for route \"x\"", Permanent),
            (Kind::Secret, 404, "namespace not found", Permanent),
            (Kind::Secret, 405, "unsupported operation", Permanent),
            (Kind::Secret, 412, "required index state not present", Transient),
            (Kind::Secret, 429, "request path \"x\": rate limit quota exceeded", Throttled),
            (Kind::Secret, 472, "", Transient),
            (Kind::Secret, 473, "", Transient),
            (Kind::Secret, 500, "internal error", Transient),
            (Kind::Secret, 502, "", Transient),
            (Kind::Secret, 503, "Vault is sealed", Transient),
            (Kind::Secret, 307, "", Permanent),
            (Kind::SignIn, 400, "invalid role or secret ID", Denied),
            (Kind::SignIn, 404, "", Permanent),
            (Kind::Rotate, 400, "no static role found for role name", Permanent),
            (Kind::Rotate, 500, "failed to find entry for connection with name: \"x\"", Permanent),
            (Kind::Rotate, 500, "unable to finish rotating credentials", Transient),
            (Kind::Issue, 400, "unknown role", Permanent),
            (Kind::Issue, 500, "failed to create user", Transient),
            (Kind::Lease, 400, "lease not found", Absent),
            (Kind::Lease, 400, "invalid lease", Absent),
            (Kind::Lease, 400, "lease is not renewable", Permanent),
            (Kind::Revoke, 400, "failed to revoke lease", Transient),
        ] {
            let errors = vec![format!("{said} canary-77")];
            let refusal = Refusal {
                status,
                body: serde_json::json!({ "errors": &errors }).to_string().into(),
                errors,
                retry_after: None,
                location: None,
                date: None,
            };
            let call = Call { kind, verb: "ask for", on: "x" };
            let error = classify(call, &refusal);
            assert_eq!(error.class, class, "{kind:?} {status} {said}: {error}");
            assert!(!error.to_string().contains("canary"), "{error} repeats what was said");
            let engine = matches!(kind, Kind::Rotate | Kind::Issue | Kind::Lease | Kind::Revoke);
            assert_eq!(error.is_behind(), engine && matches!(status, 400 | 500), "{kind:?} {status}");
        }
    }

    #[test]
    fn a_proxys_page_is_nobodys_end() {
        for kind in [Kind::Secret, Kind::SignIn, Kind::Issue, Kind::Lease, Kind::Revoke] {
            for body in ["", "<html>not found</html>", "{}", r#"{"message":"no Route matched"}"#] {
                let body = body.to_owned().into();
                let refusal = Refusal {
                    status: 404,
                    errors: vec![],
                    body,
                    retry_after: None,
                    location: None,
                    date: None,
                };
                let error = classify(Call { kind, verb: "ask for", on: "x" }, &refusal);
                assert_eq!(error.class, ErrorClass::Transient, "{kind:?}: {error}");
            }
        }
    }

    #[test]
    fn what_an_io_error_hides_is_found() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let hidden = std::io::Error::other(std::io::Error::other(tls));
        assert!(find::<rustls::Error>(&hidden).is_some());
        assert!(find::<rustls::Error>(&std::io::Error::other("x")).is_none());
    }
}
