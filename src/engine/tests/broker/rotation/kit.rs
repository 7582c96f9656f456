//! A back end, a target and processes for rotations. Each call to a party and each commit is a point at which a process can
//! die, or an answer can be lost; at each of them it is looked whether what is lent works.

use std::{
    collections::BTreeMap,
    future::pending,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use leasehold_core::{
    SecretPath, SecretValue, Timestamp,
    access::{AccessRequest, Action},
    catalog::{Catalog, Entry as Secret, Freshness, Source},
    ports::{Authorizer, Clock, Ledger, NativeRotation, Provider, Target, ValueMac},
    provider::{
        Capabilities, Change, ChangeSecret, Demand, ErrorClass, Fetch, Fetched, Finding, Followed,
        ProviderError, Stage as Stands, Trial, Turn, VersionFacts, VersionState, WriteVersion,
    },
    record::{Actor, Decision, Effect, Kind, Record, ValueTag},
    rotation::{Event, Plan, Rotation, Stage, Strategy, TargetName, Why},
    secret::VersionId,
    state::{Change as Changed, Commit, Entry, Key, KeyRange, LedgerError, Revision, Write},
    ttl::{TtlLimits, until},
};
use leasehold_engine::{Engine, Parts, RotationParts, Settings, request::IssuedLease};
use leasehold_ledger::Memory;
use tokio::{sync::Notify, time::sleep};

use crate::kit::{
    API, Counter, NoPrograms, Numbered, PausedClock, SCHEDULER, STATIC, actor, issue, two_fields,
};

pub(crate) const USERS: [&str; 2] = ["app_a", "app_b"];

/// How a back end keeps versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// A new one can wait.
    Staged,
    /// A new one is current at once.
    Unstaged,
}

/// What goes wrong at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The process dies there.
    Death,
    /// The call is not made, and nobody knows.
    Before,
    /// The call is made, and its answer is lost.
    After,
}

/// Everything that outlives a process.
pub(crate) struct World {
    pub(crate) ledger: Memory,
    pub(crate) store: Arc<Store>,
    pub(crate) target: Arc<Users>,
    pub(crate) plan: Mutex<Option<Plan>>,
    pub(crate) denied: Arc<Mutex<bool>>,
    /// Whether somebody has changed something by hand, so that nothing holds but what they made of it.
    pub(crate) meddled: Mutex<bool>,
    /// Whether the back end keeps only the newest version.
    pub(crate) versionless: Mutex<bool>,
    /// The next commit of this kind is made when somebody says so, and others may come before.
    pub(crate) held_up: Mutex<Option<(Kind, Arc<Notify>)>>,
    clock: Arc<PausedClock>,
    made: Arc<Numbered>,
    started: AtomicU64,
}

/// One process of the broker.
pub(crate) struct Process {
    pub(crate) engine: Arc<Engine>,
    life: Arc<Life>,
}

/// The life of a process: how many points it has come to, and what happens at one of them.
#[derive(Default)]
pub(crate) struct Life {
    points: AtomicU64,
    fate: Option<(u64, Cut)>,
    died: Mutex<bool>,
    told: Notify,
}

impl World {
    pub(crate) fn new(keeps: Keeps, strategy: Strategy) -> Arc<Self> {
        let store = Store { keeps: Some(keeps), ..Store::default() };
        store.put("app_a", "canary-0");
        let target = Users::default();
        target.passwords.lock().unwrap().insert("app_a".to_owned(), Some("canary-0".to_owned()));
        target.passwords.lock().unwrap().insert("app_b".to_owned(), None);
        let mut plan = Plan::new(strategy);
        plan.field = "password".parse().unwrap();
        Arc::new(Self {
            ledger: Memory::new(),
            store: Arc::new(store),
            target: Arc::new(target),
            plan: Mutex::new(Some(plan)),
            denied: Arc::default(),
            meddled: Mutex::default(),
            versionless: Mutex::default(),
            held_up: Mutex::default(),
            clock: Arc::new(PausedClock::new()),
            made: Arc::default(),
            started: AtomicU64::new(1),
        })
    }

    pub(crate) fn generate(keeps: Keeps) -> Arc<Self> {
        Self::new(keeps, Strategy::Generate)
    }

    pub(crate) fn single(keeps: Keeps) -> Arc<Self> {
        Self::new(keeps, Strategy::Single { target: pg() })
    }

    pub(crate) fn alternating(keeps: Keeps) -> Arc<Self> {
        Self::new(keeps, Strategy::Alternating { target: pg(), users: USERS.map(Box::from) })
    }

    pub(crate) fn start(self: &Arc<Self>) -> Process {
        self.start_until(None)
    }

    /// A process with a fate.
    pub(crate) fn start_until(self: &Arc<Self>, fate: Option<(u64, Cut)>) -> Process {
        let life = Arc::new(Life { fate, ..Life::default() });
        let ids = Counter(AtomicU64::new(self.started.fetch_add(1, SeqCst) << 32));
        let reach = |world: &Arc<Self>| Reach { world: world.clone(), life: life.clone() };
        let engine = Engine::new(Parts {
            clock: self.clock.clone(),
            entropy: Arc::new(ids),
            ledger: Arc::new(Front { ledger: self.ledger.clone(), reach: reach(self) }),
            authorizer: Arc::new(Scheduler(self.denied.clone())),
            mac: Arc::new(HashTag),
            providers: BTreeMap::from([
                ("main".parse().unwrap(), Arc::new(ReachedStore(reach(self))) as Arc<dyn Provider>),
                ("pg".parse().unwrap(), Arc::new(ReachedUsers(reach(self))) as Arc<dyn Provider>),
            ]),
            provider_limits: BTreeMap::new(),
            catalog: self.catalog(),
            settings: Settings::default(),
            broker: Actor::internal("spiffe://example.org/leasehold/broker".parse().unwrap()),
            rotation: RotationParts {
                generate: self.made.clone(),
                programs: Arc::new(NoPrograms),
                scheduler: Actor::internal(SCHEDULER.parse().unwrap()),
            },
        });
        Process { engine, life }
    }

    pub(crate) fn catalog(&self) -> Catalog {
        let entry = Secret {
            provider: "main".parse().unwrap(),
            source: Source::Static { reference: "db".into() },
            limits: TtlLimits::new(Duration::from_secs(60), Duration::from_secs(86_400)).unwrap(),
            max_leases: None,
            freshness: Freshness { max_age: Duration::from_secs(30), max_stale: Duration::ZERO },
            description: None,
            rotation: self.plan.lock().unwrap().clone().map(Arc::new),
        };
        Catalog::new([(path(), entry)], []).unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The rotation as the ledger has it.
    pub(crate) async fn rotation(&self) -> Rotation {
        match self.ledger.get(&Key::rotation(&path())).await.unwrap() {
            Some(entry) => Rotation::decode(&entry.value).unwrap().written_by(entry.revision),
            None => Rotation::new(path()),
        }
    }

    /// Somebody does something about it, past the engine.
    pub(crate) async fn step(&self, event: Event) {
        let next = self.rotation().await.step(event, self.now()).unwrap();
        let record = Record::new(self.now(), Kind::RotationRequested, actor(API));
        let mut writes = vec![Write::put(Key::rotation(&path()), next.encode().unwrap())];
        writes.push(Write::mark(Key::rotation_open(&path())));
        self.ledger.commit(Commit { record, conditions: Vec::new(), writes }).await.unwrap();
    }

    pub(crate) async fn want(&self) {
        let why = Why::Request { by: API.parse().unwrap() };
        self.step(Event::Want { why, not_before: self.now() }).await;
    }

    pub(crate) async fn stage(&self) -> Option<Stage> {
        self.rotation().await.course.map(|course| course.stage)
    }

    /// Whether somebody has to accept its values.
    pub(crate) fn target_is_asked(&self) -> bool {
        self.plan.lock().unwrap().as_ref().is_some_and(|plan| plan.strategy.target().is_some())
    }

    /// Whether nothing is left to be done.
    pub(crate) async fn ledger_is_closed(&self) -> bool {
        self.ledger.scan(&KeyRange::open_rotations(), 1).await.unwrap().is_empty()
    }

    /// The kinds of the rotation's records, in order.
    pub(crate) fn told(&self) -> Vec<String> {
        let kinds = self.ledger.records().into_iter().map(|record| record.kind.to_string());
        kinds.filter(|kind| kind.starts_with("rotation.") && kind != "rotation.requested").collect()
    }

    pub(crate) fn records(&self, kind: Kind) -> Vec<Record> {
        self.ledger.records().into_iter().filter(|record| record.kind == kind).collect()
    }

    /// The password that is lent just now, as the back end and the pins make it: with its user.
    async fn lent(&self) -> (String, String) {
        let pinned = self.rotation().await.pinned().cloned();
        self.store.read(pinned.as_ref()).expect("what is lent can be read")
    }

    /// What must hold at every point.
    async fn check(&self) {
        if *self.meddled.lock().unwrap() {
            return;
        }
        let rotation = self.rotation().await;
        let plan = rotation.course.as_ref().map(|course| course.plan.strategy.clone());
        match plan {
            Some(Strategy::Alternating { .. }) => {
                let (user, password) = self.lent().await;
                assert!(self.target.accepts(&user, &password), "{user} cannot log in: {rotation:?}");
            }
            Some(Strategy::Single { .. }) => {
                let passwords = self.target.passwords.lock().unwrap().clone();
                let known = self.store.readable();
                let works = passwords["app_a"].as_ref().is_some_and(|password| known.contains(password));
                assert!(works, "the only copy of the password is lost: {rotation:?}");
            }
            _ => {}
        }
        if let Some(old) = rotation.course.as_ref().and_then(|course| course.old.as_ref()) {
            let early = rotation.course.as_ref().is_some_and(|course| course.stage <= Stage::Draining);
            assert!(!early || self.store.read(Some(old)).is_some(), "the old version is lost: {rotation:?}");
        }
    }
}

impl Process {
    /// Drives the rotation, and has somebody do this about it right before a commit of this kind.
    pub(crate) async fn drive_into(&self, world: &World, kind: Kind, event: Event) {
        let word = Arc::new(Notify::new());
        *world.held_up.lock().unwrap() = Some((kind, word.clone()));
        let engine = self.engine.clone();
        let driving = tokio::spawn(async move { engine.drive_rotation(&path()).await });
        while world.held_up.lock().unwrap().is_some() {
            sleep(Duration::from_millis(1)).await;
        }
        world.step(event).await;
        word.notify_one();
        driving.await.unwrap().unwrap();
    }

    /// Drives the rotation to its end, or to the process's.
    pub(crate) async fn settle(&self, world: &World) -> bool {
        let driving = async {
            for _ in 0..2000 {
                match self.engine.drive_rotation(&path()).await {
                    Ok(None) => return true,
                    Ok(Some(at)) => sleep(until(world.now(), at)).await,
                    Err(_) => sleep(Duration::from_secs(1)).await,
                }
            }
            panic!("there is no end of it: {:?}", world.rotation().await);
        };
        tokio::select! {
            biased;
            () = self.life.over() => false,
            ended = driving => ended,
        }
    }

    /// Drives it until it is at a stage.
    pub(crate) async fn until(&self, world: &World, stage: Stage) {
        for _ in 0..2000 {
            if world.stage().await == Some(stage) {
                return;
            }
            let at = self.engine.drive_rotation(&path()).await.unwrap();
            if world.stage().await != Some(stage) {
                sleep(until(world.now(), at.unwrap())).await;
            }
        }
        panic!("it never gets to {stage:?}: {:?}", world.rotation().await);
    }

    /// What is lent.
    pub(crate) async fn lend(&self) -> (IssuedLease, (String, String)) {
        let lease = self.engine.issue_lease(issue(API, STATIC)).await.unwrap();
        let shown = pair(&lease.value);
        (lease, shown)
    }

    /// How many points there were in its life.
    pub(crate) fn points(&self) -> u64 {
        self.life.points.load(SeqCst)
    }
}

impl Life {
    /// The next point: what is to go wrong there.
    async fn point(&self) -> Option<Cut> {
        if *self.died.lock().unwrap() {
            pending::<()>().await;
        }
        let number = self.points.fetch_add(1, SeqCst);
        self.fate.filter(|(at, _)| *at == number).map(|(_, cut)| cut)
    }

    async fn die(&self) {
        *self.died.lock().unwrap() = true;
        self.told.notify_waiters();
        pending::<()>().await;
    }

    async fn over(&self) {
        let told = self.told.notified();
        if !*self.died.lock().unwrap() {
            told.await;
        }
    }
}

pub(crate) fn path() -> SecretPath {
    STATIC.parse().unwrap()
}

pub(crate) fn version(id: &str) -> VersionId {
    id.parse().unwrap()
}

fn pg() -> TargetName {
    TargetName::Provider("pg".parse().unwrap())
}

pub(crate) fn pair(value: &SecretValue) -> (String, String) {
    let text = |name: &str| {
        let bytes = &value.fields[&name.parse().unwrap()];
        String::from_utf8(bytes.expose().to_vec()).unwrap()
    };
    (text("username"), text("password"))
}

/// The back end.
#[derive(Default)]
pub(crate) struct Store {
    keeps: Option<Keeps>,
    pub(crate) versions: Mutex<Vec<Version>>,
    current: Mutex<Option<usize>>,
    /// What writes are answered with, without doing anything.
    pub(crate) refusing: Mutex<Option<ErrorClass>>,
    /// What the next writes are answered with, the first of all last.
    pub(crate) refusals: Mutex<Vec<ErrorClass>>,
    /// Whether what was disabled can be read all the same.
    pub(crate) leaky: Mutex<bool>,
    /// How a rotation of its own goes; such a back end is asked so often before it has done.
    pub(crate) native: Mutex<Option<Followed>>,
    pub(crate) starts: Mutex<Vec<String>>,
}

#[derive(Clone)]
pub(crate) struct Version {
    value: SecretValue,
    token: String,
    state: VersionState,
}

impl Store {
    /// Somebody writes a version, which is current.
    pub(crate) fn put(&self, user: &str, password: &str) -> VersionId {
        let mut versions = self.versions.lock().unwrap();
        versions.push(Version {
            value: two_fields(user, password),
            token: String::new(),
            state: VersionState::Enabled,
        });
        *self.current.lock().unwrap() = Some(versions.len() - 1);
        Self::name(versions.len() - 1)
    }

    /// Nothing was ever written.
    pub(crate) fn empty(&self) {
        self.versions.lock().unwrap().clear();
        *self.current.lock().unwrap() = None;
    }

    fn name(index: usize) -> VersionId {
        format!("v{}", index + 1).parse().unwrap()
    }

    fn index(&self, id: Option<&VersionId>) -> Option<usize> {
        match id {
            None => *self.current.lock().unwrap(),
            Some(id) => (0..self.versions.lock().unwrap().len()).find(|index| Self::name(*index) == *id),
        }
    }

    pub(crate) fn current(&self) -> Option<VersionId> {
        self.current.lock().unwrap().map(Self::name)
    }

    pub(crate) fn state(&self, id: &str) -> VersionState {
        let index = self.index(Some(&version(id))).unwrap();
        self.versions.lock().unwrap()[index].state
    }

    /// User and password of a version.
    pub(crate) fn read(&self, id: Option<&VersionId>) -> Option<(String, String)> {
        let index = self.index(id)?;
        let found = self.versions.lock().unwrap().get(index)?.clone();
        (found.state == VersionState::Enabled).then(|| pair(&found.value))
    }

    fn readable(&self) -> Vec<String> {
        let versions = self.versions.lock().unwrap();
        let enabled = versions.iter().filter(|known| known.state == VersionState::Enabled);
        enabled.map(|known| pair(&known.value).1).collect()
    }

    fn fetch(&self, request: &Fetch<'_>) -> Result<Fetched, ProviderError> {
        let absent = || ProviderError::new(ErrorClass::Absent, "there is no such version");
        let index = self.index(request.version).ok_or_else(absent)?;
        let found = self.versions.lock().unwrap()[index].clone();
        if found.state != VersionState::Enabled && !*self.leaky.lock().unwrap() {
            return Err(absent());
        }
        Ok(Fetched { value: found.value, version: Self::name(index), created_at: None })
    }

    fn facts(&self) -> Vec<VersionFacts> {
        let current = *self.current.lock().unwrap();
        let versions = self.versions.lock().unwrap();
        let facts = |(index, known): (usize, &Version)| VersionFacts {
            version: Self::name(index),
            created_at: None,
            state: known.state,
            current: current == Some(index),
            labels: Vec::new(),
        };
        versions.iter().enumerate().map(facts).rev().collect()
    }

    pub(crate) fn write(&self, request: &WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        let refusal = self.refusals.lock().unwrap().pop();
        if let Some(class) = refusal.or(*self.refusing.lock().unwrap()) {
            return Err(ProviderError::new(class, "the back end does not take it"));
        }
        let mut versions = self.versions.lock().unwrap();
        if let Some(index) = versions.iter().position(|known| known.token == request.token) {
            let same = pair(&versions[index].value) == pair(request.value);
            assert!(same, "another value is written under the token {}", request.token);
            return Ok(Self::name(index));
        }
        let mut current = self.current.lock().unwrap();
        if let Some(expected) = request.expected
            && current.map(Self::name).as_ref() != Some(expected)
        {
            return Err(ProviderError::new(ErrorClass::Invalid, "another version is current"));
        }
        versions.push(Version {
            value: request.value.clone(),
            token: request.token.to_owned(),
            state: VersionState::Enabled,
        });
        if request.stage == Stands::Current {
            *current = Some(versions.len() - 1);
        } else {
            assert_eq!(self.keeps, Some(Keeps::Staged), "a version is to wait where none can");
        }
        Ok(Self::name(versions.len() - 1))
    }

    fn change(&self, request: &ChangeSecret<'_>) -> Result<(), ProviderError> {
        let index = self.index(request.version).unwrap();
        match request.change {
            Change::Promote => {
                assert_eq!(self.keeps, Some(Keeps::Staged), "nothing is promoted where nothing waits");
                let mut current = self.current.lock().unwrap();
                if *current != Some(index) && current.map(Self::name).as_ref() != request.expected {
                    return Err(ProviderError::new(ErrorClass::Invalid, "another version is current"));
                }
                *current = Some(index);
            }
            Change::Disable => {
                assert_ne!(*self.current.lock().unwrap(), Some(index), "what is current is disabled");
                self.versions.lock().unwrap()[index].state = VersionState::Disabled;
            }
            other => panic!("{other} is not what a rotation does"),
        }
        Ok(())
    }
}

/// A database with users: each with a password, or none.
#[derive(Default)]
pub(crate) struct Users {
    pub(crate) passwords: Mutex<BTreeMap<String, Option<String>>>,
    /// What new values are answered with, without doing anything; once, or each time.
    pub(crate) refusing: Mutex<Option<(ErrorClass, bool)>>,
    /// Passwords that work whatever is done.
    pub(crate) undead: Mutex<Vec<String>>,
    /// Whether what is applied does not work when it is tried.
    pub(crate) deaf: Mutex<bool>,
    pub(crate) applied: AtomicU64,
}

impl Users {
    pub(crate) fn accepts(&self, user: &str, password: &str) -> bool {
        let undead = self.undead.lock().unwrap().iter().any(|known| known == password);
        let passwords = self.passwords.lock().unwrap();
        undead || passwords.get(user).is_some_and(|known| known.as_deref() == Some(password))
    }

    fn apply(&self, turn: Turn<'_>) -> Result<(), ProviderError> {
        {
            let mut refusing = self.refusing.lock().unwrap();
            if let Some((class, always)) = *refusing {
                if !always {
                    *refusing = None;
                }
                return Err(ProviderError::new(class, "the target does not take it"));
            }
        }
        self.applied.fetch_add(1, SeqCst);
        let (user, password) = pair(turn.new);
        self.passwords.lock().unwrap().insert(user, Some(password));
        Ok(())
    }

    fn retire(&self, turn: Turn<'_>) {
        let user =
            |value: &SecretValue| String::from_utf8(value.fields[turn.user_field].expose().to_vec()).unwrap();
        let old = user(turn.old.unwrap());
        if old != user(turn.new) {
            self.passwords.lock().unwrap().insert(old, None);
        }
    }
}

/// What a process has of the world.
struct Reach {
    world: Arc<World>,
    life: Arc<Life>,
}

impl Reach {
    /// Makes a call to a party, unless something goes wrong.
    async fn call<T>(&self, call: impl FnOnce() -> Result<T, ProviderError>) -> Result<T, ProviderError> {
        self.world.check().await;
        let lost = || ProviderError::new(ErrorClass::Transient, "no answer came");
        match self.life.point().await {
            Some(Cut::Death) => self.life.die().await,
            Some(Cut::Before) => return Err(lost()),
            Some(Cut::After) => {
                let _ = call();
                return Err(lost());
            }
            None => {}
        }
        let answer = call();
        self.world.check().await;
        // Between what it did and its hearing of that, it may die, too.
        if self.life.point().await.is_some() {
            self.life.die().await;
        }
        answer
    }
}

struct ReachedStore(Reach);

#[async_trait]
impl Provider for ReachedStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            read: true,
            versions: !*self.0.world.versionless.lock().unwrap(),
            write: true,
            staging: self.0.world.store.keeps == Some(Keeps::Staged),
            changes: &[Change::Disable],
            rotate: true,
            ..Capabilities::default()
        }
    }

    fn native(&self) -> Option<&dyn NativeRotation> {
        Some(self)
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        self.0.call(|| self.0.world.store.fetch(&request)).await
    }

    async fn versions(&self, _: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        self.0.call(|| Ok(self.0.world.store.facts())).await
    }

    async fn write(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        self.0.call(|| self.0.world.store.write(&request)).await
    }

    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        self.0.call(|| self.0.world.store.change(&request)).await
    }

    async fn discard(&self, _: &str, pending: &VersionId) -> Result<(), ProviderError> {
        self.0
            .call(|| {
                let store = &self.0.world.store;
                let index = store.index(Some(pending)).unwrap();
                store.versions.lock().unwrap()[index].state = VersionState::Destroyed;
                Ok(())
            })
            .await
    }

    async fn check(&self, _: &[Demand]) -> Vec<Finding> {
        Vec::new()
    }
}

#[async_trait]
impl NativeRotation for ReachedStore {
    async fn start(&self, _: &str, token: &str) -> Result<(), ProviderError> {
        self.0
            .call(|| {
                self.0.world.store.starts.lock().unwrap().push(token.to_owned());
                Ok(())
            })
            .await
    }

    async fn follow(&self, _: &str, _: &str, _: Option<&VersionId>) -> Result<Followed, ProviderError> {
        self.0
            .call(|| {
                let store = &self.0.world.store;
                let goes = store.native.lock().unwrap().clone();
                Ok(goes.unwrap_or_else(|| match store.starts.lock().unwrap().is_empty() {
                    true => Followed::Running,
                    false => match store.current() {
                        Some(id) if id == version("v1") => Followed::Done(store.put("app_a", "by-itself")),
                        id => Followed::Done(id.unwrap()),
                    },
                }))
            })
            .await
    }
}

struct ReachedUsers(Reach);

#[async_trait]
impl Provider for ReachedUsers {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }

    async fn check(&self, _: &[Demand]) -> Vec<Finding> {
        Vec::new()
    }
}

#[async_trait]
impl Target for ReachedUsers {
    async fn apply(&self, turn: Turn<'_>) -> Result<(), ProviderError> {
        self.0.call(|| self.0.world.target.apply(turn)).await
    }

    async fn test(&self, _: Turn<'_>, value: &SecretValue) -> Result<Trial, ProviderError> {
        self.0
            .call(|| {
                let (user, password) = pair(value);
                let target = &self.0.world.target;
                let deaf = *target.deaf.lock().unwrap() && password.starts_with("new-");
                let works = target.accepts(&user, &password) && !deaf;
                Ok(if works { Trial::Accepted } else { Trial::Refused })
            })
            .await
    }

    async fn retire(&self, turn: Turn<'_>) -> Result<(), ProviderError> {
        self.0
            .call(|| {
                self.0.world.target.retire(turn);
                Ok(())
            })
            .await
    }

    async fn check(&self, _: Turn<'_>) -> Vec<Finding> {
        vec![Finding::passed("change the user's password", "")]
    }
}

/// The ledger as a process reaches it: it may die after each commit.
struct Front {
    ledger: Memory,
    reach: Reach,
}

#[async_trait]
impl Ledger for Front {
    async fn commit(&self, commit: Commit) -> Result<Revision, LedgerError> {
        if self.reach.life.point().await == Some(Cut::Death) {
            self.reach.life.die().await;
        }
        let held_up =
            self.reach.world.held_up.lock().unwrap().take_if(|(kind, _)| *kind == commit.record.kind);
        if let Some((_, word)) = held_up {
            word.notified().await;
        }
        let committed = self.ledger.commit(commit).await;
        self.reach.world.check().await;
        if self.reach.life.point().await == Some(Cut::Death) {
            self.reach.life.die().await;
        }
        committed
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        self.ledger.get(key).await
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        self.ledger.scan(range, limit).await
    }

    fn watch(&self, range: KeyRange) -> BoxStream<'static, Result<Changed, LedgerError>> {
        self.ledger.watch(range)
    }
}

/// Allows everything, unless the scheduler is denied.
struct Scheduler(Arc<Mutex<bool>>);

impl Authorizer for Scheduler {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let denied = request.action == Action::RotateSecret && *self.0.lock().unwrap();
        Decision {
            action: request.action,
            effect: if denied { Effect::Deny } else { Effect::Allow },
            policies: Vec::new(),
            max_ttl: None,
            policy_set: "test".into(),
            inputs: request.context.clone(),
            errors: Vec::new(),
        }
    }
}

/// Different bytes have different tags.
struct HashTag;

impl ValueMac for HashTag {
    fn tag(&self, bytes: &[u8]) -> ValueTag {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        ValueTag(format!("{:016x}", hasher.finish()).into())
    }
}

/// Text that must be in no record.
pub(crate) fn shows_no_value(world: &World) {
    let shown = format!("{:?}", world.ledger.records());
    for value in world.store.versions.lock().unwrap().iter() {
        let (_, password) = pair(&value.value);
        assert!(!shown.contains(&password), "a value is in a record");
    }
}
