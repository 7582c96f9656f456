//! `/v1/secrets`: what is held, for scripts.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use leasehold_core::{SecretBytes, Timestamp};
use serde::Serialize;

use super::{
    body::answer,
    offer::{Offer, Withheld, is_over},
    problem::Problem,
    query::Target,
};
use crate::{
    name::Name,
    snapshot::{Loan, Snapshot, Standing},
};

/// Where they are.
pub(crate) const PATH: &str = "/v1/secrets";
/// One field as it is, without JSON around it.
const FIELD: &str = "field";
const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";

#[derive(Serialize)]
struct List<'a> {
    secrets: Vec<Line<'a>>,
}

/// A secret without its value.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    path: &'a str,
    /// `fresh`, `failing`, `expired`, or `missing`.
    standing: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Whole<'a> {
    name: &'a str,
    path: &'a str,
    standing: &'static str,
    version: Option<&'a str>,
    lease_id: String,
    expires_at: Timestamp,
    content_type: &'a str,
    fields: BTreeMap<&'a str, Field<'a>>,
}

/// A field's bytes as JSON can hold them, and how.
#[derive(Serialize)]
struct Field<'a> {
    encoding: &'static str,
    value: Cow<'a, str>,
}

/// The answer to a request under [`PATH`]; `None` when it is none.
pub(crate) fn respond(
    target: &Target,
    offer: &Offer,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Response<Full<Bytes>>> {
    let rest = target.path.strip_prefix(PATH)?;
    let response = match rest {
        "" | "/" => list(target, offer, snapshot, now),
        rest => one(rest.strip_prefix('/')?, target, offer, snapshot, now),
    };
    Some(response.unwrap_or_else(Response::from))
}

fn list(
    target: &Target,
    offer: &Offer,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Response<Full<Bytes>>, Problem> {
    known_parameters(target, &[])?;
    let lines = offer.iter().map(|(name, path)| {
        let loan = snapshot.secrets.get(name);
        Line {
            name: name.as_str(),
            path: path.as_str(),
            standing: loan.map_or("missing", |loan| standing(loan, now)),
            version: loan.and_then(|loan| loan.version.as_ref()).map(|version| version.as_str()),
            expires_at: loan.map(|loan| loan.expires_at),
        }
    });
    Ok(json(&List { secrets: lines.collect() }))
}

fn one(
    asked: &str,
    target: &Target,
    offer: &Offer,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Response<Full<Bytes>>, Problem> {
    known_parameters(target, &[FIELD])?;
    let name = offer.find(asked)?;
    let loan = offer.take(name, snapshot, now)?;
    let Some(field) = target.parameter(FIELD) else { return Ok(json(&whole(name, loan, now))) };
    match loan.value().fields.iter().find(|(known, _)| known.as_str() == field) {
        Some((_, bytes)) => Ok(answer(bytes.clone(), OCTETS)),
        None => {
            let known: Vec<_> = loan.value().fields.keys().map(|name| name.as_str()).collect();
            let detail = format!("`{name}` has no such field, and has these: {}", known.join(", "));
            Err(Problem::new(StatusCode::NOT_FOUND, "NO_SUCH_FIELD", detail))
        }
    }
}

fn whole<'a>(name: &'a Name, loan: &'a Loan, now: Timestamp) -> Whole<'a> {
    let field = |bytes: &'a SecretBytes| match str::from_utf8(bytes.expose()) {
        Ok(text) => Field { encoding: "utf8", value: text.into() },
        Err(_) => Field { encoding: "base64", value: data_encoding::BASE64.encode(bytes.expose()).into() },
    };
    Whole {
        name: name.as_str(),
        path: loan.path.as_str(),
        standing: standing(loan, now),
        version: loan.version.as_ref().map(|version| version.as_str()),
        lease_id: loan.lease.to_string(),
        expires_at: loan.expires_at,
        content_type: &loan.value().content_type,
        fields: loan.value().fields.iter().map(|(name, bytes)| (name.as_str(), field(bytes))).collect(),
    }
}

/// How a loan stands, in the one word that answers have for it.
pub(crate) fn standing(loan: &Loan, now: Timestamp) -> &'static str {
    match loan.standing {
        _ if is_over(loan, now) => "expired",
        Standing::Fresh => "fresh",
        Standing::Failing | Standing::Expired => "failing",
    }
}

/// A parameter that nobody knows is refused: it may have been meant to narrow what is answered.
fn known_parameters(target: &Target, known: &[&str]) -> Result<(), Problem> {
    match target.unknown_parameter(known) {
        None => Ok(()),
        Some(_) => {
            let detail = match known {
                [] => "there are no parameters here".to_owned(),
                known => format!("the parameters here are: {}", known.join(", ")),
            };
            Err(Problem::new(StatusCode::BAD_REQUEST, "UNKNOWN_PARAMETER", detail))
        }
    }
}

fn json<T: Serialize>(shown: &T) -> Response<Full<Bytes>> {
    match serde_json::to_vec(shown) {
        Ok(text) => answer(SecretBytes::new(text), JSON),
        // Texts and times can always be written.
        Err(_) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "it could not be written").into()
        }
    }
}

impl From<Withheld> for Problem {
    fn from(withheld: Withheld) -> Self {
        let (status, reason) = match &withheld {
            Withheld::Unknown => (StatusCode::NOT_FOUND, "NO_SUCH_SECRET"),
            Withheld::Ambiguous(_) => (StatusCode::CONFLICT, "AMBIGUOUS_PATH"),
            Withheld::NotHeld { .. } => (StatusCode::SERVICE_UNAVAILABLE, "NOT_LEASED"),
            Withheld::Ended { .. } => (StatusCode::SERVICE_UNAVAILABLE, "LEASE_ENDED"),
        };
        Self::new(status, reason, withheld.detail())
    }
}
