//! When a rotation begins.

use jiff::Timestamp;

use super::{Opening, Plan, Rotation, Wanted, Why, spread_of};

impl Rotation {
    /// When it must be looked at next, under this plan and seen from `now`; a time that has come means at once, `None` that
    /// there is nothing to wait for.
    pub fn look_at(&self, plan: Option<&Plan>, now: Timestamp) -> Option<Timestamp> {
        if self.paused.is_some() {
            return None;
        }
        if let Some(course) = &self.course {
            return Some(course.next_at());
        }
        self.begins(plan, now).map(|(at, _)| at)
    }

    /// Why a rotation is to begin now, if one is.
    pub fn due(&self, plan: &Plan, now: Timestamp) -> Option<Why> {
        if self.paused.is_some() || self.course.is_some() {
            return None;
        }
        self.begins(Some(plan), now).filter(|(at, _)| *at <= now).map(|(_, why)| why)
    }

    /// When the next one begins, and why.
    fn begins(&self, plan: Option<&Plan>, now: Timestamp) -> Option<(Timestamp, Why)> {
        let wanted = self
            .wanted
            .as_ref()
            .and_then(|wanted| Some((self.wanted_at(wanted, plan, now)?, wanted.why.clone())));
        // After one that was thrown away, the next one has its time already: the schedule's has passed.
        let scheduled = match wanted {
            Some(_) if self.setbacks > 0 => None,
            _ => self.opening(plan, now).map(|opening| (opening.from, Why::Schedule)),
        };
        let (at, why) = match (wanted, scheduled) {
            (Some(wanted), Some(scheduled)) if scheduled.0 < wanted.0 => scheduled,
            (Some(wanted), _) => wanted,
            (None, scheduled) => scheduled?,
        };
        Some((self.hindered.as_ref().map_or(at, |hindered| at.max(hindered.next_try)), why))
    }

    /// When its schedule lets it be rotated, seen from `now`; `None` without a schedule or a version that is known.
    pub fn opening(&self, plan: Option<&Plan>, now: Timestamp) -> Option<Opening> {
        let made_at = self.current.as_ref()?.made_at;
        plan?.schedule.as_ref()?.opening(made_at, spread_of(&self.secret), now)
    }

    /// What was begun by schedule is tried again within the schedule; what somebody wants has no blackouts.
    fn wanted_at(&self, wanted: &Wanted, plan: Option<&Plan>, now: Timestamp) -> Option<Timestamp> {
        match (&wanted.why, plan.and_then(|plan| plan.schedule.as_ref())) {
            (Why::Schedule, Some(_)) => {
                let opening = self.opening(plan, wanted.not_before.max(now))?;
                Some(opening.from.max(wanted.not_before))
            }
            _ => Some(wanted.not_before),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        rotation::{Current, Event, Schedule, Strategy},
        ttl::after,
    };

    const DAY: Duration = Duration::from_secs(86_400);

    fn noon(day: u8) -> Timestamp {
        format!("2026-11-{day:02}T12:00:00Z").parse().unwrap()
    }

    fn plan(blackouts: &[&str]) -> Plan {
        let mut schedule = Schedule::every(DAY);
        schedule.not_during = blackouts.iter().map(|text| text.parse().unwrap()).collect();
        Plan { schedule: Some(schedule), ..Plan::new(Strategy::Generate) }
    }

    /// A secret whose version was made at noon of the first.
    fn known() -> Rotation {
        let current = Current { version: "v1".parse().unwrap(), made_at: noon(1), twins: Vec::new() };
        Rotation { current: Some(current), ..Rotation::new("prod/a".parse().unwrap()) }
    }

    fn wanted(why: Why, not_before: Timestamp) -> Rotation {
        known().step(Event::Want { why, not_before }, noon(1)).unwrap()
    }

    fn person() -> Why {
        Why::Request { by: "spiffe://example.org/operator/ann".parse().unwrap() }
    }

    #[test]
    fn it_begins_when_its_time_has_come() {
        let (plan, rotation) = (plan(&[]), known());
        assert_eq!(rotation.look_at(Some(&plan), noon(1)), Some(noon(2)));
        assert_eq!(rotation.due(&plan, noon(1)), None);
        assert_eq!(rotation.due(&plan, noon(2)), Some(Why::Schedule));
        assert_eq!(rotation.look_at(None, noon(2)), None);
        let unknown = Rotation::new("prod/a".parse().unwrap());
        assert_eq!((unknown.look_at(Some(&plan), noon(2)), unknown.due(&plan, noon(2))), (None, None));
        let paused = known().step(Event::Pause, noon(1)).unwrap();
        assert_eq!((paused.look_at(Some(&plan), noon(2)), paused.due(&plan, noon(2))), (None, None));
    }

    #[test]
    fn what_somebody_wants_knows_no_blackouts() {
        let plan = plan(&["2026-11-01 .. 2026-11-09"]);
        let asked = wanted(person(), noon(1));
        assert_eq!(asked.due(&plan, noon(1)), Some(person()));
        let revoked = wanted(Why::Revocation, noon(3));
        assert_eq!(revoked.look_at(Some(&plan), noon(1)), Some(noon(3)));
        assert_eq!(revoked.due(&plan, noon(3)), Some(Why::Revocation));
        // By schedule, it would not be before the tenth.
        let again = wanted(Why::Schedule, noon(3));
        assert_eq!(again.due(&plan, noon(3)), None);
        assert_eq!(again.look_at(Some(&plan), noon(3)), Some("2026-11-10T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn the_schedule_comes_before_a_later_wish() {
        let rotation = wanted(Why::Revocation, noon(5));
        assert_eq!(rotation.due(&plan(&[]), noon(2)), Some(Why::Schedule));
    }

    #[test]
    fn after_one_that_was_thrown_away_the_next_one_waits() {
        for why in [Why::Schedule, person(), Why::Revocation] {
            let mut rotation = wanted(why.clone(), noon(3));
            rotation.setbacks = 1;
            assert_eq!(rotation.due(&plan(&[]), noon(2)), None, "{why:?}");
            assert_eq!(rotation.look_at(Some(&plan(&[])), noon(2)), Some(noon(3)), "{why:?}");
            assert_eq!(rotation.due(&plan(&[]), noon(3)), Some(why));
        }
    }

    #[test]
    fn what_was_hindered_is_tried_later() {
        let retry_at = after(noon(2), Duration::from_secs(60));
        let failed = Event::Failed { message: "policy".into(), retry_at };
        let rotation = known().step(failed, noon(2)).unwrap();
        assert_eq!(rotation.due(&plan(&[]), noon(2)), None);
        assert_eq!(rotation.look_at(Some(&plan(&[])), noon(2)), Some(retry_at));
        assert_eq!(rotation.due(&plan(&[]), retry_at), Some(Why::Schedule));
    }
}
