//! PostgreSQL's errors in the broker's classes and words.
//!
//! Nothing that the server says is repeated but its five characters of SQLSTATE
//! (<https://www.postgresql.org/docs/current/errcodes-appendix.html>): a message may quote a statement with a verifier in it.

use std::{error::Error, fmt};

use leasehold_core::provider::{ErrorClass, ProviderError};
use tokio_postgres::error::SqlState;

use crate::session::Session;

/// What was asked, for the words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// A verb.
    pub(crate) verb: &'a str,
    /// The role or the lease.
    pub(crate) on: &'a str,
}

/// Why the server did not do what it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What to do about it.
    pub(crate) class: ErrorClass,
    /// In our words.
    pub(crate) why: String,
    /// What the server called it, when it was the server.
    pub(crate) state: Option<SqlState>,
    /// Whether the same may work at once, over another connection if need be.
    pub(crate) again: bool,
    /// The session that may have done it all the same, or may do it yet.
    pub(crate) left: Option<Session>,
}

impl Call<'_> {
    /// An error about this call.
    pub(crate) fn error(&self, class: ErrorClass, why: impl fmt::Display) -> ProviderError {
        ProviderError::new(class, format!("{} `{}`: {why}", self.verb, self.on))
    }

    /// What a failure means for it.
    pub(crate) fn failed(&self, failure: &Failure) -> ProviderError {
        self.error(failure.class, failure)
    }
}

impl Failure {
    /// A failure that was not the server's.
    pub(crate) fn ours(class: ErrorClass, why: impl Into<String>) -> Self {
        Self { class, why: why.into(), state: None, again: false, left: None }
    }

    /// An answer that is none of PostgreSQL's.
    pub(crate) fn odd() -> Self {
        Self::ours(ErrorClass::Transient, "PostgreSQL's answer was cut or is not PostgreSQL's")
    }

    /// Whether the server does not let this user in with this password, or not from here.
    pub(crate) fn is_of_login(&self) -> bool {
        self.is(&SqlState::INVALID_PASSWORD) || self.is(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
    }

    /// Whether nobody knows if the server has done it: it said nothing, or only that the session is over.
    pub(crate) fn is_silence(&self) -> bool {
        self.state.as_ref().is_none_or(|state| matches!(state.code().get(..3), Some("57P" | "080")))
    }

    /// The same, where something that was sent before may have been done.
    pub(crate) fn in_doubt(self) -> Self {
        Self { class: ErrorClass::Transient, ..self }
    }

    /// Whether the server called it this.
    pub(crate) fn is(&self, state: &SqlState) -> bool {
        self.state.as_ref() == Some(state)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        match &self.state {
            Some(state) => write!(f, " (SQLSTATE {})", state.code()),
            None => Ok(()),
        }
    }
}

/// A failure of a statement, or of signing in.
pub(crate) fn classify(error: &tokio_postgres::Error) -> Failure {
    if let Some(state) = error.code() {
        let (class, why, again) = of_state(state);
        return Failure { state: Some(state.clone()), again, ..Failure::ours(class, why) };
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return of_tls(tls);
    }
    let shown = chain(error);
    if shown.contains("does not support TLS") {
        let why = "the server speaks no TLS: let it (`ssl = on`), or say `tls = \"disable\"` where it is this machine";
        return Failure::ours(ErrorClass::Permanent, why);
    }
    if shown.contains("password missing") || shown.contains("unsupported authentication") {
        let why = "the server wants a way of signing in that the broker does not have: see `pg_hba.conf`";
        return Failure::ours(ErrorClass::Permanent, why);
    }
    if shown.starts_with("authentication error") {
        let why = "the server does not prove that it knows the password, or not by SCRAM";
        return Failure::ours(ErrorClass::Denied, why);
    }
    if shown.contains("does not allow writes") {
        let why = "no server takes writes: name the others in `cluster`";
        return Failure::ours(ErrorClass::Transient, why);
    }
    let why = match find::<std::io::Error>(error) {
        Some(io) if shown.starts_with("error connecting") => {
            format!("PostgreSQL cannot be reached: {}", io.kind())
        }
        Some(io) => format!("the connection to PostgreSQL broke: {}", io.kind()),
        None => "the connection to PostgreSQL broke".to_owned(),
    };
    Failure { again: true, ..Failure::ours(ErrorClass::Transient, why) }
}

/// Class, words, and whether the same may work at once.
fn of_state(state: &SqlState) -> (ErrorClass, &'static str, bool) {
    use ErrorClass::{Denied, Permanent, Throttled, Transient};
    match state.code() {
        "28P01" => (Denied, "PostgreSQL does not accept the broker's user and password", false),
        "28000" => (
            Denied,
            "PostgreSQL does not let the broker's user in from here, or there is no such user: see `pg_hba.conf`",
            false,
        ),
        "3D000" => (Permanent, "there is no such `database`", false),
        "42501" => (Denied, "the broker's user may not do that", false),
        "53300" => (Throttled, "PostgreSQL has no connection left", false),
        "53100" => (Transient, "PostgreSQL's disk is full", false),
        "25006" => {
            (Transient, "the server is a standby, which takes no writes: name the others in `cluster`", true)
        }
        "57014" => (Transient, "it took longer than `statement_timeout`", false),
        "55P03" => (Transient, "somebody else holds a lock on it", false),
        "57P03" => (Transient, "PostgreSQL is starting, or recovering", true),
        "57P01" | "57P02" | "57P04" => (Transient, "PostgreSQL ended the connection", true),
        // The last of these is `tuple concurrently updated`: two statements granted the same at the same time.
        "40001" | "40P01" | "XX000" => (Transient, "it collided with another change", true),
        "42704" | "42P01" | "3F000" => {
            (Permanent, "a statement names a role, a table or a schema that there is not", false)
        }
        "2BP01" => (Permanent, "something still depends on the user", false),
        "42710" => (Permanent, "a statement makes what there is already", false),
        code => match code.get(..2) {
            Some("08" | "53" | "57" | "58" | "XX") => {
                (Transient, "PostgreSQL failed: its log has the reason", false)
            }
            Some("28") => (Denied, "PostgreSQL does not accept the broker's user", false),
            _ => (
                Permanent,
                "PostgreSQL refuses a statement: look at the role, and into PostgreSQL's log",
                false,
            ),
        },
    }
}

/// A certificate that is not trusted needs a person; anything else may pass.
fn of_tls(error: &rustls::Error) -> Failure {
    match error {
        rustls::Error::InvalidCertificate(why) => Failure::ours(
            ErrorClass::Permanent,
            format!(
                "PostgreSQL's certificate is not trusted ({why}): look at `ca_file`, and at the name in `address`"
            ),
        ),
        other => Failure::ours(ErrorClass::Transient, format!("TLS with PostgreSQL failed: {other}")),
    }
}

/// The words of an error and of those below it. For looking into, never for showing.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// The first error of a type in a chain, those within `std::io::Error` included: it hides what it holds from `source`.
fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
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
    fn states_mean_what_postgres_says() {
        use ErrorClass::*;
        for (code, class, again) in [
            ("28P01", Denied, false),
            ("28000", Denied, false),
            ("42501", Denied, false),
            ("3D000", Permanent, false),
            ("42601", Permanent, false),
            ("42704", Permanent, false),
            ("2BP01", Permanent, false),
            ("53300", Throttled, false),
            ("53200", Transient, false),
            ("57014", Transient, false),
            ("57P01", Transient, true),
            ("57P03", Transient, true),
            ("40P01", Transient, true),
            ("08006", Transient, false),
            ("58030", Transient, false),
            ("XX001", Transient, false),
            ("22023", Permanent, false),
        ] {
            let (found, _, repeats) = of_state(&SqlState::from_code(code));
            assert_eq!((found, repeats), (class, again), "{code}");
        }
    }

    #[test]
    fn only_an_answer_says_what_was_not_done() {
        let told = |code| Failure {
            state: Some(SqlState::from_code(code)),
            ..Failure::ours(ErrorClass::Permanent, "x")
        };
        for (code, silence) in
            [("57P01", true), ("08006", true), ("57014", false), ("42501", false), ("40001", false)]
        {
            assert_eq!(told(code).is_silence(), silence, "{code}");
        }
        assert!(Failure::odd().is_silence());
        assert_eq!(told("42501").in_doubt().class, ErrorClass::Transient);
    }

    #[test]
    fn an_untrusted_certificate_needs_a_person() {
        let untrusted = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert_eq!(of_tls(&untrusted).class, ErrorClass::Permanent);
        assert_eq!(of_tls(&rustls::Error::DecryptError).class, ErrorClass::Transient);
        let hidden = std::io::Error::other(std::io::Error::other(untrusted));
        assert!(find::<rustls::Error>(&hidden).is_some());
    }
}
