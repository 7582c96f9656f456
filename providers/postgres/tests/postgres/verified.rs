//! The proof of an end: the old credential is tried.

use leasehold_core::provider::{ErrorClass, RevokeCredential, Verification};
use leasehold_provider_conformance::proxy::{Fault, FaultProxy, Injection};
use leasehold_provider_postgres::{PostgresProvider, PostgresRole};

use crate::kit::{Made, World, make, provider};

/// A table that keeps verifiers; a function that makes a user an owner, so that it is kept; and one that gives it back
/// what was taken from it.
const UNDOING: &str = "CREATE TABLE kept(name text, verifier text); \
    CREATE FUNCTION keep(who text, verifier text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ \
    BEGIN INSERT INTO kept VALUES (who, verifier); EXECUTE format('CREATE SCHEMA AUTHORIZATION %I', who); END $$; \
    CREATE FUNCTION undo(who text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ \
    DECLARE known text; BEGIN SELECT verifier INTO known FROM kept WHERE name = who; \
    EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', who, known); END $$";
const DOING_NOTHING: &str = "CREATE OR REPLACE FUNCTION undo(who text) RETURNS void LANGUAGE sql AS ''";

/// A provider of users whose end is undone as soon as it is made.
pub(crate) async fn undoing(world: &World, role: &str) -> PostgresProvider {
    world.postgres.run(UNDOING).await.unwrap();
    let undone = PostgresRole {
        creation: vec![
            "CREATE ROLE {{name}} LOGIN PASSWORD {{password_verifier}} VALID UNTIL {{expiration}}".into(),
            "SELECT keep({{name:literal}}, {{password_verifier}})".into(),
        ],
        revocation: vec!["SELECT undo({{name:literal}})".into()],
        ..PostgresRole::default()
    };
    let mut config = world.home.config(world.postgres.address());
    config.roles.insert(role.into(), undone);
    provider(config)
}

async fn undone() -> Option<(World, Made)> {
    let world = World::start().await?;
    let world = World { provider: undoing(&world, "undone").await, ..world };
    let made = make(world.users(), "undone").await.unwrap();
    Some((world, made))
}

#[tokio::test]
async fn a_user_that_is_let_in_again_is_still_valid_until_it_is_not() {
    let Some((world, made)) = undone().await else { return };
    for _ in 0..2 {
        assert_eq!(made.end(world.users()).await.unwrap(), Verification::StillValid);
        assert!(world.postgres.lets_in(&made.user, &made.password).await.unwrap(), "the verdict is wrong");
    }
    // By its lease alone nobody has its password, so nothing can be said but that it may log in.
    let by_lease = RevokeCredential { lease: made.lease, handle: None };
    assert_eq!(world.users().revoke(by_lease).await.unwrap(), Verification::Unverifiable);
    world.postgres.run(DOING_NOTHING).await.unwrap();
    assert_eq!(made.end(world.users()).await.unwrap(), Verification::Verified);
    assert!(!world.postgres.lets_in(&made.user, &made.password).await.unwrap());
}

#[tokio::test]
async fn a_user_that_may_log_in_and_not_come_into_the_database_is_still_valid() {
    let Some((world, made)) = undone().await else { return };
    let sql =
        "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO leasehold";
    world.postgres.run(sql).await.unwrap();
    assert_eq!(made.end(world.users()).await.unwrap(), Verification::StillValid);
}

#[tokio::test]
async fn what_is_found_by_its_lease_alone_is_looked_up() {
    let Some(world) = World::start().await else { return };
    let made = make(world.users(), "payments-read").await.unwrap();
    for _ in 0..2 {
        let by_lease = RevokeCredential { lease: made.lease, handle: None };
        assert_eq!(world.users().revoke(by_lease).await.unwrap(), Verification::Verified);
        assert!(world.living().await.is_empty());
    }
    assert_eq!(made.end(world.users()).await.unwrap(), Verification::Verified, "there is none any more");
}

#[tokio::test]
async fn what_carries_the_tag_is_ended_by_what_is_listed_of_it() {
    let Some(world) = World::start().await else { return };
    let made = make(world.users(), "payments-migrate").await.unwrap();
    let found = world.users().tagged().await.unwrap().remove(0);
    assert_eq!((found.lease, &found.name), (made.lease, &made.user));
    let request = RevokeCredential { lease: found.lease, handle: found.handle.as_ref() };
    assert_eq!(world.users().revoke(request).await.unwrap(), Verification::Verified);
    assert!(world.living().await.is_empty() && world.users().tagged().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_trial_that_gets_no_answer_is_no_failure_of_the_end() {
    let Some(world) = World::start().await else { return };
    let proxy = FaultProxy::start(world.postgres.address()).await.unwrap();
    let through = provider(world.home.config(proxy.address()));
    let users = leasehold_core::ports::Provider::issuer(&through).unwrap();
    let made = make(users, "payments-read").await.unwrap();
    // Only the trial's connection names the user where a server is greeted.
    proxy.inject(Injection::of(Fault::CutBefore).on(format!("user\0{}", made.user)));
    assert_eq!(made.end(users).await.unwrap(), Verification::Verified, "it was looked up");
    assert!(world.living().await.is_empty());
    let error = users.look_up(made.handle()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Absent);
}
