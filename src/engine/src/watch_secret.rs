//! WatchSecret: whoever cares for one secret is told what happens to its versions, in order and at least once.
//!
//! What there is to tell is in the rotation's durable state, numbered: who comes back with the last number it has handled
//! is told the rest. One task reads the ledger's changes for all watchers, and what it hands out is shared by them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use futures::stream::{self, BoxStream, StreamExt};
use leasehold_core::{
    SecretPath,
    access::Action,
    ports::Ledger,
    record::{Actor, Kind},
    rotation::{Notice, Rotation, Stage},
    state::{Change, Commit, KeyRange},
};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    access::{lending, why},
    desk::Audience,
    engine::Engine,
    error::EngineError,
    request::{SecretNews, SecretNotice, WatchSecret},
};

/// How many notices a watcher may be behind.
const BUFFER: usize = 64;

/// Who watches, by secret.
#[derive(Default)]
pub(crate) struct SecretWatchers(HashMap<SecretPath, broadcast::Sender<Arc<SecretNotice>>>);

/// One watcher.
struct Watcher {
    news: broadcast::Receiver<Arc<SecretNotice>>,
    /// What is to be told next.
    ready: VecDeque<Arc<SecretNotice>>,
    /// The notice of this number and all before it are told, or are ready.
    seen: u64,
}

impl Engine {
    /// What happens to the versions of a secret: first how it is, or with `after` what happened behind that notice. Nothing
    /// is told of a dynamic secret.
    ///
    /// The stream ends with [`EngineError::WatchLagged`] when the watcher does not keep up, and with
    /// [`EngineError::Denied`] when policy, which is asked before each notice, allows it no longer.
    ///
    /// # Errors
    /// [`EngineError::Denied`] also when there is no such secret; or when the ledger cannot be used.
    pub async fn watch_secret(
        self: &Arc<Self>,
        request: WatchSecret,
    ) -> Result<BoxStream<'static, Result<Arc<SecretNotice>, EngineError>>, EngineError> {
        let mut record = self.record(Kind::SecretWatched, &request.actor);
        record.secret = Some(request.secret.clone());
        let context = lending(None, &[]);
        if let Err(why) = self.admit(&mut record, Action::IssueLease, &request.secret, context) {
            return self.deny(record, why).await;
        }
        self.ledger.commit(Commit::record_only(record)).await?;
        // First listen, then read: what changes in between is seen twice, and told once.
        let news = self.secret_watchers.listen(&self.ledger, |watchers| watchers.listen(&request.secret));
        let (rotation, _) = self.rotation(&request.secret).await?;
        let watcher = Watcher { news, ready: beginning(&rotation, request.after), seen: rotation.told };
        let (engine, asked) = (self.clone(), Arc::new((request.actor, request.secret)));
        let notices = stream::unfold(Some(watcher), move |watcher| {
            let (engine, asked) = (engine.clone(), asked.clone());
            async move {
                let mut watcher = watcher?;
                let told = match watcher.next().await {
                    Ok(notice) => engine.may_still_watch(&asked.0, &asked.1).await.map(|()| notice),
                    Err(error) => Err(error),
                };
                let rest = told.is_ok().then_some(watcher);
                Some((told, rest))
            }
        });
        Ok(notices.boxed())
    }

    /// A stream lives for days: who has lost the right to a secret meanwhile hears no more of it.
    async fn may_still_watch(&self, actor: &Actor, secret: &SecretPath) -> Result<(), EngineError> {
        let decision = self.decide_on(actor, Action::IssueLease, secret, lending(None, &[]));
        if decision.is_allowed() {
            return Ok(());
        }
        let mut record = self.record(Kind::SecretWatched, actor);
        record.secret = Some(secret.clone());
        record.decision = Some(decision);
        self.deny(record, why::POLICY).await
    }
}

impl Watcher {
    async fn next(&mut self) -> Result<Arc<SecretNotice>, EngineError> {
        loop {
            if let Some(notice) = self.ready.pop_front() {
                // It stays that long: who is told nothing for months needs no room for it.
                if self.ready.is_empty() {
                    self.ready = VecDeque::new();
                }
                return Ok(notice);
            }
            let notice = match self.news.recv().await {
                Ok(notice) => notice,
                Err(RecvError::Lagged(_) | RecvError::Closed) => return Err(EngineError::WatchLagged),
            };
            if notice.number > self.seen {
                self.seen = notice.number;
                return Ok(notice);
            }
        }
    }
}

/// What a watch begins with: what was told after a notice, or else how the secret is.
fn beginning(rotation: &Rotation, after: Option<u64>) -> VecDeque<Arc<SecretNotice>> {
    if let Some(missed) = after.and_then(|after| rotation.told_after(after)) {
        return missed.map(SecretNotice::of).collect();
    }
    let draining = rotation.course.as_ref().filter(|course| course.stage == Stage::Draining);
    let draining = draining.and_then(|course| course.old.clone().zip(course.drain_deadline));
    let current = rotation.current.as_ref().map(|current| current.version.clone());
    let news = SecretNews::Standing { current, draining };
    VecDeque::from([Arc::new(SecretNotice { number: rotation.told, at: None, news })])
}

impl SecretNotice {
    fn of(notice: &Notice) -> Arc<Self> {
        let news = SecretNews::Told(notice.told.clone());
        Arc::new(Self { number: notice.number, at: Some(notice.at), news })
    }
}

impl SecretWatchers {
    fn listen(&mut self, secret: &SecretPath) -> broadcast::Receiver<Arc<SecretNotice>> {
        let nobody = || broadcast::channel(BUFFER).0;
        self.0.entry(secret.clone()).or_insert_with(nobody).subscribe()
    }
}

impl Audience for SecretWatchers {
    type News = Change;

    fn range() -> KeyRange {
        KeyRange::rotations()
    }

    async fn news(_: &dyn Ledger, change: Change) -> Option<Change> {
        Some(change)
    }

    fn tell(&mut self, change: Change) {
        let Some(path) = change.key.rotation_of() else { return };
        let Some(watchers) = self.0.get(&path) else { return };
        // One that cannot be read is told of when it is asked for.
        let Some(Ok(rotation)) = change.value.as_ref().map(Rotation::decode) else { return };
        if !rotation.news().map(SecretNotice::of).all(|notice| watchers.send(notice).is_ok()) {
            self.0.remove(&path);
        }
    }

    fn sweep(&mut self) {
        self.0.retain(|_, watchers| watchers.receiver_count() > 0);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
