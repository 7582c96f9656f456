//! What goes wrong between the broker and PostgreSQL.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use leasehold_core::{ports::Provider, provider::ErrorClass};
use leasehold_provider_conformance::{
    peers::{Postgres, or_skip},
    proxy::{Fault, FaultProxy, Injection},
};
use leasehold_provider_postgres::{Administrator, PostgresConfig};

use crate::kit::{OWN_PASSWORD, SETUP, World, make, provider, until};

#[tokio::test]
async fn a_server_that_was_restarted_is_found_again() {
    let Some(world) = World::start().await else { return };
    let made = make(world.users(), "payments-read").await.unwrap();
    let World { postgres, home: _home, provider } = world;
    let postgres = postgres.restarted().await.unwrap();
    made.end(provider.issuer().unwrap()).await.unwrap();
    assert!(!postgres.lets_in(&made.user, &made.password).await.unwrap());
    assert!(provider.sign_in().problem.is_none());
}

#[tokio::test]
async fn a_cut_connection_is_replaced_and_the_call_repeated() {
    let Some(world) = World::start().await else { return };
    let proxy = FaultProxy::start(world.postgres.address()).await.unwrap();
    let behind = provider(world.home.config(proxy.address()));
    let users = behind.issuer().unwrap();
    make(users, "payments-read").await.unwrap();
    proxy.cut_connections();
    make(users, "payments-read").await.unwrap();
    // The server makes the user, and its answer is lost: the repetition finds it and makes it anew.
    proxy.inject(Injection::of(Fault::LoseAnswer).on("CREATE ROLE").times(1));
    let made = make(users, "payments-read").await.unwrap();
    assert_eq!(proxy.played(), 1);
    assert!(world.postgres.lets_in(&made.user, &made.password).await.unwrap());
    assert_eq!(world.living().await.len(), 3);
    proxy.inject(Injection::of(Fault::LoseAnswer).on("DROP ROLE").times(1));
    made.end(users).await.unwrap();
    assert_eq!((proxy.played(), world.living().await.len()), (2, 2));
}

#[tokio::test]
async fn silence_ends_in_time_and_its_connection_is_not_used_again() {
    let Some(world) = World::start().await else { return };
    let proxy = FaultProxy::start(world.postgres.address()).await.unwrap();
    let config = PostgresConfig {
        timeout: Duration::from_millis(1500),
        connections: 1,
        ..world.home.config(proxy.address())
    };
    let hasty = provider(config);
    let users = hasty.issuer().unwrap();
    make(users, "payments-read").await.unwrap();
    proxy.inject(Injection::of(Fault::Stall).on("CREATE ROLE"));
    let error = make(users, "payments-read").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert!(error.to_string().contains("within 1.5s"), "{error}");
    proxy.heal();
    until("another connection is made", async || make(users, "payments-read").await.is_ok()).await;
}

#[tokio::test]
async fn a_password_is_read_anew_and_none_is_told() {
    let Some(world) = World::start().await else { return };
    let home = &world.home;
    let config = home.config(world.postgres.address());
    home.put("password", "canary-wrong\n");
    let fresh = provider(config.clone());
    let users = fresh.issuer().unwrap();
    let error = make(users, "payments-read").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    let problem = fresh.sign_in().problem.unwrap();
    let shown = format!("{error} {error:?} {problem}");
    assert!(shown.contains("28P01") && !shown.contains("canary"), "{shown}");
    let path = home.put("password", &format!("{OWN_PASSWORD}\n"));
    make(users, "payments-read").await.unwrap();
    assert!(fresh.sign_in().problem.is_none());
    // What is open stays open while the file changes; a file that others can read is not read.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    make(users, "payments-read").await.unwrap();
    let error = make(provider(config).issuer().unwrap(), "payments-read").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied);
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn the_end_of_the_brokers_own_password_is_known() {
    let Some(world) = World::start().await else { return };
    let end = "2033-05-18T03:33:20Z";
    world.postgres.run(&format!("ALTER ROLE leasehold VALID UNTIL '{end}'")).await.unwrap();
    assert_eq!(world.provider.sign_in().expires_at, None);
    make(world.users(), "payments-read").await.unwrap();
    assert_eq!(world.provider.sign_in().expires_at, Some(end.parse().unwrap()));
}

#[tokio::test]
async fn what_is_wrong_is_told_apart() {
    let Some(world) = World::start().await else { return };
    let good = world.home.config(world.postgres.address());
    let nobody =
        Administrator::File { user: "nobody".into(), password_file: world.home.put("other", OWN_PASSWORD) };
    let full = "ALTER ROLE leasehold CONNECTION LIMIT 0";
    for (config, sql, class, words) in [
        (
            PostgresConfig { database: "nothing".into(), ..good.clone() },
            "",
            ErrorClass::Permanent,
            "no such `database`",
        ),
        (PostgresConfig { administrator: nobody, ..good.clone() }, "", ErrorClass::Denied, "28P01"),
        (
            PostgresConfig { address: "127.0.0.1:1".into(), ..good.clone() },
            "",
            ErrorClass::Transient,
            "refused",
        ),
        (good.clone(), full, ErrorClass::Throttled, "no connection left"),
        (
            good.clone(),
            "ALTER ROLE leasehold CONNECTION LIMIT -1; ALTER ROLE leasehold NOCREATEROLE",
            ErrorClass::Denied,
            "42501",
        ),
        (
            good.clone(),
            "ALTER ROLE leasehold CREATEROLE; DROP OWNED BY payments_read; DROP ROLE payments_read",
            ErrorClass::Permanent,
            "42704",
        ),
    ] {
        if !sql.is_empty() {
            world.postgres.run(sql).await.unwrap();
        }
        let shown_address = config.address.clone();
        let error = make(provider(config).issuer().unwrap(), "payments-read").await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert_eq!(error.class, class, "{words}: {shown}");
        assert!(shown.contains(words), "{words}: {shown}");
        assert!(!shown.contains(&shown_address) && !shown.contains(OWN_PASSWORD), "{shown}");
    }
    assert!(world.living().await.is_empty());
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_stopped_by_the_server() {
    let Some(world) = World::start().await else { return };
    let config = PostgresConfig {
        statement_timeout: Duration::from_millis(300),
        ..world.home.config(world.postgres.address())
    };
    let patient = provider(config);
    let made = make(patient.issuer().unwrap(), "payments-read").await.unwrap();
    let key = i64::from_be_bytes(made.lease.bits()[..8].try_into().unwrap());
    let holding = world.postgres.open("leasehold", OWN_PASSWORD, "postgres").await.unwrap();
    holding.run(&format!("SELECT pg_advisory_lock({key})")).await.unwrap();
    let error = made.end(patient.issuer().unwrap()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.to_string().contains("57014"), "{error}");
    drop(holding);
    until("the lock is free", async || made.end(patient.issuer().unwrap()).await.is_ok()).await;
}

#[tokio::test]
async fn whichever_server_takes_writes_is_asked() {
    let Some(world) = World::start().await else { return };
    let Some(standby) = or_skip(Postgres::start_set(&["default_transaction_read_only=on"]).await).unwrap()
    else {
        return;
    };
    let sql = format!("BEGIN READ WRITE; {SETUP}; ALTER ROLE leasehold PASSWORD '{OWN_PASSWORD}'; COMMIT");
    standby.run(&sql).await.unwrap();
    let first = PostgresConfig {
        cluster: vec![world.postgres.address().to_string()],
        ..world.home.config(standby.address())
    };
    let of_cluster = provider(first);
    let made = make(of_cluster.issuer().unwrap(), "payments-read").await.unwrap();
    assert_eq!(world.living().await, [made.user]);
    let alone = PostgresConfig {
        cluster: vec![standby.address().to_string()],
        ..world.home.config(standby.address())
    };
    let error = make(provider(alone).issuer().unwrap(), "payments-read").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert!(error.to_string().contains("no server takes writes"), "{error}");
    // The one that took writes takes none any more, also over what is connected to it: a new connection finds another.
    world.postgres.run("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    world.postgres.run("SELECT pg_reload_conf()").await.unwrap();
    let set = "SHOW default_transaction_read_only";
    until("it is set", async || world.postgres.run(set).await.unwrap() == [["on"]]).await;
    let sql = "BEGIN READ WRITE; ALTER ROLE leasehold SET default_transaction_read_only = off; COMMIT";
    standby.run(sql).await.unwrap();
    let made = make(of_cluster.issuer().unwrap(), "payments-read").await.unwrap();
    let sql = format!("SELECT 1 FROM pg_roles WHERE rolname = '{}'", made.user);
    assert_eq!(standby.run(&sql).await.unwrap(), [["1"]]);
}
