//! What the holders of a secret are told of its rotation.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Rotation;
use crate::{secret::VersionId, state::Revision};

/// One thing that holders are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its number: they follow each other without a gap, from 1 for each secret.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The record that told it. Absent while nothing was written after that record, whose number is not known before it
    /// is durable: then it is the one that wrote all of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// What.
    #[serde(flatten)]
    pub told: Told,
}

/// What holders are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub enum Told {
    /// This version is current from now on.
    Rotated {
        /// The version.
        version: VersionId,
    },
    /// This version is retired when nobody holds it any more, and at the deadline whoever holds it.
    Draining {
        /// The version.
        version: VersionId,
        /// The latest end.
        deadline: Timestamp,
    },
    /// This version is of no use any more.
    Retired {
        /// The version.
        version: VersionId,
    },
}

impl Told {
    /// Whether it is news to whoever holds this version.
    pub fn concerns(&self, held: &VersionId) -> bool {
        match self {
            Self::Rotated { version } => version != held,
            Self::Draining { version, .. } | Self::Retired { version } => version == held,
        }
    }
}

impl Rotation {
    /// So many notices are kept for those who come back.
    pub const NOTICES: usize = 16;

    pub(super) fn tell(&mut self, told: Told, at: Timestamp) {
        self.told = self.told.saturating_add(1);
        if self.notices.len() >= Self::NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(Notice { number: self.told, at, revision: None, told });
    }

    /// What was told after the notice of this number; `None` when some of it is not kept any more, or that number was
    /// never given.
    pub fn told_after(&self, number: u64) -> Option<impl Iterator<Item = &Notice>> {
        let first = self.notices.front().map_or(self.told.saturating_add(1), |notice| notice.number);
        (number <= self.told && number.saturating_add(1) >= first)
            .then(|| self.notices.iter().filter(move |notice| notice.number > number))
    }

    /// What the record has told that wrote this last.
    pub fn news(&self) -> impl Iterator<Item = &Notice> {
        self.notices.iter().filter(|notice| notice.revision.is_none())
    }

    /// This was written by that record, and so told by it what no earlier one had told.
    #[must_use]
    pub fn written_by(mut self, revision: Revision) -> Self {
        for notice in self.notices.iter_mut().rev() {
            if notice.revision.is_some() {
                break;
            }
            notice.revision = Some(revision);
        }
        self
    }

    /// What the holder of a lease on this version has missed, who has the lease since one record, and was told everything
    /// up to another one: each with the record that told it, in order. When that is not known any more, or nothing was
    /// told yet, it is what holds now.
    pub fn missed(
        &self,
        held: &VersionId,
        since: Revision,
        known: Option<Revision>,
    ) -> Vec<(Revision, Told)> {
        let told_by = |notice: &Notice| notice.revision.unwrap_or(Revision::MAX);
        let floor = known.unwrap_or_default().max(since);
        let behind = self.notices.iter().filter(|notice| told_by(notice) > floor);
        let behind = behind.map(|notice| (told_by(notice), notice.told.clone()));
        let oldest = self.notices.front().filter(|oldest| oldest.number > 1 && told_by(oldest) > floor);
        let mut missed: Vec<(Revision, Told)> = match oldest {
            None if known.is_some() => behind.collect(),
            None => behind.filter(|(_, told)| self.holds(told)).collect(),
            Some(oldest) => {
                // Some of it is kept no more.
                let mut standing: Vec<_> = self.standing().collect();
                let kept: Vec<_> = behind.filter(|(_, told)| self.holds(told)).collect();
                standing.retain(|told| kept.iter().all(|(_, kept)| kept != told));
                standing.into_iter().map(|told| (told_by(oldest), told)).chain(kept).collect()
            }
        };
        missed.retain(|(_, told)| told.concerns(held));
        missed
    }

    /// Whether what was told once is so still.
    fn holds(&self, told: &Told) -> bool {
        matches!(told, Told::Retired { .. }) || self.standing().any(|standing| standing == *told)
    }

    /// What would have to be told to somebody who was told nothing.
    fn standing(&self) -> impl Iterator<Item = Told> {
        let current = self.current.iter().map(|current| Told::Rotated { version: current.version.clone() });
        let drained = self.course.iter().filter_map(|course| Some((course, course.drain_deadline?)));
        let draining = drained.flat_map(|(course, deadline)| {
            course.replaced().map(move |version| Told::Draining { version: version.clone(), deadline })
        });
        current.chain(draining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        provider::Verification,
        rotation::{Event, Plan, Strategy, Why},
    };

    fn version(id: &str) -> VersionId {
        id.parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn rotated(id: &str) -> Told {
        Told::Rotated { version: version(id) }
    }

    fn draining(id: &str) -> Told {
        Told::Draining { version: version(id), deadline: at(3600) }
    }

    fn retired(id: &str) -> Told {
        Told::Retired { version: version(id) }
    }

    /// As far as the draining of the old version.
    fn replace(old: &str, new: &str) -> Vec<Event> {
        let begin = Event::Begin {
            why: Why::Schedule,
            plan: Box::new(Plan::new(Strategy::Generate)),
            provider: "main".parse().unwrap(),
            reference: "db".into(),
            staged: true,
            old: Some(version(old)),
            tags: None,
        };
        let version = version(new);
        vec![begin, Event::Written { version: version.clone() }, Event::Tested, Event::Promoted { version }]
    }

    fn retire() -> Vec<Event> {
        let verification = Verification::Unverifiable;
        vec![Event::Drained { holders: 0 }, Event::Dead { verification, retry_at: at(9) }, Event::Retired]
    }

    /// A secret at `v1` that is taken through these, each of them a record, from record 10 on.
    fn through(events: impl IntoIterator<Item = Event>) -> Rotation {
        let seen = Event::Seen { version: version("v1"), made_at: None };
        let first = Rotation::new("prod/db".parse().unwrap()).step(seen, at(0)).unwrap();
        (10..).zip(events).fold(first, |rotation, (revision, event)| {
            rotation.step(event, at(0)).unwrap().written_by(revision)
        })
    }

    fn missed(of: &Rotation, held: &str, since: Revision, known: Option<Revision>) -> Vec<(Revision, Told)> {
        of.missed(&version(held), since, known)
    }

    #[test]
    fn each_notice_has_the_record_that_told_it() {
        let rotation = through(replace("v1", "v2").into_iter().chain(retire()));
        let records: Vec<_> = rotation.notices.iter().map(|notice| notice.revision).collect();
        assert_eq!(records, [Some(13), Some(13), Some(16)]);
        assert_eq!(rotation.news().count(), 0);
        let rotation = rotation.step(Event::Made { version: version("v3") }, at(0)).unwrap();
        let read = Rotation::decode(&rotation.encode().unwrap()).unwrap();
        assert_eq!(read.news().map(|notice| notice.number).collect::<Vec<_>>(), [4]);
        assert_eq!(read.written_by(17).notices.back().unwrap().revision, Some(17));
    }

    #[test]
    fn who_comes_back_is_told_in_order_what_concerns_the_version_held() {
        let rotation = through([replace("v1", "v2"), retire(), replace("v2", "v3")].concat());
        let all = vec![(13, rotated("v2")), (13, draining("v1")), (16, retired("v1")), (20, rotated("v3"))];
        assert_eq!(missed(&rotation, "v1", 3, Some(5)), all);
        assert_eq!(missed(&rotation, "v1", 3, Some(13)), all[2..]);
        assert_eq!(missed(&rotation, "v2", 14, Some(5)), [(20, rotated("v3")), (20, draining("v2"))]);
        assert_eq!(missed(&rotation, "v3", 21, Some(5)), []);
        assert_eq!(missed(&rotation, "v1", 3, Some(20)), []);
    }

    #[test]
    fn who_knows_nothing_is_told_what_holds() {
        let rotation = through([replace("v1", "v2"), retire(), replace("v2", "v3")].concat());
        assert_eq!(missed(&rotation, "v1", 3, None), [(16, retired("v1")), (20, rotated("v3"))]);
        assert_eq!(missed(&rotation, "v2", 14, None), [(20, rotated("v3")), (20, draining("v2"))]);
        let back = [Event::RollBack, Event::Reverted { version: version("v1") }];
        let back = through(replace("v1", "v2").into_iter().chain(back));
        assert_eq!(missed(&back, "v1", 3, None), []);
        assert_eq!(missed(&back, "v2", 14, None), [(15, rotated("v1")), (15, draining("v2"))]);
        // Written once more, the old value has another version: what has it drains no more, either.
        let back = [Event::RollBack, Event::Reverted { version: version("v3") }];
        let back = through(replace("v1", "v2").into_iter().chain(back));
        assert_eq!(missed(&back, "v1", 3, None), [(15, rotated("v3"))]);
    }

    #[test]
    fn what_is_kept_no_more_is_replaced_by_what_holds() {
        let made = |n: u64| Event::Made { version: version(&format!("v{n}")) };
        let mut rotation = through((2..40).map(made));
        let kept = rotation.notices.front().unwrap().revision.unwrap();
        assert_eq!(missed(&rotation, "v1", 3, Some(5)), [(47, rotated("v39"))]);
        assert_eq!(missed(&rotation, "v1", 3, Some(kept)).len(), Rotation::NOTICES - 1);
        // Even when the notice of the current version itself is gone.
        for n in 0..Rotation::NOTICES {
            rotation.tell(retired(&format!("twin-{n}")), at(0));
        }
        let rotation = rotation.written_by(99);
        assert_eq!(missed(&rotation, "v1", 3, Some(5)), [(99, rotated("v39"))]);
        assert_eq!(missed(&rotation, "v39", 48, Some(5)), []);
    }
}
