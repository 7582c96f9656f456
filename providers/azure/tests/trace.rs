//! The SDKs' own logs. In a process of its own: a subscriber sees everything only where no other test runs beside it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "shared with the other tests")]
#[path = "key_vault/kit.rs"]
mod kit;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use leasehold_core::{LeaseId, ports::Provider as _, provider::IssueCredential};
use leasehold_provider_azure::AzureRole;

use crate::kit::{Site, fetch, write};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn not_even_a_trace_of_the_sdk_holds_a_value_or_a_token() {
    let log = Log::default();
    let writer = log.clone();
    let filter = "trace,leasehold_provider_conformance=off";
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone()).init();

    let site = Site::start().await;
    let provider = site.provider(|config| {
        let role = AzureRole { scope: "https://storage.azure.com/.default".into(), identity: None };
        config.roles.insert("storage".into(), role);
    });
    site.azure.put("db", "canary-value", None);
    fetch(&provider, "db").await.unwrap();
    write(&provider, "db", "canary-written", "canary-token", None).await.unwrap();
    provider.versions("db").await.unwrap();
    let holder = "spiffe://example.org/prod/api".parse().unwrap();
    let ttl = std::time::Duration::from_secs(60);
    let lease = LeaseId::from_bits([1; 16]);
    let request = IssueCredential {
        lease,
        holder: &holder,
        role: "storage",
        ttl,
        max_ttl: ttl,
        within: ttl,
        reservation: None,
    };
    provider.issuer().unwrap().issue(request).await.unwrap();
    site.azure.refuse_sign_in(Some(7_000_215));
    site.azure.end_tokens();
    fetch(&provider, "db").await.unwrap_err();
    site.azure.refuse_sign_in(None);
    site.azure.forbid(&["get"]);
    fetch(&provider, "db").await.unwrap_err();

    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(text.contains("azure") || text.contains("typespec"), "the SDKs have logged something");
    let told: Vec<_> = text.lines().filter(|line| line.contains("canary")).collect();
    assert!(told.is_empty(), "{told:#?}");
}
