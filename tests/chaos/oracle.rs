//! What must hold, whatever has happened, as it can be seen from outside.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::SignedDuration;
use leasehold_client::{Lease, LeaseState};
use leasehold_core::{LeaseId, Timestamp, ttl::after};
use leasehold_proto::v1::RevocationState;
use leasehold_tests::{daemon, evidence::list};

use crate::{
    book::{Book, Entries, Held},
    database::User,
    scene::{LONGEST, MARGIN, Scene, TOLERANCE},
};

/// What was found.
#[derive(Default)]
pub(crate) struct Findings {
    /// What may never be, with the leases that it is about.
    pub(crate) wrong: Vec<(Option<LeaseId>, String)>,
    /// What has not come to pass yet.
    pub(crate) late: Vec<(Option<LeaseId>, String)>,
}

/// The world at one moment, or nearly so.
struct Seen {
    /// The broker's time before it listed its leases, after that, and when all was seen.
    began: Timestamp,
    now: Timestamp,
    ended: Timestamp,
    listed: HashMap<LeaseId, Lease>,
    /// The users, looked at before the list was and after it.
    before: Vec<User>,
    after: Vec<User>,
}

/// How long after its end a lease may still be listed as live, on a machine that is busy.
const LATE: Duration = Duration::from_secs(1);
/// So many of the living and of the dead try to log in at each look.
const LOGINS: usize = 8;
/// How long the making of a user may take once its turn has come, and a part of a second: what the server was told of its
/// end counts from somewhere in it.
const MAKING: Duration = Duration::from_secs(3);

/// Looks at everything, while nobody calls.
pub(crate) async fn judge(scene: &Scene<'_>, book: &Book) -> Findings {
    let slowest = scene.time() - SignedDuration::from_secs(1);
    let seen = Seen::of(scene).await;
    let fastest = after(scene.time(), TOLERANCE);
    let mut findings = Findings::default();
    if seen.now < slowest || fastest < seen.now {
        findings.wrong.push((None, format!("the broker says that it is {}, at {}", seen.now, scene.time())));
    }
    let live;
    {
        let entries = book.open();
        findings.wrong.extend(entries.wrong.iter().map(|wrong| (None, wrong.clone())));
        for held in entries.held.values() {
            judge_held(held, entries.is_to_end(held), &seen, &mut findings);
        }
        judge_users(&entries, &seen, scene, &mut findings);
        let unknown = seen.listed.keys().filter(|id| !entries.held.contains_key(id)).count();
        let possible = entries.in_vain + scene.probes;
        if unknown > possible {
            let message =
                format!("{unknown} leases were given to nobody; {possible} calls could have made one");
            findings.wrong.push((None, message));
        }
        live = Logins::of(&entries, &seen);
    }
    live.judge(scene, &mut findings).await;
    findings
}

impl Seen {
    async fn of(scene: &Scene<'_>) -> Self {
        let before = scene.database.users(&scene.prefix).await;
        let began = broker_time(scene).await;
        let listed = list(&daemon::workload(&scene.site).await).await;
        let now = broker_time(scene).await;
        let after = scene.database.users(&scene.prefix).await;
        let ended = broker_time(scene).await;
        Self { began, now, ended, listed, before, after }
    }
}

/// What time it is for the broker, which is what its leases go by.
async fn broker_time(scene: &Scene<'_>) -> Timestamp {
    let operator = daemon::operator(&scene.site).await.operator();
    let time = operator.status().await.expect("the status is told").current_time.expect("a time");
    Timestamp::new(time.seconds, time.nanos).expect("a time")
}

fn judge_held(held: &Held, (to_end, ends): (bool, bool), seen: &Seen, findings: &mut Findings) {
    let Held { lease, given_back, more_time, .. } = held;
    let id = Some(lease.id);
    let Some(found) = seen.listed.get(&lease.id) else {
        findings.wrong.push((id, format!("acknowledged and lost: {held:?}")));
        return;
    };
    let mut wrong = |what: &str| findings.wrong.push((id, format!("{what}: {held:?}, found as {found:?}")));
    let same = (&found.secret, &found.holder, &found.version, found.issued_at, found.max_expires_at)
        == (&lease.secret, &lease.holder, &lease.version, lease.issued_at, lease.max_expires_at);
    if !same {
        wrong("it is another one");
    }
    if found.expires_at < lease.expires_at || (found.expires_at > lease.expires_at && !more_time) {
        wrong("it ends at another time than was said");
    }
    if found.expires_at > found.max_expires_at || (lease.dynamic && past(found, LONGEST)) {
        wrong("it lives longer than the longest");
    }
    match found.state {
        LeaseState::Active if *given_back => wrong("it was given back and lives"),
        LeaseState::Active if after(found.expires_at, LATE) < seen.began => {
            findings.late.push((id, format!("past its end at {}: {found:?}", seen.began)));
        }
        LeaseState::Active if ends => {
            findings.late.push((id, format!("revoked with all others, and live: {found:?}")));
        }
        LeaseState::Active => {}
        LeaseState::Revoking | LeaseState::Revoked | LeaseState::Expired => {
            if !to_end && seen.now < found.expires_at {
                wrong("it was ended early");
            }
        }
        _ => wrong("it cannot be that"),
    }
}

fn past(lease: &Lease, longest: Duration) -> bool {
    lease.max_expires_at > after(lease.issued_at, longest)
}

fn judge_users(entries: &Entries, seen: &Seen, scene: &Scene<'_>, findings: &mut Findings) {
    for user in &seen.before {
        if scene.planted.contains(&user.name) {
            findings.late.push((user.lease, format!("an orphan that was planted: {user:?}")));
        } else if user.lease.is_none_or(|id| !seen.listed.contains_key(&id)) {
            findings.wrong.push((user.lease, format!("an orphan: {user:?}")));
        }
    }
    for user in &seen.after {
        let Some(lease) = user.lease.and_then(|id| seen.listed.get(&id)) else { continue };
        if matches!(lease.state, LeaseState::Revoked | LeaseState::Expired) {
            findings.wrong.push((user.lease, format!("a user outlives its lease: {user:?}, {lease:?}")));
        }
        // Somebody who asked for more time may have got it from the database and not from the broker.
        let sure = entries.held.get(&lease.id).is_some_and(|held| !held.more_time);
        let end =
            if sure && lease.state == LeaseState::Active { lease.expires_at } else { lease.max_expires_at };
        if user.until.is_none_or(|until| until > after(end, MARGIN + MAKING)) {
            findings
                .wrong
                .push((user.lease, format!("the server lets it in for too long: {user:?}, {lease:?}")));
        }
    }
    let users: HashSet<_> = seen.after.iter().filter(|user| user.may_log_in).map(|user| &user.name).collect();
    for held in entries.held.values() {
        let Some((name, _)) = &held.user else { continue };
        let live = seen.listed.get(&held.lease.id).is_some_and(|found| lives_on(found, seen.ended));
        if live && !users.contains(name) {
            findings.wrong.push((Some(held.lease.id), format!("a lease has lost its user: {held:?}")));
        }
    }
}

/// Whether it is live, and will be while it is looked at.
fn lives_on(lease: &Lease, now: Timestamp) -> bool {
    lease.state == LeaseState::Active && lease.expires_at > after(now, MARGIN)
}

/// Who tries to log in.
struct Logins {
    live: BTreeMap<String, String>,
    /// When the leases of the living end: on a busy machine some do before their turn to log in comes.
    ends: HashMap<String, Timestamp>,
    dead: BTreeMap<String, String>,
}

impl Logins {
    fn of(entries: &Entries, seen: &Seen) -> Self {
        let (mut live, mut ends, mut dead) = (BTreeMap::new(), HashMap::new(), BTreeMap::new());
        for held in entries.held.values() {
            let (Some((name, password)), Some(found)) = (&held.user, seen.listed.get(&held.lease.id)) else {
                continue;
            };
            let over = matches!(found.state, LeaseState::Revoked | LeaseState::Expired)
                || machine_time() > after(found.expires_at, 2 * MARGIN + MAKING) && !held.more_time;
            if live.len() < LOGINS && lives_on(found, seen.ended) {
                live.insert(name.clone(), password.clone());
                ends.insert(name.clone(), found.expires_at);
            } else if dead.len() < LOGINS && over {
                dead.insert(name.clone(), password.clone());
            }
        }
        Self { live, ends, dead }
    }

    async fn judge(&self, scene: &Scene<'_>, findings: &mut Findings) {
        for (users, wanted) in [(&self.live, true), (&self.dead, false)] {
            let tried = scene.database.let_in(users).await;
            let now = broker_time(scene).await;
            for (name, let_in) in tried {
                let over = self.ends.get(&name).is_some_and(|end| *end <= now);
                if let_in != wanted && !over {
                    let lease = crate::database::lease_of(&name);
                    findings
                        .wrong
                        .push((lease, format!("{name} was let in: {let_in}, and should be {wanted}")));
                }
            }
        }
    }
}

/// When nothing may be left: every lease is over, and no user is there.
pub(crate) async fn remains(scene: &Scene<'_>) -> Vec<(Option<LeaseId>, String)> {
    let seen = Seen::of(scene).await;
    let leases = seen
        .listed
        .values()
        .filter(|lease| !matches!(lease.state, LeaseState::Revoked | LeaseState::Expired));
    let leases = leases.map(|lease| (Some(lease.id), format!("not over: {lease:?}")));
    leases.chain(seen.after.iter().map(|user| (user.lease, format!("still there: {user:?}")))).collect()
}

/// Revocations of many that have not come to their end, or do not know of all that they ended.
pub(crate) async fn unfinished(scene: &Scene<'_>, book: &Book) -> Vec<(Option<LeaseId>, String)> {
    let revocations = scene.revocations().await;
    let finished = |id: &String| {
        let found = revocations.iter().find(|revocation| revocation.id == *id);
        found.is_some_and(|found| {
            found.state() == RevocationState::Finished && found.done_count == found.total_count
        })
    };
    let asked: Vec<_> = book.open().sweeping.iter().filter_map(|sweeping| sweeping.id.clone()).collect();
    let unfinished = asked.into_iter().filter(|id| !finished(id));
    unfinished.map(|id| (None, format!("the revocation {id} is not done: {revocations:#?}"))).collect()
}

/// That nobody gets in who was given a user.
pub(crate) async fn nobody_gets_in(scene: &Scene<'_>, book: &Book) -> Findings {
    let users = book.open().held.values().filter_map(|held| held.user.clone()).take(5 * LOGINS).collect();
    let mut findings = Findings::default();
    Logins { live: BTreeMap::new(), ends: HashMap::new(), dead: users }.judge(scene, &mut findings).await;
    findings
}

/// The time by the machine's clock, as PostgreSQL has it.
#[expect(clippy::disallowed_methods, reason = "PostgreSQL goes by the machine's clock")]
pub(crate) fn machine_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    Timestamp::from_millisecond(since.as_millis() as i64).expect("a time")
}
