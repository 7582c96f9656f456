//! A watch's look at its holder's leases, a page at a time: at the beginning, when a secret was rotated, and when more
//! alarms are needed than fit in memory.

use std::{collections::HashMap, sync::Arc};

use leasehold_core::{
    Lease, SecretPath, Timestamp,
    lease::{LeaseKind, LeaseState},
    secret::VersionId,
    state::{Entry, Key, KeyRange, Revision},
};
use tokio::task::coop;

use super::{
    Watch,
    alarms::soon_at,
    feed::{Rotation, change_of},
    position::{Left, WatchPosition},
};
use crate::{
    error::EngineError,
    request::{LeaseChange, LeaseNotice},
};

/// So many leases are looked at before what was found is told.
const PAGE: usize = 256;

/// How far it is.
pub(super) struct Walk {
    range: KeyRange,
    why: Why,
}

enum Why {
    /// To tell what there is, or what changed behind a position.
    Begin {
        /// Where the holder left off.
        origin: Option<WatchPosition>,
        /// The latest record that is known to be in all that is read here. Of a later one only a part may be: leases that
        /// were read before it changed them.
        whole: Option<Revision>,
        /// How many pages there were before this one.
        pages: usize,
    },
    /// To tell who holds an older version.
    Rotation(Arc<Rotation>),
    /// To set the alarms from here on.
    Alarms(Timestamp),
}

/// The current versions that this page has asked for.
type Currents = HashMap<SecretPath, Option<(VersionId, Revision)>>;

impl Walk {
    pub(super) fn begin(range: KeyRange, origin: Option<WatchPosition>) -> Self {
        Self { range, why: Why::Begin { origin, whole: None, pages: 0 } }
    }

    pub(super) fn rotation(range: KeyRange, rotation: Arc<Rotation>) -> Self {
        Self { range, why: Why::Rotation(rotation) }
    }

    pub(super) fn alarms(range: KeyRange, from: Timestamp) -> Self {
        Self { range, why: Why::Alarms(from) }
    }
}

impl Watch {
    /// Looks at the next page.
    pub(super) async fn walk_on(&mut self, mut walk: Walk) -> Result<(), EngineError> {
        let page = self.engine.ledger.scan(&walk.range, PAGE).await?;
        if let Why::Begin { origin, whole: whole @ None, .. } = &mut walk.why {
            *whole = Some(self.visible(&page).await?.max(origin.map_or(0, |origin| origin.seen)));
        }
        let mut currents = Currents::new();
        for entry in &page {
            coop::consume_budget().await;
            let Some(id) = entry.key.lease_id() else { continue };
            let Some((lease, revision)) = self.engine.load(id).await? else { continue };
            match &walk.why {
                Why::Begin { origin, whole, .. } => {
                    let whole = whole.unwrap_or_default();
                    self.begin_with(entry, lease, revision, *origin, whole, &mut currents).await?;
                }
                Why::Rotation(rotation) => {
                    if entry.revision < rotation.revision
                        && holds_another(&lease, rotation, self.engine.now())
                    {
                        let resume =
                            WatchPosition { seen: rotation.revision.saturating_sub(1), ..self.position() };
                        self.tell(revision, resume, LeaseChange::Rotated, Arc::new(lease));
                    }
                }
                Why::Alarms(from) => {
                    let at = soon_at(&lease);
                    if lease.is_live(self.engine.now()) && at >= *from {
                        self.alarms.set(id, at);
                    }
                }
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => {
                if let Why::Begin { pages, .. } = &mut walk.why {
                    *pages = pages.saturating_add(1);
                }
                walk.range = walk.range.after(&last.key);
                self.walk = Some(walk);
            }
            _ => self.arrive(&walk.why),
        }
        Ok(())
    }

    /// The latest record that these leases show: whatever is read from now on has it and all before it.
    async fn visible(&self, page: &[Entry]) -> Result<Revision, EngineError> {
        let mut latest = 0;
        for entry in page {
            coop::consume_budget().await;
            let Some(id) = entry.key.lease_id() else { continue };
            let changed = self.engine.load(id).await?.map_or(0, |(_, revision)| revision);
            latest = latest.max(entry.revision).max(changed);
        }
        Ok(latest)
    }

    /// Everything was looked at: what was told last is the end of it.
    fn arrive(&mut self, why: &Why) {
        match why {
            Why::Begin { origin, whole, pages } => {
                self.seen = whole.unwrap_or_default();
                if *pages == 0 && origin.is_none_or(|origin| origin.left.is_none()) {
                    self.order_by_time(origin.map_or(Timestamp::MIN, |origin| origin.warned));
                }
            }
            Why::Rotation(rotation) => self.seen = self.seen.max(rotation.revision),
            Why::Alarms(_) => return,
        }
        let position = self.position();
        if let Some(last) = self.ready.back_mut() {
            last.resume = position;
        }
    }

    /// Puts a beginning that fits a page into the order in which things happened.
    fn order_by_time(&mut self, warned: Timestamp) {
        let notices = self.ready.make_contiguous();
        notices.sort_by_key(|notice| notice.revision);
        let mut next = None;
        for notice in notices.iter_mut().rev() {
            // One record can change several leases: it has been told with the last of them.
            let told = if next == Some(notice.revision) {
                notice.revision.saturating_sub(1)
            } else {
                notice.revision
            };
            next = Some(notice.revision);
            notice.resume = WatchPosition { seen: told.min(self.seen), warned, left: None };
        }
    }

    async fn begin_with(
        &mut self,
        entry: &Entry,
        lease: Lease,
        revision: Revision,
        origin: Option<WatchPosition>,
        whole: Revision,
        currents: &mut Currents,
    ) -> Result<(), EngineError> {
        let warned = origin.map_or(Timestamp::MIN, |origin| origin.warned);
        let go_on = |since| WatchPosition { seen: whole, warned, left: Some(Left { past: lease.id, since }) };
        // What the holder knows of this lease, which is everything up to a record or nothing; and where it is after it.
        let (known, resume) = match origin {
            None => (None, go_on(None)),
            Some(origin) => match origin.left {
                None => (Some(origin.seen), go_on(Some(origin.seen))),
                Some(left) if entry.key > Key::holder(&self.holder, left.past) => {
                    (left.since, go_on(left.since))
                }
                // Before the place where it was left: what changed there is told again, if need be.
                Some(_) => (Some(origin.seen), origin),
            },
        };
        let lease = Arc::new(lease);
        let change = match known {
            Some(known) if revision <= known => None,
            Some(_) if matches!(lease.state, LeaseState::Pending { .. }) => None,
            Some(_) => Some(change_of(&lease)),
            None if lease.is_ended() => None,
            None => Some(LeaseChange::Snapshot),
        };
        if let Some(change) = change {
            if revision > whole {
                self.remember(lease.id, revision);
            }
            self.tell(revision, resume, change, lease.clone());
        }
        if !lease.is_live(self.engine.now()) {
            return Ok(());
        }
        let at = soon_at(&lease);
        if at > warned || known.is_none_or(|known| revision > known) {
            self.alarms.set(lease.id, at);
        }
        if lease.kind == LeaseKind::Static
            && let Some((current, since)) = self.current(&lease.secret, currents).await?
            && (known.unwrap_or_default().max(entry.revision)) < since
            && lease.version.as_ref() != Some(&current)
        {
            self.tell(revision, resume, LeaseChange::Rotated, lease);
        }
        Ok(())
    }

    fn tell(&mut self, revision: Revision, resume: WatchPosition, change: LeaseChange, lease: Arc<Lease>) {
        self.ready.push_back(LeaseNotice { revision, resume, change, lease });
    }

    /// The version that a secret was given last through the broker, and by which record.
    async fn current(
        &self,
        secret: &SecretPath,
        currents: &mut Currents,
    ) -> Result<Option<(VersionId, Revision)>, EngineError> {
        if let Some(known) = currents.get(secret) {
            return Ok(known.clone());
        }
        let entry = self.engine.ledger.get(&Key::current(secret)).await?;
        let current = entry.and_then(|entry| {
            let version = std::str::from_utf8(entry.value.expose()).ok()?.parse().ok()?;
            Some((version, entry.revision))
        });
        currents.insert(secret.clone(), current.clone());
        Ok(current)
    }
}

/// Whether it is a live lease on that secret at another version.
fn holds_another(lease: &Lease, rotation: &Rotation, now: Timestamp) -> bool {
    lease.is_live(now) && lease.secret == rotation.secret && lease.version.as_ref() != Some(&rotation.version)
}
