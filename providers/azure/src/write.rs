//! How a version is written, once, by a back end that has neither tokens nor conditions.
//!
//! The token's digest is a tag of the version, looked for before anything is written. A condition is compared before: of
//! this broker's writers one at a time does so, but nothing stops somebody else between the look and the write.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use leasehold_core::{
    provider::{ErrorClass, ProviderError, Stage, WriteVersion},
    secret::VersionId,
};

use crate::{
    client::{Listed, Tags, Vault},
    failure::Failure,
    provider::{AzureProvider, checked, version_id},
    reference::Reference,
    value::{Held, encode},
};

/// The tag that holds the digest of a write's token.
const TOKEN: &str = "leasehold-token";
/// The most tags that a version has.
const MAX_TAGS: usize = 15;

/// What came of a write.
enum Written {
    /// This version, now or before.
    Version(String),
    /// The token was used for another value.
    Reused(String),
    /// The token was used for a version that cannot be compared, because it is disabled.
    Hidden(String),
    /// Another version is current.
    Conflict(Option<String>),
}

impl AzureProvider {
    pub(crate) async fn write_version(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        let what = format!("writing `{}`", request.reference);
        let vault = self.vault()?;
        if !self.config.writable {
            return Err(ProviderError::unsupported("be written: its `writable` is not set"));
        }
        let reference = Reference::parse(request.reference)?;
        let invalid = |why: String| Err(ProviderError::new(ErrorClass::Invalid, format!("{what}: {why}")));
        if request.stage == Stage::Pending {
            return Err(ProviderError::unsupported("keep a pending version: what is written is current"));
        }
        if reference.pinned.is_some() {
            return invalid(
                "its `ref` is pinned to a version, so that a new one would not be read".to_owned(),
            );
        }
        let held = encode(request.value)?;
        let expected = request.expected.map(checked).transpose()?;
        let tag = HEXLOWER.encode(digest(&SHA256, request.token.as_bytes()).as_ref());
        let _turn = match self.turn(reference.name) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let written = self.attempts.run(|| self.write_once(vault, reference.name, &held, &tag, expected));
        match written.await.map_err(|failure| failure.during(&what))? {
            Written::Version(version) => version_id(&version, &what),
            Written::Reused(version) => {
                invalid(format!("the token was used for another value, the version {version}"))
            }
            Written::Hidden(version) => invalid(format!(
                "the token was used before, for the version {version}, which is disabled: use another token"
            )),
            Written::Conflict(current) => invalid(format!(
                "it is at version {}, not at {}",
                current.as_deref().unwrap_or("none"),
                expected.unwrap_or("none")
            )),
        }
    }

    /// Can be tried again as a whole: a version that was made and not answered is found by its tag.
    async fn write_once(
        &self,
        vault: &dyn Vault,
        name: &str,
        held: &Held,
        tag: &str,
        expected: Option<&str>,
    ) -> Result<Written, Failure> {
        let listed = vault.versions(name).await?;
        let has_tag = |version: &&Listed| version.tags.get(TOKEN).is_some_and(|value| value == tag);
        if let Some(before) = listed.iter().find(has_tag) {
            let version = before.version.clone();
            return match vault.read(name, Some(&version)).await {
                Ok(read) if read.held.text.expose() == held.text.expose() => Ok(Written::Version(version)),
                Ok(_) => Ok(Written::Reused(version)),
                Err(failure) if failure.is_disabled() => Ok(Written::Hidden(version)),
                Err(failure) => Err(failure),
            };
        }
        let current = self.latest(name, &listed).await?;
        if expected.is_some() && current.as_deref() != expected {
            return Ok(Written::Conflict(current));
        }
        let before = listed.iter().find(|version| Some(&version.version) == current.as_ref());
        let mut tags: Tags = before.map(|version| version.tags.clone()).unwrap_or_default();
        tags.remove(TOKEN);
        if tags.len() >= MAX_TAGS {
            // Rather without somebody's labels than not written.
            tags.clear();
        }
        tags.insert(TOKEN.to_owned(), tag.to_owned());
        vault.set(name, held.clone(), tags).await.map(Written::Version)
    }
}
