//! Rotations as the command line shows them. The names in JSON are stable.

use leasehold_client::proto::{
    self, LeaseVerification, RotationCause, RotationOutcome, RotationState, RotationStrategy,
};
use leasehold_core::Timestamp;
use serde::Serialize;

use crate::{clock, duration, output::Row, table::Cut};

/// A secret's rotation.
#[derive(Serialize)]
pub(crate) struct RotationView {
    pub(super) secret: String,
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strategy: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    schedule: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    current_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version_made_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) late_reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted_at: Option<Timestamp>,
    pub(super) rotations: i64,
    old_version_leases: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) course: Option<CourseView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<EndView>,
}

/// One that is under way.
#[derive(Serialize)]
pub(super) struct CourseView {
    pub(super) old_version: String,
    pub(super) new_version: String,
    pub(super) cause: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) actor: String,
    pub(super) steps: Vec<StepView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) drain_deadline: Option<Timestamp>,
    pub(super) old_version_leases: i64,
    pub(super) holders: Vec<HolderView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<FailureView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verification: Option<&'static str>,
    pub(super) rolled_back: bool,
}

/// A stage that was reached.
#[derive(Serialize)]
pub(super) struct StepView {
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reached_at: Option<Timestamp>,
}

/// Who holds the old version.
#[derive(Serialize)]
pub(super) struct HolderView {
    pub(super) holder: String,
    pub(super) lease: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
}

/// Why a stage could not be left.
#[derive(Serialize)]
pub(super) struct FailureView {
    pub(super) message: String,
    pub(super) attempts: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_try_at: Option<Timestamp>,
}

/// How the last one ended.
#[derive(Serialize)]
pub(super) struct EndView {
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) old_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) new_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verification: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) problem: String,
}

impl RotationView {
    pub(crate) fn of(rotation: &proto::Rotation) -> Self {
        Self {
            secret: rotation.secret.clone(),
            state: state(rotation.state()),
            strategy: strategy(rotation.strategy()),
            schedule: rotation.schedule.clone(),
            current_version: rotation.current_version.clone(),
            current_version_made_at: rotation.current_version_time.and_then(clock::of_proto),
            next_at: rotation.next_time.and_then(clock::of_proto),
            late_reason: rotation.late_reason.clone(),
            paused_at: rotation.pause_time.and_then(clock::of_proto),
            wanted_at: rotation.wanted_time.and_then(clock::of_proto),
            rotations: rotation.serial,
            old_version_leases: rotation.old_version_lease_count,
            course: rotation.course.as_ref().map(CourseView::of),
            last: rotation.last.as_ref().map(EndView::of),
        }
    }

    /// What a person wants to know of it, without the steps of one that is under way.
    pub(super) fn parts(&self) -> Vec<(&'static str, String)> {
        let now = clock::now();
        let time = |time: Timestamp| format!("{time:.0} ({})", duration::relative(time, now));
        let mut parts = Vec::new();
        let mut say = |name, what: String| {
            if !what.is_empty() {
                parts.push((name, what));
            }
        };
        say("secret", self.secret.clone());
        say("strategy", self.strategy.unwrap_or("none: it is not configured any more").to_owned());
        say(
            "schedule",
            if self.schedule.is_empty() { "on demand only".to_owned() } else { self.schedule.clone() },
        );
        say("state", self.state.to_owned());
        say("version", self.current_version.clone());
        say("made", self.current_version_made_at.map(time).unwrap_or_default());
        say(
            "old leases",
            Some(self.old_version_leases).filter(|n| *n > 0).map(|n| n.to_string()).unwrap_or_default(),
        );
        say("paused", self.paused_at.map(time).unwrap_or_default());
        say("wanted", self.wanted_at.map(time).unwrap_or_default());
        say("next", self.next_at.map(time).unwrap_or_default());
        say("late", self.late_reason.clone());
        if let Some(last) = &self.last {
            say("last", last.in_words());
            say("ended", last.ended_at.map(time).unwrap_or_default());
            say("problem", last.problem.clone());
        }
        parts
    }

    /// Its state, the time of what comes next, the secret, the leases on old versions and the note.
    pub(crate) fn brief(&self, now: Timestamp) -> [String; 5] {
        let next = self.next_at.map_or_else(|| "-".to_owned(), |next| duration::relative(next, now));
        let old = self.old_version_leases.to_string();
        [self.state.to_owned(), next, self.secret.clone(), old, self.note_at(now)]
    }

    /// Where it is, in a line.
    pub(super) fn in_a_line(&self) -> String {
        let mut line = format!("{}: {}", self.secret, self.state);
        let note = self.note();
        if !note.is_empty() {
            line.push_str(&format!(", {note}"));
        }
        line
    }

    /// What is worth knowing beside the state.
    pub(super) fn note(&self) -> String {
        self.note_at(clock::now())
    }

    fn note_at(&self, now: Timestamp) -> String {
        let mut notes = Vec::new();
        if self.paused_at.is_some() {
            notes.push("paused".to_owned());
        }
        match &self.course {
            Some(course) => {
                if let Some(failure) = &course.failure {
                    notes.push(failure.in_words(now));
                }
                if let (None, Some(deadline)) = (&course.failure, course.drain_deadline)
                    && self.state == "draining"
                {
                    let until = duration::relative(deadline, now);
                    notes.push(format!("{}, at the latest {until}", course.holding()));
                }
            }
            None => {
                if !self.late_reason.is_empty() {
                    notes.push(format!("late: {}", self.late_reason));
                } else if self.wanted_at.is_some() {
                    notes.push("wanted".to_owned());
                }
                if let Some(last) = self.last.as_ref().filter(|last| !last.problem.is_empty()) {
                    notes.push(format!("the last one: {}", last.problem));
                }
            }
        }
        notes.join("; ")
    }
}

impl CourseView {
    fn of(course: &proto::RotationCourse) -> Self {
        Self {
            old_version: course.old_version.clone(),
            new_version: course.new_version.clone(),
            cause: match course.cause() {
                RotationCause::Schedule => "schedule",
                RotationCause::Request => "request",
                RotationCause::Revocation => "revocation",
                RotationCause::Unspecified => "unknown",
            },
            actor: course.actor.clone(),
            steps: course
                .steps
                .iter()
                .map(|step| StepView {
                    state: state(step.state()),
                    reached_at: step.reach_time.and_then(clock::of_proto),
                })
                .collect(),
            drain_deadline: course.drain_deadline.and_then(clock::of_proto),
            old_version_leases: course.old_version_lease_count,
            holders: course
                .holders
                .iter()
                .map(|holder| HolderView {
                    holder: holder.holder.clone(),
                    lease: holder.lease_id.clone(),
                    expires_at: holder.expire_time.and_then(clock::of_proto),
                })
                .collect(),
            failure: course.failure.as_ref().map(|failure| FailureView {
                message: failure.message.clone(),
                attempts: failure.attempt_count,
                next_try_at: failure.next_time.and_then(clock::of_proto),
            }),
            verification: verification(course.verification()),
            rolled_back: course.rolled_back,
        }
    }

    /// How many hold the old version.
    pub(super) fn holding(&self) -> String {
        let leases = if self.old_version_leases == 1 { "lease" } else { "leases" };
        format!("{} {leases} on {}", self.old_version_leases, self.old_version)
    }

    /// Why it was begun.
    pub(super) fn why(&self) -> String {
        match self.cause {
            "schedule" => "by schedule".to_owned(),
            "request" => format!("asked for by {}", self.actor),
            "revocation" => "because a lease was revoked".to_owned(),
            other => other.to_owned(),
        }
    }
}

impl FailureView {
    pub(super) fn in_words(&self, now: Timestamp) -> String {
        let again = self.next_try_at.map(|at| format!(", again {}", duration::relative(at, now)));
        let times = if self.attempts == 1 { "once".to_owned() } else { format!("{} times", self.attempts) };
        format!("tried {times}: {}{}", self.message, again.unwrap_or_default())
    }
}

impl EndView {
    fn of(end: &proto::RotationEnd) -> Self {
        Self {
            outcome: match end.outcome() {
                RotationOutcome::Retired => "retired",
                RotationOutcome::RolledBack => "rolled-back",
                RotationOutcome::Discarded => "discarded",
                RotationOutcome::Unspecified => "unknown",
            },
            ended_at: end.end_time.and_then(clock::of_proto),
            old_version: end.old_version.clone(),
            new_version: end.new_version.clone(),
            verification: verification(end.verification()),
            problem: end.problem.clone(),
        }
    }

    /// What became of which version.
    pub(super) fn in_words(&self) -> String {
        let Self { old_version: old, new_version: new, .. } = self;
        let mut words = match self.outcome {
            "retired" if old.is_empty() => format!("{new} is the first version"),
            "retired" => format!("{new} took the place of {old}"),
            "rolled-back" => format!("back to {new} from {old}"),
            _ if new.is_empty() => "given up before anything was written".to_owned(),
            _ => format!("{old} stays, {new} was thrown away"),
        };
        words.push_str(match self.verification {
            Some("verified") => ", which is dead",
            Some("unverifiable") => ", of which nothing could try whether it is dead",
            Some("still-valid") => ", WHICH STILL WORKS",
            _ => "",
        });
        words
    }
}

impl Row for RotationView {
    const COLUMNS: &'static [&'static str] =
        &["SECRET", "STRATEGY", "STATE", "VERSION", "MADE", "NEXT", "LAST", "OLD LEASES", "NOTE"];
    const CUTS: &'static [(&'static str, Cut)] = &[("NOTE", Cut::End), ("LAST", Cut::End)];
    const FIRST_OUT: &'static [&'static str] = &["STRATEGY", "MADE", "VERSION", "LAST"];
    const LAST_OUT: &'static [&'static str] = &["OLD LEASES", "NEXT", "NOTE"];

    fn cells(&self) -> Vec<String> {
        let now = clock::now();
        let time =
            |time: Option<Timestamp>| time.map(|time| duration::relative(time, now)).unwrap_or_default();
        let last = self.last.as_ref().map(|last| format!("{} {}", last.outcome, time(last.ended_at)));
        vec![
            self.secret.clone(),
            self.strategy.unwrap_or_default().to_owned(),
            self.state.to_owned(),
            self.current_version.clone(),
            time(self.current_version_made_at),
            time(self.next_at),
            last.unwrap_or_default(),
            self.old_version_leases.to_string(),
            self.note(),
        ]
    }
}

const fn state(state: RotationState) -> &'static str {
    match state {
        RotationState::Unspecified => "unknown",
        RotationState::Idle => "idle",
        RotationState::Creating => "creating",
        RotationState::Created => "created",
        RotationState::Applied => "applied",
        RotationState::Tested => "tested",
        RotationState::Draining => "draining",
        RotationState::Retiring => "retiring",
        RotationState::Closing => "closing",
        RotationState::Discarding => "discarding",
        RotationState::Reverting => "reverting",
    }
}

const fn strategy(strategy: RotationStrategy) -> Option<&'static str> {
    Some(match strategy {
        RotationStrategy::Unspecified => return None,
        RotationStrategy::Generate => "generate",
        RotationStrategy::Single => "single",
        RotationStrategy::Alternating => "alternating",
        RotationStrategy::ProviderNative => "provider-native",
        RotationStrategy::Command => "command",
    })
}

const fn verification(verification: LeaseVerification) -> Option<&'static str> {
    Some(match verification {
        LeaseVerification::Unspecified => return None,
        LeaseVerification::Verified => "verified",
        LeaseVerification::Unverifiable => "unverifiable",
        LeaseVerification::StillValid => "still-valid",
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn time(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    /// One that drains.
    pub(in super::super) fn rotation() -> proto::Rotation {
        let step = |state: RotationState, second| proto::RotationStep {
            state: state.into(),
            reach_time: time(second),
        };
        proto::Rotation {
            secret: "prod/payments/db".into(),
            state: RotationState::Draining.into(),
            strategy: RotationStrategy::Generate.into(),
            current_version: "v2".into(),
            current_version_time: time(3),
            schedule: "every 30d".into(),
            old_version_lease_count: 1,
            serial: 4,
            course: Some(proto::RotationCourse {
                old_version: "v1".into(),
                new_version: "v2".into(),
                cause: RotationCause::Schedule.into(),
                steps: vec![
                    step(RotationState::Creating, 0),
                    step(RotationState::Created, 1),
                    step(RotationState::Tested, 2),
                    step(RotationState::Draining, 3),
                ],
                drain_deadline: time(3603),
                holders: vec![proto::RotationHolder {
                    holder: "spiffe://example.org/prod/payments/api".into(),
                    lease_id: "lease-a".into(),
                    expire_time: time(60),
                }],
                old_version_lease_count: 1,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<RotationView>(
            "rotation-list",
            false,
            &[
                &[
                    "prod/payments/db",
                    "single",
                    "idle",
                    "v7",
                    "2h 10m ago",
                    "in 21h 50m",
                    "retired 2h 5m ago",
                    "0",
                    "",
                ],
                &[
                    "prod/payments/checkout/stripe-webhook",
                    "alternating",
                    "draining",
                    "3f1c2a9e-8d54-4b6f-9a70-5d0f6c1b2e83",
                    "1m 12s ago",
                    "in 29d 23h",
                    "retired 30d 1h ago",
                    "12",
                    "12 leases on v7, at the latest until 2026-11-22T09:00:00Z",
                ],
            ],
        );
    }

    #[test]
    fn a_rotation_as_json_has_stable_names() {
        let failure = proto::RotationFailure { message: "busy".into(), attempt_count: 2, next_time: time(9) };
        let course = rotation().course.map(|course| proto::RotationCourse {
            actor: "spiffe://example.org/operator/ann".into(),
            failure: Some(failure),
            verification: LeaseVerification::Verified.into(),
            ..course
        });
        let last = proto::RotationEnd {
            outcome: RotationOutcome::Discarded.into(),
            end_time: time(2),
            old_version: "v0".into(),
            new_version: "v1".into(),
            verification: LeaseVerification::StillValid.into(),
            problem: "the target refused it".into(),
        };
        let whole = proto::Rotation {
            course,
            last: Some(last),
            next_time: time(60),
            late_reason: "a blackout".into(),
            pause_time: time(5),
            wanted_time: time(4),
            ..rotation()
        };
        crate::snapshot::documented(
            "rotation-list",
            &[RotationView::of(&rotation()), RotationView::of(&whole)],
        );
        let json = serde_json::to_string(&RotationView::of(&rotation())).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"secret":"prod/payments/db","state":"draining","strategy":"generate","schedule":"every 30d","#,
                r#""current_version":"v2","current_version_made_at":"1970-01-01T00:00:03Z","rotations":4,"#,
                r#""old_version_leases":1,"course":{"old_version":"v1","new_version":"v2","cause":"schedule","#,
                r#""steps":[{"state":"creating","reached_at":"1970-01-01T00:00:00Z"},"#,
                r#"{"state":"created","reached_at":"1970-01-01T00:00:01Z"},"#,
                r#"{"state":"tested","reached_at":"1970-01-01T00:00:02Z"},"#,
                r#"{"state":"draining","reached_at":"1970-01-01T00:00:03Z"}],"#,
                r#""drain_deadline":"1970-01-01T01:00:03Z","old_version_leases":1,"#,
                r#""holders":[{"holder":"spiffe://example.org/prod/payments/api","lease":"lease-a","#,
                r#""expires_at":"1970-01-01T00:01:00Z"}],"rolled_back":false}}"#
            )
        );
    }

    #[test]
    fn a_rotation_for_people() {
        let view = RotationView::of(&rotation());
        assert!(
            view.in_a_line().starts_with("prod/payments/db: draining, 1 lease on v1"),
            "{}",
            view.in_a_line()
        );
        assert_eq!(view.cells().len(), RotationView::COLUMNS.len());
        let ended = proto::RotationEnd {
            outcome: RotationOutcome::Retired.into(),
            old_version: "v1".into(),
            new_version: "v2".into(),
            verification: LeaseVerification::StillValid.into(),
            ..Default::default()
        };
        assert_eq!(EndView::of(&ended).in_words(), "v2 took the place of v1, WHICH STILL WORKS");
        let idle = proto::Rotation { late_reason: "a blackout".into(), course: None, ..rotation() };
        assert_eq!(RotationView::of(&idle).note(), "late: a blackout");
    }
}
