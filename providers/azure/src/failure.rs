//! Why a request failed, in our words: what the SDK says of it may hold a value, a token or a tenant, and is dropped.

use std::{error::Error as StdError, time::Duration};

use azure_core::error::{Error as SdkError, ErrorKind};
use leasehold_core::{
    Timestamp,
    provider::{ErrorClass, ProviderError},
};
use thiserror::Error;

use crate::answer::{Answer, Party};

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Failure {
    /// It was answered, with something else than a success.
    #[error("{0}")]
    Answered(Box<Answer>),
    /// Its host has no address.
    #[error("{0} is not known by its name")]
    Unknown(Party),
    /// Nobody is there.
    #[error("{0} cannot be reached")]
    Unreachable(Party),
    /// Its certificate is not trusted.
    #[error("{0} shows a certificate that is not trusted: {1}")]
    Untrusted(Party, &'static str),
    /// It did not answer in time.
    #[error("{0} did not answer in time")]
    Late(Party),
    /// It took longer than a whole call may.
    #[error("no answer came within the `timeout` of a call")]
    TooLong,
    /// The connection ended before the answer did.
    #[error("{0}'s answer was cut")]
    Cut(Party),
    /// The answer is not what the documentation says.
    #[error("{0}'s answer cannot be read")]
    Unreadable(Party),
    /// The answer is larger than any that the documentation allows.
    #[error("{0}'s answer is too large")]
    TooLarge(Party),
    /// A link in an answer leads to another host.
    #[error("the vault's answer leads to another host than the vault, and is not followed")]
    Elsewhere,
    /// The vault asks for a token of somebody else, or for something else.
    #[error("the vault's challenge names another authority or resource than the configured cloud's")]
    Challenge,
    /// The vault belongs to another directory.
    #[error("the vault belongs to another directory than the configured `tenant_id`")]
    OtherTenant,
    /// A file of the broker's own.
    #[error("{0}")]
    File(String),
    /// Something that neither the configuration nor the environment says.
    #[error("{0}")]
    Unconfigured(String),
    /// What the broker asks for makes no sense to the SDK.
    #[error("the request was not made: {0}")]
    Unmade(&'static str),
}

impl Failure {
    /// The failure that is somewhere in what the SDK says.
    pub(crate) fn of(error: &SdkError, now: Timestamp) -> Self {
        let chain =
            || std::iter::successors(Some(error as &(dyn StdError + 'static)), |cause| (*cause).source());
        if let Some(failure) = chain().find_map(|cause| cause.downcast_ref::<Self>()) {
            return failure.clone();
        }
        for kind in chain().filter_map(|cause| Some(cause.downcast_ref::<SdkError>()?.kind())) {
            match kind {
                // Only a refused token comes here: the transport keeps every other error to itself.
                ErrorKind::HttpResponse { status, raw_response: Some(raw), .. } => {
                    let answer = Answer::read(Party::Vault, **status, raw.headers(), raw.body(), now);
                    return Self::Answered(Box::new(answer));
                }
                ErrorKind::DataConversion => return Self::Unreadable(Party::Vault),
                _ => {}
            }
        }
        Self::Unmade("the SDK refused it")
    }

    /// Its class.
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Answered(answer) => answer.class(),
            Self::Unreachable(_)
            | Self::Late(_)
            | Self::Cut(_)
            | Self::Unreadable(_)
            | Self::Unknown(_)
            | Self::TooLong => ErrorClass::Transient,
            Self::OtherTenant => ErrorClass::Denied,
            Self::Untrusted(..)
            | Self::TooLarge(_)
            | Self::Elsewhere
            | Self::Challenge
            | Self::File(_)
            | Self::Unconfigured(_)
            | Self::Unmade(_) => ErrorClass::Permanent,
        }
    }

    /// When to try again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered(answer) => answer.retry_after,
            _ => None,
        }
    }

    /// Whether the vault says that there is nothing.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Answered(answer) if answer.party == Party::Vault && answer.status == 404)
    }

    /// Whether the vault says that it is disabled.
    pub(crate) fn is_disabled(&self) -> bool {
        matches!(self, Self::Answered(answer) if answer.is_disabled())
    }

    /// The innermost code of the vault's answer.
    pub(crate) fn inner(&self) -> Option<&str> {
        match self {
            Self::Answered(answer) if answer.party == Party::Vault => answer.inner.as_deref(),
            _ => None,
        }
    }

    /// The error of what was to be done.
    pub(crate) fn during(&self, what: &str) -> ProviderError {
        let class = self.class();
        ProviderError::new(class, format!("{what}: {self}"))
            .retry_after(self.retry_after().filter(|_| class.is_retryable()))
    }
}
