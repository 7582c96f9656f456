//! What the suite must know of a back end to test it.

use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use leasehold_core::{SecretValue, ports::Provider, secret::VersionId};

use crate::{
    cases::Case,
    issuing::Issuing,
    report::Against,
    scene::{Scene, Trouble, Unplayed},
};

/// A back end under test.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The back end's kind, such as `aws`: its reports go by that name.
    fn back_end(&self) -> &'static str;

    /// What [`Fixture::provider`] talks to.
    fn against(&self) -> Against;

    /// The provider, connected to a back end that holds nothing of other tests.
    fn provider(&self) -> &dyn Provider;

    /// Puts a value into the back end, by another way than the provider if there is one: the first time under a new
    /// reference made from `name`, after that as a new version of the same.
    ///
    /// # Errors
    /// What the back end said.
    async fn put(&self, name: &str, value: &SecretValue) -> Result<Placed, String>;

    /// A reference that is well formed and names nothing.
    fn absent_reference(&self) -> String;

    /// A version id that is well formed and no secret has.
    fn absent_version(&self) -> VersionId;

    /// A version id that no secret can ever have here; `None` when any text can be one.
    fn malformed_version(&self) -> Option<VersionId>;

    /// References that must be refused, besides those that are hostile everywhere.
    fn hostile_references(&self) -> Vec<String> {
        Vec::new()
    }

    /// A provider like the one under test, and the count of calls that reached its back end: a hostile reference must
    /// not make one. `None` when there is nobody to call.
    fn watched(&self) -> Option<(&dyn Provider, &AtomicU64)> {
        None
    }

    /// The most bytes that a value can have.
    fn largest_value(&self) -> usize;

    /// Why the back end's stand-in cannot play a case, though the back end itself can. Such a case must be tested
    /// otherwise.
    fn excused(&self, _case: Case) -> Option<&'static str> {
        None
    }

    /// Brings a back end into this trouble: the fixture's own, the same behind a
    /// [`FaultProxy`](crate::proxy::FaultProxy), or a [`ScriptedServer`](crate::scripted::ScriptedServer) where no real
    /// one can be brought to it.
    ///
    /// # Errors
    /// [`Unplayed::Impossible`] when the back end can never come into it, [`Unplayed::Excused`] when nothing here can show
    /// it, and why; otherwise what failed.
    async fn trouble(&self, trouble: Trouble) -> Result<Scene, Unplayed> {
        Err(Unplayed::NotWritten(trouble))
    }

    /// A secret that the back end rotates by itself.
    ///
    /// # Errors
    /// As [`Fixture::trouble`].
    async fn rotating(&self) -> Result<String, Unplayed> {
        Err(Unplayed::Failed("it says that it rotates by itself, and the fixture knows no secret".to_owned()))
    }

    /// Does what is left to do of a rotation that was started there, where the back end's stand-in has nobody who does.
    ///
    /// # Errors
    /// What the back end said.
    async fn finish_rotation(&self, _reference: &str) -> Result<(), String> {
        Ok(())
    }

    /// What the suite must know to have credentials made; `None` when this fixture has no role for that.
    fn issuing(&self) -> Option<&dyn Issuing> {
        None
    }
}

/// Where a value was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The reference by which the provider is asked for it.
    pub reference: String,
    /// The version that it became.
    pub version: VersionId,
}
