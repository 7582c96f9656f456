//! A database engine's static role: a user that exists in the database, whose password Vault changes. Its version is the time
//! at which it did so last; there is one version at a time.
//!
//! Source: the API documentation of the database secrets engine, "Get static credentials".

use std::{collections::BTreeMap, sync::Arc};

use leasehold_core::{
    SecretBytes, SecretValue, Timestamp,
    provider::{Change, ChangeSecret, ErrorClass, Fetch, Fetched, ProviderError, VersionFacts, VersionState},
    secret::VersionId,
};
use serde_json::value::RawValue;

use crate::{
    endpoint::Raw,
    error::{Call, Kind},
    reference::Reference,
    server::Ask,
    standing::Standing,
};

/// One static role.
pub(crate) struct StaticRole<'a> {
    pub(crate) standing: &'a Arc<Standing>,
    pub(crate) reference: Reference<'a>,
    pub(crate) name: &'a str,
}

/// What is said of a credential beside it.
const ABOUT: [&str; 5] =
    ["last_vault_rotation", "rotation_period", "rotation_schedule", "rotation_window", "ttl"];

impl StaticRole<'_> {
    pub(crate) async fn fetch(&self, request: &Fetch<'_>) -> Result<Fetched, ProviderError> {
        let call = self.call("read");
        let asked = request.version.map(checked).transpose()?;
        let fetched = self.read(call).await?;
        if asked.is_some_and(|asked| *asked != fetched.version) {
            let why = "Vault has changed the password since: there is only the current one";
            return Err(call.error(ErrorClass::Absent, why));
        }
        Ok(fetched)
    }

    pub(crate) async fn versions(&self) -> Result<Vec<VersionFacts>, ProviderError> {
        let fetched = self.read(self.call("list the versions of")).await?;
        Ok(vec![VersionFacts {
            version: fetched.version,
            created_at: fetched.created_at,
            state: VersionState::Enabled,
            current: true,
            labels: Vec::new(),
        }])
    }

    /// What was before is gone already, with the password; what is cannot be taken away.
    pub(crate) async fn change(&self, request: &ChangeSecret<'_>) -> Result<(), ProviderError> {
        let call = self.call(request.change.as_str());
        let (Change::Disable | Change::Destroy, Some(version)) = (request.change, request.version) else {
            return Err(
                call.error(ErrorClass::Permanent, "of a static role, Vault keeps only what is current")
            );
        };
        let version = checked(version)?;
        if self.read(call).await?.version != *version {
            return Ok(());
        }
        let why = format!("version {version} is the current one: have Vault rotate it");
        Err(call.error(ErrorClass::Invalid, why))
    }

    async fn read(&self, call: Call<'_>) -> Result<Fetched, ProviderError> {
        let wrap = self.standing.server.config.wrap_ttl;
        let request = Raw::get(self.reference.data_path());
        let reply = self.standing.ask(&request, Ask { wrap, ..Ask::repeatable(call, None) }).await;
        let reply = reply.map_err(|failure| failure.into_error(call))?;
        let data: Box<RawValue> = reply.data().ok_or_else(|| call.odd())?;
        let data: BTreeMap<String, &RawValue> = serde_json::from_str(data.get()).map_err(|_| call.odd())?;
        let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
        let rotated = data.get("last_vault_rotation").and_then(|raw| text(raw)?.parse::<Timestamp>().ok());
        let rotated = rotated.ok_or_else(|| call.odd())?;
        let mut fields = BTreeMap::new();
        for (name, raw) in data.iter().filter(|(name, _)| !ABOUT.contains(&name.as_str())) {
            let Some(value) = text(raw) else { continue };
            fields.insert(name.parse().map_err(|_| call.odd())?, SecretBytes::from(value));
        }
        if fields.is_empty() {
            return Err(call.odd());
        }
        Ok(Fetched {
            value: SecretValue { fields, content_type: SecretValue::TEXT.into() },
            version: rotated.to_string().parse().map_err(|_| call.odd())?,
            // A user that Vault took over as it was has a password of unknown age.
            created_at: Some(rotated).filter(|at| *at > Timestamp::UNIX_EPOCH),
        })
    }

    fn call(&self, verb: &'static str) -> Call<'_> {
        Call { kind: Kind::Secret, verb, on: self.name }
    }
}

/// A version, when it can be one of a static role.
fn checked(version: &VersionId) -> Result<&VersionId, ProviderError> {
    match version.as_str().parse::<Timestamp>() {
        Ok(at) if at.to_string() == version.as_str() => Ok(version),
        _ => Err(ProviderError::new(
            ErrorClass::Invalid,
            format!(
                "`{version}` is not a version of a static role: that is the time of its rotation, in UTC"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_time_written_in_one_way() {
        let version = |text: &str| text.parse::<VersionId>().unwrap();
        assert!(checked(&version("2026-11-22T18:15:00.525302Z")).is_ok());
        for bad in ["1", "2026-11-22", "2026-11-22T18:15:00.5253020Z", "2026-11-22T19:15:00+01:00"] {
            assert_eq!(checked(&version(bad)).unwrap_err().class, ErrorClass::Invalid, "{bad}");
        }
    }
}
