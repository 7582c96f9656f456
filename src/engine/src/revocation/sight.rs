//! On which secrets the caller of a revocation may end leases: decided once a secret, and a denial is recorded once.

use std::{collections::HashMap, sync::Arc};

use leasehold_core::{
    Lease, RevocationId, SecretPath, Timestamp,
    access::Action,
    lease::LeaseKind,
    record::{Actor, Decision, Kind, Outcome},
    state::{Commit, Entry},
};
use tokio::task::coop;

use crate::{
    access::{Context, why},
    engine::Engine,
    error::EngineError,
    find_leases::Walk,
    request::LeaseFilter,
};

/// What was decided so far.
pub(crate) struct Sight<'a> {
    actor: &'a Actor,
    reason: &'a str,
    /// Absent in a preview, which records no denials: nothing was to be ended.
    revocation: Option<RevocationId>,
    decided: HashMap<SecretPath, Arc<Decision>>,
    /// The secrets whose leases are ended: whether they may be rotated, too.
    rotated: HashMap<SecretPath, bool>,
}

/// So many keys are read at once.
const PAGE: usize = 512;
/// So many decisions are remembered; of more secrets, some are decided twice.
const MOST_REMEMBERED: usize = 16_384;

impl<'a> Sight<'a> {
    pub(crate) fn of(actor: &'a Actor, reason: &'a str, revocation: Option<RevocationId>) -> Self {
        Self { actor, reason, revocation, decided: HashMap::new(), rotated: HashMap::new() }
    }
}

impl Engine {
    /// What policy says of ending leases on this secret.
    pub(crate) async fn may_revoke(
        &self,
        sight: &mut Sight<'_>,
        secret: &SecretPath,
    ) -> Result<Arc<Decision>, EngineError> {
        if let Some(decided) = sight.decided.get(secret) {
            return Ok(decided.clone());
        }
        let decision = Arc::new(self.decide_on(sight.actor, Action::RevokeLease, secret, Context::new()));
        if !decision.is_allowed()
            && let Some(id) = sight.revocation
        {
            let mut record = self.record(Kind::LeaseRevoked, sight.actor);
            record.outcome = Outcome::Denied;
            record.secret = Some(secret.clone());
            record.decision = Some(Decision::clone(&decision));
            record.details.insert("denied".to_owned(), why::POLICY.to_owned());
            record.details.insert("reason".to_owned(), sight.reason.to_owned());
            record.details.insert("revocation".to_owned(), id.to_string());
            self.ledger.commit(Commit::record_only(record)).await?;
        }
        if sight.decided.len() >= MOST_REMEMBERED {
            sight.decided.clear();
        }
        sight.decided.insert(secret.clone(), decision.clone());
        Ok(decision)
    }

    /// Whether the secret of a static lease may be rotated because this lease is ended. A denial ends no less: it is
    /// recorded, once a secret.
    pub(crate) async fn may_rotate(&self, sight: &mut Sight<'_>, lease: &Lease) -> Result<bool, EngineError> {
        if lease.kind != LeaseKind::Static || self.plan_of(&lease.secret).is_none() {
            return Ok(false);
        }
        if let Some(allowed) = sight.rotated.get(&lease.secret) {
            return Ok(*allowed);
        }
        let decision = self.decide_on(sight.actor, Action::RotateSecret, &lease.secret, Context::new());
        let allowed = decision.is_allowed();
        if !allowed && let Some(id) = sight.revocation {
            let mut record = self.record(Kind::RotationRequested, sight.actor);
            record.outcome = Outcome::Denied;
            record.secret = Some(lease.secret.clone());
            record.decision = Some(decision);
            record.details.insert("denied".to_owned(), why::POLICY.to_owned());
            record.details.insert("reason".to_owned(), sight.reason.to_owned());
            record.details.insert("revocation".to_owned(), id.to_string());
            self.ledger.commit(Commit::record_only(record)).await?;
        }
        if sight.rotated.len() >= MOST_REMEMBERED {
            sight.rotated.clear();
        }
        sight.rotated.insert(lease.secret.clone(), allowed);
        Ok(allowed)
    }

    /// How many leases a revocation is about that begins now. Where the keys tell it all, no lease is read.
    pub(crate) async fn count_meant(
        &self,
        filter: &LeaseFilter,
        now: Timestamp,
        sight: &mut Sight<'_>,
    ) -> Result<u64, EngineError> {
        let mut walk = Walk::of(filter, &self.catalog());
        let by_keys = walk.is_exact();
        let mut total = 0_u64;
        while !walk.is_over() {
            for entry in walk.page(&*self.ledger, PAGE).await? {
                coop::consume_budget().await;
                let meant = if by_keys {
                    self.is_key_meant(&entry, sight).await?
                } else {
                    self.is_lease_meant(entry, filter, &walk, now, sight).await?
                };
                total = total.saturating_add(u64::from(meant));
            }
        }
        Ok(total)
    }

    async fn is_key_meant(&self, entry: &Entry, sight: &mut Sight<'_>) -> Result<bool, EngineError> {
        let Some(secret) = entry.key.secret_path() else { return Ok(false) };
        Ok(self.may_revoke(sight, &secret).await?.is_allowed())
    }

    async fn is_lease_meant(
        &self,
        entry: Entry,
        filter: &LeaseFilter,
        walk: &Walk,
        now: Timestamp,
        sight: &mut Sight<'_>,
    ) -> Result<bool, EngineError> {
        let key = entry.key.clone();
        let Some(lease) = self.lease_of(entry).await? else { return Ok(false) };
        let meant = !lease.is_ended()
            && lease.issued_at <= now
            && filter.matches(&lease)
            && !walk.meets_twice(&key, &lease);
        Ok(meant && self.may_revoke(sight, &lease.secret).await?.is_allowed())
    }
}
