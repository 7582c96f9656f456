//! What Google Cloud answers, written from its public API documentation:
//! <https://cloud.google.com/secret-manager/docs/reference/rest>,
//! <https://cloud.google.com/iam/docs/reference/credentials/rest>,
//! <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>,
//! <https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys>,
//! <https://cloud.google.com/apis/design/errors>.
//!
//! Stateful: what is added is read, with its checksum, its etag and its state. What is wrong with it is said beforehand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::{Answer, Reply, Request};

/// Secret Manager, IAM's credentials service, a token service and a metadata server, in one. Clones are the same one.
#[derive(Clone, Default)]
pub struct Cloud {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    secrets: BTreeMap<String, Secret>,
    accepted: Option<BTreeSet<String>>,
    granted: String,
    denied: BTreeSet<String>,
    date: Option<String>,
    damaged: bool,
    etags: u64,
    extended: bool,
    page: usize,
}

#[derive(Default)]
struct Secret {
    versions: Vec<Version>,
    aliases: BTreeMap<String, u64>,
    late: bool,
}

struct Version {
    data: Vec<u8>,
    state: Standing,
    etag: u64,
    scheduled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Enabled,
    Disabled,
    Destroyed,
}

/// The project's number, by which answers name it.
pub const PROJECT_NUMBER: &str = "123456789012";

impl Cloud {
    /// An empty one that takes whatever token it is shown.
    pub fn new() -> Self {
        let cloud = Self::default();
        cloud.state().granted = "granted-1".to_owned();
        cloud
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a version to a secret by its name (`projects/P/secrets/S`), which is made when it is not there.
    pub fn put(&self, secret: &str, data: &[u8]) -> u64 {
        let mut state = self.state();
        let etag = state.next_etag();
        let version = Version { data: data.to_vec(), state: Standing::Enabled, etag, scheduled: false };
        let versions = &mut state.secrets.entry(secret.to_owned()).or_default().versions;
        versions.push(version);
        count(versions)
    }

    /// Gives a version an alias.
    pub fn alias(&self, secret: &str, alias: &str, version: u64) {
        let mut state = self.state();
        let secret = state.secrets.entry(secret.to_owned()).or_default();
        secret.aliases.insert(alias.to_owned(), version);
    }

    /// Makes what is destroyed of a secret wait (`versionDestroyTtl`).
    pub fn destroy_late(&self, secret: &str) {
        self.state().secrets.entry(secret.to_owned()).or_default().late = true;
    }

    /// Disables or enables a version behind everybody's back.
    pub fn enable(&self, secret: &str, version: u64, enabled: bool) {
        let mut state = self.state();
        let etag = state.next_etag();
        if let Some(version) = state.version_mut(secret, version) {
            version.state = if enabled { Standing::Enabled } else { Standing::Disabled };
            version.etag = etag;
        }
    }

    /// Deletes a secret; gives its versions' values, to be put back.
    pub fn delete(&self, secret: &str) -> Vec<Vec<u8>> {
        let gone = self.state().secrets.remove(secret);
        gone.into_iter().flat_map(|secret| secret.versions).map(|version| version.data).collect()
    }

    /// How many versions a secret has.
    pub fn count(&self, secret: &str) -> u64 {
        self.state().secrets.get(secret).map_or(0, |secret| count(&secret.versions))
    }

    /// From now on only this token is good.
    pub fn accept_only(&self, token: &str) {
        self.state().accepted = Some(BTreeSet::from([token.to_owned()]));
    }

    /// From now on the token service and the metadata server give this token, and only it is good.
    pub fn grant(&self, token: &str) {
        self.accept_only(token);
        self.state().granted = token.to_owned();
    }

    /// Takes a permission away, such as `secretmanager.versions.access`, or gives it back.
    pub fn permit(&self, permission: &str, permitted: bool) {
        let denied = &mut self.state().denied;
        if permitted {
            denied.remove(permission);
        } else {
            denied.insert(permission.to_owned());
        }
    }

    /// What it says the time is, in its `Date`.
    pub fn date(&self, date: Option<&str>) {
        self.state().date = date.map(str::to_owned);
    }

    /// Damages every payload on its way, or no more.
    pub fn damage(&self, damaged: bool) {
        self.state().damaged = damaged;
    }

    /// Allows access tokens of up to 12 hours, as an organisation can.
    pub fn extend(&self) {
        self.state().extended = true;
    }

    /// Lists so many versions a page, at most.
    pub fn page(&self, size: usize) {
        self.state().page = size;
    }

    /// What it answers.
    pub fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state();
        let mut answer = state.answer(request).unwrap_or_else(|refused| *refused);
        if let Some(date) = &state.date {
            answer = answer.header("date", date.clone());
        }
        Reply::Answer(answer)
    }
}

/// An error of Google's, by its `google.rpc.Code`, with details.
pub fn refusal(code: &str, message: &str, details: &[Value]) -> Answer {
    let status = match code {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => 400,
        "UNAUTHENTICATED" => 401,
        "PERMISSION_DENIED" => 403,
        "NOT_FOUND" => 404,
        "ABORTED" | "ALREADY_EXISTS" => 409,
        "RESOURCE_EXHAUSTED" => 429,
        "UNAVAILABLE" => 503,
        "DEADLINE_EXCEEDED" => 504,
        _ => 500,
    };
    Answer::of(
        status,
        &json!({ "error": { "code": status, "message": message, "status": code, "details": details } }),
    )
}

/// `google.rpc.ErrorInfo`.
pub fn error_info(reason: &str) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": { "service": "secretmanager.googleapis.com" },
    })
}

/// `google.rpc.RetryInfo`.
pub fn retry_info(seconds: u64) -> Value {
    json!({ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s") })
}

type Refused = Box<Answer>;

fn refused(code: &str, message: &str) -> Refused {
    Box::new(refusal(code, message, &[]))
}

impl State {
    fn next_etag(&mut self) -> u64 {
        self.etags = self.etags.saturating_add(1);
        self.etags
    }

    fn version_mut(&mut self, secret: &str, number: u64) -> Option<&mut Version> {
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        self.secrets.get_mut(secret)?.versions.get_mut(at)
    }

    fn answer(&mut self, request: &Request) -> Result<Answer, Refused> {
        let path = request.path().to_owned();
        match (request.method(), path.as_str()) {
            ("POST", "/token") => return Ok(self.exchange(request)),
            ("GET", path) if path.starts_with("/computeMetadata/v1/") => return Ok(self.metadata(request)),
            _ => {}
        }
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let good = match (&self.accepted, token) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(accepted), Some(token)) => accepted.contains(token),
        };
        if !good {
            let message = "Request had invalid authentication credentials. Expected OAuth 2 access token.";
            return Err(Box::new(refusal("UNAUTHENTICATED", message, &[error_info("ACCESS_TOKEN_EXPIRED")])));
        }
        let name = path.strip_prefix("/v1/").unwrap_or_default();
        let (name, verb) = name.split_once(':').unwrap_or((name, ""));
        if let Some(account) = name.strip_prefix("projects/-/serviceAccounts/") {
            return self.token(account, verb, request);
        }
        match (request.method(), name.split_once("/versions"), verb) {
            ("GET", Some((secret, "")), "") => self.list(secret, request),
            ("GET", Some((secret, version)), "") => self.get(secret, version, request),
            ("GET", Some((secret, version)), "access") => self.access(secret, version),
            ("POST", Some((secret, version)), "disable" | "enable" | "destroy") => {
                self.set(secret, version, verb, request)
            }
            ("GET", None, "") => self.secret(name),
            ("POST", None, "addVersion") => self.add(name, request),
            ("POST", None, "testIamPermissions") => Ok(self.permissions(name, request)),
            _ => Err(refused("NOT_FOUND", "no such method")),
        }
    }

    fn may(&self, permission: &str, resource: &str) -> Result<(), Refused> {
        if !self.denied.contains(permission) {
            return Ok(());
        }
        let message =
            format!("Permission '{permission}' denied for resource '{resource}' (or it may not exist).");
        Err(Box::new(refusal("PERMISSION_DENIED", &message, &[error_info("IAM_PERMISSION_DENIED")])))
    }

    fn find(&self, secret: &str, version: &str) -> Result<(u64, &Version), Refused> {
        let missing =
            || refused("NOT_FOUND", &format!("Secret [{secret}] or version [{version}] not found."));
        let known = self.secrets.get(secret).ok_or_else(missing)?;
        let version = version.trim_start_matches('/');
        let number = match version {
            "latest" => count(&known.versions),
            version => match version.parse() {
                Ok(number) => number,
                Err(_) => *known.aliases.get(version).ok_or_else(missing)?,
            },
        };
        let at = usize::try_from(number).ok().and_then(|at| at.checked_sub(1)).ok_or_else(missing)?;
        Ok((number, known.versions.get(at).ok_or_else(missing)?))
    }

    fn access(&self, secret: &str, version: &str) -> Result<Answer, Refused> {
        self.may("secretmanager.versions.access", secret)?;
        let (number, found) = self.find(secret, version)?;
        if found.state != Standing::Enabled {
            let state = if found.state == Standing::Disabled { "DISABLED" } else { "DESTROYED" };
            let message = format!("Secret Version [{}] is in {state} state.", name_of(secret, number));
            return Err(refused("FAILED_PRECONDITION", &message));
        }
        let mut data = found.data.clone();
        let sum = crc32c(&data).to_string();
        if self.damaged
            && let Some(last) = data.last_mut()
        {
            *last ^= 1;
        }
        let payload = json!({ "data": BASE64.encode(&data), "dataCrc32c": sum });
        Ok(Answer::of(200, &json!({ "name": name_of(secret, number), "payload": payload })))
    }

    fn get(&self, secret: &str, version: &str, request: &Request) -> Result<Answer, Refused> {
        self.may("secretmanager.versions.get", secret)?;
        let (number, found) = self.find(secret, version)?;
        Ok(Answer::of(200, &facts(secret, number, found, request)))
    }

    fn list(&self, secret: &str, request: &Request) -> Result<Answer, Refused> {
        self.may("secretmanager.versions.list", secret)?;
        let known = self.secrets.get(secret).ok_or_else(|| refused("NOT_FOUND", "Secret not found."))?;
        let asked = |name: &str| request.query(name).and_then(|text| text.parse::<usize>().ok());
        let size = asked("pageSize").filter(|size| *size > 0).unwrap_or(25_000);
        let size = if self.page == 0 { size } else { size.min(self.page) };
        let from = asked("pageToken").unwrap_or(0);
        let mut newest_first: Vec<_> = (1..).zip(&known.versions).collect();
        newest_first.reverse();
        let page = newest_first.iter().skip(from).take(size);
        let versions: Vec<_> =
            page.map(|(number, version)| facts(secret, *number, version, request)).collect();
        let next = from.saturating_add(versions.len());
        let mut body = json!({ "versions": versions, "totalSize": newest_first.len() });
        if let Some(body) = body.as_object_mut()
            && next < newest_first.len()
        {
            body.insert("nextPageToken".to_owned(), next.to_string().into());
        }
        Ok(Answer::of(200, &body))
    }

    fn secret(&self, secret: &str) -> Result<Answer, Refused> {
        self.may("secretmanager.secrets.get", secret)?;
        let known = self.secrets.get(secret).ok_or_else(|| refused("NOT_FOUND", "Secret not found."))?;
        let aliases: BTreeMap<_, _> =
            known.aliases.iter().map(|(alias, number)| (alias, number.to_string())).collect();
        let name = numbered(secret);
        Ok(Answer::of(200, &json!({ "name": name, "versionAliases": aliases, "etag": "\"1\"" })))
    }

    fn add(&mut self, secret: &str, request: &Request) -> Result<Answer, Refused> {
        self.may("secretmanager.versions.add", secret)?;
        let body = request.json();
        let payload = body.get("payload").cloned().unwrap_or_default();
        let text = |field: &str| payload.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let data = BASE64
            .decode(text("data").as_bytes())
            .map_err(|_| refused("INVALID_ARGUMENT", "payload.data is not base64"))?;
        if data.is_empty() || data.len() > 65_536 {
            return Err(refused("INVALID_ARGUMENT", "payload.data has 1 to 65536 bytes"));
        }
        if payload.get("dataCrc32c").is_some() && text("dataCrc32c") != crc32c(&data).to_string() {
            return Err(refused("INVALID_ARGUMENT", "payload.dataCrc32c does not match payload.data"));
        }
        let etag = self.next_etag();
        let known = self.secrets.get_mut(secret).ok_or_else(|| refused("NOT_FOUND", "Secret not found."))?;
        known.versions.push(Version { data, state: Standing::Enabled, etag, scheduled: false });
        let number = count(&known.versions);
        let (_, version) = self.find(secret, &number.to_string())?;
        Ok(Answer::of(200, &facts(secret, number, version, request)))
    }

    fn set(&mut self, secret: &str, version: &str, verb: &str, request: &Request) -> Result<Answer, Refused> {
        self.may(&format!("secretmanager.versions.{verb}"), secret)?;
        let (number, found) = self.find(secret, version)?;
        let body = request.json();
        let asked = body.get("etag").and_then(Value::as_str).unwrap_or_default();
        if !asked.is_empty() && asked != format!("\"{}\"", found.etag) {
            return Err(refused("FAILED_PRECONDITION", "The etag does not match the current etag."));
        }
        if found.state == Standing::Destroyed && verb != "destroy" {
            return Err(refused("FAILED_PRECONDITION", "The version is in DESTROYED state."));
        }
        let late = self.secrets.get(secret).is_some_and(|secret| secret.late);
        let etag = self.next_etag();
        if let Some(version) = self.version_mut(secret, number) {
            version.etag = etag;
            version.scheduled = verb == "destroy" && late;
            version.state = match verb {
                "enable" => Standing::Enabled,
                "destroy" if !late => Standing::Destroyed,
                _ => Standing::Disabled,
            };
            if version.state == Standing::Destroyed {
                version.data.clear();
            }
        }
        let (_, found) = self.find(secret, &number.to_string())?;
        Ok(Answer::of(200, &facts(secret, number, found, request)))
    }

    /// Of a secret that is not there, it says that nothing is permitted.
    fn permissions(&self, secret: &str, request: &Request) -> Answer {
        let body = request.json();
        let asked = body.get("permissions").and_then(Value::as_array).cloned().unwrap_or_default();
        let permitted: Vec<_> = asked
            .into_iter()
            .filter(|permission| {
                self.secrets.contains_key(secret)
                    && permission.as_str().is_some_and(|permission| !self.denied.contains(permission))
            })
            .collect();
        Answer::of(200, &json!({ "permissions": permitted }))
    }

    /// Never the same one twice.
    fn token(&mut self, account: &str, verb: &str, request: &Request) -> Result<Answer, Refused> {
        let body = request.json();
        let serial = self.next_etag();
        match verb {
            "generateAccessToken" => {
                self.may("iam.serviceAccounts.getAccessToken", account)?;
                let lifetime = body.get("lifetime").and_then(Value::as_str).unwrap_or("3600s");
                let seconds: i64 = lifetime.trim_end_matches('s').parse().unwrap_or(-1);
                let most = if self.extended { 43_200 } else { 3_600 };
                if !(1..=most).contains(&seconds) {
                    return Err(refused("INVALID_ARGUMENT", "The lifetime is not allowed."));
                }
                if body.get("scope").and_then(Value::as_array).is_none_or(Vec::is_empty) {
                    return Err(refused("INVALID_ARGUMENT", "Scope is missing."));
                }
                let end = now().saturating_add(Duration::seconds(seconds));
                let token = format!("ya29.scripted-{serial}");
                Ok(Answer::of(200, &json!({ "accessToken": token, "expireTime": rfc3339(end) })))
            }
            "generateIdToken" => {
                self.may("iam.serviceAccounts.getOpenIdToken", account)?;
                let audience = body.get("audience").cloned().unwrap_or_default();
                let end = now().saturating_add(Duration::hours(1)).unix_timestamp();
                let claims = json!({ "iss": "https://accounts.google.com", "aud": audience, "exp": end, "sub": serial.to_string() });
                let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
                let token = format!("{}.{}.c2lnbmF0dXJl", part(&json!({ "alg": "RS256" })), part(&claims));
                Ok(Answer::of(200, &json!({ "token": token })))
            }
            _ => Err(refused("NOT_FOUND", "no such method")),
        }
    }

    /// RFC 8693, as the Security Token Service has it.
    fn exchange(&self, request: &Request) -> Answer {
        let form = |name: &str| request.form(name).unwrap_or_default();
        let good = form("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange"
            && form("subject_token") == "subject-token"
            && form("audience").starts_with("//iam.googleapis.com/projects/");
        if !good {
            let body =
                json!({ "error": "invalid_grant", "error_description": "The subject token is not good." });
            return Answer::of(400, &body);
        }
        Answer::of(
            200,
            &json!({
                "access_token": self.granted, "expires_in": 3600, "token_type": "Bearer",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            }),
        )
    }

    fn metadata(&self, request: &Request) -> Answer {
        if request.header("metadata-flavor") != Some("Google") {
            return Answer::new(403, "text/html", "Missing Metadata-Flavor:Google header.");
        }
        let answer = match request.path() {
            "/computeMetadata/v1/instance/service-accounts/default/token" => Answer::of(
                200,
                &json!({ "access_token": self.granted, "expires_in": 3599, "token_type": "Bearer" }),
            ),
            "/computeMetadata/v1/universe/universe-domain" => {
                Answer::new(200, "text/plain", "googleapis.com")
            }
            _ => Answer::empty(404),
        };
        answer.header("metadata-flavor", "Google")
    }
}

/// A version as answers show it. States are numbers when the client asks for that.
fn facts(secret: &str, number: u64, version: &Version, request: &Request) -> Value {
    let (digit, name) = match version.state {
        Standing::Enabled => (1, "ENABLED"),
        Standing::Disabled => (2, "DISABLED"),
        Standing::Destroyed => (3, "DESTROYED"),
    };
    let digits = request.query("$alt").is_some_and(|alt| alt.contains("enum-encoding=int"));
    let mut facts = json!({
        "name": name_of(secret, number),
        "createTime": "2026-01-02T03:04:05.678901Z",
        "state": if digits { Value::from(digit) } else { Value::from(name) },
        "etag": format!("\"{}\"", version.etag),
        "replicationStatus": { "automatic": {} },
        "clientSpecifiedPayloadChecksum": true,
    });
    if let Some(facts) = facts.as_object_mut()
        && version.scheduled
    {
        facts.insert("scheduledDestroyTime".to_owned(), "2026-12-01T00:00:00Z".into());
    }
    facts
}

fn name_of(secret: &str, number: u64) -> String {
    format!("{}/versions/{number}", numbered(secret))
}

/// A name with the project's number in it instead of its id.
fn numbered(secret: &str) -> String {
    let rest = secret.splitn(3, '/').nth(2).unwrap_or_default();
    format!("projects/{PROJECT_NUMBER}/{rest}")
}

fn count(versions: &[Version]) -> u64 {
    u64::try_from(versions.len()).unwrap_or(u64::MAX)
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn rfc3339(at: OffsetDateTime) -> String {
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// CRC-32C (RFC 3720, appendix B.4), bit by bit: another one than the provider's.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0x82F6_3B78 } else { sum >> 1 },
        )
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(cloud: &Cloud, line: &str, body: &Value) -> (u16, Value) {
        let head = format!("{line} HTTP/1.1\r\nAuthorization: Bearer t\r\n");
        match cloud.answer(&Request { head, body: body.to_string().into_bytes() }) {
            Reply::Answer(answer) => {
                (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_checksum_is_the_one_of_the_rfc() {
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xff; 32]), 0x62A8_AB43);
    }

    #[test]
    fn what_is_added_is_read_until_it_is_disabled() {
        let cloud = Cloud::new();
        let secret = "projects/p/secrets/s";
        cloud.put(secret, b"one");
        let payload =
            json!({ "payload": { "data": BASE64.encode(b"two"), "dataCrc32c": crc32c(b"two").to_string() } });
        let (status, added) = ask(&cloud, &format!("POST /v1/{secret}:addVersion"), &payload);
        assert_eq!((status, &added["state"], &added["etag"]), (200, &json!("ENABLED"), &json!("\"2\"")));
        let latest = format!("/v1/{secret}/versions/latest");
        assert_eq!(ask(&cloud, &format!("GET {latest}:access"), &Value::Null).1["payload"]["data"], "dHdv");
        let stale = ask(&cloud, &format!("POST {latest}:disable"), &json!({ "etag": "\"1\"" }));
        assert_eq!(stale.1["error"]["status"], "FAILED_PRECONDITION");
        assert_eq!(ask(&cloud, &format!("POST {latest}:disable"), &json!({ "etag": "\"2\"" })).0, 200);
        assert_eq!(ask(&cloud, &format!("GET {latest}:access"), &Value::Null).0, 400);
        assert_eq!(cloud.count(secret), 2);
    }
}
