//! What Vault and OpenBao answer when no server can be brought to it on demand, written from their public API
//! documentation: <https://openbao.org/api-docs/>, <https://developer.hashicorp.com/vault/api-docs>.

use serde_json::{Value, json};

use super::{Answer, Reply, Request};

/// An answer in the envelope that all of them have (API overview).
pub fn data(data: &Value) -> Answer {
    Answer::of(200, &envelope(&json!({ "data": data })))
}

/// An answer that holds a token (`auth/*/login`, `auth/token/create`).
pub fn token(token: &str, accessor: &str, seconds: u64) -> Answer {
    let auth = json!({
        "client_token": token,
        "accessor": accessor,
        "policies": ["default"],
        "token_policies": ["default"],
        "metadata": null,
        "lease_duration": seconds,
        "renewable": true,
        "entity_id": "",
        "token_type": "service",
        "orphan": true,
        "num_uses": 0,
    });
    Answer::of(200, &envelope(&json!({ "auth": auth })))
}

/// An answer with a lease (`database/creds/:name` and its like).
pub fn leased(lease: &str, seconds: u64, data: &Value) -> Answer {
    let whole = json!({ "lease_id": lease, "lease_duration": seconds, "renewable": true, "data": data });
    Answer::of(200, &envelope(&whole))
}

/// A refusal (API overview, "HTTP status codes").
pub fn refusal(status: u16, error: &str) -> Answer {
    Answer::of(status, &json!({ "errors": [error] }))
}

/// `sys/health` of an active node.
pub fn healthy() -> Answer {
    Answer::of(200, &json!({ "initialized": true, "sealed": false, "standby": false, "version": "2.7.2" }))
}

/// `auth/token/lookup-self` of a token that ends in an hour.
pub fn looked_up() -> Answer {
    data(&json!({ "ttl": 3600, "renewable": true, "policies": ["default"], "accessor": "a" }))
}

/// A version of KV version 2 (`GET :mount/data/:path`).
pub fn kv_version(version: u64, value: &Value) -> Answer {
    data(&json!({ "data": value, "metadata": {
        "created_time": "2026-11-22T10:00:00.123456789Z",
        "custom_metadata": null,
        "deletion_time": "",
        "destroyed": false,
        "version": version,
    }}))
}

/// A server that knows every token, and of which every path holds the same value, in both versions of KV.
pub fn kv_of_one_value(request: &Request, _before: u64) -> Reply {
    let value = json!({ "value": "hunter2" });
    Reply::Answer(match (request.method(), request.path()) {
        (_, "/v1/auth/token/lookup-self") => looked_up(),
        ("GET", path) if path.contains("/data/") => kv_version(1, &value),
        ("GET", _) => data(&value),
        (_, path) if path.contains("/data/") => data(&json!({ "version": 2 })),
        _ => Answer::empty(204),
    })
}

fn envelope(of: &Value) -> Value {
    let mut whole = json!({
        "request_id": "ecc3a7cb-e125-9419-03fb-64dc092f1af8",
        "lease_id": "",
        "lease_duration": 0,
        "renewable": false,
        "data": null,
        "auth": null,
        "warnings": null,
        "wrap_info": null,
    });
    if let (Some(whole), Some(of)) = (whole.as_object_mut(), of.as_object()) {
        whole.extend(of.clone());
    }
    whole
}
