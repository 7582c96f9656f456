//! Following a rotation to its end: on a terminal in one line that changes, else a line a step; as one JSON document, the
//! end alone.

use leasehold_client::{Operator, proto};
use leasehold_core::{SecretPath, Timestamp};
use serde::Serialize;

use super::{show, view::RotationView};
use crate::{
    clock,
    exit::{About, Exit, Failure},
    output::{Format, Output, Row},
    progress::Progress,
    table::Cut,
};

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited {
    /// The number of the rotation.
    serial: i64,
    /// Whether it is enough that the new version is current.
    only_current: bool,
    /// Whether the way back is what is wanted.
    back: bool,
}

/// How it came out.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad(String),
    Refused(String),
}

/// A step that fails so often is no accident: nobody waits for it any more. The broker goes on.
const ENOUGH: i32 = 3;

/// One thing that happened. The names in JSON are stable.
#[derive(Serialize)]
#[serde(transparent)]
struct Seen {
    rotation: RotationView,
    #[serde(skip)]
    at: Timestamp,
}

impl Awaited {
    /// The end of the rotation that is under way, or that comes next.
    pub(crate) fn the_end_of(rotation: &proto::Rotation) -> Self {
        let begun = rotation.course.is_some();
        let serial = if begun { rotation.serial } else { rotation.serial.saturating_add(1) };
        Self { serial, only_current: false, back: false }
    }

    /// That the next rotation's new version is current, at least.
    pub(crate) fn the_promotion_of(rotation: &proto::Rotation) -> Self {
        Self { only_current: true, ..Self::the_end_of(rotation) }
    }

    /// The end of one that is taken back.
    pub(crate) fn the_way_back(rotation: &proto::Rotation) -> Self {
        Self { serial: rotation.serial, only_current: false, back: true }
    }

    /// How it came out, once it has.
    fn verdict(self, now: &proto::Rotation, at: Timestamp) -> Option<Verdict> {
        use proto::{RotationOutcome as Outcome, RotationState as State};
        if now.serial < self.serial {
            if now.pause_time.is_some() {
                let paused = "is paused: `leasehold rotation resume` has it go on";
                return Some(Verdict::Refused(paused.to_owned()));
            }
            let put_off = now.next_time.and_then(clock::of_proto).is_some_and(|next| next > at);
            return (put_off && !now.late_reason.is_empty()).then(|| {
                Verdict::Bad(format!("it could not be begun, and is tried on: {}", now.late_reason))
            });
        }
        if now.serial == self.serial
            && let Some(course) = &now.course
        {
            let current = matches!(now.state(), State::Draining | State::Retiring | State::Closing);
            if self.only_current && current && !course.rolled_back {
                return Some(Verdict::Good);
            }
            let failure = course.failure.as_ref().filter(|failure| failure.attempt_count >= ENOUGH);
            let failed = failure.map(|failure| {
                let (state, times) = (now.state().as_str_name(), failure.attempt_count);
                let state = state.trim_start_matches("ROTATION_STATE_").to_lowercase();
                Verdict::Bad(format!(
                    "it cannot leave the state {state} (tried {times} times: {}); it is tried on",
                    failure.message
                ))
            });
            let paused = now.pause_time.map(|_| {
                Verdict::Refused("is paused on its way: `leasehold rotation resume` has it go on".to_owned())
            });
            return failed.or(paused);
        }
        // It is over; when another one is under way since, what is told of the last one may be another's.
        let last = now.last.as_ref()?;
        Some(match last.outcome() {
            Outcome::Retired if last.verification() == proto::LeaseVerification::StillValid => {
                Verdict::Bad(format!("the version {} was retired, and still works", last.old_version))
            }
            Outcome::Retired if !self.back => Verdict::Good,
            Outcome::RolledBack | Outcome::Discarded if self.back => Verdict::Good,
            Outcome::RolledBack => Verdict::Bad(format!("it was rolled back to {}", last.new_version)),
            Outcome::Discarded if last.problem.is_empty() => Verdict::Bad("it was given up".to_owned()),
            Outcome::Discarded => Verdict::Bad(format!("its new version was thrown away: {}", last.problem)),
            _ => Verdict::Bad("it came to its end all the same".to_owned()),
        })
    }
}

/// Shows how it goes on until what is awaited has come, or cannot.
pub(crate) async fn follow(
    operator: &Operator,
    secret: &SecretPath,
    awaited: Awaited,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut progress = operator.watch_rotation(secret).await.about(secret)?;
    let mut line = Progress::new(output.format == Format::Table);
    let goes_on = format!("{secret}: the rotation goes on, `leasehold rotation watch {secret}` follows it");
    let ended = || Failure::new(Exit::Unavailable, format!("{goes_on}: the broker ended the watch"));
    if line.is_on() || output.format == Format::Json {
        let verdict = loop {
            let now = progress.next().await.about(&goes_on)?.ok_or_else(ended)?;
            line.show(&RotationView::of(&now).in_a_line());
            if let Some(verdict) = awaited.verdict(&now, clock::now()) {
                line.clear();
                show(&now, output)?;
                break verdict;
            }
        };
        return verdict.into_result(secret);
    }
    let mut list = output.stream();
    loop {
        let now = progress.next().await.about(&goes_on)?.ok_or_else(ended)?;
        list.push(&Seen { rotation: RotationView::of(&now), at: clock::now() })?;
        if let Some(verdict) = awaited.verdict(&now, clock::now()) {
            list.finish("")?;
            return verdict.into_result(secret);
        }
    }
}

impl Verdict {
    fn into_result(self, secret: &SecretPath) -> Result<(), Failure> {
        match self {
            Self::Good => Ok(()),
            Self::Bad(why) => Err(Failure::new(Exit::Failed, format!("{secret}: {why}"))),
            Self::Refused(why) => Err(Failure::new(Exit::Refused, format!("{secret}: {why}"))),
        }
    }
}

impl Row for Seen {
    const COLUMNS: &'static [&'static str] = &["TIME", "SECRET", "STATE", "OLD", "NEW", "NOTE"];
    const CUTS: &'static [(&'static str, Cut)] =
        &[("NOTE", Cut::End), ("SECRET", Cut::Start), ("TIME", Cut::Time)];
    const FIRST_OUT: &'static [&'static str] = &["OLD"];
    const LAST_OUT: &'static [&'static str] = &["NOTE", "SECRET"];
    const WIDTHS: &'static [usize] = &[20, 24, 10, 12, 12, 40];

    fn cells(&self) -> Vec<String> {
        let course = self.rotation.course.as_ref();
        let last = self.rotation.last.as_ref();
        let (old, new, note) = match (course, last) {
            (Some(course), _) => {
                (course.old_version.clone(), course.new_version.clone(), self.rotation.note())
            }
            (None, Some(last)) if self.rotation.note().is_empty() => {
                (last.old_version.clone(), last.new_version.clone(), last.in_words())
            }
            _ => (String::new(), String::new(), self.rotation.note()),
        };
        vec![
            format!("{:.0}", self.at),
            self.rotation.secret.clone(),
            self.rotation.state.to_owned(),
            old,
            new,
            note,
        ]
    }
}

#[cfg(test)]
mod tests {
    use leasehold_client::proto::{RotationEnd, RotationFailure, RotationOutcome, RotationState};

    use super::{
        super::view::tests::{rotation, time},
        *,
    };

    const EPOCH: Timestamp = Timestamp::UNIX_EPOCH;

    fn ended(outcome: RotationOutcome, problem: &str) -> proto::Rotation {
        let last = RotationEnd { outcome: outcome.into(), problem: problem.into(), ..Default::default() };
        proto::Rotation { course: None, state: RotationState::Idle.into(), last: Some(last), ..rotation() }
    }

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<Seen>(
            "rotation-watch",
            true,
            &[
                &["2026-11-22T08:00:00Z", "prod/payments/checkout/stripe-webhook", "creating", "v7", "", ""],
                &[
                    "2026-11-22T08:00:12Z",
                    "prod/payments/checkout/stripe-webhook",
                    "draining",
                    "v7",
                    "v8",
                    "2 leases on v7, at the latest until 2026-11-22T09:00:00Z",
                ],
            ],
        );
    }

    #[test]
    fn the_end_is_that_of_the_rotation_that_was_asked_for() {
        let before = proto::Rotation { serial: 3, ..ended(RotationOutcome::Discarded, "no") };
        let awaited = Awaited::the_end_of(&before);
        assert_eq!(awaited.verdict(&before, EPOCH), None, "the last one's end is not this one's");
        assert_eq!(awaited.verdict(&rotation(), EPOCH), None);
        assert_eq!(Awaited::the_promotion_of(&before).verdict(&rotation(), EPOCH), Some(Verdict::Good));
        assert_eq!(awaited.verdict(&ended(RotationOutcome::Retired, ""), EPOCH), Some(Verdict::Good));
        let bad = |outcome, problem| match awaited.verdict(&ended(outcome, problem), EPOCH) {
            Some(Verdict::Bad(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(bad(RotationOutcome::Discarded, "the target said no").contains("the target said no"));
        assert!(bad(RotationOutcome::RolledBack, "").contains("rolled back"));
        let back = Awaited::the_way_back(&rotation());
        assert_eq!(back.verdict(&ended(RotationOutcome::RolledBack, ""), EPOCH), Some(Verdict::Good));
        assert!(matches!(back.verdict(&ended(RotationOutcome::Retired, ""), EPOCH), Some(Verdict::Bad(_))));
    }

    #[test]
    fn nobody_waits_for_what_is_paused_or_fails_on() {
        let before = proto::Rotation { serial: 3, ..ended(RotationOutcome::Retired, "") };
        let awaited = Awaited::the_end_of(&before);
        let late = proto::Rotation { late_reason: "no value".into(), next_time: time(60), ..before.clone() };
        assert!(matches!(awaited.verdict(&late, EPOCH), Some(Verdict::Bad(why)) if why.contains("no value")));
        let soon = proto::Rotation { next_time: time(0), ..late };
        assert_eq!(awaited.verdict(&soon, EPOCH), None, "it waits its turn");
        let paused = proto::Rotation { pause_time: time(9), ..before };
        assert!(matches!(awaited.verdict(&paused, EPOCH), Some(Verdict::Refused(_))));
        let paused = proto::Rotation { pause_time: time(9), ..rotation() };
        assert!(matches!(awaited.verdict(&paused, EPOCH), Some(Verdict::Refused(_))));
        let mut failing = rotation();
        let mut fail = |attempt_count| {
            let failure = RotationFailure { message: "busy".into(), attempt_count, next_time: None };
            failing.course.as_mut().unwrap().failure = Some(failure);
            awaited.verdict(&failing, EPOCH)
        };
        assert_eq!(fail(2), None);
        let Some(Verdict::Bad(why)) = fail(3) else { panic!("it waits on") };
        assert!(why.contains("the state draining") && why.contains("busy"), "{why}");
    }
}
