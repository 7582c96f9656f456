//! How the command ends: the exit codes and the one line that says why.
//!
//! The codes are stable; `docs/exit-codes.md` and `--help` list them.

use std::{fmt::Display, process::ExitCode};

use leasehold_client::{ConnectError, Error};

use crate::why;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Whoever read the output has gone, so there is nobody to tell anything.
    Unread = 0,
    /// It failed in a way that has no code of its own.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Not allowed, or no such thing.
    Denied = 3,
    /// The broker, or what it needs, is not there or cannot answer now.
    Unavailable = 4,
    /// An audit journal is damaged.
    Damaged = 5,
    /// A certificate, key or trust bundle is wrong: the client's, or the broker's in the client's eyes.
    Credentials = 6,
    /// The state of the lease or the secret does not allow it.
    Refused = 7,
}

/// What `--help` says of the codes.
pub(crate) const CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  the command line makes no sense
  3  denied, or no such secret or lease
  4  the broker is not running or cannot answer now
  5  the audit journal is damaged
  6  a certificate, key or trust bundle is wrong or refused
  7  the state of the lease or secret does not allow it";

/// Why the command failed: one line for people, and the code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

/// Says what an error is about.
pub(crate) trait About<T> {
    /// Names the thing that the call was about, such as a path or a file.
    fn about(self, thing: impl Display) -> Result<T, Failure>;
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A command line that makes no sense, though its grammar is right.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A failure about a file or anything else that has no code of its own.
    pub(crate) fn failed(thing: impl Display, why: impl Display) -> Self {
        Self::new(Exit::Failed, format!("{thing}: {why}"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Address(_) | Error::Missing { .. } | Error::Invalid { .. } => Exit::Usage,
            Error::Credential(_) | Error::Identity { .. } => Exit::Credentials,
            Error::Connect(ConnectError::Server { .. } | ConnectError::Refused { .. }) => Exit::Credentials,
            Error::Connect(_)
            | Error::Throttled { .. }
            | Error::QuotaExceeded { .. }
            | Error::Unavailable { .. } => Exit::Unavailable,
            Error::Denied { .. } => Exit::Denied,
            Error::Refused { .. } => Exit::Refused,
            Error::Failed { .. } if error.reason() == Some("JOURNAL_DAMAGED") => Exit::Damaged,
            _ => Exit::Failed,
        };
        let mut message = error.to_string();
        if let Some(reason) = error.reason() {
            message.push_str(&format!(" [{reason}]"));
        }
        if let Some(provider) = error.provider() {
            message.push_str(&format!(" (provider `{provider}`)"));
        }
        if let Some(request) = error.request_id() {
            message.push_str(&format!(" (request {request})"));
        }
        if let Some(delay) = error.retry_after().filter(|delay| !delay.is_zero()) {
            message.push_str(&format!("; try again in {} s", delay.as_secs().max(1)));
        }
        if let Some(explanation) = error.explanation() {
            message.push_str(&why::told(explanation));
        } else if let Some(way_out) = way_out(&error) {
            message.push_str(&format!("; {way_out}"));
        }
        Self { exit, message }
    }
}

impl<T> About<T> for Result<T, Error> {
    fn about(self, thing: impl Display) -> Result<T, Failure> {
        self.map_err(|error| {
            let Failure { exit, message } = error.into();
            Failure { exit, message: format!("{thing}: {message}") }
        })
    }
}

/// What to do, where the error itself does not say it in the command line's terms.
fn way_out(error: &Error) -> Option<&'static str> {
    match error {
        Error::Missing { what: "the broker's address", .. } => {
            Some("on the command line: --addr, or `leasehold context use`")
        }
        Error::Missing { .. } => Some("on the command line: --ca or --identity"),
        Error::Connect(ConnectError::Refused { fault: leasehold_client::ClientFault::Required, .. }) => {
            Some("give --identity, or --cert and --key, or name a context that has them")
        }
        Error::Connect(ConnectError::NotRunning { .. }) => {
            Some("--addr (LEASEHOLD_ADDR) says where it is, `leasehold config show` who said so")
        }
        _ => by_reason(error.reason()?),
    }
}

/// The same by the broker's stable reason (`ErrorReason` in the contract).
fn by_reason(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "DENIED_OR_NOT_FOUND" => {
            "look at `leasehold secret list` and `leasehold policy explain`, or ask whoever may read the audit journal: `leasehold audit query --request-id`"
        }
        "LEASE_EXPIRED" | "LEASE_REVOKED" | "LEASE_AT_MAXIMUM_TTL" => {
            "take a new one with `leasehold lease get`"
        }
        "PROVIDER_SECRET_ABSENT" => {
            "the back end has nothing to read under the secret's `ref`: `leasehold secret versions` shows what is there, `leasehold secret put` writes anew"
        }
        "PROVIDER_REQUEST_INVALID" => {
            "`leasehold secret show` and `leasehold secret versions` say what is there"
        }
        "PROVIDER_DENIED_BROKER" => {
            "the back end must let the broker's own identity do this: `leasehold provider check` says what is missing"
        }
        "BROKER_ON_HOLD" => "`leasehold hold show` says why; `leasehold hold release` ends it",
        "QUOTA_EXCEEDED" => "give leases back with `leasehold lease revoke`, or have the limit raised",
        "LEASE_NOT_REVOKING" => "`leasehold lease show` says what it is; `leasehold lease revoke` ends it",
        "NOT_ROTATED" => {
            "the secret's entry in the broker's catalog says how: add `rotation = { strategy = ... }`"
        }
        "ROTATION_STATE" => "`leasehold rotation show` says where it is",
        "PROVIDER_NOT_FOUND" => "`leasehold provider list` has their names",
        "PROVIDER_UNAVAILABLE" => "`leasehold provider check` tries it",
        "PROVIDER_UNSUPPORTED" => "`leasehold secret show` says what it can do",
        "JOURNAL_FULL" => "make room on the disk of the broker's state directory",
        "LEDGER_UNAVAILABLE" | "INTERNAL" => "the broker's log says why",
        "JOURNAL_DAMAGED" => "`leasehold audit verify` on the broker's machine names the record",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use leasehold_client::{Answer, ClientFault, Violation};

    use super::*;

    fn answer(reason: &str, message: &str) -> Answer {
        Answer { reason: Some(reason.into()), message: message.into(), ..Answer::default() }
    }

    #[test]
    fn each_failure_is_one_line_with_its_code() {
        let address = "127.0.0.1:8443".parse::<leasehold_client::Address>().unwrap();
        let throttled = Answer {
            retry_after: Some(std::time::Duration::from_millis(2500)),
            provider: Some("aws-main".into()),
            ..answer("PROVIDER_THROTTLED", "the secret's back end did not answer as needed")
        };
        let cases = [
            (
                Error::Connect(ConnectError::NotRunning { address: address.clone() }),
                Exit::Unavailable,
                "x: nothing listens at 127.0.0.1:8443: is the broker running, and is this its address?; --addr (LEASEHOLD_ADDR) says where it is, `leasehold config show` who said so",
            ),
            (
                Error::Connect(ConnectError::Refused {
                    address: address.clone(),
                    fault: ClientFault::Required,
                }),
                Exit::Credentials,
                "x: the broker at 127.0.0.1:8443 refused the connection: a client certificate is required, and none was given; give --identity, or --cert and --key, or name a context that has them",
            ),
            (
                Error::Connect(ConnectError::Refused {
                    address,
                    fault: ClientFault::Expired { origin: "a.crt".into(), not_after: None },
                }),
                Exit::Credentials,
                "x: the broker at 127.0.0.1:8443 refused the connection: the certificate `a.crt` has expired: renew it",
            ),
            (
                Error::Denied { answer: Answer { request_id: Some("call-a".into()), ..Answer::default() } },
                Exit::Denied,
                "x: not allowed, or no such thing [DENIED_OR_NOT_FOUND] (request call-a); look at `leasehold secret list` and `leasehold policy explain`, or ask whoever may read the audit journal: `leasehold audit query --request-id`",
            ),
            (
                Error::Refused { answer: answer("LEASE_EXPIRED", "the lease has expired") },
                Exit::Refused,
                "x: the lease has expired [LEASE_EXPIRED]; take a new one with `leasehold lease get`",
            ),
            (
                Error::Throttled { retry_after: throttled.retry_after, answer: throttled },
                Exit::Unavailable,
                "x: asked too often: the secret's back end did not answer as needed [PROVIDER_THROTTLED] (provider `aws-main`); try again in 2 s",
            ),
            (
                Error::Invalid {
                    answer: answer("INVALID_REQUEST", "bad"),
                    violations: vec![Violation { field: "ttl".into(), description: "at least 1 s".into() }],
                },
                Exit::Usage,
                "x: the broker cannot take the request: ttl: at least 1 s [INVALID_REQUEST]",
            ),
            (
                Error::Failed { answer: answer("JOURNAL_DAMAGED", "record 7") },
                Exit::Damaged,
                "x: the broker failed: record 7 [JOURNAL_DAMAGED]; `leasehold audit verify` on the broker's machine names the record",
            ),
            (
                Error::Failed { answer: answer("INTERNAL", "oops") },
                Exit::Failed,
                "x: the broker failed: oops [INTERNAL]; the broker's log says why",
            ),
        ];
        for (error, exit, line) in cases {
            let failure = Err::<(), _>(error).about("x").unwrap_err();
            assert_eq!((failure.exit, failure.message.as_str()), (exit, line));
        }
    }

    #[test]
    fn a_denial_that_is_explained_says_why_and_not_whom_to_ask() {
        let mut explanation = leasehold_client::Explanation::default();
        explanation.grounds = "FORBIDDEN".to_owned();
        let answer = Answer { explanation: Some(Box::new(explanation)), ..Answer::default() };
        let failure = Err::<(), _>(Error::Denied { answer }).about("x").unwrap_err();
        assert_eq!(failure.exit, Exit::Denied);
        let line = "x: not allowed, or no such thing [DENIED_OR_NOT_FOUND]; a policy forbids it:\n";
        assert!(failure.message.starts_with(line), "{}", failure.message);
        assert!(!failure.message.contains("audit query"), "{}", failure.message);
    }

    #[test]
    fn help_and_the_documentation_list_every_code_and_no_other() {
        let help: Vec<_> = CODES.lines().skip(1).map(|line| line.trim().split_once("  ").unwrap()).collect();
        let codes: Vec<_> = help.iter().map(|(code, _)| code.parse::<u8>().unwrap()).collect();
        assert_eq!(codes, (0..=Exit::Refused as u8).collect::<Vec<_>>());
        let page = include_str!("../../../docs/exit-codes.md");
        let (_, own) = page.split_once("## `leasehold`").unwrap();
        let (own, _) = own.split_once("\n## ").unwrap();
        let rows: Vec<_> =
            own.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")).collect();
        let documented: Vec<_> = rows.iter().filter_map(|(code, _)| code.parse::<u8>().ok()).collect();
        assert_eq!(documented, codes);
        for ((_, means), (_, row)) in help.iter().zip(rows.iter().skip(1).filter(|(code, _)| *code != "---"))
        {
            assert!(row.starts_with(means), "help says {means:?}, the page {row:?}");
        }
    }
}
