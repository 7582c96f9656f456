//! The one background loop. Whatever is due (an end, an abandoned intent, a retry, a purge) is found in the ledger's
//! expiry index, acted on idempotently and written down. It runs on notice and on period and keeps no state of its own:
//! after a crash it simply looks again.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream};
use leasehold_core::{
    Lease, Timestamp,
    lease::{Effects, Event, LeaseState, StepError},
    provider::{ErrorClass, ProviderError, Verification},
    record::{Kind, Outcome},
    state::{Commit, Condition, Entry, Key, KeyRange, LedgerError, Revision, Write},
    ttl::after,
};
use tokio::sync::watch;
use tracing::{error, warn};

use crate::{endings::Place, engine::Engine, error::EngineError, idempotency};

/// One look takes so many due leases; the next look follows at once when there were more.
const LOOK: usize = 2048;
/// So many are worked on at once: they share the journal's group commits.
const AT_ONCE: usize = 512;
/// It looks at least this often, whatever it was told.
const PERIOD: Duration = Duration::from_secs(30);
/// And not more often than this, unless it has more to do than fits one look: what ends in between is settled together.
const BREATH: Duration = Duration::from_millis(20);
/// After the ledger refused, it waits this long.
const PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    /// Runs until `stop` says true.
    pub async fn reconcile(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        tokio::spawn(self.clone().run_revocations(stop.clone()));
        tokio::spawn(self.clone().run_drains(stop.clone()));
        tokio::spawn(self.clone().run_rotations(stop.clone()));
        while !*stop.borrow_and_update() {
            // Whoever commits something due from here on either is seen by this look or wakes the next one.
            self.next_look.store(i64::MAX, Relaxed);
            let next = match self.look().await {
                Ok(next) => next,
                Err(problem) => {
                    warn!(error = %problem, "the reconciler could not do its work and tries again");
                    after(self.now(), PAUSE)
                }
            };
            // What became due sooner during the look is known from here on: that wake-up has been heard.
            let _ = self.wake.notified().now_or_never();
            let sooner = self.next_look.fetch_min(next.as_millisecond(), Relaxed);
            let next = Timestamp::from_millisecond(sooner).map_or(next, |sooner| sooner.min(next));
            tokio::select! {
                _ = self.clock.sleep_until(next) => {}
                _ = self.wake.notified() => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Acts on what is due and says when to look again.
    async fn look(self: &Arc<Self>) -> Result<Timestamp, EngineError> {
        let now = self.now();
        if self.held().is_some() {
            self.forget_requests(now).await?;
            return Ok(after(now, PERIOD));
        }
        self.abandon_inherited().await?;
        let due = self.ledger.scan(&KeyRange::due_until(now), LOOK).await?;
        let full = due.len() == LOOK;
        // Once the ledger has refused one, the others are not even tried.
        let refused = AtomicBool::new(false);
        let mut settling = stream::iter(due)
            .take_while(|_| ready(!refused.load(Relaxed)))
            .map(|entry| self.settle(entry, now))
            .buffer_unordered(AT_ONCE);
        let (mut ended, mut unsettled, mut why) = (Vec::new(), 0_u64, None);
        while let Some(settled) = settling.next().await {
            match settled {
                Ok(lease) => ended.extend(lease),
                Err(problem) => {
                    refused.fetch_or(problem.is_the_ledgers(), Relaxed);
                    unsettled = unsettled.saturating_add(1);
                    why = Some(problem);
                }
            }
        }
        if let Some(problem) = why {
            warn!(unsettled, error = %problem, "due leases could not be settled and are tried again");
        }
        self.purge(ended).await?;
        let forgot_all = self.forget_requests(now).await?;
        // Those that could not be settled are still the first: to look at them at once would be to spin.
        let more = unsettled == 0 && (full || !forgot_all);
        let next = self.ledger.scan(&KeyRange::due(), 1).await?;
        let next = next.first().and_then(|entry| entry.key.due_time());
        let soonest = match next {
            _ if more => now,
            // What is still due could not be done: it waits, so that it does not spin.
            Some(next) if next <= now && unsettled > 0 => after(now, PAUSE),
            // A key names the millisecond in which its lease ends, and the lease the moment.
            Some(next) => next.max(after(now, BREATH)),
            None => Timestamp::MAX,
        };
        Ok(soonest.min(after(now, PERIOD)))
    }

    /// Takes one due lease a step on; gives it back when all that is left to do is to purge it.
    async fn settle(self: &Arc<Self>, entry: Entry, now: Timestamp) -> Result<Option<Lease>, EngineError> {
        let Some(id) = entry.key.lease_id() else { return Ok(None) };
        let Some((lease, revision)) = self.load(id).await? else { return Ok(None) };
        if lease.is_ended() {
            return Ok((lease.due_at() <= now).then_some(lease));
        }
        match self.advance(&lease, revision, Event::Due, now, None).await {
            Ok((next, effects, _)) => {
                if effects.revoke_upstream {
                    self.end_soon(&next, Place::Last);
                }
                Ok(None)
            }
            // Somebody else moved it: their change says when it is due.
            Err(EngineError::Conflict | EngineError::Lease(StepError::NotDue)) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// Ends a dynamic lease's credential at its back end and writes down how that went. The lease claims the attempt
    /// already: see [`Engine::end_soon`].
    pub(crate) async fn end_upstream(self: Arc<Self>, lease: Lease, revision: Revision) {
        let asked_at = self.now();
        let result = match self.upstreams.get(&lease.provider) {
            Some(upstream) => upstream.revoke(&lease).await,
            None => {
                let message = format!("the provider `{}` is no longer configured", lease.provider);
                Err(ProviderError::new(ErrorClass::Permanent, message))
            }
        };
        let now = self.now();
        let (event, problem) = match result {
            Ok(Verification::StillValid) => {
                let retry_at = after(now, self.settings.quarantine_retry);
                let problem = "the back end says that it ended the credential, and it still works";
                (Event::UpstreamStillValid { retry_at }, Some(problem.to_owned()))
            }
            Ok(verification) => {
                (Event::UpstreamRevoked { proven: verification == Verification::Verified, asked_at }, None)
            }
            Err(problem) => (self.retry(&lease, problem.class, now), Some(problem.to_string())),
        };
        match self.advance(&lease, revision, event, now, problem.as_deref()).await {
            Ok((next, effects, _)) => {
                if next.verification == Some(Verification::StillValid) && problem.is_some() {
                    error!(lease = %lease.id, secret = %lease.secret, provider = %lease.provider,
                        "a credential WORKS ON although its back end says that it ended it: the lease is quarantined");
                } else if effects.quarantined {
                    error!(lease = %lease.id, secret = %lease.secret, provider = %lease.provider,
                        "a credential could not be revoked: the lease is quarantined and tried on slowly");
                }
                self.expect_at(next.due_at());
            }
            Err(problem) => {
                warn!(lease = %lease.id, error = %problem, "a revocation could not be written down and is tried again");
            }
        }
    }

    /// When to try again: doubling from a second to five minutes, spread by the lease's own random bits.
    fn retry(&self, lease: &Lease, class: ErrorClass, now: Timestamp) -> Event {
        let attempts = match lease.state {
            LeaseState::Revoking { attempts, .. } | LeaseState::Quarantined { attempts, .. } => attempts,
            _ => 0,
        };
        let budget_spent =
            !class.is_retryable() || attempts.saturating_add(1) >= self.settings.revoke_attempts;
        let pause = if budget_spent {
            self.settings.quarantine_retry
        } else {
            Duration::from_secs(1).saturating_mul(1 << attempts.min(8)).min(Duration::from_secs(300))
        };
        let spread = u32::from(lease.id.bits().first().copied().unwrap_or_default());
        let jitter = pause.mul_f64(f64::from(spread) / 1024.0);
        Event::UpstreamFailed { retry_at: after(now, pause.saturating_add(jitter)), budget_spent }
    }

    /// Steps a lease and makes the step durable, on condition that nobody stepped it in the meantime.
    pub(crate) async fn advance(
        &self,
        lease: &Lease,
        revision: Revision,
        event: Event,
        now: Timestamp,
        problem: Option<&str>,
    ) -> Result<(Lease, Effects, Revision), EngineError> {
        let (mut next, effects) = lease.clone().step(event, now)?;
        if effects.revoke_upstream {
            self.claim_for_the_wait(&mut next, now);
        }
        let mut record = self.record(kind_of(&next.state), &self.broker);
        record.secret = Some(next.secret.clone());
        record.version.clone_from(&next.version);
        record.provider = Some(next.provider.clone());
        record.lease = Some(next.id);
        record.expires_at = Some(next.expires_at);
        Self::note_irrevocable(&mut record, &next);
        if let LeaseState::Revoked { cause, .. } | LeaseState::Revoking { cause, .. } = next.state {
            record.details.insert("cause".to_owned(), cause.name().to_owned());
        }
        if let Some(until) = next.unsettled_until {
            record.details.insert("unsettled_until".to_owned(), until.to_string());
        }
        if let Some(verification) = next.verification {
            record.details.insert("verification".to_owned(), verification.name().to_owned());
        }
        if let Some(problem) = problem {
            record.outcome = Outcome::Failed { reason: "UPSTREAM_REVOCATION_FAILED".to_owned() };
            record.details.insert("error".to_owned(), problem.to_owned());
        }
        let commit = Commit {
            record,
            conditions: vec![Condition::Unchanged(Key::lease(lease.id), revision)],
            writes: next.writes(Some(lease))?,
        };
        let revision = self.ledger.commit(commit).await?;
        Ok((next, effects, revision))
    }

    /// Removes leases that ended long enough ago, in one commit.
    async fn purge(&self, ended: Vec<Lease>) -> Result<(), EngineError> {
        if ended.is_empty() {
            return Ok(());
        }
        let mut record = self.record(Kind::LeasePurged, &self.broker);
        record.details.insert("leases".to_owned(), ended.len().to_string());
        let writes = ended.iter().flat_map(Lease::purge).collect();
        // No condition: nothing changes a lease that has ended.
        self.ledger.commit(Commit { record, conditions: Vec::new(), writes }).await?;
        Ok(())
    }

    /// Removes request ids whose window is over, as many as one look takes; says whether that was all of them.
    async fn forget_requests(&self, now: Timestamp) -> Result<bool, EngineError> {
        let due = self.ledger.scan(&KeyRange::requests_due_until(now), LOOK).await?;
        let all = due.len() < LOOK;
        if due.is_empty() {
            return Ok(all);
        }
        let mut record = self.record(Kind::LeasePurged, &self.broker);
        record.details.insert("request_ids".to_owned(), due.len().to_string());
        let conditions =
            due.iter().map(|entry| Condition::Unchanged(entry.key.clone(), entry.revision)).collect();
        let named = due.iter().flat_map(|entry| idempotency::named_by(&entry.value));
        let writes = named.chain(due.iter().map(|entry| entry.key.clone())).map(Write::delete).collect();
        match self.ledger.commit(Commit { record, conditions, writes }).await {
            // After a conflict, one of them was taken anew just now: the next look finds the others.
            Ok(_) | Err(LedgerError::Conflict(_)) => Ok(all),
            Err(problem) => Err(problem.into()),
        }
    }
}

const fn kind_of(state: &LeaseState) -> Kind {
    match state {
        LeaseState::Pending { .. } => Kind::LeaseAttempted,
        LeaseState::Active => Kind::LeaseIssued,
        LeaseState::Revoking { .. } => Kind::LeaseRevoking,
        LeaseState::Revoked { .. } => Kind::LeaseRevoked,
        LeaseState::Expired { .. } => Kind::LeaseExpired,
        LeaseState::Quarantined { .. } => Kind::LeaseQuarantined,
        LeaseState::Forgotten { .. } => Kind::LeaseForgotten,
    }
}
