//! The keys under which the ledger finds a lease. All of one lease's keys change in one commit.

use std::time::Duration;

use jiff::Timestamp;

use super::{Lease, LeaseKind, LeaseState, Undecodable};
use crate::{
    state::{Key, Write},
    ttl::after,
};

impl Lease {
    /// How long an ended lease can still be looked at before it is purged.
    pub const ENDED_RETENTION: Duration = Duration::from_secs(3600);

    /// How long one attempt to end a credential may take before it is tried again: a crash in the middle costs no more.
    pub const ATTEMPT: Duration = Duration::from_secs(60);

    /// When the reconciler must look at it next: its end, a retry, or its purge.
    pub fn due_at(&self) -> Timestamp {
        match self.state {
            LeaseState::Pending { until } => until,
            LeaseState::Active => self.expires_at,
            LeaseState::Revoking { next_try, .. } | LeaseState::Quarantined { next_try, .. } => next_try,
            LeaseState::Revoked { at, .. } | LeaseState::Expired { at } | LeaseState::Forgotten { at } => {
                after(at, Self::ENDED_RETENTION)
            }
        }
    }

    /// The writes that turn `before` (or nothing) into this lease, index keys included.
    ///
    /// # Errors
    /// As [`Lease::encode`].
    pub fn writes(&self, before: Option<&Self>) -> Result<Vec<Write>, Undecodable> {
        let mut writes = vec![Write::put(Key::lease(self.id), self.encode()?)];
        let old = before.map(Self::index_keys).unwrap_or_default();
        let new = self.index_keys();
        writes.extend(old.iter().filter(|key| !new.contains(key)).cloned().map(Write::delete));
        writes.extend(new.into_iter().filter(|key| !old.contains(key)).map(Write::mark));
        // Whether or not anything was kept: what is over is disclosed to nobody again.
        if self.kind == LeaseKind::Dynamic
            && self.state != LeaseState::Active
            && before.is_some_and(|before| before.state == LeaseState::Active)
        {
            writes.push(Write::delete(Key::answer(self.id)));
        }
        if let Some(version) = &self.version
            && before.is_none_or(|before| before.version.as_ref() != Some(version))
        {
            writes.push(Write::mark(Key::held(&self.secret, version, &self.holder)));
        }
        if matches!(self.state, LeaseState::Forgotten { .. }) {
            writes.push(Write::mark(Key::forgotten(self.id)));
        }
        Ok(writes)
    }

    /// The writes that remove an ended lease; who was issued what stays.
    pub fn purge(&self) -> Vec<Write> {
        let mut keys = self.index_keys();
        keys.push(Key::lease(self.id));
        keys.into_iter().map(Write::delete).collect()
    }

    fn index_keys(&self) -> Vec<Key> {
        let mut keys = vec![Key::due(self.due_at(), self.id), Key::holder(&self.holder, self.id)];
        match &self.version {
            _ if self.is_ended() => {}
            Some(version) => keys.push(Key::secret(&self.secret, version, self.id)),
            None => keys.push(Key::making(&self.secret, self.id)),
        }
        if self.kind == LeaseKind::Dynamic && !self.is_ended() {
            keys.push(Key::made(&self.provider, self.id));
        }
        if matches!(self.state, LeaseState::Quarantined { .. }) {
            keys.push(Key::quarantined(self.id));
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        id::LeaseId,
        lease::{Cause, Event},
        ttl::TtlLimits,
    };

    #[test]
    fn a_lease_leaves_only_the_trace_of_who_held_it() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let term =
            TtlLimits::new(Duration::from_secs(60), Duration::from_secs(300)).unwrap().term(None, at(0));
        let lease = Lease::new_static(
            LeaseId::from_bits([7; 16]),
            "spiffe://example.org/prod/api".parse().unwrap(),
            "prod/db".parse().unwrap(),
            "main".parse().unwrap(),
            "v1".parse().unwrap(),
            term,
            at(0),
        );
        let mut keys = BTreeSet::new();
        let mut apply = |writes: Vec<Write>| {
            for write in writes {
                match write.value {
                    Some(_) => keys.insert(write.key),
                    None => keys.remove(&write.key),
                };
            }
        };
        apply(lease.writes(None).unwrap());
        let (renewed, _) = lease.clone().step(Event::Renew { until: at(100) }, at(10)).unwrap();
        apply(renewed.writes(Some(&lease)).unwrap());
        let (ended, _) = renewed.clone().step(Event::Revoke { cause: Cause::Holder }, at(20)).unwrap();
        apply(ended.writes(Some(&renewed)).unwrap());
        apply(ended.purge());
        let left: Vec<_> = keys.iter().map(Key::as_str).collect();
        assert_eq!(left, ["held/prod/db v1 spiffe://example.org/prod/api"]);
    }

    #[test]
    fn that_a_lease_was_given_up_is_known_after_it() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let term =
            TtlLimits::new(Duration::from_secs(60), Duration::from_secs(300)).unwrap().term(None, at(0));
        let pending = Lease::new_pending(
            LeaseId::from_bits([7; 16]),
            "spiffe://example.org/prod/api".parse().unwrap(),
            "prod/db".parse().unwrap(),
            "main".parse().unwrap(),
            term,
            at(0),
            at(30),
        );
        let mut keys = BTreeSet::new();
        let mut apply = |writes: Vec<Write>| {
            for write in writes {
                match write.value {
                    Some(_) => keys.insert(write.key.to_string()),
                    None => keys.remove(write.key.as_str()),
                };
            }
            keys.clone()
        };
        apply(pending.writes(None).unwrap());
        let (revoking, _) = pending.clone().step(Event::Due, at(30)).unwrap();
        apply(revoking.writes(Some(&pending)).unwrap());
        let (forgotten, _) = revoking.clone().step(Event::Forget, at(40)).unwrap();
        apply(forgotten.writes(Some(&revoking)).unwrap());
        let left: Vec<_> = apply(forgotten.purge()).into_iter().collect();
        assert_eq!(left, [Key::forgotten(pending.id).to_string()]);
    }
}
