//! How users end: no login, no session, nothing left behind but what was to be kept.

use leasehold_core::{
    ports::Provider,
    provider::{ErrorClass, RevokeCredential, Verification},
};
use leasehold_provider_postgres::{Owned, PostgresRole};

use crate::kit::{World, lease, make, provider, until};

#[tokio::test]
async fn its_sessions_end_with_it() {
    let Some(world) = World::start().await else { return };
    let made = make(world.users(), "payments-read").await.unwrap();
    let other = make(world.users(), "payments-read").await.unwrap();
    let open =
        async |of: &crate::kit::Made| world.postgres.open(&of.user, &of.password, "postgres").await.unwrap();
    let (session, idle, bystander) = (open(&made).await, open(&made).await, open(&other).await);
    session.run("BEGIN; SELECT 1").await.unwrap();
    assert_eq!(made.end(world.users()).await.unwrap(), Verification::Verified);
    assert!(session.run("SELECT 1").await.is_err() && idle.run("SELECT 1").await.is_err());
    assert!(!world.postgres.lets_in(&made.user, &made.password).await.unwrap());
    assert!(bystander.run("SELECT 1").await.is_ok());
    assert_eq!(world.living().await, [other.user]);
}

/// A user that has made a table in this database, and a server where it may.
async fn owner(world: &World, role: &str, database: &str) -> crate::kit::Made {
    world.postgres.run_in(database, "GRANT CREATE ON SCHEMA public TO payments_owner, PUBLIC").await.unwrap();
    let made = make(world.users(), role).await.unwrap();
    let session = world.postgres.open(&made.user, &made.password, database).await.unwrap();
    session.run("CREATE TABLE precious(n int); INSERT INTO precious VALUES (7)").await.unwrap();
    made
}

const OWNER: &str = "SELECT tableowner FROM pg_tables WHERE tablename = 'precious'";

#[tokio::test]
async fn what_it_owns_is_kept_and_it_can_never_log_in_again() {
    let Some(world) = World::start().await else { return };
    let made = owner(&world, "payments-read", "postgres").await;
    for _ in 0..2 {
        made.end(world.users()).await.unwrap();
        assert!(!world.postgres.lets_in(&made.user, &made.password).await.unwrap());
        assert_eq!(world.postgres.run(OWNER).await.unwrap(), [[made.user.clone()]]);
    }
    assert_eq!(world.postgres.run("SELECT n FROM precious").await.unwrap(), [["7"]]);
    assert_eq!(world.users().look_up(made.handle()).await.unwrap_err().class, ErrorClass::Absent);
    assert!(world.users().tagged().await.unwrap().is_empty());
    // From 16 on, who makes a role may grant it for as long as it lives; nothing else is left.
    let sql = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid \
               WHERE rolname LIKE 'lh%' AND NOT admin_option";
    assert_eq!(world.postgres.run(sql).await.unwrap(), [["0"]]);
}

#[tokio::test]
async fn what_it_owns_becomes_anothers_in_every_database() {
    let Some(world) = World::start().await else { return };
    world.postgres.run("CREATE DATABASE elsewhere").await.unwrap();
    for database in ["postgres", "elsewhere"] {
        let made = owner(&world, "payments-migrate", database).await;
        made.end(world.users()).await.unwrap();
        assert_eq!(world.postgres.run_in(database, OWNER).await.unwrap(), [["payments_owner"]], "{database}");
    }
    assert!(world.living().await.is_empty());
}

#[tokio::test]
async fn what_it_owns_is_dropped_where_that_is_said() {
    let Some(world) = World::start().await else { return };
    let made = owner(&world, "payments-scratch", "postgres").await;
    made.end(world.users()).await.unwrap();
    assert!(world.postgres.run(OWNER).await.unwrap().is_empty());
    assert!(world.living().await.is_empty());
}

#[tokio::test]
async fn privileges_of_its_own_do_not_keep_it() {
    let Some(world) = World::start().await else { return };
    let sql = "CREATE TABLE t(n int); GRANT SELECT ON t TO leasehold WITH GRANT OPTION";
    world.postgres.run(sql).await.unwrap();
    let role = PostgresRole {
        creation: vec![
            "CREATE ROLE {{name}} LOGIN PASSWORD {{password_verifier}} VALID UNTIL {{expiration}}".into(),
            "GRANT SELECT ON t TO {{name}}".into(),
        ],
        ..PostgresRole::default()
    };
    let mut config = world.home.config(world.postgres.address());
    config.roles.insert("direct".into(), role);
    let own = provider(config);
    let made = make(own.issuer().unwrap(), "direct").await.unwrap();
    let session = world.postgres.open(&made.user, &made.password, "postgres").await.unwrap();
    session.run("SELECT * FROM t").await.unwrap();
    // Whoever has been taken out of the configuration is ended as well.
    made.end(world.users()).await.unwrap();
    assert!(world.living().await.is_empty());
    assert!(world.postgres.run("SELECT * FROM t").await.is_ok());
}

#[tokio::test]
async fn a_user_is_found_by_its_lease_and_no_other_is_touched() {
    let Some(world) = World::start().await else { return };
    let (made, other) = (
        make(world.users(), "payments-read").await.unwrap(),
        make(world.users(), "payments-migrate").await.unwrap(),
    );
    let none = RevokeCredential { lease: lease(), handle: None };
    world.users().revoke(none).await.unwrap();
    let swapped = RevokeCredential { lease: made.lease, handle: Some(other.handle()) };
    assert_eq!(world.users().revoke(swapped).await.unwrap_err().class, ErrorClass::Invalid);
    assert_eq!(world.living().await.len(), 2);
    let tagged = world.users().tagged().await.unwrap();
    assert_eq!(tagged.len(), 2);
    let found = tagged.iter().find(|one| one.lease == made.lease).unwrap();
    assert_eq!(found.name, made.user);
    for _ in 0..2 {
        world.users().revoke(RevokeCredential { lease: made.lease, handle: None }).await.unwrap();
        assert_eq!(world.living().await, std::slice::from_ref(&other.user));
    }
}

#[tokio::test]
async fn a_user_that_is_still_being_made_is_waited_for() {
    let Some(world) = World::start().await else { return };
    let lease = lease();
    let key = i64::from_be_bytes(lease.bits()[..8].try_into().unwrap());
    let name = format!("lh_payments_read_{}", lease.suffix());
    let postgres = &world.postgres;
    // As the server sees a call of ours whose caller has gone away.
    let slow = postgres.open("leasehold", crate::kit::OWN_PASSWORD, "postgres").await.unwrap();
    slow.run(&format!("BEGIN; SELECT pg_advisory_xact_lock({key}); CREATE ROLE {name} LOGIN")).await.unwrap();
    let revoking = world.users().revoke(RevokeCredential { lease, handle: None });
    let committing = async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        until("the revocation waits", async || postgres.run(waiting).await.unwrap() == [["1"]]).await;
        slow.run("COMMIT").await.unwrap();
    };
    let (revoked, ()) = tokio::join!(revoking, committing);
    revoked.unwrap();
    assert!(world.living().await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_given_away_says_so_and_the_user_stays_locked_out() {
    let Some(world) = World::start().await else { return };
    let mut config = world.home.config(world.postgres.address());
    let role = PostgresRole {
        owned: Owned::Reassign("payments_owner".into()),
        ..PostgresRole::granting(["payments_read"])
    };
    config.roles.insert("payments-read".into(), role);
    let world = World { provider: provider(config), ..world };
    let made = owner(&world, "payments-read", "postgres").await;
    world.postgres.run("REVOKE payments_owner FROM leasehold").await.unwrap();
    let error = made.end(world.users()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    assert!(!world.postgres.lets_in(&made.user, &made.password).await.unwrap());
    world.postgres.run("GRANT payments_owner TO leasehold WITH ADMIN OPTION").await.unwrap();
    made.end(world.users()).await.unwrap();
    assert!(world.living().await.is_empty());
}
