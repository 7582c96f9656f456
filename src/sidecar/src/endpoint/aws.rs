//! The local protocol of the AWS Secrets Manager Agent (<https://github.com/aws/aws-secretsmanager-agent>), for its
//! unmodified clients: `GET /secretsmanager/get?secretId=`, the same by path, and `GET /ping`.
//!
//! What is answered has the shape of `GetSecretValue`. It comes from the leases that the sidecar holds: nobody asks AWS.

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use leasehold_core::{
    SecretBytes, Timestamp,
    secret::json::{self, Body},
};
use serde::Serialize;

use super::{
    body::answer,
    offer::{Offer, Withheld},
    problem::NO_STORE,
    query::Target,
    token::Token,
};
use crate::{
    name::Name,
    snapshot::{Loan, Snapshot},
};

/// The protocol with what the configuration says of it.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) token: Token,
    /// What the clients call secrets, beside names and paths.
    pub(crate) ids: Vec<(String, Name)>,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// A secret's name, path or configured id.
    pub secret_id: String,
    /// Only if this is its version.
    pub version_id: Option<String>,
    /// Only if this is its stage.
    pub version_stage: Option<String>,
}

/// A refusal as the agent words it: a status, and a text or what the service itself would have answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Value<'a> {
    #[serde(rename = "ARN")]
    arn: String,
    name: &'a str,
    version_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_string: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_binary: Option<String>,
    version_stages: [&'static str; 1],
    /// When it was leased: when it was made is not ours to know. Seconds, in a string, as the agent writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date: Option<String>,
}

#[derive(Serialize)]
struct Fault<'a> {
    #[serde(rename = "__type")]
    kind: &'a str,
    message: &'a str,
}

const GET: &str = "/secretsmanager/get";
const PING: &str = "/ping";
/// Where secrets are by path, on a listener that speaks nothing but this.
const BY_PATH: &str = "/v1/";
/// Either carries the token, as with the agent.
const TOKEN_HEADERS: [&str; 2] = ["x-aws-parameters-secrets-token", "x-vault-token"];
/// What a proxy adds: then somebody asks who is not on this machine.
const FORWARDED: [&str; 2] = ["x-forwarded-for", "forwarded"];
/// The stage of what is held: the broker's current version is the only one that it lends.
const CURRENT: &str = "AWSCURRENT";

impl Agent {
    /// The answer to a request of the protocol; `None` when it is another's. By path only when `alone`: elsewhere such
    /// paths are taken.
    pub(crate) fn respond(
        &self,
        request: &Request<()>,
        target: &Target,
        alone: bool,
        offer: &Offer,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Option<Response<Full<Bytes>>> {
        if target.path == PING {
            return Some(answer(SecretBytes::new(b"healthy".to_vec()), "text/plain"));
        }
        let by_path = target.path.strip_prefix(BY_PATH).filter(|_| alone);
        if target.path != GET && by_path.is_none() {
            return None;
        }
        let value = self
            .admit(request.headers())
            .and_then(|()| Query::of(target, by_path))
            .and_then(|query| self.value(&query, offer, snapshot, now));
        Some(value.map_or_else(Response::from, |body| answer(body, "application/json")))
    }

    /// Only who shows the token, and only from this machine.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if FORWARDED.iter().any(|name| headers.contains_key(*name)) {
            return Err(Refusal::text(StatusCode::BAD_REQUEST, "Forwarded"));
        }
        let shown = TOKEN_HEADERS.iter().flat_map(|name| headers.get_all(*name));
        for value in shown {
            match self.token.is(value.as_bytes()) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "nobody can be let in");
                    return Err(Refusal::service(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", ""));
                }
            }
        }
        Err(Refusal::text(StatusCode::FORBIDDEN, "Bad Token"))
    }

    fn value(
        &self,
        query: &Query,
        offer: &Offer,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<SecretBytes, Refusal> {
        let configured = self.ids.iter().find(|(id, _)| *id == query.secret_id).map(|(_, name)| name);
        let found = configured.map_or_else(|| offer.find(&query.secret_id), Ok);
        let loan = found.and_then(|name| offer.take(name, snapshot, now))?;
        let version = loan.version.as_ref().map_or_else(|| loan.lease.to_string(), ToString::to_string);
        if query.version_stage.as_deref().is_some_and(|stage| stage != CURRENT) {
            return Err(Refusal::not_found("the broker lends the current version only: ask for AWSCURRENT"));
        }
        if query.version_id.as_ref().is_some_and(|asked| *asked != version) {
            return Err(Refusal::not_found("this is not the version that is held: ask without versionId"));
        }
        write(&query.secret_id, &version, loan)
    }
}

impl Query {
    /// What a request's target asks for; with the id when that was in its path.
    ///
    /// # Errors
    /// As the agent refuses it: a parameter is unknown, or missing, or not what it must be.
    pub fn of(target: &Target, by_path: Option<&str>) -> Result<Self, Refusal> {
        let bad = |text: &str| Refusal::text(StatusCode::BAD_REQUEST, text);
        let known: &[&str] = match by_path {
            None => &["secretId", "versionId", "versionStage", "refreshNow"],
            Some(_) => &["versionId", "versionStage", "refreshNow"],
        };
        if target.unknown_parameter(known).is_some() {
            return Err(bad("unknown parameter"));
        }
        let secret_id = match by_path {
            Some(id) if !id.is_empty() => id,
            Some(_) => return Err(bad("missing secret ID")),
            None => target
                .parameter("secretId")
                .filter(|id| !id.is_empty())
                .ok_or_else(|| bad("missing parameter secretId"))?,
        };
        // The broker tells of each new version at once, so what is held is as fresh as it can be made.
        match target.parameter("refreshNow").map(str::to_ascii_lowercase).as_deref() {
            None | Some("true" | "1" | "false" | "0") => {}
            Some(_) => return Err(bad("invalid refreshNow value")),
        }
        let text = |name| target.parameter(name).map(ToOwned::to_owned);
        Ok(Self {
            secret_id: secret_id.to_owned(),
            version_id: text("versionId"),
            version_stage: text("versionStage"),
        })
    }
}

fn write(asked: &str, version: &str, loan: &Loan) -> Result<SecretBytes, Refusal> {
    let internal = || Refusal::service(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", "");
    let body = json::encode(loan.value()).map_err(|error| {
        tracing::error!(secret = %loan.path, %error, "it has no form that AWS clients know");
        internal()
    })?;
    let is_arn = asked.starts_with("arn:");
    let (secret_string, secret_binary) = match &body {
        Body::Text(text) => (str::from_utf8(text.expose()).ok(), None),
        Body::Binary(bytes) => (None, Some(BASE64.encode(bytes.expose()))),
    };
    let value = Value {
        arn: if is_arn {
            asked.to_owned()
        } else {
            format!("arn:leasehold:secretsmanager:::secret:{}", loan.path)
        },
        name: if is_arn { loan.path.as_str() } else { asked },
        version_id: version,
        secret_string,
        secret_binary,
        version_stages: [CURRENT],
        created_date: loan.holding().map(|holding| {
            let at = holding.lease.issued_at;
            format!("{}.{:03}", at.as_second(), at.subsec_millisecond())
        }),
    };
    serde_json::to_vec(&value).map(SecretBytes::new).map_err(|_| internal())
}

impl Refusal {
    fn text(status: StatusCode, text: &str) -> Self {
        Self { status, body: text.to_owned() }
    }

    fn service(status: StatusCode, kind: &str, message: &str) -> Self {
        Self { status, body: serde_json::to_string(&Fault { kind, message }).unwrap_or_default() }
    }

    fn not_found(message: &str) -> Self {
        Self::service(StatusCode::BAD_REQUEST, "ResourceNotFoundException", message)
    }
}

impl From<Withheld> for Refusal {
    fn from(withheld: Withheld) -> Self {
        let detail = withheld.detail();
        match withheld {
            Withheld::Unknown => Self::not_found(&detail),
            Withheld::Ambiguous(_) => {
                Self::service(StatusCode::BAD_REQUEST, "InvalidRequestException", &detail)
            }
            Withheld::NotHeld { .. } | Withheld::Ended { .. } => {
                Self::service(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", &detail)
            }
        }
    }
}

impl From<Refusal> for Response<Full<Bytes>> {
    fn from(refusal: Refusal) -> Self {
        let mut response = Response::new(Full::from(refusal.body));
        *response.status_mut() = refusal.status;
        response.headers_mut().insert(http::header::CACHE_CONTROL, NO_STORE);
        response
    }
}
