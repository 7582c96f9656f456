//! Whom a stored lease concerns, read without the rest of it: who counts leases goes over a million of them.

use serde::Deserialize;

use super::{Undecodable, stored};
use crate::secret::SecretBytes;

/// Whom a lease concerns, borrowed from its durable form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties<'a> {
    /// Its holder's SPIFFE ID.
    pub holder: &'a str,
    /// The secret's path.
    pub secret: &'a str,
    /// The back end's name.
    pub provider: &'a str,
}

#[derive(Deserialize)]
struct Stored<'a> {
    // INVARIANT: none of these has a character that JSON would escape, so all of them can be borrowed.
    holder: &'a str,
    secret: &'a str,
    provider: &'a str,
    state: State<'a>,
}

#[derive(Deserialize)]
struct State<'a> {
    state: &'a str,
}

impl<'a> Parties<'a> {
    /// Whom the lease of this durable form concerns, and whether it has ended.
    ///
    /// # Errors
    /// When it is no lease.
    pub fn read(stored: &'a SecretBytes) -> Result<(Self, bool), Undecodable> {
        if let Some((parties, ended, _)) = stored::parties(stored.expose()) {
            return Ok((parties, ended));
        }
        // As an older broker wrote it.
        let Stored { holder, secret, provider, state } = serde_json::from_slice(stored.expose())?;
        let ended = matches!(state.state, "revoked" | "expired" | "forgotten");
        Ok((Self { holder, secret, provider }, ended))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::{
        Lease,
        id::LeaseId,
        lease::{Cause, LeaseState},
        ttl::TtlLimits,
    };

    #[test]
    fn the_parties_and_the_end_are_read_of_a_lease_in_any_state() {
        let at = Timestamp::from_second(9).unwrap();
        let limits = TtlLimits::new(Duration::from_secs(60), Duration::from_secs(300)).unwrap();
        let lease = Lease::new_pending(
            LeaseId::from_bits([7; 16]),
            "spiffe://example.org/prod/api".parse().unwrap(),
            "prod/db".parse().unwrap(),
            "main".parse().unwrap(),
            limits.term(None, at),
            at,
            at,
        );
        let cause = Cause::Holder;
        let states = [
            LeaseState::Pending { until: at },
            LeaseState::Active,
            LeaseState::Revoking { cause, attempts: 1, next_try: at },
            LeaseState::Quarantined { cause, attempts: 1, next_try: at },
            LeaseState::Revoked { cause, at },
            LeaseState::Expired { at },
            LeaseState::Forgotten { at },
        ];
        for state in states {
            let lease = Lease { state, ..lease.clone() };
            let stored = lease.encode().unwrap();
            let parties =
                Parties { holder: "spiffe://example.org/prod/api", secret: "prod/db", provider: "main" };
            assert_eq!(Parties::read(&stored).unwrap(), (parties, lease.is_ended()), "{:?}", lease.state);
        }
        assert!(Parties::read(&SecretBytes::new(b"{}".to_vec())).is_err());
    }
}
