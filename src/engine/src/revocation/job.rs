//! The revocation of many leases as the ledger has it.

use leasehold_core::{
    RequestId, RevocationId, Timestamp,
    lease::Undecodable,
    record::{Actor, Kind, Record},
    secret::SecretBytes,
    state::{Key, Write},
};
use serde::{Deserialize, Serialize};

use crate::request::{LeaseFilter, Revocation, RevocationCounts, RevocationState, StartRevocation};

/// What is to be ended, why, for whom, and how far that has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: RevocationId,
    pub(crate) filter: LeaseFilter,
    pub(crate) reason: String,
    pub(crate) actor: Actor,
    /// Whether secrets are rotated whose leases are ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) rotate: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<RequestId>,
    pub(crate) started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<Timestamp>,
    /// As they were when it was written last.
    pub(crate) counts: RevocationCounts,
    /// The last key that was looked at when it was written last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) behind: Option<Box<str>>,
}

impl Job {
    pub(crate) fn new(id: RevocationId, request: &StartRevocation, now: Timestamp) -> Self {
        Self {
            id,
            filter: request.filter.clone(),
            reason: request.reason.clone(),
            actor: request.actor.clone(),
            rotate: request.rotate,
            request_id: request.request_id.clone(),
            started_at: now,
            ended_at: None,
            counts: RevocationCounts::default(),
            behind: None,
        }
    }

    pub(crate) fn decode(bytes: &SecretBytes) -> Result<Self, Undecodable> {
        Ok(serde_json::from_slice(bytes.expose())?)
    }

    /// Puts it into the ledger as it is.
    pub(crate) fn write(&self) -> Result<Write, Undecodable> {
        Ok(Write::put(Key::revocation(self.id), SecretBytes::new(serde_json::to_vec(self)?)))
    }

    /// What makes it known when it begins.
    pub(crate) fn begin(&self) -> Result<Vec<Write>, Undecodable> {
        let mut writes = vec![
            self.write()?,
            Write::mark(Key::revocation_begun(self.started_at, self.id)),
            Write::mark(Key::revocation_running(self.id)),
        ];
        if let Some(key) = self.request_key() {
            writes.push(Write::put(key, SecretBytes::new(self.id.to_string().into_bytes())));
        }
        Ok(writes)
    }

    /// What removes it.
    pub(crate) fn purge(&self) -> impl Iterator<Item = Write> {
        let keys = [Key::revocation(self.id), Key::revocation_begun(self.started_at, self.id)];
        keys.into_iter().chain(self.request_key()).map(Write::delete)
    }

    fn request_key(&self) -> Option<Key> {
        Some(Key::revocation_request(&self.actor.id, self.request_id.as_ref()?))
    }

    pub(crate) fn view(&self) -> Revocation {
        Revocation {
            id: Some(self.id),
            filter: self.filter.clone(),
            reason: self.reason.clone(),
            actor: self.actor.id.clone(),
            state: match self.ended_at {
                Some(_) => RevocationState::Finished,
                None => RevocationState::Running,
            },
            started_at: self.started_at,
            ended_at: self.ended_at,
            counts: self.counts,
        }
    }
}

/// A record about many leases: which, and why.
pub(crate) fn record(
    now: Timestamp,
    kind: Kind,
    actor: &Actor,
    filter: &LeaseFilter,
    reason: &str,
) -> Record {
    let mut record = Record::new(now, kind, actor.clone());
    record.secret.clone_from(&filter.secret);
    record.version.clone_from(&filter.version);
    record.provider.clone_from(&filter.provider);
    let mut say = |name: &str, what: String| drop(record.details.insert(name.to_owned(), what));
    say("reason", reason.to_owned());
    if let Some(holder) = &filter.holder {
        say("holder", holder.to_string());
    }
    if let Some(prefix) = &filter.prefix {
        say("prefix", prefix.to_string());
    }
    record
}
