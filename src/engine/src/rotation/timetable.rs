//! The timetable of rotations: which secret is looked at when. It is in memory only, and made from durable facts: the state
//! of each rotation, of which the age of the current version is a part, and the catalog.
//!
//! Nobody but [`Engine::run_rotations`] looks after a rotation, and never twice at once after one.

mod adopt;
mod known;
mod table;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use leasehold_core::{SecretPath, Timestamp, rotation::spread_of, ttl::after};
use tokio::{
    sync::{Notify, watch},
    task::JoinError,
    time::sleep,
};
use tracing::{error, info, warn};

use self::{
    known::needs_age,
    table::{Home, Plan, Sight, Table},
};
use crate::{engine::Engine, error::EngineError, resting::Rests};

/// What is to come for a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When it is rotated next, or its rotation goes on; absent when nothing is planned.
    pub next: Option<Timestamp>,
    /// Why it was not rotated although its time has come.
    pub late: Option<String>,
}

/// What the timetable has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationFigures {
    /// The secrets in it.
    pub secrets: usize,
    /// Those whose time has come, and who wait for their turn.
    pub queued: usize,
    /// Those that are looked at just now.
    pub running: usize,
    /// Those whose versions are older than `max_age`.
    pub too_old: usize,
}

/// The secrets whose versions are older than they should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TooOld {
    /// How many.
    pub count: usize,
    /// One of them.
    pub first: Option<SecretPath>,
}

/// The timetable, and how whoever keeps it is told of news.
pub(crate) struct Timetable {
    table: Mutex<Table>,
    /// Until when whoever keeps it sleeps.
    asleep_until: Mutex<Timestamp>,
    news: Notify,
    /// That the catalog was replaced.
    stale: AtomicBool,
    too_old: watch::Sender<TooOld>,
}

/// After the ledger refused, it is tried again so soon.
const PAUSE: Duration = Duration::from_secs(1);
/// A back end that does not answer how old a version is, is asked again so soon.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// One that has no such version, or does not tell the broker, so soon: what is made through the broker is known at once.
const ASK_LATER: Duration = Duration::from_secs(3600);
/// What has to be looked at again at once waits so long, so that nothing spins.
const BREATH: Duration = Duration::from_millis(20);

impl Engine {
    /// Looks at every secret that is rotated when it is time, until `stop` says true.
    pub(crate) async fn run_rotations(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.keep_timetable() => {}
            _ = stop.wait_for(|stopping| *stopping) => {}
        }
    }

    /// Has a secret's rotation looked at by `at`: to be called by whoever makes something due, once it is durable.
    pub fn expect_rotation(&self, path: &SecretPath, at: Timestamp) {
        self.expect(path, at, true);
    }

    /// Has a secret looked at soon of which something became known that nobody waits for: who made a new version by hand, who
    /// was the first to be issued a secret under a mount.
    pub(crate) fn reconsider_rotation(&self, path: &SecretPath) {
        if self.plan_of(path).is_some_and(|plan| needs_age(&plan)) {
            self.expect(path, self.now(), false);
        }
    }

    /// The same of a secret under a mount, if this is the first time.
    pub(crate) fn meet_rotation(&self, path: &SecretPath) {
        if !self.rotations.timetable.table().knows(path) {
            self.reconsider_rotation(path);
        }
    }

    /// What is to come for a secret.
    pub fn rotation_standing(&self, path: &SecretPath) -> Standing {
        let timetable = &self.rotations.timetable;
        let Some(sight) = timetable.table().sight(path) else { return Standing::default() };
        let now = self.now();
        let held = || self.held().map(|_| "the broker is on hold".to_owned());
        match sight {
            Sight::Running => Standing { next: Some(now), late: None },
            Sight::Waits { at, late } => {
                let due = at.is_some_and(|at| at <= now);
                let late = late.map(String::from);
                Standing { next: at, late: if due { held().or(late) } else { late } }
            }
            Sight::Queued { home, behind } => {
                let resting = || {
                    let name = home.as_ref()?;
                    let until = self.resting().borrow().get(name).copied().filter(|until| *until > now)?;
                    Some(format!("`{name}` keeps failing and is given a rest until {until}"))
                };
                let turn = || format!("it waits for its turn, behind {behind} others");
                Standing { next: Some(now), late: Some(held().or_else(resting).unwrap_or_else(turn)) }
            }
        }
    }

    /// What the timetable has, for the broker's own figures.
    pub fn rotation_figures(&self) -> RotationFigures {
        let [secrets, queued, running, too_old] = self.rotations.timetable.table().counts();
        RotationFigures { secrets, queued, running, too_old }
    }

    /// The secrets whose versions are older than they should be, as that changes.
    pub fn too_old_versions(&self) -> watch::Receiver<TooOld> {
        self.rotations.timetable.too_old.subscribe()
    }

    fn expect(&self, path: &SecretPath, at: Timestamp, urgent: bool) {
        let home = self.home_of(path);
        let timetable = &self.rotations.timetable;
        let sooner = timetable.table().expect(path, home, at, urgent);
        if sooner && at < *lock(&timetable.asleep_until) {
            timetable.news.notify_one();
        }
    }

    async fn keep_timetable(self: Arc<Self>) {
        let timetable = &self.rotations.timetable;
        let mut resting = self.resting();
        let mut running = FuturesUnordered::new();
        timetable.stale.store(true, Relaxed);
        loop {
            self.released().await;
            if timetable.stale.swap(false, Relaxed)
                && let Err(problem) = self.make_timetable().await
            {
                warn!(error = %problem, "the timetable of rotations could not be made; tried again");
                timetable.stale.store(true, Relaxed);
                sleep(PAUSE).await;
                continue;
            }
            let now = self.now();
            let rests: Rests = resting.borrow_and_update().clone();
            let is_resting = |name: &_| rests.get(name).is_some_and(|until| *until > now);
            let (started, next) = {
                let mut table = timetable.table();
                table.advance(now);
                let started = table.start(self.settings.rotations_at_once, is_resting);
                let waits_for_rest = table.is_anybody_queued(is_resting);
                let rest_over = rests.values().copied().filter(|until| *until > now).min();
                let next = table.next();
                (started, rest_over.filter(|_| waits_for_rest).map_or(next, |over| over.min(next)))
            };
            timetable.tell_too_old();
            for (path, home) in started {
                let looking = tokio::spawn(self.clone().look_after(path.clone()));
                running.push(async move { (path, home, looking.await) });
            }
            let next = next.max(after(now, BREATH));
            *lock(&timetable.asleep_until) = next;
            tokio::select! {
                Some((path, home, looked)) = running.next(), if !running.is_empty() => {
                    self.put_back(path, &home, looked);
                }
                () = timetable.news.notified() => {}
                () = self.clock.sleep_until(next) => {}
                _ = resting.changed() => {}
            }
            // Whoever expects something while this is awake wakes it for the next time.
            *lock(&timetable.asleep_until) = Timestamp::MAX;
        }
    }

    /// Takes up what the ledger and the catalog have.
    async fn make_timetable(&self) -> Result<(), EngineError> {
        let timetable = &self.rotations.timetable;
        timetable.table().before_replace();
        let all = self.known_rotations().await?;
        let (now, catch_up) = (self.now(), self.settings.rotation_catch_up);
        timetable.table().replace(all, now, catch_up, spread_of);
        let figures = self.rotation_figures();
        info!(secrets = figures.secrets, "the timetable of rotations is made");
        Ok(())
    }

    /// Looks at one secret: learns how old its version is, if nobody knows, and takes its rotation on.
    async fn look_after(self: Arc<Self>, path: SecretPath) -> Result<Plan, EngineError> {
        let (rotation, revision) = self.rotation(&path).await?;
        let plan = self.plan_of(&path);
        let idle = rotation.course.is_none() && rotation.wanted.is_none() && rotation.paused.is_none();
        if idle && rotation.current.is_none() && plan.is_some_and(|plan| needs_age(&plan)) {
            let adopted = self.adopt(&path, (&rotation, revision)).await?;
            if let Err(problem) = adopted {
                let usual = if problem.class.is_retryable() { ASK_AGAIN } else { ASK_LATER };
                let pause = problem.retry_after.unwrap_or_default().max(usual);
                let late = format!("it is not known how old its version is: {problem}");
                return Ok(Plan {
                    home: self.home_of(&path),
                    at: Some(after(self.now(), pause)),
                    late: Some(late.into()),
                    ..Plan::default()
                });
            }
        }
        let next = self.drive_rotation(&path).await?;
        let (rotation, _) = self.rotation(&path).await?;
        let now = self.now();
        let again = next.map(|next| next.max(after(now, BREATH)));
        Ok(Plan { at: again, ..self.place_of(&rotation, now) })
    }

    fn put_back(&self, path: SecretPath, home: &Home, looked: Result<Result<Plan, EngineError>, JoinError>) {
        let failed = |late: String| Plan {
            home: home.clone(),
            at: Some(after(self.now(), PAUSE)),
            urgent: true,
            late: Some(late.into()),
            until: None,
            old_at: self.rotations.timetable.table().old_at(&path),
        };
        let plan = match looked {
            Ok(Ok(plan)) => plan,
            Ok(Err(problem)) => {
                warn!(secret = %path, error = %problem, "a rotation could not be looked after; tried again");
                failed(problem.to_string())
            }
            Err(problem) => {
                error!(secret = %path, error = %problem, "looking after a rotation broke off; tried again");
                failed("looking after it broke off: see the broker's log".to_owned())
            }
        };
        self.rotations.timetable.table().done(path, home, plan);
    }
}

impl Timetable {
    /// That the catalog was replaced: what is known is read again.
    pub(crate) fn catalog_replaced(&self) {
        self.stale.store(true, Relaxed);
        self.news.notify_one();
    }

    fn tell_too_old(&self) {
        let (count, first) = {
            let table = self.table();
            let [.., count] = table.counts();
            (count, table.first_too_old().cloned())
        };
        self.too_old.send_if_modified(|known| {
            let changed = known.count != count || known.first != first;
            *known = TooOld { count, first };
            changed
        });
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

impl Default for Timetable {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            asleep_until: Mutex::new(Timestamp::MAX),
            news: Notify::new(),
            stale: AtomicBool::new(true),
            too_old: watch::Sender::new(TooOld::default()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
