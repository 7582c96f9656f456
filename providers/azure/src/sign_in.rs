//! The broker's own token for the vault: kept, taken anew before it ends or when the vault refuses it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    error::{Error as SdkError, ErrorKind},
};
use leasehold_core::{Timestamp, provider::SignIn, ttl::until};

use crate::{cloud::Cloud, config::Identity, failure::Failure, identity::mint, wire::Wire};

/// The broker, as the vault knows it.
pub(crate) struct SignedIn {
    identity: Identity,
    authority: String,
    /// The only scope that a token is given for, whatever a challenge says.
    scope: String,
    wire: Arc<Wire>,
    /// Held while a token is taken, so that many callers take one.
    token: tokio::sync::Mutex<Option<Kept>>,
    facts: Mutex<SignIn>,
}

struct Kept {
    token: AccessToken,
    /// Not sooner is another one tried for, while this one lasts.
    next_try: Timestamp,
}

/// A token that ends sooner is replaced: the SDK asks for a new one from then on.
const MARGIN: Duration = Duration::from_secs(300);
/// How often a replacement is tried for while the token lasts.
const PAUSE: Duration = Duration::from_secs(30);

impl SignedIn {
    pub(crate) fn new(identity: Identity, cloud: &Cloud, wire: Arc<Wire>) -> Self {
        Self {
            identity,
            authority: cloud.authority().to_owned(),
            scope: cloud.vault_scope(),
            wire,
            token: tokio::sync::Mutex::default(),
            facts: Mutex::default(),
        }
    }

    /// How it stands, without asking anybody.
    pub(crate) fn facts(&self) -> SignIn {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A token that the vault has not refused and that does not end soon, if one can be had.
    pub(crate) async fn token(&self) -> Result<AccessToken, Failure> {
        let mut kept = self.token.lock().await;
        let now = self.wire.now();
        if let Some(Kept { token, next_try }) = kept.as_ref() {
            let left = until(now, end(token));
            let refused = self.wire.has_refused(token.token.secret());
            if !refused && (left > MARGIN || (!left.is_zero() && now < *next_try)) {
                return Ok(token.clone());
            }
            if refused || left.is_zero() {
                *kept = None;
            }
        }
        let minted = mint(&self.identity, &self.scope, &self.authority, &self.wire).await;
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.problem = minted.as_ref().err().map(ToString::to_string);
        let next_try = leasehold_core::ttl::after(now, PAUSE);
        match (minted, kept.as_mut()) {
            (Ok(token), _) => {
                facts.expires_at = Some(end(&token));
                *kept = Some(Kept { token: token.clone(), next_try });
                Ok(token)
            }
            // The old one still opens the vault.
            (Err(_), Some(old)) => {
                old.next_try = next_try;
                Ok(old.token.clone())
            }
            (Err(failure), None) => {
                facts.expires_at = None;
                Err(failure)
            }
        }
    }
}

/// When a token ends.
pub(crate) fn end(token: &AccessToken) -> Timestamp {
    Timestamp::from_second(token.expires_on.unix_timestamp()).unwrap_or(Timestamp::MAX)
}

#[async_trait]
impl TokenCredential for SignedIn {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let token = match scopes {
            [scope] if *scope == self.scope => self.token().await,
            _ => Err(Failure::Challenge),
        };
        token.map_err(|failure| SdkError::new(ErrorKind::Credential, failure))
    }
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").finish_non_exhaustive()
    }
}
