//! Users that somebody else made, whose passwords a rotation changes: what the server says of them, and who gets in.

use leasehold_core::{
    SecretBytes, SecretPath, SecretValue,
    ports::{Provider, Target},
    provider::{ErrorClass, Finding, ProviderError, Trial, Turn, Verdict},
    secret::FieldName,
};
use leasehold_provider_conformance::{
    peers::{Postgres, Session, or_skip},
    proxy::{Fault, FaultProxy, Injection},
};
use leasehold_provider_postgres::{PostgresConfig, PostgresProvider, Terminate};

use crate::kit::{World, make, provider, until};

const OLD: &str = "canary-of-the-old-51c0";
const NEW: &str = "canary-of-the-new-77d2";

/// A turn of one rotation, from one user and password to others.
pub(crate) struct Rotating {
    secret: SecretPath,
    user_field: FieldName,
    field: FieldName,
    old: Option<SecretValue>,
    new: SecretValue,
}

impl Rotating {
    pub(crate) fn of(old: Option<(&str, &str)>, new: (&str, &str)) -> Self {
        let value = |(user, password): (&str, &str)| value(&[("username", user), ("password", password)]);
        Self {
            secret: "prod/payments/db".parse().unwrap(),
            user_field: FieldName::username(),
            field: FieldName::password(),
            old: old.map(value),
            new: value(new),
        }
    }

    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn {
            secret: &self.secret,
            token: "prod.payments.db-1",
            user_field: &self.user_field,
            field: &self.field,
            old: self.old.as_ref(),
            new: &self.new,
        }
    }

    pub(crate) async fn apply(&self, target: &dyn Target) -> Result<(), ProviderError> {
        target.apply(self.turn()).await
    }

    pub(crate) async fn new_is(&self, target: &dyn Target) -> Result<Trial, ProviderError> {
        target.test(self.turn(), &self.new).await
    }

    pub(crate) async fn old_is(&self, target: &dyn Target) -> Result<Trial, ProviderError> {
        target.test(self.turn(), self.old.as_ref().unwrap()).await
    }
}

fn value(fields: &[(&str, &str)]) -> SecretValue {
    let field = |(name, text): &(&str, &str)| (name.parse().unwrap(), SecretBytes::from((*text).to_owned()));
    SecretValue { fields: fields.iter().map(field).collect(), content_type: SecretValue::TEXT.into() }
}

fn target(provider: &PostgresProvider) -> &dyn Target {
    provider.target().unwrap()
}

/// The user `app` with the old password, and its next one.
async fn single(world: &World) -> Rotating {
    world.postgres.run(&format!("CREATE ROLE app LOGIN PASSWORD '{OLD}'")).await.unwrap();
    Rotating::of(Some(("app", OLD)), ("app", NEW))
}

/// The users `app_a`, which is lent, and `app_b`, which is idle and has no password.
async fn alternating(world: &World) -> Rotating {
    let sql = format!("CREATE ROLE app_a LOGIN PASSWORD '{OLD}'; CREATE ROLE app_b LOGIN");
    world.postgres.run(&sql).await.unwrap();
    Rotating::of(Some(("app_a", OLD)), ("app_b", NEW))
}

async fn is_alive(session: &Session) -> bool {
    session.run("SELECT 1").await.is_ok()
}

#[tokio::test]
async fn one_users_password_changes_in_place_and_nothing_else_of_it() {
    let Some(postgres) = or_skip(Postgres::start_set(&["log_statement=all"]).await).unwrap() else { return };
    let Some(world) = World::of(postgres).await else { return };
    let rotating = single(&world).await;
    world.postgres.run("ALTER ROLE app VALID UNTIL '2100-01-01' CONNECTION LIMIT 7").await.unwrap();
    let target = target(&world.provider);
    assert_eq!(rotating.old_is(target).await.unwrap(), Trial::Accepted);
    assert_eq!(rotating.new_is(target).await.unwrap(), Trial::Refused);
    for _ in 0..2 {
        rotating.apply(target).await.unwrap();
        assert_eq!(rotating.new_is(target).await.unwrap(), Trial::Accepted);
        assert_eq!(rotating.old_is(target).await.unwrap(), Trial::Refused);
    }
    // It died when the new one was applied.
    let held = world.postgres.open("app", NEW, "postgres").await.unwrap();
    target.retire(rotating.turn()).await.unwrap();
    assert!(is_alive(&held).await && world.postgres.lets_in("app", NEW).await.unwrap());
    let facts = "SELECT rolvaliduntil::date, rolconnlimit, rolcanlogin FROM pg_roles WHERE rolname = 'app'";
    assert_eq!(world.postgres.run(facts).await.unwrap(), [["2100-01-01", "7", "t"]]);
    let log = world.postgres.log();
    assert!(log.contains("ALTER ROLE \"app\"") && !log.contains(NEW), "its log tells the password");
}

#[tokio::test]
async fn of_two_users_the_other_one_takes_over_and_the_first_is_shut_out_with_its_sessions() {
    let Some(world) = World::start().await else { return };
    let rotating = alternating(&world).await;
    let target = target(&world.provider);
    rotating.apply(target).await.unwrap();
    assert_eq!(rotating.new_is(target).await.unwrap(), Trial::Accepted);
    assert_eq!(
        rotating.old_is(target).await.unwrap(),
        Trial::Accepted,
        "holders have it until it is retired"
    );
    let (first, second) = (
        world.postgres.open("app_a", OLD, "postgres").await.unwrap(),
        world.postgres.open("app_b", NEW, "postgres").await.unwrap(),
    );
    for _ in 0..2 {
        target.retire(rotating.turn()).await.unwrap();
        assert_eq!(rotating.old_is(target).await.unwrap(), Trial::Refused);
        assert!(!is_alive(&first).await && is_alive(&second).await);
    }
    assert!(world.postgres.lets_in("app_b", NEW).await.unwrap());

    // The way back, and the next one.
    let back = Rotating::of(Some(("app_b", NEW)), ("app_a", "canary-of-the-next-0b11"));
    back.apply(target).await.unwrap();
    target.retire(back.turn()).await.unwrap();
    assert!(world.postgres.lets_in("app_a", "canary-of-the-next-0b11").await.unwrap());
    assert!(!world.postgres.lets_in("app_b", NEW).await.unwrap() && !is_alive(&second).await);
    let members = "SELECT 1 FROM pg_auth_members WHERE roleid::regrole::text IN ('app_a', 'app_b')";
    assert!(world.postgres.run(members).await.unwrap().is_empty(), "the broker is a member of a user");

    // One that somebody dropped cannot get in either.
    world.postgres.run("DROP ROLE app_b").await.unwrap();
    target.retire(back.turn()).await.unwrap();
    assert_eq!(back.old_is(target).await.unwrap(), Trial::Refused);
}

#[tokio::test]
async fn sessions_end_as_configured() {
    let Some(world) = World::start().await else { return };
    let ending = |terminate_sessions| {
        provider(PostgresConfig { terminate_sessions, ..world.home.config(world.postgres.address()) })
    };
    let rotating = single(&world).await;
    let before = world.postgres.open("app", OLD, "postgres").await.unwrap();
    let always = ending(Terminate::Always);
    rotating.apply(target(&always)).await.unwrap();
    let after = world.postgres.open("app", NEW, "postgres").await.unwrap();
    assert!(is_alive(&before).await, "its holder has until the old version is retired");
    target(&always).retire(rotating.turn()).await.unwrap();
    assert!(!is_alive(&before).await && is_alive(&after).await);
    // Whoever did not see the change cannot tell them apart.
    target(&ending(Terminate::Always)).retire(rotating.turn()).await.unwrap();
    assert!(!is_alive(&after).await);

    let two = alternating(&world).await;
    let never = ending(Terminate::Never);
    two.apply(target(&never)).await.unwrap();
    let held = world.postgres.open("app_a", OLD, "postgres").await.unwrap();
    target(&never).retire(two.turn()).await.unwrap();
    assert!(is_alive(&held).await && !world.postgres.lets_in("app_a", OLD).await.unwrap());
}

#[tokio::test]
async fn a_trial_says_yes_or_no_only_when_the_server_does() {
    let Some(world) = World::start().await else { return };
    let rotating = Rotating::of(Some(("app", OLD)), ("app", NEW));
    let target = target(&world.provider);
    assert_eq!(rotating.old_is(target).await.unwrap(), Trial::Refused, "there is no such user");
    world.postgres.run(&format!("CREATE ROLE app LOGIN PASSWORD '{OLD}'")).await.unwrap();
    for (state, back, trial) in [
        ("NOLOGIN", "LOGIN", Trial::Refused),
        ("VALID UNTIL '2020-01-01'", "VALID UNTIL 'infinity'", Trial::Refused),
        ("PASSWORD NULL", &*format!("PASSWORD '{OLD}'"), Trial::Refused),
        ("CONNECTION LIMIT 3", "CONNECTION LIMIT -1", Trial::Accepted),
    ] {
        world.postgres.run(&format!("ALTER ROLE app {state}")).await.unwrap();
        assert_eq!(rotating.old_is(target).await.unwrap(), trial, "{state}");
        world.postgres.run(&format!("ALTER ROLE app {back}")).await.unwrap();
        assert_eq!(rotating.old_is(target).await.unwrap(), Trial::Accepted, "{back}");
    }
    // That it may not use this database is known only once its password was accepted.
    world.postgres.run("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO leasehold").await.unwrap();
    assert_eq!(rotating.old_is(target).await.unwrap(), Trial::Accepted);
    assert_eq!(rotating.new_is(target).await.unwrap(), Trial::Refused);

    let nowhere = provider(world.home.config("127.0.0.1:1"));
    let error = rotating.old_is(nowhere.target().unwrap()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
}

#[tokio::test]
async fn whom_it_may_not_change_it_leaves_alone_and_says_why() {
    let Some(world) = World::start().await else { return };
    let lease = make(world.users(), "payments-read").await.unwrap();
    let sql = format!(
        "CREATE ROLE gone_in LOGIN PASSWORD '{OLD}' VALID UNTIL '2020-01-01'; \
         CREATE ROLE closed NOLOGIN PASSWORD '{OLD}'; CREATE ROLE replica LOGIN REPLICATION PASSWORD '{OLD}'"
    );
    world.postgres.run(&sql).await.unwrap();
    let hashes = "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1";
    let before = world.postgres.run(hashes).await.unwrap();
    for (user, class, words) in [
        ("nobody", ErrorClass::Permanent, "there is no such user"),
        ("gone_in", ErrorClass::Permanent, "VALID UNTIL 'infinity'"),
        ("closed", ErrorClass::Permanent, "ALTER ROLE \"closed\" LOGIN"),
        ("postgres", ErrorClass::Permanent, "`rotate_superusers = true`"),
        ("replica", ErrorClass::Denied, "NOREPLICATION"),
        (&*lease.user, ErrorClass::Permanent, "a lease's own user"),
    ] {
        let rotating = Rotating::of(Some((user, OLD)), (user, NEW));
        let error = rotating.apply(target(&world.provider)).await.unwrap_err();
        assert_eq!(error.class, class, "{user}: {error}");
        let told = format!("{error} {error:?}");
        assert!(error.to_string().contains(words) && !told.contains("canary"), "{user}: {told}");
        let away = Rotating::of(Some((user, OLD)), ("app", NEW));
        let retired = target(&world.provider).retire(away.turn()).await;
        assert_eq!(retired.is_ok(), matches!(user, "nobody" | "gone_in" | "closed"), "{user}: {retired:?}");
    }
    let expected = before.iter().map(|row| match &*row[0] {
        "gone_in" | "closed" => vec![row[0].clone(), String::new()],
        _ => row.clone(),
    });
    let expected: Vec<_> = expected.collect();
    assert_eq!(world.postgres.run(hashes).await.unwrap(), expected);

    world.postgres.run(&format!("CREATE ROLE dba SUPERUSER LOGIN PASSWORD '{OLD}'")).await.unwrap();
    let rotating = Rotating::of(Some(("dba", OLD)), ("dba", NEW));
    let config = world.home.config(world.postgres.address());
    let daring = provider(PostgresConfig { rotate_superusers: true, ..config });
    let error = rotating.apply(target(&daring)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    world.postgres.run("ALTER ROLE leasehold SUPERUSER").await.unwrap();
    rotating.apply(target(&daring)).await.unwrap();
    assert!(world.postgres.lets_in("dba", NEW).await.unwrap());
    assert!(rotating.apply(target(&world.provider)).await.is_err());
}

#[tokio::test]
async fn names_and_passwords_are_taken_as_they_are() {
    let Some(world) = World::start().await else { return };
    let target = target(&world.provider);
    for (number, (user, password)) in
        [("we\"ird'; DROP ROLE leasehold; --", "canary ' \" \\ $$ ;"), ("naïve", "pässwörd-ﬁ-\u{00a0}x")]
            .into_iter()
            .enumerate()
    {
        let quoted = user.replace('"', "\"\"");
        world.postgres.run(&format!("CREATE ROLE \"{quoted}\" LOGIN")).await.unwrap();
        let rotating = Rotating::of(None, (user, password));
        rotating.apply(target).await.unwrap();
        assert_eq!(rotating.new_is(target).await.unwrap(), Trial::Accepted, "{number}");
        assert!(world.postgres.lets_in(user, password).await.unwrap(), "{number}");
    }
    for (fields, words) in [
        (&[("password", NEW)][..], "names no user: it has no field `username`"),
        (&[("username", ""), ("password", NEW)], "what is no user's name"),
        (&[("username", "app")], "has no password in the field `password`"),
        (&[("username", "app"), ("password", "")], "has no password in the field `password`"),
    ] {
        let rotating = Rotating { new: value(fields), ..Rotating::of(None, ("", "")) };
        let error = rotating.apply(target).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_password_that_the_server_has_rules_against_is_rejected_for_good() {
    let rules = ["shared_preload_libraries=passwordcheck"];
    let Some(postgres) = or_skip(Postgres::start_set(&rules).await).unwrap() else { return };
    let Some(world) = World::of(postgres).await else { return };
    let rotating = single(&world).await;
    let target = target(&world.provider);
    let same = Rotating::of(Some(("app", OLD)), ("app", "app"));
    let error = same.apply(target).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid, "{error}");
    assert!(error.to_string().contains("22023"), "{error}");
    assert_eq!(rotating.old_is(target).await.unwrap(), Trial::Accepted);
    rotating.apply(target).await.unwrap();
}

#[tokio::test]
async fn what_became_of_a_change_whose_answer_is_lost_is_found_by_trying() {
    let Some(world) = World::start().await else { return };
    let proxy = FaultProxy::start(world.postgres.address()).await.unwrap();
    let behind = provider(world.home.config(proxy.address()));
    let rotating = single(&world).await;
    let target = target(&behind);
    proxy.inject(Injection::of(Fault::LoseAnswer).on("ALTER ROLE"));
    let error = rotating.apply(target).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert_eq!(rotating.new_is(target).await.unwrap(), Trial::Accepted);
    proxy.heal();
    // Once is made up for by the repetition.
    let next = Rotating::of(Some(("app", NEW)), ("app", OLD));
    proxy.inject(Injection::of(Fault::LoseAnswer).on("ALTER ROLE").times(1));
    next.apply(target).await.unwrap();
    assert_eq!(next.new_is(target).await.unwrap(), Trial::Accepted);
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
async fn the_check_names_what_is_missing_and_changes_nothing() {
    let Some(world) = World::start().await else { return };
    let target = target(&world.provider);
    let rotating = Rotating::of(Some(("app_a", OLD)), ("app_b", NEW));
    let findings = target.check(rotating.turn()).await;
    let lines: Vec<_> = failed(&findings).into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["CREATE ROLE \"app_a\" LOGIN;", "CREATE ROLE \"app_b\" LOGIN;"], "{findings:?}");
    for line in lines {
        world.postgres.run(&line).await.unwrap();
    }
    world
        .postgres
        .run(&format!("ALTER ROLE app_a PASSWORD '{OLD}'; ALTER ROLE app_b NOLOGIN"))
        .await
        .unwrap();
    world.postgres.run("ALTER ROLE leasehold NOCREATEROLE").await.unwrap();
    for _ in 0..2 {
        for (_, line) in failed(&target.check(rotating.turn()).await) {
            world.postgres.run(&line).await.unwrap();
        }
    }
    let hashes = "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1";
    let before = world.postgres.run(hashes).await.unwrap();
    let findings = target.check(rotating.turn()).await;
    assert!(failed(&findings).is_empty() && findings.len() == 3, "{findings:?}");
    assert_eq!(world.postgres.run(hashes).await.unwrap(), before);
    rotating.apply(target).await.unwrap();
    assert_eq!(rotating.new_is(target).await.unwrap(), Trial::Accepted);

    // Of a password that nobody knows any more a rotation makes one that is known.
    world.postgres.run("ALTER ROLE app_a PASSWORD 'another'").await.unwrap();
    let findings = target.check(rotating.turn()).await;
    assert!(failed(&findings).is_empty() && format!("{findings:?}").contains("is refused"), "{findings:?}");
    until("its log has the login that failed", async || {
        world.postgres.log().contains("password authentication failed for user \"app_a\"")
    })
    .await;
}
