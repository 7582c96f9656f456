//! The tour: what a broker does, a command at a time, each held to what it should do.

use std::ffi::OsString;

use serde_json::Value;

use super::{
    command::{Outcome, Program},
    site::{PASSWORD, Site, Who},
};
use crate::{
    exit::{Exit, Failure},
    output::Output,
};

/// A guided tour of one site.
pub(super) struct Tour<'s> {
    pub(super) site: &'s Site,
    pub(super) program: Program,
}

/// One step, as it is told.
struct Step<'a> {
    title: &'a str,
    who: Option<Who>,
    arguments: Vec<OsString>,
    /// The code with which it should end.
    code: i32,
    /// What should come back: this text, on one of the streams.
    expected: &'a str,
}

const SECRET: &str = "prod/payments/db";

impl Tour<'_> {
    /// Runs every step; the first that does not do as said ends it.
    pub(super) async fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let mut count: usize = 0;
        let mut step = async |step: Step<'_>| {
            count = count.saturating_add(1);
            self.step(count, step, output).await
        };
        let field = |name: &str| -> [OsString; 2] {
            let mut source = OsString::from(format!("{name}=@"));
            source.push(self.site.value(name));
            ["--field".into(), source]
        };
        let put =
            words(&["secret", "put", SECRET]).into_iter().chain(field("username")).chain(field("password"));
        step(Step {
            title: "The operator writes a secret, from files: a value is never an argument.",
            who: Some(Who::Admin),
            arguments: put.collect(),
            code: 0,
            expected: "version",
        })
        .await?;
        let leased = step(Step {
            title: "A workload proves who it is by mTLS and leases the secret.",
            who: Some(Who::Payments),
            arguments: words(&["lease", "get", SECRET, "--ttl", "5m", "--output", "json", "--reveal"]),
            code: 0,
            expected: PASSWORD,
        })
        .await?;
        let lease = lease_id(&leased)?;
        step(Step {
            title: "It renews the lease before it ends.",
            who: Some(Who::Payments),
            arguments: words(&["lease", "renew", &lease, "--ttl", "10m"]),
            code: 0,
            expected: "renewals       1",
        })
        .await?;
        step(Step {
            title: "Another workload is denied, and is not told whether the secret exists.",
            who: Some(Who::Orders),
            arguments: words(&["lease", "get", SECRET]),
            code: Exit::Denied as i32,
            expected: "DENIED_OR_NOT_FOUND",
        })
        .await?;
        let mut anonymous = words(&["--ca"]);
        anonymous.push(self.site.identity(Who::Payments).join("ca.crt").into());
        anonymous.extend(words(&["lease", "get", SECRET]));
        step(Step {
            title: "A client without a certificate does not get as far as asking.",
            who: None,
            arguments: anonymous,
            code: Exit::Credentials as i32,
            expected: "a client certificate is required",
        })
        .await?;
        step(Step {
            title: "The operator sees who holds what.",
            who: Some(Who::Admin),
            arguments: words(&["lease", "list", "--secret", SECRET]),
            code: 0,
            expected: &lease,
        })
        .await?;
        step(Step {
            title: "The operator takes the lease away.",
            who: Some(Who::Admin),
            arguments: words(&["lease", "revoke", &lease, "--reason", "end of the tour"]),
            code: 0,
            expected: "revoked",
        })
        .await?;
        step(Step {
            title: "All of it is in the audit journal, the denial too; a value never is.",
            who: Some(Who::Admin),
            arguments: words(&["audit", "query", "--secret", SECRET]),
            code: 0,
            expected: "denied",
        })
        .await?;
        let mut verify = words(&["audit", "verify"]);
        verify.push(self.site.journal().into());
        let verified = Step {
            title: "The journal proves that nothing in it was changed, without the broker and without a key.",
            who: None,
            arguments: verify,
            code: 0,
            expected: "every record follows from the one before",
        };
        count = count.saturating_add(1);
        self.print_and_check(count, &verified, &verified.arguments, output).await?;
        output.line(&format!("\nAll {count} steps did what they should."))
    }

    /// Runs one step against the broker.
    async fn step(&self, number: usize, step: Step<'_>, output: &mut Output) -> Result<Outcome, Failure> {
        let mut arguments = words(&["--addr", &self.site.address().to_string()]);
        if let Some(who) = step.who {
            arguments.push("--identity".into());
            arguments.push(self.site.identity(who).into());
        }
        arguments.extend(step.arguments.iter().cloned());
        self.print_and_check(number, &step, &arguments, output).await
    }

    async fn print_and_check(
        &self,
        number: usize,
        step: &Step<'_>,
        arguments: &[OsString],
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        let typed = self.program.typed(arguments);
        output.line(&format!("\n{number}. {}\n$ {typed}", step.title))?;
        let outcome = self.program.run(arguments).await?;
        for line in outcome.stdout.lines().chain(outcome.stderr.lines()) {
            output.line(&format!("  {line}"))?;
        }
        if step.code != 0 {
            output.line(&format!("  (exit code {})", shown(outcome.code)))?;
        }
        let said = outcome.stdout.contains(step.expected) || outcome.stderr.contains(step.expected);
        if outcome.code == Some(step.code) && said {
            return Ok(outcome);
        }
        Err(Failure::new(
            Exit::Failed,
            format!(
                "step {number} did not do as said: `{typed}` ended with {} where {} was due, and what came back {} `{}`",
                shown(outcome.code),
                step.code,
                if said { "has" } else { "does not have" },
                step.expected,
            ),
        ))
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn shown(code: Option<i32>) -> String {
    code.map_or_else(|| "a signal".to_owned(), |code| code.to_string())
}

/// The id in what `lease get` wrote.
fn lease_id(outcome: &Outcome) -> Result<String, Failure> {
    let parsed: Option<Value> = serde_json::from_str(&outcome.stdout).ok();
    let id = parsed.and_then(|json| Some(json.get("lease")?.get("id")?.as_str()?.to_owned()));
    id.ok_or_else(|| Failure::new(Exit::Failed, "the lease's id is not in what came back"))
}
