//! Request ids (AIP-155): the same principal and id within the window is the same request, across restarts.
//!
//! What is kept is what was asked and which lease came of it, never a value: a retry reads the value again, by version.

use std::time::Duration;

use leasehold_core::{
    LeaseId, RequestId, SecretPath, Timestamp,
    secret::{FieldName, SecretBytes},
    state::{Condition, Key, Write},
    ttl::after,
};
use serde::{Deserialize, Serialize};

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
    /// It is a retry of the request that made this lease.
    Made(LeaseId),
}

/// That the id is still free, and how to take it.
pub(crate) struct Pledge {
    pub(crate) condition: Condition,
    pub(crate) forget: Option<Write>,
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
            return Ok(Some(Memory::New(Pledge { condition: Condition::Absent(key), forget: None })));
        };
        let remembered: Remembered = decode(&entry.value)?;
        if remembered.until <= now {
            let forget = Write::delete(Key::request_due(remembered.until, &request.actor.id, id));
            let condition = Condition::Unchanged(key, entry.revision);
            return Ok(Some(Memory::New(Pledge { condition, forget: Some(forget) })));
        }
        let same = remembered.secret == request.secret
            && remembered.ttl == request.ttl
            && remembered.fields == request.fields;
        if same { Ok(Some(Memory::Made(remembered.lease))) } else { Err(EngineError::RequestIdReused) }
    }

    /// The writes that remember which lease came of the request.
    pub(crate) fn remember(
        &self,
        request: &IssueLease,
        id: &RequestId,
        lease: LeaseId,
        now: Timestamp,
    ) -> Result<[Write; 2], EngineError> {
        let until = after(now, self.settings.request_memory);
        let remembered = Remembered {
            lease,
            secret: request.secret.clone(),
            ttl: request.ttl,
            fields: request.fields.clone(),
            until,
        };
        let bytes =
            serde_json::to_vec(&remembered).map_err(|error| EngineError::Internal(error.to_string()))?;
        let holder = &request.actor.id;
        Ok([
            Write::put(Key::request(holder, id), SecretBytes::new(bytes)),
            // Its value is the key to forget, so that the purge need not take keys apart.
            Write::put(
                Key::request_due(until, holder, id),
                SecretBytes::new(Key::request(holder, id).as_str().as_bytes().to_vec()),
            ),
        ])
    }
}

/// The request's key that the value of a due key names.
pub(crate) fn named_by(due: &SecretBytes) -> Option<Key> {
    std::str::from_utf8(due.expose()).ok().map(Key::from_stored)
}

fn decode(bytes: &SecretBytes) -> Result<Remembered, EngineError> {
    serde_json::from_slice(bytes.expose())
        .map_err(|error| leasehold_core::lease::Undecodable::from(error).into())
}
