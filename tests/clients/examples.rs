//! The examples of the Rust client, as somebody runs them who reads `docs/sdk-rust.md`.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use leasehold_client::Write;
use leasehold_core::SecretValue;
use leasehold_provider_conformance::peers::{Postgres, or_skip};
use leasehold_tests::{
    binaries,
    daemon::{self, Daemon},
    logins, rotations,
    site::{Plan, SECRET, Site},
};

use crate::users;

/// An example that runs until its input ends.
struct Example {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Example {
    /// Starts it with the workload's identity in its environment.
    fn start(site: &Site, name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(binaries::example(name));
        let variables = site.leasehold("workload");
        command.envs(variables.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { input: child.stdin.take(), child, output }
    }

    /// The next line that begins like this; others are passed over.
    fn line(&mut self, start: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "it ended without {start:?}:\n{all}");
            if line.starts_with(start) {
                return line.trim_end().to_owned();
            }
            all.push_str(&line);
        }
    }

    /// Ends its input, and gives what it says then.
    fn end(mut self) -> String {
        drop(self.input.take());
        let mut rest = String::new();
        while self.output.read_line(&mut rest).unwrap() > 0 {}
        let status = self.child.wait().unwrap();
        assert!(status.success(), "it ended with {status}:\n{rest}");
        rest
    }
}

fn write(fields: &[(&str, &str)]) -> Write {
    let fields = fields.iter().map(|(name, text)| (name.parse().unwrap(), (*text).to_owned().into()));
    Write {
        secret: SECRET.parse().unwrap(),
        value: SecretValue { fields: fields.collect(), content_type: SecretValue::TEXT.into() },
        expected: None,
        request_id: None,
    }
}

#[tokio::test]
async fn the_first_example_holds_a_secret_through_a_rotation() {
    let site = Site::new(Plan::default());
    let broker = Daemon::start(&site).await;
    let operator = daemon::operator(&site).await.operator();
    operator.write_secret(write(&[("value", "canary-5e1f")])).await.unwrap();
    let mut example = Example::start(&site, "lease", &[SECRET]);
    let held = example.line("held: ");
    assert!(held.contains("(value) until "), "{held}");
    operator.write_secret(write(&[("value", "canary-b007")])).await.unwrap();
    let replaced = example.line("replaced: ");
    let rest = example.end();
    assert!(rest.ends_with("given back\n"), "{rest}");
    assert!(![held, replaced, rest].concat().contains("canary"), "it shows no value");
    broker.stop().await;
}

/// How many queries there were, as how many users, and how many failed.
fn counted(said: &str) -> [u64; 3] {
    let last = said.lines().last().unwrap();
    let numbers: Vec<_> = last.split(' ').filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("it does not count: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_of_the_pool_fails_through_rotations_and_each_old_password_is_dead() {
    let Some(postgres) = or_skip(Postgres::start().await).unwrap() else { return };
    postgres.run(logins::SETUP).await.unwrap();
    let site = logins::site(&postgres);
    let broker = Daemon::start(&site).await;
    let operator = daemon::operator(&site).await.operator();
    operator.write_secret(write(&[("username", "payments_a"), ("password", "first")])).await.unwrap();
    let server = postgres.address().to_string();
    let mut example = Example::start(&site, "postgres_pool", &[SECRET, &server, "postgres"]);
    example.line("ready");
    for _ in 0..4 {
        let rotation = rotations::rotate(&operator, &SECRET.parse().unwrap()).await;
        // It came to its end before its deadline, which is half an hour away: the pool gave the old lease back.
        let last = rotation.last.unwrap();
        assert_eq!(last.outcome(), leasehold_client::proto::RotationOutcome::Retired, "{last:?}");
        assert_eq!(last.verification(), leasehold_client::proto::LeaseVerification::Verified, "{last:?}");
    }
    let said = example.end();
    let [queries, users, failed] = counted(&said);
    assert_eq!((users, failed), (2, 0), "{said}");
    // How many depends on how fast the rotations are.
    assert!(queries >= 20, "{said}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_of_the_pool_fails_when_users_of_its_own_reach_their_longest_life() {
    let Some(postgres) = or_skip(Postgres::start().await).unwrap() else { return };
    postgres.run(users::SETUP).await.unwrap();
    let site = users::site(&postgres);
    let broker = Daemon::start(&site).await;
    let workload = site.client("workload").connect().await.unwrap();
    let server = postgres.address().to_string();
    let mut example = Example::start(&site, "postgres_pool", &[SECRET, &server, "postgres"]);
    example.line("ready");
    users::come_and_go(&workload, 3).await;
    let said = example.end();
    let [queries, users, failed] = counted(&said);
    assert_eq!(failed, 0, "{said}");
    assert!(users >= 3 && queries > 100, "{said}");
    broker.stop().await;
}
