//! The broker's tasks, each a single effect at a time: how it may go, the best first.

use super::world::{Hand, Kept, Kind, News, Value, World, name, place, tags};
use crate::rotation::{Course, Stage, Task};

/// What there is of the new version.
enum Looked {
    Ours(usize),
    Theirs(usize),
    Nothing,
}

impl World {
    pub(super) fn begin(&self) -> Self {
        if self.rotation.current.as_ref().map(|known| place(&known.version)) != Some(self.current) {
            return self.clone().news(News::Seen(self.current));
        }
        let (next, value) = self.new_value(self.store[self.current].value);
        next.news(News::Begin(value))
    }

    fn new_value(&self, old: Value) -> (Self, Value) {
        let mut next = self.clone();
        next.made += 1;
        let user = if self.kind == Kind::Alternating { 1 - old.0 } else { old.0 };
        let value = (user, next.made);
        next.hand = Hand { value: Some(value), ..next.hand };
        (next, value)
    }

    pub(super) fn tasks(&self, course: &Course) -> Vec<Self> {
        let old = place(course.old.as_ref().unwrap());
        match course.task() {
            Task::Write => self.create(course, old),
            Task::Apply => self.apply(course, old),
            Task::Test => self.test(course),
            Task::Promote => self.promote(course, old),
            Task::Drain => vec![self.clone().news(News::Drained)],
            Task::Retire => self.retire(course, old),
            Task::PutAway => vec![self.put_away(course)],
            Task::Discard => self.discard(course, old),
            Task::Revert => self.revert(course, old),
            Task::Follow => panic!("nothing is done by the back end itself: {self:#?}"),
        }
    }

    fn failed(&self) -> Self {
        let mut next = self.clone();
        next.hand.sure = false;
        next.news(News::Failed)
    }

    fn look(&self, course: &Course, old: usize) -> Looked {
        let ours = |kept: &Kept| course.recognises(&tags(kept.value));
        if self.current != old {
            let current = &self.store[self.current];
            return if ours(current) { Looked::Ours(self.current) } else { Looked::Theirs(self.current) };
        }
        let waits = |found: &usize| self.staged && self.store[*found].lives && ours(&self.store[*found]);
        (0..self.store.len()).find(waits).map_or(Looked::Nothing, Looked::Ours)
    }

    fn found(&self, looked: &Looked) -> Option<Self> {
        match looked {
            Looked::Ours(version) => Some(self.clone().news(News::Written(*version))),
            Looked::Theirs(version) => Some(self.clone().news(News::Overtaken(*version))),
            Looked::Nothing => None,
        }
    }

    fn create(&self, course: &Course, old: usize) -> Vec<Self> {
        let first = self.hand.fresh && self.hand.value.is_some();
        if !first && let Some(found) = self.found(&self.look(course, old)) {
            return vec![found];
        }
        let Some(value) = self.hand.value else {
            let (next, value) = self.new_value(self.store[old].value);
            return vec![next.news(News::Anew(value))];
        };
        let mut written = self.clone();
        let Some(version) = written.write(value, old) else {
            let found = self.found(&self.look(course, old));
            return vec![found.unwrap_or_else(|| panic!("refused, and nothing is there: {self:#?}"))];
        };
        let mut moves = vec![written.clone().news(News::Written(version)), self.failed(), written.failed()];
        if self.ghost.is_none() {
            moves.push(Self { ghost: Some((value, old)), ..self.clone() }.failed());
        }
        if self.rejections > 0 {
            let mut next = Self { rejections: 0, ..self.clone() };
            next.hand.sure = first && course.tags.len() == 1;
            moves.push(next.news(News::Rejected));
        }
        moves
    }

    fn overtaken(&self, course: &Course) -> Option<Self> {
        let ours = course.old.iter().chain(&course.new).any(|version| *version == name(self.current));
        (!ours).then(|| self.clone().news(News::Overtaken(self.current)))
    }

    fn set(&self, (user, number): Value) -> Self {
        let mut next = self.clone();
        next.users[user] = Some(number);
        next
    }

    fn apply(&self, course: &Course, old: usize) -> Vec<Self> {
        if let Some(overtaken) = self.overtaken(course) {
            return vec![overtaken];
        }
        assert!(self.store[old].lives);
        let new = self.store[place(course.new.as_ref().unwrap())];
        assert!(new.lives, "what is applied can be read: {self:#?}");
        if !self.hand.fresh && self.accepts(new.value) {
            return vec![self.clone().news(News::Applied)];
        }
        let applied = self.set(new.value);
        let mut moves = vec![applied.clone().news(News::Applied), self.failed(), applied.failed()];
        if self.rejections > 0 {
            moves.push(Self { rejections: 0, ..self.clone() }.news(News::Rejected));
        }
        moves
    }

    fn test(&self, course: &Course) -> Vec<Self> {
        let new = self.store[place(course.new.as_ref().unwrap())];
        if !self.has_target() || self.accepts(new.value) {
            let mut moves = vec![self.clone().news(News::Tested), self.failed()];
            if self.has_target() && self.rejections > 0 {
                moves.push(Self { rejections: 0, ..self.clone() }.news(News::Rejected));
            }
            return moves;
        }
        vec![self.set(new.value).failed(), self.clone().news(News::Rejected)]
    }

    fn promote(&self, course: &Course, old: usize) -> Vec<Self> {
        let new = place(course.new.as_ref().unwrap());
        if self.current == new {
            return vec![self.clone().news(News::Promoted(new))];
        }
        if self.current != old {
            return vec![self.clone().news(News::Overtaken(self.current))];
        }
        assert!(self.staged, "nothing makes an old version current again: {self:#?}");
        let promoted = Self { current: new, ..self.clone() };
        vec![promoted.clone().news(News::Promoted(new)), self.failed(), promoted.failed()]
    }

    fn retire(&self, course: &Course, old: usize) -> Vec<Self> {
        let mut retired = self.clone();
        if !self.has_target() {
            for version in course.replaced() {
                retired.store[place(version)].lives = false;
            }
            return vec![retired.clone().news(News::Dead(true)), self.failed(), retired.failed()];
        }
        let (before, after) = (self.store[old].value, self.store[self.current].value);
        if before.0 != after.0 {
            retired.users[before.0] = None;
        }
        // Somebody wrote another version for the same user, and told nobody.
        if retired.accepts(before)
            && before.0 == after.0
            && course.new.as_ref().map(place) != Some(self.current)
        {
            retired = retired.set(after);
        }
        let dead = !retired.accepts(before);
        vec![retired.clone().news(News::Dead(dead)), self.failed(), retired.failed()]
    }

    fn put_away(&self, course: &Course) -> Self {
        let mut next = self.clone();
        for version in course.replaced() {
            assert_ne!(place(version), self.current, "what is current is put away: {self:#?}");
            next.store[place(version)].lives = false;
        }
        next.news(News::Retired)
    }

    fn discard(&self, course: &Course, old: usize) -> Vec<Self> {
        let mut new = course.new.as_ref().map(place);
        if new.is_none()
            && let Looked::Ours(version) = self.look(course, old)
        {
            new = Some(version);
        }
        let ours = new == Some(self.current);
        let before = self.store[old].value;
        let rewritten = self.store[self.current].value == before;
        let theirs = self.current != old && !ours && !rewritten;
        let keep = if theirs { self.store[self.current].value } else { before };
        if course.reached(Stage::Created)
            && let Some(set) = self.set_back(new, keep)
        {
            return vec![set, self.failed()];
        }
        let known = self.rotation.current.as_ref().map(|known| place(&known.version));
        let mut version = None;
        if theirs {
            if known != Some(self.current) {
                return vec![self.clone().news(News::Seen(self.current))];
            }
        } else if self.staged {
            if ours {
                let back = Self { current: old, ..self.clone() };
                return vec![back, self.failed()];
            }
        } else if ours || (self.current == old && self.may_come_late(course)) {
            return vec![self.write_back(before), self.failed()];
        } else if self.current != old {
            version = Some(self.current);
        }
        let mut next = self.clone();
        if let Some(new) = new {
            next.store[new].lives = false;
        }
        vec![next.clone().news(News::Discarded(version)), self.failed(), next.failed()]
    }

    /// The target accepts what stays, and not what is thrown away; nothing when that is so.
    fn set_back(&self, thrown: Option<usize>, keep: Value) -> Option<Self> {
        if !self.has_target() {
            return None;
        }
        if !self.accepts(keep) {
            return Some(self.set(keep));
        }
        let thrown = self.store[thrown?].value.0;
        (thrown != keep.0 && self.users[thrown].is_some()).then(|| {
            let mut next = self.clone();
            next.users[thrown] = None;
            next
        })
    }

    fn may_come_late(&self, course: &Course) -> bool {
        course.new.is_none() && !self.hand.sure
    }

    /// The old value is written once more.
    fn write_back(&self, before: Value) -> Self {
        let mut next = self.clone();
        next.store.push(Kept { value: before, lives: true });
        next.current = next.store.len() - 1;
        next
    }

    fn revert(&self, course: &Course, old: usize) -> Vec<Self> {
        let new = place(course.new.as_ref().unwrap());
        let before = self.store[old].value;
        let rewritten = self.store[self.current].value == before;
        if self.current != new && self.current != old && !rewritten {
            let theirs = self.store[self.current].value;
            if let Some(set) = self.set_back(Some(new), theirs) {
                return vec![set, self.failed()];
            }
            return vec![self.clone().news(News::Overtaken(self.current))];
        }
        if self.has_target() && !self.accepts(before) {
            return vec![self.set(before), self.failed()];
        }
        if self.current == new {
            let back =
                if self.staged { Self { current: old, ..self.clone() } } else { self.write_back(before) };
            return vec![back, self.failed()];
        }
        vec![self.clone().news(News::Reverted(self.current))]
    }
}
