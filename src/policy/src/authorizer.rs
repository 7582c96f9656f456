//! The port's adapter: whichever policies are in force now.

use std::sync::Arc;

use arc_swap::ArcSwap;
use leasehold_core::{access::AccessRequest, explanation::Explanation, ports::Authorizer, record::Decision};

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

    fn explain(&self, request: &AccessRequest<'_>) -> Option<Explanation> {
        Some(self.policies.load().explain_denial(request))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use leasehold_core::access::{Action, Resource};

    use super::*;
    use crate::identity::PolicySettings;

    #[test]
    fn replaced_policies_decide_at_once() {
        let policies = |text: &str| {
            let files = [("a.cedar".to_owned(), text.to_owned())];
            Policies::parse(files, PolicySettings::new("example.org".parse().unwrap())).unwrap()
        };
        let authorizer = CedarAuthorizer::new(policies("permit (principal, action, resource);"));
        let principal = "spiffe://example.org/prod/api".parse().unwrap();
        let resource = Resource::Secret("prod/payments/db".parse().unwrap());
        let request = AccessRequest {
            principal: &principal,
            action: Action::IssueLease,
            resource: &resource,
            context: BTreeMap::new(),
        };
        let first = authorizer.decide(&request);
        assert!(first.is_allowed());
        authorizer.replace(policies("forbid (principal, action, resource);"));
        let second = authorizer.decide(&request);
        assert!(!second.is_allowed());
        assert_ne!(first.policy_set, second.policy_set);
    }
}
