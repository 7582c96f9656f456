//! What the page knows, and what of it is looked at. It changes by news and by keys; drawing it changes nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use jiff::SignedDuration;
use leasehold_client::{Lease, proto};
use leasehold_core::Timestamp;

use super::{
    news::{Listing, News, Record, Trouble},
    pane::Pane,
    rates::{Counter, Rates},
};
use crate::{clock, duration, rotation::RotationView};

/// The page.
pub(super) struct Page {
    pub(super) view: View,
    pub(super) interval: Duration,
    seen: Seen,
    /// What is shown while it is paused, and since when.
    frozen: Option<(Box<Seen>, Timestamp)>,
    /// Who looks, by SPIFFE ID.
    own: Option<String>,
}

/// What of it is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) focus: Pane,
    /// How many rows of each pane were passed over.
    pub(super) scrolled: [usize; Pane::ALL.len()],
    /// Whether the pane that is looked at has the whole page.
    pub(super) zoomed: bool,
    pub(super) help: bool,
    pub(super) filter: String,
    /// Whether the filter is being typed.
    pub(super) typing: bool,
}

/// What the broker said so far.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) status: Part<proto::BrokerStatus>,
    pub(super) leases: Part<Listing<Lease>>,
    pub(super) rotations: Part<Listing<RotationView>>,
    pub(super) tail: Part<()>,
    /// The last records, the oldest first.
    pub(super) records: VecDeque<Record>,
    /// How many records nobody waited for.
    pub(super) skipped: i64,
    pub(super) rates: Rates,
    pub(super) commits: Counter,
    /// Calls of each back end, by its name.
    pub(super) calls: BTreeMap<String, Counter>,
    /// By how much the broker's clock is ahead of this one.
    ahead: SignedDuration,
    /// When the broker answered last, whatever it was.
    heard: Option<Timestamp>,
    last: i64,
}

/// The answers to one question.
pub(super) struct Part<T> {
    pub(super) value: Option<Rc<T>>,
    pub(super) trouble: Option<Trouble>,
}

/// How the page stands to the broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing has been heard yet.
    Asking,
    Live,
    Paused {
        since: Timestamp,
    },
    /// What is shown is old.
    Stale {
        since: Option<Timestamp>,
        why: String,
    },
}

/// So many records are kept.
const KEPT: usize = 500;
/// An answer that takes longer is missed.
const SILENCE: Duration = Duration::from_secs(10);

impl Page {
    pub(super) fn new(interval: Duration, filter: String, own: Option<String>) -> Self {
        let view = View { filter, ..View::default() };
        Self { view, interval, seen: Seen::default(), frozen: None, own }
    }

    /// Takes in what came at `now`.
    pub(super) fn take(&mut self, news: News, now: Timestamp) {
        self.seen.take(news, self.own.as_deref(), now);
    }

    /// What is shown.
    pub(super) fn shown(&self) -> &Seen {
        self.frozen.as_ref().map_or(&self.seen, |(frozen, _)| frozen)
    }

    /// The time of what is shown, by the broker's clock.
    pub(super) fn time_there(&self, now: Timestamp) -> Timestamp {
        let at = self.frozen.as_ref().map_or(now, |(_, since)| *since);
        at.checked_add(self.shown().ahead).unwrap_or(at)
    }

    /// Has it stay as it is, or go on.
    pub(super) fn pause_or_go_on(&mut self, now: Timestamp) {
        self.frozen = match self.frozen.take() {
            Some(_) => None,
            None => Some((Box::new(self.seen.clone()), now)),
        };
    }

    pub(super) fn standing(&self, now: Timestamp) -> Standing {
        if let Some((_, since)) = &self.frozen {
            return Standing::Paused { since: *since };
        }
        let seen = &self.seen;
        let troubles =
            [&seen.status.trouble, &seen.tail.trouble, &seen.leases.trouble, &seen.rotations.trouble];
        let away = troubles.into_iter().flatten().find_map(|trouble| match trouble {
            Trouble::Away(why) => Some(why.clone()),
            Trouble::NotAllowed => None,
        });
        match (away, seen.heard) {
            (Some(why), since) => Standing::Stale { since, why },
            (None, None) if seen.status.trouble.is_none() => Standing::Asking,
            (None, Some(heard)) if seen.status.trouble.is_none() => {
                let silence = now.duration_since(heard).unsigned_abs();
                let most = SILENCE.max(self.interval.saturating_mul(3));
                if silence > most {
                    let why = format!("the broker has not answered for {}", duration::show(silence));
                    return Standing::Stale { since: Some(heard), why };
                }
                Standing::Live
            }
            _ => Standing::Live,
        }
    }
}

impl Seen {
    fn take(&mut self, news: News, own: Option<&str>, now: Timestamp) {
        match news {
            News::Status(answer) => {
                if let Ok(status) = &answer {
                    self.read_counters(status, now);
                }
                self.heard = answer.as_ref().map_or(self.heard, |_| Some(now));
                self.status.take(answer.map(|status| *status));
            }
            News::Leases(answer) => {
                self.heard = answer.as_ref().map_or(self.heard, |_| Some(now));
                self.leases.take(answer);
            }
            News::Rotations(answer) => {
                self.heard = answer.as_ref().map_or(self.heard, |_| Some(now));
                self.rotations.take(answer);
            }
            News::Tail(answer) => {
                if answer == Err(Trouble::NotAllowed) {
                    self.records.clear();
                }
                self.tail.take(answer);
            }
            News::Records(records) => {
                self.heard = Some(now);
                records.into_iter().for_each(|record| self.keep(record, own));
            }
        }
    }

    fn read_counters(&mut self, status: &proto::BrokerStatus, now: Timestamp) {
        let there = status.current_time.and_then(clock::of_proto).unwrap_or(now);
        self.ahead = there.duration_since(now);
        if let Some(ledger) = &status.ledger {
            self.commits.read(there, ledger.commit_count);
        }
        self.calls.retain(|name, _| status.providers.iter().any(|provider| provider.name == *name));
        for provider in &status.providers {
            self.calls.entry(provider.name.clone()).or_default().read(there, provider.call_count);
        }
    }

    fn keep(&mut self, record: Record, own: Option<&str>) {
        let gap = record.sequence.saturating_sub(self.last).saturating_sub(1);
        if self.last > 0 && gap > 0 {
            self.skipped = self.skipped.saturating_add(gap);
        }
        self.last = record.sequence;
        if record.is_own_look(own) {
            return;
        }
        self.rates.count(&record);
        self.records.push_back(record);
        if self.records.len() > KEPT {
            self.records.pop_front();
        }
    }
}

impl<T> Part<T> {
    fn take(&mut self, answer: Result<T, Trouble>) {
        match answer {
            Ok(value) => *self = Self { value: Some(Rc::new(value)), trouble: None },
            // What may not be seen any more is gone; what cannot be asked for just now stays.
            Err(trouble) => {
                if trouble == Trouble::NotAllowed {
                    self.value = None;
                }
                self.trouble = Some(trouble);
            }
        }
    }
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), trouble: self.trouble.clone() }
    }
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self { value: None, trouble: None }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn page() -> Page {
        Page::new(Duration::from_secs(2), String::new(), Some("spiffe://example.org/operator/ann".into()))
    }

    fn status(second: i64, commits: i64) -> News {
        News::Status(Ok(Box::new(proto::BrokerStatus {
            current_time: Some(prost_types::Timestamp { seconds: second, nanos: 0 }),
            ledger: Some(proto::LedgerStatus { commit_count: commits, ..Default::default() }),
            ..Default::default()
        })))
    }

    fn record(sequence: i64, kind: &str, actor: &str) -> Record {
        Record {
            sequence,
            time: at(sequence),
            kind: kind.into(),
            outcome: super::super::news::Outcome::Ok,
            secret: String::new(),
            actor: actor.into(),
            words: String::new(),
        }
    }

    #[test]
    fn what_is_old_is_said_to_be_and_stays() {
        let mut page = page();
        assert_eq!(page.standing(at(0)), Standing::Asking);
        page.take(status(100, 5), at(0));
        assert_eq!(page.standing(at(5)), Standing::Live);
        assert!(matches!(page.standing(at(20)), Standing::Stale { since: Some(_), .. }), "a silent broker");
        page.take(News::Status(Err(Trouble::Away("nothing listens".into()))), at(4));
        let stale = Standing::Stale { since: Some(at(0)), why: "nothing listens".into() };
        assert_eq!(page.standing(at(5)), stale);
        assert!(page.shown().status.value.is_some());
        page.take(status(106, 8), at(6));
        assert_eq!(page.standing(at(6)), Standing::Live);
        assert_eq!(page.shown().commits.rate(), Some(0.5));
        assert_eq!(page.time_there(at(7)), at(107), "by the broker's clock");
    }

    #[test]
    fn what_is_not_allowed_is_not_shown_and_no_fault() {
        let mut page = page();
        page.take(status(0, 0), at(0));
        page.take(News::Records(vec![record(1, "lease.issued", "a")]), at(0));
        page.take(News::Status(Err(Trouble::NotAllowed)), at(1));
        page.take(News::Tail(Err(Trouble::NotAllowed)), at(1));
        assert_eq!(page.standing(at(99)), Standing::Live);
        assert!(page.shown().status.value.is_none() && page.shown().records.is_empty());
    }

    #[test]
    fn a_pause_holds_everything_and_loses_nothing() {
        let mut page = page();
        page.take(News::Records(vec![record(1, "lease.issued", "a")]), at(1));
        page.pause_or_go_on(at(2));
        page.take(News::Records(vec![record(2, "lease.issued", "a")]), at(3));
        assert_eq!((page.shown().records.len(), page.time_there(at(9))), (1, at(2)));
        assert_eq!(page.standing(at(9)), Standing::Paused { since: at(2) });
        page.pause_or_go_on(at(9));
        assert_eq!(page.shown().records.len(), 2);
    }

    #[test]
    fn records_are_bounded_counted_and_without_its_own_looks() {
        let mut page = page();
        let own = record(1, "status.read", "spiffe://example.org/operator/ann");
        page.take(
            News::Records(vec![own, record(2, "lease.issued", "a"), record(9, "lease.issued", "a")]),
            at(9),
        );
        assert_eq!((page.shown().records.len(), page.shown().skipped), (2, 6));
        let many = (10..2000).map(|sequence| record(sequence, "lease.issued", "a")).collect();
        page.take(News::Records(many), at(2000));
        assert_eq!((page.shown().records.len(), page.shown().skipped), (KEPT, 6));
    }
}
