//! One lease with all that is around it: the broker's tasks, which a crash takes away, and a back end that may refuse, be
//! late, lose answers, say what is not so, and do what it was asked after nobody waits for it any more.
//!
//! What is assumed: a call that was sent is done or lost before two ticks have passed. That is what the broker's time limits
//! are for, and what a back end is told with a request for a credential: an intent is taken for abandoned, what was ended
//! early is ended again, and an attempt is repeated, only after that. Of a reservation that was ended nothing comes any more.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    id::LeaseId,
    lease::{Cause, Event, Lease, LeaseState, RevocationHandle, StepError},
    provider::Revocation,
    secret::SecretBytes,
    state::Key as LedgerKey,
    ttl::{TtlLimits, after},
};

/// What kind of lease it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// On a value that is there anyway.
    Static,
    /// On a credential that its lease's id leads to.
    Dynamic,
    /// On a credential for which something was reserved before it was asked for.
    Reserved,
    /// On a credential that ends by itself and that nothing can end.
    Irrevocable,
}

/// What a move is about, as far as two leases have it in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The broker's task that makes the credential goes on.
    Make,
    /// The request of a broker that has died reaches the back end, or never does.
    Ghost,
    /// Somebody asks for something, or the time has come for it.
    Event,
    /// A task that ends the credential goes on.
    End,
    /// What has the broker's tag and no lease is ended.
    Sweep,
    /// The lease is forgotten: it has ended long ago.
    Purge,
    /// The broker dies.
    Crash,
    /// Time passes.
    Tick,
}

/// The credential at the back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Credential {
    Never,
    /// Works; for so many ticks, if it ends by itself.
    Works(Option<u8>),
    Dead,
}

/// The task that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Maker {
    None,
    /// The back end has been asked.
    Asking {
        late: bool,
    },
    /// It has answered with a credential.
    Made,
    /// It has refused.
    Refused,
    /// The lease is over, and what was made for it is being ended.
    Ending {
        late: bool,
    },
}

/// A task that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Ender {
    /// Whether nobody has written the lease since this task did.
    fresh: bool,
    /// Whether the credential could come to be when it began.
    early: bool,
    said: Said,
}

/// What an ending came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Said {
    Nothing { late: bool },
    Proven,
    Unproven,
    Failed,
    Never,
    StillValid,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    kind: Kind,
    /// As the ledger has it.
    lease: Option<Lease>,
    begun: bool,
    credential: Credential,
    maker: Maker,
    /// Whether nobody has written the lease since its maker did.
    maker_is_fresh: bool,
    /// A request to make it for which nobody waits any more.
    ghost: Option<bool>,
    enders: Vec<Ender>,
    /// A person has given the credential up, and it is nobody's business any more.
    given_up: bool,
    /// The keys of the ledger, as each commit changed them.
    keys: Vec<LedgerKey>,
}

/// A world without what makes no difference.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Key {
    lease: Option<Stage>,
    begun: bool,
    credential: Credential,
    maker: (Maker, bool),
    ghost: Option<bool>,
    enders: Vec<Ender>,
    given_up: bool,
}

/// Where a lease is in its life, in ticks from now, without what nothing depends on any more.
#[derive(PartialEq, Eq, Hash)]
struct Stage {
    name: &'static str,
    /// When it ends, and when at the latest, while it may live.
    ends: Option<(i64, i64)>,
    /// When somebody looks at it next, unless that is its end.
    next: Option<i64>,
    attempts: u32,
    expired: bool,
    handle: bool,
    version: bool,
    unsettled: Option<i64>,
    irrevocable: Option<i64>,
}

const TICK: Duration = Duration::from_secs(30);
/// A lease's life, and with all renewals.
const TTL: u32 = 2;
const MAX_TTL: u32 = 3;
/// When an intent is taken for abandoned.
const PENDING: u32 = 2;
/// How long a credential lives that ends by itself.
const OWN_LIFE: u8 = 3;
/// After so many attempts a lease is put aside.
const BUDGET: u32 = 2;
/// What a lease may leave behind in the ledger: who was issued what, and what was given up.
const KEPT: [&str; 2] = ["held/", "forgotten/"];
/// Longer than everything that can happen without a fault takes.
const PATIENCE: usize = 60;

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn ticks(count: u32) -> Timestamp {
    after(now(), TICK * count)
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Static, Self::Dynamic, Self::Reserved, Self::Irrevocable];
}

impl Stage {
    fn of(lease: &Lease) -> Self {
        let until =
            |time: Timestamp| (time.as_second() - now().as_second()).div_euclid(TICK.as_secs() as i64);
        let ends = (until(lease.expires_at), until(lease.max_expires_at));
        let (ends, next, attempts, expired) = match lease.state {
            LeaseState::Pending { until: abandoned } => (Some(ends), Some(until(abandoned)), 0, false),
            LeaseState::Active => (Some(ends), None, 0, false),
            LeaseState::Revoking { cause, attempts, next_try }
            | LeaseState::Quarantined { cause, attempts, next_try } => {
                (None, Some(until(next_try)), attempts, cause == Cause::Expiry)
            }
            LeaseState::Revoked { .. } | LeaseState::Expired { .. } | LeaseState::Forgotten { .. } => {
                (None, None, 0, false)
            }
        };
        Self {
            name: lease.state.name(),
            ends,
            next,
            attempts,
            expired,
            handle: lease.handle.is_some(),
            version: lease.version.is_some(),
            unsettled: lease.unsettled_until.map(until),
            irrevocable: lease.irrevocable_until.map(until),
        }
    }
}

impl World {
    /// Before anything was asked.
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            lease: None,
            begun: false,
            credential: Credential::Never,
            maker: Maker::None,
            maker_is_fresh: false,
            ghost: None,
            enders: Vec::new(),
            given_up: false,
            keys: Vec::new(),
        }
    }

    pub(super) fn key(&self) -> Key {
        Key {
            lease: self.lease.as_ref().map(Stage::of),
            begun: self.begun,
            credential: self.credential,
            maker: (self.maker, self.maker_is_fresh),
            ghost: self.ghost,
            enders: self.enders.clone(),
            given_up: self.given_up,
        }
    }

    /// Nothing is under way, and nothing will be.
    pub(super) fn is_at_rest(&self) -> bool {
        let quiet = self.maker == Maker::None && self.ghost.is_none() && self.enders.is_empty();
        quiet && (!self.begun || self.lease.as_ref().is_none_or(Lease::is_ended))
    }

    /// What holds in every state.
    pub(super) fn check(&self) {
        let works = matches!(self.credential, Credential::Works(_));
        let Some(lease) = &self.lease else {
            let excused = self.kind == Kind::Irrevocable || self.given_up;
            assert!(!works || excused, "purged, and its credential works: {self:#?}");
            return;
        };
        assert!(lease.expires_at <= lease.max_expires_at, "past its maximum: {self:#?}");
        if lease.is_live(now()) {
            assert!(
                lease.kind == super::super::LeaseKind::Static || works,
                "live without a credential: {self:#?}"
            );
        }
        let ended = matches!(lease.state, LeaseState::Revoked { .. } | LeaseState::Expired { .. });
        // Of one that nothing can end, a back end that misses it has the last word.
        assert!(
            !ended || !works || self.kind == Kind::Irrevocable,
            "over, and its credential works: {self:#?}"
        );
        if !lease.is_ended() {
            assert!(lease.due_at() <= ticks(2 * MAX_TTL), "nobody looks at it soon: {self:#?}");
            let due = lease.clone().step(Event::Due, lease.due_at().max(now()));
            assert!(due.is_ok(), "it is not due when it said: {due:?} {self:#?}");
        } else {
            for event in self.events() {
                assert!(lease.clone().step(event, now()).is_err(), "what has ended has changed: {self:#?}");
            }
        }
        let mut keys: Vec<_> = self.keys.clone();
        let mut whole: Vec<_> = lease.writes(None).unwrap().into_iter().map(|write| write.key).collect();
        keys.sort();
        whole.sort();
        assert_eq!(keys, whole, "its keys are not those of its state: {self:#?}");
    }

    /// Everything that can happen next.
    pub(super) fn moves(&self) -> Vec<(Move, Self)> {
        let mut moves = Vec::new();
        let mut may = |label: Move, next: Self| moves.push((label, next));
        if !self.begun {
            may(Move::Event, self.begin());
        }
        self.makings().into_iter().for_each(|next| may(Move::Make, next));
        if self.ghost.is_some() {
            may(Move::Ghost, Self { ghost: None, ..self.clone() });
            may(Move::Ghost, Self { ghost: None, ..self.clone() }.created());
        }
        if self.lease.is_some() {
            for event in self.events() {
                // Two attempts at once are enough.
                let crowded = matches!(event, Event::Retry) && !self.enders.is_empty();
                if let (false, Ok(next)) = (crowded, self.stepped(event)) {
                    may(Move::Event, next);
                }
            }
        }
        for at in 0..self.enders.len() {
            self.endings(at).into_iter().for_each(|next| may(Move::End, next));
        }
        if self.is_orphan() {
            may(Move::Sweep, Self { credential: Credential::Dead, ..self.clone() });
        }
        if self.lease.as_ref().is_some_and(Lease::is_ended) && self.maker == Maker::None {
            may(Move::Purge, self.purged());
        }
        self.crashes().into_iter().for_each(|next| may(Move::Crash, next));
        if let Some(next) = self.later() {
            may(Move::Tick, next);
        }
        moves
    }

    /// With a broker and a back end that are well from now on, everything comes to its end.
    pub(super) fn heal(mut self) {
        let from = format!("{self:#?}");
        for _ in 0..PATIENCE {
            let over = self.lease.as_ref().is_none_or(Lease::is_ended);
            let works = matches!(self.credential, Credential::Works(_));
            if self.is_at_rest() && over && (!works || self.given_up) {
                return;
            }
            self = self.well().unwrap_or_else(|| panic!("it cannot go on: {self:#?}\nfrom {from}"));
        }
        panic!("it comes to no end: {self:#?}\nfrom {from}");
    }

    /// The next step when all goes well.
    fn well(&self) -> Option<Self> {
        if self.ghost.is_some() {
            return Some(Self { ghost: None, ..self.clone() }.created());
        }
        if let Some(next) = self.makings().into_iter().next() {
            return Some(next);
        }
        if !self.enders.is_empty() {
            return self.endings(0).into_iter().next();
        }
        if self.is_orphan() {
            return Some(Self { credential: Credential::Dead, ..self.clone() });
        }
        self.stepped(Event::Due).ok().or_else(|| self.later())
    }

    fn begin(&self) -> Self {
        let limits = TtlLimits::new(TICK * TTL, TICK * MAX_TTL).unwrap();
        let (id, holder) = (LeaseId::from_bits([7; 16]), "spiffe://example.org/prod/api".parse().unwrap());
        let (secret, provider) = ("prod/db".parse().unwrap(), "main".parse().unwrap());
        let term = limits.term(None, now());
        let mut lease = match self.kind {
            Kind::Static => {
                Lease::new_static(id, holder, secret, provider, "v1".parse().unwrap(), term, now())
            }
            _ => Lease::new_pending(id, holder, secret, provider, term, now(), ticks(PENDING)),
        };
        if self.kind == Kind::Reserved {
            lease.handle = Some(handle());
        }
        if self.kind == Kind::Irrevocable {
            lease.irrevocable_until = Some(ticks(u32::from(OWN_LIFE) + PENDING));
        }
        let maker = if self.kind == Kind::Static { Maker::None } else { Maker::Asking { late: false } };
        let mut next = Self { begun: true, maker, ..self.clone() };
        next.write(lease);
        next.maker_is_fresh = maker != Maker::None;
        next
    }

    /// A commit: whoever had read the lease before has read an old one.
    fn write(&mut self, lease: Lease) {
        for write in lease.writes(self.lease.as_ref()).unwrap() {
            self.keys.retain(|key| *key != write.key);
            if write.value.is_some() {
                self.keys.push(write.key);
            }
        }
        self.lease = Some(lease);
        self.maker_is_fresh = false;
        self.enders.iter_mut().for_each(|ender| ender.fresh = false);
        // What such a one would write is refused.
        self.enders.retain(|ender| ender.fresh || matches!(ender.said, Said::Nothing { .. }));
    }

    fn stepped(&self, event: Event) -> Result<Self, StepError> {
        let lease = self.lease.clone().ok_or(StepError::OutOfPlace)?;
        let (mut next, effects) = lease.clone().step(event, now())?;
        // How often it was renewed makes no difference, nor how often it was tried once that was often enough.
        next.renewals = 0;
        if let LeaseState::Revoking { attempts, .. } | LeaseState::Quarantined { attempts, .. } =
            &mut next.state
        {
            *attempts = (*attempts).min(BUDGET);
        }
        assert!(!lease.is_ended(), "what has ended has changed: {self:#?}");
        assert!(next.max_expires_at == lease.max_expires_at && next.id == lease.id);
        assert_eq!(effects.ended, next.is_ended(), "{self:#?}");
        let was_live = lease.is_live(now()) || matches!(lease.state, LeaseState::Pending { .. });
        assert!(was_live || !next.is_live(now()), "back to life: {self:#?}");
        let mut world = self.clone();
        world.given_up |= matches!(next.state, LeaseState::Forgotten { .. });
        let early = next.unsettled_until.is_some_and(|until| now() < until);
        world.write(next);
        if effects.revoke_upstream {
            world.enders.push(Ender { fresh: true, early, said: Said::Nothing { late: false } });
            world.enders.sort_unstable();
            assert!(world.enders.len() < 5, "a crowd tries to end it: {world:#?}");
        }
        Ok(world)
    }

    fn events(&self) -> Vec<Event> {
        let mut events = vec![
            Event::Renew { until: ticks(TTL) },
            Event::Revoke { cause: Cause::Holder },
            Event::Due,
            Event::Retry,
            Event::Forget,
        ];
        // A look-up may be mistaken.
        if self.kind != Kind::Irrevocable {
            events.push(Event::UpstreamGone);
        }
        events
    }

    fn created(self) -> Self {
        // Its reservation was ended.
        if self.kind == Kind::Reserved && self.credential == Credential::Dead {
            return self;
        }
        let life = (self.kind == Kind::Irrevocable).then_some(OWN_LIFE);
        Self { credential: Credential::Works(life), ..self }
    }

    fn ended(self) -> Self {
        let credential = match self.credential {
            Credential::Works(_) => Credential::Dead,
            Credential::Never if self.kind == Kind::Reserved => Credential::Dead,
            as_it_was => as_it_was,
        };
        Self { credential, ..self }
    }

    /// What the maker may come to; the good end first.
    fn makings(&self) -> Vec<Self> {
        let with = |maker: Maker| Self { maker, ..self.clone() };
        match self.maker {
            Maker::None => Vec::new(),
            Maker::Asking { late } => vec![
                with(Maker::Made).created(),
                // The answer is lost, the request is, or it is still on its way.
                with(Maker::None).created(),
                with(Maker::None),
                Self { ghost: Some(late), ..with(Maker::None) },
                with(Maker::Refused),
            ],
            Maker::Made if self.maker_is_fresh => vec![self.issued()],
            Maker::Refused if self.maker_is_fresh => {
                vec![Self { maker: Maker::None, ..self.stepped(Event::IssueFailed).unwrap() }]
            }
            // A lease that is on its way out takes it along.
            Maker::Made => match self.stepped(self.made()) {
                Ok(next) => vec![Self { maker: Maker::None, ..next }],
                Err(_) if self.kind == Kind::Irrevocable => vec![with(Maker::None)],
                Err(_) => vec![with(Maker::Ending { late: false })],
            },
            // Whoever ends the lease is told that nothing is under way any more.
            Maker::Refused => {
                vec![Self { maker: Maker::None, ..self.stepped(Event::IssueFailed).unwrap_or(self.clone()) }]
            }
            Maker::Ending { .. } => vec![with(Maker::None).ended(), with(Maker::None)],
        }
    }

    fn issued(&self) -> Self {
        Self { maker: Maker::None, ..self.stepped(self.made()).unwrap() }
    }

    /// What the maker reports.
    fn made(&self) -> Event {
        let (revocation, expires_at) = match self.credential {
            Credential::Works(Some(left)) => {
                let end = ticks(u32::from(left));
                (Revocation::NoneUntil(end), Some(end))
            }
            _ => (Revocation::By(handle()), None),
        };
        Event::Issued { version: "v1".parse().unwrap(), revocation, expires_at }
    }

    /// What one of those who end it may come to; the good end first.
    fn endings(&self, at: usize) -> Vec<Self> {
        let ender = self.enders[at];
        let without = || {
            let mut next = self.clone();
            next.enders.remove(at);
            next
        };
        let saying = |said: Said| {
            let mut next = without();
            if ender.fresh {
                next.enders.push(Ender { said, ..ender });
                next.enders.sort_unstable();
            }
            next
        };
        let event = match ender.said {
            Said::Nothing { .. } => {
                let mut outcomes = vec![
                    saying(Said::Proven).ended(),
                    saying(Said::Unproven).ended(),
                    saying(Said::Failed).ended(),
                    saying(Said::Failed),
                    saying(Said::Never),
                ];
                if matches!(self.credential, Credential::Works(_)) {
                    outcomes.push(saying(Said::StillValid));
                }
                return outcomes;
            }
            Said::Proven | Said::Unproven => Event::UpstreamRevoked {
                proven: ender.said == Said::Proven,
                asked_at: if ender.early { now() - SignedDuration::from_hours(1) } else { now() },
            },
            Said::StillValid => Event::UpstreamStillValid { retry_at: ticks(2) },
            Said::Never => Event::UpstreamFailed { retry_at: ticks(2), budget_spent: true },
            Said::Failed => {
                let spent = self.attempts().saturating_add(1) >= BUDGET;
                Event::UpstreamFailed { retry_at: ticks(1), budget_spent: spent }
            }
        };
        vec![without().stepped(event).unwrap()]
    }

    fn attempts(&self) -> u32 {
        match self.lease.as_ref().map(|lease| &lease.state) {
            Some(LeaseState::Revoking { attempts, .. } | LeaseState::Quarantined { attempts, .. }) => {
                *attempts
            }
            _ => 0,
        }
    }

    /// Whether a sweep finds it: it has the broker's tag, no lease that will end it, and nobody is making it.
    fn is_orphan(&self) -> bool {
        let works = matches!(self.credential, Credential::Works(_));
        let over = self.lease.as_ref().is_none_or(Lease::is_ended);
        works && over && !self.given_up && self.maker == Maker::None && self.ghost.is_none()
    }

    fn purged(&self) -> Self {
        let mut next = Self { lease: None, ..self.clone() };
        for write in self.lease.iter().flat_map(Lease::purge) {
            next.keys.retain(|key| *key != write.key);
        }
        assert!(
            next.keys.iter().all(|key| KEPT.iter().any(|kept| key.as_str().starts_with(kept))),
            "it left a trace: {next:#?}"
        );
        next.keys.clear();
        next
    }

    /// All tasks are gone. What they had asked for is done, or not, or a new credential is still being made.
    fn crashes(&self) -> Vec<Self> {
        let dead = Self { maker: Maker::None, maker_is_fresh: false, enders: Vec::new(), ..self.clone() };
        let ending = matches!(self.maker, Maker::Ending { .. })
            || self.enders.iter().any(|ender| matches!(ender.said, Said::Nothing { .. }));
        let mut after = vec![dead.clone()];
        if ending {
            after.push(dead.clone().ended());
        }
        if let Maker::Asking { late } = self.maker {
            after.extend(
                after.clone().into_iter().map(|dead| Self { ghost: Some(late), ..dead }).collect::<Vec<_>>(),
            );
        }
        after
    }

    /// A tick later, unless a call that must be over by then is under way.
    fn later(&self) -> Option<Self> {
        let mut next = self.clone();
        let hurry = |late: &mut bool| !std::mem::replace(late, true);
        let in_time = match &mut next.maker {
            Maker::Asking { late } | Maker::Ending { late } => hurry(late),
            _ => true,
        };
        let mut in_time = in_time && next.ghost.as_mut().is_none_or(hurry);
        for ender in &mut next.enders {
            if let Said::Nothing { late } = &mut ender.said {
                in_time = hurry(late) && in_time;
            }
        }
        if !in_time {
            return None;
        }
        if let Credential::Works(Some(left)) = next.credential {
            next.credential = match left.saturating_sub(1) {
                0 => Credential::Dead,
                left => Credential::Works(Some(left)),
            };
        }
        if let Some(lease) = &mut next.lease {
            let before = lease.clone();
            pass(lease);
            // The clock writes nothing: the keys only mean other times from here on.
            let (old, new) = (before.writes(None).unwrap(), lease.writes(None).unwrap());
            next.keys.retain(|key| old.iter().all(|write| write.key != *key));
            next.keys.extend(new.into_iter().map(|write| write.key));
        }
        Some(next)
    }
}

/// Moves all of a lease's times a tick nearer; how long ago something was makes no difference.
fn pass(lease: &mut Lease) {
    let nearer = |time: &mut Timestamp| {
        let tick = SignedDuration::try_from(TICK).unwrap();
        *time = (*time - tick).max(now() - tick);
    };
    for time in [&mut lease.issued_at, &mut lease.expires_at, &mut lease.max_expires_at] {
        nearer(time);
    }
    lease.irrevocable_until.iter_mut().for_each(nearer);
    lease.unsettled_until.iter_mut().for_each(nearer);
    match &mut lease.state {
        LeaseState::Pending { until } => nearer(until),
        LeaseState::Active => {}
        LeaseState::Revoking { next_try, .. } | LeaseState::Quarantined { next_try, .. } => nearer(next_try),
        LeaseState::Revoked { at, .. } | LeaseState::Expired { at } | LeaseState::Forgotten { at } => {
            nearer(at)
        }
    }
}

fn handle() -> RevocationHandle {
    RevocationHandle::new(SecretBytes::new(b"canary".to_vec()))
}
