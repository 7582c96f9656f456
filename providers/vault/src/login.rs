//! Signing in: from what the broker has to a token of Vault's.

use std::{
    fmt::Display,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use leasehold_core::{
    Timestamp,
    provider::{ErrorClass, ProviderError},
    ttl::after,
};
use leasehold_secret_file::{Readers, SecretFile, SecretFileFault, Stamp};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use vaultrs::api::{
    auth::{
        approle::requests::LoginWithApproleRequest, kubernetes::requests::LoginWithKubernetesRequest,
        oidc::requests::JWTLoginRequest,
    },
    sys::requests::WrappingLookupRequest,
    token::requests::LookupTokenSelfRequest,
};
use zeroize::Zeroizing;

use crate::{
    answer::Reply,
    config::Auth,
    endpoint::Raw,
    error::{Call, Failure, Kind},
    server::{Ask, Server},
    token::Token,
};

/// A token of the broker's own.
pub(crate) struct Session {
    pub(crate) token: Token,
    /// Whether its life can be extended.
    pub(crate) renewable: bool,
    /// When it began, or was renewed.
    pub(crate) since: Timestamp,
    /// How long it lives from then on; absent when it does not end.
    pub(crate) life: Option<Duration>,
    /// Of the file that it came from.
    pub(crate) stamp: Option<Stamp>,
}

/// A secret id that was unwrapped: the wrapping token opens only once.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Option<(Option<Stamp>, Zeroizing<String>)>>);

/// What a token says of itself.
#[derive(Deserialize)]
pub(crate) struct Looked {
    /// Seconds; 0 for ever.
    pub(crate) ttl: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
    #[serde(default)]
    pub(crate) policies: Vec<String>,
}

impl Session {
    /// When it ends.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        self.life.map(|life| after(self.since, life))
    }

    /// When to do something about its end: at two thirds of its life.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.life.map(|life| after(self.since, life.mul_f32(2.0 / 3.0)))
    }

    /// The same after a renewal.
    pub(crate) fn renewed(&self, since: Timestamp, life: Option<Duration>) -> Self {
        Self { token: self.token.clone(), renewable: self.renewable, since, life, stamp: self.stamp }
    }
}

/// Signs in as the configuration says.
pub(crate) async fn sign_in(server: &Server, kept: &Kept) -> Result<Session, ProviderError> {
    let auth = &server.config.auth;
    let call = Call { kind: Kind::SignIn, verb: "sign in to Vault by", on: auth.name() };
    let file = |fault: &dyn Display| call.error(ErrorClass::Permanent, fault.to_string());
    let since = server.clock.now();
    let ask = Ask::repeatable(call, None);
    let reply = match auth {
        Auth::Token { file: path } => {
            let (word, stamp) = read_word(path, Readers::Group).map_err(|fault| file(&fault))?;
            let token = Token::new(word)
                .ok_or_else(|| call.error(ErrorClass::Permanent, "the file holds what is not a token"))?;
            let looked = look_up(server, &token).await.map_err(|failure| failure.into_error(call))?;
            let life = (looked.ttl > 0).then(|| Duration::from_secs(looked.ttl));
            return Ok(Session { token, renewable: looked.renewable, since, life, stamp: Some(stamp) });
        }
        Auth::AppRole { mount, role_id, secret_id_file, wrapped } => {
            let secret_id = match secret_id_file {
                None => Zeroizing::default(),
                Some(path) if *wrapped => {
                    let stamp = Stamp::of(path);
                    match kept.get(stamp) {
                        Some(secret_id) => secret_id,
                        None => {
                            let (word, stamp) =
                                read_word(path, Readers::Group).map_err(|fault| file(&fault))?;
                            let secret_id = unwrap_secret_id(server, call, mount, word).await?;
                            kept.put(Some(stamp), secret_id.clone());
                            secret_id
                        }
                    }
                }
                Some(path) => read_word(path, Readers::Group).map_err(|fault| file(&fault))?.0,
            };
            let request = LoginWithApproleRequest {
                mount: mount.clone(),
                role_id: role_id.clone(),
                secret_id: secret_id.to_string(),
            };
            server.ask(&request, ask).await
        }
        // The SDK's request names the role in a field that Vault does not look at.
        Auth::Certificate { mount, role, .. } => {
            let body = role.as_ref().map_or_else(|| json!({}), |role| json!({ "name": role }));
            server.ask(&Raw::post(format!("auth/{mount}/login"), &body), ask).await
        }
        Auth::Kubernetes { mount, role, jwt_file } => {
            let (jwt, _) = read_word(jwt_file, Readers::Anybody).map_err(|fault| file(&fault))?;
            let request =
                LoginWithKubernetesRequest { mount: mount.clone(), role: role.clone(), jwt: jwt.to_string() };
            server.ask(&request, ask).await
        }
        Auth::Jwt { mount, role, jwt_file } => {
            let (jwt, _) = read_word(jwt_file, Readers::Group).map_err(|fault| file(&fault))?;
            let request = JWTLoginRequest { mount: mount.clone(), jwt: jwt.to_string(), role: role.clone() };
            server.ask(&request, ask).await
        }
    };
    let reply = reply.map_err(|failure| suspect_clocks(server.clock.now(), call, failure))?;
    granted(&reply, since).ok_or_else(|| call.odd())
}

/// The error of a refused sign-in; certificates and JSON web tokens are refused when the clocks differ.
fn suspect_clocks(ours: Timestamp, call: Call<'_>, failure: Failure) -> ProviderError {
    let apart = match &failure {
        Failure::Refused(refusal) => refusal.date.and_then(|theirs| apart(ours, theirs)),
        Failure::Unanswered { .. } => None,
    };
    let error = failure.into_error(call);
    match apart {
        Some(apart) => {
            ProviderError::new(error.class, format!("{error}; {apart}")).retry_after(error.retry_after)
        }
        None => error,
    }
}

/// How far the clocks may differ. Tokens and certificates of a minute's life begin to fail then.
const SKEW: Duration = Duration::from_secs(30);

/// In words, that the clocks differ by more than they may.
pub(crate) fn apart(ours: Timestamp, theirs: Timestamp) -> Option<String> {
    let apart = ours.duration_since(theirs).unsigned_abs();
    let which = if ours > theirs { "ahead of" } else { "behind" };
    (apart > SKEW).then(|| format!("this machine's clock is {}s {which} Vault's", apart.as_secs()))
}

/// The token in the answer to a sign-in, or to a request for one.
pub(crate) fn granted(reply: &Reply, since: Timestamp) -> Option<Session> {
    let auth = reply.envelope::<Box<RawValue>>()?.auth?;
    Some(Session {
        token: Token::new(auth.client_token)?,
        renewable: auth.renewable,
        since,
        life: (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration)),
        stamp: None,
    })
}

/// What a token says of itself; refused with 403 when Vault does not know it.
pub(crate) async fn look_up(server: &Server, token: &Token) -> Result<Looked, Failure> {
    let call = Call { kind: Kind::SignIn, verb: "look up", on: "the broker's own token" };
    let reply = server.ask(&LookupTokenSelfRequest {}, Ask::repeatable(call, Some(token))).await?;
    reply.data().ok_or_else(|| Failure::Unanswered { error: call.odd(), sent: true })
}

/// Opens a wrapped secret id, after a look at where it was made: somebody who swapped the token would have wrapped
/// something of their own.
async fn unwrap_secret_id(
    server: &Server,
    call: Call<'_>,
    mount: &str,
    word: Zeroizing<String>,
) -> Result<Zeroizing<String>, ProviderError> {
    #[derive(Deserialize)]
    struct Wrapped {
        creation_path: String,
    }
    #[derive(Deserialize)]
    struct SecretId {
        secret_id: String,
    }
    let gone = || {
        call.error(
            ErrorClass::Denied,
            "the wrapping token of the secret id is used up or too old: if nobody of yours used it, somebody else has \
             the secret id, so destroy it; then deliver a new one",
        )
    };
    let token = Token::new(word)
        .ok_or_else(|| call.error(ErrorClass::Permanent, "the file holds what is not a token"))?;
    let request = WrappingLookupRequest { token: token.expose().to_owned() };
    let judge = |failure: Failure| match failure {
        Failure::Refused(refusal) if matches!(refusal.status, 400 | 403 | 404) => gone(),
        failure => failure.into_error(call),
    };
    let looked = server.ask(&request, Ask::repeatable(call, None)).await.map_err(judge)?;
    let made = looked.data::<Wrapped>().ok_or_else(|| call.odd())?.creation_path;
    if !(made.starts_with(&format!("auth/{mount}/role/")) && made.ends_with("/secret-id")) {
        return Err(call.error(
            ErrorClass::Denied,
            "what is wrapped was not made as a secret id of this method: somebody may have swapped it",
        ));
    }
    let request = Raw::post("sys/wrapping/unwrap", &json!({}));
    let opened = server.ask(&request, Ask::once(call, Some(&token))).await.map_err(judge)?;
    let SecretId { secret_id } = opened.data().ok_or_else(|| call.odd())?;
    Ok(Zeroizing::new(secret_id))
}

/// The one word in a file, with what tells it from the next.
fn read_word(path: &Path, readers: Readers) -> Result<(Zeroizing<String>, Stamp), SecretFileFault> {
    let file = SecretFile::read(path, readers)?;
    Ok((Zeroizing::new(file.word()?.to_owned()), file.stamp()))
}

impl Kept {
    fn get(&self, stamp: Option<Stamp>) -> Option<Zeroizing<String>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Once opened it serves as long as the file stays as it is, or is taken away.
        kept.as_ref()
            .filter(|(of, _)| stamp.is_none() || *of == stamp)
            .map(|(_, secret_id)| secret_id.clone())
    }

    fn put(&self, stamp: Option<Stamp>, secret_id: Zeroizing<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((stamp, secret_id));
    }
}
