//! The suite that every back end must pass.

use std::sync::Mutex;

use async_trait::async_trait;
use leasehold_core::{SecretValue, ports::Provider, secret::VersionId};
use leasehold_provider_conformance::{
    Against, Fixture, Issuing, Lossy, Placed, Unplayed,
    peers::Postgres,
    proxy::{Fault, FaultProxy, Injection},
    run,
};

use crate::{
    kit::{Home, World, field, provider},
    verified::undoing,
};

const POSTGRES: Against = Against::Peer(Postgres::VERSION);
const ROLE: &str = "payments-read";

/// A server, and another one on which every end is undone.
struct Subject {
    world: World,
    in_vain: Mutex<Option<Lossy>>,
}

#[async_trait]
impl Fixture for Subject {
    fn back_end(&self) -> &'static str {
        "postgres"
    }

    fn against(&self) -> Against {
        POSTGRES
    }

    fn provider(&self) -> &dyn Provider {
        &self.world.provider
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
impl Issuing for Subject {
    fn role(&self) -> String {
        ROLE.to_owned()
    }

    fn absent_role(&self) -> String {
        "nobody".to_owned()
    }

    async fn works(&self, value: &SecretValue) -> Result<Option<bool>, String> {
        self.world.postgres.lets_in(&field(value, "username"), &field(value, "password")).await.map(Some)
    }

    async fn living(&self) -> Result<Option<usize>, String> {
        Ok(Some(self.world.living().await.len()))
    }

    async fn losing_answers(&self) -> Result<Lossy, Unplayed> {
        let proxy =
            FaultProxy::start(self.world.postgres.address()).await.map_err(|error| error.to_string())?;
        proxy.inject(Injection::of(Fault::LoseAnswer).on("CREATE ROLE"));
        let home = Home::new();
        let provider = provider(home.config(proxy.address()));
        Ok(Lossy::new(provider, POSTGRES).keeping(proxy).keeping(home))
    }

    async fn ending_in_vain(&self) -> Result<Lossy, Unplayed> {
        Ok(self.in_vain.lock().unwrap().take().ok_or_else(|| "it was asked for twice".to_owned())?)
    }
}

#[tokio::test]
async fn it_does_what_every_back_end_does() {
    let (Some(world), Some(other)) = (World::start().await, World::start().await) else { return };
    let undoing = undoing(&other, ROLE).await;
    let in_vain = Mutex::new(Some(Lossy::new(undoing, POSTGRES).keeping(other)));
    let report = run(&Subject { world, in_vain }).await;
    report.record().unwrap();
    let passed = report.count_passed();
    let text = report.passed().unwrap();
    assert!(passed >= 10 && !text.contains("excused"), "{text}");
}
