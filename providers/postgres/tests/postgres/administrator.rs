//! The broker's own user, out of another secret.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use leasehold_core::{
    SecretBytes, SecretValue,
    ports::{CredentialSource, Provider},
    provider::{ErrorClass, Fetched, ProviderError, Trial, Verdict},
    secret::VersionId,
};
use leasehold_provider_postgres::{Administrator, PostgresConfig, PostgresConfigFault, PostgresProvider};

use crate::{
    kit::{Dice, OWN_PASSWORD, Wall, World, make, until},
    target::Rotating,
};

/// A secret with a cache before it, which holds what was read first.
#[derive(Default)]
struct Secret(Mutex<State>);

#[derive(Default)]
struct State {
    passwords: Vec<String>,
    cached: Option<usize>,
    /// How often it was read past the cache.
    past: usize,
    /// Whether the newest one is of a rotation that has not made it current: it is given to whom the one before was refused.
    pending: bool,
    /// Whose passwords they are, when not `leasehold`'s.
    user: Option<String>,
}

impl Secret {
    fn put(&self, password: &str) {
        self.0.lock().unwrap().passwords.push(password.to_owned());
    }
}

#[async_trait]
impl CredentialSource for Secret {
    async fn read(&self, refused: Option<&VersionId>) -> Result<Fetched, ProviderError> {
        let mut state = self.0.lock().unwrap();
        let last = state.passwords.len().checked_sub(1);
        let newest = if state.pending { last.and_then(|last| last.checked_sub(1)) } else { last };
        let newest = newest.ok_or_else(|| ProviderError::new(ErrorClass::Absent, "there is none"))?;
        let version = |number: usize| format!("v{number}").parse::<VersionId>().unwrap();
        if state.cached.is_some_and(|cached| refused == Some(&version(cached))) {
            state.cached = None;
            state.past += 1;
        }
        let mut number = *state.cached.get_or_insert(newest);
        if state.pending && refused == Some(&version(number)) {
            number += 1;
        }
        let field = |name: &str, text: &str| (name.parse().unwrap(), SecretBytes::from(text.to_owned()));
        let fields = [
            field("username", state.user.as_deref().unwrap_or("leasehold")),
            field("password", &state.passwords[number]),
        ];
        let value = SecretValue { fields: fields.into(), content_type: SecretValue::TEXT.into() };
        Ok(Fetched { value, version: version(number), created_at: None })
    }
}

fn config(world: &World) -> PostgresConfig {
    let path = "infra/pg/admin".parse().unwrap();
    PostgresConfig {
        administrator: Administrator::Secret { path, user: None },
        ..world.home.config(world.postgres.address())
    }
}

fn provider(world: &World, secret: &Arc<Secret>) -> PostgresProvider {
    let source: Arc<dyn CredentialSource> = secret.clone();
    PostgresProvider::new(config(world), Some(source), Arc::new(Wall::default()), Arc::new(Dice)).unwrap()
}

/// Another password for the broker's user, and no session of it is left.
async fn rotate(world: &World, password: &str) {
    let sql = format!(
        "ALTER ROLE leasehold PASSWORD '{password}'; \
         SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'leasehold'"
    );
    world.postgres.run(&sql).await.unwrap();
}

#[tokio::test]
async fn it_can_be_rotated_under_the_broker() {
    let Some(world) = World::start().await else { return };
    let secret = Arc::new(Secret::default());
    secret.put(OWN_PASSWORD);
    let provider = provider(&world, &secret);
    let users = provider.issuer().unwrap();
    let before = make(users, "payments-read").await.unwrap();
    assert_eq!(secret.0.lock().unwrap().past, 0);

    rotate(&world, "canary-of-the-next-5e1d").await;
    secret.put("canary-of-the-next-5e1d");
    make(users, "payments-read").await.unwrap();
    assert_eq!(secret.0.lock().unwrap().past, 1, "what was refused was read past the cache, once");
    before.end(users).await.unwrap();
    assert!(provider.sign_in().problem.is_none());
}

#[tokio::test]
async fn while_the_secret_lags_behind_it_says_so_and_tries_no_password_twice() {
    let Some(world) = World::start().await else { return };
    let secret = Arc::new(Secret::default());
    secret.put(OWN_PASSWORD);
    let provider = provider(&world, &secret);
    rotate(&world, "canary-of-the-next-77aa").await;
    let error = make(provider.issuer().unwrap(), "payments-read").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    assert!(error.to_string().contains("28P01") && !error.to_string().contains("canary"), "{error}");
    let refused = || world.postgres.log().matches("password authentication failed").count();
    until("the server has logged it", async || refused() > 0).await;
    assert_eq!(refused(), 1);
    secret.put("canary-of-the-next-77aa");
    make(provider.issuer().unwrap(), "payments-read").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_is_told_with_the_secrets_name() {
    let Some(world) = World::start().await else { return };
    let provider = provider(&world, &Arc::default());
    let error = make(provider.issuer().unwrap(), "payments-read").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Absent, "{error}");
    assert!(error.to_string().contains("`infra/pg/admin`"), "{error}");
    let findings = provider.check(&[]).await;
    let told =
        matches!(&findings[0].verdict, Verdict::Failed { problem, .. } if problem.contains("infra/pg/admin"));
    assert!(told, "{findings:?}");
    let nobody = PostgresProvider::new(config(&world), None, Arc::new(Wall::default()), Arc::new(Dice));
    assert_eq!(nobody.err(), Some(vec![PostgresConfigFault::NoSource]));
}

#[tokio::test]
async fn it_changes_its_own_password_and_goes_on_also_when_it_dies_right_after() {
    let Some(world) = World::start().await else { return };
    let secret = Arc::new(Secret::default());
    secret.put(OWN_PASSWORD);
    let before = provider(&world, &secret);
    let lent = make(before.issuer().unwrap(), "payments-read").await.unwrap();
    secret.put("canary-of-the-next-3c07");
    secret.0.lock().unwrap().pending = true;
    let rotating = Rotating::of(Some(("leasehold", OWN_PASSWORD)), ("leasehold", "canary-of-the-next-3c07"));
    let target = before.target().unwrap();
    rotating.apply(target).await.unwrap();
    assert_eq!(rotating.new_is(target).await.unwrap(), Trial::Accepted);
    assert_eq!(rotating.old_is(target).await.unwrap(), Trial::Refused);
    // The connections that it has are good, whatever becomes of the password.
    make(before.issuer().unwrap(), "payments-read").await.unwrap();

    // Killed: the next one has no connection, and the secret has the old password still.
    drop(before);
    let after = provider(&world, &secret);
    let target = after.target().unwrap();
    assert_eq!(rotating.new_is(target).await.unwrap(), Trial::Accepted);
    lent.end(after.issuer().unwrap()).await.unwrap();
    assert!(after.sign_in().problem.is_none());
    rotating.apply(target).await.unwrap();
    target.retire(rotating.turn()).await.unwrap();

    // Thrown away: the way back works as well, and so does what comes after it.
    let back = Rotating::of(Some(("leasehold", "canary-of-the-next-3c07")), ("leasehold", OWN_PASSWORD));
    back.apply(provider(&world, &secret).target().unwrap()).await.unwrap();
    secret.0.lock().unwrap().passwords.pop();
    secret.0.lock().unwrap().pending = false;
    let last = provider(&world, &secret);
    make(last.issuer().unwrap(), "payments-read").await.unwrap();
    assert_eq!(back.old_is(last.target().unwrap()).await.unwrap(), Trial::Refused);
}

#[tokio::test]
async fn when_both_versions_of_a_rotation_are_refused_each_was_tried_once() {
    let Some(world) = World::start().await else { return };
    let secret = Arc::new(Secret::default());
    secret.put(OWN_PASSWORD);
    secret.put("canary-of-the-next-19f2");
    secret.0.lock().unwrap().pending = true;
    rotate(&world, "canary-of-nobody-84bc").await;
    let error = make(provider(&world, &secret).issuer().unwrap(), "payments-read").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "{error}");
    let refused = || world.postgres.log().matches("password authentication failed").count();
    until("the server has logged them", async || refused() > 1).await;
    assert_eq!(refused(), 2);
}

#[tokio::test]
async fn of_two_administrators_the_next_one_takes_over_and_the_first_is_shut_out() {
    let Some(world) = World::start().await else { return };
    let rights = "CREATE ROLE leasehold_b LOGIN CREATEROLE; \
        GRANT payments_read, payments_owner TO leasehold_b WITH ADMIN OPTION";
    world.postgres.run(rights).await.unwrap();
    let secret = Arc::new(Secret::default());
    secret.put(OWN_PASSWORD);
    let provider = provider(&world, &secret);
    let lent = make(provider.issuer().unwrap(), "payments-read").await.unwrap();
    let rotating =
        Rotating::of(Some(("leasehold", OWN_PASSWORD)), ("leasehold_b", "canary-of-the-other-9a1d"));
    let target = provider.target().unwrap();
    rotating.apply(target).await.unwrap();
    secret.0.lock().unwrap().user = Some("leasehold_b".to_owned());
    secret.put("canary-of-the-other-9a1d");
    secret.0.lock().unwrap().cached = None;
    target.retire(rotating.turn()).await.unwrap();
    assert_eq!(rotating.old_is(target).await.unwrap(), Trial::Refused);
    let sessions = "SELECT 1 FROM pg_stat_activity WHERE usename = 'leasehold'";
    assert!(world.postgres.run(sessions).await.unwrap().is_empty());
    make(provider.issuer().unwrap(), "payments-read").await.unwrap();
    lent.end(provider.issuer().unwrap()).await.unwrap();
}
