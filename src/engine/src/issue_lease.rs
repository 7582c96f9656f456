//! IssueLease: decide, get the value, make lease and record durable together, and only then disclose.

use std::{sync::Arc, time::Duration};

use leasehold_core::{
    Lease, LeaseId, SecretValue, Timestamp,
    access::Action,
    catalog::{Freshness, Resolved, Source},
    lease::{Event, LeaseKind, StepError},
    provider::{ErrorClass, Fetch, IssueCredential, ProviderError},
    record::{Kind, Outcome, Record},
    rotation::Tags,
    secret::{FieldName, VersionId},
    state::{Commit, Condition, Key, LedgerError, Revision, Write},
    ttl::{TtlLimits, after, until},
};

use crate::{
    access::{Admitted, lending, why},
    cache::{CacheKey, Cached, Found},
    endings,
    engine::Engine,
    error::EngineError,
    idempotency::Memory,
    request::{IssueLease, IssuedLease},
    tally::Place,
    upstream::Upstream,
};

impl Engine {
    /// Issues a lease and discloses its value. Nothing is disclosed before its record is durable, and a caller that
    /// hangs up does not stop it half way.
    ///
    /// # Errors
    /// As [`EngineError`] says; whatever was decided or failed has been recorded.
    pub async fn issue_lease(self: &Arc<Self>, request: IssueLease) -> Result<IssuedLease, EngineError> {
        // Two requests with one id that meet: the second time, the later one finds the first one's lease.
        self.shielded(request, Self::issue).await
    }

    async fn issue(self: &Arc<Self>, request: &IssueLease) -> Result<IssuedLease, EngineError> {
        let mut record = self.record(Kind::LeaseIssued, &request.actor);
        let now = record.time;
        record.secret = Some(request.secret.clone());
        record.request_id = request.request_id.clone();
        let context = lending(request.ttl, &request.fields);
        let Admitted { resolved, upstream, limits } =
            match self.admit(&mut record, Action::IssueLease, &request.secret, context) {
                Ok(admitted) => admitted,
                Err(why) => return self.deny(record, why).await,
            };
        record.provider = Some(upstream.name.clone());

        let memory = match self.recall(request, now).await {
            Ok(memory) => memory,
            Err(error) => return self.fail(record, error).await,
        };
        match memory {
            Some(Memory::Made(lease)) => return Box::pin(self.answer_again(request, lease, record)).await,
            Some(Memory::Making(mut first)) => {
                // It ends when its sender is gone; nothing is ever sent.
                let _ = first.changed().await;
                return Box::pin(self.issue(request)).await;
            }
            _ => {}
        }
        let place = match self.take_place(&request.actor.id, &request.secret, &resolved.entry, &upstream) {
            Ok(place) => place,
            Err(error) => return self.fail(record, error).await,
        };
        let asked = Asked { request, resolved: &resolved, upstream: &upstream, limits, memory, place };
        match &resolved.entry.source {
            Source::Static { reference } => self.issue_static(asked, reference, record).await,
            Source::Dynamic { role } => Box::pin(self.issue_dynamic(asked, role, record)).await,
        }
    }

    async fn issue_static(
        self: &Arc<Self>,
        asked: Asked<'_>,
        reference: &str,
        mut record: Record,
    ) -> Result<IssuedLease, EngineError> {
        let request = asked.request;
        let freshness = asked.resolved.entry.freshness;
        let reading = self.rotations.reading();
        let pinned = self.pinned(&request.secret);
        let found = match self.value(asked.upstream, reference, pinned.as_ref(), freshness, record.time).await
        {
            Ok(found) => found,
            Err(error) => return self.fail(record, error).await,
        };
        let value = match select(&found.cached.value, &request.fields) {
            Ok(value) => value,
            Err(error) => return self.fail(record, error).await,
        };
        // It begins when there is something to hold: what a slow back end took is not the holder's loss.
        let now = self.now();
        let mut lease = Lease::new_static(
            asked.place.lease(),
            request.actor.id.clone(),
            request.secret.clone(),
            asked.upstream.name.clone(),
            found.cached.version.clone(),
            asked.limits.term(request.ttl, now),
            now,
        );
        lease.fields.clone_from(&request.fields);
        lease.stale_since = found.stale_since;
        describe(&mut record, &lease, &found.cached.tags, now);
        let (mut conditions, mut writes) = self.first_writes(&asked, &lease, now)?;
        let new_holder = self.known_holders.leave_out(&mut writes);
        if !self.rotations.is_as_read(reading) {
            let lent = self.still_lent(&request.secret, &found.cached.version).await?;
            conditions.extend(lent);
        }
        self.ledger.commit(Commit { record, conditions, writes }).await?;
        asked.place.keep();
        if let Some(holder) = new_holder {
            self.known_holders.note(holder);
        }
        self.expect_at(lease.due_at());
        if asked.resolved.mount.is_some() && asked.resolved.entry.rotation.is_some() {
            self.meet_rotation(&request.secret);
        }
        Ok(IssuedLease { lease, value })
    }

    /// Intent first, then the back end, then the lease: a crash between any two leaves a pending lease that the
    /// reconciler ends.
    async fn issue_dynamic(
        self: &Arc<Self>,
        asked: Asked<'_>,
        role: &str,
        mut record: Record,
    ) -> Result<IssuedLease, EngineError> {
        let (request, now) = (asked.request, record.time);
        if let Err(held) = self.unless_on_hold() {
            return self.fail(record, held).await;
        }
        let Some(issuer) = asked.upstream.provider.issuer() else {
            let error = ProviderError::unsupported("make credentials").of(&asked.upstream.name);
            return self.fail(record, EngineError::Provider(Arc::new(error))).await;
        };
        let capabilities = asked.upstream.capabilities();
        let limits = capabilities.max_ttl.map_or(asked.limits, |max| asked.limits.clipped(max));
        let term = limits.term(request.ttl, now);
        let reservation = match asked.upstream.call(issuer.reserve(role)).await {
            Ok(reservation) => reservation,
            Err(error) => return self.fail(record, EngineError::Provider(Arc::new(error))).await,
        };
        // Waiting for a turn may take as long as the call itself.
        let longest_call = asked.upstream.limits.call_timeout.saturating_mul(2);
        let abandoned_at =
            after(self.now(), self.settings.pending_timeout.max(longest_call.saturating_mul(2)));
        let mut pending = Lease::new_pending(
            asked.place.lease(),
            request.actor.id.clone(),
            request.secret.clone(),
            asked.upstream.name.clone(),
            term,
            now,
            abandoned_at,
        );
        pending.fields.clone_from(&request.fields);
        pending.handle.clone_from(&reservation);
        let ttl = until(now, term.expires_at);
        if !capabilities.revoke {
            // As long as the credential could live if its answer were lost.
            let longest = ttl.max(capabilities.min_ttl.unwrap_or_default());
            pending.irrevocable_until = Some(after(self.now(), longest.saturating_add(longest_call)));
        }
        let mut attempt = record.clone();
        attempt.kind = Kind::LeaseAttempted;
        attempt.lease = Some(pending.id);
        let _under_way = self.making.begin(pending.id);
        let (conditions, writes) = self.first_writes(&asked, &pending, now)?;
        let revision = self.ledger.commit(Commit { record: attempt, conditions, writes }).await?;
        asked.place.keep();
        self.expect_at(pending.due_at());

        let making = async {
            // Its turn has come: what was waited for is not left of its time, but for a part of a second.
            let asked_at = self.now();
            let left = |end, asked: Duration| {
                Duration::from_secs(until(asked_at, end).as_secs().saturating_add(1)).min(asked)
            };
            let credential = IssueCredential {
                lease: pending.id,
                holder: &request.actor.id,
                role,
                ttl: left(term.expires_at, ttl),
                max_ttl: left(term.max_expires_at, until(now, term.max_expires_at)),
                within: until(asked_at, abandoned_at),
                reservation: reservation.as_ref(),
            };
            issuer.issue(credential).await
        };
        let issued = match asked.upstream.call(making).await {
            Ok(issued) => issued,
            Err(error) => return self.issue_failed(record, pending, revision, error).await,
        };
        // A credential of which nothing can be disclosed is not issued: the reconciler ends the pending lease.
        let value = match select(&issued.value, &request.fields) {
            Ok(value) => value,
            Err(error) => {
                record.lease = Some(pending.id);
                return self.fail(record, error).await;
            }
        };
        let event = Event::Issued {
            version: issued.version.clone(),
            revocation: issued.revocation,
            expires_at: issued.expires_at,
        };
        let (lease, _) = pending.clone().step(event.clone(), self.now())?;
        let mut refusal = record.clone();
        describe(&mut record, &lease, &self.tags(&issued.value), now);
        let mut writes = lease.writes(Some(&pending))?;
        writes.extend(Self::keep_answer(request, lease.id, &value)?);
        let conditions = vec![Condition::Unchanged(Key::lease(lease.id), revision)];
        match self.ledger.commit(Commit { record, conditions, writes }).await {
            Ok(_) => {}
            // The lease was ended meanwhile, and its credential looked for before it was there.
            Err(LedgerError::Conflict(_)) => {
                self.end_late(&lease, event, asked.upstream).await;
                refusal.lease = Some(lease.id);
                return self.fail(refusal, StepError::Revoked.into()).await;
            }
            // The credential exists and nobody gets it: the reconciler finds the pending lease.
            Err(problem) => return Err(problem.into()),
        }
        self.expect_at(lease.due_at());
        Ok(IssuedLease { lease, value })
    }

    /// The back end made nothing, or may have made something that nobody will get.
    async fn issue_failed(
        self: &Arc<Self>,
        mut record: Record,
        pending: Lease,
        revision: Revision,
        error: ProviderError,
    ) -> Result<IssuedLease, EngineError> {
        // After an answer nothing was made; after silence nobody knows, and the reconciler looks.
        let unknown = error.class == ErrorClass::Transient;
        let error = EngineError::Provider(Arc::new(error));
        record.lease = Some(pending.id);
        if unknown {
            return self.fail(record, error).await;
        }
        let (ended, effects) = pending.clone().step(Event::IssueFailed, self.now())?;
        let mut ending = record.clone();
        ending.outcome = Outcome::Failed { reason: error.reason().to_owned() };
        let conditions = vec![Condition::Unchanged(Key::lease(pending.id), revision)];
        let writes = ended.writes(Some(&pending))?;
        match self.ledger.commit(Commit { record: ending, conditions, writes }).await {
            Ok(_) => {
                if effects.revoke_upstream {
                    self.end_soon(&ended, endings::Place::First);
                }
                Err(error)
            }
            // Somebody else ends it already, and need not wait for what is not under way any more.
            Err(LedgerError::Conflict(_)) => {
                self.answered_late(pending.id, Event::IssueFailed).await;
                self.fail(record, error).await
            }
            Err(problem) => Err(problem.into()),
        }
    }

    /// A retry: the lease that the first try made, with its value at its version.
    async fn answer_again(
        self: &Arc<Self>,
        request: &IssueLease,
        id: LeaseId,
        mut record: Record,
    ) -> Result<IssuedLease, EngineError> {
        record.lease = Some(id);
        let Some((lease, revision)) = self.load(id).await? else {
            return self.fail(record, StepError::Expired.into()).await;
        };
        let now = record.time;
        if !lease.is_live(now) {
            let over = if lease.is_ended() { StepError::Revoked } else { StepError::Expired };
            return self.fail(record, over.into()).await;
        }
        let (value, tags) = match self.value_again(request, &lease, now).await {
            Ok(both) => both,
            Err(EngineError::Denied(_)) => return self.deny(record, why::NOT_IN_CATALOG).await,
            Err(error) => return self.fail(record, error).await,
        };
        describe(&mut record, &lease, &tags, now);
        record.details.insert("retry".to_owned(), "true".to_owned());
        // The lease may have been revoked while its value was fetched.
        let conditions = vec![Condition::Unchanged(Key::lease(id), revision)];
        self.ledger.commit(Commit { record, conditions, writes: Vec::new() }).await?;
        Ok(IssuedLease { lease, value })
    }

    /// What the first try disclosed: a static value at its version, a credential as it was kept.
    async fn value_again(
        self: &Arc<Self>,
        request: &IssueLease,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<(SecretValue, Tags), EngineError> {
        if lease.kind == LeaseKind::Dynamic {
            // It is gone with the lease, which may have ended just now.
            let value = self.kept_answer(lease.id).await?.ok_or(StepError::Revoked)?;
            let tags = self.tags(&value);
            return Ok((value, tags));
        }
        let (resolved, upstream) = self.resolve(&request.secret).ok_or_else(EngineError::denied)?;
        let Source::Static { reference } = &resolved.entry.source else { return Err(EngineError::denied()) };
        let freshness = resolved.entry.freshness;
        let found = self.value(&upstream, reference, lease.version.as_ref(), freshness, now).await?;
        Ok((select(&found.cached.value, &request.fields)?, found.cached.tags.clone()))
    }

    /// The value of a static secret, from the cache or through it.
    pub(crate) async fn value(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        reference: &str,
        version: Option<&VersionId>,
        freshness: Freshness,
        now: Timestamp,
    ) -> Result<Found, EngineError> {
        let key = CacheKey {
            provider: upstream.name.clone(),
            reference: reference.into(),
            version: version.cloned(),
        };
        let fetch = || {
            let (engine, upstream, key) = (self.clone(), upstream.clone(), key.clone());
            async move { engine.fetch(&upstream, &key).await }
        };
        let found = self.cache.get(&key, freshness, now, fetch).await.map_err(EngineError::Provider)?;
        Ok(found)
    }

    async fn fetch(&self, upstream: &Upstream, key: &CacheKey) -> Result<Cached, ProviderError> {
        let fetch = Fetch { reference: &key.reference, version: key.version.as_ref() };
        let fetched = upstream.call(upstream.provider.fetch(fetch)).await?;
        Ok(Cached {
            tags: self.tags(&fetched.value),
            value: fetched.value,
            version: fetched.version,
            fetched_at: self.now(),
        })
    }

    /// What the first commit of a lease writes, its request id included.
    fn first_writes(
        &self,
        asked: &Asked<'_>,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<(Vec<Condition>, Vec<Write>), EngineError> {
        let mut writes = lease.writes(None)?;
        let mut conditions = Vec::new();
        if let (Some(Memory::New(pledge)), Some(id)) = (&asked.memory, &asked.request.request_id) {
            conditions.push(pledge.condition.clone());
            writes.extend(pledge.forget.clone());
            writes.extend(self.remember(asked.request, id, lease, now)?);
        }
        Ok((conditions, writes))
    }
}

/// A request that was allowed, with what it is about.
struct Asked<'a> {
    request: &'a IssueLease,
    resolved: &'a Resolved,
    upstream: &'a Arc<Upstream>,
    limits: TtlLimits,
    memory: Option<Memory>,
    place: Place<'a>,
}

/// The fields that were asked for; all when none was named.
pub(crate) fn select(value: &SecretValue, fields: &[FieldName]) -> Result<SecretValue, EngineError> {
    if fields.is_empty() {
        return Ok(value.clone());
    }
    let chosen = fields.iter().map(|name| {
        let bytes = value.fields.get(name).ok_or_else(|| EngineError::NoSuchField(name.clone()))?;
        Ok((name.clone(), bytes.clone()))
    });
    Ok(SecretValue {
        fields: chosen.collect::<Result<_, EngineError>>()?,
        content_type: value.content_type.clone(),
    })
}

/// Puts into the record what is about to be disclosed.
pub(crate) fn describe(record: &mut Record, lease: &Lease, tags: &Tags, now: Timestamp) {
    record.lease = Some(lease.id);
    record.version.clone_from(&lease.version);
    record.expires_at = Some(lease.expires_at);
    record.value_hmac.clone_from(tags);
    if !lease.fields.is_empty() {
        record.value_hmac.retain(|name, _| lease.fields.contains(name));
    }
    Engine::note_irrevocable(record, lease);
    if let Some(since) = lease.stale_since {
        record.details.insert("stale_for".to_owned(), format!("{}s", until(since, now).as_secs()));
    }
}
