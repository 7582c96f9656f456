//! What the domain asks of the world. Adapters implement these traits; nothing here knows how.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use thiserror::Error;

use crate::{
    access::AccessRequest,
    explanation::Explanation,
    lease::RevocationHandle,
    provider::{
        Capabilities, ChangeSecret, Demand, Fetch, Fetched, Finding, Followed, IssueCredential,
        IssuedCredential, ProviderError, RenewCredential, RevokeCredential, SignIn, Tagged, Trial, Turn,
        Verification, VersionFacts, WriteVersion,
    },
    record::{Decision, ValueTag},
    rotation::{Generated, Generator, Program},
    secret::{SecretBytes, SecretValue, VersionId},
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

/// A back end: the secrets that it has. Every call is idempotent by the version's token; what a back end cannot do, it
/// leaves as it is here.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// How the broker itself stands with it. Asks nobody.
    fn sign_in(&self) -> SignIn {
        SignIn::default()
    }

    /// What makes credentials there, when it can.
    fn issuer(&self) -> Option<&dyn Issuer> {
        None
    }

    /// What accepts values of secrets there, when it does.
    fn target(&self) -> Option<&dyn Target> {
        None
    }

    /// What rotates secrets there by itself, when it can.
    fn native(&self) -> Option<&dyn NativeRotation> {
        None
    }

    /// Reads a static secret.
    async fn fetch(&self, _request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        Err(ProviderError::unsupported("be read"))
    }

    /// The versions of a static secret, the newest first.
    async fn versions(&self, _reference: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        Err(ProviderError::unsupported("list versions"))
    }

    /// Writes a new version.
    async fn write(&self, _request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        Err(ProviderError::unsupported("be written"))
    }

    /// Changes a version or a secret that exists. One that is so already is a success.
    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        Err(ProviderError::unsupported(request.change.as_str()))
    }

    /// Puts a pending version away, so that nobody takes it for one that waits. One that is away already, or was never
    /// there, is a success; one that is or was current is [`ErrorClass::Invalid`].
    ///
    /// [`ErrorClass::Invalid`]: crate::provider::ErrorClass::Invalid
    async fn discard(&self, _reference: &str, _pending: &VersionId) -> Result<(), ProviderError> {
        Err(ProviderError::unsupported("hold versions that wait"))
    }

    /// A value made by a rule that the back end has.
    async fn generate(&self, _policy: &str) -> Result<SecretBytes, ProviderError> {
        Err(ProviderError::unsupported("make values by rules of its own"))
    }

    /// Signs in and tries what the configuration will ask, without changing anything.
    async fn check(&self, demands: &[Demand]) -> Vec<Finding>;
}

/// A back end that makes credentials. Every call is idempotent by the lease's id.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// What will end a credential even if the answer to [`Issuer::issue`] is lost: the broker makes it durable before it
    /// asks for the credential. `None` where the lease's id is enough to find it, or where nothing can end it. A
    /// reservation that is never used ends by itself, and from one that was ended no credential comes to be.
    async fn reserve(&self, _role: &str) -> Result<Option<RevocationHandle>, ProviderError> {
        Ok(None)
    }

    /// Makes a credential for one holder.
    ///
    /// An answer says that nothing of the call is under way any more: after any error but [`ErrorClass::Transient`] there
    /// is no such credential, and there will be none. After that error, and when the call was given up or the broker died
    /// in it, the request may be done still, but only [within] its time: later than that, whatever held it up must have
    /// it come to nothing. The broker looks for the credential when that time is over, and believes what it finds. A
    /// back end that cannot judge by a time makes up for it by its [reservation](Issuer::reserve): once that is ended, no
    /// credential comes to be by it. One whose credentials nothing can end owes neither.
    ///
    /// [`ErrorClass::Transient`]: crate::provider::ErrorClass::Transient
    /// [within]: IssueCredential::within
    async fn issue(&self, request: IssueCredential<'_>) -> Result<IssuedCredential, ProviderError>;

    /// Extends a credential's life; returns the end that the back end granted. [`ErrorClass::Absent`] says that the back
    /// end has ended it.
    ///
    /// [`ErrorClass::Absent`]: crate::provider::ErrorClass::Absent
    async fn renew(&self, _request: RenewCredential<'_>) -> Result<Timestamp, ProviderError> {
        Err(ProviderError::unsupported("renew credentials"))
    }

    /// Ends a credential, and then tries whether it is dead where that can be tried. One that is gone already is a
    /// success. An error says that it may not have been ended; a trial that could not be made is [`Unverifiable`].
    ///
    /// [`Unverifiable`]: Verification::Unverifiable
    async fn revoke(&self, _request: RevokeCredential<'_>) -> Result<Verification, ProviderError> {
        Err(ProviderError::unsupported("revoke credentials"))
    }

    /// When the back end will end a credential, `None` for never; [`ErrorClass::Absent`] says that it has.
    ///
    /// [`ErrorClass::Absent`]: crate::provider::ErrorClass::Absent
    async fn look_up(&self, _handle: &RevocationHandle) -> Result<Option<Timestamp>, ProviderError> {
        Err(ProviderError::unsupported("look credentials up"))
    }

    /// Every credential at the back end that carries the broker's tag, whatever the broker knows of it.
    async fn tagged(&self) -> Result<Vec<Tagged>, ProviderError> {
        Err(ProviderError::unsupported("list the credentials made for the broker"))
    }
}

/// What accepts the values of secrets and has to be told of new ones: a database with its users, an operator's program.
/// Every call is idempotent. Errors are classed like a provider's: [`ErrorClass::Invalid`] says that the target looked at
/// the new value and will never take it, [`ErrorClass::Transient`] that nobody knows whether it took it; after any other,
/// nothing has changed. No error holds a value.
///
/// [`ErrorClass::Invalid`]: crate::provider::ErrorClass::Invalid
/// [`ErrorClass::Transient`]: crate::provider::ErrorClass::Transient
#[async_trait]
pub trait Target: Send + Sync {
    /// Has the new value accepted. Where the old one names the same user, that one is accepted no longer.
    async fn apply(&self, turn: Turn<'_>) -> Result<(), ProviderError>;

    /// Tries a value, one of the turn's, as a client would.
    async fn test(&self, turn: Turn<'_>, value: &SecretValue) -> Result<Trial, ProviderError>;

    /// Has the old value accepted no longer, where the new one left it accepted.
    async fn retire(&self, turn: Turn<'_>) -> Result<(), ProviderError>;

    /// Tries whether the broker may do all this, without changing anything.
    async fn check(&self, turn: Turn<'_>) -> Vec<Finding>;
}

/// Finds operators' programs.
pub trait Programs: Send + Sync + 'static {
    /// The program as a target.
    fn target(&self, program: &Program) -> Arc<dyn Target>;
}

/// A back end that rotates by itself when it is told to.
#[async_trait]
pub trait NativeRotation: Send + Sync {
    /// Starts a rotation. Idempotent by `token`; one that is under way already is a success.
    async fn start(&self, reference: &str, token: &str) -> Result<(), ProviderError>;

    /// How far it has come. `before` is what was current when it was started.
    async fn follow(
        &self,
        reference: &str,
        token: &str,
        before: Option<&VersionId>,
    ) -> Result<Followed, ProviderError>;
}

/// Makes new values.
pub trait Generate: Send + Sync + 'static {
    /// A value by this rule. Rules of back ends are not asked here: see [`Provider::generate`].
    ///
    /// # Errors
    /// When the system has no randomness to give.
    fn generate(&self, generator: &Generator) -> Result<Generated, NoEntropy>;
}

/// A secret of the broker's own, by which a back end of its own is signed in at.
#[async_trait]
pub trait CredentialSource: Send + Sync + 'static {
    /// The secret as it is now. `refused` is the version that the back end has just refused: what is in any cache is left
    /// aside then.
    async fn read(&self, refused: Option<&VersionId>) -> Result<Fetched, ProviderError>;
}

/// Decides who may do what. An error is a denial, by the shape of the answer.
pub trait Authorizer: Send + Sync + 'static {
    /// The decision with its grounds, for the record.
    fn decide(&self, request: &AccessRequest<'_>) -> Decision;

    /// Why a request is denied, for whoever may know; nothing when it cannot be said. Asked of denials only, and may be slow.
    fn explain(&self, _request: &AccessRequest<'_>) -> Option<Explanation> {
        None
    }
}

/// Makes the keyed HMACs by which a record recognises a value without holding it.
pub trait ValueMac: Send + Sync + 'static {
    /// The tag of one field's bytes; the same bytes have the same tag under the same key.
    fn tag(&self, bytes: &[u8]) -> ValueTag;
}
