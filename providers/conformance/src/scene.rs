//! A back end in trouble, with a provider that is connected to it.

use std::{any::Any, fmt, future::Future, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use leasehold_core::{SecretValue, ports::Provider};

use crate::report::Against;

/// What is wrong with a back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The broker's identity may not read the secret. At the turn it may.
    Denied,
    /// It asks the broker to come back later, with a hint longer than the provider waits by itself
    /// ([`Scene::hinting`]), such as 30 s. At the turn it answers.
    Throttled,
    /// It fails inside: HTTP 500 or its like. At the turn it answers.
    InternalError,
    /// It says that it is not available: HTTP 503 or its like. At the turn it answers.
    Unavailable,
    /// It ends the connection instead of answering, each time. At the turn it answers.
    CutBeforeAnswer,
    /// It ends the connection in the middle of its answer, each time. At the turn it answers.
    CutInAnswer,
    /// It ends the connection after each answer without having said that it would; or every open connection is ended
    /// at the turn.
    CutAfterAnswer,
    /// It never answers. At the turn it does. Give the provider a short deadline.
    Silence,
    /// Its answer stops in the middle and the connection stays open. At the turn it answers. Give the provider a short
    /// deadline.
    StalledBody,
    /// The secret's only version is disabled. At the turn it is enabled.
    Disabled,
    /// The secret, or its only version, is deleted. At the turn it is back.
    Deleted,
    /// The broker's own credentials are good, and end at the turn, behind the provider's back.
    CredentialExpiry,
    /// It refuses the broker's credentials because the two clocks differ.
    ClockSkew,
    /// It does the first write and the broker never gets the answer; after that it answers. The value is what is there
    /// before.
    LostWriteAnswer,
}

/// A back end in trouble.
pub struct Scene {
    /// A provider like the one under test, connected to it.
    pub provider: Arc<dyn Provider>,
    /// A secret there.
    pub reference: String,
    /// What is read there when nothing is wrong. Long and odd enough to be recognised in an error that repeats it.
    pub value: SecretValue,
    pub(crate) against: Against,
    pub(crate) hint: Option<Duration>,
    pub(crate) stays_denied: bool,
    turn: Option<Turn>,
    _kept: Vec<Box<dyn Any + Send + Sync>>,
}

/// Why a scene was not played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unplayed {
    /// The back end can never come into this, and why: a file is not throttled.
    Impossible(&'static str),
    /// It can, and nothing on this machine can show it; and why. Such a case must be tested otherwise.
    Excused(&'static str),
    /// The fixture says nothing of this trouble, which is a failure: it must be played or excused.
    NotWritten(Trouble),
    /// It should have been, and something failed.
    Failed(String),
}

type Turn = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

impl Scene {
    /// A scene at this secret.
    pub fn new(
        provider: impl Provider,
        reference: impl Into<String>,
        value: SecretValue,
        against: Against,
    ) -> Self {
        Self {
            provider: Arc::new(provider),
            reference: reference.into(),
            value,
            against,
            hint: None,
            stays_denied: false,
            turn: None,
            _kept: Vec::new(),
        }
    }

    /// With what happens between the scene's two halves.
    #[must_use]
    pub fn turning<F>(mut self, turn: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.turn = Some(Box::new(move || Box::pin(turn())));
        self
    }

    /// With something that must live as long: a server, a proxy, a directory.
    #[must_use]
    pub fn keeping(mut self, kept: impl Any + Send + Sync) -> Self {
        self._kept.push(Box::new(kept));
        self
    }

    /// With the hint that the back end gives for when to come back, which the provider must hand on.
    #[must_use]
    pub fn hinting(mut self, hint: Duration) -> Self {
        self.hint = Some(hint);
        self
    }

    /// In [`Trouble::CredentialExpiry`]: the provider cannot sign in again and says `Denied`, as its page documents.
    #[must_use]
    pub fn staying_denied(mut self) -> Self {
        self.stays_denied = true;
        self
    }

    /// Turns it; `false` when there is no turn.
    pub(crate) async fn turn(&self) -> Result<bool, String> {
        match &self.turn {
            Some(turn) => turn().await.map(|()| true),
            None => Ok(false),
        }
    }
}

impl fmt::Display for Unplayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impossible(why) | Self::Excused(why) => f.write_str(why),
            Self::NotWritten(trouble) => write!(f, "the fixture neither plays nor excuses {trouble:?}"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl From<String> for Unplayed {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}
