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
    pub(super) program: &'s Program,
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
        self.rotation(&lease, &mut count, output).await?;
        let mut step = async |step: Step<'_>| {
            count = count.saturating_add(1);
            self.step(count, step, output).await
        };
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

    /// A rotation, and a holder that is told of it.
    async fn rotation(&self, lease: &str, count: &mut usize, output: &mut Output) -> Result<(), Failure> {
        let mut number = || {
            *count = count.saturating_add(1);
            *count
        };
        let watch = Step {
            title: "The workload watches its leases, as long as it runs.",
            who: Some(Who::Payments),
            arguments: words(&["lease", "watch", "--limit", "2"]),
            code: 0,
            expected: "rotated",
        };
        let watching = self.complete(&watch);
        let watched = number();
        output.line(&format!("\n{watched}. {}\n$ {} &", watch.title, self.program.typed(&watching)))?;
        let watcher = self.program.watch(&watching, lease).await?;
        let rotate = Step {
            title: "The operator has the secret rotated: a new password is current, the old one has a holder.",
            who: Some(Who::Admin),
            arguments: words(&["secret", "rotate", SECRET, "--reason", "somebody left", "--wait=current"]),
            code: 0,
            expected: "draining",
        };
        self.step(number(), rotate, output).await?;
        output.line("\n   The watch that goes on has told the holder:")?;
        let told = watcher.ended().await?;
        self.check(watched, &watch, &self.program.typed(&watching), told, output)?;
        let moved = Step {
            title: "The holder moves to the new version, with the same lease.",
            who: Some(Who::Payments),
            arguments: words(&["lease", "renew", lease, "--accept-rotation"]),
            code: 0,
            expected: lease,
        };
        self.step(number(), moved, output).await?;
        let ended = Step {
            title: "Nobody holds the old version any more, so it is retired, long before its deadline.",
            who: Some(Who::Admin),
            arguments: words(&["rotation", "watch", SECRET]),
            code: 0,
            expected: "which is dead",
        };
        self.step(number(), ended, output).await?;
        Ok(())
    }

    /// Runs one step against the broker.
    async fn step(&self, number: usize, step: Step<'_>, output: &mut Output) -> Result<Outcome, Failure> {
        self.print_and_check(number, &step, &self.complete(&step), output).await
    }

    /// A step's arguments, with how to reach the broker and as whom.
    fn complete(&self, step: &Step<'_>) -> Vec<OsString> {
        let mut arguments = words(&["--addr", &self.site.address().to_string()]);
        if let Some(who) = step.who {
            arguments.push("--identity".into());
            arguments.push(self.site.identity(who).into());
        }
        arguments.extend(step.arguments.iter().cloned());
        arguments
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
        self.check(number, step, &typed, outcome, output)
    }

    /// Prints what a command came to, and holds it to what it should do.
    fn check(
        &self,
        number: usize,
        step: &Step<'_>,
        typed: &str,
        outcome: Outcome,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        let table = is_table(&outcome.stdout);
        for line in outcome.stdout.lines().map(|line| format!("  {line}")) {
            if table { output.line_that_fits(&line)? } else { output.line(&line)? }
        }
        for line in outcome.stderr.lines() {
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

/// Whether it begins with the names of columns.
fn is_table(text: &str) -> bool {
    text.lines()
        .next()
        .is_some_and(|head| head.contains("  ") && head.chars().all(|c| c.is_ascii_uppercase() || c == ' '))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_begins_with_the_names_of_its_columns() {
        assert!(is_table("LEASE  MAX TTL\nlease-aeaq  1h\n"));
        for other in ["lease    lease-aeaq\n", "journal  /x\n", "", "HsRQ\n"] {
            assert!(!is_table(other), "{other}");
        }
    }
}
