//! CheckProvider: whether a back end lets the broker do what the catalog will ask of it.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use leasehold_core::{
    access::{Action, Resource},
    provider::{Finding, ProviderName},
    record::{Actor, Kind},
    state::Commit,
};
use tokio::time::timeout;

use crate::{
    access::{Context, why},
    engine::Engine,
    error::EngineError,
    request::ProviderCheck,
    shield::shield,
    upstream::Upstream,
};

/// A check asks one thing after the other, each within its own limit.
const LONGEST_CHECK: Duration = Duration::from_secs(60);

impl Engine {
    /// Tries a back end, or all of them when none is named, without changing anything there. A circuit that is open does
    /// not keep it from being tried: that is when people ask.
    ///
    /// # Errors
    /// [`EngineError::Denied`]; [`EngineError::NoSuchProvider`] for those who may ask.
    pub async fn check_providers(
        self: &Arc<Self>,
        actor: Actor,
        provider: Option<ProviderName>,
    ) -> Result<Vec<ProviderCheck>, EngineError> {
        let engine = self.clone();
        shield(async move { engine.check(&actor, provider).await }).await
    }

    async fn check(
        &self,
        actor: &Actor,
        provider: Option<ProviderName>,
    ) -> Result<Vec<ProviderCheck>, EngineError> {
        let mut record = self.record(Kind::ProviderChecked, actor);
        record.provider.clone_from(&provider);
        let decision = self.decide(actor, Action::CheckProvider, &Resource::Broker, Context::new());
        let allowed = decision.is_allowed();
        record.decision = Some(decision);
        if !allowed {
            return self.deny(record, why::POLICY).await;
        }
        let asked: Vec<_> = match &provider {
            None => self.upstreams.values().collect(),
            Some(name) => match self.upstreams.get(name) {
                Some(upstream) => vec![upstream],
                None => return self.fail(record, EngineError::NoSuchProvider(name.clone())).await,
            },
        };
        let checks = join_all(asked.into_iter().map(|upstream| self.check_one(upstream))).await;
        for check in &checks {
            let mut record = record.clone();
            record.provider = Some(check.name.clone());
            let failed = check.findings.iter().filter(|finding| finding.is_failed()).count();
            record.details.insert("steps".to_owned(), check.findings.len().to_string());
            record.details.insert("failed".to_owned(), failed.to_string());
            self.ledger.commit(Commit::record_only(record)).await?;
        }
        Ok(checks)
    }

    async fn check_one(&self, upstream: &Upstream) -> ProviderCheck {
        let demands = self.catalog().demands(&upstream.name, &upstream.capabilities());
        let check = async {
            let _alone = upstream.checks.acquire().await;
            upstream.provider.check(&demands).await
        };
        let findings = timeout(LONGEST_CHECK, check).await.unwrap_or_else(|_| {
            let problem = format!("it did not come to an end within {LONGEST_CHECK:?}");
            let remedy = "look whether the broker reaches the back end, and ask again";
            vec![Finding::failed("check", problem, remedy)]
        });
        ProviderCheck { name: upstream.name.clone(), findings }
    }
}
