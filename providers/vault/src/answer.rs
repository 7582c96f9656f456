//! What Vault answers.

use std::time::Duration;

use leasehold_core::{SecretBytes, Timestamp};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use vaultrs::api::EndpointResult;

/// A success. The body may hold a value.
pub(crate) struct Reply {
    /// As it came; empty for 204.
    pub(crate) body: SecretBytes,
    /// The server's own time, by its `Date` (RFC 9110, section 6.6.1).
    pub(crate) date: Option<Timestamp>,
}

/// An answer that is no success. The body of a deleted version's 404 says what became of it.
pub(crate) struct Refusal {
    /// The status.
    pub(crate) status: u16,
    /// What the server says of it: only compared with known texts, never repeated, for it may quote anything.
    pub(crate) errors: Vec<String>,
    /// As it came.
    pub(crate) body: SecretBytes,
    /// When to ask again.
    pub(crate) retry_after: Option<Duration>,
    /// Where to ask instead, of a redirect.
    pub(crate) location: Option<String>,
    /// The server's own time.
    pub(crate) date: Option<Timestamp>,
}

impl Reply {
    /// The answer in its envelope, when it is one.
    pub(crate) fn envelope<T: DeserializeOwned>(&self) -> Option<EndpointResult<T>> {
        serde_json::from_slice(self.body.expose()).ok()
    }

    /// What the envelope holds, when it holds it.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Option<T> {
        self.envelope::<T>()?.data
    }
}

impl Refusal {
    /// Whether the server says one of these, in whatever case.
    pub(crate) fn says(&self, any: &[&str]) -> bool {
        self.errors.iter().any(|error| {
            let error = error.to_ascii_lowercase();
            any.iter().any(|known| error.contains(known))
        })
    }

    /// Whether it is Vault that says so: every answer of its own has `errors` or `data`, and a proxy's page has neither.
    pub(crate) fn is_vaults(&self) -> bool {
        #[derive(Deserialize)]
        struct Own<'a> {
            #[serde(borrow)]
            errors: Option<&'a RawValue>,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
        }
        serde_json::from_slice::<Own<'_>>(self.body.expose())
            .is_ok_and(|own| own.errors.is_some() || own.data.is_some())
    }

    /// The errors in a body of the form that Vault's have.
    pub(crate) fn errors_in(body: &SecretBytes) -> Vec<String> {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<String>,
        }
        serde_json::from_slice::<Errors>(body.expose()).map(|body| body.errors).unwrap_or_default()
    }
}

/// A version of KV version 2, as a read answers it.
#[derive(Deserialize)]
pub(crate) struct KvVersion {
    /// The fields; null when the version is deleted or destroyed.
    pub(crate) data: Option<Box<RawValue>>,
    /// What is known of it.
    pub(crate) metadata: KvFacts,
}

/// What KV version 2 knows of a version.
#[derive(Deserialize)]
pub(crate) struct KvFacts {
    /// RFC 3339.
    pub(crate) created_time: String,
    /// Whether its value is gone for good.
    pub(crate) destroyed: bool,
    /// Its number.
    pub(crate) version: u64,
}

/// The envelope of a refusal that has data, as a deleted version's.
pub(crate) fn data_of_refusal<T: DeserializeOwned>(refusal: &Refusal) -> Option<T> {
    #[derive(Deserialize)]
    struct Enveloped<T> {
        data: Option<T>,
    }
    serde_json::from_slice::<Enveloped<T>>(refusal.body.expose()).ok()?.data
}
