//! Request ids (AIP-155): the same principal and id within the window is the same request, across restarts.
//!
//! What is kept is what was asked and which lease came of it. A retry reads a static value again, by version; of a
//! credential, which no back end shows twice, the value itself is kept beside the lease, for the window or as long as the
//! lease is held, whichever ends first.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use leasehold_core::{
    Lease, LeaseId, RequestId, SecretPath, SecretValue, Timestamp,
    lease::{Cause, LeaseKind, LeaseState},
    secret::{FieldName, SecretBytes},
    state::{Condition, Key, Write},
    ttl::after,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{engine::Engine, error::EngineError, request::IssueLease};

/// What a request id stands for.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    lease: LeaseId,
    secret: SecretPath,
    #[serde(default)]
    ttl: Option<Duration>,
    #[serde(default)]
    fields: Vec<FieldName>,
    until: Timestamp,
}

/// What is known of a request id.
pub(crate) enum Memory {
    /// Nothing: these go into the commit that issues the lease.
    New(Pledge),
    /// The first try is making its credential: whoever asks again waits until it has ended, and then looks again.
    Making(watch::Receiver<()>),
    /// It is a retry of the request that made this lease.
    Made(LeaseId),
}

/// That the id is still free, and how to take it.
pub(crate) struct Pledge {
    pub(crate) condition: Condition,
    pub(crate) forget: Vec<Write>,
}

/// The leases whose credentials are being made by this process: one that is pending and not among them belongs to a try
/// that has failed, or to a broker that died.
#[derive(Default)]
pub(crate) struct Making(Mutex<HashMap<LeaseId, watch::Sender<()>>>);

/// Ends the making of a lease's credential when it is dropped, and lets those who wait for it look again.
pub(crate) struct UnderWay<'a> {
    making: &'a Making,
    lease: LeaseId,
}

impl Engine {
    /// What the request's id stands for; `None` when it has none.
    pub(crate) async fn recall(
        &self,
        request: &IssueLease,
        now: Timestamp,
    ) -> Result<Option<Memory>, EngineError> {
        let Some(id) = &request.request_id else { return Ok(None) };
        let key = Key::request(&request.actor.id, id);
        let Some(entry) = self.ledger.get(&key).await? else {
            let pledge = Pledge { condition: Condition::Absent(key), forget: Vec::new() };
            return Ok(Some(Memory::New(pledge)));
        };
        let remembered: Remembered = decode(&entry.value)?;
        let anew = || {
            let due = Key::request_due(remembered.until, &request.actor.id, id);
            let forget = vec![Write::delete(due), Write::delete(Key::answer(remembered.lease))];
            Memory::New(Pledge { condition: Condition::Unchanged(key, entry.revision), forget })
        };
        if remembered.until <= now {
            return Ok(Some(anew()));
        }
        let same = remembered.secret == request.secret
            && remembered.ttl == request.ttl
            && remembered.fields == request.fields;
        if !same {
            return Err(EngineError::RequestIdReused);
        }
        // Looked for before the lease is read: whoever ends in between has written how it ended.
        let making = self.making.of(remembered.lease);
        Ok(Some(match (making, self.load(remembered.lease).await?) {
            (Some(making), Some((lease, _))) if was_never_issued(&lease) => Memory::Making(making),
            (None, Some((lease, _))) if was_never_issued(&lease) => anew(),
            _ => Memory::Made(remembered.lease),
        }))
    }

    /// The writes that remember which lease came of the request.
    pub(crate) fn remember(
        &self,
        request: &IssueLease,
        id: &RequestId,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<[Write; 2], EngineError> {
        let until = after(now, self.settings.request_memory);
        let remembered = Remembered {
            lease: lease.id,
            secret: request.secret.clone(),
            ttl: request.ttl,
            fields: request.fields.clone(),
            until,
        };
        let bytes =
            serde_json::to_vec(&remembered).map_err(|error| EngineError::Internal(error.to_string()))?;
        let holder = &request.actor.id;
        let key = Key::request(holder, id);
        // Its value is what is to be forgotten, so that the purge need not take keys apart.
        let due = match lease.kind {
            LeaseKind::Static => key.to_string(),
            LeaseKind::Dynamic => format!("{key}\n{}", Key::answer(lease.id)),
        };
        let due = Write::put(Key::request_due(until, holder, id), SecretBytes::from(due));
        Ok([Write::put(key, SecretBytes::new(bytes)), due])
    }

    /// The write that keeps what a retry of the request will get: nothing when it cannot be repeated.
    pub(crate) fn keep_answer(
        request: &IssueLease,
        lease: LeaseId,
        value: &SecretValue,
    ) -> Result<Option<Write>, EngineError> {
        if request.request_id.is_none() {
            return Ok(None);
        }
        let bytes = value.encode().map_err(|error| EngineError::Internal(error.to_string()))?;
        Ok(Some(Write::put(Key::answer(lease), bytes)))
    }

    /// What was kept for a retry, if it still is.
    pub(crate) async fn kept_answer(&self, lease: LeaseId) -> Result<Option<SecretValue>, EngineError> {
        let Some(entry) = self.ledger.get(&Key::answer(lease)).await? else { return Ok(None) };
        let value = SecretValue::decode(&entry.value);
        value.map(Some).map_err(|error| EngineError::Internal(error.to_string()))
    }
}

impl Making {
    /// Says that this lease's credential is being made, until the answer is dropped. Said before the lease is durable.
    pub(crate) fn begin(&self, lease: LeaseId) -> UnderWay<'_> {
        self.lock().insert(lease, watch::channel(()).0);
        UnderWay { making: self, lease }
    }

    /// What ends with the making of this lease's credential, if that is under way.
    fn of(&self, lease: LeaseId) -> Option<watch::Receiver<()>> {
        self.lock().get(&lease).map(watch::Sender::subscribe)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.making.lock().remove(&self.lease);
    }
}

/// What the value of a due key says is to be forgotten.
pub(crate) fn named_by(due: &SecretBytes) -> Vec<Key> {
    let text = std::str::from_utf8(due.expose()).unwrap_or_default();
    text.lines().map(Key::from_stored).collect()
}

/// Whether nobody ever got a value with it, nor will: a retry may have a lease of its own then. One that somebody took
/// away while it was made is over like any other.
fn was_never_issued(lease: &Lease) -> bool {
    let abandoned = match lease.state {
        LeaseState::Pending { .. } => true,
        LeaseState::Revoking { cause, .. }
        | LeaseState::Quarantined { cause, .. }
        | LeaseState::Revoked { cause, .. } => cause == Cause::Abandoned,
        LeaseState::Active | LeaseState::Expired { .. } | LeaseState::Forgotten { .. } => false,
    };
    abandoned && lease.version.is_none()
}

fn decode(bytes: &SecretBytes) -> Result<Remembered, EngineError> {
    serde_json::from_slice(bytes.expose())
        .map_err(|error| leasehold_core::lease::Undecodable::from(error).into())
}
