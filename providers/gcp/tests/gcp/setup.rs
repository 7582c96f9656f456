//! A provider with a token in a file, a clock that stands and dice that fall alike.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use leasehold_core::{
    Timestamp,
    ports::{Clock, Entropy, NoEntropy, Provider},
    provider::{Fetch, Fetched, ProviderError},
};
use leasehold_provider_conformance::scripted::{Reply, Request, ScriptedServer, gcp::Cloud};
use leasehold_provider_gcp::{Credentials, GcpConfig, GcpProvider, GcpRole, Grant};
use tempfile::TempDir;

pub(crate) const PROJECT: &str = "my-project";
pub(crate) const SECRET: &str = "projects/my-project/secrets/db";
pub(crate) const ACCOUNT: &str = "app@my-project.iam.gserviceaccount.com";
pub(crate) const TOKEN: &str = "canary-token-1";

/// Always noon.
pub(crate) struct Noon;

/// Always one.
pub(crate) struct Ones;

#[async_trait]
impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    async fn sleep_until(&self, _deadline: Timestamp) {}
}

impl Entropy for Ones {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        buffer.fill(1);
        Ok(())
    }
}

/// A file that nobody else can read.
pub(crate) fn private_file(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A configuration with a token, and the directory that the token is in.
pub(crate) fn config(url: &str) -> (GcpConfig, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    private_file(&path, TOKEN);
    let role = |grant| GcpRole { service_account: ACCOUNT.into(), delegates: vec![], grant };
    let scopes = vec!["https://www.googleapis.com/auth/cloud-platform".into()];
    let access = Grant::AccessToken { scopes, lifetime_extension: false };
    let config = GcpConfig {
        allowed_projects: vec!["other-project".into()],
        allowed_locations: vec!["europe-west3".into()],
        endpoint_url: Some(url.into()),
        iam_endpoint_url: Some(url.into()),
        credentials: Credentials::TokenFile(path),
        writable: true,
        attempt_timeout: Duration::from_secs(20),
        timeout: Duration::from_secs(60),
        roles: [("deploy".to_owned(), role(access))].into(),
        ..GcpConfig::new(PROJECT)
    };
    (config, home)
}

pub(crate) fn open(config: GcpConfig) -> GcpProvider {
    GcpProvider::new(config, Arc::new(Noon), Arc::new(Ones)).unwrap()
}

/// A provider like that.
pub(crate) fn provider(url: &str, change: impl FnOnce(&mut GcpConfig)) -> (GcpProvider, TempDir) {
    let (mut config, home) = config(url);
    change(&mut config);
    (open(config), home)
}

/// A cloud, and a server that is it.
pub(crate) async fn cloud() -> (Cloud, ScriptedServer) {
    let cloud = Cloud::new();
    let served = cloud.clone();
    let server = ScriptedServer::start(move |request, _| served.answer(request)).await.unwrap();
    (cloud, server)
}

/// A cloud behind something that answers instead of it until it is healed.
pub(crate) async fn broken(
    mut instead: impl FnMut(&Cloud, &Request, u64) -> Option<Reply> + Send + 'static,
) -> (Cloud, ScriptedServer, Arc<AtomicBool>) {
    let (cloud, healed) = (Cloud::new(), Arc::new(AtomicBool::new(false)));
    let (served, whole) = (cloud.clone(), Arc::clone(&healed));
    let instead = std::sync::Mutex::new(move |request: &Request, before| {
        instead(&served, request, before).unwrap_or_else(|| served.answer(request))
    });
    let plain = cloud.clone();
    let server = ScriptedServer::start(move |request, before| {
        if whole.load(Ordering::SeqCst) {
            plain.answer(request)
        } else {
            (instead.lock().unwrap())(request, before)
        }
    });
    (cloud, server.await.unwrap(), healed)
}

pub(crate) async fn fetch(provider: &GcpProvider, reference: &str) -> Result<Fetched, ProviderError> {
    provider.fetch(Fetch { reference, version: None }).await
}

/// The one field of a value.
pub(crate) fn only(fetched: &Fetched) -> String {
    assert_eq!(fetched.value.fields.len(), 1);
    String::from_utf8(fetched.value.fields.values().next().unwrap().expose().to_vec()).unwrap()
}
