//! Who is known to have been issued which version: the key that says so is written with the first lease and stays, so that
//! it need not be written again with each of the next ones, of which there may be many.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use leasehold_core::state::{Key, Write};

/// So many are remembered; then all are forgotten: to write a key once more does no harm.
const KEPT: usize = 4096;

/// The keys that a commit of this process has made durable. Nothing ever deletes them.
#[derive(Default)]
pub(crate) struct KnownHolders(Mutex<HashSet<Key>>);

impl KnownHolders {
    /// Leaves out of a new lease's writes that its holder holds its version, if that is written down. If it is not, gives
    /// the key, to be [noted](Self::note) when the commit was made.
    pub(crate) fn leave_out(&self, writes: &mut Vec<Write>) -> Option<Key> {
        let place = writes.iter().position(|write| write.key.as_str().starts_with("held/"))?;
        let key = &writes.get(place)?.key;
        if !self.lock().contains(key) {
            return Some(key.clone());
        }
        writes.remove(place);
        None
    }

    /// It is written down.
    pub(crate) fn note(&self, key: Key) {
        let mut known = self.lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leasehold_core::{Lease, LeaseId, Timestamp, ttl::TtlLimits};

    use super::*;

    fn lease(holder: &str) -> Lease {
        let (now, minute) = (Timestamp::UNIX_EPOCH, Duration::from_secs(60));
        Lease::new_static(
            LeaseId::from_bits([7; 16]),
            holder.parse().unwrap(),
            "prod/db".parse().unwrap(),
            "main".parse().unwrap(),
            "v1".parse().unwrap(),
            TtlLimits::new(minute, minute).unwrap().term(None, now),
            now,
        )
    }

    #[test]
    fn a_holder_is_written_down_until_it_is_known() {
        let known = KnownHolders::default();
        let written = |holder| {
            let lease = lease(holder);
            let mut writes = lease.writes(None).unwrap();
            let key = known.leave_out(&mut writes);
            (writes.iter().any(|write| write.key.as_str().starts_with("held/")), key)
        };
        let (api, job) = ("spiffe://example.org/prod/api", "spiffe://example.org/prod/job");
        let (is_written, key) = written(api);
        assert!(is_written && written(api).0, "nobody has said yet that it is durable");
        known.note(key.unwrap());
        assert_eq!(written(api), (false, None));
        assert!(written(job).0, "another holder is another matter");
    }
}
