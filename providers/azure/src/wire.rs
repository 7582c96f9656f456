//! The transport of everything that the SDKs send: to the configured hosts only, within a time, and what goes wrong is said
//! in our words at once.

use std::{
    error::Error as StdError,
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    error::{Error as SdkError, ErrorKind},
    http::{
        AsyncRawResponse, Body, ClientOptions, HttpClient, Request, RetryOptions, Transport,
        headers::{AUTHORIZATION, HeaderName, HeaderValue, Headers, WWW_AUTHENTICATE},
    },
};
use leasehold_core::{Timestamp, ports::Clock};
use reqwest::{Certificate, Client, redirect};
use rustls::CertificateError;
use tokio::time::timeout;

use crate::{
    answer::{Answer, Party, http_date},
    config::{AzureConfig, AzureConfigFault},
    failure::Failure,
    rules::Rules,
};

/// A transport.
pub(crate) struct Wire {
    rules: Rules,
    /// To the vault: TLS, and past any proxy when it has a private endpoint.
    vault: Client,
    /// To where is signed in: TLS.
    login: Client,
    /// To the machine's own identity service: plain, and past any proxy.
    machine: Client,
    attempt_timeout: Duration,
    clock: Arc<dyn Clock>,
    /// The `Authorization` that the vault refused last.
    refused: Mutex<Option<HeaderValue>>,
    /// How far the vault's clock was ahead of this machine's when it was last seen, in seconds.
    ahead: AtomicI64,
}

/// No answer of the documentation is near this: a secret has 25 KiB, a page 25 items, a token some KiB.
const MAX_ANSWER: usize = 1 << 20;

/// No token lives longer: ten years, in seconds.
const LONGEST_LIFE: i64 = 3650 * 86_400;

impl Wire {
    /// Reads the certificates of the configuration. Blocking.
    ///
    /// # Errors
    /// When they cannot be read, or TLS cannot be set up.
    pub(crate) fn new(config: &AzureConfig, clock: Arc<dyn Clock>) -> Result<Self, AzureConfigFault> {
        let bare = || {
            Client::builder()
                .redirect(redirect::Policy::none())
                .connect_timeout(config.connect_timeout)
                .timeout(config.attempt_timeout)
        };
        let more = config.ca_file.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let secure = || bare().https_only(true).tls_certs_merge(more.clone());
        let mut vault = secure();
        if let (Some(address), Some(host)) = (config.private_endpoint, config.vault_host()) {
            vault = vault.resolve(&host, address).no_proxy();
        }
        let tls = |_| AzureConfigFault::Tls("the machine's trusted certificates cannot be used".to_owned());
        Ok(Self {
            rules: Rules::of(config),
            vault: vault.build().map_err(tls)?,
            login: secure().build().map_err(tls)?,
            machine: bare().no_proxy().build().map_err(tls)?,
            attempt_timeout: config.attempt_timeout,
            clock,
            refused: Mutex::default(),
            ahead: AtomicI64::new(0),
        })
    }

    /// What the SDKs' clients are told: this transport, and no repetitions of their own.
    pub(crate) fn options(self: &Arc<Self>) -> ClientOptions {
        let transport: Arc<dyn HttpClient> = Arc::clone(self) as _;
        ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(transport)),
            ..ClientOptions::default()
        }
    }

    /// Whether the vault has refused this token.
    pub(crate) fn has_refused(&self, token: &str) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.as_ref().is_some_and(|header| header.as_str().strip_prefix("Bearer ") == Some(token))
    }

    /// How far the vault's clock was ahead of this machine's when it was last seen, in seconds.
    pub(crate) fn vault_ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn exchange(&self, request: &Request) -> Result<AsyncRawResponse, Failure> {
        let (party, url) = self.rules.place(request.method(), request.url())?;
        let client = match party {
            Party::Vault => &self.vault,
            Party::Login => &self.login,
            Party::Machine => &self.machine,
        };
        let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes())
            .map_err(|_| Failure::Unmade("its method is none"))?;
        let mut call = client.request(method, url);
        for (name, value) in request.headers().iter() {
            call = call.header(name.as_str(), value.as_str());
        }
        match request.body() {
            Body::Bytes(bytes) if bytes.is_empty() => {}
            Body::Bytes(bytes) => call = call.body(bytes.clone()),
            Body::SeekableStream(_) => return Err(Failure::Unmade("its body is a stream")),
        }
        let answered = timeout(self.attempt_timeout, receive(party, call)).await;
        let (status, headers, body) = answered.unwrap_or(Err(Failure::Late(party)))?;
        if party == Party::Vault {
            self.compare_clocks(&headers);
        }
        if party == Party::Vault && status == 401 {
            if let Some(challenge) = headers.get_optional_str(&WWW_AUTHENTICATE) {
                self.rules.check_challenge(challenge)?;
            }
            if let Some(token) = request.headers().get_optional_str(&AUTHORIZATION) {
                let refused = Some(HeaderValue::from(token.to_owned()));
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
            }
        } else if !(200..300).contains(&status) {
            let answer = Answer::read(party, status, &headers, &body, self.now());
            return Err(Failure::Answered(Box::new(answer)));
        } else if party == Party::Login && !has_possible_life(&body) {
            return Err(Failure::Unreadable(party));
        }
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
    }

    fn compare_clocks(&self, headers: &Headers) {
        let theirs = headers.get_optional_str(&HeaderName::from_static("date")).and_then(http_date);
        if let Some(theirs) = theirs {
            self.ahead.store(theirs.duration_since(self.now()).as_secs(), Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        // Of a kind that no policy of the SDK repeats.
        self.exchange(request).await.map_err(|failure| SdkError::new(ErrorKind::Other, failure))
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

/// Sends a request and takes the whole answer.
async fn receive(party: Party, call: reqwest::RequestBuilder) -> Result<(u16, Headers, Vec<u8>), Failure> {
    let mut response = call.send().await.map_err(|error| unsent(party, &error))?;
    let headers = response.headers().iter().filter_map(|(name, value)| {
        Some((HeaderName::from(name.as_str().to_owned()), HeaderValue::from(value.to_str().ok()?.to_owned())))
    });
    let headers = Headers::from(headers.collect::<std::collections::HashMap<_, _>>());
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len().saturating_add(chunk.len()) > MAX_ANSWER => {
                return Err(Failure::TooLarge(party));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok((response.status().as_u16(), headers, body)),
            Err(error) if error.is_timeout() => return Err(Failure::Late(party)),
            Err(_) => return Err(Failure::Cut(party)),
        }
    }
}

/// Whether a new token lives for a time that there is: the SDK adds it to the time of day, and panics where that ends.
fn has_possible_life(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Life {
        #[serde(default)]
        expires_in: i64,
    }
    serde_json::from_slice::<Life>(body).is_ok_and(|life| (0..=LONGEST_LIFE).contains(&life.expires_in))
}

/// Why there was no answer. The error's own text has the URL in it.
fn unsent(party: Party, error: &reqwest::Error) -> Failure {
    let chain = || std::iter::successors(Some(error as &(dyn StdError + 'static)), |cause| (*cause).source());
    if let Some(why) = chain().find_map(untrusted) {
        return Failure::Untrusted(party, why);
    }
    if error.is_timeout() {
        return if error.is_connect() { Failure::Unreachable(party) } else { Failure::Late(party) };
    }
    if !error.is_connect() {
        return Failure::Cut(party);
    }
    // The only sign that there is.
    if chain().any(|cause| cause.to_string().starts_with("dns error")) {
        Failure::Unknown(party)
    } else {
        Failure::Unreachable(party)
    }
}

/// What TLS has against a certificate.
fn untrusted<'e>(cause: &'e (dyn StdError + 'static)) -> Option<&'static str> {
    // An error of the system's kind holds another one without naming it as its source, and that perhaps another.
    let inside = |cause: &&'e (dyn StdError + 'static)| -> Option<&'e (dyn StdError + 'static)> {
        Some(cause.downcast_ref::<io::Error>()?.get_ref()?)
    };
    let error =
        std::iter::successors(Some(cause), inside).find_map(|cause| cause.downcast_ref::<rustls::Error>())?;
    let rustls::Error::InvalidCertificate(why) = error else { return None };
    Some(match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "its time has passed or has not come: is this machine's clock right?"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host"
        }
        CertificateError::UnknownIssuer => "its issuer is not known: name it in `ca_file`",
        CertificateError::Revoked => "it was revoked",
        _ => "it is not valid",
    })
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, AzureConfigFault> {
    let wrong = |why: String| AzureConfigFault::CaFile(path.to_owned(), why);
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(wrong("there is no certificate in it (PEM)".to_owned())),
    }
}
