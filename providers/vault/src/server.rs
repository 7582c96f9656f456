//! One call to Vault: to a node that answers, repeated where that is safe.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use leasehold_core::{
    SecretBytes, Timestamp,
    ports::{Clock, Entropy},
    provider::{ErrorClass, ProviderError},
};
use leasehold_endpoint::Endpoint;
use reqwest::Client;
use rustify::endpoint::{Endpoint as Request, MiddleWare};
use tokio::time::{sleep, timeout};
use vaultrs::api::EndpointMiddleware;

use crate::{
    answer::{Refusal, Reply},
    config::{VaultConfig, server},
    connection::Connection,
    error::{Call, Failure, classify, unanswered},
    token::Token,
};

/// The nodes of one cluster, without anybody signed in.
pub(crate) struct Server {
    pub(crate) config: VaultConfig,
    pub(crate) clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    nodes: Vec<Node>,
    /// The node that answered last.
    active: AtomicUsize,
    connection: Connection,
}

struct Node {
    base: String,
    origin: String,
}

/// How one call is made.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// What it is.
    pub(crate) call: Call<'a>,
    /// As whom.
    pub(crate) token: Option<&'a Token>,
    /// Whether the answer comes wrapped.
    pub(crate) wrap: Option<Duration>,
    /// Whether doing it twice is the same as doing it once.
    pub(crate) repeatable: bool,
    /// Whether it is asked of the server as a whole, and not of the configured namespace.
    pub(crate) of_root: bool,
}

/// The longest wait, asked for by Vault, that is waited here. Longer hints go to the caller, who has better things to do.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most that a first repetition waits; each further one twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// More than any secret or credential: what is longer is not read to its end.
const MOST: usize = 16 << 20;

impl<'a> Ask<'a> {
    /// A call that may be repeated.
    pub(crate) fn repeatable(call: Call<'a>, token: Option<&'a Token>) -> Self {
        Self { call, token, wrap: None, repeatable: true, of_root: false }
    }

    /// A call that is made once.
    pub(crate) fn once(call: Call<'a>, token: Option<&'a Token>) -> Self {
        Self { call, token, wrap: None, repeatable: false, of_root: false }
    }
}

impl Server {
    pub(crate) fn new(config: VaultConfig, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let nodes = std::iter::once(&config.address)
            .chain(&config.cluster)
            .filter_map(|base| {
                Some(Node { base: base.trim_end_matches('/').to_owned(), origin: server(base)?.origin })
            })
            .collect();
        Self { config, clock, entropy, nodes, active: AtomicUsize::new(0), connection: Connection::default() }
    }

    /// Bounds everything that one request of the broker's needs, signing in included.
    pub(crate) async fn within<T>(
        &self,
        call: Call<'_>,
        work: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        timeout(self.config.timeout, work).await.unwrap_or_else(|_| {
            Err(call.error(
                ErrorClass::Transient,
                format!("Vault did not answer within {:?}", self.config.timeout),
            ))
        })
    }

    /// Makes a call, again where it may be made again.
    pub(crate) async fn ask<E: Request>(&self, endpoint: &E, ask: Ask<'_>) -> Result<Reply, Failure> {
        let mut attempt = 1;
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.ask_nodes(endpoint, ask).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            let (again, hint) = match &failure {
                Failure::Unanswered { error, sent } => {
                    (error.class.is_retryable() && (ask.repeatable || !sent), None)
                }
                // What is refused for its rate has not been done.
                Failure::Refused(refusal) => {
                    let class = classify(ask.call, refusal).class;
                    let undone = ask.repeatable || class == ErrorClass::Throttled;
                    (class.is_retryable() && undone, refusal.retry_after)
                }
            };
            if !again || attempt >= self.config.max_attempts || hint.is_some_and(|hint| hint > PATIENCE) {
                return Err(failure);
            }
            attempt = attempt.saturating_add(1);
            sleep(hint.unwrap_or_default().saturating_add(self.part_of(pause))).await;
            pause = pause.saturating_mul(2).min(PATIENCE);
        }
    }

    /// Asks the node that answered last, and another one when it sends there, is sealed, or is not there.
    async fn ask_nodes<E: Request>(&self, endpoint: &E, ask: Ask<'_>) -> Result<Reply, Failure> {
        let client = self
            .connection
            .client(&self.config)
            .map_err(|error| Failure::Unanswered { error, sent: false })?;
        let mut at = self.active.load(Ordering::Relaxed);
        let mut left = self.nodes.len();
        loop {
            let Some(node) = self.nodes.get(at) else {
                let error = ask.call.error(ErrorClass::Permanent, "no `address` is configured");
                return Err(Failure::Unanswered { error, sent: false });
            };
            left = left.saturating_sub(1);
            let result = self.ask_once(&client, &node.base, endpoint, ask).await;
            let next = match &result {
                Err(Failure::Refused(refusal)) if matches!(refusal.status, 307 | 308) => {
                    refusal.location.as_deref().and_then(|location| self.node_at(location))
                }
                Err(Failure::Refused(refusal)) if matches!(refusal.status, 472 | 473) => Some(self.after(at)),
                // A proxy says 503 also when it has lost the answer.
                Err(Failure::Refused(refusal))
                    if refusal.status == 503 && (ask.repeatable || refusal.says(&["sealed"])) =>
                {
                    Some(self.after(at))
                }
                Err(Failure::Unanswered { sent: false, error }) if error.class == ErrorClass::Transient => {
                    Some(self.after(at))
                }
                _ => {
                    self.active.store(at, Ordering::Relaxed);
                    None
                }
            };
            match next {
                Some(next) if next != at && left > 0 => at = next,
                _ => return result,
            }
        }
    }

    fn after(&self, at: usize) -> usize {
        let next = at.saturating_add(1);
        if next < self.nodes.len() { next } else { 0 }
    }

    /// The configured node to which a redirect leads: its path is not looked at, the request is made again as it was.
    fn node_at(&self, location: &str) -> Option<usize> {
        let uri: http::Uri = location.parse().ok()?;
        let origin = Endpoint::of_uri(&uri)?.origin;
        self.nodes.iter().position(|node| node.origin == origin)
    }

    async fn ask_once<E: Request>(
        &self,
        client: &Client,
        base: &str,
        endpoint: &E,
        ask: Ask<'_>,
    ) -> Result<Reply, Failure> {
        let unbuilt = || Failure::Unanswered {
            error: ask.call.error(ErrorClass::Invalid, "the request cannot be written"),
            sent: false,
        };
        let middleware = EndpointMiddleware {
            token: ask.token.map(|token| token.expose().to_owned()).unwrap_or_default(),
            version: "v1".to_owned(),
            wrap: ask.wrap.map(|ttl| format!("{}s", ttl.as_secs().max(1))),
            namespace: self.config.namespace.clone().filter(|_| !ask.of_root),
        };
        let mut request = endpoint.request(base).map_err(|_| unbuilt())?;
        middleware.request(endpoint, &mut request).map_err(|_| unbuilt())?;
        for header in ["x-vault-token", "x-vault-wrap-ttl"] {
            if let Some(value) = request.headers_mut().get_mut(header) {
                value.set_sensitive(true);
            }
        }
        let request = reqwest::Request::try_from(request).map_err(|_| unbuilt())?;
        let lost = |error: reqwest::Error| unanswered(ask.call, &error);
        let mut response = client.execute(request).await.map_err(lost)?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let date = header("date").and_then(timestamp);
        let retry_after = header("retry-after").and_then(seconds);
        let location = header("location").map(str::to_owned);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len().saturating_add(chunk.len()) > MOST {
                let error = ask.call.error(ErrorClass::Permanent, "Vault's answer is longer than 16 MiB");
                return Err(Failure::Unanswered { error, sent: true });
            }
            body.extend_from_slice(&chunk);
        }
        let body = SecretBytes::new(body);
        if (200..300).contains(&status) {
            return Ok(Reply { body, date });
        }
        let errors = Refusal::errors_in(&body);
        Err(Failure::Refused(Refusal { status, errors, body, retry_after, location, date }))
    }

    /// Full jitter: any part of a pause, so that those who failed together do not come back together.
    fn part_of(&self, pause: Duration) -> Duration {
        let mut byte = [0; 1];
        match self.entropy.fill(&mut byte) {
            Ok(()) => pause.mul_f32(f32::from(byte.first().copied().unwrap_or(0)) / 255.0),
            Err(_) => pause,
        }
    }
}

/// `Retry-After` in seconds (RFC 9110, section 10.2.3); Vault does not use its date form. At most an hour is believed.
fn seconds(text: &str) -> Option<Duration> {
    Some(Duration::from_secs(text.trim().parse().ok()?).min(Duration::from_secs(3600)))
}

fn timestamp(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_and_dates_are_read() {
        assert_eq!(seconds(" 3 "), Some(Duration::from_secs(3)));
        assert_eq!(seconds("999999"), Some(Duration::from_secs(3600)));
        assert_eq!(seconds("Sun, 22 Nov 2026 11:21:29 GMT"), None);
        let date = timestamp("Sun, 22 Nov 2026 11:21:29 GMT").unwrap();
        assert_eq!(date.to_string(), "2026-11-22T11:21:29Z");
    }
}
