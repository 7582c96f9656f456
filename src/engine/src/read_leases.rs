//! GetLease and ListLeases: one's own without asking anybody, others' by policy.

use std::collections::HashMap;

use leasehold_core::{
    Lease, LeaseId, SecretPath,
    access::Action,
    record::{Actor, Kind, Record},
    state::{Commit, Entry, Key, Revision},
};
use tokio::task::coop;

use crate::{
    access::{Context, why},
    engine::Engine,
    error::EngineError,
    find_leases::Walk,
    request::{LeaseScope, ListLeases, Page},
};

/// No page is longer than this.
const LONGEST_PAGE: usize = 1000;
/// One call looks at so many leases at most, however few of them are on the page: the rest is on the next one.
const LOOK_AT: usize = 10_000;

impl Engine {
    /// The lease, for its holder or for whom policy allows `ReadLease` on its secret.
    ///
    /// # Errors
    /// [`EngineError::Denied`] also when there is no such lease.
    pub async fn get_lease(&self, actor: Actor, id: LeaseId) -> Result<Lease, EngineError> {
        let found = self.load(id).await?;
        if let Some((lease, _)) = &found
            && lease.holder == actor.id
        {
            return Ok(lease.clone());
        }
        let mut record = self.record(Kind::LeaseRead, &actor);
        record.lease = Some(id);
        let Some((lease, _)) = found else {
            return self.deny(record, why::NO_SUCH_LEASE).await;
        };
        self.authorize_on_lease(&mut record, Action::ReadLease, &lease).await?;
        self.ledger.commit(Commit::record_only(record)).await?;
        Ok(lease)
    }

    /// A page of leases.
    ///
    /// # Errors
    /// [`EngineError::BadPageToken`], or when the ledger cannot be read. What policy does not show is left out.
    pub async fn list_leases(&self, request: ListLeases) -> Result<Page<Lease>, EngineError> {
        let mut filter = request.filter.clone();
        if request.scope == LeaseScope::Own {
            filter.holder = Some(request.actor.id.clone());
        }
        let mut walk = Walk::of(&filter, &self.catalog());
        if let Some(token) = &request.page_token
            && !walk.go_on_behind(&Key::from_stored(token))
        {
            return Err(EngineError::BadPageToken);
        }
        let mut sight = Sight { engine: self, request: &request, seen: HashMap::new() };
        if filter.secret.as_ref().is_some_and(|secret| !sight.shows(secret)) {
            // Not even the position of its leases in the ledger is told.
            walk.stop();
        }
        let mut items = Vec::new();
        let (mut looked, mut last) = (0_usize, None);
        let size = request.page_size.clamp(1, LONGEST_PAGE);
        let mut reach = size;
        // Neither where a page ends nor whether there is another one may tell of what the caller does not see: a secret that
        // is hidden is passed over with all its leases, and is not counted.
        let more = 'pages: loop {
            let entries = walk.page(&*self.ledger, reach).await?;
            if entries.is_empty() {
                break false;
            }
            reach = reach.saturating_mul(2).min(size);
            for entry in entries {
                if looked >= LOOK_AT {
                    break 'pages true;
                }
                // The ledger answers at once: without this, a long look would hold up whatever else the thread does.
                coop::consume_budget().await;
                let key = entry.key.clone();
                if let Some(hidden) = key.secret_path().filter(|secret| !sight.shows(secret)) {
                    walk.pass_over(&key, &hidden);
                    reach = 1;
                    continue 'pages;
                }
                let lease = self.lease_of(entry).await?;
                let shown = lease.filter(|lease| {
                    filter.matches(lease) && !walk.meets_twice(&key, lease) && sight.shows(&lease.secret)
                });
                if shown.is_some() && items.len() == size {
                    break 'pages true;
                }
                looked = looked.saturating_add(1);
                last = Some(key);
                items.extend(shown);
            }
        };
        if request.scope == LeaseScope::All {
            let mut record = self.record(Kind::LeaseRead, &request.actor);
            record.details.insert("listed".to_owned(), items.len().to_string());
            self.ledger.commit(Commit::record_only(record)).await?;
        }
        Ok(Page { items, next_page_token: last.filter(|_| more).map(|key| key.as_str().to_owned()) })
    }

    /// The lease as stored, with its revision.
    pub(crate) async fn load(&self, id: LeaseId) -> Result<Option<(Lease, Revision)>, EngineError> {
        match self.ledger.get(&Key::lease(id)).await? {
            Some(entry) => Ok(Some((Lease::decode(&entry.value)?, entry.revision))),
            None => Ok(None),
        }
    }

    /// The lease that an entry is, or that its index key names.
    pub(crate) async fn lease_of(&self, entry: Entry) -> Result<Option<Lease>, EngineError> {
        let Some(id) = entry.key.lease_id() else { return Ok(None) };
        if entry.key == Key::lease(id) {
            return Ok(Some(Lease::decode(&entry.value)?));
        }
        Ok(self.load(id).await?.map(|(lease, _)| lease))
    }

    /// Asks policy about somebody else's lease; a denial is recorded and returned.
    pub(crate) async fn authorize_on_lease(
        &self,
        record: &mut Record,
        action: Action,
        lease: &Lease,
    ) -> Result<(), EngineError> {
        record.secret = Some(lease.secret.clone());
        record.version.clone_from(&lease.version);
        let decision = self.decide_on(&record.actor, action, &lease.secret, Context::new());
        let allowed = decision.is_allowed();
        record.decision = Some(decision);
        if allowed { Ok(()) } else { self.deny_silently(record.clone(), why::POLICY).await }
    }
}

/// What the caller of a listing may see, decided once a secret.
struct Sight<'a> {
    engine: &'a Engine,
    request: &'a ListLeases,
    seen: HashMap<SecretPath, bool>,
}

impl Sight<'_> {
    fn shows(&mut self, secret: &SecretPath) -> bool {
        if self.request.scope == LeaseScope::Own {
            return true;
        }
        if let Some(shown) = self.seen.get(secret) {
            return *shown;
        }
        let decision = self.engine.decide_on(&self.request.actor, Action::ReadLease, secret, Context::new());
        self.seen.insert(secret.clone(), decision.is_allowed());
        decision.is_allowed()
    }
}
