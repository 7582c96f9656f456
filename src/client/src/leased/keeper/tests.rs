//! A guard over a broker that is only a script, on paused time.

use std::sync::{Mutex, MutexGuard};

use leasehold_core::{SecretValue, Timestamp};

use super::*;
use crate::{Answer, Change, Changes, LeaseState, Leased, leased::hub::Hub};

/// What the broker does, and what it was asked.
struct Script {
    began: Instant,
    ttl: Duration,
    max_ttl: Duration,
    version: u32,
    /// What every call says.
    fault: Option<fn() -> Error>,
    /// How long a lease takes to come.
    slow: Duration,
    /// What renewals say.
    renewals_fault: Option<fn() -> Error>,
    issued: Vec<(Duration, Option<RequestId>)>,
    renewed: Vec<Duration>,
    revoked: Vec<(Duration, LeaseId)>,
    names: u32,
    leases: Vec<Lease>,
}

#[derive(Clone)]
struct Fake {
    script: Arc<Mutex<Script>>,
    hub: Arc<Hub>,
}

impl Fake {
    fn new(ttl: u64, max_ttl: u64) -> Self {
        let script = Script {
            began: Instant::now(),
            ttl: secs(ttl),
            max_ttl: secs(max_ttl),
            version: 1,
            fault: None,
            slow: Duration::ZERO,
            renewals_fault: None,
            issued: Vec::new(),
            renewed: Vec::new(),
            revoked: Vec::new(),
            names: 0,
            leases: Vec::new(),
        };
        Self { script: Arc::new(Mutex::new(script)), hub: Arc::default() }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// A guard that has taken its first lease.
    async fn borrow(&self, revoke_on_drop: bool) -> Leased {
        let expecting = self.expect();
        let asked = Instant::now();
        let issued = self.issue(None).await.unwrap();
        let listening = expecting.listen(issued.lease.id);
        let secret = issued.lease.secret.clone();
        let holding = Arc::new(Holding { lease: issued.lease, value: Arc::new(issued.value), ends: asked });
        let (sender, told) = watch::channel(Told { holding, standing: Standing::Kept });
        let (orders, received) = mpsc::unbounded_channel();
        tokio::spawn(Keeper::new(self.clone(), sender, received, revoke_on_drop, listening, asked).run());
        Leased { secret, told, orders }
    }

    /// As the broker's watch would.
    fn tell(&self, lease: &Lease, heard: Heard) {
        self.hub.tell(lease.id, heard);
    }

    fn answer<T>(
        &self,
        fault: Option<fn() -> Error>,
        answer: impl FnOnce(&mut Script) -> T,
    ) -> Result<T, Error> {
        let mut script = self.script();
        match script.fault.or(fault) {
            Some(fault) => Err(fault()),
            None => Ok(answer(&mut script)),
        }
    }
}

impl Script {
    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn end(&self, issued_at: Timestamp) -> (Timestamp, Timestamp) {
        let most = issued_at + self.max_ttl;
        ((at(self.elapsed()) + self.ttl).min(most), most)
    }
}

impl Broker for Fake {
    fn issue(
        &self,
        request: Option<RequestId>,
    ) -> impl Future<Output = Result<IssuedLease, Error>> + Send + 'static {
        let now = self.script().elapsed();
        self.script().issued.push((now, request));
        let answer = self.answer(None, |script| {
            let number = u8::try_from(script.leases.len()).unwrap();
            let (expires_at, max_expires_at) = script.end(at(now));
            let lease = Lease {
                id: LeaseId::from_bits([number; 16]),
                version: Some(format!("v{}", script.version).parse().unwrap()),
                issued_at: at(now),
                expires_at,
                max_expires_at,
                ..lease()
            };
            script.leases.push(lease.clone());
            IssuedLease { lease, value: SecretValue::plain(format!("value {}", script.version)) }
        });
        let slow = self.script().slow;
        async move {
            if slow > Duration::ZERO {
                tokio::time::sleep(slow).await;
            }
            answer
        }
    }

    fn renew(&self, id: LeaseId) -> impl Future<Output = Result<Lease, Error>> + Send + 'static {
        let fault = self.script().renewals_fault;
        let answer = self.answer(fault, |script| {
            let now = script.elapsed();
            script.renewed.push(now);
            let issued_at = script.leases.iter().find(|lease| lease.id == id).unwrap().issued_at;
            let (expires_at, _) = script.end(issued_at);
            let lease = script.leases.iter_mut().find(|lease| lease.id == id).unwrap();
            lease.expires_at = expires_at;
            lease.clone()
        });
        async move { answer }
    }

    fn revoke(&self, id: LeaseId) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let answer = self.answer(None, |script| {
            let now = script.elapsed();
            script.revoked.push((now, id));
        });
        async move { answer }
    }

    fn expect(&self) -> Expecting {
        self.hub.expect()
    }

    fn request_id(&self) -> Option<RequestId> {
        let mut script = self.script();
        script.names += 1;
        format!("request-{}", script.names).parse().ok()
    }

    fn chance(&self) -> f64 {
        0.5
    }
}

const ROTATED: Heard = Heard { rotated: true, ended: None };
const REVOKED: Heard = Heard { rotated: false, ended: Some(WhyEnded::Revoked) };

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(elapsed: Duration) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + elapsed
}

fn lease() -> Lease {
    Lease {
        id: LeaseId::from_bits([0; 16]),
        holder: "spiffe://example.org/prod/api".parse().unwrap(),
        secret: "prod/payments/db".parse().unwrap(),
        version: None,
        provider: "local".parse().unwrap(),
        dynamic: false,
        fields: Vec::new(),
        state: LeaseState::Active,
        issued_at: at(Duration::ZERO),
        expires_at: at(Duration::ZERO),
        max_expires_at: at(Duration::ZERO),
        renewals: 0,
        stale_since: None,
        ended_at: None,
        end_cause: None,
        irrevocable_until: None,
        verification: None,
        ending: None,
    }
}

fn away() -> Error {
    Error::Unavailable { answer: Answer::default() }
}

fn refused(reason: &str) -> Error {
    Error::Refused { answer: Answer { reason: Some(reason.into()), ..Answer::default() } }
}

fn version(holding: &Holding) -> &str {
    holding.lease.version.as_ref().unwrap().as_str()
}

async fn replaced(changes: &mut Changes) -> Arc<Holding> {
    loop {
        match changes.next().await {
            Some(Change::Replaced(holding)) => return holding,
            Some(Change::Renewed(_)) => {}
            other => panic!("it is not replaced: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_at_two_thirds_of_its_life_again_and_again() {
    let broker = Fake::new(60, 3_600);
    let guard = broker.borrow(false).await;
    tokio::time::sleep(secs(125)).await;
    assert_eq!(broker.script().renewed, [40, 80, 120].map(secs));
    assert_eq!(guard.current().lease.expires_at, at(secs(180)));
    assert!(matches!(guard.standing(), Standing::Kept));
    drop(guard);
    tokio::time::sleep(secs(60)).await;
    let script = broker.script();
    assert_eq!((script.renewed.len(), script.revoked.len()), (3, 0), "it is let go of");
}

#[test]
fn two_thirds_are_jittered() {
    let lease = Lease { expires_at: at(secs(300)), ..lease() };
    let asked = Instant::now();
    let span = Span::new(&lease, asked);
    let [first, last] = [0.0, 1.0].map(|chance| span.two_thirds(chance).duration_since(asked).as_secs());
    assert_eq!((first, last), (180, 220));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_told_and_the_old_lease_is_held_until_the_holder_has_switched() {
    let broker = Fake::new(60, 3_600);
    let guard = broker.borrow(false).await;
    let old = guard.current();
    let mut changes = guard.changes();
    broker.script().version = 2;
    broker.tell(&old.lease, ROTATED);
    let new = replaced(&mut changes).await;
    assert_eq!((version(&old), version(&new)), ("v1", "v2"));
    assert_eq!(guard.field("value").unwrap().expose(), b"value 2");
    tokio::time::sleep(secs(10)).await;
    assert_eq!(broker.script().revoked, [], "the holder may use it still");
    guard.switched(&new);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(broker.script().revoked, [(secs(10), old.lease.id)]);
    guard.switched(&new);
    drop(guard);
    assert!(changes.next().await.is_none(), "the guard is gone");
    assert_eq!(broker.script().revoked.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_is_told_before_the_leases_id_is_known_is_not_lost() {
    let broker = Fake::new(60, 3_600);
    let expecting = broker.expect();
    let other = Lease { id: LeaseId::from_bits([9; 16]), ..lease() };
    broker.tell(&other, ROTATED);
    broker.tell(&lease(), ROTATED);
    let heard = expecting.listen(lease().id).next().await;
    assert_eq!(heard, ROTATED);
    broker.tell(&lease(), ROTATED);
    let mut late = broker.expect().listen(lease().id);
    let nothing = tokio::time::timeout(secs(1), late.next()).await;
    assert!(nothing.is_err(), "nobody was expected then: {nothing:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_near_its_maximum_is_replaced_in_time() {
    let broker = Fake::new(60, 110);
    let guard = broker.borrow(false).await;
    let mut changes = guard.changes();
    let new = replaced(&mut changes).await;
    // Renewed at 40 and at 80 (to 110, the maximum), replaced when a third of the 60 is left.
    assert_eq!(broker.script().renewed, [40, 80].map(secs));
    let since = new.lease.issued_at.duration_since(at(Duration::ZERO)).as_secs();
    assert_eq!(since, 90);
    tokio::time::sleep(secs(1_000)).await;
    assert!(matches!(guard.standing(), Standing::Kept));
    assert!(broker.script().issued.len() > 9);
}

#[tokio::test(start_paused = true)]
async fn a_holder_has_a_third_of_the_time_to_move_however_its_maximum_falls() {
    for max_ttl in 60..=180 {
        let broker = Fake::new(60, max_ttl);
        let guard = broker.borrow(false).await;
        let (old, mut changes) = (guard.current(), guard.changes());
        replaced(&mut changes).await;
        let left = old.lease.issued_at + secs(max_ttl);
        let left = left.duration_since(at(broker.script().elapsed()));
        assert!(left.as_secs() >= 20, "{left} of 60 s, with {max_ttl} s at most");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_comes_back_in_time_changes_nothing() {
    let broker = Fake::new(60, 3_600);
    let guard = broker.borrow(false).await;
    let mut changes = guard.changes();
    broker.script().fault = Some(away);
    let Some(Change::Failing { until, .. }) = changes.next().await else { panic!("it is not told") };
    assert_eq!(until, at(secs(60)));
    assert_eq!(broker.script().elapsed(), secs(40));
    tokio::time::sleep(secs(15)).await;
    broker.script().fault = None;
    assert!(matches!(changes.next().await, Some(Change::Recovered)));
    assert!(broker.script().elapsed() < secs(60), "the tries are closer when the end is near");
    assert_eq!(broker.script().issued.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_for_longer_than_the_lease_is_asked_for_another_lease() {
    let broker = Fake::new(60, 3_600);
    let guard = broker.borrow(false).await;
    let mut changes = guard.changes();
    broker.script().fault = Some(away);
    assert!(matches!(changes.next().await, Some(Change::Failing { .. })));
    assert!(matches!(changes.next().await, Some(Change::Ended { why: WhyEnded::Expired })));
    assert_eq!(broker.script().elapsed(), secs(60), "at its end, not later");
    tokio::time::sleep(secs(300)).await;
    broker.script().fault = None;
    replaced(&mut changes).await;
    assert!(broker.script().elapsed() < secs(380));
    let asked: Vec<_> = broker.script().issued.iter().skip(1).map(|(_, name)| name.clone()).collect();
    assert!(
        asked.len() > 10 && asked.iter().all(|name| *name == asked[0]),
        "one request, many tries: {asked:?}"
    );
    assert!(matches!(guard.standing(), Standing::Kept));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_revokes_is_told_and_replaced_by_another() {
    let broker = Fake::new(60, 3_600);
    let guard = broker.borrow(false).await;
    let mut changes = guard.changes();
    broker.script().fault = Some(|| Error::Denied { answer: crate::Answer::default() });
    broker.tell(&guard.current().lease, REVOKED);
    assert!(matches!(changes.next().await, Some(Change::Ended { why: WhyEnded::Revoked })));
    tokio::time::sleep(secs(100)).await;
    broker.script().fault = None;
    replaced(&mut changes).await;
    let names: Vec<_> = broker.script().issued.iter().skip(1).map(|(_, name)| name.clone()).collect();
    assert!(names.len() > 2 && names[0] != names[1], "what was answered is another request the next time");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_is_replaced_while_it_is_good() {
    let broker = Fake::new(60, 3_600);
    let guard = broker.borrow(false).await;
    let mut changes = guard.changes();
    broker.script().renewals_fault = Some(|| refused("PROVIDER_UNSUPPORTED"));
    assert!(matches!(changes.next().await, Some(Change::Failing { .. })));
    replaced(&mut changes).await;
    assert!(broker.script().elapsed() < secs(42));
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_while_no_lease_can_be_had_does_not_let_the_old_one_end() {
    let broker = Fake::new(60, 3_600);
    let guard = broker.borrow(false).await;
    let mut changes = guard.changes();
    broker.script().fault = Some(|| refused("PROVIDER_SECRET_ABSENT"));
    broker.tell(&guard.current().lease, ROTATED);
    assert!(matches!(changes.next().await, Some(Change::Failing { .. })));
    tokio::time::sleep(secs(30)).await;
    broker.script().fault = None;
    replaced(&mut changes).await;
    assert!(broker.script().elapsed() < secs(50));
}

#[tokio::test(start_paused = true)]
async fn closing_gives_everything_back_for_certain() {
    let broker = Fake::new(60, 3_600);
    let guard = broker.borrow(false).await;
    let (old, mut changes) = (guard.current(), guard.changes());
    broker.tell(&old.lease, ROTATED);
    let new = replaced(&mut changes).await;
    broker.script().fault = Some(away);
    let closing = tokio::spawn(guard.close());
    tokio::time::sleep(secs(5)).await;
    assert!(!closing.is_finished(), "the broker was not told yet");
    broker.script().fault = None;
    closing.await.unwrap().unwrap();
    let mut revoked: Vec<_> = broker.script().revoked.iter().map(|(_, id)| *id).collect();
    revoked.sort();
    assert_eq!(revoked, [old.lease.id, new.lease.id]);
}

#[tokio::test(start_paused = true)]
async fn what_is_let_run_out_is_neither_renewed_nor_replaced_and_can_be_given_back_until_its_end() {
    for close_after in [30, 90] {
        let broker = Fake::new(60, 110);
        let guard = broker.borrow(false).await;
        let held = guard.current();
        guard.let_run_out();
        broker.tell(&held.lease, ROTATED);
        tokio::time::sleep(secs(close_after)).await;
        let over = close_after > 60;
        assert_eq!(matches!(guard.standing(), Standing::Ended { why: WhyEnded::Expired }), over);
        let asked = |script: &Script| (script.issued.len(), script.renewed.len());
        assert_eq!(asked(&broker.script()), (1, 0));
        guard.close().await.unwrap();
        let revoked: Vec<_> = broker.script().revoked.iter().map(|(_, id)| *id).collect();
        assert_eq!(revoked, if over { vec![] } else { vec![held.lease.id] });
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_comes_when_the_guard_runs_out_is_given_back() {
    let broker = Fake::new(60, 3_600);
    let guard = broker.borrow(false).await;
    let held = guard.current();
    broker.script().slow = secs(2);
    broker.tell(&held.lease, ROTATED);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(broker.script().issued.len(), 2, "the other one is asked for");
    guard.let_run_out();
    tokio::time::sleep(secs(2)).await;
    let revoked: Vec<_> = broker.script().revoked.iter().map(|(_, id)| *id).collect();
    assert_eq!(revoked, [LeaseId::from_bits([1; 16])]);
    assert_eq!(guard.current().lease.id, held.lease.id);
}

#[tokio::test(start_paused = true)]
async fn closing_says_when_the_broker_cannot_be_told() {
    let broker = Fake::new(600, 3_600);
    let guard = broker.borrow(false).await;
    broker.script().fault = Some(away);
    let error = guard.close().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(broker.script().elapsed() <= CLOSING);
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_dropped_gives_back_where_asked() {
    let broker = Fake::new(60, 3_600);
    let guard = broker.borrow(true).await;
    let held = guard.current();
    drop(guard);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(broker.script().revoked, [(Duration::ZERO, held.lease.id)]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_sees_the_latest_only() {
    let broker = Fake::new(60, 3_600);
    let guard = broker.borrow(false).await;
    let mut changes = guard.changes();
    for version in 2..=5 {
        broker.script().version = version;
        broker.tell(&guard.current().lease, ROTATED);
        tokio::time::sleep(secs(1)).await;
    }
    let latest = replaced(&mut changes).await;
    assert_eq!(version(&latest), "v5");
    let more = tokio::time::timeout(secs(10), changes.next()).await;
    assert!(more.is_err(), "{more:?}");
}

#[test]
fn nothing_of_a_guard_prints_a_value() {
    let value = Arc::new(SecretValue::plain("canary-8c1f".to_owned()));
    let holding = Arc::new(Holding { lease: lease(), value, ends: Instant::now() });
    let told = Told { holding: Arc::clone(&holding), standing: Standing::Kept };
    let (_sender, receiver) = watch::channel(told.clone());
    let shown =
        format!("{holding:?} {told:?} {:?} {:?}", Change::Replaced(holding.clone()), Changes::new(receiver));
    assert!(!shown.contains("canary") && shown.contains("[redacted; 11 bytes]"), "{shown}");
}
