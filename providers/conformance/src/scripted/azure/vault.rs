//! The vault: what it asks first, and what it answers.

use serde_json::{Value, json};

use super::{API_VERSION, EPOCH, Passing, Secret, State, TENANT, VAULT_HOST, VAULT_SCOPE, Version};
use crate::scripted::{Answer, Request};

/// The most characters of a value.
const LONGEST: usize = 25_600;

pub(super) fn answer(state: &mut State, request: &Request) -> Answer {
    let date = state.date.clone();
    let answer = judged(state, request);
    date.into_iter().fold(answer, |answer, date| answer.header("date", date))
}

fn judged(state: &mut State, request: &Request) -> Answer {
    if let Some(challenge) = challenge(state, request) {
        return challenge;
    }
    if state.firewall {
        return error(
            403,
            "Forbidden",
            "Client address is not authorized: canary-address",
            Some("ForbiddenByFirewall"),
        );
    }
    if request.query("api-version").as_deref() != Some(API_VERSION) {
        return error(400, "BadParameter", "The specified version is not recognized", None);
    }
    let segments = request.segments();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let name = parts.get(1).copied().unwrap_or_default();
    if !(1..=127).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return error(400, "BadParameter", "The request URI contains an invalid name", None);
    }
    let operation = match (request.method(), parts.as_slice()) {
        ("GET", ["secrets", _, "versions"]) => "list",
        ("GET", ["secrets" | "deletedsecrets", ..]) => "get",
        ("PUT" | "PATCH", _) => "set",
        ("DELETE", ["secrets", _]) => "delete",
        ("DELETE", _) => "purge",
        ("POST", _) => "recover",
        _ => return error(405, "MethodNotAllowed", "The method is not allowed", None),
    };
    if state.forbidden.contains(operation) {
        let message =
            format!("Caller is not authorized to perform action on resource: canary-caller of {TENANT}");
        return error(403, "Forbidden", &message, Some("ForbiddenByRbac"));
    }
    match (request.method(), parts.as_slice()) {
        ("GET", ["secrets", _, "versions"]) => versions(state, request, name),
        ("GET", ["secrets", _] | ["secrets", _, ""]) => get(state, name, None),
        ("GET", ["secrets", _, version]) => get(state, name, Some(version)),
        ("PUT", ["secrets", _]) => set(state, request, name),
        ("PATCH", ["secrets", _, version]) => update(state, request, name, version),
        ("DELETE", ["secrets", _]) => delete(state, name),
        ("GET", ["deletedsecrets", _]) => get_deleted(state, name),
        ("POST", ["deletedsecrets", _, "recover"]) => recover(state, name),
        ("DELETE", ["deletedsecrets", _]) => purge(state, name),
        _ => error(404, "NotFound", "There is nothing here", None),
    }
}

/// Nothing is answered without a token for vaults.
fn challenge(state: &State, request: &Request) -> Option<Answer> {
    let token = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
    if token.is_some_and(|token| state.tokens.get(token).is_some_and(|scope| scope == VAULT_SCOPE)) {
        return None;
    }
    let authority = &state.authority;
    let ours =
        || format!(r#"Bearer authorization="{authority}/{TENANT}", resource="https://vault.azure.net""#);
    let message = match token {
        None => "AKV10000: Request is missing a Bearer or PoP token.",
        Some(_) => "AKV10022: Invalid audience. Expected https://vault.azure.net, found: canary-audience.",
    };
    let challenge = state.challenge.clone().unwrap_or_else(ours);
    Some(error(401, "Unauthorized", message, None).header("www-authenticate", challenge))
}

fn get(state: &mut State, name: &str, version: Option<&str>) -> Answer {
    let Some(secret) = live(state, name) else { return not_found(name) };
    let found = match version {
        None => secret.versions.last(),
        Some(id) => secret.versions.iter().find(|version| version.id == id),
    };
    match found {
        None => not_found(name),
        Some(version) if !version.enabled => error(
            403,
            "Forbidden",
            "Operation get is not allowed on a disabled secret.",
            Some("SecretDisabled"),
        ),
        Some(version) => Answer::of(200, &bundle(secret, version, true)),
    }
}

fn set(state: &mut State, request: &Request, name: &str) -> Answer {
    let body = request.json();
    let Some(value) = body.get("value").and_then(Value::as_str) else {
        return error(400, "BadParameter", "Property value is required", None);
    };
    if value.chars().count() > LONGEST {
        return error(400, "BadParameter", "The value is too long", None);
    }
    if let Some(secret) = state.secrets.get_mut(&name.to_ascii_lowercase()) {
        pass(secret);
        let why = match secret.passing {
            Some((Passing::Deleting | Passing::Purging, _)) => Some("ObjectIsBeingDeleted"),
            Some((Passing::Recovering, _)) => Some("ObjectIsBeingRecovered"),
            None if secret.deleted => Some("ObjectIsDeletedButRecoverable"),
            None => None,
        };
        if let Some(why) = why {
            return error(409, "Conflict", &format!("Secret {name} cannot be made now."), Some(why));
        }
    }
    let content_type = body.get("contentType").and_then(Value::as_str).map(str::to_owned);
    let tags = body.get("tags").filter(|tags| tags.is_object()).cloned().unwrap_or_else(|| json!({}));
    if tags.as_object().is_some_and(|tags| tags.len() > 15) {
        return error(400, "BadParameter", "There are more than 15 tags", None);
    }
    let id = state.put(name, value.to_owned(), content_type, tags);
    get(state, name, Some(&id))
}

fn update(state: &mut State, request: &Request, name: &str, version: &str) -> Answer {
    let body = request.json();
    let Some(secret) = live_mut(state, name) else { return not_found(name) };
    let (shown, known) = (secret.clone(), secret.versions.iter_mut().find(|known| known.id == version));
    let Some(known) = known else { return not_found(name) };
    if let Some(enabled) = body.pointer("/attributes/enabled").and_then(Value::as_bool) {
        known.enabled = enabled;
    }
    Answer::of(200, &bundle(&shown, known, false))
}

fn versions(state: &mut State, request: &Request, name: &str) -> Answer {
    let from = request.query("$skiptoken").and_then(|text| text.parse().ok()).unwrap_or(0_usize);
    let (page, link) = (state.page, state.next_link.clone());
    let secret = live(state, name).cloned().unwrap_or_default();
    // In the order of the ids, which is none.
    let mut ordered = secret.versions.clone();
    ordered.sort_by(|one, other| one.id.cmp(&other.id));
    let items: Vec<_> =
        ordered.iter().skip(from).take(page).map(|version| properties(&secret, version)).collect();
    let next = from.saturating_add(items.len());
    let more = next < ordered.len();
    let ours =
        format!("https://{VAULT_HOST}/secrets/{name}/versions?api-version={API_VERSION}&$skiptoken={next}");
    let next_link = if more { Value::from(link.unwrap_or(ours)) } else { Value::Null };
    Answer::of(200, &json!({ "value": items, "nextLink": next_link }))
}

fn delete(state: &mut State, name: &str) -> Answer {
    let lag = state.lag;
    let Some(secret) = live_mut(state, name) else { return not_found(name) };
    secret.deleted = true;
    secret.passing = (lag > 0).then_some((Passing::Deleting, lag));
    Answer::of(200, &deleted(secret))
}

fn get_deleted(state: &mut State, name: &str) -> Answer {
    let key = name.to_ascii_lowercase();
    let Some(secret) = state.secrets.get_mut(&key) else { return not_found(name) };
    let purging = matches!(secret.passing, Some((Passing::Purging, _)));
    pass(secret);
    let over = secret.passing.is_none();
    if purging && over {
        state.secrets.remove(&key);
        return not_found(name);
    }
    match secret.passing {
        Some((Passing::Deleting, _)) => not_found(name),
        _ if !secret.deleted => not_found(name),
        _ => Answer::of(200, &deleted(secret)),
    }
}

fn recover(state: &mut State, name: &str) -> Answer {
    let lag = state.lag;
    let Some(secret) = state.secrets.get_mut(&name.to_ascii_lowercase()).filter(|secret| secret.deleted)
    else {
        return not_found(name);
    };
    secret.deleted = false;
    secret.passing = (lag > 0).then_some((Passing::Recovering, lag));
    let Some(version) = secret.versions.last() else { return not_found(name) };
    Answer::of(200, &bundle(secret, version, false))
}

fn purge(state: &mut State, name: &str) -> Answer {
    let (lag, key) = (state.lag, name.to_ascii_lowercase());
    let Some(secret) = state.secrets.get_mut(&key).filter(|secret| secret.deleted) else {
        return not_found(name);
    };
    if lag > 0 {
        secret.passing = Some((Passing::Purging, lag));
    } else {
        state.secrets.remove(&key);
    }
    Answer::empty(204)
}

/// The secret, when it is neither deleted nor on its way back.
fn live<'s>(state: &'s mut State, name: &str) -> Option<&'s Secret> {
    live_mut(state, name).map(|secret| &*secret)
}

fn live_mut<'s>(state: &'s mut State, name: &str) -> Option<&'s mut Secret> {
    let secret = state.secrets.get_mut(&name.to_ascii_lowercase())?;
    pass(secret);
    (!secret.deleted && secret.passing.is_none()).then_some(secret)
}

/// Somebody looks: what goes on behind the answers comes nearer to its end.
fn pass(secret: &mut Secret) {
    secret.passing = secret.passing.and_then(|(what, left)| Some((what, left.checked_sub(1)?)));
}

fn bundle(secret: &Secret, version: &Version, with_value: bool) -> Value {
    let value = with_value.then(|| ("value", json!(version.value)));
    with(properties(secret, version), value)
}

fn properties(secret: &Secret, version: &Version) -> Value {
    let attributes = json!({
        "enabled": version.enabled,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
    });
    let times = [("nbf", version.not_before), ("exp", version.expires)];
    let times = times.into_iter().filter_map(|(name, time)| Some((name, json!(time?))));
    let properties = json!({
        "id": format!("https://{VAULT_HOST}/secrets/{}/{}", secret.name, version.id),
        "attributes": with(attributes, times),
        "tags": version.tags,
    });
    with(properties, version.content_type.as_ref().map(|text| ("contentType", json!(text))))
}

fn deleted(secret: &Secret) -> Value {
    let latest =
        secret.versions.last().map(|version| properties(secret, version)).unwrap_or_else(|| json!({}));
    with(
        latest,
        [
            ("recoveryId", json!(format!("https://{VAULT_HOST}/deletedsecrets/{}", secret.name))),
            ("deletedDate", json!(EPOCH)),
            ("scheduledPurgeDate", json!(EPOCH.saturating_add(90 * 86_400))),
        ],
    )
}

/// An object with more in it.
fn with(object: Value, more: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let Value::Object(mut object) = object else { return object };
    object.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Value::Object(object)
}

fn not_found(name: &str) -> Answer {
    let message = format!("A secret with (name/id) {name} was not found in this key vault.");
    error(404, "SecretNotFound", &message, None)
}

fn error(status: u16, code: &str, message: &str, inner: Option<&str>) -> Answer {
    let error = json!({ "code": code, "message": message });
    let error = with(error, inner.map(|inner| ("innererror", json!({ "code": inner }))));
    Answer::of(status, &json!({ "error": error }))
}
