//! What these tests have in common: a clock, files, tokens, and providers on a server.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use leasehold_core::{
    SecretValue, Timestamp,
    ports::{Clock, Entropy, NoEntropy, Provider},
    provider::{Fetch, ProviderError},
};
use leasehold_provider_conformance::peers::{Bao, or_skip};
use leasehold_provider_vault::{Auth, VaultConfig, VaultProvider};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The machine's clock, or one that is off by some seconds.
#[derive(Default)]
pub(crate) struct Wall(pub(crate) AtomicI64);

#[async_trait]
impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let now = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        Timestamp::from_millisecond(now + 1000 * self.0.load(Ordering::SeqCst)).unwrap()
    }

    async fn sleep_until(&self, _deadline: Timestamp) {}
}

/// The system's randomness.
pub(crate) struct Dice;

impl Entropy for Dice {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        aws_lc_rs::rand::fill(buffer).map_err(|_| NoEntropy)
    }
}

/// A directory for a test's files.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file there as a careful operator does: whole, and for nobody else.
    pub(crate) fn put(&self, name: &str, text: &str) -> PathBuf {
        let (new, path) = (self.path(".new"), self.path(name));
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }

    /// A configuration that signs in with a token.
    pub(crate) fn with_token(&self, url: impl Into<String>, token: &str) -> VaultConfig {
        quick(VaultConfig::new(url, Auth::Token { file: self.put("token", token) }))
    }
}

/// With the patience of a test on a busy machine, where a call is expected to succeed.
pub(crate) fn quick(config: VaultConfig) -> VaultConfig {
    VaultConfig {
        connect_timeout: Duration::from_secs(20),
        attempt_timeout: Duration::from_secs(20),
        timeout: Duration::from_secs(40),
        ..config
    }
}

pub(crate) fn provider(config: VaultConfig) -> VaultProvider {
    VaultProvider::new(config, Arc::new(Wall::default()), Arc::new(Dice)).unwrap()
}

pub(crate) async fn dev() -> Option<Bao> {
    or_skip(Bao::start().await).unwrap()
}

/// Writes a policy.
pub(crate) async fn policy(bao: &Bao, name: &str, hcl: &str) {
    bao.ask("PUT", &format!("sys/policies/acl/{name}"), Some(&json!({ "policy": hcl }))).await.unwrap();
}

/// Writes a secret into the engine of version 2 that a development server has.
pub(crate) async fn put(bao: &Bao, path: &str, data: Value) -> u64 {
    let (path, body) = (format!("secret/data/{path}"), json!({ "data": data }));
    let started = tokio::time::Instant::now();
    loop {
        match bao.ask("POST", &path, Some(&body)).await {
            Ok(made) => return made.pointer("/data/version").and_then(Value::as_u64).unwrap(),
            // A new engine begins by upgrading itself.
            Err(busy) if busy.contains("Upgrading") && started.elapsed() < Duration::from_secs(30) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) async fn read(provider: &dyn Provider, reference: &str) -> Result<String, ProviderError> {
    let fetched = provider.fetch(Fetch { reference, version: None }).await?;
    Ok(field(&fetched.value, "value"))
}

pub(crate) fn field(value: &SecretValue, name: &str) -> String {
    String::from_utf8(value.fields[&name.parse().unwrap()].expose().to_vec()).unwrap()
}

/// Waits until something is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    let started = tokio::time::Instant::now();
    while !so().await {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} never comes true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Somebody who signs JSON web tokens.
pub(crate) struct Signer(EcdsaKeyPair);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// The public key, PEM.
    pub(crate) fn public(&self) -> String {
        // SubjectPublicKeyInfo of a P-256 point (RFC 5480).
        let mut der = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        der.extend_from_slice(self.0.public_key().as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(&der))
    }

    /// A token with these claims (RFC 7519).
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let text = format!("{}.{}", part(&json!({ "alg": "ES256", "typ": "JWT" })), part(claims));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}
