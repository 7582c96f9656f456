//! KV version 1: one value, no versions. A version's id is a digest under a key of this process, so that it changes with
//! the value and tells nothing of it.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use leasehold_core::{
    SecretBytes,
    provider::{ErrorClass, Fetch, Fetched, ProviderError, VersionFacts, VersionState, WriteVersion},
    secret::VersionId,
};
use serde_json::value::RawValue;

use crate::{
    endpoint::Raw,
    error::{Call, Kind},
    reference::Reference,
    server::Ask,
    standing::Standing,
    value,
    written::{Known, Written},
};

/// One secret of an engine of version 1.
pub(crate) struct Kv1<'a> {
    pub(crate) standing: &'a Arc<Standing>,
    pub(crate) reference: Reference<'a>,
    pub(crate) name: &'a str,
    pub(crate) written: &'a Written,
}

impl Kv1<'_> {
    pub(crate) async fn fetch(&self, request: &Fetch<'_>) -> Result<Fetched, ProviderError> {
        let call = self.call("read");
        let object = self.read(call).await?;
        let version = self.version(&object.get().to_owned().into())?;
        if request.version.is_some_and(|asked| *asked != version) {
            return Err(call.error(
                ErrorClass::Absent,
                "KV version 1 keeps only the current version, which is another one",
            ));
        }
        Ok(Fetched { value: value::decode(&object, self.reference.format), version, created_at: None })
    }

    pub(crate) async fn versions(&self) -> Result<Vec<VersionFacts>, ProviderError> {
        let object = self.read(self.call("list the versions of")).await?;
        Ok(vec![VersionFacts {
            version: self.version(&object.get().to_owned().into())?,
            created_at: None,
            state: VersionState::Enabled,
            current: true,
            labels: Vec::new(),
        }])
    }

    pub(crate) async fn write(&self, request: &WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        let call = self.call("write");
        if request.expected.is_some() {
            return Err(call.error(
                ErrorClass::Permanent,
                "KV version 1 cannot tell whether somebody else has written: use version 2",
            ));
        }
        let object = value::encode(request.value)?;
        let path = self.reference.data_path();
        if self.written.recall(request.token, &path, &self.written.digest(&path, &object)) == Known::Other {
            return Err(call.error(ErrorClass::Invalid, "the token was used for another value"));
        }
        let put = Raw::post_text(path, object);
        let done = self.standing.ask(&put, Ask::repeatable(call, None)).await;
        if let Err(failure) = done {
            let error = failure.into_error(call);
            if !error.class.is_retryable() {
                self.written.forget(request.token);
            }
            return Err(error);
        }
        // As Vault will write it when it is read.
        let object = self.read(call).await?;
        self.version(&object.get().to_owned().into())
    }

    async fn read(&self, call: Call<'_>) -> Result<Box<RawValue>, ProviderError> {
        let request = Raw::get(self.reference.data_path());
        let wrap = self.standing.server.config.wrap_ttl;
        let reply = self.standing.ask(&request, Ask { wrap, ..Ask::repeatable(call, None) }).await;
        let reply = reply.map_err(|failure| failure.into_error(call))?;
        reply.data().ok_or_else(|| call.odd())
    }

    fn version(&self, object: &SecretBytes) -> Result<VersionId, ProviderError> {
        let digest = self.written.digest(&self.reference.data_path(), object);
        let text = HEXLOWER.encode(digest.get(..16).unwrap_or_default());
        text.parse().map_err(|_| self.call("name the version of").odd())
    }

    fn call<'c>(&'c self, verb: &'c str) -> Call<'c> {
        Call { kind: Kind::Secret, verb, on: self.name }
    }
}
