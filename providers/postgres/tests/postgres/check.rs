//! What `check` says, and that following it is enough.

use std::sync::{Arc, atomic::Ordering};

use leasehold_core::{
    ports::Provider,
    provider::{Demand, Finding, Verdict},
};
use leasehold_provider_postgres::{Administrator, PostgresConfig, PostgresProvider, PostgresRole};

use crate::kit::{Dice, Wall, World, make, provider};

fn demands() -> Vec<Demand> {
    ["payments-read", "payments-migrate"].map(|role| Demand::Issue { role: role.into() }).into()
}

/// What failed: problems, and the lines that would allow it.
fn failed(findings: &[Finding]) -> Vec<(String, String)> {
    let parts = |finding: &Finding| match &finding.verdict {
        Verdict::Failed { problem, grant, .. } => Some((problem.clone(), grant.clone().unwrap_or_default())),
        Verdict::Passed(_) | Verdict::NotTried(_) => None,
    };
    findings.iter().filter_map(parts).collect()
}

#[tokio::test]
async fn the_examples_setup_is_enough_and_the_check_changes_nothing() {
    let Some(world) = World::start().await else { return };
    let findings = world.provider.check(&demands()).await;
    assert_eq!(findings.len(), 5, "{findings:?}");
    assert!(failed(&findings).is_empty(), "{findings:?}");
    assert!(world.living().await.is_empty());
}

#[tokio::test]
async fn what_is_taken_away_is_named_with_the_line_that_gives_it_back() {
    let Some(world) = World::start().await else { return };
    for (taken, problem, line) in [
        ("ALTER ROLE leasehold NOCREATEROLE", "may not make roles", "ALTER ROLE \"leasehold\" CREATEROLE;"),
        (
            "REVOKE payments_owner FROM leasehold",
            "may not give anything to `payments_owner`",
            "GRANT \"payments_owner\" TO \"leasehold\";",
        ),
        (
            "DROP ROLE payments_read",
            "there is no role `payments_read`",
            "CREATE ROLE \"payments_read\" NOLOGIN;",
        ),
        (
            "ALTER ROLE leasehold SUPERUSER",
            "is a superuser",
            "ALTER ROLE \"leasehold\" NOSUPERUSER CREATEROLE;",
        ),
    ] {
        world.postgres.run(taken).await.unwrap();
        let findings = world.provider.check(&demands()).await;
        let failures = failed(&findings);
        let found = failures.iter().find(|(said, grant)| said.contains(problem) && grant.contains(line));
        assert!(found.is_some(), "{taken}: {findings:?}");
        for (_, grant) in failures {
            world.postgres.run(&grant).await.unwrap();
        }
        let findings = world.provider.check(&demands()).await;
        assert!(failed(&findings).is_empty(), "after {taken}: {findings:?}");
    }
    make(world.users(), "payments-migrate").await.unwrap();
}

#[tokio::test]
async fn statements_are_rehearsed_and_taken_back() {
    let Some(world) = World::start().await else { return };
    let mut config = world.home.config(world.postgres.address());
    let creating = |more: &str| PostgresRole {
        creation: vec![
            "CREATE ROLE {{name}} LOGIN PASSWORD {{password_verifier}} VALID UNTIL {{expiration}}".into(),
            more.into(),
        ],
        ..PostgresRole::default()
    };
    config.roles.insert("wrong".into(), creating("GRANT SELECT ON nothing TO {{name}}"));
    config.roles.insert("odd".into(), creating("GRUNT"));
    config.roles.insert("mighty".into(), creating("ALTER ROLE {{name}} SUPERUSER"));
    let provider = provider(config);
    for (role, state) in
        [("wrong", "42P01"), ("odd", "42601"), ("mighty", "42501"), ("absent", "no [[role]]")]
    {
        let findings = provider.check(&[Demand::Issue { role: role.into() }]).await;
        let failures = failed(&findings);
        assert!(failures.len() == 1 && failures[0].0.contains(state), "{role}: {findings:?}");
    }
    let reading = provider.check(&[Demand::Read { reference: "x".into() }]).await;
    assert!(failed(&reading)[0].0.contains("no secrets to read"), "{reading:?}");
    assert!(world.living().await.is_empty());
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why_and_the_rest_is_not_tried() {
    let Some(world) = World::start().await else { return };
    let good = world.home.config(world.postgres.address());
    let password_file = world.home.put("wrong", "canary-wrong");
    let wrong = Administrator::File { user: "leasehold".into(), password_file };
    for (config, words) in [
        (PostgresConfig { address: "127.0.0.1:1".into(), ..good.clone() }, "cannot be reached"),
        (PostgresConfig { database: "nothing".into(), ..good.clone() }, "set `database`"),
        (PostgresConfig { administrator: wrong, ..good.clone() }, "`password_file`"),
    ] {
        let findings = provider(config).check(&demands()).await;
        let shown = format!("{findings:?}");
        assert_eq!((findings.len(), failed(&findings).len()), (3, 1), "{shown}");
        assert!(shown.contains(words) && !shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn clocks_that_differ_are_told() {
    let Some(world) = World::start().await else { return };
    let wall = Wall::default();
    wall.0.store(-300, Ordering::SeqCst);
    let config = world.home.config(world.postgres.address());
    let late = PostgresProvider::new(config, None, Arc::new(wall), Arc::new(Dice)).unwrap();
    let findings = late.check(&[]).await;
    let failures = failed(&findings);
    assert!(failures.len() == 1 && failures[0].0.contains("behind PostgreSQL's"), "{findings:?}");
}
