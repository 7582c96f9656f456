//! A secret with all that is around it. A write may be done after nobody waits for it any more, any answer may be lost, the
//! broker may die between any two things that it does, a person may take the rotation back, and a stranger may write a
//! version at the back end.

use jiff::Timestamp;

use crate::{
    provider::Verification,
    record::ValueTag,
    rotation::{Course, Event, Plan, Rotation, Stage, Strategy, Tags, TargetName, Why},
    secret::{FieldName, VersionId},
};

/// Who has to be told of new values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Generate,
    Single,
    Alternating,
}

/// A value: for which user, and a number of its own.
pub(super) type Value = (usize, u8);

/// A version at the back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kept {
    pub(super) value: Value,
    pub(super) lives: bool,
}

/// What the broker has in its hands: gone when it dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Hand {
    /// Whether nothing of the stage's task was tried.
    pub(super) fresh: bool,
    /// The value that is being written.
    pub(super) value: Option<Value>,
    /// Whether no write is under way that nobody waits for.
    pub(super) sure: bool,
    /// What is about to be made durable.
    pub(super) commit: Option<News>,
}

/// An event, with versions by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum News {
    Seen(usize),
    Begin(Value),
    Anew(Value),
    Written(usize),
    Applied,
    Tested,
    Promoted(usize),
    Rejected,
    Overtaken(usize),
    Drained,
    Dead(bool),
    Retired,
    Discarded(Option<usize>),
    Reverted(usize),
    Failed,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) kind: Kind,
    pub(super) staged: bool,
    /// As the ledger has it.
    pub(super) rotation: Rotation,
    pub(super) store: Vec<Kept>,
    pub(super) current: usize,
    /// What the target accepts of each user.
    pub(super) users: [Option<u8>; 2],
    /// A write for which nobody waits, and what it expects to be current.
    pub(super) ghost: Option<(Value, usize)>,
    pub(super) hand: Hand,
    /// Numbers of values are given once.
    pub(super) made: u8,
    /// How often each of these may still happen.
    pub(super) rejections: u8,
    pub(super) may: May,
    /// A stranger was here: what they made of it is theirs.
    pub(super) meddled: bool,
}

/// How often things may still happen that nobody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct May {
    /// A person takes a rotation back.
    pub(super) people: u8,
    /// A stranger writes a version.
    pub(super) strangers: u8,
    /// The broker dies.
    pub(super) crashes: u8,
    /// A rotation begins.
    pub(super) rotations: u8,
}

/// A world without what makes no difference.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Key {
    serial: u64,
    known: Option<(VersionId, Vec<VersionId>)>,
    course: Option<Progress>,
    store: Vec<Kept>,
    current: usize,
    users: [Option<u8>; 2],
    ghost: Option<(Value, usize)>,
    hand: Hand,
    left: (u8, May),
    pub(super) meddled: bool,
}

/// How far a rotation has come.
#[derive(PartialEq, Eq, Hash)]
struct Progress {
    stage: Stage,
    replaced: Vec<VersionId>,
    new: Option<VersionId>,
    made: usize,
    given_up: bool,
    touched: bool,
    /// What a repetition must not be mistaken for counts.
    reached: usize,
}

/// So many moves are enough to come to an end.
const PATIENCE: usize = 80;

impl Kind {
    fn plan(self) -> Plan {
        let target = TargetName::Provider("pg".parse().unwrap());
        Plan::new(match self {
            Self::Generate => Strategy::Generate,
            Self::Single => Strategy::Single { target },
            Self::Alternating => Strategy::Alternating { target, users: ["a".into(), "b".into()] },
        })
    }
}

pub(super) fn name(place: usize) -> VersionId {
    format!("v{place}").parse().unwrap()
}

pub(super) fn place(version: &VersionId) -> usize {
    version.as_str().trim_start_matches('v').parse().unwrap()
}

pub(super) fn tags((user, number): Value) -> Tags {
    Tags::from([(FieldName::value(), ValueTag(format!("{user}-{number}").into()))])
}

impl World {
    pub(super) fn new(kind: Kind, staged: bool, may: May) -> Self {
        let mut rotation = Rotation::new("prod/db".parse().unwrap());
        let first = Event::Seen { version: name(0), made_at: None };
        rotation = rotation.step(first, Timestamp::UNIX_EPOCH).unwrap();
        Self {
            kind,
            staged,
            rotation,
            store: vec![Kept { value: (0, 0), lives: true }],
            current: 0,
            users: [Some(0), None],
            ghost: None,
            hand: Hand::default(),
            made: 0,
            rejections: 1,
            may,
            meddled: false,
        }
    }

    pub(super) fn key(&self) -> Key {
        let course = self.rotation.course.as_ref().map(|course| Progress {
            stage: course.stage,
            replaced: course.replaced().cloned().collect(),
            new: course.new.clone(),
            made: course.tags.len(),
            given_up: course.problem.is_none(),
            touched: course.reached(Stage::Created),
            reached: course.reached.len(),
        });
        let known = &self.rotation.current;
        Key {
            serial: self.rotation.serial,
            known: known.as_ref().map(|known| (known.version.clone(), known.twins.clone())),
            course,
            store: self.store.clone(),
            current: self.current,
            users: self.users,
            ghost: self.ghost,
            hand: self.hand,
            left: (self.rejections, self.may),
            meddled: self.meddled,
        }
    }

    pub(super) fn course(&self) -> Option<&Course> {
        self.rotation.course.as_ref()
    }

    pub(super) fn accepts(&self, (user, number): Value) -> bool {
        self.users[user] == Some(number)
    }

    pub(super) fn has_target(&self) -> bool {
        self.kind != Kind::Generate
    }

    fn at_rest(&self) -> bool {
        self.course().is_none() && self.hand.commit.is_none() && self.ghost.is_none()
    }

    /// What holds in every state.
    pub(super) fn check(&self) {
        let pinned = self.rotation.pinned().map(place);
        let course = self.course();
        let unpromoted =
            course.is_some_and(|course| !course.is_promoted() && course.stage != Stage::Reverting);
        // Holders were told of a stranger's version.
        let known = self.rotation.current.as_ref().map(|current| &current.version);
        let unpromoted = unpromoted && course.is_some_and(|course| course.old.as_ref() == known);
        if let Some(course) = course {
            let old = place(course.old.as_ref().unwrap());
            let early = !matches!(course.stage, Stage::Retiring | Stage::Closing);
            assert!(!early || self.store[old].lives, "the old version is forgotten: {self:#?}");
        }
        if self.meddled {
            return;
        }
        assert_eq!(pinned.is_some(), unpromoted, "pinned when it is needed: {self:#?}");
        let lent = self.store[pinned.unwrap_or(self.current)];
        assert!(lent.lives, "what is lent cannot be read: {self:#?}");
        match self.kind {
            Kind::Generate => {}
            Kind::Single => {
                let copies = self.store.iter().filter(|kept| kept.lives && self.accepts(kept.value));
                assert!(copies.count() > 0, "the only copy of what works is lost: {self:#?}");
            }
            Kind::Alternating => assert!(self.accepts(lent.value), "what is lent does not work: {self:#?}"),
        }
        if self.at_rest() {
            let known = self.rotation.current.as_ref().map(|known| place(&known.version));
            assert_eq!(known, Some(self.current), "what is current is not known: {self:#?}");
            assert!(
                !self.has_target() || self.accepts(lent.value),
                "what is current does not work: {self:#?}"
            );
            let idle = self.users[1 - lent.value.0];
            assert!(idle.is_none(), "what was retired or thrown away works: {self:#?}");
        }
    }

    /// Everything that can happen next.
    pub(super) fn moves(&self) -> Vec<Self> {
        let mut moves = self.work();
        if let Some((value, expected)) = self.ghost {
            let mut lost = self.clone();
            lost.ghost = None;
            let mut done = lost.clone();
            done.write(value, expected);
            moves.extend([lost, done]);
        }
        if self.may.crashes > 0 && self.hand != Hand::default() {
            moves.push(Self {
                hand: Hand::default(),
                may: May { crashes: self.may.crashes - 1, ..self.may },
                ..self.clone()
            });
        }
        if self.may.people > 0
            && let Ok(rotation) = self.rotation.clone().step(Event::RollBack, Timestamp::UNIX_EPOCH)
        {
            // Whoever was about to write the rotation finds it changed.
            let hand = Hand { commit: None, fresh: false, sure: false, ..self.hand };
            moves.push(Self {
                rotation,
                hand,
                may: May { people: self.may.people - 1, ..self.may },
                ..self.clone()
            });
        }
        if self.may.strangers > 0 {
            let mut next = Self { may: May { strangers: 0, ..self.may }, meddled: true, ..self.clone() };
            next.store.push(Kept { value: (0, 100), lives: true });
            next.current = next.store.len() - 1;
            moves.push(next);
        }
        moves
    }

    /// With everybody well from now on, it comes to its end.
    pub(super) fn heal(mut self) {
        let from = self.clone();
        self.ghost = None;
        for _ in 0..PATIENCE {
            if self.course().is_none() && self.hand.commit.is_none() {
                self.check();
                return;
            }
            let mut next = self.work();
            assert!(!next.is_empty(), "it cannot go on: {self:#?}\nfrom {from:#?}");
            self = next.swap_remove(0);
        }
        panic!("it comes to no end: {self:#?}\nfrom {from:#?}");
    }

    /// What the broker may do next, the best first.
    fn work(&self) -> Vec<Self> {
        match (self.hand.commit, self.course()) {
            (Some(news), _) => vec![self.committed(news)],
            (None, Some(course)) => self.tasks(course),
            (None, None) if self.rotation.serial < u64::from(self.may.rotations) => vec![self.begin()],
            (None, None) => Vec::new(),
        }
    }

    /// The next one is about to be made durable.
    pub(super) fn news(mut self, news: News) -> Self {
        self.hand.commit = Some(news);
        self
    }

    fn committed(&self, news: News) -> Self {
        let mut next = self.clone();
        next.hand.commit = None;
        let rotation = next.rotation.clone().step(self.event(news), Timestamp::UNIX_EPOCH);
        next.rotation = rotation.unwrap_or_else(|problem| panic!("{news:?}: {problem} {self:#?}"));
        next.hand.fresh = news != News::Failed;
        if next.course().is_none_or(|course| course.stage != Stage::Creating) {
            next.hand.value = None;
        }
        if next.course().is_none() {
            next.hand = Hand::default();
        }
        next
    }

    fn event(&self, news: News) -> Event {
        let later = Timestamp::UNIX_EPOCH;
        let said = || Box::from("why");
        match news {
            News::Seen(version) => Event::Seen { version: name(version), made_at: None },
            News::Begin(value) => Event::Begin {
                why: Why::Schedule,
                plan: Box::new(self.kind.plan()),
                provider: "main".parse().unwrap(),
                reference: "db".into(),
                staged: self.staged,
                old: Some(name(self.current)),
                tags: Some(tags(value)),
            },
            News::Anew(value) => Event::MadeAnew { tags: tags(value) },
            News::Written(version) => Event::Written { version: name(version) },
            News::Applied => Event::Applied,
            News::Tested => Event::Tested,
            News::Promoted(version) => Event::Promoted { version: name(version) },
            News::Rejected => Event::Rejected { message: said(), retry_at: later },
            News::Overtaken(version) => Event::Overtaken { version: name(version) },
            News::Drained => Event::Drained { holders: 0 },
            News::Dead(dead) => {
                let verification = if dead { Verification::Verified } else { Verification::StillValid };
                Event::Dead { verification, retry_at: later }
            }
            News::Retired => Event::Retired,
            News::Discarded(rewritten) => Event::Discarded { rewritten: rewritten.map(name) },
            News::Reverted(version) => Event::Reverted { version: name(version) },
            News::Failed => Event::Failed { message: said(), retry_at: later },
        }
    }

    /// A write arrives at the back end; the place of its version, unless another one is current than is expected. The same
    /// write is done once.
    pub(super) fn write(&mut self, value: Value, expected: usize) -> Option<usize> {
        if let Some(known) = self.store.iter().position(|kept| kept.value == value) {
            return Some(known);
        }
        if self.current != expected {
            return None;
        }
        self.store.push(Kept { value, lives: true });
        let place = self.store.len() - 1;
        if !self.staged {
            self.current = place;
        }
        Some(place)
    }
}
