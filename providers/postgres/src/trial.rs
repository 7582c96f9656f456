//! The proof of a user's end: its credential is tried, and it and its sessions are looked for.

use leasehold_core::provider::Verification;
use tokio_postgres::error::SqlState;
use tracing::error;

use crate::{error::Failure, handle::Handle, issuer::Users, sql::literal};

/// What came of trying to log in as a user that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Login {
    /// It is let in, or would be but for what a login comes to after it.
    Works,
    /// Its password is not accepted.
    Refused,
    /// Nothing can be said: there is no password to try, or the server lets nobody in from here.
    Untried,
}

/// What the server says of a user that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// There is none, or none that may log in.
    Out,
    /// There is one that may log in.
    In,
    /// It has sessions.
    Inside,
    /// The server could not be asked.
    Unknown,
}

impl Users {
    /// Whether a user that has been ended is dead. Never fails: what cannot be tried is unverifiable.
    pub(crate) async fn verify(&self, handle: &Handle) -> Verification {
        let (login, standing) = tokio::join!(self.try_login(handle), self.standing(&handle.name));
        let verdict = judge(login, standing);
        if verdict == Verification::StillValid {
            error!(user = handle.name, ?login, ?standing, "a user that was ended is still let in");
        }
        verdict
    }

    async fn try_login(&self, handle: &Handle) -> Login {
        match &handle.password {
            Some(password) => {
                login(self.server.dialer().try_out(&handle.name, password.expose()).await.as_ref().err())
            }
            None => Login::Untried,
        }
    }

    async fn standing(&self, name: &str) -> Standing {
        let name = literal(name);
        let statement = format!(
            "SELECT (SELECT rolcanlogin FROM pg_catalog.pg_roles WHERE rolname = {name}), \
                    EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE usename = {name})"
        );
        let Ok(answer) = self.server.ask(&statement).await else { return Standing::Unknown };
        match answer.last().first().map(|row| (row.get(0), row.get(1))) {
            Some((_, Some("t"))) => Standing::Inside,
            Some((Some("t"), Some("f"))) => Standing::In,
            Some((_, Some("f"))) => Standing::Out,
            _ => Standing::Unknown,
        }
    }
}

fn login(problem: Option<&Failure>) -> Login {
    match problem {
        None => Login::Works,
        // What is refused for this is refused after the password was accepted.
        Some(failure) if failure.is(&SqlState::INSUFFICIENT_PRIVILEGE) => Login::Works,
        Some(failure) if failure.is(&SqlState::INVALID_PASSWORD) => Login::Refused,
        // `pg_hba.conf` may let it in from elsewhere.
        Some(_) => Login::Untried,
    }
}

fn judge(login: Login, standing: Standing) -> Verification {
    match (login, standing) {
        (Login::Works, _) | (_, Standing::Inside) => Verification::StillValid,
        (Login::Refused, Standing::Out | Standing::In) | (Login::Untried, Standing::Out) => {
            Verification::Verified
        }
        (Login::Refused, Standing::Unknown) | (Login::Untried, Standing::In | Standing::Unknown) => {
            Verification::Unverifiable
        }
    }
}

#[cfg(test)]
mod tests {
    use leasehold_core::provider::ErrorClass;

    use super::*;

    #[test]
    fn what_is_let_in_or_is_inside_is_alive_and_what_cannot_be_seen_is_not_proven() {
        use Verification::{StillValid, Unverifiable, Verified};
        for (login, standing, verdict) in [
            (Login::Works, Standing::Out, StillValid),
            (Login::Works, Standing::Unknown, StillValid),
            (Login::Refused, Standing::Inside, StillValid),
            (Login::Untried, Standing::Inside, StillValid),
            (Login::Refused, Standing::Out, Verified),
            (Login::Refused, Standing::In, Verified),
            (Login::Untried, Standing::Out, Verified),
            (Login::Refused, Standing::Unknown, Unverifiable),
            (Login::Untried, Standing::In, Unverifiable),
            (Login::Untried, Standing::Unknown, Unverifiable),
        ] {
            assert_eq!(judge(login, standing), verdict, "{login:?} {standing:?}");
        }
    }

    #[test]
    fn only_a_refused_password_is_refused() {
        let told = |code: &str| Failure {
            state: Some(SqlState::from_code(code)),
            ..Failure::ours(ErrorClass::Denied, "x")
        };
        assert_eq!(login(None), Login::Works);
        assert_eq!(login(Some(&told("42501"))), Login::Works);
        assert_eq!(login(Some(&told("28P01"))), Login::Refused);
        for code in ["28000", "53300", "57P03", "3D000"] {
            assert_eq!(login(Some(&told(code))), Login::Untried, "{code}");
        }
        assert_eq!(login(Some(&Failure::odd())), Login::Untried);
    }
}
