//! What only the composition knows, for `GetStatus`.

use std::sync::{Arc, Mutex, PoisonError};

use leasehold_core::Timestamp;
use leasehold_ledger::Embedded;
use leasehold_policy::CedarAuthorizer;

use crate::grpc::{BrokerFacts, Facts, LastReload, LedgerFacts};

/// A view on the parts that are asked.
pub(crate) struct View {
    pub(crate) node: String,
    pub(crate) trust_domain: String,
    pub(crate) started_at: Timestamp,
    pub(crate) authorizer: Arc<CedarAuthorizer>,
    pub(crate) ledger: Embedded,
    pub(crate) last_reload: Arc<Mutex<Option<LastReload>>>,
}

impl Facts for View {
    fn broker(&self) -> BrokerFacts {
        let policies = self.authorizer.policies();
        BrokerFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.clone(),
            trust_domain: self.trust_domain.clone(),
            started_at: self.started_at,
            policy_digest: policies.digest().to_owned(),
            policies: policies.len(),
            last_reload: self.last_reload.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn ledger(&self) -> LedgerFacts {
        LedgerFacts {
            backend: "embedded",
            health: self.ledger.health().borrow().clone(),
            stats: self.ledger.stats(),
        }
    }
}
