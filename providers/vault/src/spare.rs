//! Tokens made ahead, one for each credential.
//!
//! Everything that is made with a token ends with it. So each credential is asked for with a token of its own, whose
//! accessor is durable before the credential is asked for: if the answer is lost, revoking the token ends what nobody
//! knows the lease of. They are made ahead, so that issuing is one call; unused ones end by themselves.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use leasehold_core::{
    Timestamp,
    provider::{ErrorClass, ProviderError},
    ttl::{after, until},
};
use serde_json::{json, value::RawValue};
use tracing::debug;

use crate::{
    endpoint::Raw,
    error::{Call, Kind},
    server::Ask,
    standing::Standing,
    token::Token,
};

/// A token that nothing hangs on yet.
#[derive(Clone)]
pub(crate) struct Spare {
    pub(crate) token: Token,
    pub(crate) accessor: String,
    /// When it ends unless it is renewed.
    pub(crate) ends: Timestamp,
    made: Timestamp,
}

/// The tokens at hand.
pub(crate) struct Spares {
    standing: Arc<Standing>,
    shelf: Mutex<Shelf>,
    filling: AtomicBool,
}

#[derive(Default)]
struct Shelf {
    ready: Vec<Spare>,
    /// Reserved, and not yet used.
    lent: HashMap<String, Spare>,
}

/// How long one lives unless it is used.
const LIFE: Duration = Duration::from_secs(2 * 3600);
/// How long one stays on the shelf: what is left then outlives most leases without a renewal.
const SHELF_LIFE: Duration = Duration::from_secs(45 * 60);
/// How long a reservation is waited for.
const LENT: Duration = Duration::from_secs(5 * 60);

impl Spare {
    /// Whether enough of its life is left to hang something on it.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let life = until(self.made, self.ends);
        now < after(self.made, SHELF_LIFE.min(life.checked_div(3).unwrap_or_default()))
    }
}

impl Spares {
    pub(crate) fn new(standing: Arc<Standing>) -> Self {
        Self { standing, shelf: Mutex::default(), filling: AtomicBool::new(false) }
    }

    /// Takes one for a credential of this role, a new one when there is none; the accessor names it from now on.
    pub(crate) async fn reserve(self: &Arc<Self>, role: &str) -> Result<String, ProviderError> {
        let now = self.standing.server.clock.now();
        let ready = {
            let mut shelf = self.shelf();
            shelf.lent.retain(|_, spare| now < after(spare.made, SHELF_LIFE.saturating_add(LENT)));
            shelf.ready.retain(|spare| spare.is_fresh(now));
            shelf.ready.pop()
        };
        let spare = match ready {
            Some(spare) => spare,
            None => self.make(role).await?,
        };
        let accessor = spare.accessor.clone();
        let left = {
            let mut shelf = self.shelf();
            shelf.lent.insert(accessor.clone(), spare);
            shelf.ready.len()
        };
        // Making one takes Vault about as long as the credential itself, and its storage writes one thing after the other: so
        // they are made some at a time, and not beside every credential.
        if left <= self.target() / 2 {
            self.fill();
        }
        Ok(accessor)
    }

    /// The reserved one, to be used now.
    pub(crate) fn take(&self, accessor: &str) -> Option<Spare> {
        self.shelf().lent.remove(accessor)
    }

    /// Ends a token that nothing hangs on.
    pub(crate) fn discard(&self, token: Token) {
        let standing = self.standing.clone();
        tokio::spawn(async move {
            let call = Call { kind: Kind::Revoke, verb: "revoke", on: "a token that nothing hangs on" };
            let request = Raw::post("auth/token/revoke-self", &json!({}));
            // It ends by itself otherwise.
            let _ = standing.server.ask(&request, Ask::repeatable(call, Some(&token))).await;
        });
    }

    /// Forgets those at hand: they are dead.
    pub(crate) fn clear(&self) {
        self.shelf().ready.clear();
    }

    /// Makes as many as are missing, beside everything else that goes on.
    fn fill(self: &Arc<Self>) {
        if self.missing() == 0 || self.filling.swap(true, Ordering::AcqRel) {
            return;
        }
        let spares = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(spares) = spares.upgrade() {
                if spares.missing() == 0 {
                    spares.filling.store(false, Ordering::Release);
                    return;
                }
                match spares.make("a credential").await {
                    Ok(spare) => spares.shelf().ready.push(spare),
                    // Whoever needs one next finds out why.
                    Err(error) => {
                        debug!(%error, "no token could be made ahead");
                        spares.filling.store(false, Ordering::Release);
                        return;
                    }
                }
            }
        });
    }

    fn missing(&self) -> usize {
        self.target().saturating_sub(self.shelf().ready.len())
    }

    fn target(&self) -> usize {
        usize::try_from(self.standing.server.config.spare_tokens).unwrap_or(usize::MAX)
    }

    async fn make(&self, role: &str) -> Result<Spare, ProviderError> {
        let call = Call { kind: Kind::Issue, verb: "make a token for", on: role };
        let path = path(self.standing.server.config.token_role.as_deref());
        let request = Raw::post(
            path,
            &json!({
                "type": "service",
                "display_name": "leasehold",
                "meta": { "made-for": "one credential, to end it by" },
                "ttl": format!("{}s", LIFE.as_secs()),
                "renewable": true,
            }),
        );
        let made = self.standing.server.clock.now();
        // Repeating it leaves at worst a token that nothing hangs on, which ends by itself.
        let reply = self.standing.ask(&request, Ask::repeatable(call, None)).await;
        let reply = reply.map_err(|failure| failure.into_error(call))?;
        let auth = reply.envelope::<Box<RawValue>>().and_then(|envelope| envelope.auth);
        let auth = auth.ok_or_else(|| call.odd())?;
        let life = match auth.lease_duration {
            0 => LIFE,
            seconds => Duration::from_secs(seconds),
        };
        let token = Token::new(auth.client_token).ok_or_else(|| call.odd())?;
        // A batch token cannot be revoked, and a child ends with the broker's own token, whoever else uses what hangs on it.
        if auth.token_type == "batch" || auth.accessor.is_empty() || !auth.orphan {
            self.discard(token);
            return Err(call.error(
                ErrorClass::Permanent,
                "the token role must make service tokens that are orphans: `orphan=true`, and `token_type` of default-service",
            ));
        }
        Ok(Spare { token, accessor: auth.accessor, ends: after(made, life), made })
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where such tokens are made.
pub(crate) fn path(token_role: Option<&str>) -> String {
    match token_role {
        Some(role) => format!("auth/token/create/{role}"),
        None => "auth/token/create-orphan".to_owned(),
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        let ready = std::mem::take(&mut self.shelf().ready);
        let (Ok(runtime), false) = (tokio::runtime::Handle::try_current(), ready.is_empty()) else { return };
        let standing = self.standing.clone();
        runtime.spawn(async move {
            for spare in ready {
                let call = Call { kind: Kind::Revoke, verb: "revoke", on: "a token that nothing hangs on" };
                let request = Raw::post("auth/token/revoke-self", &json!({}));
                let ask = Ask::repeatable(call, Some(&spare.token));
                if standing.server.ask(&request, ask).await.is_err() {
                    return;
                }
            }
        });
    }
}
