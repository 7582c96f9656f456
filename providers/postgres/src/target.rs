//! PostgreSQL as a target of rotation: users that somebody else made, whose passwords the broker changes, tries and takes
//! away. It makes none, and those of leases are none of its business: see [`crate::issuer`].

mod account;
mod check;
mod sessions;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use leasehold_core::{
    SecretBytes, SecretPath, SecretValue,
    ports::Target,
    provider::{ErrorClass, Finding, ProviderError, Trial, Turn},
    secret::FieldName,
};
use tokio::task::spawn_blocking;
use tokio_postgres::error::SqlState;
use zeroize::Zeroizing;

use self::account::Account;
use crate::{
    config::{PostgresConfigFault, Terminate, is_name},
    database::UserNames,
    error::{Call, Failure},
    scram::{ITERATIONS, verifier_of_any},
    server::Server,
    sql::{LONGEST_NAME, identifier, literal},
};

/// Users whose passwords can be changed.
pub(crate) struct Accounts {
    server: Arc<Server>,
    names: UserNames,
    /// When each got its password, by the server's clock. Of changes that another process made, nobody knows.
    changed: Mutex<BTreeMap<String, String>>,
}

/// A user and its password, as one value of a secret has them.
struct Credential<'v> {
    user: &'v str,
    password: &'v SecretBytes,
}

impl Accounts {
    pub(crate) fn new(server: Arc<Server>) -> Result<Self, Vec<PostgresConfigFault>> {
        let names =
            UserNames::new(&server.config.user_prefix, LONGEST_NAME).map_err(|fault| vec![fault.into()])?;
        Ok(Self { server, names, changed: Mutex::default() })
    }

    /// The user that a value names. A secret that holds the broker's own user may leave that to the configuration.
    fn user<'v>(&'v self, turn: Turn<'v>, value: &'v SecretValue) -> Result<&'v str, ProviderError> {
        let wrong = |why: &str| {
            let message = format!("the secret `{}` {why} `{}`", turn.secret, turn.user_field.as_str());
            ProviderError::new(ErrorClass::Permanent, message)
        };
        let administrator = &self.server.config.administrator;
        let configured = || administrator.user().filter(|_| administrator.secret() == Some(turn.secret));
        match value.fields.get(turn.user_field) {
            Some(name) => str::from_utf8(name.expose())
                .ok()
                .filter(|name| is_name(name))
                .ok_or_else(|| wrong("has what is no user's name in the field")),
            None => configured().ok_or_else(|| wrong("names no user: it has no field")),
        }
    }

    fn credential<'v>(
        &'v self,
        turn: Turn<'v>,
        value: &'v SecretValue,
    ) -> Result<Credential<'v>, ProviderError> {
        let user = self.user(turn, value)?;
        let usable = |password: &&SecretBytes| !password.is_empty() && !password.expose().contains(&0);
        match value.fields.get(turn.field).filter(usable) {
            Some(password) => Ok(Credential { user, password }),
            None => Err(unusable(turn.secret, turn.field)),
        }
    }

    /// What the server is to keep of a password: it never sees the password itself, and neither does its log.
    async fn verifier(&self, call: Call<'_>, password: &SecretBytes) -> Result<String, ProviderError> {
        let mut salt = [0; 16];
        let blind = |_| call.error(ErrorClass::Throttled, "the system gives no randomness");
        self.server.entropy.fill(&mut salt).map_err(blind)?;
        let password = Zeroizing::new(password.expose().to_vec());
        let stopping = |_| call.error(ErrorClass::Throttled, "the broker is stopping");
        spawn_blocking(move || verifier_of_any(&password, &salt, ITERATIONS)).await.map_err(stopping)
    }

    /// The user, if its password is one that the broker changes.
    async fn changeable(&self, user: &str) -> Result<Account, Failure> {
        let absent = || {
            Failure::ours(
                ErrorClass::Permanent,
                "there is no such user: make it first, as the broker makes none for a rotation",
            )
        };
        let account = Account::of(&self.server, user).await?.ok_or_else(absent)?;
        match account.refusal(user, &self.names, &self.server.config) {
            None => Ok(account),
            Some(refusal) => Err(refusal.into()),
        }
    }

    async fn change(&self, user: &str, verifier: &str) -> Result<(), Failure> {
        let account = self.changeable(user).await?;
        if let Some(closed) = account.closed(user) {
            return Err(closed.into());
        }
        let statements = format!(
            "ALTER ROLE {} PASSWORD {}\n;\nSELECT pg_catalog.clock_timestamp()::pg_catalog.text",
            identifier(user),
            literal(verifier)
        );
        let answer = self.server.ask(&statements).await.map_err(rejected)?;
        if let Some(at) = answer.last().first().and_then(|row| row.get(0)) {
            self.changed().insert(user.to_owned(), at.to_owned());
        }
        Ok(())
    }

    /// Leaves a user without a password. That there is none of that name is as good.
    async fn take_away(&self, user: &str) -> Result<(), Failure> {
        if Account::of(&self.server, user).await?.is_none() {
            return Ok(());
        }
        // Where it was the broker's own, whoever took its place goes on.
        self.server.forget(user);
        let account = self.changeable(user).await?;
        self.server.ask(&format!("ALTER ROLE {} PASSWORD NULL", identifier(user))).await?;
        match self.server.config.terminate_sessions {
            Terminate::Never => Ok(()),
            Terminate::RetiredUsers | Terminate::Always => {
                sessions::end(&self.server, &account, user, None).await
            }
        }
    }

    /// Ends the sessions that a user whose password changed has from before that.
    async fn end_old_sessions(&self, user: &str) -> Result<(), Failure> {
        if self.server.config.terminate_sessions != Terminate::Always {
            return Ok(());
        }
        let account = self.changeable(user).await?;
        if account.is_ours {
            return Ok(());
        }
        let changed = self.changed().get(user).cloned();
        sessions::end(&self.server, &account, user, changed.as_deref()).await
    }

    fn changed(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it means that somebody is not let in.
    async fn judge(&self, user: &str, failure: Failure) -> Result<Trial, Failure> {
        // What is refused for this is refused after the password was accepted.
        if failure.is(&SqlState::INSUFFICIENT_PRIVILEGE) {
            return Ok(Trial::Accepted);
        }
        if failure.is(&SqlState::INVALID_PASSWORD) {
            return Ok(Trial::Refused);
        }
        if !failure.is(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) {
            return Err(failure);
        }
        match Account::of(&self.server, user).await? {
            Some(account) if account.logs_in => Err(Failure {
                why: "PostgreSQL lets the user in from nowhere near the broker: see `pg_hba.conf`".into(),
                ..failure
            }),
            _ => Ok(Trial::Refused),
        }
    }
}

#[async_trait]
impl Target for Accounts {
    async fn apply(&self, turn: Turn<'_>) -> Result<(), ProviderError> {
        let new = self.credential(turn, turn.new)?;
        let call = Call { verb: "change the password of", on: new.user };
        let verifier = self.verifier(call, new.password).await?;
        self.server.within(call, self.change(new.user, &verifier)).await
    }

    async fn test(&self, turn: Turn<'_>, value: &SecretValue) -> Result<Trial, ProviderError> {
        let tried = self.credential(turn, value)?;
        let call = Call { verb: "log in as", on: tried.user };
        let trial = async {
            match self.server.dialer().try_out(tried.user, tried.password.expose()).await {
                Ok(()) => Ok(Trial::Accepted),
                Err(failure) => Box::pin(self.judge(tried.user, failure)).await,
            }
        };
        self.server.within(call, trial).await
    }

    async fn retire(&self, turn: Turn<'_>) -> Result<(), ProviderError> {
        let Some(old) = turn.old else { return Ok(()) };
        let (old, new) = (self.user(turn, old)?, self.user(turn, turn.new)?);
        if old == new {
            let call = Call { verb: "end the old sessions of", on: old };
            return self.server.within(call, self.end_old_sessions(old)).await;
        }
        let call = Call { verb: "take the password from", on: old };
        self.server.within(call, self.take_away(old)).await
    }

    async fn check(&self, turn: Turn<'_>) -> Vec<Finding> {
        check::check(self, turn).await
    }
}

/// A statement that holds a new password was refused: for the password, where no statement of that form is ever refused
/// otherwise (`check_password_hook`, of which `passwordcheck` is one).
fn rejected(failure: Failure) -> Failure {
    let class = failure.state.as_ref().and_then(|state| state.code().get(..2));
    if !matches!(class, Some("22" | "23" | "P0")) {
        return failure;
    }
    Failure {
        class: ErrorClass::Invalid,
        why: "PostgreSQL rejects the new password: it has rules for passwords, such as `passwordcheck`"
            .into(),
        ..failure
    }
}

fn unusable(secret: &SecretPath, field: &FieldName) -> ProviderError {
    let why = format!("the secret `{secret}` has no password in the field `{}`", field.as_str());
    ProviderError::new(ErrorClass::Invalid, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_the_password_condemns_it() {
        let told = |code: &str| Failure {
            state: Some(SqlState::from_code(code)),
            ..Failure::ours(ErrorClass::Transient, "x")
        };
        for (code, class) in [
            ("22023", ErrorClass::Invalid),
            ("P0001", ErrorClass::Invalid),
            ("42501", ErrorClass::Transient),
            ("57014", ErrorClass::Transient),
            ("40001", ErrorClass::Transient),
        ] {
            assert_eq!(rejected(told(code)).class, class, "{code}");
        }
        assert_eq!(rejected(Failure::odd()).class, ErrorClass::Transient);
    }
}
