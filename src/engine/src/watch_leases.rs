//! WatchLeases: a holder is told what happens to its leases, that they end soon, and what happens to the versions that they
//! are on.
//!
//! Memory is bounded, however many leases the holder has: its leases are read a page at a time, so many changes wait for it,
//! and so many alarms are set. Who does not keep up is told so, and comes back with its position or starts again.

mod alarms;
mod feed;
mod position;
mod walk;

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    sync::Arc,
};

use futures::stream::{self, BoxStream, StreamExt};
use leasehold_core::{
    LeaseId, SpiffeId, Timestamp,
    record::Actor,
    state::{KeyRange, Revision},
};
use tokio::sync::mpsc;

use self::{
    alarms::{Alarms, Next, soon_at},
    feed::{News, change_of},
    walk::Walk,
};
use crate::{
    engine::Engine,
    error::EngineError,
    request::{LeaseChange, LeaseNotice},
};

pub(crate) use self::feed::LeaseWatchers;
pub use self::position::{Left, WatchPosition};

/// Of so many leases that changed while the beginning was read, it is remembered that they were told.
const REMEMBERED: usize = 1024;

/// One holder's watch.
struct Watch {
    engine: Arc<Engine>,
    holder: SpiffeId,
    news: mpsc::Receiver<News>,
    /// What is to be told next.
    ready: VecDeque<LeaseNotice>,
    /// What is being looked at for it.
    walk: Option<Walk>,
    alarms: Alarms,
    /// Everything up to this record has been told.
    seen: Revision,
    /// Where the holder can go on behind what was made ready last.
    place: WatchPosition,
    /// What the beginning told of later records.
    told: HashMap<LeaseId, Revision>,
}

impl Engine {
    /// The caller's leases as they are, then every change of them. With `after`, only what changed behind that position.
    ///
    /// The stream ends with [`EngineError::WatchLagged`] when the watcher does not keep up.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn watch_leases(
        self: &Arc<Self>,
        actor: Actor,
        after: Option<WatchPosition>,
    ) -> Result<BoxStream<'static, Result<LeaseNotice, EngineError>>, EngineError> {
        // First listen, then read: what changes in between is seen twice.
        let news = self.lease_watchers.listen(&self.ledger, |watchers| watchers.listen(&actor.id));
        let mut watch = Watch {
            engine: self.clone(),
            holder: actor.id,
            news,
            ready: VecDeque::new(),
            walk: None,
            alarms: Alarms::default(),
            seen: 0,
            place: after.unwrap_or(WatchPosition::at(0)),
            told: HashMap::new(),
        };
        // What cannot be read is told at once.
        watch.walk_on(Walk::begin(watch.leases(), after)).await?;
        let notices = stream::unfold(Some(watch), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(notice) => Some((Ok(notice), Some(watch))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(notices.boxed())
    }
}

impl Watch {
    async fn next(&mut self) -> Result<LeaseNotice, EngineError> {
        loop {
            if let Some(notice) = self.ready.pop_front() {
                return Ok(notice);
            }
            if let Some(walk) = self.walk.take() {
                self.walk_on(walk).await?;
                continue;
            }
            let now = self.engine.now();
            let next = match self.alarms.next() {
                Next::Tell(at, lease) if at <= now => {
                    self.warn(at, lease).await?;
                    continue;
                }
                Next::LookAgain(at) if at <= now => {
                    let from = self.alarms.look_again();
                    self.walk = Some(Walk::alarms(self.leases(), from));
                    continue;
                }
                Next::Tell(at, _) | Next::LookAgain(at) => Some(at),
                Next::Nothing => None,
            };
            let clock = self.engine.clock.clone();
            let alarm = async {
                match next {
                    Some(at) => clock.sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                news = self.news.recv() => match news {
                    Some(news) => self.hear(news),
                    None => return Err(EngineError::WatchLagged),
                },
                () = alarm => {}
            }
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Told(telling) if telling.revision > self.seen => {
                self.walk = Some(Walk::telling(self.leases(), telling));
            }
            News::Lease(revision, lease) if revision > self.seen => {
                self.seen = revision;
                if lease.is_live(self.engine.now()) {
                    self.alarms.set(lease.id, soon_at(&lease));
                } else {
                    self.alarms.cancel(lease.id);
                }
                if self.told.get(&lease.id).is_some_and(|told| revision <= *told) {
                    return;
                }
                self.told.remove(&lease.id);
                let (resume, change) = (self.position(), change_of(&lease));
                self.ready.push_back(LeaseNotice { revision, resume, change, lease });
            }
            _ => {}
        }
    }

    /// Tells that a lease ends soon, if it is still the lease that the alarm was set for.
    async fn warn(&mut self, at: Timestamp, id: LeaseId) -> Result<(), EngineError> {
        self.alarms.cancel(id);
        if let Some((lease, revision)) = self.engine.load(id).await?
            && lease.is_live(self.engine.now())
            && soon_at(&lease) == at
        {
            let (resume, change) = (self.position(), LeaseChange::ExpiringSoon);
            self.ready.push_back(LeaseNotice { revision, resume, change, lease: Arc::new(lease) });
        }
        Ok(())
    }

    /// Where the holder is once everything that is ready has been told.
    fn position(&self) -> WatchPosition {
        WatchPosition { seen: self.seen, warned: self.alarms.warned(self.engine.now()), left: None }
    }

    fn leases(&self) -> KeyRange {
        KeyRange::held_by(&self.holder)
    }

    fn remember(&mut self, lease: LeaseId, revision: Revision) {
        if self.told.len() < REMEMBERED {
            self.told.insert(lease, revision);
        }
    }
}
