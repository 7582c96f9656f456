//! What the leases' tasks share: what is held, and how it is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use leasehold_client::{Change, Changes, Client, Error, Leased};
use leasehold_core::{LeaseId, Timestamp, ports::Clock};
use tokio::{sync::watch, time::sleep};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{
    leasing::{Leasing, Word, wait},
    lock,
};
use crate::{
    config::{Broker, Secret},
    name::Name,
    snapshot::{Loan, Snapshot, Standing, Trouble},
};

pub(super) struct Shared {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) told: watch::Sender<Arc<Snapshot>>,
    /// What the configuration wants.
    pub(super) wanted: Mutex<Vec<Secret>>,
    pub(super) guards: Mutex<BTreeMap<Name, Leased>>,
    pub(super) keepers: Mutex<BTreeMap<Name, AbortOnDropHandle<()>>>,
    /// The leases that the cache had: given back when another one is in use.
    pub(super) kept: Mutex<BTreeMap<Name, LeaseId>>,
    /// What is not wanted any more, and is held until nobody uses it.
    pub(super) going: Mutex<Vec<Going>>,
    pub(super) client: watch::Sender<Option<Client>>,
    /// Leases that are being given back, and those that would be held by nobody when one did not wait for them.
    pub(super) partings: TaskTracker,
}

/// What an edition of the configuration does not want any more.
pub(super) struct Going {
    pub(super) name: Name,
    pub(super) edition: u64,
    pub(super) guard: Option<Leased>,
}

impl Shared {
    /// Has a client, however long that takes, and then a keeper for each secret.
    pub(super) async fn keep_all(self: Arc<Self>, broker: Broker) {
        let mut failures = 0;
        let client = loop {
            // Anew each time: the files of the identity may not be there yet.
            match broker.builder().connect_lazily().await {
                Ok(client) => break client,
                Err(error) => {
                    let wanted = lock(&self.wanted).clone();
                    wanted.iter().for_each(|secret| self.in_trouble(secret, &error));
                    failures = u32::saturating_add(failures, 1);
                    sleep(wait(failures, None)).await;
                }
            }
        };
        self.client.send_replace(Some(client.clone()));
        let wanted = lock(&self.wanted).clone();
        for secret in wanted {
            let name = secret.name.clone();
            let keeper = tokio::spawn(Arc::clone(&self).keep(client.clone(), secret));
            lock(&self.keepers).insert(name, AbortOnDropHandle::new(keeper));
        }
    }

    /// Has one secret, however long that takes, and keeps it.
    async fn keep(self: Arc<Self>, client: Client, secret: Secret) {
        let mut leasing = Leasing::begin(&client, [secret.clone()], &self.partings);
        let guard = loop {
            match leasing.next().await {
                Some(Word::Refused(secret, error)) => self.in_trouble(&secret, &error),
                Some(Word::Leased(mut staged)) => match staged.take().pop() {
                    Some((_, guard)) => break guard,
                    None => return,
                },
                None => return,
            }
        };
        tracing::info!(secret = %secret.name, path = %secret.path, "leased");
        let changes = guard.changes();
        lock(&self.guards).insert(secret.name.clone(), guard);
        self.look(&secret.name);
        self.follow(secret, changes).await;
    }

    /// Keeps one secret that has been leased.
    pub(super) fn hold(self: &Arc<Self>, secret: Secret, guard: Leased) {
        let (name, changes) = (secret.name.clone(), guard.changes());
        lock(&self.guards).insert(name.clone(), guard);
        let keeper = tokio::spawn(Arc::clone(self).follow(secret, changes));
        lock(&self.keepers).insert(name, AbortOnDropHandle::new(keeper));
    }

    async fn follow(self: Arc<Self>, secret: Secret, mut changes: Changes) {
        while let Some(change) = changes.next().await {
            self.say(&secret, &change);
            self.look(&secret.name);
        }
    }

    /// Takes what a guard holds into a snapshot.
    fn look(&self, name: &Name) {
        let guards = lock(&self.guards);
        let Some(guard) = guards.get(name) else { return };
        let (loan, trouble) = loan_of(guard, self.clock.now());
        drop(guards);
        self.change(|snapshot, now| {
            snapshot.secrets.insert(name.clone(), Arc::new(loan));
            set_trouble(snapshot, name, trouble, now);
        });
    }

    /// Says what has become of a lease; that it could not be kept at all is said loudly.
    fn say(&self, secret: &Secret, change: &Change) {
        let (name, path) = (&secret.name, &secret.path);
        match change {
            Change::Replaced(holding) => {
                tracing::info!(secret = %name, %path, lease = %holding.lease.id, "there is a new lease");
            }
            Change::Recovered => tracing::info!(secret = %name, %path, "its lease is kept again"),
            Change::Ended { why } => tracing::error!(
                secret = %name, %path, ?why,
                "its lease has ended and no other could be had: the value may not work any more"
            ),
            // The guard has said it.
            Change::Failing { .. } => {}
            _ => tracing::debug!(secret = %name, %path, "renewed"),
        }
    }

    /// No lease can be had yet.
    fn in_trouble(&self, secret: &Secret, error: &Error) {
        let message = error.to_string();
        let known = self.told.borrow().troubles.get(&secret.name).is_some_and(|old| *old.message == *message);
        if known {
            return;
        }
        tracing::warn!(
            secret = %secret.name, path = %secret.path,
            // By it, whoever may read the broker's audit journal finds out why.
            call = error.request_id(),
            "cannot be leased, and is tried again: {message}"
        );
        self.change(|snapshot, now| set_trouble(snapshot, &secret.name, Some(message), now));
    }

    /// Waits for the end of what the cache had.
    pub(super) async fn end_kept(self: Arc<Self>, name: Name, lease: LeaseId, ends: Timestamp) {
        // Whichever says so first: a time of day that is set back makes no lease longer.
        let left = Duration::try_from(ends.duration_since(self.clock.now())).unwrap_or_default();
        let by_the_clock = async {
            while self.clock.now() < ends {
                self.clock.sleep_until(ends).await;
            }
        };
        tokio::select! {
            () = by_the_clock => {}
            () = sleep(left) => {}
        }
        let mine = |loan: &Loan| loan.lease == lease && loan.holding().is_none();
        if !self.told.borrow().secrets.get(&name).is_some_and(|loan| mine(loan)) {
            return;
        }
        tracing::error!(secret = %name, "the kept lease has ended and no other could be had: the value may not work any more");
        self.change(|snapshot, _| {
            if let Some(loan) = snapshot.secrets.get_mut(&name).filter(|loan| mine(loan)) {
                *loan = Arc::new(loan.with_standing(Standing::Expired));
            }
        });
    }

    /// Tells another snapshot.
    pub(super) fn change(&self, change: impl FnOnce(&mut Snapshot, Timestamp)) {
        let now = self.clock.now();
        self.told.send_modify(|snapshot| {
            let next = Arc::make_mut(snapshot);
            next.generation = next.generation.saturating_add(1);
            change(next, now);
        });
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("told", &self.told).finish_non_exhaustive()
    }
}

/// What a guard holds, and what is wrong with it.
pub(super) fn loan_of(guard: &Leased, now: Timestamp) -> (Loan, Option<String>) {
    let (standing, trouble) = match guard.standing() {
        leasehold_client::Standing::Kept => (Standing::Fresh, None),
        leasehold_client::Standing::Failing { error, .. } => (Standing::Failing, Some(error.to_string())),
        _ => (Standing::Expired, Some("its lease has ended, and no other can be had yet".to_owned())),
    };
    (Loan::leased(guard.current(), standing, now), trouble)
}

/// The same trouble keeps its beginning.
fn set_trouble(snapshot: &mut Snapshot, name: &Name, message: Option<String>, now: Timestamp) {
    match message {
        None => {
            snapshot.troubles.remove(name);
        }
        Some(message) => {
            let since = snapshot.troubles.get(name).map_or(now, |old| old.since);
            snapshot.troubles.insert(name.clone(), Trouble { message: message.into(), since });
        }
    }
}
