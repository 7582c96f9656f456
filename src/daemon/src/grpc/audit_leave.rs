//! Leave to read the audit journal: asked for at the start of a query, and again when other policies are in force, for
//! a query that follows the journal can be open for weeks.

use std::{collections::BTreeMap, sync::Arc};

use leasehold_core::record::Actor;
use leasehold_engine::Engine;
use tonic::Status;

use super::{broker_status::Facts, status::of_engine};

/// One query's leave.
pub(super) struct Leave {
    engine: Arc<Engine>,
    facts: Arc<dyn Facts>,
    actor: Actor,
    asked: BTreeMap<String, String>,
    /// The policies that gave it.
    policies: String,
}

impl Leave {
    /// Asks for it; that is recorded, with what was asked.
    pub(super) async fn ask(
        engine: Arc<Engine>,
        facts: Arc<dyn Facts>,
        actor: Actor,
        asked: BTreeMap<String, String>,
    ) -> Result<Self, Status> {
        let mut leave = Self { engine, facts, actor, asked, policies: String::new() };
        leave.renew(leave.in_force()).await?;
        Ok(leave)
    }

    /// Whether it still holds.
    pub(super) async fn check(&mut self) -> Result<(), Status> {
        let in_force = self.in_force();
        if in_force == self.policies { Ok(()) } else { self.renew(in_force).await }
    }

    fn in_force(&self) -> String {
        self.facts.broker().policy_digest
    }

    async fn renew(&mut self, in_force: String) -> Result<(), Status> {
        let asked = self.engine.authorize_audit(self.actor.clone(), self.asked.clone());
        asked.await.map_err(|error| of_engine(&error))?;
        self.policies = in_force;
        Ok(())
    }
}
