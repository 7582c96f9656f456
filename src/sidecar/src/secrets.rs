//! Holds a lease on every secret of the configuration, and tells what is held as snapshots.
//!
//! Each lease is kept by the client's guard; here is what stands around it: the first lease, which may be a long time coming
//! when the broker is away, what the cache had before that, what another reading of the configuration wants, and what is said
//! of it all.

mod staged;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    future::join_all,
    stream::{FuturesUnordered, StreamExt},
};
use leasehold_client::{Change, Changes, Client, Error, Leased};
use leasehold_core::{LeaseId, Timestamp, ports::Clock};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

pub use self::staged::Staged;

use crate::{
    config::{Broker, Secret},
    name::Name,
    snapshot::{Loan, Snapshot, Standing, Trouble},
};

/// The leases. Kept in the background until [`Secrets::close`].
#[derive(Debug)]
pub struct Secrets {
    shared: Arc<Shared>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    tasks: Mutex<JoinSet<()>>,
    /// Leases that are being given back.
    partings: Mutex<JoinSet<()>>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    told: watch::Sender<Arc<Snapshot>>,
    /// What the configuration wants.
    wanted: Mutex<Vec<Secret>>,
    guards: Mutex<BTreeMap<Name, Leased>>,
    keepers: Mutex<BTreeMap<Name, AbortOnDropHandle<()>>>,
    /// The leases that the cache had: given back when another one is in use.
    kept: Mutex<BTreeMap<Name, LeaseId>>,
    /// What is not wanted any more, and is held until nobody uses it.
    going: Mutex<Vec<Going>>,
    client: watch::Sender<Option<Client>>,
}

/// What an edition of the configuration does not want any more.
struct Going {
    name: Name,
    edition: u64,
    guard: Option<Leased>,
}

/// The first and the longest wait before a first lease is asked for again.
const RETRIES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// So long an end in order waits for the broker.
const PARTING: Duration = Duration::from_secs(5);

impl Secrets {
    /// Begins to lease what is wanted, without waiting: the broker may be away. `kept` is what the cache has of it, good until
    /// a lease of one's own takes its place.
    pub fn start(broker: Broker, wanted: &[Secret], kept: Snapshot, clock: Arc<dyn Clock>) -> Self {
        let names: Vec<_> = wanted.iter().map(|secret| secret.name.clone()).collect();
        let path_of =
            |name: &Name| wanted.iter().find(|secret| secret.name == *name).map(|secret| &secret.path);
        let mut loans = kept.secrets;
        loans.retain(|name, loan| path_of(name) == Some(&loan.path));
        let earlier = loans.iter().map(|(name, loan)| (name.clone(), loan.lease)).collect();
        let snapshot = Snapshot { secrets: loans, wanted: names.into(), ..Snapshot::default() };
        let (told, snapshots) = watch::channel(Arc::new(snapshot));
        let shared = Arc::new(Shared {
            clock,
            told,
            wanted: Mutex::new(wanted.to_owned()),
            guards: Mutex::default(),
            keepers: Mutex::default(),
            kept: Mutex::new(earlier),
            going: Mutex::default(),
            client: watch::Sender::default(),
        });
        let mut tasks = JoinSet::new();
        for (name, loan) in &snapshots.borrow().secrets {
            tasks.spawn(Arc::clone(&shared).end_kept(name.clone(), loan.lease, loan.ends));
        }
        tasks.spawn(Arc::clone(&shared).keep_all(broker));
        Self { shared, snapshots, tasks: Mutex::new(tasks), partings: Mutex::default() }
    }

    /// What is held, now and from now on. A slow receiver sees the latest.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Says that what is in `to` is in use now everywhere, and nothing older: the leases before it are given back.
    pub fn switched(&self, to: &Snapshot) {
        let guards = lock(&self.shared.guards);
        for (name, loan) in &to.secrets {
            if let (Some(guard), Some(holding)) = (guards.get(name), loan.holding()) {
                guard.switched(holding);
                self.give_back_kept(name);
            }
        }
        drop(guards);
        let is_over = |going: &mut Going| to.edition >= going.edition && to.secrets.contains_key(&going.name);
        let over: Vec<_> = lock(&self.shared.going).extract_if(.., is_over).collect();
        for Going { name, guard, .. } in over {
            self.let_go(name, guard);
        }
    }

    /// Nobody uses it any more.
    fn let_go(&self, name: Name, guard: Option<Leased>) {
        let is_wanted = lock(&self.shared.wanted).iter().any(|secret| secret.name == name);
        if !is_wanted {
            self.give_back_kept(&name);
            self.shared.change(|snapshot, _| {
                snapshot.secrets.remove(&name);
            });
        }
        let Some(guard) = guard else { return };
        tracing::info!(secret = %name, "not wanted any more: its lease is given back");
        lock(&self.partings).spawn(async move {
            if let Err(error) = guard.close().await {
                tracing::warn!(secret = %name, %error, "its lease is not given back, and ends at its time");
            }
        });
    }

    /// Gives back what a sidecar before this one had, now that it is not in use any more.
    fn give_back_kept(&self, name: &Name) {
        let kept = lock(&self.shared.kept).remove(name);
        let (Some(lease), Some(client)) = (kept, self.shared.client.borrow().clone()) else { return };
        let name = name.clone();
        lock(&self.partings).spawn(async move {
            if let Err(error) = client.revoke_lease(lease, None).await {
                tracing::warn!(secret = %name, %lease, %error, "the kept lease is not given back, and ends at its time");
            }
        });
    }

    /// Leases what is wanted and not held as it is wanted, beside what is held; for ever, if need be. `trouble` is told why
    /// that takes long. Dropped before or after its end, it gives everything back that has been leased.
    pub async fn stage(&self, wanted: &[Secret], trouble: impl Fn(&Secret, &Error)) -> Staged {
        let before = lock(&self.shared.wanted).clone();
        let mut staged = Staged::default();
        let new: Vec<_> = wanted.iter().filter(|secret| !before.contains(secret)).collect();
        if new.is_empty() {
            return staged;
        }
        let mut clients = self.shared.client.subscribe();
        let client = match clients.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(client)) => client.clone(),
            // It has ended.
            _ => return std::future::pending().await,
        };
        let lease = |secret: &Secret| {
            let (client, secret, trouble) = (client.clone(), secret.clone(), &trouble);
            async move {
                let guard = leased(&client, &secret, |error| trouble(&secret, error)).await;
                (secret, guard)
            }
        };
        let mut leasing: FuturesUnordered<_> = new.into_iter().map(lease).collect();
        while let Some((secret, guard)) = leasing.next().await {
            staged.put(secret, guard);
        }
        staged
    }

    /// What would be held if this were adopted.
    pub fn prospect(&self, staged: &Staged, wanted: &[Secret], edition: u64) -> Snapshot {
        let mut snapshot = Snapshot::clone(&self.snapshots.borrow());
        staged.enter(&mut snapshot, wanted, edition, self.shared.clock.now());
        snapshot
    }

    /// Holds what was staged from now on as what `edition` of the configuration wants. What is not wanted any more is held
    /// until it is said that nobody uses it.
    pub fn adopt(&self, mut staged: Staged, wanted: &[Secret], edition: u64) {
        let before = mem::replace(&mut *lock(&self.shared.wanted), wanted.to_owned());
        let held = Arc::clone(&self.snapshots.borrow());
        for secret in before.into_iter().filter(|secret| !wanted.contains(secret)) {
            lock(&self.shared.keepers).remove(&secret.name);
            let guard = lock(&self.shared.guards).remove(&secret.name);
            if guard.is_some() || held.secrets.contains_key(&secret.name) {
                lock(&self.shared.going).push(Going { name: secret.name, edition, guard });
            }
        }
        self.shared.change(|snapshot, now| staged.enter(snapshot, wanted, edition, now));
        for (secret, guard) in staged.take() {
            self.shared.hold(secret, guard);
        }
    }

    /// Keeps no lease any longer. With `give_back`, the broker is told, as far as it can be reached in a few seconds;
    /// without, the leases end at their time.
    pub async fn close(&self, give_back: bool) {
        // First those who would take new leases.
        lock(&self.tasks).abort_all();
        lock(&self.shared.keepers).clear();
        let guards = mem::take(&mut *lock(&self.shared.guards));
        let going = mem::take(&mut *lock(&self.shared.going));
        if !give_back {
            return;
        }
        let going = going.into_iter().filter_map(|going| Some((going.name, going.guard?)));
        let closing =
            guards.into_iter().chain(going).map(|(name, guard)| async move { (name, guard.close().await) });
        let partings = mem::take(&mut *lock(&self.partings));
        match timeout(PARTING, async { (join_all(closing).await, partings.join_all().await) }).await {
            Ok((outcomes, _)) => {
                for (name, error) in
                    outcomes.into_iter().filter_map(|(name, outcome)| Some((name, outcome.err()?)))
                {
                    tracing::warn!(secret = %name, %error, "its lease is not given back, and ends at its time");
                }
            }
            Err(_) => {
                tracing::warn!("the broker does not answer: leases are not given back, and end at their time")
            }
        }
    }
}

impl Shared {
    /// Has a client, however long that takes, and then a keeper for each secret.
    async fn keep_all(self: Arc<Self>, broker: Broker) {
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
        let guard = leased(&client, &secret, |error| self.in_trouble(&secret, error)).await;
        tracing::info!(secret = %secret.name, path = %secret.path, "leased");
        let changes = guard.changes();
        lock(&self.guards).insert(secret.name.clone(), guard);
        self.look(&secret.name);
        self.follow(secret, changes).await;
    }

    /// Keeps one secret that has been leased.
    fn hold(self: &Arc<Self>, secret: Secret, guard: Leased) {
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
        tracing::warn!(secret = %secret.name, path = %secret.path, "cannot be leased, and is tried again: {message}");
        self.change(|snapshot, now| set_trouble(snapshot, &secret.name, Some(message), now));
    }

    /// Waits for the end of what the cache had.
    async fn end_kept(self: Arc<Self>, name: Name, lease: LeaseId, ends: Timestamp) {
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
    fn change(&self, change: impl FnOnce(&mut Snapshot, Timestamp)) {
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
fn loan_of(guard: &Leased, now: Timestamp) -> (Loan, Option<String>) {
    let (standing, trouble) = match guard.standing() {
        leasehold_client::Standing::Kept => (Standing::Fresh, None),
        leasehold_client::Standing::Failing { error, .. } => (Standing::Failing, Some(error.to_string())),
        _ => (Standing::Expired, Some("its lease has ended, and no other can be had yet".to_owned())),
    };
    (Loan::leased(guard.current(), standing, now), trouble)
}

/// A first lease, however long that takes; `trouble` is told of every try that failed.
async fn leased(client: &Client, secret: &Secret, trouble: impl Fn(&Error)) -> Leased {
    let mut failures = 0;
    loop {
        match first(client, secret).await {
            Ok(guard) => return guard,
            Err(error) => {
                trouble(&error);
                failures = u32::saturating_add(failures, 1);
                sleep(wait(failures, error.retry_after())).await;
            }
        }
    }
}

async fn first(client: &Client, secret: &Secret) -> Result<Leased, Error> {
    let borrow = client.lease(secret.path.as_str()).fields(secret.fields.iter().map(|field| field.as_str()));
    match secret.ttl {
        Some(ttl) => borrow.ttl(ttl).await,
        None => borrow.await,
    }
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

/// How long after so many failures in a row: longer and longer, and not all sidecars at once.
fn wait(failures: u32, asked: Option<Duration>) -> Duration {
    let whole = RETRIES.0.saturating_mul(1_u32 << failures.saturating_sub(1).min(10)).min(RETRIES.1);
    let chance = RandomState::new().hash_one(failures) >> 32;
    let jittered = whole.mul_f64(0.5 + chance as f64 / f64::from(u32::MAX) / 2.0);
    jittered.max(asked.unwrap_or_default())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::testing::{Frozen, loan, snapshot};

    #[test]
    fn waits_grow_to_their_bound_and_heed_what_the_broker_asks() {
        for (failures, most) in [(1, 500), (2, 1_000), (4, 4_000), (30, 15_000)] {
            let wait = wait(failures, None).as_millis();
            assert!((most / 2..=most).contains(&wait), "{failures}: {wait}");
        }
        assert_eq!(wait(1, Some(Duration::from_secs(60))), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_stands_keeps_no_kept_lease_alive() {
        let text = "[broker]\naddresses = 'broker:8443'\nidentity = '/nowhere'\n\n\
                    [[secret]]\nname = 'db'\npath = 'prod/db'\n";
        let config = crate::Config::parse(&leasehold_config::Source::new("s.toml", text)).unwrap();
        let clock = Arc::new(Frozen(Timestamp::from_second(100).unwrap()));
        let kept = snapshot(&[("db", loan(160))]);
        let secrets = Secrets::start(config.broker, &config.secrets, kept, clock);
        let mut snapshots = secrets.snapshots();
        let began = tokio::time::Instant::now();
        let is_over = |snapshot: &Arc<Snapshot>| snapshot.secrets["db"].standing == Standing::Expired;
        assert!(!is_over(&snapshots.borrow()));
        snapshots.wait_for(is_over).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 60);
    }
}
