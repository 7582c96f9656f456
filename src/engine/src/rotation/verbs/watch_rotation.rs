//! WatchRotation: how a secret's rotation goes on, as it goes on.

use std::{sync::Arc, time::Duration};

use futures::stream::{self, BoxStream, StreamExt};
use leasehold_core::{
    SecretPath,
    access::Action,
    ports::Ledger,
    record::{Actor, Kind},
    state::{Change, Commit, Key, KeyRange, LedgerError},
};
use tokio::time::sleep;

use crate::{engine::Engine, error::EngineError, request::RotationReport};

/// While an old version drains, its holders are counted so often: that changes without a step.
const COUNTED_EVERY: Duration = Duration::from_secs(1);

type Changes = BoxStream<'static, Result<Change, LedgerError>>;

struct Watching {
    engine: Arc<Engine>,
    path: SecretPath,
    changes: Changes,
    told: Option<RotationReport>,
}

impl Engine {
    /// The rotation as it is, and again after every step; steps that follow each other faster than they are read may be
    /// told together. It ends when the ledger cannot be read, and at no other time.
    ///
    /// # Errors
    /// [`EngineError::Denied`] also when there is no such secret, [`EngineError::NotRotated`] when it is not rotated.
    pub async fn watch_rotation(
        self: &Arc<Self>,
        actor: Actor,
        path: SecretPath,
    ) -> Result<BoxStream<'static, Result<RotationReport, EngineError>>, EngineError> {
        let mut record = self.record(Kind::RotationRead, &actor);
        record.details.insert("watched".to_owned(), "true".to_owned());
        self.find_rotation(&mut record, Action::DescribeSecret, &path).await?;
        self.ledger.commit(Commit::record_only(record)).await?;
        let changes = changes_of(&*self.ledger, &path);
        let watching = Watching { engine: self.clone(), path, changes, told: None };
        Ok(stream::try_unfold(watching, Watching::next).boxed())
    }
}

impl Watching {
    async fn next(mut self) -> Result<Option<(RotationReport, Self)>, EngineError> {
        loop {
            if self.told.is_some() {
                self.wait().await;
            }
            let (rotation, _) = self.engine.rotation(&self.path).await?;
            let report = self.engine.full_report(rotation, self.engine.plan_of(&self.path)).await?;
            if self.told.as_ref() != Some(&report) {
                self.told = Some(report.clone());
                return Ok(Some((report, self)));
            }
        }
    }

    /// Returns when there may be something to tell.
    async fn wait(&mut self) {
        let drains = self.told.as_ref().is_some_and(|told| told.rotation.course.is_some());
        tokio::select! {
            change = self.changes.next() => if !matches!(change, Some(Ok(_))) {
                // It fell behind: what it missed is in what is read now.
                self.changes = changes_of(&*self.engine.ledger, &self.path);
            },
            () = sleep(COUNTED_EVERY), if drains => {}
        }
    }
}

fn changes_of(ledger: &dyn Ledger, path: &SecretPath) -> Changes {
    let from = Key::rotation(path);
    // Its own key alone, and not those of longer paths.
    let to = Key::from_stored(&format!("{from}\0"));
    ledger.watch(KeyRange { from, to })
}
