//! The timetable itself: pure, and told the time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use leasehold_core::{
    SecretPath, Timestamp,
    provider::ProviderName,
    ttl::{after, until},
};

/// Which secret is looked at when, and who waits for a turn. What it holds of a secret, whoever looked at it last said.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: HashMap<SecretPath, Slot>,
    /// Those that wait for their time, by it.
    times: BTreeSet<(Timestamp, SecretPath)>,
    /// Those whose time has come, by where they live.
    queues: BTreeMap<Home, Queue>,
    /// Counts who came into a queue.
    turn: u64,
    /// When versions are too old that are not yet.
    aging: BTreeSet<(Timestamp, SecretPath)>,
    too_old: BTreeSet<SecretPath>,
    /// What became expected while the ledger was read for all secrets: what is read may be from before.
    meanwhile: Option<Vec<Expected>>,
}

/// That a secret is to be looked at.
#[derive(Debug)]
struct Expected {
    path: SecretPath,
    home: Home,
    at: Timestamp,
    urgent: bool,
}

/// Where a secret lives, as far as that is known.
pub(super) type Home = Option<ProviderName>;

/// What is known of a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Where it lives.
    pub(super) home: Home,
    /// When it is looked at next; `None` for not before something happens.
    pub(super) at: Option<Timestamp>,
    /// Whether somebody waits for it, or it is under way.
    pub(super) urgent: bool,
    /// Why it was not rotated although its time has come.
    pub(super) late: Option<Box<str>>,
    /// Until when its window is open, if it is.
    pub(super) until: Option<Timestamp>,
    /// When its version is too old.
    pub(super) old_at: Option<Timestamp>,
}

/// What is to come for a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Its time comes.
    Waits {
        /// When.
        at: Option<Timestamp>,
        /// Why it is late, if it is.
        late: Option<Box<str>>,
    },
    /// Its time has come, and so many of its provider come before it.
    Queued {
        /// Where it lives.
        home: Home,
        /// How many.
        behind: u64,
    },
    /// It is looked at just now.
    Running,
}

#[derive(Debug)]
struct Slot {
    plan: Plan,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Until its time.
    Waiting,
    /// For its turn.
    Queued { turn: u64 },
    /// Somebody looks at it; and whether, and when, it has to be looked at again.
    Running { again: Option<Timestamp> },
}

#[derive(Debug, Default)]
struct Queue {
    urgent: VecDeque<(u64, SecretPath)>,
    others: VecDeque<(u64, SecretPath)>,
    running: usize,
}

/// Those that come late are spread so that each has so much time to itself.
const EACH_CAUGHT_UP: Duration = Duration::from_millis(50);

impl Table {
    /// Has a secret looked at by `at`; says whether that is sooner than it would have been.
    pub(super) fn expect(&mut self, path: &SecretPath, home: Home, at: Timestamp, urgent: bool) -> bool {
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.push(Expected { path: path.clone(), home: home.clone(), at, urgent });
        }
        let slot = self.slots.entry(path.clone()).or_insert_with(|| Slot {
            plan: Plan { home: home.clone(), ..Plan::default() },
            state: State::Waiting,
        });
        let more_urgent = urgent && !slot.plan.urgent;
        slot.plan.urgent |= urgent;
        match &mut slot.state {
            State::Running { again } => {
                *again = Some(again.map_or(at, |before| before.min(at)));
                false
            }
            State::Waiting if slot.plan.at.is_none_or(|before| at < before) => {
                if let Some(before) = slot.plan.at.replace(at) {
                    self.times.remove(&(before, path.clone()));
                }
                self.times.insert((at, path.clone()));
                true
            }
            State::Waiting => false,
            State::Queued { turn } if more_urgent => {
                // What it leaves behind among the others is known by its old turn.
                self.turn = self.turn.saturating_add(1);
                *turn = self.turn;
                let queue = self.queues.entry(slot.plan.home.clone()).or_default();
                queue.urgent.push_back((self.turn, path.clone()));
                true
            }
            State::Queued { .. } => false,
        }
    }

    /// Whether anything is known of a secret.
    pub(super) fn knows(&self, path: &SecretPath) -> bool {
        self.slots.contains_key(path)
    }

    /// All secrets are about to be read, and then replaced.
    pub(super) fn before_replace(&mut self) {
        self.meanwhile.get_or_insert_default();
    }

    /// Takes in what is known of all secrets. Those whose time passed before `now` come over the next `catch_up` instead of
    /// at once, each at the moment that is `spread`'s.
    pub(super) fn replace(
        &mut self,
        all: Vec<(SecretPath, Plan)>,
        now: Timestamp,
        catch_up: Duration,
        spread: impl Fn(&SecretPath) -> u64,
    ) {
        let is_late = |plan: &Plan| !plan.urgent && plan.at.is_some_and(|at| at <= now);
        let mut late = BTreeMap::<Home, u64>::new();
        for (_, plan) in all.iter().filter(|(_, plan)| is_late(plan)) {
            let count = late.entry(plan.home.clone()).or_default();
            *count = count.saturating_add(1);
        }
        let mut before = std::mem::take(&mut self.slots);
        self.times.clear();
        self.aging.clear();
        self.too_old.clear();
        for (path, mut plan) in all {
            let was = before.remove(&path);
            if is_late(&plan) {
                let count = late.get(&plan.home).copied().unwrap_or_default();
                // Half of a window is left for those that wait for a turn.
                let window = plan.until.map_or(Duration::MAX, |end| half(until(now, end)));
                let over = EACH_CAUGHT_UP.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
                let millis = over.min(catch_up).min(window).as_millis();
                let millis = u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(1);
                let part = spread(&path).checked_rem(millis).unwrap_or_default();
                // Who was given a moment already keeps it.
                let given = was.as_ref().and_then(|slot| slot.plan.at).filter(|at| *at > now);
                let at = after(now, Duration::from_millis(part));
                plan.at = Some(given.map_or(at, |given| given.min(at)));
            }
            self.put_age(&path, plan.old_at);
            let state = was.map_or(State::Waiting, |slot| slot.state);
            if state == State::Waiting
                && let Some(at) = plan.at
            {
                self.times.insert((at, path.clone()));
            }
            self.slots.insert(path, Slot { plan, state });
        }
        // What is looked at just now says itself what becomes of it.
        before.retain(|_, slot| matches!(slot.state, State::Running { .. }));
        self.slots.extend(before);
        for Expected { path, home, at, urgent } in self.meanwhile.take().unwrap_or_default() {
            self.expect(&path, home, at, urgent);
        }
    }

    /// Puts those whose time has come into their queues, and takes note of versions that have become too old.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some((at, path)) = self.times.pop_first() {
            if at > now {
                self.times.insert((at, path));
                break;
            }
            self.enqueue(path);
        }
        while let Some((at, path)) = self.aging.pop_first() {
            if at > now {
                self.aging.insert((at, path));
                break;
            }
            self.too_old.insert(path);
        }
    }

    /// Gives turns: to so many at once of a provider that does not rest, whoever is urgent first.
    pub(super) fn start(
        &mut self,
        at_once: usize,
        rests: impl Fn(&ProviderName) -> bool,
    ) -> Vec<(SecretPath, Home)> {
        let mut started = Vec::new();
        for (home, queue) in &mut self.queues {
            if home.as_ref().is_some_and(&rests) {
                continue;
            }
            while queue.running < at_once
                && let Some((turn, path)) = queue.urgent.pop_front().or_else(|| queue.others.pop_front())
            {
                let Some(slot) = self.slots.get_mut(&path) else { continue };
                if slot.state == (State::Queued { turn }) {
                    slot.state = State::Running { again: None };
                    queue.running = queue.running.saturating_add(1);
                    started.push((path, home.clone()));
                }
            }
        }
        started
    }

    /// Somebody has looked at a secret, whose turn was one of this home's.
    pub(super) fn done(&mut self, path: SecretPath, home: &Home, mut plan: Plan) {
        if let Some(queue) = self.queues.get_mut(home) {
            queue.running = queue.running.saturating_sub(1);
        }
        if let Some(Slot { state: State::Running { again: Some(again) }, .. }) = self.slots.get(&path) {
            plan.at = Some(plan.at.map_or(*again, |at| at.min(*again)));
            plan.urgent = true;
        }
        self.put_age(&path, plan.old_at);
        if plan.at.is_none() && plan.old_at.is_none() && plan.late.is_none() {
            self.slots.remove(&path);
            return;
        }
        if let Some(at) = plan.at {
            self.times.insert((at, path.clone()));
        }
        self.slots.insert(path, Slot { plan, state: State::Waiting });
    }

    /// When a secret's version is too old.
    pub(super) fn old_at(&self, path: &SecretPath) -> Option<Timestamp> {
        self.slots.get(path).and_then(|slot| slot.plan.old_at)
    }

    /// When something happens by itself.
    pub(super) fn next(&self) -> Timestamp {
        let first = |set: &BTreeSet<(Timestamp, SecretPath)>| set.first().map(|(at, _)| *at);
        [first(&self.times), first(&self.aging)].into_iter().flatten().min().unwrap_or(Timestamp::MAX)
    }

    /// Whether anybody waits for a turn at a provider like this.
    pub(super) fn is_anybody_queued(&self, at: impl Fn(&ProviderName) -> bool) -> bool {
        let waits = |queue: &Queue| !queue.urgent.is_empty() || !queue.others.is_empty();
        self.queues.iter().any(|(home, queue)| home.as_ref().is_some_and(&at) && waits(queue))
    }

    /// What is to come for a secret.
    pub(super) fn sight(&self, path: &SecretPath) -> Option<Sight> {
        let slot = self.slots.get(path)?;
        Some(match slot.state {
            State::Waiting => Sight::Waits { at: slot.plan.at, late: slot.plan.late.clone() },
            State::Running { .. } => Sight::Running,
            State::Queued { turn } => {
                let home = slot.plan.home.clone();
                let before = |queue: &VecDeque<(u64, SecretPath)>| {
                    u64::try_from(queue.partition_point(|(other, _)| *other < turn)).unwrap_or(u64::MAX)
                };
                let behind = self.queues.get(&home).map_or(0, |queue| {
                    let running = u64::try_from(queue.running).unwrap_or(u64::MAX);
                    let others = if slot.plan.urgent { 0 } else { before(&queue.others) };
                    let urgent = u64::try_from(queue.urgent.len()).unwrap_or(u64::MAX);
                    let urgent = if slot.plan.urgent { before(&queue.urgent) } else { urgent };
                    running.saturating_add(urgent).saturating_add(others)
                });
                Sight::Queued { home, behind }
            }
        })
    }

    /// How many secrets there are, how many wait for a turn, how many have one, and how many have too old versions.
    pub(super) fn counts(&self) -> [usize; 4] {
        let queues = self.queues.values();
        let (queued, running) = queues.fold((0_usize, 0_usize), |(queued, running), queue| {
            let waiting = queue.urgent.len().saturating_add(queue.others.len());
            (queued.saturating_add(waiting), running.saturating_add(queue.running))
        });
        [self.slots.len(), queued, running, self.too_old.len()]
    }

    /// The first of the secrets whose versions are too old.
    pub(super) fn first_too_old(&self) -> Option<&SecretPath> {
        self.too_old.first()
    }

    fn enqueue(&mut self, path: SecretPath) {
        let Some(slot) = self.slots.get_mut(&path) else { return };
        if slot.state != State::Waiting {
            return;
        }
        self.turn = self.turn.saturating_add(1);
        slot.state = State::Queued { turn: self.turn };
        let queue = self.queues.entry(slot.plan.home.clone()).or_default();
        let line = if slot.plan.urgent { &mut queue.urgent } else { &mut queue.others };
        line.push_back((self.turn, path));
    }

    fn put_age(&mut self, path: &SecretPath, old_at: Option<Timestamp>) {
        if let Some(Slot { plan: Plan { old_at: Some(before), .. }, .. }) = self.slots.get(path) {
            self.aging.remove(&(*before, path.clone()));
        }
        self.too_old.remove(path);
        if let Some(at) = old_at {
            self.aging.insert((at, path.clone()));
        }
    }
}

fn half(whole: Duration) -> Duration {
    whole.checked_div(2).unwrap_or_default()
}

#[cfg(test)]
mod tests;
