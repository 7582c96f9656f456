//! What Azure answers, written from its public API documentation: a key vault with its challenge, Entra ID's tokens for
//! applications, and the identity service of a virtual machine.
//!
//! Sources: <https://learn.microsoft.com/rest/api/keyvault/secrets/operation-groups> (2025-07-01),
//! <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>,
//! <https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses>,
//! <https://learn.microsoft.com/azure/key-vault/general/soft-delete-overview>,
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>,
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>,
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>.

mod login;
mod vault;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Reply, Request};

/// A cloud with one vault, one directory with one application, and one machine with managed identities.
pub struct Azure {
    state: Mutex<State>,
}

/// The vault's host.
pub const VAULT_HOST: &str = "myvault.vault.azure.net";
/// The directory.
pub const TENANT: &str = "11111111-2222-4333-8444-555555555555";
/// The application.
pub const CLIENT: &str = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
/// The application's secret.
pub const CLIENT_SECRET: &str = "canary-client-secret~1";
/// A federated token that the application trusts.
pub const FEDERATED_TOKEN: &str = "canary-federated-token";
/// What tokens for vaults are asked for.
pub const VAULT_SCOPE: &str = "https://vault.azure.net/.default";

/// The API's version, without which nothing is answered.
const API_VERSION: &str = "2025-07-01";
/// When the vault was made: each version is made a second after the one before, unless time stands still.
const EPOCH: u64 = 1_750_000_000;

#[derive(Default)]
struct State {
    authority: String,
    secrets: BTreeMap<String, Secret>,
    made: u64,
    seconds: u64,
    time_stands_still: bool,
    page: usize,
    tokens: BTreeMap<String, String>,
    minted: u64,
    token_life: u64,
    forbidden: BTreeSet<String>,
    firewall: bool,
    lag: u32,
    challenge: Option<String>,
    next_link: Option<String>,
    refusal: Option<u32>,
    date: Option<String>,
}

/// A secret, deleted or not.
#[derive(Clone, Debug, Default)]
struct Secret {
    name: String,
    versions: Vec<Version>,
    deleted: bool,
    /// What goes on behind the answers, and how often it will be looked at before it is over.
    passing: Option<(Passing, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passing {
    Deleting,
    Recovering,
    Purging,
}

#[derive(Clone, Debug, Default)]
struct Version {
    id: String,
    value: String,
    content_type: Option<String>,
    enabled: bool,
    created: u64,
    updated: u64,
    not_before: Option<i64>,
    expires: Option<i64>,
    tags: Value,
}

impl Default for Azure {
    fn default() -> Self {
        Self::new()
    }
}

impl Azure {
    /// With an empty vault.
    pub fn new() -> Self {
        let state = State { page: 3, token_life: 3599, ..State::default() };
        Self { state: Mutex::new(state) }
    }

    /// Answers a request to any of its hosts.
    pub fn answer(&self, request: &Request) -> Reply {
        let mut state = self.lock();
        Reply::Answer(if request.path().ends_with("/oauth2/v2.0/token") {
            login::application(&mut state, request)
        } else if request.path() == "/metadata/identity/oauth2/token" {
            login::machine(&mut state, request)
        } else {
            vault::answer(&mut state, request)
        })
    }

    /// Where the vault's challenge says to sign in, such as `https://localhost:1234`.
    pub fn sign_in_at(&self, authority: impl Into<String>) {
        self.lock().authority = authority.into();
    }

    /// Puts a new version, as somebody else would; gives its id.
    pub fn put(&self, name: &str, value: &str, content_type: Option<&str>) -> String {
        self.lock().put(name, value.to_owned(), content_type.map(str::to_owned), json!({}))
    }

    /// Changes what the vault keeps of a version: whether it is enabled, and its times in seconds since 1970.
    pub fn mark(
        &self,
        name: &str,
        version: &str,
        enabled: bool,
        not_before: Option<i64>,
        expires: Option<i64>,
    ) {
        let mut state = self.lock();
        let secret = state.secrets.get_mut(&name.to_ascii_lowercase());
        for found in
            secret.into_iter().flat_map(|secret| &mut secret.versions).filter(|found| found.id == version)
        {
            (found.enabled, found.not_before, found.expires) = (enabled, not_before, expires);
        }
    }

    /// Deletes a secret or restores it, as somebody else would.
    pub fn set_deleted(&self, name: &str, deleted: bool) {
        if let Some(secret) = self.lock().secrets.get_mut(&name.to_ascii_lowercase()) {
            secret.deleted = deleted;
        }
    }

    /// From now on versions are made within one second.
    pub fn stop_time(&self) {
        self.lock().time_stands_still = true;
    }

    /// How often deleting, restoring and purging are looked at before they are over.
    pub fn lag(&self, looks: u32) {
        self.lock().lag = looks;
    }

    /// How long tokens live from now on, in seconds.
    pub fn token_life(&self, seconds: u64) {
        self.lock().token_life = seconds;
    }

    /// Every token that was given is good for nothing from now on.
    pub fn end_tokens(&self) {
        self.lock().tokens.clear();
    }

    /// Whether a token is good for a scope.
    pub fn opens(&self, token: &str, scope: &str) -> bool {
        self.lock().tokens.get(token).is_some_and(|known| known == scope)
    }

    /// How many tokens were given.
    pub fn minted(&self) -> u64 {
        self.lock().minted
    }

    /// The operations that the broker's identity may not do: `get`, `list`, `set`, `delete`, `recover`, `purge`.
    pub fn forbid(&self, operations: &[&str]) {
        self.lock().forbidden = operations.iter().map(|&operation| operation.to_owned()).collect();
    }

    /// Whether the vault's firewall keeps everybody out.
    pub fn close(&self, closed: bool) {
        self.lock().firewall = closed;
    }

    /// What the vault challenges with instead, from now on.
    pub fn challenge_with(&self, challenge: &str) {
        self.lock().challenge = Some(challenge.to_owned());
    }

    /// Where a listing's next page is said to be, from now on.
    pub fn link_to(&self, link: &str) {
        self.lock().next_link = Some(link.to_owned());
    }

    /// What the vault says that the time is, as HTTP writes it.
    pub fn say_date(&self, date: &str) {
        self.lock().date = Some(date.to_owned());
    }

    /// The number with which Entra ID refuses everybody from now on (`AADSTS...`), or nobody.
    pub fn refuse_sign_in(&self, number: Option<u32>) {
        self.lock().refusal = number;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, name: &str, value: String, content_type: Option<String>, tags: Value) -> String {
        self.made = self.made.saturating_add(1);
        if !self.time_stands_still {
            self.seconds = self.seconds.saturating_add(1);
        }
        let created = EPOCH.saturating_add(self.seconds);
        // Ids in no order, as a vault's are.
        let id =
            format!("{:032x}", u128::from(self.made).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let secret = self.secrets.entry(name.to_ascii_lowercase()).or_default();
        if secret.name.is_empty() {
            secret.name = name.to_owned();
        }
        secret.versions.push(Version {
            id: id.clone(),
            value,
            content_type,
            enabled: true,
            created,
            updated: created,
            tags,
            ..Version::default()
        });
        id
    }

    /// A token that is good for a scope until it is ended.
    fn mint(&mut self, scope: &str) -> String {
        self.minted = self.minted.saturating_add(1);
        let token = format!("canary-access-token-{}", self.minted);
        self.tokens.insert(token.clone(), scope.to_owned());
        token
    }
}

fn now() -> u64 {
    OffsetDateTime::now_utc().unix_timestamp().try_into().unwrap_or_default()
}
