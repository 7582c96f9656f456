//! What the suite must know of a back end to have credentials made by it.

use std::{any::Any, sync::Arc, time::Duration};

use async_trait::async_trait;
use leasehold_core::{SecretValue, ports::Provider};

use crate::{report::Against, scene::Unplayed};

/// How credentials are asked for and judged. The provider is [`Fixture::provider`](crate::Fixture::provider).
#[async_trait]
pub trait Issuing: Send + Sync {
    /// A role that credentials can be made of.
    fn role(&self) -> String;

    /// A role that is well formed and that there is none of.
    fn absent_role(&self) -> String;

    /// How long the suite asks a credential to live: at least the back end's minimum, and less than half of
    /// [`Issuing::longest`].
    fn ttl(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// How long the back end lets a credential of this role live at most, renewals included; `None` when the role has no
    /// other limit than the provider's own.
    fn longest(&self) -> Option<Duration> {
        None
    }

    /// Whether a credential opens what it was made for, tried without the provider; `None` when nothing here can judge
    /// that.
    ///
    /// # Errors
    /// When it cannot be tried.
    async fn works(&self, value: &SecretValue) -> Result<Option<bool>, String>;

    /// How many credentials of the role there are at the back end, seen without the provider; `None` when nothing can
    /// count them.
    ///
    /// # Errors
    /// When they cannot be counted.
    async fn living(&self) -> Result<Option<usize>, String>;

    /// A provider on the same back end, which makes the next credential without the answer reaching the broker, as often
    /// as the provider tries; whatever else is asked is answered.
    ///
    /// # Errors
    /// [`Unplayed::Excused`] when that cannot be played, and why; otherwise what failed.
    async fn losing_answers(&self) -> Result<Lossy, Unplayed>;

    /// A provider on a back end that says that it ends a credential of the role, and does not.
    ///
    /// # Errors
    /// As [`Issuing::losing_answers`]; of a back end that can try what it ended, this must be played.
    async fn ending_in_vain(&self) -> Result<Lossy, Unplayed> {
        Err(Unplayed::Failed(
            "it says that it can try what it ended, and the fixture shows no end in vain".to_owned(),
        ))
    }
}

/// A provider whose new credentials do not reach it, or whose ends are not what they seem.
pub struct Lossy {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    pub(crate) against: Against,
    _kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl Lossy {
    /// A provider behind such a connection.
    pub fn new(provider: impl Provider, against: Against) -> Self {
        Self { provider: Arc::new(provider), against, _kept: Vec::new() }
    }

    /// With something that must live as long: a server, a proxy, a directory.
    #[must_use]
    pub fn keeping(mut self, kept: impl Any + Send + Sync) -> Self {
        self._kept.push(Box::new(kept));
        self
    }
}
