//! The port's adapter: whichever policies are in force now.

use std::sync::Arc;

use arc_swap::ArcSwap;
use leasehold_core::{access::AccessRequest, ports::Authorizer, record::Decision};

use crate::policies::Policies;

/// Decides by the policies in force, which can be replaced while it does.
#[derive(Debug)]
pub struct CedarAuthorizer {
    policies: ArcSwap<Policies>,
}

impl CedarAuthorizer {
    /// Puts these policies into force.
    pub fn new(policies: Policies) -> Self {
        Self { policies: ArcSwap::from_pointee(policies) }
    }

    /// Puts other policies into force as a whole; decisions under way end by the old ones. Returns those.
    pub fn replace(&self, policies: Policies) -> Arc<Policies> {
        self.policies.swap(Arc::new(policies))
    }

    /// The policies in force.
    pub fn policies(&self) -> Arc<Policies> {
        self.policies.load_full()
    }
}

impl Authorizer for CedarAuthorizer {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        self.policies.load().decide(request)
    }
}
