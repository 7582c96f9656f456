//! Who gives tokens.

use serde_json::json;

use super::{CLIENT, CLIENT_SECRET, FEDERATED_TOKEN, State, TENANT, now};
use crate::scripted::{Answer, Request};

/// Entra ID's answer to an application (RFC 6749, sections 4.4 and 5.2).
pub(super) fn application(state: &mut State, request: &Request) -> Answer {
    let tenant = request.segments().first().cloned().unwrap_or_default();
    let secret = request.form("client_secret");
    let assertion = request.form("client_assertion");
    let scope = request.form("scope").unwrap_or_default();
    if let Some(number) = state.refusal {
        return refusal(if number == 7_000_215 { 401 } else { 400 }, "invalid_client", number);
    }
    if tenant != TENANT {
        return refusal(400, "invalid_request", 90_002);
    }
    if request.form("client_id").as_deref() != Some(CLIENT) {
        return refusal(400, "unauthorized_client", 700_016);
    }
    match (secret.as_deref(), assertion.as_deref()) {
        (Some(CLIENT_SECRET), None) | (None, Some(FEDERATED_TOKEN)) => {}
        (Some(_), _) => return refusal(401, "invalid_client", 7_000_215),
        (None, _) => return refusal(401, "invalid_client", 700_211),
    }
    if !scope.ends_with("/.default") || request.form("grant_type").as_deref() != Some("client_credentials") {
        return refusal(400, "invalid_scope", 1_002_012);
    }
    let token = state.mint(&scope);
    let life = state.token_life;
    Answer::of(
        200,
        &json!({ "token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token }),
    )
}

/// The answer of a machine's identity service. Its numbers are texts.
pub(super) fn machine(state: &mut State, request: &Request) -> Answer {
    let bad = |why: &str| Answer::of(400, &json!({ "error": "invalid_request", "error_description": why }));
    if request.header("metadata").is_none_or(|value| value != "true") {
        return bad("Required metadata header not specified");
    }
    let Some(resource) = request.query("resource") else { return bad("resource is missing") };
    if request.query("client_id").is_some_and(|client| client != CLIENT) {
        return bad("Identity not found");
    }
    let token = state.mint(&format!("{}/.default", resource.trim_end_matches('/')));
    let (life, end) = (state.token_life, now().saturating_add(state.token_life));
    Answer::of(
        200,
        &json!({
            "access_token": token,
            "client_id": CLIENT,
            "expires_in": life.to_string(),
            "expires_on": end.to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }),
    )
}

fn refusal(status: u16, error: &str, number: u32) -> Answer {
    Answer::of(
        status,
        &json!({
            "error": error,
            "error_description": format!("AADSTS{number}: canary-description of {TENANT}."),
            "error_codes": [number],
            "timestamp": "2026-11-22 10:00:00Z",
            "trace_id": "canary-trace",
            "correlation_id": "canary-correlation",
        }),
    )
}
