//! The timetable of rotations: many secrets, days at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use leasehold_core::{
    SecretPath, SecretValue, Timestamp,
    access::{AccessRequest, Action},
    catalog::{Catalog, Entry, Freshness, Source},
    path::PathPrefix,
    ports::{Authorizer, Clock, Provider, ValueMac},
    provider::{
        Capabilities, Change, ChangeSecret, Demand, ErrorClass, Fetch, Fetched, Finding, ProviderError,
        VersionFacts, VersionState, WriteVersion,
    },
    record::{Actor, Decision, Effect, Kind, ValueTag},
    rotation::{Plan, Schedule, Strategy},
    secret::VersionId,
    ttl::{TtlLimits, after},
};
use leasehold_engine::{Engine, Parts, RotationParts, Settings, request::HoldReason};
use leasehold_ledger::Memory;
use tokio::{sync::watch, time::sleep};

use crate::kit::{
    ADMIN, API, Counter, NoPrograms, Numbered, PausedClock, SCHEDULER, actor, issue, two_fields,
};

const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

/// A back end of many secrets, each of which begins with one version.
struct Shelf {
    clock: Arc<PausedClock>,
    secrets: Mutex<BTreeMap<String, Vec<(Timestamp, SecretValue)>>>,
    /// When the first version of each secret was made, if not at the beginning.
    began: Mutex<BTreeMap<String, Timestamp>>,
    disabled: Mutex<BTreeSet<(String, usize)>>,
    failing: AtomicBool,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Shelf {
    fn new(clock: Arc<PausedClock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            secrets: Mutex::default(),
            began: Mutex::default(),
            disabled: Mutex::default(),
            failing: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        })
    }

    /// How many versions a secret has.
    fn count(&self, reference: &str) -> usize {
        self.secrets.lock().unwrap().get(reference).map_or(1, Vec::len)
    }

    fn counts(&self, count: usize) -> Vec<usize> {
        (0..count).map(|n| self.count(&n.to_string())).collect()
    }

    async fn of<T>(
        &self,
        reference: &str,
        act: impl FnOnce(&mut Vec<(Timestamp, SecretValue)>) -> T,
    ) -> Result<T, ProviderError> {
        let now = self.under_way.fetch_add(1, SeqCst) + 1;
        self.most_under_way.fetch_max(now, SeqCst);
        sleep(Duration::from_millis(10)).await;
        self.under_way.fetch_sub(1, SeqCst);
        if self.failing.load(SeqCst) {
            return Err(ProviderError::new(ErrorClass::Transient, "told to fail"));
        }
        let began = self.began.lock().unwrap().get(reference).copied().unwrap_or(Timestamp::UNIX_EPOCH);
        let mut secrets = self.secrets.lock().unwrap();
        Ok(act(secrets
            .entry(reference.to_owned())
            .or_insert_with(|| vec![(began, two_fields("u", "first"))])))
    }
}

fn id(index: usize) -> VersionId {
    format!("v{}", index + 1).parse().unwrap()
}

fn index(version: &VersionId) -> usize {
    version.as_str()[1..].parse::<usize>().unwrap() - 1
}

#[async_trait]
impl Provider for Shelf {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            read: true,
            versions: true,
            write: true,
            changes: &[Change::Disable],
            ..Capabilities::default()
        }
    }

    async fn versions(&self, reference: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        self.of(reference, |versions| {
            let last = versions.len() - 1;
            let facts = |(n, (made, _)): (usize, &(Timestamp, SecretValue))| VersionFacts {
                version: id(n),
                created_at: Some(*made),
                state: VersionState::Enabled,
                current: n == last,
                labels: Vec::new(),
            };
            versions.iter().enumerate().map(facts).rev().collect()
        })
        .await
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        let found = self
            .of(request.reference, |versions| {
                let at = request.version.map_or(versions.len() - 1, index);
                (at, versions[at].clone())
            })
            .await;
        let (at, (made, value)) = found?;
        if self.disabled.lock().unwrap().contains(&(request.reference.to_owned(), at)) {
            return Err(ProviderError::new(ErrorClass::Absent, "it is disabled"));
        }
        Ok(Fetched { value, version: id(at), created_at: Some(made) })
    }

    async fn write(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        let now = self.clock.now();
        self.of(request.reference, |versions| {
            versions.push((now, request.value.clone()));
            id(versions.len() - 1)
        })
        .await
    }

    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        let version = index(request.version.unwrap());
        self.of(request.reference, |_| ()).await?;
        self.disabled.lock().unwrap().insert((request.reference.to_owned(), version));
        Ok(())
    }

    async fn check(&self, _: &[Demand]) -> Vec<Finding> {
        Vec::new()
    }
}

/// Who rotates, and whether the scheduler may.
#[derive(Default)]
struct Rules {
    closed: AtomicBool,
}

impl Authorizer for Rules {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let id = request.principal.as_str();
        let allowed = match request.action {
            Action::RotateSecret => id == SCHEDULER && !self.closed.load(SeqCst),
            Action::IssueLease => id == API,
            _ => id == ADMIN,
        };
        Decision {
            action: request.action,
            effect: if allowed { Effect::Allow } else { Effect::Deny },
            policies: Vec::new(),
            max_ttl: None,
            policy_set: "test".into(),
            inputs: request.context.clone(),
            errors: Vec::new(),
        }
    }
}

struct HashTag;

impl ValueMac for HashTag {
    fn tag(&self, bytes: &[u8]) -> ValueTag {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        ValueTag(format!("{:016x}", hasher.finish()).into())
    }
}

/// What outlives a process.
struct World {
    clock: Arc<PausedClock>,
    ledger: Memory,
    shelf: Arc<Shelf>,
    rules: Arc<Rules>,
    made: Arc<Numbered>,
    catalog: Mutex<Catalog>,
    starts: AtomicUsize,
}

struct Process {
    engine: Arc<Engine>,
    stop: watch::Sender<bool>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn plan(schedule: Option<Schedule>) -> Plan {
    let mut plan = Plan { schedule, drain: Duration::ZERO, ..Plan::new(Strategy::Generate) };
    plan.field = "password".parse().unwrap();
    plan
}

fn entry(reference: &str, plan: &Plan) -> Entry {
    Entry {
        provider: "main".parse().unwrap(),
        source: Source::Static { reference: reference.into() },
        limits: TtlLimits::new(MINUTE, MINUTE).unwrap(),
        max_leases: None,
        freshness: Freshness { max_age: Duration::ZERO, max_stale: Duration::ZERO },
        description: None,
        rotation: Some(Arc::new(plan.clone())),
    }
}

/// `prod/0` and on.
fn many(count: usize, plan: &Plan) -> Catalog {
    let one = |n: usize| (path(n), entry(&n.to_string(), plan));
    Catalog::new((0..count).map(one), []).unwrap()
}

fn path(n: usize) -> SecretPath {
    format!("prod/{n}").parse().unwrap()
}

impl World {
    fn new(catalog: Catalog) -> Self {
        let clock = Arc::new(PausedClock::new());
        Self {
            shelf: Shelf::new(clock.clone()),
            clock,
            ledger: Memory::new(),
            rules: Arc::default(),
            made: Arc::default(),
            catalog: Mutex::new(catalog),
            starts: AtomicUsize::new(1),
        }
    }

    fn engine(&self) -> Arc<Engine> {
        let starts = self.starts.fetch_add(1, SeqCst) as u64;
        let providers = BTreeMap::from([("main".parse().unwrap(), self.shelf.clone() as Arc<dyn Provider>)]);
        Engine::new(Parts {
            clock: self.clock.clone(),
            entropy: Arc::new(Counter((starts << 32).into())),
            ledger: Arc::new(self.ledger.clone()),
            authorizer: self.rules.clone(),
            mac: Arc::new(HashTag),
            providers,
            provider_limits: BTreeMap::new(),
            catalog: self.catalog.lock().unwrap().clone(),
            settings: Settings::default(),
            broker: Actor::internal("spiffe://example.org/leasehold/broker".parse().unwrap()),
            rotation: RotationParts {
                generate: self.made.clone(),
                programs: Arc::new(NoPrograms),
                scheduler: actor(SCHEDULER),
            },
        })
    }

    async fn start(&self) -> Process {
        let engine = self.engine();
        engine.resume_rotations().await.unwrap();
        let stop = watch::channel(false).0;
        tokio::spawn(engine.clone().reconcile(stop.subscribe()));
        Process { engine, stop }
    }

    fn records(&self, kind: Kind) -> usize {
        self.ledger.records().iter().filter(|record| record.kind == kind).count()
    }
}

impl Process {
    fn late(&self, n: usize) -> String {
        self.engine.rotation_standing(&path(n)).late.unwrap_or_default()
    }
}

#[tokio::test(start_paused = true)]
async fn each_secret_is_rotated_when_its_time_comes() {
    let mut schedule = Schedule::every(DAY);
    schedule.jitter = 10 * MINUTE;
    let world = World::new(many(50, &plan(Some(schedule))));
    let process = world.start().await;
    sleep(DAY / 2).await;
    assert_eq!(world.shelf.counts(50), [1; 50]);
    assert_eq!((world.records(Kind::RotationSeen), world.records(Kind::RotationStarted)), (50, 0));
    let next = process.engine.rotation_standing(&path(7)).next.unwrap();
    let (first, last) = (after(Timestamp::UNIX_EPOCH, DAY), after(Timestamp::UNIX_EPOCH, DAY + 10 * MINUTE));
    assert!(first <= next && next <= last, "{next}");
    sleep(DAY).await;
    assert_eq!(world.shelf.counts(50), [2; 50]);
    sleep(2 * DAY).await;
    assert_eq!(world.shelf.counts(50), [4; 50]);
    assert_eq!(world.records(Kind::RotationRetired), 150);
    assert!(world.shelf.most_under_way.load(SeqCst) <= 4);
}

#[tokio::test(start_paused = true)]
async fn a_week_off_is_made_up_for_once_and_without_a_storm() {
    let world = World::new(many(400, &plan(Some(Schedule::every(DAY)))));
    let process = world.start().await;
    sleep(DAY + DAY / 2).await;
    assert_eq!(world.shelf.counts(400), [2; 400]);
    drop(process);
    sleep(7 * DAY).await;
    assert_eq!(world.shelf.counts(400), [2; 400]);
    let process = world.start().await;
    sleep(Duration::from_secs(1)).await;
    let at_first: usize = world.shelf.counts(400).iter().sum();
    assert!(at_first < 900, "{at_first}");
    // A restart in the middle of it.
    sleep(Duration::from_secs(3)).await;
    drop(process);
    let process = world.start().await;
    sleep(10 * MINUTE).await;
    assert_eq!(world.shelf.counts(400), [3; 400]);
    drop(process);
    let _process = world.start().await;
    sleep(10 * MINUTE).await;
    assert_eq!(world.shelf.counts(400), [3; 400]);
    assert!(world.shelf.most_under_way.load(SeqCst) <= 8, "two processes, of which one was ending");
    assert_eq!(world.records(Kind::RotationRetired), 800);
}

#[tokio::test(start_paused = true)]
async fn the_age_of_a_version_nobody_knows_is_asked_for_first() {
    let world = World::new(many(3, &plan(Some(Schedule::every(30 * DAY)))));
    let ago = |days: i64| Timestamp::from_second(-days * 86_400).unwrap();
    world.shelf.began.lock().unwrap().extend([("0".to_owned(), ago(40)), ("1".to_owned(), ago(10))]);
    world.shelf.failing.store(true, SeqCst);
    let process = world.start().await;
    sleep(Duration::from_secs(2)).await;
    assert!(process.late(2).starts_with("it is not known how old its version is"), "{}", process.late(2));
    assert_eq!(world.records(Kind::RotationSeen), 0);
    world.shelf.failing.store(false, SeqCst);
    sleep(5 * MINUTE).await;
    assert_eq!(world.records(Kind::RotationSeen), 3);
    assert_eq!(world.shelf.counts(3), [2, 1, 1]);
    sleep(19 * DAY).await;
    assert_eq!(world.shelf.counts(3), [2, 1, 1]);
    sleep(2 * DAY).await;
    assert_eq!(world.shelf.counts(3), [2, 2, 1]);
    let seen: Vec<_> =
        world.ledger.records().into_iter().filter(|record| record.kind == Kind::RotationSeen).collect();
    assert!(seen.iter().all(|record| record.actor.id.as_str() == SCHEDULER && record.version.is_some()));
}

#[tokio::test(start_paused = true)]
async fn why_one_is_late_is_said() {
    let mut schedule = Schedule::every(DAY);
    // The second day of 1970 was a Friday.
    schedule.not_during = vec!["Fri .. Sat".parse().unwrap()];
    let world = World::new(many(1, &plan(Some(schedule))));
    let process = world.start().await;
    sleep(DAY + DAY / 2).await;
    assert_eq!(process.late(0), "", "its time is the end of the blackout that it fell into");
    drop(process);
    // It was due on Thursday at noon, and the broker was off.
    world.shelf.secrets.lock().unwrap().get_mut("0").unwrap()[0].0 = Timestamp::from_second(-43_200).unwrap();
    let world = World { ledger: Memory::new(), ..world };
    let process = world.start().await;
    sleep(MINUTE).await;
    assert_eq!(process.late(0), "nothing is rotated at this time (`not_during`)");
    assert_eq!(world.shelf.counts(1), [1]);
    world.rules.closed.store(true, SeqCst);
    sleep(2 * DAY).await;
    assert!(process.late(0).starts_with("policy does not allow `RotateSecret`"), "{}", process.late(0));
    assert_eq!(world.shelf.counts(1), [1]);
    world.rules.closed.store(false, SeqCst);
    sleep(DAY / 4).await;
    assert_eq!((process.late(0).as_str(), world.shelf.counts(1)), ("", vec![2]));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_turn_is_told_behind_how_many() {
    let world = World::new(many(200, &plan(Some(Schedule::every(DAY)))));
    let process = world.start().await;
    sleep(DAY + Duration::from_millis(5)).await;
    assert!(process.late(199).starts_with("it waits for its turn, behind "), "{}", process.late(199));
    let figures = process.engine.rotation_figures();
    assert_eq!((figures.secrets, figures.queued, figures.running), (200, 196, 4));
    // The back end goes away: nobody's turn comes, and nobody loses it.
    world.shelf.failing.store(true, SeqCst);
    sleep(Duration::from_secs(2)).await;
    assert!(process.late(199).contains("`main` "), "{}", process.late(199));
    world.shelf.failing.store(false, SeqCst);
    sleep(2 * 60 * MINUTE).await;
    assert_eq!(world.shelf.counts(200), [2; 200]);
}

#[tokio::test(start_paused = true)]
async fn under_a_mount_those_are_rotated_that_somebody_was_issued() {
    let prefix: PathPrefix = "prod/".parse().unwrap();
    let mount = entry("{rest}", &plan(Some(Schedule::every(DAY))));
    let world = World::new(Catalog::new([], [(prefix, mount)]).unwrap());
    let process = world.start().await;
    sleep(DAY / 2).await;
    process.engine.issue_lease(issue(API, "prod/1")).await.unwrap();
    sleep(MINUTE).await;
    assert_eq!(world.records(Kind::RotationSeen), 1);
    sleep(DAY).await;
    assert_eq!(world.shelf.counts(3), [1, 2, 1]);
    drop(process);
    // What was issued and never looked at, as by a broker that ended at once.
    let engine = world.engine();
    engine.issue_lease(issue(API, "prod/2")).await.unwrap();
    let process = world.start().await;
    sleep(MINUTE).await;
    assert_eq!(world.records(Kind::RotationSeen), 2);
    assert_eq!(world.shelf.counts(3), [1, 2, 2]);
    assert_eq!(process.engine.rotation_figures().secrets, 2);
}

#[tokio::test(start_paused = true)]
async fn another_catalog_is_taken_up_without_a_storm() {
    let world = World::new(many(300, &plan(Some(Schedule::every(30 * DAY)))));
    let process = world.start().await;
    sleep(10 * DAY).await;
    let mut daily = plan(Some(Schedule::every(DAY)));
    daily.max_age = Some(2 * DAY);
    process.engine.replace_catalog(many(200, &daily));
    sleep(Duration::from_secs(1)).await;
    let begun = world.records(Kind::RotationStarted);
    assert!(begun < 60, "{begun}");
    let mut too_old = process.engine.too_old_versions();
    assert!(too_old.borrow_and_update().count > 100);
    sleep(10 * MINUTE).await;
    assert_eq!(world.shelf.counts(200), [2; 200]);
    assert_eq!(world.shelf.count("250"), 1);
    assert_eq!((too_old.borrow_and_update().count, process.engine.rotation_figures().too_old), (0, 0));
    process.engine.replace_catalog(Catalog::default());
    sleep(10 * DAY).await;
    assert_eq!(world.shelf.counts(200), [2; 200]);
    assert_eq!(process.engine.rotation_figures().secrets, 0);
}

#[tokio::test(start_paused = true)]
async fn a_version_becomes_too_old_and_health_hears_of_it() {
    let mut old = plan(None);
    old.max_age = Some(DAY);
    let world = World::new(many(2, &old));
    let long_ago = Timestamp::from_second(-43_200).unwrap();
    world.shelf.began.lock().unwrap().insert("0".to_owned(), long_ago);
    let process = world.start().await;
    let mut too_old = process.engine.too_old_versions();
    sleep(DAY / 2 - MINUTE).await;
    assert_eq!(too_old.borrow_and_update().count, 0);
    sleep(2 * MINUTE).await;
    let told = too_old.borrow_and_update().clone();
    assert_eq!((told.count, told.first), (1, Some(path(0))));
    assert_eq!(world.shelf.counts(2), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn on_hold_nothing_is_rotated() {
    let world = World::new(many(2, &plan(Some(Schedule::every(DAY)))));
    let engine = world.engine();
    engine.take_up(Some(HoldReason::Requested)).await.unwrap();
    let stop = watch::channel(false).0;
    tokio::spawn(engine.clone().reconcile(stop.subscribe()));
    sleep(5 * DAY).await;
    assert_eq!((world.shelf.counts(2), world.records(Kind::RotationSeen)), (vec![1, 1], 0));
}
