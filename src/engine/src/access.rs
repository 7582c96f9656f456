//! Asking policy, and writing down what it said.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use leasehold_core::{
    Lease, SecretPath,
    access::{AccessRequest, Action, Concern, Resource},
    catalog::Resolved,
    record::{Actor, Decision, Kind, Outcome, Record},
    secret::FieldName,
    state::Commit,
    ttl::TtlLimits,
};

use crate::{
    engine::Engine,
    error::{Denial, EngineError},
    upstream::Upstream,
};

/// What policies may look at beside the principal and the resource.
pub(crate) type Context = BTreeMap<String, serde_json::Value>;

/// What policies may look at of a lease that is asked for, or for longer.
pub(crate) fn lending(ttl: Option<Duration>, fields: &[FieldName]) -> Context {
    let mut context = Context::new();
    if let Some(ttl) = ttl {
        // Rounded up: a policy's limit is one for fractions of a second, too.
        let seconds = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
        context.insert("ttl_seconds".to_owned(), seconds.into());
    }
    if !fields.is_empty() {
        let fields: Vec<_> = fields.iter().map(FieldName::as_str).collect();
        context.insert("fields".to_owned(), fields.into());
    }
    context
}

/// A secret that policy allows to be used so.
pub(crate) struct Admitted {
    /// As the catalog has it.
    pub(crate) resolved: Resolved,
    /// Its back end.
    pub(crate) upstream: Arc<Upstream>,
    /// For how long it is lent: as configured, and no longer than policy says.
    pub(crate) limits: TtlLimits,
}

impl Engine {
    pub(crate) fn decide(
        &self,
        actor: &Actor,
        action: Action,
        resource: &Resource,
        context: Context,
    ) -> Decision {
        self.authorizer.decide(&AccessRequest { principal: &actor.id, action, resource, context })
    }

    pub(crate) fn decide_on(
        &self,
        actor: &Actor,
        action: Action,
        path: &SecretPath,
        context: Context,
    ) -> Decision {
        self.decide(actor, action, &Resource::Secret(path.clone()), context)
    }

    /// Asks policy, notes its decision in the record, and finds the secret. The error is why it is to be denied: the same
    /// to the caller, whether policy forbids it or there is nothing.
    pub(crate) fn admit(
        &self,
        record: &mut Record,
        action: Action,
        path: &SecretPath,
        context: Context,
    ) -> Result<Admitted, &'static str> {
        let decision = self.decide_on(&record.actor, action, path, context);
        let (allowed, cap) = (decision.is_allowed(), decision.max_ttl);
        record.decision = Some(decision);
        if !allowed {
            return Err(why::POLICY);
        }
        let (resolved, upstream) = self.resolve(path).ok_or(why::NOT_IN_CATALOG)?;
        let limits = cap.map_or(resolved.entry.limits, |cap| resolved.entry.limits.clipped(cap));
        Ok(Admitted { resolved, upstream, limits })
    }

    /// Makes the denial durable and answers with it. `why` is for auditors: the caller learns nothing of it, unless policy
    /// lets it know why policy denied what it named.
    ///
    /// Boxed, as [`Engine::fail`] is: the common case should not carry the room for the rare one through every await.
    pub(crate) fn deny<'a, T: Send + 'a>(
        &'a self,
        record: Record,
        why: &'static str,
    ) -> BoxFuture<'a, Result<T, EngineError>> {
        let denial = self.explained(&record);
        self.denied(record, why, denial)
    }

    /// The same without a word of why: where the caller named a lease that is somebody else's, the policies that decided
    /// would tell that there is such a lease, and on which secret.
    pub(crate) fn deny_silently<'a, T: Send + 'a>(
        &'a self,
        record: Record,
        why: &'static str,
    ) -> BoxFuture<'a, Result<T, EngineError>> {
        self.denied(record, why, Denial::default())
    }

    fn denied<'a, T: Send + 'a>(
        &'a self,
        mut record: Record,
        why: &'static str,
        denial: Denial,
    ) -> BoxFuture<'a, Result<T, EngineError>> {
        Box::pin(async move {
            record.outcome = Outcome::Denied;
            record.details.insert("denied".to_owned(), why.to_owned());
            if denial.explanation().is_some() {
                record.details.insert("explained".to_owned(), "true".to_owned());
            }
            note_call(&mut record);
            self.ledger.commit(Commit::record_only(record)).await?;
            Err(EngineError::Denied(denial))
        })
    }

    /// What the denied caller is told of the record's decision: something, when policy was asked and lets the caller know.
    /// It does not depend on what there is, and neither does whether it is asked for.
    fn explained(&self, record: &Record) -> Denial {
        let Some(decision) = &record.decision else { return Denial::default() };
        let resource = match (decision.action.concerns(), &record.secret) {
            (Concern::Broker, _) => Resource::Broker,
            (Concern::Secret, Some(path)) => Resource::Secret(path.clone()),
            (Concern::Secret, None) | (Concern::Either, _) => return Denial::default(),
        };
        let may_know = self.decide(&record.actor, Action::ExplainDenial, &resource, Context::new());
        if !may_know.is_allowed() {
            return Denial::default();
        }
        let denied = AccessRequest {
            principal: &record.actor.id,
            action: decision.action,
            resource: &resource,
            context: decision.inputs.clone(),
        };
        // Policies that came into force meanwhile decided nothing here.
        let told = self.authorizer.explain(&denied).filter(|told| told.policy_set == decision.policy_set);
        told.map(Denial::explained).unwrap_or_default()
    }

    /// Makes the failure durable and answers with it.
    pub(crate) fn fail<'a, T: Send + 'a>(
        &'a self,
        mut record: Record,
        error: EngineError,
    ) -> BoxFuture<'a, Result<T, EngineError>> {
        Box::pin(async move {
            record.outcome = Outcome::Failed { reason: error.reason().to_owned() };
            note_call(&mut record);
            if let EngineError::Provider(cause) | EngineError::WriteRefused(cause) = &error {
                record.details.insert("error".to_owned(), cause.to_string());
            }
            self.ledger.commit(Commit::record_only(record)).await?;
            Err(error)
        })
    }

    /// Says in a lease's record that nothing can end its credential before its time, when that is so.
    pub(crate) fn note_irrevocable(record: &mut Record, lease: &Lease) {
        if let Some(end) = lease.irrevocable_until {
            record.details.insert("revocation".to_owned(), format!("none until {end}"));
        }
    }

    pub(crate) fn record(&self, kind: Kind, actor: &Actor) -> Record {
        Record::new(self.now(), kind, actor.clone())
    }
}

/// Says in which call it was: whoever made it was told the same.
fn note_call(record: &mut Record) {
    if let Some(call) = record.actor.call {
        record.details.insert("call".to_owned(), call.to_string());
    }
}

/// Why a denied request was denied, in the record's words.
pub(crate) mod why {
    pub(crate) const POLICY: &str = "policy";
    pub(crate) const NOT_IN_CATALOG: &str = "not in the catalog";
    pub(crate) const NO_SUCH_LEASE: &str = "no such lease";
    pub(crate) const NOT_THE_HOLDER: &str = "not the holder";
}
