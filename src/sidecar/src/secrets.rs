//! Holds a lease on every secret of the configuration, and tells what is held as snapshots.
//!
//! Each lease is kept by the client's guard; here is what stands around it: the first lease, which may be a long time coming
//! when the broker is away, what the cache had before that, what another reading of the configuration wants, and what is said
//! of it all.

mod leasing;
mod shared;
mod staged;

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use leasehold_client::{Client, Error, Leased};
use leasehold_core::ports::Clock;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::task::TaskTracker;

pub use self::staged::Staged;
use self::{
    leasing::{Leasing, Word},
    shared::{Going, Shared},
};
use crate::{
    config::{Broker, Secret},
    name::Name,
    snapshot::Snapshot,
};

/// The leases. Kept in the background until [`Secrets::close`].
#[derive(Debug)]
pub struct Secrets {
    shared: Arc<Shared>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    tasks: Mutex<JoinSet<()>>,
}

/// How it goes with what another reading of the configuration wants.
#[derive(Debug)]
pub enum Progress<'a> {
    /// There is no identity yet to reach the broker with.
    NoIdentity,
    /// Now there is one.
    Identity,
    /// A lease cannot be had, and is tried again.
    Refused(&'a Secret, &'a Error),
    /// It is had.
    Leased(&'a Secret),
}

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
            partings: TaskTracker::new(),
        });
        let mut tasks = JoinSet::new();
        for (name, loan) in &snapshots.borrow().secrets {
            tasks.spawn(Arc::clone(&shared).end_kept(name.clone(), loan.lease, loan.ends));
        }
        tasks.spawn(Arc::clone(&shared).keep_all(broker));
        Self { shared, snapshots, tasks: Mutex::new(tasks) }
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
        give_back(name, guard, &self.shared.partings);
    }

    /// Gives back what a sidecar before this one had, now that it is not in use any more.
    fn give_back_kept(&self, name: &Name) {
        let kept = lock(&self.shared.kept).remove(name);
        let (Some(lease), Some(client)) = (kept, self.shared.client.borrow().clone()) else { return };
        let name = name.clone();
        self.shared.partings.spawn(async move {
            if let Err(error) = client.revoke_lease(lease, None).await {
                tracing::warn!(secret = %name, %lease, %error, "the kept lease is not given back, and ends at its time");
            }
        });
    }

    /// Leases what is wanted and not held as it is wanted, beside what is held; for ever, if need be. `progress` is told how
    /// it goes. Dropped before or after its end, it gives everything back that has been leased, and what is on its way.
    pub async fn stage(&self, wanted: &[Secret], mut progress: impl FnMut(Progress<'_>)) -> Staged {
        let before = lock(&self.shared.wanted).clone();
        let partings = &self.shared.partings;
        let mut staged = Staged::new(partings);
        let new: Vec<_> = wanted.iter().filter(|secret| !before.contains(secret)).cloned().collect();
        if new.is_empty() {
            return staged;
        }
        let client = self.client(&mut progress).await;
        let mut leasing = Leasing::begin(&client, new, partings);
        while let Some(word) = leasing.next().await {
            match word {
                Word::Refused(secret, error) => progress(Progress::Refused(&secret, &error)),
                Word::Leased(one) => {
                    one.secrets().for_each(|secret| progress(Progress::Leased(secret)));
                    staged.add(one);
                }
            }
        }
        staged
    }

    async fn client(&self, progress: &mut impl FnMut(Progress<'_>)) -> Client {
        let mut clients = self.shared.client.subscribe();
        let known = clients.borrow_and_update().clone();
        if let Some(client) = known {
            return client;
        }
        progress(Progress::NoIdentity);
        match clients.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(client)) => {
                progress(Progress::Identity);
                client.clone()
            }
            // It has ended.
            _ => std::future::pending().await,
        }
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
            // Whoever cannot be told of it has it for as long as the lease lasts, and no longer.
            guard.iter().for_each(Leased::let_run_out);
            if guard.is_some() || held.secrets.contains_key(&secret.name) {
                lock(&self.shared.going).push(Going { name: secret.name, edition, guard });
            }
        }
        self.shared.change(|snapshot, now| staged.enter(snapshot, wanted, edition, now));
        for (secret, guard) in staged.take() {
            self.shared.hold(secret, guard);
        }
    }

    /// Keeps no lease any longer. With `give_back_all`, the broker is told, as far as it can be reached in a few seconds;
    /// without, the leases end at their time. What nobody has used is given back in any case.
    pub async fn close(&self, give_back_all: bool) {
        // First those who would take new leases.
        let mut tasks = mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
        let keepers = mem::take(&mut *lock(&self.shared.keepers));
        for keeper in keepers.into_values() {
            keeper.abort();
            let _ = keeper.await;
        }
        let guards = mem::take(&mut *lock(&self.shared.guards));
        let going = mem::take(&mut *lock(&self.shared.going));
        let partings = &self.shared.partings;
        if give_back_all {
            let going = going.into_iter().filter_map(|going| Some((going.name, going.guard?)));
            guards.into_iter().chain(going).for_each(|(name, guard)| give_back(name, guard, partings));
        }
        partings.close();
        if timeout(PARTING, partings.wait()).await.is_err() {
            tracing::warn!(
                "the broker does not answer: leases that are to be given back end at their time instead"
            );
        }
    }
}

/// Beside everything else; where that fails, the lease ends at its time.
fn give_back(name: Name, guard: Leased, partings: &TaskTracker) {
    // Nor does it where there is no runtime any more.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let giving_back = async move {
        if let Err(error) = guard.close().await {
            tracing::warn!(secret = %name, %error, "its lease is not given back, and ends at its time");
        }
    };
    partings.spawn_on(giving_back, &runtime);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use leasehold_core::Timestamp;

    use super::*;
    use crate::{
        endpoint::testing::{Frozen, loan, snapshot},
        snapshot::Standing,
    };

    /// With an identity that never comes.
    fn config(more: &str) -> crate::Config {
        let text = format!(
            "[broker]\naddresses = 'broker:8443'\nidentity = '/nowhere'\n\n\
             [[secret]]\nname = 'db'\npath = 'prod/db'\n{more}"
        );
        crate::Config::parse(&leasehold_config::Source::new("s.toml", text)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_an_identity_says_so() {
        let config = config("");
        let clock = Arc::new(Frozen(Timestamp::from_second(100).unwrap()));
        let secrets = Secrets::start(config.broker.clone(), &config.secrets, Snapshot::default(), clock);
        let mut said = Vec::new();
        let wanted = self::config("[[secret]]\nname = 'key'\npath = 'prod/key'\n").secrets;
        let staging = secrets.stage(&wanted, |progress| said.push(format!("{progress:?}")));
        assert!(timeout(Duration::from_secs(60), staging).await.is_err());
        assert_eq!(said, ["NoIdentity"]);
        secrets.close(true).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_stands_keeps_no_kept_lease_alive() {
        let config = config("");
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
