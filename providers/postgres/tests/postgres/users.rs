//! How users are made and renewed.

use std::time::Duration;

use leasehold_core::{ports::Provider, provider::ErrorClass, ttl::after};
use leasehold_provider_conformance::peers::{Postgres, or_skip};
use leasehold_provider_postgres::{PostgresConfig, PostgresRole};

use crate::kit::{OWN_PASSWORD, TTL, World, field, lease, make, make_for, provider, until};

#[tokio::test]
async fn a_user_is_what_its_role_says_and_its_name_says_its_lease() {
    let Some(world) = World::start().await else { return };
    let sql =
        "CREATE TABLE orders(n int); GRANT SELECT ON orders TO payments_read; INSERT INTO orders VALUES (7)";
    world.postgres.run(sql).await.unwrap();
    let made = make(world.users(), "payments-read").await.unwrap();
    assert_eq!(made.user, format!("lh_payments_read_{}", made.lease.suffix()));
    assert_eq!(made.credential.version.as_str(), made.user);
    assert!(made.password.len() >= 32);
    let session = world.postgres.open(&made.user, &made.password, "postgres").await.unwrap();
    assert_eq!(session.run("SELECT n FROM orders").await.unwrap(), [["7"]]);
    assert!(session.run("DELETE FROM orders").await.is_err());
    assert!(session.run("CREATE ROLE x").await.is_err());
    let sql = format!(
        "SELECT rolsuper, rolcreaterole, rolcanlogin, round(extract(epoch FROM rolvaliduntil)), \
         left(rolpassword, 19), shobj_description(oid, 'pg_authid') FROM pg_authid WHERE rolname = '{}'",
        made.user
    );
    let row = world.postgres.run(&sql).await.unwrap().remove(0);
    assert_eq!(row[..3], ["f", "f", "t"]);
    let end = after(made.credential.expires_at.unwrap(), Duration::from_secs(60));
    assert!(row[3].parse::<i64>().unwrap().abs_diff(end.as_second()) <= 1, "{row:?}");
    assert_eq!(row[4], "SCRAM-SHA-256$4096:");
    let tag = format!(
        r#"{{"leasehold":"{}","role":"payments-read","holder":"spiffe://example.org/prod/web"}}"#,
        made.lease
    );
    assert_eq!(row[5], tag);
}

#[tokio::test]
async fn neither_the_server_nor_its_log_sees_a_password() {
    let settings = ["log_statement=all", "log_min_duration_statement=0", "log_min_messages=debug1"];
    let Some(postgres) = or_skip(Postgres::start_set(&settings).await).unwrap() else { return };
    let world = World::of(postgres).await.unwrap();
    let made = make(world.users(), "payments-read").await.unwrap();
    assert!(world.postgres.lets_in(&made.user, &made.password).await.unwrap());
    made.end(world.users()).await.unwrap();
    until("the drop is logged", async || world.postgres.log().contains("DROP ROLE")).await;
    let log = world.postgres.log();
    assert!(log.contains("CREATE ROLE") && log.contains("SCRAM-SHA-256$4096:"), "statements are logged");
    assert!(!log.contains(&made.password), "the log has the password");
    // It is there once: from this test's own setup.
    assert_eq!(log.matches(OWN_PASSWORD).count(), log.matches(&format!("PASSWORD '{OWN_PASSWORD}'")).count());
}

#[tokio::test]
async fn a_renewed_user_is_let_in_for_longer_and_one_that_ended_is_absent() {
    let Some(world) = World::start().await else { return };
    let made = make(world.users(), "payments-read").await.unwrap();
    let end = made.credential.expires_at.unwrap();
    let longer = after(end, TTL);
    assert_eq!(made.renew(world.users(), longer).await.unwrap(), longer);
    let seen = world.users().look_up(made.handle()).await.unwrap().unwrap();
    let expected = after(longer, Duration::from_secs(60)).as_second();
    assert!(seen.as_second().abs_diff(expected) <= 1, "{seen} {expected}");
    world.postgres.run(&format!("ALTER ROLE {} NOLOGIN", made.user)).await.unwrap();
    assert_eq!(made.renew(world.users(), longer).await.unwrap_err().class, ErrorClass::Absent);
    assert_eq!(world.users().look_up(made.handle()).await.unwrap_err().class, ErrorClass::Absent);
    world.postgres.run(&format!("DROP ROLE {}", made.user)).await.unwrap();
    assert_eq!(made.renew(world.users(), longer).await.unwrap_err().class, ErrorClass::Absent);
    assert_eq!(world.users().look_up(made.handle()).await.unwrap_err().class, ErrorClass::Absent);
    made.end(world.users()).await.unwrap();
}

#[tokio::test]
async fn the_server_itself_stops_letting_a_user_in() {
    let Some(world) = World::start().await else { return };
    let config = PostgresConfig { margin: Duration::ZERO, ..world.home.config(world.postgres.address()) };
    let brief = provider(config);
    let users = brief.issuer().unwrap();
    let made = make_for(users, "payments-read", lease(), Duration::from_secs(3)).await.unwrap();
    assert!(world.postgres.lets_in(&made.user, &made.password).await.unwrap());
    until("its time is over", async || !world.postgres.lets_in(&made.user, &made.password).await.unwrap())
        .await;
}

#[tokio::test]
async fn a_user_asked_for_twice_is_made_once_and_has_the_last_password() {
    let Some(world) = World::start().await else { return };
    let lease = lease();
    let first = make_for(world.users(), "payments-read", lease, TTL).await.unwrap();
    let second = make_for(world.users(), "payments-read", lease, TTL).await.unwrap();
    assert_eq!(first.user, second.user);
    assert_ne!(first.password, second.password);
    assert!(!world.postgres.lets_in(&first.user, &first.password).await.unwrap());
    assert!(world.postgres.lets_in(&second.user, &second.password).await.unwrap());
    assert_eq!(world.living().await, [second.user]);
}

#[tokio::test]
async fn statements_of_the_configuration_are_run_with_quoted_parameters() {
    let Some(world) = World::start().await else { return };
    world.postgres.run("CREATE TABLE log(t text); GRANT ALL ON log TO leasehold").await.unwrap();
    let role = PostgresRole {
        creation: vec![
            "CREATE ROLE {{name}} LOGIN PASSWORD {{password_verifier}} VALID UNTIL {{expiration}}".into(),
            "ALTER ROLE {{name}} SET statement_timeout = '7min' -- longer\n".into(),
            "INSERT INTO log VALUES ({{name:literal}}), ({{lease}}), ({{holder}}), ({{role}});".into(),
        ],
        renewal: vec![
            "ALTER ROLE {{name}} VALID UNTIL {{expiration}}".into(),
            "INSERT INTO log VALUES ('renewed')".into(),
        ],
        revocation: vec!["INSERT INTO log SELECT 'ended' || {{name:literal}}".into()],
        ..PostgresRole::default()
    };
    let mut config = world.home.config(world.postgres.address());
    let hostile = "it's; DROP TABLE log --\\";
    config.roles.insert(hostile.to_owned(), role);
    let own = provider(config);
    let users = own.issuer().unwrap();
    let made = make(users, hostile).await.unwrap();
    let session = world.postgres.open(&made.user, &made.password, "postgres").await.unwrap();
    assert_eq!(session.run("SHOW statement_timeout").await.unwrap(), [["7min"]]);
    let until = after(made.credential.expires_at.unwrap(), TTL);
    made.renew(users, until).await.unwrap();
    made.end(users).await.unwrap();
    let said: Vec<_> = world.postgres.run("SELECT t FROM log").await.unwrap().into_iter().flatten().collect();
    let expected = [
        made.user.clone(),
        made.lease.to_string(),
        "spiffe://example.org/prod/web".into(),
        hostile.into(),
        "renewed".into(),
        format!("ended{}", made.user),
    ];
    assert_eq!(said, expected);
    assert!(world.living().await.is_empty());
}

#[tokio::test]
async fn many_users_are_made_and_ended_at_once() {
    let Some(world) = World::start().await else { return };
    let making = (0..40).map(|_| make(world.users(), "payments-read"));
    let made: Vec<_> = futures(making).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(world.living().await.len(), 40);
    let passwords: std::collections::BTreeSet<_> =
        made.iter().map(|made| field(&made.credential.value, "password")).collect();
    assert_eq!(passwords.len(), 40);
    for ended in futures(made.iter().map(|made| made.end(world.users()))).await {
        ended.unwrap();
    }
    assert!(world.living().await.is_empty());
}

/// All of them at once, in one task.
async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(move |cx| {
        for (future, done) in waiting.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(cx) {
                *done = Some(value);
            }
        }
        if waiting.iter().all(|(_, done)| done.is_some()) {
            return std::task::Poll::Ready(waiting.iter_mut().filter_map(|(_, done)| done.take()).collect());
        }
        std::task::Poll::Pending
    })
    .await
}

#[tokio::test]
async fn without_randomness_nothing_is_made() {
    struct Empty;
    impl leasehold_core::ports::Entropy for Empty {
        fn fill(&self, _: &mut [u8]) -> Result<(), leasehold_core::ports::NoEntropy> {
            Err(leasehold_core::ports::NoEntropy)
        }
    }
    let home = crate::kit::Home::new();
    let provider = leasehold_provider_postgres::PostgresProvider::new(
        home.config("127.0.0.1:1"),
        None,
        std::sync::Arc::new(crate::kit::Wall::default()),
        std::sync::Arc::new(Empty),
    );
    let provider = provider.unwrap();
    let error = make(provider.issuer().unwrap(), "payments-read").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.to_string().contains("randomness"), "{error}");
}
