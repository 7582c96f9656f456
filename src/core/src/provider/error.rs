//! Why a back end did not do what it was asked, in classes that mean the same for every one of them.

use std::time::Duration;

use thiserror::Error;

use super::ProviderName;

/// What to do about an error. Each of them is the same for every back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Unreachable, timed out, or failed inside: the same call may work later.
    Transient,
    /// Asked too often.
    Throttled,
    /// The broker's own identity may not do this.
    Denied,
    /// No such secret or version, or it is disabled or deleted.
    Absent,
    /// The request can never work as it is: a bad reference, a version conflict, a value too large.
    Invalid,
    /// It cannot work with this back end, or needs a person.
    Permanent,
}

/// Why a back end did not do what it was asked. The message names the thing and never holds a value.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct ProviderError {
    /// What to do about it.
    pub class: ErrorClass,
    /// When to try again, when the back end said so.
    pub retry_after: Option<Duration>,
    message: String,
    behind: bool,
    provider: Option<ProviderName>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ProviderError {
    /// An error with the broker's own words for it.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            retry_after: None,
            message: message.into(),
            behind: false,
            provider: None,
            source: None,
        }
    }

    /// With the error below it; its text must not hold a value.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// With the back end's hint.
    #[must_use]
    pub fn retry_after(mut self, hint: Option<Duration>) -> Self {
        self.retry_after = hint;
        self
    }

    /// Said by a back end that is well itself of something behind it that is not, such as a database whose users it makes.
    /// What else it has can be asked for, so nobody gives it a rest because of this.
    #[must_use]
    pub const fn behind(mut self) -> Self {
        self.behind = true;
        self
    }

    /// Whether the back end itself is well, as far as this tells.
    pub const fn is_behind(&self) -> bool {
        self.behind
    }

    /// With the configured name of the back end that it is about: all that callers learn of where it went wrong.
    #[must_use]
    pub fn of(mut self, provider: &ProviderName) -> Self {
        self.provider = Some(provider.clone());
        self
    }

    /// The back end that it is about, when that was said.
    pub const fn provider(&self) -> Option<&ProviderName> {
        self.provider.as_ref()
    }

    /// What a back end answers to what it cannot do.
    pub fn unsupported(what: &str) -> Self {
        Self::new(ErrorClass::Permanent, format!("this back end cannot {what}"))
    }
}

impl ErrorClass {
    /// Whether the same call may work later.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Transient | Self::Throttled)
    }
}
