//! KV version 2: numbered versions, written with check-and-set, deleted softly or for good.

use std::{collections::BTreeMap, sync::Arc};

use leasehold_core::{
    SecretBytes, Timestamp,
    provider::{
        Change, ChangeSecret, ErrorClass, Fetch, Fetched, ProviderError, VersionFacts, VersionState,
        WriteVersion,
    },
    secret::VersionId,
};
use rustify::endpoint::Endpoint as Request;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use vaultrs::api::kv2::requests::{
    DeleteSecretMetadataRequest, DeleteSecretVersionsRequest, DestroySecretVersionsRequest,
    ReadSecretMetadataRequest, UndeleteSecretVersionsRequest,
};

use crate::{
    answer::{KvFacts, KvVersion, data_of_refusal},
    endpoint::Raw,
    error::{Call, Failure, Kind},
    reference::Reference,
    server::Ask,
    standing::Standing,
    value,
    written::{Known, Written},
};

/// One secret of an engine of version 2.
pub(crate) struct Kv2<'a> {
    pub(crate) standing: &'a Arc<Standing>,
    pub(crate) reference: Reference<'a>,
    pub(crate) name: &'a str,
}

/// What is found under a name.
enum Found {
    /// A value.
    Value(Box<RawValue>, KvFacts),
    /// A version without one.
    Gone(KvFacts),
    /// Nothing.
    Nothing,
}

/// What KV keeps of a secret besides its values.
#[derive(Deserialize)]
struct Metadata {
    current_version: u64,
    #[serde(default)]
    versions: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    created_time: String,
    deletion_time: String,
    destroyed: bool,
}

/// How often a write that expects nothing is tried against others that write at the same time.
const RACES: u32 = 8;

impl Kv2<'_> {
    pub(crate) async fn fetch(&self, request: &Fetch<'_>) -> Result<Fetched, ProviderError> {
        let call = self.call("read");
        let asked = request.version.map(number).transpose()?;
        match self.read(call, asked).await? {
            Found::Value(object, facts) => Ok(Fetched {
                value: value::decode(&object, self.reference.format),
                version: id(facts.version)?,
                created_at: facts.created_time.parse().ok(),
            }),
            Found::Gone(facts) => {
                let state = match facts.destroyed {
                    true => "destroyed",
                    false => "deleted (it can be undeleted)",
                };
                Err(call.error(ErrorClass::Absent, format!("version {} is {state}", facts.version)))
            }
            Found::Nothing => Err(call.error(
                ErrorClass::Absent,
                match asked {
                    Some(number) => format!("there is no version {number}"),
                    None => "there is no such secret".to_owned(),
                },
            )),
        }
    }

    pub(crate) async fn versions(&self) -> Result<Vec<VersionFacts>, ProviderError> {
        let metadata = self.metadata(self.call("list the versions of")).await?;
        let now = self.standing.server.clock.now();
        let mut versions: Vec<_> = metadata
            .versions
            .iter()
            .filter_map(|(number, entry)| Some((number.parse::<u64>().ok()?, entry)))
            .collect();
        versions.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        versions
            .into_iter()
            .map(|(number, entry)| {
                Ok(VersionFacts {
                    version: id(number)?,
                    created_at: entry.created_time.parse().ok(),
                    state: entry.state(now),
                    current: number == metadata.current_version,
                    labels: Vec::new(),
                })
            })
            .collect()
    }

    pub(crate) async fn write(
        &self,
        request: &WriteVersion<'_>,
        written: &Written,
    ) -> Result<VersionId, ProviderError> {
        let call = self.call("write");
        let object = value::encode(request.value)?;
        let path = self.reference.data_path();
        let known = written.recall(request.token, &path, &written.digest(&path, &object));
        match known {
            Known::Other => {
                return Err(call.error(ErrorClass::Invalid, "the token was used for another value"));
            }
            Known::Same(Some(version)) => return id(version),
            Known::Same(None) | Known::Unknown => {}
        }
        let result = match request.expected {
            Some(expected) => self.write_after(call, &object, number(expected)?).await,
            None => self.write_anyhow(call, &object).await,
        };
        match &result {
            Ok(version) => written.became(request.token, *version),
            Err(error) if !error.class.is_retryable() => written.forget(request.token),
            Err(_) => {}
        }
        result.and_then(id)
    }

    /// Writes whatever is there, unless it is this value already: then a write before this one has been done.
    async fn write_anyhow(&self, call: Call<'_>, object: &SecretBytes) -> Result<u64, ProviderError> {
        let mut races = 0;
        loop {
            let current = match self.read(call, None).await? {
                Found::Value(now, facts) if is_same(&now, object) => return Ok(facts.version),
                Found::Value(_, facts) | Found::Gone(facts) => facts.version,
                Found::Nothing => 0,
            };
            match self.put(call, object, current).await {
                Ok(version) => return Ok(version),
                Err(Failure::Refused(refusal)) if is_race(&refusal) && races < RACES => {
                    races = races.saturating_add(1);
                }
                Err(failure) => return Err(failure.into_error(call)),
            }
        }
    }

    /// Writes after a certain version. Vault refuses when it is not the current one: then this write has been done
    /// before, or somebody else has written.
    async fn write_after(
        &self,
        call: Call<'_>,
        object: &SecretBytes,
        expected: u64,
    ) -> Result<u64, ProviderError> {
        match self.put(call, object, expected).await {
            Ok(version) => Ok(version),
            Err(Failure::Refused(refusal)) if is_race(&refusal) => {
                let next = expected.saturating_add(1);
                match self.read(call, None).await? {
                    Found::Value(now, facts) if facts.version == next && is_same(&now, object) => Ok(next),
                    Found::Value(_, facts) | Found::Gone(facts) => Err(call.error(
                        ErrorClass::Invalid,
                        format!("it is at version {}, not at {expected}", facts.version),
                    )),
                    Found::Nothing => {
                        Err(call
                            .error(ErrorClass::Invalid, format!("it is at no version, not at {expected}")))
                    }
                }
            }
            Err(failure) => Err(failure.into_error(call)),
        }
    }

    /// One write with check-and-set, which makes it safe to repeat: the second one is refused.
    async fn put(&self, call: Call<'_>, object: &SecretBytes, after: u64) -> Result<u64, Failure> {
        #[derive(Deserialize)]
        struct Put {
            version: u64,
        }
        let mut body = br#"{"data":"#.to_vec();
        body.extend_from_slice(object.expose());
        body.extend_from_slice(format!(r#","options":{{"cas":{after}}}}}"#).as_bytes());
        let request = Raw::post_text(self.reference.data_path(), body.into());
        let reply = self.standing.ask(&request, Ask::repeatable(call, None)).await?;
        let put: Option<Put> = reply.data();
        put.map(|put| put.version).ok_or_else(|| Failure::Unanswered { error: call.odd(), sent: true })
    }

    pub(crate) async fn change(&self, request: &ChangeSecret<'_>) -> Result<(), ProviderError> {
        let call = self.call(request.change.as_str());
        if request.change == Change::Purge {
            return self.purge(call).await;
        }
        let metadata = self.metadata(call).await?;
        match request.version {
            Some(version) => self.change_version(call, request.change, number(version)?, &metadata).await,
            None => self.change_secret(call, request.change, &metadata).await,
        }
    }

    async fn change_version(
        &self,
        call: Call<'_>,
        change: Change,
        version: u64,
        metadata: &Metadata,
    ) -> Result<(), ProviderError> {
        let now = self.standing.server.clock.now();
        let state = match metadata.versions.get(&version.to_string()) {
            Some(entry) => entry.state(now),
            None => {
                return Err(call.error(ErrorClass::Absent, format!("there is no version {version}")));
            }
        };
        let current = version == metadata.current_version;
        match (change, state) {
            (Change::Destroy, VersionState::Destroyed)
            | (Change::Disable, VersionState::Disabled)
            | (Change::Enable, VersionState::Enabled) => Ok(()),
            (Change::Destroy | Change::Disable, _) if current => Err(call.error(
                ErrorClass::Invalid,
                format!("version {version} is the current one: write another first, or delete the secret"),
            )),
            (Change::Disable | Change::Enable, VersionState::Destroyed) => {
                Err(call.error(ErrorClass::Absent, format!("version {version} is destroyed")))
            }
            (Change::Destroy, _) => self.do_to(call, &self.destroy(vec![version])).await,
            (Change::Disable, _) => self.do_to(call, &self.delete(vec![version])).await,
            (Change::Enable, _) => self.do_to(call, &self.undelete(vec![version])).await,
            _ => Err(ProviderError::unsupported(change.as_str())),
        }
    }

    /// Deletes every version that can be read, or brings back those that were deleted with the current one: what was
    /// disabled before stays so.
    async fn change_secret(
        &self,
        call: Call<'_>,
        change: Change,
        metadata: &Metadata,
    ) -> Result<(), ProviderError> {
        let now = self.standing.server.clock.now();
        let current = metadata.versions.get(&metadata.current_version.to_string());
        let state = current.map_or(VersionState::Destroyed, |entry| entry.state(now));
        let those = |wanted: &dyn Fn(&Entry) -> bool| -> Vec<u64> {
            let some = metadata.versions.iter().filter(|(_, entry)| wanted(entry));
            let mut numbers: Vec<u64> = some.filter_map(|(number, _)| number.parse().ok()).collect();
            // The current one first, so that its deletion is the earliest of them.
            numbers.sort_by_key(|number| std::cmp::Reverse(*number));
            numbers
        };
        match (change, state) {
            (Change::Delete, VersionState::Enabled) => {
                let enabled = those(&|entry| entry.state(now) == VersionState::Enabled);
                self.do_to(call, &self.delete(enabled)).await
            }
            (Change::Delete, _) | (Change::Restore, VersionState::Enabled) => Ok(()),
            (Change::Restore, VersionState::Destroyed) => {
                Err(call.error(ErrorClass::Absent, "its current version is destroyed"))
            }
            (Change::Restore, _) => {
                let since = current.and_then(Entry::deleted_at);
                let deleted =
                    those(&|entry| entry.state(now) == VersionState::Disabled && entry.deleted_at() >= since);
                self.do_to(call, &self.undelete(deleted)).await
            }
            _ => Err(ProviderError::unsupported(change.as_str())),
        }
    }

    async fn purge(&self, call: Call<'_>) -> Result<(), ProviderError> {
        let metadata = match self.metadata(call).await {
            Err(error) if error.class == ErrorClass::Absent => return Ok(()),
            other => other?,
        };
        let now = self.standing.server.clock.now();
        let current = metadata.versions.get(&metadata.current_version.to_string());
        if current.is_some_and(|entry| entry.state(now) == VersionState::Enabled) {
            return Err(call.error(ErrorClass::Invalid, "it is not deleted: delete it first"));
        }
        let (mount, path) = self.place();
        self.do_to(call, &DeleteSecretMetadataRequest { mount, path }).await
    }

    async fn do_to<E: Request>(&self, call: Call<'_>, request: &E) -> Result<(), ProviderError> {
        let done = self.standing.ask(request, Ask::repeatable(call, None)).await;
        done.map(drop).map_err(|failure| failure.into_error(call))
    }

    async fn read(&self, call: Call<'_>, version: Option<u64>) -> Result<Found, ProviderError> {
        let request = Raw::get(self.reference.data_path());
        let request = match version {
            Some(version) => request.query(&BTreeMap::from([("version", version.to_string())])),
            None => request,
        };
        let wrap = self.standing.server.config.wrap_ttl;
        match self.standing.ask(&request, Ask { wrap, ..Ask::repeatable(call, None) }).await {
            Ok(reply) => {
                let version: KvVersion = reply.data().ok_or_else(|| call.odd())?;
                Ok(match version.data {
                    Some(object) if object.get() != "null" => Found::Value(object, version.metadata),
                    _ => Found::Gone(version.metadata),
                })
            }
            Err(Failure::Refused(refusal)) if refusal.status == 404 => {
                match data_of_refusal::<KvVersion>(&refusal) {
                    Some(version) => Ok(Found::Gone(version.metadata)),
                    None if refusal.is_vaults() && refusal.errors.is_empty() => Ok(Found::Nothing),
                    None => Err(Failure::Refused(refusal).into_error(call)),
                }
            }
            Err(failure) => Err(failure.into_error(call)),
        }
    }

    async fn metadata(&self, call: Call<'_>) -> Result<Metadata, ProviderError> {
        let (mount, path) = self.place();
        let request = ReadSecretMetadataRequest { mount, path };
        let reply = self.standing.ask(&request, Ask::repeatable(call, None)).await;
        reply.map_err(|failure| failure.into_error(call))?.data().ok_or_else(|| call.odd())
    }

    fn place(&self) -> (String, String) {
        (self.reference.mount.to_owned(), self.reference.path.to_owned())
    }

    fn delete(&self, versions: Vec<u64>) -> DeleteSecretVersionsRequest {
        let (mount, path) = self.place();
        DeleteSecretVersionsRequest { mount, path, versions }
    }

    fn undelete(&self, versions: Vec<u64>) -> UndeleteSecretVersionsRequest {
        let (mount, path) = self.place();
        UndeleteSecretVersionsRequest { mount, path, versions }
    }

    fn destroy(&self, versions: Vec<u64>) -> DestroySecretVersionsRequest {
        let (mount, path) = self.place();
        DestroySecretVersionsRequest { mount, path, versions }
    }

    fn call<'c>(&'c self, verb: &'c str) -> Call<'c> {
        Call { kind: Kind::Secret, verb, on: self.name }
    }
}

impl Entry {
    /// Vault says "deleted" of a version that can be undeleted: what the broker calls disabled. A deletion may lie ahead
    /// (`delete_version_after`).
    fn state(&self, now: Timestamp) -> VersionState {
        if self.destroyed {
            VersionState::Destroyed
        } else if self.deleted_at().is_some_and(|at| at <= now) {
            VersionState::Disabled
        } else {
            VersionState::Enabled
        }
    }

    fn deleted_at(&self) -> Option<Timestamp> {
        self.deletion_time.parse().ok()
    }
}

/// The number of a version.
fn number(version: &VersionId) -> Result<u64, ProviderError> {
    let text = version.as_str();
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    match text.parse() {
        Ok(number) if plain => Ok(number),
        _ => Err(ProviderError::new(
            ErrorClass::Invalid,
            format!("`{text}` is not a version of KV: those are numbers from 1 on"),
        )),
    }
}

fn id(number: u64) -> Result<VersionId, ProviderError> {
    let odd = |_| ProviderError::new(ErrorClass::Permanent, "a version's number is no version's id");
    number.to_string().parse().map_err(odd)
}

fn is_race(refusal: &crate::answer::Refusal) -> bool {
    refusal.status == 400 && refusal.says(&["check-and-set"])
}

/// Whether both objects have the same fields. Vault writes an object anew, so their texts may differ.
fn is_same(now: &RawValue, object: &SecretBytes) -> bool {
    let canonical = |text: &[u8]| {
        let object: BTreeMap<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
        serde_json::to_vec(&json!(object)).ok().map(SecretBytes::new)
    };
    match (canonical(now.get().as_bytes()), canonical(object.expose())) {
        (Some(now), Some(object)) => {
            aws_lc_rs::constant_time::verify_slices_are_equal(now.expose(), object.expose()).is_ok()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_from_one_on() {
        let parse = |text: &str| number(&text.parse().unwrap()).ok();
        assert_eq!((parse("1"), parse("18446744073709551615")), (Some(1), Some(u64::MAX)));
        for bad in ["0", "01", "-1", "+1", "1.0", "x", "18446744073709551616"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_deletion_ahead_is_none_yet() {
        let entry = |deletion_time: &str, destroyed| Entry {
            created_time: String::new(),
            deletion_time: deletion_time.into(),
            destroyed,
        };
        let now = "2026-11-22T11:00:00Z".parse().unwrap();
        for (deletion_time, destroyed, state) in [
            ("", false, VersionState::Enabled),
            ("2026-11-22T12:00:00.123456789Z", false, VersionState::Enabled),
            ("2026-11-22T10:00:00.123456789Z", false, VersionState::Disabled),
            ("2026-11-22T10:00:00Z", true, VersionState::Destroyed),
            ("", true, VersionState::Destroyed),
        ] {
            assert_eq!(entry(deletion_time, destroyed).state(now), state, "{deletion_time} {destroyed}");
        }
    }

    #[test]
    fn objects_are_compared_by_their_fields() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let object = |text: &str| text.to_owned().into();
        assert!(is_same(&raw(r#"{"b":"\u00e9","a":1}"#), &object(r#"{"a":1,"b":"é"}"#)));
        assert!(!is_same(&raw(r#"{"a":1}"#), &object(r#"{"a":"1"}"#)));
        assert!(!is_same(&raw("null"), &object("{}")));
    }
}
