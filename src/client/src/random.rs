//! Randomness: the names of requests, and jitter.

use leasehold_core::{LeaseId, RequestId};
use rustls::crypto::{SecureRandom, aws_lc_rs};

/// The random numbers of one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(&'static dyn SecureRandom);

impl Random {
    pub(crate) fn new() -> Self {
        Self(aws_lc_rs::default_provider().secure_random)
    }

    /// A name for a request that no other has; nothing when the system gives no randomness, for a repeated name would be
    /// taken for a repeated request.
    pub(crate) fn request_id(self) -> Option<RequestId> {
        let mut bits = [0; 16];
        self.0.fill(&mut bits).ok()?;
        LeaseId::from_bits(bits).suffix().parse().ok()
    }

    /// A number from 0 to 1.
    pub(crate) fn chance(self) -> f64 {
        let mut bits = [0; 4];
        match self.0.fill(&mut bits) {
            Ok(()) => f64::from(u32::from_ne_bytes(bits)) / f64::from(u32::MAX),
            Err(_) => 0.5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_requests_have_one_name() {
        let random = Random::new();
        let names: std::collections::BTreeSet<_> = (0..100).filter_map(|_| random.request_id()).collect();
        assert_eq!(names.len(), 100);
        assert!((0..100).all(|_| (0.0..=1.0).contains(&random.chance())));
    }
}
