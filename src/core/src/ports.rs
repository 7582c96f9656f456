//! What the domain asks of the world. Adapters implement these traits; nothing here knows how.

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use thiserror::Error;

use crate::{
    access::AccessRequest,
    lease::RevocationHandle,
    provider::{
        Capabilities, Fetch, Fetched, IssueCredential, IssuedCredential, ProviderError, RevokeCredential,
        WriteVersion,
    },
    record::{Decision, ValueTag},
    secret::VersionId,
    state::{Change, Commit, Entry, Key, KeyRange, LedgerError, Revision},
};

/// The time of day. It never goes backwards, whatever the machine's clock does.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Returns when `deadline` has come, or earlier when the clock may have been set; callers look again.
    async fn sleep_until(&self, deadline: Timestamp);
}

/// Randomness fit for keys.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the buffer.
    ///
    /// # Errors
    /// When the system has none to give; nothing may be issued then.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The system gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the system gave no randomness")]
pub struct NoEntropy;

/// The durable state with its journal.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Makes a record and its writes durable together and visible to reads; returns the record's sequence number.
    /// Dropping the future does not undo a commit that has begun.
    async fn commit(&self, commit: Commit) -> Result<Revision, LedgerError>;

    /// Reads one key.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError>;

    /// Reads up to `limit` entries of a range in order.
    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Entry>, LedgerError>;

    /// The changes in a range from now on. A watcher that falls behind gets an [`LedgerError::Unavailable`] and the
    /// stream ends: it reads again and watches anew.
    fn watch(&self, range: KeyRange) -> BoxStream<'static, Result<Change, LedgerError>>;
}

/// A back end. Every call is idempotent by the lease's id or the version's token.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Reads a static secret.
    async fn fetch(&self, _request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        Err(ProviderError::unsupported("be read"))
    }

    /// Makes a credential for one holder.
    async fn issue(&self, _request: IssueCredential<'_>) -> Result<IssuedCredential, ProviderError> {
        Err(ProviderError::unsupported("make credentials"))
    }

    /// Extends such a credential's life; returns the end that the back end granted.
    async fn renew(&self, _handle: &RevocationHandle, _until: Timestamp) -> Result<Timestamp, ProviderError> {
        Err(ProviderError::unsupported("renew credentials"))
    }

    /// Ends such a credential. One that is gone already is a success.
    async fn revoke(&self, _request: RevokeCredential<'_>) -> Result<(), ProviderError> {
        Err(ProviderError::unsupported("revoke credentials"))
    }

    /// Writes a new version and makes it current.
    async fn write(&self, _request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        Err(ProviderError::unsupported("be written"))
    }

    /// Makes an old version unusable. One that is gone already is a success.
    async fn retire(&self, _reference: &str, _version: &VersionId) -> Result<(), ProviderError> {
        Err(ProviderError::unsupported("retire versions"))
    }
}

/// Decides who may do what. An error is a denial, by the shape of the answer.
pub trait Authorizer: Send + Sync + 'static {
    /// The decision with its grounds, for the record.
    fn decide(&self, request: &AccessRequest<'_>) -> Decision;
}

/// Makes the keyed HMACs by which a record recognises a value without holding it.
pub trait ValueMac: Send + Sync + 'static {
    /// The tag of one field's bytes; the same bytes have the same tag under the same key.
    fn tag(&self, bytes: &[u8]) -> ValueTag;
}
