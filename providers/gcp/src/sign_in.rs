//! The broker's own credentials: found, renewed by the SDK before they end, and read anew when their file changes.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;
use futures::FutureExt;
use google_cloud_auth::{
    credentials::{
        self, CacheableResource, Credentials as Google, CredentialsProvider, EntityTag, external_account,
        impersonated, mds, service_account, user_account,
    },
    errors::CredentialsError,
};
use http::{Extensions, HeaderMap, HeaderValue, header::AUTHORIZATION};
use leasehold_core::{Timestamp, provider::SignIn};
use leasehold_endpoint::Endpoint;
use leasehold_secret_file::{Readers, SecretFile, SecretFileFault, Stamp};
use serde_json::Value;
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use crate::{config::Credentials, error::sign_in_words};

/// As whom the broker asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Account(Arc<Inner>);

struct Inner {
    source: Source,
    within: Duration,
    held: Mutex<Option<Held>>,
    standing: StdMutex<Standing>,
}

enum Source {
    /// The SDK's default chain without a file: gcloud's own, or the metadata server.
    Chain,
    Metadata,
    File(PathBuf),
    Token(PathBuf),
}

/// Credentials with what they were made of.
#[derive(Clone)]
struct Held {
    serial: u64,
    stamp: Option<Stamp>,
    credentials: Made,
}

#[derive(Clone)]
enum Made {
    Google(Google),
    Token(HeaderValue),
}

#[derive(Default)]
struct Standing {
    sign_in: SignIn,
    member: Option<String>,
    refused_at: Option<Instant>,
    made: u64,
}

/// So long after a refusal the next ones are taken for its echo.
const CALM: Duration = Duration::from_secs(1);

impl Account {
    /// An account that signs in on its first call, each time within this.
    pub(crate) fn new(config: &Credentials, within: Duration) -> Self {
        let source = match config {
            Credentials::Default => match std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS") {
                Some(path) => Source::File(path.into()),
                None => Source::Chain,
            },
            Credentials::Metadata => Source::Metadata,
            Credentials::File(path) => Source::File(path.clone()),
            Credentials::TokenFile(path) => Source::Token(path.clone()),
        };
        Self(Arc::new(Inner { source, within, held: Mutex::default(), standing: StdMutex::default() }))
    }

    /// How the broker stands with Google.
    pub(crate) fn standing(&self) -> SignIn {
        self.with_standing(|standing| standing.sign_in.clone())
    }

    /// The broker's own name in policies, such as `serviceAccount:...`, as far as its credentials say it.
    pub(crate) fn member(&self) -> Option<String> {
        self.with_standing(|standing| standing.member.clone())
    }

    /// Makes the next call sign in anew: a token was refused. Of many calls that are refused at once, one does.
    pub(crate) async fn refused(&self) {
        let mut held = self.0.held.lock().await;
        let now = Instant::now();
        let recently = self.with_standing(|standing| {
            let recently = standing.refused_at.is_some_and(|at| now.duration_since(at) < CALM);
            if !recently {
                standing.refused_at = Some(now);
            }
            recently
        });
        if !recently {
            *held = None;
        }
    }

    /// Lets go of credentials that can only fail, unless others have replaced them already.
    async fn forget(&self, serial: u64) {
        self.0.held.lock().await.take_if(|held| held.serial == serial);
    }

    /// The header of a call, made of good credentials.
    pub(crate) async fn sign(&self) -> Result<HeaderMap, CredentialsError> {
        let signed = match timeout(self.0.within, self.try_sign()).await {
            Ok(signed) => signed,
            Err(_) => {
                let why = "signing in took too long".to_owned();
                Err((why.clone(), CredentialsError::from_msg(true, why)))
            }
        };
        match signed {
            Ok((headers, problem)) => {
                let expires_at = headers.get(AUTHORIZATION).and_then(end_of);
                self.with_standing(|standing| standing.sign_in = SignIn { expires_at, problem });
                Ok(headers)
            }
            Err((problem, error)) => {
                self.with_standing(|standing| standing.sign_in.problem = Some(problem));
                Err(error)
            }
        }
    }

    /// The header, and what is wrong though it could be made; or what is wrong and the SDK's error for it.
    async fn try_sign(&self) -> Result<(HeaderMap, Option<String>), (String, CredentialsError)> {
        let (held, problem) =
            self.held().await.map_err(|why| (why.clone(), CredentialsError::from_msg(false, why)))?;
        let google = match held.credentials {
            Made::Token(value) => return Ok((HeaderMap::from_iter([(AUTHORIZATION, value)]), problem)),
            Made::Google(google) => google,
        };
        // The SDK renews tokens in a task of its own, and panics here once that has: on a life that no clock can hold.
        let Ok(made) = AssertUnwindSafe(google.headers(Extensions::new())).catch_unwind().await else {
            self.forget(held.serial).await;
            let why = "the token service's answer cannot be read".to_owned();
            return Err((why.clone(), CredentialsError::from_msg(true, why)));
        };
        match made {
            Ok(CacheableResource::New { data, .. }) => Ok((data, problem)),
            Ok(CacheableResource::NotModified) => Ok((HeaderMap::new(), problem)),
            Err(error) => {
                // The SDK never asks again after what it takes for permanent; a file that it names may come back.
                if !error.is_transient() {
                    self.forget(held.serial).await;
                }
                Err((sign_in_words(&with_causes(&error)), error))
            }
        }
    }

    /// What is held, or made anew when its file has changed. A broken new file does not replace a working old one: what
    /// is wrong with it comes along.
    async fn held(&self) -> Result<(Held, Option<String>), String> {
        let mut held = self.0.held.lock().await;
        let fresh = match (&self.0.source, &*held) {
            (Source::Chain | Source::Metadata, Some(known)) => return Ok((known.clone(), None)),
            (Source::Chain | Source::Metadata, None) => self.find(),
            (Source::File(path) | Source::Token(path), known) => {
                match blocking(path, |path| Stamp::judged(path, Readers::Group)).await {
                    Ok(stamp) => match known {
                        Some(known) if known.stamp == Some(stamp) => return Ok((known.clone(), None)),
                        _ => self.make(path).await,
                    },
                    Err(why) => Err(why),
                }
            }
        };
        match (fresh, &*held) {
            (Ok(fresh), _) => {
                *held = Some(fresh.clone());
                Ok((fresh, None))
            }
            (Err(why), Some(known)) => Ok((known.clone(), Some(why))),
            (Err(why), None) => Err(why),
        }
    }

    fn find(&self) -> Result<Held, String> {
        let made = match self.0.source {
            Source::Metadata => mds::Builder::default().build(),
            _ => credentials::Builder::default().build(),
        };
        let why = |_| {
            "application default credentials cannot be used: run `gcloud auth application-default login`, or set `credentials_file`".to_owned()
        };
        Ok(Held { serial: self.serial(), stamp: None, credentials: Made::Google(made.map_err(why)?) })
    }

    async fn make(&self, path: &Path) -> Result<Held, String> {
        let file = blocking(path, |path| SecretFile::read(path, Readers::Group)).await?;
        let wrong = |why: &str| format!("{}: {why}", path.display());
        let credentials = if matches!(self.0.source, Source::Token(_)) {
            let token = file.word().map_err(|fault| fault.to_string())?;
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| wrong("a token is visible ASCII"))?;
            value.set_sensitive(true);
            Made::Token(value)
        } else {
            let json: Value =
                serde_json::from_slice(file.bytes()).map_err(|_| wrong("credentials are JSON"))?;
            let member = member_of(&json);
            let made = google(json).map_err(|why| wrong(&why))?;
            self.with_standing(|standing| standing.member = member);
            Made::Google(made)
        };
        Ok(Held { serial: self.serial(), stamp: Some(file.stamp()), credentials })
    }

    fn serial(&self) -> u64 {
        self.with_standing(|standing| {
            standing.made = standing.made.wrapping_add(1);
            standing.made
        })
    }

    fn with_standing<T>(&self, look: impl FnOnce(&mut Standing) -> T) -> T {
        look(&mut self.0.standing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is done with a file blocks, so it is done where others need not wait.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> Result<T, SecretFileFault> + Send + 'static,
) -> Result<T, String> {
    let path = path.to_owned();
    match spawn_blocking(move || work(&path)).await {
        Ok(done) => done.map_err(|fault| fault.to_string()),
        Err(_) => Err("the broker is stopping".to_owned()),
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account")
    }
}

impl CredentialsProvider for Account {
    async fn headers(
        &self,
        _extensions: Extensions,
    ) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        Ok(CacheableResource::New { entity_tag: EntityTag::new(), data: self.sign().await? })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}

/// The SDK's credentials for a file's content, by its `type` (<https://google.aip.dev/auth/4110>).
fn google(json: Value) -> Result<Google, String> {
    for field in ["token_url", "token_uri", "service_account_impersonation_url"] {
        if let Some(url) = json.get(field).and_then(Value::as_str)
            && Endpoint::of(url).is_none_or(|endpoint| endpoint.exposes())
        {
            return Err(format!(
                "`{field}` is not an https URL: the broker's credentials would travel in clear"
            ));
        }
    }
    let kind = json.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let made = match kind.as_str() {
        "service_account" => service_account::Builder::new(json).build(),
        "external_account" => external_account::Builder::new(json).build(),
        "impersonated_service_account" => impersonated::Builder::new(json).build(),
        "authorized_user" => user_account::Builder::new(json).build(),
        _ => {
            return Err(
                "its `type` is none of service_account, external_account, impersonated_service_account, authorized_user"
                    .to_owned(),
            );
        }
    };
    // The SDK's own words may repeat the file.
    made.map_err(|_| format!("it is not what credentials of the type {kind} must be"))
}

fn member_of(json: &Value) -> Option<String> {
    let text = |field: &str| json.get(field).and_then(Value::as_str);
    let address = text("client_email").or_else(|| {
        let (_, rest) = text("service_account_impersonation_url")?.split_once("/serviceAccounts/")?;
        rest.split(':').next()
    })?;
    let fit = address.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.@".contains(&b));
    fit.then(|| format!("serviceAccount:{address}"))
}

/// When a token ends that says so itself (RFC 7519, section 4.1.4): a service account's own do.
fn end_of(header: &HeaderValue) -> Option<Timestamp> {
    token_end(header.to_str().ok()?.strip_prefix("Bearer ")?)
}

/// The `exp` of a JSON Web Token, unverified.
pub(crate) fn token_end(token: &str) -> Option<Timestamp> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: Value = serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?).ok()?;
    Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |cause| cause.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_end_is_read_from_itself() {
        let claims = BASE64URL_NOPAD.encode(br#"{"exp":1800000000}"#);
        assert_eq!(token_end(&format!("h.{claims}.s")).unwrap().as_second(), 1_800_000_000);
        for odd in ["ya29.opaque", "a.b", "a.b.c", ""] {
            assert_eq!(token_end(odd), None, "{odd}");
        }
    }

    #[tokio::test]
    async fn credentials_that_would_travel_in_clear_or_are_of_no_kind_are_refused_without_repeating_them() {
        for (json, said) in [
            (
                serde_json::json!({ "type": "external_account", "token_url": "http://example.com/canary" }),
                "`token_url`",
            ),
            (serde_json::json!({ "type": "canary" }), "`type` is none of"),
            (
                serde_json::json!({ "type": "service_account", "private_key": "canary" }),
                "of the type service_account",
            ),
        ] {
            let why = google(json).unwrap_err();
            assert!(why.contains(said) && !why.contains("canary"), "{why}");
        }
    }

    #[test]
    fn the_broker_knows_its_name_where_its_file_says_it() {
        let key = serde_json::json!({ "client_email": "b@my-project.iam.gserviceaccount.com" });
        assert_eq!(member_of(&key).as_deref(), Some("serviceAccount:b@my-project.iam.gserviceaccount.com"));
        let url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/f@p.iam.gserviceaccount.com:generateAccessToken";
        let federated = serde_json::json!({ "service_account_impersonation_url": url });
        assert_eq!(member_of(&federated).as_deref(), Some("serviceAccount:f@p.iam.gserviceaccount.com"));
        assert_eq!(member_of(&serde_json::json!({})), None);
    }
}
