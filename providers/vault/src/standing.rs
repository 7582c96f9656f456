//! How the broker stands with Vault: its own token, got when needed, renewed before it ends, replaced when it is dead.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use leasehold_core::{
    provider::{ErrorClass, ProviderError, SignIn},
    ttl::until,
};
use leasehold_secret_file::Stamp;
use rustify::endpoint::Endpoint as Request;
use serde_json::{json, value::RawValue};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::{
    answer::Reply,
    config::Auth,
    endpoint::Raw,
    error::{Call, Failure, Kind},
    login::{Kept, Session, granted, look_up, sign_in},
    server::{Ask, Server},
    token::Token,
};

/// A server with somebody signed in.
pub(crate) struct Standing {
    pub(crate) server: Server,
    kept: Kept,
    current: ArcSwapOption<Session>,
    /// Whoever signs in does so for all who wait.
    signing_in: tokio::sync::Mutex<()>,
    seen: Mutex<Seen>,
    keeping: AtomicBool,
}

#[derive(Default)]
struct Seen {
    /// Why the last attempt failed, until one does not.
    problem: Option<String>,
    /// When it failed, and how.
    failed: Option<(Instant, ErrorClass, String)>,
    /// When the current token was last known to be alive.
    alive: Option<Instant>,
    /// When the token's file was last looked at.
    looked: Option<Instant>,
}

/// How long credentials that were refused are not shown again.
const RESPITE: Duration = Duration::from_secs(1);
/// How long the token's file is taken for unchanged.
const GLANCE: Duration = Duration::from_secs(1);
/// How often the token is looked after at most, and at least.
const KEEP: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

impl Standing {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server,
            kept: Kept::default(),
            current: ArcSwapOption::empty(),
            signing_in: tokio::sync::Mutex::default(),
            seen: Mutex::default(),
            keeping: AtomicBool::new(false),
        }
    }

    /// What health shows.
    pub(crate) fn sign_in(&self) -> SignIn {
        SignIn {
            expires_at: self.current.load().as_ref().and_then(|session| session.ends()),
            problem: self.seen().problem.clone(),
        }
    }

    /// Makes a call as the broker; with a new token and once more when the old one turns out to be dead.
    pub(crate) async fn ask<E: Request>(
        self: &Arc<Self>,
        endpoint: &E,
        ask: Ask<'_>,
    ) -> Result<Reply, Failure> {
        let began = Instant::now();
        let unsigned = |error| Failure::Unanswered { error, sent: false };
        let session = self.session().await.map_err(unsigned)?;
        let first = self.server.ask(endpoint, Ask { token: Some(&session.token), ..ask }).await;
        let reply = match first {
            Err(Failure::Refused(refusal)) if matches!(refusal.status, 401 | 403) => {
                match self.instead_of(&session, began).await {
                    Ok(Some(next)) => {
                        self.server.ask(endpoint, Ask { token: Some(&next.token), ..ask }).await?
                    }
                    Ok(None) => return Err(Failure::Refused(refusal)),
                    Err(error) => return Err(unsigned(error)),
                }
            }
            other => other?,
        };
        if ask.wrap.is_some() { unwrapped(&self.server, ask.call, &reply).await } else { Ok(reply) }
    }

    /// The token to ask with.
    pub(crate) async fn session(self: &Arc<Self>) -> Result<Arc<Session>, ProviderError> {
        if let Some(session) = self.usable() {
            return Ok(session);
        }
        let began = Instant::now();
        let _turn = self.signing_in.lock().await;
        if let Some(session) = self.usable() {
            return Ok(session);
        }
        self.sign_in_anew(began).await
    }

    /// The current token, unless it has ended or its file has changed.
    fn usable(&self) -> Option<Arc<Session>> {
        let session = self.current.load_full()?;
        if session.ends().is_some_and(|end| end <= self.server.clock.now()) {
            return None;
        }
        if let Auth::Token { file } = &self.server.config.auth {
            let now = Instant::now();
            let mut seen = self.seen();
            if seen.looked.is_none_or(|when| now.duration_since(when) >= GLANCE) {
                let stamp = Stamp::of(file);
                if stamp.is_some() && stamp != session.stamp {
                    return None;
                }
                seen.looked = Some(now);
            }
        }
        Some(session)
    }

    /// The token to ask with after `dead` was refused: another one, if it is dead; none, if it is alive and only not
    /// allowed to do what was asked.
    async fn instead_of(
        self: &Arc<Self>,
        dead: &Arc<Session>,
        began: Instant,
    ) -> Result<Option<Arc<Session>>, ProviderError> {
        let _turn = self.signing_in.lock().await;
        match self.current.load_full() {
            Some(current) if !Arc::ptr_eq(&current, dead) => return Ok(Some(current)),
            _ if self.seen().alive.is_some_and(|when| when > began) => return Ok(None),
            _ => {}
        }
        // Vault says the same of a token that it does not know and of one that may not.
        match look_up(&self.server, &dead.token).await {
            Err(Failure::Refused(refusal)) if matches!(refusal.status, 401 | 403) => {
                self.sign_in_anew(began).await.map(Some)
            }
            _ => {
                self.seen().alive = Some(Instant::now());
                Ok(None)
            }
        }
    }

    /// Signs in, unless somebody else failed to since `began`, or just before. Only with the turn in hand.
    async fn sign_in_anew(self: &Arc<Self>, began: Instant) -> Result<Arc<Session>, ProviderError> {
        if let Some((when, class, message)) = &self.seen().failed
            && (*when >= began || (!class.is_retryable() && when.elapsed() < RESPITE))
        {
            return Err(ProviderError::new(*class, message.clone()));
        }
        match sign_in(&self.server, &self.kept).await {
            Ok(session) => {
                let session = Arc::new(session);
                self.take(session.clone());
                self.keep();
                Ok(session)
            }
            Err(error) => {
                self.note(&error);
                // A new token that is no good does not take the old one away.
                let old = self.current.load_full();
                let file = matches!(self.server.config.auth, Auth::Token { .. });
                match old.filter(|old| file && old.ends().is_none_or(|end| end > self.server.clock.now())) {
                    Some(old) if self.is_alive(&old).await => {
                        self.seen().looked = Some(Instant::now());
                        Ok(old)
                    }
                    _ => Err(error),
                }
            }
        }
    }

    async fn is_alive(&self, session: &Session) -> bool {
        look_up(&self.server, &session.token).await.is_ok()
    }

    fn take(&self, session: Arc<Session>) {
        self.current.store(Some(session));
        let now = Instant::now();
        *self.seen() = Seen { alive: Some(now), looked: Some(now), ..Seen::default() };
    }

    fn note(&self, error: &ProviderError) {
        let message = error.to_string();
        warn!(error = message, "signing in to Vault failed");
        let mut seen = self.seen();
        seen.failed = Some((Instant::now(), error.class, message.clone()));
        seen.problem = Some(message);
    }

    /// Looks after the token for as long as there is somebody to use it.
    fn keep(self: &Arc<Self>) {
        if self.keeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut failures = 0;
            while let Some(wait) = weak.upgrade().map(|standing| standing.rest(failures)) {
                sleep(wait).await;
                let Some(standing) = weak.upgrade() else { return };
                failures = if standing.look_after().await { 0 } else { u32::saturating_add(failures, 1) };
            }
        });
    }

    fn rest(&self, failures: u32) -> Duration {
        let (least, most) = KEEP;
        let due = self.current.load().as_ref().and_then(|session| session.due());
        let wait = due.map_or(most, |due| until(self.server.clock.now(), due));
        let pause = if failures == 0 { least } else { RESPITE.saturating_mul(failures) };
        wait.clamp(least, most).max(pause.min(most))
    }

    /// Renews the token when it is time, or signs in anew; says whether all is well.
    async fn look_after(self: &Arc<Self>) -> bool {
        let Some(session) = self.current.load_full() else { return true };
        if session.due().is_none_or(|due| self.server.clock.now() < due) {
            return true;
        }
        let began = Instant::now();
        let _turn = self.signing_in.lock().await;
        if self.current.load_full().is_some_and(|current| !Arc::ptr_eq(&current, &session)) {
            return true;
        }
        let renewed = if session.renewable { self.renew(&session).await } else { Ok(None) };
        let by_file = matches!(self.server.config.auth, Auth::Token { .. });
        match renewed {
            Ok(Some(next)) => {
                self.take(Arc::new(next));
                true
            }
            // Only whoever wrote the file can give another token.
            Ok(None) if by_file => {
                self.seen().problem = Some(
                    "the token in `token_file` cannot be renewed any further: put a new one there".into(),
                );
                true
            }
            Err(error) if by_file => {
                self.note(&error);
                false
            }
            Ok(None) | Err(_) => self.sign_in_anew(began).await.is_ok(),
        }
    }

    /// Renews the token. `None` when what is granted is less than half of what it had: its maximum is near.
    async fn renew(&self, session: &Session) -> Result<Option<Session>, ProviderError> {
        let call = Call { kind: Kind::SignIn, verb: "renew", on: "the broker's own token" };
        let since = self.server.clock.now();
        let request = Raw::post("auth/token/renew-self", &json!({}));
        let reply = self.server.ask(&request, Ask::repeatable(call, Some(&session.token))).await;
        let reply = reply.map_err(|failure| failure.into_error(call))?;
        let granted = granted(&reply, since).ok_or_else(|| call.odd())?;
        let enough = match (granted.life, session.life) {
            (Some(now), Some(before)) => now.saturating_mul(2) >= before,
            _ => true,
        };
        Ok(enough.then(|| session.renewed(since, granted.life)))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens an answer that came wrapped.
pub(crate) async fn unwrapped(server: &Server, call: Call<'_>, reply: &Reply) -> Result<Reply, Failure> {
    let odd = || Failure::Unanswered { error: call.odd(), sent: true };
    let info = reply.envelope::<Box<RawValue>>().and_then(|envelope| envelope.wrap_info).ok_or_else(odd)?;
    let token = Token::new(info.token).ok_or_else(odd)?;
    // Whoever opens it first has it, so this is not repeated.
    server.ask(&Raw::post("sys/wrapping/unwrap", &json!({})), Ask::once(call, Some(&token))).await
}
