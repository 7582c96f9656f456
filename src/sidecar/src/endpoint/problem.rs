//! Answers that are no success: problem details (RFC 9457).

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

/// Why a request is not answered with what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Stable, for programs.
    pub(crate) reason: &'static str,
    /// For people: what is wrong, and the way out. Never a value.
    pub(crate) detail: String,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    reason: &'a str,
}

/// Without a page that says more of each, the type is this one (RFC 9457, section 4.2.1).
const BLANK: &str = "about:blank";
const MEDIA_TYPE: header::HeaderValue = header::HeaderValue::from_static("application/problem+json");
/// Nothing that is answered here is for anybody's cache.
pub(crate) const NO_STORE: header::HeaderValue = header::HeaderValue::from_static("no-store");
/// When it makes sense to ask for something again that is not there yet.
const RETRY_AFTER: header::HeaderValue = header::HeaderValue::from_static("1");

impl Problem {
    pub(crate) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self { status, reason, detail: detail.into() }
    }
}

impl From<Problem> for Response<Full<Bytes>> {
    fn from(problem: Problem) -> Self {
        let body = Body {
            kind: BLANK,
            title: problem.status.canonical_reason().unwrap_or_default(),
            status: problem.status.as_u16(),
            detail: &problem.detail,
            reason: problem.reason,
        };
        let mut response = Response::new(Full::from(serde_json::to_vec(&body).unwrap_or_default()));
        *response.status_mut() = problem.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        match problem.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            _ => {}
        }
        response
    }
}
