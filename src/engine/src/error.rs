//! Why a use case did not do what it was asked, in the terms of the caller.

use std::{sync::Arc, time::Duration};

use leasehold_core::{
    explanation::Explanation,
    lease::{StepError, Undecodable},
    ports::NoEntropy,
    provider::{ErrorClass, ProviderError, ProviderName},
    secret::FieldName,
    state::LedgerError,
};
use thiserror::Error;

/// Why a use case failed. What it says is safe to tell the caller.
#[derive(Debug, Error)]
pub enum EngineError {
    /// Policy does not allow it, or there is no such secret or lease: one answer for all of them, but for whom policy lets
    /// know.
    #[error("not allowed, or no such thing")]
    Denied(Denial),
    /// The secret has no such field; only callers who may read it learn this.
    #[error("the secret has no field `{0}`")]
    NoSuchField(FieldName),
    /// The request id was used for another request.
    #[error("the request id was used for another request")]
    RequestIdReused,
    /// There is no such back end; only callers who may know learn this.
    #[error("there is no provider `{0}`")]
    NoSuchProvider(ProviderName),
    /// The page token is not one of ours.
    #[error("the page token is not valid: start again without one")]
    BadPageToken,
    /// The lease's state does not allow it.
    #[error(transparent)]
    Lease(#[from] StepError),
    /// The secret's own back end cannot be asked, or has said no to the broker. Its text is for operators: callers get the class.
    #[error("the secret's back end did not answer as needed")]
    Provider(#[source] Arc<ProviderError>),
    /// The back end refused a write or a change for what it is, such as another current version than expected. Who may
    /// write is told why.
    #[error("the back end refused it: {0}")]
    WriteRefused(#[source] Arc<ProviderError>),
    /// The broker ends nothing now, so it makes nothing either that would have to be ended.
    #[error("the broker is on hold: it makes no credentials and ends nothing until an operator releases it")]
    OnHold,
    /// As many leases are live as the limit allows.
    #[error("as many leases are live as `{limit}` allows: give some back")]
    QuotaExceeded {
        /// The limit, as the configuration names it.
        limit: &'static str,
        /// When the next of them ends by itself, as far as is known.
        retry_after: Duration,
    },
    /// It was asked more often than it may be.
    #[error("`{limit}` allows no more requests for now")]
    RateLimited {
        /// The limit, as the configuration names it.
        limit: &'static str,
        /// When the next one may come.
        retry_after: Duration,
    },
    /// A lease that is not on its way out was to be tried again or given up.
    #[error("the lease is not being revoked: revoke it first")]
    NotRevoking,
    /// The secret's configuration does not say how it is rotated.
    #[error("the secret is not rotated: its configuration has no `rotation`")]
    NotRotated,
    /// The rotation is not where this can be done.
    #[error(transparent)]
    Rotation(#[from] leasehold_core::rotation::StepError),
    /// A watcher did not keep up: it starts again from a snapshot.
    #[error("the watch fell behind and missed changes: start again")]
    WatchLagged,
    /// The state changed while it was being decided; a retry decides anew.
    #[error("the state changed in the meantime: try again")]
    Conflict,
    /// There is no room in the journal: nothing can be disclosed.
    #[error("the broker's journal is full")]
    JournalFull(#[source] LedgerError),
    /// The state cannot be reached or trusted: nothing can be disclosed.
    #[error("the broker's state is not available")]
    Unavailable(#[source] LedgerError),
    /// The system gave no randomness, or a task failed.
    #[error("the broker failed: {0}")]
    Internal(String),
}

/// What a denied caller is told beyond that it is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial(Option<Box<Explanation>>);

impl Denial {
    /// A denial with its explanation.
    pub fn explained(explanation: Explanation) -> Self {
        Self(Some(Box::new(explanation)))
    }

    /// Why policy denied it; nothing for most callers, and where policy did not decide.
    pub fn explanation(&self) -> Option<&Explanation> {
        self.0.as_deref()
    }
}

impl EngineError {
    /// A denial that says nothing more.
    pub(crate) fn denied() -> Self {
        Self::Denied(Denial::default())
    }

    /// The stable reason, for `google.rpc.ErrorInfo` and for records.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Denied(_) => "DENIED_OR_NOT_FOUND",
            Self::NoSuchField(_) => "FIELD_NOT_FOUND",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::NoSuchProvider(_) => "PROVIDER_NOT_FOUND",
            Self::BadPageToken => "PAGE_TOKEN_INVALID",
            Self::Lease(step) => match step {
                StepError::Expired => "LEASE_EXPIRED",
                StepError::Revoked | StepError::Revoking => "LEASE_REVOKED",
                StepError::AtMaximum => "LEASE_AT_MAXIMUM_TTL",
                StepError::Pending | StepError::NotDue | StepError::OutOfPlace => "LEASE_NOT_ACTIVE",
            },
            Self::Provider(error) | Self::WriteRefused(error) => match error.class {
                ErrorClass::Transient => "PROVIDER_UNAVAILABLE",
                ErrorClass::Throttled => "PROVIDER_THROTTLED",
                ErrorClass::Denied => "PROVIDER_DENIED_BROKER",
                ErrorClass::Absent => "PROVIDER_SECRET_ABSENT",
                ErrorClass::Invalid => "PROVIDER_REQUEST_INVALID",
                ErrorClass::Permanent => "PROVIDER_UNSUPPORTED",
            },
            Self::OnHold => "BROKER_ON_HOLD",
            Self::QuotaExceeded { .. } => "QUOTA_EXCEEDED",
            Self::RateLimited { .. } => "RATE_LIMITED",
            Self::NotRevoking => "LEASE_NOT_REVOKING",
            Self::NotRotated => "NOT_ROTATED",
            Self::Rotation(_) => "ROTATION_STATE",
            Self::WatchLagged => "WATCH_LAGGED",
            Self::Conflict => "CONFLICT",
            Self::JournalFull(_) => "JOURNAL_FULL",
            Self::Unavailable(_) => "LEDGER_UNAVAILABLE",
            Self::Internal(_) => "INTERNAL",
        }
    }

    /// The back end that it is about.
    pub fn provider(&self) -> Option<&ProviderName> {
        match self {
            Self::Provider(error) | Self::WriteRefused(error) => error.provider(),
            Self::NoSuchProvider(name) => Some(name),
            _ => None,
        }
    }

    /// Whether the ledger refuses everything just now, and not only this.
    pub(crate) fn is_the_ledgers(&self) -> bool {
        match self {
            Self::JournalFull(_) => true,
            Self::Unavailable(problem) => !matches!(problem, LedgerError::Corrupt(_)),
            _ => false,
        }
    }

    /// When it makes sense to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Provider(error) if error.class.is_retryable() => {
                Some(error.retry_after.unwrap_or(Duration::from_secs(1)))
            }
            Self::QuotaExceeded { retry_after, .. } | Self::RateLimited { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::Conflict | Self::WatchLagged => Some(Duration::ZERO),
            Self::JournalFull(_) | Self::Unavailable(_) => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}

impl From<LedgerError> for EngineError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Conflict(_) => Self::Conflict,
            LedgerError::Full(_) => Self::JournalFull(error),
            LedgerError::Unavailable(_) | LedgerError::Poisoned(_) | LedgerError::Corrupt(_) => {
                Self::Unavailable(error)
            }
        }
    }
}

impl From<Undecodable> for EngineError {
    fn from(error: Undecodable) -> Self {
        Self::Unavailable(LedgerError::Corrupt(error.to_string()))
    }
}

impl From<NoEntropy> for EngineError {
    fn from(error: NoEntropy) -> Self {
        Self::Internal(error.to_string())
    }
}
