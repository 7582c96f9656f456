//! The suite that every back end must pass.

use async_trait::async_trait;
use leasehold_core::{SecretValue, ports::Provider, secret::VersionId};
use leasehold_provider_conformance::{
    Against, Fixture, Issuing, Lossy, Placed, Unplayed,
    peers::Postgres,
    proxy::{Fault, FaultProxy, Injection},
    run,
};

use crate::kit::{Home, World, field, provider};

const POSTGRES: Against = Against::Peer(Postgres::VERSION);

#[async_trait]
impl Fixture for World {
    fn back_end(&self) -> &'static str {
        "postgres"
    }

    fn against(&self) -> Against {
        POSTGRES
    }

    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    async fn put(&self, _name: &str, _value: &SecretValue) -> Result<Placed, String> {
        Err("a database has no secrets to read".to_owned())
    }

    fn absent_reference(&self) -> String {
        "nothing".to_owned()
    }

    fn absent_version(&self) -> VersionId {
        "1".parse().unwrap()
    }

    fn malformed_version(&self) -> Option<VersionId> {
        None
    }

    fn largest_value(&self) -> usize {
        0
    }

    fn issuing(&self) -> Option<&dyn Issuing> {
        Some(self)
    }
}

#[async_trait]
impl Issuing for World {
    fn role(&self) -> String {
        "payments-read".to_owned()
    }

    fn absent_role(&self) -> String {
        "nobody".to_owned()
    }

    async fn works(&self, value: &SecretValue) -> Result<Option<bool>, String> {
        self.postgres.lets_in(&field(value, "username"), &field(value, "password")).await.map(Some)
    }

    async fn living(&self) -> Result<Option<usize>, String> {
        Ok(Some(World::living(self).await.len()))
    }

    async fn losing_answers(&self) -> Result<Lossy, Unplayed> {
        let proxy = FaultProxy::start(self.postgres.address()).await.map_err(|error| error.to_string())?;
        proxy.inject(Injection::of(Fault::LoseAnswer).on("CREATE ROLE"));
        let home = Home::new();
        let provider = provider(home.config(proxy.address()));
        Ok(Lossy::new(provider, POSTGRES).keeping(proxy).keeping(home))
    }
}

#[tokio::test]
async fn it_does_what_every_back_end_does() {
    let Some(world) = World::start().await else { return };
    let report = run(&world).await;
    report.record().unwrap();
    let passed = report.count_passed();
    let text = report.passed().unwrap();
    assert!(passed >= 7 && !text.contains("excused"), "{text}");
}
