//! An operator who writes one version of a secret after the other, and what must be current after a crash.

use leasehold_client::{Issue, Write};
use leasehold_core::{SecretValue, secret::FieldName};
use leasehold_tests::{daemon, site::Site};
use tokio::task::JoinHandle;

/// The secret; its value is a number.
const PATH: &str = "prod/payments/counter";

/// What the operator was told.
pub(crate) struct Counter {
    acknowledged: u64,
    /// Written last, whether that was acknowledged or not.
    asked: u64,
}

impl Counter {
    /// The secret in the catalogue.
    pub(crate) const SECRET: &str = "[[secret]]\npath = \"prod/payments/counter\"\nprovider = \"local\"\n\
        ref = \"counter\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n";

    /// Writes the first version.
    pub(crate) async fn new(site: &Site) -> Self {
        daemon::put(site, PATH, "0").await;
        Self { acknowledged: 0, asked: 0 }
    }

    /// Counts up until the broker is gone.
    pub(crate) async fn run(mut self, site: &Site) -> JoinHandle<Self> {
        let operator = daemon::operator(site).await.operator();
        tokio::spawn(async move {
            loop {
                self.asked = self.acknowledged + 1;
                let value = SecretValue::plain(self.asked.to_string());
                let secret = PATH.parse().expect("a path");
                let write = Write { secret, value, expected: None, request_id: None };
                if operator.write_secret(write).await.is_err() {
                    return self;
                }
                self.acknowledged = self.asked;
            }
        })
    }

    /// Checks what is current; returns how many versions were acknowledged.
    pub(crate) async fn check(&mut self, site: &Site) -> u64 {
        let secret = PATH.parse().expect("a path");
        let issue = Issue { secret, ttl: None, fields: Vec::new(), request_id: None };
        let issued = daemon::workload(site).await.issue_lease(issue).await.expect("the secret is there");
        let text = String::from_utf8(issued.value.fields[&FieldName::value()].expose().to_vec()).unwrap();
        let found: u64 = text.parse().expect("the value is whole");
        let Self { acknowledged, asked } = *self;
        assert!(
            found == acknowledged || found == asked,
            "{acknowledged} was acknowledged, and {found} is current"
        );
        *self = Self { acknowledged: found, asked: found };
        found
    }
}
