//! The broker's own user, out of another secret.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use leasehold_core::{
    SecretBytes, SecretValue,
    ports::{CredentialSource, Provider},
    provider::{ErrorClass, Fetched, ProviderError, Verdict},
    secret::VersionId,
};
use leasehold_provider_postgres::{Administrator, PostgresConfig, PostgresConfigFault, PostgresProvider};

use crate::kit::{Dice, OWN_PASSWORD, Wall, World, make, until};

/// A secret with a cache before it, which holds what was read first.
#[derive(Default)]
struct Secret(Mutex<State>);

#[derive(Default)]
struct State {
    passwords: Vec<String>,
    cached: Option<usize>,
    /// How often it was read past the cache.
    past: usize,
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
        let newest = state.passwords.len().checked_sub(1);
        let newest = newest.ok_or_else(|| ProviderError::new(ErrorClass::Absent, "there is none"))?;
        let version = |number: usize| format!("v{number}").parse::<VersionId>().unwrap();
        if state.cached.is_some_and(|cached| refused == Some(&version(cached))) {
            state.cached = None;
            state.past += 1;
        }
        let number = *state.cached.get_or_insert(newest);
        let field = |name: &str, text: &str| (name.parse().unwrap(), SecretBytes::from(text.to_owned()));
        let fields = [field("username", "leasehold"), field("password", &state.passwords[number])];
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
