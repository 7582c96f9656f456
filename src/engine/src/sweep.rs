//! What was ended without the broker: the credentials of live leases are looked up, slowly, and a lease whose credential
//! is gone is over. Like the reconciler it keeps no state of its own and acts idempotently; unlike it, it may be late.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all, stream};
use leasehold_core::{
    Lease, Timestamp,
    lease::Event,
    ports::Issuer,
    provider::{ErrorClass, ProviderError},
    state::{Entry, KeyRange, Revision},
    ttl::after,
};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::{endings::Place, engine::Engine, error::EngineError, upstream::Upstream};

/// One page of leases.
const PAGE: usize = 256;
/// So many lookups are under way at once at one back end: its own callers come first.
const AT_ONCE: usize = 2;
/// Each is followed by so much silence, so that one back end is not asked more than some twenty times a second.
const SILENCE: Duration = Duration::from_millis(100);
/// Back ends that replicate may not know a credential at once: one as young as this is not missed yet.
const TOO_YOUNG: Duration = Duration::from_secs(30);
/// So many that it cannot look up at all, and it is not asked for more this time.
const MOST_IN_VAIN: usize = 3;

/// Why a back end is left alone until its next turn.
enum Halt {
    /// It cannot look credentials up, or not any of these.
    Cannot(ProviderError),
    /// It does not answer as it should.
    Failing(ProviderError),
    /// The ledger does not.
    Ledger(EngineError),
}

impl Engine {
    /// Looks credentials up until `stop` says true: each back end by itself, as often as its limits say.
    pub async fn sweep(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let able = self
            .upstreams
            .values()
            .filter(|upstream| upstream.provider.issuer().is_some())
            .filter(|upstream| !upstream.limits.upstream_check.is_zero());
        join_all(able.map(|upstream| self.sweep_one(upstream, stop.clone()))).await;
    }

    async fn sweep_one(self: &Arc<Self>, upstream: &Arc<Upstream>, mut stop: watch::Receiver<bool>) {
        let mut next = after(self.now(), upstream.limits.upstream_check);
        while !*stop.borrow_and_update() {
            tokio::select! {
                _ = self.clock.sleep_until(next) => {}
                changed = stop.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    continue;
                }
            }
            // The clock may have been set: the time that was meant is waited for.
            if self.now() < next {
                continue;
            }
            if self.held().is_some() {
                next = after(self.now(), upstream.limits.upstream_check);
                continue;
            }
            let halt = tokio::select! {
                looked = self.look_up_all(upstream) => looked.err(),
                _ = stop.changed() => return,
            };
            match halt {
                None => {}
                Some(Halt::Cannot(problem)) => {
                    debug!(provider = %upstream.name, error = %problem, "this back end does not look credentials up");
                }
                Some(Halt::Failing(problem)) => {
                    warn!(provider = %upstream.name, error = %problem,
                        "the credentials of live leases could not all be looked up; tried again later");
                }
                Some(Halt::Ledger(problem)) => {
                    warn!(provider = %upstream.name, error = %problem,
                        "what was ended without the broker could not be written down; tried again later");
                }
            }
            next = after(self.now(), upstream.limits.upstream_check);
        }
    }

    /// Looks up the credential of every live lease that this back end made.
    async fn look_up_all(self: &Arc<Self>, upstream: &Upstream) -> Result<(), Halt> {
        let Some(issuer) = upstream.provider.issuer() else { return Ok(()) };
        let mut in_vain = 0_usize;
        let mut range = KeyRange::made_by(&upstream.name);
        loop {
            let page = self.ledger.scan(&range, PAGE).await.map_err(|error| Halt::Ledger(error.into()))?;
            let full = page.len() == PAGE;
            if let Some(last) = page.last() {
                range = range.after(&last.key);
            }
            let looking = stream::iter(page)
                .map(|entry| self.look_one_up(entry, upstream, issuer))
                .buffer_unordered(AT_ONCE);
            let mut looking = std::pin::pin!(looking);
            while let Some(looked) = looking.next().await {
                match looked {
                    Ok(()) => in_vain = 0,
                    // One that cannot be looked up does not hide the others.
                    Err(Halt::Cannot(_)) if in_vain.saturating_add(1) < MOST_IN_VAIN => {
                        in_vain = in_vain.saturating_add(1);
                    }
                    Err(halt) => return Err(halt),
                }
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn look_one_up(
        self: &Arc<Self>,
        entry: Entry,
        upstream: &Upstream,
        issuer: &dyn Issuer,
    ) -> Result<(), Halt> {
        let Some(id) = entry.key.lease_id() else { return Ok(()) };
        let Some((lease, revision)) = self.load(id).await.map_err(Halt::Ledger)? else { return Ok(()) };
        let now = self.now();
        let Some(handle) = lease.handle.as_ref().filter(|_| is_missed(&lease, now)) else { return Ok(()) };
        let looked = upstream.call(issuer.look_up(handle)).await;
        let result = match looked {
            Err(error) if error.class == ErrorClass::Absent => self.end_missing(&lease, revision).await,
            Err(error) if matches!(error.class, ErrorClass::Permanent | ErrorClass::Invalid) => {
                Err(Halt::Cannot(error))
            }
            Err(error) => Err(Halt::Failing(error)),
            Ok(_) => Ok(()),
        };
        self.clock.sleep_until(after(self.now(), SILENCE)).await;
        result
    }

    async fn end_missing(self: &Arc<Self>, lease: &Lease, revision: Revision) -> Result<(), Halt> {
        match self.end_gone(lease, revision, self.now()).await {
            Ok(()) => {
                info!(lease = %lease.id, secret = %lease.secret, provider = %lease.provider,
                    "the back end ended a credential without the broker: its lease is over");
                Ok(())
            }
            // It was renewed or ended meanwhile: whoever did that knows more.
            Err(EngineError::Conflict | EngineError::Lease(_)) => Ok(()),
            Err(problem) => Err(Halt::Ledger(problem)),
        }
    }
}

impl Engine {
    /// Ends a lease whose credential its back end misses. It is revoked there all the same: nothing is over because
    /// somebody who was asked did not know it.
    pub(crate) async fn end_gone(
        self: &Arc<Self>,
        lease: &Lease,
        revision: Revision,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let (next, effects, _) = self.advance(lease, revision, Event::UpstreamGone, now, None).await?;
        self.expect_at(next.due_at());
        if effects.revoke_upstream {
            self.end_soon(&next, Place::Last);
        }
        Ok(())
    }
}

/// Whether its credential should be there.
fn is_missed(lease: &Lease, now: Timestamp) -> bool {
    lease.is_live(now) && after(lease.issued_at, TOO_YOUNG) <= now
}
