//! A watch's look at its holder's leases, a page at a time: at the beginning, when a secret was rotated, and when more
//! alarms are needed than fit in memory.

use std::{collections::HashMap, sync::Arc};

use leasehold_core::{
    Lease, SecretPath, Timestamp,
    lease::{LeaseKind, LeaseState},
    rotation::Rotation,
    state::{Entry, Key, KeyRange, Revision},
};
use tokio::task::coop;

use super::{
    Watch,
    alarms::soon_at,
    feed::{Telling, change_of},
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
    /// To tell what happened to a secret's versions.
    Telling(Arc<Telling>),
    /// To set the alarms from here on.
    Alarms(Timestamp),
}

/// The rotations that this page has asked for, and the records that wrote them.
type Rotations = HashMap<SecretPath, Arc<(Rotation, Revision)>>;

impl Walk {
    pub(super) fn begin(range: KeyRange, origin: Option<WatchPosition>) -> Self {
        Self { range, why: Why::Begin { origin, whole: None, pages: 0 } }
    }

    pub(super) fn telling(range: KeyRange, telling: Arc<Telling>) -> Self {
        Self { range, why: Why::Telling(telling) }
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
        let mut rotations = Rotations::new();
        for entry in &page {
            coop::consume_budget().await;
            let Some(id) = entry.key.lease_id() else { continue };
            let Some((lease, revision)) = self.engine.load(id).await? else { continue };
            match &walk.why {
                Why::Begin { origin, whole, .. } => {
                    let whole = whole.unwrap_or_default();
                    self.begin_with(entry, lease, revision, *origin, whole, &mut rotations).await?;
                }
                Why::Telling(telling) => {
                    if entry.revision < telling.revision
                        && lease.secret == telling.secret
                        && lease.is_live(self.engine.now())
                    {
                        self.tell_on(telling, &Arc::new(lease));
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

    /// The latest record that these leases and their secrets show: whatever is read from now on has it and all before it.
    async fn visible(&self, page: &[Entry]) -> Result<Revision, EngineError> {
        let (mut latest, mut rotations) = (0, Rotations::new());
        for entry in page {
            coop::consume_budget().await;
            let Some(id) = entry.key.lease_id() else { continue };
            latest = latest.max(entry.revision);
            let Some((lease, changed)) = self.engine.load(id).await? else { continue };
            latest = latest.max(changed);
            if lease.kind == LeaseKind::Static {
                latest = latest.max(self.rotation_of(&lease.secret, &mut rotations).await?.1);
            }
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
            Why::Telling(telling) => self.seen = self.seen.max(telling.revision),
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
        let leases = notices.iter().filter(|notice| !is_told(&notice.change));
        let leases: HashMap<_, _> = leases.map(|notice| (notice.lease.id, notice.revision)).collect();
        // What a lease is comes before what is told of its version, even when it was renewed since.
        notices.sort_by_key(|notice| {
            notice.revision.max(leases.get(&notice.lease.id).copied().unwrap_or_default())
        });
        let mut rest = Revision::MAX;
        for notice in notices.iter_mut().rev() {
            // One record can tell several things: it has been told with the last of them.
            let told = notice.revision.min(rest.saturating_sub(1)).min(self.seen);
            rest = rest.min(notice.revision);
            notice.resume = WatchPosition { seen: told, warned, left: None };
        }
    }

    async fn begin_with(
        &mut self,
        entry: &Entry,
        lease: Lease,
        revision: Revision,
        origin: Option<WatchPosition>,
        whole: Revision,
        rotations: &mut Rotations,
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
        if change.is_some() && revision > whole {
            self.remember(lease.id, revision);
        }
        let mut all: Vec<_> = change.map(|change| (revision, change)).into_iter().collect();
        if lease.is_live(self.engine.now()) {
            let at = soon_at(&lease);
            if at > warned || known.is_none_or(|known| revision > known) {
                self.alarms.set(lease.id, at);
            }
            if let Some(held) = lease.version.as_ref().filter(|_| lease.kind == LeaseKind::Static) {
                let rotation = self.rotation_of(&lease.secret, rotations).await?;
                let missed = rotation.0.missed(held, entry.revision, known).into_iter();
                all.extend(missed.map(|(revision, told)| (revision, LeaseChange::from(told))));
            }
        }
        let Some((revision, last)) = all.pop() else { return Ok(()) };
        for (revision, change) in all {
            self.tell(revision, self.place, change, lease.clone());
        }
        self.tell(revision, resume, last, lease);
        Ok(())
    }

    /// Tells what has happened to the version that a lease is on.
    fn tell_on(&mut self, telling: &Telling, lease: &Arc<Lease>) {
        let Some(held) = &lease.version else { return };
        let resume = WatchPosition { seen: telling.revision.saturating_sub(1), ..self.position() };
        for told in telling.told.iter().filter(|told| told.concerns(held)) {
            self.tell(telling.revision, resume, told.clone().into(), lease.clone());
        }
    }

    fn tell(&mut self, revision: Revision, resume: WatchPosition, change: LeaseChange, lease: Arc<Lease>) {
        self.place = resume;
        self.ready.push_back(LeaseNotice { revision, resume, change, lease });
    }

    /// What is known of a secret's rotation, and the record that wrote it.
    async fn rotation_of(
        &self,
        secret: &SecretPath,
        rotations: &mut Rotations,
    ) -> Result<Arc<(Rotation, Revision)>, EngineError> {
        if let Some(known) = rotations.get(secret) {
            return Ok(known.clone());
        }
        let (rotation, revision) = self.engine.rotation(secret).await?;
        let read = Arc::new((rotation, revision.unwrap_or_default()));
        rotations.insert(secret.clone(), read.clone());
        Ok(read)
    }
}

/// Whether it is news of a lease's version, and not of the lease.
const fn is_told(change: &LeaseChange) -> bool {
    matches!(change, LeaseChange::Rotated { .. } | LeaseChange::Draining { .. } | LeaseChange::Retired)
}
