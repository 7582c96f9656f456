//! `leasehold lease exec`: a program that has a secret for as long as it lives.

use std::{
    convert::Infallible, ffi::OsString, future::pending, io::Write, str::FromStr, sync::Arc, time::Duration,
};

use clap::Args;
use leasehold_client::{Change, Holding, Leased, WhyEnded};
use leasehold_core::{SecretBytes, SecretPath, secret::FieldName};
use leasehold_programs::{
    Controls, Fields, Group, Launch, LaunchError, Pace, Program, SignalName, adopt_orphans, is_variable,
    supervise,
};
use tokio::sync::watch;

use crate::{
    complete,
    connection::Connection,
    duration,
    exit::{About, Failure},
};

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// The secret's path, such as `prod/payments/db`
    #[arg(value_name = "SECRET", add = complete::secrets())]
    secret: SecretPath,
    /// How long each lease is asked for; it is renewed as long as the program lives
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    ttl: Option<Duration>,
    /// A variable, and the field that is in it; several times for several. Without it, and without --fd, each field is in
    /// one that is named by the secret and the field: `DB_PASSWORD`
    #[arg(long, value_name = "NAME=FIELD")]
    env: Vec<Variable>,
    /// Give the fields as JSON on a descriptor, whose number is in LEASEHOLD_SECRETS_FD
    #[arg(long)]
    fd: bool,
    /// What to do when there is a new value: `nothing`, `restart`, `stop`, or a signal such as `HUP`
    #[arg(long, default_value = "nothing", value_name = "WHAT")]
    on_change: OnChange,
    /// How long the program may take to end before it is killed
    #[arg(long, value_parser = duration::parse, default_value = "10s", value_name = "DURATION")]
    grace: Duration,
    /// One of our own variables that the program is to have all the same, such as LEASEHOLD_ADDR
    #[arg(long, value_name = "NAME")]
    inherit: Vec<String>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// A variable and the field that is in it.
#[derive(Clone, Debug)]
struct Variable {
    name: String,
    field: FieldName,
}

#[derive(Clone, Copy, Debug)]
enum OnChange {
    Nothing,
    Restart,
    Stop,
    Signal(SignalName),
}

/// Restarts that follow one another are put off: so many are made within a time.
const PACE: Pace = Pace { most: 10, within: Duration::from_secs(600) };

impl Exec {
    /// Runs the program to its end, gives the lease back, and ends this process with the program's exit code.
    pub(super) async fn run(self, connection: &Connection) -> Result<Infallible, Failure> {
        let client = connection.open().await?;
        let mut borrow = client.lease(self.secret.as_str()).revoke_on_drop(true);
        if let Some(ttl) = self.ttl {
            borrow = borrow.ttl(ttl);
        }
        if !self.env.is_empty() && !self.fd {
            borrow = borrow.fields(self.env.iter().map(|variable| variable.field.as_str()));
        }
        let leased = borrow.await.about(&self.secret)?;
        let code = self.with(&leased).await;
        // Before the code is told, whatever it is.
        if let Err(error) = leased.close().await {
            say(&format!("{}: the lease is not given back, and ends by itself: {error}", self.secret));
        }
        match code {
            Ok(code) => std::process::exit(code.into()),
            Err(failure) => Err(failure),
        }
    }

    async fn with(&self, leased: &Leased) -> Result<u8, Failure> {
        let _orphans = adopt_orphans().map_err(|error| Failure::failed("programs", error))?;
        // What cannot be given is told before anything is started.
        self.given(&leased.current())?;
        let group = Group::for_standard_input();
        let (controls, orders) = Controls::new();
        let (launched, launches) = watch::channel(leased.current());
        let program = Program {
            launch: || {
                let holding = leased.current();
                let child = self.launch(&holding, group)?;
                leased.switched(&holding);
                launched.send_replace(holding);
                Ok::<_, NotLaunched>(child)
            },
            group,
            stop: SignalName::TERM,
            grace: self.grace,
            pace: PACE,
        };
        let outcome = tokio::select! {
            outcome = supervise(program, orders) => outcome,
            never = self.follow(leased, &controls, launches) => match never {},
        };
        match outcome {
            Ok(outcome) => Ok(outcome.end.exit_code()),
            Err(NotLaunched::Given(failure)) => Err(failure),
            Err(NotLaunched::Program(error)) => {
                say(&error.to_string());
                Ok(error.exit_code())
            }
        }
    }

    fn launch(&self, holding: &Holding, group: Group) -> Result<leasehold_programs::Child, NotLaunched> {
        let (variables, memory) = self.given(holding).map_err(NotLaunched::Given)?;
        let launch = Launch {
            argv: &self.program,
            variables: &variables,
            memory: memory.as_ref(),
            inherit: &self.inherit,
            user: None,
            group,
        };
        Ok(launch.start()?)
    }

    /// The variables, and what is on the descriptor.
    #[expect(clippy::type_complexity, reason = "a pair that is taken apart at once")]
    fn given(&self, holding: &Holding) -> Result<(Vec<(String, SecretBytes)>, Option<SecretBytes>), Failure> {
        let value = holding.value();
        let memory = self.fd.then(|| {
            let mut json = Vec::new();
            // Writing text to memory cannot fail.
            let _ = serde_json::to_writer(&mut json, &Fields(value));
            SecretBytes::new(json)
        });
        let wanted: Vec<Variable> = if self.env.is_empty() && !self.fd {
            value.fields.keys().map(|field| Variable::of(&self.secret, field)).collect()
        } else {
            self.env.clone()
        };
        let mut variables = Vec::with_capacity(wanted.len());
        for Variable { name, field } in wanted {
            let Some(bytes) = value.fields.get(&field) else {
                return Err(Failure::failed(&self.secret, format!("there is no field `{field}`")));
            };
            if bytes.expose().contains(&0) {
                let why =
                    format!("the field `{field}` has a zero byte, which no variable can hold: use --fd");
                return Err(Failure::failed(&self.secret, why));
            }
            variables.push((name, bytes.clone()));
        }
        Ok((variables, memory))
    }

    /// Tells the program of changes, and people of what they should know.
    async fn follow(
        &self,
        leased: &Leased,
        controls: &Controls,
        launches: watch::Receiver<Arc<Holding>>,
    ) -> Infallible {
        let mut changes = leased.changes();
        while let Some(change) = changes.next().await {
            match change {
                Change::Replaced(holding) => {
                    // A restart may have brought it already.
                    if launches.borrow().lease.id == holding.lease.id {
                        continue;
                    }
                    match self.on_change {
                        OnChange::Nothing => say(&format!(
                            "{}: there is a new value; the program has the one before (see --on-change)",
                            self.secret
                        )),
                        // When there is no program any more, all is over.
                        OnChange::Restart => drop(controls.restart().await),
                        OnChange::Stop => controls.stop().await,
                        OnChange::Signal(signal) => drop(controls.signal(signal).await),
                    }
                }
                Change::Ended { why } => {
                    let why = match why {
                        WhyEnded::Expired => "could not be kept and has ended",
                        WhyEnded::Revoked => "was revoked",
                        WhyEnded::Retired => "is on a version that was retired",
                        _ => "has ended",
                    };
                    say(&format!("{}: the lease {why}; a new one is asked for", self.secret));
                    if matches!(self.on_change, OnChange::Stop) {
                        controls.stop().await;
                    }
                }
                Change::Failing { error, until } => {
                    say(&format!(
                        "{}: the lease lasts until {until:.0} and cannot be renewed: {error}",
                        self.secret
                    ));
                }
                _ => {}
            }
        }
        pending().await
    }
}

/// Why the program does not run.
enum NotLaunched {
    Given(Failure),
    Program(LaunchError),
}

impl From<LaunchError> for NotLaunched {
    fn from(error: LaunchError) -> Self {
        Self::Program(error)
    }
}

impl From<std::io::Error> for NotLaunched {
    fn from(error: std::io::Error) -> Self {
        Self::Program(error.into())
    }
}

impl Variable {
    /// `prod/payments/db` and `password`: `DB_PASSWORD`.
    fn of(secret: &SecretPath, field: &FieldName) -> Self {
        let last = secret.as_str().rsplit('/').next().unwrap_or_default();
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let mut name: String = format!("{last}_{field}").chars().map(upper).collect();
        if !is_variable(&name) {
            name.insert(0, '_');
        }
        Self { name, field: field.clone() }
    }
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, field) = text.split_once('=').ok_or("write NAME=FIELD, such as `PGPASSWORD=password`")?;
        if !is_variable(name) {
            return Err(format!(
                "`{name}` is no name of a variable: letters, digits and `_`, and no digit first"
            ));
        }
        let field = field.parse().map_err(|error| format!("`{field}`: {error}"))?;
        Ok(Self { name: name.to_owned(), field })
    }
}

impl FromStr for OnChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nothing" => Ok(Self::Nothing),
            "restart" => Ok(Self::Restart),
            "stop" => Ok(Self::Stop),
            signal => match signal.parse() {
                Ok(signal) => Ok(Self::Signal(signal)),
                Err(error) => Err(format!("write nothing, restart, stop or a signal; {error}")),
            },
        }
    }
}

/// For people, beside what the program says. When nobody reads it, the program goes on.
fn say(message: &str) {
    let _ = writeln!(std::io::stderr(), "leasehold: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_a_variable_that_shells_can_name() {
        let name =
            |secret: &str, field: &str| Variable::of(&secret.parse().unwrap(), &field.parse().unwrap()).name;
        assert_eq!(name("prod/payments/db", "password"), "DB_PASSWORD");
        assert_eq!(name("prod/my-api.v2", "tls.key"), "MY_API_V2_TLS_KEY");
        assert_eq!(name("prod/2fa", "value"), "_2FA_VALUE");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        assert!("PGPASSWORD=password".parse::<Variable>().is_ok());
        for bad in ["PGPASSWORD", "A-B=password", "=x", "A=a/b"] {
            assert!(bad.parse::<Variable>().is_err(), "{bad}");
        }
        assert!(matches!("HUP".parse(), Ok(OnChange::Signal(SignalName::HUP))));
        assert!("KILL".parse::<OnChange>().is_err());
    }
}
